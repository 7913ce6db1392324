"""A study's run in a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from deepscope.report._criteria import CONTROL, criteria_views
from deepscope.report._criteria_text import write_criteria
from deepscope.report._findings import reference
from deepscope.report._ledger import by_reason, cost_lines
from deepscope.report._numbers import how_many
from deepscope.report._record import Record
from deepscope.report._screen import Screen
from deepscope.report._study_record import failures, judged, readable, trials
from deepscope.report._verdict import other_reasons, verdict_sentence

if TYPE_CHECKING:
    from rich.console import Console

_ERRORS = 5
_STYLES = {"reproduced": "bold green", "not reproduced": "bold red", "inconclusive": "bold yellow"}


def study_text(record: Record, console: Console) -> None:
    """Write a study's run to a terminal: the claim, the verdict, every criterion, what failed, what it cost.

    Parameters
    ----------
    record
        A study's run, as ``deepscope study run --json`` prints it. Where it has a ``path``, that is where it is stored.
    console
        Where to; its width, its colours (``NO_COLOR`` too) and its character set are respected.
    """
    record = readable(record)
    screen = Screen(console)
    screen.line(f"{record['study']}: ", (record["claim"], "bold"))
    screen.line((reference(record["source"]), "dim"))
    screen.blank()
    screen.line((verdict_sentence(record), _STYLES[record["verdict"]]))
    if record.get("modified"):
        bent = ", ".join(f"{name}={value}" for name, value in (record.get("settings") or {}).items())
        screen.line(f"{bent}{': ' if bent else ''}not recorded as the study's verdict.", indent=2)
    for reason in other_reasons(record):
        screen.line(f"- {reason}", indent=2)
    _criteria(screen, record)
    _failed(screen, record)
    if record["notes"]:
        screen.heading("Notes")
        for note in record["notes"]:
            screen.line(note, indent=2)
    screen.heading("Trials and cost")
    screen.line(trials(record), indent=2)
    if record.get("cost"):
        screen.line(cost_lines(record["cost"]), indent=2)
    if record.get("command"):
        screen.heading("To repeat it")
        screen.whole(record["command"], indent=2)
    if record.get("path"):
        screen.heading("Stored in")
        screen.whole(record["path"], indent=2)


def _criteria(screen: Screen, record: Record) -> None:
    views = criteria_views(record["criteria"], judged=judged(record))
    screen.heading("Criteria")
    if not views:
        screen.line("None was judged.", indent=2)
        return
    write_criteria(screen, views)
    if any(view.control for view in views):
        screen.line((CONTROL, "dim"), indent=2)


def _failed(screen: Screen, record: Record) -> None:
    """Write the errors, each with the first of its trials and their number."""
    if not record.get("failed"):
        return
    screen.heading(f"{how_many(record['failed'], 'trial')} failed")
    listed = by_reason(failures(record))
    for error, names in listed[:_ERRORS]:
        more = f" and {len(names) - 2:,} more" if len(names) > 2 else ""
        screen.line((f"{'; '.join(names[:2])}{more}: ", "dim"), error, indent=2)
    rest = record["failed"] - sum(len(names) for _, names in listed[:_ERRORS])
    if rest > 0:
        screen.line((f"… and {how_many(rest, 'more trial')}", "dim"), indent=2)
