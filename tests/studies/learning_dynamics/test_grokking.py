from __future__ import annotations

import itertools
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch.nn import functional

from deepscope.core import Case, Verdict, derive_seed
from deepscope.studies import load_study
from deepscope.studies.learning_dynamics import grokking
from deepscope.studies.learning_dynamics._grokking_delay import learning_steps, log_ratio, slope
from deepscope.studies.learning_dynamics._modular_arithmetic import OperandMLP, effective_frequencies, table
from deepscope.subject import seeded_generators

STUDY = load_study("grokking")
DEFAULTS = Case(**STUDY.defaults)


@pytest.mark.parametrize("operation", ["a + b", "a / b"])
def test_the_table_holds_every_equation_once(operation: str) -> None:
    operands, results = table(operation, 7)
    found = {(a, b): c for (a, b), c in zip(operands.tolist(), results.tolist(), strict=True)}
    divisors = range(7) if operation == "a + b" else range(1, 7)
    inverse = {b: next(c for c in range(7) if b * c % 7 == 1) for b in range(1, 7)}
    assert len(operands) == len(found)
    for a, b in itertools.product(range(7), divisors):
        assert found.pop((a, b)) == ((a + b) % 7 if operation == "a + b" else a * inverse[b] % 7)
    assert not found


def test_the_network_is_an_mlp_on_the_two_embeddings_side_by_side() -> None:
    torch.manual_seed(0)
    model = OperandMLP(7, 3, 5).double()
    operands = torch.randint(7, (40, 2))
    beside = model.embedding(operands).flatten(1)
    expected = model.output(torch.relu(model.hidden(beside)))
    gradients = [torch.autograd.grad(y.square().sum(), list(model.parameters())) for y in (model(operands), expected)]
    # float64 sums of ten terms of order 1.
    torch.testing.assert_close(model(operands), expected, rtol=0, atol=1e-13)
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-12)


def logarithm(root: int, p: int) -> list[int]:
    """Discrete logarithms of 1 … p − 1."""
    return [next(k for k in range(p) if pow(root, k, p) == x) for x in range(1, p)]


@pytest.mark.parametrize("frequencies", [[1], [5], [2, 3, 6]])
def test_an_embedding_of_few_waves_has_few_frequencies(frequencies: list[int]) -> None:
    p, generator = 17, torch.Generator().manual_seed(0)
    x, log = torch.arange(p, dtype=torch.float64), torch.tensor([0, *logarithm(3, p)], dtype=torch.float64)
    phases = torch.rand(4, generator=generator)
    for operation, place, order in (("a + b", x, p), ("a / b", log, p - 1)):
        waves = [torch.cos(2 * math.pi * k * place[:, None] / order + phases) for k in frequencies]
        # A constant is no frequency.
        assert effective_frequencies(3.0 + sum(waves), operation) == pytest.approx(len(frequencies), rel=1e-9)
    assert effective_frequencies(sum(waves), "a + b") > 4


def test_noise_has_all_frequencies() -> None:
    noise = torch.randn(59, 4000, generator=torch.Generator().manual_seed(0))
    # Powers are χ² of 8000 degrees of freedom: relative variance 1/4000.
    assert effective_frequencies(noise, "a + b") == pytest.approx(29, rel=2e-3)
    assert effective_frequencies(noise, "a / b") == pytest.approx(29, rel=2e-3)


def test_accuracies_are_measured_one_per_cent_apart() -> None:
    moments = sorted(grokking.moments(12_000))
    assert moments[:60] == list(range(1, 61))
    assert moments[-1] == 12_000
    # Rounding moves either end by half a step.
    assert all(b <= 1.01 * (a + 0.5) + 0.5 for a, b in itertools.pairwise(moments))
    assert len(moments) == pytest.approx(60 + math.log(12_000 / 60, 1.01), rel=0.1)
    assert grokking.moments(500) <= grokking.moments(12_000) | {500}


@dataclass
class Run:
    checkpoint: Path
    seed: int = 3
    dies_at: float = 2.0
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    told: list[float] = field(default_factory=list)

    @property
    def generator(self) -> torch.Generator:
        return torch.Generator().manual_seed(derive_seed(self.seed, "trial"))

    def progress(self, done: float) -> None:
        self.told.append(done)
        if done >= self.dies_at:
            raise KeyboardInterrupt


SMALL = DEFAULTS.replace(modulus=7, embedding=8, hidden=32, steps=150, learning_rate=1e-2)


def run_trial(run: Run, **changed: Any) -> dict[str, Any]:
    with seeded_generators(derive_seed(run.seed, "trial")):
        return grokking.trial(SMALL.replace(**changed), run)


