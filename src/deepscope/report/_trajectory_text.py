"""A trajectory in a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from deepscope.report._ledger import by_reason
from deepscope.report._numbers import how_many
from deepscope.report._record import Record, cleaned
from deepscope.report._screen import WHERE_ALL_IS, Screen
from deepscope.report._table import table
from deepscope.report._trajectory import first_and_last, trajectory_sentence

if TYPE_CHECKING:
    from rich.console import Console

_ROWS = 24


def trajectory_text(record: Record, console: Console) -> None:
    """Write a trajectory to a terminal: the sentence, and of each matrix the first and the last step.

    Parameters
    ----------
    record
        A trajectory as ``Trajectory.to_dict`` gives it.
    console
        Where to; its width, its colours (``NO_COLOR`` too) and its character set are respected.
    """
    record = cleaned(record)
    screen = Screen(console)
    screen.line((trajectory_sentence(record), "bold"))
    if record["table"]:
        rows = sorted(first_and_last(record["table"]), key=lambda row: -(row["relative_change_since_start"] or 0.0))
        screen.heading("First and last step, what changed most first")
        screen.table(table(rows[:_ROWS]))
        if len(rows) > _ROWS:
            screen.line((f"… and {how_many(len(rows) - _ROWS, 'more row')} ({WHERE_ALL_IS})", "dim"), indent=2)
    if record.get("left_out"):
        screen.heading("Left out")
        for reason, names in by_reason(record["left_out"]):
            more = f" and {len(names) - 2:,} more" if len(names) > 2 else ""
            screen.line(f"{', '.join(names[:2])}{more}: {reason}", indent=2)
