"""Matrices that a network uses and does not store: made of a stored tensor and smaller ones beside it."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from deepscope.subject._layout import WHOLE, Layout

if TYPE_CHECKING:
    from deepscope.subject._weight import Weight


@dataclass(frozen=True, kw_only=True)
class Derived(ABC):
    """A matrix made of a tensor, whose layout lists it, and of others.

    It is made where that tensor, the largest of them, is in memory: only the others, by their handles, are read again.

    Attributes
    ----------
    name
        What it is called: as in the network without the reparametrisation.
    shape
        Its sizes.
    layout
        How it is laid out itself.
    others
        Handles of the other tensors that it is made of.
    caveat
        What of it is not known; empty where it is exact.
    """

    name: str
    shape: tuple[int, ...]
    layout: Layout = WHOLE
    others: tuple[Weight, ...] = field(default=(), repr=False)
    caveat: str = ""

    @abstractmethod
    def of(self, tensor: Tensor) -> Tensor:
        """Make it of the tensor's values, in float64."""

    def handle(self, weight: Weight) -> Weight:
        """Return the tensor's handle with the name, the shape and the layout of what is made of it."""
        return replace(weight, name=self.name, shape=self.shape, layout=self.layout, tied=())

    def read_others(self, device: torch.device) -> list[Tensor]:
        """Read what else it is made of, in float64."""
        return [other.read().to(device, torch.float64) for other in self.others]


@dataclass(frozen=True, kw_only=True)
class WeightNormed(Derived):
    """g·v / ‖v‖, the norm over the dimensions in which the gain g is of size 1 (``salimans2016weight``)."""

    def of(self, tensor: Tensor) -> Tensor:
        """Make it of the direction v."""
        direction = tensor.to(torch.float64)
        (gain,) = self.read_others(tensor.device)
        shared = [dim for dim, size in enumerate(gain.shape) if size == 1] or list(range(direction.ndim))
        length: Tensor = torch.linalg.vector_norm(direction, dim=shared, keepdim=True)
        return direction * (gain / length)


@dataclass(frozen=True, kw_only=True)
class SpectrallyNormed(Derived):
    """W / σ with σ = uᵀWv of the stored vectors u and v, as in evaluation mode (``miyato2018spectral``)."""

    dim: int

    def of(self, tensor: Tensor) -> Tensor:
        """Make it of the weight W before its division."""
        weight = tensor.to(torch.float64)
        left, right = self.read_others(tensor.device)
        sigma = torch.vdot(left, weight.movedim(self.dim, 0).flatten(1) @ right)
        return weight / sigma


@dataclass(frozen=True, kw_only=True)
class LowRank(Derived):
    """The update s·B·A of rank r, as the matrix [r, r] of its singular values other than 0 (``hu2022lora``).

    With B = Q_B R_B and Aᵀ = Q_A R_A it is s·R_B R_Aᵀ, of at most r² values instead of [out, in].
    """

    scale: float

    def of(self, tensor: Tensor) -> Tensor:
        """Make it of B."""
        (down,) = self.read_others(tensor.device)
        left: Tensor = torch.linalg.qr(tensor.to(torch.float64).flatten(1), mode="r").R
        right: Tensor = torch.linalg.qr(down.flatten(1).T, mode="r").R
        return self.scale * (left @ right.T)


@dataclass(frozen=True, kw_only=True)
class Merged(Derived):
    """W + s·B·A, transposed where the layer stores W as [in, out] (``hu2022lora``).

    With a magnitude m among the others, each output's weights are brought to the norm m_i (DoRA, ``liu2024dora``).
    """

    scale: float
    transposed: bool

    def of(self, tensor: Tensor) -> Tensor:
        """Make it of the base weight W."""
        up, down, *magnitude = self.read_others(tensor.device)
        update = up.flatten(1) @ down.flatten(1)
        update = update.T if self.transposed else update.reshape(self.shape)
        merged = tensor.to(torch.float64) + self.scale * update
        if not magnitude:
            return merged
        outputs = 1 if self.transposed else 0
        length: Tensor = torch.linalg.vector_norm(merged.movedim(outputs, 0).flatten(1), dim=1)
        sides = [-1 if dim == outputs else 1 for dim in range(merged.ndim)]
        return merged * (magnitude[0].flatten() / length).view(sides)


def low_rank_shape(up: tuple[int, ...], down: tuple[int, ...]) -> tuple[int, int]:
    """Return the sides of s·R_B R_Aᵀ for shapes of B and A.

    >>> low_rank_shape((64, 8), (8, 32))
    (8, 8)
    """
    rank = down[0]
    return min(up[0], rank), min(math.prod(down[1:]), rank)
