"""AdamW: its parts against closed forms and naive twins, its criteria against planted fakes."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn
from torch.nn import functional

from deepscope.core import Case, UsageError, Verdict, derive_seed
from deepscope.data import Samples
from deepscope.figures import to_svg
from deepscope.models import MLP
from deepscope.studies.optimisation import _decay_grid
from deepscope.studies.optimisation._decay_grid import DECAYS, RATES, Scores, evaluated, tangent_norm, with_norms_of
from deepscope.studies.optimisation._decay_rates import SCALES, decay_rates, slope
from deepscope.studies.optimisation._decay_training import Recipe, batches, train
from deepscope.studies.optimisation._network_batch import NetworkBatch
from deepscope.studies.optimisation._split_images import split_images
from deepscope.studies.optimisation.adamw import STUDY

SMALL = Case(**STUDY.grid("smoke").cases[0])


class Run:
    device = torch.device("cpu")

    def __init__(self, seed=1000):
        self.seed = seed
        self.generator = torch.Generator().manual_seed(seed)


def network(seed=0):
    torch.manual_seed(seed)
    return MLP(6, [5, 4], 3).double()


@pytest.fixture(scope="module")
def samples():
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(20, 6, dtype=torch.float64, generator=generator)
    return Samples(inputs, torch.randint(3, (20,), generator=generator))


def test_a_batch_of_networks_is_each_of_them(samples):
    models = [network(seed) for seed in range(3)]
    together = NetworkBatch(models)
    losses = together.differentiate(samples.inputs, samples.targets)
    for index, model in enumerate(models):
        loss = functional.cross_entropy(model(samples.inputs), samples.targets)
        loss.backward()
        # Rounding of sums over 20 samples in double precision.
        torch.testing.assert_close(together(samples.inputs)[index], model(samples.inputs), rtol=0, atol=1e-13)
        assert losses[index].item() == pytest.approx(loss.item(), rel=1e-13)
        for view, parameter in zip(together.network(index), model.parameters(), strict=True):
            torch.testing.assert_close(view, parameter.detach(), rtol=0, atol=0)
            torch.testing.assert_close(view.grad, parameter.grad, rtol=0, atol=1e-13)
        assert list(together.weights(index)) == [name for name, _ in model.named_parameters()]
    # Gradients are those of the last batch alone, and one network's views leave the others as they are.
    again = together.network(1)[0].grad.clone()
    together.differentiate(samples.inputs, samples.targets)
    torch.testing.assert_close(together.network(1)[0].grad, again, rtol=0, atol=0)
    together.network(1)[0].zero_()
    assert together.parameters["hidden1.weight"][1].abs().sum() == 0
    assert together.parameters["hidden1.weight"][0].abs().sum() > 0


def test_networks_that_do_not_fit_together_are_refused():
    for models in ([], [nn.Linear(2, 3), nn.Linear(3, 3)], [nn.BatchNorm1d(3)]):
        with pytest.raises(UsageError, match="NetworkBatch"):
            NetworkBatch(models)


def naive(recipe, samples, steps):
    """Train one network by the formulas, step by step."""
    model = network()
    m, v = ([torch.zeros_like(each) for each in model.parameters()] for _ in range(2))
    for step, (inputs, targets) in enumerate(batches(samples, 8, steps, 3)):
        rate = recipe.learning_rate * (1 + math.cos(math.pi * step / steps)) / 2
        model.zero_grad()
        functional.cross_entropy(model(inputs), targets).backward()
        with torch.no_grad():
            for index, weight in enumerate(model.parameters()):
                gradient, before = weight.grad, weight.clone()
                if recipe.method.endswith("l2"):
                    gradient = gradient + recipe.decay * before
                update = gradient
                if recipe.method.startswith("adam"):
                    m[index] = 0.9 * m[index] + 0.1 * gradient
                    v[index] = 0.999 * v[index] + 0.001 * gradient**2
                    hat = m[index] / (1 - 0.9 ** (step + 1)), v[index] / (1 - 0.999 ** (step + 1))
                    update = hat[0] / (hat[1].sqrt() + 1e-8)
                beside = 0.0 if recipe.method.endswith("l2") else rate * recipe.decay
                weight.copy_((1 - beside) * before - rate * update)
    return list(model.parameters())


def test_all_methods_follow_their_formulas(samples):
    recipes = [
        Recipe(method, rate, decay)
        for (method, rate), decay in itertools.product(
            [("sgd-l2", 0.1), ("sgdw", 0.2), ("adam-l2", 0.01), ("adamw", 0.02)], [0.0, 0.3]
        )
    ]
    networks = train(network(), recipes, samples, steps=7, batch_size=8, seed=3)
    for index, recipe in enumerate(recipes):
        # Seven steps of rounding; Adam divides by gradients that are not small.
        for found, wanted in zip(networks.network(index), naive(recipe, samples, 7), strict=True):
            torch.testing.assert_close(found, wanted.detach(), rtol=0, atol=1e-11)
    with pytest.raises(UsageError, match="unknown method"):
        train(network(), [Recipe("adam", 0.1, 0.0)], samples, steps=1, batch_size=8, seed=0)


def test_batches_go_on_from_epoch_to_epoch(samples):
    found = list(batches(samples, 8, 5, 3))
    assert [len(targets) for _, targets in found] == [8, 8, 4, 8, 8]
    assert torch.equal(found[3][0], next(iter(samples.epochs(8, seed=3)(1)))[0])


def rates(method, decay=0.02, steps=300):
    generator = torch.Generator().manual_seed(1000)
    return decay_rates(method, steps=steps, n_weights=200, learning_rate=1e-3, decay=decay, generator=generator)


def test_decay_rates_are_those_of_theory():
    # 300 products of 1 − 2e-5, each rounded to 1e-16, over a logarithm of 0.006.
    np.testing.assert_allclose(rates("adamw"), -math.log1p(-2e-5) / 1e-3, rtol=1e-10)
    coupled = rates("adam-l2")
    # v̂ of t noises is χ²ₜ/t, of which the mean inverse root exceeds 1 by about 3/(4t): 2 % on the average over 300
    # steps; the mean over 100 pairs scatters little.
    np.testing.assert_allclose(coupled * np.array(SCALES) / 0.02, 1.0, atol=0.05)
    assert slope(coupled) == pytest.approx(-1, abs=0.02)
    assert slope(rates("adamw", decay=0.0, steps=5)) is None


def test_layers_made_as_long_as_others_give_a_multiple_of_the_outputs(samples):
    model, other = network(), network(1)
    weights, target = dict(model.named_parameters()), dict(other.named_parameters())
    with torch.no_grad():
        weights["hidden1.bias"] += 0.3
        before = model(samples.inputs)
        scaled = with_norms_of(weights, target)
        for name in ("hidden1.weight", "hidden2.weight", "output.weight"):
            assert scaled[name].norm().item() == pytest.approx(target[name].norm().item(), rel=1e-12)
        model.load_state_dict(scaled)
        ratio = model(samples.inputs) / before
    assert ratio.std() < 1e-10 * ratio.mean().abs()


def test_the_tangent_norm_is_that_of_all_jacobians(samples):
    model = network()
    weights = {name: each.detach() for name, each in model.named_parameters()}
    jacobians = torch.func.jacrev(lambda w: torch.func.functional_call(model, w, (samples.inputs,)))(weights)
    wanted = math.sqrt(sum(each.square().sum().item() for each in jacobians.values()))
    assert tangent_norm(model, weights, samples) == pytest.approx(wanted, rel=1e-6)


def test_scores_are_those_of_each_network(samples):
    models = [network(seed) for seed in range(2)]
    loss, accuracy = evaluated(NetworkBatch(models), samples)
    for index, model in enumerate(models):
        logits = model(samples.inputs)
        assert loss[index] == pytest.approx(functional.cross_entropy(logits, samples.targets).item(), rel=1e-12)
        assert accuracy[index] == (logits.argmax(1) == samples.targets).double().mean().item()


def test_the_least_validation_loss_chooses():
    scores = Scores(np.array([[3.0, 2.0], [2.5, 1.0]]), np.zeros((2, 2)), np.zeros((2, 2)))
    assert scores.chosen() == (1, 1)
    assert scores.chosen(slice(1)) == (1, 0)


def test_the_grid_is_judged_where_validation_chooses():
    found = STUDY.trial(SMALL.replace(part="grid"), Run())
    images = split_images("digits", 20, 20, torch.Generator().manual_seed(1000))
    maps = {method: np.asarray(found[f"{method}_map"]) for method in DECAYS}
    for method, losses in maps.items():
        place = found[f"{method}_rate"], found[f"{method}_decay"]
        assert losses.shape == (len(RATES), len(DECAYS[method]))
        assert losses[place] == losses.min()
        torch.manual_seed(derive_seed(1000, "weights"))
        model = MLP(64, [4, 4], 10)
        recipe = Recipe(method, RATES[place[0]], DECAYS[method][place[1]])
        seed = derive_seed(1000, "batches")
        alone = train(model, [recipe], images.train, steps=4, batch_size=10, seed=seed)
        # Single precision, four steps.
        assert evaluated(alone, images.validation)[0][0] == pytest.approx(losses.min(), rel=1e-5)
        assert evaluated(alone, images.test)[0][0] == pytest.approx(found[f"{method}_loss"], rel=1e-5)
    assert found["none_rate"] == int(np.argmin(maps["adamw"][:, 0]))
    np.testing.assert_array_equal(maps["adamw"][:, 0], maps["adam-l2"][:, 0])


def test_without_decay_chosen_there_is_no_jacobian_to_compare(monkeypatch):
    monkeypatch.setattr(_decay_grid, "DECAYS", {"adam-l2": (0.0,), "adamw": (0.0,)})
    found = STUDY.trial(SMALL.replace(part="grid"), Run())
    assert (found["jacobian"], found["jacobian_rescaled"]) == (None, None)


def test_images_are_drawn_without_overlap_and_refused_where_there_are_too_few():
    images = split_images("digits", 300, 500, torch.Generator().manual_seed(0))
    rows = torch.cat([part.inputs.flatten(1) for part in (images.train, images.validation, images.test)])
    # The dataset holds no image twice.
    assert len(rows) == len(rows.unique(dim=0)) == 1797
    for n_train, n_validation in ((0, 10), (10, 0), (1000, 797)):
        with pytest.raises(UsageError, match="images are asked for"):
            split_images("digits", n_train, n_validation, torch.Generator())


def test_an_unknown_part_is_refused():
    with pytest.raises(UsageError, match="unknown part"):
        STUDY.trial(SMALL.replace(part="path"), Run())


def test_seeds_that_were_explored_are_never_judged():
    for scale in ("quick", "full"):
        assert set(STUDY.grid(scale).seeds) <= set(range(20, 1000))


def table(seeds=8, without=None, **changes):
    """Return the trials of a study that reproduces, but for the changes."""
    rng, rows = np.random.default_rng(0), []
    for seed in range(20, 20 + seeds):
        noise = 0.01 * rng.standard_normal(3)
        parts = {
            "paths": {"sgd": 1e-15, "sgd_decay": 0.3, "sgd_none": 0.0, "adam_none": 0.0, "adam": 0.5},
            "rates": {
                "scales": list(SCALES),
                "adam-l2_slope": -1 + noise[0],
                "adamw_slope": 1e-4 * noise[1],
                "adam-l2_rates": 1 / np.array(SCALES),
                "adamw_rates": np.ones(len(SCALES)),
            },
            "grid": {
                "none_loss": 0.3 + noise[0],
                "adam-l2_loss": 0.22 + noise[1],
                "adamw_loss": 0.19 + noise[2],
                "adam-l2_map": np.full((len(RATES), 7), 0.3),
                "adamw_map": np.full((len(RATES), 7), 0.3),
                "jacobian": -0.3 + noise[0],
            },
        }
        rows += [
            {"part": part, "seed": seed, **numbers, **{k: v for k, v in changes.items() if k in numbers}}
            for part, numbers in parts.items()
            if part != without
        ]
    return pd.DataFrame(rows)


def verdict(trials):
    return Verdict.of(STUDY.judge(trials), seeds=trials["seed"].nunique()).outcome


def test_what_is_planted_is_reproduced():
    assert verdict(table()) == "reproduced"
    assert [each.control for each in STUDY.judge(table())] == [False] * 6 + [True] * 5


@pytest.mark.parametrize(
    ("change", "criterion"),
    [
        ({"sgd": 1e-9}, "L2 against decoupled decay"),
        ({"sgd_decay": 1e-3}, "decoupled decay against none"),
        # An optimiser that treats all groups alike.
        ({"adam-l2_slope": 0.0}, "Adam with L2 under noise"),
        ({"adamw_slope": -1.0}, "AdamW under noise"),
        ({"adam-l2_loss": 0.15}, "Adam with L2 minus AdamW"),
        ({"jacobian": 0.1}, "∂f/∂θ"),
        ({"sgd_none": 1e-16}, "no decay, gradient descent"),
        ({"adam_none": 1e-16}, "no decay, Adam"),
        ({"adam": 1e-3}, "20 coupled decays"),
        ({"none_loss": 0.2}, "no decay minus Adam with L2"),
    ],
)
def test_each_criterion_fails_where_it_should(change, criterion):
    trials = table(**change)
    assert verdict(trials) == "not reproduced"
    failed = [each.name for each in STUDY.judge(trials) if each.holds is False]
    assert any(criterion in name for name in failed), failed


def test_networks_without_decay_decide_nothing_in_their_favour():
    same = {"sgd": 0.0, "sgd_decay": 0.0, "adam": 0.0, "jacobian": None, "adam-l2_slope": None, "adamw_slope": None}
    trials = table(**same, **{f"{arm}_loss": 0.3 for arm in ("none", "adam-l2", "adamw")})
    assert verdict(trials) == "not reproduced"
    held = {each.name for each in STUDY.judge(trials) if each.holds}
    assert all("distance" in name for name in held)
    assert len(held) == 3


@pytest.mark.parametrize("missing", ["paths", "rates", "grid"])
def test_missing_parts_leave_it_open(missing):
    assert verdict(table(without=missing)) == "inconclusive"


def test_the_figure_names_what_it_shows():
    svg = to_svg(STUDY.draw(table()), "x")
    for name in ("Adam with L2", "AdamW", "no decay", "decay rate over λ", "learning rate", "nats"):
        assert name in svg
