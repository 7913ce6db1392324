"""The edge of chaos: signals against a unit-by-unit twin, fits of known decays, the criteria against planted fakes."""

from __future__ import annotations

import itertools
import math
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from deepscope.core import Case, UsageError, Verdict
from deepscope.data import load
from deepscope.figures import to_svg
from deepscope.studies.wide_networks import _deep_training, _signal_propagation
from deepscope.studies.wide_networks._edge_cases import (
    SIGNALS,
    TRAINED,
    away_from_the_edge,
    bounded,
    theory,
    trainable_depth,
)
from deepscope.studies.wide_networks._edge_criteria import accuracy_table, signal_controls, signal_criteria
from deepscope.studies.wide_networks._signal_propagation import decay_depth, propagate
from deepscope.studies.wide_networks.edge_of_chaos import STUDY, draw, judge, trial

SMALL = {"width": 100, "networks": 6, "inputs": 16}
DEPTHS = (10, 20, 30, 40, 60, 80)


def run(seed=1000):
    generator = torch.Generator().manual_seed(seed)
    return SimpleNamespace(seed=seed, device=torch.device("cpu"), generator=generator, log=lambda message: None)


def case(part="signal", **fields):
    return Case(**{**STUDY.defaults, "part": part, "weight_variance": 2.5, "width": 100, **fields})


def test_signals_are_those_of_a_network_computed_unit_by_unit():
    chosen = case(width=7, networks=2, inputs=3, depth=4)
    variances, distances, growths = propagate(chosen, torch.Generator().manual_seed(3), torch.device("cpu"))
    generator = torch.Generator().manual_seed(3)

    def normal(*shape):
        return torch.randn(2, *shape, generator=generator).double()

    parts = []
    for start in (0.0, 0.5):
        common, own = normal(7, 1), normal(7, 3)
        parts.append(math.sqrt(start) * common + math.sqrt(1 - start) * own)
    h, perturbation = torch.cat(parts, dim=2), normal(7, 1)[:, :, 0]
    for layer in range(5):
        for network in range(2):
            columns = h[network].T
            assert variances[layer, network] == pytest.approx((columns**2).mean().item(), rel=1e-5)
            for index, members in enumerate((range(3), range(3, 6))):
                cosines = [
                    torch.cosine_similarity(columns[a], columns[b], dim=0).item()
                    for a, b in itertools.combinations(members, 2)
                ]
                # Float32 against float64; 1 − c is of order 1 here.
                assert distances[layer, index, network] == pytest.approx(1 - np.mean(cosines), abs=1e-5)
        if layer == 4:
            break
        weights, biases = math.sqrt(2.5 / 7) * normal(7, 7), math.sqrt(0.05) * normal(7, 1)
        for network in range(2):

            def following(column, network=network, weights=weights, biases=biases):
                return weights[network] @ torch.tanh(column) + biases[network, :, 0]

            moved = torch.autograd.functional.jacobian(following, h[network, :, 0]) @ perturbation[network]
            growth = (moved.square().sum() / perturbation[network].square().sum()).item()
            assert growths[layer, network] == pytest.approx(growth, rel=1e-4)
            perturbation[network] = moved
        h = weights @ torch.tanh(h) + biases


def test_a_trial_summarises_the_settled_layers():
    chosen = case(**SMALL, depth=30)
    found = trial(chosen, run())
    variances, distances, growths = propagate(chosen, run().generator, torch.device("cpu"))
    np.testing.assert_allclose(found["variances"], variances[11:].mean(axis=0))
    assert found["growth"] == pytest.approx(growths[10:].mean())
    assert found["correlation"] == pytest.approx(1 - distances[21:].mean())
    np.testing.assert_allclose(found["apart"], 1 - distances[:, 0].mean(axis=1))
    np.testing.assert_allclose(found["alike"], 1 - distances[:, 1].mean(axis=1))
    # Inputs of correlation 0 and ½: 6 networks of 16 inputs of 100 units.
    assert found["apart"][0] == pytest.approx(0, abs=0.02)
    assert found["alike"][0] == pytest.approx(0.5, abs=0.1)


