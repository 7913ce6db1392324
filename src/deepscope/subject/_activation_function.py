"""Activation functions, and what they do to a unit."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True)
class Activation:
    """What an activation function does to a unit.

    Attributes
    ----------
    name
        As torch calls the function.
    shut_below
        A rectifier lets nothing through where its input is at most this: 0 for ReLU. For the smooth rectifiers it is
        the input at which output / input, the gate, is 1e-3: Φ(x) for GELU, σ(x) for SiLU, tanh(ln(1 + eˣ)) for Mish.
        None for other functions.
    input
        Which of the call's tensors is its input, counted from 0.
    low, high
        Ends of the range of a bounded function, else None.
    """

    name: str
    shut_below: float | None = None
    low: float | None = None
    high: float | None = None
    input: int = 0


_ACTIVATIONS = {
    each.name: each
    for each in (
        Activation("relu", shut_below=0.0),
        Activation("relu6", shut_below=0.0),
        Activation("hardswish", shut_below=-3.0),
        Activation("gelu", shut_below=-3.0902),
        Activation("silu", shut_below=-6.9068),
        Activation("mish", shut_below=-6.9073),
        Activation("sigmoid", low=0.0, high=1.0),
        Activation("hardsigmoid", low=0.0, high=1.0),
        Activation("tanh", low=-1.0, high=1.0),
        Activation("softsign", low=-1.0, high=1.0),
    )
}


def activation_of(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Activation | None:
    """Return the activation function that a call of a torch function is, or None."""
    # torch.relu, torch.relu_, Tensor.relu_ and F.relu bear one name.
    name = getattr(func, "__name__", "").strip("_")
    if name == "hardtanh":
        low = float(args[1] if len(args) > 1 else kwargs.get("min_val", -1.0))
        high = float(args[2] if len(args) > 2 else kwargs.get("max_val", 1.0))
        # nn.ReLU6 is nn.Hardtanh from 0 to 6.
        return Activation(name, shut_below=0.0) if low == 0 else Activation(name, low=low, high=high)
    if name == "threshold":
        below = args[1] if len(args) > 1 else kwargs.get("threshold")
        value = args[2] if len(args) > 2 else kwargs.get("value")
        return Activation(name, shut_below=float(below)) if value == 0 and below is not None else None
    return _ACTIVATIONS.get(name) or _rectifier_by_hand(name, args, kwargs)


def _rectifier_by_hand(name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Activation | None:
    """Return the rectifier that a call of an elementwise function amounts to: max(x, 0) in any of its spellings."""
    if name in {"clamp", "clip", "clamp_min"}:
        low = args[1] if len(args) > 1 else kwargs.get("min")
        return Activation(name, shut_below=0.0) if _is_zero(low) else None
    if name in {"maximum", "max", "fmax"}:
        pair = [*args, *(kwargs[key] for key in ("input", "other") if key in kwargs)]
        if len(pair) != 2 or not all(isinstance(each, Tensor) for each in pair):
            return None
        zero = [_is_zero(each) for each in pair]
        return Activation(name, shut_below=0.0, input=zero.index(False)) if sum(zero) == 1 else None
    if name == "where" and len(args) == 3:
        condition, value, other = args
        # torch.where(x > 0, x, 0), and nothing else: a mask that does not come from x opens no unit.
        if isinstance(value, Tensor) and isinstance(condition, Tensor) and _is_zero(other):
            plain, opened = condition.detach(), value.detach() > 0
            same = plain.shape == opened.shape and torch.equal(plain, opened)
            return Activation(name, shut_below=0.0, input=1) if same else None
    return None


def _is_zero(value: Any) -> bool:
    if isinstance(value, Tensor):
        return value.numel() > 0 and not bool(value.detach().any())
    return isinstance(value, (int, float)) and value == 0
