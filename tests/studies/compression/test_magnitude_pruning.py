"""Pruning: steps counted, one step written out, the oracle by hand, planted fakes."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from torch.nn import functional

from deepscope.core import Case, UsageError, Verdict, derive_seed
from deepscope.data import Samples
from deepscope.figures import to_svg
from deepscope.models import LeNet
from deepscope.studies.compression import _filter_trials
from deepscope.studies.compression._drawn_images import draw_images, row_batches
from deepscope.studies.compression._filter_trials import loss_changes
from deepscope.studies.compression._pruning_trials import (
    COMPRESSIONS,
    NINE,
    THIRTY_TWO,
    in_steps,
    n_weights,
    perceptron,
    pruned_at_once,
    width_of,
)
from deepscope.studies.compression.magnitude_pruning import STUDY

SMALL = Case(
    **{**STUDY.defaults, "data": "digits", "n_train": 60, "n_test": 40, "width": 12, "batch_size": 20}
).replace(part="weights", first_steps=3, steps=2, filter_steps=3, n_scored=30)
RUN = SimpleNamespace(seed=1000, device=torch.device("cpu"), progress=lambda done: None)
LAYERS = ("hidden1.weight", "hidden2.weight", "output.weight")


def images():
    return draw_images("digits", 60, 40, torch.Generator().manual_seed(0))


def test_compressions_go_to_9_and_to_32_in_steps_of_about_three_halves():
    steps = np.diff(np.log((1.0, *COMPRESSIONS)))
    assert np.exp(steps).min() > 1.5
    assert np.exp(steps).max() < 1.56
    assert (COMPRESSIONS[NINE], COMPRESSIONS[THIRTY_TWO]) == (pytest.approx(9), pytest.approx(32))


@pytest.mark.parametrize("arm", ["global", "layer", "random"])
def test_each_step_leaves_as_many_weights_as_its_compression_says(arm):
    train, _ = images()
    model = perceptron(train, 12, 0)
    total, before = n_weights(64, 12), None
    assert sum(model.get_parameter(name).numel() for name in LAYERS) == total
    for masks, compression in zip(in_steps(model, arm, train, SMALL, 5), COMPRESSIONS, strict=True):
        left = sum(int(mask.sum()) for mask in masks.values())
        # Rounded down at each step, in each of up to three groups.
        assert 0 <= left - total / compression < 3 * len(COMPRESSIONS)
        for name, mask in masks.items():
            assert (model.get_parameter(name)[~mask] == 0).all()
            if arm == "layer":
                assert abs(int(mask.sum()) - mask.numel() / compression) < len(COMPRESSIONS)
            if before:
                # What is pruned stays so.
                assert not (mask & ~before[name]).any()
        before = masks


def test_a_step_is_pruning_by_magnitude_and_training_written_out():
    train, _ = images()
    model, twin = perceptron(train, 12, 0), perceptron(train, 12, 0)
    masks = next(in_steps(model, "global", train, SMALL, 5))
    sizes = torch.cat([twin.get_parameter(name).detach().abs().flatten() for name in LAYERS])
    limit = sizes.sort().values[int((1 - 1 / COMPRESSIONS[0]) * len(sizes))]
    kept = {name: twin.get_parameter(name).detach().abs() >= limit for name in LAYERS}
    assert all(torch.equal(kept[name], masks[name]) for name in LAYERS)
    optimizer = torch.optim.Adam(twin.parameters(), lr=SMALL.learning_rate)
    for rows in row_batches(60, 20, 2, derive_seed(5, "batches", 1)):
        with torch.no_grad():
            for name in LAYERS:
                twin.get_parameter(name).mul_(kept[name])
        optimizer.zero_grad()
        functional.cross_entropy(twin(train.inputs[rows]), train.targets[rows]).backward()
        optimizer.step()
    for name in LAYERS:
        # Two steps of 0.001; Adam enlarges the rounding of gradients near 0.
        torch.testing.assert_close(model.get_parameter(name), twin.get_parameter(name) * kept[name], rtol=0, atol=2e-5)


def test_random_scores_are_no_magnitudes_and_dense_networks_are_not_pruned():
    train, _ = images()
    found = {
        arm: next(in_steps(perceptron(train, 12, 0), arm, train, SMALL, 5)) for arm in ("dense", "global", "random")
    }
    assert found["dense"] == {}
    assert not torch.equal(found["global"]["hidden1.weight"], found["random"]["hidden1.weight"])


def test_pruning_at_once_leaves_the_network_as_it_was():
    _, test = images()
    model = perceptron(test, 12, 0)
    before = {name: each.clone() for name, each in model.state_dict().items()}
    accuracy = pruned_at_once(model, 4.0, test)
    assert all(torch.equal(each, before[name]) for name, each in model.state_dict().items())
    sizes = torch.cat([model.get_parameter(name).detach().abs().flatten() for name in LAYERS])
    limit = sizes.sort().values[int(0.75 * len(sizes))]
    with torch.no_grad():
        for name in LAYERS:
            each = model.get_parameter(name)
            each[each.abs() < limit] = 0
        assert accuracy == pytest.approx((model(test.inputs).argmax(1) == test.targets).double().mean().item())


def test_a_small_network_has_the_greatest_width_that_fits():
    for weights in (1, 100, 5000, 29_577.8):
        width = width_of(784, weights)
        assert n_weights(784, width + 1) > weights
        assert width == 1 or n_weights(784, width) <= weights


def test_the_oracle_is_the_loss_without_the_filter():
    torch.manual_seed(0)
    model = LeNet(activation="relu").double()
    few = Samples(10 * torch.randn(12, 1, 28, 28, dtype=torch.float64), torch.arange(12) % 10)
    found = loss_changes(model, "convolution2", few)
    with torch.no_grad():
        base = functional.cross_entropy(model(few.inputs), few.targets)
        for place in (0, 7, 15):
            handle = model.convolution2.register_forward_hook(
                lambda module, inputs, output, place=place: output.index_fill(1, torch.tensor([place]), 0.0)
            )
            without = functional.cross_entropy(model(few.inputs), few.targets)
            handle.remove()
            # Rounding of a loss of about 2.3 in float64.
            assert found[place].item() == pytest.approx((without - base).item(), abs=1e-13)
    assert len(found) == 16
    assert found.abs().max() > 1e-3


def test_scores_that_are_the_oracle_correlate_perfectly(monkeypatch):
    planted = {"convolution1": torch.arange(6.0), "convolution2": torch.arange(16.0) + 100}
    monkeypatch.setattr(_filter_trials, "loss_changes", lambda model, layer, few: -planted[layer])
    monkeypatch.setattr(_filter_trials, "taylor_unit_scores", lambda *args, **names: planted)
    found = STUDY.trial(SMALL.replace(part="filters"), RUN)
    assert found["taylor_correlation"] == found["taylor_together"] == pytest.approx(1)
    assert found["oracle"] == [*range(6), *range(100, 116)]
    # The mean over 20 draws scatters by about 0.26/√20.
    assert abs(found["random_correlation"]) < 0.3
    assert found["norm_correlation"] < 1


def test_a_trial_of_weights_has_an_accuracy_for_each_compression():
    found = STUDY.trial(SMALL, RUN)
    for arm in ("dense", "global", "layer", "random", "once"):
        assert len(found[arm]) == len(COMPRESSIONS)
    assert len(found["small"]) == 2


def test_an_unknown_part_is_refused():
    with pytest.raises(UsageError, match="unknown part"):
        STUDY.trial(SMALL.replace(part="weight"), RUN)


PLANTED = {
    "dense": np.full(8, 0.955),
    "global": np.full(8, 0.96),
    "layer": np.full(8, 0.957),
    "random": np.linspace(0.96, 0.8, 8),
    "once": np.linspace(0.96, 0.4, 8),
}
CORRELATIONS = {"taylor": 0.8, "norm": 0.5, "random": 0.0}


def table(seeds=5, without=None, **changes):
    """Return the trials of a study that reproduces, but for the changes: curves and correlations."""
    rng, rows = np.random.default_rng(0), []
    for seed in range(seeds):
        weights, filters = {"part": "weights", "seed": seed}, {"part": "filters", "seed": seed}
        for arm, curve in PLANTED.items():
            weights[arm] = (np.asarray(changes.get(arm, curve)) + 0.001 * rng.standard_normal(8)).tolist()
        for score, value in CORRELATIONS.items():
            filters[f"{score}_correlation"] = changes.get(f"{score}_score", value) + 0.05 * rng.standard_normal()
            filters[f"{score}_together"] = 0.1
        rows += [weights | {"small": [0.93, 0.8]}, filters]
    trials = pd.DataFrame(rows)
    return trials[trials["part"] != without] if without else trials


def verdict(trials):
    return Verdict.of(STUDY.judge(trials), seeds=trials["seed"].nunique()).outcome


def wrong(trials):
    return [criterion.name for criterion in STUDY.judge(trials) if not criterion.holds]


def test_what_is_planted_is_reproduced():
    criteria = STUDY.judge(table())
    assert verdict(table()) == "reproduced"
    assert [criterion.control for criterion in criteria] == [False] * 5 + [True] * 2


@pytest.mark.parametrize(
    ("changes", "failing"),
    [
        ({"global": PLANTED["global"] - 0.015}, ["by magnitude minus dense"]),
        ({"random": np.linspace(0.96, 0.93, 8)}, ["9 times fewer: by magnitude minus at random"]),
        ({"random": np.linspace(0.9, 0.92, 8)}, ["at 32 times fewer minus at 9"]),
        ({"once": np.linspace(0.96, 0.8, 8)}, ["retrained minus not retrained"]),
        ({"norm_score": 0.9}, ["Taylor minus norm"]),
        ({"dense": np.full(8, 0.875), "random": np.linspace(0.96, 0.8, 8)}, ["at random minus dense"]),
    ],
    ids=["loss", "any weights", "no worse at 32", "no retraining", "norm", "too many weights"],
)
def test_each_criterion_catches_its_fault(changes, failing):
    trials = table(**changes)
    found = wrong(trials)
    assert verdict(trials) == "not reproduced"
    assert len(found) == len(failing)
    assert all(part in name for part, name in zip(failing, found, strict=True))


def test_random_scores_that_agree_with_the_oracle_fail():
    trials = table()
    trials.loc[trials["part"] == "filters", "random_correlation"] += 0.5
    assert wrong(trials) == ["filters: rank correlation of random scores with the oracle"]
    assert verdict(trials) == "not reproduced"


def test_networks_that_learn_nothing_fail():
    trials = table(**{arm: np.full(8, 0.1) for arm in PLANTED}, taylor_score=0.0, norm_score=0.0)
    assert verdict(trials) == "not reproduced"
    held = [criterion.name for criterion in STUDY.judge(trials) if criterion.holds and not criterion.control]
    assert held == ["9 times fewer weights: test accuracy, pruned by magnitude minus dense, points"]


@pytest.mark.parametrize("without", ["weights", "filters"])
def test_missing_conditions_leave_it_open(without):
    assert verdict(table(without=without)) == "inconclusive"


def test_what_is_judged_is_run_at_quick_and_full():
    for scale in ("quick", "full"):
        grid = STUDY.grid(scale)
        assert {case.part for case in grid.cases} == {"weights", "filters"}
        # Seeds from 1000 on were explored.
        assert max(grid.seeds) < 1000


def test_the_figure_names_what_it_shows():
    svg = to_svg(STUDY.draw(table()), "x")
    for name in ("smallest of all", "not retrained", "Taylor", "times fewer weights", "oracle"):
        assert name in svg
    for trials in (pd.DataFrame({"seed": []}), table(seeds=1), table(without="weights"), table(without="filters")):
        assert STUDY.draw(trials).axes
