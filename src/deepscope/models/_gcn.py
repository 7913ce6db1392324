"""Graph convolutional network."""

from __future__ import annotations

from itertools import pairwise

from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 — torch's own name for it

from deepscope.core import Specimen
from deepscope.models._graph import check_graph, check_weights, small_graph, symmetric, with_loops
from deepscope.models._neighbour_sum import neighbour_sum
from deepscope.models._sizes import positive, probability


class GraphConvolution(nn.Module):
    """Graph convolution of Kipf and Welling: y = D̃^(−1/2) (A + I) D̃^(−1/2) x W, D̃ᵢ = Σⱼ (A + I)ᵢⱼ.

    ``layer(x, edges)`` maps [..., nodes, in_features] to [..., nodes, out_features]; A[target, source] is the weight of
    an edge, 1 unless ``weights`` [edges] says otherwise. The loop of each node is added here: leave loops out, one in
    ``edges`` counts beside it. A node without neighbours keeps its own features. W has in · out parameters, drawn as by
    Glorot; as in the paper there is no bias. Costs 2 nodes · in · out + 2 (edges + nodes) · min(in, out) operations per
    sample. Source: ``kipf2017semi``.

    Parameters
    ----------
    in_features, out_features
        Numbers per node, before and after.

    Raises
    ------
    UsageError
        A size below 1; when called: what is not a graph, weights that are not one for each edge, finite and at least 0.

    Examples
    --------
    >>> import torch
    >>> path = torch.tensor([[0, 1, 1, 2], [1, 0, 2, 1]])
    >>> layer = GraphConvolution(5, 4)
    >>> layer(torch.zeros(3, 5), path).shape, sum(p.numel() for p in layer.parameters())
    (torch.Size([3, 4]), 20)
    """

    def __init__(self, in_features: int, out_features: int) -> None:
        super().__init__()
        self.linear = nn.Linear(
            positive(in_features, "in_features", self), positive(out_features, "out_features", self), bias=False
        )
        nn.init.xavier_uniform_(self.linear.weight)

    def forward(self, x: Tensor, edges: Tensor, weights: Tensor | None = None) -> Tensor:
        """Return y, [..., nodes, out_features]."""
        check_graph(x, edges, self.linear.in_features, self)
        check_weights(weights, edges.shape[1], self)
        nodes = x.shape[-2]
        ones = x.new_ones(edges.shape[1] if weights is None else 0)
        looped = F.pad(ones if weights is None else weights.to(x.dtype), (0, nodes), value=1)
        edges = with_loops(edges, nodes)
        coefficients = symmetric(edges, looped, nodes)
        # The two products commute: the one over the edges is taken where there are fewer features.
        if self.linear.in_features < self.linear.out_features:
            y: Tensor = self.linear(neighbour_sum(x, edges, coefficients))
            return y
        return neighbour_sum(self.linear(x), edges, coefficients)


class GCN(nn.Module):
    """Graph convolutional network: graph convolutions with ReLU between them, Z = Â ReLU(Â X W₀) W₁.

    ``network(x, edges)`` maps [..., nodes, features] to logits [..., nodes, classes]; dropout before each layer. With
    ``layers`` L it has features · hidden + (L − 2) hidden² + hidden · classes parameters. By default it is the paper's
    for Cora: 1,433 words, 16 hidden units, 7 classes; 23,040 parameters, trained by Adam at 0.01 with a weight decay of
    5e-4 on the first layer. Source: ``kipf2017semi``.

    Parameters
    ----------
    features, classes
        Numbers per node, in and out.
    hidden
        Numbers per node between the layers.
    layers
        How many there are.
    dropout
        Probability with which a number that enters a layer is left out in training.

    Raises
    ------
    UsageError
        A size below 1, a probability outside [0, 1); when called: as ``GraphConvolution``.

    Examples
    --------
    >>> import torch
    >>> network = GCN()
    >>> network(torch.zeros(3, 1433), torch.tensor([[0, 1], [1, 0]])).shape
    torch.Size([3, 7])
    >>> sum(p.numel() for p in network.parameters())
    23040
    """

    def __init__(
        self, features: int = 1433, classes: int = 7, *, hidden: int = 16, layers: int = 2, dropout: float = 0.5
    ) -> None:
        super().__init__()
        widths = [features, *[hidden] * (positive(layers, "layers", self) - 1), classes]
        self.layers = nn.ModuleList(GraphConvolution(fan_in, fan_out) for fan_in, fan_out in pairwise(widths))
        self.activation = nn.ReLU()
        self.dropout = nn.Dropout(probability(dropout, "dropout", self))

    def forward(self, x: Tensor, edges: Tensor, weights: Tensor | None = None) -> Tensor:
        """Return the logits of each node, [..., nodes, classes]."""
        for number, layer in enumerate(self.layers):
            x = layer(self.dropout(self.activation(x) if number else x), edges, weights)
        return x


SPECIMENS = (
    Specimen(
        name="gcn",
        title="graph convolutional network for a citation graph",
        build=GCN,
        inputs=small_graph(12, 1433),
        parameters=23_040,
        formula="Z = Â ReLU(Â X W₀) W₁ with Â = D̃^(−1/2) (A + I) D̃^(−1/2) and D̃ᵢ = Σⱼ (A + I)ᵢⱼ: each node takes "
        "the weighted mean of its neighbours and itself.",
        source="kipf2017semi",
        rows=("gnn-books",),
        pinned_by="tests/models/test_equivariance.py::test_it_follows_a_permutation_of_the_nodes_unless_it_is_planted_not_to",
    ),
)