@pytest.mark.parametrize("changed", [{}, {"labels": "random"}, {"operation": "a / b", "fraction": 0.8}])
def test_a_trial_equals_a_loop_written_out(tmp_path: Path, changed: dict[str, Any]) -> None:
    run = Run(tmp_path / "checkpoint")
    found = run_trial(run, **changed)
    case, generator = SMALL.replace(**changed), run.generator

    operands, results = table(case.operation, 7)
    order = torch.randperm(len(results), generator=generator)
    if case.labels == "random":
        results = torch.randint(7, results.shape, generator=generator)
    n = round(case.fraction * len(order))
    train, validation = order[:n], order[n:]
    torch.manual_seed(derive_seed(run.seed, "trial"))
    model = OperandMLP(7, 8, 32)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2, weight_decay=1.0, fused=True)
    rows = []
    for step in range(1, 151):
        optimizer.zero_grad()
        functional.cross_entropy(model(operands[train]), results[train]).backward()
        optimizer.step()
        right = model(operands).argmax(1) == results
        if step in grokking.moments(150):
            rows.append((step, right[train].double().mean().item(), right[validation].double().mean().item()))
    steps, train_accuracy, validation_accuracy = np.array(rows[: len(found["step"])]).T
    assert found["n_validation"] == len(validation)
    assert np.array_equal(found["step"], steps)
    assert np.array_equal(found["train_accuracy"], train_accuracy)
    assert np.array_equal(found["validation_accuracy"], validation_accuracy)
    assert found["fitted_step"] == steps[train_accuracy >= 0.99][0]
    assert found["validation_when_fitted"] == validation_accuracy[train_accuracy >= 0.99][0]
    assert found["best_validation"] == validation_accuracy.max()
    assert found["last_validation"] == validation_accuracy[-1]


