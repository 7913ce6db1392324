"""Which modules a trial's identity follows, and where their files are."""

from __future__ import annotations

import pkgutil
import sys
import sysconfig
from collections.abc import Iterable
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path

from deepscope.core import UsageError
from deepscope.lab._module_source import ModuleSource, Stamp, read_module, stamp

PACKAGE = __name__.partition(".")[0]
FOLDER = Path(__file__).parents[1]
#: Parts of deepscope whose code can change what a trial returns. Versions are recorded of everything else.
PARTS = ("linalg", "subject", "data", "models", "training", "instruments", "studies")


def _stamps() -> dict[Path, Stamp]:
    return {path: stamp(path) for part in PARTS for path in (FOLDER / part).rglob("*.py")}


#: Further parts that change what becomes of a study's trials: how criteria decide, and how figures look.
JUDGING_PARTS = (*PARTS, "core", "figures")

_INSTALLED = ("site-packages", "dist-packages")

#: deepscope's files as they were when this process began to use them, and a user's where they were first found: what
#: it has imported.
_IMPORTED = _stamps()


class Modules:
    """The modules that count for one function: deepscope's parts, its own file, and what else is not installed.

    That is what lies in that file's folder, and what Python finds elsewhere but in its own library and where packages
    are installed; versions are recorded of those.

    Parameters
    ----------
    name
        The module of the function: the dotted name under which it was imported.
    path
        Its file.
    parts
        Which of deepscope's parts count.
    """

    def __init__(self, name: str, path: Path, parts: Iterable[str] = PARTS) -> None:
        self.parts = tuple(parts)
        is_package = path.name == "__init__.py"
        # A file that stands alone is called by its own name, however it was imported: from its path, or as __main__.
        alone = "." not in name and not is_package
        self.root = read_module(path.stem if alone else name, path)
        self._path = path
        self._folder = path.parent if alone else path.parents[name.count(".") + is_package]
        self._top = self.root.name.partition(".")[0]
        self._found: dict[str, ModuleSource | None] = {self.root.name: self.root}

    def find(self, name: str) -> ModuleSource | None:
        """Return a module by its dotted name, or None where it is not followed."""
        if name not in self._found:
            path = self._file(name)
            if path is None:
                self._found[name] = None
            elif path == self._path:
                self._found[name] = self.root
            elif path.is_dir():
                self._found[name] = ModuleSource(name, None, ())
            else:
                if name.partition(".")[0] != PACKAGE and self._folder not in path.parents:
                    _IMPORTED.setdefault(path, stamp(path))
                _require_as_imported(path)
                self._found[name] = read_module(name, path)
        return self._found[name]

    def is_entrance(self, source: ModuleSource) -> bool:
        """Whether it is deepscope's own ``__init__``, which only says where the parts' names are."""
        return source.name == PACKAGE

    def is_users(self, source: ModuleSource) -> bool:
        """Whether it belongs to the user rather than to deepscope, whose modules do nothing when they are imported."""
        return source.name.partition(".")[0] != PACKAGE

    def datasets(self) -> tuple[str, ...]:
        """Return the names of the modules of ``deepscope.data`` that hold a dataset."""
        found = pkgutil.iter_modules([str(FOLDER / "data")])
        return tuple(sorted(module.name for module in found if not module.name.startswith("_")))

    def _file(self, name: str) -> Path | None:
        top, *below = name.split(".")
        if top == PACKAGE:
            return _below(FOLDER, below) if not below or below[0] in self.parts else None
        if self._folder.name in _INSTALLED and top != self._top:
            return None
        return _below(self._folder / top, below) or _elsewhere(name, tuple(sys.path))


def _require_as_imported(path: Path) -> None:
    """Refuse a file that was edited while this process ran: what runs is still what was imported.

    Studies, and the modules in their folder, are imported anew for each run and need no such check.
    """
    if FOLDER / "studies" not in path.parents and _IMPORTED.get(path, stamp(path)) != stamp(path):
        raise UsageError(
            "a file was edited while this process runs the old one",
            where=str(path),
            todo="Start Python anew, and run the study again.",
        )


@lru_cache(maxsize=4096)
def _elsewhere(name: str, _path: tuple[str, ...]) -> Path | None:
    """Return the file of a module that is neither beside the study nor Python's own nor installed, or None."""
    top, *below = name.split(".")
    if top in sys.stdlib_module_names:
        return None
    try:
        found = find_spec(top)
    except (ImportError, ValueError, AttributeError):
        return None
    places = [] if found is None else [*(found.submodule_search_locations or ()), found.origin or ""]
    place = Path(places[0]) if places and places[0] else None
    if place is None or not set(_INSTALLED).isdisjoint(place.parts) or place.suffix not in ("", ".py"):
        return None
    if not place.is_absolute() or place.is_relative_to(sysconfig.get_path("stdlib")):
        return None
    return _below(place.with_suffix(""), below)


def _below(folder: Path, names: list[str]) -> Path | None:
    path = folder.joinpath(*names)
    # A folder without __init__.py is a package as well; it holds nothing of its own.
    for candidate in (path / "__init__.py", path.with_name(f"{path.name}.py"), path):
        if candidate.is_file() or (candidate == path and path.is_dir()):
            return candidate
    return None
