"""The Marchenko–Pastur null: the mathematics against closed forms and twins, the criteria against planted fakes."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import integrate, stats

from deepscope.core import Case, UsageError, Verdict
from deepscope.data import Samples, load
from deepscope.models import MLP
from deepscope.studies.random_matrices import _trained_layer
from deepscope.studies.random_matrices._layer_parts import (
    best_cross_entropy,
    class_means,
    layer_inputs,
    outputs,
    overlap,
    overlaps,
    parts,
    principal_directions,
    without_parts,
)
from deepscope.studies.random_matrices._random_matrices import (
    ENTRIES,
    compare,
    draw_entries,
    gaussian_null,
    ks_distance,
    shuffled,
)
from deepscope.studies.random_matrices._trained_layer import network
from deepscope.studies.random_matrices.mp_null import STUDY
from deepscope.training import fit

CASE = Case(**{**STUDY.defaults, "part": "train", "entries": "normal"})


class Run:
    """What a trial is handed, as the lab does it."""

    device = torch.device("cpu")

    def __init__(self, folder, seed=1000):
        self.seed = seed
        self.checkpoint = folder / "checkpoint"

    def progress(self, done):
        self.done = done

    def shared(self, make, **key):
        return make(**key)


@pytest.mark.parametrize("kind", ["normal", "uniform", "t3"])
def test_entries_have_mean_0_variance_1_and_their_distribution(kind):
    drawn = draw_entries(kind, (500, 400), np.random.default_rng(1)).ravel()
    law = {"normal": stats.norm(), "uniform": stats.uniform(-(3**0.5), 2 * 3**0.5), "t3": stats.t(3, scale=3**-0.5)}
    assert (law[kind].mean(), law[kind].var()) == pytest.approx((0, 1))
    # The 99.9 % point of Kolmogorov's law.
    assert stats.kstest(drawn, law[kind].cdf).statistic < 1.95 / math.sqrt(drawn.size)


def test_entries_without_variance_are_students():
    drawn = draw_entries("t1.5", (500, 400), np.random.default_rng(1)).ravel()
    assert stats.kstest(drawn, stats.t(1.5).cdf).statistic < 1.95 / math.sqrt(drawn.size)


def test_unknown_words_are_refused(tmp_path):
    with pytest.raises(UsageError, match="unknown entries"):
        draw_entries("cauchy", (2, 2), np.random.default_rng(0))
    with pytest.raises(UsageError, match="unknown variance"):
        network(load("digits"), CASE.replace(variance="xavier"), np.random.default_rng(0))
    with pytest.raises(UsageError, match="unknown part"):
        STUDY.trial(CASE.replace(part="frsh"), Run(tmp_path))


@pytest.mark.parametrize(
    ("part", "changes", "named"),
    [
        *(("sizes", {"largest": n}, "largest") for n in (-1, 0, 50, 128, 300, 384)),
        *(("fresh", {name: 0}, name) for name in ("width", "draws", "null_draws")),
        *(("train", {name: 0}, name) for name in ("shuffles", "epochs", "batch_size")),
    ],
)
def test_bad_numbers_are_refused(part, changes, named, tmp_path):
    with pytest.raises(UsageError, match=named):
        STUDY.trial(CASE.replace(part=part, **changes), Run(tmp_path))


@pytest.mark.parametrize("entries", ["normal", "t1.5"])
def test_fresh_matrices_are_drawn_and_compared_as_said(entries, tmp_path):
    """Twin: the same stream, by hand; a square layer first, then one with as many columns as digits have pixels."""
    case = CASE.replace(part="fresh", entries=entries, width=24, draws=3, null_draws=50)
    found, rng = STUDY.trial(case, Run(tmp_path, 5)), np.random.default_rng(5)
    for name, cols in (("square", 24), ("first", 64)):
        seen = [compare(draw_entries(entries, (24, cols), rng)) for _ in range(3)]
        limit = gaussian_null(24, cols, 50)["distance"]
        assert found[f"{name}_distance"] == pytest.approx(sum(each.distance for each in seen) / 3 / limit)
        assert found[f"{name}_spikes"] == pytest.approx(sum(each.n_spikes for each in seen) / 3)


def test_sizes_double_and_keep_their_entries(tmp_path):
    case = CASE.replace(part="sizes", entries="t3", largest=256)
    found, rng = STUDY.trial(case, Run(tmp_path, 5)), np.random.default_rng(5)
    assert list(found["size"]) == [128, 256]
    assert list(found["distance"]) == [compare(draw_entries("t3", (n, n), rng)).distance for n in (128, 256)]


def test_one_gaussian_matrix_in_a_hundred_is_beyond_the_null():
    limit, rng = gaussian_null(40, 20, 1000)["distance"], np.random.default_rng(10)
    beyond = sum(compare(rng.standard_normal((40, 20))).distance > limit for _ in range(1000))
    # Both samples vary by √10 about 10; four standard deviations of the difference.
    assert 0 < beyond < 10 + 4 * math.sqrt(20)
    assert limit < compare(rng.standard_normal((40, 20)) * np.repeat([1, 3], 10)).distance


def test_ks_distance_is_scipys():
    sample = np.sort(np.random.default_rng(2).beta(2, 3, 57))
    law = stats.uniform()
    assert ks_distance(law.cdf(sample)) == pytest.approx(stats.kstest(sample, law.cdf).statistic, abs=1e-15)


@pytest.mark.parametrize("shape", [(48, 48), (128, 32), (32, 128)])
def test_a_comparison_is_that_of_the_definitions(shape):
    """Twin: singular values, the density integrated numerically, σ² by bisection on it, Johnstone's formula."""
    matrix = 0.3 * np.random.default_rng(3).standard_normal(shape)
    matrix[0] += 3.0
    found = compare(matrix)
    long, beta = max(shape), min(shape) / max(shape)
    low, high = (1 - math.sqrt(beta)) ** 2, (1 + math.sqrt(beta)) ** 2

    def density(root):
        # In √y, where the square case has no singularity.
        y = root * root
        return math.sqrt(max((high - y) * (y - low), 0.0)) / (math.pi * beta * root) if root else 2 / math.pi

    def cdf(y):
        return integrate.quad(density, math.sqrt(low), math.sqrt(min(max(y, low), high)), limit=200)[0]

    values = np.sort(np.linalg.svd(matrix, compute_uv=False)) ** 2
    below, above = low, high
    for _ in range(30):
        middle = (below + above) / 2
        below, above = (middle, above) if cdf(middle) < 0.5 else (below, middle)
    variance = np.median(values) / (long * below)
    assert found.singular_values == pytest.approx(np.sqrt(values / (variance * long)), rel=1e-6)
    model = np.array([cdf(value / (variance * long)) for value in values])
    assert found.distance == pytest.approx(stats.kstest(model, stats.uniform().cdf).statistic, abs=1e-6)
    one, other = math.sqrt(max(shape) - 1), math.sqrt(min(shape))
    edge = variance * (long * (1 + math.sqrt(beta)) ** 2 + 2.0234 * (one + other) * (1 / one + 1 / other) ** (1 / 3))
    assert found.n_spikes == np.sum(values > edge) == 1


