"""Sums over the neighbours in a graph, which can be differentiated as often as one likes."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import is_in_torch_dispatch_mode


def neighbour_sum(x: Tensor, edges: Tensor, weights: Tensor | None = None, *, nodes: int | None = None) -> Tensor:
    """Return yᵢ = Σ wₑ x_{source(e)} over the edges e whose target is i; 0 where there is none.

    Parameters
    ----------
    x
        [..., sources, features].
    edges
        [2, edges] int64, (source, target); unchecked.
    weights
        wₑ, [edges], or [..., edges] where they differ from sample to sample; 1 unless given. They are taken in the
        precision of x, which under autocast may be another one.
    nodes
        How many targets there are; as many as sources unless given.

    Returns
    -------
    Tensor
        [..., nodes, features].

    Notes
    -----
    Cost: 2 edges · features operations per sample. On a CPU the sum is a product with a sparse matrix, which stores
    nothing for an edge; to gather the sources and add them up, forward and backward, takes longer:
    ``benchmarks/graphs.py`` has convolutions both ways.

    Examples
    --------
    >>> x = torch.tensor([[1.0], [10.0], [100.0]])
    >>> neighbour_sum(x, torch.tensor([[0, 1, 2], [1, 2, 1]])).flatten().tolist()
    [0.0, 101.0, 10.0]
    """
    cast = None if weights is None else weights.to(x.dtype)
    return _apply(x, edges, cast, x.shape[-2] if nodes is None else nodes)


class _NeighbourSum(torch.autograd.Function):
    """Linear in x and in the weights: its derivatives are sums of the same kind, along the reversed edges."""

    @staticmethod
    def forward(x: Tensor, edges: Tensor, weights: Tensor | None, nodes: int) -> Tensor:
        sources, features = x.shape[-2:]
        if weights is not None and weights.ndim > 1:
            parts = weights.shape[:-1]
            wide, flat = as_one_graph(edges, weights, sources, nodes)
            summed = _sum(x.reshape(-1, features), wide, flat, math.prod(parts) * nodes)
            return summed.view(*parts, nodes, features)
        return _sum(x, edges, weights, nodes)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        x, edges, weights, ctx.nodes = inputs
        ctx.sources = x.shape[-2]
        kept = (None if weights is None else x, edges, weights)
        ctx.save_for_backward(*kept)
        ctx.save_for_forward(*kept)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        x, edges, weights = ctx.saved_tensors
        to_x = to_weights = None
        if ctx.needs_input_grad[0]:
            to_x = _apply(gradient, edges.flip(0), weights, ctx.sources)
        if weights is not None and ctx.needs_input_grad[2]:
            products = gradient.index_select(-2, edges[1]) * x.index_select(-2, edges[0])
            to_weights = products.sum(-1).sum_to_size(weights.shape)
        return to_x, None, to_weights, None

    @staticmethod
    def jvp(
        ctx: Any, x_tangent: Tensor | None, _edges: None, weights_tangent: Tensor | None, _nodes: None
    ) -> Tensor | None:
        x, edges, weights = ctx.saved_tensors
        by_x = None if x_tangent is None else _apply(x_tangent, edges, weights, ctx.nodes)
        by_weights = None if weights_tangent is None else _apply(x, edges, weights_tangent, ctx.nodes)
        return by_weights if by_x is None else by_x if by_weights is None else by_x + by_weights

    @staticmethod
    def vmap(
        info: Any, in_dims: tuple[int | None, ...], x: Tensor, edges: Tensor, weights: Tensor | None, nodes: int
    ) -> tuple[Tensor, int]:
        x_dim, edges_dim, weights_dim, _ = in_dims
        if edges_dim is not None:
            raise NotImplementedError("vmap over edges: samples share their graph")
        samples = x.unsqueeze(0).expand(info.batch_size, *x.shape) if x_dim is None else x.movedim(x_dim, 0)
        if weights is not None and (weights_dim is not None or weights.ndim > 1):
            own = weights.unsqueeze(0) if weights_dim is None else weights.movedim(weights_dim, 0)
            # [edges] of each sample of vmap holds for all the dimensions that lead x within it.
            own = own.view(len(own), *[1] * (samples.ndim - own.ndim - 1), *own.shape[1:])
            weights = own.expand(*samples.shape[:-2], own.shape[-1])
        return _apply(samples, edges, weights, nodes), 0


def _apply(x: Tensor, edges: Tensor, weights: Tensor | None, nodes: int) -> Tensor:
    result: Tensor = _NeighbourSum.apply(x, edges, weights, nodes)  # type: ignore[no-untyped-call]
    return result


def as_one_graph(edges: Tensor, weights: Tensor, sources: int, targets: int | None = None) -> tuple[Tensor, Tensor]:
    """Return the edges and weights of one graph whose parts are the samples of weights [..., edges].

    >>> as_one_graph(torch.tensor([[0], [1]]), torch.tensor([[5.0], [6.0]]), 2)
    (tensor([[0, 2],
            [1, 3]]), tensor([5., 6.]))
    """
    steps = torch.tensor([[sources], [sources if targets is None else targets]], device=edges.device)
    parts = torch.arange(math.prod(weights.shape[:-1]), device=edges.device)
    return (edges[:, None] + (steps * parts)[:, :, None]).flatten(1), weights.flatten()


def _sum(x: Tensor, edges: Tensor, weights: Tensor | None, nodes: int) -> Tensor:
    *samples, sources, features = x.shape
    if x.is_cpu and x.dtype in (torch.float32, torch.float64) and not _watched():
        values = x.new_ones(edges.shape[1]) if weights is None else weights
        matrix = torch.sparse_coo_tensor(edges.flip(0), values, (nodes, sources), check_invariants=False)
        columns = x.movedim(-2, 0).reshape(sources, math.prod(samples) * features)
        product: Tensor = torch.sparse.mm(matrix, columns)
        return product.view(nodes, *samples, features).movedim(0, -2)
    messages = x.index_select(-2, edges[0])
    if weights is not None:
        messages = messages * weights[:, None]
    return x.new_zeros(*samples, nodes, features).index_add(-2, edges[1], messages)


def _watched() -> bool:
    """Whether something looks at every operation, as instruments do: for memory or values that sparse tensors hide."""
    return is_in_torch_dispatch_mode() or torch._C._is_torch_function_mode_enabled()
