"""How alike two kernels are on the same samples."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepscope.core import UsageError

Floats = NDArray[np.float64]

#: Groups of samples of which each is left out once.
_GROUPS = 64


@dataclass(frozen=True)
class KernelAlignment:
    """Centred alignment of two kernels.

    Attributes
    ----------
    value
        ⟨K_c, L_c⟩ / (‖K_c‖ ‖L_c‖), with K_c = HKH and H = I − 11ᵀ/n: 1 where the kernels are proportional.
    stderr
        From leaving out groups of samples in turn (jackknife); None with fewer than four samples.
    null_mean, null_high
        Mean, and 95 % quantile, over permutations of L's samples: what unrelated kernels of these spectra reach.
    """

    value: float
    stderr: float | None
    null_mean: float
    null_high: float


def kernel_alignment(
    K: NDArray[Any], L: NDArray[Any], *, permutations: int = 200, rng: np.random.Generator | None = None
) -> KernelAlignment | None:
    """Compare two kernels on the same n samples.

    Parameters
    ----------
    K, L
        Symmetric positive semidefinite, [n, n].
    permutations
        Number of permutations behind the null.
    rng
        Draws them; a fixed one unless given.

    Returns
    -------
    KernelAlignment or None
        None where one of the kernels is constant, or there are fewer than two samples.

    Raises
    ------
    UsageError
        The kernels are not of one size.

    Notes
    -----
    Cost: O(n²) per permutation and per group left out, of which there are at most 64.
    Source: ``cortes2012algorithms``.

    Examples
    --------
    >>> x = np.arange(6.0)[:, None]
    >>> round(kernel_alignment(x @ x.T, 4 * x @ x.T + 1).value, 12)
    1.0
    """
    if K.shape != L.shape or K.ndim != 2:
        raise UsageError("kernels on other samples cannot be compared", where=f"{K.shape} and {L.shape}")
    n = len(K)
    K, L = np.asarray(K, np.float64), np.asarray(L, np.float64)
    value = _aligned(K, L)
    if value is None:
        return None
    groups = [np.arange(start, n, min(n, _GROUPS)) for start in range(min(n, _GROUPS))]
    without = [_without(K, L, group) for group in groups]
    known = np.array([each for each in without if each is not None])
    stderr = None
    if n >= 4 and len(known) == len(groups):
        stderr = math.sqrt((len(groups) - 1) / len(groups) * float(np.sum((known - known.mean()) ** 2)))
    centred, other = centred_kernel(K), centred_kernel(L)
    scale = float(np.linalg.norm(centred) * np.linalg.norm(other))
    rng = rng or np.random.default_rng(0)
    null = np.array(
        [np.vdot(centred, other[np.ix_(p, p)]) / scale for p in (rng.permutation(n) for _ in range(permutations))]
    )
    return KernelAlignment(value, stderr, float(null.mean()), float(np.quantile(null, 0.95)))


def centred_kernel(K: NDArray[Any]) -> Floats:
    """Return HKH, the kernel of features from which their mean over the samples is taken.

    >>> centred_kernel(np.ones((3, 3))).tolist()
    [[0.0, 0.0, 0.0], [0.0, 0.0, 0.0], [0.0, 0.0, 0.0]]
    """
    rows = K.mean(axis=1)
    return np.asarray(K - rows[:, None] - rows[None, :] + rows.mean(), np.float64)


def _without(K: Floats, L: Floats, group: NDArray[np.int64]) -> float | None:
    kept = np.delete(np.arange(len(K)), group)
    return _aligned(K[np.ix_(kept, kept)], L[np.ix_(kept, kept)])


def _aligned(K: Floats, L: Floats) -> float | None:
    one, other = centred_kernel(K), centred_kernel(L)
    norms = [float(np.linalg.norm(each)) for each in (one, other)]
    # What centring leaves of a constant kernel is rounding, of single precision at worst.
    if any(norm <= 1e-6 * np.linalg.norm(each) for norm, each in zip(norms, (K, L), strict=True)):
        return None
    return float(np.vdot(one, other) / (norms[0] * norms[1]))
