"""What deepscope study run hands to the lab, and what it makes of what comes back."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest


class Lab:
    """Stands in for ``run_study``: keeps what it is given, and gives what it was told to."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, dict[str, Any]]] = []
        self.results: dict[str, dict[str, Any]] = {}

    def __call__(self, name: str, **options: Any) -> Any:
        self.calls.append((name, options))
        whole = {"verdict": "reproduced", "stored": True, "figure": "<svg/>", "raises": None}
        result = {**whole, **self.results.get(name, {})}
        if result["raises"]:
            raise result["raises"]
        return SimpleNamespace(
            record={"study": name, "verdict": result["verdict"]}, stored=result["stored"], figure=result["figure"]
        )


@pytest.fixture
def lab(monkeypatch: pytest.MonkeyPatch) -> Lab:
    lab = Lab()
    monkeypatch.setattr("deepscope.lab.run_study", lab)
    return lab


def test_what_is_not_said_is_left_to_the_lab(deepscope: Callable, lab: Lab) -> None:
    deepscope("study", "run", "a.py", "--json")
    [(name, options)] = lab.calls
    assert callable(options.pop("progress"))
    assert name == "a.py"
    assert options == {
        "scale": "quick",
        "settings": {},
        "seeds": None,
        "fresh": False,
        "executor": "pool",
        "workers": None,
        "address": None,
        "timeout": None,
        "memory_bytes": None,
        "device": "cpu",
        "trackers": [],
        "command": "deepscope study run a.py --json",
    }


@pytest.mark.parametrize(
    ("words", "option", "value"),
    [
        (["--scale", "full"], "scale", "full"),
        (["--executor", "inline"], "executor", "inline"),
        (["--executor", "ray", "--address", "host:6379"], "address", "host:6379"),
        (["--workers", "3"], "workers", 3),
        (["--fresh"], "fresh", True),
        (["--set", "width=512", "--set", "activation=tanh"], "settings", {"width": "512", "activation": "tanh"}),
        (["--seeds", "20"], "seeds", 20),
        (["--timeout", "1.5"], "timeout", 1.5),
        (["--timeout", "0"], "timeout", 0.0),
        (["--memory", "0.5"], "memory_bytes", 2**29),
        (["--device", "cpu:0"], "device", "cpu:0"),
        (["--executor", "ray", "--device", "cuda:7"], "device", "cuda:7"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_every_option_reaches_the_lab(
    deepscope: Callable, lab: Lab, words: list[str], option: str, value: object
) -> None:
    assert deepscope("study", "run", *words, "a.py", "--json").code == 0
    [(_, options)] = lab.calls
    assert options[option] == value
    assert type(options[option]) is type(value)
    assert " ".join(words) in options["command"]


def test_mirrors_become_trackers(deepscope: Callable, lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("deepscope.training.tracker", lambda name: f"tracker of {name}")
    deepscope("study", "run", "a.py", "--mirror", "tensorboard:here", "--mirror", "mlflow", "--json")
    [(_, options)] = lab.calls
    assert options["trackers"] == ["tracker of tensorboard:here", "tracker of mlflow"]


def test_offline_reaches_what_the_trials_load(deepscope: Callable, lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DEEPSCOPE_OFFLINE", "")
    deepscope("study", "run", "a.py", "--offline", "--json")
    assert os.environ["DEEPSCOPE_OFFLINE"] == "1"


@pytest.mark.parametrize(
    ("results", "code"),
    [
        ([("reproduced", True)], 0),
        ([("reproduced", False)], 3),
        ([("inconclusive", True)], 3),
        ([("not reproduced", True)], 1),
        ([("not reproduced", False)], 1),
        ([("reproduced", True), ("reproduced", True)], 0),
        ([("reproduced", True), ("inconclusive", True)], 3),
        ([("inconclusive", True), ("not reproduced", True), ("reproduced", True)], 1),
    ],
    ids=lambda value: "; ".join(f"{v}{'' if s else ', not stored'}" for v, s in value) if type(value) is list else "",
)
def test_exit_codes(deepscope: Callable, lab: Lab, results: list[tuple[str, bool]], code: int) -> None:
    names = [f"{letter}.py" for letter in "abc"[: len(results)]]
    lab.results = {
        name: {"verdict": verdict, "stored": stored} for name, (verdict, stored) in zip(names, results, strict=True)
    }
    assert deepscope("study", "run", *names, "--json").code == code


def test_interrupted_says_how_to_go_on(deepscope: Callable, lab: Lab) -> None:
    lab.results = {"b.py": {"raises": KeyboardInterrupt()}}
    done = deepscope("study", "run", "a.py", "b.py", "c.py", "--fresh", "--set", "width=2", "--json")
    assert done.code == 130
    assert done.out == ""
    assert "stored" in done.err
    # Not --fresh: that would throw away what was finished.
    assert done.err.endswith("\ndeepscope study run a.py b.py c.py --set width=2 --json\n")
    assert [name for name, _ in lab.calls] == ["a.py", "b.py"]


def test_a_report_that_cannot_be_written_is_said(deepscope: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(path: Path) -> None:
        raise OSError(28, "No space left on device")

    result = SimpleNamespace(record={"study": "a", "verdict": "reproduced"}, stored=True, save=full)
    monkeypatch.setattr("deepscope.lab.run_study", lambda name, **options: result)
    done = deepscope("study", "run", "a.py", "--out", "r.html", "--json")
    assert done.code == 2
    assert "No space left" in done.err


def test_each_verdict_is_shown_when_it_is_there(deepscope: Callable, lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[str] = []
    monkeypatch.setattr("deepscope.report.study_text", lambda record, console: shown.append(record["study"]))
    lab.results = {"b.py": {"raises": KeyboardInterrupt()}}
    assert deepscope("study", "run", "a.py", "b.py").code == 130
    assert shown == ["a.py"]


def test_json_is_the_record(deepscope: Callable, lab: Lab) -> None:
    done = deepscope("study", "run", "a.py", "--json")
    assert json.loads(done.out) == {"study": "a.py", "verdict": "reproduced"}


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (None, "not known yet"),
        (0.2, "under 1 s"),
        (12.4, "about 0:00:12 (h:mm:ss)"),
        (7530, "about 2:05:30 (h:mm:ss)"),
    ],
    ids=str,
)
def test_the_expected_cost_is_said(
    deepscope: Callable, monkeypatch: pytest.MonkeyPatch, seconds: float | None, words: str
) -> None:
    counts = {"cases": 400, "seeds": 5, "trials": 2000, "stored": 1, "to_run": 1999}
    plan = {"study": "a", "scale": "full", "modified": False, **counts, "expected_cpu_seconds": seconds}
    asked: dict[str, Any] = {}
    monkeypatch.setattr("deepscope.lab.plan_study", lambda name, **options: asked.update(options) or plan)
    done = deepscope("study", "run", "a.py", "--dry-run", "--scale", "full", "--set", "n=3", "--fresh")
    assert done.out == (f"a (full): trials 2,000, cases 400, seeds 5; stored 1, to run 1,999, CPU time {words}\n")
    assert asked == {"scale": "full", "settings": {"n": "3"}, "seeds": None, "fresh": True}
