"""What a watched training says, and its page."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from deepscope.report._findings import entries, grouped
from deepscope.report._ledger import by_reason, facts, provenance
from deepscope.report._numbers import how_many, number, parameters, seconds
from deepscope.report._page import TableView, render
from deepscope.report._record import Record, cleaned, isolated
from deepscope.report._table import table
from deepscope.report._watch_figure import watch_figure

_FOLLOWED = (
    ("training loss", "training_loss"),
    ("probe loss", "probe_loss"),
    ("sharpness", "sharpness"),
    ("noise scale", "noise_scale"),
)


def watch_page(record: Record) -> str:
    """Write a watched training as one self-contained HTML page.

    Parameters
    ----------
    record
        A watched training as ``Watched.to_dict`` gives it, or as it is stored.

    Returns
    -------
    str
        HTML, with the same properties as an examination's page.
    """
    from deepscope.figures import to_svg

    record = cleaned(record)
    rows = record["table"]
    return render(
        "watch.html",
        title=record["subject"]["name"] or "A training",
        sentence=watch_sentence(record),
        facts=facts(record["subject"]),
        groups=grouped(entries(record["findings"], (), {})),
        figure=to_svg(watch_figure(record), prefix="watch") if rows or record["training"] else "",
        has_threshold=any(row.get("stability_threshold") is not None for row in rows),
        stability=record["stability"],
        table=TableView("table-watch", table(rows)),
        left_out=by_reason(record["left_out"]),
        promise=_promise(record),
        provenance=[*_asked(record), *provenance(record)],
    )


def watch_sentence(record: Record) -> str:
    """Say in one sentence what was watched and what became of it.

    As "LeNet, 61,706 parameters, trained for 2,814 steps, measured 12 times: probe loss 2.31 → 0.05; sharpness 3 → 85".
    """
    record = cleaned(record)
    subject = record["subject"]
    what = f"{isolated(subject['name']) or 'A network'}, {parameters(subject.get('parameters'))}"
    times = len(record["table"])
    measured = {0: "never measured", 1: "measured once"}.get(times, f"measured {times:,} times")
    went = [
        f"{words} {number(known[0])} → {number(known[-1])}"
        for words, key in _FOLLOWED
        if len(known := _known(record, key)) > 1
    ]
    how = f"; ended by {record['error']}" if record["error"] else "" if record["ended"] else "; it has not ended"
    said = f": {'; '.join(went)}" if went else ""
    return f"{what}, trained for {how_many(record['steps'], 'step')}, {measured}{said}{how}"


def cost_sentence(record: Record) -> str:
    """Say what watching cost, beside what was promised.

    >>> cost = {"training_seconds": 200.0, "measuring_seconds": 9.0}
    >>> cost_sentence({"cost": cost, "overhead": 0.05})
    '9.0 s of measuring beside 3 min 20 s of training, 4.5 %; promised: 5 %'
    """
    trained, spent = (record["cost"][f"{what}_seconds"] for what in ("training", "measuring"))
    share = f", {_percent(spent / trained)}" if trained else ""
    return (
        f"{seconds(spent)} of measuring beside {seconds(trained)} of training{share}; "
        f"promised: {_percent(record['overhead'])}"
    )


def _promise(record: Record) -> str:
    return (
        f"{cost_sentence(record)}. Where the first measurement cannot be paid for before the training ends, it is more."
    )


def _percent(share: float) -> str:
    return f"{number(100 * share)} %"


def _asked(record: Record) -> list[tuple[str, str]]:
    pairs = [
        ("measured", f"at multiples of {how_many(record['every'], 'step')}, as the promise allows"),
        ("probes", ", ".join(record["probes"])),
        ("optimiser", record["optimizer"]),
        ("batch size", f"{record['batch_size']:,}" if record["batch_size"] else ""),
    ]
    return [(word, value) for word, value in pairs if value]


def _known(record: Record, key: str) -> list[float]:
    rows: Sequence[Any] = record["training"] if key == "training_loss" else record["table"]
    return [row[key] for row in rows if row.get(key) is not None]
