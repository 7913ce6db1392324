"""Graph network that tells the directions of edges apart."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 — torch's own name for it

from deepscope.core import Specimen, UsageError
from deepscope.models._graph import check_graph, degrees, inverse, small_graph
from deepscope.models._neighbour_sum import neighbour_sum
from deepscope.models._sizes import positive, probability


class DirectedConvolution(nn.Module):
    """Graph convolution with weights for each direction, Dir-GCN: y = α (S x W₁ + b₁) + (1 − α)(Sᵀ x W₂ + b₂).

    S = D_out^(−1/2) A D_in^(−1/2), where Aᵢⱼ = 1 if there is an edge from i to j: S x collects what a node's edges lead
    to, Sᵀ x where they come from. ``layer(x, edges)`` maps [..., nodes, in_features] to [..., nodes, out_features]. No
    loops are added: on a graph with loops whose edges all go both ways, and with equal weights, it is
    ``GraphConvolution`` of the graph without them. There are 2 (in + 1) out parameters. Costs
    4 (edges · in + nodes · in · out) operations per sample. Source: ``rossi2023edge``.

    Parameters
    ----------
    in_features, out_features
        Numbers per node, before and after.
    alpha
        α, how much what a node's edges lead to counts: at 1 and 0 one direction alone.

    Raises
    ------
    UsageError
        A size below 1, an α outside [0, 1]; when called: what is not a graph.

    Examples
    --------
    >>> path = torch.tensor([[0, 1], [1, 2]])
    >>> layer = DirectedConvolution(5, 4)
    >>> layer(torch.zeros(3, 5), path).shape, sum(p.numel() for p in layer.parameters())
    (torch.Size([3, 4]), 48)
    """

    def __init__(self, in_features: int, out_features: int, *, alpha: float = 0.5) -> None:
        super().__init__()
        if not 0 <= alpha <= 1:
            raise UsageError(f"alpha is {alpha}", where="DirectedConvolution", todo="Give a number from 0 to 1.")
        self.alpha = alpha
        positive(in_features, "in_features", self)
        positive(out_features, "out_features", self)
        self.outgoing = nn.Linear(in_features, out_features)
        self.incoming = nn.Linear(in_features, out_features)

    def forward(self, x: Tensor, edges: Tensor) -> Tensor:
        """Return y, [..., nodes, out_features]."""
        check_graph(x, edges, self.outgoing.in_features, self)
        nodes, ones = x.shape[-2], x.new_ones(edges.shape[1])
        leaving, arriving = (inverse(degrees(ends, ones, nodes), 0.5) for ends in edges)
        coefficients = leaving[edges[0]] * arriving[edges[1]]
        there = neighbour_sum(x, edges.flip(0), coefficients)
        back = neighbour_sum(x, edges, coefficients)
        y: Tensor = self.alpha * self.outgoing(there) + (1 - self.alpha) * self.incoming(back)
        return y


class DirGNN(nn.Module):
    """Dir-GNN: directed convolutions, each followed by ReLU, dropout and n(h) = h / ‖h‖₂; logits of their maximum.

    ``network(x, edges)`` maps [..., nodes, features] to logits [..., nodes, classes] = W maxₗ hˡ + b, the maximum of
    each feature over the layers. With layers L and width h it has 2 (features + 1) h + (L − 1) 2 (h + 1) h + (h + 1)
    classes parameters. By default it is the paper's for snap-patents: 269 features, 5 layers of 32, 5 classes; 25,893
    parameters. Source: ``rossi2023edge``.

    Parameters
    ----------
    features, classes
        Numbers per node, in and out.
    hidden
        Numbers per node behind each layer.
    layers
        How many there are.
    alpha
        As in ``DirectedConvolution``.
    dropout
        Probability with which a number behind a layer is left out in training.

    Raises
    ------
    UsageError
        As ``DirectedConvolution``; a probability outside [0, 1).

    Examples
    --------
    >>> network = DirGNN()
    >>> network(torch.zeros(3, 269), torch.tensor([[0, 1], [1, 2]])).shape
    torch.Size([3, 5])
    >>> sum(p.numel() for p in network.parameters())
    25893
    """

    def __init__(
        self,
        features: int = 269,
        classes: int = 5,
        *,
        hidden: int = 32,
        layers: int = 5,
        alpha: float = 0.5,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        widths = [features, *[hidden] * positive(layers, "layers", self)]
        self.layers = nn.ModuleList(DirectedConvolution(*each, alpha=alpha) for each in pairwise(widths))
        self.activation = nn.ReLU()
        self.dropout = nn.Dropout(probability(dropout, "dropout", self))
        self.output = nn.Linear(hidden, positive(classes, "classes", self))

    def forward(self, x: Tensor, edges: Tensor) -> Tensor:
        """Return the logits of each node, [..., nodes, classes]."""
        found = []
        for layer in self.layers:
            x = F.normalize(self.dropout(self.activation(layer(x, edges))), dim=-1)
            found.append(x)
        logits: Tensor = self.output(torch.stack(found).amax(0))
        return logits


SPECIMENS = (
    Specimen(
        name="dir-gnn",
        title="graph network with weights for each direction of an edge",
        build=DirGNN,
        inputs=small_graph(12, 269),
        parameters=25_893,
        formula="h' = α S h W₁ + (1 − α) Sᵀ h W₂ with S = D_out^(−1/2) A D_in^(−1/2): what a node points to and what "
        "points to it are added up apart. ReLU and length 1 behind each of 5 layers; logits of their maximum.",
        source="rossi2023edge",
        rows=("dir-gnn",),
        pinned_by="tests/verify/test_planted_graph_networks.py::test_directions_are_worth_ten_points_on_a_heterophilic_graph_alone",
    ),
)
