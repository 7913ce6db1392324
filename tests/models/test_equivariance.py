"""Every network on graphs takes a new numbering of the nodes to the same outputs, numbered anew."""

from __future__ import annotations

import inspect
import math
from typing import Any

import pytest
import torch
from graphs import random_graph
from torch import Tensor, nn

from deepscope import models
from deepscope.models import GCN, GIN, HGNN, ChebyshevConvolution, GraphConvolution, HypergraphConvolution

NODES, EDGES, FEATURES = 12, 8, 5
FOUND = [
    each
    for each in (getattr(models, name) for name in models.__all__)
    if inspect.isclass(each) and issubclass(each, nn.Module) and "edges" in inspect.signature(each.forward).parameters
]
#: What a network is built with, and what it takes beside features and edges; else nothing, and nothing.
VARIANTS: dict[str, list[tuple[dict[str, Any], str]]] = {
    # The product over the edges comes first where there are more features behind it.
    "GraphConvolution": [({}, "weights"), ({"out_features": 7}, "weights")],
    "GCN": [({}, "weights")],
    "ChebyshevConvolution": [({"order": 3}, "weights"), ({"out_features": 7}, "weights")],
    "ChebNet": [({}, "weights")],
    "GraphAttention": [({"heads": 2}, ""), ({"heads": 2, "mean": True}, "")],
    "IsomorphismLayer": [({"learn_epsilon": True, "epsilon": 0.3}, ""), ({}, "in training")],
    "GIN": [({}, "one graph"), ({}, "graphs")],
    "SAGELayer": [({}, ""), ({"aggregation": "pool"}, "")],
    "GraphSAGE": [({}, ""), ({"aggregation": "pool"}, "")],
    "DirectedConvolution": [({"alpha": 0.3}, "")],
    "HypergraphConvolution": [({}, "hyperedges"), ({"normalisation": "rows", "out_features": 7}, "hyperedges")],
    "HGNN": [({}, "hyperedges")],
}


def disagreement(network: nn.Module, takes: str) -> float:
    """Return the largest difference over 100 random graphs and permutations, relative to the largest output.

    Nodes, hyperedges and graphs are numbered anew, and edges listed in another order: of outputs per node those of the
    new numbers must be those of the old ones, and outputs per graph stay.
    """
    worst = 0.0
    for seed in range(100):
        generator = torch.Generator().manual_seed(seed)

        def order(n: int, generator: torch.Generator = generator) -> Tensor:
            return torch.randperm(n, generator=generator)

        x = torch.randn(2, NODES, FEATURES, dtype=torch.float64, generator=generator)
        nodes = order(NODES)
        numbers = nodes.argsort()
        if takes == "hyperedges":
            edges = (torch.rand(NODES, EDGES, generator=generator) < 0.3).nonzero().T
            weights, others = torch.rand(EDGES, dtype=torch.float64, generator=generator), order(EDGES)
            moved = torch.stack([numbers[edges[0]], others.argsort()[edges[1]]])[:, order(edges.shape[1])]
            before, after = (edges, weights), (moved, weights[others])
        else:
            edges = random_graph(NODES, 0.3, seed=seed, directed=takes != "weights")
            listed = order(edges.shape[1])
            before, after = (edges,), (numbers[edges][:, listed],)
            if takes == "weights":
                weights = torch.rand(edges.shape[1], dtype=torch.float64, generator=generator)
                before, after = (*before, weights), (*after, weights[listed])
            if takes == "graphs":
                # Three, of which none is without nodes.
                graphs, others = torch.arange(NODES) % 3, order(3)
                before, after = (*before, graphs), (*after, others.argsort()[graphs[nodes]])
        with torch.no_grad():
            one, other = network(x, *before), network(x[:, nodes], *after)
        if takes == "graphs":
            one = one[:, others]
        elif takes != "one graph":
            one = one[:, nodes]
        assert one.shape == other.shape
        scale = float(one.abs().max())
        # Neither zeros nor what is no number says anything of an order.
        assert 0 < scale < math.inf
        worst = max(worst, float((one - other).abs().max()) / scale)
    assert math.isfinite(worst)
    return worst


class Numbered(GraphConvolution):
    """Planted: the first node counts by a thousandth more."""

    def forward(self, x: Tensor, edges: Tensor) -> Tensor:
        share = torch.ones(NODES, 1, dtype=torch.float64)
        share[0] += 1e-3
        return super().forward(x * share, edges)


class LastComer(GraphConvolution):
    """Planted: a node is given the outputs of that neighbour whose edge is listed last."""

    def forward(self, x: Tensor, edges: Tensor) -> Tensor:
        last = torch.arange(NODES)
        for source, target in edges.T.tolist():
            last[target] = source
        return super().forward(x, edges)[:, last]


class FirstNode(GraphConvolution):
    """Planted: the first node stands for the graph."""

    def forward(self, x: Tensor, edges: Tensor) -> Tensor:
        return super().forward(x, edges)[:, 0]


CASES = [(each, *variant) for each in FOUND for variant in VARIANTS.get(each.__name__, [({}, "")])]
PLANTED = [(Numbered, {}, ""), (LastComer, {}, ""), (FirstNode, {}, "one graph")]


@pytest.mark.demonstrates("gnn-books")
@pytest.mark.parametrize(("build", "given", "takes"), CASES + PLANTED)
def test_it_follows_a_permutation_of_the_nodes_unless_it_is_planted_not_to(
    build: type[nn.Module], given: dict[str, Any], takes: str
) -> None:
    torch.manual_seed(0)
    sizes = {"out_features" if "out_features" in inspect.signature(build).parameters else "classes": 3}
    sizes["in_features" if "in_features" in inspect.signature(build).parameters else "features"] = FEATURES
    network = build(**{**sizes, **given}).double().train(takes == "in training")
    found = disagreement(network, takes)
    if build in FOUND:
        assert found < 1e-6
    else:
        assert found > 1e-4


class Nothing(GraphConvolution):
    """Planted: no number, or zero, which no permutation changes."""

    share = math.nan

    def forward(self, x: Tensor, edges: Tensor) -> Tensor:
        return super().forward(x, edges) * self.share


@pytest.mark.parametrize("share", [math.nan, 0.0])
def test_outputs_that_say_nothing_are_caught(share: float) -> None:
    network = Nothing(FEATURES, 3).double()
    network.share = share
    with pytest.raises(AssertionError):
        disagreement(network, "")


def test_all_networks_on_graphs_are_found() -> None:
    assert {GCN, GIN, HGNN, GraphConvolution, HypergraphConvolution, ChebyshevConvolution} <= set(FOUND)
    assert set(VARIANTS) <= {each.__name__ for each in FOUND}
