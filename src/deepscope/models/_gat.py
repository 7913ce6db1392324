"""Graph attention network."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from deepscope.core import Specimen
from deepscope.models._graph import check_graph, small_graph, with_loops
from deepscope.models._sizes import positive, probability


class GraphAttention(nn.Module):
    """Graph attention: yᵢ = Σⱼ αᵢⱼ W xⱼ over i and its neighbours, α a softmax over them, in several heads.

    αᵢⱼ = softmaxⱼ(LeakyReLU(a_targetᵀ W xᵢ + a_sourceᵀ W xⱼ)), the slope below 0 being 0.2; each head has its own W, a.
    ``layer(x, edges)`` maps [..., nodes, in_features] to [..., nodes, heads · out_features], or to the mean of the
    heads. The loop of each node is added here: leave loops out. A node without neighbours attends to itself. There are
    heads · out · (in + 2) parameters, drawn as by Glorot; as in the paper's formula no bias. Costs
    2 nodes · in · heads · out + 2 (edges + nodes) · heads · (out + 4) operations per sample; heads · out numbers are
    stored for each edge. Source: ``velickovic2018graph``.

    Parameters
    ----------
    in_features, out_features
        Numbers per node, before and after, in each head.
    heads
        How many there are.
    mean
        Whether the heads are averaged rather than put side by side: in the last layer.
    dropout
        Probability with which a neighbour is left out in training, the others counting more.

    Raises
    ------
    UsageError
        A size below 1, a probability outside [0, 1); when called: what is not a graph.

    Examples
    --------
    >>> path = torch.tensor([[0, 1, 1, 2], [1, 0, 2, 1]])
    >>> layer = GraphAttention(5, 4, heads=2)
    >>> layer(torch.zeros(3, 5), path).shape, sum(p.numel() for p in layer.parameters())
    (torch.Size([3, 8]), 56)
    """

    def __init__(
        self, in_features: int, out_features: int, *, heads: int = 1, mean: bool = False, dropout: float = 0.0
    ) -> None:
        super().__init__()
        self.heads, self.out_features = positive(heads, "heads", self), positive(out_features, "out_features", self)
        self.mean = mean
        self.linear = nn.Linear(positive(in_features, "in_features", self), heads * out_features, bias=False)
        self.source = nn.Parameter(torch.empty(heads, out_features))
        self.target = nn.Parameter(torch.empty(heads, out_features))
        self.activation = nn.LeakyReLU(0.2)
        self.dropout = nn.Dropout(probability(dropout, "dropout", self))
        nn.init.xavier_uniform_(self.linear.weight)
        # Of the two, which together are one vector for a pair of nodes.
        bound = (6 / (2 * out_features + 1)) ** 0.5
        nn.init.uniform_(self.source, -bound, bound)
        nn.init.uniform_(self.target, -bound, bound)

    def forward(self, x: Tensor, edges: Tensor) -> Tensor:
        """Return y, [..., nodes, heads · out_features], or [..., nodes, out_features] where heads are averaged."""
        values = self._values(x, edges)
        looped, attention = self._attention(values, edges)
        messages = values.index_select(-3, looped[0]) * self.dropout(attention).unsqueeze(-1)
        # Of the messages' precision: under autocast the softmax has another one than the values.
        y: Tensor = messages.new_zeros(values.shape).index_add(-3, looped[1], messages)
        return y.mean(-2) if self.mean else y.flatten(-2)

    def attention(self, x: Tensor, edges: Tensor) -> tuple[Tensor, Tensor]:
        """Return the edges with the nodes' loops, [2, edges + nodes], and α, [..., edges + nodes, heads]."""
        return self._attention(self._values(x, edges), edges)

    def _values(self, x: Tensor, edges: Tensor) -> Tensor:
        check_graph(x, edges, self.linear.in_features, self)
        values: Tensor = self.linear(x).unflatten(-1, (self.heads, self.out_features))
        return values

    def _attention(self, values: Tensor, edges: Tensor) -> tuple[Tensor, Tensor]:
        nodes = values.shape[-3]
        edges = with_loops(edges, nodes)
        source, target = (values * self.source).sum(-1), (values * self.target).sum(-1)
        scores = self.activation(source.index_select(-2, edges[0]) + target.index_select(-2, edges[1]))
        return edges, neighbour_softmax(scores, edges[1], nodes)


