"""What weight sharing buys: layers, images and factors against twins, a trial against a loop, planted fakes."""

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
from deepscope.data import load
from deepscope.figures import to_svg
from deepscope.studies.convolution import _cnn_prior_trials
from deepscope.studies.convolution._cnn_prior_cases import FEW, MANY_MLP, POOLED, learning, pooled
from deepscope.studies.convolution._equivariance import (
    convolution_maps,
    equivariance_errors,
    layer_errors,
    span_errors,
)
from deepscope.studies.convolution._image_networks import NETWORKS, POOLINGS, Subsampling, image_network, n_parameters
from deepscope.studies.convolution._locally_connected import LocallyConnected
from deepscope.studies.convolution._shifted_images import all_shifts, draw_images, on_canvas
from deepscope.studies.convolution._short_filters import chained, factorisation_error, short_filters
from deepscope.studies.convolution.cnn_prior import STUDY
from deepscope.subject import seeded_generators


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def network(kind="cnn", seed=0, **kinds):
    torch.manual_seed(seed)
    return image_network(kind, 14, 10, **kinds)


def drawn(kind="shifted", n_train=40, seed=0, reach=2):
    return draw_images(
        load("digits"), kind=kind, reach=reach, n_train=n_train, n_validation=6, n_test=8, generator=generator(seed)
    )


def canvases(n=4):
    return on_canvas(load("digits").test.inputs[:n], 0, 0)


# Layers


@pytest.mark.parametrize(("inputs", "stride", "side"), [(1, 1, 6), (3, 1, 5), (2, 2, 7), (2, 2, 6)])
def test_a_locally_connected_layer_with_the_same_weights_everywhere_is_a_convolution(inputs, stride, side):
    torch.manual_seed(0)
    x = torch.randn(4, inputs, side, side)
    convolution = nn.Conv2d(inputs, 5, 3, stride=stride, padding=1)
    layer = LocallyConnected(inputs, 5, side, stride=stride)
    with torch.no_grad():
        layer.weight.copy_(convolution.weight.flatten(1).T.expand_as(layer.weight))
        layer.bias.copy_(convolution.bias.expand_as(layer.bias))
    # float32 sums of up to 28 terms of order 1.
    torch.testing.assert_close(layer(x), convolution(x), rtol=1e-5, atol=1e-5)


def test_a_locally_connected_layer_has_its_own_weights_at_each_place():
    torch.manual_seed(0)
    layer, x = LocallyConnected(2, 3, 5), torch.randn(4, 2, 5, 5)
    out = layer(x)
    assert out.shape == (4, 3, 5, 5)
    assert n_parameters(layer) == 3 * 25 * (2 * 9 + 1)
    # A place in the middle, written out; a change of its weights changes no other place.
    patch = x[:, :, 0:3, 2:5].flatten(1)
    torch.testing.assert_close(out[:, :, 1, 3], patch @ layer.weight[8] + layer.bias[8])
    with torch.no_grad():
        layer.weight[8] += 1
    changed = (layer(x) != out).any(0).any(0)
    assert changed.nonzero().tolist() == [[1, 3]]


def test_its_first_weights_are_drawn_as_those_of_a_convolution():
    torch.manual_seed(0)
    layer, convolution = LocallyConnected(8, 16, 7), nn.Conv2d(8, 16, 3)
    bound = 1 / 72**0.5
    for mine, its in ((layer.weight, convolution.weight), (layer.bias, convolution.bias)):
        assert max(mine.abs().max(), its.abs().max()) <= bound
    # Uniform: standard deviation bound/√3; 56,448 draws know it to 0.3 %.
    assert layer.weight.std().item() == pytest.approx(bound / 3**0.5, rel=0.01)


def test_the_networks():
    x = torch.randn(3, 1, 14, 14, generator=generator())
    cnn = network()
    hidden = functional.max_pool2d(functional.relu(functional.conv2d(x, cnn[0].weight, cnn[0].bias, padding=1)), 2)
    hidden = functional.relu(functional.conv2d(hidden, cnn[3].weight, cnn[3].bias, padding=1))
    # Of 7 places per side the last is a window of its own.
    hidden = functional.max_pool2d(functional.pad(hidden, (0, 1, 0, 1), value=-1.0), 2)
    torch.testing.assert_close(cnn(x), cnn[-1](hidden.flatten(1)))
    mlp = network("mlp")
    torch.testing.assert_close(mlp(x), mlp[3](functional.relu(mlp[1](x.flatten(1)))))
    assert mlp[1].out_features == 19
    local = network("local")
    torch.testing.assert_close(local(x), local[3](functional.relu(local[0](x)).flatten(1)))
    assert local[0].weight.shape == (49, 9, 4)


