"""Exact traces, layer by layer, from per-sample gradients."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn

from deepscope.core import MeasurementError, first_line
from deepscope.instruments._curvature_directions import InexactTraceError, output_directions
from deepscope.instruments._curvature_loss import MeanLoss, Piece, is_out_of_memory
from deepscope.instruments._curvature_multiaffine import why_not_multiaffine
from deepscope.instruments._curvature_pieces import Pieces, cut
from deepscope.linalg import squared_norms
from deepscope.subject import Subject, per_sample_gradients


def exact_traces(subject: Subject, loss: MeanLoss, data: Pieces, kind: str, point: Tensor) -> list[float]:
    """Return the trace of every parameter's diagonal block of JᵀBJ, at any point.

    With B = Σ_k σ_k·f_k·f_kᵀ over the outputs of a sample, σ_k = ±1, its trace over one parameter is
    Σ_k σ_k·‖∂(f_kᵀz)/∂θ‖²: squared per-sample gradients, which the structured pass has without writing them down.

    Parameters
    ----------
    subject, loss, data
        The network, its loss and the data.
    kind
        Of the matrix. For the Hessian itself the outputs must be affine in each parameter: see
        ``why_not_multiaffine``.
    point
        θ, [n].

    Returns
    -------
    list of float
        In the order of the loss's parameters.

    Raises
    ------
    InexactTraceError
        Samples cannot be told apart, there are too many outputs, or the loss couples samples.

    Notes
    -----
    Cost: a forward pass over all samples and, for each direction in which the loss is curved (with c classes c − 1), a
    backward pass that computes no weight gradients.
    """
    if not data.separable:
        raise InexactTraceError("the samples of a batch depend on one another")
    if kind == "hessian":
        why_not = why_not_multiaffine(loss, data.pieces[0])
        if why_not:
            raise InexactTraceError(why_not)
    _refuse_shared_memory(subject, loss)
    at = subject if _is_where_the_model_is(loss, point) else _moved(subject, loss, point)
    totals = [0.0] * len(loss.parameters)
    try:
        with per_sample_gradients(at) as gradients:
            for piece in _small(subject, data.pieces, kind):
                directions, signs = output_directions(subject, loss, piece, kind, point)
                if directions is None:
                    continue
                batch = piece.batch
                inputs = loss.cast(batch.inputs)
                rows = directions.reshape(len(directions), batch.n_samples, -1)
                found = gradients.of_outputs(inputs, batch.n_samples, rows).factors
                loss.forward_passes += 1
                loss.backward_passes += len(directions)
                for index, handle in enumerate(loss.parameters):
                    name = next((each for each in (handle.name, *handle.tied) if each in found), None)
                    if name is not None:
                        squares = squared_norms(found[name]).detach().double() * signs.T
                        totals[index] += piece.weight * float(squares.sum())
    except (MeasurementError, NotImplementedError) as error:
        raise InexactTraceError(first_line(error)) from error
    except RuntimeError as error:
        if is_out_of_memory(error):
            raise
        raise InexactTraceError(first_line(error)) from error
    if not all(map(math.isfinite, totals)):
        raise InexactTraceError("a gradient is not finite")
    return totals


def _refuse_shared_memory(subject: Subject, loss: MeanLoss) -> None:
    """Two parameters over one memory have gradients of their own, whose cross terms would be lost."""
    assert subject.model is not None
    named = dict(subject.model.named_parameters(remove_duplicate=False))
    for handle in loss.parameters:
        if any(named[name] is not named[handle.name] for name in handle.tied):
            raise InexactTraceError(f"{handle.name} shares its memory with another parameter")


def _is_where_the_model_is(loss: MeanLoss, point: Tensor) -> bool:
    return point is loss.point and not loss.casts


def _moved(subject: Subject, loss: MeanLoss, point: Tensor) -> Subject:
    """Return the subject with a copy of its model, in the loss's dtype and at another point."""
    assert subject.model is not None
    try:
        model = copy.deepcopy(subject.model)
    except Exception as error:
        raise InexactTraceError(f"the model cannot be copied ({first_line(error)})") from error
    for tensor in (*model.parameters(), *model.buffers()):
        if tensor.is_floating_point():
            tensor.data = tensor.data.to(loss.dtype)
    named: dict[str, nn.Parameter] = dict(model.named_parameters(remove_duplicate=False))
    with torch.no_grad():
        for handle, values in zip(loss.parameters, loss.split(point), strict=True):
            for name in (handle.name, *handle.tied):
                named[name].copy_(values)
    data = [loss.cast((batch.inputs, batch.targets)) for batch in subject.batches(1)]
    return Subject(model, data, subject.loss, forward=subject.forward, count=subject.count, name=subject.name)


def _small(subject: Subject, pieces: Sequence[Piece], kind: str) -> Iterator[Piece]:
    """Cut pieces further: each sample has as many gradients as there are directions."""
    for piece in pieces:
        n = piece.batch.n_samples
        yield from cut(subject, piece, n if kind == "empirical-fisher" else max(8, n // 4))
