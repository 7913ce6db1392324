"""How much of the map is demonstrated, in a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from deepscope.report._numbers import how_many
from deepscope.report._record import Record
from deepscope.report._screen import Screen

if TYPE_CHECKING:
    from rich.console import Console


def coverage_text(record: Record, console: Console) -> None:
    """Write how many rows of the map are demonstrated, group by group.

    Parameters
    ----------
    record
        As ``lab.coverage`` gives it.
    console
        Where to; its width, its colours (``NO_COLOR`` too) and its character set are respected.
    """
    screen = Screen(console)
    width = len(str(record["rows"]))
    for group, counts in record["by_group"].items():
        screen.whole(f"{counts['demonstrated']:>{width}} of {counts['rows']:>{width}}  {group}")
    screen.blank()
    screen.line((f"{record['demonstrated']} of {how_many(record['rows'], 'row')} demonstrated.", "bold"))
    screen.line('"deepscope atlas coverage --json" says by what; "deepscope atlas build" shows the map.')
