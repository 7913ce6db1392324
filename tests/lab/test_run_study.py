"""Running a study: what is stored is not run again, what is edited is, and a reader's changes are said."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from deepscope.core import DeepscopeError, UsageError
from deepscope.lab import StudyRun, find_run, plan_study, run_study, write_skeleton
from deepscope.lab._trial_log import read_trials
from deepscope.lab._trial_record import fingerprint

STUDIES = Path(__file__).parent / "studies"


@pytest.fixture(autouse=True)
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("DEEPSCOPE_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture
def short(tmp_path: Path) -> Path:
    """A copy of the study, to be edited."""
    return Path(shutil.copy(STUDIES / "short.py", tmp_path / "short.py"))


def run(study: Path, **options: Any) -> StudyRun:
    return run_study(study, **{"executor": "inline", **options})


def edit(study: Path, old: str, new: str) -> None:
    text = study.read_text(encoding="utf-8")
    assert old in text
    study.write_text(text.replace(old, new), encoding="utf-8")


def numbers(result: StudyRun) -> list[str]:
    records, _ = read_trials(result.path / "trials.jsonl")
    return sorted(f"{record.case} {record.seed} {fingerprint(record)}" for record in records)


def test_a_run_answers_with_a_verdict_and_is_stored(short: Path) -> None:
    result = run(short)
    record = result.record
    assert (record["study"], record["scale"], record["verdict"]) == ("short", "quick", "reproduced")
    assert (record["trials"], record["reused"], record["failed"], record["modified"]) == (20, 0, 0, False)
    assert list(result.trials.columns) == ["slope", "seed", "loss", "weights", "curve", "never"]
    assert result.trials["weights"].iloc[0].shape == (8,)
    stored = find_run("last")
    assert stored.path == result.path
    assert stored.record() == json.loads(json.dumps(record))
    assert stored.figures() == {"study": result.figure}
    assert "eproduced" in stored.outcome


def test_what_is_stored_is_not_run_again_at_any_scale(short: Path) -> None:
    first = run(short, scale="smoke")
    second = run(short, scale="quick")
    assert (first.record["reused"], second.record["reused"]) == (0, 4)
    third = run(short, scale="quick")
    assert third.record["reused"] == 20
    assert numbers(third) == numbers(second)
    assert third.record["criteria"] == second.record["criteria"]
    assert third.figure == second.figure


def test_fresh_runs_everything_and_finds_the_same(short: Path) -> None:
    first, again = run(short), run(short, fresh=True)
    assert again.record["reused"] == 0
    assert numbers(again) == numbers(first)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("above=0.1", "above=99.0"),
        ('xlabel="slope"', 'xlabel="the slope"'),
        ('"""Train a little', '"""Train a bit'),
        ("    x = torch.randn(256", "    # A comment.\n    x = torch.randn(256"),
        ('"full": Grid(seeds=50', '"full": Grid(seeds=60'),
    ],
)
def test_editing_judge_draw_thresholds_and_comments_runs_nothing_again(short: Path, old: str, new: str) -> None:
    run(short)
    edit(short, old, new)
    assert run(short).record["reused"] == 20


@pytest.mark.parametrize(("old", "new"), [("range(5)", "range(6)"), ("size)).Q", "size)).Q * 2")])
def test_editing_what_a_trial_does_runs_it_again(short: Path, old: str, new: str) -> None:
    before = run(short)
    edit(short, old, new)
    after = run(short)
    assert after.record["reused"] == 0
    assert numbers(after) != numbers(before)


def test_an_edited_threshold_judges_anew(short: Path) -> None:
    run(short)
    edit(short, "above=0.1", "above=99.0")
    assert run(short).verdict.outcome == "not reproduced"


def test_editing_a_function_of_another_module_runs_what_it_touches(short: Path) -> None:
    other = short.parent / "steps.py"
    other.write_text("def steps():\n    return 5\n\n\ndef unrelated():\n    return 1\n", encoding="utf-8")
    edit(short, "range(5)", "range(steps())")
    edit(short, "import torch\n", "import torch\nfrom steps import steps\n")
    run(short)
    edit(other, "return 1", "return 2")
    assert run(short).record["reused"] == 20
    before = run(short)
    edit(other, "return 5", "return 6")
    after = run(short)
    assert after.record["reused"] == 0
    # Not only would it be run again: the process sees the edited file.
    assert numbers(after) != numbers(before)


def test_a_changed_default_does_not_bring_back_what_the_old_one_gave(short: Path) -> None:
    edit(short, "range(5)", "range(case.steps)")
    edit(short, '    topics=("tests",),', '    topics=("tests",),\n    defaults={"steps": 5},')
    run(short)
    edit(short, '{"steps": 5}', '{"steps": 6}')
    assert run(short).record["reused"] == 0


def test_a_field_added_with_its_default_keeps_what_is_stored(short: Path) -> None:
    edit(short, '    topics=("tests",),', '    topics=("tests",),\n    defaults={"steps": 5},')
    run(short)
    edit(short, '{"steps": 5}', '{"steps": 5, "depth": 1}')
    assert run(short).record["reused"] == 20


def test_a_reader_may_bend_a_study_and_the_result_says_so(short: Path) -> None:
    result = run(short, settings={"slope": "3"}, seeds=4)
    assert (result.record["modified"], result.record["trials"]) == (True, 4)
    assert set(result.trials["slope"]) == {3.0}
    assert "odified protocol" in find_run("last").outcome
    assert run(short, seeds=5).record["modified"] is False


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"scale": "quik"}, 'Did you mean "quick"'),
        ({"settings": {"slop": "1"}}, 'Did you mean "slope"'),
        ({"settings": {"slope": "steep"}}, "does not fit"),
        ({"seeds": 0}, "at least 1"),
        ({"executor": "pol"}, 'Did you mean "pool"'),
        ({"executor": "pool", "workers": 0}, "at least 1"),
        ({"address": "here:1"}, "for the executor ray"),
        ({"workers": 2}, "for the executor pool"),
        ({"timeout": 5.0}, "inline there is no time-out"),
        ({"executor": "pool", "timeout": -1.0}, "more than 0"),
        ({"memory_bytes": 0}, "more than 0"),
    ],
)
def test_a_wrong_call_says_what_to_do(short: Path, options: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        run(short, **options)


def test_an_unknown_study_suggests_the_nearest() -> None:
    with pytest.raises(UsageError, match='Did you mean "grokking"'):
        run_study("groking")


def test_a_file_that_does_not_import_says_where(short: Path) -> None:
    edit(short, "SLOPES = [", "SLOPES = undefined, [")
    with pytest.raises(DeepscopeError, match=r"NameError.*short.py, line \d+"):
        run(short)


def test_failed_trials_are_reported_and_tried_again(short: Path) -> None:
    planted = '    if (case.slope, run.seed) == (4.0, 2):\n        raise ValueError("planted")\n'
    edit(short, "    model =", planted + "    model =")
    result = run(short)
    assert (result.record["failed"], result.verdict.outcome) == (1, "inconclusive")
    (failure,) = result.record["failures"]
    assert failure["case"] == "slope=4.0"
    assert failure["seed"] == 2
    assert "ValueError: planted (short.py, line" in failure["error"]
    again = run(short)
    assert (again.record["reused"], again.record["failed"]) == (19, 1)


def test_a_judge_or_a_figure_that_fails_loses_no_trial(short: Path) -> None:
    edit(short, "    flat, steep", "    1 / 0\n    flat, steep")
    edit(short, "    losses = trials", "    1 / 0\n    losses = trials")
    result = run(short)
    assert result.verdict.outcome == "inconclusive"
    assert "cannot be judged: ZeroDivisionError" in result.verdict.reasons[0]
    assert any("figure cannot be drawn" in note for note in result.record["notes"])
    assert len(result.trials) == 20


def test_trials_made_with_other_versions_are_said(short: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = run(short, scale="smoke")
    monkeypatch.setattr("deepscope.lab._study.versions", lambda: {**first.record["versions"], "torch": "9.9"})
    second = run(short)
    was = first.record["versions"]["torch"]
    assert second.record["notes"] == [f"4 stored trials were made with torch {was}; here is 9.9."]
    assert second.record["environments"][first.path.name]["versions"]["torch"] == was
    # What is known of the first run is kept with its trials when the run itself has gone.
    shutil.rmtree(first.path)
    third = run(short)
    assert third.record["environments"][first.path.name]["versions"]["torch"] == was
    assert third.record["reused"] == 20


def test_a_line_that_is_no_trial_stops_no_later_run(short: Path) -> None:
    log = run(short, scale="smoke").path / "trials.jsonl"
    lines = log.read_bytes().splitlines(keepends=True)
    line = json.loads(lines[0])
    log.write_bytes(json.dumps({**line, "case": {"keys": 1}}).encode() + b"\n" + b"".join(lines[1:]))
    assert plan_study(short)["stored"] == len(lines) - 1
    again = run(short)
    assert again.record["failed"] == 0
    assert f"1 of the stored trials cannot be read: {log}" in again.record["notes"]


def test_trials_made_on_another_device_are_said(short: Path) -> None:
    run(short, scale="smoke")
    second = run(short, device="cpu:0")
    assert second.record["device"] == "cpu:0"
    assert second.record["notes"] == ["4 stored trials were made on cpu; here is cpu:0."]
    assert run(short).record["notes"] == ["16 stored trials were made on cpu:0; here is cpu."]


def test_a_plan_says_what_would_run_and_writes_nothing(short: Path, own_home: Path) -> None:
    plan = plan_study(short)
    assert (plan["to_run"], plan["stored"], plan["expected_cpu_seconds"]) == (20, 0, None)
    assert not own_home.exists()
    run(short, scale="smoke")
    plan = plan_study(short)
    assert (plan["to_run"], plan["stored"], plan["cases"], plan["seeds"]) == (16, 4, 4, 5)
    assert plan["expected_cpu_seconds"] > 0
    assert plan_study(short, fresh=True)["to_run"] == 20


def test_the_skeleton_of_a_study_runs_and_is_reproduced(tmp_path: Path) -> None:
    path = write_skeleton("my-claim", tmp_path)
    result = run(path)
    assert path.name == "my_claim.py"
    assert (result.record["study"], result.verdict.outcome) == ("my-claim", "reproduced")
    assert result.figure
    with pytest.raises(UsageError, match="there already"):
        write_skeleton("my-claim", tmp_path)
    with pytest.raises(UsageError, match="letters"):
        write_skeleton("my claim!", tmp_path)


def test_a_full_disk_costs_no_trial_and_no_verdict(short: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import os

    real = os.write

    def full(descriptor: int, data: bytes) -> int:
        if bytes(data[:12]).startswith(b'{"version"'):
            raise OSError(28, "No space left on device")
        return real(descriptor, data)

    monkeypatch.setattr(os, "write", full)
    result = run(short)
    assert (result.verdict.outcome, result.stored, len(result.trials)) == ("reproduced", False, 20)
    assert any("20 trials could not be stored (No space left on device)" in note for note in result.record["notes"])


def test_a_store_that_cannot_be_written_says_so_before_anything_runs(
    short: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("not a folder")
    monkeypatch.setenv("DEEPSCOPE_HOME", str(tmp_path / "file"))
    with pytest.raises(DeepscopeError, match="the store cannot be written"):
        run(short)


def test_the_page_and_the_record_can_be_saved(short: Path, tmp_path: Path) -> None:
    result = run(short, scale="smoke")
    page = result.save(tmp_path / "page.html").read_text(encoding="utf-8")
    assert "Larger slopes leave larger losses." in page
    assert json.loads(result.save(tmp_path / "page.json").read_text())["study"] == "short"


def test_the_table_is_in_the_order_of_the_protocol(short: Path) -> None:
    result = run(short)
    expected = pd.MultiIndex.from_product([[-2.0, 0.5, 2.0, 4.0], range(5)])
    assert list(zip(result.trials["slope"], result.trials["seed"], strict=True)) == list(expected)
    assert np.isfinite(result.trials["loss"]).all()


def test_a_study_replaced_with_its_old_time_and_size_runs_as_it_is_now(
    short: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import os

    monkeypatch.setattr("sys.dont_write_bytecode", False)
    helper = short.parent / "steps.py"
    helper.write_text("STEPS = 5\n", encoding="utf-8")
    edit(short, "range(5)", "range(STEPS)")
    edit(short, "import torch\n", "import torch\nfrom steps import STEPS\n")
    before = run(short, scale="smoke")
    # As a copy that keeps its time leaves it: Python's own cache of compiled modules would not see it.
    for path, old, new in ((helper, "STEPS = 5", "STEPS = 6"), (short, "0.01 *", "0.02 *")):
        status = path.stat()
        edit(path, old, new)
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
        after = run(short, scale="smoke")
        assert after.record["reused"] == 0
        assert numbers(after) != numbers(before)
        before = after
    assert not list(short.parent.rglob("__pycache__"))


def test_a_file_with_the_name_of_a_study_of_the_atlas_is_refused(short: Path) -> None:
    with pytest.raises(UsageError, match="a study of the atlas has this name"):
        run(short.rename(short.with_name("grokking.py")))
    with pytest.raises(UsageError, match="a study of the atlas has this name"):
        write_skeleton("grokking", short.parent)
    with pytest.raises(UsageError, match="Python itself has this name"):
        write_skeleton("statistics", short.parent)


def test_a_study_put_together_from_another_is_a_modified_one(short: Path) -> None:
    from dataclasses import replace

    from deepscope.studies import load_file

    study = load_file(short)
    assert run(study, scale="smoke").record["modified"] is False
    assert run(replace(study, judge=study.draw), scale="smoke").record["modified"] is True
    assert run(replace(study, claim="Another."), scale="smoke").record["modified"] is True


def test_a_trial_that_uses_study_is_refused(short: Path) -> None:
    edit(short, "range(5)", "range(int(STUDY.timeout > 0))")
    with pytest.raises(UsageError, match="a trial cannot use STUDY"):
        run(short)


def test_an_edit_while_a_trial_runs_stores_nothing_wrong(short: Path) -> None:
    helper = short.parent / "late.py"
    helper.write_text("STEPS = 5\n", encoding="utf-8")
    # After the shared step, which looks for edits by itself.
    edit(short, "    model = torch", "    overwrite(run.seed)\n    from late import STEPS\n    model = torch")
    edit(short, "range(5)", "range(STEPS)")
    edit(
        short,
        "def make_basis",
        "def overwrite(seed):\n    if seed == 0:\n        import pathlib\n"
        "        pathlib.Path(__file__).with_name('late.py').write_text('STEPS = 500\\n')\n\n\ndef make_basis",
    )
    result = run(short)
    # Also the trial that imported what was edited a moment before.
    assert result.record["failed"] == 20
    assert "what the run began with" in result.record["failures"][0]["error"]
    helper.write_text("STEPS = 5\n", encoding="utf-8")
    edit(short, "if seed == 0:", "if seed == 0 and False:")
    assert run(short).record["reused"] == 0


@pytest.mark.parametrize(
    "bad",
    ['target=float("nan")', "published=2.0", "published=np.int64(3)", "within=float('inf')"],
)
def test_a_criterion_that_cannot_be_stored_is_the_judges_fault_and_costs_no_trial(short: Path, bad: str) -> None:
    old = "within=0.3, control=True" if not bad.startswith("within") else "within=0.3"
    edit(short, old, bad if bad.startswith("within") else f"within=0.3, control=True, {bad}")
    result = run(short, scale="smoke")
    assert "cannot be judged" in result.verdict.reasons[0]
    assert (result.stored, len(result.trials)) == (True, 4)


def test_a_disk_that_fills_at_the_last_moment_is_not_called_stored(
    short: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from deepscope.core import write_atomically

    written = []

    def full(path: Path, content: str, **options: bool) -> Path:
        written.append(path.name)
        if written.count("run.json") == 2:
            raise OSError(28, "No space left on device")
        return write_atomically(path, content, **options)

    monkeypatch.setattr("deepscope.lab._store.write_atomically", full)
    result = run(short, scale="smoke")
    assert result.stored is False
    assert not find_run("last").finished
