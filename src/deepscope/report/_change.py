"""What a comparison's status says of a tensor."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from deepscope.report._record import Record

Verdict = Literal["equal", "differs", "unknown"]

_EQUAL = frozenset({"equal", "all zero"})
_DIFFERS = frozenset({"ok", "all zero in one"})
_SHAPES_DIFFER = "shapes differ"


def verdict(row: Record) -> Verdict:
    """Say whether a tensor differs between both networks, from its row of a comparison.

    Any status but the known ones is the reason why the two could not be compared.

    >>> verdict({"status": "shapes differ: [2] and [3]"}), verdict({"status": "non-finite values"})
    ('differs', 'unknown')
    """
    status = row["status"]
    if status in _EQUAL:
        return "equal"
    return "differs" if status in _DIFFERS or status.startswith(_SHAPES_DIFFER) else "unknown"


def most_changed(weights: Sequence[Record]) -> list[Record]:
    """Return the tensors that are not equal: first those whose change has no number, then the largest change."""

    def rank(row: Record) -> tuple[bool, float]:
        change = row.get("relative_change")
        return change is not None, -(change or 0.0)

    return sorted((row for row in weights if verdict(row) != "equal"), key=rank)
