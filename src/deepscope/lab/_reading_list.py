"""The reading list: what is cited and what the map names, with what runs here."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from deepscope.core import cite, link, references, rows
from deepscope.lab._declarations import instruments, specimens
from deepscope.studies import catalog


def reading_list(text: str = "") -> dict[str, Any]:
    """Search references and rows of the map. Nothing is imported that could run, so that searching never loads torch.

    Parameters
    ----------
    text
        Words that must all occur in an entry, whatever their case and accents; ``""`` finds everything.

    Returns
    -------
    dict
        ``text``; ``references``, each with ``id``, ``cited``, ``link`` and what ``runs`` here after it; ``rows`` of the
        map, each with ``id``, ``name``, ``claim``, ``source``, ``group`` and what ``runs`` here for it, such as
        ``"study grokking"``; ``of``, the numbers of references and rows there are.

    Raises
    ------
    DeepscopeError
        A study, an instrument or a specimen cannot be listed.
    """
    words = _plain(text).split()
    by_source: dict[str, list[str]] = {}
    by_row: dict[str, list[str]] = {}
    for name, source, its_rows in _what_runs():
        by_source.setdefault(source, []).append(name)
        for key in its_rows:
            by_row.setdefault(key, []).append(name)
    cited = [
        {"id": key, "cited": cite(key), "link": link(key), "runs": by_source.get(key, [])}
        for key, entry in references().items()
        if _has(words, [key, cite(key), *_authors(entry), *by_source.get(key, ())])
    ]
    named = [
        {**{part: entry[part] for part in ("id", "name", "claim", "source", "group")}, "runs": by_row.get(key, [])}
        for key, entry in rows().items()
        if _has(words, [*(entry[part] for part in ("id", "name", "claim", "source", "group")), *by_row.get(key, ())])
    ]
    return {
        "text": text,
        "references": sorted(cited, key=lambda each: _plain(each["cited"])),
        "rows": named,
        "of": {"references": len(references()), "rows": len(rows())},
    }


def _what_runs() -> Iterator[tuple[str, str, Iterable[str]]]:
    """Yield name, source and rows of all that runs here."""
    for heading in catalog():
        yield f"study {heading.id}", heading.source, heading.rows
    for kind, found in (("instrument", instruments()), ("specimen", specimens())):
        for each in found:
            yield f"{kind} {each['name']}", each["source"], each["rows"]


def _authors(entry: Mapping[str, Any]) -> Iterator[str]:
    for author in entry["author"]:
        yield from author.values()


def _has(words: Iterable[str], texts: Iterable[str]) -> bool:
    entry = _plain(" ".join(texts))
    return all(word in entry for word in words)


def _plain(text: str) -> str:
    """Return text without case and accents.

    >>> _plain("Schölkopf")
    'scholkopf'
    """
    return "".join(each for each in unicodedata.normalize("NFKD", text) if not unicodedata.combining(each)).casefold()
