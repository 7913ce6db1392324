"""Run a network so that every layer's inputs and output are places of its graph, with the samples told apart."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.graph import get_gradient_edge

from deepscope.core import DeepscopeError, MeasurementError
from deepscope.instruments._jacobian_order import Axes, rows_follow
from deepscope.instruments._jacobian_pass import Call, ForwardPass, Place, no_sources
from deepscope.instruments._refusal import refusal
from deepscope.subject import (
    RowChoices,
    Subject,
    agrees,
    each_sampled,
    every_layer_called,
    is_layer,
    is_opaque,
    main_output,
    take_samples,
    tensors_in,
)

_RECURRENT = (nn.RNNBase, nn.RNNCellBase)
_EMBEDDINGS = (nn.Embedding, nn.EmbeddingBag)
#: Bytes that one chunk of samples may take, and the most samples of one.
CHUNK_BYTES, CHUNK = 2**28, 128


@dataclass(frozen=True)
class Layout:
    """Where the samples lie in the tensors of a forward pass.

    Attributes
    ----------
    axes
        For every call, the axis of each of its inputs and of its output, in order; None where one is not known.
    embedded
        Indices of the calls of embeddings whose output has the samples in it.
    together
        Whether several samples can go through the network together with all of them told apart.
    numbers
        That the layers take and give for one sample.
    """

    axes: tuple[Axes, ...]
    embedded: frozenset[int]
    together: bool
    numbers: int


@contextmanager
def traced(subject: Subject) -> Iterator[Tracer]:
    """Make a subject's forward passes leave their places; use it inside ``subject.undisturbed``.

    Every layer is given its own view of its inputs, so that derivatives are those through that layer alone. Parameters
    take no gradient meanwhile, fused kernels that have no second derivative are off, and compiled models run eagerly.
    """
    assert subject.model is not None
    tracer = Tracer(subject)
    with ExitStack() as stack:
        stack.enter_context(torch.inference_mode(False))
        stack.enter_context(torch.enable_grad())
        stack.enter_context(every_layer_called(subject.model, products=True))
        for parameter in subject.model.parameters():
            parameter.requires_grad_(False)
        for handle in tracer._hook(subject.model):
            stack.callback(handle.remove)
        yield tracer


class Tracer:
    """Forward passes that leave their places. See ``traced``."""

    def __init__(self, subject: Subject) -> None:
        self._subject = subject
        self._calls: list[_Open] = []
        self._running: list[_Open] = []
        self._active, self._values = False, True
        self._embedded: frozenset[int] = frozenset()
        self._leaves: dict[int, Tensor] = {}
        self._shift: Tensor | None = None
        self._choices = RowChoices()
        self._n = 1

    def layout(self, inputs: Any, n: int) -> Layout:
        """Find where the samples lie, from a pass over the first and one over the first two.

        Where the network chooses rows by their values, two further passes over all samples show whether they always do.

        Raises
        ------
        MeasurementError
            The model refuses the inputs, or the outputs are not a floating-point tensor with a row per sample.
        """
        try:
            alone = self._record(take_samples(inputs, n, slice(0, 1)))
        except MeasurementError:
            if n > 1:
                # Batch normalisation by the batch refuses a single sample.
                self._record(take_samples(inputs, n, slice(0, 2)))
                raise samples_mixed(self._subject) from None
            raise
        numbers = sum(each.numel() for call in alone.calls for each in call.tensors)
        if n == 1:
            embedded = frozenset(i for i, each in enumerate(alone.calls) if isinstance(each.module, _EMBEDDINGS))
            return Layout((), embedded, together=False, numbers=numbers)
        both = self._record(take_samples(inputs, n, slice(0, 2)))
        if _axis(alone.output, both.output) != 0 or len(both.output) != 2:
            raise samples_mixed(self._subject)
        same = [each.name for each in alone.calls] == [each.name for each in both.calls]
        axes = tuple(
            tuple(_axis(one, two) for one, two in zip(a.tensors, b.tensors, strict=False))
            for a, b in zip(alone.calls, both.calls, strict=False)
        )
        embedded = frozenset(
            i for i, each in enumerate(both.calls)
            if isinstance(each.module, _EMBEDDINGS) and i < len(axes) and axes[i] and axes[i][-1] is not None
        )  # fmt: skip
        # What holds no sample, as an embedding of positions, need not be told apart.
        fixed = all(
            axis is not None or one.shape == two.shape
            for each, a, b in zip(axes, alone.calls, both.calls, strict=False)
            for axis, one, two in zip(each, a.tensors, b.tensors, strict=False)
        )
        together = same and fixed
        if together and self._choices.made:
            step = max(1, min(CHUNK, CHUNK_BYTES // (8 * max(1, numbers))))
            together = all(self._follow(inputs, n, start, min(start + step, n), axes) for start in range(0, n, step))
        return Layout(axes, embedded, together=together, numbers=numbers)

    def _follow(self, inputs: Any, n: int, start: int, stop: int, axes: Sequence[Axes]) -> bool:
        """Whether the rows of all calls follow some samples into the reverse order."""
        part = take_samples(inputs, n, slice(start, stop))
        backwards = each_sampled(part, stop - start, lambda tensor: tensor.flip(0))
        one, other = ([call.tensors for call in self._record(each).calls] for each in (part, backwards))
        return rows_follow(one, other, axes, stop - start)

    def run(
        self, inputs: Any, n: int, layout: Layout, shift: Tensor | None = None, *, values: bool = False
    ) -> ForwardPass:
        """Run n samples, which must be one where the layout says that they cannot go together.

        Parameters
        ----------
        shift
            What is added to the sources before they run, [n, Σ size].
        values
            Whether the places keep copies of their tensors.

        Raises
        ------
        DoesNotApplyError
            The inputs are whole numbers and go through no embedding.
        MeasurementError
            The model refuses the inputs, or the outputs or what they are made of are not finite.
        """
        sources: list[Tensor] = []
        self._shift = shift

        def leaf(tensor: Tensor) -> Tensor:
            if not tensor.is_floating_point():
                return tensor
            sources.append(self._leaf(tensor, n))
            # What writes into its inputs must not write into a leaf.
            return sources[-1].view_as(sources[-1]).clone()

        fed = each_sampled(inputs, n, leaf)
        self._embedded, self._n = layout.embedded if not sources else frozenset(), n
        if not sources and not layout.embedded:
            raise no_sources(self._subject)
        self._leaves = {}
        found = self._record(fed, values=values)
        leaves = sources or list(self._leaves.values())
        output = _place(found.output, 0, n)
        if not bool(torch.isfinite(found.output).all()):
            raise MeasurementError(
                "the outputs are not finite",
                where=self._subject.name,
                todo="Look at the inputs and at health's findings first.",
            )
        calls = []
        for index, each in enumerate(found.calls):
            axes = layout.axes[index] if index < len(layout.axes) else ()
            unknown = (None,) * len(each.tensors)
            calls.append(each.closed(axes if len(axes) == len(unknown) else unknown, n))
        places = tuple(replace(_place(each, 0, n), value=each.detach()) for each in leaves)
        return ForwardPass(places, tuple(calls), output)

    def _leaf(self, tensor: Tensor, n: int) -> Tensor:
        """Return a copy from which derivatives are taken, moved by its part of the shift."""
        made = tensor.detach().clone()
        if self._shift is not None:
            size = made.numel() // n
            made += self._shift[:, :size].to(made).reshape(made.shape)
            self._shift = self._shift[:, size:]
        return made.requires_grad_()

    def _record(self, inputs: Any, *, values: bool = True) -> _Recorded:
        self._calls, self._running, self._active, self._values = [], [], True, values
        try:
            with RowChoices() as self._choices:
                output = main_output(self._subject.predict(inputs))
        except DeepscopeError:
            raise
        except Exception as error:
            raise refusal(error, 0, self._subject, ran=False) from error
        finally:
            self._active = False
        if output is None:
            raise MeasurementError(
                "the outputs are not a floating-point tensor with values for every sample",
                where=self._subject.name,
                todo="Give forward=… that returns one such tensor.",
            )
        return _Recorded(self._calls, output)

    def _hook(self, model: nn.Module) -> Iterator[torch.utils.hooks.RemovableHandle]:
        for name, module in model.named_modules():
            # A network that is a single layer is one itself.
            if is_layer(name, module):
                yield module.register_forward_pre_hook(partial(self._before, name), with_kwargs=True)
                yield module.register_forward_hook(self._after)

    def _before(self, name: str, module: nn.Module, args: Any, kwargs: Any) -> Any:
        if not self._active or any(is_opaque(each.module) for each in self._running):
            return None
        call = _Open(name, module, values=self._values)
        self._calls.append(call)
        self._running.append(call)
        if isinstance(module, _RECURRENT):
            call.given = (args, kwargs)
        return call.seen(args), call.seen(kwargs)

    def _after(self, module: nn.Module, _: Any, result: Any) -> Any:
        if not self._active or not self._running or self._running[-1].module is not module:
            return None
        call = self._running.pop()
        index = self._calls.index(call)
        if index in self._embedded and isinstance(result, Tensor):
            self._leaves[index] = self._leaf(result, self._n)
            result = self._leaves[index].view_as(self._leaves[index])
            call.out(result)
            return result.clone()
        tensor = next((each for each in tensors_in(result) if each.is_floating_point() and each.ndim), None)
        if tensor is not None and tensor.numel():
            call.out(tensor)
        elif tensor is not None:
            call.why_not = "its output is empty"
        return None


@dataclass(frozen=True, eq=False)
class _Recorded:
    calls: list[_Open]
    output: Tensor


class _Open:
    """A call as it is being made."""

    def __init__(self, name: str, module: nn.Module, *, values: bool) -> None:
        self.name, self.module, self._keeps = name, module, values
        self.given: Any = None
        self._views: dict[int, Tensor] = {}
        self._inputs: list[Place] = []
        self._output: Place | None = None
        self.why_not = "its output is not floating-point"
        #: What was seen, inputs before the output; where values are not kept, None in the place of each.
        self.tensors: list[Any] = []

    def seen(self, value: Any) -> Any:
        """Put views of their own in the place of floating-point tensors; one that comes twice has one view."""
        if isinstance(value, Tensor):
            if not value.is_floating_point() or not value.ndim or not value.numel():
                return value
            if id(value) not in self._views:
                # A layer that works in place is to write where it would.
                own = value if getattr(self.module, "inplace", False) else value.view_as(value)
                self._views[id(value)] = own
                self._keep(value)
                self._inputs.append(_place(own, 0, 1))
            return self._views[id(value)]
        if isinstance(value, dict):
            return {key: self.seen(item) for key, item in value.items()}
        if isinstance(value, (tuple, list)):
            made = [self.seen(item) for item in value]
            return type(value)(*made) if hasattr(value, "_fields") else type(value)(made)
        return value

    def out(self, tensor: Tensor) -> None:
        self._output = _place(tensor, 0, 1)
        self._keep(tensor)

    def _keep(self, tensor: Tensor) -> None:
        # A copy: a later layer may work in place.
        self.tensors.append(tensor.detach().clone() if self._keeps else None)

    def closed(self, axes: tuple[int | None, ...], n: int) -> Call:
        """Return the call with the samples told apart; what cannot be is no place."""
        places = [*self._inputs, *([self._output] if self._output is not None else [])]
        # A single sample is all that there is, wherever it lies.
        axes = (0,) * len(places) if n == 1 else axes
        told = [
            None if axis is None or place.shape[axis] % n else replace(place, axis=axis, n=n, value=tensor)
            for place, axis, tensor in zip(places, axes, self.tensors, strict=True)
        ]
        output = told.pop() if self._output is not None else None
        why_not = self.why_not if self._output is None else "its output is the same for all samples"
        return Call(
            self.name, self.module, tuple(each for each in told if each is not None), output, self.given, why_not
        )


def _place(tensor: Tensor, axis: int, n: int) -> Place:
    edge = get_gradient_edge(tensor) if tensor.requires_grad else None
    return Place(edge, tensor.shape, axis, n, tensor.dtype, tensor.device)


def _axis(alone: Tensor, both: Tensor) -> int | None:
    """Return the dimension that grows with the samples; None where there is none, or they do not follow each other."""
    if alone.ndim != both.ndim:
        return None
    changed = [dim for dim in range(alone.ndim) if alone.shape[dim] != both.shape[dim]]
    if len(changed) != 1 or both.shape[changed[0]] != 2 * alone.shape[changed[0]]:
        return None
    each = alone.shape[changed[0]]
    # Several places of a sample, one after another, or the samples of a place?
    return changed[0] if each == 1 or agrees(alone, both.narrow(changed[0], 0, each)) else None


def samples_mixed(subject: Subject) -> MeasurementError:
    """Return the error for a network in which samples act on each other."""
    return MeasurementError(
        "a sample's outputs depend on the other samples of its batch",
        where=subject.name,
        todo="Look for batch normalisation without running statistics, and for inputs whose first dimension is not the "
        "samples'.",
    )
