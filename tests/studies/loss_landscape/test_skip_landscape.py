"""Slices around deep networks: curvature against the dense Hessian, a trial against a loop, planted fakes."""

from __future__ import annotations

import math
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn
from torch.func import functional_call
from torch.nn import functional

from deepscope.core import Case, UsageError, Verdict, derive_seed
from deepscope.data import Samples, load
from deepscope.figures import to_svg
from deepscope.instruments import curvature, landscape
from deepscope.instruments._filter_norms import filter_norms
from deepscope.studies.loss_landscape import _random_planes, _skip_trials
from deepscope.studies.loss_landscape._random_planes import (
    hessian_ends,
    losses_on_plane,
    moved,
    non_convexities,
    non_convexity,
    random_plane,
)
from deepscope.studies.loss_landscape._skip_cases import DEEP, SHALLOW, conditions, networks, picked
from deepscope.studies.loss_landscape._skip_networks import TwoLayers, deep_network, rescaled
from deepscope.studies.loss_landscape._skip_trials import split
from deepscope.studies.loss_landscape._slice_measures import bumpy_lines, roughness
from deepscope.studies.loss_landscape.skip_landscape import STUDY
from deepscope.subject import Subject, seeded_generators


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def network(depth=6, width=8, *, skip=True, seed=0):
    return deep_network(64, depth, width, 10, skip=skip, generator=generator(seed))


def samples(n=40, seed=0):
    return split(load("digits"), n, generator(seed))[0]


def standard_deviations(model):
    return [layer.weight.std().item() for layer in model.modules() if isinstance(layer, nn.Linear)]


@pytest.mark.parametrize("skip", [False, True])
def test_a_network_computes_its_formula(skip):
    model, x = network(8, skip=skip).double(), torch.randn(5, 1, 8, 8, generator=generator(1), dtype=torch.float64)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator(2), dtype=torch.float64))
    w = dict(model.named_parameters())
    h = (x.flatten(1) @ w["1.weight"].T + w["1.bias"]).clamp(min=0)
    for pair in (3, 4, 5):
        inner = (h @ w[f"{pair}.first.weight"].T + w[f"{pair}.first.bias"]).clamp(min=0)
        branch = inner @ w[f"{pair}.second.weight"].T + w[f"{pair}.second.bias"]
        h = (h + branch / math.sqrt(3) if skip else branch).clamp(min=0)
    torch.testing.assert_close(model(x), h @ w["6.weight"].T + w["6.bias"])


def test_both_kinds_start_from_the_same_weights_of_the_stated_variance():
    plain, residual = (network(DEEP, 64, skip=skip) for skip in (False, True))
    assert all(torch.equal(a, b) for a, b in zip(plain.parameters(), residual.parameters(), strict=True))
    first, *others, last = standard_deviations(plain)
    assert (len(others), plain[3].scale, residual[3].scale) == (32, None, 0.25)
    # The relative error of a standard deviation of n entries is 1/√(2n): 1.1 % at 4,096, 2.8 % at 640; four of them.
    assert first == pytest.approx(1 / 8, rel=0.045)
    assert last == pytest.approx((2 / 64) ** 0.5, rel=0.12)
    assert others == pytest.approx([(2 / 64) ** 0.5] * 32, rel=0.045)
    assert not any(value.any() for name, value in plain.named_parameters() if name.endswith("bias"))


@pytest.mark.parametrize("depth", [2, 5, 0])
def test_a_depth_that_does_not_come_in_pairs_is_refused(depth):
    with pytest.raises(UsageError, match="even number from 4"):
        network(depth)


@pytest.mark.parametrize("skip", [False, True])
def test_a_rescaled_copy_is_the_same_function_elsewhere(skip):
    model, x = network(DEEP, skip=skip).double(), samples(9).inputs.double()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator(2), dtype=torch.float64))
    before = [parameter.clone() for parameter in model.parameters()]
    other = rescaled(model, generator(3))
    # 34 layers of sums of 8 terms, in float64.
    torch.testing.assert_close(other(x), model(x), rtol=1e-11, atol=1e-11)
    assert all(torch.equal(*both) for both in zip(before, model.parameters(), strict=True))
    pairs = [(one, two) for one, two in zip(model, other, strict=True) if isinstance(one, TwoLayers)]
    factors = [(two.first.weight / one.first.weight).mean().item() for one, two in pairs]
    back = [(one.second.weight / two.second.weight).mean().item() for one, two in pairs]
    assert factors == pytest.approx(back)
    assert len(set(factors)) == 16
    assert all(0.25 <= factor <= 0.5 or 2 <= factor <= 4 for factor in factors)
    assert min(factors) < 1 < max(factors)


