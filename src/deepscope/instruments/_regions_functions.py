"""Functions that are affine in pieces: where one piece ends and another begins."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from deepscope.instruments._regions_cells import Integers


@dataclass(frozen=True, eq=False)
class Kinks:
    """Where a call of a function has kinks.

    Attributes
    ----------
    function
        Its name.
    units
        How many values it computes for a row.
    values
        [rows, …]: it has kinks where one of these is 0, or, with ``windows``, where the largest of some changes.
    windows
        [units, m], which of a row's values each unit is the largest of; −1 where there are fewer. None otherwise.
    """

    function: str
    units: int
    values: Tensor = field(repr=False)
    windows: Integers | None = field(default=None, repr=False)

    @property
    def each(self) -> int:
        """At how many hyperplanes of its argument's space a unit may have a kink."""
        m = self.values.shape[1] if self.windows is None else self.windows.shape[1]
        return m if self.windows is None else m * (m - 1) // 2


def kinks_of(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], rows: int) -> Kinks | None:
    """Return the kinks of a call of a torch function, or None where it has none that are known.

    Rectifiers (ReLU, leaky, parametric, randomised, thresholded, ReLU6), ``hardtanh``, ``hardsigmoid``,
    ``softshrink``, ``abs``, ``sign``, ``clamp``, comparisons, ``maximum`` and ``minimum`` of two tensors, the maximum
    or minimum over dimensions, and max pooling of all kinds; as modules, functions and methods.

    Parameters
    ----------
    func, args, kwargs
        The call, as a ``TorchFunctionMode`` sees it.
    rows
        The length of the batch, along its tensors' first dimension.
    """
    # torch.relu, torch.relu_, Tensor.relu_ and F.relu bear one name.
    name = getattr(func, "__name__", "").strip("_")
    given = [*args, *kwargs.values()]
    if not given or not isinstance(args[0] if args else kwargs.get("input"), Tensor):
        return None
    x: Tensor = args[0] if args else kwargs["input"]
    if name in _THRESHOLDS:
        thresholds = _THRESHOLDS[name](args[1:], kwargs)
        values = [x - each for each in thresholds]
        return _signs(name, values, rows) if values else None
    if name in _COMPARISONS:
        other = args[1] if len(args) > 1 else kwargs.get("other")
        if name in ("max", "min") and not isinstance(other, Tensor):
            return _reduced(name, x, args[1:], kwargs)
        return _signs(name, [x - other], rows) if isinstance(other, (Tensor, int, float)) else None
    if name in ("amax", "amin"):
        return _reduced(name, x, args[1:], kwargs)
    if "max_pool" in name and "unpool" not in name:
        return _pooled(name, func, x, args[1:], kwargs)
    return None


def _signs(name: str, values: Sequence[Tensor], rows: int) -> Kinks | None:
    units, rest = divmod(values[0].numel(), rows)
    if values[0].dtype == torch.bool or not values[0].ndim or rest or not units:
        return None
    by_row = [_by_row(each, rows) for each in values]
    # What is large enough to matter has one threshold: no copy is made of it.
    return Kinks(name, units, by_row[0][:, None] if len(by_row) == 1 else torch.stack(by_row, dim=1))


def _by_row(values: Tensor, rows: int) -> Tensor:
    """Return values as [rows, …]; their rows come first, or each in several, or else along another dimension."""
    if values.shape[0] != rows and rows in values.shape:
        values = values.movedim(values.shape.index(rows), 0)
    return values.reshape(rows, -1)


def _argument(rest: tuple[Any, ...], kwargs: Mapping[str, Any], index: int, name: str, default: Any = None) -> Any:
    return rest[index] if len(rest) > index else kwargs.get(name, default)


def _at(*thresholds: float) -> Callable[[tuple[Any, ...], Mapping[str, Any]], list[Any]]:
    return lambda rest, kwargs: list(thresholds)


def _from_call(*names: tuple[str, Any]) -> Callable[[tuple[Any, ...], Mapping[str, Any]], list[Any]]:
    """Thresholds that a call itself names, with what they are if it does not."""

    def thresholds(rest: tuple[Any, ...], kwargs: Mapping[str, Any]) -> list[Any]:
        found = [_argument(rest, kwargs, index, name, default) for index, (name, default) in enumerate(names)]
        return [each for each in found if each is not None]

    return thresholds


def _both_sides(rest: tuple[Any, ...], kwargs: Mapping[str, Any]) -> list[Any]:
    width = _argument(rest, kwargs, 0, "lambd", 0.5)
    return [-width, width]


