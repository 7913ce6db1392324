"""Batch normalisation: its parts against closed forms and naive twins, its criteria against planted fakes."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pandas as pd
import pytest
import torch
from torch.nn import functional

from deepscope.core import Case, UsageError, Verdict
from deepscope.data import Samples, load
from deepscope.figures import to_svg
from deepscope.studies.optimisation._batchnorm_trials import RECIPES, centred
from deepscope.studies.optimisation._decay_training import batches
from deepscope.studies.optimisation._moment_drift import drift, moment_drift, moments
from deepscope.studies.optimisation._network_batch import NetworkBatch
from deepscope.studies.optimisation._normalised_networks import (
    ARMS,
    draw_noise,
    normalised_network,
    still_noise,
    trained_names,
)
from deepscope.studies.optimisation._rate_sweep import Sweep, accuracies, looked_at, sweep
from deepscope.studies.optimisation.batchnorm import STUDY

SMALL = Case(**{**STUDY.defaults, "network": "relu", "arm": "noisy", "n_train": 12, "width": 8, "batch_size": 6})


class Run:
    device = torch.device("cpu")

    def __init__(self, seed=1000):
        self.seed = seed
        self.generator = torch.Generator().manual_seed(seed)

    def progress(self, done):
        assert 0 <= done <= 1


def network(arm, activation="relu", depth=2):
    generator = torch.Generator().manual_seed(0)
    return normalised_network(6, depth, 5, 3, activation=activation, arm=arm, generator=generator)


@pytest.fixture(scope="module")
def samples():
    generator = torch.Generator().manual_seed(0)
    return Samples(torch.randn(24, 6, generator=generator), torch.randint(3, (24,), generator=generator))


def naive(parameters, x, arm):
    """Return what a network computes, by its formulas."""
    for layer in (1, 2):
        x = x @ parameters[f"hidden{layer}.weight"].T + parameters[f"hidden{layer}.bias"]
        if arm in ("batch norm", "noisy"):
            x = (x - x.mean(0)) / (x.var(0, correction=0) + 1e-5).sqrt()
            x = x * parameters[f"norm{layer}.weight"] + parameters[f"norm{layer}.bias"]
        if arm in ("affine", "noisy"):
            name = f"{'affine' if arm == 'affine' else 'noise'}{layer}"
            x = x * parameters[f"{name}.scale"] + parameters[f"{name}.shift"]
        x = x.clamp_min(0)
    return x @ parameters["output.weight"].T + parameters["output.bias"]


@pytest.mark.parametrize("arm", ARMS)
def test_each_arm_computes_its_formula(arm, samples):
    model = network(arm)
    generator = torch.Generator().manual_seed(1)
    parameters = dict(model.named_parameters())
    with torch.no_grad():
        for value in parameters.values():
            value += 0.1 * torch.randn(value.shape, generator=generator)
        # Single precision over three layers.
        torch.testing.assert_close(model(samples.inputs), naive(parameters, samples.inputs, arm), rtol=1e-4, atol=1e-5)
        found = NetworkBatch([model, model])(samples.inputs)
    torch.testing.assert_close(found[1], model(samples.inputs).detach(), rtol=1e-4, atol=1e-5)


def test_arms_share_their_weights_and_their_scale():
    plain = dict(network("plain").named_parameters())
    for arm in ARMS[1:]:
        other = dict(network(arm).named_parameters())
        assert all(torch.equal(other[name], plain[name]) for name in plain)
    generator = torch.Generator().manual_seed(0)
    for activation, gain in (("relu", 2), ("sigmoid", 1)):
        wide = normalised_network(300, 2, 200, 3, activation=activation, arm="plain", generator=generator)
        # 40,000 draws: the variance has a relative standard error of 0.7 %.
        assert wide.hidden2.weight.var().item() * 200 == pytest.approx(gain, rel=0.04)
        assert wide.hidden1.weight.var().item() * 300 == pytest.approx(1, rel=0.04)
    with pytest.raises(UsageError, match="unknown arm"):
        network("batchnorm")


def test_noise_has_its_law_and_is_stilled_and_not_trained():
    generator = torch.Generator().manual_seed(0)
    model = normalised_network(4, 1, 4000, 2, activation="relu", arm="noisy", generator=generator)
    parameters = NetworkBatch([model, model]).parameters
    draw_noise(parameters, generator)
    scale, shift = parameters["noise1.scale"].detach(), parameters["noise1.shift"].detach()
    assert torch.equal(scale[0], scale[1])
    # 4,000 draws of uniform numbers: standard errors of 0.0023 and 0.0046.
    assert (scale.min() >= 0.75, scale.max() <= 1.25, shift.abs().max() <= 0.5) == (True, True, True)
    assert (scale.mean().item(), shift.mean().item()) == (pytest.approx(1, abs=0.01), pytest.approx(0, abs=0.02))
    assert (scale.std().item(), shift.std().item()) == (
        pytest.approx(0.5 / math.sqrt(12), rel=0.05),
        pytest.approx(1 / math.sqrt(12), rel=0.05),
    )
    still_noise(parameters)
    assert (parameters["noise1.scale"] == 1).all()
    assert (parameters["noise1.shift"] == 0).all()
    assert not [name for name in trained_names(parameters) if "noise" in name]
    assert "norm1.weight" in trained_names(parameters)


@pytest.mark.parametrize("arm", ["plain", "noisy"])
def test_a_sweep_trains_each_rate_as_if_alone(arm, samples):
    rates, samples = [0.1, 0.4], Samples(samples.inputs.double(), samples.targets)
    # After the last step nobody looks: the noise must be stilled all the same.
    found, networks = sweep(network(arm).double(), rates, samples, steps=41, batch_size=8, seed=3)
    for index, rate in enumerate(rates):
        model = network(arm).double()
        parameters, noise = dict(model.named_parameters()), torch.Generator().manual_seed(3)
        for inputs, targets in batches(samples, 8, 41, 3):
            draw_noise(parameters, noise)
            model.zero_grad()
            functional.cross_entropy(model(inputs), targets).backward()
            with torch.no_grad():
                for name in trained_names(parameters):
                    parameters[name] -= rate * parameters[name].grad
        still_noise(parameters)
        for name, value in networks.weights(index).items():
            # 41 steps in double precision.
            torch.testing.assert_close(value, parameters[name].detach(), rtol=1e-8, atol=1e-10)
        right = (model(samples.inputs).argmax(1) == samples.targets).float().mean().item()
        assert found.accuracies[index] == pytest.approx(right)


def test_steps_are_the_first_at_which_enough_is_right():
    # One sample a class: trained at once where the rate is large, and never where it is 0.
    samples = Samples(10 * torch.eye(6)[:3], torch.arange(3))
    found, _ = sweep(network("plain", depth=0), [0.0, 1.0], samples, steps=10, batch_size=3, seed=0)
    assert found.steps[0] is None
    assert found.steps[1] in (1, 2)
    assert found.best(10) == found.steps[1]


def test_a_sweep_tells_its_best_and_its_largest_stable_rate():
    found = Sweep([None, 40, 30, None], [0.5, 1.0, 0.9, 0.89])
    assert (found.best(100), found.stable([1, 2, 4, 8])) == (30, 4)
    assert Sweep([None], [0.2]).best(100) == 100
    # Where the largest of all still ends well, or none does, there is no largest stable one.
    assert Sweep([5, 5], [1.0, 0.95]).stable([1, 2]) is None
    assert Sweep([5, 5], [0.1, math.nan]).stable([1, 2]) is None


def test_networks_are_looked_at_every_step_and_then_every_twentieth_part():
    looks = list(looked_at(2000))
    assert looks[:20] == list(range(1, 21))
    assert all(1 <= later - now <= max(1, 0.05 * now) for now, later in itertools.pairwise(looks))


def test_accuracy_in_batches_normalises_each_by_itself(samples):
    networks = NetworkBatch([network("batch norm")])
    right = sum((networks(inputs)[0].argmax(1) == targets).sum().item() for inputs, targets in samples.batches(2))
    assert accuracies(networks, samples, 2)[0].item() == pytest.approx(right / 24)


def test_drift_is_that_of_a_known_shift_and_stretch(samples):
    model = network("affine", "sigmoid")
    before = moments(model, samples.inputs)
    assert [mean.shape for mean, _ in before] == [(5,), (5,)]
    with torch.no_grad():
        model.affine1.shift += 2 * before[0][1]
    now = moments(model, samples.inputs)
    assert drift(before[:1], now[:1]) == pytest.approx(2, rel=1e-4)
    with torch.no_grad():
        model.affine2.scale *= 3.0
    later = moments(model, samples.inputs)
    mean = (3 * now[1][0] - now[1][0]).abs() / now[1][1]
    assert drift(now[1:], later[1:]) == pytest.approx((mean + math.log(3)).mean().item(), rel=1e-4)
    assert not model.activation1._forward_pre_hooks


def test_noise_moves_moments_and_a_norm_alone_does_not(samples):
    found = {
        arm: moment_drift(network(arm, "sigmoid"), 0.0, samples, steps=30, batch_size=8, seed=0)
        for arm in ("plain", "batch norm", "noisy")
    }
    assert found["plain"] == found["batch norm"] == 0
    # E|U₁ − U₂| = 1/3 of shifts over a scale of mean inverse 2 ln(5/3) = 1.02, and E|Δ log| = 0.169 of scales; 29
    # steps of 10 units.
    assert found["noisy"] == pytest.approx(1.02 / 3 + 0.169, abs=0.06)


def test_images_are_centred_pixel_by_pixel():
    samples = centred("digits", 100, torch.Generator().manual_seed(0), torch.device("cpu"))
    assert samples.inputs.mean(0).abs().max() < 1e-5
    assert samples.inputs.std().item() == pytest.approx(1, rel=1e-5)
    chosen = torch.randperm(1438, generator=torch.Generator().manual_seed(0))[:100]
    assert torch.equal(samples.targets, load("digits").train.targets[chosen])
    for n in (1, 10**6):
        with pytest.raises(UsageError, match="training images are asked for"):
            centred("digits", n, torch.Generator(), torch.device("cpu"))


def test_a_trial_says_how_soon_and_how_far_its_moments_move():
    found = STUDY.trial(SMALL.replace(network="shallow", arm="plain", width=16, steps=40), Run())
    assert found["best"] == min(each for each in found["reached"] if each)
    assert found["drift"] > 0
    assert len(found["rates"]) == len(found["reached"]) == len(found["accuracies"]) == len(RECIPES["shallow"].powers)
    with pytest.raises(UsageError, match="unknown network"):
        STUDY.trial(SMALL.replace(network="tanh", steps=2), Run())


def test_seeds_that_were_explored_are_never_judged():
    for scale in ("quick", "full"):
        assert set(STUDY.grid(scale).seeds) <= set(range(20, 1000))


def table(seeds=6, without=None, **changes):
    """Return the trials of a study that reproduces, but for the changes, by ``network_arm``."""
    rng, rows = np.random.default_rng(0), []
    best = {
        ("sigmoid", "plain"): 200,
        ("sigmoid", "affine"): 180,
        ("sigmoid", "batch norm"): 30,
        ("sigmoid", "noisy"): 36,
        ("relu", "plain"): 36,
        ("relu", "affine"): 36,
        ("relu", "batch norm"): 14,
        ("relu", "noisy"): 17,
        ("shallow", "plain"): 13,
        ("shallow", "affine"): 13,
        ("shallow", "batch norm"): 10,
        ("pairs", "plain"): 200,
        ("pairs", "batch norm"): 1000,
    }
    for seed in range(20, 20 + seeds):
        for (name, arm), steps in best.items():
            key = f"{name}_{arm.replace(' ', '_')}"
            if key == without:
                continue
            normal = arm in ("batch norm", "noisy")
            rates = RECIPES[name].rates
            numbers = {
                "network": name,
                "arm": arm,
                "seed": seed,
                "best": steps * math.exp(0.05 * rng.standard_normal()),
                "stable": 4.0 if normal else 0.5,
                "accuracy": 0.3 if normal and name == "pairs" else 0.98,
                "drift": {"noisy": 0.5, "batch norm": 0.01}.get(arm, 0.25) * math.exp(0.1 * rng.standard_normal()),
                "rates": rates,
                "reached": [steps] * (len(rates) - 1) + [0],
            }
            rows.append(numbers | changes.get(key, {}))
    return pd.DataFrame(rows)


def verdict(trials):
    return Verdict.of(STUDY.judge(trials), seeds=trials["seed"].nunique()).outcome


def test_what_is_planted_is_reproduced():
    assert verdict(table()) == "reproduced"
    assert [each.control for each in STUDY.judge(table())] == [False] * 5 + [True] * 5


@pytest.mark.parametrize(
    ("changes", "criterion"),
    [
        ({"sigmoid_batch_norm": {"best": 100.0}}, "sigmoid, 3 layers: log of steps to 95 %, plain over batch"),
        ({"relu_batch_norm": {"best": 30.0}}, "ReLU, 6 layers: log of steps to 95 %, plain over batch"),
        ({"relu_batch_norm": {"stable": 1.0}}, "largest stable rate"),
        ({"sigmoid_noisy": {"best": 80.0}}, "with noise behind the norm minus"),
        ({"sigmoid_noisy": {"drift": 0.1}}, "drift of moments"),
        ({"shallow_batch_norm": {"best": 6.0}}, "ReLU, 2 layers: log of steps to 95 %, plain over batch"),
        ({"relu_affine": {"best": 20.0}}, "ReLU, 6 layers: log of steps to 95 %, plain over scale"),
        ({"pairs_batch_norm": {"accuracy": 0.9}}, "batches of 2"),
    ],
)
def test_each_criterion_fails_where_it_should(changes, criterion):
    trials = table(**changes)
    assert verdict(trials) == "not reproduced"
    assert [name for each in STUDY.judge(trials) if each.holds is False for name in [each.name] if criterion in name]


def test_a_norm_that_does_nothing_fails():
    trials = table().assign(best=50.0, stable=0.5, drift=0.2, accuracy=0.98)
    assert verdict(trials) == "not reproduced"
    held = [each for each in STUDY.judge(trials) if each.holds]
    # What holds is that nothing is gained where nothing must be.
    assert all(each.control and "steps to 95 %" in each.name for each in held)


def test_a_stable_rate_that_the_grid_does_not_reach_leaves_it_open():
    assert verdict(table(relu_batch_norm={"stable": None})) == "inconclusive"


@pytest.mark.parametrize("missing", ["sigmoid_noisy", "relu_plain", "shallow_affine", "pairs_plain"])
def test_missing_arms_leave_it_open(missing):
    assert verdict(table(without=missing)) == "inconclusive"


def test_the_figure_names_what_it_shows():
    svg = to_svg(STUDY.draw(table(seeds=3)), "x")
    for name in ("batch norm", "plain", "scale and shift alone", "noise", "learning rate", "drift", "2 hidden layers"):
        assert name in svg
