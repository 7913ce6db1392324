"""How many bits about the input a layer seems to hold, by bins, while its network is trained."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from deepscope.linalg import binned, codes_of

Codes = NDArray[np.int64]
#: Bins of the estimate that is judged.
BINS = 30
#: Bins of the other estimates over a fixed range.
OTHER_BINS = (10, 100, 1000)


def entropy(codes: Codes) -> float:
    """Return the entropy in bits of the values of a discrete variable, one a sample.

    A layer is a function of the input; where each pattern of the input comes once, the entropy of its codes is their
    mutual information with the input, I(X; T) = H(T), exactly: there is no more to sample.

    >>> entropy(np.array([0, 1, 2, 3])), entropy(np.array([0, 0, 1, 1]))
    (2.0, 1.0)
    """
    shares = np.bincount(codes)[np.unique(codes)] / len(codes)
    return float(-np.sum(shares * np.log2(shares))) + 0.0


def information_of(snapshots: Sequence[Sequence[Tensor]], classes: Tensor) -> dict[str, NDArray[np.float64]]:
    """Return the bits that each layer holds about the input at each snapshot, by several estimates.

    Parameters
    ----------
    snapshots
        Activations [patterns, width] of each layer at each snapshot, of all patterns of the input once.
    classes
        [patterns] of 0 and 1.

    Returns
    -------
    dict
        Arrays [snapshots, layers]. ``"bins_10"``, ``"bins_30"`` …: I(X; T) of equal bins whose range, one for each
        layer, stays the same in the whole run: −1 to 1 where the layer takes values below 0, as tanh does, else 0 to
        its largest activation in any snapshot. ``"redrawn"``: 30 bins from the least to the largest activation of the
        layer at each snapshot. ``"exact"``: no bins, only which activations are the same in float64.
        ``"label"``: I(T; Y) of the 30 bins that stay.
    """
    limits = [_limits(layer) for layer in zip(*snapshots, strict=True)]
    estimates = {f"bins_{bins}": bins for bins in (BINS, *OTHER_BINS)}
    found: dict[str, list[list[float]]] = {name: [] for name in (*estimates, "redrawn", "exact", "label")}
    labels = classes.numpy()
    for layers in snapshots:
        for name, bins in estimates.items():
            codes = [binned(layer, bins, limit) for layer, limit in zip(layers, limits, strict=True)]
            found[name].append([entropy(each) for each in codes])
            if bins == BINS:
                found["label"].append([entropy(each) + entropy(labels) - entropy(2 * each + labels) for each in codes])
        found["redrawn"].append([entropy(binned(layer, BINS)) for layer in layers])
        found["exact"].append([entropy(codes_of(layer)) for layer in layers])
    return {name: np.array(values) for name, values in found.items()}


def compression(information: NDArray[np.float64]) -> float:
    """Return by how many bits layers end below their greatest value, [snapshots, layers], as the mean over layers.

    >>> compression(np.array([[1.0, 3.0], [4.0, 3.0], [2.0, 3.0]]))
    1.0
    """
    return float((information.max(axis=0) - information[-1]).mean())


def _limits(activations: Sequence[Tensor]) -> tuple[float, float]:
    if min(float(each.min()) for each in activations) < 0:
        return -1.0, 1.0
    return 0.0, max(float(each.max()) for each in activations)
