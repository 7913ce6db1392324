"""Frozen kernels: network, kernel and descent against automatic differentiation, the criteria against planted fakes."""

from __future__ import annotations

import itertools
import math
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch

from deepscope.core import Case, UsageError, Verdict
from deepscope.figures import to_svg
from deepscope.linalg import infinite_width_kernel
from deepscope.studies.wide_networks import _wide_training
from deepscope.studies.wide_networks._kernel_descent import KernelDescent
from deepscope.studies.wide_networks._wide_network import WEIGHT_VARIANCE, WideNetwork
from deepscope.studies.wide_networks._wide_tasks import COMPARED, circle_target, compared_angles, make_task
from deepscope.studies.wide_networks.ntk_freeze import STUDY, draw, judge, trial

RECTIFY = {"relu": torch.relu, "erf": torch.erf}
WIDTHS = (128, 256, 512)


def generator():
    return np.random.default_rng(1000)


def run(seed=1000):
    return SimpleNamespace(seed=seed, device=torch.device("cpu"))


def case(**fields):
    return Case(**{**STUDY.defaults, "activation": "relu", "scaling": "ntk", "width": 64, **fields})


def twin(weights, x, activation, scale):
    """Compute f of one input by the definition, so that torch can differentiate it."""
    h = x
    for weight in weights[:-1]:
        h = RECTIFY[activation](math.sqrt(2 / len(h)) * weight @ h)
    return scale * math.sqrt(2 / len(h)) * (weights[-1] @ h)[0]


def gradient(weights, x, activation, scale=1.0):
    leaves = [weight.clone().requires_grad_() for weight in weights]
    output = twin(leaves, x, activation, scale)
    return output.item(), torch.cat([each.ravel() for each in torch.autograd.grad(output, leaves)])


