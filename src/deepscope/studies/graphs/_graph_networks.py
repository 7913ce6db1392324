"""Networks on graphs with other sums than theirs, other activations, and one on pairs of nodes."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from deepscope.models import GIN, IsomorphismLayer
from deepscope.studies.graphs._graph_stacks import Stack

Aggregate = Callable[[Tensor, Tensor], Tensor]


class Sine(nn.Module):
    """sin x, of each number."""

    def forward(self, x: Tensor) -> Tensor:
        """Return the sines."""
        return x.sin()


def neighbour_mean(x: Tensor, edges: Tensor) -> Tensor:
    """Return the mean over each node's neighbours of x, [nodes, features]; 0 where there is none."""
    total = torch.zeros_like(x).index_add(0, edges[1], x[edges[0]])
    number = torch.zeros_like(x[:, :1]).index_add(0, edges[1], torch.ones_like(x[edges[0], :1]))
    return total / number.clamp(min=1)


def neighbour_maximum(x: Tensor, edges: Tensor) -> Tensor:
    """Return the maximum over each node's neighbours of each feature of x, [nodes, features]; 0 where there is none."""
    index = edges[1][:, None].expand(-1, x.shape[1])
    return torch.zeros_like(x).scatter_reduce(0, index, x[edges[0]], "amax", include_self=False)


#: What may stand in the place of the sum.
AGGREGATIONS = {"mean": neighbour_mean, "maximum": neighbour_maximum}


class Aggregating(nn.Module):
    """A GIN's layer whose sum over neighbours is another function of them: MLP(x + aggregate(x, edges)).

    Parameters
    ----------
    layer
        With ε = 0. Without edges it is its own MLP, which is what is used of it.
    aggregate
        Maps x and edges to what is to be added to x.
    """

    def __init__(self, layer: IsomorphismLayer, aggregate: Aggregate) -> None:
        super().__init__()
        self.layer, self.aggregate = layer, aggregate

    def forward(self, x: Tensor, edges: Tensor) -> Tensor:
        """Return the new features, [nodes, out_features]."""
        y: Tensor = self.layer(x + self.aggregate(x, edges), edges[:, :0])
        return y


def with_aggregation(network: GIN, aggregate: Aggregate) -> GIN:
    """Replace the sum over neighbours in all layers of a GIN with ε = 0; the sums over its nodes stay."""
    network.layers = nn.ModuleList(Aggregating(layer, aggregate) for layer in network.layers)  # type: ignore[arg-type]
    return network


def with_activation(network: GIN, activation: nn.Module) -> GIN:
    """Replace each ReLU of a GIN."""
    network.activation = activation  # type: ignore[assignment]
    for layer in network.layers:
        layer.activation = activation
    return network


def without_biases(network: GIN) -> GIN:
    """Set all biases of a GIN to 0: with ReLU, what it computes then is homogeneous in its input."""
    for module in network.modules():
        if isinstance(module, nn.Linear):
            nn.init.zeros_(module.bias)
    return network


class PairLayer(nn.Module):
    """h′(u, v) = tanh(W [h(u, v), Σ_w a(h(u, w)) b(h(w, v))]), a and b = tanh of affine maps, products by feature.

    Maps [graphs, nodes, nodes, in_features] to [graphs, nodes, nodes, out_features]: what a pair of nodes is told by
    all third nodes, as two-dimensional folklore Weisfeiler–Leman is. Source: ``maron2019provably``.
    """

    def __init__(self, in_features: int, out_features: int) -> None:
        super().__init__()
        self.left = nn.Linear(in_features, out_features)
        self.right = nn.Linear(in_features, out_features)
        self.mix = nn.Linear(in_features + out_features, out_features)

    def forward(self, h: Tensor) -> Tensor:
        """Return the new features of all pairs."""
        left, right = self.left(h).tanh(), self.right(h).tanh()
        joined = torch.einsum("guwf,gwvf->guvf", left, right)
        mixed: Tensor = self.mix(torch.cat([h, joined], -1))
        return mixed.tanh()


class PairNetwork(nn.Module):
    """Layers on pairs of nodes, and the sum over all pairs: maps adjacency [graphs, nodes, nodes] to [graphs, hidden].

    A pair begins as two numbers, whether it is joined and whether it is one node. Source: ``maron2019provably``.
    """

    def __init__(self, hidden: int, layers: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(*(PairLayer(hidden if number else 2, hidden) for number in range(layers)))

    def forward(self, adjacency: Tensor) -> Tensor:
        """Return the sums over all pairs of each graph."""
        same = torch.eye(adjacency.shape[1], dtype=adjacency.dtype, device=adjacency.device).expand_as(adjacency)
        h: Tensor = self.layers(torch.stack([adjacency, same], -1))
        return h.sum((1, 2))


def as_one_graph(stack: Stack) -> tuple[Tensor, Tensor]:
    """Return the edges [2, edges] of all graphs of a stack, one beside the other, and the graph of each node.

    >>> import numpy as np
    >>> edges, graphs = as_one_graph(np.array([[[0, 1], [1, 0]], [[0, 1], [1, 0]]]))
    >>> edges.tolist(), graphs.tolist()
    ([[1, 0, 3, 2], [0, 1, 2, 3]], [0, 0, 1, 1])
    """
    count, nodes = stack.shape[:2]
    graph, target, source = torch.from_numpy(stack).nonzero(as_tuple=True)
    edges = torch.stack([source, target]) + graph * nodes
    return edges, torch.arange(count).repeat_interleave(nodes)
