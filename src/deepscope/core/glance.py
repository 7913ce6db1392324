"""Rows of the network at a glance."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal


@dataclass(frozen=True)
class Track:
    """One quantity over the layers of a network: one thin row of the network at a glance.

    Attributes
    ----------
    label
        What is drawn, with its unit: ``"tail exponent α"``.
    values
        Layer name (a module's, or a tensor's name without its last part) to value; layers without a value are absent.
    low, high
        Ends of the 95 % interval, by layer, where there is one.
    band
        The range in which a value is unremarkable, or None.
    scale
        ``"linear"`` or ``"log"``.
    """

    label: str
    values: Mapping[str, float]
    low: Mapping[str, float] = field(default_factory=dict)
    high: Mapping[str, float] = field(default_factory=dict)
    band: tuple[float, float] | None = None
    scale: Literal["linear", "log"] = "linear"