@pytest.mark.parametrize("activation", ["relu", "erf"])
@pytest.mark.parametrize("hidden", [(7,), (7, 7), (7, 7, 7)], ids=["one hidden layer", "two", "three"])
@pytest.mark.parametrize("scale", [1.0, 7**-0.5], ids=["ntk", "mean field"])
def test_outputs_kernel_and_gradient_are_those_of_the_definition(activation, hidden, scale):
    rng = generator()
    network = WideNetwork.drawn(rng, (3, *hidden), activation, scale=scale)
    inputs, targets = (torch.from_numpy(rng.standard_normal(shape)) for shape in ((5, 3), 5))
    outputs, gradients = zip(*(gradient(network.weights, x, activation, scale) for x in inputs), strict=True)
    jacobian = torch.stack(gradients)
    # Sums of at most 49 products of order 1, in float64.
    torch.testing.assert_close(network.outputs(inputs), torch.tensor(outputs, dtype=torch.float64), rtol=0, atol=1e-13)
    expected = jacobian @ jacobian.T / scale**2
    torch.testing.assert_close(network.tangent_kernel(inputs), expected, rtol=1e-12, atol=1e-12)
    loss, found = network.loss(inputs, targets)
    error = network.outputs(inputs) - targets
    assert loss == pytest.approx((error**2).mean().item(), rel=1e-13)
    flat = torch.cat([each.ravel() for each in found])
    torch.testing.assert_close(flat, jacobian.T @ error / 5, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("activation", ["relu", "erf"])
def test_mean_field_scaling_is_an_output_over_n_at_n_times_the_rate(activation):
    rng, n, rate = generator(), 16, 0.1
    network = WideNetwork.drawn(rng, (3, n), activation, scale=n**-0.5)
    inputs, targets = (torch.from_numpy(rng.standard_normal(shape)) for shape in ((5, 3), 5))
    first, last = (weight.clone().requires_grad_() for weight in network.weights)
    for _ in range(4):
        h = RECTIFY[activation](math.sqrt(2 / 3) * inputs @ first.T)
        loss = 0.5 * (math.sqrt(2) / n * (h @ last[0]) - targets).square().mean()
        found, gradients = network.loss(inputs, targets)
        assert found == pytest.approx(2 * loss.item(), rel=1e-12)
        network.descend(gradients, rate)
        with torch.no_grad():
            for weight, each in zip((first, last), torch.autograd.grad(loss, (first, last)), strict=True):
                weight -= n * rate * each
    for weight, expected in zip(network.weights, (first, last), strict=True):
        torch.testing.assert_close(weight, expected.detach(), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("activation", ["relu", "erf"])
def test_the_mean_kernel_of_two_layers_is_that_of_infinite_width(activation):
    rng, draws, width = generator(), 400, 64
    inputs = torch.from_numpy(rng.standard_normal((4, 3)))
    kernels = [WideNetwork.drawn(rng, (3, width), activation).tangent_kernel(inputs).numpy() for _ in range(draws)]
    expected = infinite_width_kernel(inputs, None, 1, activation, WEIGHT_VARIANCE).ntk
    # It is a mean over units, so that at one hidden layer its mean is exact: within 5 standard errors.
    error = np.std(kernels, axis=0) / math.sqrt(draws)
    assert (np.abs(np.mean(kernels, axis=0) - expected) < 5 * error).all()
    assert (error < 0.03 * np.abs(expected).max()).all()


def descended(features, start, targets, rate, steps):
    """Train start + features · w from w = 0 by its own gradient: [steps + 1, points]."""
    m, weights, outputs = len(targets), np.zeros(features.shape[1]), []
    for _ in range(steps + 1):
        outputs.append(start + features @ weights)
        weights = weights - rate * features[:m].T @ (outputs[-1][:m] - targets) / m
    return np.stack(outputs)


def from_kernel(kernel, start, targets, rate, steps):
    """Train in the space of functions, step by step: [steps + 1, points]."""
    m, outputs = len(targets), [start]
    for _ in range(steps):
        outputs.append(outputs[-1] - rate * kernel[:, :m] @ (outputs[-1][:m] - targets) / m)
    return np.stack(outputs)


@pytest.mark.parametrize("rate_over_most", [0.25, 0.5, 0.9], ids=str)
@pytest.mark.parametrize("n_features", [3, 40], ids=["singular kernel", "regular"])
def test_kernel_descent_is_gradient_descent_of_a_linear_model(rate_over_most, n_features):
    rng, m = generator(), 6
    features, start = rng.standard_normal((10, n_features)), rng.standard_normal(10)
    targets = rng.standard_normal(m)
    top = np.linalg.eigvalsh(features[:m] @ features[:m].T / m)[-1]
    # 2/λ is where it would diverge.
    rate = rate_over_most * 2 / top
    model = KernelDescent.of(features @ features.T, start, targets, rate=rate)
    expected = descended(features, start, targets, rate, 30)
    # Eigenvalues that are 0 come out as 1e-16 of the largest: after 30 steps 30 times this.
    for steps in (0, 1, 2, 7, 30):
        np.testing.assert_allclose(model.outputs(steps), expected[steps], rtol=0, atol=1e-12)
    losses = np.mean((expected[:, :m] - targets) ** 2, axis=1)
    # Outputs are rounded by some 1e-16, which the square of a small error e multiplies by 2e.
    np.testing.assert_allclose(model.losses(range(31)), losses, rtol=1e-12, atol=1e-18)


def test_kernel_descent_ends_in_kernel_regression_added_to_the_start():
    rng, m = generator(), 6
    features, start, targets = rng.standard_normal((10, 40)), rng.standard_normal(10), rng.standard_normal(m)
    kernel = features @ features.T
    model = KernelDescent.of(kernel, start, targets)
    assert model.rate == pytest.approx(0.5 / np.linalg.eigvalsh(kernel[:m, :m] / m)[-1], rel=1e-12)
    expected = start + kernel[:, :m] @ np.linalg.solve(kernel[:m, :m], targets - start[:m])
    np.testing.assert_allclose(model.outputs(100_000), expected, rtol=0, atol=1e-11)


@pytest.mark.parametrize("scale", [1.0, 0.2])
def test_a_network_leaves_its_linearisation_at_second_order_in_the_rate(scale):
    gaps = []
    for rate in (1e-3, 5e-4, 2.5e-4):
        rng = generator()
        network = WideNetwork.drawn(rng, (3, 25), "erf", scale=scale)
        inputs, targets = torch.from_numpy(rng.standard_normal((8, 3))), rng.standard_normal(5)
        kernel, start = network.tangent_kernel(inputs).numpy(), network.outputs(inputs).numpy()
        network.descend(network.loss(inputs[:5], torch.from_numpy(targets))[1], rate)
        model = KernelDescent.of(kernel, start, targets, rate=rate)
        gaps.append(np.abs(network.outputs(inputs).numpy() - model.outputs(1)).max())
    # A quarter at half the rate, but for the third order.
    assert gaps[0] / gaps[1] == pytest.approx(4, rel=0.03)
    assert gaps[1] / gaps[2] == pytest.approx(4, rel=0.03)


def test_the_circle_leaves_a_quarter_without_data():
    task = make_task("circle", 20, 3)
    learnt = task.points[:20]
    np.testing.assert_allclose(np.diff(np.unwrap(np.arctan2(learnt[:, 1], learnt[:, 0]))), 1.5 * np.pi / 19)
    np.testing.assert_allclose(learnt[[0, -1]], [[1, 0, 1], [0, -1, 1]], atol=1e-15)
    assert len(task.points) == 20 + COMPARED
    x, y = task.points.T[:2]
    np.testing.assert_allclose(task.targets, x + x * y, atol=1e-15)
    np.testing.assert_allclose(circle_target(compared_angles()), task.targets[20:], atol=1e-15)
    np.testing.assert_array_equal(make_task("circle", 20, 4).points, task.points)


def test_digits_are_drawn_by_the_seed():
    task, other = make_task("digits", 40, 3), make_task("digits", 40, 4)
    assert (task.n_train, task.range, task.points.shape) == (40, 2.0, (140, 65))
    assert (task.targets[:40].sum(), task.targets[40:].sum()) == (0, 0)
    assert len(np.unique(task.points, axis=0)) == 140
    assert np.mean(task.points[:, :-1] ** 2) == pytest.approx(1, rel=1e-12)
    assert (task.points[:, -1] == 1).all()
    assert not np.array_equal(task.points, other.points)
    np.testing.assert_array_equal(make_task("digits", 40, 3).points, task.points)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"scaling": "mean-field"}, "unknown scaling"),
        ({"activation": "tanh"}, "unknown activation"),
        ({"task": "digit"}, "unknown task"),
        ({"width": 0}, "this is 0"),
        ({"depth": 0}, "this is 0"),
        ({"most_steps": 0}, "this is 0"),
        ({"draws": 0}, "this is 0"),
        ({"draws": 1.5}, "this is 1.5"),
        ({"n_train": 1}, "this is 1"),
        ({"n_train": 21, "task": "digits"}, "this is 21"),
        ({"n_train": 400, "task": "digits"}, "this is 400"),
        ({"target_loss": 0.0}, "this is 0.0"),
    ],
    ids=str,
)
def test_a_trial_that_cannot_be_run_says_so(fields, message):
    with pytest.raises(UsageError, match=message):
        trial(case(**fields), run())


