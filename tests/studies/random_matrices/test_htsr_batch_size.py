"""Batch size and spectra: the matrices against closed forms and twins, the criteria against planted fakes."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
import torch
from torch.nn import functional

from deepscope.core import Case, MeasurementError, UsageError, Verdict, derive_seed
from deepscope.data import Samples, load
from deepscope.figures import to_svg
from deepscope.linalg import fit_power_law, mp_edges
from deepscope.studies.random_matrices import _trained_to_loss, htsr_batch_size
from deepscope.studies.random_matrices._htsr_figure import BATCHES
from deepscope.studies.random_matrices._layer_spectra import is_noise, noise_with_spikes, spectra
from deepscope.studies.random_matrices._trained_to_loss import network, train_to_loss
from deepscope.studies.random_matrices.htsr_batch_size import STUDY
from deepscope.subject import seeded_generators

CASE = Case(**STUDY.defaults).replace(batch_size=8, learning_rate=0.1)
SMALL = CASE.replace(width=24, n_train=64, target_loss=2.2, check_every=5, max_steps=60, bootstrap=40, draws=2)
SHAPES = {"first": (256, 64), "square": (256, 256)}


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


def run_trial(run, case):
    with seeded_generators(derive_seed(run.seed, "trial")):
        return STUDY.trial(case, run)


def planted(shape, sizes, rng):
    """Return noise of variance 1 with spikes of these sizes in random directions."""
    u, v = (np.linalg.qr(rng.standard_normal((side, len(sizes))))[0] for side in shape)
    return rng.standard_normal(shape) + (u * sizes) @ v.T


@pytest.mark.parametrize("shape", [(96, 96), (200, 50), (50, 200)])
def test_noise_with_spikes_keeps_the_spikes_and_the_size_of_the_rest(shape):
    rng = np.random.default_rng(0)
    matrix = planted(shape, [60.0, 45.0, 40.0], rng)
    made = noise_with_spikes(matrix, rng)
    (u, s, vt), (_, kept, _) = (np.linalg.svd(each, full_matrices=False) for each in (matrix, made))
    assert kept[:3] == pytest.approx(s[:3], rel=1e-12)
    # The spikes' own directions: W v = s u.
    np.testing.assert_allclose(made @ vt[:3].T, s[:3] * u[:, :3], atol=1e-11)
    assert kept[3] < 1.05 * (math.sqrt(shape[0]) + math.sqrt(shape[1]))
    # Σ s² is χ² in as many degrees of freedom as the rest has entries; four standard deviations.
    assert np.sum(kept[3:] ** 2) == pytest.approx(np.sum(s[3:] ** 2), rel=4 * math.sqrt(2 / np.prod(shape)))
    assert not np.allclose(kept[3:], s[3:], rtol=1e-3)


def test_noise_with_the_spikes_of_noise_is_noise():
    rng = np.random.default_rng(1)
    made = noise_with_spikes(0.1 * rng.standard_normal((120, 60)), rng)
    row = spectra({"a": made}, bootstrap=0, seed=0)["a"]
    assert (row.phase, row.n_spikes, is_noise(row)) == ("random-like", 0, True)


def test_spikes_and_another_bulk_are_no_noise():
    rng = np.random.default_rng(1)
    u, v = (np.linalg.qr(rng.standard_normal((side, 60)))[0] for side in (120, 60))
    even = (u * np.linspace(8.0, 12.0, 60)) @ v.T
    seen = spectra({"spikes": planted((120, 60), [60.0], rng), "even": even}, bootstrap=0, seed=0)
    assert not is_noise(seen["spikes"])
    assert not is_noise(seen["even"])
    assert seen["even"].n_spikes == 0


def test_a_matrix_without_a_bulk_has_no_such_noise():
    with pytest.raises(MeasurementError, match="most singular values are 0"):
        noise_with_spikes(np.diag(np.arange(20.0) < 8).astype(float), np.random.default_rng(0))


def test_spectra_are_those_of_the_definitions():
    rng = np.random.default_rng(3)
    matrices = {"one": planted((80, 40), [30.0, 25.0], rng), "other": rng.standard_normal((60, 60))}
    found = spectra(matrices, bootstrap=40, seed=0)
    assert list(found) == ["one", "other"]
    for name, matrix in matrices.items():
        values = np.linalg.svd(matrix, compute_uv=False) ** 2
        assert found[name].alpha == pytest.approx(fit_power_law(values).alpha, rel=1e-9)
    values = np.linalg.svd(matrices["one"], compute_uv=False) ** 2
    # The noise has variance 1, known here from 3,200 entries to 2.5 %; four standard deviations.
    assert found["one"].mp_soft_rank == pytest.approx(mp_edges(80, 40, 1.0)[1] / values.max(), rel=0.1)
    assert (found["one"].n_spikes, found["other"].phase) == (2, "random-like")
    again = spectra(matrices, bootstrap=40, seed=0)
    assert found == again
    assert found != spectra(matrices, bootstrap=40, seed=1)


@pytest.mark.parametrize(
    ("start", "variances", "kurtosis"), [("glorot", (2 / 320, 1 / 256), 3.0), ("torch", (1 / 192, 1 / 768), 1.8)]
)
def test_a_network_starts_as_said(start, variances, kurtosis):
    model = network(load("digits"), CASE.replace(start=start), torch.Generator().manual_seed(3))
    for layer, variance in zip((model.hidden1, model.hidden2), variances, strict=True):
        weight = layer.weight.detach().double()
        # Four standard errors: those of Gaussian entries are the larger.
        margin = 4 / math.sqrt(weight.numel())
        assert weight.square().mean().item() == pytest.approx(variance, rel=margin * math.sqrt(2))
        assert (weight**4).mean().item() / variance**2 == pytest.approx(kurtosis, abs=margin * math.sqrt(96))
        assert bool(layer.bias.any()) == (start == "torch")
    if start == "torch":
        assert model.hidden1.weight.abs().max() <= 1 / 8


def test_unknown_words_and_bad_numbers_are_refused(tmp_path):
    with pytest.raises(UsageError, match="unknown start"):
        network(load("digits"), CASE.replace(start="xavier"), torch.Generator())
    for name in ("width", "n_train", "batch_size", "check_every", "max_steps", "draws"):
        with pytest.raises(UsageError, match=name):
            STUDY.trial(SMALL.replace(**{name: 0}), Run(tmp_path))
    with pytest.raises(UsageError, match="only 1438 samples"):
        STUDY.trial(SMALL.replace(n_train=1439), Run(tmp_path))


def trained(tmp_path, run=None, **changed):
    data, case = load("digits"), SMALL.replace(**changed)
    model = network(data, case, torch.Generator().manual_seed(4))
    samples = Samples(data.train.inputs[: case.n_train], data.train.targets[: case.n_train])
    return model, train_to_loss(model, samples, data, case, run or Run(tmp_path)), samples, case


def test_training_equals_a_loop_written_out(tmp_path):
    model, found, samples, case = trained(tmp_path, batch_size=10, target_loss=1.9)
    twin = network(load("digits"), case, torch.Generator().manual_seed(4))
    losses = []
    for epoch in range(20):
        for x, y in samples.epochs(10, seed=1000)(epoch):
            gradients = torch.autograd.grad(functional.cross_entropy(twin(x), y), list(twin.parameters()))
            with torch.no_grad():
                for parameter, gradient in zip(twin.parameters(), gradients, strict=True):
                    parameter.sub_(0.1 * gradient)
                losses.append(functional.cross_entropy(twin(samples.inputs), samples.targets).item())
            if len(losses) == found["steps"]:
                break
        if len(losses) == found["steps"]:
            break
    # Float32 sums in another order, over some tens of steps.
    torch.testing.assert_close(dict(model.named_parameters()), dict(twin.named_parameters()), rtol=1e-3, atol=1e-5)
    assert found["loss"] == pytest.approx(losses[-1], rel=1e-4)
    checked = [step for step in range(5, len(losses) + 1, 5) if losses[step - 1] <= 1.9]
    assert checked == [found["steps"]]


def test_a_loss_that_is_not_reached_has_no_steps(tmp_path):
    _, found, samples, _ = trained(tmp_path, target_loss=0.0, max_steps=12)
    assert found["steps"] is None
    model, _, _, _ = trained(tmp_path / "other", target_loss=0.0, max_steps=12)
    # Measured after the last step too, which is none of every five.
    assert found["loss"] == pytest.approx(functional.cross_entropy(model(samples.inputs), samples.targets).item())


def test_a_training_cut_off_goes_on_where_it_was(tmp_path, monkeypatch):
    monkeypatch.setattr(_trained_to_loss, "SAVED_EVERY", 7)
    whole, first, _, _ = trained(tmp_path / "whole", target_loss=2.0)
    run = Run(tmp_path / "cut", dies_at=0.3)
    with pytest.raises(KeyboardInterrupt):
        trained(tmp_path, run, target_loss=2.0)
    assert run.checkpoint.exists()
    run.dies_at = 2.0
    for _ in range(2):  # the second time from its very end
        model, found, _, _ = trained(tmp_path, run, target_loss=2.0)
        assert found == first
        assert all(torch.equal(a, b) for a, b in zip(model.parameters(), whole.parameters(), strict=True))


def test_a_trial_measures_the_trained_layers(tmp_path, monkeypatch):
    seen = {}
    real = train_to_loss

    def watched(model, *rest):
        seen["before"] = [layer.weight.detach().clone() for layer in (model.hidden1, model.hidden2)]
        found = real(model, *rest)
        seen["model"] = model
        return found

    monkeypatch.setattr(htsr_batch_size, "train_to_loss", watched)
    found = run_trial(Run(tmp_path), SMALL)
    model, test = seen["model"], load("digits").test
    for name, layer, before in zip(("first", "square"), (model.hidden1, model.hidden2), seen["before"], strict=True):
        weight = layer.weight.detach().double()
        values = torch.linalg.svdvals(weight).square().flip(0).numpy()
        assert found[f"{name}_eigenvalues"] == pytest.approx(values)
        assert found[f"{name}_alpha"] == pytest.approx(fit_power_law(values).alpha, rel=1e-6)
        assert found[f"{name}_moved"] == pytest.approx(float((weight - before).norm() / before.norm()), rel=1e-5)
        assert found[f"{name}_heavy"] == (found[f"{name}_phase"] == "heavy-tailed")
    for name in ("alpha", "soft_rank"):
        assert found[name] == pytest.approx((found[f"first_{name}"] + found[f"square_{name}"]) / 2)
    assert found["test_accuracy"] == (model(test.inputs).argmax(1) == test.targets).double().mean().item()


def test_networks_of_one_seed_start_alike(tmp_path):
    one, other = (run_trial(Run(tmp_path / str(batch)), SMALL.replace(batch_size=batch)) for batch in (4, 16))
    assert one["untrained_alpha"] == other["untrained_alpha"]
    assert one["alpha"] != other["alpha"]


def test_a_training_of_no_effect_leaves_the_untrained_network(tmp_path):
    found = run_trial(Run(tmp_path), SMALL.replace(learning_rate=0.0))
    assert found["steps"] is None
    assert (found["alpha"], found["soft_rank"]) == (found["untrained_alpha"], found["untrained_soft_rank"])
    assert found["first_moved"] == found["square_moved"] == 0
    assert (found["first_heavy"], found["square_heavy"], found["shuffled_noise"]) == (0, 0, 1)


ALPHAS = {2: 2.0, 4: 2.8, 8: 3.4, 16: 4.0, 64: 5.0, 256: 5.0}
SOFT_RANKS = {2: 0.1, 4: 0.3, 8: 0.5, 16: 0.7, 64: 0.9, 256: 0.95}


def table(seeds=5, without=(), measured=None, **changes):
    """Return the trials of a study that reproduces, but for the changes: numbers by condition.

    ``measured(batch, seed)`` gives what stands in place of the constant rate's numbers.
    """
    rng, rows = np.random.default_rng(0), []

    def add(name, seed, batch, rate="constant", start="glorot", **numbers):
        if name in without:
            return
        numbers = {
            "steps": 1000,
            "test_accuracy": 0.97,
            "shuffled_noise": 0.99,
            "shuffled_soft_rank": 1.01,
            "untrained_soft_rank": 1.02,
            "noise_alpha": 3.0,
        } | numbers
        for layer in SHAPES:
            heavy = float(batch == 2)
            numbers |= {
                f"{layer}_spikes": 9.0,
                f"{layer}_heavy": heavy,
                f"{layer}_phase": "heavy-tailed" if heavy else "bulk+spikes",
            }
            numbers |= {f"{layer}_noise_heavy": 0.0, f"{layer}_eigenvalues": np.linspace(0.1, 4, 64)}
            numbers |= {f"{layer}_noise_eigenvalues": np.linspace(0.1, 4, 64)}
        if measured and name.isdigit():
            numbers |= measured(batch, seed)
        numbers |= changes.get(name, {}) | changes.get("all", {})
        if "alpha" in numbers:
            numbers["alpha"] += 0.02 * rng.standard_normal()
        rows.append({"batch_size": batch, "rate": rate, "start": start, "seed": seed, **numbers})

    for seed in range(seeds):
        for batch in BATCHES:
            add(str(batch), seed, batch, alpha=ALPHAS[batch], soft_rank=SOFT_RANKS[batch])
        for batch in (2, 8, 64):
            add(f"low {batch}", seed, batch, rate="low ratio", alpha=4.0, soft_rank=0.7)
        for batch in (4, 8):
            add(f"high {batch}", seed, batch, rate="high ratio", alpha=2.0, soft_rank=0.1)
    return pd.DataFrame(rows)


def verdict(trials):
    return Verdict.of(STUDY.judge(trials), seeds=trials["seed"].nunique())


def test_what_is_claimed_is_reproduced():
    found = verdict(table())
    assert found.outcome == "reproduced", found.reasons
    assert len(found.criteria) == 12
    assert sum(criterion.control for criterion in found.criteria) == 6


@pytest.mark.parametrize(
    ("changes", "failing"),
    [
        ({"2": {"alpha": 4.8}}, ["tail exponent α, batches of 64", "rate / batch kept at 1/20"]),
        ({"2": {"soft_rank": 0.9}}, ["MP soft rank, batches of 64"]),
        ({"4": {"alpha": 4.2}}, ["tail exponent α per doubling"]),
        ({"2": {"first_heavy": 0.0}}, ["batches of 2: share of networks whose first"]),
        ({"2": {"square_heavy": 0.0}}, ["batches of 2: share of networks whose second"]),
        ({"256": {"soft_rank": 0.4}}, ["batches of 256"]),
        # The batch alone acts, whatever the rate.
        ({"low 2": {"alpha": 2.0}}, ["rate / batch kept at 1/160"]),
        ({"high 8": {"alpha": 4.0}}, ["rate / batch kept at 1/20"]),
        ({"high 8": {"alpha": 0.4}}, ["rate / batch kept at 1/20"]),
        # Single large entries, or a mean, make the spikes: they outlast shuffling.
        ({"2": {"shuffled_noise": 0.5}}, ["shuffled entries, batches of 2"]),
        ({"2": {"shuffled_soft_rank": 0.5}}, ["shuffled entries: MP soft rank"]),
        # A test that takes spikes for a heavy tail.
        ({"2": {"first_noise_heavy": 1.0}}, ["noise with the same spikes"]),
        ({"2": {"square_noise_heavy": 1.0}}, ["noise with the same spikes"]),
        ({"2": {"untrained_soft_rank": 0.5}}, ["untrained network"]),
    ],
    ids=str,
)
def test_planted_fakes_are_not_reproduced(changes, failing):
    found = verdict(table(**changes))
    assert found.outcome == "not reproduced"
    wrong = [criterion.name for criterion in found.criteria if criterion.holds is False]
    assert len(wrong) == len(failing)
    assert all(name.startswith(start) for name, start in zip(wrong, failing, strict=True))


def spectra_of(make):
    """Return what a trial says of matrices that stand in for both trained layers."""

    def measured(batch, seed):
        rng = np.random.default_rng([batch, seed])
        seen = spectra({layer: make(batch, shape, rng) for layer, shape in SHAPES.items()}, bootstrap=100, seed=seed)
        found = {f"{layer}_heavy": float(row.phase == "heavy-tailed") for layer, row in seen.items()}
        return found | {
            "alpha": np.mean([row.alpha for row in seen.values()]),
            "soft_rank": np.mean([row.mp_soft_rank for row in seen.values()]),
        }

    return measured


def held(found):
    return [criterion.holds for criterion in found.criteria]


def test_heavier_and_heavier_tails_are_reproduced():
    """Eigenvalues of a Pareto law, the larger the exponent the larger the batch; noise from 64 on."""

    def make(batch, shape, rng):
        if batch >= 64:
            return rng.standard_normal(shape)
        exponent = {2: 1.8, 4: 2.6, 8: 3.2, 16: 4.0}[batch]
        side = min(shape)
        u, v = (np.linalg.qr(rng.standard_normal((each, side)))[0] for each in shape)
        return (u * np.sqrt(rng.random(side) ** (1 / (1 - exponent)))) @ v.T

    found = verdict(table(seeds=3, measured=spectra_of(make), **{"high 8": {"alpha": 2.1}, "low 2": {"alpha": 4.0}}))
    assert found.outcome == "reproduced", found.reasons


def test_noise_with_ten_growing_spikes_is_not_heavy_tailed():
    """Exponent and soft rank fall as asked."""

    def make(batch, shape, rng):
        edge = math.sqrt(shape[0]) + math.sqrt(shape[1])
        growth = {2: 3.4, 4: 2.6, 8: 2.0, 16: 1.6, 64: 1.0, 256: 1.0}[batch]
        return planted(shape, growth * edge * np.linspace(0.9, 1.1, 10), rng)

    found = verdict(table(seeds=3, measured=spectra_of(make)))
    assert held(found)[:5] == [True, True, True, False, False]
    assert found.outcome == "not reproduced"


def test_doing_nothing_fails():
    """Untrained networks: those of one seed are the same, whatever the batch."""
    untrained = spectra_of(lambda batch, shape, rng: rng.standard_normal(shape))
    found = verdict(table(seeds=3, measured=lambda batch, seed: untrained(0, seed)))
    assert found.outcome == "not reproduced"
    assert True not in held(found)[:5]
    assert held(found)[5]


@pytest.mark.parametrize("name", ["2", "4", "8", "16", "64", "256", "low 2", "low 64", "high 8"])
def test_what_is_missing_leaves_it_open(name):
    for trials in (table(without=[name]), table(**{name: {"steps": None}})):
        assert verdict(trials).outcome == "inconclusive"


def test_what_is_missing_is_not_drawn():
    for trials in (pd.DataFrame({"seed": []}), table(seeds=1, without=["2", "256", "high 8"])):
        assert STUDY.draw(trials).axes


def test_the_figure_names_what_it_shows():
    svg = to_svg(STUDY.draw(table(seeds=3)), "x")
    for name in ("constant rate", "rate/batch 1/160", "noise with", "entries shuffled", "heavy-tailed", "bulk+spikes"):
        assert name in svg


def test_one_network_that_did_not_reach_the_loss_is_not_left_out():
    trials = table()
    one = (trials["batch_size"] == 2) & (trials["rate"] == "constant") & (trials["seed"] == 3)
    trials.loc[one, "steps"] = None
    found = verdict(trials)
    assert found.outcome == "inconclusive"
    assert found.criteria[0].missing == 1


@pytest.mark.parametrize("seeds", [1, 2])
def test_few_seeds_decide_nothing(seeds):
    assert verdict(table(seeds)).outcome == "inconclusive"
