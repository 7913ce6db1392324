"""Curvature of the loss in the space of the network's outputs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from deepscope.core import MeasurementError
from deepscope.instruments._curvature_loss import MeanLoss, Piece
from deepscope.instruments._curvature_pieces import cut
from deepscope.subject import Subject, n_samples

#: Takes changes of the outputs, one tensor each, and returns B times them.
OutputProduct = Callable[[Sequence[Tensor]], Sequence[Tensor]]
Rebuild = Callable[[Sequence[Tensor]], Any]


def floating(outputs: Any) -> tuple[list[Tensor], Rebuild]:
    """Return the tensors of outputs that depend on the parameters, and what puts others into their place."""
    leaves, spec = pytree.tree_flatten(outputs)
    places = [index for index, each in enumerate(leaves) if isinstance(each, Tensor) and each.requires_grad]

    def rebuild(tensors: Sequence[Tensor]) -> Any:
        replaced = [each.detach() if isinstance(each, Tensor) else each for each in leaves]
        for index, tensor in zip(places, tensors, strict=True):
            replaced[index] = tensor
        return pytree.tree_unflatten(replaced, spec)

    return [leaves[index] for index in places], rebuild


def of_outputs(
    loss: MeanLoss, piece: Piece, values: Sequence[Tensor], rebuild: Rebuild, *, twice: bool
) -> tuple[list[Tensor], list[Tensor | None]]:
    """Return fresh leaves with the outputs' values, and the loss's gradient with respect to them."""
    leaves = [value.detach().requires_grad_() for value in values]
    value = loss.of(rebuild(leaves), piece)
    return leaves, loss.gradients(value, leaves, create_graph=twice)


def loss_hessian(loss: MeanLoss, piece: Piece, values: Sequence[Tensor], rebuild: Rebuild) -> OutputProduct:
    """Return the product with ∂²ℓ/∂z²: with it JᵀBJ is the generalised Gauss–Newton matrix."""
    leaves, gradients = of_outputs(loss, piece, values, rebuild, twice=True)
    curved = [each for each in gradients if each is not None and each.requires_grad]
    places = [index for index, each in enumerate(gradients) if each is not None and each.requires_grad]

    def product(changes: Sequence[Tensor]) -> Sequence[Tensor]:
        if not curved:
            return [torch.zeros_like(each) for each in changes]
        # The Hessian is symmetric: backward from some of the gradients with all others zero misses nothing.
        found = torch.autograd.grad(
            curved, leaves, [changes[index] for index in places], retain_graph=True, allow_unused=True
        )
        return [torch.zeros_like(leaf) if each is None else each for each, leaf in zip(found, leaves, strict=True)]

    return product


def own_gradients(
    subject: Subject, loss: MeanLoss, piece: Piece, values: Sequence[Tensor], rebuild: Rebuild
) -> OutputProduct:
    """Return the product with Σᵢ cᵢ·rᵢrᵢᵀ/Σ cᵢ, rᵢ the gradient of sample i's own loss: B of the empirical Fisher."""
    n, count = piece.batch.n_samples, piece.batch.count
    if any(not value.ndim or len(value) != n for value in values):
        raise MeasurementError(
            "the outputs are not one row per sample, so that samples have no gradients of their own",
            where=subject.name,
            todo="Give a forward= whose outputs have the samples first.",
        )
    rows = sample_gradients(loss, piece, values, rebuild)
    terms = terms_per_sample(subject, piece).to(rows[0]) if rows else torch.ones(n)
    # Rows of samples without terms are zero.
    scale = 1.0 / (terms.clamp_min(1e-30) * count)

    def product(changes: Sequence[Tensor]) -> Sequence[Tensor]:
        along = sum((row * change).reshape(n, -1).sum(dim=1) for row, change in zip(rows, changes, strict=True)) * scale
        return [row * along.view(n, *(1,) * (row.ndim - 1)) for row in rows]

    return product


def sample_gradients(loss: MeanLoss, piece: Piece, values: Sequence[Tensor], rebuild: Rebuild) -> list[Tensor]:
    """Return cᵢ·∂ℓᵢ/∂zᵢ, a row for each sample."""
    leaves, gradients = of_outputs(loss, piece, values, rebuild, twice=False)
    return [
        torch.zeros_like(leaf) if each is None else each.detach() * piece.batch.count
        for each, leaf in zip(gradients, leaves, strict=True)
    ]


def terms_per_sample(subject: Subject, piece: Piece) -> Tensor:
    """Return over how many terms each sample's own loss averages, [samples], float64."""
    batch = piece.batch
    if subject.count is None:
        return torch.full((batch.n_samples,), (n_samples(batch.targets) or batch.n_samples) / batch.n_samples).double()
    if batch.n_samples == 1:
        return torch.tensor([batch.count]).double()
    # Samples without terms are not among the parts.
    terms = torch.zeros(batch.n_samples, dtype=torch.float64)
    for part in cut(subject, piece, 1):
        terms[part.first - piece.first] = part.batch.count
    return terms
