"""The page of a study in the atlas: the claim, its verdict, and all that is needed to judge and repeat it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from deepscope.report._atlas_gallery import topics_of
from deepscope.report._atlas_site import Site, page_of
from deepscope.report._atlas_words import WORDS, standing
from deepscope.report._findings import address, reference
from deepscope.report._ledger import Pairs, provenance
from deepscope.report._numbers import how_many
from deepscope.report._record import Record, cleaned, visible
from deepscope.report._study_record import readable, trials
from deepscope.report._study_view import study_view


@dataclass(frozen=True)
class CodeFile:
    """A file of a study; ``lines`` says how many it has."""

    path: str
    text: str
    lines: str


def atlas_study_page(site: Site, study: Record) -> str:
    """Write the page of a study, which may have no record yet."""
    # What explains a study may be worded better after the run; what it does may not, or its record is stale.
    about = {key: study[key] for key in ("claim", "source", "protocol", "caption")}
    record = readable({**study["record"], **about}) if study["record"] else None
    about = readable(about)
    name = study["id"]
    scale = record["scale"] if record else "quick"
    return site.page(
        "atlas_study.html",
        here=page_of("study", name),
        title=name,
        about=about,
        source={"source": reference(about["source"]), "link": address(about["source"])},
        topics=topics_of(study),
        standing=standing(study),
        stale=cleaned(study["stale"]) if record else "",
        study=study_view(record, study["figure"]) if record else None,
        facts=[("study", name), ("scale", scale), ("trials", trials(record))] if record else [("study", name)],
        covered=site.covered("study", name, study["rows"]),
        words=WORDS,
        command=f"deepscope study run {name} --scale {scale}",
        to_record=f"deepscope atlas record {name}",
        provenance=_provenance(record) if record else [],
        files=[_code(each) for each in study["files"]],
    )


def _provenance(record: dict[str, Any]) -> Pairs:
    pairs = [("device", record.get("device") or ""), ("identity", record.get("identity") or "")]
    return [(word, value) for word, value in pairs if value] + provenance({**record, "schema": ""})


def _code(each: Record) -> CodeFile:
    text = visible(each["text"].rstrip("\n"), lines=True)
    return CodeFile(visible(each["path"]), text, how_many(text.count("\n") + 1, "line"))
