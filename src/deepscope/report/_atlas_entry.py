"""Pages of instruments and specimens: the list of each, and one page for every entry."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from deepscope.report._atlas_site import Site, page_of
from deepscope.report._findings import address, reference


@dataclass(frozen=True)
class Kind:
    """What a list of entries is called, and says of them; one of them is a ``word``."""

    word: str
    title: str
    what: str

    @property
    def href(self) -> str:
        """The page of the list."""
        return f"{self.word}s.html"


INSTRUMENTS = Kind(
    "instrument", "Instruments",
    "An instrument measures a trained network, any PyTorch module or a bare checkpoint, and says what it saw, how sure "
    "it is, and what that means.",
)  # fmt: skip
SPECIMENS = Kind(
    "specimen", "Specimens",
    "A specimen is a reference implementation of a model or a training method, pinned by a test of the property that "
    "defines it.",
)  # fmt: skip


def entries_page(site: Site, kind: Kind) -> str:
    """Write the list of all instruments, or of all specimens, those of a family together."""
    entries = site.instruments if kind is INSTRUMENTS else site.specimens
    shown = [
        {**entry, "href": page_of(kind.word, entry["name"]), "reference": reference(entry["source"])}
        for entry in sorted(entries, key=lambda entry: (entry.get("family") or "", entry["name"]))
    ]
    return site.page("atlas_entries.html", here=kind.href, kind=kind, title=kind.title, entries=shown)


def entry_page(site: Site, kind: Kind, entry: dict[str, Any]) -> str:
    """Write the page of an instrument or a specimen."""
    name = entry["name"]
    return site.page(
        "atlas_entry.html",
        here=page_of(kind.word, name),
        kind=kind,
        title=entry["title"],
        entry={"how_to_read": "", **entry},
        source={"source": reference(entry["source"]), "link": address(entry["source"])},
        covered=site.covered(kind.word, name, entry["rows"]),
        command=_command(kind, entry),
    )


def _command(kind: Kind, entry: dict[str, Any]) -> str:
    if kind is INSTRUMENTS:
        return f"deepscope examine model.safetensors --instruments {entry['name']}"
    return f"deepscope models show {entry['name']}" if entry.get("parameters") is not None else ""
