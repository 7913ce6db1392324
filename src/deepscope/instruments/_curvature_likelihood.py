"""Which likelihood a loss is, found out from its curvature over the outputs."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from deepscope.core import MeasurementError
from deepscope.instruments._curvature_loss import MeanLoss, Piece
from deepscope.instruments._curvature_outputs import OutputProduct, Rebuild, loss_hessian, of_outputs
from deepscope.subject import Subject

#: A product in float32 through a softmax errs by some 1e-5 of its size; another loss differs by a good part of it.
_TOLERANCE = 1e-3


def fisher_curvature(
    subject: Subject, loss: MeanLoss, piece: Piece, values: Sequence[Tensor], rebuild: Rebuild
) -> OutputProduct:
    """Return the product with the Fisher information of the model's own distribution over its outputs.

    Where the outputs are the natural parameters of an exponential family, ∂²ℓ/∂z² does not depend on the targets and
    is that information (``martens2020new``). That is checked by its form, never assumed: w·(diag p − ppᵀ) for classes,
    w·p(1 − p) for yes or no, w·I for a Gaussian, with one weight w for all that counts and 0 for what is ignored.

    Raises
    ------
    MeasurementError
        The loss has none of these forms.
    """
    product = loss_hessian(loss, piece, values, rebuild)
    if likelihood_of(values, of_outputs(loss, piece, values, rebuild, twice=False)[1], product) is None:
        raise MeasurementError(
            "the loss is none of the likelihoods whose Fisher information is known "
            "(cross-entropy of classes or of yes and no, squared error, all terms of one weight)",
            where=subject.name,
            todo='Use kind="ggn", or kind="empirical-fisher".',
        )
    return product


def likelihood_of(values: Sequence[Tensor], gradients: Sequence[Tensor | None], product: OutputProduct) -> str | None:
    """Name the likelihood with this curvature at these outputs: "categorical", "Bernoulli" or "Gaussian"; else None.

    Parameters
    ----------
    values, gradients
        The outputs, and the loss's gradient with respect to them: without a slope where there is no curvature, an
        output is ignored.
    product
        With the loss's Hessian over the outputs.

    Examples
    --------
    >>> z = torch.tensor([[0.0, 1.0], [2.0, 0.0]])
    >>> likelihood_of([z], [z], lambda changes: [0.5 * changes[0]])
    'Gaussian'
    """
    if len(values) != 1 or gradients[0] is None:
        return None
    (z,), slope = values, gradients[0]
    change = torch.randn(z.shape, dtype=z.dtype, generator=torch.Generator().manual_seed(0)).to(z.device)
    (seen,) = product([change])
    forms: list[tuple[str, Tensor, int | None]] = [("Gaussian", change, None)]
    forms.append(("Bernoulli", torch.sigmoid(z) * torch.sigmoid(-z) * change, None))
    for dim in sorted({1, z.ndim - 1}) if z.ndim > 1 else [0]:
        p = torch.softmax(z, dim)
        forms.append(("categorical", p * (change - (p * change).sum(dim, keepdim=True)), dim))
    return next((name for name, form, dim in forms if _is_multiple(seen, form, slope, dim)), None)


def _is_multiple(seen: Tensor, form: Tensor, slope: Tensor, dim: int | None) -> bool:
    """Whether what was seen is w times a form, with one w for all places and 0 for those that are ignored."""
    total: Callable[[Tensor], Tensor] = (lambda x: x) if dim is None else (lambda x: x.sum(dim, keepdim=True))
    counted = total(seen.abs()) > 0
    if bool((slope * ~counted).any()):
        return False
    kept = form * counted
    size = float((kept * kept).sum())
    if size == 0:
        return False
    weight = float((seen * kept).sum()) / size
    return bool((seen - weight * kept).norm() <= _TOLERANCE * seen.norm())
