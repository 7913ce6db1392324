"""Deep linear learning: the training and the theory against independent twins, the criteria against planted fakes."""

from __future__ import annotations

import math
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.integrate import solve_ivp
from scipy.optimize import curve_fit

from deepscope.core import Case, UsageError, Verdict
from deepscope.figures import to_svg
from deepscope.models import MLP
from deepscope.studies.learning_dynamics import saxe_dynamics
from deepscope.studies.learning_dynamics._correlations import (
    CHANGE,
    decoupled,
    growing_strength,
    random_modes,
    split_strengths,
    splits,
    tree_correlation,
    tree_features,
)
from deepscope.studies.learning_dynamics._depth import LEARNT, RATES, deep_correlation, deep_weights, steps_to_learn
from deepscope.studies.learning_dynamics._linear_network import random_weights, train
from deepscope.studies.learning_dynamics._mode_dynamics import (
    best_distance,
    distance,
    half_time,
    mode_strength,
    reached,
    sigmoid_preference,
)
from deepscope.studies.learning_dynamics.saxe_dynamics import STUDY, draw, judge, trial

SIZE = {"draws": 2, "rate": 0.1, "width": 16, "most_steps": 1000}


def generator():
    return np.random.default_rng(1000)


def run(seed=1000):
    return SimpleNamespace(seed=seed, device=torch.device("cpu"))


