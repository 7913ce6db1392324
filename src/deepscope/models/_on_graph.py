"""A network that is bound to one graph, so that it takes one tensor."""

from __future__ import annotations

from torch import Tensor, nn


class OnGraph(nn.Module):
    """A network on graphs, bound to one of them: ``OnGraph(network, edges)(x)`` is ``network(x, edges)``.

    Its samples are signals on one and the same graph, [batch, nodes, features]. It takes one tensor, as every
    instrument and ``deepscope.training.fit`` expect of a model. The edges are a buffer: they move with the network and
    belong to its state.

    Parameters
    ----------
    network
        Called as ``network(x, edges)``, or as ``network(x, edges, weights)`` where there are weights.
    edges
        [2, edges] int64, (source, target).
    weights
        What else belongs to the graph, for networks that take it: the edges' weights.

    Examples
    --------
    >>> import torch
    >>> from deepscope.models import GCN
    >>> path = torch.tensor([[0, 1, 1, 2], [1, 0, 2, 1]])
    >>> OnGraph(GCN(5, 2), path)(torch.zeros(8, 3, 5)).shape
    torch.Size([8, 3, 2])
    """

    edges: Tensor
    weights: Tensor | None

    def __init__(self, network: nn.Module, edges: Tensor, weights: Tensor | None = None) -> None:
        super().__init__()
        self.network = network
        self.register_buffer("edges", edges)
        self.register_buffer("weights", weights)

    def forward(self, x: Tensor) -> Tensor:
        """Return what the network returns for x on the graph."""
        rest = () if self.weights is None else (self.weights,)
        result: Tensor = self.network(x, self.edges, *rest)
        return result
