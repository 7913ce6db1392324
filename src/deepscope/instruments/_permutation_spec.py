"""Which axes of which tensors the hidden units of a network stand on, where that can be told for certain."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.nn import functional

from deepscope.core import MeasurementError

_LAYERS = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)
_BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
_INSTANCE_NORMS = (nn.InstanceNorm1d, nn.InstanceNorm2d, nn.InstanceNorm3d)
_BY_ELEMENT = (
    nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.ELU, nn.CELU, nn.SELU, nn.GELU, nn.SiLU, nn.Mish, nn.Tanh, nn.Sigmoid,
    nn.LogSigmoid, nn.Softplus, nn.Softsign, nn.Hardtanh, nn.Hardsigmoid, nn.Hardswish, nn.Tanhshrink, nn.Identity,
    nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.AlphaDropout,
)  # fmt: skip
_POOLS = (
    nn.MaxPool1d, nn.MaxPool2d, nn.MaxPool3d, nn.AvgPool1d, nn.AvgPool2d, nn.AvgPool3d, nn.AdaptiveAvgPool1d,
    nn.AdaptiveAvgPool2d, nn.AdaptiveAvgPool3d, nn.AdaptiveMaxPool1d, nn.AdaptiveMaxPool2d, nn.AdaptiveMaxPool3d,
)  # fmt: skip
_NAMED_BY_ELEMENT = (
    "relu", "relu6", "leaky_relu", "elu", "selu", "gelu", "silu", "mish", "tanh", "sigmoid", "softplus", "hardtanh",
    "hardswish", "dropout", "dropout2d",
)  # fmt: skip
_FUNCTIONS_BY_ELEMENT: frozenset[Callable[..., Any]] = frozenset(
    {torch.relu, torch.tanh, torch.sigmoid, *(getattr(functional, name) for name in _NAMED_BY_ELEMENT)}
)
_FUNCTION_POOLS: frozenset[Callable[..., Any]] = frozenset(
    getattr(functional, f"{kind}_pool{dimensions}d")
    for kind in ("max", "avg", "adaptive_avg", "adaptive_max")
    for dimensions in (1, 2, 3)
)
_METHODS_BY_ELEMENT = frozenset({"relu", "relu_", "tanh", "sigmoid", "contiguous"})
_FLATTENING = frozenset({"flatten", "view", "reshape"})
_SHAPE_METHODS = frozenset({"size", "dim"})


@dataclass(frozen=True)
class Slot:
    """An axis of a tensor along which hidden units stand.

    Attributes
    ----------
    name
        The tensor's.
    axis
        Along it, every unit has ``block`` entries in a row.
    block
        1, or the positions of a channel where an image was flattened.
    made
        Whether the tensor makes the units (their incoming weights, bias and norm) rather than reads them.
    """

    name: str
    axis: int
    block: int
    made: bool


@dataclass(frozen=True)
class Group:
    """Units that can be put in any order: those of one hidden layer."""

    layer: str
    size: int
    slots: tuple[Slot, ...]


def permutation_spec(model: nn.Module, name: str) -> tuple[Group, ...]:
    """Return the groups of units that can be permuted, in forward order.

    The forward pass is traced; it must be a chain of linear layers and convolutions (without groups), with batch,
    layer, group and instance norms, functions that act on each element, pooling and one flattening between them.

    Raises
    ------
    MeasurementError
        It is not, so that what a permutation does cannot be told for certain.
    """
    try:
        graph = fx.Tracer().trace(model)
    except Exception as error:
        raise _refused(name, f"its forward pass cannot be traced ({type(error).__name__})") from error
    walk = _Walk(model, name)
    for node in graph.nodes:
        walk.see(node)
    groups = walk.groups[:-1]
    if not groups:
        raise _refused(name, "it has no hidden layer")
    return tuple(Group(layer, size, tuple(slots)) for layer, size, slots in groups)


def _refused(name: str, why: str) -> MeasurementError:
    return MeasurementError(
        f"the units of this network cannot be permuted for certain: {why}",
        where=name,
        todo="Weight matching is for chains of linear layers and convolutions with norms; compare without aligning.",
    )


class _Walk:
    """Follows the one tensor that runs through a chain."""

    def __init__(self, model: nn.Module, name: str) -> None:
        self.modules: Mapping[str, nn.Module] = dict(model.named_modules())
        self.name = name
        self.groups: list[tuple[str, int, list[Slot]]] = []
        self.current: fx.Node | None = None
        self.seen: set[str] = set()
        # Where units stand in the tensor: along its second axis, as channels, or along its last one.
        self.as_channels = self.flattened = False

    def see(self, node: fx.Node) -> None:
        if node.op == "placeholder":
            if self.current is None:
                self.current = node
            elif node.users:
                raise _refused(self.name, "it has several inputs")
            return
        if _is_shape(node):
            return
        # Bookkeeping on shapes aside, the chain is all that there is.
        fed = [each for each in node.all_input_nodes if not _is_shape(each)]
        followers = [each for each in self.current.users if not _is_shape(each)] if self.current is not None else []
        if fed != [self.current] or len(followers) != 1:
            raise _refused(self.name, "its layers do not form a chain")
        if node.op == "output":
            return
        self._pass(node)
        self.current = node

    def _pass(self, node: fx.Node) -> None:
        if node.op == "call_module":
            self._module(str(node.target))
        elif node.target in _FUNCTIONS_BY_ELEMENT or (node.op == "call_method" and node.target in _METHODS_BY_ELEMENT):
            return
        elif node.target in _FUNCTION_POOLS:
            self._pool(str(node.target))
        elif node.target is torch.flatten or (node.op == "call_method" and node.target in _FLATTENING):
            self._flatten(node)
        else:
            raise _refused(
                self.name, f"{getattr(node.target, '__name__', node.target)} is not known to keep units apart"
            )

    def _module(self, path: str) -> None:
        module = self.modules[path]
        if path in self.seen and any(True for _ in module.parameters()):
            raise _refused(self.name, f"{path} is used twice")
        self.seen.add(path)
        kind = type(module)
        if kind in _LAYERS:
            self._layer(path, module)
        elif kind in _BATCH_NORMS or kind in _INSTANCE_NORMS:
            self._norm(path, module, module.num_features)
        elif kind is nn.LayerNorm:
            if self.groups and (self.as_channels or len(module.normalized_shape) != 1):  # type: ignore[arg-type]
                raise _refused(self.name, f"{path} normalises over more than the units")
            self._norm(path, module, module.normalized_shape[0])  # type: ignore[index]
        elif kind is nn.GroupNorm:
            if module.num_groups not in (1, module.num_channels):
                raise _refused(self.name, f"{path} normalises groups of units together")
            self._norm(path, module, module.num_channels)
        elif kind is nn.PReLU:
            if module.num_parameters != 1:
                self._norm(path, module, module.num_parameters)
        elif kind in _POOLS:
            self._pool(path)
        elif kind is nn.Flatten:
            if module.start_dim != 1 or module.end_dim != -1:
                raise _refused(self.name, f"{path} flattens in a way of its own")
            self._flattened()
        elif kind not in _BY_ELEMENT:
            raise _refused(self.name, f"{path} is a {kind.__name__}")

    def _layer(self, path: str, layer: nn.Module) -> None:
        if getattr(layer, "groups", 1) != 1:
            raise _refused(self.name, f"{path} is a grouped convolution")
        convolution = not isinstance(layer, nn.Linear)
        weight: Tensor = layer.weight  # type: ignore[assignment]
        if self.groups:
            if convolution != self.as_channels:
                raise _refused(self.name, f"{path} does not read the units before it as they stand")
            self._add(f"{path}.weight", 1, weight.shape[1], made=False)
        slots = [Slot(f"{path}.{leaf}", 0, 1, True) for leaf, each in layer.named_parameters() if each is not None]
        self.groups.append((path, len(weight), slots))
        self.as_channels, self.flattened = convolution, False

    def _norm(self, path: str, module: nn.Module, features: Any) -> None:
        if not self.groups:
            return
        for leaf, tensor in (*module.named_parameters(), *module.named_buffers()):
            if tensor.ndim == 1:
                self._add(f"{path}.{leaf}", 0, features, made=True)

    def _add(self, name: str, axis: int, length: int, *, made: bool) -> None:
        _, size, slots = self.groups[-1]
        block, rest = divmod(length, size)
        if rest or (block != 1 and not self.flattened):
            raise _refused(self.name, f"{name} has {length} entries for {size} units")
        slots.append(Slot(name, axis, block, made))

    def _pool(self, path: str) -> None:
        if self.groups and not self.as_channels:
            raise _refused(self.name, f"{path} pools over units")

    def _flatten(self, node: fx.Node) -> None:
        from_second = node.args[1:] == (1,) or dict(node.kwargs) == {"start_dim": 1}
        # Of a view the shape alone tells nothing; that the function stays the same is tested afterwards.
        if node.target in (torch.flatten, "flatten") and not from_second:
            raise _refused(self.name, f"{node.name} flattens in a way of its own")
        self._flattened()

    def _flattened(self) -> None:
        if self.as_channels:
            self.as_channels, self.flattened = False, True


def _is_shape(node: fx.Node) -> bool:
    """Whether a node computes with shapes only."""
    if node.op == "call_method":
        return node.target in _SHAPE_METHODS
    if node.target is getattr:
        return node.args[1] in ("shape", "ndim")
    numbers = (operator.getitem, operator.mul, operator.floordiv)
    return node.target in numbers and all(_is_shape(each) for each in node.all_input_nodes)
