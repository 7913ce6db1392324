"""Mutual information of a continuous variable and labels, from the distances to nearest neighbours."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import digamma
from torch import Tensor

from deepscope.core import UsageError
from deepscope.linalg._binned_information import codes_of
from deepscope.linalg._information_estimate import InformationEstimate, Rows, estimate_of
from deepscope.linalg._neighbour_information import MOST, distances, scaled, within_reach

#: Share of the ceiling from which labels are told apart as well as can be measured.
_ALL = 0.99
#: From ten dimensions on a twentieth or more is missing.
_DIMENSIONS = 12.5


def label_information(
    x: NDArray[Any] | Tensor,
    labels: NDArray[Any] | Tensor,
    k: int = 3,
    *,
    permutations: int = 99,
    rng: np.random.Generator | None = None,
) -> InformationEstimate:
    """Estimate the mutual information of a continuous variable and labels from nearest neighbours.

    Î = ψ(n) + ⟨ψ(k_i) − ψ(n_i) − ψ(m_i)⟩ (``ross2014mutual``): n_i samples have the label of sample i, and among the
    m_i other samples that are no farther from it than the kth of its own label are k_i of its own, k unless distances
    are equal. Distances are Euclidean. A label with fewer samples than k + 1 takes the farthest of them; one with a
    single sample is left out.

    Parameters
    ----------
    x
        [n] or [n, d].
    labels
        [n] or [n, e], rows of the same samples; equal rows are one label.
    k
        Which neighbour.
    permutations
        Random orders of the labels behind the null.
    rng
        Draws the orders and halves; seeded with 0 unless given.

    Returns
    -------
    InformationEstimate
        ``ceiling`` is ψ(n) − ⟨ψ(n_i)⟩, about the entropy of the labels. ``bias`` is None: there is no formula.

    Raises
    ------
    UsageError
        Samples are not as many, or more than 4,096, or not finite; fewer than two labels have two samples or more; or
        there are too few permutations.

    Notes
    -----
    Not biased where there is nothing to find; too low otherwise where x has many dimensions, as the kth neighbour of a
    label is far away and others lie between. Two Gaussian classes at ±1 in one of d coordinates share 0.486 bits; 1,000
    samples and k = 3 give 0.50 for d = 1, 0.46 for d = 10, 0.40 for d = 20 and 0.34 for d = 50
    (``tests/verify/test_information_calibration.py``). The status says: saturated, where all that labels hold is found;
    not converged, where half of the samples give another number; beyond reach, where it beats its null and x has more
    than twelve dimensions (``intrinsic_dimension``).

    Cost: n²·d operations, n² log n, and some 5·n² for each permutation.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> labels = np.arange(400) % 2
    >>> label_information(10.0 * labels + rng.normal(size=400), labels).status
    'saturated: it tells all 2 labels of 400 samples apart'
    """
    X, codes = scaled(x, "x"), codes_of(labels)
    if len(X) != len(codes):
        raise UsageError("variables cannot be compared", where=f"{len(X)} and {len(codes)} samples")
    kept = np.flatnonzero(np.bincount(codes)[codes] > 1) if len(codes) else np.arange(0)
    codes = np.unique(codes[kept], return_inverse=True)[1]
    n, kinds = len(kept), int(codes.max(initial=-1)) + 1
    if kinds < 2 or k < 1:
        raise UsageError(
            "labels have nothing to be told apart",
            where=f"{kinds} with two samples or more, k = {k}",
            todo="Give two labels or more, with several samples of each.",
        )
    if n > MOST:
        raise UsageError(f"{n:,} samples have too many distances", todo=f"Give at most {MOST:,} of them.")
    X = X[torch.from_numpy(kept).to(X.device)]
    every = distances(X).cpu()
    neighbours = _Neighbours(every)
    ceiling = float(digamma(n) - np.mean(digamma(np.bincount(codes)[codes]))) / math.log(2)

    def on(rows: Rows) -> float:
        if len(rows) == n:
            return float(neighbours.bits(codes[None], k)[0])
        chosen = torch.from_numpy(rows)
        return float(_Neighbours(every[chosen][:, chosen]).bits(codes[rows][None], k)[0])

    found = estimate_of(
        n,
        on=on,
        permuted=lambda orders: neighbours.bits(codes[orders], k),
        ceiling=ceiling,
        status=lambda bits: (
            f"saturated: it tells all {kinds} labels of {n:,} samples apart" if bits >= _ALL * ceiling else ""
        ),
        permutations=permutations,
        rng=rng,
    )
    return found if found.status.startswith("saturated") else within_reach(found, (X,), _DIMENSIONS)


class _Neighbours:
    """Each sample's neighbours in the order of their distance, for one labelling after another."""

    def __init__(self, every: Tensor) -> None:
        away = every.clone()
        away.fill_diagonal_(torch.inf)
        near = away.sort(dim=1)
        # The last, a sample itself, is no neighbour.
        self.order = near.indices[:, :-1]
        sorted_distances = near.values[:, :-1].contiguous()
        #: How many are no farther than each.
        self.within = torch.searchsorted(sorted_distances, sorted_distances, right=True)
        #: And how many are copies.
        self.copies = (sorted_distances == 0).sum(dim=1)

    def bits(self, codes: NDArray[np.int64], k: int) -> NDArray[np.float64]:
        """Return the estimate for each labelling, [labellings, n] to [labellings]."""
        labels = torch.from_numpy(codes)
        n, (rows, others) = labels.shape[1], self.order.shape
        own = torch.zeros(len(labels), int(labels.max()) + 1, dtype=torch.long)
        own = own.scatter_add(1, labels, torch.ones_like(labels)).gather(1, labels)
        # Sixteen bits hold any label and any count of 4,096 samples, and are read faster.
        short = labels.short()
        theirs = short.index_select(1, self.order.reshape(-1)).reshape(-1, rows, others)
        # Of their own label among the nearest 1, 2, …; the kth, or the last there is.
        counts = (theirs == short[:, :, None]).cumsum(dim=2, dtype=torch.int16)
        wanted = (own - 1).clamp(max=k).short()
        place = torch.searchsorted(counts, wanted[..., None]).clamp(max=n - 2)
        m = self.within.expand(len(labels), -1, -1).gather(2, place)
        k_i = counts.gather(2, m - 1)[..., 0].numpy()
        # Half of the samples may hold a label once: it tells nothing.
        told = (own > 1).numpy()
        # Copies are counted as values of a discrete variable are, each sample with itself.
        alike = (m[..., 0] <= self.copies).numpy().astype(int)
        terms = digamma(np.maximum(k_i, 1) + alike) - digamma(own.numpy()) - digamma(m[..., 0].numpy() + alike)
        count = told.sum(axis=1)
        mean = (terms * told).sum(axis=1) / np.maximum(count, 1)
        return np.where(count > 0, digamma(np.maximum(count, 1)) + mean, 0.0) / math.log(2)
