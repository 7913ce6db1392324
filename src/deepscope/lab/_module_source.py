"""A module as its file says it: the statements at its top, and what each of them binds."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from deepscope.core import UsageError, first_line
from deepscope.lab._statement import Statement, outside_scopes
from deepscope.lab._syntax import Import, chain_of, is_idle

Stamp = tuple[int, int, int, int]


class Imported(NamedTuple):
    """What an import statement gives a name to: a module (``name`` is then empty), or what a module calls ``name``.

    ``loads`` is the module that is run, which for ``import a.b`` is more than the ``a`` that is given a name.
    """

    module: str
    name: str
    loads: str

    def __str__(self) -> str:
        return f"{self.module}.{self.name}" if self.name else self.module


class ModuleSource:
    """The statements of a module's file, and where its names come from.

    Attributes
    ----------
    name
        Dotted name.
    path
        Its file; None for a folder without ``__init__.py``.
    statements
        The definitions, assignments and actions at its top. ``if TYPE_CHECKING:`` and
        ``if __name__ == "__main__":`` are left out: a trial does not run them.
    by_name
        The statements that bind a name.
    imports
        What is imported under a name at its top.
    lazy
        The same of ``if TYPE_CHECKING:``, which say where a module's ``__getattr__`` finds its names.
    stars
        Modules of which it imports everything.
    study
        Where it holds a study: the ``Study(…)`` that ``STUDY`` is given.
    apart
        Where it holds a study: ``STUDY`` and the names of its ``judge`` and ``draw``, which change no trial.
    """

    def __init__(self, name: str, path: Path | None, body: Iterable[ast.stmt]) -> None:
        self.name, self.path = name, path
        self._package = name if path is None or path.name == "__init__.py" else name.rpartition(".")[0]
        self.statements: list[Statement] = []
        self.by_name: dict[str, list[Statement]] = {}
        self.imports: dict[str, list[Imported]] = {}
        self.lazy: dict[str, list[Imported]] = {}
        self.stars: list[str] = []
        self.study: ast.Call | None = None
        self.apart: frozenset[str] = frozenset()
        for node in body:
            self._read(node)

    def reachable(self, names: Iterable[str]) -> frozenset[str]:
        """Return the names of this module that some names are or lead to; those ``apart`` lead nowhere."""
        found: set[str] = set()
        left = list(names)
        while left:
            name = left.pop()
            if name not in found and (name in self.by_name or name in self.imports):
                found.add(name)
                if name not in self.apart:
                    left.extend(other for statement in self.by_name.get(name, ()) for other in statement.names)
        return frozenset(found)

    def _read(self, node: ast.stmt) -> None:
        if isinstance(node, Import):
            self._add(node, self.imports)
        elif isinstance(node, ast.If) and (_is_type_checking(node.test) or _is_main(node.test)):
            for each in node.body if _is_type_checking(node.test) else ():
                if isinstance(each, Import):
                    self._add(each, self.lazy)
            for each in node.orelse:
                self._read(each)
        elif not is_idle(node):
            self._keep(node)

    def _keep(self, node: ast.stmt) -> None:
        statement = Statement(node)
        self.statements.append(statement)
        for name in statement.binds:
            self.by_name.setdefault(name, []).append(statement)
        if "STUDY" in statement.binds:
            value = getattr(node, "value", None)
            self.study = value if isinstance(value, ast.Call) else None
            self.apart = _apart(self.study)
        # Such as a module that may be missing: try: import it, except ImportError: …
        for each in outside_scopes(node):
            if isinstance(each, Import):
                self._add(each, self.imports)

    def _add(self, node: Import, found: dict[str, list[Imported]]) -> None:
        for name, imported in self.imported(node):
            if name == "*" and found is self.imports:
                self.stars.append(imported.module)
            else:
                found.setdefault(name, []).append(imported)

    def imported(self, node: Import) -> Iterator[tuple[str, Imported]]:
        """Yield every name that an import statement of this module binds, ``*`` for all, with where it comes from."""
        for alias in node.names:
            if isinstance(node, ast.Import):
                module = alias.name if alias.asname else alias.name.partition(".")[0]
                yield alias.asname or module, Imported(module, "", alias.name)
            else:
                module = self._absolute(node)
                yield alias.asname or alias.name, Imported(module, alias.name, module)

    def _absolute(self, node: ast.ImportFrom) -> str:
        if not node.level:
            return node.module or ""
        above = self._package.rsplit(".", node.level - 1)[0]
        return f"{above}.{node.module}" if node.module else above


def stamp(path: Path) -> Stamp:
    """Return what changes whenever a file does, also where its old time is put back.

    Raises
    ------
    OSError
        There is no such file.
    """
    status = path.stat()
    return status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns


def read_module(name: str, path: Path) -> ModuleSource:
    """Return the source of a module; a file is parsed again only when it was changed.

    Raises
    ------
    UsageError
        The file cannot be read, or is not Python.
    """
    try:
        return _parsed(name, path, stamp(path))
    except (OSError, SyntaxError, ValueError) as error:
        place = f"{path}, line {error.lineno}" if isinstance(error, SyntaxError) else str(path)
        raise UsageError(
            f"a module that the trial uses cannot be read ({type(error).__name__}: {first_line(error)})",
            where=place,
            todo="Mend the file.",
        ) from error


@lru_cache(maxsize=2048)
def _parsed(name: str, path: Path, _stamp: Stamp) -> ModuleSource:
    return ModuleSource(name, path, ast.parse(path.read_bytes()).body)


def _apart(study: ast.Call | None) -> frozenset[str]:
    said = {each.arg: each.value for each in study.keywords} if study else {}
    given = {part: said.get(part) for part in ("judge", "draw")}
    return frozenset({"STUDY", *(name.id if isinstance(name, ast.Name) else part for part, name in given.items())})


def _is_type_checking(test: ast.expr) -> bool:
    return chain_of(test)[-1:] == ("TYPE_CHECKING",)


def _is_main(test: ast.expr) -> bool:
    return ast.unparse(test) in ("__name__ == '__main__'", "'__main__' == __name__")
