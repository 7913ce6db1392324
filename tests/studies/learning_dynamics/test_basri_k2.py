"""Learning times by frequency: the kernel against autograd and closed forms, training against a torch module, fakes."""

from __future__ import annotations

import math
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from deepscope.core import Case, UsageError, Verdict
from deepscope.figures import to_svg
from deepscope.studies.learning_dynamics import _frequency_times
from deepscope.studies.learning_dynamics._frequency_times import ARMS
from deepscope.studies.learning_dynamics._ring_network import (
    LEARNT,
    circle,
    even_directions,
    fourier_features,
    mirrored,
    random_directions,
    residuals,
    theoretical_steps,
)
from deepscope.studies.learning_dynamics.basri_k2 import STUDY

CPU = torch.device("cpu")
SMALL = {"units": 512, "points": 32, "highest": 5, "most": 1500}


def generator():
    return np.random.default_rng(1000)


def run(seed=1000):
    return SimpleNamespace(seed=seed, device=CPU, progress=lambda done: None)


def case(arm, **changes):
    return Case(**{**STUDY.defaults, **SMALL, "arm": arm, **changes})


def angles(points):
    return 2 * math.pi * np.arange(points) / points


def network(points=32, units=256, offset=0.3, *, bias=True, scale=50.0):
    return mirrored(circle(angles(points)), even_directions(units, offset), scale=scale, bias=bias)


def module(net):
    """Return it as a torch module with its trainable parameters."""
    units, features = net.directions.shape
    hidden, outgoing = nn.Linear(features, units), nn.Linear(units, 1, bias=False)
    model = nn.Sequential(hidden, nn.ReLU(), outgoing).double()
    with torch.no_grad():
        hidden.weight.copy_(torch.from_numpy(net.directions))
        hidden.bias.zero_()
        outgoing.weight.copy_(torch.from_numpy(net.signs * net.scale / math.sqrt(units)))
    trained = [hidden.weight, hidden.bias] if net.bias else [hidden.weight]
    return model, trained


@pytest.mark.parametrize("bias", [True, False])
def test_the_kernel_is_that_of_the_gradients(bias):
    net = network(8, 8, bias=bias)
    model, trained = module(net)
    outputs = model(torch.from_numpy(net.inputs))[:, 0]
    rows = [torch.cat([g.flatten() for g in torch.autograd.grad(each, trained, retain_graph=True)]) for each in outputs]
    jacobian = torch.stack(rows).numpy()
    np.testing.assert_allclose(net.kernel, jacobian @ jacobian.T / net.scale**2, rtol=0, atol=1e-13)
    assert np.abs(outputs.detach().numpy()).max() < 1e-12


@pytest.mark.parametrize("bias", [True, False])
def test_training_is_gradient_descent_on_half_the_squared_error(bias):
    net = mirrored(circle(angles(16)), random_directions(generator(), 20, 2), scale=2.0, bias=bias)
    target = np.cos(3 * angles(16) + 0.4)
    found = residuals(net, target, 0.05, 30, CPU)
    model, trained = module(net)
    optimiser = torch.optim.SGD(trained, lr=0.05 / 2.0**2)
    inputs, wanted = torch.from_numpy(net.inputs), torch.from_numpy(target)
    expected = []
    for _ in range(31):
        error = model(inputs)[:, 0] - wanted
        expected.append(float(error.detach().norm() / wanted.norm()))
        optimiser.zero_grad()
        (0.5 * error.square().sum()).backward()
        optimiser.step()
    assert len(found) == 31
    np.testing.assert_allclose(found, expected, rtol=1e-9)
    # Without bias nothing is learnt of an odd frequency, but for rounding.
    assert (found[-1] < found[0] - 1e-6) == bias


def test_training_does_not_change_the_network_and_ends_when_it_has_learnt():
    net = network()
    before = net.directions.copy()
    curve = residuals(net, np.cos(angles(32)), 0.02, 1000, CPU)
    np.testing.assert_array_equal(net.directions, before)
    assert curve[-1] <= LEARNT < curve[-2]


def test_the_kernel_is_circulant_and_has_the_eigenvalues_of_the_formula():
    points = 64
    for bias in (True, False):
        net = network(points, 1024, bias=bias)
        kernel = net.kernel
        for shift in range(points):
            np.testing.assert_allclose(kernel[shift], np.roll(kernel[0], shift), rtol=0, atol=1e-14)
        eigenvalues = np.fft.rfft(kernel[0]).real / points
        for k in range(2, 11):
            odd, even = 1 / (math.pi * k) ** 2, (k**2 + 1) / (math.pi * (k**2 - 1)) ** 2
            expected = even if k % 2 == 0 else odd * bias
            # The first alias is at 64 − k, of the same parity; all of them add up to less than twice that.
            alias = 2 / (math.pi * (points - k - 1)) ** 2
            # A count of 1,024 directions is off by up to 2 of them at each distance of points.
            assert -1e-4 <= eigenvalues[k] - expected <= 2 * alias + 1e-4


