"""What a power-law fit says of pure noise, by the shape of the matrix."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

import numpy as np
from numpy.typing import NDArray

from deepscope.linalg._power_law import MIN_VALUES

Floats = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class NullBand:
    """The central 95 % of what ``fit_power_law`` finds in the eigenvalues of Gaussian noise.

    Attributes
    ----------
    status
        ``"ok"``, or why there is no band; the numbers are then None.
    note
        Empty, or that the shape lies outside the table, and which shape the band is of.
    alpha_low, alpha_high
        Of the exponent.
    ks_low, ks_high
        Of the Kolmogorov–Smirnov distance.
    """

    status: str
    note: str = ""
    alpha_low: float | None = None
    alpha_high: float | None = None
    ks_low: float | None = None
    ks_high: float | None = None


def null_alpha_band(rows: int, cols: int, n_matrices: int = 1) -> NullBand:
    """Return between which values the exponent and the distance of a power-law fit to noise of this shape lie.

    Noise has no power law, yet the fit finds a tail in it, with an exponent that grows with the shorter side and with
    the ratio of the sides: 1.6 to 6.7 for 16 × 16, 6 to 42 for 1024 × 1024. The bands are the 2.5 % and 97.5 %
    quantiles of up to 2,000 spectra of each of a grid of shapes (``benchmarks/null_alpha.py`` draws and smooths them),
    interpolated linearly between their logarithms. Each limit alone is passed by 2.5 % of noise; α or the distance
    leaves its band in up to 10 %.

    Parameters
    ----------
    rows, cols
        Shape of a matrix.
    n_matrices
        How many matrices of this shape and one variance have their eigenvalues pooled.

    Returns
    -------
    NullBand
        Outside the grid (shorter side 16 to 4096, or 512 and 128 for 9 and 49 pooled matrices; ratio of the sides up
        to 128) the band of the nearest shape in it, with a note.

    Notes
    -----
    Cost: a tenth of a millisecond.

    Examples
    --------
    >>> band = null_alpha_band(768, 3072)
    >>> band.alpha_low > 5, band.note
    (True, '')
    """
    short, long = sorted((rows, cols))
    if short * n_matrices < MIN_VALUES:
        return NullBand(status=f"fewer than {MIN_VALUES} eigenvalues get no fit")
    slabs = _slabs()
    counts = np.log([slab.n_matrices for slab in slabs])
    at, part = _place(counts, math.log(n_matrices))
    used = [(slabs[at], 1 - part), (slabs[at + 1], part)]
    used = [(slab, share) for slab, share in used if share > 0]
    bands = sum(share * slab.logarithm(short, long / short) for slab, share in used)
    alpha_low, alpha_high, ks_low, ks_high = map(float, np.exp(bands))
    return NullBand(
        status="ok",
        note=_note(short, long / short, n_matrices, [slab for slab, _ in used]),
        alpha_low=alpha_low,
        alpha_high=alpha_high,
        ks_low=ks_low,
        ks_high=ks_high,
    )


@dataclass(frozen=True)
class _Slab:
    """The table for one number of pooled matrices, in logarithms."""

    n_matrices: int
    short: Floats
    ratio: Floats
    bands: Floats

    def logarithm(self, short: int, ratio: float) -> Floats:
        """Return the logarithms of the four limits."""
        i, down = _place(self.short, math.log(short))
        j, along = _place(self.ratio, math.log(ratio))
        square = self.bands[i : i + 2, j : j + 2]
        return np.asarray(np.einsum("i,j,ijk->k", [1 - down, down], [1 - along, along], square))


def _place(nodes: Floats, x: float) -> tuple[int, float]:
    """Return between which nodes x lies, and how far along, from 0 to 1; at the nearest node outside them."""
    i = int(np.clip(np.searchsorted(nodes, x, side="right") - 1, 0, len(nodes) - 2))
    return i, float(np.clip((x - nodes[i]) / (nodes[i + 1] - nodes[i]), 0.0, 1.0))


def _note(short: int, ratio: float, n_matrices: int, slabs: list[_Slab]) -> str:
    largest = min(round(math.exp(slab.short[-1])) for slab in slabs)
    smallest = max(round(math.exp(slab.short[0])) for slab in slabs)
    widest = min(round(math.exp(slab.ratio[-1])) for slab in slabs)
    most = _slabs()[-1].n_matrices
    clamped = [
        f"{name} {bound}"
        for name, value, bound in (
            ("shorter side", short, min(max(short, smallest), largest)),
            ("ratio of the sides", ratio, min(ratio, widest)),
            ("pooled matrices", n_matrices, min(n_matrices, most)),
        )
        if value != bound
    ]
    return f"outside the table; the band is that of {', '.join(clamped)}" if clamped else ""


@cache
def _slabs() -> tuple[_Slab, ...]:
    table = json.loads((files("deepscope.linalg") / "null_alpha.json").read_text(encoding="utf-8"))
    keys = ("short", "ratio", "bands")
    return tuple(_Slab(slab["n_matrices"], *(np.log(np.asarray(slab[key], float)) for key in keys)) for slab in table)
