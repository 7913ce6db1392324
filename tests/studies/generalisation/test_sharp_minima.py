"""Batch size and sharpness: measures against dense Hessians, the criteria against planted fakes."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
import torch
from torch.func import functional_call, hessian
from torch.nn import functional

from deepscope.core import UsageError, Verdict, derive_seed
from deepscope.data import Samples, load
from deepscope.figures import to_svg
from deepscope.models import MLP
from deepscope.studies.generalisation import _equal_loss, _sharpness, sharp_minima
from deepscope.studies.generalisation._batch_arms import ARMS, arms
from deepscope.studies.generalisation._equal_loss import train_to_equal_loss
from deepscope.studies.generalisation._sharpness import invariant_sharpness, losses_along, rescaled, sharpness_of
from deepscope.studies.generalisation.sharp_minima import STUDY
from deepscope.subject import seeded_generators

CASES = {case.arm: case for case in STUDY.grid("smoke").cases}
DISTANCES = np.linspace(0, 0.2, 3)


class Run:
    """What a trial is handed, as the lab does it."""

    device = torch.device("cpu")

    def __init__(self, folder, seed=1000, dies_at=2.0):
        self.seed, self.dies_at = seed, dies_at
        self.checkpoint = folder / "checkpoint"

    @property
    def generator(self):
        return torch.Generator().manual_seed(derive_seed(self.seed, "trial"))

    def progress(self, done):
        if done >= self.dies_at:
            raise KeyboardInterrupt


def run_trial(folder, arm, seed=1000, **changed):
    with seeded_generators(derive_seed(seed, "trial")):
        return STUDY.trial(CASES[arm].replace(**changed), Run(folder, seed))


# --- what is compared


def test_the_scaled_rate_is_in_proportion_to_the_batch():
    known = arms(n_train=1200, small=8, rate=0.04, warmup=50)
    assert list(known) == list(ARMS)
    small, large, scaled = (known[name] for name in ("small", "large", "scaled"))
    assert (small["batch_size"], large["batch_size"], known["whole"]["batch_size"]) == (8, 120, 1200)
    assert small["learning_rate"] / small["batch_size"] == pytest.approx(scaled["learning_rate"] / 120, rel=1e-15)
    # All else is the same at the constant rate, but for what the arm's name says.
    differ = {name: {key for key in small if small[key] != known[name][key]} - {"arm"} for name in known}
    assert differ["large"] == differ["whole"] == {"batch_size"}
    assert differ["again"] == {"order"}
    assert differ["scaled"] == differ["whole scaled"] == {"batch_size", "learning_rate", "warmup"}
    assert {name for name in known if known[name]["optimizer"] == "adam"} == {"adam small", "adam large"}


def test_every_scale_has_what_is_judged_with_the_same_seeds():
    for scale in STUDY.scales:
        seeds = {case.arm: own for case, own in STUDY.grid(scale).parts}
        assert len(seeds) == len(STUDY.grid(scale).cases)
        assert len({seeds[arm] for arm in ("small", "again", "large", "scaled")}) == 1
        assert all(set(own) <= set(seeds["small"]) for own in seeds.values())
        assert scale == "smoke" or set(seeds) >= set(ARMS) - {"whole"}
    assert min(STUDY.grid("quick").seeds) >= 100


# --- training


def trained(folder, run=None, **changed):
    data = load("digits")
    case = CASES["scaled"].replace(**changed)
    torch.manual_seed(4)
    model = MLP(64, [12, 12], 10)
    samples = Samples(data.train.inputs[:60], data.train.targets[:60])
    return model, train_to_equal_loss(model, samples, case, run or Run(folder)), samples


def test_training_equals_a_loop_written_out(tmp_path):
    model, found, samples = trained(tmp_path, batch_size=9, learning_rate=0.3, warmup=4, target_loss=1.9, check_every=3)
    torch.manual_seed(4)
    twin, losses = MLP(64, [12, 12], 10), []
    epochs = samples.epochs(9, seed=derive_seed(1000, "first"))
    while not losses or len(losses) % 3 or losses[-1] > 1.9:
        epoch, batch = divmod(len(losses), 7)
        x, y = list(epochs(epoch))[batch]
        gradients = torch.autograd.grad(functional.cross_entropy(twin(x), y), list(twin.parameters()))
        rate = 0.3 * min(1, (len(losses) + 1) / 4)
        with torch.no_grad():
            for parameter, gradient in zip(twin.parameters(), gradients, strict=True):
                parameter.sub_(rate * gradient)
            losses.append(functional.cross_entropy(twin(samples.inputs), samples.targets).item())
    assert len(losses) == found["steps"] > 6
    # Float32 sums in another order, over some tens of steps.
    torch.testing.assert_close(dict(model.named_parameters()), dict(twin.named_parameters()), rtol=1e-3, atol=1e-5)
    assert found["loss"] == pytest.approx(losses[-1], rel=1e-4)


def test_another_optimizer_and_another_order_give_other_networks(tmp_path):
    ends = {
        name: torch.cat([each.flatten() for each in trained(tmp_path / name, max_steps=6, **changed)[0].parameters()])
        for name, changed in (("plain", {}), ("order", {"order": "another"}), ("adam", {"optimizer": "adam"}))
    }
    for one, other in (("plain", "order"), ("plain", "adam")):
        assert not torch.allclose(ends[one], ends[other], atol=1e-3)


def test_a_loss_that_is_not_reached_has_no_steps(tmp_path):
    model, found, samples = trained(tmp_path, target_loss=0.0, max_steps=7, check_every=2)
    assert found["steps"] is None
    # Measured after the last step too, which is none of every two.
    assert found["loss"] == pytest.approx(functional.cross_entropy(model(samples.inputs), samples.targets).item())


def test_a_training_cut_off_goes_on_where_it_was(tmp_path, monkeypatch):
    monkeypatch.setattr(_equal_loss, "SAVED_EVERY", 7)
    whole, first, _ = trained(tmp_path / "whole", target_loss=1.9)
    run = Run(tmp_path / "cut", dies_at=0.3)
    with pytest.raises(KeyboardInterrupt):
        trained(tmp_path, run, target_loss=1.9)
    assert run.checkpoint.exists()
    run.dies_at = 2.0
    for _ in range(2):  # the second time from its very end
        model, found, _ = trained(tmp_path, run, target_loss=1.9)
        assert found == first
        assert all(torch.equal(a, b) for a, b in zip(model.parameters(), whole.parameters(), strict=True))


# --- measures


@pytest.fixture(scope="module")
def solved():
    """A small network in double precision after some steps, its samples, and its dense Hessian by tensor."""
    torch.manual_seed(0)
    model, x, y = MLP(3, [4, 5], 3).double(), torch.randn(40, 3, dtype=torch.float64), torch.arange(40) % 3
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
    for _ in range(100):
        optimizer.zero_grad()
        functional.cross_entropy(model(x), y).backward()
        optimizer.step()
    parameters = {name: value.detach() for name, value in model.named_parameters()}
    blocks = hessian(lambda point: functional.cross_entropy(functional_call(model, point, (x,)), y))(parameters)
    return model, Samples(x, y), parameters, blocks


def dense(parameters, blocks):
    names = list(parameters)
    sizes = {name: parameters[name].numel() for name in names}
    return torch.cat([torch.cat([blocks[a][b].reshape(sizes[a], sizes[b]) for b in names], 1) for a in names])


def test_sharpness_is_that_of_the_dense_hessian(solved):
    model, samples, parameters, blocks = solved
    found = sharpness_of(model, samples, factor=5.0, distances=DISTANCES)
    matrix = dense(parameters, blocks)
    # Certified to 1 %.
    assert found["eigenvalue"] == pytest.approx(torch.linalg.eigvalsh(matrix)[-1].item(), rel=0.01)
    assert found["trace"] == pytest.approx(matrix.trace().item(), rel=1e-9)
    weights = [name for name in parameters if name.endswith("weight")]
    invariant = sum(
        (parameters[name].square().sum() * blocks[name][name].reshape(2 * [parameters[name].numel()]).trace()).item()
        for name in weights
    )
    assert len(weights) == 3
    assert found["invariant"] == pytest.approx(invariant, rel=1e-9)
    own = torch.stack([
        torch.cat([
            gradient.flatten()
            for gradient in torch.autograd.grad(
                functional.cross_entropy(model(samples.inputs[i : i + 1]), samples.targets[i : i + 1]),
                list(model.parameters()),
            )
        ])
        for i in range(40)
    ])  # fmt: skip
    assert found["gradient_noise"] == pytest.approx(own.var(0).sum().item(), rel=1e-6)


def test_rescaled_layers_are_the_same_function_and_the_eigenvalue_is_not(solved):
    model, samples, parameters, blocks = solved
    found = sharpness_of(model, samples, factor=5.0, distances=DISTANCES)
    # Powers of 5 round in double precision.
    assert found["rescaled_outputs"] < 1e-13
    assert found["rescaled_invariant"] == pytest.approx(found["invariant"], rel=1e-12)
    assert found["rescaled_trace"] > 2 * found["trace"]
    # The block of the first layer is 25 times what it was; no eigenvalue is more than that.
    names = [name for name in parameters if name.startswith("hidden1")]
    block = dense({name: parameters[name] for name in names}, blocks)
    least, most = 25 * torch.linalg.eigvalsh(block)[-1].item(), 25 * found["eigenvalue"]
    assert 0.99 * least < found["rescaled_eigenvalue"] < 1.01 * most
    before = model.hidden1.weight.clone()
    other = rescaled(model, 5.0)
    assert torch.equal(model.hidden1.weight, before)
    assert torch.allclose(other.hidden1.weight, before / 5)


def test_a_layer_that_is_merely_larger_changes_the_invariant(solved):
    model, samples, *_ = solved
    other = rescaled(model, 1.0)
    with torch.no_grad():
        other.hidden2.weight.mul_(2)
    assert abs(math.log(invariant_sharpness(other, samples) / invariant_sharpness(model, samples))) > 0.1


def test_the_loss_along_a_direction_is_that_of_moved_weights(solved):
    model, samples, *_ = solved
    found = sharpness_of(model, samples, factor=5.0, distances=np.array([0.0, 1e-5]))
    loss = functional.cross_entropy(model(samples.inputs), samples.targets).item()
    assert found["valley"][0] == pytest.approx(loss, rel=1e-12)
    # Odd terms cancel: ½ λ t² is left, of 1e-10, where losses round at 1e-16. Farther on units switch.
    assert 2 * (found["valley"][1] - loss) / 1e-10 == pytest.approx(found["eigenvalue"], rel=0.01)
    direction = {name: np.ones(value.shape) for name, value in model.named_parameters()}
    both = []
    for sign in (1, -1):
        moved = rescaled(model, 1.0)
        with torch.no_grad():
            for parameter in moved.parameters():
                parameter.add_(0.3 * sign)
        both.append(functional.cross_entropy(moved(samples.inputs), samples.targets).item())
    (found,) = losses_along(model, samples, direction, np.array([0.3]))
    assert found == pytest.approx(sum(both) / 2, rel=1e-12)


def test_an_eigenvalue_that_has_not_converged_is_none(solved, monkeypatch):
    model, samples, *_ = solved
    real = _sharpness.curvature
    monkeypatch.setattr(
        _sharpness, "curvature", lambda *a, **k: real(*a, **{**k, "max_products": 2, "tolerance": 1e-9})
    )
    found = sharpness_of(model, samples, factor=5.0, distances=DISTANCES)
    assert found["eigenvalue"] is found["rescaled_eigenvalue"] is None
    assert found["invariant"] > 0


# --- a trial


def test_a_trial_measures_the_network_that_was_trained(tmp_path, monkeypatch):
    seen = {}
    real = sharp_minima.train_to_equal_loss

    def watched(model, samples, *rest):
        seen["start"] = [value.detach().clone() for value in model.parameters()]
        found = real(model, samples, *rest)
        seen.setdefault("all", []).append((seen["start"], model, samples))
        return found

    monkeypatch.setattr(sharp_minima, "train_to_equal_loss", watched)
    found = run_trial(tmp_path / "a", "scaled")
    run_trial(tmp_path / "b", "large")
    run_trial(tmp_path / "c", "large", seed=1001)
    (start, model, samples), (other_start, _, other_samples), (new_start, _, new_samples) = seen["all"]
    assert found["loss"] == pytest.approx(functional.cross_entropy(model(samples.inputs), samples.targets).item())
    test = load("digits").test
    assert found["test_accuracy"] == (model(test.inputs).argmax(1) == test.targets).double().mean().item()
    assert found["valley"][0] == pytest.approx(found["loss"], rel=1e-5)
    assert found["distances"].shape == found["valley"].shape
    # Trainings of one seed share weights and images; seeds do not.
    assert all(map(torch.equal, start, other_start))
    assert torch.equal(samples.inputs, other_samples.inputs)
    assert not torch.equal(start[0], new_start[0])
    assert not torch.equal(samples.inputs, new_samples.inputs)


def test_what_cannot_be_run_is_refused(tmp_path):
    for name in ("n_train", "width", "batch_size", "check_every", "max_steps"):
        with pytest.raises(UsageError, match=name):
            run_trial(tmp_path, "small", **{name: 0})
    with pytest.raises(UsageError, match="only 1438 samples"):
        run_trial(tmp_path, "small", n_train=1439)
    with pytest.raises(UsageError, match=r'(?s)unknown optimizer.*Did you mean "adam"'):
        run_trial(tmp_path, "small", optimizer="adm")


# --- the judge

MEASURED = {"small": (2.4, 0.886), "again": (2.4, 0.886), "large": (5.3, 0.878), "scaled": (0.9, 0.899)}


def table(seeds=5, without=(), **changes):
    """Return the trials of a study that reproduces, but for the changes: numbers by arm."""
    rng, rows = np.random.default_rng(0), []
    for seed in range(seeds):
        for arm in ARMS:
            if arm in without:
                continue
            sharp, accuracy = MEASURED.get(arm, (3.0, 0.89))
            numbers = {"loss": 0.0098, "eigenvalue": sharp, "trace": 9 * sharp, "keskar": sharp, "sam": sharp / 500}
            numbers |= {
                "adaptive": sharp / 100,
                "invariant": 700 * sharp**0.5,
                "test_accuracy": accuracy,
                "steps": 3000,
            }
            numbers |= {"gradient_noise": sharp / 3}
            numbers |= changes.get(arm, {}) | changes.get("all", {})
            scatter = 1 + 0.01 * rng.standard_normal()
            for name in ("eigenvalue", "trace", "keskar", "invariant"):
                numbers[name] *= scatter
            numbers["test_accuracy"] += 5e-4 * rng.standard_normal()
            factor = numbers.pop("factor", 14.0)
            drift = numbers.pop("drift", 1 + 1e-7)
            numbers |= {
                "rescaled_eigenvalue": factor * numbers["eigenvalue"],
                "rescaled_trace": factor * numbers["trace"],
                "rescaled_invariant": drift * numbers["invariant"],
                "rescaled_outputs": numbers.get("rescaled_outputs", 3e-7),
                "distances": np.linspace(0, 0.5, 5),
                "valley": 0.01 + numbers["eigenvalue"] * np.linspace(0, 0.5, 5) ** 2 / 2,
            }
            rows.append({"arm": arm, "seed": seed, **numbers})
    return pd.DataFrame(rows)


def verdict(trials):
    return Verdict.of(STUDY.judge(trials), seeds=trials["seed"].nunique())


def failing(trials):
    return [criterion.name for criterion in STUDY.judge(trials) if criterion.holds is False]


def test_what_is_claimed_is_reproduced():
    found = verdict(table())
    assert found.outcome == "reproduced", found.reasons
    assert len(found.criteria) == 13
    assert sum(criterion.control for criterion in found.criteria) == 4


SMALL = {"eigenvalue": 2.4, "keskar": 2.4, "invariant": 700 * 2.4**0.5, "test_accuracy": 0.886}


@pytest.mark.parametrize(
    ("changes", "names"),
    [
        ({"large": {"loss": 0.0112}}, ["log training loss, large minus"]),
        ({"scaled": {"loss": 0.008}}, ["log training loss, large, scaled"]),
        ({"large": {"eigenvalue": 4.2}}, ["constant rate: log of the largest"]),
        ({"large": {"keskar": 2.0}}, ["constant rate: log of Keskar"]),
        ({"large": {"test_accuracy": 0.89}}, ["constant rate: test accuracy"]),
        # Other proportions of the layers and no more.
        ({"large": {"invariant": 690 * 2.4**0.5}}, ["constant rate: log of the scale-invariant"]),
        ({"scaled": {"eigenvalue": 3.2}}, ["scaled rate: log of the largest"]),
        ({"scaled": {"test_accuracy": 0.882}}, ["scaled rate: test accuracy"]),
        # The rate has no effect: the scaled network is the large batch's.
        (
            {"scaled": {"eigenvalue": 5.3, "test_accuracy": 0.878}},
            ["scaled rate: log of the largest", "scaled rate: test accuracy"],
        ),
        ({"again": {"eigenvalue": 3.2}}, ["small batch in another order: log"]),
        ({"again": {"test_accuracy": 0.878}}, ["small batch in another order: test accuracy"]),
        # Nothing is rescaled, or one layer only.
        ({"all": {"factor": 1.0}}, ["rescaled layers: the largest eigenvalue"]),
        ({"small": {"factor": 1.0}}, ["rescaled layers: the largest eigenvalue"]),
        ({"large": {"rescaled_outputs": 0.1}}, ["rescaled layers: change of the outputs"]),
        ({"scaled": {"drift": 1.1}}, ["rescaled layers: the scale-invariant"]),
    ],
)
def test_each_fake_fails_where_it_should(changes, names):
    found = failing(table(**changes))
    assert len(found) == len(names)
    assert all(map(str.startswith, found, names)), found
    assert verdict(table(**changes)).outcome == "not reproduced"


def test_networks_that_ignore_their_batch_size_fail():
    found = failing(table(all=SMALL))
    assert "constant rate: log of the largest Hessian eigenvalue, large over small batch" in found
    assert not any(name.startswith("scaled rate") for name in found)


def test_untrained_networks_show_nothing():
    found = verdict(table(all={**SMALL, "steps": None}))
    assert True not in [criterion.holds for criterion in found.criteria]
    assert found.outcome == "inconclusive"


def test_what_is_shown_is_not_judged():
    odd = {"eigenvalue": 99.0, "test_accuracy": 0.1, "factor": 1.0, "steps": None}
    changed = {arm: odd for arm in ARMS if arm not in MEASURED}
    assert len(changed) == 4
    assert verdict(table(**changed)).outcome == "reproduced"


@pytest.mark.parametrize("arm", ["small", "again", "large", "scaled"])
def test_what_is_missing_leaves_it_open(arm):
    for trials in (table(without=[arm]), table(**{arm: {"steps": None}})):
        assert verdict(trials).outcome == "inconclusive"


def test_one_network_that_did_not_reach_the_loss_is_not_left_out():
    trials = table()
    trials.loc[(trials["arm"] == "large") & (trials["seed"] == 3), "steps"] = None
    found = verdict(trials)
    assert found.outcome == "inconclusive"
    assert found.criteria[2].missing == 1


def test_an_eigenvalue_that_is_none_is_not_left_out():
    trials = table()
    trials["eigenvalue"] = trials["eigenvalue"].astype(object)
    trials.loc[(trials["arm"] == "large") & (trials["seed"] == 3), "eigenvalue"] = None
    assert verdict(trials).outcome == "inconclusive"


@pytest.mark.parametrize("seeds", [1, 2])
def test_few_seeds_decide_nothing(seeds):
    assert all(criterion.holds is None for criterion in STUDY.judge(table(seeds)))


# --- the picture


def test_the_figure_names_what_it_shows():
    svg = to_svg(STUDY.draw(table(seeds=3)), "x")
    for name in (*ARMS.values(), "small batch, rescaled", "rise in a box (Keskar)", "scale-invariant"):
        assert name in svg


def test_what_is_missing_is_not_drawn():
    for trials in (pd.DataFrame({"seed": []}), table(seeds=1, without=["small", "large"]), table(all={"steps": None})):
        assert STUDY.draw(trials).axes
    for trials in (table(without=["again"]), table(again={"steps": None})):
        assert ARMS["again"] not in to_svg(STUDY.draw(trials), "x")
