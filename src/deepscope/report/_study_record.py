"""A study's run as the pages read it."""

from __future__ import annotations

from typing import Any

from deepscope.core import UsageError, row
from deepscope.report._numbers import how_many
from deepscope.report._record import Record, cleaned

# Text that authors break into lines for their editor only.
_FLOWING = ("claim", "protocol", "caption")


def readable(record: Record) -> dict[str, Any]:
    """Return a record whose texts flow, and in which every other control character is visible instead of active."""
    flowing = {key: " ".join(record[key].split()) for key in _FLOWING if record.get(key)}
    notes = [" ".join(note.split()) for note in record.get("notes") or ()]
    made: dict[str, Any] = cleaned({**record, **flowing, "notes": notes})
    return made


def judged(record: Record) -> bool:
    """Return whether the criteria decide anything: at the scale smoke they only show that all of it runs."""
    return bool(record["scale"] != "smoke")


def trials(record: Record) -> str:
    """Say how many trials a result rests on, and how many of them had been run before."""
    parts = [
        f"{how_many(record['trials'], 'trial')} of {how_many(record['cases'], 'case')} and "
        f"{how_many(record['seeds'], 'seed')}"
    ]
    if record.get("reused"):
        parts.append(f"{record['reused']:,} reused from earlier runs")
    if record.get("failed"):
        parts.append(f"{record['failed']:,} failed")
    return ", ".join(parts)


def failures(record: Record) -> list[dict[str, str]]:
    """Return the failed trials that a record lists as entries of a ledger."""
    return [
        {"name": f"{failure['case']} seed={failure['seed']}".strip(), "reason": failure["error"]}
        for failure in record.get("failures") or ()
    ]


def topics(record: Record) -> str:
    """Name the topics, whose names are those of folders."""
    return ", ".join(topic.replace("_", " ") for topic in record.get("topics") or ())


def row_name(key: str) -> str:
    """Return a row of the map by its name and id; one that it does not know (a user's own study) stands for itself."""
    try:
        return f"{row(key)['name']} ({key})"
    except UsageError:
        return key
