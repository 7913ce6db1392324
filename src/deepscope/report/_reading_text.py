"""What a search of the literature and of the map found, in a terminal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from deepscope.report._numbers import how_many
from deepscope.report._record import Record, cleaned
from deepscope.report._screen import Screen

if TYPE_CHECKING:
    from rich.console import Console


def reading_text(record: Record, console: Console) -> None:
    """Write what was found to a terminal.

    Parameters
    ----------
    record
        As ``lab.reading_list`` gives it.
    console
        Where to; its width, its colours (``NO_COLOR`` too) and its character set are respected.
    """
    record = cleaned(record)
    screen = Screen(console)
    found, named = record["references"], record["rows"]
    if not found and not named:
        screen.line(f"Nothing that is cited or on the map has all of: {record['text']}")
        return
    if found:
        screen.line(("Literature", "bold"))
    for each in found:
        screen.line(each["cited"], indent=2)
        screen.whole((each["link"] or each["id"], "dim"), indent=4)
        _runs(screen, each["runs"])
    if found and named:
        screen.blank()
    if named:
        screen.line(("On the map", "bold"))
    for each in named:
        screen.line((each["id"], "bold"), f"  {each['name']}", (f"  {each['source']}", "dim"), indent=2)
        screen.line(each["claim"], indent=4)
        _runs(screen, each["runs"])
    screen.blank()
    running = sum(bool(each["runs"]) for each in named)
    of = record["of"]
    screen.line(
        f"{len(found):,} of {how_many(of['references'], 'reference')}, {len(named):,} of {how_many(of['rows'], 'row')} "
        f"of the map; for {running:,} of these rows something runs here."
    )


def _runs(screen: Screen, names: Sequence[str]) -> None:
    if names:
        screen.line(("here: ", "dim"), ", ".join(names), indent=4)