def test_a_decay_is_fitted_where_it_is_exponential_and_above_the_noise():
    layers = np.arange(50.0)
    decay = 0.6 * np.exp(-layers / 6)
    error = np.full(50, 0.002)
    assert decay_depth(decay, error) == pytest.approx(6, rel=1e-9)
    # Above 0.3, below 3 standard errors and below 1e-6 anything may stand.
    disturbed = decay.copy()
    disturbed[decay >= 0.3] = 0.9
    disturbed[decay < 0.006] = -0.01
    assert decay_depth(disturbed, error) == pytest.approx(6, rel=1e-9)
    tiny = np.where(decay < 1e-6, 1e-7, decay)
    assert decay_depth(tiny, 0.01 * decay) == pytest.approx(6, rel=1e-9)
    # Points weigh by their relative precision: the last, with a large error, hardly counts.
    bent, errors = np.array([0.2, 0.1, 0.05, 0.05]), np.array([1e-5, 1e-5, 1e-5, 0.016])
    assert decay_depth(bent, errors) == pytest.approx(1 / math.log(2), rel=1e-3)


@pytest.mark.parametrize(
    "difference",
    [
        np.full(20, 0.5),
        np.full(20, 0.2),
        np.linspace(0.1, 0.29, 20),
        np.array([0.5, 0.4, 0.2, 0.1, 0.0, 0.0]),
        np.full(20, math.nan),
    ],
    ids=["never below 0.3", "constant", "rising", "two layers", "missing"],
)
def test_what_does_not_decay_has_no_depth(difference):
    found = decay_depth(difference, np.full(len(difference), 0.01))
    # A constant's slope is a rounding error of 1e-17 a layer.
    assert found is None or found > 1e10


@pytest.mark.parametrize("weight_variance", [1.0, 4.0])
def test_differences_fall_as_theory_says(weight_variance):
    """The theory's own curves, as exact measurements: within 6 %, which leaves 9 of the tolerance to chance."""
    found = theory(weight_variance)
    curves = [found.correlations(start, 60) for start in (0.5, 0.0)]
    difference = curves[0] - curves[1]
    fitted = decay_depth(difference, np.maximum(0.05 * difference, 0.003))
    assert fitted == pytest.approx(found.correlation_depth, rel=0.06)


def test_where_theory_is_judged():
    chi1 = {w: theory(w).chi1 for w in SIGNALS}
    assert [w for w in SIGNALS if abs(chi1[w] - 1) >= 0.1] == list(away_from_the_edge())
    assert min(chi1.values()) < 0.9 < 1.1 < max(chi1.values())
    depths = [theory(w).correlation_depth for w in bounded()]
    # No depth is within 3 to 9 times each of them.
    assert 3 * max(depths) > 9 * min(depths)
    assert theory(1.75).correlation_depth > 100
    assert min(chi1, key=lambda w: abs(chi1[w] - 1)) == 1.75


@pytest.mark.parametrize(
    ("accuracies", "expected"),
    [
        ((0.9, 0.7, 0.2), 28.0),
        ((0.9, 0.5, 0.1), 20.0),
        ((0.9, 0.2, 0.8), 10 + 10 * 0.4 / 0.7),
        ((0.9, 0.8, 0.6), math.nan),
        ((0.4, 0.3, 0.1), math.nan),
        ((0.9, math.nan, 0.1), math.nan),
        ((math.nan, 0.8, 0.1), math.nan),
    ],
)
def test_the_depth_that_can_be_trained_is_interpolated(accuracies, expected):
    assert trainable_depth((10, 20, 40), accuracies, 0.5) == pytest.approx(expected, nan_ok=True)


@pytest.mark.parametrize("start", ["gaussian", "orthogonal"])
def test_networks_are_drawn_with_the_variances_asked_for(start):
    samples = _deep_training.images(load("digits"), 50, run().generator)
    network = _deep_training.deep_network(case("training", start=start, depth=3), samples, run().generator)
    layers = [each for each in network.modules() if isinstance(each, nn.Linear)]
    assert [(each.in_features, each.out_features) for each in layers] == [(64, 100), (100, 100), (100, 100), (100, 10)]
    for layer in layers[1:3]:
        # 10,000 entries: a standard deviation known to 0.7 %; biases, 100 of them, to 7 %.
        assert layer.weight.std().item() == pytest.approx(math.sqrt(2.5 / 100), rel=0.03)
        assert layer.bias.std().item() == pytest.approx(math.sqrt(0.05), rel=0.3)
    product = layers[1].weight @ layers[1].weight.T / 2.5
    assert torch.allclose(product, torch.eye(100), atol=1e-5) == (start == "orthogonal")
    assert isinstance(network.activation1, nn.Tanh)


