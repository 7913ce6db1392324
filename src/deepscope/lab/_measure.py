"""One measurement of a network that trains: whatever happens in it, the training goes on as without."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from deepscope.core import LeftOut, UsageError, derive_seed
from deepscope.lab._probes import Probe
from deepscope.lab._tensor_task import reason_of
from deepscope.subject import Subject

#: Columns of the table that no probe may give.
RESERVED = (
    *("step", "training_seconds", "measuring_seconds", "training_loss", "learning_rate", "stability_threshold"),
    *("kind", "name", "run", "subject", "status"),
)


@dataclass(frozen=True)
class Measured:
    """What one measurement gave.

    Attributes
    ----------
    numbers
        By name; None where a number could not be had.
    status
        ``"ok"``, or which numbers there are not, and why.
    dropped
        Probes that failed and are not measured again, with the reason.
    """

    numbers: dict[str, float | None] = field(default_factory=dict)
    status: str = "ok"
    dropped: tuple[LeftOut, ...] = ()


class Measurer:
    """Measures a subject with several probes, and drops those that fail.

    Parameters
    ----------
    subject
        What is measured.
    probes
        In this order; their names differ.
    seed
        From it each probe's generator starts, each time anew.
    clock
        Gives seconds.
    """

    def __init__(
        self, subject: Subject, probes: Sequence[Probe], seed: int, clock: Callable[[], float] = time.perf_counter
    ) -> None:
        self.subject, self.probes, self._seed, self._clock = subject, list(probes), seed, clock
        self._took: dict[str, float] = {}
        self._owners: dict[str, str] = dict.fromkeys(RESERVED, "")

    @property
    def expected_seconds(self) -> float:
        """What the next measurement will take: what each probe that is left took the last time."""
        return math.fsum(self._took.get(probe.name, 0.0) for probe in self.probes)

    def measure(self) -> Measured:
        """Measure with every probe that is left."""
        assert self.subject.model is not None
        kept = _Kept(self.subject.model)
        measured: dict[str, float | None] = {}
        missing, dropped = [], []
        for probe in tuple(self.probes):
            before = self._clock()
            try:
                numbers = self._numbers(probe, kept)
            except (Exception, SystemExit) as error:
                # A model's forward pass may even try to end the process.
                self.probes.remove(probe)
                dropped.append(LeftOut(probe.name, reason_of(error)))
                continue
            self._took[probe.name] = self._clock() - before
            for name, value in numbers.items():
                known = isinstance(value, float) and math.isfinite(value)
                measured[name] = value if isinstance(value, float) and known else None
                if not known:
                    missing.append(f"{name}: {value or 'not known'}")
        return Measured(measured, "; ".join(missing) or "ok", tuple(dropped))

    def _numbers(self, probe: Probe, kept: _Kept) -> dict[str, float | str | None]:
        seed = derive_seed(self._seed, probe.name)
        with (
            kept.put_back(),
            self.subject.undisturbed(seed=seed),
            torch.inference_mode(False),
            torch.enable_grad(),
            torch.autocast(self.subject.device.type, enabled=False),
        ):
            given = probe.measure(self.subject, torch.Generator().manual_seed(seed))
            numbers = {
                str(name): value if value is None or isinstance(value, str) else float(value)
                for name, value in _items(given)
            }
        for name in numbers:
            if self._owners.setdefault(name, probe.name) != probe.name:
                raise UsageError(f"it gives a number that is called {name}, as another is", where=probe.name)
        return numbers


def _items(given: object) -> Iterator[tuple[object, float | str | None]]:
    if not isinstance(given, Mapping):
        raise UsageError(f"it gives no numbers by name but a {type(given).__name__}")
    return iter(given.items())


class _Kept:
    """The parameters' values before a measurement."""

    def __init__(self, model: nn.Module) -> None:
        self._values = [(parameter, parameter.detach().clone()) for parameter in model.parameters()]

    @contextmanager
    def put_back(self) -> Iterator[None]:
        """Put parameters back that a probe has changed; that it did is said by ``Subject.undisturbed``."""
        try:
            yield
        finally:
            for parameter, values in self._values:
                if _same_bytes(parameter.detach(), values):
                    continue
                if parameter.shape != values.shape or parameter.dtype != values.dtype:
                    parameter.data = values.clone()
                else:
                    with torch.no_grad():
                        parameter.copy_(values)


def _same_bytes(one: Tensor, other: Tensor) -> bool:
    if one.shape != other.shape or one.dtype != other.dtype:
        return False
    # As bytes: NaN equals itself, and 0 is not −0.
    return torch.equal(*(each.contiguous().reshape(-1).view(torch.uint8) for each in (one, other)))
