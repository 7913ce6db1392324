"""Every call of a layer with parameters of its own, with what went in and where its output's gradient arrives."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.graph import GradientEdge, get_gradient_edge

from deepscope.subject._agreement import agrees
from deepscope.subject._gradient_rules import Rule, rule_of
from deepscope.subject._kernels import without_fused_kernels
from deepscope.subject._open_form import NotOpenedError, OpenForm
from deepscope.subject._open_forms import open_form_of, parameters_of
from deepscope.subject._row_choices import RowChoices
from deepscope.subject._samples import tensors_in


@dataclass(frozen=True, eq=False)
class LayerCall:
    """One call of a layer.

    Attributes
    ----------
    module, rule
        The layer, and how its parameters' gradients follow.
    names
        Own parameter's name to its name in the network; only those that are measured.
    inputs
        What its parameters met, detached: the layer's first argument.
    edge
        Where the gradient of its output arrives. Unlike the tensor, it stays what it is when the output is changed in
        place by a later layer.
    """

    module: nn.Module
    rule: Rule
    names: Mapping[str, str]
    inputs: Tensor = field(repr=False)
    edge: GradientEdge = field(repr=False)


class LayerCalls:
    """The calls of one forward pass; inside ``watch_calls``.

    Attributes
    ----------
    calls
        In order; what an open form is made of counts as calls of its layer.
    refused
        Parameters whose layer was called as its rule cannot take it, with the reason.
    choices
        Whether rows may have been chosen by what they hold.
    """

    def __init__(self) -> None:
        self.calls: list[LayerCall] = []
        self.refused: dict[str, str] = {}
        self.choices = RowChoices()
        self._recording = False

    @contextmanager
    def recording(self) -> Iterator[None]:
        """Forget what was called before and see what is called now; layers with an open form run in it."""
        self.calls, self.refused, self.choices = [], {}, RowChoices()
        self._recording = True
        try:
            with self.choices:
                yield
        finally:
            self._recording = False

    def _called(
        self,
        rule: Rule,
        names: Mapping[str, str],
        module: nn.Module,
        arguments: tuple[Any, ...],
        named: dict[str, Any],
        result: Any,
    ) -> None:
        inputs = arguments[0] if arguments else named.get("input")
        if self._recording and isinstance(inputs, Tensor) and isinstance(result, Tensor) and result.requires_grad:
            self.calls.append(LayerCall(module, rule, names, inputs.detach(), get_gradient_edge(result)))

    def _opened(
        self,
        form: OpenForm,
        names: Mapping[str, str],
        module: nn.Module,
        arguments: tuple[Any, ...],
        named: dict[str, Any],
        result: Any,
    ) -> Any:
        """Put the open form's result in the place of the layer's own, where the two are the same."""
        if not self._recording or not any(each.requires_grad for each in tensors_in(result)):
            return None
        with self.choices.paused():
            return self._put_open(form, names, module, arguments, named, result)

    def _put_open(
        self,
        form: OpenForm,
        names: Mapping[str, str],
        module: nn.Module,
        arguments: tuple[Any, ...],
        named: dict[str, Any],
        result: Any,
    ) -> Any:
        given = inspect.signature(type(module).forward).bind(module, *arguments, **named)
        given.apply_defaults()
        try:
            opened = form(module, given.arguments)
        except NotOpenedError as error:
            self.refused |= dict.fromkeys(names.values(), str(error))
            return None
        both = zip(tensors_in(opened.result), tensors_in(result), strict=True)
        if not all(agrees(one, other) for one, other in both if one.is_floating_point()):
            self.refused |= dict.fromkeys(names.values(), "its open form gives something else")
            return None
        self.calls += [
            LayerCall(module, each.rule, names, each.inputs, get_gradient_edge(each.outputs)) for each in opened.maps
        ]
        return opened.result


@contextmanager
def watch_calls(model: nn.Module, parameters: Mapping[str, nn.Parameter]) -> Iterator[LayerCalls]:
    """See every call of the layers for whose parameters there is a rule.

    Parameters
    ----------
    model
        The network; its hooks are as before afterwards.
    parameters
        The parameters that are measured, by their names.

    Yields
    ------
    LayerCalls
        Calls are seen inside its ``recording``.
    """
    seen = LayerCalls()
    canonical = {id(parameter): name for name, parameter in parameters.items()}
    with ExitStack() as stack:
        # Fused attention and recurrent layers cannot be differentiated in many directions at once, nor twice.
        stack.enter_context(without_fused_kernels(model, products=True))
        if "torch._dynamo" in sys.modules:
            # Hooks that come after compilation are not seen by compiled code.
            stack.enter_context(torch.compiler.set_stance("force_eager"))
        for module in model.modules():
            if isinstance(module, torch.jit.ScriptModule):
                continue
            names = {leaf: canonical[id(each)] for leaf, each in parameters_of(module) if id(each) in canonical}
            if not names:
                continue
            rule, form = rule_of(module), open_form_of(module)
            hook = partial(seen._opened, form, names) if form is not None else None
            hook = partial(seen._called, rule, names) if rule is not None else hook
            if hook is not None:
                stack.callback(module.register_forward_hook(hook, with_kwargs=True).remove)
        yield seen
