"""A watched training in a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from deepscope.report._findings import entries, grouped
from deepscope.report._ledger import by_reason
from deepscope.report._record import Record, cleaned
from deepscope.report._screen import Screen
from deepscope.report._table import table
from deepscope.report._watch import cost_sentence, watch_sentence

if TYPE_CHECKING:
    from rich.console import Console

_FINDINGS, _ROWS = 12, 24


def watch_text(record: Record, console: Console) -> None:
    """Write a watched training to a terminal: the sentence, the findings, the measurements, what they cost.

    Parameters
    ----------
    record
        A watched training as ``Watched.to_dict`` gives it, or as it is stored.
    console
        Where to; its width, its colours (``NO_COLOR`` too) and its character set are respected.
    """
    record = cleaned(record)
    screen = Screen(console)
    screen.line((watch_sentence(record), "bold"))
    if record["findings"]:
        screen.blank()
        screen.findings(grouped(entries(record["findings"], (), {})), _FINDINGS)
    rows = record["table"]
    if rows:
        screen.heading("Measurements")
        # As many as there is room for, evenly over the training, the first and the last among them.
        count = min(len(rows), _ROWS)
        places = sorted({round(index * (len(rows) - 1) / max(count - 1, 1)) for index in range(count)})
        screen.table(table([rows[place] for place in places]))
        if len(places) < len(rows):
            screen.line((f"{len(places)} of {len(rows):,} measurements (see --out report.html)", "dim"), indent=2)
    if record["left_out"]:
        screen.heading("Left out")
        for reason, names in by_reason(record["left_out"]):
            screen.line(f"{', '.join(names)}: {reason}", indent=2)
    screen.heading("Cost")
    screen.line(cost_sentence(record), indent=2)
