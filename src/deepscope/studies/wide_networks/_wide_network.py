"""Fully connected networks in the NTK parametrisation: their outputs, their tangent kernel, a step of descent."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

#: σ_w², for which ReLU passes on the mean square.
WEIGHT_VARIANCE = 2.0


def _erf_slope(z: Tensor) -> Tensor:
    return 2 / math.sqrt(math.pi) * torch.exp(-z.square())


#: φ and φ′. At 0 the slope of ReLU is 0, as in torch.
ACTIVATIONS: dict[str, tuple[Callable[[Tensor], Tensor], Callable[[Tensor], Tensor]]] = {
    "relu": (torch.relu, lambda z: (z > 0).to(z.dtype)),
    "erf": (torch.special.erf, _erf_slope),
}


class _Pass(NamedTuple):
    """Of each layer its inputs h and what it makes of them, z; each [units, samples]."""

    inputs: list[Tensor]
    made: list[Tensor]


@dataclass(frozen=True, eq=False)
class WideNetwork:
    """A network of one output, f(x) = s · g(x), where each layer of g computes √(σ_w²/fan-in) · W h, without biases.

    Attributes
    ----------
    weights
        Float64, first layer first: [n, d], [n, n] for each further hidden layer, [1, n]. ``descend`` changes them.
    activation
        ``"relu"`` or ``"erf"``.
    scale
        s. 1 is the NTK parametrisation; 1/√n makes of the last layer's 1/√n the 1/n of mean-field theory.

    Notes
    -----
    Learning rates are those of g: ``descend`` divides them by s², so that whatever s is, outputs move to first order by
    the tangent kernel of g. In mean-field scaling this multiplies the learning rate by n. The tangent kernel is the sum
    over layers of σ_w²/fan-in · (HᵀH) ∘ (GᵀG), with H the layer's inputs and G the derivative of g by what the layer
    makes: no sample's gradient is ever formed.
    """

    weights: tuple[Tensor, ...]
    activation: str
    scale: float = 1.0

    @classmethod
    def drawn(
        cls,
        rng: np.random.Generator,
        widths: tuple[int, ...],
        activation: str,
        *,
        scale: float = 1.0,
        device: torch.device | None = None,
    ) -> WideNetwork:
        """Return a network of these numbers of inputs and hidden units, all weights from N(0, 1)."""
        shapes = itertools.pairwise((*widths, 1))
        weights = tuple(torch.from_numpy(rng.standard_normal((out, into))).to(device) for into, out in shapes)
        return cls(weights, activation, scale)

    def outputs(self, inputs: Tensor) -> Tensor:
        """Return f of inputs [samples, d]: [samples]."""
        return self.scale * self._forward(inputs).made[-1][0]

    def tangent_kernel(self, inputs: Tensor) -> Tensor:
        """Return Θ of g, the inner products of the gradients of its outputs by all weights, [samples, samples].

        Cost: samples² · n a layer, and samples · n² for each layer between hidden layers.
        """
        done = self._forward(inputs)
        kernel = inputs.new_zeros(len(inputs), len(inputs))
        for weight, h, g in zip(self.weights, done.inputs, self._backward(done), strict=True):
            kernel += WEIGHT_VARIANCE / weight.shape[1] * (h.T @ h) * (g.T @ g)
        return kernel

    def loss(self, inputs: Tensor, targets: Tensor) -> tuple[float, list[Tensor]]:
        """Return the mean squared error, and the gradient of half of it by each of the weights."""
        done = self._forward(inputs)
        error = self.scale * done.made[-1][0] - targets
        found = []
        for weight, h, g in zip(self.weights, done.inputs, self._backward(done), strict=True):
            size = self.scale * math.sqrt(WEIGHT_VARIANCE / weight.shape[1]) / len(targets)
            found.append((size * error * g) @ h.T)
        return error.square().mean().item(), found

    def descend(self, gradients: list[Tensor], rate: float) -> None:
        """Take one step of gradient descent, in place; ``rate`` is that of g."""
        for weight, gradient in zip(self.weights, gradients, strict=True):
            weight.sub_(gradient, alpha=rate / self.scale**2)

    def _forward(self, inputs: Tensor) -> _Pass:
        rectify, _ = ACTIVATIONS[self.activation]
        h, done = inputs.T, _Pass([], [])
        for weight in self.weights:
            done.inputs.append(h)
            done.made.append(math.sqrt(WEIGHT_VARIANCE / weight.shape[1]) * (weight @ h))
            h = rectify(done.made[-1])
        return done

    def _backward(self, done: _Pass) -> list[Tensor]:
        """Return ∂g/∂z of each layer, [units, samples]."""
        _, slope = ACTIVATIONS[self.activation]
        found = [torch.ones_like(done.made[-1])]
        for weight, z in zip(self.weights[:0:-1], done.made[-2::-1], strict=True):
            found.append(math.sqrt(WEIGHT_VARIANCE / weight.shape[1]) * (weight.T @ found[-1]) * slope(z))
        return found[::-1]
