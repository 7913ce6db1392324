"""The page of a study's run."""

from __future__ import annotations

from collections.abc import Mapping

from deepscope.report._criteria import CONTROL, HOW_TO_READ, criteria_views
from deepscope.report._findings import address, reference
from deepscope.report._interval import TALL, WIDE
from deepscope.report._ledger import Pairs, by_reason, cost_lines, provenance
from deepscope.report._numbers import how_many
from deepscope.report._page import render
from deepscope.report._record import Record
from deepscope.report._study_record import failures, judged, readable, row_name, topics, trials
from deepscope.report._verdict import other_reasons, verdict_sentence


def study_page(record: Record, figures: Mapping[str, str]) -> str:
    """Write a study's run as one self-contained HTML page.

    Parameters
    ----------
    record
        A study's run, as ``deepscope study run --json`` prints it.
    figures
        The study's figure by the name ``"study"``, as ``figures.to_svg`` makes it; without it the page has none.

    Returns
    -------
    str
        HTML, with the same properties as an examination's page.
    """
    record = readable(record)
    views = criteria_views(record["criteria"], judged=judged(record))
    word, _, rest = verdict_sentence(record).partition(": ")
    return render(
        "study.html",
        title=record["study"],
        word=word,
        rest=rest,
        verdict=record["verdict"].replace(" ", "-"),
        sentence=f"{word}: {rest}",
        claim=record["claim"],
        source={"source": reference(record["source"]), "link": address(record["source"])},
        facts=_facts(record),
        modified=bool(record.get("modified")),
        settings=[f"{name}={value}" for name, value in (record.get("settings") or {}).items()],
        figure=figures.get("study", ""),
        caption=record.get("caption") or "",
        reasons=other_reasons(record),
        criteria=views,
        how_to_read=HOW_TO_READ,
        control=CONTROL if any(view.control for view in views) else "",
        drawn=any(view.drawing.dot for view in views),
        dashed=any(view.drawing.published for view in views),
        wide=WIDE,
        tall=TALL,
        protocol=record.get("protocol") or "",
        failures=by_reason(failures(record)),
        failed=record.get("failed") or 0,
        unlisted=(record.get("failed") or 0) - len(record.get("failures") or ()),
        notes=record["notes"],
        trials=trials(record),
        cost=cost_lines(record.get("cost") or {}),
        command=record.get("command") or "",
        provenance=_run(record) + provenance({**record, "schema": ""}),
    )


def _facts(record: Record) -> Pairs:
    pairs = [
        ("study", record["study"]),
        ("scale", record["scale"]),
        ("topic" if len(record.get("topics") or ()) == 1 else "topics", topics(record)),
        ("shows", ", ".join(map(row_name, record.get("rows") or ()))),
    ]
    return [(word, value) for word, value in pairs if value]


def _run(record: Record) -> Pairs:
    executor = record.get("executor") or ""
    if executor and record.get("workers"):
        executor = f"{executor}, {how_many(record['workers'], 'worker')}"
    pairs = [
        ("trials", trials(record)),
        ("run by", executor),
        ("device", record.get("device") or ""),
        ("code hash", record.get("code") or ""),
    ]
    return [(word, value) for word, value in pairs if value]
