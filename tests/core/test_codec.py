"""Records to JSON and arrays and back, for any nesting."""

import dataclasses
import json
import math
from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from deepscope.core import pack, unpack

Array = np.ndarray[Any, Any]


class Pair(NamedTuple):
    name: str
    value: int


@dataclasses.dataclass(frozen=True)
class Leaf:
    number: float
    maybe: float | None
    whole: int
    flag: bool
    text: str
    array: Array


@dataclasses.dataclass(frozen=True)
class Tree:
    leaves: tuple[Leaf, ...]
    named: dict[str, Leaf]
    curves: dict[str, tuple[Array, ...]]
    fixed: tuple[int, str]
    pairs: tuple[Pair, ...]
    nested: dict[str, dict[str, Array]]
    perhaps: Leaf | None
    numbers: list[float]


text = st.text(max_size=6) | st.sampled_from(
    ["a/b", "a", "b", "~1", "~", "array", "", "../x", "\x00", "שלום", "\ud800"]
)
floats = st.floats(allow_nan=False, allow_infinity=False)
arrays = npst.arrays(
    st.sampled_from([np.float64, np.float32, np.int64, np.uint8, np.bool_, np.complex128]),
    npst.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=3),
)
leaves = st.builds(
    Leaf, floats, st.none() | floats, st.integers(-(2**70), 2**70), st.booleans(), text, arrays,
)  # fmt: skip
trees = st.builds(
    Tree,
    st.lists(leaves, max_size=2).map(tuple),
    st.dictionaries(text, leaves, max_size=2),
    st.dictionaries(text, st.lists(arrays, max_size=2).map(tuple), max_size=3),
    st.tuples(st.integers(), text),
    st.lists(st.builds(Pair, text, st.integers()), max_size=2).map(tuple),
    st.dictionaries(text, st.dictionaries(text, arrays, max_size=2), max_size=2),
    st.none() | leaves,
    st.lists(floats, max_size=3),
)


def same(one, other):
    """Equal in type and bits, all the way down."""
    if type(one) is not type(other):
        return False
    if isinstance(one, np.ndarray):
        return one.dtype == other.dtype and one.shape == other.shape and one.tobytes() == other.tobytes()
    if dataclasses.is_dataclass(one):
        return all(same(getattr(one, f.name), getattr(other, f.name)) for f in dataclasses.fields(one))
    if isinstance(one, dict):
        return list(one) == list(other) and all(same(one[key], other[key]) for key in one)
    if isinstance(one, (tuple, list)):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, float):
        return one == other and math.copysign(1, one) == math.copysign(1, other)
    return one == other


@settings(deadline=None, max_examples=60)
@given(trees)
def test_any_record_comes_back_exactly(tree):
    record, beside = pack(tree)
    assert same(unpack(Tree, json.loads(json.dumps(record, allow_nan=False)), beside), tree)


def test_keys_with_slashes_do_not_collide():
    _, beside = pack({"a/b": np.ones(1), "a": {"b": np.zeros(1)}, "a~1b": np.full(1, 2.0)})
    assert sorted(float(array[0]) for array in beside.values()) == [0, 1, 2]


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf, np.float64("nan"), np.float32("inf")])
@pytest.mark.parametrize("wrap", [lambda x: {"a": x}, lambda x: {"a": (1.0, {"b": x})}], ids=["flat", "deep"])
def test_a_number_that_is_not_finite_is_refused_with_its_place(bad, wrap):
    with pytest.raises(ValueError, match=r"^a.* is (nan|-?inf)"):
        pack(wrap(bad))


def test_arrays_may_hold_nan():
    _, beside = pack({"a": np.array([math.nan])})
    assert np.isnan(beside["a"]).all()


@pytest.mark.parametrize(
    "value", [{1: 2}, {"a": {None: 1}}, object(), 1j, {1, 2}, b"x", np.array([object()]), np.array([{}], dtype=object)]
)
def test_what_cannot_be_written_exactly_is_refused(value):
    with pytest.raises(TypeError):
        pack({"it": value})


def test_numpy_scalars_become_numbers():
    assert pack((np.float32(0.5), np.int8(3), np.float64(2)))[0] == [0.5, 3, 2.0]


def test_a_field_of_two_types_is_refused():
    @dataclasses.dataclass
    class Either:
        value: Any

    Either.__annotations__["value"] = int | str
    with pytest.raises(TypeError, match="one type or None"):
        unpack(Either, {"value": 1}, {})
