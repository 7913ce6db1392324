"""The page of a study's run."""

from __future__ import annotations

from collections.abc import Mapping

from deepscope.report._findings import address, reference
from deepscope.report._ledger import Pairs, provenance
from deepscope.report._numbers import how_many
from deepscope.report._page import render
from deepscope.report._record import Record
from deepscope.report._study_record import readable, row_name, topics, trials
from deepscope.report._study_view import study_view


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
    return render(
        "study.html",
        title=record["study"],
        study=study_view(record, figures.get("study", "")),
        source={"source": reference(record["source"]), "link": address(record["source"])},
        facts=_facts(record),
        modified=bool(record.get("modified")),
        settings=[f"{name}={value}" for name, value in (record.get("settings") or {}).items()],
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
