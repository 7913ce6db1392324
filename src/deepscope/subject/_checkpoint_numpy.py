"""Weights of an ``.npz`` archive: a zip of ``.npy`` members, stored or deflated."""

from __future__ import annotations

import math
import warnings
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO, Any, BinaryIO, cast

import numpy as np
import torch
from torch import Tensor

from deepscope.core import LeftOut, TargetError
from deepscope.subject._checkpoint_file import Contents, FileVersion, check_name, damaged, quoted, short_line, shown
from deepscope.subject._checkpoint_zip import data_offset, members_of
from deepscope.subject._role import role_of
from deepscope.subject._weight import Weight

_DTYPES = frozenset(
    {"float16", "float32", "float64", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "bool",
     "complex64", "complex128"}
)  # fmt: skip
#: No deflated stream grows by more than 1032 times.
_MAX_INFLATION = 1032
#: NumPy's own limit.
_MAX_DIMENSIONS = 64
_BROKEN = (OSError, ValueError, EOFError, zlib.error, MemoryError)


@dataclass(frozen=True, kw_only=True)
class NumpyWeight(Weight):
    """An array of an ``.npz`` archive, found by the byte where its member begins."""

    file: FileVersion
    offset: int
    packed_bytes: int
    deflated: bool

    def read(self) -> Tensor:
        """Return the values, in the machine's byte order."""
        with self.file.open() as stream, _quietly():
            member = _Member(stream, self.offset, self.packed_bytes, self.deflated)
            try:
                array = np.lib.format.read_array(cast("IO[bytes]", member), allow_pickle=False)
            except _BROKEN as error:
                raise damaged(
                    f"array {quoted(self.name)} cannot be read ({short_line(error)})", self.file.path
                ) from None
        return torch.from_numpy(np.require(array, dtype=array.dtype.newbyteorder("="), requirements=["W"]))


@contextmanager
def _quietly() -> Iterator[None]:
    """Keep NumPy from warning of files that Python 2 wrote: they are read all the same."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


class _Member:
    """The bytes of one member of a zip archive, inflated while they are read."""

    def __init__(self, stream: BinaryIO, offset: int, packed_bytes: int, deflated: bool) -> None:
        stream.seek(offset)
        self._stream, self._left = stream, packed_bytes
        self._inflate = zlib.decompressobj(-zlib.MAX_WBITS) if deflated else None

    def read(self, count: int) -> bytes:
        if self._inflate is None:
            return self._raw(count)
        while not self._inflate.eof:
            packed = self._inflate.unconsumed_tail or self._raw(1 << 18)
            values = self._inflate.decompress(packed, count)
            if values or not packed:
                return values
        return b""

    def _raw(self, count: int) -> bytes:
        data = self._stream.read(min(count, self._left))
        self._left -= len(data)
        return data


def read_npz(file: FileVersion) -> Contents:
    """List the arrays of an ``.npz`` archive; only their headers are read.

    Raises
    ------
    TargetError
        The archive is damaged, or an array holds Python objects: those would need unpickled code.
    """
    weights: list[Weight] = []
    left_out: list[LeftOut] = []
    with file.open() as stream:
        for member in members_of(file, stream):
            name = check_name(member.filename.removesuffix(".npy"), file.path)
            if not member.filename.endswith(".npy"):
                left_out.append(LeftOut(name, "a member of the archive that is no array"))
                continue
            found = _weight(name, member, file, stream)
            if isinstance(found, LeftOut):
                left_out.append(found)
            else:
                weights.append(found)
    return Contents("npz", tuple(weights), tuple(left_out))


def _weight(name: str, info: zipfile.ZipInfo, file: FileVersion, stream: BinaryIO) -> NumpyWeight | LeftOut:
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        return LeftOut(name, "compressed by a method that NumPy does not write")
    deflated = info.compress_type == zipfile.ZIP_DEFLATED
    offset = data_offset(file, stream, info)
    member = _Member(stream, offset, info.compress_size, deflated)
    shape, dtype, header_bytes = _header(name, member, file)
    if dtype.hasobject:
        raise TargetError(
            f"array {quoted(name)} holds Python objects, which only unpickled code can rebuild; nothing was run",
            where=shown(file.path),
            todo="Load it where you trust it, and save the numeric arrays alone with numpy.savez.",
        )
    claimed = math.prod(shape) * dtype.itemsize
    if claimed + header_bytes != info.file_size or info.file_size > _MAX_INFLATION * info.compress_size:
        raise damaged(
            f"array {quoted(name)} claims {claimed} bytes, not what its {info.compress_size} in the archive give",
            file.path,
        )
    kind = dtype.newbyteorder("=").name
    if kind not in _DTYPES:
        return LeftOut(name, f"its type {kind} has no counterpart in torch")
    return NumpyWeight(
        name=name, shape=shape, dtype=kind, role=role_of(name, shape), file=file, offset=offset,
        packed_bytes=info.compress_size, deflated=deflated,
    )  # fmt: skip


def _header(name: str, member: _Member, file: FileVersion) -> tuple[tuple[int, ...], np.dtype[Any], int]:
    """Return shape, dtype and the header's length."""
    counted = _Counted(member)
    try:
        version = np.lib.format.read_magic(cast("IO[bytes]", counted))
        # Version 3 differs from 2 only in the encoding of field names.
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        with _quietly():
            shape, _, dtype = read(cast("Any", counted))
    # NumPy parses the header as Python text and lets many kinds of errors through.
    except Exception as error:
        raise damaged(f"array {quoted(name)} has a damaged header ({short_line(error)})", file.path) from None
    if len(shape) > _MAX_DIMENSIONS or not all(type(size) is int and 0 <= size < 2**63 for size in shape):
        raise damaged(f"array {quoted(name)} claims a shape that no array can have", file.path)
    return shape, dtype, counted.count


class _Counted:
    def __init__(self, member: _Member) -> None:
        self._member, self.count = member, 0

    def read(self, count: int) -> bytes:
        # A header's length comes from the file: never ask for more than a real header has.
        data = self._member.read(min(count, 1 << 20))
        self.count += len(data)
        return data