def test_directions_are_as_long_as_the_networks_own_filters_and_biases_stay():
    model = network()
    (one, two), (raw, _) = random_plane(model, 5), random_plane(model, 5, by_filter=False)
    weights = {name: value for name, value in model.named_parameters() if name.endswith("weight")}
    assert set(one) == set(two) == set(raw) == set(weights)
    for name, value in weights.items():
        torch.testing.assert_close(filter_norms(one[name]), filter_norms(value.detach()), rtol=1e-6, atol=0)
        # The same draw, row by row.
        cosine = functional.cosine_similarity(one[name], raw[name], dim=1)
        torch.testing.assert_close(cosine, torch.ones(len(value)), rtol=1e-6, atol=0)
        assert not torch.allclose(one[name], two[name])
    entries = torch.cat([value.flatten() for value in raw.values()])
    # 848 standard Gaussian entries: four standard errors.
    assert entries.mean().abs() < 4 / len(entries) ** 0.5
    assert entries.std().item() == pytest.approx(1, abs=4 / (2 * len(entries)) ** 0.5)


def test_the_instrument_sees_the_same_slice():
    model, data = network(), samples()
    directions = random_plane(model, 1)
    subject = Subject(model, data.batches(40), functional.cross_entropy)
    seen = landscape(subject, directions=directions, points=5, max_samples=None).losses
    # float32 sums of some tens of terms through six layers.
    np.testing.assert_allclose(losses_on_plane(model, directions, data, 5, 1.0), seen, rtol=1e-5)
    assert seen[2, 2] == pytest.approx(functional.cross_entropy(model(data.inputs), data.targets).item(), rel=1e-6)
    first = functional_call(model, moved(model, directions, (1.0, -0.5)), (data.inputs,))
    assert seen[4, 1] == pytest.approx(functional.cross_entropy(first, data.targets).item(), rel=1e-5)


@pytest.mark.parametrize("skip", [False, True])
def test_the_ends_of_the_spectrum_are_those_of_the_dense_hessian(skip):
    model, data = network(4, 4, skip=skip).double(), samples(12)
    data = Samples(data.inputs.double(), data.targets)
    weights = moved(model, random_plane(model, 2), (0.4, -0.3))
    names, sizes = list(weights), [value.numel() for value in weights.values()]

    def loss(vector):
        parts = vector.split(sizes)
        tensors = {n: p.view_as(weights[n]) for n, p in zip(names, parts, strict=True)}
        return functional.cross_entropy(functional_call(model, tensors, (data.inputs,)), data.targets)

    point = torch.cat([value.detach().flatten() for value in weights.values()])
    values = torch.linalg.eigvalsh(torch.autograd.functional.hessian(loss, point))
    found = hessian_ends(model, weights, data, 0)
    # The tolerance of both ends, where the smaller is above a twentieth of the larger.
    assert values[0] < -0.05 * values[-1]
    assert found.largest.values[0] == pytest.approx(values[-1].item(), rel=0.02)
    assert found.smallest.values[0] == pytest.approx(values[0].item(), rel=0.02)
    assert non_convexity(found) == pytest.approx((-values[0] / values[-1]).item(), rel=0.04)


def test_the_curvature_instrument_finds_the_same_at_a_point_of_the_plane():
    model, data = network(DEEP, 16), samples(60)
    directions = random_plane(model, 3)
    ratios = non_convexities(model, directions, data, 2, 0.5, 0)
    with torch.no_grad():
        for name, value in moved(model, directions, (0.5, -0.5)).items():
            model.get_parameter(name).copy_(value)
    subject = Subject(model, data.batches(60), functional.cross_entropy)
    seen = curvature(subject, top=1, density=False, per_layer=False, sharp=False, tolerance=1e-3)
    assert seen.converged
    assert seen.lowest[0] < 0
    assert ratios[1, 0] == pytest.approx(-seen.lowest[0] / seen.eigenvalues[0], rel=0.04)
    assert ratios.shape == (2, 2)
    assert (ratios > 0).all()


