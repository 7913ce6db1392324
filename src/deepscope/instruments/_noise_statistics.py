"""Signal and noise of gradients from their inner products, with intervals."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

Floats = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class SignalNoise:
    """Estimates of |g|² and tr Σ of gradients g_i with mean g and covariance Σ, from n of them.

    Attributes
    ----------
    n
        Number of samples.
    signal
        Σ_{i≠j} g_i·g_j / (n(n − 1)), an unbiased estimate of |g|²; it may be negative.
    noise
        Σ_{i<j} ‖g_i − g_j‖² / (n(n − 1)), an unbiased estimate of tr Σ.
    signal_variance, noise_variance, covariance
        Of these two estimates, by the jackknife; None with fewer than three samples.
    """

    n: int
    signal: float
    noise: float
    signal_variance: float | None
    noise_variance: float | None
    covariance: float | None

    @property
    def noise_scale(self) -> float | None:
        """Tr Σ / |g|²; None where the estimate of |g|² is not positive."""
        return self.noise / self.signal if self.signal > 0 else None

    @property
    def signal_to_noise(self) -> float | None:
        """|g|² / tr Σ; None where there is no noise."""
        return self.signal / self.noise if self.noise > 0 else None

    def noise_scale_interval(self) -> tuple[float | None, float | None]:
        """Return Fieller's 95 % interval of tr Σ / |g|²; an end that the samples do not tell is None."""
        return self._ratio(self.noise, self.signal, self.noise_variance, self.signal_variance)

    def signal_to_noise_interval(self) -> tuple[float | None, float | None]:
        """Return Fieller's 95 % interval of |g|² / tr Σ, from 0 on."""
        return self._ratio(self.signal, self.noise, self.signal_variance, self.noise_variance)

    def _ratio(
        self, above: float, below: float, above_variance: float | None, below_variance: float | None
    ) -> tuple[float | None, float | None]:
        if above_variance is None or below_variance is None or self.covariance is None:
            return None, None
        return fieller(above, below, above_variance, below_variance, self.covariance, self.n - 1)


def fieller(
    above: float, below: float, above_variance: float, below_variance: float, covariance: float, degrees: int
) -> tuple[float | None, float | None]:
    """Return the 95 % interval of a ratio of two means that are not negative, by Fieller's theorem.

    All θ ≥ 0 for which above − θ·below is within t standard errors of 0. Where ``below`` cannot be told from 0 there
    is no upper end; where nothing can be told there is none at all.

    Source: ``fieller1954some``.

    Examples
    --------
    >>> low, high = fieller(4.0, 2.0, 0.01, 0.0, 0.0, 1000)
    >>> round(low, 2), round(high, 2)
    (1.9, 2.1)
    >>> fieller(4.0, 0.1, 0.01, 0.01, 0.0, 1000)[1] is None
    True
    """
    t2 = float(stats.t.ppf(0.975, degrees)) ** 2
    a, b, c = below**2 - t2 * below_variance, above * below - t2 * covariance, above**2 - t2 * above_variance
    root = b**2 - a * c
    if a > 0 and below > 0:
        # A point estimate is always inside its interval, so that rounding alone makes this negative.
        half = math.sqrt(max(root, 0.0))
        return max(0.0, (b - half) / a), max(0.0, (b + half) / a)
    if root < 0 or c <= 0:
        return None, None
    # The set is outside its two roots, of which one is negative: all above the other.
    ends = sorted(((b - math.sqrt(root)) / a, (b + math.sqrt(root)) / a)) if a else [c / (2 * b)] * 2
    return (max(0.0, ends[1]) if ends[1] > 0 else None), None


def signal_noise(own: Floats, with_mean: Floats) -> SignalNoise | None:
    """Estimate |g|² and tr Σ with the jackknife's variances.

    Both are means over pairs of samples, so that leaving one out follows from the sum of its row alone, and all rows
    follow from the norms and the products with the mean. The jackknife's variance is at least the true one in
    expectation (``efron1981jackknife``), and close to it unless the mean is drowned in noise.

    Parameters
    ----------
    own
        ‖g_i‖², [n].
    with_mean
        g_i·ḡ with the mean ḡ of these n gradients, [n].

    Returns
    -------
    SignalNoise or None
        None for fewer than two samples.

    Examples
    --------
    >>> g = np.array([[1.0, 1.0], [1.0, -1.0], [3.0, 1.0], [3.0, -1.0]])
    >>> found = signal_noise((g * g).sum(1), g @ g.mean(0))
    >>> round(found.noise, 6), round(found.signal, 6)
    (2.666667, 3.333333)
    """
    n = len(own)
    if n < 2:
        return None
    pairs = n * (n - 1)
    rows = n * with_mean - own
    apart = ((n - 2) * own + own.sum()) / 2 - rows
    variances: tuple[float | None, float | None, float | None] = (None, None, None)
    if n >= 3:
        without = [(each.sum() - 2 * each) / ((n - 1) * (n - 2)) for each in (rows, apart)]
        spread = (n - 1) ** 2 / n * np.cov(*without)
        variances = (float(spread[0, 0]), float(spread[1, 1]), float(spread[0, 1]))
    return SignalNoise(
        n=n,
        signal=float(rows.sum() / pairs),
        noise=float(max(apart.sum(), 0.0) / pairs),
        signal_variance=variances[0],
        noise_variance=variances[1],
        covariance=variances[2],
    )
