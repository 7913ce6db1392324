"""A certified bound on how far outputs can move: the network's graph, with a Lipschitz constant at every node."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, fx, nn

from deepscope.core import first_line
from deepscope.instruments._jacobian_constants import Constant, lipschitz_constant
from deepscope.instruments._jacobian_functions import constant_of_function
from deepscope.subject import Subject, is_opaque, main_output


@dataclass(frozen=True)
class Bounds:
    """Certified constants from a network's input on.

    Attributes
    ----------
    output
        To its output.
    layers
        To the output of every layer, by name; where the graph could not be followed there are none.
    """

    output: Constant
    layers: Mapping[str, Constant] = field(default_factory=dict)


def certified_bounds(subject: Subject, inputs: Any, constants: Mapping[str, Constant], *, embedded: bool) -> Bounds:
    """Follow the network's graph on one sample and multiply constants; where it cannot be followed, say so.

    Branches that are added add their constants (a residual sum has 1 + L); branches put side by side have the root of
    the sum of squares. A function that is not known, or has no finite constant, leaves all behind it without one.
    The bound is that of ``virmaux2018lipschitz``'s AutoLip, whatever the data; the true constant may be far below it.

    Parameters
    ----------
    subject
        In evaluation mode; ``torch.fx`` traces its model, which runs its forward with symbols.
    inputs
        Of one sample.
    constants
        Of every layer by itself, by name.
    embedded
        Whether the outputs of embeddings are what changes, instead of the inputs.
    """
    model = subject.model
    assert model is not None
    if subject.forward is not None:
        return Bounds(Constant(None, "what forward= does cannot be followed"))
    tracer = _Tracer()
    if is_opaque(model) or tracer.is_leaf_module(model, ""):
        alone = constants[""] if "" in constants else lipschitz_constant(model, None)
        return Bounds(alone, {"": alone})
    try:
        graph = tracer.trace(model)
        walk = _Walk(model, graph, constants, embedded=embedded)
        with torch.no_grad():
            walk.run(*_arguments(graph, inputs))
    except Exception as error:
        return Bounds(Constant(None, f"the forward pass cannot be followed: {first_line(error)}"))
    return Bounds(walk.whole, {name: walk.constants[node] for name, node in tracer.outputs.items()})


def _arguments(graph: fx.Graph, inputs: Any) -> list[Any]:
    if not isinstance(inputs, Mapping):
        return list(inputs) if isinstance(inputs, (tuple, list)) else [inputs]
    names = [str(node.target) for node in graph.nodes if node.op == "placeholder"]
    # What is not given takes its default, which fx keeps where the values end.
    return [inputs[name] for name in names if name in inputs]


class _Tracer(fx.Tracer):
    """Follows everything but torch's own layers, and notes where each module's output is."""

    def __init__(self) -> None:
        super().__init__()
        self.outputs: dict[str, fx.Node] = {}

    def call_module(self, m: nn.Module, forward: Any, args: Any, kwargs: Any) -> Any:
        made = super().call_module(m, forward, args, kwargs)
        first = made[0] if isinstance(made, (tuple, list)) and made else made
        if isinstance(first, fx.Proxy):
            self.outputs[self.path_of_module(m)] = first.node
        return made


class _Walk(fx.Interpreter):
    """Runs a graph, and computes for every node by how much it moves per unit of the input."""

    def __init__(self, model: nn.Module, graph: fx.Graph, constants: Mapping[str, Constant], *, embedded: bool) -> None:
        super().__init__(model, garbage_collect_values=False, graph=graph)
        self._layers, self._embedded = constants, embedded
        self.constants: dict[fx.Node, Constant] = {}
        self.whole = Constant(None, "there is no output")

    def run_node(self, n: fx.Node) -> Any:
        made = super().run_node(n)
        self.constants[n] = self._constant(n, made)
        if n.op == "output":
            self.whole = self.constants[n]
        return made

    def _constant(self, node: fx.Node, made: Any) -> Constant:
        if node.op == "placeholder":
            moves = isinstance(made, Tensor) and made.is_floating_point() and not self._embedded
            return Constant(1.0 if moves else 0.0)
        if node.op == "get_attr":
            return Constant(0.0)
        if node.op == "call_module":
            module = self.fetch_attr(str(node.target))
            if self._embedded and isinstance(module, (nn.Embedding, nn.EmbeddingBag)):
                return Constant(1.0)
        before = [self.constants[each] for each in self._given(node, made)]
        unknown = next((each for each in before if each.value is None), None)
        if unknown is not None:
            return unknown
        if not any(each.value for each in before):
            return Constant(0.0)
        if node.op == "output":
            return max(before, key=lambda each: each.value or 0.0)
        if node.op == "call_module":
            return self._through(node, before)
        name = node.target if isinstance(node.target, str) else getattr(node.target, "__name__", str(node.target))
        values = fx.node.map_arg((node.args, node.kwargs), lambda each: self.env[each])
        moved = fx.node.map_arg((node.args, node.kwargs), lambda each: self.constants[each].value)
        return constant_of_function(name.strip("_"), values, moved, made)

    def _given(self, node: fx.Node, made: Any) -> list[fx.Node]:
        """Return the nodes that a node is made of; of the network's outputs those of its main one."""
        main = [each for each in node.all_input_nodes if self.env[each] is main_output(made)]
        return main if node.op == "output" and main else node.all_input_nodes

    def _through(self, node: fx.Node, before: list[Constant]) -> Constant:
        own = self._layers.get(str(node.target))
        if own is None:
            given = self.env[node.all_input_nodes[0]]
            own = lipschitz_constant(self.fetch_attr(str(node.target)), given if isinstance(given, Tensor) else None)
        if own.value is None:
            return own
        # Several inputs that change move together at most by the root of their squares.
        total = sum((each.value or 0.0) ** 2 for each in before) ** 0.5
        return Constant(total * own.value)
