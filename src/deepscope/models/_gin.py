"""Graph isomorphism network."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from deepscope.core import Specimen, UsageError
from deepscope.models._graph import check_graph, small_graph
from deepscope.models._neighbour_sum import neighbour_sum
from deepscope.models._sizes import positive, probability


class OverNodes(nn.BatchNorm1d):
    """Batch normalisation of each feature over all nodes of all samples, [..., nodes, features]."""

    def forward(self, x: Tensor) -> Tensor:
        """Return the normalised features."""
        return super().forward(x.flatten(0, -2)).view(x.shape)


class IsomorphismLayer(nn.Module):
    """Layer of the graph isomorphism network: y = MLP((1 + ε) xᵢ + Σⱼ xⱼ), the sum over the neighbours j of i.

    ``layer(x, edges)`` maps [..., nodes, in_features] to [..., nodes, out_features]. The sum tells multisets of
    neighbours apart that a mean or maximum confounds; the MLP is two linear layers, batch normalisation and ReLU
    between. There are out (in + out + 4) parameters, and ε where it is learnt. Costs
    2 edges · in + 2 nodes · out (in + out) operations per sample. Source: ``xu2019powerful``.

    Parameters
    ----------
    in_features, out_features
        Numbers per node, before and after.
    epsilon
        ε: how much more a node counts than one of its neighbours.
    learn_epsilon
        Whether it is a parameter (the paper's GIN-ε) or stays (GIN-0).

    Raises
    ------
    UsageError
        A size below 1; when called: what is not a graph.

    Examples
    --------
    >>> path = torch.tensor([[0, 1, 1, 2], [1, 0, 2, 1]])
    >>> layer = IsomorphismLayer(5, 4)
    >>> layer(torch.zeros(3, 5), path).shape, sum(p.numel() for p in layer.parameters())
    (torch.Size([3, 4]), 52)
    """

    epsilon: Tensor

    def __init__(
        self, in_features: int, out_features: int, *, epsilon: float = 0.0, learn_epsilon: bool = False
    ) -> None:
        super().__init__()
        self.in_features = positive(in_features, "in_features", self)
        start = torch.tensor(float(epsilon))
        if learn_epsilon:
            self.epsilon = nn.Parameter(start)
        else:
            self.register_buffer("epsilon", start)
        self.linear1 = nn.Linear(in_features, positive(out_features, "out_features", self))
        self.normalisation = OverNodes(out_features)
        self.activation = nn.ReLU()
        self.linear2 = nn.Linear(out_features, out_features)

    def forward(self, x: Tensor, edges: Tensor) -> Tensor:
        """Return y, [..., nodes, out_features]."""
        check_graph(x, edges, self.in_features, self)
        own = (1 + self.epsilon) * x
        hidden = self.activation(self.normalisation(self.linear1(own + neighbour_sum(x, edges))))
        y: Tensor = self.linear2(hidden)
        return y


class GIN(nn.Module):
    """Graph isomorphism network: classifies graphs by sums over their nodes, after each of its layers.

    hˡ = ReLU(BatchNorm(MLP((1 + ε) hˡ⁻¹ᵢ + Σⱼ hˡ⁻¹ⱼ))), logits = Σₗ dropout(Wₗ Σᵢ hˡᵢ + bₗ), with l = 0 for the nodes'
    own features. Two graphs that the Weisfeiler–Leman test with as many rounds confounds have the same logits;
    all others are told apart by a network that is wide enough, for some weights. With layers L and width h it has
    (features + h + 6) h + (L − 1)(2 h + 6) h + classes (features + 1 + L (h + 1)) parameters. By default it has the
    paper's size for MUTAG: seven kinds of atoms, 4 layers of 32, two classes; 8,440 parameters.
    Source: ``xu2019powerful``.

    Parameters
    ----------
    features, classes
        Numbers per node, and per graph.
    hidden
        Numbers per node behind each layer.
    layers
        How many there are; the paper counts the nodes' own features as one more.
    learn_epsilon
        Whether ε is learnt, from 0 on, or stays there.
    dropout
        Probability with which a logit of a layer is left out in training.

    Raises
    ------
    UsageError
        A size below 1, a probability outside [0, 1); when called: what is not a graph, ``graphs`` that are not one
        number for each node.

    Examples
    --------
    >>> network = GIN()
    >>> network(torch.zeros(10, 3, 7), torch.tensor([[0, 1], [1, 0]])).shape
    torch.Size([10, 2])
    >>> sum(p.numel() for p in network.parameters())
    8440

    Several graphs side by side, of two nodes and of one:

    >>> network(torch.zeros(3, 7), torch.tensor([[0, 1], [1, 0]]), torch.tensor([0, 0, 1])).shape
    torch.Size([2, 2])
    """

    def __init__(
        self,
        features: int = 7,
        classes: int = 2,
        *,
        hidden: int = 32,
        layers: int = 4,
        learn_epsilon: bool = False,
        dropout: float = 0.5,
    ) -> None:
        super().__init__()
        positive(layers, "layers", self)
        widths = [positive(features, "features", self), *[positive(hidden, "hidden", self)] * layers]
        positive(classes, "classes", self)
        self.features = features
        self.layers = nn.ModuleList(
            IsomorphismLayer(width, hidden, learn_epsilon=learn_epsilon) for width in widths[:-1]
        )
        self.normalisations = nn.ModuleList(OverNodes(hidden) for _ in range(layers))
        self.activation = nn.ReLU()
        self.readouts = nn.ModuleList(nn.Linear(width, classes) for width in widths)
        self.dropout = nn.Dropout(probability(dropout, "dropout", self))

    def forward(self, x: Tensor, edges: Tensor, graphs: Tensor | None = None) -> Tensor:
        """Return the logits of the graph, [..., classes]; of each, [..., graphs, classes], where there are several.

        Parameters
        ----------
        x
            [..., nodes, features].
        edges
            [2, edges] int64.
        graphs
            [nodes] int64: the number of the graph that each node belongs to, from 0 on; one graph unless given.
        """
        check_graph(x, edges, self.features, self)
        count = self._count(x, graphs)
        logits = x.new_zeros(())
        for number, readout in enumerate(self.readouts):
            if number:
                x = self.activation(self.normalisations[number - 1](self.layers[number - 1](x, edges)))
            if graphs is None:
                whole = x.sum(-2)
            else:
                whole = x.new_zeros(*x.shape[:-2], count, x.shape[-1]).index_add(-2, graphs, x)
            logits = logits + self.dropout(readout(whole))
        return logits

    def _count(self, x: Tensor, graphs: Tensor | None) -> int:
        if graphs is None:
            return 1
        if graphs.dtype != torch.int64 or graphs.shape != x.shape[-2:-1] or not len(graphs) or int(graphs.min()) < 0:
            raise UsageError(
                f"graphs is {list(graphs.shape)} of {str(graphs.dtype).removeprefix('torch.')}",
                where="GIN",
                todo=f"Give [{x.shape[-2]}] of int64 from 0 on: the graph of each node.",
            )
        return int(graphs.max()) + 1


SPECIMENS = (
    Specimen(
        name="gin",
        title="graph isomorphism network for molecules",
        build=GIN,
        inputs=small_graph(12, 7),
        parameters=8_440,
        formula="hˡᵢ = ReLU(BN(MLP((1 + ε) hˡ⁻¹ᵢ + Σⱼ hˡ⁻¹ⱼ))) over the neighbours j of i; logits = Σₗ (Wₗ Σᵢ hˡᵢ + "
        "bₗ): as strong as the Weisfeiler–Leman test of isomorphism, because sums keep how often a "
        "neighbour occurs.",
        source="xu2019powerful",
        rows=("gin",),
        pinned_by="tests/models/test_gin.py::test_it_parts_the_graphs_of_at_most_seven_nodes_as_weisfeiler_and_leman_do",
    ),
)
