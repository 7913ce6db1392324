"""Which modules a trial's identity follows, and where their files are."""

from __future__ import annotations

import pkgutil
from pathlib import Path

from deepscope.core import UsageError
from deepscope.lab._module_source import ModuleSource, Stamp, read_module, stamp

PACKAGE = __name__.partition(".")[0]
FOLDER = Path(__file__).parents[1]
#: Parts of deepscope whose code can change what a trial returns. Versions are recorded of everything else.
PARTS = ("linalg", "subject", "data", "models", "training", "instruments", "studies")


def _stamps() -> dict[Path, Stamp]:
    return {path: stamp(path) for part in PARTS for path in (FOLDER / part).rglob("*.py")}


#: deepscope's files as they were when this process began to use them: what it has imported.
_IMPORTED = _stamps()


class Modules:
    """The modules that count for one function: deepscope's parts, its own file, and what lies in that file's folder.

    Parameters
    ----------
    name
        The module of the function: the dotted name under which it was imported.
    path
        Its file.
    """

    def __init__(self, name: str, path: Path) -> None:
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
            return _below(FOLDER, below) if not below or below[0] in PARTS else None
        if self._folder.name in ("site-packages", "dist-packages") and top != self._top:
            return None
        return _below(self._folder / top, below)


def _require_as_imported(path: Path) -> None:
    """Refuse a file of deepscope that was edited while this process ran: what runs is still what was imported.

    Studies, and the modules of a user, are imported anew for each run and need no such check.
    """
    if FOLDER / "studies" not in path.parents and _IMPORTED.get(path, stamp(path)) != stamp(path):
        raise UsageError(
            "a file of deepscope was edited while this process runs the old one",
            where=str(path),
            todo="Start Python anew, and run the study again.",
        )


def _below(folder: Path, names: list[str]) -> Path | None:
    path = folder.joinpath(*names)
    # A folder without __init__.py is a package as well; it holds nothing of its own.
    for candidate in (path / "__init__.py", path.with_name(f"{path.name}.py"), path):
        if candidate.is_file() or (candidate == path and path.is_dir()):
            return candidate
    return None
