"""What a comparison's status says of a tensor."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from deepscope.report._record import Record

Verdict = Literal["equal", "differs", "unknown"]

_EQUAL = frozenset({"equal", "all zero"})
_DIFFERS = frozenset({"ok", "all zero in one"})
_SHAPES_DIFFER = "shapes differ"
_SIDES = ("a", "b", "change")
_TURNED = ("left_angle", "right_angle", "n_directions", "spikes_born", "angle_status")


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


def most_changed(weights: Sequence[Record]) -> list[dict[str, Any]]:
    """Return the tensors that differ: first those whose change has no number, then the largest change.

    What says most stands first, for a terminal that has no room for all of it.
    """

    def rank(row: Record) -> tuple[bool, float]:
        change = row.get("relative_change")
        return change is not None, -(change or 0.0)

    rows = sorted((row for row in weights if verdict(row) == "differs"), key=rank)
    turned = [key for key in _TURNED[:2] if any(row.get(key) is not None for row in rows)]
    numbers = ("name", "relative_change", "cosine", "shape", *turned)
    told = ("name", "status", *numbers[1:]) if any(row["status"] != "ok" for row in rows) else numbers
    return [{key: row.get(key) for key in told} for row in rows]


def without_angles_not_measured(weights: Sequence[Record]) -> list[Record]:
    """Leave out the columns of angles and spikes where no tensor has any.

    >>> without_angles_not_measured([{"name": "fc", "left_angle": None, "angle_status": "spectrum was not run"}])
    [{'name': 'fc'}]
    """
    if any(row.get(key) is not None for row in weights for key in _TURNED[:-1]):
        return list(weights)
    return [{key: value for key, value in row.items() if key not in _TURNED} for row in weights]


def not_compared(weights: Sequence[Record]) -> list[dict[str, str]]:
    """Return the tensors of which nothing can be said, as entries of a ledger."""
    return [{"name": row["name"], "reason": row["status"]} for row in weights if verdict(row) == "unknown"]


def changed_numbers(rows: Sequence[Record]) -> list[dict[str, Any]]:
    """Return of a table side by side the rows and the quantities that are not the same on both sides.

    Rows that only one side has are no change of a number, and left out.
    """
    quantities = [key.removesuffix("_change") for key in (rows[0] if rows else ()) if key.endswith("_change")]

    def both(row: Record) -> bool:
        return all(any(row[f"{each}_{side}"] is not None for each in quantities) for side in "ab")

    def differ(row: Record, each: str) -> bool:
        return bool(row[f"{each}_a"] != row[f"{each}_b"])

    shared = [row for row in rows if both(row)]
    moved = [each for each in quantities if any(differ(row, each) for row in shared)]
    return [
        {"name": row["name"]} | {f"{each}_{side}": row[f"{each}_{side}"] for each in moved for side in _SIDES}
        for row in shared
        if any(differ(row, each) for each in moved)
    ]