def test_a_planted_rank_one_term_is_seen_beyond_the_transition_and_gone_when_shuffled():
    """Baik, Ben Arous and Péché: θ u vᵀ leaves the bulk of a square matrix at θ > σ√N, to θ + σ²N/θ."""
    n, rng = 400, np.random.default_rng(4)
    noise = rng.standard_normal((n, n)) / math.sqrt(n)
    u, v = (each / np.linalg.norm(each) for each in rng.standard_normal((2, n)))
    planted = noise + 2.0 * np.outer(u, v)
    seen = compare(planted)
    assert seen.n_spikes == 1
    # The place fluctuates by about n^(−1/2); σ is known to 1 %.
    assert seen.singular_values[-1] == pytest.approx(2.0 + 1 / 2.0, abs=4 / math.sqrt(n))
    assert compare(noise + 0.5 * np.outer(u, v)).n_spikes == 0
    moved = shuffled(planted, rng)
    assert compare(moved).n_spikes == 0
    assert np.array_equal(np.sort(moved, axis=None), np.sort(planted, axis=None))
    assert not np.array_equal(moved, planted)


def test_shuffling_keeps_the_spike_of_a_mean():
    n, rng = 300, np.random.default_rng(5)
    noise = rng.standard_normal((n, n))
    assert compare(shuffled(noise + 3 / math.sqrt(n), rng)).n_spikes == 1
    assert compare(shuffled(noise + 0.3 / math.sqrt(n), rng)).n_spikes == 0