def test_networks_of_equal_size_are_at_most_a_tenth_larger():
    sizes = {kind: n_parameters(network(kind)) for kind in NETWORKS}
    assert all(1 <= sizes[kind] / sizes["cnn"] <= 1.1 for kind in ("mlp", "local"))
    assert n_parameters(nn.Sequential(nn.Flatten(), nn.Linear(196, 18), nn.Linear(18, 10))) < sizes["cnn"]
    for pooling in POOLINGS:
        found = network(pooling=pooling, activation="tanh")
        assert n_parameters(found) - sizes["cnn"] == (48 if pooling == "subsampling" else 0)
        assert found(torch.zeros(2, 1, 14, 14)).shape == (2, 10)


def test_the_same_network_without_sharing_can_do_all_that_it_can():
    cnn, unshared = network(), network("unshared")
    with torch.no_grad():
        for place in (0, 3):
            unshared[place].weight.copy_(cnn[place].weight.flatten(1).T.expand_as(unshared[place].weight))
            unshared[place].bias.copy_(cnn[place].bias.expand_as(unshared[place].bias))
        unshared[-1].load_state_dict(cnn[-1].state_dict())
    x = torch.randn(3, 1, 14, 14, generator=generator())
    torch.testing.assert_close(unshared(x), cnn(x), rtol=1e-5, atol=1e-6)


def test_poolings_are_what_they_are_called():
    x = torch.randn(2, 1, 6, 6, generator=generator())
    maps = {
        pooling: nn.Sequential(*list(image_network("cnn", 6, 10, pooling=pooling))[2:3])
        for pooling in ("max", "average", "overlapping")
    }
    windows = x.reshape(2, 1, 3, 2, 3, 2)
    torch.testing.assert_close(maps["max"](x), windows.amax((3, 5)))
    torch.testing.assert_close(maps["average"](x), windows.mean((3, 5)))
    wide = functional.pad(x, (1, 1, 1, 1), value=-9.0)
    by_hand = [[wide[..., i : i + 3, j : j + 3].amax((-2, -1)) for j in (0, 2, 4)] for i in (0, 2, 4)]
    torch.testing.assert_close(maps["overlapping"](x), torch.stack([torch.stack(row, -1) for row in by_hand], -2))
    layer = Subsampling(1)
    torch.testing.assert_close(layer(x), maps["average"](x))
    with torch.no_grad():
        layer.factor.fill_(2.0)
        layer.offset.fill_(-1.0)
    torch.testing.assert_close(layer(x), 2 * maps["average"](x) - 1)
    assert [type(each) for each in network(pooling="strided")].count(nn.MaxPool2d) == 0


@pytest.mark.parametrize(
    ("kind", "kinds", "said"),
    [
        ("cnm", {}, "no such part"),
        ("cnn", {"pooling": "mean"}, "no such part"),
        ("cnn", {"activation": "gelu"}, "no such part"),
        ("unshared", {"pooling": "average"}, "only the convolutional network"),
    ],
)
def test_an_unknown_network_is_refused(kind, kinds, said):
    with pytest.raises(UsageError, match=said):
        network(kind, **kinds)


# Images


def test_images_are_put_where_they_are_said_to_be():
    image = torch.arange(1.0, 65).reshape(1, 8, 8)
    for down, right in all_shifts(3):
        canvas = on_canvas(image, down, right)
        assert canvas.shape == (1, 14, 14)
        assert torch.equal(canvas[:, 3 + down : 11 + down, 3 + right : 11 + right], image)
        assert canvas.sum() == image.sum()


def test_training_images_have_one_shift_and_the_others_each():
    found, still = drawn(n_train=200), drawn("still", n_train=200)
    assert (len(found.train), len(found.validation), len(found.test)) == (200, 6 * 25, 8 * 25)
    assert (len(still.validation), len(still.test), found.side, found.n_classes) == (6, 8, 14, 10)
    assert torch.equal(found.train.targets, still.train.targets)
    assert torch.equal(found.test.targets, still.test.targets.repeat(25))
    # Back to pixels without the canvas: each is the unmoved image, moved.
    lowest = found.train.inputs.min(), still.train.inputs.min()
    moves = [
        {
            shift
            for shift in all_shifts(2)
            if torch.allclose(torch.roll(one, shift, (-2, -1)) / -lowest[1], other / -lowest[0], atol=0.2)
        }
        for one, other in zip(still.train.inputs, found.train.inputs, strict=True)
    ]
    assert all(len(each) == 1 for each in moves)
    assert len(set.union(*moves)) == 25


