"""The power-law fit as WeightWatcher 0.7.7 makes it by default, for comparison with published numbers."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepscope.linalg._power_law import MIN_VALUES, PowerLawFit, fit_power_law

#: Eigenvalues up to here are left out, whatever the size of the matrix.
WEIGHTWATCHER_CUT = 1e-5

#: Fewer values are fitted by the rule for small samples.
SMALL_SAMPLE = 20


def fit_power_law_weightwatcher(eigenvalues: NDArray[Any]) -> PowerLawFit:
    """Fit a power law to the eigenvalues above 1e-5, by WeightWatcher's rule for small samples where they are few.

    From 20 values on the fit is ``fit_power_law``. Below that the exponent is corrected for bias,

        α_i = 1 + (m − 1) / Σ_{j≥i} ln(x_j / x_i),

    only tails of at least 8 values are tried, and the first smallest D_i wins. (WeightWatcher also computes
    D_i − 0.868 / √m, but reports the tail of the least D_i.) Unlike all else here the result depends on the scale of
    the matrix, through the cut. Source: the code of WeightWatcher 0.7.7.

    Parameters
    ----------
    eigenvalues
        Squared singular values, any order; pooled over the slices of a kernel, which WeightWatcher scales by √½.

    Returns
    -------
    PowerLawFit
        A fit, or a status that says why there is none; with fewer than 8 values above the cut WeightWatcher takes all
        of them as the tail.

    Examples
    --------
    >>> fit = fit_power_law_weightwatcher(np.array([1e-7, *np.arange(1.0, 13.0) ** 2]))
    >>> fit.n_values, fit.n_tail, round(fit.alpha, 3)
    (12, 8, 1.89)
    """
    values = np.sort(np.asarray(eigenvalues, dtype=np.float64).ravel())
    values = values[values > WEIGHTWATCHER_CUT]
    n = values.size
    general = fit_power_law(values)
    if general.status != "ok" or n >= SMALL_SAMPLE:
        return general
    best: tuple[float, int, float] | None = None
    for start in range(n - MIN_VALUES + 1):
        tail = values[start:]
        m = tail.size
        total = float(np.sum(np.log(tail / tail[0])))
        if total <= 1e-12:
            continue
        slope = (m - 1) / total
        distance = float(np.max(np.abs(1 - (tail / tail[0]) ** -slope - np.arange(m) / m)))
        if best is None or distance < best[0]:
            best = distance, start, slope
    if best is None:
        return PowerLawFit("no tail of 8 values has an exponent", n)
    distance, start, slope = best
    return PowerLawFit("ok", n, 1 + slope, slope / math.sqrt(n - start), float(values[start]), distance, n - start)