@pytest.mark.parametrize("entries", ENTRIES[:2])
@pytest.mark.parametrize(("variance", "expected"), [("glorot", (2 / 576, 1 / 512)), ("he", (1 / 32, 1 / 256))])
def test_a_network_starts_with_the_variance_that_is_named(entries, variance, expected):
    model = network(load("digits"), CASE.replace(entries=entries, variance=variance), np.random.default_rng(6))
    for layer, value in zip((model.hidden1, model.hidden2), expected, strict=True):
        assert layer.bias is None
        # Four standard errors of a Gaussian's variance.
        margin = 4 * math.sqrt(2 / layer.weight.numel())
        assert layer.weight.double().square().mean().item() == pytest.approx(value, rel=margin)


def test_parts_of_a_matrix_are_those_of_the_definitions():
    generator = torch.Generator().manual_seed(7)
    weight, initial = torch.randn(2, 20, 20, generator=generator, dtype=torch.float64)
    inputs = torch.randn(100, 20, generator=generator, dtype=torch.float64) * torch.arange(1, 21) ** 2
    found = parts(weight, initial, inputs, 3, np.random.default_rng(8))
    torch.testing.assert_close(found["whole"], weight)
    torch.testing.assert_close(found["initial"], initial)
    torch.testing.assert_close(found["spikes"] + found["rest"], weight)
    _, values, vt = torch.linalg.svd(weight)
    torch.testing.assert_close(torch.linalg.svdvals(found["spikes"])[:3], values[:3])
    torch.testing.assert_close(torch.linalg.svdvals(found["rest"])[:17], values[3:])
    for name in ("spikes", "principal", "unlearned", "random"):
        assert torch.linalg.matrix_rank(found[name]) == 3
    # A restriction is W on its subspace and 0 on what is orthogonal to it.
    torch.testing.assert_close(found["unlearned"] @ vt.T, torch.cat([initial @ vt[:3].T, torch.zeros(20, 17)], 1))
    strongest = torch.linalg.svd(inputs)[2]
    torch.testing.assert_close(
        found["principal"] @ strongest.T, torch.cat([weight @ strongest[:3].T, torch.zeros(20, 17)], 1)
    )
    drawn = torch.linalg.svd(found["random"])[2]
    torch.testing.assert_close(found["random"] @ drawn[:3].T, weight @ drawn[:3].T)
    none = parts(weight, initial, inputs, 0, np.random.default_rng(8))
    assert not any(none[name].any() for name in ("spikes", "principal", "unlearned", "random"))


def planted():
    """Return a network whose square layer holds one learned term, and samples that it tells apart by sign."""
    model = MLP(2, [2, 2], 2, bias=False)
    with torch.no_grad():
        for layer in (model.hidden1, model.hidden2, model.output):
            layer.weight.copy_(torch.eye(2))
    inputs, labels = torch.tensor([[3.0, 1.0], [1.0, 3.0], [2.0, 1.0], [1.0, 4.0]]), torch.tensor([0, 1, 0, 1])
    return model, Samples(inputs, labels)


