"""Export: what another tool reads is what was stored."""

from __future__ import annotations

import functools
import json
import math
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from torch import nn

import deepscope
from deepscope.core import UsageError
from deepscope.lab import Run, TrialRecord, export_runs, find_run, keep, open_run


@pytest.fixture(autouse=True)
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DEEPSCOPE_HOME", str(tmp_path / "home"))


def trial(seed: int, case: dict[str, Any], values: dict[str, Any], **more: Any) -> TrialRecord:
    fields = {"study": "s", "status": "finished", "cpu_seconds": 0.1 * (seed + 1), "wall_seconds": 1 / 3}
    return TrialRecord(**{**fields, "identity": f"t{seed}", "case": case, "seed": seed, "values": values, **more})


def store(*trials: TrialRecord, study: str = "s") -> Run:
    with open_run("study", study, {"scale": "quick", "modified": False}) as run:
        for each in trials:
            run.log.append(each)
        run.close("done", {}, {})
    return find_run(run.id)


NUMBERS = [0.1 + 0.2, 1e-310, -0.0, 1.7976931348623157e308, 3.0, math.pi]


def numbers() -> Run:
    return store(*(trial(seed, {"width": 2**seed}, {"loss": value}) for seed, value in enumerate(NUMBERS)))


def read(path: Path, exact: tuple[str, ...]) -> pd.DataFrame:
    """Read a table; some columns of CSV as Python reads numbers, since not every pandas reads the last digit."""
    if path.suffix == ".parquet":
        return pd.read_parquet(path)
    return pd.read_csv(path, converters=dict.fromkeys(exact, float))


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_numbers_are_exact(tmp_path: Path, suffix: str) -> None:
    run = numbers()
    table = read(export_runs([run], tmp_path / f"table{suffix}").path, ("loss", "wall_seconds"))
    assert list(table.columns) == [
        "run", "study", "scale", "modified", "identity", "status", "seed", "width", "loss", "cpu_seconds",
        "wall_seconds", "error",
    ]  # fmt: skip
    assert table["loss"].to_numpy().tobytes() == np.array(NUMBERS).tobytes()
    assert table["wall_seconds"].tolist() == [1 / 3] * len(NUMBERS)
    assert table["width"].tolist() == [1, 2, 4, 8, 16, 32]
    assert set(table["run"]) == {run.id}
    assert set(table["scale"]) == {"quick"}
    assert table["modified"].tolist() == [False] * len(NUMBERS)


CURVES = {
    "float64": np.array([0.1, math.nan, -math.inf, 1e-310]),
    "float32": np.array([0.1, 2.0], np.float32),
    "int64": np.array([2**62, -1]),
    "bool": np.array([True, False]),
    "matrix": np.arange(6.0).reshape(2, 3) / 7,
    "empty": np.zeros(0),
    "complex": np.array([1 + 2j]),
    "longdouble": np.array([0.5], np.longdouble),
}


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
@pytest.mark.parametrize("kind", CURVES)
def test_curves_are_exact(tmp_path: Path, suffix: str, kind: str) -> None:
    path = export_runs([store(trial(0, {}, {"curve": CURVES[kind]}))], tmp_path / f"table{suffix}").path
    if suffix == ".csv":
        found = json.loads(pd.read_csv(path)["curve"][0])
    else:
        from pyarrow import parquet

        found = parquet.read_table(path)["curve"].to_pylist()[0]
    expected = np.stack([CURVES[kind].real, CURVES[kind].imag], -1) if kind == "complex" else CURVES[kind]
    assert np.array_equal(
        np.array(found), expected.astype(np.float64) if kind == "longdouble" else expected, equal_nan=kind == "float64"
    )


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_text_and_missing_values_come_back(tmp_path: Path, suffix: str) -> None:
    strange = 'a "quoted", α\nline'
    run = store(
        trial(0, {"name": strange, "on": True}, {"loss": None, "found": 0.5}),
        trial(1, {"name": "b", "on": False}, {}, status="failed", error="ValueError: no, really"),
    )
    path = export_runs([run], tmp_path / f"table{suffix}").path
    table = pd.read_csv(path) if suffix == ".csv" else pd.read_parquet(path)
    assert table["name"].tolist() == [strange, "b"]
    assert table["on"].tolist() == [True, False]
    assert table["loss"].isna().tolist() == [True, True]
    assert table["found"].isna().tolist() == [False, True]
    assert table["status"].tolist() == ["finished", "failed"]
    assert table["error"][1] == "ValueError: no, really"


def test_several_studies_have_the_columns_of_all(tmp_path: Path) -> None:
    one = store(trial(0, {"width": 2}, {"loss": 0.5}))
    other = store(trial(0, {"depth": 3}, {"accuracy": 0.25}, study="t"), study="t")
    table = pd.read_parquet(export_runs([one, other], tmp_path / "table.parquet").path)
    assert list(table.columns)[7:] == ["width", "loss", "depth", "accuracy", "cpu_seconds", "wall_seconds", "error"]
    assert table["study"].tolist() == ["s", "t"]
    assert table["width"].isna().tolist() == [False, True]
    assert table["accuracy"].isna().tolist() == [True, False]


