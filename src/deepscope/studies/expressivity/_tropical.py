"""Tropical polynomials, x → max over terms of (α·x + c), and ReLU networks as differences of two of them.

In the tropical semiring the sum is the maximum and the product is the sum; a quotient of polynomials F ⊘ G is F − G.
Source: ``zhang2018tropical``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import ConvexHull

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Polynomial:
    """A tropical polynomial.

    Attributes
    ----------
    exponents
        [terms, d] integers of at least 0, all different.
    coefficients
        [terms].
    """

    exponents: Integers
    coefficients: Floats

    def __call__(self, points: Floats) -> Floats:
        """Map [n, d] to [n]."""
        found: Floats = (points @ self.exponents.T + self.coefficients).max(axis=1)
        return found

    def __or__(self, other: Polynomial) -> Polynomial:
        """Return the tropical sum: the maximum."""
        return _collected(
            np.vstack([self.exponents, other.exponents]), np.append(self.coefficients, other.coefficients)
        )

    def __mul__(self, other: Polynomial) -> Polynomial:
        """Return the tropical product: the sum, whose terms are the sums of two terms."""
        exponents = self.exponents[:, None] + other.exponents
        coefficients = self.coefficients[:, None] + other.coefficients
        return _collected(exponents.reshape(-1, exponents.shape[-1]), coefficients.ravel())

    def __pow__(self, power: int) -> Polynomial:
        """Return the tropical power: a multiple. Mixed terms are never above the powers of single ones."""
        return Polynomial(power * self.exponents, power * self.coefficients) if power else _constant(self, 0.0)


def _collected(exponents: Integers, coefficients: Floats) -> Polynomial:
    """Keep of terms with equal exponents the one with the largest coefficient."""
    different, place = np.unique(exponents, axis=0, return_inverse=True)
    largest = np.full(len(different), -np.inf)
    np.maximum.at(largest, place.ravel(), coefficients)
    return Polynomial(different, largest)


def _constant(like: Polynomial, value: float) -> Polynomial:
    return Polynomial(np.zeros((1, like.exponents.shape[1]), dtype=np.int64), np.array([value]))


def rational(layers: Sequence[tuple[Integers, Floats]]) -> tuple[Polynomial, Polynomial]:
    """Return F and G with F − G the network x → W_L max(… max(W₁x + b₁, 0) …, 0) + b_L of one output.

    With fᵢ − gᵢ the outputs of a layer and W = W⁺ − W⁻, the next layer's W(f − g) + b is h − g′ with h = W⁺f + W⁻g + b
    and g′ = W⁺g + W⁻f; its ReLU is max(h, g′) − g′. All exponents are integers of at least 0.

    Parameters
    ----------
    layers
        Weights, [out, in] integers, and biases, [out], of each layer.

    Notes
    -----
    The number of terms can be exponential in the width; integer exponents, of which many are equal, keep it small in
    few dimensions.
    """
    dimensions = layers[0][0].shape[1]
    units = np.eye(dimensions, dtype=np.int64)
    above = [Polynomial(unit[None], np.zeros(1)) for unit in units]
    below = [_constant(each, 0.0) for each in above]
    for weights, biases in layers[:-1]:
        upper, below = _affine(weights, biases, above, below)
        above = [h | g for h, g in zip(upper, below, strict=True)]
    (numerator,), (denominator,) = _affine(*layers[-1], above, below)
    return numerator, denominator


def _affine(
    weights: Integers, biases: Floats, above: list[Polynomial], below: list[Polynomial]
) -> tuple[list[Polynomial], list[Polynomial]]:
    """Return h and g′ of each output."""
    upper, lower = [], []
    for row, bias in zip(weights, biases, strict=True):
        pairs = [(f, g, int(w)) if w > 0 else (g, f, -int(w)) for f, g, w in zip(above, below, row, strict=True)]
        start = _constant(above[0], 0.0)
        upper.append(reduce(Polynomial.__mul__, (f**w for f, _, w in pairs), _constant(above[0], float(bias))))
        lower.append(reduce(Polynomial.__mul__, (g**w for _, g, w in pairs), start))
    return upper, lower


def upper_vertices(normals: Floats, offsets: Floats) -> int:
    """Count the vertices on the upper faces of the zonotope Σᵢ [0, (aᵢ, bᵢ)] in d + 1 dimensions.

    It is the Newton polytope of Σᵢ max(aᵢ·x + bᵢ, 0), lifted by the coefficients; its upper vertices are the terms that
    are the maximum somewhere, one for each linear region.

    Parameters
    ----------
    normals
        [n, d], in general position, n > d.
    offsets
        [n].

    Notes
    -----
    The convex hull of 2ⁿ points.
    """
    generators = np.column_stack([normals, offsets])
    subsets = np.arange(2 ** len(generators))[:, None] >> np.arange(len(generators)) & 1
    hull = ConvexHull(subsets @ generators)
    faces_up = hull.equations[:, -2] > 0
    return len(np.unique(hull.simplices[faces_up]))
