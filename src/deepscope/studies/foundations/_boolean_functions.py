"""Boolean functions of a few bits: which are linear threshold functions, and of which degree is the least polynomial.

A function of n bits is the integer whose bit x is its value at the input x, or an array [2ⁿ] of values ±1. Inputs are
±1 as well: bit i of x set stands for −1.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import hadamard
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from deepscope.studies.foundations._separation import Floats, is_separable, program_margin

Integers = NDArray[np.int64]

#: Threshold functions of 1, 2, 3 and 4 bits (``muroga1971threshold``).
THRESHOLD_FUNCTIONS = (4, 14, 104, 1882)


def monomials(bits: int) -> tuple[Floats, Integers]:
    """Return the values [2ⁿ, 2ⁿ] of all products of distinct inputs, one a column, and their degrees [2ⁿ].

    Every function on {−1, 1}ⁿ is one polynomial in these.
    """
    products: Floats = hadamard(2**bits).astype(np.float64)
    return products, _set_bits(np.arange(2**bits))


def parity(bits: int) -> Floats:
    """Return +1 where an even number of bits is set, else −1."""
    return np.where(_set_bits(np.arange(2**bits)) % 2 == 1, -1.0, 1.0)


def partial_parity(chosen: int, bits: int) -> Floats:
    """Return the parity of the first so many bits of all: of order ``chosen``, as that of these bits alone."""
    return np.tile(parity(chosen), 2 ** (bits - chosen))


def majority(bits: int) -> Floats:
    """Return −1 where more than half of the bits are set, else +1."""
    return np.where(2 * _set_bits(np.arange(2**bits)) > bits, -1.0, 1.0)


def random_quadratic(bits: int, rng: np.random.Generator) -> Floats:
    """Draw the sign of a polynomial of degree at most 2, with integer coefficients from −8 to 8 and ½ more: never 0."""
    columns, degrees = monomials(bits)
    chosen = columns[:, degrees <= 2]
    found: Floats = np.sign(chosen @ rng.integers(-8, 9, chosen.shape[1]) + 0.5)
    return found


def values(function: int, bits: int) -> Floats:
    """Return the values ±1 of a function given as an integer; its bits that are set stand for −1."""
    return np.where(function >> np.arange(2**bits) & 1, -1.0, 1.0)


def order(function: Floats) -> int:
    """Return the least degree of a polynomial whose sign is the function (``minsky1969perceptrons``).

    Parameters
    ----------
    function
        [2ⁿ] values ±1.

    Notes
    -----
    A linear program for each degree up to it, with 2ⁿ constraints.
    """
    bits = len(function).bit_length() - 1
    return next((degree for degree in range(bits) if is_separable(signed_monomials(function, degree))), bits)


def fixed_orders(bits: int) -> dict[str, Any]:
    """Return what no seed has a part in: the orders of fixed functions of up to n bits, and the margin of XOR.

    Parameters
    ----------
    bits
        n.

    Returns
    -------
    dict
        ``parity_order`` and ``majority_order`` [n], of 1 to n bits; ``partial_order`` [n], of the parity of the first
        0 to n − 1 of n bits; ``xor_margin``, by ``program_margin``.
    """
    counts = range(1, bits + 1)
    return {
        "parity_order": np.array([order(parity(n)) for n in counts]),
        "majority_order": np.array([order(majority(n)) for n in counts]),
        "partial_order": np.array([order(partial_parity(chosen, bits)) for chosen in range(bits)]),
        "xor_margin": program_margin(signed_monomials(parity(2), 1)).high,
    }


def signed_monomials(function: Floats, degree: int) -> Floats:
    """Return the function times each product of up to so many inputs: the points that a polynomial must separate.

    With degree 1 they are the samples of a threshold unit, (1, x) times the label.
    """
    columns, degrees = monomials(len(function).bit_length() - 1)
    return function[:, None] * columns[:, degrees <= degree]


def count_threshold_functions(bits: int, rng: np.random.Generator) -> int:
    """Count the threshold functions of n ≤ 4 bits.

    Functions that differ by exchanged or negated inputs, or by a negated output, are threshold functions together. Of
    each such class one function, drawn at random, is put to a linear program, and the class counts with its size.

    Notes
    -----
    222 linear programs for the 65,536 functions of four bits.
    """
    classes = _classes(bits)
    shuffled = rng.permutation(len(classes))
    _, first, sizes = np.unique(classes[shuffled], return_index=True, return_counts=True)
    drawn = shuffled[first]
    found = [is_separable(signed_monomials(values(int(function), bits), 1)) for function in drawn]
    return int(sizes[found].sum())


def _classes(bits: int) -> Integers:
    """Return the number of the class of each function, [2^(2ⁿ)]: components under the moves that generate it."""
    inputs, functions = np.arange(2**bits), np.arange(2**2**bits)
    exchanges = [_exchanged(inputs, bit, bit + 1) for bit in range(bits - 1)]
    moved = [_read_at(functions, places) for places in (*exchanges, inputs ^ 1)]
    moved.append(len(functions) - 1 - functions)
    starts = np.tile(functions, len(moved))
    links = coo_array((np.ones(len(starts)), (starts, np.concatenate(moved))), shape=(len(functions), len(functions)))
    return connected_components(links, directed=False)[1].astype(np.int64)


def _exchanged(inputs: Integers, first: int, second: int) -> Integers:
    differ = (inputs >> first ^ inputs >> second) & 1
    return inputs ^ (differ << first) ^ (differ << second)


def _read_at(functions: Integers, places: Integers) -> Integers:
    """Return the functions x → f(places[x])."""
    moved = np.zeros_like(functions)
    for x, place in enumerate(places):
        moved |= (functions >> place & 1) << x
    return moved


def _set_bits(numbers: Integers) -> Integers:
    return np.bitwise_count(numbers).astype(np.int64)
