"""The contract of every study: it runs at smoke, its trial and judge are pure, it has a control, it can be drawn."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from deepscope.core import FEWEST_SEEDS, SCALES, Case, Criterion, Study, Verdict, cite, row
from deepscope.figures import to_svg
from deepscope.lab import StudyRun, run_study
from deepscope.lab._identity import code_of
from deepscope.lab._inline import InlineExecutor
from deepscope.lab._task import StudyReference, TrialTask
from deepscope.lab._trial_log import read_trials
from deepscope.lab._trial_record import TrialRecord, fingerprint, trials_table
from deepscope.studies import Heading, catalog, load_study

HEADINGS = {heading.id: heading for heading in catalog()}


@pytest.fixture(scope="module", params=sorted(HEADINGS))
def heading(request: pytest.FixtureRequest) -> Heading:
    return HEADINGS[request.param]


@pytest.fixture(scope="module")
def study(heading: Heading) -> Study:
    return load_study(heading.id)


@pytest.fixture(scope="module")
def smoke(heading: Heading, tmp_path_factory: pytest.TempPathFactory) -> StudyRun:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DEEPSCOPE_HOME", str(tmp_path_factory.mktemp("home")))
        return run_study(heading.id, scale="smoke", executor="inline")


def trial(heading: Heading, study: Study, case: Case, seed: int) -> TrialRecord:
    texts = tuple(sorted(value for value in case.values() if isinstance(value, str)))
    task = TrialTask(
        study=StudyReference(heading.id),
        identity=f"contract-{seed}",
        code=code_of(study.trial, texts=texts),
        case=case,
        seed=seed,
    )
    (record,) = InlineExecutor().run([task])
    assert record.status == "finished", record.error
    return record


def test_a_claim_is_one_line_of_a_list(heading: Heading) -> None:
    assert len(heading.claim) <= 140


def test_what_is_listed_is_what_is_run(heading: Heading, study: Study) -> None:
    for name in ("claim", "source", "topics", "rows", "protocol", "caption"):
        assert getattr(heading, name) == getattr(study, name)
    assert heading.topics[0] == heading.path.parent.name.replace("_", " ")


def test_its_rows_and_its_source_exist(study: Study) -> None:
    assert cite(study.source)
    assert study.rows
    for key in study.rows:
        assert row(key)["claim"]


def test_it_says_what_is_done_at_three_scales(study: Study) -> None:
    assert tuple(study.scales) == SCALES
    assert study.protocol.strip()
    assert len(study.grid("smoke").seeds) < FEWEST_SEEDS
    assert all(len(study.grid(scale).seeds) >= FEWEST_SEEDS for scale in ("quick", "full"))


def test_smoke_runs_everything_and_judges_nothing(smoke: StudyRun) -> None:
    record = smoke.record
    assert (record["failed"], record["failures"], record["notes"]) == (0, [], [])
    assert record["verdict"] == "inconclusive"
    # No measurement of speed: alone the costliest takes 2.6 s, four times less. A scale that is no smoke is caught.
    assert record["cost"]["cpu_seconds"] <= 10


def test_it_has_a_control_and_a_criterion_of_its_own(smoke: StudyRun) -> None:
    controls = [criterion["control"] for criterion in smoke.record["criteria"]]
    assert any(controls)
    assert not all(controls)


def test_its_trial_is_pure(heading: Heading, study: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DEEPSCOPE_HOME", str(tmp_path))
    differs = False
    cases = study.grid("smoke").cases
    # Each is run twice: four, from the first to the last.
    for case in (cases[index] for index in sorted(set(np.linspace(0, len(cases) - 1, 4).round().astype(int)))):
        before = torch.get_rng_state(), np.random.get_state()[1].copy(), random.getstate()  # noqa: NPY002
        first = trial(heading, study, case, 11)
        after = torch.get_rng_state(), np.random.get_state()[1], random.getstate()  # noqa: NPY002
        assert torch.equal(before[0], after[0])
        assert np.array_equal(before[1], after[1])
        assert before[2] == after[2]
        torch.manual_seed(99)
        np.random.seed(99)  # noqa: NPY002
        random.seed(99)
        assert fingerprint(trial(heading, study, case, 11)) == fingerprint(first)
        differs = differs or fingerprint(trial(heading, study, case, 12)) != fingerprint(first)
    # Trials that ignore their seed would pass for independent evidence.
    assert differs


def test_its_judge_is_pure(study: Study, smoke: StudyRun) -> None:
    given = smoke.trials.copy(deep=True)
    first = study.judge(given)
    pd.testing.assert_frame_equal(given, smoke.trials)
    assert study.judge(given) == first
    shuffled = given.sample(frac=1, random_state=3).reset_index(drop=True)
    assert [_rounded(criterion) for criterion in study.judge(shuffled)] == [_rounded(each) for each in first]


def _rounded(criterion: Criterion) -> Criterion:
    # Sums in another order differ in their last bits.
    numbers = {name: getattr(criterion, name) for name in ("measured", "low", "high")}
    return replace(criterion, **{name: value and float(f"{value:.8g}") for name, value in numbers.items()})


def test_its_judge_gives_no_verdict_on_too_few_seeds(study: Study, smoke: StudyRun) -> None:
    one = smoke.trials[smoke.trials["seed"] == smoke.trials["seed"].min()]
    for trials in (one, one.iloc[:0], one.iloc[:1], pd.DataFrame({"seed": []})):
        criteria = study.judge(trials.copy())
        assert all(criterion.holds is None for criterion in criteria)
        assert Verdict.of(criteria, seeds=trials["seed"].nunique()).outcome == "inconclusive"


def test_its_judge_and_figure_bear_missing_trials(study: Study, smoke: StudyRun) -> None:
    # Figures take their time: two, without the first trial and without the last.
    drawn = {0, len(smoke.trials) - 1}
    for missing in range(len(smoke.trials)):
        rest = smoke.trials.drop(index=smoke.trials.index[missing])
        assert study.judge(rest.copy())
        if missing in drawn:
            study.draw(rest.copy()).draw_without_rendering()


def test_its_figure_draws_from_stored_trials_alone(study: Study, smoke: StudyRun) -> None:
    records, bad = read_trials(smoke.path / "trials.jsonl")
    assert bad == 0
    table = trials_table(records)
    pd.testing.assert_frame_equal(table, smoke.trials)
    assert to_svg(study.draw(table), "study-") == smoke.figure == (smoke.path / "figures" / "study.svg").read_text()
