"""deepscope models list|show, as somebody types it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable

import pytest

KEYS = ["name", "family", "constructor", "parameters", "rows", "source", "pinned_by"]


def test_the_models_are_listed(deepscope: Callable) -> None:
    listed = json.loads(deepscope("models", "list", "--json").out)
    assert all(list(each) == KEYS for each in listed)
    assert [each["name"] for each in listed] == sorted(each["name"] for each in listed)
    assert {
        "name": "lenet-5",
        "family": "lenet",
        "constructor": "LeNet",
        "parameters": 61_706,
        "rows": [],
        "source": "lecun1998gradient",
        "pinned_by": "tests/models/test_models.py::test_lenet_has_the_published_shapes_and_61706_parameters",
    } in listed
    shown = deepscope("models", "list")
    assert shown.code == 0
    assert all(each["name"] in shown.out and each["constructor"] in shown.out for each in listed)


def test_listing_never_loads_torch() -> None:
    code = "import sys; from deepscope.cli import run; run(['models', 'list']); assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


def test_a_model_is_drawn(deepscope: Callable) -> None:
    sheet = json.loads(deepscope("models", "show", "lenet-5", "--json").out)
    assert sheet["input"] == [1, 28, 28]
    assert sheet["output"] == [10]
    layers = {each["name"]: each for each in sheet["layers"]}
    assert layers["convolution2"] == {
        "name": "convolution2",
        "depth": 0,
        "holds": 0,
        "kind": "Conv2d",
        "output": [16, 10, 10],
        "calls": 1,
        "parameters": 2416,
        "own_parameters": 2416,
        "tied": 0,
        # 16 maps of 10 × 10 values, each a product with 6 × 5 × 5 weights, and 2 operations for each of those.
        "flops": 2 * 16 * 10 * 10 * 6 * 5 * 5,
    }
    assert sheet["flops"] == sum(each["flops"] for each in layers.values())
    shown = deepscope("models", "show", "lenet-5")
    assert shown.code == 0
    for text in ("convolution2", "16×10×10", "2,416", "833 k FLOPs", "from deepscope.models import LeNet", "█"):
        assert text in shown.out


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["show"], "show"),
        (["show", "lenet5"], 'Did you mean "lenet-5"'),
        (["show", "x"], '"deepscope models list" shows them'),
        (["lst"], "lst"),
    ],
)
def test_wrong_input_is_one_clear_error(deepscope: Callable, arguments: list[str], word: str) -> None:
    done = deepscope("models", *arguments)
    assert done.code == 2
    assert word in done.err
    assert done.out == ""
