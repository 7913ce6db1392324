"""A long filter as a chain of filters of length 3."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

Floats = NDArray[np.float64]


def short_filters(long: Floats) -> list[Floats]:
    """Return ⌈(p − 1)/2⌉ real filters of length at most 3 whose convolution is a real filter of length p.

    The filter is the polynomial Σ wₖ zᵏ, convolution is multiplication. Its roots are real or come in conjugate pairs:
    each pair is a real factor of degree 2, and so are two real roots; one may remain, of degree 1.

    Parameters
    ----------
    long
        [p], p at least 2; its last coefficient is not 0.

    Notes
    -----
    Source: ``zhou2020universality``, with factors of any length for filters of a length up to p. The roots are
    eigenvalues of the companion matrix.

    Examples
    --------
    >>> [each.round(3).tolist() for each in short_filters(np.array([1.0, 1.0, 1.0, 1.0]))]
    [[1.0, 0.0, 1.0], [1.0, 1.0]]
    """
    roots = np.roots(long[::-1])
    above = roots[roots.imag > 0]
    real = np.sort(roots[roots.imag == 0].real)
    factors = [np.array([abs(root) ** 2, -2 * root.real, 1.0]) for root in above]
    factors += [np.array([one * other, -one - other, 1.0]) for one, other in zip(real[::2], real[1::2], strict=False)]
    if len(real) % 2:
        factors.append(np.array([-real[-1], 1.0]))
    # Equal parts of the size to each factor, so that none is very large.
    scale = abs(long[-1]) ** (1 / len(factors))
    factors = [scale * factor for factor in factors]
    factors[0] = np.sign(long[-1]) * factors[0]
    return factors


def chained(filters: Sequence[Floats]) -> Floats:
    """Return what a chain of convolutional layers, without anything between them, makes of an impulse."""
    signal = torch.ones(1, 1, 1, dtype=torch.float64)
    for each in filters:
        # torch correlates; a convolution reads the filter backwards.
        kernel = torch.from_numpy(each[::-1].copy()).reshape(1, 1, -1)
        signal = functional.conv1d(signal, kernel, padding=len(each) - 1)
    return signal.flatten().numpy()


def factorisation_error(long: Floats) -> float:
    """Return max |chain − filter| / max |filter|."""
    return float(np.abs(chained(short_filters(long)) - long).max() / np.abs(long).max())