def test_a_trial_ends_soon_after_the_validation_pairs_are_learned(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = run_trial(Run(tmp_path / "whole"))
    best = whole["best_validation"]
    monkeypatch.setattr(grokking, "LEARNED", best)
    found = run_trial(Run(tmp_path / "ended"))
    learned = whole["step"][whole["validation_accuracy"] >= best][0]
    last = whole["step"][whole["step"] >= 1.1 * learned][0]
    assert found["learned_step"] == learned
    assert found["step"][-1] == last < whole["step"][-1] == 150
    assert np.array_equal(found["weight_norm"], whole["weight_norm"][: len(found["step"])])


def test_a_trial_that_is_killed_goes_on_and_ends_bit_for_bit_alike(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(grokking, "SAVED_EVERY", 50)
    undisturbed = run_trial(Run(tmp_path / "undisturbed"))
    with pytest.raises(KeyboardInterrupt):
        run_trial(Run(tmp_path / "killed", dies_at=85 / 150))
    again = Run(tmp_path / "killed")
    resumed = run_trial(again)
    assert again.told[0] == 51 / 150
    finished = Run(tmp_path / "killed")
    for outcome in (resumed, run_trial(finished)):
        assert outcome.keys() == undisturbed.keys()
        assert all(np.array_equal(outcome[name], undisturbed[name]) for name in undisturbed)
    assert finished.told == []


def test_the_cases_of_a_seed_share_their_pairs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trained: list[dict[tuple[int, ...], int]] = []

    def remember(model: Any, data: Any, *_: Any, **__: Any) -> None:
        operands, results = next(iter(data(0)))
        trained.append(dict(zip(map(tuple, operands.tolist()), results.tolist(), strict=True)))
        raise KeyboardInterrupt

    monkeypatch.setattr(grokking, "fit", remember)
    for changed in ({"fraction": 0.5}, {"fraction": 0.7}, {"fraction": 0.7, "labels": "random"}):
        with pytest.raises(KeyboardInterrupt):
            run_trial(Run(tmp_path / "checkpoint"), **changed)
    few, many, random = trained
    assert (len(few), len(many)) == (round(24.5), round(34.3))
    assert few.items() <= many.items()
    assert random.keys() == many.keys()
    assert sum(random[pair] == many[pair] for pair in many) < len(many) / 2


def test_a_slope_is_least_squares_where_every_run_got_there() -> None:
    generator = np.random.default_rng(0)
    x = [0.1, 0.25, 0.5, 1.0]
    logs = generator.normal(size=(4, 3))
    found = {each: pd.DataFrame({"learned": np.exp(row), "censored": False}) for each, row in zip(x, logs, strict=True)}
    np.testing.assert_allclose(slope(found), np.polyfit(x, logs, 1)[0], rtol=1e-12)
    np.testing.assert_allclose(slope(found, log2=True), np.polyfit(np.log2(x), logs, 1)[0], rtol=1e-12)
    assert slope({}).empty
    assert slope({each: found[each] for each in x[:2]}).empty


@pytest.mark.parametrize("x", [[0.25, 0.5, 1.0], [0.1, 0.25, 0.5, 1.0], [0.5, 0.6, 0.7]])
def test_unfinished_runs_never_make_a_slope_steeper(x: list[float]) -> None:
    generator = np.random.default_rng(0)
    true = generator.normal(size=(len(x), 500)).cumsum(0)
    budget = generator.normal(size=500)
    found = {
        each: pd.DataFrame({"learned": np.exp(np.minimum(row, budget)), "censored": row > budget})
        for each, row in zip(x, true, strict=True)
    }
    bound, truth = slope(found).to_numpy(), np.polyfit(x, true, 1)[0]
    known = np.isfinite(bound)
    assert 50 < known.sum() < 450
    assert (bound[known] >= truth[known] - 1e-9).all()
    # Not all are exact: some bounds rest on runs that ended too early.
    assert (bound[known] > truth[known] + 1e-6).sum() > 20


def test_a_seed_without_one_of_the_runs_has_no_slope() -> None:
    whole = pd.DataFrame({"learned": [300.0, 310.0], "censored": [False, False]})
    found = slope({0.5: whole, 0.6: whole[:1], 0.7: whole})
    assert found.notna().tolist() == [True, False]


def test_a_ratio_of_steps_is_a_lower_bound_or_unknown() -> None:
    longer = pd.DataFrame({"learned": [800.0, 1000.0, 800.0, np.nan], "censored": [False, True, False, False]})
    shorter = pd.DataFrame({"learned": [200.0, 200.0, 1000.0, 200.0], "censored": [False, False, True, False]})
    expected = [math.log(4), math.log(5), math.nan, math.nan]
    np.testing.assert_allclose(log_ratio(longer, shorter), expected, rtol=1e-12)


def test_what_was_never_memorised_was_not_learned_later() -> None:
    trials = pd.DataFrame([row(0, 3000), row(1, None), row(2, None, fitted=None)])
    found = learning_steps(trials, fraction=0.6)
    assert found["learned"].tolist()[:2] == [3000, 12_000]
    assert found["censored"].tolist() == [False, True, True]
    assert found[["fitted", "learned"]].isna().all(axis=1).tolist() == [False, False, True]


def row(seed: int, learned: int | None, fitted: int | None = 150, **case: Any) -> dict[str, Any]:
    """A trial of the table, as it would be without training; what it returned may be given among the fields."""
    best = 0.995 if learned else 0.02
    steps = np.array(sorted({1, 100, 1000, 10_000, *(each for each in (fitted, learned) if each)}))
    made = {
        "step": steps,
        "train_accuracy": np.where(steps < (fitted or np.inf), 0.5, 1.0),
        "validation_accuracy": np.where(steps < (learned or np.inf), 0.02, best),
        "weight_norm": steps[::-1],
        "frequencies": steps[::-1],
        "fitted_step": fitted,
        "learned_step": learned,
        "validation_when_fitted": None if fitted is None else 0.01,
        "best_validation": best,
        "last_validation": best,
        "n_validation": 1392,
    }
    return {**STUDY.defaults, "seed": seed, **made, **case}


#: Of a run that forgets its training pairs before it learns the others.
STEPS = np.array([1, 150, 1000, 2000, 3000, 3060, 3120])
FORGETS = np.array([0.1, 1.0, 0.3, 0.9, 1.0, 1.0, 1.0])


def study_table(seeds: int = 3, **changed: Any) -> pd.DataFrame:
    """Trials as the claim has them; ``changed`` replaces rows: an arm's name to fields of its rows."""
    arms: dict[str, dict[str, Any]] = {
        "main": {"learned": 3000},
        "few": {"learned": 4500, "fraction": 0.5},
        "many": {"learned": 2200, "fraction": 0.7},
        "half": {"learned": 6000, "weight_decay": 0.5},
        "quarter": {"learned": None, "weight_decay": 0.25},
        "undecayed": {"learned": None, "weight_decay": 0.0},
        "random": {"learned": None, "labels": "random"},
    }
    assert changed.keys() <= arms.keys()
    rows = []
    for (name, fields), seed in itertools.product(arms.items(), range(seeds)):
        fields = {**fields, **changed.get(name, {})}
        learned = fields.pop("learned")
        rows.append(row(seed, learned and round(learned * (1 + 0.02 * seed)), **fields))
    return pd.DataFrame(rows)


def verdict(trials: pd.DataFrame) -> Verdict:
    return Verdict.of(STUDY.judge(trials), seeds=3)


def test_the_claim_as_it_is_told_is_reproduced() -> None:
    found = verdict(study_table())
    assert found.outcome == "reproduced", found.reasons
    delay, _, _, kept, share, decay, undecayed, control = (criterion.measured for criterion in found.criteria)
    # Steps of the seeds differ by 2 %, rounded to whole ones; the logarithms' mean is that of the middle one to 2e-4.
    assert delay == pytest.approx(math.log(3000 * 1.02 / 150), abs=1e-3)
    assert kept == 1.0
    assert share == pytest.approx(math.log(2200 / 4500) / 2, abs=1e-3)
    # The runs with a quarter of the decay, and without, ended at 12,000 steps.
    assert decay == pytest.approx(math.log(3000 * 1.02 / 12_000) / 2, abs=1e-3)
    assert undecayed == pytest.approx(math.log(12_000 / (3000 * 1.02)), abs=1e-3)
    error = math.sqrt(58 / 59 / 59 / 1392)
    assert control == pytest.approx((0.02 - 1 / 59) / error, rel=1e-9)


def test_a_ratio_in_a_name_is_the_threshold() -> None:
    named = [criterion for criterion in STUDY.judge(study_table()) if criterion.name.endswith(")")]
    assert len(named) == 4
    for criterion in named:
        side, ratio = criterion.name.rpartition("(")[2].rstrip(")").split(" log ")
        assert (criterion.side, criterion.threshold) == (side, math.log(float(ratio)))


def test_only_random_labels_are_a_control() -> None:
    assert [criterion.control for criterion in STUDY.judge(study_table())] == [False] * 7 + [True]
    # The source groks without decay: a run that does so later is no evidence against it.
    assert verdict(study_table(undecayed={"learned": 9000})).outcome == "reproduced"


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        # It generalises as soon as it fits.
        ({"main": {"learned": 400}}, "log of the steps"),
        # It never generalises, and the budget makes the ratio long.
        ({"main": {"learned": None}}, "highest validation accuracy: fails"),
        # It has generalised when it fits, but for a tail of single errors.
        ({"main": {"validation_when_fitted": 0.9}}, "when training accuracy reaches 99 %"),
        # It forgets the training pairs on the way: all are learned together.
        ({"main": {"train_accuracy": FORGETS, "step": STEPS}}, "lowest training accuracy from then"),
        ({"few": {"learned": 2200}, "many": {"learned": 4500}}, "per tenth of the table"),
        ({"half": {"learned": 1500}, "quarter": {"learned": 750}}, "per doubling of the weight decay"),
        # No dependence at all.
        ({"few": {"learned": 3000}, "many": {"learned": 3000}}, "per tenth of the table"),
        ({"half": {"learned": 3000}, "quarter": {"learned": 3000}}, "per doubling of the weight decay"),
        # A dependence that is there and too weak.
        ({"few": {"learned": 3200}, "many": {"learned": 2800}}, "per tenth of the table"),
        # Fitting takes longer and longer, and the ratio falls; learning does not come sooner.
        (
            {
                "few": {"learned": 2900, "fitted": 150},
                "main": {"fitted": 300},
                "many": {"learned": 3100, "fitted": 450},
            },
            "per tenth of the table",
        ),
        ({"undecayed": {"learned": 3000}}, "minus with decay"),
        ({"random": {"last_validation": 0.05}}, "random labels, in standard errors above chance: the control shows"),
    ],
)
def test_planted_fakes_are_not_reproduced(changed: dict[str, Any], reason: str) -> None:
    found = verdict(study_table(**changed))
    assert found.outcome == "not reproduced"
    assert any(reason in each for each in found.reasons), found.reasons


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        # Neither arm got there: nothing is known about the slope, however the training steps differ.
        ({"main": {"learned": None, "best_validation": 0.995}, "half": {"learned": None}}, "per doubling of the w"),
        ({"main": {"learned": None, "best_validation": 0.995}}, "minus with decay"),
        ({"many": {"learned": None}}, "per tenth of the table"),
        # A control that memorised nothing is none.
        ({"random": {"fitted_step": None}}, "random labels"),
        # What did not memorise without decay cannot be later.
        ({"undecayed": {"fitted_step": None}}, "minus with decay"),
    ],
)
def test_what_is_unknown_stays_open(changed: dict[str, Any], reason: str) -> None:
    found = verdict(study_table(**changed))
    assert found.outcome == "inconclusive"
    assert any(reason in each for each in found.reasons), found.reasons


