"""Per-sample gradients that are proved, on a few samples, before they are used."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from deepscope.core import DeepscopeError, MeasurementError, first_line
from deepscope.linalg import Factor, combine
from deepscope.subject._agreement import TOLERANCE, agrees
from deepscope.subject._batches import Batch
from deepscope.subject._gradient_rules import RowsError
from deepscope.subject._layer_calls import LayerCalls, watch_calls
from deepscope.subject._mean_over_terms import check_mean
from deepscope.subject._per_sample import PerSampleGradients, factors_of_call
from deepscope.subject._routed import ROUTED
from deepscope.subject._samples import is_written, part_of, take_samples
from deepscope.subject._subject import Subject
from deepscope.subject._written_gradients import floating_outputs, pulled_back

#: Samples on which the proof is made.
_PROBES = 2
#: Samples among which a parameter is looked for on which those two do not depend.
_OTHERS = 64


@contextmanager
def per_sample_gradients(subject: Subject) -> Iterator[PerSampleGradients]:
    """Measure the gradient of every sample by one pass over a batch; use it inside ``subject.undisturbed``.

    A layer's inputs and the gradients of its outputs hold the per-sample gradients of its parameters: for a linear
    layer they are outer products (``goodfellow2015efficient``), for a convolution those of unfolded inputs, for an
    embedding rows, for a normalisation sums; what repeated calls and tied layers add is summed. Attention and
    recurrent layers are run in an open form, as linear maps with plain operations between them, whose result must be
    the layer's own. Rules are taken for nothing: on the first two samples every parameter's gradients are compared
    with those of plain backward passes over each sample alone, and where they differ, or where there is no rule
    (transposed convolutions, parameters used in a forward pass itself), gradients are written out for every sample by
    ``torch.func``, or one after another where that cannot be. Where a pass chooses rows by their values, as a mixture
    of experts does, every layer's rows are proved to be those of all samples in order, and gradients of layers that see
    some of them only are written out as well.

    Parameters
    ----------
    subject
        A model with data. Its trainable parameters are measured, those of the chosen part.

    Yields
    ------
    PerSampleGradients
        Its ``of_outputs`` and ``of_losses`` take batches.

    Raises
    ------
    MeasurementError
        There is nothing to train; the model refuses the data; its outputs change from one pass to the next, or depend
        on the other samples of a batch.

    Notes
    -----
    Cost: six forward and three backward passes over one or two samples, and two copies of the gradient; then per batch
    one forward pass, a second one of attention and recurrent layers, and, per direction, one backward pass that
    computes no weight gradients; two further ones where rows are chosen by their values.

    Examples
    --------
    >>> subject = Subject(nn.Linear(3, 1), data=[(torch.ones(4, 3), torch.zeros(4, 1))])
    >>> with subject.undisturbed(), per_sample_gradients(subject) as gradients:
    ...     batch = next(subject.batches())
    ...     found = gradients.of_outputs(batch.inputs, batch.n_samples)
    >>> found.factors["weight"][0].dense().shape
    torch.Size([4, 1, 3])
    """
    assert subject.model is not None
    parameters = trained_parameters(subject)
    if not parameters:
        raise MeasurementError(
            "there are no trainable parameters", where=subject.name, todo="Set requires_grad=True on what is trained."
        )
    with torch.inference_mode(False), torch.enable_grad(), watch_calls(subject.model, parameters) as calls:
        gradients = PerSampleGradients(subject, calls, parameters)
        _Proof(gradients, calls, next(subject.batches())).make()
        yield gradients


def trained_parameters(subject: Subject) -> dict[str, nn.Parameter]:
    """Return the trainable floating-point parameters of a subject's chosen part, each once, by name."""
    chosen = {weight.name for weight in subject.weights()}
    model = subject.model
    named = model.named_parameters() if model is not None else ()
    return {name: each for name, each in named if name in chosen and each.requires_grad and each.is_floating_point()}


