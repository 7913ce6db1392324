"""The tests that pin instruments and specimens: whether they exist, and which rows of the map they demonstrate."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

_NOT_RUN = ("skip", "skipif", "xfail")


@dataclass(frozen=True)
class Pin:
    """A test as its file has it.

    Attributes
    ----------
    rows
        What it is marked with: ``@pytest.mark.demonstrates("row", …)``.
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
    functions = dict(_tests(path, path.stat().st_mtime_ns))
    found = functions.get("::".join(names))
    if found is None:
        return Pin(fault=f"there is no test {'::'.join(names) or '(none is named)'} in {file}")
    marks = dict(_marks(found))
    for name in _NOT_RUN:
        if name in marks:
            return Pin(fault=f"the test is marked {name}")
    return Pin(rows=marks.get("demonstrates", ()))


@lru_cache(maxsize=256)
def _tests(path: Path, _changed: int) -> tuple[tuple[str, ast.FunctionDef], ...]:
    return tuple(_functions(ast.parse(path.read_text(encoding="utf-8")).body, ""))


def _functions(body: list[ast.stmt], prefix: str) -> Iterator[tuple[str, ast.FunctionDef]]:
    for node in body:
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test"):
            yield prefix + node.name, node
        elif isinstance(node, ast.ClassDef):
            yield from _functions(node.body, f"{prefix}{node.name}::")


def _marks(function: ast.FunctionDef) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Yield the pytest marks of a test, with the text that each is given."""
    for decorator in function.decorator_list:
        call = decorator if isinstance(decorator, ast.Call) else None
        words = ast.unparse(call.func if call else decorator).split(".")
        if "mark" in words[:-1]:
            given = call.args if call else []
            texts = (each.value for each in given if isinstance(each, ast.Constant) and isinstance(each.value, str))
            yield words[-1], tuple(texts)
