"""By how much functions called in a forward pass stretch changes of their arguments."""

from __future__ import annotations

import inspect
import math
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from deepscope.instruments._jacobian_constants import Constant, lipschitz_constant, matrix_norm

#: Move values to other places, keep some of them, or change each by a function of slope 1 at most.
_SAME = frozenset((
    "flatten", "view", "reshape", "permute", "transpose", "t", "squeeze", "unsqueeze", "contiguous", "getitem",
    "getattr", "clone", "detach", "to", "float", "double", "half", "type", "type_as", "cpu", "cuda", "chunk",
    "split", "unbind", "narrow", "select", "index_select", "movedim", "swapaxes", "swapdims", "flip", "roll",
    "neg", "unflatten", "view_as", "reshape_as", "ravel", "diagonal", "tril", "triu", "relu", "tanh", "dropout",
    "dropout1d", "dropout2d", "dropout3d", "alpha_dropout", "abs", "clamp", "clip", "clamp_min", "clamp_max",
    "relu6", "hardtanh", "softplus", "logsigmoid", "softsign", "tanhshrink", "softshrink", "amax", "amin",
    "cos", "sin", "atan",
))  # fmt: skip
#: Functions that are a layer without parameters.
_LAYERS = {
    "elu": nn.ELU, "leaky_relu": nn.LeakyReLU, "selu": nn.SELU, "celu": nn.CELU, "gelu": nn.GELU, "silu": nn.SiLU,
    "mish": nn.Mish, "hardswish": nn.Hardswish, "hardsigmoid": nn.Hardsigmoid, "sigmoid": nn.Sigmoid,
    "softmax": nn.Softmax, "log_softmax": nn.LogSoftmax, "max_pool1d": nn.MaxPool1d, "max_pool2d": nn.MaxPool2d,
    "max_pool3d": nn.MaxPool3d, "avg_pool1d": nn.AvgPool1d, "avg_pool2d": nn.AvgPool2d, "avg_pool3d": nn.AvgPool3d,
    "adaptive_avg_pool1d": nn.AdaptiveAvgPool1d, "adaptive_avg_pool2d": nn.AdaptiveAvgPool2d,
    "adaptive_max_pool1d": nn.AdaptiveMaxPool1d, "adaptive_max_pool2d": nn.AdaptiveMaxPool2d,
}  # fmt: skip
_SUMS, _PRODUCTS = frozenset({"add", "iadd", "sub", "isub", "radd"}), frozenset({"mul", "imul", "multiply"})
_JOINS = frozenset({"cat", "concat", "concatenate", "stack", "hstack", "vstack"})
_MAPS = frozenset({"matmul", "mm", "linear"})


def constant_of_function(name: str, values: Any, moves: Any, made: Any) -> Constant:
    """Return by how much a function's result moves per unit of the network's input.

    Parameters
    ----------
    name
        Of the function or method, without underscores at its ends.
    values, moves
        (arguments, keywords) of the call: their values, and by how much each moves, of the same nesting; None where
        it is no value of the graph.
    made
        The result.
    """
    if not any(isinstance(each, Tensor) for each in _flat(made)):
        return Constant(0.0)
    if any(isinstance(each, Tensor) and not each.is_floating_point() for each in _flat(made)) and name != "max":
        return Constant(None, f"{name} jumps")
    (args, kwargs), (moved, _) = values, moves
    first = _moving(moved[0]) if moved else 0.0
    if name in _SAME:
        return Constant(first)
    if name in _LAYERS:
        own = _as_layer(name, args, kwargs)
        return Constant(first * own.value) if own.value is not None else own
    if name in _SUMS:
        scale = abs(float(kwargs.get("alpha", 1)))
        return Constant(
            sum(_spread(v, m, made) * (scale if i else 1.0) for i, (v, m) in enumerate(_pairs(args, moved)))
        )
    if name in _PRODUCTS or name in ("truediv", "div"):
        return _scaled(name, args, moved, made)
    if name in _JOINS:
        return Constant(math.sqrt(sum(_moving(each) ** 2 for each in moved[0])))
    if name in ("mean", "sum"):
        count = args[0].numel() / made.numel()
        return Constant(first / math.sqrt(count) if name == "mean" else first * math.sqrt(count))
    if name in ("expand", "repeat", "expand_as", "tile", "repeat_interleave"):
        return Constant(first * math.sqrt(made.numel() / args[0].numel()))
    if name == "pad":
        mode = args[2] if len(args) > 2 else kwargs.get("mode", "constant")
        return Constant(first) if mode == "constant" else Constant(None, f"no constant is known for {mode} padding")
    if name in _MAPS:
        return _mapped(name, args, moved)
    if "attention" in name:
        return Constant(None, "dot-product attention has no finite Lipschitz constant")
    return Constant(None, f"no constant is known for {name}")


def _flat(value: Any) -> Iterator[Any]:
    if isinstance(value, (tuple, list)):
        for each in value:
            yield from _flat(each)
    else:
        yield value


def _moving(value: Any) -> float:
    """Return by how much an argument moves; several together by the root of their squares."""
    found = [each for each in _flat(value) if isinstance(each, float)]
    return math.sqrt(sum(each**2 for each in found))


def _pairs(args: Any, moved: Any) -> Iterator[tuple[Any, Any]]:
    # Numbers in the place of tensors are no part of the graph.
    return ((v, m if isinstance(v, Tensor) else 0.0) for v, m in zip(args, moved, strict=True))


def _spread(value: Any, moves: float, made: Tensor) -> float:
    """Return by how much an argument moves once it is repeated to the result's shape."""
    return moves * math.sqrt(made.numel() / value.numel()) if isinstance(value, Tensor) and moves else 0.0


def _scaled(name: str, args: Any, moved: Any, made: Tensor) -> Constant:
    (left, moves_left), (right, moves_right) = _pairs(args[:2], moved[:2])
    if (moves_left and moves_right) or (moves_right and name not in _PRODUCTS):
        return Constant(None, "a product of two things that change has no finite Lipschitz constant")
    value, moves, other = (left, moves_left, right) if moves_left else (right, moves_right, left)
    factor = torch.as_tensor(other, dtype=torch.float64).abs()
    largest = float(factor.max()) if name in _PRODUCTS else 1 / float(factor.min())
    return Constant(_spread(value, moves, made) * largest)


def _mapped(name: str, args: Any, moved: Any) -> Constant:
    (x, moves_x), (weight, moves_weight) = _pairs(args[:2], moved[:2])
    if (moves_x and moves_weight) or weight.ndim != 2 or (name != "linear" and not moves_x) or x.ndim < 2:
        return Constant(None, f"no constant is known for {name} of these arguments")
    return Constant(moves_x * matrix_norm(weight))


def _as_layer(name: str, args: Any, kwargs: Any) -> Constant:
    kind = _LAYERS[name]
    if name in ("softmax", "log_softmax"):
        dim = args[1] if len(args) > 1 else kwargs.get("dim", -1)
        return lipschitz_constant(kind(dim), args[0])
    known = list(inspect.signature(kind).parameters)
    # Behind the input a function takes what its layer takes, in the same order.
    chosen = dict(zip(known, args[1:], strict=False)) | {key: kwargs[key] for key in known if key in kwargs}
    return lipschitz_constant(kind(**chosen), args[0])
