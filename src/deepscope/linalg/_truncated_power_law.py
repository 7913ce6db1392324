"""The maximum-likelihood power law with an exponential cutoff of a tail."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy.special import roots_legendre

from deepscope.linalg._power_law import Floats
from deepscope.linalg._tail_families import LIMIT, TailLaw

# What lies beyond e^−60 of an integrand is below rounding.
_CUTOFF = 60.0

# Gauss–Legendre nodes of a panel, and its length in ln z: exact to rounding for e^(−λz) and for 76 e-folds of z^−α.
_NODES = 64
_PANEL = 8.0

# A step that promises to raise the log-likelihood by less than this is not taken.
_ENOUGH = 1e-10
_MAX_STEPS = 100

# Nor does a step lower α − 1 or λ by a larger share of it.
_DOWN = 0.99


def truncated_power_law(excess: Floats, alpha: float) -> TailLaw:
    """Fit z^−α e^(−λz), α ≥ 1 and λ ≥ 0, to z = 1 + excess; ``alpha`` is the exponent of the power law alone.

    The log-likelihood is concave in (α, λ): a point where no direction within the bounds rises is the best.
    """
    logs = np.log1p(excess)
    mean_log, mean_excess = float(logs.mean()), float(excess.mean())
    slope = alpha - 1
    # At λ = 0 the law's own mean of z − 1 is 1 / (α − 2), or infinite; no cutoff helps values whose mean is above it.
    if slope > 1 and mean_excess >= 1 / (slope - 1):
        return TailLaw(LIMIT)
    best = _climb(_law(0.0, -math.log(mean_excess)), mean_log, mean_excess, logs.size)
    if best is not None and best.mean_log > mean_log:
        best = _climb(_law(slope, best.log_rate), mean_log, mean_excess, logs.size)
    if best is None:
        return TailLaw("the maximum of its likelihood was not found")
    log_density = -best.log_norm - (best.slope + 1) * logs - best.rate * excess
    return TailLaw("ok", {"alpha": best.slope + 1, "rate": best.rate}, log_density)


@dataclass(frozen=True, eq=False)
class _Law:
    """z^−(slope + 1) e^(−λ (z − 1)) / norm on [1, ∞), with its moments of t = ln z and of v = λ (z − 1)."""

    slope: float
    log_rate: float
    log_norm: float
    mean_log: float
    mean_v: float
    covariance: Floats

    @property
    def rate(self) -> float:
        return math.exp(self.log_rate)

    def log_likelihood(self, mean_log: float, mean_excess: float) -> float:
        """Return the mean logarithm of the density of values with these means."""
        return -self.log_norm - (self.slope + 1) * mean_log - self.rate * mean_excess


def _law(slope: float, log_rate: float) -> _Law:
    """Integrate over t = ln z, in which the density is smooth at every scale of λ."""
    rate = math.exp(log_rate)
    length = math.log1p(_CUTOFF / rate)
    # The second moment of v dies out with e^((2 − slope) t) even without a cutoff.
    if slope > 2:
        length = min(length, _CUTOFF / (slope - 2))
    nodes, weights = _quadrature(math.ceil(length / _PANEL))
    t = length * nodes
    v = rate * np.expm1(t)
    mass = length * weights * np.exp(-slope * t - v)
    norm = float(mass.sum())
    moments = np.stack([t, v])
    means = moments @ mass / norm
    centred = moments - means[:, None]
    return _Law(slope, log_rate, math.log(norm), float(means[0]), float(means[1]), centred * mass @ centred.T / norm)


@lru_cache(maxsize=128)
def _quadrature(panels: int) -> tuple[Floats, Floats]:
    """Return nodes and weights on [0, 1], in panels of equal length."""
    nodes, weights = roots_legendre(_NODES)
    starts = np.arange(panels)[:, None]
    return ((starts + (nodes + 1) / 2) / panels).ravel(), np.tile(weights / (2 * panels), panels)


def _climb(law: _Law, mean_log: float, mean_excess: float, n: int) -> _Law | None:
    """Raise the likelihood by Newton's method to its maximum, None if that is not found; a law with α = 1 keeps it."""
    for _ in range(_MAX_STEPS):
        # In units of λ, which is as small as 1 / x_max for values that span many decades.
        gradient = np.array([law.mean_log - mean_log, law.mean_v - law.rate * mean_excess])
        lowest = -_DOWN * np.array([law.slope, 1.0])
        step = _step(law.covariance, gradient, lowest)
        if n * float(gradient @ step) < _ENOUGH:
            return law
        scale, height = 1.0, law.log_likelihood(mean_log, mean_excess)
        candidate = _moved(law, step)
        while candidate.log_likelihood(mean_log, mean_excess) <= height:
            scale /= 2
            # Rounding hides what is left to gain.
            if scale < 1e-9:
                return law
            candidate = _moved(law, scale * step)
        law = candidate
    return None


def _step(covariance: Floats, gradient: Floats, lowest: Floats) -> Floats:
    """Return the step that is best in the quadratic picture of the likelihood, no part of it below its lowest.

    Each part is bounded by itself, and the other then chosen anew: a step cut short as a whole would crawl along λ = 0
    with the wrong α. A part whose lowest is 0 is not free at all.
    """
    # A trace of damping keeps ln z and z apart where values are so close together that the two agree.
    curvature = covariance + 1e-13 * np.diag(np.diag(covariance))
    step = np.linalg.solve(curvature, gradient)
    for bounded, other in ((1, 0), (0, 1)):
        if step[bounded] < lowest[bounded] or lowest[bounded] == 0:
            step[bounded] = lowest[bounded]
            step[other] = (gradient[other] - curvature[other, bounded] * step[bounded]) / curvature[other, other]
            step[other] = max(step[other], lowest[other])
    return np.asarray(step)


def _moved(law: _Law, step: Floats) -> _Law:
    return _law(law.slope + float(step[0]), law.log_rate + math.log1p(float(step[1])))
