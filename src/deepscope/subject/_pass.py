"""One pass over the weights for many instruments."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from deepscope.core import Cost, LeftOut, MeasurementError, Stopwatch
from deepscope.subject._heap import release_freed_memory
from deepscope.subject._subject import Subject
from deepscope.subject._weight import Weight

#: ``step(weight, tensor)``: an instrument's records of one tensor, None where it cannot be measured.
Step = Callable[..., Sequence[Any]]
#: Bytes of a tensor from which on what its measurement freed is worth giving back.
_LARGE = 2**20


@dataclass(frozen=True)
class StepResult:
    """What one instrument made of one tensor.

    Attributes
    ----------
    records
        What its step returned; none where it failed.
    cost
        What that took.
    error
        What the step raised; None where it did not fail.
    """

    records: tuple[Any, ...]
    cost: Cost
    error: BaseException | None = None


def measure_weight(
    weight: Weight, steps: Mapping[str, Step], device: torch.device | None = None
) -> dict[str, StepResult]:
    """Read a tensor once and hand it to every instrument's step.

    Parameters
    ----------
    weight
        Its handle.
    steps
        Instrument name to ``step(weight, tensor)``; ``tensor`` is None where the weight cannot be measured.
    device
        Where the tensor is put; where it is read unless given.

    Raises
    ------
    TargetError
        The file is gone or has changed.
    """
    tensor = None if weight.why_not_measured else _read(weight, device)
    before = _version(tensor)
    results = {}
    for name, step in steps.items():
        records: tuple[Any, ...] = ()
        failure: BaseException | None = None
        with Stopwatch() as watch:
            try:
                records = tuple(step(weight, tensor))
            except (Exception, SystemExit) as error:
                failure = error
        if _version(tensor) != before:
            # The next instrument must not see what this one has written.
            failure = MeasurementError(f"{name} has written into the tensor", where=weight.name)
            tensor = _read(weight, device)
            before = _version(tensor)
        results[name] = StepResult(records, watch.cost, failure)
    del tensor
    if weight.nbytes >= _LARGE:
        release_freed_memory()
    return results


def _version(tensor: Tensor | None) -> int:
    """Return how often a tensor was written to, as torch counts it."""
    return tensor._version if tensor is not None and not tensor.is_inference() else 0


def _read(weight: Weight, device: torch.device | None) -> Tensor:
    tensor = weight.read()
    return tensor if device is None else tensor.to(device)


def measure_alone(subject: Subject, step: Step, gather: Callable[..., Any], **effort: Any) -> Any:
    """Run one per-weight instrument by itself; what its ``measure`` function calls."""
    asked = {"it": partial(step, **effort)}
    records: list[Any] = []
    cost = Cost()
    with subject.undisturbed():
        for weight in subject.weights():
            result = measure_weight(weight, asked, subject.put_on)["it"]
            if result.error is not None:
                raise result.error
            records += result.records
            cost += result.cost
    return gather(subject, [*records, *subject.left_out], cost)


def split_ledger(items: Iterable[Any]) -> tuple[list[Any], tuple[LeftOut, ...]]:
    """Separate the records of a pass from what was left out."""
    items = list(items)
    return [i for i in items if not isinstance(i, LeftOut)], tuple(i for i in items if isinstance(i, LeftOut))