def test_what_a_trial_returns_is_what_a_training_by_hand_finds():
    chosen = case(draws=2, activation="erf", target_loss=0.01)
    found = trial(chosen, run(1003))
    task, rng = make_task("circle", 20, 1003), np.random.default_rng([1003, 64, 1])
    weights = [torch.from_numpy(rng.standard_normal(shape)).requires_grad_() for shape in ((64, 3), (1, 64))]
    points, y = torch.from_numpy(task.points), torch.from_numpy(task.targets[:20])

    def outputs():
        return math.sqrt(2 / 64) * (torch.erf(math.sqrt(2 / 3) * points @ weights[0].T) @ weights[1][0])

    def features():
        rows = [
            torch.cat([g.ravel() for g in torch.autograd.grad(each, weights, retain_graph=True)]) for each in outputs()
        ]
        return torch.stack(rows).numpy()

    first, start = features(), outputs().detach().numpy()
    before = [weight.detach().clone() for weight in weights]
    kernel = first[:20] @ first[:20].T
    rate = 0.5 / np.linalg.eigvalsh(kernel / 20)[-1]
    losses, made = [], []
    while not losses or losses[-1] >= 0.01:
        made.append(outputs())
        loss = (made[-1][:20] - y).square().mean()
        losses.append(loss.item())
        if losses[-1] >= 0.01:
            moved = torch.autograd.grad(0.5 * loss, weights)
            with torch.no_grad():
                for weight, each in zip(weights, moved, strict=True):
                    weight -= rate * each
    steps = len(losses) - 1
    linear = descended(first, start, task.targets[:20], rate, steps)
    made = torch.stack(made).detach().numpy()
    predicted = np.mean((linear[:, :20] - task.targets[:20]) ** 2, axis=1)
    last = features()[:20]
    other, another, third = (WideNetwork.drawn(rng, (3, 64), "erf") for _ in range(3))
    kernel2 = other.tangent_kernel(points).numpy()
    rate2 = 0.5 / np.linalg.eigvalsh(kernel2[:20, :20] / 20)[-1]
    elsewhere = from_kernel(kernel2, other.outputs(points).numpy(), task.targets[:20], rate2, steps)[-1]
    limit = infinite_width_kernel(points, None, 1, "erf", 2.0).ntk
    regression = from_kernel(limit, start, task.targets[:20], rate, steps)
    distances = [each.tangent_kernel(points[:20]).numpy() - limit[:20, :20] for each in (another, third)]
    assert found["steps"] == steps
    assert found["loss"] == pytest.approx(losses[-1], rel=1e-9)
    assert found["kernel_change"] == pytest.approx(
        np.linalg.norm(last @ last.T - kernel) / np.linalg.norm(kernel), rel=1e-9
    )
    expected = sum((now - then).square().sum().item() for now, then in zip(weights, before, strict=True))
    assert found["distance"] == pytest.approx(math.sqrt(expected), rel=1e-9)
    # Compared at some steps, 5 % apart, of which the largest gap of all need not be one.
    largest = np.abs(made - linear).max() / task.range
    assert 0.98 * largest < found["gap"] <= largest * (1 + 1e-9)
    largest = np.abs(made - regression).max() / task.range
    assert 0.98 * largest < found["regression_gap"] <= largest * (1 + 1e-9)
    assert found["other_gap"] == pytest.approx(np.abs(made[-1] - elsewhere).max() / task.range, rel=1e-9)
    expected = np.linalg.norm(distances) / math.sqrt(2) / np.linalg.norm(limit[:20, :20])
    assert found["kernel_distance"] == pytest.approx(expected, rel=1e-9)
    assert found["untrained_gap"] == pytest.approx(np.abs(start - linear[-1]).max() / task.range, rel=1e-9)
    assert found["loss_deviation"] == pytest.approx(np.abs(np.log(np.array(losses) / predicted))[:-1].max(), rel=1e-7)
    np.testing.assert_allclose(found["course"], np.array(losses)[found["step"]], rtol=1e-9)
    np.testing.assert_allclose(found["formula"], predicted[found["step"]], rtol=1e-9)
    assert found["step"][[0, -1]].tolist() == [0, steps]
    for name, values in (("start", start), ("network", made[-1]), ("linearised", linear[-1])):
        np.testing.assert_allclose(found[name], values[20:], rtol=0, atol=1e-9)


