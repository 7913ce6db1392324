"""What the spectrum of some functions along lines comes to."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from deepscope.linalg import line_spectrum

Floats = NDArray[np.float64]

#: More power than this share in the upper half of the frequencies: points lie too far apart.
UNRESOLVED = 0.1
#: What varies by less than this share of its size does not vary, nor what differs so little from a straight line bend:
#: single precision, through a layer.
_CONSTANT = 2e-6


@dataclass(frozen=True, kw_only=True)
class LineFrequencies:
    """How some functions (the units of a layer, an output, an error) vary along the lines.

    Attributes
    ----------
    name, kind
        The layer and its class, or what else it is.
    units
        Number of functions, over which variance is summed.
    centroid, centroid_stderr, centroid_low, centroid_high
        Mean frequency Σ_k k P_k / (S + Σ_k P_k), in cycles per line: P_k the variance at frequency k, S that of the
        straight line, whose frequency is 0. Its standard error over lines (jackknife) and 95 % interval.
    straight_share
        S / (S + Σ P).
    high_share, high_share_stderr
        Share of the variance above the cutoff.
    unresolved_share
        Share in the upper half of the frequencies, n/4 to n/2 for n points: large where frequencies beyond n/2 come in.
    spectrum, spectrum_stderr
        P_k / (S + Σ P) and its standard error, at frequencies 0, 1 … n // 2.
    status
        ``"ok"``, or what is to be said. Numbers are None, arrays empty, where there are none.
    """

    name: str
    kind: str
    units: int
    centroid: float | None = None
    centroid_stderr: float | None = None
    centroid_low: float | None = None
    centroid_high: float | None = None
    straight_share: float | None = None
    high_share: float | None = None
    high_share_stderr: float | None = None
    unresolved_share: float | None = None
    spectrum: Floats = field(default_factory=lambda: np.zeros(0))
    spectrum_stderr: Floats = field(default_factory=lambda: np.zeros(0))
    status: str

    @property
    def is_resolved(self) -> bool:
        """Whether little power lies near the highest frequency; also where nothing is known of it."""
        return self.unresolved_share is None or self.unresolved_share <= UNRESOLVED


@dataclass(frozen=True, eq=False)
class LineSums:
    """Spectra of some functions along some lines, summed over the functions.

    Attributes
    ----------
    straight, power, square
        [lines], [lines, k], [lines]: the variance of the straight part and by frequency, and the mean square.
    """

    straight: Floats
    power: Floats
    square: Floats

    @classmethod
    def of(cls, values: Tensor) -> LineSums:
        """Take values [lines, points, units] together."""
        found = line_spectrum(values)
        square = values.double().square().mean(dim=1).sum(dim=-1)
        parts = (found.straight.sum(dim=-1), found.power.sum(dim=-2), square)
        return cls(*(part.cpu().numpy() for part in parts))

    @classmethod
    def of_each(cls, values: Tensor) -> list[LineSums]:
        """Take each unit of values [lines, points, units] for itself."""
        found = line_spectrum(values)
        square = values.double().square().mean(dim=1)
        straight, power, squares = (part.cpu().numpy() for part in (found.straight, found.power, square))
        return [cls(straight[:, unit], power[:, unit], squares[:, unit]) for unit in range(values.shape[-1])]


class LinePower:
    """Gathers the spectrum of some functions, lines after lines.

    Parameters
    ----------
    name, kind, units
        Of the row.
    """

    def __init__(self, name: str, kind: str, units: int) -> None:
        self.name, self.kind, self.units = name, kind, units
        self._sums: list[LineSums] = []

    def add(self, sums: LineSums) -> None:
        """Add further lines."""
        self._sums.append(sums)

    def row(self, cutoff: float) -> LineFrequencies:
        """Return what all lines come to."""
        straight, power, square = (
            np.concatenate([getattr(each, name) for each in self._sums]) for name in ("straight", "power", "square")
        )
        finite = np.isfinite(straight) & np.isfinite(power).all(axis=1) & np.isfinite(square)
        about: dict[str, Any] = {"name": self.name, "kind": self.kind, "units": self.units}
        lines = len(finite)
        if not finite.any():
            return LineFrequencies(**about, status="not finite")
        straight, power, square = straight[finite], power[finite], square[finite]
        if float(straight.sum() + power.sum()) <= _CONSTANT**2 * float(square.sum()):
            return LineFrequencies(**about, status="does not vary along the lines")
        if float(power.sum()) <= _CONSTANT**2 * float(square.sum()):
            # A straight line, but for rounding, which has no frequency.
            power = np.zeros_like(power)
        frequencies = np.arange(power.shape[1], dtype=float)
        n_points = 2 * (power.shape[1] - 1)
        parts = np.column_stack(
            [
                power @ frequencies,
                straight,
                power[:, frequencies > cutoff].sum(axis=1),
                power[:, frequencies > n_points / 4].sum(axis=1),
                power,
            ]
        )
        values, errors = _jackknife(parts, straight + power.sum(axis=1))
        status = "ok" if finite.all() else f"not finite on {int((~finite).sum())} of {lines} lines"
        if status == "ok" and values[3] > UNRESOLVED:
            status = "the points lie too far apart for its frequencies"
        if status == "ok" and errors is None:
            status = "one line: no standard error"
        ends = (None, None) if errors is None else _interval(values[0], errors[0], len(power))
        return LineFrequencies(
            **about,
            centroid=float(values[0]),
            centroid_stderr=None if errors is None else float(errors[0]),
            centroid_low=ends[0],
            centroid_high=ends[1],
            straight_share=float(values[1]),
            high_share=float(values[2]),
            high_share_stderr=None if errors is None else float(errors[2]),
            unresolved_share=float(values[3]),
            spectrum=np.ascontiguousarray(values[4:]),
            spectrum_stderr=np.zeros(0) if errors is None else np.ascontiguousarray(errors[4:]),
            status=status,
        )


def _jackknife(parts: Floats, whole: Floats) -> tuple[Floats, Floats | None]:
    """Return Σ parts / Σ whole over lines, and its standard error: None where a line alone has all there is."""
    n, total = len(whole), float(whole.sum())
    values = parts.sum(axis=0) / total
    rest = total - whole
    if n < 2 or not np.all(rest > 1e-12 * total):
        return values, None
    without = (parts.sum(axis=0) - parts) / rest[:, None]
    return values, np.sqrt((n - 1) / n * np.sum((without - without.mean(axis=0)) ** 2, axis=0))


def _interval(value: float, stderr: float, n: int) -> tuple[float, float]:
    from scipy.special import stdtrit

    half = float(stdtrit(n - 1, 0.975)) * stderr
    return max(0.0, float(value) - half), float(value) + half
