"""Kernel ridge regression, each sample predicted from all the others."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

#: Ridges that are tried, as shares of the mean eigenvalue.
_RIDGES = 10.0 ** np.arange(-6.0, 1.5, 0.5)


@dataclass(frozen=True, eq=False)
class LeaveOneOut:
    """Predictions of kernel ridge regression.

    Attributes
    ----------
    predictions
        [n, d]: each sample's from all others'.
    ridge
        λ, in the kernel's units: of those tried the one with the least squared error of these predictions.
    """

    predictions: Floats
    ridge: float


def leave_one_out(K: NDArray[Any], y: NDArray[Any]) -> LeaveOneOut | None:
    """Predict each sample's label from all the others' by kernel ridge regression.

    With S = K (K + λI)⁻¹ the prediction of sample i from the others is y_i − (y − Sy)_i / (1 − S_ii), exactly: no
    fit is repeated.

    Parameters
    ----------
    K
        A positive semidefinite kernel, [n, n].
    y
        What is predicted, [n, d]; about 0, since the regression has no constant of its own.

    Returns
    -------
    LeaveOneOut or None
        None where the kernel is zero or there is one sample only.

    Notes
    -----
    Cost: one eigendecomposition of an n × n matrix. Source: ``craven1979smoothing``.

    Examples
    --------
    >>> x = np.array([[1.0], [2.0], [3.0]])
    >>> leave_one_out(x @ x.T, x).predictions.round(3).ravel().tolist()
    [1.0, 2.0, 3.0]
    """
    n = len(K)
    values, vectors = np.linalg.eigh(np.asarray(K, np.float64))
    values = np.clip(values, 0.0, None)
    if n < 2 or not values.sum() > 0:
        return None
    turned, squares = vectors.T @ y, vectors**2
    best: tuple[float, Floats, float] | None = None
    for ridge in _RIDGES * values.mean():
        kept = values / (values + ridge)
        residual = (y - vectors @ (kept[:, None] * turned)) / (1 - squares @ kept)[:, None]
        error = float(np.sum(residual**2))
        if best is None or error < best[0]:
            best = (error, y - residual, float(ridge))
    assert best is not None
    return LeaveOneOut(best[1], best[2])
