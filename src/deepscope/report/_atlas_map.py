"""The map: every method, system and finding that the reading lists name, and what demonstrates it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from deepscope.report._atlas_site import Evidence, Site
from deepscope.report._atlas_words import map_sentence

#: The reading lists by their numbers.
LISTS = {"000": "resources", "001": "notes", "003": "science of deep learning", "004": "recommended reading"}


@dataclass(frozen=True)
class MapRow:
    """A row, and what demonstrates it."""

    row: dict[str, Any]
    evidence: list[Evidence]
    lists: str

    @property
    def state(self) -> str:
        """Whether anything demonstrates it."""
        return "demonstrated" if self.evidence else "open"


@dataclass(frozen=True)
class MapGroup:
    """A group of rows."""

    name: str
    anchor: str
    rows: list[MapRow]

    @property
    def demonstrated(self) -> int:
        """How many of its rows anything demonstrates."""
        return sum(bool(each.evidence) for each in self.rows)

    @property
    def count(self) -> str:
        """How many of how many, as "7 of 52"."""
        return f"{self.demonstrated:,} of {len(self.rows):,}"


def map_page(site: Site) -> str:
    """Write the page of the map."""
    rows = [MapRow(row, site.evidence(row), _lists(row["lists"])) for row in site.rows.values()]
    names = dict.fromkeys(each.row["group"] for each in rows)
    groups = [
        MapGroup(name, f"group-{place}", [each for each in rows if each.row["group"] == name])
        for place, name in enumerate(names)
    ]
    return site.page(
        "atlas_map.html",
        here="map.html",
        script="atlas.js",
        title="The map",
        sentence=map_sentence(site.demonstrated, len(rows)),
        groups=groups,
        size=len(rows),
        demonstrated=site.demonstrated,
    )


def _lists(numbers: list[str]) -> str:
    """Name reading lists; one that is not known stands for itself.

    >>> _lists(["000", "003"])
    'resources, science of deep learning'
    """
    return ", ".join(LISTS.get(number, number) for number in numbers)