def test_pixels_are_standardised_by_the_training_images():
    for kind in ("shifted", "still", "permuted"):
        inputs = drawn(kind).train.inputs
        assert inputs.mean().abs() < 1e-5
        assert inputs.var(correction=0).item() == pytest.approx(1, abs=1e-4)


def test_permuted_images_are_the_shifted_ones_in_one_order():
    shifted, permuted = drawn(), drawn("permuted")
    for part in ("train", "validation", "test"):
        one, other = (getattr(each, part) for each in (shifted, permuted))
        assert torch.equal(one.targets, other.targets)
        assert torch.equal(one.inputs.flatten(1).sort(1).values, other.inputs.flatten(1).sort(1).values)
    columns = [
        sorted(map(tuple, torch.cat([each.train.inputs, each.test.inputs]).flatten(1).T.tolist()))
        for each in (shifted, permuted)
    ]
    assert columns[0] == columns[1]
    assert not torch.equal(shifted.train.inputs, permuted.train.inputs)


def test_more_training_images_are_the_fewer_and_others_and_none_is_tested():
    few, many = drawn(n_train=40), drawn(n_train=1783)
    assert torch.equal(few.train.targets, many.train.targets[:40])
    assert torch.equal(few.test.targets, many.test.targets)
    everything = torch.cat([many.train.targets, many.validation.targets[:6], many.test.targets[:8]])
    digits = load("digits")
    counts = [torch.bincount(each) for each in (everything, torch.cat([digits.train.targets, digits.test.targets]))]
    assert torch.equal(*counts)
    assert not torch.equal(few.train.targets, drawn(seed=1).train.targets)


@pytest.mark.parametrize(
    ("kinds", "said"),
    [
        ({"kind": "moved"}, "unknown kind"),
        ({"reach": 4}, "shifts reach 4"),
        ({"n_train": 1784}, "at most 1797 together"),
        ({"n_train": 0}, "at least 1"),
    ],
)
def test_what_cannot_be_drawn_is_refused(kinds, said):
    with pytest.raises(UsageError, match=said):
        drawn(**kinds)


# Equivariance

EVERY = [shift for shift in itertools.product(range(14), repeat=2) if any(shift)]


def test_layers_are_equivariant_where_theory_says_so_and_nowhere_else():
    found = layer_errors(network(), canvases())
    # Rounding of float32 sums of 72 terms is some 1e-7 of what varies.
    assert max(found[name] for name in ("circular_error", "interior_error", "even_error")) < 1e-5
    assert found["best_border_error"] > 0.01
    assert found["best_odd_error"] > 0.1
    assert layer_errors(network("unshared"), canvases())["best_error"] > 0.5
    assert layer_errors(network("local"), canvases())["best_error"] > 0.5
    assert layer_errors(network("mlp"), canvases())["best_span_error"] > 0.5


@pytest.mark.parametrize("kind", ["unshared", "local"])
def test_a_layer_whose_weights_happen_to_be_shared_is_equivariant(kind):
    model = network(kind)
    with torch.no_grad():
        for parameter in model[0].parameters():
            parameter.copy_(parameter[:1].expand_as(parameter))
    assert layer_errors(model, canvases())["best_error"] < 1e-5


def test_the_error_of_a_known_map():
    x = torch.randn(3, 1, 6, 6, generator=generator())
    # f(x) = x + a at one place: T f(x) and f(T x) differ by a there and by a where it is moved to.
    bump = torch.zeros(6, 6)
    bump[1, 2] = 5.0
    (error,) = equivariance_errors(lambda images: images + bump, x, [(2, 0)])
    varying = x + bump - (x + bump).mean((-2, -1), keepdim=True)
    assert error == pytest.approx((3 * 2 * 25) ** 0.5 / varying.norm().item(), rel=1e-5)
    # In row 3 it is seen within one place of the border, in rows 0 and 2 it is not: of these shifts rows 3 and 4 count.
    assert equivariance_errors(lambda images: images + bump, x, [(2, 0)], border=1)[0] > 0.1
    assert equivariance_errors(lambda images: images + bump.roll(-1, 0), x, [(2, 0)], border=1) == [0.0]


