"""The store: whole runs or none, listed without torch."""

from __future__ import annotations

import errno
import functools
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any, Literal, NoReturn

import filelock
import numpy as np
import pytest
from atlas_runs import study_run
from torch import nn

import deepscope
from deepscope.core import DeepscopeError, UsageError, write_atomically
from deepscope.lab import Run, TrialRecord, collect_garbage, earlier_trials, find_run, keep, open_run, runs, runs_folder
from deepscope.lab._draft import leftovers, remove


@pytest.fixture(autouse=True)
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DEEPSCOPE_HOME", str(tmp_path / "home"))


@functools.cache
def examined() -> deepscope.Examination:
    return deepscope.examine(nn.Linear(20, 20), instruments=["anatomy", "spectrum"])


def test_a_run_holds_everything_that_was_seen() -> None:
    examination = examined()
    run = keep(examination)
    assert run.record() == examination.to_dict()
    assert set(run.figures()) == {"anatomy", "spectrum"}
    for name, reading in examination.readings.items():
        assert type(reading).load(run.path / "readings" / name) == reading


def test_an_empty_store_lists_nothing() -> None:
    assert runs() == ([], [])
    with pytest.raises(UsageError, match="Nothing is stored yet"):
        find_run("last")


def test_found_by_id_by_its_ends_and_as_last() -> None:
    first, second = keep(examined()), keep(examined())
    assert find_run("last").id == second.id
    assert [run.id for run in runs()[0]] == [second.id, first.id]
    assert find_run(first.id) == first
    assert find_run(first.id[-4:]) == first
    with pytest.raises(UsageError, match="several runs match"):
        find_run(first.id[:8])
    with pytest.raises(UsageError, match="no such run"):
        find_run("nothing")


def test_a_failure_while_writing_leaves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*arguments: object, **options: object) -> None:
        raise OSError(28, "No space left on device")

    examination = examined()
    monkeypatch.setattr(type(examination.readings["spectrum"]), "save", full)
    with pytest.raises(OSError, match="No space"):
        keep(examination)
    assert list(runs_folder().iterdir()) == []


def test_a_broken_run_is_reported_and_the_others_are_listed() -> None:
    good, bad, newer, partial = (keep(examined()) for _ in range(4))
    (bad.path / "run.json").write_text("{")
    head = json.loads((newer.path / "run.json").read_text())
    (newer.path / "run.json").write_text(json.dumps({**head, "layout": 99}))
    (partial.path / "run.json").write_text(json.dumps({**head, "kind": None, "outcome": 3}))
    (runs_folder() / ".half.part").mkdir()
    found, broken = runs()
    assert [run.id for run in found] == [good.id]
    assert len(broken) == 3
    assert "its kind is None, not one of 'examination', 'study', 'watch'" in broken[0]
    assert "newer deepscope" in broken[1]
    assert "Expecting property name" in broken[2]


