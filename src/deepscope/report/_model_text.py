"""Reference models and training methods in a terminal: which there are, and what one of them is made of."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import TYPE_CHECKING, Any

from rich.cells import cell_len

from deepscope.report._findings import address, reference
from deepscope.report._numbers import how_many, in_si
from deepscope.report._record import Record
from deepscope.report._screen import Screen, clipped
from deepscope.report._study_record import row_name

if TYPE_CHECKING:
    from rich.console import Console

#: Rows that a drawing has at most, unless the model's first level has more.
_MOST_ROWS = 40
_BAR = 16


def model_list_text(models: Sequence[Record], console: Console) -> None:
    """Write models and methods to a terminal, by family: name, parameters and what builds it.

    Parameters
    ----------
    models
        As ``lab.model_list`` gives them.
    console
        Where to; its width, its colours (``NO_COLOR`` too) and its character set are respected.
    """
    screen = Screen(console)
    widest = max((len(each["name"]) for each in models), default=0)
    methods = sum(_is_method(each) for each in models)
    for family, members in groupby(sorted(models, key=lambda each: (each["family"], each["name"])), _family):
        screen.line((family, "bold"))
        for each in members:
            screen.whole(f"{each['name']:<{widest}}  {_listed_size(each):>7}  ", (each["constructor"], "dim"), indent=2)
    screen.blank()
    screen.line(
        f"{how_many(len(models) - methods, 'model')}, with the parameters of each, and "
        f"{how_many(methods, 'training method')}; and what deepscope.models or deepscope.training exports for each. "
        '"deepscope models show NAME" shows one.'
    )


def model_show_text(sheet: Record, console: Console) -> None:
    """Write what a model computes to a terminal, and draw its layers; or what a method does.

    Parameters
    ----------
    sheet
        As ``lab.model_sheet`` gives it.
    console
        Where to, as in ``model_list_text``.
    """
    screen = Screen(console)
    screen.line(f"{sheet['name']}: ", (sheet["title"], "bold"))
    screen.line(reference(sheet["source"]))
    if address(sheet["source"]):
        screen.line((address(sheet["source"]), "dim"))
    for key in sheet["rows"]:
        screen.line(("shows: ", "dim"), row_name(key))
    screen.blank()
    screen.line(sheet["formula"], indent=2)
    method = _is_method(sheet)
    if not method:
        _made_of(screen, sheet)
    screen.heading("Pinned by")
    screen.whole(f"pytest {sheet['pinned_by']}", indent=2)
    screen.heading("File")
    screen.whole(sheet["path"], indent=2)
    screen.heading("To use it")
    package = "training" if method else "models"
    screen.whole(f"from deepscope.{package} import {sheet['constructor']}", indent=2)
    if not method:
        screen.whole(f"model = {sheet['constructor']}()", indent=2)


def _is_method(model: Record) -> bool:
    return _family(model) == "training"


def _family(model: Record) -> str:
    return str(model["family"])


def _listed_size(model: Record) -> str:
    if model["parameters"] is None:
        return ""
    return in_si(model["parameters"]) if model["parameters"] else "none"


def _made_of(screen: Screen, sheet: Record) -> None:
    screen.heading(
        f"{in_si(sheet['parameters']) if sheet['parameters'] else 'No'} parameters, "
        f"{in_si(sheet['flops']) if sheet['flops'] else 'no'} FLOPs per sample of {_size(sheet['input'])}"
    )
    _layers(screen, sheet)


def _layers(screen: Screen, sheet: Record) -> None:
    rows = _shown(sheet["layers"])
    if not rows:
        return
    cells = [["layer", "", "output", "parameters", "FLOPs", "share"]]
    for row in rows:
        repeats = row.get("repeats", 1)
        share = repeats * row["flops"] / sheet["flops"] if sheet["flops"] else 0.0
        cells.append(
            [
                clipped(row["name"], max(screen.width // 3, 8)),
                row["kind"] + (f" × {row['calls']:,}" if row["calls"] > 1 else ""),
                _size(row["output"]) if row["output"] is not None else "",
                _times(repeats, _parameters(row)) if row["parameters"] else "",
                _times(repeats, in_si(row["flops"])) if row["flops"] else "",
                "█" * max(round(_BAR * share), 1) if row["flops"] else "",
            ]
        )
    cells = [[screen.shown(cell) for cell in each] for each in cells]
    widths = [max(map(cell_len, column)) for column in zip(*cells, strict=True)]
    kept = _fitting(widths, screen.width - 2)
    for place, each in enumerate(cells):
        padded = [
            " " * (widths[column] - cell_len(each[column])) + each[column]
            if column in (3, 4)
            else each[column] + " " * (widths[column] - cell_len(each[column]))
            for column in kept
        ]
        screen.whole(("  ".join(padded).rstrip(), "" if place else "dim"), indent=2)
    if sheet["flops"]:
        screen.line(("FLOPs are those of matrix products, convolutions and attention.", "dim"), indent=2)


def _parameters(row: Record) -> str:
    """Write how many parameters no earlier row has, and whether there are others."""
    own = row["parameters"] - row["tied"]
    return " + ".join([f"{own:,}"] * (own > 0) + ["tied"] * (row["tied"] > 0))


def _times(repeats: int, amount: str) -> str:
    return f"{repeats} × {amount}" if repeats > 1 else amount


def _fitting(widths: Sequence[int], room: int) -> list[int]:
    """Leave out columns from the right, the bars first, until a row fits; the layer's name always stays."""
    kept = list(range(len(widths)))
    while len(kept) > 1 and sum(widths[column] + 2 for column in kept) - 2 > room:
        kept.pop()
    return kept


def _shown(layers: Sequence[Record]) -> list[dict[str, Any]]:
    """Return the deepest level of the tree of which a drawing can hold all."""
    depths = range(1 + max((each["depth"] for each in layers), default=0))
    levels = [_folded(_level(layers, depth)) for depth in depths]
    fitting = [level for level in levels if len(level) <= _MOST_ROWS]
    return fitting[-1] if fitting else levels[0]


def _level(layers: Sequence[Record], depth: int) -> list[dict[str, Any]]:
    """Return the modules of one depth and those above that hold no other; of the others what is theirs alone."""
    rows = []
    for each in layers:
        if each["depth"] == depth or (each["depth"] < depth and not each["holds"]):
            rows.append(dict(each))
        elif each["depth"] < depth and each["own_parameters"]:
            rows.append({**each, "parameters": each["own_parameters"], "tied": 0, "flops": 0, "output": None})
    return rows


def _folded(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Write three or more layers of one kind and size that follow one another as a single row."""
    folded = []
    for _, run in groupby(
        rows, lambda row: [row[key] for key in ("kind", "output", "calls", "parameters", "tied", "flops")]
    ):
        members = list(run)
        if len(members) < 3:
            folded += members
        else:
            first, last = members[0], members[-1]
            parent = first["name"].rpartition(".")[0]
            name = f"{first['name']} … {last['name'].removeprefix(f'{parent}.')}"
            folded.append({**first, "name": name, "repeats": len(members)})
    return folded


def _size(shape: Sequence[int]) -> str:
    return "×".join(map(str, shape)) or "1"