def test_a_network_is_tested_with_each_part_and_put_back():
    model, samples = planted()
    keeps, zero = torch.eye(2), torch.zeros(2, 2)
    found = without_parts(
        model, {"all": keeps, "none": zero, "wrong": keeps.flip(0), "first": torch.diag(keeps[0])}, samples
    )
    assert {name: found[f"accuracy_{name}"] for name in ("all", "none", "wrong", "first")} == {
        "all": 1.0,
        "none": 0.5,
        "wrong": 0.0,
        "first": 0.5,
    }
    assert found["cross_entropy_none"] == pytest.approx(math.log(2))
    # Swapped outputs are best multiplied by 0.
    assert found["cross_entropy_wrong"] == pytest.approx(math.log(2), abs=0.02)
    assert found["cross_entropy_all"] < 1e-6
    assert torch.equal(model.hidden2.weight, torch.eye(2))
    assert torch.equal(outputs(model, samples), samples.inputs)
    assert torch.equal(layer_inputs(model, samples), samples.inputs)


def test_best_cross_entropy_is_the_least_over_a_fine_grid_and_knows_no_scale():
    generator = torch.Generator().manual_seed(11)
    logits, labels = torch.randn(300, 4, generator=generator), torch.randint(4, (300,), generator=generator)
    logits[range(300), labels] += 1.0
    twin = min(
        float(-torch.log_softmax(scale * logits.double(), 1)[range(300), labels].mean())
        for scale in np.linspace(0.1, 5, 2000)
    )
    assert best_cross_entropy(logits, labels) == pytest.approx(twin, rel=1e-5)
    assert best_cross_entropy(1e-3 * logits, labels) == pytest.approx(twin, rel=1e-4)


def test_overlap_is_a_cosine_squared_and_small_for_random_directions():
    rng = np.random.default_rng(9)
    axes = torch.eye(50, dtype=torch.float64)
    tilted = (math.cos(0.3) * axes[0] + math.sin(0.3) * axes[7])[None]
    spanned = torch.from_numpy(rng.standard_normal((3, 3))) @ axes[:3]
    assert overlap(tilted, spanned) == pytest.approx(math.cos(0.3) ** 2)
    assert overlap(axes[:3], spanned) == pytest.approx(1.0)
    assert overlap(axes[5:9], spanned) == pytest.approx(0.0, abs=1e-12)
    drawn = torch.from_numpy(rng.standard_normal((4000, 50)))
    # Beta(3/2, 47/2), whose standard deviation is 0.033; 4 standard errors.
    assert overlap(drawn / drawn.norm(dim=1, keepdim=True), spanned) == pytest.approx(3 / 50, abs=0.002)


def test_class_means_are_those_of_a_loop():
    inputs, labels = torch.arange(12.0).reshape(6, 2), torch.tensor([2, 0, 2, 1, 0, 2])
    twin = torch.stack([inputs[[1, 4]].mean(0), inputs[3], inputs[[0, 2, 5]].mean(0)]).double()
    torch.testing.assert_close(class_means(inputs, labels), twin)


def test_overlaps_are_of_the_leading_directions():
    rng = np.random.default_rng(12)
    inputs = torch.from_numpy(rng.standard_normal((40, 6)) * [9, 5, 1, 1, 1, 1] + [0, 0, 7, 0, 0, 0])
    labels = torch.arange(40) % 2
    weight = torch.diag(torch.tensor([1.0, 1.0, 1.0, 1.0, 1.0, 4.0]).double())
    found, means = overlaps(weight, inputs, labels, 1), class_means(inputs, labels)
    assert found["overlap_spikes"] == pytest.approx(overlap(torch.eye(6).double()[5:], means))
    strongest = torch.linalg.svd(inputs)[2][:1]
    assert found["overlap_principal"] == pytest.approx(overlap(strongest, means))
    torch.testing.assert_close(principal_directions(inputs, 1).abs(), strongest.abs())
    assert overlaps(weight, inputs, labels, 0) == {"overlap_spikes": None, "overlap_principal": None}


