"""Nested random Fourier features of a kernel of Gauss: a design for each number of features, from few to many."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Sequence

import numpy as np

from deepscope.studies.generalisation._least_squares import Factors, Floats, by_features, by_samples


def nested_designs(
    train: Floats,
    test: Floats,
    sizes: Sequence[int],
    *,
    bandwidth: float,
    rng: np.random.Generator,
    skip: Collection[int] = (),
) -> Iterator[tuple[int, Factors]]:
    """Factorise the designs √2 cos(xᵀw/bandwidth + b), w standard normal and b uniform, of ascending sizes.

    The features of a size are the first ones of each larger size, whatever is skipped.

    Parameters
    ----------
    train, test
        [n, d] and [m, d] inputs.
    sizes
        Numbers of features, ascending.
    bandwidth
        That of the kernel exp(−|x − y|² / (2 bandwidth²)), to which ΦΦᵀ/N tends.
    rng
        Where the features are drawn from.
    skip
        Sizes that are not needed.

    Notes
    -----
    Beyond n features only ΦΦᵀ and Φ_testΦᵀ are held, to which further features are added, n at a time. Cost: n³ a size,
    and n (n + m) operations a feature; memory of 2n (n + m) numbers and a few more of their size.
    """
    n, dimensions = train.shape

    def features(count: int) -> tuple[Floats, Floats]:
        frequencies = rng.standard_normal((dimensions, count)) / bandwidth
        phases = rng.uniform(0, 2 * math.pi, count)
        return _cosines(train, frequencies, phases), _cosines(test, frequencies, phases)

    first, first_test = features(n)
    for size in sizes:
        if size < n and size not in skip:
            yield size, by_features(first[:, :size], first_test[:, :size])
    gram, cross, count = first @ first.T, first_test @ first.T, n
    for size in sizes:
        while count < size:
            more, more_test = features(min(n, size - count))
            gram += more @ more.T
            cross += more_test @ more.T
            count += more.shape[1]
        if size >= n and size not in skip:
            yield size, by_samples(gram, cross)


def _cosines(inputs: Floats, frequencies: Floats, phases: Floats) -> Floats:
    angles = inputs @ frequencies
    angles += phases
    return math.sqrt(2) * np.cos(angles, out=angles)
