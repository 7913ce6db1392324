"""Double descent: the algebra against independent twins, the criteria against planted fakes."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest

from deepscope.core import UsageError, Verdict
from deepscope.data import load
from deepscope.studies.generalisation._fourier_features import nested_designs
from deepscope.studies.generalisation._gaussian_design import excess_risk, expected_excess_risk
from deepscope.studies.generalisation._least_squares import by_features, by_samples, loo_penalty, solve
from deepscope.studies.generalisation.double_descent_rff import STUDY

SMOKE = STUDY.grid("smoke").bent({"n_train": 40}, None)


class Run:
    """What a trial is handed, as the lab does it."""

    def __init__(self, folder, seed=1000):
        self.seed = seed
        self.checkpoint = folder / "checkpoint"
        self.said = []

    def progress(self, done):
        self.said.append(done)


def least_squares(rng, n, p, m=7, k=3):
    """Draw Φ, Φ_test and Y, and factorise them on their smaller side."""
    design, test, targets = (rng.standard_normal(shape) for shape in ((n, p), (m, p), (n, k)))
    by = by_features(design, test) if p <= n else by_samples(design @ design.T, test @ design.T)
    return design, test, targets, by


# Condition numbers of ΦΦᵀ are below 1e4 here, so that Gram matrices keep all but a few of 16 digits: 1e-10 is ample.
@pytest.mark.parametrize("p", [1, 12, 30, 55, 400], ids=lambda p: f"p{p}")
def test_minimum_norm_is_that_of_lstsq(p):
    design, test, targets, factors = least_squares(np.random.default_rng(p), 40, p)
    truth = np.linalg.lstsq(design, targets, rcond=None)[0]
    fit = solve(factors, targets)
    np.testing.assert_allclose(fit.test, test @ truth, rtol=0, atol=1e-10)
    np.testing.assert_allclose(fit.train, design @ truth, rtol=0, atol=1e-10)
    assert fit.norm == pytest.approx(np.linalg.norm(truth), rel=1e-10)


@pytest.mark.parametrize("way", ["features", "samples"])
def test_minimum_norm_of_a_design_of_lower_rank(way):
    rng = np.random.default_rng(3)
    design = rng.standard_normal((30, 5)) @ rng.standard_normal((5, 30))
    test, targets = rng.standard_normal((4, 30)), rng.standard_normal((30, 2))
    factors = by_features(design, test) if way == "features" else by_samples(design @ design.T, test @ design.T)
    truth = np.linalg.pinv(design, rcond=1e-10) @ targets
    assert len(factors.eigenvalues) == 5
    np.testing.assert_allclose(solve(factors, targets).test, test @ truth, rtol=0, atol=1e-9)


@pytest.mark.parametrize("p", [12, 55], ids=["fewer features", "more features"])
def test_ridge_is_that_of_the_normal_equations(p):
    design, test, targets, factors = least_squares(np.random.default_rng(p), 40, p)
    truth = np.linalg.solve(design.T @ design + 0.7 * np.eye(p), design.T @ targets)
    fit = solve(factors, targets, 0.7)
    np.testing.assert_allclose(fit.test, test @ truth, rtol=0, atol=1e-10)
    assert fit.norm == pytest.approx(np.linalg.norm(truth), rel=1e-10)


@pytest.mark.parametrize("p", [6, 30], ids=["fewer features", "more features"])
def test_penalty_is_that_of_leaving_each_sample_out(p):
    n, penalties = 12, (0.01, 0.1, 1.0, 10.0, 100.0)
    chosen = set()
    for seed in range(6):
        design, _, targets, factors = least_squares(np.random.default_rng(seed), n, p)
        targets = design[:, :1] + 0.5 * (seed + 1) * targets
        errors = []
        for penalty in penalties:
            error = 0.0
            for out in range(n):
                kept = np.arange(n) != out
                A, Y = design[kept], targets[kept]
                error += np.sum(
                    (targets[out] - design[out] @ np.linalg.solve(A.T @ A + penalty * np.eye(p), A.T @ Y)) ** 2
                )
            errors.append(error)
        expected = penalties[int(np.argmin(errors))]
        assert loo_penalty(factors, targets, penalties) == expected
        chosen.add(expected)
    assert len(chosen) > 1


def test_designs_are_nested_and_their_kernel_is_that_of_gauss():
    rng = np.random.default_rng(0)
    train, test = rng.standard_normal((10, 3)), rng.standard_normal((4, 3))
    found = dict(nested_designs(train, test, [4, 9, 10, 11, 40_000], bandwidth=2.0, rng=rng))
    assert list(found) == [4, 9, 10, 11, 40_000]
    grams = {size: factors.train @ factors.train.T for size, factors in found.items()}
    for fewer, more in ((4, 9), (9, 10), (10, 11)):
        eigenvalues = np.linalg.eigvalsh(grams[more] - grams[fewer])
        # Of features that are added, each adds one dimension and takes none.
        assert np.sum(eigenvalues > 1e-9) == more - fewer
        assert eigenvalues.min() > -1e-9
    distances = np.sum((train[:, None] - train) ** 2, axis=-1)
    # A mean of products of cosines, each of variance at most 1.5: 1.5 / 200 is about its sixfold standard error.
    np.testing.assert_allclose(grams[40_000] / 40_000, np.exp(-distances / 8), rtol=0, atol=0.0367)
    many = found[40_000]
    cross = np.exp(-np.sum((test[:, None] - train) ** 2, axis=-1) / 8)
    np.testing.assert_allclose(many.test @ many.train.T / 40_000, cross, rtol=0, atol=0.0367)


def test_theory_is_the_mean_of_inverse_wishart_traces():
    # Given X, the expected excess risk is σ² tr (XXᵀ)⁺ + |a − P a|², P the projection on the rows of X.
    rng, n, draws = np.random.default_rng(1), 20, 400
    for p in (8, 40):
        given = []
        for _ in range(draws):
            pseudo = np.linalg.pinv(rng.standard_normal((n, p)))
            given.append(0.25 * np.sum(pseudo**2) + 1 - min(n, p) / p)
        error = 4 * np.std(given) / math.sqrt(draws)
        assert error < 0.05 * np.mean(given)
        assert np.mean(given) == pytest.approx(expected_excess_risk(n, p, 0.5), abs=error)
    assert math.isinf(expected_excess_risk(n, n, 0.5))
    assert math.isinf(expected_excess_risk(n, n + 1, 0.5))


@pytest.mark.parametrize("p", [8, 40])
def test_drawn_excess_risk_meets_the_theory(p):
    rng = np.random.default_rng(2)
    drawn = [excess_risk(20, p, 0.5, rng) for _ in range(400)]
    error = 4 * np.std(drawn) / 20
    assert error < 0.15 * np.mean(drawn)
    assert np.mean(drawn) == pytest.approx(expected_excess_risk(20, p, 0.5), abs=error)
    assert excess_risk(20, 8, 0.0, rng) < 1e-24


@pytest.fixture(scope="module")
def smoke(tmp_path_factory):
    """The trials of the smallest scale, made smaller still."""
    folder = tmp_path_factory.mktemp("runs")
    rows = []
    for case, seed in SMOKE.trials():
        rows.append({**case, "seed": seed, **STUDY.trial(case, Run(folder, seed))})
        (folder / "checkpoint").unlink(missing_ok=True)
    return pd.DataFrame(rows)


def test_a_trial_measures_what_its_names_say(smoke):
    """Twin: the same draws, from data to risk, with other solvers."""
    whole, n, size = smoke[smoke.design == "fourier"].iloc[0], 40, 20
    digits, rng = load("digits"), np.random.default_rng(0)
    chosen = rng.choice(len(digits.train), n, replace=False)
    train, test = (each.inputs.numpy().reshape(-1, 64).astype(float) for each in (digits.train, digits.test))
    train = train[chosen]
    labels, test_labels = digits.train.targets.numpy()[chosen], digits.test.targets.numpy()
    distances = np.sqrt(((train[:, None] - train) ** 2).sum(axis=-1))[np.triu_indices(n, 1)]
    assert whole.bandwidth == pytest.approx(np.median(distances) / 2, rel=1e-12)
    frequencies, phases = rng.standard_normal((64, n)) / whole.bandwidth, rng.uniform(0, 2 * np.pi, n)
    design, design_test = (math.sqrt(2) * np.cos(x @ frequencies + phases)[:, :size] for x in (train, test))
    targets, place = np.eye(10)[labels], list(whole.ratio).index(size / n)
    penalty = whole.ridge_penalty[place] * np.trace(design @ design.T) / n
    assert penalty > 0
    ridge = np.linalg.solve(design.T @ design + penalty * np.eye(size), design.T @ targets)
    for prefix, coefficients in (("", np.linalg.lstsq(design, targets)[0]), ("ridge_", ridge)):
        predicted = design_test @ coefficients
        expected = {
            "risk": np.sum((predicted - np.eye(10)[test_labels]) ** 2) / len(test),
            "train_risk": np.sum((design @ coefficients - targets) ** 2) / n,
            "error": np.mean(predicted.argmax(axis=1) != test_labels),
            "norm": np.linalg.norm(coefficients),
        }
        for name, value in expected.items():
            assert whole[prefix + name][place] == pytest.approx(value, rel=1e-9), prefix + name


def test_a_trial_cut_off_goes_on_where_it_was(tmp_path, smoke):
    case = next(case for case in SMOKE.cases if case.design == "fourier")

    class Cut(Run):
        def progress(self, done):
            super().progress(done)
            if done > 0.7:
                raise KeyboardInterrupt

    first = Cut(tmp_path, 0)
    with pytest.raises(KeyboardInterrupt):
        STUDY.trial(case, first)
    second = Run(tmp_path, 0)
    found = STUDY.trial(case, second)
    assert second.said[0] > first.said[-1] > 0.7
    assert second.said[-1] == 1.0
    whole = smoke[smoke.design == "fourier"].iloc[0]
    for name, values in found.items():
        np.testing.assert_array_equal(values, whole[name], err_msg=name)


def test_a_trial_that_cannot_be_run_says_so(tmp_path):
    case = SMOKE.cases[0]
    with pytest.raises(UsageError, match="n_train to at most 1438"):
        STUDY.trial(case.replace(n_train=5000), Run(tmp_path))
    with pytest.raises(UsageError, match="gaussian"):
        STUDY.trial(case.replace(design="gausian"), Run(tmp_path))


def test_smoke_decides_nothing_and_is_drawn(smoke):
    criteria = STUDY.judge(smoke)
    assert Verdict.of(criteria, seeds=1).outcome == "inconclusive"
    assert all(criterion.measured is not None for criterion in criteria)
    assert STUDY.draw(smoke).axes


RATIO = np.array([0.01, 0.1, 0.35, 0.5, 0.8, 0.95, 1.0, 1.05, 1.25, 2.0, 20.0])
RISK = np.array([0.8, 0.3, 0.2, 0.21, 0.3, 1.0, 90.0, 1.1, 0.3, 0.1, 0.05])
RIDGE = np.array([0.8, 0.3, 0.19, 0.15, 0.12, 0.11, 0.1, 0.1, 0.09, 0.08, 0.05])
TRAIN = np.where(RATIO < 1, 0.1, 1e-24)
GAUSSIAN = np.array([0.2, 0.8, 0.95, 1.05, 1.25, 4.0])


def table(seeds=5, without=(), **changes):
    """Return the trials of a study that reproduces, but for the changes."""
    rng = np.random.default_rng(0)
    rows = []
    for seed in range(seeds):
        jitter = np.exp(0.02 * rng.standard_normal())
        fourier = {
            "risk": RISK,
            "norm": np.sqrt(RISK),
            "error": 0.1 * np.minimum(RISK, 9),
            "train_risk": TRAIN,
            "ridge_risk": RIDGE,
            "ridge_norm": np.ones(11),
            "ridge_error": 0.1 * RIDGE,
        }
        fourier |= {name: changes[name] for name in fourier if name in changes}
        if "trend" in changes:
            fourier["risk"] = np.where(RATIO == 20, 0.2 * math.exp(changes["trend"][seed]), RISK)
        for name in ("risk", "ridge_risk"):
            fourier[name] = fourier[name] * jitter
        theory = np.array([expected_excess_risk(100, round(100 * r), 0.5) for r in GAUSSIAN])
        bias = np.maximum(0, 1 - 1 / GAUSSIAN)
        factor = changes.get("excess", 1 + 0.02 * jitter)
        noiseless = np.maximum(bias, changes.get("noiseless", 1e-25))
        rows += [
            {"design": "fourier", "seed": seed, "ratio": RATIO, **fourier},
            {"design": "gaussian", "seed": seed, "ratio": GAUSSIAN, "excess": theory * factor, "theory": theory},
            {"design": "noiseless", "seed": seed, "ratio": GAUSSIAN, "excess": noiseless, "theory": bias},
        ]
    return pd.DataFrame([row for row in rows if row["design"] not in without])


def verdict(trials, seeds=5):
    return Verdict.of(STUDY.judge(trials), seeds=seeds)


def test_what_the_paper_shows_is_reproduced():
    assert verdict(table()).outcome == "reproduced"


EARLY = RISK[[6, 1, 2, 3, 4, 5, 0, 7, 8, 9, 10]]
NOTHING = np.ones(11)


@pytest.mark.parametrize(
    ("changes", "failing"),
    [
        ({"risk": RIDGE}, ["peak of the test risk", "log test risk, at N = 0.95 n"]),
        ({"risk": np.sort(RISK)}, ["peak of the test risk", "log test risk, final"]),
        ({"risk": EARLY}, ["peak of the test risk"]),
        ({"risk": np.where(RATIO > 1.25, 0.4, RISK)}, ["log test risk, final", "log test risk, at N = 0.95 n"]),
        ({"risk": np.where(RATIO > 1, 0.19, RISK)}, ["log test risk, final"]),
        ({"norm": RATIO}, ["peak of the coefficients"]),
        ({"train_risk": np.where(RATIO < 2, 0.1, 1e-24)}, ["training risk, largest"]),
        ({"train_risk": np.full(11, 1e-24)}, ["training risk at N = 0.95 n"]),
        ({"excess": 1.25}, ["Gaussian design, largest |log"]),
        ({"excess": np.array([1, 1, 1, 1, 0.8, 1])}, ["Gaussian design, largest |log"]),
        (
            {"ridge_risk": RISK},
            ["ridge: log test risk, at N = n minus mean", "ridge: log test risk, at N = n minus first"],
        ),
        ({"ridge_risk": np.where(RATIO == 1, 0.15, RIDGE)}, ["ridge: log test risk, at N = n minus mean"]),
        ({"ridge_risk": NOTHING}, ["ridge: log test risk, at N = n minus first"]),
        ({"noiseless": 0.1}, ["Gaussian design without noise"]),
    ],
    ids=[
        "no peak",
        "rising only",
        "early peak",
        "no second descent",
        "second descent too shallow",
        "norm rises",
        "late threshold",
        "early threshold",
        "off theory",
        "off theory at one p",
        "ridge peaks",
        "ridge peaks a little",
        "ridge learns nothing",
        "peak without noise",
    ],
)
def test_planted_fakes_are_not_reproduced(changes, failing):
    found = verdict(table(**changes))
    assert found.outcome == "not reproduced"
    wrong = [criterion.name for criterion in found.criteria if criterion.holds is False]
    for name in failing:
        assert any(each.startswith(name) for each in wrong), wrong


def test_doing_nothing_fails_wherever_it_is_not_a_control_of_absence():
    fit = dict.fromkeys(("risk", "norm", "train_risk", "ridge_risk"), NOTHING)
    theory = np.array([expected_excess_risk(100, round(100 * r), 0.5) for r in GAUSSIAN])
    found = verdict(table(**fit, excess=1 / theory, noiseless=1.0))
    passed = {criterion.name for criterion in found.criteria if criterion.holds is not False}
    assert passed == {
        "training risk at N = 0.95 n",
        "ridge: log test risk, at N = n minus mean of n/2 and 2n (below log 1.2)",
        # Open: it is the same as the first minimum, and an effect has to be beyond its threshold.
        "ridge: log test risk, at N = n minus first minimum without ridge",
    }


def test_a_ratio_in_a_name_is_the_threshold():
    named = [criterion for criterion in STUDY.judge(table()) if "log " in criterion.name.partition("(")[2]]
    assert len(named) == 5
    for criterion in named:
        side, ratio = criterion.name.rpartition(" (")[2].rstrip(")").split(" log ")
        assert (criterion.side, criterion.threshold) == (side, math.log(float(ratio)))


def test_ridge_that_learns_nothing_fails_and_is_no_control():
    found = verdict(table(ridge_risk=np.ones(11)))
    assert found.reasons == ("ridge: log test risk, at N = n minus first minimum without ridge: fails",)


def test_an_interval_across_the_threshold_is_inconclusive():
    assert verdict(table(trend=[-1.0, 0.9, -0.8, 0.8, -0.5])).outcome == "inconclusive"


@pytest.mark.parametrize("seeds", [1, 2])
def test_few_seeds_decide_nothing(seeds):
    assert verdict(table(seeds), seeds=seeds).outcome == "inconclusive"


@pytest.mark.parametrize(
    "without",
    [("fourier",), ("gaussian",), ("noiseless",), ("gaussian", "noiseless"), ("fourier", "gaussian", "noiseless")],
    ids=" ".join,
)
def test_missing_trials_leave_it_open(without):
    trials = table(without=without)
    assert verdict(trials).outcome == "inconclusive"
    assert STUDY.draw(trials).axes


def test_judging_changes_nothing():
    trials = table()
    before = trials.copy(deep=True)
    first, again = STUDY.judge(trials), STUDY.judge(trials)
    assert [each.to_dict() for each in first] == [each.to_dict() for each in again]
    pd.testing.assert_frame_equal(trials, before)
