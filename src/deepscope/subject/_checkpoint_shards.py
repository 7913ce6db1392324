"""Checkpoints in several files, and the index that says what is where."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from deepscope.core import LeftOut, TargetError
from deepscope.subject._checkpoint_file import (
    MAX_JSON_BYTES,
    Contents,
    FileVersion,
    check_name,
    damaged,
    look,
    quoted,
    short_line,
    shown,
)
from deepscope.subject._weight import Weight

#: A checkpoint converted to another precision often keeps the size that its first index announced.
_DTYPE_FACTORS = (1, 2, 4, 0.5, 0.25)


def read_json(file: FileVersion) -> Any:
    """Return what a JSON file holds.

    Raises
    ------
    TargetError
        It is too large, not UTF-8, or not JSON.
    """
    if file.size > MAX_JSON_BYTES:
        raise damaged(f"the JSON file is too large ({file.size} bytes)", file.path)
    with file.open() as stream:
        raw = stream.read()
    try:
        return json.loads(raw.decode("utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise damaged(f"the file is not valid JSON ({short_line(error)})", file.path) from None


def read_sharded(index: FileVersion, read_file: Callable[[FileVersion], Contents]) -> Contents:
    """List the weights of the shards that an index names, shard by shard, each in its file's order.

    Raises
    ------
    TargetError
        The index is not one, names a shard or a tensor that is not there, or announces another size than the shards
        have.
    """
    content = read_json(index)
    places = _weight_map(content, index)
    folder = Path(index.path).parent
    shards = {name: read_file(_shard(folder, name, index)) for name in sorted(set(places.values()))}
    known = _by_name(shards, index)
    for name, shard in places.items():
        found = known[name].get(shard) if name in known else None
        if found is None:
            raise TargetError(
                f"the index says that shard {quoted(shard)} holds tensor {quoted(name)}, and it does not",
                where=shown(index.path),
                todo="Copy or download the shards and their index again, all of the same version.",
            )
    weights = [each for shard, held in shards.items() for each in held.weights if places.get(each.name) == shard]
    _check_total_size(content, weights, shards, index)
    kinds = "/".join(sorted({each.format for each in shards.values()}))
    return Contents(f"sharded {kinds}", tuple(weights), tuple(_left_out(shards, places)))


def _weight_map(content: Any, index: FileVersion) -> Mapping[str, str]:
    places = content.get("weight_map") if isinstance(content, dict) else None
    if not isinstance(places, dict) or not places:
        raise TargetError(
            "the index has no weight_map, which says what tensor is in what shard",
            where=shown(index.path),
            todo="Give a checkpoint, its index (*.index.json), or its folder.",
        )
    for name, shard in places.items():
        check_name(name, index.path)
        if not isinstance(shard, str) or not shard or _escapes(shard):
            raise TargetError(
                f"the index leads tensor {quoted(name)} out of its own folder: {quoted(shard)}",
                where=shown(index.path),
                todo="Use an index whose shards stand beside it.",
            )
    return places


def _escapes(shard: str) -> bool:
    parts = re.split(r"[/\\]", shard)
    return ".." in parts or parts[0] == "" or ":" in parts[0] or "\0" in shard


def _shard(folder: Path, name: str, index: FileVersion) -> FileVersion:
    path = folder / name
    if not path.exists():
        raise TargetError(
            f"the index names shard {quoted(name)}, which is missing",
            where=shown(index.path),
            todo="Copy or download the missing shard.",
        )
    return look(path)


def _by_name(shards: Mapping[str, Contents], index: FileVersion) -> dict[str, dict[str, Weight | LeftOut]]:
    """Return name → shard → tensor, or what the shard's ledger says of it."""
    known: dict[str, dict[str, Weight | LeftOut]] = {}
    for shard, contents in shards.items():
        for entry in contents.left_out:
            known.setdefault(entry.name, {})[shard] = entry
        for weight in contents.weights:
            known.setdefault(weight.name, {})[shard] = weight
    for name, copies in known.items():
        shapes = {each.shape for each in copies.values() if isinstance(each, Weight)}
        if len(shapes) > 1:
            raise damaged(f"tensor {quoted(name)} has different shapes in the shards {sorted(copies)}", index.path)
    return known


def _left_out(shards: Mapping[str, Contents], places: Mapping[str, str]) -> list[LeftOut]:
    left_out: list[LeftOut] = []
    for shard, contents in shards.items():
        left_out += contents.left_out
        for weight in contents.weights:
            if weight.name not in places:
                left_out.append(LeftOut(weight.name, f"in shard {quoted(shard)}, but not in the index"))
            elif places[weight.name] != shard:
                where = quoted(places[weight.name])
                left_out.append(
                    LeftOut(weight.name, f"also in shard {quoted(shard)}; read from {where} as the index says")
                )
    return left_out


def _check_total_size(
    content: Mapping[str, Any], weights: list[Weight], shards: Mapping[str, Contents], index: FileVersion
) -> None:
    metadata = content.get("metadata")
    total = metadata.get("total_size") if isinstance(metadata, dict) else None
    if not isinstance(total, (int, float)) or isinstance(total, bool):
        return
    distinct = sum(each.nbytes for each in weights)
    # Writers differ in whether tied tensors, and copies in several shards, count once.
    with_ties = sum(each.nbytes * (1 + len(each.tied)) for each in weights)
    everything = sum(each.nbytes for contents in shards.values() for each in contents.weights)
    tied = {name for each in weights for name in each.tied}
    names = content["weight_map"].keys() - {each.name for each in weights} - tied
    held = {distinct, with_ties, everything}
    # What the ledger holds for want of a known type has no size to add.
    if not names and not any(total == size * factor for size in held for factor in _DTYPE_FACTORS):
        raise damaged(
            f"the index announces {quoted(total)} bytes and the shards hold {distinct}: "
            "a shard is truncated or of the wrong shape",
            index.path,
        )
