"""The gradient of the mean loss, gathered batch by batch, with its spread."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class GradientNorm:
    """Norm of a gradient over some parameters, an upper bound on its standard error, and that of its matrices alone."""

    norm: float
    stderr: float | None
    matrix_norm: float
    weight_norm: float
    has_matrix: bool


class MeanGradient:
    """Running mean of the parameters' gradients; one copy of them in memory, at least in float32.

    Batch b is the mean of c_b terms; with C = Σ c_b the mean over all of them is Σ c_b g_b / C. Where terms are
    independent, Σ c_b ‖g_b − g‖² / ((B − 1) C) is an unbiased estimate of the trace of its covariance, and the norm,
    being 1-Lipschitz, spreads no more than that.
    """

    def __init__(self, parameters: Sequence[tuple[str, nn.Parameter]]) -> None:
        self.parameters = {name: parameter for name, parameter in parameters if parameter.requires_grad}
        self.terms = 0.0
        self.batches = 0
        self._means: dict[str, Tensor] = {}
        self._scatter: dict[str, float] = {}

    def see(self, loss: Tensor, count: float) -> None:
        """Add the gradient of one batch's loss, a mean over ``count`` terms."""
        gradients = torch.autograd.grad(loss, list(self.parameters.values()), allow_unused=True)
        before, self.terms = self.terms, self.terms + count
        self.batches += 1
        for name, gradient in zip(self.parameters, gradients, strict=True):
            if gradient is None and name not in self._means:
                continue
            mean = self._means.get(name)
            if mean is None:
                shape = self.parameters[name]
                mean = self._means[name] = torch.zeros_like(shape, dtype=_wide(shape.dtype), requires_grad=False)
                self._scatter[name] = 0.0
            # A parameter that a batch does not use has a gradient of zero there.
            delta = -mean if gradient is None else gradient.detach().to_dense().to(mean.dtype) - mean
            self._scatter[name] += before * count / self.terms * _norm(delta) ** 2
            mean.add_(delta, alpha=count / self.terms)

    def reaches(self, name: str) -> bool:
        """Whether the loss depends on a parameter."""
        return name in self._means

    def norm(self, names: Sequence[str]) -> GradientNorm | None:
        """Return the norm over some parameters together; None where the loss depends on none of them."""
        known = [name for name in names if name in self._means]
        if not known:
            return None
        matrices = [name for name in known if self._means[name].ndim >= 2]
        variance = sum(self._scatter[name] for name in known) / ((self.batches - 1) * self.terms or math.inf)
        return GradientNorm(
            norm=math.hypot(*(_norm(self._means[name]) for name in known)),
            stderr=math.sqrt(variance) if self.batches > 1 else None,
            matrix_norm=math.hypot(*(_norm(self._means[name]) for name in matrices)),
            weight_norm=math.hypot(*(_norm(self.parameters[name].detach()) for name in matrices)),
            has_matrix=bool(matrices),
        )


def _wide(dtype: torch.dtype) -> torch.dtype:
    return torch.float32 if dtype.itemsize < 4 else dtype


def _norm(tensor: Tensor) -> float:
    return float(torch.linalg.vector_norm(tensor, dtype=torch.float64))
