"""Which tensors of a training checkpoint are the weights."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from deepscope.core import LeftOut, TargetError
from deepscope.subject._checkpoint_file import check_name, damaged, quoted, shown

#: Keys under which training scripts keep weights; the first that is there is taken.
_WEIGHT_KEYS = (
    "state_dict", "model_state_dict", "model_state", "model", "module", "network", "net", "weights", "params",
    "generator", "ema", "ema_state_dict", "ema_model", "model_ema", "state_dict_ema", "params_ema", "shadow",
)  # fmt: skip
_TRAINING_STATE = re.compile(r"optim|sched|scaler|(^|_)rng|callbacks|loops|grad", re.IGNORECASE)
_MAX_DEPTH = 32

Path = tuple[Any, ...]


@dataclass(frozen=True)
class Chosen:
    """The weights of a checkpoint.

    Attributes
    ----------
    path
        Keys that lead to the set of weights; empty where the whole checkpoint is one.
    tensors
        Name within the set, keys from the top, tensor.
    left_out
        Everything else.
    """

    path: Path
    tensors: list[tuple[str, Path, Tensor]] = field(default_factory=list)
    left_out: list[LeftOut] = field(default_factory=list)


def choose_weights(content: object, file: str) -> Chosen:
    """Find the weights among what a training script saved.

    Raises
    ------
    TargetError
        There are no weights by name: a list, a number, optimiser state alone, or names that are not text.
    """
    if not isinstance(content, Mapping):
        raise TargetError(
            f"the checkpoint holds a {type(content).__name__}, not weights by name",
            where=shown(file),
            todo="Save a mapping from names to tensors, such as model.state_dict().",
        )
    current, left_out, path = _descend(content)
    if _is_optimiser_state(current):
        raise TargetError(
            "the checkpoint holds optimiser state and no weights",
            where=shown(file),
            todo="Give the file that holds the weights.",
        )
    chosen = Chosen(path, left_out=left_out)
    _flatten(current, "", path, chosen, file, set())
    return chosen


def _descend(content: Mapping[Any, Any]) -> tuple[Mapping[Any, Any], list[LeftOut], Path]:
    current, path, left_out = content, (), []  # type: Mapping[Any, Any], Path, list[LeftOut]
    while len(path) < _MAX_DEPTH:
        taken = next(
            (key for key in _WEIGHT_KEYS if isinstance(current.get(key), Mapping) and _tensors(current[key])), None
        )
        if taken is None:
            break
        left_out += [
            LeftOut(_name(*path, key), _why_not(key, value, _name(*path, taken)))
            for key, value in current.items()
            if key != taken
        ]
        current, path = current[taken], (*path, taken)
    return current, left_out, path


def _flatten(value: Mapping[Any, Any], prefix: str, path: Path, chosen: Chosen, file: str, seen: set[int]) -> None:
    seen.add(id(value))
    for key, item in value.items():
        here = (*path, key)
        name = f"{prefix}{key}"
        if isinstance(item, Tensor):
            check_name(key, file)
            chosen.tensors.append((check_name(name, file), here, item))
            continue
        children = _children(item)
        state = (isinstance(key, str) and _TRAINING_STATE.search(key)) or _is_optimiser_state(item)
        if children is None or state or not _tensors(item) or id(item) in seen or len(path) >= _MAX_DEPTH:
            chosen.left_out.append(LeftOut(_printable(name), _why_not(key, item, _name(*chosen.path))))
        else:
            _flatten(children, f"{name}.", here, chosen, file, seen)


def _children(value: object) -> Mapping[Any, Any] | None:
    if isinstance(value, Mapping):
        return value
    return {str(index): item for index, item in enumerate(value)} if isinstance(value, (list, tuple)) else None


def _why_not(key: object, value: object, taken: str) -> str:
    count = _tensors(value)
    if (isinstance(key, str) and _TRAINING_STATE.search(key)) or _is_optimiser_state(value):
        return f"training state ({count} tensors), not weights"
    if isinstance(value, Tensor):
        return f"a tensor beside the weights under {quoted(taken)}"
    if count:
        beside = f"those under {quoted(taken)} are measured" if taken else "nested too deeply, or met before"
        return f"another set of weights ({count} tensors); {beside}"
    if isinstance(value, (str, bytes, int, float, complex, bool)) or value is None:
        return "a setting or a number, not a tensor"
    return f"a {type(value).__name__} without tensors"


def _is_optimiser_state(value: object) -> bool:
    return isinstance(value, Mapping) and "param_groups" in value and "state" in value


def _tensors(value: object) -> int:
    return sum(1 for _ in _walk_tensors(value))


def _walk_tensors(value: object) -> Iterator[Tensor]:
    """Yield every tensor in nested mappings, lists and tuples; each container is entered once, however it is shared."""
    seen: set[int] = set()
    waiting = [value]
    while waiting:
        each = waiting.pop()
        if isinstance(each, Tensor):
            yield each
        elif isinstance(each, (Mapping, list, tuple, set)) and id(each) not in seen:
            seen.add(id(each))
            waiting.extend(each.values() if isinstance(each, Mapping) else each)


def follow(content: Any, path: Path, file: str) -> Tensor:
    """Return the tensor at the end of a path of keys."""
    value = content
    for key in path:
        value = value[key if isinstance(value, Mapping) else int(key)]
    if not isinstance(value, Tensor):
        raise damaged(f"{quoted(_name(*path))} is no tensor any more", file)
    return value


def _name(*path: Any) -> str:
    return _printable(".".join(str(key) for key in path))


def _printable(name: str) -> str:
    return name.encode(errors="backslashreplace").decode()