def smoke_case():
    return next(case for case in STUDY.grid("smoke").cases if case.part == "train")


def test_training_counts_what_it_says(tmp_path):
    found = STUDY.trial(smoke_case(), Run(tmp_path))
    # The checkpoint is still there: the second trial resumes at its end, and must know the whole course.
    for name, values in STUDY.trial(smoke_case(), Run(tmp_path)).items():
        np.testing.assert_array_equal(values, found[name], err_msg=name)
    assert list(found["epoch"]) == [0, 1, 2]
    one, other = math.sqrt(63), math.sqrt(64)
    edge = math.sqrt(4 + 2.0234 * (one + other) * (1 / one + 1 / other) ** (1 / 3) / 64)
    assert np.sum(found["trained"] > edge) == found["spikes"][-1] > found["spikes"][0] == 0
    # Shuffling undoes the spikes, and keeps the entries: Σ s² is the same but for the fitted σ².
    assert found["shuffled"][-1] < found["trained"][-1]
    assert found["trained_distance"] > found["shuffled_distance"] > 0 < found["initial_distance"] < 1.5
    assert found["accuracy_spikes"] > found["accuracy_random"]
    assert found["cross_entropy_whole"] < found["cross_entropy_rest"]
    assert 0 < found["overlap_spikes"] < 1


def test_a_training_of_no_effect_leaves_everything_as_it_was(tmp_path):
    """Without a step the whole layer, the initial one and the fit's own numbers are the drawn matrix's."""
    case = smoke_case().replace(learning_rate=0.0)
    found = STUDY.trial(case, Run(tmp_path, 1000))
    rng = np.random.default_rng(1000)
    draw_entries("normal", (64, 64), rng)  # the first layer's
    drawn = compare(draw_entries("normal", (64, 64), rng).astype(np.float32).astype(float))
    limit = gaussian_null(64, 64, case.null_draws)["distance"]
    assert found["trained"] == pytest.approx(drawn.singular_values, abs=1e-5)
    for name in ("initial", "trained"):
        assert found[f"{name}_distance"] == pytest.approx(drawn.distance / limit, rel=1e-3)
    assert found["accuracy_whole"] == found["accuracy_initial"]
    assert found["overlap_spikes"] is None
    assert found["cross_entropy_spikes"] == pytest.approx(math.log(10))
    assert found["spikes"].tolist() == [drawn.n_spikes] * 3 == [0] * 3


def test_a_training_that_goes_astray_is_drawn(tmp_path):
    trials = table(1)
    values = np.append(np.linspace(0, 2, 511), 1e14)
    trials["trained"] = [values if part == "train" else None for part in trials.part]
    assert STUDY.draw(trials).axes


