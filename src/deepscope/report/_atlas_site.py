"""The atlas as its pages read it: entries by name, and what points to what."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from deepscope.report._page import render
from deepscope.report._record import Record, cleaned

_FOLDERS = {"study": "studies", "instrument": "instruments", "specimen": "specimens"}


@dataclass(frozen=True)
class Evidence:
    """What demonstrates a row: its kind, its name, and its page from the root of the site; of a study, its verdict."""

    kind: str
    name: str
    href: str
    verdict: str = ""


@dataclass(frozen=True)
class RowLink:
    """A row of the map on the page of what covers it; ``counts`` says whether it counts as demonstrated by that."""

    name: str
    claim: str
    href: str
    counts: bool


@dataclass(frozen=True)
class Site:
    """The atlas, in which no text but figures and code can act on a page.

    Attributes
    ----------
    version
        Of deepscope.
    studies
        As given: a study is cleaned when its page is made, so that no copy of all figures is held.
    instruments, specimens
        In the order given.
    rows
        Rows of the map by id.
    """

    version: str
    studies: Sequence[Record]
    instruments: Sequence[dict[str, Any]]
    specimens: Sequence[dict[str, Any]]
    rows: dict[str, dict[str, Any]]

    @classmethod
    def of(cls, atlas: Record) -> Site:
        """Read the atlas."""
        return cls(
            version=cleaned(atlas["version"]),
            studies=atlas["studies"],
            instruments=cleaned(atlas["instruments"]),
            specimens=cleaned(atlas["specimens"]),
            rows={row["id"]: row for row in cleaned(atlas["rows"])},
        )

    @cached_property
    def _verdicts(self) -> dict[str, str]:
        return {study["id"]: cleaned(study["record"]["verdict"]) for study in self.studies if study["record"]}

    @property
    def demonstrated(self) -> int:
        """How many rows anything demonstrates."""
        return sum(bool(row["evidence"]) for row in self.rows.values())

    def evidence(self, row: Record) -> list[Evidence]:
        """Return what demonstrates a row."""
        found = []
        for each in row["evidence"]:
            kind, _, name = each.partition(":")
            if kind == "row":
                found.append(Evidence("row", self.rows[name]["name"], row_address(name)))
            else:
                verdict = self._verdicts.get(name, "") if kind == "study" else ""
                found.append(Evidence(kind, name, page_of(kind, name), verdict))
        return found

    def covered(self, kind: str, name: str, rows: Iterable[str]) -> list[RowLink]:
        """Return the rows that something says it covers."""
        return [
            RowLink(row["name"], row["claim"], row_address(row["id"]), f"{kind}:{name}" in row["evidence"])
            for row in (self.rows[key] for key in rows)
        ]

    def page(self, template: str, *, here: str, script: str = "page.js", **values: Any) -> str:
        """Make a page; ``here`` is its place in the site, from which links are relative to the root."""
        return render(
            template, script=script, looks=("page.css", "atlas.css"), here=here, root="../" * here.count("/"),
            version=self.version, **values,
        )  # fmt: skip


def page_of(kind: str, name: str) -> str:
    """Return the page of a study, instrument or specimen, from the root of the site.

    >>> page_of("study", "grokking")
    'studies/grokking.html'
    """
    return f"{_FOLDERS[kind]}/{name}.html"


def row_address(row: str) -> str:
    """Return where a row of the map stands, from the root of the site.

    >>> row_address("perceptron-novikoff")
    'map.html#row-perceptron-novikoff'
    """
    return f"map.html#row-{row}"
