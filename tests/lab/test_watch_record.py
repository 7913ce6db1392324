"""Watched trainings in the store: shown, compared, exported, collected, whatever became of the training."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from torch import nn
from watch_points import HEAD, end, left_out, measurements, record, store, windows

import deepscope
from deepscope.core import DeepscopeError, UsageError
from deepscope.lab import Watched, collect_garbage, compare_runs, export_runs, find_run, keep, open_run, runs
from deepscope.report import compare_runs_text

POINTS = [*measurements(probe_loss=[2.0, 1.0, 0.1 + 0.2], sharpness=[1.0, None, 3.0]), *windows([1.5, 0.5])]


@pytest.fixture(autouse=True)
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DEEPSCOPE_HOME", str(tmp_path / "home"))


def test_a_row_has_the_loss_of_the_window_before_it() -> None:
    found = Watched(record(*POINTS))
    assert found.table["step"].tolist() == [0, 100, 200]
    assert math.isnan(found.table["training_loss"][0])
    assert found.table["training_loss"].tolist()[1:] == [1.5, 0.5]
    assert found.table["sharpness"].isna().tolist() == [False, True, False]
    assert found.table["status"].tolist() == ["ok", "sharpness is not known", "ok"]
    assert found.training["step"].tolist() == [100, 200]
    assert list(found.table.columns)[:2] == ["step", "training_loss"]
    assert found.table.drop(columns="status").dtypes.map(lambda kind: kind.kind in "if").all()


def test_a_column_of_nothing_is_numeric_all_the_same() -> None:
    table = Watched(record(*measurements(sharpness=[None, None]))).table
    assert table["sharpness"].dtype == float
    assert Watched(record()).table.empty


def test_what_a_training_cost() -> None:
    assert record(*POINTS)["cost"] == {"training_seconds": 20.0, "measuring_seconds": 1.5}
    assert record(*POINTS, end(250))["cost"] == {"training_seconds": 100.0, "measuring_seconds": 4.0}
    assert record()["cost"] == {"training_seconds": 0.0, "measuring_seconds": 0.0}


def test_one_that_was_killed_is_read_up_to_its_last_point() -> None:
    run = store(*POINTS, finished=False)
    assert not run.finished
    assert run.record() == {**record(*POINTS), "date": run.date, "findings": run.record()["findings"]}
    assert (run.record()["steps"], run.record()["ended"]) == (200, False)
    assert "it has not ended" in str(Watched(run.record()))


def test_points_that_cannot_be_read_are_counted_everywhere(tmp_path: Path) -> None:
    run = store(*POINTS, end(250))
    file = run.path / "points.jsonl"
    file.write_bytes(b"garbage\n" + file.read_bytes())
    assert run.points()[1] == 1
    reason = f"1 of the stored points cannot be read: {file}"
    assert export_runs([run], tmp_path / "t.csv").left_out == (reason,)
    assert compare_runs(run, run)["left_out"] == [reason]
    file.unlink()
    file.mkdir()
    with pytest.raises(DeepscopeError, match="the points cannot be read"):
        run.record()


@pytest.mark.parametrize("name", ["subject", "every", "probes", "batch_size", "stability"])
def test_a_head_that_lacks_something_is_no_readable_run(name: str) -> None:
    run = store(*POINTS)
    head = json.loads((run.path / "run.json").read_text())
    del head[name]
    (run.path / "run.json").write_text(json.dumps(head))
    found, (broken,) = runs()
    assert found == []
    assert f"it has no {name}" in broken
    assert "points.jsonl holds its points" in broken


def test_exported_a_row_per_measurement(tmp_path: Path) -> None:
    a, b = store(*POINTS), store(*measurements(noise_scale=[5.0]))
    table = pd.read_csv(export_runs([a, b], tmp_path / "t.csv").path)
    assert table["run"].tolist() == [a.id] * 3 + [b.id]
    assert set(table["subject"]) == {"LeNet"}
    assert table["step"].tolist() == [0, 100, 200, 0]
    assert table["probe_loss"].tolist()[:3] == [2.0, 1.0, 0.1 + 0.2]
    assert table["noise_scale"].tolist()[3] == 5.0
    pytest.importorskip("pyarrow")
    assert len(pd.read_parquet(export_runs([a, b], tmp_path / "t.parquet").path)) == 4
    examined = keep(deepscope.examine(nn.Linear(3, 3), instruments=["anatomy"]))
    with pytest.raises(UsageError, match="do not fit into one table"):
        export_runs([a, examined], tmp_path / "both.csv")


def test_compared_at_the_steps_that_both_have() -> None:
    other = [*measurements(probe_loss=[2.0, 1.5], sharpness=[1.0, 9.0]), *windows([1.5, 0.25, 0.1])]
    a = store(*POINTS)
    b = store(*other, end(300, trained=1.0), stability="(2 + 2β)/η", batch_size=None)
    found = compare_runs(a, b)
    assert {each["what"] for each in found["differences"]} == {"stability", "batch_size", "steps"}
    assert found["changes"] == {
        "training": [
            {"column": "training_loss", "item": "step 200", "a": 0.5, "b": 0.25, "difference": 0.5},
            {"column": "training_loss_largest", "item": "step 200", "a": 0.5, "b": 0.25, "difference": 0.5},
        ],
        "measurements": [
            {"column": "probe_loss", "item": "step 100", "a": 1.0, "b": 1.5, "difference": pytest.approx(1 / 3)}
        ],
    }
    assert found["findings_gone"] == []
    (new,) = found["findings_new"]
    assert new["message"] == "The training ended before its measurements were paid for."
    text = shown(found)
    assert "training: changed most" in text
    assert "stability: 2/η → (2 + 2β)/η" in text
    assert compare_runs(a, a)["changes"] == {}
    assert compare_runs(a, store(*POINTS, finished=False))["changes"] == {}
    with pytest.raises(UsageError, match="different kinds"):
        compare_runs(a, keep(deepscope.examine(nn.Linear(3, 3), instruments=["anatomy"])))


def shown(compared: dict[str, object]) -> str:
    import io

    from rich.console import Console

    stream = io.StringIO()
    compare_runs_text(compared, Console(file=stream, width=100, no_color=True))
    return " ".join(stream.getvalue().split())


def test_only_what_holds_nothing_is_collected() -> None:
    whole, half = store(*POINTS, end(200)), store(*POINTS, finished=False)
    lost = store(*measurements(probe_loss=[1.0]), finished=False)
    (lost.path / "points.jsonl").write_bytes(b"garbage\n")
    nothing, failed = store(finished=False), store(left_out("loss", "it failed"), finished=False)
    ended, first = store(end(0)), store(*measurements(probe_loss=[1.0]), finished=False)
    with open_run("watch", "LeNet", HEAD) as writing:
        gone = [path.name for path, _, reason in collect_garbage() if reason == "not finished, nothing measured"]
        assert writing.path.exists()
    assert sorted(gone) == sorted([nothing.id, failed.id])
    assert {run.id for run in runs()[0]} == {whole.id, half.id, lost.id, ended.id, first.id, writing.id}


def test_what_a_killed_writer_left_in_it_is_collected() -> None:
    run = store(*POINTS, finished=False)
    (run.path / "writer.lock").touch()
    (run.path / ".record.json.x.part").touch()
    assert [(path.name, reason) for path, _, reason in collect_garbage()] == [
        (".record.json.x.part", "left by a process that was killed")
    ]
    assert find_run("last").record()["steps"] == 200


def test_reading_one_never_loads_torch(tmp_path: Path) -> None:
    run = store(*POINTS, end(250))
    program = f"""
import sys
from pathlib import Path
from deepscope.cli import app
from deepscope.lab import find_run, compare_runs, export_runs, collect_garbage
run = find_run({run.id!r})
compare_runs(run, run)
export_runs([run], Path({str(tmp_path)!r}) / "t.csv")
collect_garbage()
app(["runs", "show", "--out", {str(tmp_path / "t.html")!r}], result_action="return_value")
app(["runs", "show"], result_action="return_value")
sys.exit("torch" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "sharpness" in done.stdout