def test_a_network_follows_the_kernel_the_more_closely_the_less_its_weights_move():
    errors = []
    for scale in (0.5, 2.0, 50.0):
        net = network(scale=scale)
        rate = 0.5 / np.linalg.eigvalsh(net.kernel)[-1]
        shrinking = 1 - rate * np.fft.rfft(net.kernel[0]).real[3]
        curve = residuals(net, np.cos(3 * angles(32) + 1), rate, 100, CPU)
        errors.append(np.abs(curve - shrinking ** np.arange(len(curve))).max())
    assert errors[0] > 2 * errors[1]
    assert errors[1] > 1e-2
    # As long as no unit changes sides at a point the network is linear in w and b: rounding is all that is left.
    assert errors[2] < 1e-12


def test_theoretical_steps():
    rates = np.array([0.5, 0.01, 1e-17])
    found = theoretical_steps(rates)
    np.testing.assert_allclose((1 - rates[:2]) ** found[:2], LEARNT, rtol=1e-12)
    assert found[2] == math.inf


def test_features_are_unit_vectors_with_a_nearly_flat_kernel():
    features = fourier_features(angles(64), 10)
    np.testing.assert_allclose(np.linalg.norm(features, axis=1), 1, rtol=1e-12)
    linear = np.fft.rfft((features @ features.T)[0]).real
    np.testing.assert_allclose(linear[1:11], 64 / 20, rtol=1e-12)
    assert np.abs(linear[[0, *range(11, 33)]]).max() < 1e-12


def test_mirrored_networks_begin_with_the_output_0():
    inputs = fourier_features(angles(16), 3)
    model, _ = module(mirrored(inputs, random_directions(generator(), 10, 6), scale=50.0, bias=True))
    # Ten pairs of numbers below 1 times 50/√20 cancel but for rounding.
    assert model(torch.from_numpy(inputs)).abs().max() < 1e-12


def test_directions_are_unit_vectors_and_none_is_on_the_edge():
    for directions in (even_directions(64, 0.4), random_directions(generator(), 64, 5)):
        np.testing.assert_allclose(np.linalg.norm(directions, axis=1), 1, rtol=1e-12)
    inner = circle(angles(32)) @ even_directions(64, 0.1).T
    assert np.abs(inner).min() > math.sin(0.09 * 2 * math.pi / 64)


def test_a_trial_with_bias_keeps_to_theory_and_one_without_never_learns_three():
    found = STUDY.trial(case("bias"), run())
    np.testing.assert_allclose(found["steps"][1:], found["theory"][1:], rtol=0.1)
    assert (found["left"] <= LEARNT).all()
    bare = STUDY.trial(case("no bias"), run())
    assert np.isnan(bare["steps"][[2, 4]]).all()
    assert bare["patience"] == 10 * bare["steps"][3]
    np.testing.assert_allclose(bare["left"][[2, 4]], 1, atol=1e-9)
    assert np.isinf(bare["theory"][[2, 4]]).all()
    assert bare["steps"][3] == pytest.approx(bare["theory"][3], rel=0.1)
    curve = bare["residuals"][3][np.isfinite(bare["residuals"][3])]
    assert (np.diff(curve) < 0).all()


def test_points_that_are_not_symmetric_let_a_network_without_bias_learn_three():
    """The other half of the theorem: it is x → −x that keeps odd frequencies out."""
    theta = angles(33)
    net = mirrored(circle(theta), even_directions(33 * 16, 0.3), scale=50.0, bias=False)
    rate = 0.5 / np.linalg.eigvalsh(net.kernel)[-1]
    assert residuals(net, np.cos(3 * theta), rate, 1500, CPU)[-1] < 0.99


def test_moving_weights_leave_theory():
    found = STUDY.trial(case("moving weights", highest=5), run())
    ratio = np.where(np.isnan(found["steps"]), 1500, found["steps"]) / found["theory"]
    assert ratio[4] > 1.5


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"arm": "bais"}, "bias"),
        ({"highest": 4}, "highest"),
        ({"highest": 11}, "highest"),
        ({"points": 16, "highest": 8, "units": 512}, "highest"),
        ({"points": 33, "units": 66}, "33 points"),
        ({"units": 500}, "500 units"),
        ({"units": 0}, "0 units"),
        ({"most": 0}, "most"),
    ],
    ids=str,
)
def test_a_trial_that_cannot_be_run_says_so(changes, message):
    with pytest.raises(UsageError, match=message):
        STUDY.trial(case(**{"arm": "bias", **changes}), run())


K = np.arange(1, 11)


