"""Weights of a file that ``torch.save`` wrote.

A zip archive is described by ``torch.load`` without reading its values (memory-mapped, ``weights_only=True``); each
tensor is then read from its own place in the file. The older pickle format has no such places: it is loaded whole, once
per process. No code of a pickle is ever run.
"""

from __future__ import annotations

import pickle
import re
import sys
import warnings
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from deepscope.core import LeftOut, TargetError
from deepscope.subject._checkpoint_file import Contents, FileVersion, damaged, quoted, read_strided, short_line, shown
from deepscope.subject._checkpoint_nested import Chosen, choose_weights, follow
from deepscope.subject._checkpoint_zip import data_offset, members_of
from deepscope.subject._role import role_of
from deepscope.subject._weight import Weight, dtype_name

#: How every file in the pickle format of torch < 1.6 begins: the pickled number 0x1950a86a20f9469cfc6c.
LEGACY_MAGIC = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."
_NEEDED = re.compile(
    r"GLOBAL (\S+) was not an allowed global|Unsupported (?:global|class) (\S+)|reduce for unrecognized function (\S.*)"
)
_ADVICE = "Load it where you trust it, and save model.state_dict() with safetensors or torch.save."
Places = Mapping[int, int]


@dataclass(frozen=True, kw_only=True)
class TorchWeight(Weight):
    """A tensor of a file that ``torch.save`` wrote.

    Attributes
    ----------
    keys
        The keys that lead to it from the top of the checkpoint.
    offset
        The byte of the file where its first value stands; None where only loading the whole file finds it.
    stride
        Its strides in values.
    """

    file: FileVersion
    keys: tuple[Any, ...]
    offset: int | None
    stride: tuple[int, ...]

    def read(self) -> Tensor:
        """Return the values."""
        if self.offset is not None:
            return read_strided(self.file, self.offset, self.dtype, self.shape, self.stride)
        with self.file.open():
            return follow(_load_once(self.file), self.keys, self.file.path).detach()


def read_torch_zip(file: FileVersion, members: list[zipfile.ZipInfo]) -> Contents:
    """List the weights of a zip archive of ``torch.save``; no value is read.

    Raises
    ------
    TargetError
        The archive is damaged, holds a program (TorchScript), or needs code to be unpickled.
    """
    names = {member.filename.partition("/")[2] for member in members}
    if "constants.pkl" in names or any(name.startswith("code/") for name in names):
        raise TargetError(
            "a TorchScript archive holds a program, not only weights; nothing was run",
            where=shown(file.path),
            todo="Open it with torch.jit.load where you trust it, and save its state_dict() with torch.save.",
        )
    if any(member.compress_type != zipfile.ZIP_STORED for member in members):
        raise damaged("the torch archive was compressed, which torch does not read", file.path)
    storages: list[torch.UntypedStorage] = []
    mapped = _can_be_mapped(file, members)
    content = _load(file, storages, mapped=mapped)
    return _contents(file, content, _places(file, members, storages) if mapped else {}, "torch")


def read_torch_legacy(file: FileVersion) -> Contents:
    """List the weights of a file in torch's older pickle format, which has to be loaded whole for it."""
    return _contents(file, _load_once(file), {}, "torch, legacy")


def _contents(file: FileVersion, content: object, places: Places, label: str) -> Contents:
    chosen = choose_weights(content, file.path)
    weights, left_out = _weights(file, chosen, places)
    taken = ".".join(map(str, chosen.path))
    return Contents(f"{label}, from {taken}" if taken else label, weights, (*left_out, *chosen.left_out))


def _weights(file: FileVersion, chosen: Chosen, places: Places) -> tuple[tuple[Weight, ...], list[LeftOut]]:
    weights: dict[str, Weight] = {}
    first: dict[tuple[Any, ...], str] = {}
    left_out = []
    for name, keys, tensor in chosen.tensors:
        reason = "the name occurs twice" if name in weights else _why_unreadable(tensor, file)
        identity = _identity(tensor) if not reason else None
        if reason:
            left_out.append(LeftOut(name, reason))
        elif identity is not None and identity in first:
            original = weights[first[identity]]
            weights[original.name] = replace(original, tied=(*original.tied, name))
            left_out.append(LeftOut(name, f"tied: the very same tensor as {quoted(original.name)}"))
        else:
            weights[name] = _weight(file, name, keys, tensor, places)
            if identity is not None:
                first[identity] = name
    return tuple(weights.values()), left_out