def test_a_convex_loss_has_no_negative_curvature():
    model, data = nn.Sequential(nn.Flatten(), nn.Linear(64, 10)), samples()
    nn.init.normal_(model[1].weight, generator=generator())
    ratios = non_convexities(model, random_plane(model, 0), data, 2, 0.5, 0)
    # Semidefinite: what is left of λ_min is rounding, and the tolerance's share of a twentieth.
    assert (ratios <= 1e-3).all()


def test_what_has_not_been_found_is_no_number(monkeypatch):
    model, data = network(), samples()
    assert non_convexities(model, random_plane(model, 0), data, 2, 0.5, 0) is not None
    monkeypatch.setattr(_random_planes, "MAX_BASIS", 4)
    assert hessian_ends(model, moved(model, (), ()), data, 0).status != "ok"
    assert non_convexities(model, random_plane(model, 0), data, 2, 0.5, 0) is None


X, Y = np.meshgrid(np.linspace(-1, 1, 31), np.linspace(-1, 1, 31), indexing="ij")


def test_roughness_of_a_log_quadratic_is_known():
    # The second difference of c x² with a step of 1/15 is 2 c / 225 everywhere; along y none is planted.
    assert roughness(np.exp(3 * X**2)) == pytest.approx((6 / 225) ** 2 / 2, rel=1e-9)
    # Four times the steepness, sixteen times the roughness; and no bump.
    assert roughness(np.exp(12 * X**2)) == pytest.approx(8 * (6 / 225) ** 2, rel=1e-9)
    assert roughness(5 * np.exp(3 * X**2 + X - Y)) == pytest.approx((6 / 225) ** 2 / 2, rel=1e-6)


@pytest.mark.parametrize("steepness", [0.1, 1.0, 100.0, 600.0])
def test_a_bowl_has_no_bump_however_steep(steepness):
    bowl = 0.05 + steepness * (X**2 + (Y - 0.3 * X) ** 2)
    assert bumpy_lines(bowl) == bumpy_lines(bowl**8) == bumpy_lines(np.log1p(bowl)) == bumpy_lines(np.exp(X + Y)) == 0


def test_noise_has_bumps_on_nearly_all_lines_and_a_ridge_on_those_that_cross_it():
    assert bumpy_lines(np.exp(np.random.default_rng(0).standard_normal((31, 31)))) > 0.99
    # A ridge along y at x = 0.2 is crossed by the lines along x alone.
    ridge = 1 + X**2 + np.exp(-(((X - 0.2) / 0.1) ** 2))
    assert bumpy_lines(ridge) == 0.5
    assert bumpy_lines(1 + 0.009 * (np.abs(X) < 0.05)) == 0
    assert bumpy_lines(1 + 0.011 * (np.abs(X) < 0.05)) == 0.5


def test_bumps_are_those_of_a_twin_that_tries_all_triples():
    rng = np.random.default_rng(1)
    for _ in range(20):
        grid = 1 + 0.004 * rng.standard_normal((5, 5)) + 0.05 * np.arange(5) * rng.standard_normal()
        lines = [*grid, *grid.T]
        wanted = [
            any(c[j] > 1.01 * max(c[i], c[k]) for i in range(5) for j in range(i + 1, 5) for k in range(j + 1, 5))
            for c in lines
        ]
        assert bumpy_lines(grid) == pytest.approx(np.mean(wanted))


@pytest.mark.parametrize("bad", [math.nan, math.inf, 0.0, -1.0])
def test_of_a_loss_without_a_logarithm_nothing_is_read(bad):
    grid = np.ones((3, 3))
    grid[1, 2] = bad
    assert roughness(grid) is None
    assert bumpy_lines(grid) is None


class Run:
    """What a trial is handed, as the lab does it."""

    device = torch.device("cpu")

    def __init__(self, seed=1000):
        self.seed, self.said = seed, []
        self.folder = tempfile.TemporaryDirectory()

    @property
    def checkpoint(self):
        return Path(self.folder.name) / "checkpoint.pt"

    @property
    def generator(self):
        return generator(derive_seed(self.seed, "trial"))

    def progress(self, done):
        self.done = done

    def log(self, message):
        self.said.append(message)


SMALL = Case(**STUDY.defaults).replace(
    n_train=60, n_curved=20, batch_size=16, epochs=3, width=8, points=3, map_points=2, compared_points=3, depth=6
)


def run_trial(run=None, **changed):
    run = run or Run()
    with seeded_generators(derive_seed(run.seed, "trial")):
        return STUDY.trial(SMALL.replace(**{"skip": True, **changed}), run)


