"""A tensor to be measured, as plain data: its handle crosses borders of processes and machines, its values never do."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch

from deepscope.core import Cost, DeepscopeError, TargetError, one_line
from deepscope.lab._task import Tell
from deepscope.subject import Step, Weight, measure_weight


@dataclass(frozen=True, kw_only=True)
class TensorResult:
    """What became of one tensor.

    Attributes
    ----------
    name
        The tensor's.
    records, costs
        By instrument, what its step returned and took; an instrument that failed has no records.
    errors
        By instrument that failed, why.
    lost
        Why no instrument could measure it: its worker died, say.
    unreadable
        The error where its file is gone or has changed.
    """

    name: str
    records: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)
    costs: Mapping[str, Cost] = field(default_factory=dict)
    errors: Mapping[str, str] = field(default_factory=dict)
    lost: str = ""
    unreadable: TargetError | None = None


@dataclass(frozen=True, kw_only=True)
class TensorTask:
    """One tensor to be measured by several instruments.

    Attributes
    ----------
    weight
        Its handle.
    steps
        Instrument name to its step, with its effort bound.
    device
        Where the values are put; None for where they are.
    """

    weight: Weight
    steps: Mapping[str, Step]
    device: torch.device | None = None

    @property
    def identity(self) -> str:
        """The tensor's name."""
        return self.weight.name

    def run(self, tell: Tell) -> TensorResult:
        """Read the tensor, once, and measure it."""
        tell(0.0)
        try:
            results = measure_weight(self.weight, self.steps, self.device)
        except TargetError as error:
            return TensorResult(name=self.identity, unreadable=error)
        return TensorResult(
            name=self.identity,
            records={name: result.records for name, result in results.items() if result.error is None},
            costs={name: result.cost for name, result in results.items()},
            # Their reasons alone: an exception would keep the tensor, through its traceback, in memory.
            errors={name: reason_of(result.error) for name, result in results.items() if result.error is not None},
        )

    def failed(self, why: str, *, wall_seconds: float = 0.0) -> TensorResult:
        """Return what stands for the result where a worker was lost."""
        del wall_seconds
        return TensorResult(name=self.identity, lost=why)


def reason_of(error: BaseException) -> str:
    """Say why an instrument failed, in one line."""
    if isinstance(error, DeepscopeError):
        said, _, todo = str(error).partition("\n")
        return f"{said.removesuffix('.')}. {todo}".rstrip()
    return one_line(error)