def check_mean_over_terms(subject: Subject, batch: Batch) -> None:
    """Check that the loss of a batch is the mean over its samples' own terms.

    Raises
    ------
    MeasurementError
        It is not: a sum, or a mean over something else than ``count`` terms; or it refuses the targets, or is not
        finite.

    Notes
    -----
    Cost: three forward passes over at most two samples.
    """
    parts = []
    if batch.n_samples < _PROBES or subject.loss is None:
        return
    with torch.no_grad():
        for samples in (slice(0, 1), slice(1, 2), slice(0, 2)):
            part = part_of(subject, batch, samples)
            # A mean over no terms is no number.
            loss = _loss_of(subject, part) if part.count else torch.zeros(())
            parts.append((part.count, float(loss), loss.dtype.itemsize))
    (first, one, size), (second, other, _), (both, together, _) = parts
    check_mean(subject, _PROBES, (both, together), [(first, one), (second, other)], size)


def _loss_of(subject: Subject, part: Batch) -> Tensor:
    outputs = subject.predict(part.inputs)
    try:
        return subject.loss_of(part, outputs)
    except DeepscopeError:
        raise
    except Exception as error:
        raise MeasurementError(
            f"the loss refuses the targets: {first_line(error)}",
            where=subject.name,
            todo="Check that the labels fit the model's outputs, in type and range.",
        ) from error


