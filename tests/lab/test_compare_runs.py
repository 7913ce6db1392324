"""Two runs side by side, as data and in a terminal."""

from __future__ import annotations

import copy
import functools
import io
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from atlas_runs import study_run
from rich.cells import cell_len
from rich.console import Console
from torch import nn

import deepscope
from deepscope.core import Criterion, UsageError
from deepscope.lab import Run, TrialRecord, compare_runs, find_run, keep, open_run
from deepscope.lab._compare_runs import _difference
from deepscope.report import compare_runs_text


@pytest.fixture(autouse=True)
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DEEPSCOPE_HOME", str(tmp_path / "home"))


def trial(seed: int, *, width: int | float = 3, status: Any = "finished", **values: Any) -> TrialRecord:
    return TrialRecord(
        identity=f"t{width}-{seed}", study="s", case={"width": width}, seed=seed, status=status, values=values
    )


HEAD = {"scale": "quick", "modified": False, "settings": {}, "seeds": 5}
RECORD = study_run("s", code="abc", hardware={"cpu": "a processor", "cores": 2})


def store(*trials: TrialRecord, finished: bool = True, criteria: Any = (), **record: Any) -> Run:
    with open_run("study", "s", {**HEAD, **{name: record[name] for name in record if name in HEAD}}) as run:
        for each in trials:
            run.log.append(each)
        if finished:
            run.close("Reproduced.", {**RECORD, "criteria": [each.to_dict() for each in criteria], **record}, {})
    return find_run(run.id)


def shown(record: dict[str, Any], width: int = 100) -> str:
    stream = io.StringIO()
    compare_runs_text(record, Console(file=stream, width=width, no_color=True))
    text = stream.getvalue()
    assert max(map(cell_len, text.splitlines())) <= width
    return " ".join(text.split())


def test_a_run_is_the_same_as_itself() -> None:
    run = store(trial(0, loss=0.5), trial(1, loss=math.pi, curve=np.array([math.nan, 1.0])))
    found = compare_runs(run, run)
    assert found["differences"] == found["criteria"] == []
    assert found["trials"] == {"common": 2, "identical": 2, "only_a": 0, "only_b": 0, "numbers": []}
    assert "2 trials in common, by case and seed: 2 the same bit for bit." in shown(found)
    assert "Made with The same." in shown(found)


def test_what_two_runs_were_made_with() -> None:
    other = {
        "scale": "full", "settings": {"width": 4}, "code": "def", "versions": {"torch": "2.14.0"}, "seeds": 10,
        "hardware": {"cpu": "another", "cores": 2},
    }  # fmt: skip
    found = compare_runs(store(), store(**other))
    assert found["differences"] == [
        {"what": "scale", "a": "quick", "b": "full"},
        {"what": "settings.width", "a": None, "b": 4},
        {"what": "seeds", "a": 5, "b": 10},
        {"what": "code", "a": "abc", "b": "def"},
        {"what": "versions.torch", "a": "2.13.0", "b": "2.14.0"},
        {"what": "hardware.cpu", "a": "a processor", "b": "another"},
    ]
    assert "scale: quick → full settings.width: none → 4" in shown(found)


def test_criteria_stand_side_by_side() -> None:
    def effect(name: str, mean: float) -> Criterion:
        return Criterion.effect(name, {0: mean - 0.1, 1: mean + 0.1, 2: mean}, above=1.0)

    one, other = effect("peak", 3.0), effect("peak", 0.5)
    found = compare_runs(store(criteria=[one]), store(criteria=[other, effect("new", 2.0)]))
    assert [each["name"] for each in found["criteria"]] == ["peak", "new"]
    peak, new = found["criteria"]
    assert (peak["a"], peak["b"]) == (one.to_dict(), other.to_dict())
    assert (peak["a"]["holds"], peak["b"]["holds"]) == (True, False)
    assert new["a"] is None
    text = shown(found)
    assert "peak a 3.00 [2.75, 3.25], must be > 1; holds: yes b 0.50 [0.25, 0.75], must be > 1; holds: no" in text
    assert "new a not judged" in text


def test_trials_are_matched_by_case_and_seed_and_compared_bit_for_bit() -> None:
    one = store(
        trial(0, loss=1.0, curve=np.array([1.0, 2.0])), trial(1, loss=2.0, curve=np.zeros(2)), trial(2, loss=3.0),
        trial(3, status="failed"), trial(4, width=3.0, loss=1.0),
    )  # fmt: skip
    other = store(
        trial(2, loss=3.0), trial(1, loss=2.5, curve=np.zeros(2)), trial(0, loss=1.0, curve=np.array([1.0, 4.0])),
        trial(3, loss=1.0), trial(4, loss=1.0),
    )  # fmt: skip
    assert compare_runs(one, other)["trials"] == {
        "common": 3, "identical": 1, "only_a": 1, "only_b": 2,
        "numbers": [
            {"name": "loss", "trials": 1, "largest": 0.2}, {"name": "curve", "trials": 1, "largest": 0.5},
        ],
    }  # fmt: skip
    text = shown(compare_runs(one, other))
    assert (
        "3 trials in common, by case and seed: 1 the same bit for bit. 1 trial only in a. 2 trials only in b." in text
    )
    assert "loss differs in 1 trial, relatively by at most 0.2" in text


