"""The gallery: every claim, how it stands, and how each of its criteria came out."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

from deepscope.report._atlas_site import Site, page_of
from deepscope.report._atlas_strip import HEIGHT, Strip, strip
from deepscope.report._atlas_words import STANDINGS, WORDS, caveats, gallery_sentence, standing
from deepscope.report._findings import reference
from deepscope.report._numbers import seconds
from deepscope.report._record import Record, cleaned
from deepscope.report._study_record import judged

_NO_TOPIC = "other"


@dataclass(frozen=True)
class Card:
    """A study in the gallery.

    Attributes
    ----------
    name, claim, source
        Its id; what it puts to the test; authors and year.
    href
        Its page.
    standing
        Its verdict, or that there is none.
    stale
        Whether code has changed since.
    topics
        In words; the card stands under the first.
    strip
        Its criteria; None without a record.
    facts
        Scale and cost, where there is a record.
    find
        What a search finds it by, besides what is seen.
    """

    name: str
    claim: str
    source: str
    href: str
    standing: str
    stale: bool
    topics: list[str]
    strip: Strip | None
    facts: list[str]
    find: str


def gallery_page(site: Site) -> str:
    """Write the first page of the atlas."""
    cards = [_card(site, study) for study in site.studies]
    topics = Counter(topic for card in cards for topic in card.topics)
    standings = Counter(card.standing for card in cards)
    return site.page(
        "atlas_gallery.html",
        here="index.html",
        script="atlas.js",
        title="Atlas",
        sentence=gallery_sentence(site.studies),
        caveats=caveats(site.studies),
        topics=sorted(topics.items()),
        standings=[(each, standings[each]) for each in STANDINGS if standings[each]],
        shelves=[(topic, [card for card in cards if card.topics[0] == topic]) for topic in sorted(topics)],
        size=len(cards),
        words=WORDS,
        tall=HEIGHT,
        demonstrated=site.demonstrated,
        rows=len(site.rows),
    )


def topics_of(study: Record) -> list[str]:
    """Return a study's topics in words; there is always one."""
    return [topic.replace("_", " ") for topic in cleaned(study["topics"])] or [_NO_TOPIC]


def _card(site: Site, study: Record) -> Card:
    record = study["record"]
    source = reference(study["source"])
    rows = " ".join(f"{key} {site.rows[key]['name']}" for key in study["rows"])
    made: dict[str, Any] = cleaned(
        {"claim": " ".join(study["claim"].split()), "source": _who_and_when(source), "find": f"{source} {rows}"}
    )
    return Card(
        name=study["id"],
        href=page_of("study", study["id"]),
        standing=standing(study),
        stale=bool(record and study["stale"]),
        topics=topics_of(study),
        strip=strip(record["criteria"], judged=judged(record)) if record else None,
        facts=_facts(record) if record else [],
        **made,
    )


def _who_and_when(source: str) -> str:
    """Shorten a reference to its authors and year; a key that is no reference stands for itself."""
    who, end, _ = source.partition("). ")
    return who + end.rstrip(". ")


def _facts(record: Record) -> list[str]:
    taken = (record.get("cost") or {}).get("cpu_seconds")
    return [record["scale"]] + ([] if taken is None else [f"{seconds(taken)} of CPU"])
