"""Cosines of embeddings: optima against gradients, stationarity and twins, retrieval by hand, planted fakes."""

from __future__ import annotations

import itertools
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch

from deepscope.core import Case, UsageError, Verdict
from deepscope.figures import to_svg
from deepscope.studies.embeddings import _rescaled_factors, _trained_factors
from deepscope.studies.embeddings._cosines import chance, cosines, differences, precision
from deepscope.studies.embeddings._factorisation import (
    PENALTIES,
    Factors,
    alternating,
    closed_form,
    descended,
    loss_and_gradient,
    strength,
)
from deepscope.studies.embeddings._interactions import interactions, planted
from deepscope.studies.embeddings._rescaled_factors import JUDGED, SPREADS
from deepscope.studies.embeddings.cosine_ambiguity import STUDY

SMALL = {"n_users": 200, "n_items": 20, "n_images": 60, "rank": 6, "draws": 4, "starts": 3, "alternations": 3000}


def generator():
    return np.random.default_rng(1000)


def run(seed=1000):
    return SimpleNamespace(seed=seed, device=torch.device("cpu"), progress=lambda done: None)


def case(part="rescaled", data="planted", **changes):
    return Case(**{**STUDY.defaults, **SMALL, "descents": 2000, "part": part, "data": data, **changes})


def problem(rank=4):
    """Return X with well separated singular values, G, and the largest singular values with their directions."""
    rng = generator()
    left, right = (np.linalg.qr(rng.standard_normal((n, 9))).Q for n in (30, 9))
    values = 1.5 ** -np.arange(9.0) * 10
    matrix = left * values @ right.T
    return matrix, matrix.T @ matrix, values[:rank], right[:, :rank]


def written_out(matrix, penalty, lam, left, right):
    """The objective as the source has it, on X itself."""
    loss = (matrix - matrix @ left @ right.T).square().sum()
    if penalty == "product":
        return loss + lam * (left @ right.T).square().sum()
    return loss + lam * ((matrix @ left).square().sum() + right.square().sum())


@pytest.mark.parametrize("penalty", PENALTIES)
def test_loss_and_gradient_are_those_of_the_objective(penalty):
    matrix, gram, _, _ = problem()
    factors = torch.from_numpy(generator().standard_normal((2, 9, 4))).requires_grad_()
    expected = written_out(torch.from_numpy(matrix), penalty, 2.5, *factors)
    expected.backward()
    loss, gradient = loss_and_gradient(gram, penalty, 2.5, *factors.detach().numpy())
    assert loss == pytest.approx(expected.item(), rel=1e-12)
    np.testing.assert_allclose(gradient, factors.grad.numpy(), rtol=1e-10, atol=1e-9)


@pytest.mark.parametrize("penalty", PENALTIES)
def test_closed_forms_are_optima_that_random_directions_do_not_beat(penalty):
    _, gram, values, directions = problem()
    lam = strength(values, penalty)
    best = closed_form(values, directions, penalty, lam)
    loss, gradient = loss_and_gradient(gram, penalty, lam, best.left, best.right)
    # Terms of the gradient are of the size s₁² = 100.
    assert np.abs(gradient).max() < 1e-11 * 100
    rng = generator()
    for scale in (1e-3, 0.1, 1.0):
        for _ in range(20):
            moved = np.stack([best.left, best.right]) + scale * rng.standard_normal((2, 9, 4))
            assert loss_and_gradient(gram, penalty, lam, *moved)[0] > loss


def test_strength_halves_the_weakest_direction_or_takes_a_part_of_it():
    _, _, values, directions = problem()
    for penalty, kept in (("product", 0.5), ("separate", 0.7)):
        product = closed_form(values, directions, penalty, strength(values, penalty)).predictions
        weights = np.sort(np.linalg.svd(product).S[:4])
        assert weights[0] == pytest.approx(kept)
    lost = closed_form(values, directions, "separate", 1.01 * values[-1]).predictions
    assert np.linalg.matrix_rank(lost) == 3


@pytest.mark.parametrize("penalty", PENALTIES)
@pytest.mark.parametrize("method", ["alternating", "descended"])
def test_both_solvers_find_the_closed_form(penalty, method):
    _, gram, values, directions = problem()
    lam = strength(values, penalty)
    expected = closed_form(values, directions, penalty, lam)
    start = 0.5 * generator().standard_normal((2, 9, 4))
    if method == "alternating":
        # Singular values at the cut differ by 1.5: a step of the slower penalty shrinks errors by more than 1.5.
        found, tolerance = alternating(gram, penalty, lam, start[1], 200), 1e-12
    else:
        # L-BFGS ends where rounding hides a descent, at errors of the order √1e-16 times some ten.
        found, tolerance = descended(gram, penalty, lam, Factors(*start), 5000), 1e-5
    np.testing.assert_allclose(found.predictions, expected.predictions, rtol=0, atol=tolerance)
    apart = differences(cosines(found.right), cosines(expected.right)).max()
    assert apart < 10 * tolerance if penalty == "separate" else apart > 0.05