def _weight(file: FileVersion, name: str, keys: tuple[Any, ...], tensor: Tensor, places: Places) -> TorchWeight:
    shape = tuple(tensor.shape)
    offset = None if tensor.numel() else 0
    plain = not tensor.is_quantized and not tensor.is_conj() and not tensor.is_neg()
    if plain and offset is None:
        start = places.get(tensor.untyped_storage().data_ptr())
        offset = None if start is None else start + int(tensor.storage_offset()) * tensor.itemsize
    stride = tensor.stride() if plain else ()
    return TorchWeight(
        name=name, shape=shape, dtype=dtype_name(tensor.dtype), role=role_of(name, shape), file=file, keys=keys,
        offset=offset, stride=stride,
    )  # fmt: skip


def _why_unreadable(tensor: Tensor, file: FileVersion) -> str:
    if tensor.is_meta:
        return "a meta tensor: it has a shape and no values"
    if tensor.layout != torch.strided:
        return f"a tensor with the layout {str(tensor.layout).removeprefix('torch.')}, not a dense one"
    if type(tensor) not in (Tensor, torch.nn.Parameter, torch.nn.Buffer):
        return f"a {type(tensor).__name__}, not a plain tensor"
    if tensor.numel() * tensor.itemsize > file.size:
        return "an expanded view that claims more values than the file holds"
    return ""


def _identity(tensor: Tensor) -> tuple[Any, ...] | None:
    if tensor.numel() == 0 or tensor.is_quantized:
        return None
    storage = tensor.untyped_storage().data_ptr()
    return (
        storage,
        tensor.storage_offset(),
        tuple(tensor.shape),
        tensor.stride(),
        tensor.dtype,
        tensor.is_conj(),
        tensor.is_neg(),
    )


def _places(file: FileVersion, members: list[zipfile.ZipInfo], storages: list[torch.UntypedStorage]) -> Places:
    """Return the byte of the file where each mapped storage begins, by its address.

    The file is mapped from its first byte on, so that addresses and places in the file differ by one constant; it is
    taken only where it leads each storage to a member of the archive of just its size.
    """
    with file.open() as stream:
        data = [each for each in members if "/data/" in each.filename and each.file_size]
        spans = sorted((data_offset(file, stream, each), each.file_size) for each in data)
    found = sorted({(each.data_ptr(), each.nbytes()) for each in storages if each.nbytes()})
    if not found or len(spans) != len(found):
        return {}
    base = found[0][0] - spans[0][0]
    if [(address - base, size) for address, size in found] != spans:
        raise damaged("the torch archive's tensors do not fit the data that it holds", file.path)
    return {address: address - base for address, _ in found}


def _can_be_mapped(file: FileVersion, members: list[zipfile.ZipInfo]) -> bool:
    # By its path torch would take a file of this name for safetensors, whatever is in it.
    if file.path.endswith(".safetensors"):
        return False
    order = next((each for each in members if each.filename.partition("/")[2] == "byteorder"), None)
    if order is None:
        return sys.byteorder == "little"
    with file.open() as stream:
        stream.seek(data_offset(file, stream, order))
        return stream.read(min(order.file_size, 16)).decode("ascii", "replace") == sys.byteorder


@lru_cache(maxsize=2)
def _load_once(file: FileVersion) -> Any:
    mapped = False
    with file.open() as stream:
        if zipfile.is_zipfile(stream):
            mapped = _can_be_mapped(file, members_of(file, stream))
    return _load(file, [], mapped=mapped)


def _load(file: FileVersion, storages: list[torch.UntypedStorage], *, mapped: bool) -> Any:
    """Load a file without running code; every storage in it is appended to the list."""

    def on_cpu(storage: Any, _location: str) -> Any:
        storages.append(storage)
        return storage

    with file.open() as stream, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return torch.load(file.path if mapped else stream, map_location=on_cpu, mmap=mapped, weights_only=True)
        except pickle.UnpicklingError as error:
            raise _refusal(file, error) from None
        # torch lets many kinds of errors through for a file that is damaged.
        except Exception as error:
            raise damaged(f"the torch file is truncated or damaged ({short_line(error)})", file.path) from None


def _refusal(file: FileVersion, error: pickle.UnpicklingError) -> TargetError:
    match = _NEEDED.search(str(error))
    if match is None:
        detail = short_line(Exception(str(error).rpartition("WeightsUnpickler error:")[2].strip()))
        return TargetError(
            f"the file is damaged, or needs pickled code, which is never run ({detail})",
            where=shown(file.path),
            todo=_ADVICE,
        )
    needed = next(group for group in match.groups() if group)
    return TargetError(
        f"the file can be read only by running pickled code, which is never done: it needs {quoted(needed)}",
        where=shown(file.path),
        todo=_ADVICE,
    )