def table(seeds=5, **changes):
    """Return the trials of a study that reproduces, but for the changes, by arm and column."""
    theory = np.where(K > 2, 20.0 * K**2, [8, 36, *[0] * 8])
    bare = np.where(K % 2 == 0, 6.0 * K**2, math.nan)
    arms = {
        "bias": {"steps": 1.01 * theory, "theory": theory, "left": np.full(10, 0.049)},
        "no bias": {"steps": 1.01 * bare, "theory": bare, "left": np.where(K % 2 == 0, 0.049, 1.0)},
        "Fourier features": {"steps": np.full(10, 50.0) * K**0.06},
    }
    for where, value in changes.items():
        arm, _, column = where.partition("__")
        arms[arm.replace("_", " ")][column] = value
    rng = np.random.default_rng(0)
    rows = []
    for seed in range(seeds):
        for arm, numbers in arms.items():
            found = {"arm": arm, "most": 4000, "seed": seed, "patience": 960, "untrained": 1e-15, **numbers}
            found["steps"] = found["steps"] * np.exp(0.001 * rng.standard_normal(10))
            rows.append(found)
    return pd.DataFrame(rows)


def verdict(rows):
    return Verdict.of(STUDY.judge(rows), seeds=rows["seed"].nunique())


def test_what_the_paper_says_is_reproduced():
    found = verdict(table())
    assert found.outcome == "reproduced", found.reasons
    assert sum(each.control for each in found.criteria) == 3


QUICK, LINEAR, FOURTH = np.full(10, 300.0), 150.0 * K, 0.4 * K**4.0
ONLY_FIVE_IS_LATE = np.where(K == 5, math.nan, np.where(K > 2, 20.0 * K**2, [8, 36, *[0] * 8]))


@pytest.mark.parametrize(
    ("changes", "failing"),
    [
        ({"bias__steps": QUICK}, {"with bias: steps over theory", "with bias: slope"}),
        ({"bias__steps": LINEAR}, {"with bias: steps over theory", "with bias: slope"}),
        ({"bias__steps": FOURTH}, {"with bias: steps over theory", "with bias: slope"}),
        ({"bias__steps": QUICK, "bias__theory": QUICK}, {"with bias: slope"}),
        ({"bias__steps": 3 * 20.0 * K**2}, {"with bias: steps over theory", "with bias, k = 3 and 5"}),
        ({"bias__steps": ONLY_FIVE_IS_LATE}, {"with bias: steps over theory"}),
        ({"no_bias__left": np.where(K == 7, 0.05, 1.0)}, {"without bias, k = 3, 5, 7, 9"}),
        ({"no_bias__left": np.full(10, 0.9)}, {"without bias, k = 3, 5, 7, 9"}),
        ({"no_bias__steps": np.full(10, math.nan)}, {"without bias, even k"}),
        ({"no_bias__steps": 12.0 * K**2}, {"without bias, even k"}),
        ({"no_bias__patience": 100}, {"with bias, k = 3 and 5"}),
        ({"Fourier_features__steps": 20.0 * K**2}, {"Fourier features"}),
        ({"bias__untrained": 0.3}, {"before training"}),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_planted_fakes_are_not_reproduced(changes, failing):
    found = verdict(table(**changes))
    assert found.outcome == "not reproduced"
    assert {each.name for each in found.criteria if each.holds is False} == {
        each.name for each in found.criteria if any(each.name.startswith(name) for name in failing)
    }
    assert len([each for each in found.criteria if each.holds is False]) == len(failing)


def test_a_network_that_was_not_waited_for_is_not_judged():
    rows = table(bias__steps=np.full(10, math.nan))
    rows["most"] = 10
    assert verdict(rows).outcome == "inconclusive"


def test_a_network_that_does_not_learn_at_all_does_not_pass(monkeypatch):
    still = residuals

    def frozen(network_, target, rate, most, device):
        return still(network_, target, 0.0, 1, device)

    monkeypatch.setattr(_frequency_times, "residuals", frozen)
    rows = [
        {**case(arm), "seed": seed, **STUDY.trial(case(arm), run(seed))}
        for arm in ("bias", "no bias", "Fourier features")
        for seed in range(3)
    ]
    found = verdict(pd.DataFrame(rows))
    assert found.outcome == "not reproduced"
    by_name = {each.name: each.holds for each in found.criteria}
    assert by_name["without bias, k = 3, 5, 7, 9: part of the target left after 10 times the steps of k = 4"] is True
    assert by_name["with bias: steps over theory’s minus 1, k = 2 … 10"] is False


def test_the_figure_names_what_it_shows():
    rows = [{**case(arm, most=200), "seed": 0, **STUDY.trial(case(arm, most=200), run())} for arm in ARMS]
    svg = to_svg(STUDY.draw(pd.DataFrame(rows)), "x")
    for text in ("with bias", "without bias", "frequency k", "∝ k²", "Fourier", "part of the target left", "theory"):
        assert text in svg
