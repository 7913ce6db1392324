"""One statement at the top of a module: what it binds, and whether it does more than that."""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import cached_property

from deepscope.lab._syntax import Content, Import, chain_of, content, is_idle

_DEFINITIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
# What these bind is seen by themselves alone.
_SCOPES = (ast.Lambda, ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)


class Statement:
    """One statement at the top of a module.

    Attributes
    ----------
    binds
        The names that it gives a value to, sorted.
    defines
        Whether it is a function or a class.
    acts
        Whether it does more than binding them: changes an object, calls something, loops.
    decorators
        The names at the root of a definition's decorators.
    """

    def __init__(self, node: ast.stmt) -> None:
        self._node = node
        self.binds = tuple(sorted(set(_bound(node))))
        self.defines = isinstance(node, _DEFINITIONS)
        self.acts = _acts(node)
        self.decorators = tuple(_decorators(node))

    @cached_property
    def content(self) -> Content:
        """What it says."""
        return content(self._node)

    @cached_property
    def names(self) -> frozenset[str]:
        """Every name in it, whatever the scope."""
        return frozenset(chain[0] for chain in self.content.chains)


def labelled(statements: Sequence[Statement]) -> Iterator[tuple[str, str]]:
    """Label each statement by what it binds, and give its hash; where their order counts, give that as well."""
    bound = Counter(name for statement in statements for name in statement.binds)
    seen: Counter[str] = Counter()
    order = []
    for statement in statements:
        label = ",".join(statement.binds) or "(statement)"
        seen[label] += 1
        label = label if seen[label] == 1 else f"{label} ({seen[label]})"
        yield label, statement.content.digest
        if not statement.defines or any(bound[name] > 1 for name in statement.binds):
            order.append(label)
    if any(statement.acts for statement in statements) or max(bound.values(), default=0) > 1:
        yield "(order)", " ".join(order)


def outside_scopes(statement: ast.stmt) -> Iterator[ast.AST]:
    """Yield the parts of a statement that share its names: not what is inside a function, class or comprehension."""
    left: list[ast.AST] = [statement]
    while left:
        node = left.pop()
        yield node
        if not isinstance(node, _DEFINITIONS + _SCOPES):
            left.extend(ast.iter_child_nodes(node))


def _bound(statement: ast.stmt) -> Iterator[str]:
    for node in outside_scopes(statement):
        if isinstance(node, _DEFINITIONS):
            yield node.name
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id
        elif isinstance(node, ast.alias):
            yield node.asname or node.name.partition(".")[0]
        elif isinstance(node, (ast.ExceptHandler, ast.MatchAs, ast.MatchStar)) and node.name:
            yield node.name
        elif isinstance(node, ast.MatchMapping) and node.rest:
            yield node.rest


def _acts(statement: ast.stmt) -> bool:
    if isinstance(statement, (_DEFINITIONS, Import)) or is_idle(statement):
        return False
    if isinstance(statement, (ast.Assign, ast.AnnAssign, ast.AugAssign)):
        targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
        # "_ = f()" is a call whose value nobody wants.
        return any(
            isinstance(node, (ast.Attribute, ast.Subscript)) for each in targets for node in ast.walk(each)
        ) or all(isinstance(each, ast.Name) and each.id == "_" for each in targets)
    if isinstance(statement, (ast.If, ast.Try, ast.TryStar)):
        return any(_acts(each) for each in _blocks(statement))
    # "type X = …" of Python 3.12 binds a name and does no more.
    return type(statement).__name__ != "TypeAlias"


def _blocks(statement: ast.If | ast.Try | ast.TryStar) -> Iterator[ast.stmt]:
    yield from statement.body
    yield from statement.orelse
    if not isinstance(statement, ast.If):
        yield from statement.finalbody
        for handler in statement.handlers:
            yield from handler.body


def _decorators(node: ast.stmt) -> Iterator[str]:
    for expression in node.decorator_list if isinstance(node, _DEFINITIONS) else ():
        chain = chain_of(expression.func if isinstance(expression, ast.Call) else expression)
        yield from chain[:1]