def test_constant_maps_have_no_error_of_equivariance():
    x = torch.randn(3, 1, 6, 6, generator=generator())
    assert math.isnan(equivariance_errors(torch.zeros_like, x, [(1, 0)])[0])
    dead = network()
    with torch.no_grad():
        dead[3].bias.fill_(-100.0)
    assert math.isnan(layer_errors(dead, canvases())["circular_error"])


def test_maps_without_pooling_are_the_layers_themselves():
    model, x = network(pooling="average"), canvases()
    torch.testing.assert_close(
        convolution_maps(model, circular=False)(x), functional.relu(model[3](functional.relu(model[0](x))))
    )
    torch.testing.assert_close(convolution_maps(model, circular=False, pooled=True)(x), model[:5](x))
    around = nn.Conv2d(1, 8, 3, padding=1, padding_mode="circular")
    around.load_state_dict(model[0].state_dict())
    again = nn.Conv2d(8, 16, 3, padding=1, padding_mode="circular")
    again.load_state_dict(model[3].state_dict())
    torch.testing.assert_close(convolution_maps(model, circular=True)(x), again(around(x).relu()).relu())


def test_units_that_follow_shifts_linearly_have_no_span_error():
    angles = 2 * math.pi * torch.arange(6) / 6
    waves = torch.stack([torch.cos(angles), torch.sin(angles)])
    follow = (waves[:, None, :, None] * waves[None, :, None, :]).reshape(4, 36)
    assert max(span_errors(follow, 6, itertools.product(range(6), repeat=2))) < 1e-6
    torch.manual_seed(0)
    # Of a random direction, the share 1 − 19/196 lies outside the span of 19 others, in square.
    errors = span_errors(torch.randn(19, 196), 14, EVERY)
    assert np.mean(errors) == pytest.approx((1 - 19 / 196) ** 0.5, abs=0.01)


# Factors


