"""A record as the pages read it: nothing in it can act on a page or a terminal."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from typing import Any

Record = Mapping[str, Any]

#: Fields that may have several lines.
_LINES = frozenset({"formula", "how_to_read", "command"})
# Overrides and isolates of writing direction reorder the text around them.
_DIRECTIONS = frozenset("\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\u061c")


def cleaned(value: Any, key: str = "") -> Any:
    r"""Return a copy of a record in which every control character is visible instead of active.

    Names come from files that anyone may have written: an escape sequence must not reach a terminal, nor a change of
    writing direction the text around it.

    >>> cleaned({"name": "fc\x1b[31m"})
    {'name': 'fc␛[31m'}
    """
    if isinstance(value, str):
        return visible(value, lines=key in _LINES)
    if isinstance(value, Mapping):
        return {visible(str(name)): cleaned(item, str(name)) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [cleaned(item, key) for item in value]
    return value


def visible(text: str, *, lines: bool = False) -> str:
    """Return text with its control characters shown as symbols."""
    if text.isprintable():
        return text
    return "".join(_visible(each, lines) for each in text)


def isolated(name: str) -> str:
    """Return a name for use within a sentence: one written from right to left must not turn the words beside it.

    >>> isolated("fc1")
    'fc1'
    """
    if any(unicodedata.bidirectional(character) in ("R", "AL", "AN") for character in name):
        return f"\u2068{name}\u2069"
    return name


def _visible(character: str, lines: bool) -> str:
    code = ord(character)
    if lines and character == "\n":
        return character
    if code < 0x20:
        return chr(0x2400 + code)
    if code == 0x7F:
        return "␡"
    if character in _DIRECTIONS or unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp"):
        return "\ufffd"
    return character


def layers_of(record: Record) -> list[str]:
    """Return the layers that an examination says anything about, in forward order."""
    tracks = [track for reading in record["readings"].values() for track in reading.get("glance", ())]
    measured = dict.fromkeys(layer for track in tracks for layer in track["values"])
    known = list(record["subject"].get("layers") or ())
    order = dict.fromkeys([*known, *measured])
    blamed = {layer_of(finding["where"], order) for finding in record["findings"]}
    return [layer for layer in order if layer in measured or layer in blamed]


def layer_of(where: str, layers: Mapping[str, Any]) -> str | None:
    """Return the layer that a finding is about: a layer's own name, a tensor of it, or the first layer of a block.

    >>> layer_of("fc1.weight", {"fc1": 0, "fc2": 1})
    'fc1'
    """
    if not where:
        return None
    name = where
    while name:
        if name in layers:
            return name
        name = name.rpartition(".")[0]
    return next((layer for layer in layers if layer.startswith(f"{where}.")), None)
