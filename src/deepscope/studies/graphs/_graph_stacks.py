"""Graphs of one size as a stack of adjacency matrices: the atlas of small graphs, and pairs that are hard to tell."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import networkx as nx

#: Adjacency matrices, [graphs, nodes, nodes], 0 or 1, symmetric.
Stack = NDArray[np.int64]
#: The pairs that ``hard_pairs`` returns: those that two-dimensional Weisfeiler–Leman tells apart, and two that it
#: does not.
EASIER, HARDER = ("C6, 2 C3", "CFI(K3)"), ("CFI(K4)", "rook, Shrikhande")
HARD = (*EASIER, *HARDER)


def atlas(nodes: int) -> dict[str, Stack]:
    """Return all graphs of one to ``nodes`` nodes, at most 7, one of each isomorphism class, by their size.

    Source: ``read1998atlas``.

    Examples
    --------
    >>> {size: len(stack) for size, stack in atlas(7).items()}
    {'1': 1, '2': 2, '3': 4, '4': 11, '5': 34, '6': 156, '7': 1044}
    """
    from networkx import graph_atlas_g

    graphs = graph_atlas_g()
    return {str(size): _stack(graph for graph in graphs if len(graph) == size) for size in range(1, nodes + 1)}


def hard_pairs() -> list[Stack]:
    """Return the pairs named in ``HARD``, each a stack of two graphs that no colouring of their nodes tells apart.

    A hexagon and two triangles; the graphs of ``cai_fuerer_immerman`` over the complete graphs of 3 and 4 nodes; and
    the two strongly regular graphs of 16 nodes of degree 6, of which two have two neighbours in common.
    """
    import networkx as nx

    rook = nx.line_graph(nx.complete_bipartite_graph(4, 4))
    shrikhande = nx.Graph(
        ((i, j), ((i + down) % 4, (j + right) % 4))
        for i, j in itertools.product(range(4), repeat=2)
        for down, right in ((0, 1), (1, 0), (1, 1))
    )
    triangle = nx.cycle_graph(3)
    return [
        _stack([nx.cycle_graph(6), nx.disjoint_union(triangle, triangle)]),
        *(_stack(cai_fuerer_immerman(nx.complete_graph(n), twisted) for twisted in (False, True)) for n in (3, 4)),
        _stack([rook, shrikhande]),
    ]


def cai_fuerer_immerman(base: nx.Graph, twisted: bool) -> nx.Graph:
    """Return the graph of Cai, Fürer and Immerman over a base graph.

    Each node v of the base becomes the nodes (v, S), S a subset of even size of the edges at v; each edge e becomes
    (e, 0) and (e, 1). Where e is at v, (v, S) is joined to (e, 1) if e is in S and to (e, 0) if not; where the graph is
    twisted, the other way round at one end of one edge. The k-dimensional test tells the two apart where k is at least
    the treewidth of the base, n − 1 for the complete graph of n nodes. Source: ``cai1992optimal``.
    """
    import networkx as nx

    edges = list(base.edges)
    graph = nx.Graph()
    for node in base:
        at = [edge for edge in edges if node in edge]
        for size in range(0, len(at) + 1, 2):
            for subset in itertools.combinations(at, size):
                for edge in at:
                    turned = twisted and edge == edges[0] and node == edge[0]
                    graph.add_edge((node, subset), (edge, (edge in subset) != turned))
    return graph


def relabelled(stack: Stack, rng: np.random.Generator) -> Stack:
    """Return an isomorphic copy of each graph: its nodes in another order, drawn for each."""
    orders = rng.permuted(np.tile(np.arange(stack.shape[1]), (len(stack), 1)), axis=1)
    # Rows, then columns, of each graph in its own order.
    copies: Stack = stack[np.arange(len(stack))[:, None, None], orders[:, :, None], orders[:, None, :]]
    return copies


def _stack(graphs: Iterable[nx.Graph]) -> Stack:
    from networkx import to_numpy_array

    return np.stack([to_numpy_array(graph, dtype=np.int64) for graph in graphs])