@pytest.mark.parametrize("skip", [False, True])
def test_a_trial_equals_a_loop_written_out(skip):
    found = run_trial(skip=skip, clip=0.5)
    drawn = Run().generator
    train, test = split(load("digits"), 60, drawn)
    model = deep_network(64, 6, 8, 10, skip=skip, generator=drawn)
    order, step = train.epochs(16, seed=derive_seed(1000, "batches")), 0
    first, second = ([torch.zeros_like(each) for each in model.parameters()] for _ in range(2))
    for epoch in range(3):
        for x, y in order(epoch):
            gradients = torch.autograd.grad(functional.cross_entropy(model(x), y), list(model.parameters()))
            length = torch.cat([each.flatten() for each in gradients]).norm()
            step += 1
            with torch.no_grad():
                for weight, gradient, m, v in zip(model.parameters(), gradients, first, second, strict=True):
                    gradient = gradient * min(1.0, 0.5 / length.item())
                    m.mul_(0.9).add_(0.1 * gradient)
                    v.mul_(0.999).add_(0.001 * gradient**2)
                    scale = (v / (1 - 0.999**step)).sqrt() + 1e-8
                    weight.sub_(1e-3 * m / (1 - 0.9**step) / scale)
    # Float32 rounding, grown over 12 steps.
    close = {"rtol": 1e-3, "atol": 1e-5}
    with torch.no_grad():
        loss = functional.cross_entropy(model(train.inputs), train.targets).item()
        error = (model(test.inputs).argmax(1) != test.targets).double().mean().item()
    assert (found["loss"], found["test_error"]) == (pytest.approx(loss, rel=1e-4), pytest.approx(error))
    directions = random_plane(model, derive_seed(1000, "plane"))
    np.testing.assert_allclose(found["losses"], losses_on_plane(model, directions, train, 3, 1.0), **close)
    few = Samples(train.inputs[:20], train.targets[:20])
    places = [(a, b) for a in (-0.5, 0.5) for b in (-0.5, 0.5)]
    wanted = [non_convexity(hessian_ends(model, moved(model, directions, place), few, 3)) for place in places]
    # Another start of Lanczos, each within its tolerance: 2 % of either end, or of a twentieth of the larger.
    np.testing.assert_allclose(found["curvatures"].ravel(), wanted, rtol=0.05, atol=2e-3)
    assert found["non_convexity"] == found["curvatures"].mean()
    assert (found["roughness"], found["bumpy_lines"]) == (roughness(found["losses"]), bumpy_lines(found["losses"]))
    assert found["steps"] == 12


def test_training_ends_where_the_loss_is_low_enough():
    found = run_trial(epochs=400, target_loss=0.5, learning_rate=3e-3)
    assert 0.3 < found["loss"] <= 0.5
    assert 0 < found["steps"] < 400
    assert found["steps"] % 4 == 0


def test_a_run_that_is_taken_up_at_its_end_goes_no_further():
    run = Run()
    first = run_trial(run, epochs=400, target_loss=0.5, learning_rate=3e-3)
    assert run.checkpoint.exists()
    again = run_trial(run, epochs=400, target_loss=0.5, learning_rate=3e-3)
    assert (again["steps"], again["loss"]) == (first["steps"], first["loss"])


def test_a_network_without_epochs_is_as_it_starts():
    found = run_trial(epochs=0)
    assert (found["steps"], set(found) & {"losses", "roughness", "filtered_change"}) == (0, set())
    assert found["loss"] > 1.5
    assert found["non_convexity"] > 0


def test_filter_normalised_slices_do_not_see_rescaling_and_others_do():
    for skip in (False, True):
        found = run_trial(depth=DEEP, skip=skip)
        # Rounding in float64, and far above it: networks as narrow and as little trained as these differ little.
        assert found["filtered_change"] < 1e-10
        assert found["gaussian_change"] > 1e-3


def test_a_copy_whose_function_differs_is_seen(monkeypatch):
    def other(model, drawn):
        copy = rescaled(model, drawn)
        with torch.no_grad():
            copy[3].second.bias.add_(0.1)
        return copy

    monkeypatch.setattr(_skip_trials, "rescaled", other)
    assert run_trial()["filtered_change"] > 1e-4


def test_a_missing_eigenvalue_leaves_no_mean_and_is_said(monkeypatch):
    monkeypatch.setattr(_random_planes, "MAX_BASIS", 4)
    run = Run()
    found = run_trial(run, epochs=0)
    assert found["curvatures"] is found["non_convexity"] is None
    assert run.said == ["an eigenvalue was not found: no mean of them is given"]


