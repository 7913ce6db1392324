"""Colour refinement: the Weisfeiler–Leman test on nodes, and on pairs of nodes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepscope.studies.graphs._graph_stacks import Stack

#: Of each graph what a test or a network says of it, [graphs, numbers]: those with other numbers are told apart.
Seen = NDArray[Any]


def refined_nodes(stack: Stack) -> Seen:
    """Return what one-dimensional Weisfeiler–Leman (1-WL) says of each graph: how many nodes, which class, [graphs, 2].

    All nodes begin alike. A node's next colour is its colour and the multiset of those of its neighbours, until no
    class of nodes is split any more; graphs are told apart by the multisets of their colours. Classes are numbered for
    the stack as a whole: of one size, only graphs of one call can be compared.

    Examples
    --------
    >>> from deepscope.studies.graphs._graph_stacks import hard_pairs
    >>> refined_nodes(hard_pairs()[0]).tolist()
    [[6, 0], [6, 0]]
    """
    alike = np.zeros(stack.shape[:2], dtype=np.int64)
    # A number that is no colour stands for who is no neighbour.
    return _refined(alike, lambda colours: np.where(stack == 1, colours[:, None, :], -1))


def refined_pairs(stack: Stack) -> Seen:
    """Return what two-dimensional folklore Weisfeiler–Leman (2-FWL, which is 3-WL) says of each graph, [graphs, 2].

    A pair of nodes (u, v) begins as equal, joined or neither; its next colour is its colour and, over all nodes w, the
    multiset of the colours of (u, w) and (w, v), in this order. Source: ``cai1992optimal``; the name:
    ``morris2019weisfeiler``.

    Examples
    --------
    >>> from deepscope.studies.graphs._graph_stacks import hard_pairs
    >>> [refined_pairs(stack)[:, 1].tolist() for stack in hard_pairs()]
    [[0, 1], [0, 1], [0, 0], [0, 0]]
    """

    def over_third_nodes(colours: NDArray[np.int64]) -> NDArray[np.int64]:
        left, right = colours[:, :, None, :], colours.transpose(0, 2, 1)[:, None, :, :]
        both: NDArray[np.int64] = left * (colours.max() + 1) + right
        return both

    return _refined(stack + 2 * np.eye(stack.shape[1], dtype=np.int64), over_third_nodes)


def _refined(colours: NDArray[np.int64], around: Callable[[NDArray[np.int64]], NDArray[np.int64]]) -> Seen:
    """Refine colours [graphs, …] by the multisets ``around`` them, [graphs, …, members], until none is split."""
    count = len(np.unique(colours))
    while True:
        colours = _named(np.concatenate([colours[..., None], np.sort(around(colours), -1)], -1))
        before, count = count, int(colours.max()) + 1
        if count == before:
            classes = _named(np.sort(colours.reshape(len(colours), -1), -1))
            return np.stack([np.full(len(colours), colours.shape[1]), classes], 1)


def _named(rows: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return a number for each row [..., numbers], the same for rows that are equal, from 0 on."""
    _, names = np.unique(rows.reshape(-1, rows.shape[-1]), axis=0, return_inverse=True)
    return names.reshape(rows.shape[:-1])


def node_counts(stack: Stack) -> Seen:
    """Return the numbers of nodes and of those without neighbours, [graphs, 2]."""
    return np.stack([np.full(len(stack), stack.shape[1]), (stack.sum(-1) == 0).sum(-1)], 1)


def walk_counts(stack: Stack, length: int) -> Seen:
    """Return the numbers of walks 1ᵀ (I + A)ᵏ 1 for k = 0 … ``length``, [graphs, length + 1]."""
    ends, counts = np.ones(stack.shape[:2], dtype=np.int64), []
    for _ in range(length + 1):
        counts.append(ends.sum(-1))
        ends = ends + (stack @ ends[..., None])[..., 0]
    return np.stack(counts, 1)