def test_listing_and_showing_never_load_torch() -> None:
    keep(examined())
    program = (
        "import sys; from deepscope.cli import app\n"
        "app(['runs', 'list'], result_action='return_value'); app(['runs', 'show'], result_action='return_value')\n"
        "sys.exit('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "Linear" in done.stdout


def test_nothing_of_the_store_loads_torch(tmp_path: Path) -> None:
    program = """
import json, sys
from pathlib import Path
import numpy as np
from deepscope.lab import (TrialRecord, collect_garbage, compare_runs, earlier_trials, export_runs, find_run,
                           open_run, runs, trials_table)
record = TrialRecord(identity="a", study="s", case={"n": 1}, seed=0, status="finished", values={"c": np.arange(3.0)})
for _ in range(2):
    with open_run("study", "s", {}) as run:
        run.log.append(record)
        run.close("done", json.loads(sys.argv[2]), {})
trials_table(earlier_trials("s")[0]["a"])
found, _ = runs()
compare_runs(*found)
export_runs(found, Path(sys.argv[1]) / "t.csv")
export_runs(found, Path(sys.argv[1]) / "t.parquet")
collect_garbage()
sys.exit('torch' in sys.modules)
"""
    call = [sys.executable, "-c", program, str(tmp_path), json.dumps(RECORD)]
    done = subprocess.run(call, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def trial(
    seed: int, *, study: str = "s", run: str = "", status: Literal["finished", "failed"] = "finished"
) -> TrialRecord:
    values = {"loss": seed / 7, "curve": np.arange(20) / (seed + 1)} if status == "finished" else {}
    return TrialRecord(
        identity=f"{study}-{seed}", study=study, case={"n": 1}, seed=seed, status=status, values=values, run=run
    )


def seeds_of(run: Run) -> list[int]:
    records, bad = run.trials()
    assert bad == 0
    return [each.seed for each in records]


RECORD = study_run("s")


def test_a_study_is_listed_as_not_finished_until_it_is_closed() -> None:
    with open_run("study", "s", {"scale": "quick"}) as open_one:
        during = find_run("last")
        assert (during.id, during.kind, during.name, during.outcome) == (open_one.id, "study", "s", "not finished")
        assert not during.finished
        with pytest.raises(DeepscopeError, match=r"(?s)not finished.*deepscope study run s$"):
            during.record()
        open_one.log.append(trial(0))
        assert seeds_of(during) == [0]
        open_one.close("Reproduced.", RECORD, {"study": "<svg/>"})
    after = find_run("last")
    assert after.finished
    assert after.outcome == "Reproduced."
    assert after.record() == RECORD
    assert after.figures() == {"study": "<svg/>"}
    assert after.head()["scale"] == "quick"
    assert sorted(path.name for path in after.path.iterdir()) == [
        "figures", "record.json", "run.json", "trials.jsonl",
    ]  # fmt: skip


def damaged(path: Path, **changes: Any) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


@pytest.mark.parametrize("name", ["examination", "study"])
def test_a_newer_record_is_said_so(name: str) -> None:
    with open_run("study", "s", {}) as run:
        run.close("Reproduced.", RECORD, {})
    found = find_run("last") if name == "study" else keep(examined())
    damaged(found.path / "record.json", schema="deepscope.examination/99" if name == "examination" else 99)
    with pytest.raises(DeepscopeError, match=r"newer deepscope .its schema is .*99.*, this deepscope reads") as caught:
        found.record()
    assert caught.value.todo == "Update deepscope."


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"criteria": 5}, "its criteria is 5, not a list"),
        ({"criteria": [{**RECORD["criteria"][0], "low": "x"}]}, r"its criteria\[0\].low is 'x', not a number"),
        ({"cost": None}, "its cost is None, not an object"),
        ({"failures": [3]}, r"its failures\[0\] is 3, not an object"),
        ({"schema": None}, "its schema is None, this deepscope reads 1"),
    ],
)
def test_a_record_that_is_damaged_or_gone_follows_from_its_trials(changes: dict[str, Any], said: str) -> None:
    with open_run("study", "s", {"command": "deepscope study run s.py --fresh --seeds 4"}) as run:
        run.log.append(trial(0))
        run.close("Reproduced.", RECORD, {})
    again = "Its trials are stored; judge them again with: deepscope study run s.py --seeds 4"
    found = find_run("last")
    damaged(found.path / "record.json", **changes)
    with pytest.raises(DeepscopeError, match=said) as caught:
        found.record()
    assert caught.value.todo == again
    (found.path / "record.json").unlink()
    with pytest.raises(DeepscopeError, match="No such file") as caught:
        found.record()
    assert caught.value.todo == again
    (found.path / "run.json").write_text("{")
    with pytest.raises(DeepscopeError, match="not a readable run") as caught:
        find_run(found.id)
    assert caught.value.todo == "Mend it, or move it away: trials.jsonl holds its trials."


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"readings": []}, r"its readings is \[\], not an object"),
        ({"findings": [5]}, r"its findings\[0\] is 5, not an object"),
        ({"subject": {"name": 3}}, "its subject.name is 3, not text"),
        ({"readings": {"anatomy": {"table": 3}}}, "its readings.anatomy.table is 3, not a list"),
    ],
)
def test_a_damaged_examination_is_said_so(changes: dict[str, Any], said: str) -> None:
    found = keep(examined())
    damaged(found.path / "record.json", **changes)
    with pytest.raises(DeepscopeError, match=said) as caught:
        found.record()
    assert caught.value.todo == "Remove its directory."


@pytest.mark.parametrize("environments", [5, {"earlier": 3}, {"earlier": {"versions": []}}])
def test_what_is_known_of_earlier_runs_is_read_as_strictly(environments: Any) -> None:
    with open_run("study", "s", {}) as run:
        run.log.append(trial(0))
    damaged(run.path / "run.json", environments=environments)
    assert "its environments" in runs()[1][0]


def test_a_block_that_ends_with_an_error_leaves_what_was_done() -> None:
    def interrupted() -> None:
        with open_run("study", "s", {}) as run:
            run.log.append(trial(0))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    left = find_run("last")
    assert not left.finished
    assert seeds_of(left) == [0]


