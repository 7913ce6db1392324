"""deepscope runs list|show|compare|export|gc, as somebody types it."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

INLINE = ("--executor", "inline")


@pytest.fixture
def checkpoint(deepscope: Callable) -> Path:
    generator = np.random.default_rng(0)
    np.savez("w.npz", **{"layer.weight": generator.normal(size=(30, 20)).astype(np.float32)})
    return Path("w.npz")


def ids(deepscope: Callable) -> list[str]:
    """Return the ids of all runs, newest first."""
    return [run["id"] for run in json.loads(deepscope("runs", "list", "--json").out)]


def test_an_empty_store(deepscope: Callable) -> None:
    assert json.loads(deepscope("runs", "list", "--json").out) == []
    done = deepscope("runs", "list")
    assert (done.code, done.out.splitlines()) == (
        0,
        ["No run is stored yet. Try: deepscope examine, or deepscope study list"],
    )
    for words in (["show"], ["compare", "last", "last"], ["export", "--csv", "t.csv"]):
        done = deepscope("runs", *words)
        assert done.code == 2
        assert "Nothing is stored yet" in done.err
    assert deepscope("runs", "gc").out == "0 removed, 0.0 MB\n"
    assert json.loads(deepscope("runs", "gc", "--json").out) == []


def test_both_kinds_are_listed_a_line_each(deepscope: Callable, study: Callable, checkpoint: Path) -> None:
    deepscope("examine", checkpoint)
    deepscope("study", "run", study(), *INLINE)
    listed = json.loads(deepscope("runs", "list", "--json").out)
    assert [(run["kind"], run["name"]) for run in listed] == [("study", "gain"), ("examination", "w.npz")]
    assert all(set(run) == {"id", "kind", "name", "date", "outcome"} for run in listed)
    assert deepscope("runs", "list").out.splitlines() == [
        f"{run['id']}  {run['kind']:<11}  {run['outcome']}" for run in listed
    ]


def test_a_newer_store_is_said_and_the_rest_is_listed(deepscope: Callable, study: Callable) -> None:
    deepscope("study", "run", study(), *INLINE)
    deepscope("study", "run", study(), *INLINE)
    newest, oldest = ids(deepscope)
    head = Path("../home/runs") / newest / "run.json"
    head.write_text(json.dumps({**json.loads(head.read_text()), "layout": 99}))
    done = deepscope("runs", "list", "--json")
    assert [run["id"] for run in json.loads(done.out)] == [oldest]
    assert done.code == 3
    assert "newer deepscope" in done.err
    assert "Update deepscope" in done.err
    # Its trials cannot be read; those of the others, and the study itself, are not concerned.
    assert deepscope("study", "run", study(), *INLINE, lines=4).code == 0


@pytest.mark.parametrize("others", [0, 1])
def test_what_is_wrong_with_the_run_that_was_meant_is_said(deepscope: Callable, study: Callable, others: int) -> None:
    for _ in range(others + 1):
        deepscope("study", "run", study(), *INLINE)
    newest = ids(deepscope)[0]
    head = Path("../home/runs") / newest / "run.json"
    head.write_text(json.dumps({**json.loads(head.read_text()), "layout": 9}))
    for name in (newest, newest[-4:], *(["last"] if not others else [])):
        done = deepscope("runs", "show", name)
        assert (done.code, done.out) == (2, "")
        assert "written by a newer deepscope (layout 9)" in done.err
    head.write_text("{")
    assert "not a readable run" in deepscope("runs", "show", newest).err
    assert deepscope("runs", "show", "last").code == (0 if others else 2)


def test_a_damaged_record_is_one_clear_error(deepscope: Callable, study: Callable) -> None:
    deepscope("study", "run", study(), *INLINE)
    deepscope("study", "run", study(), *INLINE)
    file = Path("../home/runs") / ids(deepscope)[0] / "record.json"
    record = json.loads(file.read_text())
    low = [{**record["criteria"][0], "low": "none"}]
    for text in ("[" * 100_000, json.dumps({**record, "criteria": 5}), json.dumps({**record, "criteria": low})):
        file.write_text(text)
        for words in (["show"], ["compare", *ids(deepscope)]):
            done = deepscope("runs", *words)
            assert (done.code, done.out) == (2, "")
            assert "the run cannot be read (it" in done.err
            assert "judge them again with: deepscope study run gain.py" in done.err
    assert deepscope("study", "run", study(), *INLINE).code == 0


@pytest.mark.parametrize("words", [["list"], ["show"], ["compare", "a", "b"], ["export", "--csv", "t.csv"], ["gc"]])
def test_a_store_that_is_no_folder(deepscope: Callable, monkeypatch: pytest.MonkeyPatch, words: list[str]) -> None:
    monkeypatch.setenv("DEEPSCOPE_HOME", os.devnull)
    done = deepscope("runs", *words)
    assert (done.code, done.out) == (2, "")
    assert "the store cannot be read (Not a directory): /dev/null/runs\nSet DEEPSCOPE_HOME" in done.err


def test_a_study_is_shown_again(deepscope: Callable, study: Callable) -> None:
    record = json.loads(deepscope("study", "run", study(), *INLINE, "--json").out)
    assert json.loads(deepscope("runs", "show", "--json").out) == record
    shown = deepscope("runs", "show")
    assert "An effect is there." in shown.out
    assert "Reproduced: " in shown.out
    done = deepscope("runs", "show", "--out", "again.html")
    assert done.out == "Report: again.html\n"
    assert "<svg" in Path("again.html").read_text()
    assert "An effect is there." in Path("again.html").read_text()
    assert json.loads(deepscope("runs", "show", "last", "--json", "--out", "again.json").out) == record
    assert json.loads(Path("again.json").read_text()) == record


def test_a_study_that_was_not_finished(deepscope: Callable, study: Callable) -> None:
    path = study(trial="if run.seed == 2: raise KeyboardInterrupt")
    done = deepscope("study", "run", path, *INLINE)
    assert done.code == 130
    assert done.err.endswith("\ndeepscope study run gain.py --executor inline\n")
    (run,) = json.loads(deepscope("runs", "list", "--json").out)
    assert run["outcome"] == "not finished"
    done = deepscope("runs", "show")
    assert done.code == 2
    assert "not finished" in done.err
    # Its trials are there all the same.
    plan = json.loads(deepscope("study", "run", path, "--dry-run", "--json").out)
    assert (plan["stored"], plan["to_run"]) == (2, 4)


def test_runs_are_compared(deepscope: Callable, study: Callable) -> None:
    deepscope("study", "run", study(), *INLINE)
    deepscope("study", "run", study(), *INLINE, "--set", "width=16")
    b, a = ids(deepscope)
    done = deepscope("runs", "compare", a, b, "--json")
    assert done.code == 0
    assert isinstance(json.loads(done.out), dict)
    shown = deepscope("runs", "compare", a, "last")
    assert shown.code == 0
    assert "width" in shown.out


def test_different_kinds_are_not_compared(deepscope: Callable, study: Callable, checkpoint: Path) -> None:
    deepscope("examine", checkpoint)
    deepscope("study", "run", study(), *INLINE)
    a, b = ids(deepscope)
    done = deepscope("runs", "compare", a, b)
    assert done.code == 2
    assert done.out == ""


def test_trials_are_exported(deepscope: Callable, study: Callable) -> None:
    deepscope("study", "run", study(), *INLINE)
    done = deepscope("runs", "export", "--csv", "t.csv")
    assert (done.code, done.out) == (0, "Table: t.csv\n")
    assert sorted(pd.read_csv("t.csv")["gain"]) == pytest.approx([0, 0.01, 0.02, 1, 1.01, 1.02])
    deepscope("study", "run", study("other.py", effect=0.1), *INLINE)
    newest, oldest = ids(deepscope)
    assert deepscope("runs", "export", newest, oldest, oldest, "--csv", "both.csv").code == 0
    assert pd.read_csv("both.csv")["study"].value_counts().to_dict() == {"gain": 6, "other": 6}
    assert deepscope("runs", "export", oldest, "--csv", "one.csv").code == 0
    assert set(pd.read_csv("one.csv")["study"]) == {"gain"}


def test_trials_that_cannot_be_read_are_said_and_the_rest_is_there(deepscope: Callable, study: Callable) -> None:
    deepscope("study", "run", study(), *INLINE)
    log = Path("../home/runs") / ids(deepscope)[0] / "trials.jsonl"
    log.write_bytes(b"garbage\n" + b"".join(log.read_bytes().splitlines(keepends=True)[1:]))
    for words in (["export", "--csv", "t.csv"], ["compare", "last", "last"], ["compare", "last", "last", "--json"]):
        done = deepscope("runs", *words)
        assert done.code == 3
        assert "1 of the stored trials cannot be read: " in done.err
    assert len(pd.read_csv("t.csv")) == 5
    assert len(json.loads(done.out)["left_out"]) == 1


def test_parquet(deepscope: Callable, study: Callable) -> None:
    pytest.importorskip("pyarrow")
    deepscope("study", "run", study(), *INLINE)
    assert deepscope("runs", "export", "--parquet", "t.parquet").code == 0
    assert len(pd.read_parquet("t.parquet")) == 6


def test_an_examination_is_exported(deepscope: Callable, checkpoint: Path) -> None:
    deepscope("examine", checkpoint)
    assert deepscope("runs", "export", "--csv", "t.csv").code == 0
    assert "layer.weight" in Path("t.csv").read_text()


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["list", "--frobnicate"], "frobnicate"),
        (["show", "never"], "never"),
        (["show", "--out", "r.doc"], "r.doc"),
        (["show", "--out", "no/such/r.html"], "cannot be written"),
        (["compare", "last"], "compare"),
        (["compare", "last", "never"], "never"),
        (["export"], "--csv FILE or --parquet FILE"),
        (["export", "--csv", "t.csv", "--parquet", "t.parquet"], "--csv FILE or --parquet FILE"),
        (["export", "--csv", "t.parquet"], ".csv"),
        (["export", "--parquet", "t"], ".parquet"),
        (["export", "--csv", "no/such/t.csv"], "no/such/t.csv"),
        (["export", "never", "--csv", "t.csv"], "never"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_wrong_input_is_one_clear_error(deepscope: Callable, study: Callable, arguments: list[str], word: str) -> None:
    deepscope("study", "run", study(), *INLINE)
    done = deepscope("runs", *arguments)
    assert done.code == 2
    assert word in done.err
    assert done.out == ""
    assert not [path for path in Path().iterdir() if path.suffix in (".csv", ".parquet", ".html", ".doc")]


def test_a_table_that_does_not_fit_on_the_disk(
    deepscope: Callable, study: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    deepscope("study", "run", study(), *INLINE)

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    done = deepscope("runs", "export", "--csv", "t.csv")
    assert done.code == 2
    assert "the table cannot be written (No space left on device): t.csv" in done.err
    assert not Path("t.csv").exists()


def test_garbage_is_named_and_then_removed(deepscope: Callable, study: Callable) -> None:
    deepscope("study", "run", study(), *INLINE)
    deepscope("study", "run", study(), *INLINE)
    newest, oldest = ids(deepscope)
    (planned,) = json.loads(deepscope("runs", "gc", "--dry-run", "--json").out)
    assert set(planned) == {"path", "bytes", "reason"}
    assert Path(planned["path"]).name == oldest
    assert planned["bytes"] > 0
    said = deepscope("runs", "gc", "--dry-run")
    assert said.out.splitlines()[0] == f"{planned['path']}  {planned['reason']}"
    assert said.out.splitlines()[1].startswith("1 would be removed, ")
    assert ids(deepscope) == [newest, oldest]
    done = deepscope("runs", "gc")
    assert (done.code, done.out.splitlines()[1][:10]) == (0, "1 removed,")
    assert ids(deepscope) == [newest]
    assert deepscope("runs", "gc").out == "0 removed, 0.0 MB\n"
