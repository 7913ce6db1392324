"""Every call of a layer with parameters of its own, with what went in and where its output's gradient arrives."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.graph import GradientEdge, get_gradient_edge

from deepscope.subject._gradient_rules import Rule, rule_of
from deepscope.subject._kernels import without_fused_kernels


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
        Its first argument, detached.
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
    """The calls of one forward pass; inside ``watch_calls``."""

    def __init__(self) -> None:
        self.calls: list[LayerCall] = []

    def begin(self) -> None:
        """Forget what was called before."""
        self.calls = []

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
        if isinstance(inputs, Tensor) and isinstance(result, Tensor) and result.requires_grad:
            self.calls.append(LayerCall(module, rule, names, inputs.detach(), get_gradient_edge(result)))


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
        Call its ``begin`` before each forward pass.
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
            rule = rule_of(module)
            own = module.named_parameters(recurse=False)
            names = {leaf: canonical[id(each)] for leaf, each in own if id(each) in canonical}
            if rule is not None and names and not isinstance(module, torch.jit.ScriptModule):
                hook = partial(seen._called, rule, names)
                stack.callback(module.register_forward_hook(hook, with_kwargs=True).remove)
        yield seen
