"""A subject's network in double precision, and the layer that is running."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from deepscope.core import DoesNotApplyError
from deepscope.instruments._regions_convolutions import ConvolvedInParts
from deepscope.instruments._regions_functions import Kinks
from deepscope.subject import Subject, every_layer_called, is_layer, main_output, own_parameters

#: Have parameters and are activation functions all the same.
_ACTIVATIONS = (nn.PReLU,)


class Network(nn.Module):
    """Runs a subject with its weights widened to float64, exactly.

    Parameters
    ----------
    subject
        What is run; it must be in its undisturbed context.
    """

    def __init__(self, subject: Subject) -> None:
        super().__init__()
        assert subject.model is not None
        self.model = subject.model
        self._subject = subject
        named = [
            *self.model.named_parameters(remove_duplicate=False),
            *self.model.named_buffers(remove_duplicate=False),
        ]
        wide = {id(each): each.detach().double() if each.is_floating_point() else each.detach() for _, each in named}
        self._values = {f"model.{name}": wide[id(each)] for name, each in named}
        self._running: list[tuple[str, nn.Module]] = []
        self._last: tuple[str, nn.Module] = ("", self.model)

    @property
    def device(self) -> torch.device:
        """Where it runs."""
        return self._subject.device

    @contextmanager
    def ready(self) -> Iterator[None]:
        """Context in which it can be run, and knows its layers; the model's hooks are as before afterwards."""
        with ExitStack() as stack:
            stack.enter_context(torch.no_grad())
            stack.enter_context(ConvolvedInParts())
            stack.enter_context(every_layer_called(self.model))
            for name, module in self.model.named_modules():
                if is_layer(name, module):
                    stack.callback(module.register_forward_pre_hook(partial(self._enter, name)).remove)
                    stack.callback(module.register_forward_hook(self._leave, always_call=True).remove)
            yield

    def run(self, inputs: Any) -> Any:
        """Return what the subject puts out."""
        self._running, self._last = [], ("", self.model)
        buffers = {name: value for name, value in self._values.items() if not isinstance(value, nn.Parameter)}
        return torch.func.functional_call(self, buffers, (inputs,))

    def forward(self, inputs: Any) -> Any:
        """Run the subject; what ``run`` calls."""
        return self._subject.predict(inputs)

    def here(self) -> tuple[str, nn.Module]:
        """Return the layer that is running, or else the one that ran last."""
        return self._running[-1] if self._running else self._last

    def layer_of(self, kinks: Kinks) -> tuple[str, nn.Module]:
        """Return the layer whose units have kinks: a pool, or the one that an activation's argument is from."""
        if self._running:
            name, module = self._running[-1]
            if kinks.windows is not None or _computes(module):
                return name, module
        return self._last

    def _enter(self, name: str, module: nn.Module, _: Any) -> None:
        self._running.append((name, module))

    def _leave(self, module: nn.Module, *_: Any) -> None:
        # A module that raised before it was entered has nothing to leave.
        if self._running and self._running[-1][1] is module:
            left = self._running.pop()
            if _computes(module) or not self._last[0]:
                self._last = left


def _computes(module: nn.Module) -> bool:
    return any(True for _ in own_parameters(module)) and not isinstance(module, _ACTIVATIONS)


def rows_of(outputs: Any, rows: int) -> Tensor:
    """Return what a network put out as [rows, values], float64; its main output.

    Raises
    ------
    DoesNotApplyError
        There is none with a row per sample.
    """
    found = main_output(outputs)
    if found is None or len(found) != rows:
        raise DoesNotApplyError(
            "the outputs are not a floating-point tensor with values for every sample",
            todo="Give forward=… that returns such a tensor, or measure with another instrument.",
        )
    return found.reshape(rows, -1).double()