def table(seeds=5, without=(), **changes):
    """Return the trials of a study that reproduces, but for the changes."""
    rng, rows = np.random.default_rng(0), []
    sizes = np.array([128, 256, 512, 1024])
    for seed in range(seeds):
        jitter = float(np.exp(0.02 * rng.standard_normal()))
        fresh = {"square_distance": 0.66, "first_distance": 0.67, "square_spikes": 0.02, "first_spikes": 0.012}
        trained = {
            "epoch": np.array([0, 1, 2]),
            "spikes": np.array([0, 5, 9]),
            "first_layer_spikes": np.array([0, 5, 9]),
            "trained": np.append(np.linspace(0, 2, 503), np.arange(2.2, 3.1, 0.1)[:9]),
            "shuffled": np.linspace(0, 2, 512),
            "initial_distance": 0.7,
            "trained_distance": 1.9,
            "shuffled_distance": 0.7,
            "shuffled_spikes": 0.01,
            "train_accuracy": 1.0,
            "accuracy_whole": 0.98,
            "accuracy_spikes": 0.978,
            "accuracy_rest": 0.2,
            "accuracy_principal": 0.97,
            "accuracy_unlearned": 0.97,
            "accuracy_random": 0.3,
            "accuracy_initial": 0.965,
            "cross_entropy_whole": 0.060,
            "cross_entropy_spikes": 0.062,
            "cross_entropy_rest": 2.1,
            "cross_entropy_principal": 0.078,
            "cross_entropy_unlearned": 0.085,
            "cross_entropy_random": 1.5,
            "cross_entropy_initial": 0.1,
            "overlap_spikes": 0.72,
            "overlap_principal": 0.92,
        }
        for entries in ("normal", "uniform"):
            mended = {key: value for key, value in changes.items() if entries == changes.get("only", entries)}
            rows += [
                {"part": "fresh", "entries": entries, "variance": "glorot", "seed": seed}
                | {"width": 512}
                | {key: jitter * mended.get(key, value) for key, value in fresh.items()},
                {"part": "train", "entries": entries, "variance": "glorot", "seed": seed}
                | {key: mended.get(key, value) for key, value in trained.items()},
            ]
        rows.append(
            {"part": "fresh", "entries": "t1.5", "variance": "glorot", "seed": seed}
            | {"square_distance": jitter * changes.get("no_variance", 16.0)}
        )
        for entries, distance in (
            ("normal", changes.get("gauss", 0.007 * 512 / sizes)),
            ("t3", changes.get("t3", 0.025 * np.sqrt(512 / sizes))),
            ("t1.5", changes.get("t15", np.full(4, 0.16))),
        ):
            tilt = (sizes / 512) ** (jitter - 1)
            rows.append(
                {"part": "sizes", "entries": entries, "variance": "glorot", "seed": seed}
                | {"size": sizes, "distance": distance * tilt}
            )
    return pd.DataFrame([row for row in rows if row["part"] not in without and row["entries"] not in without])


def verdict(trials, seeds=5):
    return Verdict.of(STUDY.judge(trials), seeds=seeds)


def test_the_effect_is_reproduced():
    assert verdict(table()).outcome == "reproduced"


@pytest.mark.parametrize(
    ("changes", "failing"),
    [
        ({"gauss": np.full(4, 0.007)}, "Gaussian entries: log"),
        ({"square_distance": 3.9}, "fresh square"),
        ({"square_distance": 3.9, "only": "uniform"}, "fresh square"),
        ({"first_distance": 2.0, "only": "normal"}, "fresh matrices shaped like the first"),
        ({"square_spikes": 0.4, "only": "normal"}, "spikes per fresh matrix of Gaussian"),
        ({"first_spikes": 0.4, "only": "uniform"}, "spikes per fresh matrix of uniform"),
        ({"t3": np.full(4, 0.025)}, "Student t entries, 3"),
        ({"no_variance": 0.7}, "square matrices of entries without variance"),
        ({"t15": 0.16 * np.sqrt(512 / np.array([128, 256, 512, 1024]))}, "entries without variance: log"),
        ({"initial_distance": 2.0, "only": "normal"}, "square layer before"),
        ({"train_accuracy": 0.5}, "training accuracy"),
        ({"spikes": np.array([0, 0, 0]), "only": "uniform"}, "spikes that training adds"),
        ({"spikes": np.array([9, 9, 9])}, "spikes that training adds"),
        ({"trained_distance": 0.7, "only": "normal"}, "square layer after"),
        ({"shuffled_spikes": 9.0}, "spikes per matrix of the trained"),
        ({"shuffled_distance": 1.9, "only": "uniform"}, "trained layer with shuffled"),
        ({"trained_distance": 0.6, "only": "uniform"}, "KS distance that shuffling"),
        ({"accuracy_spikes": 0.9, "only": "normal"}, "test accuracy lost when the square"),
        ({"accuracy_rest": 0.97, "only": "uniform"}, "test accuracy lost when it keeps all"),
        (
            {"cross_entropy_unlearned": 0.062, "only": "normal"},
            "share by which the spikes' test cross-entropy is below",
        ),
        (
            {"cross_entropy_principal": 0.063, "only": "uniform"},
            "share by which the spikes' test cross-entropy is below",
        ),
        ({"accuracy_random": 0.97, "only": "normal"}, "test accuracy lost when as many random"),
    ],
)
def test_planted_fakes_are_not_reproduced(changes, failing):
    found = verdict(table(**changes))
    assert found.outcome == "not reproduced"
    assert any(each.name.startswith(failing) for each in found.criteria if each.holds is False)


