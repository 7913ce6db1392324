"""Everything in code that can change what one function returns: a walk from name to name."""

from __future__ import annotations

from collections.abc import Iterable, Set

from deepscope.core import UsageError
from deepscope.lab._followed import PACKAGE, Modules
from deepscope.lab._module_source import Imported, ModuleSource
from deepscope.lab._statement import Statement, labelled
from deepscope.lab._syntax import Chain

Names = dict[str, list[Imported]]
# What finds code by names that are only known when it runs.
_LOOKUPS = frozenset({"__import__", "eval", "exec", "globals"})
_LOOKUP_MODULES = frozenset({"builtins", "importlib", "pkgutil", "runpy"})
# It imports every file in the folder of datasets and hands one out by its name, which no walk from name to name can
# follow: which datasets count is said by their names in the text of what is taken.
_CATALOG = f"{PACKAGE}.data._catalog"


class Walk:
    """Takes what some names stand for and, transitively, every definition that a name in it leads to.

    A definition is a statement at the top of a module. It is taken whole, and a name counts whatever its scope: what is
    taken is too much rather than too little. Beyond names: where something of a module is taken, what the module does
    when it is imported is taken as well (its actions, and definitions with a decorator that may register them); a
    module that is handed on as an object is taken whole, and so is one in which code is looked up by names that are not
    in the text (``globals``, ``eval``, ``importlib`` …). ``judge``, ``draw`` and ``STUDY``, and what serves them
    alone, never are, unless they are among the names to begin with.

    Parameters
    ----------
    modules
        Where to look.
    names
        Where to begin: functions of ``modules.root``, or what it imports.
    texts
        Further text in which the trial may find the name of a dataset: the text values of its case.
    """

    def __init__(self, modules: Modules, names: Iterable[str], texts: Iterable[str] = ()) -> None:
        self._modules = modules
        self._taken: dict[ModuleSource, set[Statement]] = {}
        self._imports: dict[str, set[str]] = {}
        self._touched: set[ModuleSource] = set()
        self._whole: set[ModuleSource] = set()
        self._reached: set[tuple[ModuleSource, Chain]] = set()
        self._unread: list[tuple[ModuleSource, Statement]] = []
        self._touch_name(modules.root.name)
        for name in names:
            for statement in modules.root.by_name.get(name, ()):
                self._take(modules.root, statement)
            self._follow_imports(modules.root, name, modules.root.imports.get(name, ()), ())
        self._read_all()
        if any(source.name == _CATALOG for source in self._taken):
            self._take_datasets(frozenset(texts))

    def result(self) -> dict[str, str]:
        """Return a hash of each thing taken, by module and name, and what the imported names in them stand for."""
        found = {name: " or ".join(sorted(origins)) for name, origins in self._imports.items()}
        for source, taken in self._taken.items():
            digests = labelled([each for each in source.statements if each in taken])
            found.update({f"{source.name}:{label}": digest for label, digest in digests})
        return dict(sorted(found.items()))

    def _read_all(self) -> None:
        while self._unread:
            self._read(*self._unread.pop())
            if not self._unread:
                # Only now is it known what the trial needs.
                for source in tuple(self._touched):
                    self._take_actions(source)

    def _read(self, source: ModuleSource, statement: Statement) -> None:
        local: Names = {}
        for node in statement.content.imports:
            for name, imported in source.imported(node):
                local.setdefault(name, []).append(imported)
                self._touch_import(imported)
        for chain in statement.content.chains:
            self._follow(source, chain, local)
        if any(_looks_up(source, chain, local) for chain in statement.content.chains):
            self._take_whole(source)

    def _take(self, source: ModuleSource, statement: Statement) -> None:
        taken = self._taken.setdefault(source, set())
        if statement not in taken and not self._modules.is_entrance(source):
            taken.add(statement)
            self._unread.append((source, statement))

    def _take_actions(self, source: ModuleSource) -> None:
        taken = self._taken.get(source, set())
        needed = {name for statement in taken for name in statement.binds}
        for statement in source.statements:
            if statement in taken or not source.apart.isdisjoint(statement.binds):
                continue
            if self._may_register(source, statement, needed) or self._is_felt(source, statement, needed):
                self._take(source, statement)

    def _is_felt(self, source: ModuleSource, statement: Statement, needed: Set[str]) -> bool:
        """Whether a statement acts, and, in a study's file, can change what is ``needed`` there.

        What it can change may be anything where it uses what is imported, or no name of the module at all.
        """
        if not statement.acts:
            return False
        dealt = source.reachable(statement.names - set(statement.binds))
        alone = source.apart and dealt and dealt.isdisjoint(needed) and dealt.isdisjoint(source.imports)
        return not alone or not _LOOKUPS.isdisjoint(statement.names)

    def _may_register(self, source: ModuleSource, statement: Statement, needed: Set[str]) -> bool:
        """Whether a definition's decorator is followed, and, in a study's file, can reach what is ``needed`` there."""
        reached = source.reachable(statement.decorators)
        followed = any(
            self._modules.find(imported.module) for name in reached for imported in source.imports.get(name, ())
        )
        return followed or not reached.isdisjoint(needed if source.apart else source.by_name)

    def _take_whole(self, source: ModuleSource) -> None:
        if source in self._whole:
            return
        self._whole.add(source)
        if self._modules.is_entrance(source):
            for part in self._modules.parts:
                self._reach(f"{PACKAGE}.{part}", ())
        for statement in source.statements:
            if source.apart.isdisjoint(statement.binds):
                self._take(source, statement)
        for names in (source.imports, source.lazy):
            for name, origins in names.items():
                # A module that it imports stays what it is: only names out of modules are its own.
                if name not in source.apart and any(each.name for each in origins):
                    self._follow_imports(source, name, origins, ())

    def _take_datasets(self, texts: Iterable[str]) -> None:
        """Take the datasets that are mentioned by name, all where none is; one may mention another.

        All are taken as well where their package is handed on as an object.
        """
        known = self._modules.datasets()
        if any(source.name == f"{PACKAGE}.data" for source in self._whole):
            # Whoever has the package in hand can reach all of them, whatever a text elsewhere mentions.
            texts = known
        chosen: list[str] | None = None
        while chosen != (said := self._mentioned(known, texts)):
            chosen = said
            for name in chosen or known:
                self._reach(f"{PACKAGE}.data.{name}", ("SOURCE",))
            self._read_all()

    def _mentioned(self, known: Iterable[str], texts: Iterable[str]) -> list[str]:
        said = set(texts)
        for source, taken in self._taken.items():
            # The machinery that serves all datasets mentions none.
            if not source.name.startswith(f"{PACKAGE}.data._"):
                said.update(text for statement in taken for text in statement.content.texts)
        said = {text.replace("-", "_") for text in said}
        return [name for name in known if name in said]

    def _follow(self, source: ModuleSource, chain: Chain, local: Names) -> None:
        """Take what a name in a module stands for, and the attributes read from it."""
        name, attributes = chain[0], chain[1:]
        if name == "STUDY" and name in source.apart:
            raise UsageError(
                "a trial cannot use STUDY, whose changes run nothing again",
                where=source.name,
                todo="Move what it needs from STUDY to the top of the file.",
            )
        for imported in local.get(name, ()):
            self._follow_import(imported, attributes)
        if name not in source.apart:
            self._follow_imports(source, name, source.imports.get(name, ()), attributes)
            for statement in source.by_name.get(name, ()):
                self._take(source, statement)

    def _follow_imports(self, source: ModuleSource, name: str, origins: Iterable[Imported], attributes: Chain) -> None:
        for imported in origins:
            self._imports.setdefault(f"{source.name}:import {name}", set()).add(str(imported))
            self._follow_import(imported, attributes)

    def _follow_import(self, imported: Imported, attributes: Chain) -> None:
        self._touch_name(imported.loads)
        self._reach(imported.module, (imported.name, *attributes) if imported.name else attributes)
        if not imported.name and not attributes:
            self._reach(imported.loads, ())

    def _reach(self, module: str, chain: Chain) -> None:
        """Take what a chain of attributes leads to from a module; the whole module where the chain is empty."""
        source = self._modules.find(module)
        if source is None or (source, chain) in self._reached:
            return
        self._reached.add((source, chain))
        self._touch(source)
        if not chain or chain[0] == "__dict__":
            self._take_whole(source)
        elif chain[0] in source.by_name or chain[0] in source.imports:
            self._follow(source, chain, {})
        elif chain[0] in source.lazy:
            self._follow_imports(source, chain[0], source.lazy[chain[0]], chain[1:])
        elif self._modules.find(f"{module}.{chain[0]}"):
            self._reach(f"{module}.{chain[0]}", chain[1:])
        else:
            self._follow(source, ("__getattr__",), {})

    def _reach_star(self, module: str) -> None:
        source = self._modules.find(module)
        if source is not None and self._modules.is_entrance(source):
            for name in source.lazy:
                self._reach(module, (name,))
        else:
            self._reach(module, ())

    def _touch_name(self, module: str) -> None:
        """Touch a module and the packages around it, all of which an import runs."""
        parts = module.split(".")
        for end in range(1, len(parts) + 1):
            if source := self._modules.find(".".join(parts[:end])):
                self._touch(source)

    def _touch(self, source: ModuleSource) -> None:
        """Note that a module is run: what it does will count, and what it imports with a star."""
        if source in self._touched or self._modules.is_entrance(source):
            return
        self._touched.add(source)
        for module in source.stars:
            self._imports.setdefault(f"{source.name}:import *", set()).add(module)
            self._touch_name(module)
            self._reach_star(module)
        if self._modules.is_users(source):
            for origins in source.imports.values():
                for imported in origins:
                    self._touch_import(imported)

    def _touch_import(self, imported: Imported) -> None:
        self._touch_name(imported.loads)
        self._touch_name(str(imported))


def _looks_up(source: ModuleSource, chain: Chain, local: Names) -> bool:
    """Whether a name, with its attributes, finds code by text that is only known when it runs."""
    name, attributes = chain[0], chain[1:]
    origins = [*local.get(name, ()), *source.imports.get(name, ())]
    for imported in origins:
        path = (*str(imported).split("."), *attributes)
        if path[0] in _LOOKUP_MODULES or path[:2] == ("sys", "modules"):
            return True
    return "__subclasses__" in attributes or (name in _LOOKUPS and not origins and name not in source.by_name)
