"""Readings: equality, disk, notebook."""

import dataclasses
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import pytest

from deepscope.core import Cost, Finding, LeftOut, Reading


@dataclass(frozen=True, eq=False, kw_only=True)
class Lengths(Reading):
    values: dict[str, np.ndarray[Any, Any]]
    number: float | None = None

    def table(self):
        return pd.DataFrame({"name": list(self.values), "length": [v.size for v in self.values.values()]})

    def findings(self):
        return tuple(Finding("note", "lengths", name, f"{name} is short.") for name in self.values)

    def plot(self):
        raise NotImplementedError


@dataclass(frozen=True, eq=False, kw_only=True)
class OtherLengths(Lengths):
    pass


HOSTILE = "<script>alert('x')</script>&\"../../etc\x00/שלום"
ODD = {"a/b": np.arange(3.0), "a": np.array(1, dtype=np.int8), HOSTILE: np.zeros((2, 0)), "": np.array([np.nan])}


def reading(**changes):
    return Lengths(
        **{"subject": "net", "values": ODD, "number": 0.1, "left_out": (LeftOut("x", "is not here"),), **changes}
    )


def test_it_comes_back_from_disk_equal(tmp_path):
    before = reading(cost=Cost(1.5, 2.5, 3, 4))
    before.save(tmp_path)
    after = Lengths.load(tmp_path)
    assert after == before
    assert after.cost == before.cost
    assert after.left_out[0].reason == "is not here"
    assert {name: array.tobytes() for name, array in after.values.items()} == {n: a.tobytes() for n, a in ODD.items()}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["arrays.npz", "reading.json"]


def test_without_arrays_there_is_no_archive(tmp_path):
    reading(values={}).save(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["reading.json"]
    assert Lengths.load(tmp_path) == reading(values={})


@pytest.mark.parametrize(
    "changes",
    [
        {"subject": "other"},
        {"number": 0.2},
        {"number": None},
        {"left_out": ()},
        {"values": {**ODD, "a": np.array(2, dtype=np.int8)}},
        {"values": {**ODD, "a": np.array(1, dtype=np.int16)}},
        {"values": {**ODD, "a/b": np.arange(3.0).reshape(3, 1)}},
        {"values": {**ODD, "more": np.zeros(1)}},
    ],
)
def test_any_difference_makes_readings_unequal(changes):
    assert reading() == reading()
    assert reading() != reading(**changes)


def test_the_same_bytes_of_another_type_are_a_difference():
    assert reading(values={"a": np.zeros(2)}) != reading(values={"a": np.zeros(2, dtype=np.int64)})


def test_cost_is_no_difference_but_the_class_is():
    assert reading(cost=Cost(1.0)) == reading(cost=Cost(2.0))
    other = OtherLengths(**{f.name: getattr(reading(), f.name) for f in dataclasses.fields(Lengths)})
    assert reading() != other
    assert reading() != 3


def test_it_is_frozen_and_unhashable():
    with pytest.raises(dataclasses.FrozenInstanceError):
        reading().subject = "x"
    with pytest.raises(TypeError):
        hash(reading())


def test_a_notebook_shows_hostile_names_as_text():
    shown = reading(subject=HOSTILE)._repr_html_()
    assert "<script" not in shown
    # In the head, in the finding, and in the table.
    assert shown.count("&lt;script&gt;") == 3


def test_a_terminal_shows_the_table():
    assert "Lengths of net: 4 rows, 1 left out." in str(reading())
    assert "a/b" in str(reading())