def test_a_layer_that_never_learned_is_not_reproduced(monkeypatch, tmp_path):
    """After a training without it, the layer is made larger along the principal directions of its inputs."""

    def trained_without(model, batches, loss, *, optimizer, epochs, callbacks, **settings):
        weight = model.hidden2.weight
        weight.requires_grad_(False)
        others = [{"params": [each for each in model.parameters() if each.requires_grad]}]
        without = type(optimizer)(others, lr=0.05, momentum=0.9)
        fit(model, batches, loss, optimizer=without, epochs=epochs, callbacks=callbacks, **settings)
        along = principal_directions(layer_inputs(model, load("digits").train), 10).float()
        weight += 3 * weight @ along.T @ along
        callbacks[0].rows.append(callbacks[0]._counted(epochs, model))

    monkeypatch.setattr(_trained_layer, "fit", trained_without)
    case = CASE.replace(width=256, epochs=3, null_draws=20, shuffles=1)
    rows = [STUDY.trial(case, Run(tmp_path / str(seed), seed)) for seed in (1000, 1001, 1002)]
    trials = table(3)
    learned = {key: [row[key] for row in rows] for key in rows[0]}
    for start in ("normal", "uniform"):
        here = trials.index[(trials.part == "train") & (trials.entries == start)]
        for place, index in enumerate(here):
            for key, values in learned.items():
                trials.at[index, key] = values[place]
    found = verdict(trials, seeds=3)
    assert next(each for each in found.criteria if each.name.startswith("spikes that training adds")).holds
    assert found.outcome == "not reproduced"
    assert any(each.name.startswith("share by which") for each in found.criteria if each.holds is False)


def test_doing_nothing_fails():
    """Untrained weights, which have no spikes."""
    nothing = {"spikes": np.array([0, 0, 0]), "train_accuracy": 0.1, "trained_distance": 0.7}
    nothing |= {f"accuracy_{name}": 0.1 for name in ("whole", "spikes", "rest", "random", "initial")}
    nothing |= {f"cross_entropy_{name}": math.log(10) for name in ("spikes", "unlearned", "principal")}
    found = verdict(table(**nothing))
    wrong = [each.name for each in found.criteria if each.holds is False]
    assert len(wrong) == 7


def test_a_start_that_is_missing_is_not_taken_for_the_better_one():
    trials = table()
    found = verdict(trials[~((trials.part == "train") & (trials.entries == "uniform") & (trials.seed == 2))])
    assert found.outcome == "inconclusive"


@pytest.mark.parametrize("seeds", [1, 2])
def test_few_seeds_decide_nothing(seeds):
    assert verdict(table(seeds), seeds=seeds).outcome == "inconclusive"


@pytest.mark.parametrize("without", [("fresh",), ("sizes",), ("train",), ("t1.5",), ("uniform",)], ids=" ".join)
def test_missing_trials_leave_it_open(without):
    trials = table(without=without)
    assert verdict(trials).outcome == "inconclusive"
    assert STUDY.draw(trials).axes
