"""What a statement says: its syntax tree in a normal form, and the names in it."""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

Import = ast.Import | ast.ImportFrom
Chain = tuple[str, ...]
_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)
# Load, Store and Del follow from the place in the tree; the others change no result.
_SKIPPED = frozenset({"ctx", "kind", "returns", "type_comment", "type_params"})


@dataclass(frozen=True)
class Content:
    """What is in a statement.

    Attributes
    ----------
    digest
        Hash of its normal form: the syntax tree without comments, docstrings, positions and annotations, except those
        in a class's body, which are the fields of a dataclass.
    chains
        The names in it, each with the attributes read from it: ``("np", "linalg", "norm")``. Whatever the scope: a
        local variable counts as well.
    texts
        Its string constants.
    imports
        The import statements in it.
    """

    digest: str
    chains: frozenset[Chain]
    texts: frozenset[str]
    imports: tuple[Import, ...]


def content(statement: ast.stmt) -> Content:
    r"""Read a statement once, at a cost that grows with its length.

    >>> one, other = (ast.parse(text).body[0] for text in ("def f(x: int): return x  # why", "def f(x):\n return(x)"))
    >>> content(one) == content(other)
    True
    """
    form = hashlib.sha256()
    chains: set[Chain] = set()
    texts: set[str] = set()
    imports: list[Import] = []
    # What is left to read, last first: finished text, or a part of the tree and whether it stands in a class's body.
    left: list[tuple[Any, bool | None]] = [(statement, False)]
    while left:
        part, in_class = left.pop()
        if in_class is None:
            form.update(part.encode("utf-8", "surrogatepass"))
            continue
        if isinstance(part, ast.Constant) and isinstance(part.value, str):
            texts.add(part.value)
        elif isinstance(part, Import):
            imports.append(part)
        elif isinstance(part, (ast.Name, ast.Attribute)) and (chain := chain_of(part)):
            chains.add(chain)
            part = chain
        left.extend(reversed(list(_parts(part, in_class))))
    return Content(form.hexdigest(), frozenset(chains), frozenset(texts), tuple(imports))


def _parts(part: Any, in_class: bool) -> Iterator[tuple[Any, bool | None]]:
    if isinstance(part, tuple):
        yield f"<{'.'.join(part)}>", None
    elif isinstance(part, list):
        yield "[", None
        for item in part:
            if not (isinstance(item, ast.stmt) and is_idle(item, in_class)):
                yield item, in_class
                yield ",", None
        yield "]", None
    elif isinstance(part, ast.Constant):
        # Hexadecimal: Python refuses to write an integer of thousands of decimal digits.
        yield hex(part.value) if type(part.value) is int else repr(part.value), None
    elif isinstance(part, ast.AST):
        yield from _node(part, in_class)
    else:
        yield repr(part), None


def _node(node: ast.AST, in_class: bool) -> Iterator[tuple[Any, bool | None]]:
    annotated = isinstance(node, ast.AnnAssign)
    if annotated and not in_class:
        node = ast.Assign(targets=[node.target], value=node.value)  # type: ignore[attr-defined]
    inside = isinstance(node, ast.ClassDef) or (in_class and not isinstance(node, _FUNCTIONS))
    yield f"{type(node).__name__}(", None
    for name in node._fields:
        value = getattr(node, name, None)
        # Fields that a newer Python adds are empty where they are not used.
        if value is None or value == [] or name in _SKIPPED or (name == "annotation" and not (annotated and in_class)):
            continue
        yield f"{name}=", None
        yield value, inside
    yield ")", None


def is_idle(statement: ast.stmt, in_class: bool = False) -> bool:
    """Whether a statement does nothing: a docstring or another bare constant, ``pass``, an annotation alone."""
    if isinstance(statement, ast.Expr):
        return isinstance(statement.value, ast.Constant)
    return isinstance(statement, ast.Pass) or (
        isinstance(statement, ast.AnnAssign) and statement.value is None and not in_class
    )


def chain_of(expression: ast.expr) -> Chain:
    """Return a name and the attributes read from it, () for any other expression.

    >>> chain_of(ast.parse("np.linalg.norm", mode="eval").body)
    ('np', 'linalg', 'norm')
    """
    attributes: list[str] = []
    while isinstance(expression, ast.Attribute):
        attributes.append(expression.attr)
        expression = expression.value
    return (expression.id, *reversed(attributes)) if isinstance(expression, ast.Name) else ()
