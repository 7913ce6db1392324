"""GraphSAGE: sample and aggregate."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 — torch's own name for it

from deepscope.core import Specimen, UsageError
from deepscope.models._graph import check_graph, degrees, inverse, small_graph
from deepscope.models._neighbour_sum import neighbour_sum
from deepscope.models._sizes import positive, probability


class SAGELayer(nn.Module):
    """Layer of GraphSAGE: yᵢ = W [xᵢ, aggregate of the neighbours' xⱼ].

    ``layer(x, edges)`` maps [..., nodes, in_features] to [..., nodes, out_features]. ``"mean"`` aggregates by the mean,
    ``"pool"`` by the maximum of ReLU(W_pool xⱼ + b) in each feature; nodes without neighbours get 0. The paper's LSTM
    over the neighbours in random order is left out: it depends on the order. There are 2 in · out parameters, and
    in (in + 1) for pooling. Costs 4 nodes · in · out + 2 edges · in operations per sample, and 2 nodes · in² for
    pooling. Source: ``hamilton2017inductive``.

    Parameters
    ----------
    in_features, out_features
        Numbers per node, before and after.
    aggregation
        ``"mean"`` or ``"pool"``.

    Raises
    ------
    UsageError
        A size below 1, another aggregation; when called: what is not a graph.

    Examples
    --------
    >>> path = torch.tensor([[0, 1, 1, 2], [1, 0, 2, 1]])
    >>> layer = SAGELayer(5, 4)
    >>> layer(torch.zeros(3, 5), path).shape, sum(p.numel() for p in layer.parameters())
    (torch.Size([3, 4]), 40)
    """

    def __init__(self, in_features: int, out_features: int, *, aggregation: str = "mean") -> None:
        super().__init__()
        if aggregation not in ("mean", "pool"):
            raise UsageError(f"aggregation is {aggregation!r}", where="SAGELayer", todo='Give "mean" or "pool".')
        self.in_features = positive(in_features, "in_features", self)
        self.pool = nn.Sequential(nn.Linear(in_features, in_features), nn.ReLU()) if aggregation == "pool" else None
        self.linear = nn.Linear(2 * in_features, positive(out_features, "out_features", self), bias=False)

    def forward(self, x: Tensor, edges: Tensor) -> Tensor:
        """Return y, [..., nodes, out_features]."""
        check_graph(x, edges, self.in_features, self)
        around = _mean(x, edges) if self.pool is None else _highest(self.pool(x), edges)
        y: Tensor = self.linear(torch.cat([x, around], -1))
        return y


class GraphSAGE(nn.Module):
    """GraphSAGE: hˡᵢ = n(ReLU(W [hˡ⁻¹ᵢ, aggregate of hˡ⁻¹ⱼ])), n(h) = h / ‖h‖₂, and a linear layer to the logits.

    ``network(x, edges)`` maps [..., nodes, features] to logits [..., nodes, classes]. In training each layer can see a
    random sample of each node's neighbours, which bounds what a node costs; in evaluation it sees all. With means,
    layers L and width h it has 2 features · h + (L − 1) 2 h² + (h + 1) classes parameters. By default it has the size
    of the paper's for Reddit: 602 features, two layers of 256, 41 classes; 449,833 parameters; there the samples are
    (25, 10). Source: ``hamilton2017inductive``.

    Parameters
    ----------
    features, classes
        Numbers per node, in and out.
    hidden
        Numbers per node behind each layer.
    layers
        How many there are.
    aggregation
        ``"mean"`` or ``"pool"``, as in ``SAGELayer``.
    samples
        How many neighbours at most each layer sees in training, drawn anew in each pass; all unless given.
    dropout
        Probability with which a number that enters a layer is left out in training.

    Raises
    ------
    UsageError
        A size below 1, another aggregation, samples that are not one for each layer, a probability outside [0, 1);
        when called: what is not a graph.

    Examples
    --------
    >>> network = GraphSAGE()
    >>> network(torch.zeros(3, 602), torch.tensor([[0, 1], [1, 0]])).shape
    torch.Size([3, 41])
    >>> sum(p.numel() for p in network.parameters())
    449833
    """

    def __init__(
        self,
        features: int = 602,
        classes: int = 41,
        *,
        hidden: int = 256,
        layers: int = 2,
        aggregation: str = "mean",
        samples: Sequence[int] | None = None,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        widths = [features, *[hidden] * (positive(layers, "layers", self) - 1)]
        if samples is not None and (len(samples) != layers or not all(isinstance(n, int) and n >= 1 for n in samples)):
            raise UsageError(
                f"samples is {tuple(samples)}", where="GraphSAGE", todo=f"Give {layers} whole numbers of at least 1."
            )
        self.samples = None if samples is None else tuple(samples)
        self.layers = nn.ModuleList(SAGELayer(width, hidden, aggregation=aggregation) for width in widths)
        self.activation = nn.ReLU()
        self.dropout = nn.Dropout(probability(dropout, "dropout", self))
        self.output = nn.Linear(hidden, positive(classes, "classes", self))

    def forward(self, x: Tensor, edges: Tensor) -> Tensor:
        """Return the logits of each node, [..., nodes, classes]."""
        for number, layer in enumerate(self.layers):
            sampled = self.training and self.samples is not None
            seen = sample_neighbours(edges, self.samples[number]) if sampled and self.samples else edges
            x = F.normalize(self.activation(layer(self.dropout(x), seen)), dim=-1)
        logits: Tensor = self.output(self.dropout(x))
        return logits


def sample_neighbours(edges: Tensor, count: int, *, generator: torch.Generator | None = None) -> Tensor:
    """Return edges of which at most ``count`` end at each node, those that stay drawn at random without replacement.

    The paper draws with replacement where a node has fewer neighbours than that; here all are taken, once each.
    Source: ``hamilton2017inductive``.

    Parameters
    ----------
    edges
        [2, edges] int64, (source, target).
    count
        How many neighbours a node keeps at most.
    generator
        Where the draw comes from, on the edges' device; torch's own generator unless given.

    Returns
    -------
    Tensor
        [2, fewer edges], sorted by target.

    Raises
    ------
    UsageError
        A count below 1.

    Examples
    --------
    >>> star = torch.tensor([[1, 2, 3, 0], [0, 0, 0, 1]])
    >>> sample_neighbours(star, 2)[1].tolist()
    [0, 0, 1]
    """
    if count < 1:
        raise UsageError(f"count is {count}", where="sample_neighbours", todo="Give a whole number of at least 1.")
    shuffled = edges[:, torch.randperm(edges.shape[1], generator=generator, device=edges.device)]
    mixed = shuffled[:, shuffled[1].argsort(stable=True)]
    targets = mixed[1]
    place = torch.arange(len(targets), device=edges.device) - torch.searchsorted(targets, targets)
    return mixed[:, place < count]


def _mean(x: Tensor, edges: Tensor) -> Tensor:
    nodes = x.shape[-2]
    shares = inverse(degrees(edges[1], x.new_ones(edges.shape[1]), nodes))
    return neighbour_sum(x, edges) * shares[:, None]


def _highest(x: Tensor, edges: Tensor) -> Tensor:
    messages = x.index_select(-2, edges[0])
    index = edges[1][:, None].expand(messages.shape)
    return torch.zeros_like(x).scatter_reduce(-2, index, messages, "amax", include_self=False)


SPECIMENS = (
    Specimen(
        name="graphsage",
        title="sample and aggregate: a graph network for nodes not seen before",
        build=GraphSAGE,
        inputs=small_graph(12, 602),
        parameters=449_833,
        formula="hˡᵢ = n(ReLU(W [hˡ⁻¹ᵢ, mean of hˡ⁻¹ⱼ])) over neighbours j, all or a sample of them, n(h) = h / ‖h‖₂; "
        "the mean or the maximum of ReLU(W_pool hⱼ + b).",
        source="hamilton2017inductive",
        pinned_by="tests/models/test_graphsage.py::test_it_sees_samples_in_training_and_all_in_evaluation",
    ),
)
