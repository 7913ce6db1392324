"""A function on scattered points taken apart into bands of frequencies, and how far another is from it in each."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from deepscope.core import UsageError
from deepscope.linalg._gaussian_filter import gaussian_filter

Floats = NDArray[np.float64]

#: A band that holds less of the targets than this share of their norm is rounding, and has no relative error.
_ROUNDING = 1e-6
#: Waves that the points can hardly tell apart: a ratio of singular values beyond which rounding and noise are raised.
_ILL_CONDITIONED = 1e6


class FrequencyBands(Protocol):
    """Parts of functions on n points, by frequency.

    Attributes
    ----------
    names
        What each part is called.
    frequencies
        One number for each, by which they are ordered: higher is a higher frequency.
    """

    @property
    def names(self) -> tuple[str, ...]: ...

    @property
    def frequencies(self) -> tuple[float, ...]: ...

    def parts(self, values: NDArray[Any]) -> Floats:
        """Return the parts of values [n, k], [bands, m, k]: linear, and 0 for values that are the same everywhere."""


def band_errors(bands: FrequencyBands, outputs: NDArray[Any], targets: NDArray[Any]) -> Floats:
    """Return ‖(h − y)_b‖ / ‖y_b‖ for each band b, of outputs h and targets y, [n, k] or [n].

    An output that is the same everywhere has the error 1 in each. NaN where the targets have nothing in a band.

    Examples
    --------
    >>> x = np.arange(16) / 16
    >>> y = np.sin(2 * np.pi * x) + np.sin(6 * np.pi * x)
    >>> band_errors(FourierModes(x, [1, 3]), np.sin(2 * np.pi * x), y).round(9).tolist()
    [0.0, 1.0]
    """
    y, h = (np.asarray(each, np.float64).reshape(len(each), -1) for each in (targets, outputs))
    if y.shape != h.shape:
        raise UsageError("outputs do not fit the targets", where=f"{h.shape} and {y.shape}")
    wanted, missed = (np.sqrt(np.sum(bands.parts(each) ** 2, axis=(1, 2))) for each in (y, h - y))
    least = _ROUNDING * np.linalg.norm(y - y.mean(axis=0))
    return np.where(wanted > least, missed / np.where(wanted > least, wanted, 1.0), np.nan)


class GaussianBands:
    """Bands between Gaussian filters of several widths; together they are the whole, less its mean.

    With S_δ of ``GaussianFilter`` and widths δ₁ > δ₂ > … : the lowest band is S_δ₁ y, then (S_δ₂ − S_δ₁) y …, and the
    highest y − S_δₘ y; the mean of y is taken off. One width gives the low and the high part of the filtering method
    (``xu2020frequency``).

    Parameters
    ----------
    squared_distances
        Between the n points, [n, n].
    widths
        δ, in units of distance, in any order.

    Raises
    ------
    UsageError
        No width, one twice, or one that is not above 0.

    Notes
    -----
    A band is ordered by 1/δ of its upper end; the highest has half the step of the ladder more. Memory: [n, n] for each
    width.

    Examples
    --------
    >>> x = np.linspace(0, 1, 50)
    >>> bands = GaussianBands(np.subtract.outer(x, x) ** 2, [0.05, 0.2])
    >>> bands.names
    ('δ above 0.2', 'δ 0.05 to 0.2', 'δ below 0.05')
    >>> bool(np.allclose(bands.parts(x[:, None]).sum(axis=0), (x - x.mean())[:, None]))
    True
    """

    def __init__(self, squared_distances: NDArray[Any], widths: Sequence[float]) -> None:
        ladder = sorted((float(width) for width in widths), reverse=True)
        if not ladder or not ladder[-1] > 0 or len(set(ladder)) < len(ladder):
            raise UsageError(f"the widths are {list(widths)}", where="widths", todo="Give different ones above 0.")
        self.widths = tuple(ladder)
        self._weights = [gaussian_filter(squared_distances, width).weights for width in ladder]

    @property
    def names(self) -> tuple[str, ...]:
        """What each band is called, from low to high."""
        ladder = [f"{width:.3g}" for width in self.widths]
        between = [f"δ {narrow} to {wide}" for wide, narrow in pairwise(ladder)]
        return (f"δ above {ladder[0]}", *between, f"δ below {ladder[-1]}")

    @property
    def frequencies(self) -> tuple[float, ...]:
        """1/δ of each band's upper end, ascending; twice the last for what lies above."""
        upper = [1 / width for width in self.widths]
        return (*upper, 2 * upper[-1])

    def parts(self, values: NDArray[Any]) -> Floats:
        """Return the bands of values [n, k], [bands, n, k]."""
        y = np.asarray(values, np.float64)
        y = y - y.mean(axis=0)
        lows = [np.zeros_like(y), *(weights @ y for weights in self._weights), y]
        return np.diff(np.stack(lows), axis=0)


