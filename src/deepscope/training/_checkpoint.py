"""Checkpoints from which a training run goes on as if it had never stopped."""

from __future__ import annotations

import glob
import io
import warnings
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from deepscope.core import TargetError, UsageError, write_atomically
from deepscope.subject import capture_generators, restore_generators
from deepscope.training._callback import Callback
from deepscope.training._configuration import Configuration, differences
from deepscope.training._state import History, TrainingState

_FORMAT, _VERSION = "deepscope training checkpoint", 2
_SHOWN = 3


@dataclass(frozen=True)
class Checkpoint:
    """Where and how often a training run is saved.

    The file holds model, optimizer, position, history, the states of all random generators and of the callbacks, and
    the run's configuration. It is written whole or not at all, holds no code, and is read without running any. ``fit``
    goes on from it when it exists; the result is bit for bit that of an undisturbed run on the same hardware and
    library versions, if ``data(epoch)`` gives the same batches each time it is called with the generators in the same
    state. Buffers that a module keeps out of its ``state_dict`` are not saved.

    Parameters
    ----------
    path
        The file; missing folders are made.
    every_steps
        Save after every so many updates.
    every_epochs
        Save after every so many epochs; every epoch where neither is given. The end is saved in any case.
    configuration
        Further settings that shape the run (batch size, data, …); compared as text.

    Raises
    ------
    UsageError
        An interval is below 1.
    """

    path: str | PathLike[str]
    every_steps: int | None = None
    every_epochs: int | None = None
    configuration: Mapping[str, object] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in ("every_steps", "every_epochs"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise UsageError(f"a checkpoint's interval is {value}", where=name, todo="Give at least 1.")

    def due_after_step(self, step: int) -> bool:
        """Whether to save when ``step`` updates have been made."""
        return self.every_steps is not None and step % self.every_steps == 0

    def due_after_epoch(self, finished: int) -> bool:
        """Whether to save when so many epochs are finished."""
        every = self.every_epochs or (1 if self.every_steps is None else None)
        return every is not None and finished % every == 0

    def save(self, state: TrainingState, callbacks: Sequence[Callback], configuration: Configuration) -> None:
        """Write the file, replacing the one before in one step.

        Raises
        ------
        TargetError
            The file cannot be written; the one before is untouched.
        UsageError
            The model, the optimizer or a callback has a state that only code could rebuild.
        """
        record = {
            "format": _FORMAT,
            "version": _VERSION,
            "configuration": configuration,
            "position": {"epoch": state.epoch, "step": state.step, "batch": state.batch},
            "stop": state.stop,
            "model": state.model.state_dict(),
            "optimizer": state.optimizer.state_dict(),
            "callbacks": [callback.state_dict() for callback in callbacks],
            "history": state.history.to_plain(),
            "generators": capture_generators(),
            "epoch_generators": state.epoch_generators,
        }
        _require_plain(record, "")
        buffer = io.BytesIO()
        torch.save(record, buffer)
        try:
            write_atomically(self.path, buffer.getvalue())
        except OSError as error:
            raise self._unwritable(error) from error

    def resume(
        self,
        state: TrainingState,
        callbacks: Sequence[Callback],
        configuration: Configuration,
        schedule: Callable[[int], float],
    ) -> bool:
        """Make ready to write, and where the file exists bring everything to where it was saved; say whether it did.

        Raises
        ------
        TargetError
            The file is damaged or no training checkpoint, or its folder cannot be written.
        UsageError
            The file was written by a run with another configuration.
        """
        path = Path(self.path)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            # A process killed while it wrote leaves its unfinished file behind.
            for unfinished in path.parent.glob(f".{glob.escape(path.name)}.*.part"):
                unfinished.unlink(missing_ok=True)
            found = path.exists()
        except OSError as error:
            raise self._unwritable(error) from error
        if not found:
            return False
        record = self._read()
        self._require_same(configuration, record["configuration"])
        try:
            history = History.from_plain(record["history"])
            self._require_same_rates(schedule, history)
            state.model.load_state_dict(record["model"])
            state.optimizer.load_state_dict(record["optimizer"])
            for callback, its_state in zip(callbacks, record["callbacks"], strict=True):
                callback.load_state_dict(its_state)
            position = record["position"]
            state.epoch, state.step, state.batch = position["epoch"], position["step"], position["batch"]
            state.stop = record["stop"]
            state.loss = history.loss[-1] if history.loss else None
            state.history, state.epoch_generators = history, record["epoch_generators"]
            restore_generators(record["generators"])
        except (KeyError, TypeError, ValueError, RuntimeError, AttributeError) as error:
            raise self._foreign("does not fit this run") from error
        return True

    def _read(self) -> dict[str, Any]:
        try:
            with warnings.catch_warnings():
                # torch warns of unusual pickles before it refuses them; the refusal is enough.
                warnings.simplefilter("ignore")
                record = torch.load(self.path, map_location="cpu", weights_only=True)
        # torch raises a different class for each way in which a file can be broken.
        except Exception as error:
            raise self._foreign("is damaged or no checkpoint") from error
        if not isinstance(record, dict) or record.get("format") != _FORMAT:
            raise self._foreign("is no training checkpoint")
        if record.get("version") != _VERSION or not isinstance(record.get("configuration"), dict):
            raise self._foreign(f"has version {record.get('version')}, not {_VERSION}")
        return record

    def _require_same(self, here: Configuration, there: Configuration) -> None:
        found = differences(here, there)
        if found:
            more = f"; and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
            raise UsageError(
                f"the checkpoint is of another run ({'; '.join(found[:_SHOWN])}{more})",
                where=str(self.path),
                todo="Give the same configuration to go on, or another checkpoint path to start anew.",
            )

    def _require_same_rates(self, schedule: Callable[[int], float], history: History) -> None:
        for step, used in enumerate(history.lr_factor):
            factor = float(schedule(step))
            if factor != used:
                there = f"the schedule gives {factor:g} at step {step} here and gave {used:g} in the checkpoint"
                raise UsageError(
                    f"the checkpoint is of another run ({there})",
                    where=str(self.path),
                    todo="Give the same schedule to go on, or another checkpoint path to start anew.",
                )

    def _foreign(self, what: str) -> TargetError:
        return TargetError(
            f"the training checkpoint {what}",
            where=str(self.path),
            todo="Delete or move the file to start anew, or give the checkpoint another path.",
        )

    def _unwritable(self, error: OSError) -> TargetError:
        return TargetError(
            f"the training checkpoint cannot be written ({error.strerror or error})",
            where=str(self.path),
            todo="Give a path in a writable folder with free space.",
        )


def _require_plain(value: object, where: str) -> None:
    """Refuse at the first save what could not be read back without running code."""
    if isinstance(value, dict) and type(value) in (dict, OrderedDict):
        for key, item in value.items():
            _require_plain(item, f"{where}/{key}")
    elif isinstance(value, (list, tuple)) and type(value) in (list, tuple, torch.Size):
        for index, item in enumerate(value):
            _require_plain(item, f"{where}/{index}")
    elif type(value) not in _PLAIN:
        raise UsageError(
            f"a checkpoint cannot hold a {type(value).__name__}",
            where=where[1:],
            todo="Keep only tensors, numbers, text, lists and mappings in the state.",
        )


_PLAIN = (Tensor, nn.Parameter, type(None), bool, int, float, complex, str, bytes, torch.dtype, torch.device)