@pytest.mark.parametrize(
    ("axis", "value", "reason"),
    [("fraction", 0.7, "per tenth of the table"), ("weight_decay", 1.0, "per doubling of the weight decay")],
)
def test_a_run_cut_off_where_learning_should_be_early_is_not_dropped(axis: str, value: float, reason: str) -> None:
    trials = study_table(seeds=5)
    assert Verdict.of(STUDY.judge(trials), seeds=5).outcome == "reproduced"
    cut = (trials[axis] == value) & trials["seed"].isin([1, 3]) & (trials["labels"] == "table")
    trials.loc[cut, "learned_step"] = np.nan
    (found,) = (criterion for criterion in STUDY.judge(trials) if reason in criterion.name)
    assert (found.holds, found.seeds, found.missing) == (None, 3, 2)
    assert Verdict.of(STUDY.judge(trials), seeds=5).outcome != "reproduced"


def test_seeds_that_disagree_leave_a_slope_open() -> None:
    trials = study_table()
    trials.loc[(trials["fraction"] == 0.7) & (trials["seed"] == 1), "learned_step"] = 9000
    found = verdict(trials)
    assert found.outcome == "inconclusive"
    assert found.reasons == (
        "a + b: log of the steps to 99 % validation accuracy, change per tenth of the table (below log 0.9): the "
        "interval lies across, or touches, the threshold",
    )