def neighbour_softmax(scores: Tensor, targets: Tensor, nodes: int) -> Tensor:
    """Return the softmax of scores [..., edges, heads] over the edges that end at the same node.

    >>> neighbour_softmax(torch.zeros(3, 1), torch.tensor([0, 1, 1]), 2).flatten().tolist()
    [1.0, 0.5, 0.5]
    """
    *samples, _, heads = scores.shape
    with torch.no_grad():
        # It cancels; without it the exponential of a high score is infinite.
        index = targets[:, None].expand(scores.shape)
        highest = scores.new_zeros(*samples, nodes, heads).scatter_reduce(-2, index, scores, "amax", include_self=False)
    powers = (scores - highest.index_select(-2, targets)).exp()
    sums = powers.new_zeros(*samples, nodes, heads).index_add(-2, targets, powers)
    return powers / sums.index_select(-2, targets)


class GAT(nn.Module):
    """Graph attention network: two layers of graph attention with ELU between them.

    ``network(x, edges)`` maps [..., nodes, features] to logits [..., nodes, classes]: ``heads`` heads of ``hidden``
    numbers side by side, then ``out_heads`` averaged ones. Dropout before each layer, and of neighbours within. It has
    heads · hidden · (features + 2) + out_heads · classes · (heads · hidden + 2) parameters. By default it is the
    paper's for Cora: 1,433 words, 8 heads of 8, 7 classes; 92,302 parameters. Source: ``velickovic2018graph``.

    Parameters
    ----------
    features, classes
        Numbers per node, in and out.
    hidden
        Numbers per node and head between the layers.
    heads, out_heads
        How many the first and the second layer have.
    dropout
        Probability with which a number that enters a layer, or a neighbour, is left out in training.

    Raises
    ------
    UsageError
        A size below 1, a probability outside [0, 1); when called: what is not a graph.

    Examples
    --------
    >>> network = GAT()
    >>> network(torch.zeros(3, 1433), torch.tensor([[0, 1], [1, 0]])).shape
    torch.Size([3, 7])
    >>> sum(p.numel() for p in network.parameters())
    92302
    """

    def __init__(
        self,
        features: int = 1433,
        classes: int = 7,
        *,
        hidden: int = 8,
        heads: int = 8,
        out_heads: int = 1,
        dropout: float = 0.6,
    ) -> None:
        super().__init__()
        self.dropout = nn.Dropout(probability(dropout, "dropout", self))
        self.attention1 = GraphAttention(features, hidden, heads=heads, dropout=dropout)
        self.activation = nn.ELU()
        self.attention2 = GraphAttention(heads * hidden, classes, heads=out_heads, mean=True, dropout=dropout)

    def forward(self, x: Tensor, edges: Tensor) -> Tensor:
        """Return the logits of each node, [..., nodes, classes]."""
        x = self.activation(self.attention1(self.dropout(x), edges))
        logits: Tensor = self.attention2(self.dropout(x), edges)
        return logits


SPECIMENS = (
    Specimen(
        name="gat",
        title="graph attention network for a citation graph",
        build=GAT,
        inputs=small_graph(12, 1433),
        parameters=92_302,
        formula="yᵢ = Σⱼ αᵢⱼ W xⱼ over a node i and its neighbours, αᵢⱼ = softmaxⱼ(LeakyReLU(aᵀ [W xᵢ, W xⱼ])); 8 "
        "heads of 8 numbers, ELU, then one head of logits.",
        source="velickovic2018graph",
        pinned_by="tests/models/test_gat.py::test_attention_sums_to_one_over_a_node_and_its_neighbours",
    ),
)