def test_what_a_full_disk_kept_back_is_written_when_the_block_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    with open_run("study", "s", {}) as run:
        with monkeypatch.context() as broken:
            broken.setattr("deepscope.lab._line_log.os.write", no_space)
            run.log.append(trial(0))
        assert run.log.unwritten == 1
    assert seeds_of(find_run("last")) == [0]


def test_two_runs_of_one_name_at_one_time_are_two() -> None:
    with open_run("study", "s", {}) as one, open_run("study", "s", {}) as other:
        one.log.append(trial(0))
        other.log.append(trial(1))
    assert one.path != other.path
    assert [seeds_of(run) for run in runs()[0]] == [[1], [0]]


def test_a_store_that_cannot_be_written_is_said_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("DEEPSCOPE_HOME", str(tmp_path / "file"))
    with pytest.raises(UsageError, match=r"(?s)the store cannot be written.*DEEPSCOPE_HOME"):
        open_run("study", "s", {})


def no_space(*arguments: object, **options: object) -> NoReturn:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_full_disk_when_a_run_begins_leaves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("deepscope.lab._store.write_atomically", no_space)
    with pytest.raises(UsageError, match="No space left"):
        open_run("study", "s", {})
    assert list(runs_folder().iterdir()) == []


@pytest.mark.parametrize("name", ["study.svg", "record.json", "run.json"])
def test_a_full_disk_when_a_run_ends_keeps_its_trials(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(path: Path, content: str, **options: bool) -> Path:
        return no_space() if path.name == name else write_atomically(path, content, **options)

    with open_run("study", "s", {}) as run:
        run.log.append(trial(0))
        with monkeypatch.context() as broken:
            broken.setattr("deepscope.lab._store.write_atomically", full)
            with pytest.raises(OSError, match="No space"):
                run.close("Reproduced.", RECORD, {"study": "<svg/>"})
    left = find_run("last")
    assert not left.finished
    assert seeds_of(left) == [0]


def test_earlier_trials_are_found_by_identity_oldest_first_and_copies_once() -> None:
    with open_run("study", "s", {}) as first:
        first.log.append(trial(0, run=first.id))
        first.log.append(trial(1, run=first.id, status="failed"))
        first.close("done", RECORD, {})
    with open_run("study", "s", {}) as second:
        second.log.append(trial(0, run=first.id))
        second.log.append(trial(1, run=second.id))
    with open_run("study", "s", {}) as third, open_run("study", "another", {}) as another:
        third.log.append(trial(0, run=third.id))
        another.log.append(trial(0, run=another.id))
        trials, reasons = earlier_trials("s")
    assert reasons == []
    assert {name: [each.run for each in found] for name, found in trials.items()} == {
        "s-0": [first.id, third.id],
        "s-1": [second.id],
    }


def test_what_cannot_be_read_is_said_and_the_rest_is_found() -> None:
    made = []
    for seed in range(4):
        with open_run("study", "s", {}) as run:
            run.log.append(trial(seed, run=run.id))
        made.append(run.path)
    head = json.loads((made[0] / "run.json").read_text())
    (made[0] / "run.json").write_text(json.dumps({**head, "layout": 99}))
    (made[1] / "trials.jsonl").unlink()
    (made[1] / "trials.jsonl").mkdir()
    with (made[2] / "trials.jsonl").open("ab") as file:
        file.write(b"damaged\n")
    trials, reasons = earlier_trials("s")
    assert sorted(trials) == ["s-2", "s-3"]
    assert len(reasons) == 3
    assert "newer deepscope" in reasons[0]
    assert "cannot be read" in reasons[1]
    assert "1 of the stored trials" in reasons[2]


def test_a_run_of_the_first_layout_is_still_read() -> None:
    run = keep(examined())
    head = json.loads((run.path / "run.json").read_text())
    assert head["layout"] == 3
    (run.path / "run.json").write_text(json.dumps({**head, "layout": 1}))
    assert runs() == ([run], [])


def test_what_a_killed_writer_left_is_swept_whatever_its_date() -> None:
    program = """
import os, sys
from deepscope.lab._draft import Draft
from deepscope.lab import runs_folder
draft = Draft(runs_folder(), "killed")
(draft.path / "record.json").write_text("{")
print(draft.path.name, flush=True)
sys.stdin.read()
"""
    writer = subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert writer.stdout is not None
    name = writer.stdout.readline().strip()
    try:
        # Very old by the clock, and alive.
        os.utime(runs_folder() / name, (0, 0))
        first = keep(examined())
        assert sorted(path.name for path in runs_folder().iterdir()) == [name, first.id]
    finally:
        writer.kill()
        writer.communicate()
    os.utime(runs_folder() / name, (2**32, 2**32))
    second = keep(examined())
    assert sorted(path.name for path in runs_folder().iterdir()) == [first.id, second.id]


def test_a_draft_that_was_taken_for_a_leftover_is_made_again(monkeypatch: pytest.MonkeyPatch) -> None:
    real, taken = Path.mkdir, []

    def mkdir(self: Path, *arguments: Any, **options: Any) -> None:
        real(self, *arguments, **options)
        if self.suffix == ".part" and not taken:
            taken.append(self)
            for left in leftovers(self.parent):
                remove(left)

    monkeypatch.setattr(Path, "mkdir", mkdir)
    with open_run("study", "s", {}) as run:
        run.log.append(trial(0))
    assert len(taken) == 1
    assert [path.name for path in runs_folder().iterdir()] == [run.id]


@pytest.mark.parametrize("what", ["held", "gone", "gone just now"])
def test_a_draft_whose_lock_somebody_was_quicker_to_take_is_made_again(
    what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, asked = filelock.FileLock.acquire, []

    def acquire(self: filelock.FileLock, *arguments: Any, **options: Any) -> Any:
        asked.append(self.lock_file)
        if len(asked) > 1:
            return real(self, *arguments, **options)
        if what == "held":
            raise filelock.Timeout(self.lock_file)
        if what == "gone":
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), self.lock_file)
        held = real(self, *arguments, **options)
        shutil.rmtree(Path(self.lock_file).parent)
        return held

    monkeypatch.setattr(filelock.FileLock, "acquire", acquire)
    with open_run("study", "s", {}) as run:
        run.log.append(trial(0))
        assert [each.id for each in runs()[0]] == [run.id]
        assert run.path not in [path for path, _, _ in collect_garbage()]
    assert len({*asked[:2]}) == 2
    assert seeds_of(find_run("last")) == [0]


