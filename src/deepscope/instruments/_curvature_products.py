"""Products of curvature matrices with vectors."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor

from deepscope.instruments._curvature_loss import MeanLoss, Piece
from deepscope.instruments._curvature_outputs import OutputProduct, Rebuild, floating
from deepscope.instruments._curvature_pieces import graph_bytes
from deepscope.linalg import LinearOperator

#: What the graphs of all pieces may hold together; those beyond it are made anew for every block of vectors.
CACHE_BYTES = 1e9

#: Takes one tensor for each of the chosen parameters, and returns as many, or None for zeros.
PieceProduct = Callable[[Sequence[Tensor], Sequence[int]], Sequence[Tensor | None]]
Linearise = Callable[[Sequence[Tensor], Piece], PieceProduct]


class Products:
    """The curvature matrix of a mean loss at one point, through its products.

    Parameters
    ----------
    loss, pieces
        The function and its data.
    linearise
        What makes the product of one piece: ``hessian`` or ``output_curvature``, the loss bound.
    point
        θ, [n].
    cache_bytes
        What the graphs that are kept may hold.

    Notes
    -----
    Every product goes backward through a graph that was made once and is kept, so that it costs no forward pass. It
    is reverse mode twice. A product of ``torch.func.linearize`` takes between 0.8 and 1.1 times as long, but tracing it
    takes as long as 8 to 100 products, for each piece anew; and vectors side by side by ``vmap`` are no faster than one
    after the other.
    """

    def __init__(
        self,
        loss: MeanLoss,
        pieces: Sequence[Piece],
        linearise: Linearise,
        point: Tensor | None = None,
        *,
        cache_bytes: float = CACHE_BYTES,
    ) -> None:
        self._loss, self._pieces, self._linearise = loss, pieces, linearise
        self.point = loss.point if point is None else point
        self._kept: dict[int, PieceProduct] = {}
        self._room = int(cache_bytes / max(1, graph_bytes(loss, pieces[0]))) if len(pieces) > 1 else 1

    def operator(self, chosen: Sequence[int] | None = None) -> LinearOperator:
        """Return the matrix, or the diagonal block of some parameters, given by their places."""
        chosen = range(len(self._loss.sizes)) if chosen is None else chosen
        n = sum(self._loss.sizes[index] for index in chosen)
        return LinearOperator(
            partial(self._product, tuple(chosen)), n, dtype=self._loss.dtype, device=self._loss.device
        )

    def _product(self, chosen: tuple[int, ...], block: Tensor) -> Tensor:
        sizes, shapes = ([each[index] for index in chosen] for each in (self._loss.sizes, self._loss.shapes))
        totals = torch.zeros(block.shape[1], block.shape[0], dtype=block.dtype, device=block.device)
        rows = block.T.contiguous()
        vectors, sums = (
            [[p.view(s) for p, s in zip(row.split(sizes), shapes, strict=True)] for row in each]
            for each in (rows, totals)
        )
        for number, piece in enumerate(self._pieces):
            apply = self._made(number, piece)
            for vector, total in zip(vectors, sums, strict=True):
                with self._loss.differentiating():
                    products = apply(vector, chosen)
                _add(total, products, piece.weight)
        return totals.T

    def _made(self, number: int, piece: Piece) -> PieceProduct:
        if number in self._kept:
            return self._kept[number]
        # Leaves of its own for each piece: the graphs of those that are not kept are then free at once.
        apply = self._linearise(self._loss.leaves(self.point), piece)
        if number < self._room:
            self._kept[number] = apply
        return apply


def _add(total: Sequence[Tensor], products: Sequence[Tensor | None], weight: float) -> None:
    pairs = [(each, product) for each, product in zip(total, products, strict=True) if product is not None]
    if pairs:
        torch._foreach_add_([each for each, _ in pairs], [product for _, product in pairs], alpha=weight)


def hessian(loss: MeanLoss, leaves: Sequence[Tensor], piece: Piece) -> PieceProduct:
    """Return the product with the Hessian of a piece's loss: backward through the graph of the gradient."""
    value = loss.of(loss.outputs(leaves, piece), piece)
    gradients = loss.gradients(value, leaves, create_graph=True)
    loss.refuse_lost_derivatives(gradients)

    def apply(vectors: Sequence[Tensor], chosen: Sequence[int]) -> Sequence[Tensor | None]:
        return _backward([gradients[index] for index in chosen], vectors, [leaves[index] for index in chosen])

    return apply


def output_curvature(
    make: Callable[[MeanLoss, Piece, Sequence[Tensor], Rebuild], OutputProduct],
    loss: MeanLoss,
    leaves: Sequence[Tensor],
    piece: Piece,
) -> PieceProduct:
    """Return the product with JᵀBJ, for the network's Jacobian J and a matrix B over its outputs that ``make`` makes.

    J·v comes from reverse mode alone: u ↦ Jᵀu is linear, and its own transpose is J.
    """
    outputs = loss.outputs(leaves, piece)
    values, rebuild = floating(outputs)
    product = make(loss, piece, [value.detach() for value in values], rebuild)
    cotangents = [torch.zeros_like(value, requires_grad=True) for value in values]
    transposed = (
        torch.autograd.grad(values, leaves, cotangents, create_graph=True, allow_unused=True)
        if values
        else [None] * len(leaves)
    )

    loss.refuse_lost_derivatives(transposed)

    def apply(vectors: Sequence[Tensor], chosen: Sequence[int]) -> Sequence[Tensor | None]:
        forward = _backward([transposed[index] for index in chosen], vectors, cotangents)
        changes = [torch.zeros_like(c) if t is None else t for t, c in zip(forward, cotangents, strict=True)]
        return _backward(values, product([each.detach() for each in changes]), [leaves[index] for index in chosen])

    return apply


def _backward(
    values: Sequence[Tensor | None], cotangents: Sequence[Tensor], wanted: Sequence[Tensor]
) -> Sequence[Tensor | None]:
    pairs = [(v, c) for v, c in zip(values, cotangents, strict=True) if v is not None and v.requires_grad]
    if not pairs:
        return [None] * len(wanted)
    ends, starts = zip(*pairs, strict=True)
    return torch.autograd.grad(ends, wanted, starts, retain_graph=True, allow_unused=True)
