"""Gradients of every sample from one forward and one backward pass over a batch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.graph import GradientEdge, get_gradient_edge

from deepscope.core import MeasurementError
from deepscope.linalg import DenseGradients, Factor, Factors, combine, compact
from deepscope.subject._batches import Batch
from deepscope.subject._gradient_rules import RowsError, by_sample, widened
from deepscope.subject._layer_calls import LayerCall, LayerCalls
from deepscope.subject._mean_over_terms import check_mean, halves
from deepscope.subject._routed import routed
from deepscope.subject._subject import Subject
from deepscope.subject._written_gradients import WrittenGradients, floating_outputs, pulled_back


@dataclass(frozen=True, eq=False)
class SampleGradients:
    """What one pass over a batch gave.

    Attributes
    ----------
    factors
        Parameter's name to the factors of its per-sample gradients, for n samples in k directions; a parameter on
        which nothing depends is absent.
    outputs
        [n, c], what the network put out, detached, where its outputs were differentiated; else None.
    loss
        The mean loss over the batch's terms, where the loss was differentiated; else None.
    """

    factors: Mapping[str, Factors]
    outputs: Tensor | None = None
    loss: float | None = None

    @property
    def nbytes(self) -> int:
        """Memory that the factors take."""
        return sum(each.nbytes for factors in self.factors.values() for each in factors)


class PerSampleGradients:
    """Per-sample gradients of a subject, as factors; ``per_sample_gradients`` makes one.

    Attributes
    ----------
    parameters
        The trainable parameters of the subject's chosen part, by name, in the order of the network.
    written_out
        Those for which no rule holds, with the reason: their gradients are written out for every sample. There may be
        more of them after a batch of which a layer has seen a part only.
    """

    def __init__(self, subject: Subject, calls: LayerCalls, parameters: Mapping[str, nn.Parameter]) -> None:
        self.subject, self.parameters = subject, parameters
        self.written_out: dict[str, str] = {}
        self._calls = calls
        self._written = WrittenGradients(subject, {})
        self._all_at_once = True

    def write_out(self, reasons: Mapping[str, str], *, one_by_one: bool = False) -> None:
        """Write out the gradients of some parameters from now on, all samples at once or one after another."""
        self.written_out = dict(reasons)
        wanted = {name: self.parameters[name] for name in reasons}
        self._written = WrittenGradients(self.subject, wanted, at_once=not one_by_one)

    def of_outputs(self, inputs: Any, n: int, directions: Tensor | None = None) -> SampleGradients:
        """Return the gradients of every sample's outputs.

        Parameters
        ----------
        inputs, n
            Of a batch, and its length.
        directions
            [k, n, c], what to differentiate: Σ_c directions[k, i, c] · output[i, c]. Each output alone, k = c, unless
            given.

        Raises
        ------
        MeasurementError
            The outputs are not one tensor with a row per sample, or a layer's inputs do not follow the samples.
        """
        outputs = floating_outputs(self._forward(inputs, n))
        tensor = _one_of(outputs, n, self.subject)
        values = tensor.detach().reshape(n, -1)
        c = values.shape[1]
        if directions is None:
            directions = torch.eye(c, dtype=tensor.dtype, device=tensor.device)[:, None].expand(c, n, c)
        back = directions.reshape(-1, *tensor.shape)
        return SampleGradients(self._from_outputs(inputs, n, outputs, [back]), outputs=values)

    def in_directions(self, inputs: Any, n: int, directions: Sequence[Tensor]) -> SampleGradients:
        """Return the gradients of Σ ⟨directions, outputs⟩, for all floating-point outputs, [k, …] of their shapes."""
        outputs = floating_outputs(self._forward(inputs, n))
        return SampleGradients(self._from_outputs(inputs, n, outputs, directions))

    def of_losses(self, batch: Batch) -> SampleGradients:
        """Return c_i ∇l_i for every sample: that of its own loss, a mean over its c_i terms, times c_i; k = 1.

        Their sum is the gradient of the batch's loss times ``batch.count``.

        Raises
        ------
        MeasurementError
            The loss is missing, not a scalar, not finite, or not the mean of that of the batch's two halves; or a
            layer's inputs do not follow the samples.
        """
        outputs = self._forward(batch.inputs, batch.n_samples)
        parts = halves(self.subject, batch, outputs)
        ends = [get_gradient_edge(each) for each in floating_outputs(outputs)] if self.written_out else []
        with torch.enable_grad():
            loss = self.subject.loss_of(batch, outputs)
        if parts:
            check_mean(self.subject, batch.n_samples, (batch.count, float(loss.detach())), parts, loss.dtype.itemsize)
        if not loss.requires_grad:
            return SampleGradients({}, loss=float(loss))
        calls = self._calls.calls
        wanted = [*(call.edge for call in calls), *ends]
        found = self._pulled([loss], wanted, [torch.full_like(loss, batch.count)[None]])
        directions = [each for each in found[len(calls) :] if each is not None]
        factors = self._factors(calls, found[: len(calls)], batch.n_samples)
        if self.written_out and directions:
            factors |= self._rows(batch.inputs, batch.n_samples, directions)
        return SampleGradients(self._in_order(factors), loss=float(loss.detach()))

    def _forward(self, inputs: Any, n: int) -> Any:
        with torch.enable_grad(), self._calls.recording():
            outputs = self.subject.predict(inputs)
        for name in self._calls.refused.keys() - self.written_out.keys():
            raise MeasurementError(
                f"the layer of {name} is not called as for the first samples: {self._calls.refused[name]}",
                where=self.subject.name,
                todo="Give batches that go through the network in one way, or measure the others alone (only=…).",
            )
        if n > 1 and self._calls.choices.made:
            self._write_out_routed(floating_outputs(outputs), n)
        return outputs

    def _write_out_routed(self, outputs: Sequence[Tensor], n: int) -> None:
        calls = [call for call in self._calls.calls if self._is_wanted(call)]
        if calls and all(each.ndim and len(each) % n == 0 for each in outputs):
            reasons = routed(calls, outputs, n)
            if reasons:
                said = {name: f"{why}: its gradients are written out for every sample" for name, why in reasons.items()}
                self.write_out(self.written_out | said, one_by_one=True)

    def _is_wanted(self, call: LayerCall) -> bool:
        """Whether a call's rule is taken: that of a layer whose parameters are all written out need not hold."""
        return not self.written_out.keys() >= set(call.names.values())

    def _from_outputs(
        self, inputs: Any, n: int, outputs: Sequence[Tensor], directions: Sequence[Tensor]
    ) -> dict[str, Factors]:
        calls = self._calls.calls
        found = self._pulled(outputs, [call.edge for call in calls], directions)
        factors = self._factors(calls, found, n)
        if self.written_out:
            factors |= self._rows(inputs, n, directions)
        return self._in_order(factors)

    def _pulled(
        self, outputs: Sequence[Tensor], wanted: Sequence[GradientEdge], directions: Sequence[Tensor]
    ) -> list[Tensor | None]:
        if not wanted:
            return []
        if self._all_at_once and len(directions[0]) > 1:
            try:
                return pulled_back(outputs, wanted, directions, at_once=True)
            except torch.OutOfMemoryError:
                raise
            except RuntimeError:
                # Not every backward pass of torch runs for several directions at once.
                self._all_at_once = False
        return pulled_back(outputs, wanted, directions, at_once=False)

    def _factors(self, calls: Sequence[LayerCall], gradients: Sequence[Tensor | None], n: int) -> dict[str, Factors]:
        parts: dict[str, list[Factor]] = {}
        for call, gradient in zip(calls, gradients, strict=True):
            if gradient is None or not gradient.numel() or not self._is_wanted(call):
                continue
            try:
                found = list(factors_of_call(call, call.inputs, gradient, n))
            except RowsError as error:
                raise MeasurementError(
                    f"the layer of {', '.join(call.names.values())} is not called as for the first samples: {error}",
                    where=self.subject.name,
                    todo="Give batches that go through the network in one way, or measure the others alone (only=…).",
                ) from error
            for name, factor in found:
                if name not in self.written_out:
                    parts.setdefault(name, []).append(factor)
        return {name: compact(combine(each)) for name, each in parts.items()}

    def _rows(self, inputs: Any, n: int, directions: Sequence[Tensor]) -> dict[str, Factors]:
        rows = self._written(inputs, n, directions)
        return {name: (DenseGradients(widened(each)),) for name, each in rows.items()}

    def _in_order(self, factors: Mapping[str, Factors]) -> dict[str, Factors]:
        return {name: factors[name] for name in self.parameters if name in factors}


def factors_of_call(call: LayerCall, inputs: Tensor, gradient: Tensor, n: int) -> Iterator[tuple[str, Factor]]:
    """Iterate over what one call of a layer adds to the gradients of its measured parameters, by name.

    Raises
    ------
    RowsError
        The layer saw something else than n samples.
    """
    seen = by_sample(call.module, widened(inputs), widened(gradient.detach()), n)
    for leaf, factor in call.rule(call.module, *seen):
        if leaf in call.names:
            yield call.names[leaf], factor


def _one_of(outputs: Sequence[Tensor], n: int, subject: Subject) -> Tensor:
    if len(outputs) == 1 and outputs[0].ndim and outputs[0].shape[0] == n:
        return outputs[0]
    got = f"{len(outputs)} such tensors" if len(outputs) != 1 else f"one of shape {list(outputs[0].shape)}"
    raise MeasurementError(
        f"the outputs are not one differentiable tensor with a row for each of {n} samples, but {got}",
        where=subject.name,
        todo="Give forward=… that returns the one output to be measured.",
    )
