"""One self-contained HTML page from a template."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from deepscope import figures
from deepscope.report._numbers import how_many
from deepscope.report._table import Column, Table

_SIGN = re.compile(r"(?<=\d) ([%±×])")
_NAME = 42  # characters of a name that a table gives room for
_LONG = 36  # characters from which on a cell may break into lines


@dataclass(frozen=True)
class TableView:
    """A table with its id in the page."""

    anchor: str
    table: Table

    @property
    def name_width(self) -> int:
        """Characters that the first column is given before its names break into lines."""
        return min(max(map(len, self.table.columns[0].cells)), _NAME)

    @property
    def rows(self) -> Markup:
        """The telling rows as HTML; end tags that HTML allows to omit are omitted."""
        columns = self.table.columns
        lines = []
        for index in self.table.telling:
            cells = "".join(
                f"<th scope=row>{escape(column.cells[index])}"
                if place == 0
                else f"<td{_kind(column)}>{escape(column.cells[index])}"
                for place, column in enumerate(columns)
            )
            lines.append(f"<tr>{cells}")
        return Markup("\n".join(lines))

    @property
    def data(self) -> Markup:
        """All rows for the script, column by column: a column's cells are one text with a line each."""
        columns = ["\n".join(cell.replace("\n", " ") for cell in column.cells) for column in self.table.columns]
        return as_json({"columns": columns, "size": self.table.size, "telling": self.table.telling})


def _kind(column: Column) -> str:
    if column.numeric:
        return " class=n"
    return " class=long" if max(map(len, column.cells)) > _LONG else ""


def as_json(data: Any) -> Markup:
    """Return data as JSON that can stand in a script element: no text in it can end the element."""
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":"))
    return Markup(text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026"))


def render(template: str, *, script: str = "page.js", looks: tuple[str, ...] = ("page.css",), **values: Any) -> str:
    """Fill in a template of this package, with one of its scripts and some of its style sheets."""
    code = _text_of(script)
    digest = base64.b64encode(hashlib.sha256(code.encode()).digest()).decode()
    return _environment().get_template(template).render(
        palette=Markup(figures.css()), looks=Markup("\n".join(map(_text_of, looks))), script=Markup(code),
        script_hash=digest, **values,
    )  # fmt: skip


@cache
def _text_of(name: str) -> str:
    return (files("deepscope.report") / "templates" / name).read_text(encoding="utf-8")


def _unbroken(value: Any) -> Any:
    """Keep a number and its sign on one line."""
    return _SIGN.sub("\u00a0\\1", value) if type(value) is str else value


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("deepscope.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.finalize = _unbroken
    environment.filters["how_many"] = how_many
    environment.filters["as_json"] = as_json
    # Figures are drawn by deepscope, and matplotlib escapes the text in them.
    environment.filters["drawn"] = Markup
    return environment
