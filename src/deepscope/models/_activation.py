"""Activation functions by name."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from deepscope.core import UsageError, nearest


class Sine(nn.Module):
    """sin(x) of each number."""

    def forward(self, x: Tensor) -> Tensor:
        """Return the sines."""
        return torch.sin(x)


_ACTIVATIONS: dict[str, type[nn.Module]] = {
    "elu": nn.ELU,
    "gelu": nn.GELU,
    "identity": nn.Identity,
    "leaky-relu": nn.LeakyReLU,
    "mish": nn.Mish,
    "relu": nn.ReLU,
    "selu": nn.SELU,
    "sigmoid": nn.Sigmoid,
    "silu": nn.SiLU,
    "sin": Sine,
    "softplus": nn.Softplus,
    "softsign": nn.Softsign,
    "swish": nn.SiLU,
    "tanh": nn.Tanh,
}


def make_activation(name: str) -> nn.Module:
    """Return a new activation module, which maps each number x of its own.

    =================== ====================================================
    ``"elu"``           x where x > 0, else eˣ − 1
    ``"gelu"``          x Φ(x), Φ the normal distribution
    ``"identity"``      x
    ``"leaky-relu"``    x where x > 0, else x/100
    ``"mish"``          x tanh(ln(1 + eˣ))
    ``"relu"``          max(x, 0)
    ``"selu"``          λ x where x > 0, else λ α (eˣ − 1); λ = 1.0507 and α =
                        1.6733 keep mean 0 and variance 1
                        (``klambauer2017self``)
    ``"sigmoid"``       1/(1 + e⁻ˣ)
    ``"silu"``          x/(1 + e⁻ˣ); ``"swish"`` is the same
    ``"sin"``           sin x
    ``"softplus"``      ln(1 + eˣ)
    ``"softsign"``      x/(1 + |x|)
    ``"tanh"``          tanh x
    =================== ====================================================

    Raises
    ------
    UsageError
        No activation has this name.
    """
    try:
        return _ACTIVATIONS[name]()
    except KeyError:
        raise UsageError("unknown activation", where=name, todo=nearest(name, _ACTIVATIONS)) from None
