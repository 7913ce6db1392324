"""Whether a tail could have come from the power law that was fitted to it."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from deepscope.core import UsageError
from deepscope.linalg._power_law import Floats, PowerLawFit, split_at_tail
from deepscope.linalg._power_laws import fit_power_laws

# Entries of one table of samples (16 MB).
_BLOCK = 2_000_000

# Largest value drawn, in units of x_min: with α − 1 below about 0.02 a drawn value would otherwise overflow.
_LARGEST = 1e300


def goodness_of_fit(
    x: NDArray[Any] | Tensor, fit: PowerLawFit, *, n_samples: int = 200, rng: np.random.Generator
) -> float:
    """Return the p-value of "the tail follows the fitted power law".

    Samples of n values are drawn from the fit: each value with probability n_tail / n from the law
    x_min · u^(−1 / (α − 1)), else one of the values below x_min. Each sample is fitted as x was, its tail's start
    chosen anew, and p is the share of samples whose Kolmogorov–Smirnov distance is at least that of x.

    Parameters
    ----------
    x
        The values that were fitted, any order and shape.
    fit
        What :func:`fit_power_law` found for them.
    n_samples
        How many samples; p is good to √(p (1 − p) / n_samples).
    rng
        Source of the samples.

    Returns
    -------
    float
        The p-value. Small: not a power law. Large: no evidence against it, which a short tail always gives.

    Raises
    ------
    UsageError
        There is no fit, it is not a fit of x, or no sample is asked for.

    Notes
    -----
    Clauset, Shalizi & Newman give a power law up when p ≤ 0.1. Where it is true that happens a little less often, for
    Pareto values and for a Pareto tail on a body. The power is limited, because the tail may start where a curved law
    has become straight enough: exponential values are given up in about half of the draws. Both rates are printed by
    ``pytest -s tests/verify/test_tail_calibration.py``.

    Cost: ``n_samples`` fits, 0.15 ms each for 768 values. Source: ``clauset2009power``, section 4.1.

    Examples
    --------
    >>> from deepscope.linalg import fit_power_law
    >>> x = (np.arange(1, 601) / 601) ** -0.5
    >>> goodness_of_fit(x, fit_power_law(x), rng=np.random.default_rng(0)) > 0.1
    True
    """
    body, tail = split_at_tail(x, fit)
    body = body / tail[0]
    # A fit that has a tail has all numbers.
    alpha, distance = cast(float, fit.alpha), cast(float, fit.ks_distance)
    if n_samples < 1:
        raise UsageError("no samples were asked for", where=f"n_samples={n_samples}", todo="Ask for 200 or more.")
    rows = max(1, _BLOCK // (body.size + tail.size))
    worse = 0
    for begin in range(0, n_samples, rows):
        samples = _samples(body, alpha, tail.size, min(rows, n_samples - begin), rng)
        worse += int(np.count_nonzero(fit_power_laws(samples).ks_distance >= distance))
    return worse / n_samples


def _samples(body: Floats, alpha: float, n_tail: int, rows: int, rng: np.random.Generator) -> Floats:
    """Draw from the body and the fitted tail, in units of x_min."""
    n = body.size + n_tail
    exponential = rng.standard_exponential((rows, n))
    samples = np.exp(np.minimum(exponential / (alpha - 1), np.log(_LARGEST)))
    if body.size:
        from_body = rng.random((rows, n)) >= n_tail / n
        samples[from_body] = rng.choice(body, size=np.count_nonzero(from_body))
    return samples