def test_a_removal_that_was_interrupted_is_finished_and_shows_no_half(monkeypatch: pytest.MonkeyPatch) -> None:
    run = keep(examined())

    def killed(path: Path) -> None:
        (path / "run.json").unlink()
        raise KeyboardInterrupt

    with monkeypatch.context() as broken:
        broken.setattr("deepscope.lab._draft.shutil.rmtree", killed)
        with pytest.raises(KeyboardInterrupt):
            remove(run.path)
    assert runs() == ([], [])
    assert len(list(runs_folder().iterdir())) == 1
    assert [remove(left) for left in leftovers(runs_folder())] == [True]
    assert list(runs_folder().iterdir()) == []


_WRITER = """
import json, sys
import numpy as np
from deepscope.lab import TrialRecord, open_run
study, record = sys.argv[1], json.loads(sys.argv[2])
for index in range(50):
    with open_run("study", study, {"index": index}) as run:
        for seed in range(4):
            values = {"curve": np.arange(20.0) + seed}
            run.log.append(TrialRecord(identity=f"{study}-{index}-{seed}", study=study, case={"index": index},
                                       seed=seed, status="finished", values=values, run=run.id))
        run.close(f"{study} {index}", {**record, "index": index}, {})
"""


def test_several_processes_write_and_list_at_once_and_nothing_is_lost_or_mixed() -> None:
    studies = ["s", "s", "t"]
    writers = [subprocess.Popen([sys.executable, "-c", _WRITER, study, json.dumps(RECORD)]) for study in studies]
    try:
        while any(writer.poll() is None for writer in writers):
            _, broken = runs()
            assert broken == []
    finally:
        for writer in writers:
            writer.kill()
    assert [writer.wait() for writer in writers] == [0, 0, 0]
    found, broken = runs()
    assert broken == []
    assert len(found) == len({run.id for run in found}) == 150
    for run in found:
        index = run.head()["index"]
        assert run.outcome == f"{run.name} {index}"
        assert run.record()["index"] == index
        records, bad = run.trials()
        assert bad == 0
        assert [(each.identity, each.run) for each in records] == [
            (f"{run.name}-{index}-{seed}", run.id) for seed in range(4)
        ]
    assert sorted(run.head()["index"] for run in found if run.name == "s") == sorted([*range(50), *range(50)])
    trials, _ = earlier_trials("s")
    assert len(trials) == 200
    assert all(len(each) == 2 for each in trials.values())


def test_runs_sort_in_the_order_in_which_they_were_begun_also_after_a_clock_was_set_back() -> None:
    (runs_folder() / "20990101-000000-000007-s-beef").mkdir(parents=True)
    with open_run("study", "s", {}) as first:
        pass
    with open_run("study", "s", {}) as second:
        pass
    assert "20990101-000000-000007" < first.id < second.id
    assert find_run("last").id == second.id
