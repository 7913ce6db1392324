"""deepscope runs …, of trainings that were watched."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pandas as pd
from watch_points import end, measurements, store, windows

POINTS = [*measurements(probe_loss=[2.0, 1.0], sharpness=[1.0, 3.0]), *windows([1.5])]


def test_listed_shown_compared_exported(deepscope: Callable) -> None:
    a, b = store(*POINTS, end(150)), store(*POINTS, end(150, error="KeyboardInterrupt"))
    listed = json.loads(deepscope("runs", "list", "--json").out)
    assert [(run["id"], run["kind"], run["name"]) for run in listed] == [(each.id, "watch", "LeNet") for each in (b, a)]
    assert f"{a.id}  watch        LeNet was watched." in deepscope("runs", "list").out.splitlines()
    assert json.loads(deepscope("runs", "show", a.id, "--json").out) == a.record()
    text = " ".join(deepscope("runs", "show").out.split())
    assert "LeNet, 61,706 parameters, trained for 150 steps, measured 2 times: probe loss 2 → 1" in text
    assert "ended by KeyboardInterrupt" in text
    assert "4.0 s of measuring beside 1 min 40 s of training, 4 %; promised: 5 %" in text
    assert deepscope("runs", "show", a.id, "--out", "a.html").out == "Report: a.html\n"
    assert "<svg" in Path("a.html").read_text()
    assert json.loads(deepscope("runs", "show", a.id, "--json", "--out", "a.json").out) == a.record()
    assert "No number differs" in deepscope("runs", "compare", a.id, b.id).out
    assert deepscope("runs", "export", a.id, b.id, "--csv", "t.csv").code == 0
    assert pd.read_csv("t.csv")["probe_loss"].tolist() == [2.0, 1.0, 2.0, 1.0]
    assert deepscope("runs", "gc").out == "0 removed, 0.0 MB\n"


def test_one_that_was_killed(deepscope: Callable) -> None:
    run = store(*POINTS, finished=False)
    assert f"{run.id}  watch        not finished" in deepscope("runs", "list").out
    done = deepscope("runs", "show", "--out", "half.html")
    assert done.code == 0
    assert "it has not ended" in Path("half.html").read_text()
    log = run.path / "points.jsonl"
    log.write_bytes(b"garbage\n" + log.read_bytes())
    for words in (["show"], ["show", "--json"], ["show", "--out", "bad.html"], ["export", "--csv", "t.csv"]):
        done = deepscope("runs", *words)
        assert done.code == 3
        assert "1 of the stored points cannot be read" in done.err