def test_images_are_standardised_and_drawn_by_the_seed():
    one, same, other = (_deep_training.images(load("digits"), 100, run(seed).generator) for seed in (1, 1, 2))
    assert torch.equal(one.inputs, same.inputs)
    assert not torch.equal(one.inputs, other.inputs)
    assert one.inputs.mean().item() == pytest.approx(0, abs=1e-5)
    assert one.inputs.std(correction=0).item() == pytest.approx(1, rel=1e-5)


def test_a_trial_takes_so_many_steps_of_plain_gradient_descent():
    chosen = case("training", depth=2, width=12, n_train=100, batch_size=30, steps=6, learning_rate=0.1)
    found = trial(chosen, run(1003))
    generator = run(1003).generator
    samples = _deep_training.images(load("digits"), 100, generator)
    network = _deep_training.deep_network(chosen, samples, generator)
    batches = samples.epochs(30, seed=_deep_training.derive_seed(1003, "batches"))
    parameters = list(network.parameters())
    # Epochs of four batches, the last of ten images: one whole epoch and two batches of the next.
    for inputs, targets in [*batches(0), *itertools.islice(batches(1), 2)]:
        gradients = torch.autograd.grad(nn.functional.cross_entropy(network(inputs), targets), parameters)
        with torch.no_grad():
            for parameter, gradient in zip(parameters, gradients, strict=True):
                parameter -= 0.1 * gradient
    with torch.no_grad():
        expected = (network(samples.inputs).argmax(dim=1) == samples.targets).double().mean().item()
    assert found == {"accuracy": expected}


def test_shallow_networks_learn_and_a_training_that_diverges_has_no_accuracy():
    fields = {"depth": 3, "n_train": 300}
    assert trial(case("training", **fields, learning_rate=0.1), run())["accuracy"] > 0.9
    assert trial(case("training", **fields, steps=0), run())["accuracy"] < 0.35
    linear = {"activation": "identity", "weight_variance": 1.0, "bias_variance": 0.0}
    assert trial(case("linear", **fields, **linear, learning_rate=1e4), run()) == {"accuracy": None}


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"part": "signals"}, "unknown part"),
        ({"activation": "tan"}, "unknown activation"),
        ({"networks": 1}, "this is 1"),
        ({"inputs": 1}, "this is 1"),
        ({"width": 0}, "this is 0"),
        ({"depth": 1.5}, "this is 1.5"),
        ({"part": "training", "start": "gauss"}, "unknown start"),
        ({"part": "training", "n_train": 5000}, "5000 images"),
        ({"part": "training", "steps": -1}, "this is -1"),
        ({"part": "training", "batch_size": 0}, "this is 0"),
    ],
    ids=str,
)
def test_a_trial_that_cannot_be_run_says_so(fields, message):
    with pytest.raises(UsageError, match=message):
        trial(case(**fields), run())


def signals(seeds=(1000, 1001, 1002), parts=("signal",), draw_from=trial, **fields):
    """Run every σ_w², with fewer and narrower networks than the study's."""
    rows = []
    for part, w, seed in itertools.product(parts, SIGNALS, seeds):
        width = 10 if part == "narrow" else 200
        chosen = case(part, weight_variance=w, **{"width": width, "networks": 6, "inputs": 6, "depth": 36, **fields})
        rows.append({**chosen, "seed": seed, **draw_from(chosen, run(seed))})
    return pd.DataFrame(rows)


def decided(trials):
    return {each.name: each.holds for each in judge(trials)}


def of(found, *words):
    holding = [holds for name, holds in found.items() if all(word in name for word in words)]
    assert holding
    return holding