_CLAMP = _from_call(("min", None), ("max", None))
_THRESHOLDS = {
    **dict.fromkeys(("relu", "leaky_relu", "prelu", "rrelu", "abs", "absolute", "sign", "sgn"), _at(0.0)),
    "relu6": _at(0.0, 6.0),
    "hardsigmoid": _at(-3.0, 3.0),
    "hardtanh": _from_call(("min_val", -1.0), ("max_val", 1.0)),
    "threshold": _from_call(("threshold", None)),
    "softshrink": _both_sides,
    "clamp": _CLAMP,
    "clip": _CLAMP,
    "clamp_min": _from_call(("min", None)),
    "clamp_max": _from_call(("max", None)),
}
_COMPARISONS = {
    *("gt", "ge", "lt", "le", "greater", "greater_equal", "less", "less_equal"),
    *("maximum", "minimum", "fmax", "fmin", "max", "min"),
}


def _reduced(name: str, x: Tensor, rest: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Kinks | None:
    dims = _argument(rest, kwargs, 0, "dim")
    dims = [dims] if isinstance(dims, int) else dims
    if dims is None or not x.ndim:
        return None
    over = {dim % x.ndim for dim in dims}
    # Over the samples themselves: what this is no row can tell.
    if 0 in over:
        return None
    axes = [np.arange(size)[None, :] if dim in over else np.arange(size)[:, None] for dim, size in _features(x)]
    return _largest(name, -x if name in ("min", "amin") else x, axes)


def _pooled(name: str, func: Any, x: Tensor, rest: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Kinks | None:
    pooled = func(x[:1], *rest, **{key: value for key, value in kwargs.items() if key != "input"})
    pooled = pooled[0] if isinstance(pooled, tuple) else pooled
    spatial = int(next(each for each in name if each.isdigit()))
    sizes, outputs = list(x.shape[x.ndim - spatial :]), list(pooled.shape[pooled.ndim - spatial :])
    axes = [np.arange(size)[:, None] for size in x.shape[1 : x.ndim - spatial]]
    if "adaptive" in name:
        axes += [_adaptive(size, out) for size, out in zip(sizes, outputs, strict=True)]
        return _as_computed(_largest(name, x, axes), pooled)
    kernel = _argument(rest, kwargs, 0, "kernel_size")
    stride = _argument(rest, kwargs, 1, "stride") or kernel
    padding, dilation = _argument(rest, kwargs, 2, "padding", 0), _argument(rest, kwargs, 3, "dilation", 1)
    for axis, (size, out) in enumerate(zip(sizes, outputs, strict=True)):
        k, step, pad, apart = (_of_axis(each, axis) for each in (kernel, stride, padding, dilation))
        places = np.arange(out)[:, None] * step - pad + np.arange(k)[None, :] * apart
        axes.append(np.where((places >= 0) & (places < size), places, -1))
    return _as_computed(_largest(name, x, axes), pooled)


def _as_computed(kinks: Kinks, pooled: Tensor) -> Kinks | None:
    """Return the kinks if the maxima over their windows are what the function has for the first row, else None."""
    assert kinks.windows is not None
    values = kinks.values[0].cpu().numpy()
    largest = np.where(kinks.windows >= 0, values[kinks.windows], -np.inf).max(axis=1)
    return kinks if np.array_equal(largest, pooled.flatten().cpu().numpy()) else None


def _adaptive(size: int, out: int) -> Integers:
    start, end = np.arange(out) * size // out, -(-(np.arange(1, out + 1) * size) // out)
    places: Integers = start[:, None] + np.arange((end - start).max())[None, :]
    return np.where(places < end[:, None], places, -1)


def _of_axis(value: int | Sequence[int], axis: int) -> int:
    return value if isinstance(value, int) else value[axis if len(value) > 1 else 0]


def _features(x: Tensor) -> list[tuple[int, int]]:
    return list(enumerate(x.shape))[1:]


def _largest(name: str, x: Tensor, axes: Sequence[Integers]) -> Kinks:
    """Combine each axis's windows, [out, m], to those of a row's values."""
    windows: Integers = np.zeros((1, 1), dtype=np.int64)
    valid: NDArray[np.bool_] = np.ones((1, 1), dtype=bool)
    for axis, (_, size) in zip(axes, _features(x), strict=True):
        both = windows[:, None, :, None] * size + axis[None, :, None, :]
        there = valid[:, None, :, None] & (axis >= 0)[None, :, None, :]
        shape = (len(windows) * len(axis), windows.shape[1] * axis.shape[1])
        windows, valid = both.reshape(shape), there.reshape(shape)
    return Kinks(name, len(windows), x.flatten(1), np.where(valid, windows, -1))
