"""Maximum-likelihood exponential and lognormal laws of a tail.

In units of the start of the tail: every density is one of z = x / x_min on [1, ∞), and is given z − 1.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
from scipy.optimize import brentq
from scipy.special import erfcx, log_ndtr

from deepscope.linalg._power_law import Floats

#: The law is best where it is the power law itself, which is then also its density.
LIMIT = "at its best it is the power law itself"

# With the mode this many σ below the threshold, a lognormal's likelihood is the power law's to 1e-8 a value.
_FARTHEST = 100.0


@dataclass(frozen=True, eq=False)
class TailLaw:
    """A law fitted to z: its parameters in units of x_min, and the logarithm of its density at every value."""

    status: str
    parameters: dict[str, float] = field(default_factory=dict)
    log_density: Floats | None = None


def exponential(excess: Floats) -> TailLaw:
    """Fit λ e^(−λ (z − 1)); λ = 1 / mean(z − 1)."""
    rate = 1 / float(excess.mean())
    return TailLaw("ok", {"rate": rate}, math.log(rate) - rate * excess)


def lognormal(excess: Floats) -> TailLaw:
    """Fit ln z ~ N(μ, σ²) given ln z ≥ 0."""
    logs = np.log1p(excess)
    mean = float(logs.mean())
    # Where the threshold lies, in σ from μ, alone decides E[ln² z] / E[ln z]²: from 1 far below the mode up to the 2 of
    # a power law, which is the limit far above it.
    target = float(np.square(logs).mean()) / mean**2
    if target >= _moment_ratio(_FARTHEST):
        return TailLaw(LIMIT)
    nearest = -10 - 2 / math.sqrt(target - 1)
    threshold = float(brentq(lambda at: _moment_ratio(at) - target, nearest, _FARTHEST, xtol=1e-12))
    sigma = mean / (_inverse_mills(threshold) - threshold)
    mu = -threshold * sigma
    constant = math.log(sigma) + math.log(2 * math.pi) / 2 + float(log_ndtr(-threshold))
    log_density = -logs - np.square((logs - mu) / sigma) / 2 - constant
    return TailLaw("ok", {"mu": mu, "sigma": sigma}, log_density)


def _inverse_mills(threshold: float) -> float:
    """Return E[Z | Z > threshold] of a standard normal Z."""
    return math.sqrt(2 / math.pi) / float(erfcx(threshold / math.sqrt(2)))


def _moment_ratio(threshold: float) -> float:
    """Return E[Y²] / E[Y]² of Y = Z − threshold, given Z > threshold."""
    excess = _inverse_mills(threshold) - threshold
    return (1 - threshold * excess) / excess**2