def test_each_operation_is_judged_for_itself() -> None:
    trials = pd.concat([study_table(), study_table(main={"learned": 400}).assign(operation="a / b", modulus=53)])
    found = verdict(trials)
    assert len(found.criteria) == 16
    assert {reason.split(":")[0] for reason in found.reasons} == {"a / b"}
    STUDY.draw(trials)


def test_missing_trials_leave_it_open_and_are_drawn_around() -> None:
    trials = study_table()
    for column in ("fraction", "weight_decay", "labels", "seed"):
        for value in trials[column].unique():
            some = trials[trials[column] != value]
            assert Verdict.of(STUDY.judge(some), seeds=some["seed"].nunique()).outcome == "inconclusive"
        STUDY.draw(some)
    for none in (trials[:0], pd.DataFrame()):
        assert all(criterion.holds is None for criterion in STUDY.judge(none))
        STUDY.draw(none)


def places(ax: Any, marker: str) -> list[tuple[float, float]]:
    """Where markers of a kind stand."""
    lines = [line for line in ax.lines if line.get_marker() == marker]
    return sorted((float(x), float(y)) for line in lines for x, y in zip(*line.get_data(), strict=True))


def test_the_figure_shows_every_mean_and_marks_lower_bounds() -> None:
    (_, by_fraction), (_, by_decay) = np.reshape(STUDY.draw(study_table()).axes, (2, 2))
    points = places(by_fraction, "o")
    assert [x for x, _ in points] == [0.5, 0.5, 0.6, 0.6, 0.7, 0.7]
    assert [y for _, y in points[::2]] == pytest.approx([150] * 3)
    assert [y for _, y in points[1::2]] == pytest.approx([4500 * 1.02, 3000 * 1.02, 2200 * 1.02], rel=1e-3)
    # A quarter of the decay, and none, at the left end.
    assert places(by_decay, "^") == [(0.0625, pytest.approx(12_000)), (0.25, pytest.approx(12_000))]
    # What is reported was measured without decay: it stands there alone.
    assert places(by_decay, "D") == [(0.0625, 1e3), (0.0625, 1e6)]
    assert not places(by_fraction, "D")


def test_no_curve_leaves_the_figure_and_no_name_lies_on_another() -> None:
    curves = {
        "step": [1, 150, 3000],
        "train_accuracy": [0.1, 1.0, 1.0],
        "validation_accuracy": [0.02, 0.02, 0.995],
        "weight_norm": [80.0, 130.0, 100.0],
        "frequencies": [29.0, 29.0, 28.0],
    }
    trials = study_table(main={name: np.array(values) for name, values in curves.items()})
    (accuracy, _), (inside, _) = np.reshape(STUDY.draw(trials).axes, (2, 2))
    for ax in (accuracy, inside):
        bottom, top = ax.get_ylim()
        assert all(bottom <= line.get_ydata().min() <= line.get_ydata().max() <= top for line in ax.lines)
        # Those at the left of a rise stand apart along x.
        heights = sorted(text.xy[1] for text in ax.texts if text.get_ha() == "left")
        assert len(heights) == 2
        assert np.diff(heights).min() >= 0.079 * (top - bottom)
    names = {text.get_text(): text.xy for text in inside.texts}
    assert names["norm"] == (3000, pytest.approx(125))