@pytest.mark.parametrize(
    ("a", "b", "expected"),
    [
        (1.0, 1.0, 0.0),
        (2.0, 1.0, 0.5),
        (-1.0, 1.0, 2.0),
        (0.0, 3.0, 1.0),
        (0, 0.0, 0.0),
        (1e308, -1e308, 2.0),
        (5e-324, 1e-323, 0.5),
        (math.nan, math.nan, 0.0),
        (math.nan, 1.0, None),
        (math.inf, math.inf, 0.0),
        (math.inf, 1.0, None),
        (None, None, 0.0),
        (None, 1.0, None),
        ("a", "a", 0.0),
        ("a", "b", None),
        (True, False, 1.0),
        (np.array([1.0, 2.0]), np.array([1.0, 2.5]), 0.2),
        (np.array([1.0, math.nan]), np.array([1.0, math.nan]), 0.0),
        (np.array([1.0, math.nan]), np.array([2.0, 1.0]), None),
        (np.zeros(2), np.zeros(3), None),
        (np.zeros(0), np.zeros(0), 0.0),
        (np.array([3 + 4j]), np.array([0j]), 1.0),
        (2**70, 2**69, 0.5),
    ],
    ids=lambda value: str(value).replace("\n", " "),
)
def test_relative_differences(a: Any, b: Any, expected: float | None) -> None:
    for one, other in ((a, b), (b, a)):
        found = _difference(one, other)
        assert found == expected if expected is None else found == pytest.approx(expected, rel=1e-12)


def test_a_run_that_was_not_finished_is_compared_by_its_trials() -> None:
    found = compare_runs(store(trial(0, loss=1.0), finished=False), store(trial(0, loss=1.0), scale="full"))
    assert {"what": "scale", "a": "quick", "b": "full"} in found["differences"]
    assert found["trials"]["identical"] == 1
    assert "not finished" in shown(found)


@functools.cache
def examined() -> deepscope.Examination:
    return deepscope.examine(nn.Sequential(nn.Linear(60, 70), nn.Linear(70, 60)), instruments=["anatomy", "spectrum"])


def changed(run: Run, change: Any) -> Run:
    record = copy.deepcopy(run.record())
    change(record)
    (run.path / "record.json").write_text(json.dumps(record))
    return run


def finding(message: str, where: str = "0.weight") -> dict[str, str]:
    known = {"severity": "warning", "instrument": "anatomy", "where": where, "message": message}
    return {**known, "evidence": "", "source": "", "action": ""}


def test_two_examinations() -> None:
    def before(record: dict[str, Any]) -> None:
        record["findings"] = [finding("24 % of it is odd."), finding("It is strange.")]

    def after(record: dict[str, Any]) -> None:
        record["findings"] = [finding("31 % of it is odd."), finding("It is strange.", "1.weight")]
        record["versions"]["torch"] = "0"
        record["subject"]["parameters"] = 1
        rows = record["readings"]["anatomy"]["table"]
        rows[0]["norm"] *= 2
        rows[1]["norm"] *= 1.5
        rows[2]["rms"] *= 4
        rows[3]["role"] = "another"
        del rows[3]["max_abs"]

    one, other = changed(keep(examined()), before), changed(keep(examined()), after)
    found = compare_runs(one, other)
    assert found["findings_gone"] == [finding("It is strange.")]
    assert found["findings_new"] == [finding("It is strange.", "1.weight")]
    assert {each["what"] for each in found["differences"]} == {"versions.torch", "subject.parameters"}
    assert list(found["changes"]) == ["anatomy"]
    names = [row["name"] for row in one.record()["readings"]["anatomy"]["table"]]
    assert [(each["column"], each["item"], each["difference"]) for each in found["changes"]["anatomy"]] == [
        ("rms", names[2], 0.75),
        ("norm", names[0], 0.5),
    ]
    json.dumps(found, allow_nan=False)
    text = shown(found)
    assert "In b, not in a ● warning 1.weight" in text
    assert "In a, not in b ● warning 0.weight" in text
    assert "anatomy: changed most" in text


def test_two_examinations_of_one_network_that_say_the_same() -> None:
    text = shown(compare_runs(keep(examined()), keep(examined())))
    assert "The same." in text
    assert "No number differs" in text


def test_runs_of_different_kinds_are_refused() -> None:
    with pytest.raises(UsageError, match="study and examination"):
        compare_runs(store(), keep(examined()))


@pytest.mark.parametrize("width", [20, 60, 200])
def test_hostile_names_reach_no_terminal(width: int) -> None:
    evil = "\x1b[31mred\u202e <b>"
    one = store(trial(0, **{evil: 1.0}), settings={evil: 1})
    other = store(trial(0, **{evil: 2.0}), settings={evil: evil})
    text = shown(compare_runs(one, other), width)
    assert "\x1b" not in text
    assert "\u202e" not in text
