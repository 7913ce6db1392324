"""The atlas as data: studies with their recorded verdicts, instruments, specimens, and the map of the field."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import deepscope
from deepscope.core import DeepscopeError, UsageError, rows
from deepscope.lab._atlas_records import AtlasRecord, read_records
from deepscope.lab._coverage import coverage_of, evidence_by_row
from deepscope.lab._declarations import check_keys, instruments, specimens
from deepscope.lab._identity import study_code
from deepscope.lab._pinned import pin
from deepscope.lab._repository import in_repository, records_folder, repository
from deepscope.studies import Heading, catalog


def atlas(records: Path | None = None) -> dict[str, Any]:
    """Gather everything that the atlas shows. No study is imported, and torch is not loaded.

    Parameters
    ----------
    records
        Folder of recorded verdicts; the repository's ``atlas/`` unless given.

    Returns
    -------
    dict
        ``version``; ``studies``, ``instruments`` and ``specimens`` as they declare themselves, each study with its
        ``record``, ``figure``, ``stale`` and ``files``; ``rows``, the map, each with its ``evidence``. Plain JSON.

    Raises
    ------
    DeepscopeError
        There is no such folder, a record does not parse, its figure is missing, it is that of no study, or a row or
        reference does not exist.
    """
    if records is not None and not records.is_dir():
        raise UsageError("there is no such folder of records", where=str(records), todo="Leave --records away.")
    folder = records or records_folder()
    headings = catalog()
    _require_studies(folder, headings)
    found = read_records(folder)
    studies = [_study(heading, found.get(heading.id)) for heading in headings]
    pinned = {kind: [_pinned(each) for each in listed()] for kind, listed in _PINNED.items()}
    evidence = evidence_by_row(rows(), studies, **pinned)
    return {
        "version": deepscope.__version__,
        "studies": studies,
        **pinned,
        "rows": [{**each, "evidence": evidence[key]} for key, each in rows().items()],
    }


def coverage(records: Path | None = None) -> dict[str, Any]:
    """Count the rows of the map that are demonstrated.

    Parameters
    ----------
    records
        As in ``atlas``.

    Returns
    -------
    dict
        ``rows`` and ``demonstrated``, numbers; ``by_group``, the same for each group; ``by_row``, the list of evidence,
        such as ``"study:grokking"``.

    Raises
    ------
    DeepscopeError
        As ``atlas``.
    """
    return coverage_of(atlas(records)["rows"])


_PINNED = {"instruments": instruments, "specimens": specimens}


def identity_of(heading: Heading) -> str:
    """Return the hash of the code that a study's verdict and figure come from."""
    return study_code(_module(heading), heading.path).identity


def _module(heading: Heading) -> str:
    return f"deepscope.studies.{heading.path.parent.name}.{heading.path.stem}"


def _study(heading: Heading, found: AtlasRecord | None) -> dict[str, Any]:
    check_keys(heading.path, heading.source, heading.rows)
    code = study_code(_module(heading), heading.path)
    stale = found is not None and found.record["identity"] != code.identity
    return {
        "id": heading.id,
        "claim": heading.claim,
        "source": heading.source,
        "topics": list(heading.topics),
        "rows": list(heading.rows),
        "protocol": heading.protocol,
        "caption": heading.caption,
        "files": [{"path": in_repository(path), "text": path.read_text(encoding="utf-8")} for path in code.files],
        "record": found.record if found else None,
        "figure": found.figure if found else "",
        "stale": "its code has changed since" if stale else "",
    }


def _pinned(declared: Mapping[str, Any]) -> dict[str, Any]:
    found = pin(repository(), declared["pinned_by"])
    return {**declared, "rows": list(declared["rows"]), "demonstrates": list(found.rows), "fault": found.fault}


def _require_studies(folder: Path, headings: tuple[Heading, ...]) -> None:
    """Refuse a file that is named for no study before it is read: it could not be made again."""
    known = {heading.id for heading in headings}
    for path in sorted(folder.glob("*.json")):
        if path.stem not in known:
            raise DeepscopeError(
                "a record is that of no study",
                where=str(path),
                todo="Remove it with its figure, or bring back the study or the name.",
            )