@pytest.mark.parametrize("penalty", PENALTIES)
def test_each_alternation_is_an_exact_minimum(penalty):
    _, gram, values, _ = problem()
    lam = strength(values, penalty)
    found = alternating(gram, penalty, lam, generator().standard_normal((9, 4)), 3)
    _, (_, in_right) = loss_and_gradient(gram, penalty, lam, found.left, found.right)
    assert np.abs(in_right).max() < 1e-9


def test_rescaling_changes_the_loss_for_separate_norms_only():
    _, gram, values, directions = problem()
    scales = np.array([0.5, 2.0, 1.0, 3.0])
    for penalty in PENALTIES:
        lam = strength(values, penalty)
        best = closed_form(values, directions, penalty, lam)
        moved = best.rescaled(scales)
        np.testing.assert_allclose(moved.predictions, best.predictions, rtol=0, atol=1e-14)
        losses = [loss_and_gradient(gram, penalty, lam, each.left, each.right)[0] for each in (best, moved)]
        assert losses[1] - losses[0] == pytest.approx(0, abs=1e-9) if penalty == "product" else losses[1] > losses[0]


def test_cosines_and_their_differences():
    found = cosines(np.array([[2.0, 0], [0, 5], [1, 1], [-3, 0]]))
    half = np.sqrt(0.5)
    expected = [[1, 0, half, -1], [0, 1, half, 0], [half, half, 1, -half], [-1, 0, -half, 1]]
    np.testing.assert_allclose(found, expected, atol=1e-15)
    np.testing.assert_allclose(differences(found, np.eye(4)), [0, half, 1, half, 0, half], atol=1e-15)


def test_precision_is_that_of_a_loop_and_never_counts_the_item_itself():
    rng = generator()
    groups = rng.integers(0, 3, 30)
    similarity = cosines(rng.standard_normal((30, 4)))
    right = [
        groups[j] == groups[i]
        for i in range(30)
        for j in sorted((j for j in range(30) if j != i), key=lambda j: -similarity[i, j])[:5]
    ]
    assert precision(similarity, groups) == pytest.approx(np.mean(right))
    apart = np.repeat(np.arange(3), 10)
    assert precision((apart[:, None] == apart).astype(float), apart) == 1
    assert precision((apart[:, None] != apart).astype(float), apart) == 0


def test_chance_is_the_precision_of_random_embeddings():
    groups = np.repeat(np.arange(5), [4, 8, 12, 16, 20])
    rng = generator()
    seen = [precision(cosines(rng.standard_normal((60, 10))), groups) for _ in range(200)]
    assert np.mean(seen) == pytest.approx(chance(groups), abs=4 * np.std(seen) / np.sqrt(200))
    assert chance(np.repeat(np.arange(5), 12)) == pytest.approx(11 / 59)


def test_planted_users_keep_to_their_clusters_and_some_items_are_popular():
    matrix, groups = planted(generator(), 4000, 60, 5)
    assert set(np.unique(matrix)) == {0.0, 1.0}
    np.testing.assert_array_equal(np.bincount(groups), [12] * 5)
    together = np.corrcoef(matrix.T)
    pairs = np.triu_indices(60, 1)
    same = (groups[:, None] == groups)[pairs]
    assert together[pairs][same].min() > together[pairs][~same].max()
    seen = np.sort(matrix.mean(axis=0))
    assert seen.mean() == pytest.approx(0.15, abs=0.01)
    assert seen[-1] > 4 * seen[0]


def test_images_are_items():
    matrix, groups = interactions(case(data="digits"), generator())
    assert matrix.shape == (64, 60)
    assert groups.shape == (60,)
    again, _ = interactions(case(data="digits"), np.random.default_rng(1))
    assert not np.array_equal(matrix, again)


