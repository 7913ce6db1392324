"""Matrix product states: their canonical form, and how a vector becomes one. Tensors are [left, 2, right]."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor


def bond_dimensions(sites: int, most: int) -> list[int]:
    """Return the dimensions of the bonds before, between and after the sites: as many as are of use, at most ``most``.

    Examples
    --------
    >>> bond_dimensions(6, 4)
    [1, 2, 4, 4, 4, 2, 1]
    """
    # Beyond 2 to the power of the bits of ``most`` no power is needed.
    return [min(most, 2 ** min(k, sites - k, most.bit_length())) for k in range(sites + 1)]


def canonical(tensors: Sequence[Tensor], centre: int) -> list[Tensor]:
    """Return the state scaled to norm 1, with isometries beside a site: Σ_s A(s)ᴴA(s) = 1 left of it, A(s)A(s)ᴴ right.

    The norm is then that of the site's own tensor. Shapes stay. Cost: O(N D³).
    """
    found = list(tensors)
    for site in range(centre):
        left, _, right = found[site].shape
        isometry, rest = torch.linalg.qr(found[site].reshape(2 * left, right))
        found[site] = isometry.reshape(left, 2, right)
        found[site + 1] = torch.tensordot(rest / torch.linalg.vector_norm(rest), found[site + 1], 1)
    for site in range(len(found) - 1, centre, -1):
        left, _, right = found[site].shape
        isometry, rest = torch.linalg.qr(found[site].reshape(left, 2 * right).mH)
        found[site] = isometry.mH.reshape(left, 2, right)
        found[site - 1] = torch.tensordot(found[site - 1], rest.mH / torch.linalg.vector_norm(rest), 1)
    found[centre] = found[centre] / torch.linalg.vector_norm(found[centre])
    return found


def split(merged: Tensor, *, bond: int, cutoff: float, to_right: bool) -> tuple[Tensor, Tensor]:
    """Return the two tensors of a pair of sites, [l, 2, bond] and [bond, 2, r], the nearest product of such norm.

    Singular values beyond the bond's dimension, and those below ``cutoff`` times the greatest, become 0. Of the two,
    that one is an isometry which the centre leaves; it is one in all its columns, those without a singular value too.
    """
    left, _, _, right = merged.shape
    u, values, v = torch.linalg.svd(merged.reshape(2 * left, 2 * right), full_matrices=False)
    kept = torch.where(values >= cutoff * values[0], values, 0)[:bond]
    kept = kept * (torch.linalg.vector_norm(values) / torch.linalg.vector_norm(kept))
    u, v = u[:, :bond], v[:bond]
    if to_right:
        v = kept[:, None] * v
    else:
        u = u * kept
    return u.reshape(left, 2, bond), v.reshape(bond, 2, right)


def decomposed(vector: Tensor, most: int) -> list[Tensor]:
    """Return the matrix product state of a vector of 2ᴺ numbers, its centre behind, with bonds of at most ``most``."""
    sites = vector.numel().bit_length() - 1
    bonds = bond_dimensions(sites, most)
    found, rest = [], vector.reshape(1, -1)
    for left, right in pairwise(bonds[:-1]):
        u, values, v = torch.linalg.svd(rest.reshape(2 * left, -1), full_matrices=False)
        found.append(u[:, :right].reshape(left, 2, right))
        rest = values[:right, None] * v[:right]
    return [*found, rest.reshape(bonds[-2], 2, 1)]