@pytest.mark.parametrize("hidden", [[], [5], [5, 4]], ids=["one layer", "two", "three"])
def test_training_is_that_of_an_mlp_on_whitened_samples(hidden):
    rng, n = generator(), 9
    inputs = math.sqrt(n) * np.linalg.qr(rng.standard_normal((n, 3))).Q
    targets = rng.standard_normal((2, n, 2))
    weights = random_weights(rng, [3, *hidden, 2], 2, 0.5)
    times, maps = train(weights, np.einsum("bno,ni->boi", targets, inputs) / n, rate=0.1, duration=2.0, every=4)
    np.testing.assert_allclose(times, 0.4 * np.arange(6), atol=1e-15)
    x = torch.from_numpy(inputs)
    for network in range(2):
        model = MLP(3, hidden, 2, activation="identity", bias=False).double()
        with torch.no_grad():
            for parameter, weight in zip(model.parameters(), weights, strict=True):
                parameter.copy_(torch.from_numpy(weight[network]))
        optimiser = torch.optim.SGD(model.parameters(), lr=0.1)
        for step in range(21):
            if step % 4 == 0:
                made = model(torch.eye(3, dtype=torch.float64)).detach().numpy().T
                np.testing.assert_allclose(maps[step // 4, network], made, rtol=0, atol=1e-12)
            optimiser.zero_grad()
            loss = 0.5 * (model(x) - torch.from_numpy(targets[network])).square().sum(dim=1).mean()
            loss.backward()
            optimiser.step()


def test_one_layer_is_an_exponential():
    correlation = generator().standard_normal((2, 3, 4))
    start = generator().standard_normal((2, 3, 4))
    _, maps = train([start], correlation, rate=0.1, duration=1.0, every=1)
    for step in range(11):
        expected = correlation + 0.9**step * (start - correlation)
        np.testing.assert_allclose(maps[step], expected, rtol=0, atol=1e-14)


def test_weights_given_are_not_changed():
    weights = random_weights(generator(), [3, 4, 2], 1, None)
    before = [weight.copy() for weight in weights]
    train(weights, np.ones((1, 2, 3)), rate=0.1, duration=1.0, every=1)
    for weight, kept in zip(weights, before, strict=True):
        np.testing.assert_array_equal(weight, kept)


def test_random_weights_keep_the_mean_square_or_have_the_scale():
    first, second = random_weights(generator(), [400, 100, 50], 2, None)
    assert (first.shape, second.shape) == ((2, 100, 400), (2, 50, 100))
    # The standard deviation of n numbers varies by 1/√(2n): 0.25 % and 0.7 %.
    assert first.std() == pytest.approx(1 / 20, rel=0.0125)
    assert second.std() == pytest.approx(1 / 10, rel=0.035)
    assert random_weights(generator(), [400, 100], 1, 0.3)[0].std() == pytest.approx(0.3, rel=0.02)


def test_the_formula_solves_its_equation():
    s, start = 0.7, 0.002
    times = np.linspace(0, 12, 50)
    solved = solve_ivp(lambda _, a: 2 * a * (s - a), (0, 12), [start], t_eval=times, rtol=1e-11, atol=1e-13).y[0]
    np.testing.assert_allclose(mode_strength(times, s, start), solved, rtol=0, atol=1e-9)
    assert mode_strength(half_time(s, start), s, start) == pytest.approx(s / 2, rel=1e-12)
    assert mode_strength(np.array(1e4), s, start) == s


def test_a_decoupled_network_tends_to_the_formula_at_first_order_in_the_rate():
    rng = generator()
    modes = random_modes(rng, 2)
    hidden = np.linalg.qr(rng.standard_normal((2, 6, 4))).Q
    start = 0.01 * np.ones((2, 4))
    errors = []
    for rate in (0.04, 0.02, 0.01):
        times, maps = train(decoupled(modes, hidden, start), modes.correlation, rate=rate, duration=16.0, every=1)
        ratios = modes.strengths(maps) / modes.values
        np.testing.assert_allclose(ratios[0] * modes.values, start, rtol=1e-12)
        errors.append(distance(times, ratios, modes.values, start).max())
    assert errors[0] / errors[1] == pytest.approx(2, rel=0.1)
    assert errors[1] / errors[2] == pytest.approx(2, rel=0.1)
    # η s ln(s/a₀) / 8
    assert errors[2] <= 1.1 * 0.01 * math.log(100) / 8


def test_modes_are_the_singular_values_and_vectors():
    modes = random_modes(generator(), 3)
    found = np.linalg.svd(modes.correlation).S
    np.testing.assert_allclose(found[:, :4], modes.values, rtol=1e-12)
    assert found[:, 4:].max() < 1e-12
    ratios = modes.values[:, 1:] / modes.values[:, :-1]
    assert (modes.values[:, 0] == 1).all()
    assert ((ratios >= 0.6) & (ratios <= 0.8)).all()
    np.testing.assert_allclose(modes.strengths(modes.correlation[None])[0], modes.values, rtol=1e-12)


def test_small_random_weights_grow_from_the_strength_that_theory_gives():
    rng = generator()
    modes = random_modes(rng, 3)
    first, second = random_weights(rng, [12, 20, 10], 3, 1e-6)
    start = growing_strength(modes, first, second)
    times, maps = train([first, second], modes.correlation, rate=0.002, duration=6.0, every=3000)
    # After 6 τ the strongest mode is at 1e-6; of others, s = 0.2, e⁻⁴ˢᵗ = 1 % of the start is left of what dies out.
    expected = start[:, :2] * np.exp(2 * modes.values[:, :2] * times[-1])
    np.testing.assert_allclose(modes.strengths(maps)[-1][:, :2], expected, rtol=0.02)
    exact = growing_strength(modes, *decoupled(modes, np.linalg.qr(rng.standard_normal((3, 9, 4))).Q, start))
    np.testing.assert_allclose(exact, start, rtol=1e-12)


def test_reached_is_read_between_two_records():
    times = np.array([0.0, 1.0, 3.0])
    curves = np.array([[0.0, 0.6, 0.0, 0.0], [0.25, 0.1, 0.1, 1.0], [0.75, 0.9, 0.2, 0.0]])
    np.testing.assert_array_equal(reached(times, curves, 0.5), [2.0, 0.0, np.nan, 0.5])


def test_the_best_start_is_found():
    times = np.linspace(0, 20, 200)
    values = np.array([1.0, 0.5])
    for start in (1e-5, 0.02):
        ratios = mode_strength(times[:, None], values, start * values) / values
        # Starts are a factor 1.122 apart: at most ln 1.122 / 2 off, and a logistic moves by a quarter of that.
        assert best_distance(times, ratios, values).max() <= math.log(10**0.05) / 8 + 1e-12
        assert distance(times, ratios, values, start * values).max() < 1e-12
        assert distance(times, ratios, values, 9 * start * values).min() > 0.2
    assert best_distance(times, np.tile(np.linspace(0.5, 1, 200)[:, None], (1, 2)), values).min() > 0.05


def test_aic_knows_a_sigmoid_from_an_exponential():
    times = np.linspace(0, 30, 3000)
    curves = {"sigmoid": 1 / (1 + np.exp(8 - times)), "exponential": 1 - np.exp(-times / 8), "line": times / 30}
    models = (lambda t, p, q: 1 / (1 + np.exp(-(p * t + q))), lambda t, p, q: 1 - np.exp(-(p * t + q)))
    for name, curve in curves.items():
        half = times[np.argmax(curve >= 0.5)]
        t = np.linspace(0, 3 * half, 100)
        values = np.interp(t, times, curve)
        left = [
            np.sum((model(t, *curve_fit(model, t, values, start, maxfev=5000)[0]) - values) ** 2)
            for model, start in zip(models, ((4 / half, -4.0), (0.7 / half, 0.0)), strict=True)
        ]
        expected = (left[1] - left[0]) / 0.03**2
        assert sigmoid_preference(times, curve) == pytest.approx(expected, rel=0.01)
        assert math.copysign(1, expected) == (-1 if name == "exponential" else 1)
        assert abs(expected) > 10
    assert math.isnan(sigmoid_preference(times, 0.4 * curves["line"]))


def test_features_agree_by_their_distance_in_the_tree():
    features = tree_features(generator(), 100)
    assert set(np.unique(features)) == {-1.0, 1.0}
    agreement = np.einsum("dfi,dfj->ij", features, features) / features[..., 0].size
    kept = (1 - 2 * CHANGE) ** 2
    steps = np.array([[(i ^ j).bit_length() for j in range(8)] for i in range(8)])
    # Of 40,000 features a mean varies by at most 1/200.
    np.testing.assert_allclose(agreement, kept**steps, rtol=0, atol=5 / 200)
    contrasts, levels = splits()
    np.testing.assert_allclose(contrasts.T @ contrasts, np.eye(7), atol=1e-15)
    assert levels.tolist() == [0, 1, 1, 2, 2, 2, 2]
    # They are eigenvectors of what is expected, the broader the stronger.
    strengths = np.diag(contrasts.T @ kept**steps @ contrasts)
    np.testing.assert_allclose(kept**steps @ contrasts, contrasts * strengths, atol=1e-12)
    assert (np.diff(strengths[[0, 1, 3]]) < -0.3).all()


def test_what_a_network_makes_of_a_split():
    correlation = tree_correlation(tree_features(generator(), 3))
    np.testing.assert_allclose(np.linalg.norm(correlation, axis=1), 1, rtol=1e-12)
    contrasts, _ = splits()
    only = correlation @ contrasts[:, :1] @ contrasts[:, :1].T
    made = split_strengths(np.stack([0 * correlation, 0.5 * correlation, correlation, only]), correlation, contrasts)
    np.testing.assert_allclose(made[:3], np.array([0, 0.5, 1])[:, None, None] * np.ones((3, 3, 7)), atol=1e-12)
    np.testing.assert_allclose(made[3, :, 0], 1, rtol=1e-12)
    assert np.abs(made[3, :, 1:]).max() < 1e-12


def test_deep_weights_are_orthogonal_or_gaussian():
    orthogonal = deep_weights(generator(), 3, 12, "orthogonal")
    assert [each.shape for each in orthogonal] == [(12, 12), (12, 12), (4, 12)]
    for weight in orthogonal:
        np.testing.assert_allclose(weight @ weight.T, np.eye(len(weight)), atol=1e-14)
    # Uniformly distributed: entries have mean 0. Without the signs of R those of the first row are of one sign.
    drawn = np.stack([deep_weights(np.random.default_rng(i), 2, 4, "orthogonal")[0] for i in range(400)])
    assert np.abs(drawn.mean(axis=0)).max() < 4 * 0.5 / 20
    gaussian = deep_weights(generator(), 20, 40, "gaussian")
    assert np.std(np.stack(gaussian[:-1])) == pytest.approx(1 / math.sqrt(40), rel=0.02)


# With Gaussian weights of seed 1 two rates learn within the same step, the greater first.
@pytest.mark.parametrize(("start", "seed"), [("orthogonal", 1000), ("gaussian", 1000), ("gaussian", 1)])
def test_steps_to_learn_are_those_of_the_fastest_rate(start, seed):
    rng = np.random.default_rng(seed)
    correlation = deep_correlation(rng, 8)
    np.testing.assert_allclose(np.linalg.svd(correlation).S, [1.5, 7 / 6, 5 / 6, 0.5], rtol=1e-12)
    weights = deep_weights(rng, 3, 8, start)
    times = {}
    for rate in RATES:
        layers, curve = [each.copy() for each in weights], []
        while (not curve or LEARNT < curve[-1] < 1e6) and len(curve) < 2000:
            a, b, c = layers
            error = c @ b @ a - correlation
            curve.append(np.sum(error**2) / np.sum(correlation**2))
            gradients = (c @ b).T @ error, c.T @ error @ a.T, error @ (b @ a).T
            layers = [layer - rate / 3 * each for layer, each in zip(layers, gradients, strict=True)]
        if curve[-1] <= LEARNT:
            before, after = np.log(curve[-2:])
            times[rate] = len(curve) - 2 + (before - math.log(LEARNT)) / (before - after)
    best = min(times, key=times.get)
    steps, rate = steps_to_learn(weights, correlation, most=2000)
    assert steps == pytest.approx(times[best], rel=1e-9)
    assert rate == best
    assert steps_to_learn(weights, correlation, most=int(steps)) is None


@pytest.mark.parametrize(
    "case", [{"task": "mode"}, {"task": "modes", "start": "big"}, {"task": "depth", "start": "small"}], ids=str
)
def test_a_trial_that_cannot_be_run_says_so(case):
    with pytest.raises(UsageError, match="unknown"):
        trial(Case(**{"start": "small", "layers": 2, **SIZE, **case}), run())


def test_in_turn_takes_order_gap_and_all_modes():
    times = np.linspace(0, 40, 4001)

    def share(*halves):
        curves = np.stack([1 / (1 + np.exp(2 * (half - times))) for half in halves], axis=1)[:, None]
        return bool(saxe_dynamics._in_turn(times, curves, reached(times, curves, 0.5))[0])

    assert share(5, 10, 15, 20)
    assert not share(5, 15, 10, 20)
    assert not share(5, 5.4, 15, 20)
    assert not share(5, 10, 15, 60)


def test_broad_first_takes_all_splits():
    levels = splits()[1]
    ordered = np.array([1.0, 2, 3, 4, 5, 6, 7])
    halves = np.tile(ordered, (5, 1))
    halves[1, 1], halves[2, 2], halves[3, 6], halves[4, 5] = 0.5, 4.5, 2.5, np.nan
    assert saxe_dynamics._broad_first(halves, levels).tolist() == [True, False, False, False, False]


@pytest.fixture(scope="module")
def smoke():
    return pd.DataFrame({**case, "seed": seed, **trial(case, run(seed))} for case, seed in STUDY.grid("smoke").trials())


def test_smoke_decides_nothing_measures_everything_and_is_drawn(smoke):
    criteria = judge(smoke)
    assert Verdict.of(criteria, seeds=1).outcome == "inconclusive"
    assert all(criterion.measured is not None for criterion in criteria)
    assert "<svg" in to_svg(draw(smoke), "study-")


def test_a_network_that_learns_nothing_reproduces_nothing(monkeypatch):
    def still(weights, correlation, *, rate, duration, every, device):
        _, maps = train(weights, correlation, rate=rate, duration=0.0, every=every, device=device)
        return np.linspace(0, duration, 50), np.repeat(maps, 50, axis=0)

    monkeypatch.setattr(saxe_dynamics, "train", still)
    monkeypatch.setattr(saxe_dynamics, "steps_to_learn", lambda *_, **__: None)
    rows = [
        {**case, "seed": seed, **trial(case, run(seed))}
        for case in STUDY.grid("smoke").cases
        for seed in (1000, 1001, 1002)
    ]
    criteria = judge(pd.DataFrame(rows))
    held = [criterion.name for criterion in criteria if criterion.holds]
    assert held == [
        "one layer, tree: share of networks that learn all broad splits before finer ones",
        "large random start: mean distance of a mode's curve from the best-fitting formula, as part of s",
    ]
    assert Verdict.of(criteria, seeds=3).outcome == "not reproduced"


VALUES = np.array([[1.0, 0.7, 0.5, 0.3]])
STEPS = {"orthogonal": lambda depth: 20.0 + 0 * depth, "gaussian": lambda depth: 8.0 * depth}


def table(seeds=5, without=(), **changes):
    """Return the trials of a study that reproduces, but for the changes: ``{task}_{start}_{layers}`` to numbers."""
    halves = half_time(VALUES, 1e-3 * VALUES)
    usual = {
        "modes_equal_2": {"distance": 0.006, "half_time_error": 0.004, "preference": 2000.0},
        "modes_proportional_2": {"distance": 0.006, "half_time_error": 0.004, "half_time": halves},
        "modes_small_2": {"distance": 0.015, "in_turn": 1.0},
        "modes_large_2": {"distance": 0.4},
        "modes_small_1": {"half_time": np.full((1, 4), math.log(2)), "preference": -280.0},
        "tree_small_2": {"broad_first": 1.0, "transition": 0.4},
        "tree_small_1": {"broad_first": 0.0, "transition": 3.17},
    }
    steps = {start: changes.pop(start, STEPS[start]) for start in STEPS}
    time = np.linspace(0, 30, 20)
    rows = []
    for seed in range(seeds):
        jitter = math.exp(0.02 * np.random.default_rng(seed).standard_normal())
        for name, numbers in usual.items():
            task, start, layers = name.split("_")
            found = {**numbers, **changes.get(name, {})}
            rows.append({"task": task, "start": start, "layers": int(layers), "seed": seed, "singular_value": VALUES})
            rows[-1] |= {"time": time, "ratio": np.zeros((20, 4)), "initial_strength": 1e-3 * VALUES}
            rows[-1] |= {"split": np.zeros((20, 3)), "half_time": VALUES} | {
                key: np.array([[value, value * jitter]])
                if key in ("distance", "half_time_error", "preference", "transition")
                else value
                for key, value in found.items()
            }
        for start in STEPS:
            for depth in (8, 16, 32):
                count = steps[start](depth)
                rows.append({"task": "depth", "start": start, "layers": depth, "seed": seed})
                rows[-1] |= {"steps": count and count * jitter ** math.log2(depth)}
    return pd.DataFrame([row for row in rows if row["task"] not in without])


def verdict(trials, seeds=5):
    return Verdict.of(judge(trials), seeds=seeds)


def test_what_the_paper_shows_is_reproduced():
    assert verdict(table()).outcome == "reproduced"


@pytest.mark.parametrize(
    ("changes", "failing"),
    [
        ({"modes_equal_2": {"distance": 0.04}}, "decoupled start: largest distance"),
        ({"modes_proportional_2": {"half_time_error": 0.04}}, "decoupled start: largest error of the time"),
        ({"modes_proportional_2": {"half_time": VALUES**-0.9}}, "decoupled start, strengths in proportion to s: slope"),
        ({"modes_equal_2": {"preference": -300.0}}, "decoupled start: AIC"),
        ({"modes_small_2": {"distance": 0.05}}, "small random start: mean distance"),
        ({"modes_small_2": {"in_turn": 0.9}}, "small random start: share"),
        ({"tree_small_2": {"broad_first": 0.5}}, "tree: share"),
        ({"tree_small_2": {"transition": 1.6}}, "tree: time from 10"),
        ({"orthogonal": STEPS["gaussian"]}, "orthogonal start"),
        ({"gaussian": STEPS["orthogonal"]}, "Gaussian start"),
        ({"modes_small_1": {"half_time": 1 / VALUES}}, "one layer: slope"),
        ({"modes_small_1": {"preference": 300.0}}, "one layer: AIC"),
        ({"tree_small_1": {"broad_first": 1.0}}, "one layer, tree: share"),
        ({"tree_small_1": {"transition": 0.4}}, "one layer, tree: time"),
        ({"modes_large_2": {"distance": 0.02}}, "large random start"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_planted_fakes_are_not_reproduced(changes, failing):
    found = verdict(table(**changes))
    assert found.outcome == "not reproduced"
    wrong = [criterion.name for criterion in found.criteria if criterion.holds is False]
    assert len(wrong) == 1
    assert wrong[0].startswith(failing)


def test_one_bad_mode_of_one_seed_fails_an_identity():
    trials = table()
    bad = trials.index[trials["start"] == "equal"][2]
    trials.at[bad, "distance"] = np.array([[0.001, 0.2]])
    assert verdict(trials).outcome == "not reproduced"


@pytest.mark.parametrize("start", ["orthogonal", "gaussian"])
def test_a_network_that_has_not_learnt_leaves_it_open(start):
    late = {start: lambda depth: None if depth == 32 else STEPS[start](depth)}
    assert verdict(table(**late)).outcome == "inconclusive"


@pytest.mark.parametrize("without", [("modes",), ("tree",), ("depth",), ("modes", "tree", "depth")], ids=" ".join)
def test_missing_trials_leave_it_open(without):
    trials = table(without=without)
    assert verdict(trials).outcome == "inconclusive"
    assert draw(trials).axes


@pytest.mark.parametrize("seeds", [1, 2])
def test_few_seeds_decide_nothing(seeds):
    assert verdict(table(seeds), seeds=seeds).outcome == "inconclusive"