def test_training_images_and_the_rest_share_nothing_and_one_scale():
    data = load("digits")
    train, test = split(data, 300, generator())
    assert (len(train), len(test)) == (300, 1497)
    assert train.inputs.mean().item() == pytest.approx(0, abs=1e-5)
    assert train.inputs.std(correction=0).item() == pytest.approx(1, abs=1e-5)
    together = torch.cat([train.inputs, test.inputs]).flatten(1)
    everything = torch.cat([data.train.inputs, data.test.inputs]).flatten(1)
    # One affine map of all pixels: the same multiset of images, none twice.
    scaled = (together - together.min()) / (together.max() - together.min())
    assert sorted(map(tuple, (16 * scaled).round().int().tolist())) == sorted(
        map(tuple, (16 * everything).round().int().tolist())
    )


@pytest.mark.parametrize("n_train", [0, 1797])
def test_there_must_be_images_on_either_side(n_train):
    with pytest.raises(UsageError, match="training images are asked for"):
        run_trial(n_train=n_train)


def test_every_condition_is_run_at_every_scale():
    wanted = {(depth, skip, True) for depth in (SHALLOW, DEEP) for skip in (False, True)}
    wanted |= {(DEEP, skip, False) for skip in (False, True)}
    for scale in STUDY.scales:
        cases = STUDY.grid(scale).cases
        assert wanted <= {(case.depth, case.skip, case.epochs > 0) for case in cases}
        assert all(case.depth > DEEP or case.depth in (SHALLOW, 16, DEEP) for case in cases)
    assert len(STUDY.grid("quick").cases) == 6
    assert min(STUDY.grid("quick").seeds) == 20


BOWL = 0.05 + 3 * (X**2 + Y**2)


def table(seeds=8, without=None, **changes):
    """Return the trials of a study that reproduces, but for the changes: by ``depth_arm`` or ``untrained_arm``."""
    rng, rows = np.random.default_rng(0), []
    planted = {
        (34, False, True): {"non_convexity": 0.35, "roughness": 0.1, "bumpy_lines": 0.4, "loss": 0.04},
        (34, True, True): {"non_convexity": 0.1, "roughness": 0.01, "bumpy_lines": 0.1, "loss": 0.04},
        (4, False, True): {"non_convexity": 0.08, "roughness": 0.003, "bumpy_lines": 0.0, "loss": 0.04},
        (4, True, True): {"non_convexity": 0.08, "roughness": 0.003, "bumpy_lines": 0.0, "loss": 0.04},
        (34, False, False): {"non_convexity": 0.3, "loss": 2.4},
        (34, True, False): {"non_convexity": 0.2, "loss": 2.5},
    }
    more = {"losses": BOWL, "filtered_change": 1e-14, "gaussian_change": 1.0, "test_error": 0.1}
    for seed in range(seeds):
        for (depth, skip, trained), numbers in planted.items():
            key = f"{depth if trained else 'untrained'}_{'with' if skip else 'without'}"
            if key == without:
                continue
            scattered = {
                name: value if name == "loss" else value * math.exp(0.05 * rng.standard_normal())
                for name, value in numbers.items()
            }
            rows.append(
                {**STUDY.defaults, "depth": depth, "skip": skip, "epochs": 500 * trained, "seed": seed}
                | scattered
                | (more if trained else {"test_error": 0.9})
                | changes.get(key, {})
            )
    return pd.DataFrame(rows)


def verdict(trials):
    criteria = STUDY.judge(trials)
    return Verdict.of(criteria, seeds=trials["seed"].nunique()).outcome


def wrong(trials):
    """Return the beginnings of the names of the criteria that do not hold."""
    return [criterion.name.split(" without")[0] for criterion in STUDY.judge(trials) if not criterion.holds]


CURVED = "34 layers: log ratio of |min(λ_min, 0)|/λ_max"
ROUGH = "34 layers: log ratio of roughness"
BUMPS = "34 layers: share of the slice's lines with a bump,"
TRAINING = "34 layers: log ratio of |min(λ_min, 0)|/λ_max, trained minus untrained networks"


def test_what_is_planted_is_reproduced():
    criteria = STUDY.judge(table())
    assert verdict(table()) == "reproduced"
    assert [criterion.control for criterion in criteria] == [False] * 4 + [True] * 5


