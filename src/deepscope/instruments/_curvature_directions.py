"""The loss's curvature over a sample's outputs, as a sum of squares."""

from __future__ import annotations

import torch
from torch import Tensor

from deepscope.core import MeasurementError
from deepscope.instruments._curvature_loss import MeanLoss, Piece
from deepscope.instruments._curvature_outputs import (
    OutputProduct,
    Rebuild,
    floating,
    loss_hessian,
    sample_gradients,
    terms_per_sample,
)
from deepscope.subject import Subject

#: Outputs per sample up to which a pass for each costs less than a fair estimate, which takes some hundred products.
MOST_OUTPUTS = 100


class InexactTraceError(Exception):
    """Why no exact trace can be had, in a few words."""


def output_directions(
    subject: Subject, loss: MeanLoss, piece: Piece, kind: str, point: Tensor
) -> tuple[Tensor | None, Tensor]:
    """Write a piece's B = Σ_k σ_k·f_k·f_kᵀ, a block for each sample; see ``exact_traces``.

    The blocks come from a product with each unit vector, for all samples at once, and are taken apart by their
    eigenvectors. Both are done in float64: where a network is sure of its answers, p(1 − p) has no digits in float32.

    Returns
    -------
    directions, signs
        f [k, n, …], of the outputs' dtype, and σ [k, n], times what a sample weighs; None where the loss has no
        curvature.

    Raises
    ------
    InexactTraceError
        The outputs are not a row for each sample, or too many, or the loss couples samples.
    """
    values, rebuild = floating(loss.outputs(loss.leaves(point), piece))
    n = piece.batch.n_samples
    if len(values) != 1 or not values[0].ndim or len(values[0]) != n:
        raise InexactTraceError("the outputs are not one tensor with a row for each sample")
    z = values[0].detach()
    if kind == "empirical-fisher":
        (rows,) = sample_gradients(loss, piece, [z], rebuild)
        terms = terms_per_sample(subject, piece).to(z.device)
        # Rows of samples without terms are zero.
        return rows[None], (1.0 / (terms.clamp_min(1e-30) * piece.batch.count))[None]
    size = z[0].numel()
    if size > MOST_OUTPUTS:
        raise InexactTraceError(f"a sample has {size} outputs, more than {MOST_OUTPUTS}")
    curvatures, axes = torch.linalg.eigh(_blocks(loss, piece, z, rebuild))
    kept = curvatures.abs().amax(dim=0) > torch.finfo(z.dtype).eps * float(curvatures.abs().amax())
    if not bool(kept.any()):
        return None, torch.empty(0)
    curvatures, axes = curvatures[:, kept], axes[:, :, kept]
    f = axes * curvatures.abs().sqrt()[:, None]
    return f.permute(2, 0, 1).to(z.dtype).reshape(-1, *z.shape), curvatures.sign().T


def _blocks(loss: MeanLoss, piece: Piece, z: Tensor, rebuild: Rebuild) -> Tensor:
    """Return the loss's Hessian over each sample's outputs, [n, c, c]."""
    try:
        wide = z.double()
        product = loss_hessian(loss, piece, [wide], rebuild)
    except MeasurementError:
        # Not every loss takes another dtype than that of its own constants.
        wide = z
        product = loss_hessian(loss, piece, [wide], rebuild)
    n, size = len(z), z[0].numel()
    blocks = torch.empty(n, size, size, dtype=torch.float64, device=z.device)
    for column in range(size):
        unit = torch.zeros(n, size, dtype=wide.dtype, device=z.device)
        unit[:, column] = 1.0
        blocks[:, :, column] = product([unit.view_as(z)])[0].reshape(n, size)
    _check_apart(product, blocks, wide)
    return (blocks + blocks.mT) / 2


def _check_apart(product: OutputProduct, blocks: Tensor, z: Tensor) -> None:
    """Refuse a loss whose curvature couples samples, by a product with a random vector."""
    change = torch.randn(z.shape, dtype=z.dtype, generator=torch.Generator().manual_seed(0)).to(z.device)
    (seen,) = product([change])
    apart = torch.einsum("nij,nj->ni", blocks, change.reshape(len(z), -1).double())
    off = (seen.reshape(len(z), -1).double() - apart).norm()
    # Rounding of a softmax is relative to its largest entries: half the digits are more than it takes.
    if off > torch.finfo(z.dtype).eps ** 0.5 * (seen.double().norm() + apart.norm()):
        raise InexactTraceError("the loss couples the samples of a batch")