def test_random_networks_do_as_theory_says():
    criteria = judge(signals(parts=("signal", "narrow")))
    found = {each.name: each.holds for each in criteria}
    assert of(found, "q*: relative") == of(found, "q* against") == of(found, "χ₁ against") == [True]
    # Of fewer, smaller and shallower networks than the study's the means are near, without deciding.
    measured = {
        words: each.measured for words in ("χ₁, g", "c*: d", "10 units") for each in criteria if words in each.name
    }
    assert measured["χ₁, g"] < 0.04
    assert measured["c*: d"] < 0.06
    # Theory: ½ log 20 = 1.5.
    assert measured["10 units"] > 1


def test_networks_of_another_activation_are_caught():
    found = decided(signals(activation="erf"))
    assert of(found, "q*: relative") == of(found, "χ₁, growth") == [False]
    assert of(found, "q* against the theory of erf") == of(found, "χ₁ against the theory of erf") == [False]


def test_weights_a_fifth_larger_in_variance_are_caught():
    def larger(chosen, its_run):
        return trial(chosen.replace(weight_variance=1.2 * chosen.weight_variance), its_run)

    found = decided(signals(draw_from=larger))
    assert of(found, "q*: relative") == [False]


def test_inputs_that_stay_as_alike_as_they_were_are_caught(monkeypatch):
    def frozen(chosen, generator, device):
        shape = (chosen.depth + 1, 2, chosen.networks)
        starts = 1 - np.array([0.0, 0.5])[None, :, None]
        noise = 0.01 * np.random.default_rng(generator.initial_seed()).standard_normal(shape)
        return np.ones((shape[0], shape[2])), np.broadcast_to(starts, shape) + noise, np.ones((shape[0] - 1, shape[2]))

    monkeypatch.setattr(_signal_propagation, "propagate", frozen)
    trials = signals()
    assert trials["correlation_depth"].isna().all()
    found = decided(trials)
    assert of(found, "c*: distance") == of(found, "q*: relative") == of(found, "χ₁, growth") == [False]
    assert not any(of(found, "log of ξ_c"))


def test_narrow_networks_in_the_place_of_wide_ones_are_caught():
    found = decided(signals(parts=("signal", "narrow"), width=10))
    assert of(found, "10 units") == [False]


def learnt(depth, scale):
    """An accuracy that falls from 0.98 to 0.1 around 6 of these depths."""
    return 0.1 + 0.88 / (1 + math.exp(min(2 * (depth / scale - 6), 50)))


def table(seeds=5, accuracy=lambda w, depth: learnt(depth, theory(w).correlation_depth), **changes):
    """Return the trials of a study that reproduces, but for the changes: a column's factor, or ``linear``."""
    rows = []
    for seed, (part, spread) in itertools.product(range(seeds), (("signal", 0.03), ("narrow", 0.15))):
        rng = np.random.default_rng([seed, part == "signal"])
        for w in SIGNALS:
            mean = theory(w)
            usual = {
                "variances": mean.variance * (1 + spread * rng.standard_normal(40)),
                "growth": mean.chi1,
                "correlation": mean.correlation,
                "correlation_depth": mean.correlation_depth,
            }
            found = {
                name: value * changes.get(f"{part}_{name}", 1.0) * math.exp(0.005 * rng.standard_normal())
                for name, value in usual.items()
            }
            curves = {"apart": mean.correlations(0.0, 20), "alike": mean.correlations(0.5, 20)}
            rows.append({"part": part, "weight_variance": w, "seed": seed, **found, **curves})
    for seed in range(seeds):
        rng = np.random.default_rng([seed, 7])
        for w, depth, rate in itertools.product(TRAINED, DEPTHS, (0.1, 0.01)):
            found = {"learning_rate": rate, "accuracy": accuracy(w, depth) + 0.01 * rng.standard_normal() - rate}
            rows.append({"part": "training", "weight_variance": w, "depth": depth, "seed": seed, **found})
        for start in ("orthogonal", "gaussian"):
            found = {"start": start, "accuracy": changes.get("linear", 0.98) + 0.005 * rng.standard_normal()}
            rows.append({"part": "linear", "weight_variance": 1.0, "depth": 80, "seed": seed, **found})
    return pd.DataFrame(rows)