@pytest.mark.parametrize("length", range(2, 16))
def test_a_long_filter_is_a_chain_of_short_ones(length):
    rng = np.random.default_rng(length)
    for long in (*rng.standard_normal((20, length)), np.ones(length), np.arange(1.0, length + 1)):
        factors = short_filters(long)
        assert len(factors) == -(-(length - 1) // 2)
        assert all(each.dtype == np.float64 and len(each) <= 3 for each in factors)
        by_hand = np.ones(1)
        for each in factors:
            by_hand = np.convolve(by_hand, each)
        np.testing.assert_allclose(by_hand, chained(factors), rtol=1e-12, atol=1e-12)
        # Roots of polynomials of degree 14 at the latest: their condition costs up to some six digits of sixteen.
        assert factorisation_error(long) < 1e-9


def test_what_is_no_factorisation_is_seen(monkeypatch):
    from deepscope.studies.convolution import _short_filters

    real = np.roots
    monkeypatch.setattr(_short_filters.np, "roots", lambda p: real(p).real.astype(complex))
    rng = np.random.default_rng(0)
    assert max(_short_filters.factorisation_error(rng.standard_normal(15)) for _ in range(5)) > 0.1


# A trial


class Run:
    """What a trial is handed, as the lab does it, without a store."""

    device = torch.device("cpu")

    def __init__(self, seed=3):
        self.seed = seed

    @property
    def generator(self):
        return generator(derive_seed(self.seed, "trial"))

    def shared(self, make, **key):
        return make(**key)


SMALL = Case(**STUDY.defaults).replace(
    few=40, many=60, n_validation=10, n_test=12, steps=20, batch_size=16, draws=1, filters=1
)


@pytest.mark.parametrize("case", [learning("cnn"), learning("mlp", "permuted"), pooled("subsampling", "tanh")])
def test_a_trial_equals_a_loop_written_out(case, monkeypatch):
    monkeypatch.setattr(_cnn_prior_trials, "RATES", (0.01,))
    found = _cnn_prior_trials.trial(SMALL.replace(**case), Run())
    many = case["sample"] == "many"
    images = draw_images(
        load("digits"),
        kind=case["images"],
        reach=2,
        n_train=60 if many else 40,
        n_validation=10,
        n_test=12,
        generator=Run().generator,
    )
    with seeded_generators(derive_seed(3, "weights")):
        model = image_network(case["network"], 14, 10, pooling=case["pooling"], activation=case["activation"])

    def errors():
        with torch.no_grad():
            return [
                (model(each.inputs).argmax(1) != each.targets).double().mean().item()
                for each in (images.test, images.train)
            ]

    untrained, _ = errors()
    parameters = list(model.parameters())
    first, second = ([torch.zeros_like(each) for each in parameters] for _ in range(2))
    step = 0
    # 20 steps are 5 epochs of 4 batches, or 7 of 3.
    for epoch in range(5 if many else 7):
        for x, y in images.train.epochs(16, seed=3)(epoch):
            step += 1
            gradients = torch.autograd.grad(functional.cross_entropy(model(x), y), parameters)
            with torch.no_grad():
                for each, gradient, m, v in zip(parameters, gradients, first, second, strict=True):
                    m.mul_(0.9).add_(0.1 * gradient)
                    v.mul_(0.999).add_(0.001 * gradient**2)
                    each.sub_(0.01 * (m / (1 - 0.9**step)) / ((v / (1 - 0.999**step)).sqrt() + 1e-8))
    assert step >= 20
    assert found["untrained_error"] == pytest.approx(untrained)
    # Rounding in float32, grown over 20 steps, may turn few of the 300 test images, or one of 40 training images.
    assert found["error"] == pytest.approx(errors()[0], abs=4 / 300)
    assert found["train_error"] == pytest.approx(errors()[1], abs=1 / 40 + 1e-9)
    assert (found["rate"], found["parameters"]) == (0.01, n_parameters(model))
    assert ("circular_error" in found) == (case == learning("cnn"))


def test_the_rate_is_that_of_the_least_validation_error(monkeypatch):
    setting = {name: SMALL[name] for name in _cnn_prior_trials.SETTING} | {"n_train": 40, "network": "mlp"}
    monkeypatch.setattr(_cnn_prior_trials, "RATES", (1e-7, 0.01, 1e-6))
    found = _cnn_prior_trials.chosen_rate(draws=2, **setting)
    assert found["errors"].shape == (2, 3)
    assert found["rate"] == 0.01
    assert found["errors"].mean(0).argmin() == 1
    again = _cnn_prior_trials.chosen_rate(draws=2, **setting)
    np.testing.assert_array_equal(found["errors"], again["errors"])


def test_an_unknown_part_or_sample_is_refused():
    with pytest.raises(UsageError, match="unknown part"):
        _cnn_prior_trials.trial(SMALL.replace(part="filter"), Run())
    with pytest.raises(UsageError, match="unknown sample"):
        _cnn_prior_trials.trial(SMALL.replace(sample="some"), Run())


# Criteria

ERRORS = {"cnn": 0.24, "unshared": 0.45, "local": 0.59, "mlp": 0.59}
EXACT = {"circular_error": 0.0, "interior_error": 1e-7, "even_error": 1e-7}
INEXACT = {"best_border_error": 0.11, "best_odd_error": 0.6, "best_error": 1.2, "best_span_error": 0.9}
POOLING = {"average": 0.12, "subsampling": 0.12, "overlapping": 0.091, "strided": 0.24, "max": 0.09}


def table(seeds=8, without=None, **changes):
    """Return the trials of a study that reproduces, but for the changes: numbers by name of the condition."""
    rng = np.random.default_rng(0)
    rows = []

    def add(name, seed, case, error, **more):
        if name == without:
            return
        numbers = {"error": error * math.exp(0.03 * rng.standard_normal()), "train_error": 0.001}
        numbers |= {"untrained_error": 0.9 + 0.01 * rng.standard_normal(), **more} | changes.get(name, {})
        rows.append({**STUDY.defaults, **case, "seed": seed, **numbers})

    for seed in range(seeds):
        for case in FEW:
            kind = str(case["network"])
            error = {"shifted": ERRORS[kind], "still": 0.06, "permuted": 0.59}[str(case["images"])]
            layers = (EXACT | INEXACT) if case["images"] == "shifted" else {}
            add(f"{kind}_{case['images']}", seed, case, error, **layers)
        add("mlp_many", seed, MANY_MLP, 0.36)
        for pooling, activation in POOLED:
            add(f"{pooling}_{activation}", seed, pooled(pooling, activation), POOLING[pooling])
        if without != "filters":
            rows.append(
                {**STUDY.defaults, "part": "filters", "seed": seed, "factor_error": 1e-13} | changes.get("filters", {})
            )
    return pd.DataFrame(rows)


def wrong(trials):
    return [criterion.name for criterion in STUDY.judge(trials) if criterion.holds is not True]


def verdict(trials):
    return Verdict.of(STUDY.judge(trials), seeds=trials["seed"].nunique()).outcome


def test_what_reproduces_is_reproduced():
    trials = table()
    assert (verdict(trials), wrong(trials)) == ("reproduced", [])


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({"cnn_shifted": {"error": 0.41}}, "convolutional network's error"),
        ({"mlp_shifted": {"error": 0.3}}, "perceptron of equal size"),
        ({"local_shifted": {"error": 0.3}}, "locally connected layer of equal size"),
        ({"unshared_shifted": {"error": 0.25}}, "same network without sharing"),
        ({"mlp_many": {"error": 0.2}}, "the perceptron's with many"),
        ({"mlp_shifted": {"train_error": 0.9, "error": 0.9}}, "training error of networks with few images"),
        ({"cnn_permuted": {"train_error": 0.9, "error": 0.9}}, "training error of networks with few images"),
        ({"average_relu": {"train_error": 0.9, "error": 0.9}}, "training error of networks whose poolings"),
        ({"cnn_shifted": {"circular_error": 1e-4}}, "circular padding"),
        ({"cnn_shifted": {"interior_error": 1e-4}}, "away from the border"),
        ({"cnn_shifted": {"even_error": 1e-4}}, "shifts by multiples of the stride"),
        ({"filters": {"factor_error": 1e-6}}, "chains of filters"),
        ({"average_relu": {"error": 0.08}}, "rectified units: error with max pooling minus with average"),
        ({"average_tanh": {"error": 0.08}}, "tanh: error with max pooling minus with average"),
        ({"subsampling_tanh": {"error": 0.08}}, "tanh: error with max pooling minus with subsampling"),
        ({"overlapping_relu": {"error": 0.07}}, "overlapping minus"),
        ({"overlapping_relu": {"error": 0.12}}, "overlapping minus"),
        ({"cnn_permuted": {"error": 0.3}}, "pixels in one random order"),
        ({"cnn_still": {"error": 0.01}}, "shifted minus unshifted"),
        ({"unshared_shifted": {"best_error": 0.01}}, "layer without sharing"),
        ({"local_shifted": {"best_error": 0.01}}, "locally connected layer of equal size: relative"),
        ({"mlp_shifted": {"best_span_error": 0.01}}, "hidden units"),
        ({"cnn_shifted": {"best_border_error": 1e-3}}, "up to the border"),
        ({"cnn_shifted": {"best_odd_error": 0.01}}, "no multiples"),
        ({"cnn_shifted": {"untrained_error": 0.7}}, "untrained networks"),
    ],
)
def test_a_planted_fake_is_caught(changes, name):
    trials = table(**changes)
    assert verdict(trials) == "not reproduced"
    assert any(name in each for each in wrong(trials))


