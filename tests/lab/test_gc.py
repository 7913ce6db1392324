"""Garbage: only what is elsewhere goes, and nothing that is being written."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from deepscope.core import UsageError, home
from deepscope.lab import TrialRecord, collect_garbage, open_run, runs, runs_folder


@pytest.fixture(autouse=True)
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DEEPSCOPE_HOME", str(tmp_path / "home"))


def trial(seed: int, value: float = 0.0, **changes: Any) -> TrialRecord:
    fields = {"identity": f"t{seed}", "status": "finished", "values": {"loss": value, "curve": np.full(3, value)}}
    return TrialRecord(study="s", case={"n": 1}, seed=seed, **{**fields, **changes})


QUICK = {"scale": "quick", "modified": False, "settings": {}, "seeds": None}
BENT = {**QUICK, "modified": True, "settings": {"n": 2}}


def store(*trials: TrialRecord, head: dict[str, Any] = QUICK, study: str = "s", finished: bool = True) -> str:
    with open_run("study", study, head) as run:
        for each in trials:
            run.log.append(each)
        if finished:
            run.close("done", {}, {})
    return run.id


def removed() -> list[str]:
    """Collect, and return what went; a dry run says the same before, and a second one finds nothing."""
    said = collect_garbage(dry_run=True)
    before = sorted(path for path in home().rglob("*") if path.name != "index.sqlite")
    assert collect_garbage() == said
    assert all(before.count(path) and not path.exists() for path, _, _ in said)
    assert collect_garbage(dry_run=True) == []
    return [path.name for path, _, _ in said]


def test_a_store_with_nothing_to_spare_stays_as_it_is() -> None:
    assert collect_garbage() == []
    store(trial(0), trial(1))
    store(trial(2))
    assert removed() == []


def test_a_run_whose_trials_and_verdict_are_in_a_newer_one_goes() -> None:
    old = store(trial(0), trial(1))
    new = store(trial(1), trial(0), trial(2))
    assert removed() == [old]
    assert [run.id for run in runs()[0]] == [new]


def test_of_many_superseded_runs_the_newest_stays() -> None:
    ids = [store(trial(0)) for _ in range(4)]
    assert removed() == ids[2::-1]


@pytest.mark.parametrize(
    "other",
    [
        trial(0, -0.0),
        trial(0, values={"loss": 0, "curve": np.zeros(3)}),
        trial(0, values={"loss": 0.0, "curve": np.zeros(3, np.float32)}),
        trial(0, identity="another"),
        trial(0, status="failed", values={}),
    ],
    ids=["sign of zero", "int", "float32", "another identity", "failed"],
)
def test_a_trial_that_is_not_the_same_bit_for_bit_is_no_copy(other: TrialRecord) -> None:
    store(trial(0))
    store(other)
    assert removed() == []


@pytest.mark.parametrize(
    "change", [{"scale": "full"}, {"modified": True}, {"settings": {"n": 2}}, {"seeds": 5}], ids=lambda c: next(iter(c))
)
def test_the_latest_verdict_of_a_protocol_stays(change: dict[str, Any]) -> None:
    store(trial(0))
    store(trial(0), head={**QUICK, **change})
    assert removed() == []


def test_a_newer_run_that_was_not_finished_gives_no_verdict() -> None:
    store(trial(0))
    store(trial(0), trial(1), finished=False)
    assert removed() == []
    new = store(trial(0), trial(1))
    assert len(removed()) == 2
    assert [run.id for run in runs()[0]] == [new]


def test_an_unfinished_run_goes_when_its_trials_are_elsewhere_whatever_the_protocol() -> None:
    killed = store(trial(0), finished=False)
    nothing = store(finished=False)
    failed = store(trial(5, status="failed", values={}, error="no"), finished=False)
    store(trial(0), head=BENT)
    assert sorted(removed()) == sorted([killed, nothing, failed])


def test_an_unfinished_run_with_the_only_copy_stays() -> None:
    store(trial(0), finished=False)
    store(trial(1))
    assert removed() == []


def test_a_trial_in_an_older_run_alone_does_not_let_a_newer_one_go() -> None:
    store(trial(0), trial(1))
    store(trial(0))
    assert removed() == []


def test_another_study_holds_nothing_of_this_one() -> None:
    store(trial(0))
    store(trial(0), study="t")
    assert removed() == []


def test_a_run_with_lines_that_cannot_be_read_stays() -> None:
    old = store(trial(0))
    with (runs_folder() / old / "trials.jsonl").open("ab") as file:
        file.write(b'{"version": 2}\n')
    store(trial(0))
    assert removed() == []


def test_a_torn_line_is_nothing_to_keep() -> None:
    old = store(trial(0), finished=False)
    with (runs_folder() / old / "trials.jsonl").open("ab") as file:
        file.write(b'{"version": 1, "iden')
    store(trial(0))
    assert removed() == [old]


@pytest.mark.parametrize("text", ["{", json.dumps({"layout": 99})], ids=["damaged", "newer"])
def test_what_cannot_be_read_stays(text: str) -> None:
    old = store(trial(0))
    (runs_folder() / old / "run.json").write_text(text)
    store(trial(0))
    assert removed() == []


def test_examinations_stay() -> None:
    for _ in range(2):
        with open_run("examination", "network", {}) as run:
            run.close("fine", {}, {})
    assert removed() == []


def test_what_is_being_written_is_neither_touched_nor_counted_as_a_copy() -> None:
    old = store(trial(0), finished=False)
    with open_run("study", "s", QUICK) as run:
        run.log.append(trial(0))
        (run.path / ".record.json.x.part").touch()
        assert collect_garbage() == []
        run.log.append(trial(1))
        run.close("done", {}, {})
    (run.path / ".record.json.x.part").unlink()
    assert removed() == [old]


_WRITER = """
import sys
from pathlib import Path
from deepscope.core import home
from deepscope.lab import open_run
from deepscope.lab._draft import Draft
from deepscope.lab import runs_folder
draft = Draft(runs_folder(), "draft")
(draft.path / "file").write_text("12345")
run = open_run("study", "killed", {})
(run.path / ".record.json.abc.part").write_text("123")
(home() / "checkpoints" / "s").mkdir(parents=True)
print(draft.path, run.path, flush=True)
sys.stdin.read()
"""


def test_what_a_writer_leaves_goes_when_it_is_dead_and_not_before_whatever_the_clock() -> None:
    writer = subprocess.Popen([sys.executable, "-c", _WRITER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert writer.stdout is not None
    draft, run = map(Path, writer.stdout.readline().split())
    try:
        for path in (draft, run, *run.iterdir()):
            os.utime(path, (0, 0))
        assert collect_garbage() == []
    finally:
        writer.kill()
        writer.communicate()
    for path in (draft, run, *run.iterdir()):
        os.utime(path, (2**32, 2**32))
    said = {path: (size, reason) for path, size, reason in collect_garbage(dry_run=True)}
    assert said[draft] == (5, "left by a process that was killed")
    assert said[run / ".record.json.abc.part"] == (3, "left by a process that was killed")
    assert said[run][1] == "not finished, no trials"
    collect_garbage()
    assert [path.name for path in runs_folder().iterdir()] in ([], ["index.sqlite"])


def test_what_writing_the_index_left_goes() -> None:
    store(trial(0))
    (runs_folder() / ".index.sqlite.abc.part").touch()
    assert removed() == [".index.sqlite.abc.part"]


def checkpoints(*names: str) -> Path:
    folder = home() / "checkpoints" / "s"
    folder.mkdir(parents=True)
    for name in names:
        (folder / name).write_bytes(b"1234")
    return folder


def test_checkpoints_of_finished_trials_go_and_others_stay() -> None:
    folder = checkpoints("t0.checkpoint", ".t0.checkpoint.abc.part", "t1.checkpoint", "t01.checkpoint", "t2.checkpoint")
    (folder / "t0").mkdir()
    (folder / "t0" / "shard").write_bytes(b"12")
    store(trial(0), trial(2, status="failed", values={}))
    sizes = {path.name: size for path, size, _ in collect_garbage(dry_run=True)}
    assert sizes == {"t0.checkpoint": 4, ".t0.checkpoint.abc.part": 4, "t0": 2}
    assert sorted(removed()) == [".t0.checkpoint.abc.part", "t0", "t0.checkpoint"]
    assert sorted(path.name for path in folder.iterdir()) == ["t01.checkpoint", "t1.checkpoint", "t2.checkpoint"]


def test_checkpoints_of_a_study_that_runs_stay() -> None:
    checkpoints("t0.checkpoint")
    store(trial(0))
    with open_run("study", "s", QUICK):
        assert collect_garbage() == []
    assert "t0.checkpoint" in removed()


def test_a_store_that_cannot_be_written_is_said_so(monkeypatch: pytest.MonkeyPatch) -> None:
    store(trial(0))
    store(trial(0))

    def read_only(path: Path, target: Path) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "rename", read_only)
    with pytest.raises(UsageError, match="Permission denied"):
        collect_garbage()


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40)
@given(
    st.lists(
        st.tuples(st.dictionaries(st.integers(0, 3), st.integers(0, 1)), st.sampled_from([QUICK, BENT]), st.booleans()),
        max_size=6,
    )
)
def test_no_finished_trial_and_no_latest_verdict_is_ever_lost(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch, made: list[Any]
) -> None:
    monkeypatch.setenv("DEEPSCOPE_HOME", str(tmp_path_factory.mktemp("store")))

    def held() -> tuple[set[tuple[str, float]], dict[str, str]]:
        trials = {(each.identity, each.values["loss"]) for run in runs()[0] for each in run.trials()[0]}
        latest: dict[str, str] = {}
        for run in runs()[0]:
            if run.finished:
                latest.setdefault(json.dumps(run.head()["settings"]), run.id)
        return trials, latest

    for trials, head, finished in made:
        store(*(trial(seed, value) for seed, value in trials.items()), head=head, finished=finished)
    before = held()
    collect_garbage()
    assert held() == before
    assert collect_garbage() == []