def test_outputs_are_compared_at_each_of_the_first_steps_and_then_5_percent_apart():
    moments = np.array(list(itertools.islice(_wide_training._moments(), 200)))
    np.testing.assert_array_equal(moments[:21], range(21))
    later = moments[moments >= 20]
    # Rounded to whole steps.
    assert (np.diff(later) <= 0.05 * later[:-1] + 0.5).all()


def test_both_scalings_train_the_same_network():
    ntk, mean_field = (trial(case(scaling=scaling, draws=2), run()) for scaling in ("ntk", "mean field"))
    np.testing.assert_allclose(ntk["start"], 8 * mean_field["start"], rtol=1e-12)
    assert ntk["kernel_distance"] == mean_field["kernel_distance"]
    assert mean_field["kernel_change"] > 5 * ntk["kernel_change"]


def test_a_network_that_does_not_learn_has_no_numbers(monkeypatch):
    assert set(trial(case(most_steps=3), run())) == {"steps", "loss"}
    # A rate at which it diverges; ReLU networks would die instead.
    descend = WideNetwork.descend
    monkeypatch.setattr(WideNetwork, "descend", lambda self, gradients, rate: descend(self, gradients, 50 * rate))
    assert trial(case(activation="erf"), run())["loss"] is None


def trained(seeds=(1000, 1001, 1002), **fields):
    rows = []
    for activation, width, seed in itertools.product(RECTIFY, WIDTHS, seeds):
        chosen = case(activation=activation, width=width, **fields)
        rows.append({**chosen, "seed": seed, **trial(chosen, run(seed))})
    return pd.DataFrame(rows)


