"""Instruments and specimens as their files declare them, read without importing any."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from deepscope.core import DeepscopeError, UsageError, cite, declared, first_line, row
from deepscope.lab._repository import in_repository

_SOURCE = Path(__file__).parents[1]
_INSTRUMENT = ("name", "title", "formula", "how_to_read", "source", "pinned_by")
_OPTIONAL = ("parameters",)
_NAMED = ("build",)
_SPECIMEN = ("name", "title", "build", "formula", "source", "pinned_by")


def instruments() -> tuple[dict[str, Any], ...]:
    """Return what every instrument declares: name, title, formula, how to read it, source, rows, test, file.

    Raises
    ------
    DeepscopeError
        A file cannot be read, a field is missing or not plain text, or a reference or row does not exist.
    """
    return _declared("Instrument", _INSTRUMENT, ["instruments"])


def specimens() -> tuple[dict[str, Any], ...]:
    """Return what every specimen declares, with the name of what builds it, and its number of ``parameters``.

    Its ``family`` is its file's name, or ``"training"`` for a method, which has no parameters (None).

    Raises
    ------
    DeepscopeError
        As ``instruments``.
    """
    found = _declared("Specimen", _SPECIMEN, ["models", "training"])
    return tuple({"parameters": None, **each, "family": _family(Path(each["path"]))} for each in found)


def _family(path: Path) -> str:
    return "training" if path.parent.name == "training" else path.stem.strip("_").replace("_", " ")


def check_keys(path: Path, source: str, rows: Iterable[str]) -> None:
    """Refuse a file that cites a reference, or names a row of the map, that does not exist.

    Raises
    ------
    DeepscopeError
        It does.
    """
    try:
        cite(source)
        for key in rows:
            row(key)
    except UsageError as error:
        raise DeepscopeError(error.what, where=f"{error.where}, in {path}", todo=error.todo) from error


def _declared(kind: str, wanted: Iterable[str], parts: Iterable[str]) -> tuple[dict[str, Any], ...]:
    found: dict[str, dict[str, Any]] = {}
    for path in sorted(path for part in parts for path in (_SOURCE / part).glob("*.py")):
        for fields in _read(path, kind):
            entry = _checked({"rows": (), **fields}, kind, wanted, path)
            if entry["name"] in found:
                raise DeepscopeError(
                    f"two {kind.lower()}s have one name",
                    where=entry["name"],
                    todo=f"Rename the one in {path} or in {found[entry['name']]['path']}.",
                )
            found[entry["name"]] = entry
    return tuple(found[name] for name in sorted(found))


def _read(path: Path, kind: str) -> tuple[dict[str, Any], ...]:
    try:
        return declared(path, kind, _NAMED)
    except (OSError, SyntaxError, ValueError) as error:
        raise DeepscopeError(
            f"a file cannot be read ({first_line(error)})", where=str(path), todo="Mend it."
        ) from error


def _checked(fields: Mapping[str, Any], kind: str, wanted: Iterable[str], path: Path) -> dict[str, Any]:
    for name in wanted:
        if not isinstance(fields.get(name), str):
            is_what, example = ("the name of a function or class", "Name") if name in _NAMED else ("plain text", '"…"')
            raise DeepscopeError(
                f"the {kind.lower()}'s {name} is not {is_what}",
                where=str(path),
                todo=f"Write {kind}(…, {name}={example}).",
            )
    check_keys(path, fields["source"], fields["rows"])
    kept = {name: fields[name] for name in (*wanted, *_OPTIONAL) if name in fields}
    return {**kept, "rows": tuple(fields["rows"]), "path": in_repository(path)}
