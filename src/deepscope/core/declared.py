"""What a file declares about itself, read without running it."""

from __future__ import annotations

import ast
from collections.abc import Collection
from pathlib import Path
from typing import Any


def declared(path: Path, kind: str, named: Collection[str] = ()) -> tuple[dict[str, Any], ...]:
    """Return the plain fields of every ``Kind(field=…)`` that a file assigns to a name at its top.

    Parameters
    ----------
    path
        A Python file.
    kind
        Name of the class: ``"Instrument"``, ``"Specimen"``.
    named
        Fields that hold a function or class, of which the name is wanted.

    Returns
    -------
    tuple of dict
        In the order of the file. Other fields that are not plain text, numbers or tuples of them are left out.

    Raises
    ------
    OSError, SyntaxError, ValueError
        The file cannot be read, or is not Python.
    """
    tree = ast.parse(path.read_text(encoding="utf-8"))
    values = [each.value for each in tree.body if isinstance(each, (ast.Assign, ast.AnnAssign)) and each.value]
    calls = [node for value in values for node in ast.walk(value) if isinstance(node, ast.Call)]
    wanted = [call for call in calls if isinstance(call.func, ast.Name) and call.func.id == kind]
    return tuple({**plain_fields(call), **_names(call, named)} for call in wanted)


def _names(call: ast.Call, fields: Collection[str]) -> dict[str, str]:
    return {
        str(each.arg): each.value.id
        for each in call.keywords
        if each.arg in fields and isinstance(each.value, ast.Name)
    }


def plain_fields(call: ast.Call) -> dict[str, Any]:
    """Return the keyword arguments of a call that are plain values.

    >>> plain_fields(ast.parse("f(a=1, b=('x', 'y'), c=g)", mode="eval").body)
    {'a': 1, 'b': ('x', 'y')}
    """
    found = {}
    for each in call.keywords:
        try:
            found[str(each.arg)] = ast.literal_eval(each.value)
        except ValueError:
            continue
    return found
