"""What Mixup and CutMix have in common: data whose batches are mixed, shares and partners, and targets to mix."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from deepscope.core import UsageError
from deepscope.training._fit import Data
from deepscope.training._rate import above_zero, check, count


@dataclass(frozen=True)
class Mixing(ABC):
    """Data whose batches are mixed: a subclass says how.

    Parameters
    ----------
    data
        What maps an epoch's number to its batches, as ``fit`` takes it.
    alpha
        Of the Beta distribution that λ is drawn from.
    classes
        Number of classes, where targets are class indices.

    Raises
    ------
    UsageError
        α is not a finite number above 0, or the number of classes is below 1; when read: batches of another kind.
    """

    data: Data
    alpha: float = 1.0
    classes: int | None = None

    def __post_init__(self) -> None:
        above_zero(self.alpha, "alpha", type(self).__name__)
        if self.classes is not None:
            count(self.classes, "classes", type(self).__name__)

    def __call__(self, epoch: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Give the batches of an epoch, mixed."""
        for inputs, targets in self.data(epoch):
            yield self.mix(inputs, targets)

    @abstractmethod
    def mix(self, inputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """Return a batch, mixed."""


def draw_share(alpha: float) -> float:
    """Draw λ from Beta(α, α): the share of one of two Gamma(α) numbers in their sum.

    In logarithms, as both are 0 in floating point where α is small: a Gamma(α) number is one of Gamma(α + 1) times
    u^(1/α), u uniform.
    """
    shape = torch.full((2,), alpha, dtype=torch.float64)
    first, second = torch.distributions.Gamma(shape + 1, 1).sample().log() + torch.rand(2).double().log() / shape
    return float(torch.sigmoid(first - second).item())


def draw_partners(samples: Tensor) -> Tensor:
    """Draw a permutation of the batch, [n]; the same on each device."""
    return torch.randperm(len(samples)).to(samples.device)


def mixed(first: Tensor, second: Tensor, share: float) -> Tensor:
    """Return λ first + (1 − λ) second."""
    return share * first + (1 - share) * second


def as_numbers(targets: Tensor, classes: int | None, dtype: torch.dtype, where: str) -> Tensor:
    """Return targets that can be mixed: floating-point ones as they are, class indices as probabilities [n, classes].

    Raises
    ------
    UsageError
        Class indices without a number of classes, or not below it, or not [n].
    """
    if targets.is_floating_point():
        return targets
    if classes is None or targets.ndim != 1:
        kind = str(targets.dtype).removeprefix("torch.")
        raise UsageError(
            f"targets are {list(targets.shape)} of {kind}, and classes is {classes}",
            where=where,
            todo="Give class indices [n] and classes=…, their number; or floating-point targets.",
        )
    if len(targets) and not 0 <= int(targets.min()) <= int(targets.max()) < classes:
        raise UsageError(
            f"targets run from {int(targets.min())} to {int(targets.max())}, and classes is {classes}",
            where=where,
            todo=f"Give class indices from 0 to {classes - 1}, or more classes.",
        )
    return one_hot(targets.long(), classes).to(dtype)


def check_batch(inputs: Any, targets: Any, fits: bool, wanted: str, where: str) -> None:
    """Refuse a batch that is not a pair of tensors of as many samples and of a shape that fits.

    Raises
    ------
    UsageError
        It is not.
    """
    if not isinstance(inputs, Tensor) or not isinstance(targets, Tensor):
        kinds = f"{type(inputs).__name__} and {type(targets).__name__}"
        raise UsageError(f"inputs and targets are {kinds}", where=where, todo="Give tensors.")
    check(inputs, fits, wanted, where)
    if targets.shape[:1] != inputs.shape[:1]:
        raise UsageError(
            f"inputs are {list(inputs.shape)}, and targets {list(targets.shape)}",
            where=where,
            todo="Give a target for each sample.",
        )