def test_a_value_with_the_name_of_another_column_is_renamed(tmp_path: Path) -> None:
    run = store(trial(0, {"scale": 3.0}, {"error": 0.5, "loss": 1.0}))
    table = pd.read_csv(export_runs([run], tmp_path / "table.csv").path)
    assert table["scale"].tolist() == ["quick"]
    assert table["value_scale"].tolist() == [3.0]
    assert table["value_error"].tolist() == [0.5]
    assert table["error"].isna().all()


def test_a_renamed_value_never_takes_the_place_of_another(tmp_path: Path) -> None:
    one = store(
        trial(0, {}, {"status": "s", "value_status": "v", "value_value_status": "w"}), trial(1, {}, {"loss": 1})
    )
    other = store(trial(0, {}, {"status": "t"}))
    table = pd.read_csv(export_runs([one, other], tmp_path / "table.csv").path)
    assert table["status"].tolist() == ["finished"] * 3
    found = table[["value_status", "value_value_status", "value_value_value_status"]].astype(object)
    assert found.where(found.notna(), None).to_numpy().tolist() == [["v", "w", "s"], [None] * 3, [None, None, "t"]]


def test_trials_that_cannot_be_read_are_said(tmp_path: Path) -> None:
    run, whole = numbers(), numbers()
    log = run.path / "trials.jsonl"
    lines = log.read_bytes().splitlines(keepends=True)
    lines[1] = lines[1].replace(b'"version":1', b'"version":2')
    lines[4] = b"garbage\n"
    log.write_bytes(b"".join(lines))
    made = export_runs([whole, run], tmp_path / "table.csv")
    assert made.left_out == (f"2 of the stored trials cannot be read: {log}",)
    assert len(pd.read_csv(made.path)) == 2 * len(NUMBERS) - 2
    assert export_runs([whole], tmp_path / "table.csv").left_out == ()


def test_columns_of_mixed_kinds_are_text_in_parquet(tmp_path: Path) -> None:
    run = store(
        trial(0, {"width": 3, "big": 2**70}, {"loss": 1, "late": np.arange(2)}),
        trial(1, {"width": "all", "big": 1}, {"loss": 0.5, "late": 7}),
    )
    table = pd.read_parquet(export_runs([run], tmp_path / "table.parquet").path)
    assert [json.loads(value) for value in table["width"]] == [3, "all"]
    assert [json.loads(value) for value in table["big"]] == [2**70, 1]
    assert [json.loads(value) for value in table["late"]] == [[0, 1], 7]
    assert table["loss"].tolist() == [1.0, 0.5]


@functools.cache
def examination() -> deepscope.Examination:
    return deepscope.examine(nn.Sequential(nn.Linear(60, 70), nn.Linear(70, 5)), instruments=["anatomy", "spectrum"])


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_an_examination_has_one_row_per_instrument_and_item(tmp_path: Path, suffix: str) -> None:
    path = export_runs([keep(examination()), keep(examination())], tmp_path / f"table{suffix}").path
    table = pd.read_csv(path) if suffix == ".csv" else pd.read_parquet(path)
    readings = {name: reading.table() for name, reading in examination().readings.items()}
    assert list(table.columns)[:4] == ["run", "subject", "instrument", "name"]
    assert len(table) == 2 * sum(map(len, readings.values()))
    first = table[table["run"] == table["run"][0]]
    spectrum = first[first["instrument"] == "spectrum"]
    assert spectrum["name"].tolist() == readings["spectrum"]["name"].tolist()
    assert spectrum["stable_rank"].tolist() == pytest.approx(readings["spectrum"]["stable_rank"].tolist(), rel=1e-14)
    shape = first[first["instrument"] == "anatomy"]["shape"].iloc[0]
    assert list(json.loads(shape) if suffix == ".csv" else shape) == [70, 60]


def test_a_run_without_trials_is_a_table_without_rows(tmp_path: Path) -> None:
    assert export_runs([store()], tmp_path / "table.csv").path.read_text() == "\n"
    assert len(pd.read_parquet(export_runs([store()], tmp_path / "table.parquet").path)) == 0


def test_wrong_calls_are_said_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    study, network = numbers(), keep(examination())
    with pytest.raises(UsageError, match="do not fit into one table"):
        export_runs([study, network], tmp_path / "table.csv")
    with pytest.raises(UsageError, match="no run to export"):
        export_runs([], tmp_path / "table.csv")
    with pytest.raises(UsageError, match=r"table\.txt"):
        export_runs([study], tmp_path / "table.txt")
    with pytest.raises(UsageError, match="No such file"):
        export_runs([study], tmp_path / "nowhere" / "table.csv")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(UsageError, match=r"deepscope\[data\]"):
        export_runs([study], tmp_path / "table.parquet")
    assert list(tmp_path.glob("*table*")) == []


def test_a_table_that_cannot_be_written_leaves_the_one_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = numbers()
    path = tmp_path / "table.csv"
    path.write_text("before")

    def full(*arguments: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(UsageError, match="No space"):
        export_runs([run], path)
    assert path.read_text() == "before"
    assert [file.name for file in tmp_path.glob("*table*")] == ["table.csv"]
