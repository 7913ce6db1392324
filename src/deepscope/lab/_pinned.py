"""The tests that pin instruments and specimens: whether they exist, and which rows of the map they demonstrate."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

_NOT_RUN = ("skip", "skipif", "xfail")
# What ends a test, or the reading of its file, where it is called or raised.
_ENDS = ("pytest.skip", "pytest.xfail", "unittest.SkipTest", "skip", "xfail", "SkipTest")
_Marks = tuple[tuple[str, tuple[str, ...]], ...]


@dataclass(frozen=True)
class Pin:
    """A test as its file has it.

    Attributes
    ----------
    rows
        What it, its class or its file is marked with: ``@pytest.mark.demonstrates("row", …)``.
    fault
        Why it pins nothing; ``""`` where it does.
    """

    rows: tuple[str, ...] = ()
    fault: str = ""


def pin(root: Path, test: str) -> Pin:
    """Look up a test without running it.

    Parameters
    ----------
    root
        The repository.
    test
        As pytest names it: ``"tests/linalg/test_x.py::test_y"``, also in a class, also with parameters.
    """
    if not test:
        return Pin(fault="no test is named")
    file, *names = test.partition("[")[0].split("::")
    path = root / file
    if not path.is_file():
        return Pin(fault=f"there is no file {file}")
    found = dict(_tests(path, path.stat().st_mtime_ns)).get("::".join(names))
    if found is None:
        return Pin(fault=f"there is no test {'::'.join(names) or '(none is named)'} in {file}")
    for name in _NOT_RUN:
        if any(mark == name for mark, _ in found.marks):
            return Pin(fault=f"the test is marked {name}")
    if found.ends:
        return Pin(fault="the test skips itself")
    return Pin(rows=tuple(row for mark, texts in found.marks for row in texts if mark == "demonstrates"))


@dataclass(frozen=True)
class _Test:
    """A test that pytest collects: its marks, with those of its classes and its file; whether it ends at its start."""

    marks: _Marks
    ends: bool


@lru_cache(maxsize=256)
def _tests(path: Path, _changed: int) -> tuple[tuple[str, _Test], ...]:
    return tuple(_within(ast.parse(path.read_text(encoding="utf-8")).body, "", _Test((), False)))


def _within(body: list[ast.stmt], prefix: str, outer: _Test) -> Iterator[tuple[str, _Test]]:
    """Yield the tests of a file or a class, as pytest collects them where it is told nothing else."""
    outer = _Test((*_marks(_listed(body)), *outer.marks), outer.ends or any(map(_ends, body)))
    for node in body:
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test"):
            marks = (*_marks(node.decorator_list), *outer.marks)
            yield prefix + node.name, _Test(marks, outer.ends or any(map(_ends, node.body)))
        elif isinstance(node, ast.ClassDef) and node.name.startswith("Test"):
            marks = (*_marks(node.decorator_list), *outer.marks)
            yield from _within(node.body, f"{prefix}{node.name}::", _Test(marks, outer.ends))


def _listed(body: list[ast.stmt]) -> Iterator[ast.expr]:
    """Yield the marks that a file or a class gives all of its tests: ``pytestmark``, one or a list."""
    for node in body:
        if isinstance(node, (ast.Assign, ast.AnnAssign)) and node.value:
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            if any(isinstance(each, ast.Name) and each.id == "pytestmark" for each in targets):
                yield from node.value.elts if isinstance(node.value, (ast.List, ast.Tuple)) else [node.value]


def _ends(statement: ast.stmt) -> bool:
    """Whether a statement that is always reached ends a test without a result: ``pytest.skip(…)``."""
    found = statement.exc if isinstance(statement, ast.Raise) else getattr(statement, "value", None)
    if isinstance(statement, (ast.Raise, ast.Expr)) and isinstance(found, ast.Call):
        return ast.unparse(found.func) in _ENDS
    return False


def _marks(expressions: Iterable[ast.expr]) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Yield those of some expressions that are marks of pytest, or skips of unittest, with the text they are given."""
    for each in expressions:
        call = each if isinstance(each, ast.Call) else None
        words = ast.unparse(call.func if call else each).split(".")
        if "mark" in words[:-1] or words[0] == "unittest":
            given = call.args if call else []
            texts = (arg.value for arg in given if isinstance(arg, ast.Constant) and isinstance(arg.value, str))
            yield words[-1], tuple(texts)