class _Proof:
    """Gradients of the first samples in two ways, and what follows where they differ."""

    def __init__(self, gradients: PerSampleGradients, calls: LayerCalls, batch: Batch) -> None:
        self.gradients, self.calls, self.subject = gradients, calls, gradients.subject
        self.batch, self.n = batch, min(_PROBES, batch.n_samples)
        self.inputs = take_samples(batch.inputs, batch.n_samples, slice(0, self.n))

    def make(self) -> None:
        outputs = self._run(self.inputs)
        self._refuse_what_changes(outputs, self._run(self.inputs))
        draw = torch.Generator().manual_seed(0)
        directions = [
            torch.randn(1, *each.shape, generator=draw, dtype=torch.float32).to(each.device, each.dtype)
            for each in outputs
        ]
        alone = [self._alone(i, outputs, directions) for i in range(self.n)]
        reasons = self._differing(directions, alone)
        untouched = {name for name in self.gradients.parameters if not any(name in mine for mine in alone)}
        if untouched:
            reasons |= self._used_by_others(untouched - reasons.keys())
        if reasons:
            self._write_out(reasons, directions, alone)

    def _run(self, inputs: Any) -> list[Tensor]:
        try:
            outputs = floating_outputs(self.subject.predict(inputs))
        except DeepscopeError:
            raise
        except Exception as error:
            raise MeasurementError(
                f"the model refuses the inputs: {first_line(error)}",
                where=self.subject.name,
                todo="Check that the data has the shape and type that the model takes.",
            ) from error
        if not outputs:
            raise MeasurementError(
                "the outputs do not depend on any trainable parameter",
                where=self.subject.name,
                todo="Look for no_grad, detach or rounding in the forward pass.",
            )
        return outputs

    def _refuse_what_changes(self, outputs: Sequence[Tensor], again: Sequence[Tensor]) -> None:
        if all(agrees(one, other) for one, other in zip(outputs, again, strict=True)):
            return
        if is_written(self.inputs):
            raise MeasurementError(
                "the forward pass writes into its inputs, so that the same samples are others the second time",
                where=self.subject.name,
                todo="Let it work on a copy (x = x.clone()), or out of place.",
            )
        raise MeasurementError(
            "the forward pass is not deterministic: the same samples give other outputs the second time",
            where=self.subject.name,
            todo="Look for what draws random numbers in evaluation mode, such as functional.dropout(x) without "
            "training=self.training.",
        )

    def _alone(self, i: int, outputs: Sequence[Tensor], directions: Sequence[Tensor]) -> dict[str, Tensor]:
        """Return one sample's gradients by plain backpropagation."""
        try:
            mine = self._run(take_samples(self.inputs, self.n, slice(i, i + 1)))
        except MeasurementError as error:
            raise MeasurementError(
                f"a sample cannot be run alone ({error.what})",
                where=self.subject.name,
                todo="Look for batch normalisation without running statistics.",
            ) from error
        fits = len(mine) == len(outputs) and all(
            a.shape == b[i : i + 1].shape for a, b in zip(mine, outputs, strict=True) if b.ndim
        )
        if not fits or not all(agrees(a, b[i : i + 1]) for a, b in zip(mine, outputs, strict=True)):
            raise MeasurementError(
                "a sample's outputs depend on the other samples of its batch",
                where=self.subject.name,
                todo="Look for batch normalisation without running statistics, and for inputs whose first dimension "
                "is not the samples'.",
            )
        parameters = self.gradients.parameters
        rows = [each[:, i : i + 1] for each in directions]
        found = pulled_back(mine, list(parameters.values()), rows, at_once=False)
        return {name: each[0].detach() for name, each in zip(parameters, found, strict=True) if each is not None}

    def _differing(self, directions: Sequence[Tensor], alone: Sequence[Mapping[str, Tensor]]) -> dict[str, str]:
        """Say which parameters' gradients do not follow from the rules, and why."""
        with self.calls.recording():
            outputs = self._run(self.inputs)
        calls = self.calls.calls
        found = pulled_back(outputs, [call.edge for call in calls], directions, at_once=False) if calls else []
        parts: dict[str, list[Factor]] = {}
        gross: dict[str, list[Factor]] = {}
        refused = set(self.calls.refused)
        rows: set[str] = set()
        for call, gradient in zip(calls, found, strict=True):
            if gradient is None or not gradient.numel():
                continue
            magnitudes = call.inputs.abs() if call.inputs.is_floating_point() else call.inputs
            try:
                for name, factor in factors_of_call(call, call.inputs, gradient, self.n):
                    parts.setdefault(name, []).append(factor)
                for name, factor in factors_of_call(call, magnitudes, gradient.abs(), self.n):
                    gross.setdefault(name, []).append(factor)
            except RowsError:
                rows.update(call.names.values())
            except (RuntimeError, ValueError, TypeError, IndexError):
                refused.update(call.names.values())
        reasons = {}
        for name in self.gradients.parameters:
            if name in refused | rows or not all(
                _agree(parts.get(name), gross.get(name), i, mine.get(name)) for i, mine in enumerate(alone)
            ):
                why = "its layer's rule does not hold here" if name in parts else "there is no rule for its layer"
                why = self.calls.refused.get(name, ROUTED if name in rows else why)
                reasons[name] = f"{why}: its gradients are written out for every sample"
        return reasons

    def _used_by_others(self, untouched: set[str]) -> dict[str, str]:
        """Say which parameters on which the first samples do not depend matter to others of their batch."""
        n = min(self.batch.n_samples, _OTHERS)
        inputs = take_samples(self.batch.inputs, self.batch.n_samples, slice(0, n))
        with self.calls.recording():
            outputs = self._run(inputs)
        seen = {name for call in self.calls.calls for name in call.names.values()}
        wanted = {name: each for name, each in self.gradients.parameters.items() if name in untouched - seen}
        if not wanted:
            return {}
        total = torch.stack([each.sum().float() for each in outputs]).sum()
        found = torch.autograd.grad(total, list(wanted.values()), allow_unused=True)
        return {
            name: "there is no rule for its layer: its gradients are written out for every sample"
            for name, each in zip(wanted, found, strict=True)
            if each is not None
        }

    def _write_out(
        self, reasons: Mapping[str, str], directions: Sequence[Tensor], alone: Sequence[Mapping[str, Tensor]]
    ) -> None:
        self.gradients.write_out(reasons)
        try:
            found = self.gradients.in_directions(self.inputs, self.n, directions).factors
        except torch.OutOfMemoryError:
            raise
        except (RuntimeError, ValueError, TypeError, NotImplementedError):
            found = {}
        if not all(
            _agree(found.get(name), found.get(name), i, mine.get(name))
            for name in reasons
            for i, mine in enumerate(alone)
        ):
            self.gradients.write_out(reasons, one_by_one=True)


def _agree(parts: Sequence[Factor] | None, gross: Sequence[Factor] | None, i: int, expected: Tensor | None) -> bool:
    if parts is None:
        # Nothing seen and nothing there: not used. A gradient of zero may be one of these samples alone.
        return expected is None
    found, magnitude = (
        sum(each.take(slice(i, i + 1)).dense() for each in combine(some))[0, 0]  # type: ignore[index]
        for some in (parts, gross or parts)
    )
    wanted = torch.zeros_like(found) if expected is None else expected.flatten().to(found.dtype)
    tolerance = TOLERANCE[found.dtype.itemsize if expected is None else max(expected.dtype.itemsize, 2)]
    scale = torch.linalg.vector_norm(magnitude) + torch.linalg.vector_norm(wanted)
    return bool(torch.linalg.vector_norm(found - wanted) <= tolerance * scale)
