"""The drawing of a model in a terminal."""

from __future__ import annotations

import io
from typing import Any

import pytest
from rich.console import Console

from deepscope.report import model_list_text, model_show_text


def layer(name: str, depth: int, holds: int, **fields: Any) -> dict[str, Any]:
    empty = {"kind": "Linear", "output": [4], "calls": 1, "parameters": 20, "own_parameters": 0, "tied": 0, "flops": 10}
    return {"name": name, "depth": depth, "holds": holds, **empty, **fields}


def sheet(layers: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "name": "a-model",
        "title": "a model of ours",
        "formula": "y = x",
        "source": "lecun1998gradient",
        "constructor": "AModel",
        "family": "a",
        "parameters": 1_000,
        "rows": ["mlp"],
        "pinned_by": "tests/x.py::test_y",
        "path": "src/deepscope/models/_a.py",
        "input": [3, 8],
        "flops": 100,
        "layers": layers,
    }


def written(layers: list[dict[str, Any]], width: int = 100) -> str:
    console = Console(file=io.StringIO(), width=width)
    model_show_text(sheet(layers), console)
    return console.file.getvalue()  # type: ignore[attr-defined]


def blocks(count: int) -> list[dict[str, Any]]:
    found = []
    for place in range(count):
        found.append(layer(f"block{place}", 0, 2, own_parameters=3))
        found += [layer(f"block{place}.{name}", 1, 0) for name in ("in", "out")]
    return found


def test_layers_are_opened_as_far_as_a_drawing_can_hold_them() -> None:
    few, many = written(blocks(13)), written(blocks(14))
    assert "block12.out" in few
    assert "block12.out" not in many
    assert "block13" in many


def test_what_an_opened_module_holds_beside_its_layers_has_a_row() -> None:
    rows = [line.split() for line in written(blocks(1)).splitlines() if line.strip().startswith("block0")]
    assert rows[0] == ["block0", "Linear", "3"]
    assert [row[0] for row in rows] == ["block0", "block0.in", "block0.out"]


def test_what_is_tied_to_an_earlier_layer_counts_once() -> None:
    layers = [layer("embedding", 0, 0), layer("head", 0, 0, parameters=24, tied=20), layer("other", 0, 0, tied=20)]
    rows = {line.split()[0]: line for line in written(layers).splitlines() if line.startswith("  ")}
    assert "  20  " in rows["embedding"]
    assert "  4 + tied  " in rows["head"]
    assert "  tied  " in rows["other"]
    assert "20" not in rows["other"]


def test_it_says_which_operations_are_counted() -> None:
    assert "FLOPs are those of matrix products" in written(blocks(1))


def test_layers_that_repeat_are_one_row_and_their_work_adds_up() -> None:
    layers = [layer(f"body.blocks.{place}", 0, 0, flops=25) for place in range(4)]
    rows = [line for line in written([*layers, layer("head", 0, 0, flops=0)]).splitlines() if "body" in line]
    assert len(rows) == 1
    assert rows[0].split() == ["body.blocks.0", "…", "3", "Linear", "4", "4", "×", "20", "4", "×", "25", "█" * 16]
    apart = [layer(f"block{place}", 0, 0, flops=place) for place in range(4)]
    assert sum("block" in line for line in written(apart).splitlines()) == 4


def test_a_layer_that_runs_at_every_step_says_how_often() -> None:
    assert "LSTMCell × 1,024" in written([layer("cell", 0, 0, kind="LSTMCell", calls=1024)])


@pytest.mark.parametrize("width", [30, 40, 60, 80])
def test_no_row_is_wider_than_the_terminal_and_names_stay(width: int) -> None:
    text = written([layer("a.very.long.name.of.a.layer", 0, 0)], width)
    rows = text[text.index("  layer") : text.index("Pinned by")].splitlines()
    assert all(len(row) <= width for row in rows)
    assert "layer" in rows[1]


def test_lists_say_how_many_there_are_and_which_have_no_parameters() -> None:
    console = Console(file=io.StringIO(), width=80)
    model_list_text([{"name": "a", "family": "f", "parameters": 0, "constructor": "A"}], console)
    text = console.file.getvalue()  # type: ignore[attr-defined]
    assert "none" in text
    assert "1 model," in text


def test_a_method_is_shown_without_layers_and_counted_apart() -> None:
    console = Console(file=io.StringIO(), width=100)
    kept = ("name", "title", "formula", "source", "constructor", "rows", "pinned_by", "path")
    method = {**{key: sheet([])[key] for key in kept}, "family": "training", "parameters": None}
    model_show_text(method, console)
    model_list_text([method, {**method, "family": "b", "parameters": 12}], console)
    text = console.file.getvalue()  # type: ignore[attr-defined]
    assert "from deepscope.training import AModel" in text
    assert "FLOPs" not in text
    assert "AModel()" not in text
    assert "1 model, with the parameters of each, and 1 training method;" in text.replace("\n", " ")