def test_a_rescaled_trial_measures_what_a_loop_does():
    found = STUDY.trial(case(), run())
    rng = generator()
    matrix, groups = planted(rng, 200, 20, 5)
    values, vectors = np.linalg.svd(matrix)[1:]
    right = vectors[:6].T * np.sqrt(values[:6] ** 2 / (values[:6] ** 2 + values[5] ** 2))
    draws = rng.standard_normal((4, 6))
    pairs = list(itertools.combinations(range(20), 2))

    def angles(embeddings):
        units = [row / np.linalg.norm(row) for row in embeddings]
        return np.array([units[i] @ units[j] for i, j in pairs])

    before = angles(right)
    for place, spread in enumerate(SPREADS):
        changes = [np.abs(angles(right / np.exp(spread * z)) - before) for z in draws]
        assert found["median_difference"][place] == pytest.approx(np.mean([np.median(each) for each in changes]))
        assert found["largest_difference"][place] == pytest.approx(np.mean([each.max() for each in changes]))
    similar = [cosines(right / np.exp(z)) for z in draws]
    assert found["rescaled_precision"][JUDGED] == pytest.approx(np.mean([precision(each, groups) for each in similar]))
    assert found["full_rank_cosine"] < 1e-13
    assert found["harmless_difference"] < 1e-13
    assert found["pairs"].shape == (2, 190)


def test_items_without_clusters_have_no_contrast_and_nothing_to_lose(monkeypatch):
    def shuffled(case, rng):
        matrix, groups = interactions(case, rng)
        return matrix, rng.permutation(groups)

    monkeypatch.setattr(_rescaled_factors, "interactions", shuffled)
    found = verdict(trials(case(), n_items=60, rank=10))
    for name in ("planted clusters, product’s norm, random D: fall", "within clusters minus between"):
        assert criterion(found, name).holds is False


def test_rescaling_the_items_alone_is_found_out(monkeypatch):
    monkeypatch.setattr(Factors, "rescaled", lambda self, scales: Factors(self.left, self.right / scales))
    found = verdict(trials(case()))
    assert criterion(found, "product’s norm: largest difference of a prediction").holds is False
    assert criterion(found, "rotation, or D a constant: largest difference of a prediction").holds is False


def test_a_constant_in_the_place_of_a_random_d_is_found_out(monkeypatch):
    rescale = Factors.rescaled
    monkeypatch.setattr(Factors, "rescaled", lambda self, scales: rescale(self, np.full_like(scales, scales[0])))
    found = verdict(trials(case()))
    changed = [f"planted clusters, product’s norm, random D: {each}" for each in ("change", "fall")]
    for name in (f"{changed[0]} of a pair’s cosine, median", changed[1], "D = Λ^½: largest cosine"):
        assert criterion(found, name).holds is False


def test_training_that_has_not_converged_is_found_out():
    found = verdict(trials(case("trained", alternations=2, descents=3)))
    for name in ("trained: relative error", "solved in turn: relative error", "separate norms, trained: largest"):
        assert criterion(found, name).holds is False


def test_the_wrong_penalty_is_found_out(monkeypatch):
    def product_only(solver):
        return lambda gram, _, lam, *rest: solver(gram, "product", lam, *rest)

    for name in ("alternating", "descended"):
        monkeypatch.setattr(_trained_factors, name, product_only(getattr(_trained_factors, name)))
    found = verdict(trials(case("trained")))
    for name in ("separate norms, solved in turn", "separate norms, trained: largest"):
        assert criterion(found, name).holds is False


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"part": "trainde"}, "trained"),
        ({"rank": 1}, "rank"),
        ({"draws": 0}, "draws"),
        ({"starts": 1}, "starts"),
        ({"clusters": 1}, "clusters"),
        ({"n_items": 5}, "n_items"),
        ({"rank": 21}, "20 items"),
        ({"n_users": 19}, "19 users"),
        ({"data": "digits", "rank": 61}, "60 items"),
    ],
    ids=str,
)
def test_a_trial_that_cannot_be_run_says_so(changes, message):
    with pytest.raises(UsageError, match=message):
        STUDY.trial(case(**changes), run())


def trials(chosen, seeds=3, **changes):
    bent = chosen.replace(**changes)
    return pd.DataFrame([{**bent, "seed": seed, **STUDY.trial(bent, run(1000 + seed))} for seed in range(seeds)])