def decided(trials):
    return {each.name: each.holds for each in judge(trials)}


def of(found, *words):
    holding = [holds for name, holds in found.items() if all(word in name for word in words)]
    assert holding
    return holding


def test_networks_that_do_not_learn_reproduce_nothing(monkeypatch):
    monkeypatch.setattr(WideNetwork, "descend", lambda self, gradients, rate: None)
    trials = pd.concat([trained(scaling=scaling, most_steps=1) for scaling in ("ntk", "mean field")])
    assert not any(decided(trials).values())
    assert Verdict.of(judge(trials), seeds=3).outcome == "not reproduced"


def test_mean_field_networks_in_the_place_of_frozen_ones_are_caught():
    found = decided(trained(scaling="mean field").assign(scaling="ntk"))
    assert of(found, "slope of the log relative change") == [False, False, None, None]
    assert of(found, "slope of the log distance that the weights move") == [False, False]
    assert of(found, "gap between network") == [False, False]
    assert of(found, "at any step (worse of both; below log 1.1)") == [False]


def test_a_network_of_which_the_last_layer_alone_learns_is_caught(monkeypatch):
    def last_layer(self, gradients, rate):
        self.weights[-1].sub_(gradients[-1], alpha=rate)

    monkeypatch.setattr(WideNetwork, "descend", last_layer)
    # It cannot learn much: the rate is that of the whole kernel.
    found = decided(trained(scaling="ntk", target_loss=0.01))
    assert of(found, "gap between network") == [False, False]
    assert of(found, "at any step (worse of both; below log 1.1)") == [False]


def test_a_kernel_with_an_error_in_it_is_caught(monkeypatch):
    def wrong(x1, x2, depth, activation, weight_variance):
        return infinite_width_kernel(x1, x2, depth, activation, 1.1 * weight_variance)

    monkeypatch.setattr(_wide_training, "infinite_width_kernel", wrong)
    assert of(decided(trained(scaling="ntk")), "slope of the log distance of the first kernel") == [False, False]


@pytest.fixture(scope="module")
def smoke():
    return pd.DataFrame({**case, "seed": seed, **trial(case, run(seed))} for case, seed in STUDY.grid("smoke").trials())


def test_smoke_measures_everything_and_is_drawn(smoke):
    criteria = judge(smoke)
    assert Verdict.of(criteria, seeds=1).outcome == "inconclusive"
    assert all(criterion.measured is not None for criterion in criteria[:17])
    assert "<svg" in to_svg(draw(smoke), "study-")


def test_every_task_and_depth_is_judged():
    others = [table().assign(task="digits"), table(ntk_relu_regression_gap=0.05).assign(depth=2)]
    criteria = judge(pd.concat([*others, table()]))
    assert len(criteria) == 3 * 17
    names = [each.name.split(": ")[0] for each in criteria]
    assert names[17:] == ["circle, hidden layers 2"] * 17 + ["digits, hidden layers 1"] * 17
    assert [each.name for each in criteria[:17]] == [each.name for each in judge(table())]
    assert [each.holds for each in criteria].count(False) == 1
    assert Verdict.of(criteria, seeds=5).outcome == "not reproduced"


def table(seeds=5, **changes):
    """Return the trials of a study that reproduces, but for the changes: ``{scaling}_{activation}_{column}``."""
    rows = []
    for scaling, activation, width, seed in itertools.product(("ntk", "mean field"), RECTIFY, WIDTHS, range(seeds)):
        jitter = math.exp(0.02 * np.random.default_rng([seed, width]).standard_normal())
        ntk = scaling == "ntk"
        usual = {
            "loss": 9.9e-4,
            "kernel_change": 3 * width ** (-0.75 if activation == "relu" else -1.0) if ntk else 0.8,
            "distance": 1.0 if ntk else width**0.5,
            "kernel_distance": width**-0.5,
            "gap": 0.006 if ntk else 0.06,
            "regression_gap": 0.014 if ntk else 0.06,
            "loss_deviation": 0.04 if ntk else 0.7,
            "untrained_gap": 0.7,
            "other_gap": 0.1,
        }
        prefix = f"{'ntk' if ntk else 'field'}_{activation}_"
        for name, change in changes.items():
            if name.startswith(prefix):
                usual[name.removeprefix(prefix)] = change(width) if callable(change) else change
        jittered = {name: value if name == "loss" else value * jitter for name, value in usual.items()}
        fixed = {"task": "circle", "depth": 1, "target_loss": 1e-3}
        place = {"scaling": scaling, "activation": activation, "width": width, "seed": seed}
        rows.append({**fixed, **place, **jittered})
    return pd.DataFrame(rows)


