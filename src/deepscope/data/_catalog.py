"""All datasets, found by listing the folder."""

from __future__ import annotations

import importlib
import pkgutil

from deepscope.core import DataError, UsageError, nearest
from deepscope.data._source import Source


def catalog() -> tuple[Source, ...]:
    """Return every dataset, sorted by name.

    >>> "digits" in [source.name for source in catalog()]
    True
    """
    return sources_in("deepscope.data")


def find(name: str) -> Source:
    """Return the dataset with this name.

    Raises
    ------
    UsageError
        There is none; the message says which name was probably meant.
    """
    known = {source.name: source for source in catalog()}
    try:
        return known[name]
    except KeyError:
        raise UsageError("unknown dataset", where=name, todo=nearest(name, known)) from None


def sources_in(package: str) -> tuple[Source, ...]:
    """Return the ``SOURCE`` of every public module in a package's folder, sorted by name.

    Raises
    ------
    DataError
        A module has no ``SOURCE``, or two have the same name.
    Exception
        Whatever a module raises while it is imported: a broken dataset is never left out silently.
    """
    found: dict[str, str] = {}
    sources = []
    for stem in sorted(module.name for module in pkgutil.iter_modules(importlib.import_module(package).__path__)):
        if stem.startswith("_"):
            continue
        source = getattr(importlib.import_module(f"{package}.{stem}"), "SOURCE", None)
        if not isinstance(source, Source):
            raise DataError("a dataset's file has no SOURCE", where=f"{package}.{stem}", todo="Define SOURCE in it.")
        if source.name in found:
            raise DataError(
                f'two datasets are called "{source.name}"',
                where=f"{package}.{found[source.name]} and {package}.{stem}",
                todo="Give one of them another name.",
            )
        found[source.name] = stem
        sources.append(source)
    return tuple(sorted(sources, key=lambda each: each.name))
