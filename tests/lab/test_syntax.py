"""The normal form of a statement, beside a naive twin."""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

import deepscope
from deepscope.lab._syntax import chain_of, content, is_idle

PARTS = ("data", "subject", "training")
FILES = sorted(path for part in PARTS for path in (Path(deepscope.__file__).parent / part).glob("*.py"))


class Plain(ast.NodeTransformer):
    """Strips what changes no result, the slow and obvious way; ``ast.dump`` of what is left is the normal form."""

    in_class = False

    def visit(self, node: ast.AST) -> ast.AST | None:
        if isinstance(node, ast.Pass) or (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)):
            return None
        if isinstance(node, ast.AnnAssign) and not self.in_class:
            if node.value is None:
                return None
            node = ast.Assign(targets=[node.target], value=node.value)
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            node.returns = None
        if isinstance(node, ast.arg):
            node.annotation = None
        if isinstance(node, ast.Constant):
            node.kind = None
        before = self.in_class
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda, ast.ClassDef)):
            self.in_class = isinstance(node, ast.ClassDef)
        self.generic_visit(node)
        self.in_class = before
        return node


def plain(statement: ast.stmt) -> str:
    """Return the twin's normal form; the statement is used up."""
    left = Plain().visit(statement)
    return ast.dump(left) if left else ""


def statement(text: str) -> ast.stmt:
    return ast.parse(text).body[0]


@cache
def statements(path: Path) -> list[str]:
    nodes = ast.parse(path.read_text(encoding="utf-8")).body
    return [ast.unparse(node) for node in nodes if not is_idle(node)]


def test_formatting_and_comments_are_no_content() -> None:
    for path in FILES:
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            assert content(statement(ast.unparse(node))).digest == content(node).digest


def changed(text: str, data: st.DataObject) -> str:
    """Change one thing anywhere in a statement; it may be one that does not count."""
    tree = statement(text)
    node = data.draw(st.sampled_from(list(ast.walk(tree))))
    if isinstance(node, ast.Constant):
        node.value = data.draw(st.sampled_from([0, 1, 1.0, True, None, "1", b"1", 10, 10.0, -0.0, 1j, ...]))
    elif isinstance(node, ast.Name):
        node.id += data.draw(st.sampled_from(["", "_other"]))
    elif isinstance(node, (ast.arg, ast.keyword)) and node.arg:
        node.arg += "_other"
    elif isinstance(node, ast.Attribute):
        node.attr += "_other"
    elif isinstance(node, ast.BinOp):
        node.left, node.right = node.right, node.left
    elif isinstance(node, (ast.FunctionDef, ast.ClassDef)):
        node.body.append(statement(data.draw(st.sampled_from(["pass", "'text'", "x: int", "x: int = 1", "x = 1"]))))
    elif isinstance(node, ast.arguments) and node.kw_defaults:
        node.kw_defaults.reverse()
    elif isinstance(node, ast.ImportFrom):
        node.level += 1
    elif isinstance(node, ast.AnnAssign):
        node.annotation = ast.Name("other", ast.Load())
    elif isinstance(node, (ast.Tuple, ast.List)):
        node.elts.reverse()
    return tree  # type: ignore[return-value]


@given(st.data())
def test_two_statements_have_one_form_only_if_their_trees_are_the_same(data: st.DataObject) -> None:
    text = data.draw(st.sampled_from(statements(data.draw(st.sampled_from(FILES)))))
    tree = changed(text, data)
    same = content(tree).digest == content(statement(text)).digest
    assert same == (plain(tree) == plain(statement(text)))


def test_annotations_count_in_a_class_alone() -> None:
    text = "class A:\n    if B:\n        x: {0} = 1\n"
    text += "    def f(self, y: {1} = 1) -> {1}:\n        t: {1} = 2\n"
    forms = {content(statement(text.format(*each))).digest for each in (("int", "int"), ("int", "str"), ("str", "int"))}
    assert len(forms) == 2
    assert {chain for chain in content(statement(text.format("a.b", "c.d"))).chains if chain[0] in "ac"} == {("a", "b")}


def test_names_come_with_the_attributes_read_from_them() -> None:
    found = content(statement("def f(a, b=c.d):\n    import m.n as o\n    return a.b.c(x)[y].z + 'text' + f'{u:{v}}'"))
    assert found.chains == {("c", "d"), ("a", "b", "c"), ("x",), ("y",), ("u",), ("v",)}
    assert "text" in found.texts
    assert [ast.unparse(node) for node in found.imports] == ["import m.n as o"]


def test_a_chain_that_does_not_start_at_a_name_is_none() -> None:
    assert chain_of(ast.parse("f(x).y", mode="eval").body) == ()


def test_integers_of_any_length_are_read() -> None:
    one, other = (content(ast.Expr(ast.Constant(10**5000 + k))) for k in (0, 1))
    assert one.digest != other.digest


def test_long_expressions_are_read() -> None:
    deep: ast.expr = ast.Name("x", ast.Load())
    for _ in range(20_000):
        deep = ast.BinOp(deep, ast.Add(), ast.Constant(1))
    assert content(ast.Expr(deep)).chains == {("x",)}
