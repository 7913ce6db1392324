"""Activation functions, and what they do to a unit."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


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
    low, high
        Ends of the range of a bounded function, else None.
    """

    name: str
    shut_below: float | None = None
    low: float | None = None
    high: float | None = None


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
    return _ACTIVATIONS.get(name)
