"""Graphs, and what they are as matrices, for the tests of the networks on them."""

from __future__ import annotations

import torch
from torch import Tensor


def random_graph(nodes: int, chance: float, *, seed: int = 0, directed: bool = False) -> Tensor:
    """Return edges without loops, each pair with the same chance; in both directions unless directed."""
    draws = torch.rand(nodes, nodes, generator=torch.Generator().manual_seed(seed))
    there = (draws < chance).fill_diagonal_(False)
    if not directed:
        there = there.triu() | there.triu().T
    return there.nonzero().T.contiguous()


def adjacency(edges: Tensor, nodes: int, weights: Tensor | None = None) -> Tensor:
    """Return A[target, source], one edge after another."""
    matrix = torch.zeros(nodes, nodes, dtype=torch.float64)
    for number, (source, target) in enumerate(edges.T.tolist()):
        matrix[target, source] += 1 if weights is None else float(weights[number])
    return matrix


def numbers(*shape: int, seed: int = 1) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def both_ways(edges: list[tuple[int, int]]) -> Tensor:
    return torch.tensor([*edges, *[(j, i) for i, j in edges]]).T.contiguous()


TRIANGLES = both_ways([(0, 1), (1, 2), (2, 0), (3, 4), (4, 5), (5, 3)])
HEXAGON = both_ways([(i, (i + 1) % 6) for i in range(6)])
