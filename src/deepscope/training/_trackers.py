"""Trackers: numbers shown in TensorBoard, MLflow or Weights & Biases as well. None of them is needed by deepscope."""

from __future__ import annotations

import hashlib
import importlib
import re
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from os import PathLike
from pathlib import Path
from typing import Any, final

from deepscope.core import UsageError, Value, first_line, nearest

Numbers = Mapping[str, float]
Parameters = Mapping[str, Value]


class Tracker(ABC):
    """Where numbers are shown while they are made; one run at a time.

    A tracker of your own is a subclass with these three methods. Ours end a run that was left open when the next is
    opened, and closing twice does nothing.
    """

    @abstractmethod
    def open(self, name: str, parameters: Parameters) -> None:
        """Begin a run; ``/`` in its name groups runs where the tracker can."""

    @abstractmethod
    def log(self, numbers: Numbers, step: int) -> None:
        """Show numbers by name at a step; steps never fall within a run."""

    @abstractmethod
    def close(self) -> None:
        """End the run: all of it is written."""


@final
class TensorBoard(Tracker):
    """Event files for TensorBoard, a folder per run; look at them with ``tensorboard --logdir FOLDER``.

    A run opened again under the same name takes the place of the earlier one.

    Parameters
    ----------
    folder
        Where the folders of the runs are made.

    Raises
    ------
    UsageError
        TensorBoard is not installed.
    """

    def __init__(self, folder: str | PathLike[str] = "runs") -> None:
        self._library = _library("torch.utils.tensorboard", "tensorboard")
        self._folder = Path(folder)
        self._writer: Any = None

    def open(self, name: str, parameters: Parameters) -> None:
        """Begin a run; its parameters are under "Text"."""
        self.close()
        path = self._folder.joinpath(*(_file_name(part) for part in name.split("/") if part))
        # The step from which on TensorBoard passes over what earlier files in this folder hold: all of it.
        self._writer = self._library.SummaryWriter(str(path), purge_step=0, flush_secs=1)
        rows = "".join(f"| {key} | {value} |\n" for key, value in parameters.items())
        self._writer.add_text("parameters", f"| name | value |\n| --- | --- |\n{rows}")

    def log(self, numbers: Numbers, step: int) -> None:
        """Show each number as a scalar."""
        for name, number in numbers.items():
            self._writer.add_scalar(name, number, step)

    def close(self) -> None:
        """End the run."""
        writer, self._writer = self._writer, None
        if writer is not None:
            writer.close()


@final
class MLflow(Tracker):
    """Runs of an MLflow experiment; numbers are sent at most once a second.

    Parameters
    ----------
    uri
        Of the store or server; what MLflow itself would use unless given.
    experiment
        Made where there is none of this name.

    Raises
    ------
    UsageError
        MLflow is not installed.

    Notes
    -----
    MLflow waits minutes for a server that does not answer; ``MLFLOW_HTTP_REQUEST_MAX_RETRIES`` makes it fewer.
    """

    #: The most numbers that MLflow takes at once.
    _BATCH = 1000

    def __init__(self, uri: str | None = None, experiment: str = "deepscope") -> None:
        self._library = _library("mlflow", "mlflow")
        self._uri, self._experiment = uri, experiment
        self._id: str | None = None
        self._waiting: list[Any] = []

    def open(self, name: str, parameters: Parameters) -> None:
        """Begin a run."""
        self.close()
        self._client = self._library.MlflowClient(self._uri)
        run = self._client.create_run(self._experiment_id(), run_name=name)
        self._id, self._sent = run.info.run_id, time.monotonic()
        params = [self._library.entities.Param(key, str(value)) for key, value in parameters.items()]
        self._client.log_batch(self._id, params=params)

    def log(self, numbers: Numbers, step: int) -> None:
        """Show each number as a metric."""
        now = int(1000 * time.time())
        self._waiting += [self._library.entities.Metric(key, float(value), now, step) for key, value in numbers.items()]
        if len(self._waiting) >= self._BATCH or time.monotonic() - self._sent > 1:
            self._send()

    def close(self) -> None:
        """End the run."""
        if self._id is not None:
            self._send()
            self._client.set_terminated(self._id)
            self._id = None

    def _send(self) -> None:
        while self._waiting:
            self._client.log_batch(self._id, metrics=self._waiting[: self._BATCH])
            del self._waiting[: self._BATCH]
        self._sent = time.monotonic()

    def _experiment_id(self) -> Any:
        found = self._client.get_experiment_by_name(self._experiment)
        if found is None:
            try:
                return self._client.create_experiment(self._experiment)
            except self._library.MlflowException:
                # Perhaps because another process has made it just now.
                found = self._client.get_experiment_by_name(self._experiment)
                if found is None:
                    raise
        return found.experiment_id


@final
class WandB(Tracker):
    """Runs of a Weights & Biases project; ``WANDB_MODE=offline`` keeps them on disk for ``wandb sync``.

    Parameters
    ----------
    project
        Its name.

    Raises
    ------
    UsageError
        wandb is not installed.
    """

    def __init__(self, project: str = "deepscope") -> None:
        self._library = _library("wandb", "wandb")
        self._project = project
        self._run: Any = None

    def open(self, name: str, parameters: Parameters) -> None:
        """Begin a run, beside any that the caller has open; it prints nothing and captures no output."""
        self.close()
        settings = self._library.Settings(console="off", silent=True)
        self._run = self._library.init(
            project=self._project,
            # The server refuses longer names; their ends say most.
            name=name if len(name) <= 128 else f"{name[:63]}…{name[-64:]}",
            config=dict(parameters),
            reinit="create_new",
            settings=settings,
        )

    def log(self, numbers: Numbers, step: int) -> None:
        """Show the numbers at the step."""
        self._run.log(dict(numbers), step=step)

    def close(self) -> None:
        """End the run."""
        run, self._run = self._run, None
        if run is not None:
            run.finish()


_KINDS: dict[str, Callable[..., Tracker]] = {"tensorboard": TensorBoard, "mlflow": MLflow, "wandb": WandB}


def tracker(text: str) -> Tracker:
    """Return the tracker that a text names.

    Parameters
    ----------
    text
        ``"tensorboard"``, ``"tensorboard:FOLDER"``, ``"mlflow"``, ``"mlflow:URI"``, ``"wandb"`` or
        ``"wandb:PROJECT"``.

    Raises
    ------
    UsageError
        There is no such tracker, or its library is not installed.
    """
    kind, _, option = text.partition(":")
    if kind not in _KINDS:
        raise UsageError("unknown tracker", where=kind, todo=nearest(kind, _KINDS))
    return _KINDS[kind](option) if option else _KINDS[kind]()


def _library(module: str, package: str) -> Any:
    try:
        library = importlib.import_module(module)
    except ImportError as error:
        raise _not_there(package, first_line(error)) from error
    # wandb keeps its runs in a folder of its own name, which Python takes for a package where there is no other.
    if library.__file__ is None:
        raise _not_there(package, "there is only a folder of this name")
    return library


def _not_there(package: str, reason: str) -> UsageError:
    return UsageError(
        f"this tracker's library cannot be imported ({reason})",
        where=package,
        todo=f"Install it beside deepscope: pip install {package}",
    )


def _file_name(text: str) -> str:
    """Return the text where it can name a folder anywhere; else what can of it, told apart by a hash."""
    plain = re.sub(r"[^A-Za-z0-9_.,+= -]", "_", text).strip(". ")[:200]
    return plain if plain == text else f"{plain}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"
