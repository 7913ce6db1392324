"""What the networks on graphs have in common: edges that fit their nodes, degrees, inputs to try them with."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from deepscope.core import UsageError
from deepscope.models._sizes import check_input

Draw = Callable[[int, torch.Generator | None], dict[str, Tensor]]


def check_graph(x: Tensor, edges: Tensor, features: int, owner: object, *, targets: int | None = None) -> None:
    """Refuse nodes' features and edges that do not make a graph.

    Parameters
    ----------
    x
        [..., nodes, features] floating-point numbers, for at least one node.
    edges
        [2, edges] int64, each end one of the nodes; there may be none.
    features
        How many the nodes must have.
    owner
        The layer, for the message.
    targets
        How many things the second row counts where these are not the nodes.

    Raises
    ------
    UsageError
        They do not fit: names the argument and what was expected.
    """
    where = type(owner).__name__
    fits = x.ndim >= 2 and x.shape[-1] == features and x.shape[-2] > 0
    check_input(x, fits, f"x, [..., nodes, {features}] of {{}} numbers, with at least one node", owner)
    if edges.ndim != 2 or edges.shape[0] != 2 or edges.dtype != torch.int64:
        raise UsageError(
            f"edges is {list(edges.shape)} of {_dtype(edges)}",
            where=where,
            todo="Give [2, edges] of int64: the source of each edge, then its target.",
        )
    if not edges.numel() or edges.is_meta:
        return
    nodes = x.shape[-2]
    # What lies outside is read or written beyond the end on some devices.
    lowest, highest = (each.tolist() for each in edges.aminmax(dim=1))
    for row, (end, count) in enumerate((("source", nodes), ("target", nodes if targets is None else targets))):
        if lowest[row] < 0 or highest[row] >= count:
            raise UsageError(
                f"edges has a {end} that does not exist: they run from {lowest[row]} to {highest[row]}",
                where=where,
                todo=f"Give a {end} from 0 to {count - 1} to each edge, or more nodes.",
            )


def check_weights(weights: Tensor | None, number: int, owner: object, *, of: str = "edges") -> None:
    """Refuse weights that are not one finite number of at least 0 for each edge.

    Raises
    ------
    UsageError
        They are not.
    """
    if weights is None:
        return
    if weights.shape != (number,) or not weights.is_floating_point():
        found = f"{list(weights.shape)} of {_dtype(weights)}"
    elif not weights.is_meta and not bool(((weights >= 0) & weights.isfinite()).all()):
        found = "negative or not finite for some"
    else:
        return
    raise UsageError(
        f"weights is {found}",
        where=type(owner).__name__,
        todo=f"Give [{number}] of floating-point numbers of at least 0, one for each of the {of}.",
    )


def with_loops(edges: Tensor, nodes: int) -> Tensor:
    """Return the edges [2, edges + nodes], followed by one from each node to itself."""
    return torch.cat([edges, torch.arange(nodes, device=edges.device).expand(2, -1)], 1)


def degrees(ends: Tensor, weights: Tensor, nodes: int) -> Tensor:
    """Return the sum of the weights [edges] of the edges that end at each node, [nodes]."""
    return weights.new_zeros(nodes).index_add(0, ends, weights)


def inverse(degrees: Tensor, power: float = 1) -> Tensor:
    """Return degree⁻ᵖᵒʷᵉʳ, 0 for the degree 0: what has no neighbours takes nothing from them.

    >>> inverse(torch.tensor([0.0, 1.0, 4.0]), 0.5).tolist()
    [0.0, 1.0, 0.5]
    """
    alone = degrees == 0
    # Masked before the power as well, so that no gradient is infinite times 0.
    return degrees.masked_fill(alone, 1).pow(-power).masked_fill(alone, 0)


def symmetric(edges: Tensor, weights: Tensor, nodes: int) -> Tensor:
    """Return the weights of D^(−1/2) A D^(−1/2), [edges], D the nodes' summed weights of edges that come in."""
    scale = inverse(degrees(edges[1], weights, nodes), 0.5)
    return scale[edges[0]] * weights * scale[edges[1]]


def small_graph(nodes: int, features: int) -> Draw:
    """Return a function that draws n samples of Gaussian features on a ring with chords, as ``x`` and ``edges``.

    Each node is joined to the next one, every third one to the one opposite, in both directions.

    Examples
    --------
    >>> {name: list(each.shape) for name, each in small_graph(12, 7)(2, None).items()}
    {'x': [2, 12, 7], 'edges': [2, 32]}
    """
    ring = torch.arange(nodes)
    chords = torch.arange(0, nodes, 3)
    there = torch.cat(
        [torch.stack([ring, (ring + 1) % nodes]), torch.stack([chords, (chords + nodes // 2) % nodes])], 1
    )
    edges = torch.cat([there, there.flip(0)], 1)

    def draw(n: int, generator: torch.Generator | None) -> dict[str, Tensor]:
        return {"x": torch.randn(n, nodes, features, generator=generator), "edges": edges}

    return draw


def _dtype(tensor: Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")
