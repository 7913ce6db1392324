"""A trial's record: what comes back is what went in, bit for bit."""

from __future__ import annotations

import json
import math
import struct
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from deepscope.lab import TrialRecord, trials_table
from deepscope.lab._trial_record import decode, encode, fingerprint


def record(**changes: Any) -> TrialRecord:
    fields: dict[str, Any] = {
        "identity": "0f" * 10, "study": "a-study", "case": {"width": 3, "noise": 0.1, "kind": "tanh", "on": True},
        "seed": 0, "status": "finished", "values": {"loss": 0.1 + 0.2, "steps": 7},
    }  # fmt: skip
    return TrialRecord(**{**fields, **changes})


def same(a: Any, b: Any) -> bool:
    if isinstance(a, np.ndarray):
        return bool(a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes())
    if isinstance(a, float) and math.isfinite(a):
        return type(a) is type(b) and struct.pack("d", a) == struct.pack("d", b)
    return type(a) is type(b) and str(a) == str(b)


numeric = st.one_of(
    hnp.boolean_dtypes(),
    hnp.integer_dtypes(endianness="?"),
    hnp.unsigned_integer_dtypes(endianness="?"),
    hnp.floating_dtypes(endianness="?"),
    hnp.complex_number_dtypes(endianness="?"),
)
arrays = numeric.flatmap(lambda kind: hnp.arrays(kind, hnp.array_shapes(min_dims=0, max_dims=3, min_side=0)))
texts = st.text(st.characters(codec=None, categories=None))
scalars = st.none() | st.booleans() | st.integers() | st.floats() | texts


fields = st.dictionaries(
    st.sampled_from(["width", "n_0", "A", "x" * 99]),
    st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | texts,
    max_size=2,
)


@given(st.dictionaries(texts, scalars | arrays, max_size=4), fields)
def test_values_come_back_bit_for_bit(values: dict[str, Any], case: dict[str, Any]) -> None:
    line = encode(record(values=values, case=case))
    assert line.count(b"\n") == 1
    assert line.endswith(b"\n")
    back = decode(line)
    assert list(back.values) == list(values)
    assert all(same(value, back.values[name]) for name, value in values.items())
    assert all(same(value, back.case[name]) for name, value in case.items())


def test_every_field_comes_back() -> None:
    before = record(
        status="failed", values={}, error="α\nβ", wall_seconds=1.5, cpu_seconds=0.25, peak_memory_bytes=2**40,
        device="cuda:1", log=("first\n", "second"), run="20260101-000000-000000-a-study-0000",
    )  # fmt: skip
    assert vars(decode(encode(before))) == vars(before)


def test_what_a_nan_says_beside_being_one_is_kept() -> None:
    payload = np.array([0x7FF8_0000_0000_BEEF, 0xFFF0_0000_0000_0001], dtype=np.uint64).view(np.float64)
    assert decode(encode(record(values={"curve": payload}))).values["curve"].tobytes() == payload.tobytes()


def test_arrays_that_are_views_are_written_as_they_look() -> None:
    matrix = np.arange(12.0).reshape(3, 4)
    back = decode(encode(record(values={"turned": matrix.T, "part": matrix[::2, ::-1]}))).values
    assert np.array_equal(back["turned"], matrix.T)
    assert np.array_equal(back["part"], matrix[::2, ::-1])
    back["turned"][0] = 1


def test_numpy_scalars_become_plain_numbers() -> None:
    values = {"float": np.float32(0.1), "int": np.int64(3), "bool": np.bool_(True)}
    back = decode(encode(record(values=values))).values
    assert back == {"float": float(np.float32(0.1)), "int": 3, "bool": True}
    assert [type(value) for value in back.values()] == [float, int, bool]


def test_a_line_is_ascii_and_json() -> None:
    line = encode(record(values={"α": "é\n", "nan": math.nan, "curve": np.array([math.inf])}))
    assert line.isascii()
    json.loads(line, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))


