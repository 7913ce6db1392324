"""A terminal as the text reports see it: indented lines, findings, tables, blocks."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from rich.cells import cell_len
from rich.text import Text

from deepscope.report._findings import Group
from deepscope.report._numbers import NONE, how_many
from deepscope.report._table import Column, Table

if TYPE_CHECKING:
    from rich.console import Console

STYLES = {"problem": "bold red", "warning": "yellow", "note": "dim"}
SIGNS = {"problem": "▲", "warning": "●", "note": "○"}
WHERE_ALL_IS = "see --out report.html"

_ASCII = str.maketrans(
    {"▲": "!", "●": "*", "○": "-", "–": "-", "−": "-", "…": "...", "±": "+/-", "×": "x", "α": "alpha", "λ": "lambda"}
    | {"‖": "||", "·": ".", "\u00a0": " ", "▁": "1", "▂": "2", "▃": "3", "▄": "4", "▅": "5", "▆": "6", "▇": "7"}
    | {"█": "8", "₊": "+", "≥": ">=", "≤": "<="}
)


class Screen:
    """Writes to a console in words that fit its width; in ASCII where it cannot show more."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self.width = max(console.width, 20)
        self._ascii = console.options.ascii_only

    def shown(self, text: str) -> str:
        """Return text as this console can show it."""
        return text.translate(_ASCII).encode("ascii", "replace").decode() if self._ascii else text

    def line(self, *parts: str | tuple[str, str], indent: int = 0) -> None:
        """Write one paragraph of plain or styled parts, broken between words."""
        text = self._assembled(parts)
        # A console that wraps by itself fills lines up with blanks, which a copied text would carry along.
        for line in text.wrap(self.console, self.width - indent, overflow="fold"):
            line.rstrip()
            self.console.print(Text(" " * indent) + line, highlight=False, soft_wrap=True)

    def whole(self, *parts: str | tuple[str, str], indent: int = 0) -> None:
        """Write what is copied, a command or a path: no line end gets into it."""
        self.console.print(Text(" " * indent) + self._assembled(parts), highlight=False, soft_wrap=True)

    def blank(self) -> None:
        """Write an empty line."""
        self.console.print()

    def heading(self, text: str) -> None:
        """Begin a part."""
        self.blank()
        self.line((text, "bold"))

    def findings(self, groups: Sequence[Group], limit: int) -> None:
        """Write findings in plain words."""
        for group in groups[:limit]:
            entry = group.first
            self.line(
                (f"{SIGNS[entry.severity]} {entry.severity}", STYLES[entry.severity]),
                f"  {entry.where or 'the whole network'}  ",
                (entry.instrument, "dim"),
            )
            self.line(entry.message, indent=2)
            if entry.evidence:
                self.line(("Seen: ", "dim"), entry.evidence, indent=2)
            if entry.action:
                self.line(("To do: ", "dim"), entry.action, indent=2)
            if group.more:
                places = ", ".join(each.where for each in group.more[:3])
                rest = f" … and {len(group.more) - 3:,} more" if len(group.more) > 3 else ""
                self.line((f"The same in {places}{rest}.", "dim"), indent=2)
        if len(groups) > limit:
            hidden = sum(1 + len(group.more) for group in groups[limit:])
            self.line((f"… and {how_many(hidden, 'more finding')} ({WHERE_ALL_IS})", "dim"))

    def table(self, table: Table) -> None:
        """Write the columns that fit, those whose values differ first; say what is not shown."""
        if not table.size:
            return
        columns = self._fitting(table)
        rows = [[self._cell(column, index) for column in columns] for index in table.telling]
        heads = [self.shown(_short_head(column)) for column in columns]
        widths = [max(map(cell_len, [head, *(row[place] for row in rows)])) for place, head in enumerate(heads)]
        self._row(heads, columns, widths, "dim")
        for row in rows:
            self._row(row, columns, widths, "")
        hidden = [
            how_many(count, f"more {noun}")
            for count, noun in ((table.size - len(rows), "row"), (len(table.columns) - len(columns), "column"))
            if count
        ]
        if hidden:
            self.line((f"… and {', '.join(hidden)} ({WHERE_ALL_IS})", "dim"), indent=2)

    def _assembled(self, parts: Iterable[str | tuple[str, str]]) -> Text:
        return Text.assemble(
            *(self.shown(part) if isinstance(part, str) else (self.shown(part[0]), part[1]) for part in parts)
        )

    def _row(self, cells: Sequence[str], columns: Sequence[Column], widths: Sequence[int], style: str) -> None:
        padded = [
            " " * (width - cell_len(cell)) + cell if column.numeric else cell + " " * (width - cell_len(cell))
            for cell, column, width in zip(cells, columns, widths, strict=True)
        ]
        text = Text("  " + "  ".join(padded).rstrip(), style=style, no_wrap=True, overflow="crop")
        self.console.print(text, highlight=False)

    def _fitting(self, table: Table) -> list[Column]:
        first, *others = table.columns
        telling = [column for column in others if len({column.cells[index] for index in table.telling}) > 1]
        telling += [column for column in others if column not in telling and column.cells[table.telling[0]] != NONE]
        room = self.width - 2 - self._wide(first, table)
        chosen = set()
        for column in telling:
            wide = self._wide(column, table) + 2
            if wide <= room:
                room -= wide
                chosen.add(column.key)
        return [first, *(column for column in others if column.key in chosen)]

    def _wide(self, column: Column, table: Table) -> int:
        cells = (self._cell(column, index) for index in table.telling)
        return max(map(cell_len, [self.shown(_short_head(column)), *cells]))

    def _cell(self, column: Column, index: int) -> str:
        longest = max(self.width // 3, 8)
        return self.shown((clipped if column.key == "name" else clipped_behind)(column.cells[index], longest))

    def blocks(self, values: Sequence[float | None], *, log: bool) -> str:
        """Return values as a row of blocks, one character each; a gap where there is none."""
        return self.shown(_blocks(values, log=log))


def clipped(text: str, longest: int) -> str:
    """Shorten text in front: the end of a layer's name tells it from the others."""
    if cell_len(text) <= longest:
        return text
    end = text[-(longest - 1) :]
    while cell_len(end) > longest - 1:
        end = end[1:]
    return f"…{end}"


def clipped_behind(text: str, longest: int) -> str:
    """Shorten text at its end: a sentence begins with what it says."""
    return clipped(text[::-1], longest)[::-1]


def _short_head(column: Column) -> str:
    words = re.sub(r" (±\u00a0s\.e\.|\[95 % interval\]|\([^)]*‖[^)]*\))", "", column.header)
    return words.replace("tail exponent α", "α").replace("Marchenko–Pastur", "MP")


def _blocks(values: Iterable[float | None], *, log: bool) -> str:
    heights = [
        None if value is None or (log and value <= 0) else math.log10(value) if log else value for value in values
    ]
    known = [height for height in heights if height is not None]
    if not known:
        return " " * len(heights)
    low, high = min(known), max(known)
    scale = 7 / (high - low) if high > low else 0.0
    return "".join(" " if each is None else "▁▂▃▄▅▆▇█"[round((each - low) * scale)] for each in heights)
