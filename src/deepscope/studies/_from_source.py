"""Importing studies from their source alone.

Python keeps compiled modules and knows them by a file's time, in whole seconds, and its size. A study that was edited
within a second, or copied with its old time, would run as it was before, under the identity of what its file says now.
"""

from __future__ import annotations

import sys
from importlib.machinery import EXTENSION_SUFFIXES, SOURCE_SUFFIXES, ExtensionFileLoader, FileFinder, SourceFileLoader
from pathlib import Path
from types import CodeType
from typing import Any

_INSTALLED = ("site-packages", "dist-packages")
_folders: set[Path] = set()


class FromSource(SourceFileLoader):
    """Compiles a module each time that it is imported, and keeps nothing beside it."""

    def get_code(self, fullname: str) -> CodeType:
        """Return the compiled source."""
        path = self.get_filename(fullname)
        code: CodeType = self.source_to_code(self.get_data(path), path)
        return code


def import_from_source(folder: Path) -> None:
    """Let modules in a folder, and in packages below it, be imported from their source from now on."""
    if folder in _folders:
        return
    _folders.add(folder)
    if _finder not in sys.path_hooks:
        sys.path_hooks.insert(0, _finder)
    for entry in [each for each in sys.path_importer_cache if folder in (Path(each), *Path(each).parents)]:
        del sys.path_importer_cache[entry]


def _finder(entry: str) -> Any:
    path = Path(entry)
    known = not _folders.isdisjoint((path, *path.parents))
    if not known or not path.is_dir() or any(part in _INSTALLED for part in path.parts):
        raise ImportError(entry)
    return FileFinder(entry, (ExtensionFileLoader, EXTENSION_SUFFIXES), (FromSource, SOURCE_SUFFIXES))
