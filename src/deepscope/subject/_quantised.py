"""Which tensors are quantised, and by which tensors beside them that is undone.

Two conventions are known. Beside 8-bit values X stands ``X_scale`` or ``X_scale_inv``, either of which is multiplied
with them, and ``X_zero_point`` where they are not symmetric: so in compressed-tensors
(https://huggingface.co/docs/transformers/quantization/compressed_tensors), and in DeepSeek-V3 with a scale for each
block of 128 × 128 (``deepseekai2024technical``;
https://huggingface.co/deepseek-ai/DeepSeek-V3/blob/main/README_WEIGHTS.md). Or the layer has ``SCB``, as in
bitsandbytes: the largest magnitude of each row, for which 127 stands (``dettmers2022llm``).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from deepscope.subject._dequantised import Dequantised
from deepscope.subject._layout import Layout
from deepscope.subject._weight import FLOAT8_DTYPES, MEASURED_DTYPES, Role, Weight

_SCALES = ("_scale", "_scale_inv")
_SCALE_DTYPES = (*MEASURED_DTYPES, "float8_e8m0fnu")
_INTEGER_DTYPES = ("uint8", "int8", "int16", "int32", "int64")
#: The side of a block unless a config tells another, as DeepSeek-V3 and most others have it.
_BLOCK = 128
_UNSCALED = (
    "int8 is not a floating-point type that is measured, and no scale is beside it (…_scale, …_scale_inv or SCB)"
)


@dataclass(frozen=True, kw_only=True)
class _Packing:
    """A way to pack values of a few bits: what they are called, and what is beside them, the first in any case."""

    ending: str
    dtypes: tuple[str, ...]
    beside: tuple[str, ...]
    what: str


_PACKINGS = (
    _Packing(
        ending=".qweight",
        dtypes=("int32",),
        beside=(".scales", ".qzeros", ".g_idx"),
        what="integers of a few bits packed into int32, as GPTQ and AWQ store them",
    ),
    _Packing(
        ending="_packed",
        dtypes=("int32", "uint8"),
        beside=("_scale", "_shape", "_zero_point", "_g_idx", "_global_scale"),
        what="numbers of a few bits packed into integers, as compressed-tensors stores them",
    ),
    _Packing(
        ending=".weight",
        dtypes=("uint8",),
        beside=(
            *(f".weight.{each}" for each in ("absmax", "quant_map", "nested_absmax", "nested_quant_map")),
            *(f".weight.quant_state.bitsandbytes__{kind}" for kind in ("nf4", "fp4")),
        ),
        what="4-bit numbers packed two to a byte, as bitsandbytes stores them",
    ),
    _Packing(
        ending=".weight",
        dtypes=("uint8",),
        beside=(".weight_scale", ".weight_scale_2"),
        what="4-bit floats packed two to a byte (NVFP4)",
    ),
    _Packing(
        ending="_blocks", dtypes=("uint8",), beside=("_scales",), what="4-bit floats packed two to a byte (MXFP4)"
    ),
)


def dequantised(weights: Sequence[Weight], config: Mapping[str, Any]) -> tuple[tuple[Weight, ...], dict[str, Layout]]:
    """Return the handles, those of quantised weights replaced, and what the tensors beside them are, by name.

    A weight is dequantised where a scale is beside it and its shape says which values share one: all, those of a row
    ([out] or [out, 1]), or those of a block. Where it does not, or values are packed, the handle says so instead.
    Float8 values without a scale stay as they are.

    Parameters
    ----------
    weights
        All handles of a model or checkpoint.
    config
        The model's; its ``quantization_config`` may tell ``weight_block_size``.
    """
    by_name = {weight.name: weight for weight in weights}
    found: dict[str, Weight] = {}
    beside: dict[str, Layout] = {}
    for weight in weights:
        if weight.role is Role.BUFFER:
            continue
        packing = _packing_of(weight, by_name)
        if packing is not None:
            found[weight.name] = replace(weight, why_encoded=packing.what)
            beside |= _companions(weight, packing, by_name)
        elif len(weight.shape) > 1 and weight.dtype in ("int8", *FLOAT8_DTYPES):
            made, companions = _scaled(weight, by_name, config)
            found[weight.name] = made
            beside |= companions
    buffers = {name: replace(by_name[name], role=Role.BUFFER) for name in beside}
    return tuple({**by_name, **found, **buffers}[weight.name] for weight in weights), beside


def _packing_of(weight: Weight, by_name: Mapping[str, Weight]) -> _Packing | None:
    fitting = (each for each in _PACKINGS if weight.dtype in each.dtypes and weight.name.endswith(each.ending))
    return next((each for each in fitting if f"{_stem(weight, each)}{each.beside[0]}" in by_name), None)


def _companions(weight: Weight, packing: _Packing, by_name: Mapping[str, Weight]) -> dict[str, Layout]:
    names = (f"{_stem(weight, packing)}{ending}" for ending in packing.beside)
    says = Layout(companion=f"belongs to {weight.name}, whose values are packed")
    return {name: says for name in names if name in by_name}


def _stem(weight: Weight, packing: _Packing) -> str:
    return weight.name.removesuffix(packing.ending)


def _scaled(
    weight: Weight, by_name: Mapping[str, Weight], config: Mapping[str, Any]
) -> tuple[Weight, dict[str, Layout]]:
    """Return the weight times its scale, or why it cannot be had; and what the tensors beside it are."""
    scales = [by_name[name] for name in _named(weight, _SCALES) if name in by_name]
    largest = by_name.get(f"{weight.name.removesuffix('weight')}SCB") if weight.name.endswith("weight") else None
    if weight.dtype == "int8" and largest is not None and not scales:
        return _of_bitsandbytes(weight, largest, by_name)
    if not scales:
        return (replace(weight, why_encoded=_UNSCALED) if weight.dtype == "int8" else weight), {}
    scale = scales[0]
    zero_point, order = (by_name.get(name) for name in _named(weight, ("_zero_point", "_g_idx")))
    block = _block(scale.shape, weight, config)
    fits = zero_point is None or (
        zero_point.shape == scale.shape and zero_point.dtype in (*_INTEGER_DTYPES, *MEASURED_DTYPES)
    )
    if len(scales) > 1 or order is not None or block is None or not fits or scale.dtype not in _SCALE_DTYPES:
        return _not_understood(weight, scale)
    share = _share(block, weight.shape)
    values = "(value − zero point)" if zero_point is not None else "value"
    beside = {scale.name: Layout(companion=f"the scale of {weight.name}, applied: {values} · scale, {share}")}
    if zero_point is not None:
        beside[zero_point.name] = Layout(companion=f"the zero point of {weight.name}, applied")
    return _made(weight, scale, block=block, zero_point=zero_point), beside


def _of_bitsandbytes(
    weight: Weight, largest: Weight, by_name: Mapping[str, Weight]
) -> tuple[Weight, dict[str, Layout]]:
    """Return int8 · SCB / 127 for a weight that is stored row by row."""
    told = by_name.get(f"{weight.name}_format")
    # A single number, and the only one that decides how all others are to be read. Of the formats, 0 is row by row.
    in_rows = told is None or (told.dtype in _INTEGER_DTYPES and told.count == 1 and int(told.read()) == 0)
    if not in_rows or len(weight.shape) != 2 or largest.shape != (weight.shape[0],) or largest.why_not_measured:
        return _not_understood(weight, largest)
    says = f"the scale of {weight.name}, applied: value · scale / 127, one a row"
    beside = {largest.name: Layout(companion=says)}
    if told is not None:
        beside[told.name] = Layout(companion=f"says that {weight.name} is stored row by row")
    return _made(weight, largest, block=(1, weight.shape[1]), divisor=127.0), beside


def _made(weight: Weight, scale: Weight, **how: Any) -> Dequantised:
    return Dequantised(
        name=weight.name, shape=weight.shape, dtype=weight.dtype, role=weight.role, tied=weight.tied,
        fan_in=weight.fan_in, quantised=weight, scale=scale, **how,
    )  # fmt: skip


def _not_understood(weight: Weight, scale: Weight) -> tuple[Weight, dict[str, Layout]]:
    reason = f"quantised, and how its scale {scale.name} ({scale.dtype}, {list(scale.shape)}) applies is not known"
    says = Layout(companion=f"the scale of {weight.name}, which cannot be applied")
    return replace(weight, why_encoded=reason), {scale.name: says}


def _named(weight: Weight, endings: Iterable[str]) -> list[str]:
    return [f"{weight.name}{ending}" for ending in endings]


def _block(scale: tuple[int, ...], weight: Weight, config: Mapping[str, Any]) -> tuple[int, ...] | None:
    """Return how many neighbours share a scale along each dimension; None where the shape does not tell for certain."""
    shape = weight.shape
    if math.prod(scale) == 1:
        return shape
    if len(scale) == 1:
        # Of a stack of experts a vector could be one for each of them or for each row.
        rows = scale == shape[:1] and (len(shape) == 2 or weight.role is Role.CONVOLUTION)
        return (1, *shape[1:]) if rows else None
    if len(scale) != len(shape):
        return None
    sides = [1] * (len(shape) - 2) + list(_told_block(config))
    block = []
    for count, size, side in zip(scale, shape, sides, strict=True):
        if count in (1, size):
            block.append(size if count == 1 else 1)
        elif count == -(-size // side):
            block.append(side)
        else:
            return None
    return tuple(block)


def _told_block(config: Mapping[str, Any]) -> tuple[int, int]:
    quantization = config.get("quantization_config")
    told = quantization.get("weight_block_size") if isinstance(quantization, Mapping) else None
    if isinstance(told, Sequence) and len(told) == 2 and all(type(each) is int and each > 0 for each in told):
        return told[0], told[1]
    return _BLOCK, _BLOCK


def _share(block: tuple[int, ...], shape: tuple[int, ...]) -> str:
    if block == shape:
        return "one for all"
    if block == (1, *shape[1:]):
        return "one a row"
    return f"one for each block of {'×'.join(map(str, block))}"
