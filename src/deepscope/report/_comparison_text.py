"""A comparison in a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from deepscope.report._change import changed_numbers, most_changed, not_compared
from deepscope.report._findings import entries, grouped
from deepscope.report._ledger import by_reason
from deepscope.report._numbers import how_many
from deepscope.report._record import Record, cleaned
from deepscope.report._screen import WHERE_ALL_IS, Screen
from deepscope.report._sentence import comparison_sentence
from deepscope.report._table import table

if TYPE_CHECKING:
    from rich.console import Console

_FINDINGS = 8
_ROWS = 12


def comparison_text(record: Record, console: Console) -> None:
    """Write a comparison to a terminal: the sentence, what appears and goes, what changed most.

    Parameters
    ----------
    record
        A comparison as ``compare`` gives it.
    console
        Where to; its width, its colours (``NO_COLOR`` too) and its character set are respected.
    """
    record = cleaned(record)
    screen = Screen(console)
    screen.line((comparison_sentence(record), "bold"))
    for key, words in (("findings_new", "In b, not in a"), ("findings_gone", "In a, not in b")):
        if record.get(key):
            screen.heading(words)
            screen.findings(grouped(entries(record[key], (), {})), _FINDINGS)
    weights = record.get("weights") or ()
    changed = most_changed(weights)
    if changed:
        screen.heading("Weights that changed most")
        shown = table(changed[:_ROWS])
        screen.table(shown)
        if len(changed) > _ROWS:
            screen.line((f"… and {how_many(len(changed) - _ROWS, 'more tensor')} ({WHERE_ALL_IS})", "dim"), indent=2)
    counterparts = (record.get("representations") or {}).get("counterparts")
    if counterparts:
        screen.heading("Layers of a, and the layer of b that represents the data most alike")
        screen.table(table(counterparts, limit=_ROWS))
    for name, rows in (record.get("tables") or {}).items():
        screen.heading(f"{name}: a, b and the change")
        numbers = changed_numbers(rows)
        screen.table(table(numbers, limit=_ROWS))
        if not numbers:
            screen.line("No number differs.", indent=2)
    left_out = [*(record.get("left_out") or ()), *not_compared(weights)]
    if left_out:
        screen.heading("Left out")
        for reason, names in by_reason(left_out):
            more = f" and {len(names) - 2:,} more" if len(names) > 2 else ""
            screen.line(f"{', '.join(names[:2])}{more}: {reason}", indent=2)
