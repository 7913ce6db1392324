"""What each layer puts out, seen as it does so."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Set
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils.weak import WeakTensorKeyDictionary

from deepscope.core import LeftOut
from deepscope.subject._activation_function import Activation, activation_of
from deepscope.subject._batches import Inputs
from deepscope.subject._layer_output import (
    LayerOutput,
    Source,
    first_tensor,
    flat,
    is_layer,
    is_opaque,
    selected_layers,
    units_dim_of,
    why_not_measured,
)
from deepscope.subject._padding import real_positions
from deepscope.subject._subject import Subject
from deepscope.subject._watched_layers import Sites, every_layer_called

Observer = Callable[[LayerOutput], None]


@contextmanager
def watch_layers(subject: Subject, observe: Observer) -> Iterator[Watch]:
    """See every layer's output as it is made; nothing is kept.

    Layers are modules without children or with parameters of their own; those the subject does not select are not
    shown. They come in forward order, a reused one each time. A functional activation in a forward is shown as one
    more output of the layer from which its argument came, through whatever other functions; one inside a layer's
    own forward only where it makes that layer's output. A layer is selected when its name or one of its own parameters
    is.

    Hooks live inside the context only. Fused kernels are off where they would hide layers or gradients, and compiled
    models run eagerly.

    Parameters
    ----------
    subject
        Its model is run by the caller, inside ``watch.forward``.
    observe
        Called with each ``LayerOutput``, without gradients being recorded. It must not change the tensor; it may
        register hooks on it.

    Yields
    ------
    watch
        Run each batch inside ``with watch.forward(batch.inputs):``; what runs outside of it is not seen.

    Notes
    -----
    Cost: none beyond the forward pass and what ``observe`` does.

    Examples
    --------
    >>> model = nn.Sequential(nn.Linear(3, 2), nn.ReLU())
    >>> subject = Subject(model, data=[(torch.ones(4, 3), torch.ones(4))])
    >>> with subject.undisturbed(), watch_layers(subject, lambda output: print(output.site, output.units_dim)) as watch:
    ...     for batch in subject.batches():
    ...         with watch.forward(batch.inputs):
    ...             outputs = subject.predict(batch.inputs)
    0 1
    1 1
    """
    watch = Watch(subject, observe)
    with ExitStack() as stack:
        stack.enter_context(every_layer_called(subject.model))
        for handle in watch._hook():
            stack.callback(handle.remove)
        yield watch


class Watch:
    """The forward passes of a watched subject. See ``watch_layers``.

    Attributes
    ----------
    output
        What the model as a whole put out in this pass, under the name of the layer from which it came; None before
        that, and where ``forward=`` does not call the model itself.
    """

    def __init__(self, subject: Subject, observe: Observer) -> None:
        self.output: LayerOutput | None = None
        self._subject, self._observe = subject, observe
        self._ran: dict[str, None] = {}
        self._notes: dict[LeftOut, None] = {}
        self._sites = Sites()
        self._shown = set(selected_layers(subject))
        self._active = self._busy = False
        self._reset(None)

    @property
    def left_out(self) -> tuple[LeftOut, ...]:
        """What was not seen so far, and why."""
        return tuple(self._notes)

    @property
    def ran(self) -> Set[str]:
        """Names of all layers that ran, whether selected or not; iterated in forward order."""
        return self._ran.keys()

    @contextmanager
    def forward(self, inputs: Inputs) -> Iterator[None]:
        """Watch the forward pass of one batch."""
        mask = self._subject.mask(inputs) if self._subject.mask is not None else None
        self._reset(None if mask is None else mask.bool())
        self._active = True
        try:
            with _Functions(self):
                yield
        finally:
            self._active = self._busy = False
            self._reset(None)

    def _reset(self, mask: Tensor | None) -> None:
        self._mask = mask
        self._depth = self._order = 0
        self._sites.begin()
        self._units_dims: dict[int, int | None] = {}
        # Weak: a tensor lives no longer for being known here.
        self._sources: WeakTensorKeyDictionary = WeakTensorKeyDictionary()
        self._latest: Source | None = None
        self._made: tuple[Tensor, Activation, Tensor | None] | None = None
        self.output = None

    def _hook(self) -> Iterator[torch.utils.hooks.RemovableHandle]:
        model = self._subject.model
        if model is None:
            return
        script, scripts = torch.jit.ScriptModule, set()
        for name, module in model.named_modules():
            if isinstance(module, script):
                scripts.add(name)
                if not name or name.rpartition(".")[0] not in scripts:
                    self._note(name, "TorchScript: its layers cannot be seen")
            if is_layer(name, module):
                yield module.register_forward_pre_hook(self._before)
                yield module.register_forward_hook(partial(self._after, name))
        if not isinstance(model, script):
            yield model.register_forward_hook(self._whole)

    def _before(self, module: nn.Module, _: Any) -> None:
        if self._active and is_opaque(module):
            self._depth += 1
            self._made = None

    def _after(self, name: str, module: nn.Module, _: Any, result: Any) -> None:
        if not self._active:
            return
        with self._quietly():
            if is_opaque(module):
                self._depth -= 1
            made, self._made = self._made, None
            self._ran[name] = None
            tensor = first_tensor(result)
            why_not = why_not_measured(tensor)
            if tensor is None or why_not:
                self._note(name, why_not)
                return
            activation, opened = made[1:] if made is not None and made[0] is tensor else (None, None)
            units_dim = units_dim_of(module, tensor.ndim, self._units_dims)
            self._units_dims[tensor.ndim] = units_dim
            output = LayerOutput(
                name=name,
                site=self._sites.of(name, module),
                module=module,
                tensor=tensor,
                units_dim=units_dim,
                activation=activation,
                open=opened,
                real=self._real(name, module, tensor, units_dim),
            )
            self._order += 1
            source = Source(name, output.site, module, units_dim, tensor.ndim, self._order)
            self._latest = self._sources[tensor] = source
            self._show(output)

    def _whole(self, module: nn.Module, _: Any, result: Any) -> None:
        if not self._active:
            return
        with self._quietly():
            logits = result.get("logits", result) if isinstance(result, Mapping) else getattr(result, "logits", result)
            tensor = first_tensor(logits)
            if tensor is None or why_not_measured(tensor) or self._latest is None:
                return
            source = self._sources.get(tensor, self._latest)  # type: ignore[no-untyped-call]
            units_dim = source.units_dim_of(tensor)
            real = self._real(source.name, module, tensor, units_dim)
            self.output = LayerOutput(source.name, source.site, module, tensor, units_dim, real=real)

    def _called(self, result: Any, activation: Activation | None, opened: Tensor | None, given: list[Tensor]) -> None:
        """Follow what a function outside the layers made, or remember what one inside a layer made."""
        tensor = first_tensor(result)
        if tensor is None:
            return
        if self._depth:
            if activation is not None:
                self._made = (tensor, activation, opened)
            return
        sources = [self._sources[each] for each in given if each in self._sources]
        source = max(sources, key=lambda each: each.order, default=None)
        if source is not None:
            for each in result if isinstance(result, (tuple, list)) else (tensor,):
                if isinstance(each, Tensor):
                    self._sources[each] = source
        if activation is None or why_not_measured(tensor):
            return
        if source is None:
            self._notes[LeftOut(activation.name, "a function called on something that no layer put out")] = None
            return
        units_dim = source.units_dim_of(tensor)
        self._show(
            LayerOutput(
                name=source.name,
                site=source.site,
                module=source.module,
                tensor=tensor,
                units_dim=units_dim,
                activation=activation,
                open=opened,
                functional=True,
                part=source.parts,
                real=self._real(source.name, source.module, tensor, units_dim),
            )
        )
        source.parts += 1

    def _show(self, output: LayerOutput) -> None:
        if output.name in self._shown:
            with torch.no_grad():
                self._observe(output)

    @contextmanager
    def _quietly(self) -> Iterator[None]:
        self._busy = True
        try:
            yield
        finally:
            self._busy = False

    def _real(self, name: str, module: nn.Module, tensor: Tensor, units_dim: int | None) -> Tensor | None:
        if self._mask is None:
            return None
        real = real_positions(self._mask, module, tensor, units_dim)
        if real is not None:
            return real[0]
        if tensor.ndim - (units_dim is not None) >= self._mask.ndim and not self._mask.all():
            self._note(name, "padding is counted here: the mask does not fit its output")
        return None

    def _note(self, name: str, reason: str) -> None:
        if name in self._shown:
            self._notes[LeftOut(name, reason)] = None


class _Functions(TorchFunctionMode):
    """Sees the torch functions that a forward calls."""

    def __init__(self, watch: Watch) -> None:
        super().__init__()
        self.watch = watch

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        watch = self.watch
        if watch._busy or not watch._active:
            return func(*args, **kwargs)
        given = [each for each in flat((*args, *kwargs.values())) if isinstance(each, Tensor)]
        with watch._quietly():
            activation = activation_of(func, args, kwargs) if given else None
        opened = None
        if activation is not None and activation.shut_below is not None:
            # Before the call, which may be in place; written so that NaN counts as open.
            opened = ~(given[activation.input].detach() <= activation.shut_below)
        result = func(*args, **kwargs)
        if given:
            with watch._quietly():
                watch._called(result, activation, opened, given)
        return result
