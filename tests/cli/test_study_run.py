"""deepscope study run, as somebody types it."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

#: What the issue promises of ``--json``.
PROMISED = {"study", "scale", "verdict", "modified", "criteria", "trials", "failed", "cost"}
PROMISED_OF_CRITERIA = {"name", "kind", "measured", "low", "high", "threshold", "published", "holds", "control"}

INLINE = ("--executor", "inline")


@pytest.mark.parametrize(
    ("effect", "verdict", "code"),
    [(1.0, "reproduced", 0), (0.1, "not reproduced", 1), (0.5, "inconclusive", 3)],
    ids=["reproduced", "not-reproduced", "inconclusive"],
)
def test_the_verdict_is_the_exit_code(
    deepscope: Callable, study: Callable, effect: float, verdict: str, code: int
) -> None:
    path = study(effect=effect)
    done = deepscope("study", "run", path, *INLINE, "--json")
    record = json.loads(done.out)
    assert (record["verdict"], done.code) == (verdict, code)
    assert record.keys() >= PROMISED
    assert all(criterion.keys() >= PROMISED_OF_CRITERIA for criterion in record["criteria"])
    shown = deepscope("study", "run", path, *INLINE)
    assert shown.code == code
    assert f"{verdict.capitalize()}: " in shown.out
    assert "gain of nothing" in shown.out


def test_smoke_leaves_everything_open(deepscope: Callable, study: Callable) -> None:
    done = deepscope("study", "run", study(), *INLINE, "--scale", "smoke", "--json")
    assert json.loads(done.out)["verdict"] == "inconclusive"
    assert done.code == 3


def test_several_are_a_list_in_the_order_named(deepscope: Callable, study: Callable) -> None:
    good, bad = study("good.py"), study("bad.py", effect=0.1)
    done = deepscope("study", "run", bad, good, *INLINE, "--json")
    assert [record["study"] for record in json.loads(done.out)] == ["bad", "good"]
    assert done.code == 1
    assert "bad.py" in json.loads(done.out)[0]["command"]
    assert "good.py" not in json.loads(done.out)[0]["command"]
    assert isinstance(json.loads(deepscope("study", "run", good, good, *INLINE, "--json").out), dict)


def test_one_that_does_not_import_does_not_stop_the_others(deepscope: Callable, study: Callable) -> None:
    Path("broken.py").write_text("x = 1\nx = 1 / 0\n")
    done = deepscope("study", "run", "broken.py", study(), *INLINE, "--json")
    (record,) = json.loads(done.out)
    assert (record["study"], record["verdict"], done.code) == ("gain", "reproduced", 3)
    assert "ZeroDivisionError" in done.err
    assert "broken.py, line 2" in done.err
    # That a claim is not reproduced says more than that another was not tried.
    assert deepscope("study", "run", "broken.py", study("no.py", effect=0.1), *INLINE).code == 1


def test_where_none_can_be_run_it_is_an_error_said_once(deepscope: Callable, study: Callable) -> None:
    done = deepscope("study", "run", study("a.py"), study("b.py"), "--workers", 0, "--json")
    assert done.code == 2
    assert done.out == ""
    assert done.err.count("0 workers") == 1


@pytest.mark.parametrize("flags", [(), ("--json",)], ids=["text", "json"])
def test_what_a_study_prints_stays_off_standard_output(deepscope: Callable, study: Callable, flags: tuple) -> None:
    path = study(top="import os\nprint('importing')\nos.write(1, b'raw')", trial="print('trying')")
    done = deepscope("study", "run", path, *INLINE, *flags, lines=40)
    assert done.code == 0
    assert "importing" not in done.out
    assert "trying" not in done.out
    if flags:
        assert json.loads(done.out)["verdict"] == "reproduced"


def test_a_trial_that_fails_costs_only_itself(deepscope: Callable, study: Callable) -> None:
    path = study(trial="assert run.seed != 1, 'planted'")
    done = deepscope("study", "run", path, *INLINE, "--json")
    record = json.loads(done.out)
    assert (record["trials"], record["failed"], done.code) == (6, 2, 3)
    assert "planted" in record["failures"][0]["error"]
    assert "planted" in deepscope("study", "run", path, *INLINE).out


def test_a_figure_that_cannot_be_drawn_is_partly_done(deepscope: Callable, study: Callable) -> None:
    for name, effect, code in (("good.py", 1.0, 3), ("bad.py", 0.1, 1)):
        path = study(name, effect=effect)
        path.write_text(path.read_text().replace("    figure, axes = new()", "    raise ValueError('planted')"))
        done = deepscope("study", "run", path, *INLINE, "--json")
        assert done.code == code
        assert "planted" in json.loads(done.out)["notes"][0]


def test_finished_trials_are_not_run_again_unless_asked(deepscope: Callable, study: Callable) -> None:
    path = study(trial="open('count', 'a').write('x')")
    for flags, count in (((), 6), ((), 6), (("--fresh",), 12)):
        assert deepscope("study", "run", path, *INLINE, *flags).code == 0
        assert len(Path("count").read_text()) == count


def test_a_dry_run_says_what_would_run_and_runs_nothing(deepscope: Callable, study: Callable) -> None:
    path = study(trial="open('count', 'a').write('x')")
    before = deepscope("study", "run", path, "--dry-run")
    assert before.code == 0
    assert before.out == ("gain (quick): trials 6, cases 2, seeds 3; stored 0, to run 6, CPU time not known yet\n")
    assert not Path("count").exists()
    assert not Path("../home").exists()
    deepscope("study", "run", path, *INLINE)
    plan = json.loads(deepscope("study", "run", path, "--dry-run", "--json", "--seeds", 5).out)
    assert (plan["study"], plan["stored"], plan["to_run"], plan["modified"]) == ("gain", 6, 4, True)
    assert plan["expected_cpu_seconds"] >= 0
    after = deepscope("study", "run", path, "--dry-run", "--seeds", 5)
    assert "gain (quick, modified protocol): " in after.out
    assert "stored 6, to run 4, CPU time under 1 s" in after.out
    assert deepscope("study", "run", path, "--dry-run").out.endswith("stored 6, to run 0\n")
    plans = json.loads(deepscope("study", "run", path, study("other.py"), "--dry-run", "--json").out)
    assert [plan["study"] for plan in plans] == ["gain", "other"]
    Path("broken.py").write_text("x =\n")
    partly = deepscope("study", "run", path, "broken.py", "--dry-run", "--json")
    assert (partly.code, len(json.loads(partly.out))) == (3, 1)


def test_a_bent_protocol_is_said(deepscope: Callable, study: Callable) -> None:
    path = study()
    done = deepscope("study", "run", path, *INLINE, "--set", "width=16", "--seeds", 4, "--json")
    record = json.loads(done.out)
    assert record["modified"]
    assert record["settings"] == {"width": 16}
    assert record["seeds"] == 4
    assert record["command"] == "deepscope study run gain.py --executor inline --set width=16 --seeds 4 --json"


def test_settings_come_from_the_environment_and_a_file_too(
    deepscope: Callable, study: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = study()
    monkeypatch.setenv("DEEPSCOPE_STUDY_RUN_EXECUTOR", "inline")
    Path("deepscope.toml").write_text('[study.run]\nseeds = 4\nset = ["width=16"]\n')
    record = json.loads(deepscope("study", "run", path, "--json").out)
    assert (record["executor"], record["seeds"], record["settings"]) == ("inline", 4, {"width": 16})
    assert json.loads(deepscope("study", "run", path, "--json", "--seeds", 3).out)["seeds"] == 3


def test_report_as_page_and_as_data(deepscope: Callable, study: Callable) -> None:
    path = study()
    done = deepscope("study", "run", path, *INLINE, "--out", "r.html")
    assert done.code == 0
    assert "An effect is there." in Path("r.html").read_text()
    assert "<svg" in Path("r.html").read_text()
    assert done.out.endswith("\nReport: r.html\n")
    assert deepscope("study", "run", path, *INLINE, "--out", "r.json", "--json").code == 0
    assert json.loads(Path("r.json").read_text())["verdict"] == "reproduced"


def test_the_pool_gives_the_same_numbers(deepscope: Callable, study: Callable) -> None:
    path = study()
    inline = json.loads(deepscope("study", "run", path, *INLINE, "--json").out)
    pool = json.loads(deepscope("study", "run", path, "--fresh", "--workers", 1, "--json").out)
    assert (pool["executor"], pool["reused"]) == ("pool", 0)
    assert pool["criteria"] == inline["criteria"]


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        ([], "no study is named"),
        (["vanishing-gradent"], 'Did you mean "vanishing-gradient"'),
        (["gain.py", "vanishing-gradent"], 'Did you mean "vanishing-gradient"'),
        (["missing.py"], "missing.py"),
        (["broken.py"], "broken.py, line 2"),
        (["unfinished.py"], "unfinished.py, line 1"),
        (["empty.py"], "no study"),
        (["gain.py", "--scale", "huge"], "huge"),
        (["gain.py", "--scale", "full"], "unknown scale: full"),
        (["gain.py", "--executor", "threads"], "threads"),
        (["gain.py", "--workers", "0"], "0 workers"),
        (["gain.py", "--workers", "many"], "many"),
        (["gain.py", "--address", "auto"], "--executor ray"),
        (["gain.py", "--set", "width"], "name=value"),
        (["gain.py", "--set", "=3"], "name=value"),
        (["gain.py", "--set", "widht=3"], 'Did you mean "width"'),
        (["gain.py", "--set", "width=wide"], "does not fit"),
        (["gain.py", "--set", "width=1", "--set", "width=2"], "twice"),
        (["gain.py", "--seeds", "0"], "0 seeds"),
        (["gain.py", "--seeds", "50001"], "50,001 seeds of 2 cases are more than 100,000 trials"),
        (["gain.py", "--seeds", "30000000"], "Give at most 50,000."),
        (["gain.py", "--timeout", "0"], "time-out"),
        (["gain.py", "--timeout", "nan"], "time-out"),
        (["gain.py", "--memory", "0"], "memory"),
        (["gain.py", "--memory", "inf"], "memory"),
        (["gain.py", "--device", "abacus"], "abacus"),
        (["gain.py", "--mirror", "tensorbord"], 'Did you mean "tensorboard"'),
        (["gain.py", "--out", "no/such/folder/r.html"], "cannot be written"),
        (["gain.py", "--out", "r.doc"], "r.doc"),
        (["gain.py", "other.py", "--out", "r.html"], "one study"),
        (["gain.py", "--frobnicate"], "frobnicate"),
    ],
    ids=lambda value: " ".join(value) or "nothing" if isinstance(value, list) else "",
)
def test_wrong_input_is_one_clear_error(deepscope: Callable, study: Callable, arguments: list[str], word: str) -> None:
    study()
    study("other.py")
    Path("broken.py").write_text("x = 1\nx = 1 / 0\n")
    Path("unfinished.py").write_text("def trial(:\n")
    Path("empty.py").write_text("")
    before = sorted(path.name for path in Path().iterdir() if not path.name.startswith("__"))
    for mode in ((), ("--json",), ("--dry-run",)):
        if mode == ("--dry-run",) and arguments[1:2] and arguments[1] in _NOT_PLANNED:
            continue
        done = deepscope("study", "run", *arguments, *mode)
        assert done.code == 2
        assert word in done.err
        assert done.out == ""
    assert sorted(path.name for path in Path().iterdir() if not path.name.startswith("__")) == before
    assert not Path("../home/runs").exists()


#: A plan is the same whatever it would run on.
_NOT_PLANNED = {"--workers", "--address", "--timeout", "--memory", "--device", "--mirror"}


def test_more_workers_than_processors_is_no_error(deepscope: Callable, study: Callable) -> None:
    done = deepscope("study", "run", study(), "--workers", 999, "--json")
    assert done.code == 0
    assert 1 <= json.loads(done.out)["workers"] < 999


def test_ray_that_is_not_installed(deepscope: Callable, study: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    done = deepscope("study", "run", study(), "--executor", "ray")
    assert done.code == 2
    assert "deepscope[cluster]" in done.err


def test_a_store_that_cannot_be_written(deepscope: Callable, study: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("file").write_text("")
    monkeypatch.setenv("DEEPSCOPE_HOME", str(Path.cwd() / "file" / "home"))
    done = deepscope("study", "run", study(), *INLINE, "--json")
    assert done.code == 2
    assert "DEEPSCOPE_HOME" in done.err