def test_networks_that_are_not_trained_reproduce_nothing():
    trials = table()
    untrained = trials["error"].notna()
    trials.loc[untrained, "error"] = 0.9 + 0.01 * np.random.default_rng(1).standard_normal(int(untrained.sum()))
    trials.loc[untrained, "train_error"] = 0.9
    assert verdict(trials) == "not reproduced"
    assert sum("few shifted images" in each for each in wrong(trials)) == 4


def test_constant_layers_leave_it_open():
    trials = table(cnn_shifted={"circular_error": None})
    assert verdict(trials) == "inconclusive"


@pytest.mark.parametrize(
    "missing",
    ["cnn_shifted", "unshared_shifted", "mlp_permuted", "cnn_still", "mlp_many", "average_tanh", "max_relu", "filters"],
)
def test_missing_conditions_leave_it_open(missing):
    assert verdict(table(without=missing)) == "inconclusive"


def test_poolings_that_do_not_differ_are_not_told_apart():
    trials = table()
    rng = np.random.default_rng(2)
    many = (trials["sample"] == "many") & (trials["network"] == "cnn")
    trials.loc[many, "error"] = 0.09 + 0.005 * rng.standard_normal(int(many.sum()))
    assert verdict(trials) != "reproduced"
    assert sum("minus with" in each for each in wrong(trials)) == 3


def test_the_figure_names_what_it_shows():
    svg = to_svg(STUDY.draw(table()), "x")
    for name in ("convolutional", "not shared", "perceptron", "exact by theory", "subsampling", "max pooling"):
        assert name in svg
    for trials in (pd.DataFrame({"seed": []}), table(seeds=1).iloc[:1], table(seeds=2, without="cnn_shifted")):
        assert STUDY.draw(trials).axes
