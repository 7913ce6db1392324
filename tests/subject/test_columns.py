"""One column per layer."""

from __future__ import annotations

import pytest

from deepscope.subject import layer_of, most_telling


@pytest.mark.parametrize(
    ("name", "layer"), [("a.b.weight", "a.b"), ("weight", "weight"), ("a.weight_ih_l0_reverse", "a"), (".x", ".x")]
)
def test_a_layer_is_the_name_without_its_last_part(name: str, layer: str) -> None:
    assert layer_of(name) == layer


def test_the_smallest_rank_stands_for_its_layer_and_the_first_of_equals() -> None:
    tensors = [("a.x", "xx"), ("b.w", "www"), ("a.y", "y"), ("a.z", "z"), ("b.v", "vvvv")]
    found = most_telling(tensors, len)
    assert found == {"a": "y", "b": "www"}
    assert list(found) == ["a", "b"]


def test_nothing_has_no_columns() -> None:
    assert most_telling([], float) == {}
