"""Checkpoints: the weights that a file, its shards, or a model's folder hold."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from deepscope.core import LeftOut, TargetError
from deepscope.subject._checkpoint_file import Contents, FileVersion, damaged, look, shown
from deepscope.subject._checkpoint_folder import checkpoint_in
from deepscope.subject._checkpoint_numpy import read_npz
from deepscope.subject._checkpoint_safetensors import header_length, read_safetensors
from deepscope.subject._checkpoint_shards import read_json, read_sharded
from deepscope.subject._checkpoint_torch import LEGACY_MAGIC, read_torch_legacy, read_torch_zip
from deepscope.subject._checkpoint_zip import members_of
from deepscope.subject._laid_out import laid_out
from deepscope.subject._weight import Weight

_READABLE = "Give a .safetensors, .pt, .pth, .bin, .ckpt or .npz checkpoint, an index of shards, or a model's folder."
#: What else is found under a checkpoint's name, by its first bytes.
_FOREIGN = (
    (b"version https://git-lfs", "a Git LFS pointer, not the checkpoint itself", "Fetch the file with git lfs pull."),
    (b"\x93NUMPY", "one NumPy array without a name", "Save it by name with numpy.savez."),
    (b"\x89HDF", "an HDF5 file", _READABLE),
    (b"GGUF", "a GGUF file", _READABLE),
    (b"<!DOCTYPE", "a web page", "Download the checkpoint itself."),
    (b"<html", "a web page", "Download the checkpoint itself."),
    (b"\x1f\x8b", "a gzip archive", "Unpack it first."),
)


@dataclass(frozen=True)
class Checkpoint:
    """What a checkpoint holds, known without reading its values.

    Attributes
    ----------
    name
        Name of the file or folder.
    path
        What was given: a file, an index, or a folder.
    format
        ``"safetensors"``, ``"torch"``, ``"npz"``, with ``"sharded "`` before it, or ``", from KEY"`` after it where the
        weights are nested.
    weights
        Handles, in the order of the file.
    left_out
        What the files hold beside weights, and tied names, each with its reason.
    config
        ``config.json`` or ``adapter_config.json`` beside the weights; empty where there is none.
    """

    name: str
    path: Path
    format: str
    weights: tuple[Weight, ...]
    left_out: tuple[LeftOut, ...] = ()
    config: Mapping[str, Any] = field(default_factory=dict)


def read_checkpoint(path: str | os.PathLike[str]) -> Checkpoint:
    """List the weights of a checkpoint; their values are read when asked for.

    The content decides what format a file has, not its name. Nothing that a pickle would run is run.

    Parameters
    ----------
    path
        A file (safetensors, ``torch.save``, ``.npz``), an index of shards (``*.index.json``), or a model's folder.

    Raises
    ------
    TargetError
        It cannot be read: missing, damaged, of another format, without tensors, or in need of unpickled code.

    Notes
    -----
    Cost: the headers of the files. The exception is torch's older pickle format, which is loaded whole.
    """
    given = Path(path)
    source = _source(given)
    file = look(source)
    is_index = source.name.endswith(".json")
    contents = read_sharded(file, _read_file) if is_index else _read_file(file)
    if not contents.weights:
        raise TargetError("the checkpoint holds no tensors", where=shown(given), todo=_READABLE)
    config, broken = _config(source)
    name = given.resolve().name if given.name in ("", "..") else given.name
    weights = laid_out(contents.weights, config)
    return Checkpoint(name, given, contents.format, weights, (*contents.left_out, *broken), config)


def _source(given: Path) -> Path:
    try:
        return checkpoint_in(given) if given.is_dir() else given
    except (OSError, ValueError):
        return given


def _read_file(file: FileVersion) -> Contents:
    with file.open() as stream:
        beginning = stream.read(512)
    if beginning.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        return _read_zip(file)
    if beginning.startswith(LEGACY_MAGIC):
        return read_torch_legacy(file)
    if header_length(file, beginning) is not None or _is_named_safetensors(file, beginning):
        return read_safetensors(file)
    raise _unknown(file, beginning)


def _read_zip(file: FileVersion) -> Contents:
    with file.open() as stream:
        members = members_of(file, stream)
    if any(each.filename.count("/") == 1 and each.filename.endswith("/data.pkl") for each in members):
        return read_torch_zip(file, members)
    if any(each.filename.endswith(".npy") for each in members):
        return read_npz(file)
    what = "a zip archive that neither torch.save nor numpy.savez wrote" if members else "an empty archive"
    raise TargetError(f"{what}; it holds no tensors", where=shown(file.path), todo=_READABLE)


def _is_named_safetensors(file: FileVersion, beginning: bytes) -> bool:
    foreign = any(beginning.startswith(magic) for magic, _, _ in _FOREIGN) or beginning[:1] == b"\x80"
    return file.path.endswith(".safetensors") and not foreign and not _is_text(beginning)


def _unknown(file: FileVersion, beginning: bytes) -> TargetError:
    for magic, what, todo in _FOREIGN:
        if beginning.startswith(magic):
            return TargetError(f"the file is {what}", where=shown(file.path), todo=todo)
    if beginning[:1] == b"\x80" and beginning[1:2] <= b"\x05":
        return TargetError(
            "the file is a plain pickle, which can run any code when it is loaded; it was not loaded",
            where=shown(file.path),
            todo="Load it where you trust it, and save model.state_dict() with safetensors or torch.save.",
        )
    if file.path.endswith((".pt", ".pth", ".ckpt", ".bin")) and LEGACY_MAGIC.startswith(beginning):
        return damaged("the torch file is truncated", file.path)
    what = "a text file" if _is_text(beginning) else "in no format that is known"
    return TargetError(f"the file is {what}, not a checkpoint", where=shown(file.path), todo=_READABLE)


def _is_text(beginning: bytes) -> bool:
    # The last character may be cut in two.
    text = beginning.decode(errors="ignore")
    return len(text.encode()) >= len(beginning) - 3 and all(each.isprintable() or each in "\r\n\t\f" for each in text)


def _config(source: Path) -> tuple[Mapping[str, Any], tuple[LeftOut, ...]]:
    names = ["config.json", "adapter_config.json"]
    if source.name.startswith("adapter_"):
        names.reverse()
    for name in names:
        beside = source.parent / name
        if not os.path.lexists(beside):
            continue
        try:
            content = read_json(look(beside))
        except TargetError as error:
            return {}, (LeftOut(name, error.what),)
        if isinstance(content, dict):
            return content, ()
        return {}, (LeftOut(name, "holds no JSON object"),)
    return {}, ()
