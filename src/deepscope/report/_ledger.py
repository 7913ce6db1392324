"""The end of a page: what was left out, what it cost, and what would reproduce it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from deepscope.report._numbers import how_many, in_si, seconds
from deepscope.report._record import Record

Pairs = list[tuple[str, str]]


def by_reason(left_out: Sequence[Record]) -> list[tuple[str, list[str]]]:
    """Gather a ledger by reason, in the order of first appearance."""
    reasons: dict[str, list[str]] = {}
    for entry in left_out:
        reasons.setdefault(entry["reason"], []).append(entry["name"])
    return list(reasons.items())


def facts(subject: Record) -> Pairs:
    """Say what the subject is, as pairs of a word and its value."""
    data = subject.get("data")
    pairs: Pairs = [
        ("kind", subject.get("kind") or ""),
        ("class", subject.get("class") or ""),
        ("file", subject.get("path") or ""),
        ("parameters", f"{subject['parameters']:,}" if subject.get("parameters") is not None else ""),
        ("tensors", f"{subject['tensors']:,}" if subject.get("tensors") is not None else ""),
        ("size", in_si(subject["bytes"], "B") if subject.get("bytes") is not None else ""),
        ("values in", _dtypes(subject.get("dtypes") or {})),
        ("device", subject.get("device") or ""),
        ("data", _data(data) if data else "none: instruments that need data were not run"),
        ("loss", subject.get("loss") or ("none given" if data else "")),
    ]
    return [(word, value) for word, value in pairs if value]


def _dtypes(dtypes: Mapping[str, int]) -> str:
    if len(dtypes) == 1:
        return next(iter(dtypes))
    return ", ".join(f"{name} ({count:,})" for name, count in dtypes.items())


def _data(data: Record) -> str:
    parts = [data.get("name") or "unnamed"]
    if data.get("samples") is not None:
        parts.append(how_many(data["samples"], "sample"))
    if data.get("batches") is not None:
        count = data["batches"]
        parts.append(f"{count:,} batch{'' if count == 1 else 'es'}")
    return ", ".join(parts)


def cost_lines(cost: Record) -> str:
    """Say what a measurement cost, in one line."""
    parts = []
    if cost.get("wall_seconds") is not None:
        parts.append(seconds(cost["wall_seconds"]))
    if cost.get("cpu_seconds") is not None:
        parts.append(f"{seconds(cost['cpu_seconds'])} of CPU")
    for kind in ("forward", "backward"):
        count = cost.get(f"{kind}_passes")
        if count:
            parts.append(f"{count:,} {kind} pass{'' if count == 1 else 'es'}")
    if cost.get("peak_memory_bytes"):
        parts.append(f"{in_si(cost['peak_memory_bytes'], 'B')} of memory at the peak")
    return ", ".join(parts)


def provenance(record: Record) -> Pairs:
    """Say with what and when it was made."""
    pairs: Pairs = []
    if record.get("seed") is not None:
        pairs.append(("seed", str(record["seed"])))
    if record.get("budget"):
        pairs.append(("budget", record["budget"]))
    hardware = record.get("hardware") or {}
    if hardware:
        pairs.append(("hardware", _hardware(hardware)))
    versions = record.get("versions") or {}
    if versions:
        pairs.append(("versions", ", ".join(f"{name} {version}" for name, version in versions.items())))
    if record.get("commit"):
        pairs.append(("git commit", record["commit"]))
    if record.get("date"):
        pairs.append(("date", record["date"]))
    if record.get("schema"):
        pairs.append(("record", record["schema"]))
    return pairs


def _hardware(hardware: Record) -> str:
    parts = [hardware.get("cpu") or ""]
    if hardware.get("cores"):
        parts.append(how_many(hardware["cores"], "core"))
    if hardware.get("memory_bytes"):
        parts.append(f"{in_si(hardware['memory_bytes'], 'B')} of memory")
    parts.append(hardware.get("accelerator") or "no accelerator")
    return ", ".join(part for part in parts if part)