@pytest.mark.parametrize(
    "value", [{1, 2}, [1.0], b"bytes", 1j, np.array([None]), np.array(["text"]), np.datetime64("2026-01-01")], ids=repr
)
def test_what_cannot_be_written_exactly_is_refused_by_name(value: object) -> None:
    with pytest.raises(TypeError, match=r"^curve: "):
        encode(record(values={"curve": value}))


def test_names_are_text() -> None:
    with pytest.raises(TypeError, match="named 3"):
        encode(record(values={3: 1.0}))


def _changed(**changes: Any) -> bytes:
    said = {**json.loads(encode(record(values={"curve": np.arange(3.0)}))), **changes}
    return json.dumps({name: value for name, value in said.items() if value is not ...}).encode()


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"{",
        b"[]",
        b"3",
        b"null",
        b'"text"',
        b"\xff\xfe{",
        b"[" * 100_000,
        '{"α'.encode()[:-1],
        _changed(version=2),
        _changed(version=...),
        _changed(seed=...),
        _changed(seed="0"),
        _changed(status="half"),
        _changed(case={"keys": 1}),
        _changed(case={"seed": 1}),
        _changed(case={"width": None}),
        _changed(case={"width": [1]}),
        _changed(case={"": 1}),
        _changed(seed=True),
        _changed(wall_seconds=math.inf),
        _changed(cpu_seconds=math.nan),
        _changed(log=[5]),
        _changed(values=[]),
        _changed(more=1),
        _changed(values={"curve": {}}),
        _changed(values={"curve": {"float": "x"}}),
        _changed(values={"curve": {"array": "|O", "shape": [1], "data": "AAAAAAAAAAA="}}),
        _changed(values={"curve": {"array": "<f8", "shape": [2], "data": "AAAAAAAAAAA="}}),
        _changed(values={"curve": {"array": "<f8", "shape": [-1], "data": "AAAAAAAAAAA="}}),
        _changed(values={"curve": {"array": "<f8", "shape": [1.5], "data": "AAAAAAAAAAA="}}),
        _changed(values={"curve": {"array": "<f8", "shape": [1], "data": "?"}}),
        _changed(values={"curve": {"array": "nothing", "shape": [0], "data": ""}}),
    ],
    ids=range(33),
)
def test_anything_else_is_a_value_error(line: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        decode(line)


def test_the_changed_line_is_itself_read() -> None:
    assert decode(_changed()).seed == 0


def test_fingerprints_agree_exactly_where_bits_do() -> None:
    base = fingerprint(record(values={"a": 1.0, "b": np.zeros(2)}, wall_seconds=3.0))
    assert fingerprint(record(values={"b": np.zeros(2), "a": 1.0})) == base
    others: list[dict[str, Any]] = [
        {"a": 1, "b": np.zeros(2)},
        {"a": True, "b": np.zeros(2)},
        {"a": 1.0, "b": np.zeros(2, np.float32)},
        {"a": 1.0, "b": np.zeros((2, 1))},
        {"a": 1.0, "b": np.array([0.0, -0.0])},
        {"a": math.nextafter(1.0, 2.0), "b": np.zeros(2)},
        {"a": 1.0},
    ]
    assert base not in [fingerprint(record(values=values)) for values in others]


def test_the_table_has_one_row_per_finished_trial_in_order() -> None:
    curves = [np.arange(3.0), np.arange(3.0) + 1]
    table = trials_table(
        [
            record(case={"width": 2}, seed=1, values={"loss": 0.5, "curve": curves[0]}),
            record(status="failed", values={}, error="no"),
            record(case={"width": 1}, seed=0, values={"loss": None, "curve": curves[1], "note": "late"}),
        ]
    )
    assert list(table.columns) == ["width", "seed", "loss", "curve", "note"]
    assert table["width"].tolist() == [2, 1]
    assert table["seed"].tolist() == [1, 0]
    assert table["loss"].dtype == float
    assert table["loss"].isna().tolist() == [False, True]
    assert [each is curve for each, curve in zip(table["curve"], curves, strict=True)] == [True, True]
    assert pd.isna(table["note"][0])


def test_a_table_without_trials_can_still_be_asked_for_seeds() -> None:
    assert list(trials_table([])["seed"]) == []
