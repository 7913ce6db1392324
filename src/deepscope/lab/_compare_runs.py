"""Two stored runs of one kind side by side: what they were made with, and what came out. Never loads torch."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from deepscope.core import Case, UsageError, without_numbers
from deepscope.lab._runs import Run
from deepscope.lab._trial_record import TrialRecord, fingerprint

SCHEMA = "deepscope.runs-comparison/1"
_STUDY = ("study", "scale", "modified", "settings", "seeds", "code", "device", "commit", "versions", "hardware")
_EXAMINATION = ("subject", "seed", "budget", "commit", "versions", "hardware")
_WATCH = (
    *("subject", "optimizer", "stability", "batch_size", "every", "overhead", "probes", "seed", "steps", "device"),
    *("commit", "versions", "hardware"),
)
#: Of a subject: what it is, not what was found in it.
_LONG = ("layers",)
_Tables = Mapping[str, Sequence[Mapping[str, Any]]]
_CHANGES_KEPT = 10


def compare_runs(a: Run, b: Run) -> dict[str, Any]:
    """Compare two stored runs of one kind.

    Parameters
    ----------
    a, b
        As ``runs()`` and ``find_run()`` give them.

    Returns
    -------
    dict
        Plain JSON. ``kind``; ``a`` and ``b``: id, name, date, outcome; ``differences``: what they were made with, where
        it differs, as ``{"what", "a", "b"}``; ``left_out``: how many of their trials, or points, cannot be read. For
        studies ``criteria``: each by name as ``a`` and ``b`` have it (None where one does not), and ``trials``: how
        many they have in common by case and seed (``common``), how many of these returned the same bits
        (``identical``), how many only one has (``only_a``, ``only_b``), and in ``numbers``, for each value that
        differs, in how many trials, and the largest relative difference
        |b − a| / max(|a|, |b|) (None where one is no number, not finite, or of another shape). For examinations
        ``findings_gone``, ``findings_new`` (which do not count as new where only their numbers differ), and
        ``changes``: by instrument, the columns whose numbers differ, the largest relative difference first, with
        the item where it is largest. For watched trainings the same, with ``changes`` in ``"training"``, the
        training loss, and in ``"measurements"``, at the steps that both have.

    Raises
    ------
    UsageError
        The runs are of different kinds.
    DeepscopeError
        One of them cannot be read.
    """
    if a.kind != b.kind:
        raise UsageError(
            f"runs of different kinds cannot be compared ({a.kind} and {b.kind})",
            where=f"{a.id}, {b.id}",
            todo="Name two of one kind; deepscope runs list shows them.",
        )
    sides = {
        side: {"id": r.id, "name": r.name, "date": r.date, "outcome": r.outcome} for side, r in (("a", a), ("b", b))
    }
    return {"schema": SCHEMA, "kind": a.kind, **sides, **_COMPARED[a.kind](a, b)}


def _studies(a: Run, b: Run) -> dict[str, Any]:
    # A run that was not finished has trials, but no record.
    one, other = ({**run.head(), "study": run.name, **(run.record() if run.finished else {})} for run in (a, b))
    (mine, bad), (theirs, also_bad) = a.trials(), b.trials()
    return {
        "differences": list(_differences(one, other, _STUDY)),
        "left_out": _unreadable(a, bad, b, also_bad),
        "criteria": _criteria(one.get("criteria", ()), other.get("criteria", ())),
        "trials": _trials(mine, theirs),
    }


def _unreadable(a: Run, bad: int, b: Run, also_bad: int) -> list[str]:
    return [reason for reason in dict.fromkeys((a.unreadable(bad), b.unreadable(also_bad))) if reason]


def _criteria(a: Iterable[Mapping[str, Any]], b: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    one, other = ({each["name"]: dict(each) for each in side} for side in (a, b))
    return [{"name": name, "a": one.get(name), "b": other.get(name)} for name in {**one, **other}]


def _trials(a: Iterable[TrialRecord], b: Iterable[TrialRecord]) -> dict[str, Any]:
    one, other = ({(Case(**t.case), t.seed): t for t in side if t.status == "finished"} for side in (a, b))
    common = [(one[key], other[key]) for key in one if key in other]
    differing = [(mine, theirs) for mine, theirs in common if fingerprint(mine) != fingerprint(theirs)]
    names = dict.fromkeys(name for pair in differing for each in pair for name in each.values)
    numbers = []
    for name in names:
        found = [_difference(mine.values.get(name), theirs.values.get(name)) for mine, theirs in differing]
        some = [each for each in found if each != 0]
        if some:
            known = [each for each in some if each is not None]
            numbers.append(
                {"name": name, "trials": len(some), "largest": max(known) if len(known) == len(some) else None}
            )
    return {
        "common": len(common),
        "identical": len(common) - len(differing),
        "only_a": len(one) - len(common),
        "only_b": len(other) - len(common),
        "numbers": numbers,
    }


def _examinations(a: Run, b: Run) -> dict[str, Any]:
    one, other = a.record(), b.record()
    tables = [{name: reading["table"] for name, reading in each["readings"].items()} for each in (one, other)]
    return {"left_out": [], **_records(one, other, _EXAMINATION, *tables)}


def _watches(a: Run, b: Run) -> dict[str, Any]:
    one, other = a.record(), b.record()
    tables = [{"training": _by_step(r["training"]), "measurements": _by_step(r["table"])} for r in (one, other)]
    left_out = _unreadable(a, a.points()[1], b, b.points()[1])
    return {"left_out": left_out, **_records(one, other, _WATCH, *tables)}


def _by_step(rows: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    return [
        {"name": f"step {row['step']:,}", **{key: row[key] for key in row if not key.endswith("_seconds")}}
        for row in rows
    ]


def _records(
    a: Mapping[str, Any], b: Mapping[str, Any], parts: Iterable[str], one: _Tables, other: _Tables
) -> dict[str, Any]:
    return {
        "differences": list(_differences(a, b, parts)),
        "findings_gone": _missing_from(b["findings"], a["findings"]),
        "findings_new": _missing_from(a["findings"], b["findings"]),
        "changes": {name: changes for name in one if name in other and (changes := _changes(one[name], other[name]))},
    }


def _missing_from(present: Iterable[Mapping[str, Any]], findings: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    known = {_what_it_says(finding) for finding in present}
    return [dict(finding) for finding in findings if _what_it_says(finding) not in known]


def _what_it_says(finding: Mapping[str, Any]) -> tuple[str, ...]:
    return finding["severity"], finding["instrument"], finding["where"], without_numbers(finding["message"])


def _changes(a: Sequence[Mapping[str, Any]], b: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    one, other = ({row["name"]: row for row in side} for side in (a, b))
    largest: dict[str, dict[str, Any]] = {}
    for item in [name for name in one if name in other]:
        for column in [name for name in one[item] if name in other[item]]:
            mine, theirs = one[item][column], other[item][column]
            difference = _difference(mine, theirs) if _is_number(mine) and _is_number(theirs) else 0.0
            if difference and difference > largest.get(column, {"difference": 0.0})["difference"]:
                largest[column] = {"column": column, "item": item, "a": mine, "b": theirs, "difference": difference}
    return sorted(largest.values(), key=lambda change: -change["difference"])[:_CHANGES_KEPT]


def _differences(a: Mapping[str, Any], b: Mapping[str, Any], parts: Iterable[str]) -> Iterable[dict[str, Any]]:
    for part in parts:
        mine, theirs = a.get(part), b.get(part)
        if isinstance(mine, Mapping) and isinstance(theirs, Mapping):
            inner = [name for name in {**mine, **theirs} if name not in _LONG]
            for each in _differences(mine, theirs, inner):
                yield {**each, "what": f"{part}.{each['what']}"}
        elif mine != theirs or type(mine) is not type(theirs):
            yield {"what": part, "a": mine, "b": theirs}


def _difference(a: Any, b: Any) -> float | None:
    """Return the largest relative difference; 0 for the same, None where there is no such number."""
    if isinstance(a, str) or isinstance(b, str) or a is None or b is None:
        return 0.0 if a is b or a == b else None
    mine, theirs = np.asarray(a), np.asarray(b)
    if mine.shape != theirs.shape:
        return None
    mine, theirs = (_double(side) for side in (mine, theirs))
    differ = ~((mine == theirs) | (np.isnan(mine) & np.isnan(theirs)))
    mine, theirs = mine[differ], theirs[differ]
    if not mine.size:
        return 0.0
    if not (np.isfinite(mine).all() and np.isfinite(theirs).all()):
        return None
    scale = np.maximum(np.abs(mine), np.abs(theirs))
    with np.errstate(over="ignore"):
        apart = np.abs(theirs - mine)
    # The difference of two numbers may be beyond float64; that of their ratios never is.
    largest = np.where(np.isfinite(apart), apart / scale, np.abs(theirs / scale - mine / scale)).max()
    return float(largest)


def _double(values: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    return values.astype(np.complex128 if values.dtype.kind == "c" else np.float64)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


_COMPARED: Mapping[str, Callable[[Run, Run], dict[str, Any]]] = {
    "examination": _examinations,
    "study": _studies,
    "watch": _watches,
}