def test_the_effect_is_reproduced():
    assert Verdict.of(judge(table()), seeds=5).outcome == "reproduced"


@pytest.mark.parametrize(
    ("changes", "failing"),
    [
        ({"ntk_erf_loss": 0.2}, "loss after training"),
        ({"field_relu_loss": 0.2}, "loss after training"),
        ({"ntk_relu_kernel_change": 0.05}, "ReLU: slope of the log relative change"),
        ({"ntk_relu_kernel_change": lambda n: n**-0.4}, "ReLU: slope of the log relative change"),
        ({"ntk_erf_kernel_change": lambda n: n**-0.5}, "erf: slope of the log relative change"),
        ({"ntk_relu_distance": lambda n: n**0.5}, "ReLU: slope of the log distance that the weights"),
        ({"ntk_erf_distance": lambda n: n**-0.5}, "erf: slope of the log distance that the weights"),
        ({"ntk_relu_kernel_distance": 0.1}, "ReLU: slope of the log distance of the first"),
        ({"ntk_erf_kernel_distance": lambda n: 1 / n}, "erf: slope of the log distance of the first"),
        # The mean of both activations would pass.
        ({"ntk_erf_gap": 0.025}, "largest gap between network and linearisation"),
        ({"ntk_relu_regression_gap": 0.049}, "largest gap between network and infinite-width"),
        ({"ntk_relu_loss_deviation": 0.7}, "largest |log| of the loss"),
        ({"field_relu_kernel_change": lambda n: n**-0.5}, "mean field, ReLU: slope"),
        ({"field_erf_kernel_change": lambda n: n**-0.75}, "mean field, erf: slope"),
        ({"field_erf_kernel_change": 0.1}, "mean field: relative change"),
        ({"field_relu_gap": 0.01}, "mean field: log of the gap"),
        ({"field_erf_loss_deviation": 0.05}, "mean field: largest |log|"),
        ({"ntk_relu_untrained_gap": 0.1}, "untrained network"),
        ({"ntk_erf_other_gap": 0.01}, "another start's linearisation"),
    ],
)
def test_planted_fakes_are_not_reproduced(changes, failing):
    found = Verdict.of(judge(table(**changes)), seeds=5)
    assert found.outcome == "not reproduced"
    assert any(each.name.startswith(failing) for each in found.criteria if each.holds is False)


def test_a_change_of_nothing_is_no_freezing():
    found = Verdict.of(judge(table(ntk_relu_kernel_change=0.0)), seeds=5)
    assert found.outcome == "inconclusive"


def test_it_is_the_widest_networks_that_must_agree():
    assert Verdict.of(judge(table(ntk_relu_gap=lambda n: 0.006 if n == 512 else 0.08)), seeds=5).outcome == "reproduced"
    found = Verdict.of(judge(table(ntk_relu_gap=lambda n: 0.08 if n == 512 else 0.006)), seeds=5)
    assert found.outcome == "not reproduced"


@pytest.mark.parametrize("seeds", [1, 2])
def test_few_seeds_decide_nothing(seeds):
    assert Verdict.of(judge(table(seeds)), seeds=seeds).outcome == "inconclusive"


@pytest.mark.parametrize(
    "lost",
    [
        lambda rows: (rows.width == 512) & (rows.seed == 2) & (rows.activation == "erf"),
        lambda rows: (rows.width == 256) & (rows.seed == 0),
        lambda rows: rows.scaling == "mean field",
        lambda rows: rows.activation == "relu",
        lambda rows: rows.width != 512,
        lambda rows: rows.seed >= 0,
    ],
    ids=["one of the widest", "a width of a seed", "a scaling", "an activation", "all but a width", "all"],
)
def test_missing_trials_leave_it_open(lost):
    trials = table()
    left = trials[~lost(trials)]
    assert Verdict.of(judge(left), seeds=5).outcome == "inconclusive"
    assert draw(left).axes
