"""Weights of a safetensors file.

Format: 8 bytes with the header's length (little-endian), the header as JSON, then the tensors' bytes without gaps.
https://huggingface.co/docs/safetensors
"""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass
from typing import Any, TypeGuard

from torch import Tensor

from deepscope.core import LeftOut, TargetError
from deepscope.subject._checkpoint_file import (
    MAX_JSON_BYTES,
    Contents,
    FileVersion,
    check_name,
    damaged,
    quoted,
    read_strided,
    short_line,
    shown,
)
from deepscope.subject._role import role_of
from deepscope.subject._weight import Weight, torch_dtype

_DTYPES = {
    "F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16",
    "F8_E4M3": "float8_e4m3fn", "F8_E5M2": "float8_e5m2", "F8_E4M3FNUZ": "float8_e4m3fnuz",
    "F8_E5M2FNUZ": "float8_e5m2fnuz", "F8_E8M0": "float8_e8m0fnu",
    "I64": "int64", "I32": "int32", "I16": "int16", "I8": "int8",
    "U64": "uint64", "U32": "uint32", "U16": "uint16", "U8": "uint8", "BOOL": "bool", "C64": "complex64",
}  # fmt: skip
_LARGEST = 2**63 - 1


@dataclass(frozen=True, kw_only=True)
class SafetensorsWeight(Weight):
    """A tensor of a safetensors file, found by the byte where it begins."""

    file: FileVersion
    offset: int

    def read(self) -> Tensor:
        """Return the values."""
        return read_strided(self.file, self.offset, self.dtype, self.shape)


def header_length(file: FileVersion, beginning: bytes) -> int | None:
    """Return the length of the header that a file's first bytes claim; None where they do not begin such a file."""
    if len(beginning) < 9 or beginning[8:9] != b"{":
        return None
    length = int.from_bytes(beginning[:8], "little")
    return length if length <= file.size - 8 else None


def read_safetensors(file: FileVersion) -> Contents:
    """List the weights of a safetensors file; only its header is read.

    Raises
    ------
    TargetError
        The header or the offsets in it are not what the format says, or the file holds no tensor.
    """
    header, start = _header(file)
    weights, left_out, spans = [], [], []
    for key, entry in header.items():
        if key == "__metadata__":
            continue
        name = check_name(key, file.path)
        kind, shape, begin, end = _entry(name, entry, file)
        spans.append((begin, end))
        dtype = _DTYPES.get(kind)
        if dtype is None:
            left_out.append(LeftOut(name, f"its type {quoted(kind)} is not known"))
            continue
        _check_size(name, torch_dtype(dtype).itemsize, shape, end - begin, file)
        role = role_of(name, shape)
        weights.append(
            SafetensorsWeight(name=name, shape=shape, dtype=dtype, role=role, file=file, offset=start + begin)
        )
    _check_spans(spans, file.size - start, file)
    weights.sort(key=_natural)
    return Contents("safetensors", tuple(weights), tuple(left_out))


def _natural(weight: Weight) -> list[tuple[int, str]]:
    """Sort layer 2 before layer 10: the format's writers sort by name and lose the model's own order."""
    parts = re.split(r"0*([0-9]+)", weight.name)
    return [(len(part) if index % 2 else -1, part) for index, part in enumerate(parts)]


def _header(file: FileVersion) -> tuple[dict[str, Any], int]:
    with file.open() as stream:
        length = int.from_bytes(stream.read(8), "little")
        if file.size < 8 or length > file.size - 8:
            raise damaged(
                f"the safetensors file is truncated or damaged: it claims a header of {length} bytes, "
                f"and the file has {file.size}",
                file.path,
            )
        if length > MAX_JSON_BYTES:
            raise damaged(f"the safetensors header is too large ({length} bytes)", file.path)
        raw = stream.read(length)
    try:
        header = json.loads(raw.decode(), object_pairs_hook=_no_duplicates)
    except (ValueError, RecursionError) as error:
        raise damaged(f"the safetensors header is not valid JSON ({short_line(error)})", file.path) from None
    if not isinstance(header, dict):
        raise damaged("the safetensors header is not a JSON object", file.path)
    return header, 8 + length


def _no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"{quoted(next(name for name in names if names.count(name) > 1))} occurs twice")
    return result


def _entry(name: str, entry: Any, file: FileVersion) -> tuple[str, tuple[int, ...], int, int]:
    fields = entry if isinstance(entry, dict) else {}
    kind, shape, offsets = fields.get("dtype"), fields.get("shape"), fields.get("data_offsets")
    if not (isinstance(kind, str) and _naturals(shape) and _naturals(offsets) and len(offsets) == 2):
        raise damaged(f"the safetensors header does not describe tensor {quoted(name)}", file.path)
    return kind, tuple(shape), offsets[0], offsets[1]


def _naturals(value: Any) -> TypeGuard[list[int]]:
    return isinstance(value, list) and all(type(each) is int and 0 <= each <= _LARGEST for each in value)


def _check_size(name: str, itemsize: int, shape: tuple[int, ...], held: int, file: FileVersion) -> None:
    if math.prod(size for size in shape if size) > _LARGEST:
        raise damaged(f"tensor {quoted(name)} claims a shape that no tensor can have", file.path)
    if math.prod(shape) * itemsize != held:
        claimed = math.prod(shape) * itemsize
        raise damaged(f"tensor {quoted(name)} claims {claimed} bytes by its shape and {held} by its place", file.path)


def _check_spans(spans: list[tuple[int, int]], available: int, file: FileVersion) -> None:
    place = 0
    for begin, end in sorted(spans):
        if begin != place or end < begin:
            raise damaged("tensors in the safetensors file overlap or leave gaps", file.path)
        place = end
    if place > available:
        raise TargetError(
            f"the safetensors file is truncated: {place} bytes of tensors are announced, {available} are there",
            where=shown(file.path),
            todo="Copy or download the checkpoint again.",
        )
    if place < available:
        raise damaged(f"{available - place} bytes at the end of the safetensors file belong to no tensor", file.path)
