"""What a trajectory says, and its page."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import Any

from deepscope.report._ledger import by_reason, provenance
from deepscope.report._numbers import how_many, number
from deepscope.report._page import TableView, render
from deepscope.report._record import Record, cleaned, isolated
from deepscope.report._table import table
from deepscope.report._trajectory_figure import MOST_NAMED, trajectory_figure

_FOLLOWED = ("alpha", "n_spikes", "phase")


def trajectory_page(record: Record) -> str:
    """Write a trajectory as one self-contained HTML page.

    Parameters
    ----------
    record
        A trajectory as ``Trajectory.to_dict`` gives it.

    Returns
    -------
    str
        HTML, with the same properties as an examination's page.
    """
    from deepscope.figures import to_svg

    record = cleaned(record)
    rows = record["table"]
    matrices = len({row["name"] for row in rows})
    return render(
        "trajectory.html",
        title=f"{record['steps'][0]['name']} to {record['steps'][-1]['name']}",
        sentence=trajectory_sentence(record),
        steps=[(f"step {index}", step.get("path") or step["name"]) for index, step in enumerate(record["steps"])],
        figure=to_svg(trajectory_figure(record), prefix="trajectory") if rows else "",
        named=f"The {MOST_NAMED} that changed most are named; the others are grey." if matrices > MOST_NAMED else "",
        table=TableView("table-trajectory", table(rows)),
        left_out=by_reason(record.get("left_out") or ()),
        command=record.get("command") or "",
        provenance=provenance(record),
    )


def trajectory_sentence(record: Record) -> str:
    """Say in one sentence what was followed and what became of it.

    As "3 steps, start to end: 2 matrices; median tail exponent α 4.1 → 2.9; spikes 0 → 5; 1 matrix changes its phase".
    """
    record = cleaned(record)
    steps, rows = record["steps"], record["table"]
    what = f"{how_many(len(steps), 'step')}, {isolated(steps[0]['name'])} to {isolated(steps[-1]['name'])}"
    broken = f"; {how_many(len(record['failed']), 'step')} could not be measured" if record.get("failed") else ""
    if not rows:
        return f"{what}: no matrix that all steps have{broken}"
    followed = first_and_last(rows)
    parts = [f"{len(followed):,} {'matrix' if len(followed) == 1 else 'matrices'}"]
    for words, key, summed_up in (
        ("median tail exponent α", "alpha", statistics.median),
        ("spikes", "n_spikes", lambda counts: int(sum(counts))),
    ):
        known = _known(followed, key)
        if known:
            parts.append(f"{words} {' → '.join(number(summed_up(side)) for side in zip(*known, strict=True))}")
    moved = sum(row["phase_first"] != row["phase_last"] for row in followed)
    if moved:
        parts.append(f"{moved:,} {'matrix changes its phase' if moved == 1 else 'matrices change their phase'}")
    return f"{what}: {'; '.join(parts)}{broken}"


def first_and_last(rows: Sequence[Record]) -> list[dict[str, Any]]:
    """Return a row per matrix: what was seen at the first step measured and at the last, and the change.

    >>> seen = {"alpha": 3.0, "n_spikes": 0, "phase": "random-like", "relative_change_since_start": 0.0}
    >>> [row] = first_and_last([{"name": "fc", "step": 0, **seen}, {"name": "fc", "step": 1, **seen, "n_spikes": 2}])
    >>> row["n_spikes_first"], row["n_spikes_last"]
    (0, 2)
    """
    start, end = (chosen(row["step"] for row in rows) for chosen in (min, max))
    last = {row["name"]: row for row in rows if row["step"] == end}
    return [
        {"name": row["name"]}
        | {
            f"{key}_{side}": each[key]
            for key in _FOLLOWED
            for side, each in (("first", row), ("last", last[row["name"]]))
        }
        | {"relative_change_since_start": last[row["name"]]["relative_change_since_start"]}
        for row in rows
        if row["step"] == start
    ]


def _known(rows: Sequence[Record], key: str) -> list[tuple[float, float]]:
    """Return the first value and the last of the matrices that have both."""
    both = [(row[f"{key}_first"], row[f"{key}_last"]) for row in rows]
    return [pair for pair in both if None not in pair]
