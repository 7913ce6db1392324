"""Random labels: the randomisation and the networks against twins, the criteria against planted fakes."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn
from torch.nn import functional

from deepscope.core import Case, UsageError, Verdict, derive_seed
from deepscope.data import load
from deepscope.figures import to_svg
from deepscope.studies.generalisation import random_labels
from deepscope.studies.generalisation._image_classifiers import NETWORKS, image_classifier
from deepscope.studies.generalisation._randomised_images import randomise
from deepscope.studies.generalisation.random_labels import STUDY, early_stopping
from deepscope.subject import seeded_generators


def drawn(n_train=300, n_held_out=100, seed=0, data=None, **kinds):
    return randomise(
        data or load("digits"),
        n_train=n_train,
        n_held_out=n_held_out,
        generator=torch.Generator().manual_seed(seed),
        **kinds,
    )


def labels_of(found):
    return torch.cat([found.train.targets, found.held_out.targets])


def test_images_are_drawn_once_and_their_labels_are_true_without_corruption():
    found, digits = drawn(1000, 400), load("digits")
    pixels = torch.cat([found.train.inputs, found.held_out.inputs])
    mean, deviation = (getattr(digits.train.inputs, each)() for each in ("mean", "std"))
    assert found.train.inputs.mean().abs() < 1e-5
    assert found.train.inputs.var(correction=0) == pytest.approx(1, abs=1e-5)
    # Back in sixteenths of the brightest, an image is one of the dataset's, with its label, and is drawn once.
    scale = (found.test.inputs.max() - found.test.inputs.min()) / 16
    keys = [tuple(each.flatten().sub(found.test.inputs.min()).div(scale).round().int().tolist()) for each in pixels]
    whole = {
        tuple((16 * each).flatten().int().tolist()): int(target)
        for each, target in zip(digits.train.inputs, digits.train.targets, strict=True)
    }
    assert len(set(keys)) == 1400
    assert [whole[key] for key in keys] == labels_of(found).tolist()
    assert torch.equal(found.test.targets, digits.test.targets)
    torch.testing.assert_close(found.test.inputs, (digits.test.inputs - mean) / deviation, rtol=0, atol=0.02)
    assert found.n_classes == 10


def test_a_share_of_the_labels_is_random_and_a_larger_share_holds_the_smaller():
    true = labels_of(drawn(1000, 400))
    last = torch.zeros(1400, dtype=torch.bool)
    for share in (0.25, 0.5, 0.75, 1.0):
        found = drawn(1000, 400, corruption=share)
        wrong = labels_of(found) != true
        # A tenth of the random labels is right; 4 standard errors of a binomial of 1400.
        assert wrong.double().mean() == pytest.approx(0.9 * share, abs=4 * 0.5 / 1400**0.5)
        assert wrong[1000:].double().mean() == pytest.approx(0.9 * share, abs=4 * 0.5 / 20)
        assert torch.all(wrong[last])
        assert torch.equal(found.test.targets, load("digits").test.targets)
        last = wrong
    counts = torch.bincount(labels_of(drawn(1000, 400, corruption=1.0)), minlength=10)
    # χ² of 9 degrees of freedom is above 33.7 with probability 1e-4.
    assert (((counts - 140) ** 2) / 140).sum() < 33.7


def test_shuffled_pixels_are_the_same_pixels_in_one_order():
    plain, found = drawn(), drawn(inputs="shuffled")
    flat, mixed = (torch.cat([each.train.inputs, each.test.inputs]).flatten(1) for each in (plain, found))
    assert torch.equal(found.train.targets, plain.train.targets)
    torch.testing.assert_close(mixed.sort(dim=1).values, flat.sort(dim=1).values)
    columns = {tuple(column.tolist()) for column in mixed.T}
    assert columns == {tuple(column.tolist()) for column in flat.T}
    assert not torch.equal(mixed, flat)


def test_noise_has_the_mean_and_variance_of_the_images_and_their_labels():
    plain, found = drawn(), drawn(inputs="gaussian")
    noise = torch.cat([found.train.inputs, found.held_out.inputs, found.test.inputs]).flatten()
    assert torch.equal(labels_of(found), labels_of(plain))
    # 4 standard errors of 48,576 normal values.
    assert noise.mean().abs() < 4 / len(noise) ** 0.5
    assert noise.var() == pytest.approx(1, abs=4 * (2 / len(noise)) ** 0.5)
    correlation = np.corrcoef(found.train.inputs.flatten(1).numpy())
    assert np.abs(correlation[~np.eye(300, dtype=bool)]).mean() < 0.15


def test_signs_are_tosses_of_a_coin():
    found = drawn(1000, 400, labels="signs")
    assert found.n_classes == 2
    assert set(labels_of(found).tolist()) == {0, 1}
    assert labels_of(found).double().mean() == pytest.approx(0.5, abs=4 * 0.5 / 1400**0.5)
    true = labels_of(drawn(1000, 400))
    for digit in range(10):
        tosses = labels_of(found)[true == digit].double()
        assert tosses.mean() == pytest.approx(0.5, abs=4 * 0.5 / len(tosses) ** 0.5)


@pytest.mark.parametrize(
    ("kinds", "said"),
    [
        ({"labels": "class"}, "unknown labels"),
        ({"inputs": "noise"}, "unknown inputs"),
        ({"corruption": 1.5}, "a share of 1.5"),
        ({"n_train": 1300, "n_held_out": 200}, "at most 1438 together"),
    ],
)
def test_what_cannot_be_drawn_is_refused(kinds, said):
    with pytest.raises(UsageError, match=said):
        drawn(**kinds)


def test_the_networks():
    torch.manual_seed(0)
    x = torch.randn(5, 1, 8, 8)
    mlp, cnn, linear = (image_classifier(each, (1, 8, 8), 10) for each in NETWORKS)
    by_hand = mlp.output(torch.relu(mlp.hidden2(torch.relu(mlp.hidden1(x.flatten(1))))))
    torch.testing.assert_close(mlp(x), by_hand)
    torch.testing.assert_close(linear(x), linear.output(x.flatten(1)))
    pooled = functional.max_pool2d(torch.relu(cnn.convolution1(x)), 2)
    by_hand = torch.relu(cnn.hidden(torch.relu(cnn.convolution2(pooled)).flatten(1)))
    torch.testing.assert_close(cnn(x), cnn.output(by_hand))
    assert sum(each.numel() for each in linear.parameters()) == 650
    for network in NETWORKS:
        assert image_classifier(network, (1, 28, 28), 10)(torch.zeros(2, 1, 28, 28)).shape == (2, 10)


def test_two_classes_are_one_output_with_the_logistic_loss():
    torch.manual_seed(0)
    x, signs = torch.randn(6, 1, 8, 8), torch.tensor([0, 1, 1, 0, 1, 0])
    for network in NETWORKS:
        model = image_classifier(network, (1, 8, 8), 2)
        h = model[:-1](x).squeeze(1)
        assert h.shape == (6,)
        torch.testing.assert_close(
            functional.cross_entropy(model(x), signs), functional.soft_margin_loss(h, 2.0 * signs - 1)
        )
        assert torch.equal(model(x).argmax(1), (h > 0).long())


def test_dropout_follows_each_hidden_layer_and_needs_them():
    model = image_classifier("mlp", (1, 8, 8), 10, dropout=0.5)
    kinds = [type(layer) for layer in model]
    assert kinds == [nn.Flatten, nn.Linear, nn.ReLU, nn.Dropout, nn.Linear, nn.ReLU, nn.Dropout, nn.Linear]
    for network in ("cnn", "linear"):
        with pytest.raises(UsageError, match="only the MLP has dropout"):
            image_classifier(network, (1, 8, 8), 10, dropout=0.5)
    with pytest.raises(UsageError, match="unknown network"):
        image_classifier("cn", (1, 8, 8), 10)


@pytest.mark.parametrize(
    ("losses", "kept"),
    [
        ([5, 4, 3, 4, 4, 4, 1], 2),
        ([5, 4, 3, 4, 4, 2, 1], 6),
        ([1, 2, 3, 4], 0),
        ([3, 2, 1], 2),
        ([1, 1, 1, 1], 0),
        ([2], 0),
        ([3, 1, 2], 2),
    ],
)
def test_early_stopping_keeps_the_least_loss_or_never_stops(losses, kept):
    assert early_stopping(losses, 3) == kept


@dataclass
class Run:
    """What a trial is handed, as the lab does it."""

    checkpoint: Path
    seed: int = 3
    dies_at: float = 2.0
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    said: list[float] = field(default_factory=list)

    @property
    def generator(self):
        return torch.Generator().manual_seed(derive_seed(self.seed, "trial"))

    def progress(self, done):
        self.said.append(done)
        if done >= self.dies_at:
            raise KeyboardInterrupt


SMALL = Case(**STUDY.defaults).replace(n_train=60, n_held_out=20, hidden=64, batch_size=16, least_epochs=2, epochs=12)


def run_trial(run, **changed):
    with seeded_generators(derive_seed(run.seed, "trial")):
        return random_labels.trial(SMALL.replace(**changed), run)


@pytest.mark.parametrize(
    "changed",
    [{"corruption": 0.5, "weight_decay": 0.02}, {"network": "cnn", "inputs": "shuffled"}, {"labels": "signs"}],
)
def test_a_trial_equals_a_loop_written_out(tmp_path, changed):
    run = Run(tmp_path / "checkpoint")
    found, case = run_trial(run, **changed), SMALL.replace(**changed)
    images = randomise(
        load("digits"),
        n_train=60,
        n_held_out=20,
        labels=case.labels,
        corruption=case.corruption,
        inputs=case.inputs,
        generator=run.generator,
    )
    torch.manual_seed(derive_seed(run.seed, "trial"))
    model = image_classifier(case.network, (1, 8, 8), images.n_classes, hidden=64)
    velocity = [torch.zeros_like(each) for each in model.parameters()]
    order = images.train.epochs(16, seed=run.seed)
    rows = []
    for epoch in range(len(found["train_accuracy"])):
        for x, y in order(epoch):
            gradients = torch.autograd.grad(functional.cross_entropy(model(x), y), list(model.parameters()))
            with torch.no_grad():
                for parameter, gradient, moving in zip(model.parameters(), gradients, velocity, strict=True):
                    moving.mul_(0.9).add_(gradient + case.weight_decay * parameter)
                    parameter.sub_(0.05 * moving)
        with torch.no_grad():
            right = [
                (model(part.inputs).argmax(1) == part.targets).double().mean().item()
                for part in (images.train, images.test)
            ]
            rows.append([*right, functional.cross_entropy(model(images.held_out.inputs), images.held_out.targets)])
    train, test, loss = np.array(rows).T
    # Rounding in float32, grown over up to 48 steps, may turn an image of 359 over.
    np.testing.assert_allclose(found["train_accuracy"], train, atol=1 / 60 + 1e-9)
    np.testing.assert_allclose(found["test_accuracy"], test, atol=2 / 359)
    np.testing.assert_allclose(found["held_out_loss"], loss, rtol=1e-2)
    fitted = [epoch for epoch, accuracy in enumerate(found["train_accuracy"], start=1) if accuracy >= 0.999]
    assert found["epochs_to_fit"] == (fitted[0] if fitted else None)
    assert found["best_train"] == max(found["train_accuracy"])
    assert found["last_test"] == found["test_accuracy"][-1]
    assert found["early_train"] == found["train_accuracy"][found["early_epoch"] - 1]
    assert found["early_test"] == found["test_accuracy"][found["early_epoch"] - 1]


def test_a_trial_ends_when_it_has_fitted_but_not_too_soon(tmp_path):
    soon = run_trial(Run(tmp_path / "soon"), epochs=60)
    fitted = soon["epochs_to_fit"]
    assert 2 < fitted == len(soon["train_accuracy"]) < 60
    later = run_trial(Run(tmp_path / "later"), epochs=60, least_epochs=fitted + 3)
    assert later["epochs_to_fit"] == fitted
    assert len(later["train_accuracy"]) == fitted + 3
    assert run_trial(Run(tmp_path / "never"), epochs=2)["epochs_to_fit"] is None


def test_accuracies_are_those_without_dropout(tmp_path, monkeypatch):
    modes = []
    real = random_labels.evaluate

    def watched(model, batches, loss):
        found = real(model, batches, loss)
        model.eval()
        right = sum((model(x).argmax(1) == y).sum().item() for x, y in batches)
        modes.append(right == round(found.accuracy * batches.n_samples))
        return found

    monkeypatch.setattr(random_labels, "evaluate", watched)
    run_trial(Run(tmp_path / "checkpoint"), dropout=0.5, epochs=3)
    assert modes == [True] * 9


def test_a_trial_cut_off_goes_on_where_it_was(tmp_path):
    changed = {"corruption": 1.0, "dropout": 0.5, "epochs": 16}
    whole = run_trial(Run(tmp_path / "whole"), **changed)
    with pytest.raises(KeyboardInterrupt):
        run_trial(Run(tmp_path / "cut", dies_at=0.85), **changed)
    second = Run(tmp_path / "cut")
    found = run_trial(second, **changed)
    assert second.said[0] > 0.5
    assert found.keys() == whole.keys()
    for name, values in found.items():
        np.testing.assert_array_equal(values, whole[name], err_msg=name)


CURVES = {
    "true": np.array([0.5, 0.9, 0.99, 1.0]),
    "random": np.array([0.1, 0.2, 0.3, 0.4, 0.6, 0.8, 0.95, 0.99, 0.998, 1.0]),
}
NORMAL = {"labels": "classes", "corruption": 0.0, "inputs": "images", "weight_decay": 0.0, "dropout": 0.0}


def table(seeds=5, without=(), **changes):
    """Return the trials of a study that reproduces, but for the changes: values by ``network_condition``."""
    rng = np.random.default_rng(0)
    rows = []

    def add(key, seed, case, **numbers):
        if key in without:
            return
        numbers = {"best_train": 1.0, "early_train": 0.5, "early_test": 0.5, "epochs_to_fit": 10} | numbers
        numbers["last_test"] = numbers.get("last_test", 0.1) + 0.003 * rng.standard_normal()
        numbers |= changes.get(key, {})
        curve = CURVES["random" if case.get("corruption") else "true"]
        rows.append({**NORMAL, **case, "seed": seed, "train_accuracy": curve, **numbers})

    for seed in range(seeds):
        for share, test in zip((0.0, 0.25, 0.5, 0.75, 1.0), (0.97, 0.85, 0.65, 0.4, 0.1), strict=True):
            case = {"network": "mlp", "corruption": share}
            early = {"early_test": 0.97} if share == 0 else {}
            add(f"mlp {share}", seed, case, last_test=test, epochs_to_fit=10 if share == 0 else 38 + seed, **early)
        add("decay", seed, {"network": "mlp", "weight_decay": 0.01}, last_test=0.975)
        add("dropout", seed, {"network": "mlp", "dropout": 0.5}, last_test=0.98)
        add("signs", seed, {"network": "mlp", "labels": "signs"})
        add("cnn", seed, {"network": "cnn"}, last_test=0.97, early_test=0.965)
        add("cnn random", seed, {"network": "cnn", "corruption": 1.0}, epochs_to_fit=70 + seed)
        add("shuffled", seed, {"network": "cnn", "inputs": "shuffled"}, last_test=0.96, epochs_to_fit=12 + seed)
        add("gaussian", seed, {"network": "cnn", "inputs": "gaussian"}, epochs_to_fit=30 + seed)
        add("softmax", seed, {"network": "linear"}, last_test=0.95)
        add("softmax random", seed, {"network": "linear", "corruption": 1.0}, best_train=0.28, epochs_to_fit=None)
        add("linear signs", seed, {"network": "linear", "labels": "signs"}, best_train=0.6, epochs_to_fit=None)
    return pd.DataFrame(rows)


def verdict(trials):
    return Verdict.of(STUDY.judge(trials), seeds=trials["seed"].nunique())


def test_what_the_paper_shows_is_reproduced():
    found = verdict(table())
    assert found.outcome == "reproduced", found.reasons
    assert len(found.criteria) == 25
    assert sum(criterion.control for criterion in found.criteria) == 3


@pytest.mark.parametrize(
    ("planted", "failing"),
    [
        ({"mlp 1.0": {"best_train": 0.97}}, ["perceptron, random labels: highest"]),
        ({"cnn random": {"best_train": 0.97}}, ["convolutional network, random labels: highest"]),
        ({"shuffled": {"best_train": 0.97}}, ["convolutional network, pixels in one random order"]),
        ({"gaussian": {"best_train": 0.97}}, ["convolutional network, noise for images"]),
        ({"mlp 1.0": {"epochs_to_fit": 150}}, ["perceptron: log of the epochs"]),
        ({"mlp 1.0": {"epochs_to_fit": 8}}, ["perceptron: log of the epochs"]),
        ({"cnn random": {"epochs_to_fit": 150}}, ["convolutional network: log of the epochs"]),
        ({"cnn random": {"epochs_to_fit": 8}}, ["convolutional network: log of the epochs"]),
        ({"cnn": {"last_test": 0.5}}, ["convolutional network, true labels"]),
        (
            {"mlp 0.0": {"last_test": 0.5}},
            [
                "perceptron, true labels: test",
                "perceptron: test accuracy lost from 0 %",
                "perceptron, true labels: share",
                "perceptron, true labels: share",
            ],
        ),
        ({"mlp 0.25": {"last_test": 0.6}}, ["perceptron: test accuracy lost from 25 %"]),
        ({"mlp 0.5": {"last_test": 0.3}}, ["perceptron: test accuracy lost from 50 %"]),
        ({"mlp 0.75": {"last_test": 0.05}}, ["perceptron: test accuracy lost from 75 %"]),
        ({"mlp 1.0": {"last_test": 0.2}}, ["perceptron, random labels: test accuracy"]),
        ({"mlp 1.0": {"last_test": 0.02}}, ["perceptron, random labels: test accuracy"]),
        ({"cnn random": {"last_test": 0.2}}, ["convolutional network, random labels: test accuracy"]),
        ({"decay": {"last_test": 0.9995}}, ["perceptron, true labels: share"]),
        ({"dropout": {"last_test": 0.9995}}, ["perceptron, true labels: share"]),
        # Regularised networks that are worse than the plain one say nothing of what regularisation does.
        ({"decay": {"last_test": 0.92}}, ["perceptron, true labels: share"]),
        ({"dropout": {"last_test": 0.92}}, ["perceptron, true labels: share"]),
        ({"shuffled": {"epochs_to_fit": 9}}, ["convolutional network: log of the epochs to fit, pixels"]),
        ({"gaussian": {"epochs_to_fit": 9}}, ["convolutional network: log of the epochs to fit, noise"]),
        # A rule of early stopping that stops after one epoch.
        ({"mlp 0.0": {"early_test": 0.88}}, ["perceptron, true labels, stopped early"]),
        ({"cnn": {"early_test": 0.64}}, ["convolutional network, true labels, stopped early"]),
        ({"signs": {"best_train": 0.98}}, ["perceptron: Rademacher"]),
        ({"softmax": {"best_train": 0.5}}, ["softmax regression, true labels"]),
        ({"softmax random": {"best_train": 1.0}}, ["softmax regression, random labels"]),
        ({"linear signs": {"best_train": 0.9}}, ["linear classifier: Rademacher"]),
        ({"mlp 0.25": {"early_train": 1.0}}, ["early stopping"]),
        ({"mlp 1.0": {"early_train": 1.0}}, ["early stopping"]),
        ({"cnn random": {"early_train": 1.0}}, ["early stopping"]),
    ],
    ids=lambda value: str(value).replace(" ", "-")[:60] if isinstance(value, dict) else "",
)
def test_planted_fakes_are_not_reproduced(planted, failing):
    found = verdict(table(**planted))
    assert found.outcome == "not reproduced"
    wrong = [criterion for criterion in found.criteria if criterion.holds is False]
    assert len(wrong) == len(failing)
    for criterion, name in zip(wrong, failing, strict=True):
        assert criterion.name.startswith(name)


@pytest.mark.parametrize(("inputs", "name"), [("shuffled", "pixels"), ("gaussian", "noise")])
def test_images_left_as_they_are_do_not_pass_for_others(inputs, name):
    found = verdict(table(**{inputs: {"epochs_to_fit": 10}}))
    assert found.outcome == "inconclusive"
    (unheld,) = [criterion for criterion in found.criteria if not criterion.holds]
    assert unheld.name.startswith(f"convolutional network: log of the epochs to fit, {name}")


def test_regularisation_that_is_essential_owes_it_all():
    owed = [each for each in STUDY.judge(table(**{"mlp 0.0": {"last_test": 0.1}})) if "owed to" in each.name]
    assert [criterion.measured for criterion in owed] == [pytest.approx(1, abs=1e-12)] * 2


def test_networks_that_learn_nothing_fail_wherever_it_is_not_a_control_of_absence():
    trials = table()
    trials["best_train"] = np.where(trials["labels"] == "signs", 0.5, 0.1)
    trials["last_test"] = trials["early_test"] = trials["early_train"] = 0.1
    trials["epochs_to_fit"] = None
    found = verdict(trials)
    assert {each.name.split(":")[0] for each in found.criteria if each.holds} == {
        "perceptron, random labels",
        "convolutional network, random labels",
        "softmax regression, random labels",
        "linear classifier",
        "early stopping, any share of random labels",
    }
    assert all(each.control or "test accuracy" in each.name for each in found.criteria if each.holds)


@pytest.mark.parametrize("missing", ["mlp 0.0", "mlp 0.5", "mlp 1.0", "decay", "dropout", "signs", "cnn", "cnn random",
                                     "shuffled", "gaussian", "softmax", "softmax random", "linear signs"])  # fmt: skip
def test_missing_conditions_leave_it_open(missing):
    trials = table(without=[missing])
    assert verdict(trials).outcome == "inconclusive"


def test_what_is_missing_is_not_drawn():
    for trials in (pd.DataFrame({"seed": []}), table(seeds=1).iloc[:1], table(without=["mlp 0.0", "cnn random"])):
        assert STUDY.draw(trials).axes


def test_a_trial_that_never_fitted_leaves_the_time_open():
    trials = table()
    never = (trials["network"] == "mlp") & (trials["corruption"] == 1.0) & (trials["seed"] == 2)
    trials.loc[never, "epochs_to_fit"] = None
    (times,) = [each for each in STUDY.judge(trials) if each.name.startswith("perceptron: log of the epochs")]
    assert (times.holds, times.missing) == (None, 1)


def test_the_figure_names_its_curves():
    svg = to_svg(STUDY.draw(table()), "x")
    for name in ("true labels", "random labels", "noise for images", "stopped early", "chance", "reported", "fitted"):
        assert name in svg