class FourierModes:
    """Waves fitted to values on scattered points by least squares, a band for each.

    y ≈ c + Σ_j a_j cos(2π f_j·x) + b_j sin(2π f_j·x): a wave's part is (a_j, b_j). On even points over whole periods
    these are the Fourier coefficients; elsewhere they are told from each other as far as the points do.

    Parameters
    ----------
    points
        x, [n, d] or [n].
    waves
        f, [m, d] or [m]: cycles per unit of x.

    Raises
    ------
    UsageError
        The points cannot tell the waves from each other or from a constant: too few points, a wave twice, or beyond
        what their spacing resolves.

    Notes
    -----
    Cost: a least-squares problem of [n, 2m + 1] once, then its product with the values.

    Examples
    --------
    >>> x = np.arange(16) / 16
    >>> np.abs(FourierModes(x, [1, 3]).parts(np.cos(2 * np.pi * 3 * x)[:, None])).round(9)[:, :, 0].tolist()
    [[0.0, 0.0], [1.0, 0.0]]
    """

    def __init__(self, points: NDArray[Any], waves: NDArray[Any] | Sequence[Any]) -> None:
        x, f = (np.asarray(each, np.float64) for each in (points, waves))
        x = x.reshape(len(x), -1) if x.ndim else x
        f = f.reshape(len(f), -1) if f.ndim else f
        if x.ndim != 2 or f.ndim != 2 or x.shape[1] != f.shape[1] or not len(f):
            raise UsageError("waves do not fit the points", where=f"{x.shape} and {f.shape}", todo="Give [m, d] waves.")
        self.waves = f
        angles = 2 * np.pi * (x @ f.T)
        basis = np.concatenate([np.ones((len(x), 1)), np.cos(angles), np.sin(angles)], axis=1)
        sizes = np.linalg.svd(basis, compute_uv=False)
        if basis.shape[0] < basis.shape[1] or sizes[0] > _ILL_CONDITIONED * sizes[-1]:
            raise UsageError(
                f"{len(x)} points cannot tell {len(f)} waves apart",
                where="waves",
                todo="Give more points, or waves that differ by a cycle or more over their extent.",
            )
        self._fit = np.linalg.pinv(basis)[1:]

    @property
    def frequencies(self) -> tuple[float, ...]:
        """|f| of each wave, in cycles per unit of x, in the order given."""
        return tuple(float(size) for size in np.linalg.norm(self.waves, axis=1))

    @property
    def names(self) -> tuple[str, ...]:
        """What each wave is called."""
        return tuple(f"{', '.join(f'{part:.4g}' for part in wave)}" for wave in self.waves)

    def parts(self, values: NDArray[Any]) -> Floats:
        """Return each wave's two coefficients for values [n, k], [waves, 2, k]."""
        y = np.asarray(values, np.float64)
        fitted = self._fit @ y.reshape(len(y), -1)
        m = len(self.waves)
        return np.stack([fitted[:m], fitted[m:]], axis=1)