def test_the_effect_is_reproduced():
    assert Verdict.of(judge(table()), seeds=5).outcome == "reproduced"


@pytest.mark.parametrize(
    ("changes", "failing"),
    [
        ({"signal_variances": 1.07}, "q*: relative"),
        ({"signal_growth": 0.93}, "χ₁, growth"),
        ({"signal_correlation": 0.93}, "c*: distance"),
        ({"signal_correlation_depth": 1.25}, "log of ξ_c"),
        ({"signal_correlation_depth": 0.8}, "log of ξ_c"),
        ({"narrow_variances": 1.0, "signal_variances": 1.15}, "10 units"),
        ({"signal_variances": 1.2}, "q* against the theory of erf"),
        ({"signal_growth": 1.12}, "χ₁ against the theory of erf"),
        ({"linear": 0.6}, "orthogonal start"),
    ],
    ids=str,
)
def test_each_criterion_of_signals_and_control_can_fail(changes, failing):
    assert False in of(decided(table(**changes)), failing)


@pytest.mark.parametrize("depth", [15, 25, 35, 45, 65], ids=str)
def test_a_depth_that_is_the_same_for_all_weights_is_caught(depth):
    found = decided(table(accuracy=lambda w, layers: learnt(layers, depth / 6)))
    assert False in of(found, "falls to 50 %, over ξ_c")
    # No slope, no better ranking: neither is above 0, and depth/ξ_c ranks worse.
    assert of(found, "slope of the log depth") in ([None], [False])
    assert of(found, "area under the ROC curve") == of(found, "depth < 6 ξ_c") == [False]
    assert of(found, "greatest depth: training accuracy")[0] is not True


def test_a_depth_that_falls_with_the_layers_of_theory_is_caught():
    found = decided(table(accuracy=lambda w, depth: learnt(depth, 20 / math.sqrt(theory(w).correlation_depth))))
    assert of(found, "slope of the log depth") == [False]


@pytest.mark.parametrize("level", [0.1, 0.98], ids=["nothing learns", "everything learns"])
def test_networks_that_are_all_alike_are_caught(level):
    criteria = judge(table(accuracy=lambda w, depth: level))
    found = {each.name: each.holds for each in criteria}
    assert not any(of(found, "falls to 50 %"))
    assert not any(of(found, "trained to 50 % or not") + of(found, "greatest depth: training"))
    assert Verdict.of(criteria, seeds=5).outcome != "reproduced"


def test_the_best_learning_rate_counts_and_a_diverged_training_does_not():
    rates, accuracies = (0.1, 0.01, 0.001, 0.1), (0.3, 0.8, None, None)
    trials = pd.DataFrame({"part": "training", "depth": 10, "learning_rate": rates, "accuracy": accuracies})
    found = accuracy_table(trials.assign(seed=[4, 4, 4, 5], weight_variance=1.0))
    assert found.loc[4, (1.0, 10)] == 0.8
    assert math.isnan(found.loc[5, (1.0, 10)])


def test_a_network_that_is_missing_leaves_its_seed_open():
    trials = table()
    lost = (trials["part"] == "training") & (trials["depth"] == 40) & (trials["weight_variance"] == 4.0)
    found = decided(trials[~(lost & (trials["seed"] == 2))])
    assert of(found, "area under the ROC curve") == of(found, "σ_w² = 4: depth at which") == [None]
    assert of(found, "σ_w² = 1: depth at which") == [True]
    assert of(decided(trials[~lost]), "area under the ROC curve") == [None]


def test_smoke_measures_what_it_can_and_judges_nothing():
    rows = [{**each, "seed": seed, **trial(each, run(seed))} for each, seed in STUDY.grid("smoke").trials()]
    smoke = pd.DataFrame(rows)
    assert Verdict.of(judge(smoke), seeds=1).outcome == "inconclusive"
    assert all(each.measured is not None for each in [*signal_criteria(smoke)[:3], *signal_controls(smoke)])


def test_lines_are_named_in_the_figure():
    drawn = to_svg(draw(table()), "study-")
    for text in ("edge of chaos", "6 ξ_c, reported", "σ_w² = 1.75", "order: it dies out"):
        assert text in drawn