def test_networks_that_do_not_differ_fail():
    same = {"non_convexity": 0.1, "roughness": 0.01, "bumpy_lines": 0.1}
    trials = table(**{"34_without": same, "34_with": same})
    assert verdict(trials) == "not reproduced"
    assert wrong(trials) == [CURVED, ROUGH, BUMPS, TRAINING]


def test_a_steep_smooth_bowl_is_rough_and_is_caught():
    steep = {"roughness": roughness(np.exp(17 * np.log1p(X**2 + Y**2))), "bumpy_lines": 0.0}
    flat = {"roughness": roughness(1 + X**2 + Y**2), "bumpy_lines": 0.0}
    trials = table(**{"34_without": steep, "34_with": flat})
    assert wrong(trials) == [BUMPS]
    assert verdict(trials) == "inconclusive"


def test_bumps_must_be_on_more_than_twice_as_many_lines():
    trials = table(**{"34_with": {"bumpy_lines": 0.25}})
    assert (verdict(trials), wrong(trials)) == ("not reproduced", [BUMPS])


@pytest.mark.parametrize(("column", "name"), [("non_convexity", CURVED), ("roughness", ROUGH)])
def test_less_than_twice_is_not_enough(column, name):
    numbers = {"non_convexity": 0.19, "roughness": 0.019}
    trials = table(**{"34_without": {column: numbers[column]}, "34_with": {"non_convexity": 0.1, "roughness": 0.01}})
    assert verdict(trials) == "not reproduced"
    assert name in wrong(trials)


@pytest.mark.parametrize("key", ["34_without", "34_with", "4_without", "4_with"])
def test_a_network_that_is_not_trained_fails(key):
    trials = table(**{key: {"loss": 2.3}})
    assert verdict(trials) == "not reproduced"
    assert wrong(trials) == ["training loss over the one that is to be reached, largest of all trained networks"]


def test_a_ratio_that_is_there_without_training_fails():
    trials = table(untrained_without={"non_convexity": 0.9}, untrained_with={"non_convexity": 0.2})
    assert (verdict(trials), wrong(trials)) == ("not reproduced", [TRAINING])


@pytest.mark.parametrize("column", ["non_convexity", "roughness"])
@pytest.mark.parametrize("factor", [0.5, 2.0])
def test_shallow_networks_that_differ_fail(column, factor):
    trials = table(**{"4_without": {column: 0.1 * factor}, "4_with": {column: 0.1}})
    assert verdict(trials) == "not reproduced"
    assert [name[:8] for name in wrong(trials)] == ["4 layers"]


def test_a_picture_that_rescaling_changes_fails_and_one_that_never_changes_too():
    for changes in ({"filtered_change": 0.01}, {"gaussian_change": 0.01}):
        trials = table(**{"34_with": changes})
        assert verdict(trials) == "not reproduced"
        assert [name.split(":")[0] for name in wrong(trials)] == ["rescaled copies"]


@pytest.mark.parametrize("column", ["non_convexity", "roughness", "bumpy_lines", "filtered_change", "loss"])
def test_a_missing_number_leaves_it_open(column):
    trials = table()
    trials.at[0, column] = None
    assert verdict(trials) == "inconclusive"


@pytest.mark.parametrize("missing", ["34_without", "34_with", "4_without", "4_with", "untrained_with"])
def test_missing_conditions_leave_it_open(missing):
    assert verdict(table(without=missing)) == "inconclusive"


def test_networks_are_told_apart():
    trials = table(seeds=1)
    assert (len(picked(trials, trained=True)), len(picked(trials, trained=False))) == (4, 2)
    assert picked(pd.DataFrame({"seed": []}), trained=True).empty
    assert networks(trials) == [("34 layers", 34, True), ("34, untrained", 34, False), ("4 layers", 4, True)]
    assert networks(pd.concat([trials, trials.assign(depth=56)]))[0] == ("56 layers", 56, True)
    assert conditions([3, 4], width=8, epochs=2).seeds == (3, 4)


def test_the_figure_names_what_it_shows():
    svg = to_svg(STUDY.draw(table()), "x")
    for name in (
        "34 layers without skip",
        "with skip connections",
        "34, untrained",
        "4 layers",
        "Test error",
        "curvature",
    ):
        assert name in svg
    for trials in (pd.DataFrame({"seed": []}), table(seeds=1).iloc[:1], table(seeds=1, without="34_with")):
        assert STUDY.draw(trials).axes
