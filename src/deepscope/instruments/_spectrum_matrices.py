"""Which matrices a tensor is made of."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from typing import Literal, get_args

from torch import Tensor

from deepscope.core import LeftOut, UsageError
from deepscope.instruments._spectrum_circulant import CirculantMatrices
from deepscope.subject import FLOAT8_DTYPES, Derived, LowRank, Role, Weight

#: How a convolution [out, in, *kernel] is read: a matrix [out, in] per kernel position, one matrix [out, in·kernel], or
#: the operator on a periodic grid.
Convolution = Literal["slices", "flattened", "circulant"]

#: Parts that are named one by one.
_LISTED = 6
_GRID = {1: 16, 2: 16, 3: 8}


def check_convolution(conv: str) -> None:
    """Raise a UsageError where a way to read convolutions is not known."""
    if conv not in get_args(Convolution):
        raise UsageError(
            "no such way to read a convolution", where=f"conv={conv!r}", todo=f"Give {_list(get_args(Convolution))}."
        )


def why_no_spectrum(weight: Weight) -> str:
    """Say why a tensor has no spectrum; empty where it has one."""
    if weight.layout.companion:
        return weight.layout.companion
    if weight.why_not_measured:
        return weight.why_not_measured
    if weight.layout.factor_of:
        return f"a factor of {weight.layout.factor_of}, which is measured"
    if len(weight.shape) < 2:
        return "a vector has no spectrum" if weight.shape else "a number has no spectrum"
    if weight.role is Role.BUFFER:
        return "a buffer is not a weight matrix"
    if weight.role in (Role.BIAS, Role.NORM):
        return f"a {'bias' if weight.role is Role.BIAS else 'normalisation'} does not map features to features"
    if len(weight.shape) > 2 and weight.role is not Role.CONVOLUTION and weight.count == max(weight.shape):
        return f"a vector in {len(weight.shape)} dimensions has no spectrum"
    if weight.layout.groups > 1 and weight.shape[1] == 1:
        return "a depthwise convolution has no matrix of two sides: each of its groups takes a single channel"
    return ""


def why_too_large(shape: tuple[int, int, int], max_side: int | None) -> str:
    """Say that matrices are beyond a budget; empty where they are not."""
    side = min(shape[1:])
    if max_side is not None and side > max_side:
        return f"its smaller side, {side:,}, is above the {max_side:,} of this budget; use a larger one"
    return ""


def matrices_of(
    weight: Weight, tensor: Tensor, conv: Convolution = "slices"
) -> Iterator[tuple[str, Tensor | CirculantMatrices]]:
    """Yield the name of each part of a tensor, empty where it is one whole, and its matrices [n_matrices, rows, cols].

    Parameters
    ----------
    weight, tensor
        Handle and values.
    conv
        How a convolution is read.
    """
    if weight.layout.parts:
        for part in weight.layout.parts:
            yield part.name, part.of(tensor)[None]
    elif not _is_kernel(weight):
        yield "", tensor.reshape(_whole_shape(weight, conv))
    else:
        groups = weight.layout.groups
        kernels = tensor.reshape(groups, weight.shape[0] // groups, *weight.shape[1:])
        if conv == "circulant":
            yield "", CirculantMatrices(kernels, circulant_grid(weight))
        elif conv == "flattened":
            yield "", kernels.flatten(2)
        else:
            # Contiguous per position, so that each product runs at full speed.
            yield "", kernels.flatten(3).permute(0, 3, 1, 2).flatten(0, 1).contiguous()


def matrix_shapes(weight: Weight, conv: Convolution = "slices") -> dict[str, tuple[int, int, int]]:
    """Return n_matrices, rows and cols of each part of a tensor, known without reading it."""
    if weight.layout.parts:
        return {part.name: (1, *part.shape) for part in weight.layout.parts}
    return {"": _whole_shape(weight, conv)}


def by_head(weight: Weight) -> Weight:
    """Return the handle of a tensor whose parts are single attention heads, where these are known."""
    heads = weight.layout.heads
    return replace(weight, layout=replace(weight.layout, parts=heads)) if heads else weight


def ledger_of_heads(weight: Weight) -> list[LeftOut]:
    """Say of a fused projection that its heads are not known."""
    if weight.layout.heads or "key" not in {part.name for part in weight.layout.parts}:
        return []
    return [LeftOut(f"{weight.name}[heads]", "measured by role alone: the number of its heads is not told")]


def ledger_of_parts(weight: Weight) -> list[LeftOut]:
    """Say of a tensor that stacks several matrices that these are measured in its stead, or why they are not."""
    if weight.layout.parts:
        names = [part.name for part in weight.layout.parts]
        listed = f"{len(names)}, {names[0]} to {names[-1]}" if len(names) > _LISTED else _and(names)
        return [LeftOut(weight.name, f"measured in parts: {listed}")]
    if weight.layout.why_whole:
        return [LeftOut(f"{weight.name}[parts]", f"measured whole: {weight.layout.why_whole}")]
    return []


def ledger_of_scale(weight: Weight) -> list[LeftOut]:
    """Say of 8-bit floats that no scale is beside them."""
    if weight.dtype not in FLOAT8_DTYPES or weight.quantised is not None:
        return []
    return [LeftOut(f"{weight.name}[scale]", f"measured as stored, in {weight.dtype}: no scale is beside it")]


def made_of(weight: Weight) -> Iterator[tuple[Weight, Derived]]:
    """Yield the matrices that the network makes of a tensor and others, each with a handle that describes it."""
    for derived in weight.layout.derived:
        handle = derived.handle(weight)
        # The factors of a convolution's update make up a matrix, not a kernel.
        yield (replace(handle, role=Role.LINEAR) if isinstance(derived, LowRank) else handle), derived


def read_as(weight: Weight, conv: Convolution, derived: Derived | None = None) -> str:
    """Say how a convolution is read, with a circulant operator's grid, or that a low-rank update is; else empty."""
    if isinstance(derived, LowRank):
        return "low-rank core"
    if not _is_kernel(weight):
        return ""
    return f"circulant {'×'.join(map(str, circulant_grid(weight)))}" if conv == "circulant" else conv


def circulant_grid(weight: Weight) -> tuple[int, ...]:
    """Return the periodic grid of a convolution: 16 points a dimension (8 in three), or its kernel's size if larger."""
    kernel = weight.shape[2:]
    return tuple(max(size, _GRID.get(len(kernel), 8)) for size in kernel)


def _whole_shape(weight: Weight, conv: Convolution) -> tuple[int, int, int]:
    shape = weight.shape
    if not _is_kernel(weight):
        rows, cols = shape[:2] if weight.role is Role.CONVOLUTION else shape[-2:]
        return weight.count // (rows * cols), rows, cols
    groups = weight.layout.groups
    rows, cols = shape[0] // groups, shape[1]
    if conv == "flattened":
        return groups, rows, cols * math.prod(shape[2:])
    return groups * math.prod(circulant_grid(weight) if conv == "circulant" else shape[2:]), rows, cols


def _is_kernel(weight: Weight) -> bool:
    return len(weight.shape) > 2 and weight.role is Role.CONVOLUTION


def _and(names: list[str]) -> str:
    return f"{', '.join(names[:-1])} and {names[-1]}" if len(names) > 1 else names[0]


def _list(names: tuple[str, ...]) -> str:
    return f"{', '.join(map(repr, names[:-1]))} or {names[-1]!r}"
