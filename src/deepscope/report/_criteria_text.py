"""Criteria in a terminal: a table where there is room, else a paragraph each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rich.cells import cell_len
from rich.text import Text

from deepscope.report._criteria import CriterionView
from deepscope.report._numbers import NONE
from deepscope.report._screen import Screen

_GAP = 2
_NARROWEST = 30  # characters of a criterion's name beside its numbers
_STYLES = {"yes": "green", "no": "bold red", "open": "yellow"}


def write_criteria(screen: Screen, views: Sequence[CriterionView]) -> None:
    """Write what was measured, what it must be, what was published, and whether it holds; nothing is shortened."""
    for published in (True, False):
        layout = _Layout.of(screen, views, published=published)
        if layout.room >= _NARROWEST:
            layout.write(screen, views)
            return
    for view in views:
        _paragraph(screen, view)


@dataclass(frozen=True)
class _Layout:
    """Columns of numbers beside the names; where the published values have none, they stand below the names."""

    columns: tuple[tuple[str, ...], ...]
    widths: tuple[int, ...]
    room: int
    published: bool

    @classmethod
    def of(cls, screen: Screen, views: Sequence[CriterionView], *, published: bool) -> _Layout:
        columns = [
            ("measured", *(view.measured for view in views)),
            ("95 % interval", *(view.interval for view in views)),
            ("must be", *(view.must_be for view in views)),
            *([("published", *(view.published or NONE for view in views))] if published else []),
            ("holds", *(view.holds for view in views)),
        ]
        shown = tuple(tuple(screen.shown(cell) for cell in column) for column in columns)
        widths = tuple(max(map(cell_len, column)) for column in shown)
        return cls(shown, widths, screen.width - _GAP - sum(widths) - _GAP * len(widths), published)

    def write(self, screen: Screen, views: Sequence[CriterionView]) -> None:
        names = [_name(screen, view, published=not self.published) for view in views]
        wide = min(self.room, max(line.cell_len for name in names for line in name))
        self._row(screen, [Text("criterion")], 0, wide, "dim", "dim")
        for place, (name, view) in enumerate(zip(names, views, strict=True), start=1):
            self._row(screen, name, place, wide, "", _STYLES[view.holds])

    def _row(self, screen: Screen, name: Sequence[Text], place: int, wide: int, style: str, last: str) -> None:
        """Write one row of every column beside the first line of a name."""
        cells = [column[place] for column in self.columns]
        blanks = [" " * (width - cell_len(cell)) for cell, width in zip(cells, self.widths, strict=True)]
        first, *others = zip(cells, blanks, strict=True)
        numbers = "".join([first[1], first[0], *(f"{' ' * _GAP}{cell}{blank}" for cell, blank in others[:-1])])
        lines = [
            Text(" " * (_GAP if part else 0)) + line
            for part, text in enumerate(name)
            for line in text.wrap(screen.console, wide - (_GAP if part else 0), overflow="fold")
        ]
        for index, line in enumerate(lines):
            line.rstrip()
            text = Text(" " * _GAP, style=style) + line
            if index == 0:
                text.append(" " * (wide - line.cell_len + _GAP) + numbers + " " * _GAP).append(cells[-1], last)
            screen.console.print(text, highlight=False, soft_wrap=True)


def _name(screen: Screen, view: CriterionView, *, published: bool) -> list[Text]:
    """Return a criterion's name, and what stands below it."""
    below = [f"published: {view.published}" if published and view.published else "", view.note]
    name = ("control: " if view.control else "") + view.name
    return [Text(screen.shown(name)), *(Text(screen.shown(line), "dim") for line in below if line)]


def _paragraph(screen: Screen, view: CriterionView) -> None:
    interval = "" if view.interval == NONE else f" {view.interval}"
    screen.line(
        ("control: " if view.control else "") + view.name,
        f": {view.measured}{interval}, must be {view.must_be}; holds: ",
        (view.holds, _STYLES[view.holds]),
        indent=2,
    )
    for line in filter(None, [f"published: {view.published}" if view.published else "", view.note]):
        screen.line((line, "dim"), indent=4)