def table(seeds=5, **changes):
    """Return the trials of a study that reproduces, but for the changes, by part and name."""
    rng = np.random.default_rng(0)
    agreement = {"error": 1e-6, "median": 1e-7, "largest": 1e-6, "precision": 0.99}
    trained = {
        f"{method}_{penalty}_{name}": value * (1e-6 if method == "alternating" and name != "precision" else 1)
        for method in ("alternating", "descended")
        for penalty in PENALTIES
        for name, value in agreement.items()
    }
    parts = {
        ("rescaled", "planted"): {"precision": 0.99, "full_rank_cosine": 1e-15, "full_rank_contrast": 0.17},
        ("rescaled", "digits"): {"precision": 0.9},
        ("trained", "planted"): {**trained, "descended_product_median": 0.3, "small_starts": np.array([0.1, 0.1])},
    }
    for (part, data), numbers in parts.items():
        if part == "rescaled":
            numbers |= {
                "prediction_error": 1e-15,
                "full_rank_prediction_error": 1e-15,
                "harmless_prediction_error": 1e-15,
                "harmless_difference": 1e-15,
                "median_difference": np.array([0.08, 0.16, 0.33, 0.5]),
                "largest_difference": np.array([0.4, 0.8, 1.2, 1.5]),
                "rescaled_precision": numbers["precision"] - np.array([0.01, 0.05, 0.15, 0.3]),
            }
        numbers["chance"] = 0.19
        for name, value in changes.items():
            where, _, column = name.partition("__")
            if where in (part, data) and column in numbers:
                numbers[column] = value
    rows = []
    for seed in range(seeds):
        for (part, data), numbers in parts.items():
            jittered = {name: value * np.exp(0.01 * rng.standard_normal()) for name, value in numbers.items()}
            rows.append({"part": part, "data": data, "rank": 10, "seed": seed, **jittered})
    return pd.DataFrame(rows)


def verdict(rows):
    return Verdict.of(STUDY.judge(rows), seeds=rows["seed"].nunique())


def criterion(found, name):
    (chosen,) = (each for each in found.criteria if name in each.name)
    return chosen


def test_what_the_paper_says_is_reproduced():
    found = verdict(table())
    assert found.outcome == "reproduced", found.reasons
    assert sum(each.control for each in found.criteria) == 2


SAME = np.zeros(4)


@pytest.mark.parametrize(
    ("changes", "failing"),
    [
        ({"digits__prediction_error": 1e-3}, {"product’s norm: largest difference of a prediction"}),
        ({"rescaled__full_rank_prediction_error": 1e-3}, {"D = Λ^½: largest difference of a prediction"}),
        (
            {"planted__median_difference": SAME},
            {"planted clusters, product’s norm, random D: change of a pair’s cosine, m"},
        ),
        ({"digits__median_difference": SAME}, {"images, product’s norm, random D: change of a pair’s cosine, median"}),
        (
            {"digits__largest_difference": SAME + 0.3},
            {"images, product’s norm, random D: change of a pair’s cosine, la"},
        ),
        ({"planted__rescaled_precision": SAME + 0.99}, {"planted clusters, product’s norm, random D: fall"}),
        ({"digits__rescaled_precision": SAME + 0.89}, {"images, product’s norm, random D: fall"}),
        ({"rescaled__full_rank_cosine": 0.3}, {"D = Λ^½: largest cosine"}),
        ({"rescaled__full_rank_contrast": 0.01}, {"within clusters minus between"}),
        ({"trained__descended_product_median": 1e-6}, {"product’s norm, trained: difference"}),
        ({"trained__descended_product_error": 0.9}, {"trained: relative error"}),
        ({"trained__descended_separate_error": 0.9}, {"trained: relative error"}),
        ({"trained__alternating_separate_error": 0.9}, {"solved in turn: relative error"}),
        ({"trained__alternating_separate_largest": 0.1}, {"separate norms, solved in turn"}),
        ({"trained__descended_separate_largest": 0.1}, {"separate norms, trained: largest"}),
        ({"trained__descended_separate_precision": 0.19}, {"separate norms, trained: precision"}),
        ({"rescaled__harmless_prediction_error": 1e-3}, {"D a constant: largest difference of a prediction"}),
        ({"digits__harmless_difference": 0.1}, {"D a constant: largest difference of a pair’s cosine"}),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_planted_fakes_are_not_reproduced(changes, failing):
    found = verdict(table(**changes))
    assert found.outcome == "not reproduced"
    assert {each.name for each in found.criteria if each.holds is False} == {
        each.name for each in found.criteria if any(name in each.name for name in failing)
    }
    assert len(found.reasons) == len(failing)


def test_the_figure_names_what_it_shows():
    rows = pd.concat(
        [trials(case(data=data), seeds=1) for data in ("planted", "digits")] + [trials(case("trained"), 1)]
    )
    svg = to_svg(STUDY.draw(rows), "x")
    for text in ("planted", "digits", "chance", "same cluster", "penalty on", "0.25", "precision"):
        assert text in svg
