"""Least squares on an isotropic Gaussian design, for which the expected risk is known in closed form."""

from __future__ import annotations

import math

import numpy as np

from deepscope.studies.generalisation._least_squares import by_features, by_samples, solve

#: Standard deviation σ of the noise, by the name of the design.
NOISE = {"gaussian": 0.5, "noiseless": 0.0}


def excess_risk(n: int, p: int, noise: float, rng: np.random.Generator) -> float:
    """Draw n samples of p features, coefficients a of norm 1 and targets; return |â − a|² of the least-norm fit.

    This is the excess risk itself, for the inputs are isotropic: no test samples are needed.
    """
    design = rng.standard_normal((n, p))
    truth = rng.standard_normal((p, 1))
    truth /= np.linalg.norm(truth)
    targets = design @ truth + noise * rng.standard_normal((n, 1))
    # The prediction for the i-th unit vector is the i-th coefficient.
    factors = by_features(design, np.eye(p)) if p < n else by_samples(design @ design.T, design.T)
    return float(np.sum((solve(factors, targets).test - truth) ** 2))


def expected_excess_risk(n: int, p: int, noise: float) -> float:
    """Return the expectation of ``excess_risk``: exact at every n and p, not only in the limit.

    σ² p/(n − p − 1) for p < n − 1 and σ² n/(p − n − 1) + 1 − n/p for p > n + 1, from the mean of an inverse Wishart
    matrix; infinite between, unless σ is 0.

    >>> expected_excess_risk(100, 49, 0.5), expected_excess_risk(100, 201, 0.0)
    (0.245, 0.5024875621890548)
    """
    bias = max(0.0, 1 - n / p)
    if noise == 0:
        return bias
    spare = abs(n - p) - 1
    return noise**2 * min(n, p) / spare + bias if spare > 0 else math.inf
