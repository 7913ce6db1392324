"""Findings as entries of a page: worst first, alike ones together."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from deepscope.core import SEVERITIES, UsageError, cite, link
from deepscope.report._record import Record, layer_of

#: From this many on, findings that differ only in layer and numbers are folded into one.
FOLD = 4

_NUMBER = re.compile(r"[-−]?\d[\d.,]*(?:e[-−+]?\d+)?%?")


@dataclass(frozen=True)
class Entry:
    """One finding, with its places in the page.

    ``anchor`` is its own id, ``layer`` the layer it is about (None for the whole network), ``column`` the id of that
    layer's column in the glance, ``section`` the id of its instrument's section (None where there is none).
    """

    severity: str
    instrument: str
    where: str
    message: str
    evidence: str
    source: str
    link: str
    action: str
    anchor: str
    layer: str | None
    column: str | None
    section: str | None

    def unplaced(self) -> Entry:
        """Return the entry for a page without a glance: there is no column to link to."""
        return replace(self, column=None)


@dataclass(frozen=True)
class Group:
    """A finding, and others that say the same of other layers."""

    first: Entry
    more: tuple[Entry, ...]


def entries(
    findings: Sequence[Record], layers: Sequence[str], sections: Mapping[str, str], prefix: str = "finding"
) -> tuple[Entry, ...]:
    """Return findings as entries, worst first, else in the order given."""
    index = {layer: place for place, layer in enumerate(layers)}
    ordered = sorted(findings, key=lambda finding: SEVERITIES.index(finding["severity"]))
    return tuple(_entry(finding, f"{prefix}-{n}", index, sections) for n, finding in enumerate(ordered))


def _entry(finding: Record, anchor: str, index: Mapping[str, int], sections: Mapping[str, str]) -> Entry:
    layer = layer_of(finding["where"], index)
    return Entry(
        severity=finding["severity"],
        instrument=finding["instrument"],
        where=finding["where"],
        message=finding["message"],
        evidence=finding.get("evidence") or "",
        source=reference(finding.get("source") or ""),
        link=address(finding.get("source") or ""),
        action=finding.get("action") or "",
        anchor=anchor,
        layer=layer,
        column=None if layer is None else f"layer-{index[layer]}",
        section=sections.get(finding["instrument"]),
    )


def grouped(listed: Sequence[Entry]) -> tuple[Group, ...]:
    """Fold findings that differ only in layer and numbers; the order is that of each group's first."""
    alike: dict[tuple[str, ...], list[Entry]] = {}
    for entry in listed:
        alike.setdefault(_kind(entry), []).append(entry)
    folded = {key: len(members) >= FOLD for key, members in alike.items()}
    groups: list[Group] = []
    for entry in listed:
        key = _kind(entry)
        if not folded[key]:
            groups.append(Group(entry, ()))
        elif alike[key][0] is entry:
            groups.append(Group(entry, tuple(alike[key][1:])))
    return tuple(groups)


def _kind(entry: Entry) -> tuple[str, ...]:
    message = entry.message
    for name in sorted({entry.where, entry.layer or ""} - {""}, key=len, reverse=True):
        message = message.replace(name, "…")
    return entry.severity, entry.instrument, _NUMBER.sub("#", message)


def reference(key: str) -> str:
    """Return a reference in full; a key that deepscope does not know (a user's own instrument) stands for itself."""
    if not key:
        return ""
    try:
        return cite(key)
    except UsageError:
        return key


def address(key: str) -> str:
    """Return where a reference can be read, or nothing."""
    try:
        return link(key) if key else ""
    except UsageError:
        return ""
