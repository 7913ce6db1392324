"""Signals of few cycles, known at every point, and what Legendre polynomials make of them."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from deepscope.models import legendre_basis

#: Nodes of the quadrature: exact for polynomials of degree 1,023, so for products of two of degree 63, and to rounding
#: for those with signals of up to 100 cycles.
_NODES = 512


def draw_signals(cycles: int, count: int, generator: torch.Generator) -> Tensor:
    """Return amplitudes of signals, [2 · cycles, count]: independent, so that the mean square of a signal is 1."""
    drawn = torch.randn(2 * cycles, count, generator=generator, dtype=torch.float64)
    return drawn / math.sqrt(cycles)


def signals_at(amplitudes: Tensor, points: Tensor) -> Tensor:
    """Return Σ_k a_k sin 2πkx + b_k cos 2πkx at points of [0, 1], [points, count].

    Examples
    --------
    >>> signals_at(torch.tensor([[0.0], [1.0]]), torch.tensor([0.0, 0.5])).flatten()
    tensor([ 1., -1.])
    """
    angles = 2 * math.pi * points[:, None] * torch.arange(1, len(amplitudes) // 2 + 1)
    return torch.cat((angles.sin(), angles.cos()), 1) @ amplitudes


def middles(length: int) -> Tensor:
    """Return the middles of so many steps of [0, 1]."""
    return (torch.arange(length, dtype=torch.float64) + 0.5) / length


def quadrature() -> tuple[Tensor, Tensor]:
    """Return nodes and weights of Gauss and Legendre on [0, 1]."""
    nodes, weights = np.polynomial.legendre.leggauss(_NODES)
    return torch.from_numpy((nodes + 1) / 2), torch.from_numpy(weights / 2)


def projection(amplitudes: Tensor, n: int) -> Tensor:
    """Return the coefficients of signals in the first n orthonormal Legendre polynomials of [0, 1], [count, n]."""
    nodes, weights = quadrature()
    return (signals_at(amplitudes, nodes) * weights[:, None]).T @ legendre_basis(n, nodes)


def held_projection(values: Tensor, n: int) -> Tensor:
    """Return the coefficients of step functions on [0, 1], whose steps of one width have these values, [count, n].

    In closed form: the integral of √(2k+1) P_k(2x − 1) is (P_{k+1} − P_{k−1}) / (2 √(2k+1)), and x for k = 0.

    Parameters
    ----------
    values
        [steps, count].
    n
        Number of polynomials.

    Examples
    --------
    >>> held_projection(torch.tensor([[-1.0], [1.0]]), 2)  # ∫ |2x − 1| √3 dx = √3/2
    tensor([[0.0000, 0.8660]])
    """
    edges = torch.linspace(0, 1, len(values) + 1, dtype=values.dtype)
    scale = torch.sqrt(2 * torch.arange(n + 1, dtype=values.dtype) + 1)
    polynomials = legendre_basis(n + 1, edges) / scale
    integrals = torch.cat((edges[:, None], (polynomials[:, 2:] - polynomials[:, :-2]) / (2 * scale[1:-1])), 1)
    return values.T @ integrals.diff(dim=0)
