"""The perceptron: margins and proofs, the algorithm against a naive twin, counts by enumeration, planted fakes."""

from __future__ import annotations

import itertools
import json
import math
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from scipy.optimize import linprog, minimize

from deepscope.core import UsageError, Verdict
from deepscope.figures import to_svg
from deepscope.studies.foundations import _digit_pairs, _separation, perceptron
from deepscope.studies.foundations._boolean_functions import (
    _classes,
    count_threshold_functions,
    fixed_orders,
    majority,
    monomials,
    order,
    parity,
    partial_parity,
    random_quadratic,
    signed_monomials,
    values,
)
from deepscope.studies.foundations._convergence import convergence
from deepscope.studies.foundations._perceptron import closest_first, cyclic, fate, sweep
from deepscope.studies.foundations._point_sets import SCALE, inseparable_set, orthogonal_set, separable_set
from deepscope.studies.foundations._separation import Bounds, Margin, euclidean_margin, is_separable, program_margin
from deepscope.studies.foundations._voted_perceptron import errors_by_pass
from deepscope.studies.foundations.perceptron import PARTS, STUDY


def generator():
    return np.random.default_rng(7)


def run(tmp_path, seed=5):
    return SimpleNamespace(
        seed=seed,
        checkpoint=tmp_path / "checkpoint",
        progress=lambda done: None,
        shared=lambda make, **key: make(**key),
    )


@pytest.mark.parametrize(("features", "count"), [(2, 10), (5, 160), (50, 40)])
def test_the_margin_is_that_of_a_general_solver(features, count):
    points = separable_set(generator(), features, count, 0.1)
    scaled = points / np.linalg.norm(points, axis=1).max()
    margin = euclidean_margin(points)
    assert 0 <= margin.high - margin.low + 1e-15 <= 1e-9 * margin.high
    # The textbook's hard margin: least ‖w‖ with z·w ≥ 1 for all, γ = 1/‖w‖.
    found = minimize(
        lambda w: w @ w / 2,
        linprog(np.zeros(features), A_ub=-scaled, b_ub=-np.ones(count), bounds=(None, None)).x,
        jac=lambda w: w,
        constraints={"type": "ineq", "fun": lambda w: scaled @ w - 1, "jac": lambda w: scaled},
        method="SLSQP",
        options={"ftol": 1e-12, "maxiter": 500},
    )
    assert margin.low == pytest.approx(1 / np.linalg.norm(found.x), rel=1e-6)
    np.testing.assert_allclose(margin.normal, found.x / np.linalg.norm(found.x), atol=1e-5)
    assert (scaled @ margin.normal).min() == pytest.approx(margin.low, rel=1e-12)


def test_margins_in_closed_form():
    margin = euclidean_margin(np.array([[3.0, 0.0], [0.0, 4.0]]))
    assert margin.high == pytest.approx(12 / 5 / 4, rel=1e-14)
    assert margin.low == pytest.approx(12 / 5 / 4, rel=1e-14)
    # |w₁|, |w₂| ≤ 1: w = (1, ¾…1) gives 3. Not the Euclidean one.
    assert program_margin(np.array([[3.0, 0.0], [0.0, 4.0]])) == pytest.approx((3, 3))


@pytest.mark.parametrize("margin", [0.9, 0.03, 0.001])
def test_separable_sets_have_the_margin_asked_for(margin):
    points = separable_set(generator(), 10, 40, margin)
    assert np.array_equal(points, np.rint(points))
    assert points.shape == (40, 10)
    unit = np.linalg.norm(points, axis=1).max() / SCALE
    # Rounding moves a point by at most √10/2 of a unit.
    assert euclidean_margin(points).high * unit == pytest.approx(margin, abs=math.sqrt(10) / 2 / SCALE)


def test_separable_by_the_one_proof_or_the_other():
    points = inseparable_set(generator())
    assert not is_separable(points)
    assert euclidean_margin(points).low < 1e-12
    assert is_separable(separable_set(generator(), 5, 40, 0.1) / SCALE)
    with pytest.raises(UsageError, match="too close to 0"):
        is_separable(np.array([[1.0, 1e-8], [-1.0, 1e-8]]))


def test_a_w_that_shows_nothing_is_no_proof_that_there_is_none(monkeypatch):
    monkeypatch.setattr(_separation, "program_margin", lambda points: Bounds(0.0, 0.5))
    with pytest.raises(UsageError, match="too close to 0"):
        is_separable(np.ones((2, 2)))


def test_inseparable_sets_are_so_by_a_program_without_margins():
    rng = generator()
    for _ in range(20):
        points = inseparable_set(rng)
        feasible = linprog(np.zeros(points.shape[1]), A_ub=-points, b_ub=-np.ones(len(points)), bounds=(None, None))
        assert feasible.status == 2
        assert np.abs(points).max() <= 3


def naive(points, passes):
    """One sample after the other, as in the textbook; the weights after each sample."""
    weights, path = np.zeros(points.shape[1]), []
    for _ in range(passes):
        for point in points:
            if point @ weights <= 0:
                weights = weights + point
            path.append(weights)
    return path


def test_a_sweep_is_the_textbooks():
    rng = generator()
    points = rng.integers(-3, 4, (200, 4)).astype(float)
    weights, start = np.zeros(4), np.zeros(4)
    path = naive(points, 3)
    for done in range(3):
        before = weights
        weights, mistakes = sweep(points, weights)
        np.testing.assert_array_equal(weights, path[200 * (done + 1) - 1])
        np.testing.assert_array_equal(weights, before + points[mistakes].sum(axis=0))
    np.testing.assert_array_equal(start, np.zeros(4))


@pytest.mark.parametrize("updated", [cyclic, closest_first])
def test_only_wrong_points_are_added_until_all_are_right(updated):
    points = separable_set(generator(), 5, 40, 0.05)
    bound = euclidean_margin(points).high ** -2
    added = updated(points, bound)
    assert 1 < len(added) <= bound
    weights = np.zeros(5)
    for place in added:
        assert (points @ weights <= 0).any()
        assert points[place] @ weights <= 0
        weights += points[place]
    assert (points @ weights > 0).all()
    assert sorted(updated(orthogonal_set(generator(), 16), 1e6)) == list(range(16))
    assert len(updated(np.array([[1.0], [-1.0]]), 50)) > 50


def test_the_closest_of_the_wrong_points_is_added_first():
    points = separable_set(generator(), 5, 40, 0.05)
    weights = np.zeros(5)
    for place in closest_first(points, 1e6):
        products = points @ weights
        assert products[place] == products[products <= 0].max()
        weights += points[place]


def test_cyclic_updates_are_those_of_the_textbook():
    points = separable_set(generator(), 5, 40, 0.05)
    how, passes = fate(points, 1000)
    assert how == "stops"
    path = naive(points, passes)
    changes = [np.any(a != b) for a, b in itertools.pairwise([np.zeros(5), *path])]
    assert [place % 40 for place in np.flatnonzero(changes)] == cyclic(points, 1e9)
    assert any(changes[-2 * len(points) : -len(points)])
    assert fate(points, passes - 1)[0] == "open"


def test_orthogonal_sets_have_points_of_other_norms_and_the_bound_all_the_same():
    points = orthogonal_set(generator(), 8)
    norms = np.linalg.norm(points, axis=1)
    margin = euclidean_margin(points)
    assert margin.high == pytest.approx(1 / math.sqrt(8), rel=1e-14)
    assert np.array_equal(points, np.rint(points))
    np.testing.assert_allclose(points[:8] @ points[:8].T, 8 * np.eye(8))
    for other in (np.min, np.mean, np.median):
        assert other(norms) < 0.8 * norms.max()


def test_convergence_is_that_of_the_path():
    points = separable_set(generator(), 5, 40, 0.05)
    margin = euclidean_margin(points)
    added = cyclic(points, 1e9)
    found = convergence(points, added, margin)
    largest = np.linalg.norm(points, axis=1).max()
    weights, growth, advance = np.zeros(5), [], []
    for k, place in enumerate(added, start=1):
        weights = weights + points[place]
        growth.append(weights @ weights / (k * largest**2))
        advance.append(weights @ margin.normal / (k * margin.high * largest))
    assert found.updates == len(added)
    assert found.least == (points @ weights).min() > 0
    assert found.growth == pytest.approx(max(growth), rel=1e-12)
    assert found.advance == pytest.approx(min(advance), rel=1e-12)
    # The proof: both inequalities, for every k.
    assert found.growth <= 1
    assert found.advance >= 1 - 1e-9
    assert convergence(points, added[:-1], margin).least <= 0
    assert convergence(points, [], margin) == (0, 0, 0, 0)
    # Points that were not wrong when they were added: w gets longer than it may.
    assert convergence(points, [int(np.linalg.norm(points, axis=1).argmax())] * 3, margin).growth == pytest.approx(3)


def test_fates():
    assert fate(np.array([[2.0, 1.0], [-1.0, 1.0]]), 100)[0] == "stops"
    points = inseparable_set(generator())
    how, passes = fate(points, 10_000)
    assert how == "cycles"
    assert passes > 1
    assert fate(points, passes - 1)[0] == "open"
    ends = [np.zeros(points.shape[1]), *naive(points, 3 * passes)[len(points) - 1 :: len(points)]]
    period = next(k for k in range(1, passes + 1) if np.array_equal(ends[passes - k], ends[passes]))
    assert all(np.array_equal(a, b) for a, b in zip(ends[passes:], ends[passes - period :], strict=False))
    assert fate(signed_monomials(parity(2), 1), 100)[0] == "cycles"


def test_votes_and_averages_are_sums_over_all_samples():
    rng = generator()
    train, test = rng.integers(-3, 4, (50, 4)).astype(float), rng.integers(-3, 4, (30, 4)).astype(float)
    errors = errors_by_pass(train, test, 3)
    for passes in (1, 2, 3):
        path = np.array(naive(train, passes))
        assert errors.last[passes - 1] == np.mean(test @ path[-1] <= 0)
        assert errors.voted[passes - 1] == np.mean(np.sign(test @ path.T).sum(axis=1) <= 0)
        assert errors.averaged[passes - 1] == np.mean(test @ path.sum(axis=0) <= 0)


def test_the_vote_is_that_of_weights_that_were_in_force_for_most_of_the_run():
    rng = generator()
    train, test = separable_set(rng, 5, 40, 0.05), rng.standard_normal((200, 5))
    how, passes = fate(train, 1000)
    assert how == "stops"
    errors = errors_by_pass(train, test, 2 * passes + 1)
    assert errors.voted[-1] == errors.last[-1] > 0


@pytest.mark.parametrize("bits", [1, 2, 3])
def test_threshold_functions_are_counted_as_by_enumeration(bits):
    """Weights and thresholds that are small integers give every threshold function of three bits."""
    inputs = np.array(list(itertools.product((-1, 1), repeat=bits)))
    weights = np.array(list(itertools.product(range(-2, 3), repeat=bits)))
    thresholds = np.arange(-7, 8, 2) / 2
    signs = np.sign((weights @ inputs.T)[:, None, :] + thresholds[:, None]).reshape(-1, 2**bits)
    expected = len(np.unique(signs[np.abs(signs).all(axis=1)], axis=0))
    assert count_threshold_functions(bits, generator()) == expected == (4, 14, 104)[bits - 1]


def test_classes_have_a_threshold_function_or_none():
    classes = _classes(3)
    assert len(np.unique(classes)) == 14
    for each in np.unique(classes):
        members = np.flatnonzero(classes == each)
        assert len({is_separable(signed_monomials(values(int(member), 3), 1)) for member in members}) == 1


def test_a_function_is_its_bits():
    np.testing.assert_array_equal(values(0b0110, 2), parity(2))
    np.testing.assert_array_equal(values(0b1000, 2), [1, 1, 1, -1])


def test_monomials_are_products_of_inputs():
    products, degrees = monomials(3)
    inputs = [1 - 2 * (np.arange(8) >> bit & 1) for bit in range(3)]
    for column in range(8):
        chosen = [inputs[bit] for bit in range(3) if column >> bit & 1]
        np.testing.assert_array_equal(products[:, column], np.prod([np.ones(8), *chosen], axis=0))
        assert degrees[column] == len(chosen)


def test_orders_known_from_theory():
    assert [order(parity(bits)) for bits in range(1, 7)] == [1, 2, 3, 4, 5, 6]
    assert [order(majority(bits)) for bits in range(1, 7)] == [1] * 6
    assert order(np.ones(8)) == 0
    # x₁ = x₂ depends on two bits of three.
    assert order(np.tile(parity(2), 2)) == 2
    np.testing.assert_array_equal(partial_parity(2, 3), monomials(3)[0][:, 0b011])
    assert [order(partial_parity(chosen, 5)) for chosen in range(6)] == list(range(6))
    assert max(order(random_quadratic(6, generator())) for _ in range(3)) == 2


@pytest.mark.parametrize("bits", range(1, 9))
def test_parity_has_an_exact_certificate(bits):
    """It is orthogonal to every product of fewer bits, so that equal weights combine the points to 0."""
    assert not signed_monomials(parity(bits), bits - 1).sum(axis=0).any()
    assert program_margin(signed_monomials(parity(bits), bits - 1)).high < 1e-9


def test_fixed_orders():
    found = fixed_orders(4)
    np.testing.assert_array_equal(found["parity_order"], [1, 2, 3, 4])
    np.testing.assert_array_equal(found["majority_order"], [1, 1, 1, 1])
    np.testing.assert_array_equal(found["partial_order"], [0, 1, 2, 3])
    assert found["xor_margin"] < 1e-9


@pytest.fixture(scope="module")
def smoke(tmp_path_factory):
    rows = []
    for case in STUDY.grid("smoke").cases:
        found = STUDY.trial(case, run(tmp_path_factory.mktemp("run"), 0))
        rows.append({**case, "seed": 0, **found})
    return pd.DataFrame(rows)


def test_smoke_decides_nothing_and_is_drawn(smoke):
    criteria = STUDY.judge(smoke)
    assert Verdict.of(criteria, seeds=1).outcome == "inconclusive"
    assert [c.name for c in criteria if c.measured is None] == [
        "threshold functions among the Boolean functions of 4 bits"
    ]
    svg = to_svg(STUDY.draw(smoke), "x")
    for name in ("the bound", "last weights", "parity", "majority", "all functions", "104"):
        assert name in svg


def test_flipped_labels_are_a_tenth_and_only_those_of_training(tmp_path, monkeypatch):
    case = next(case for case in STUDY.grid("quick").cases if case.part == "flipped")
    given = {}
    for share in (0.1, 0.0):
        given[share] = []
        monkeypatch.setattr(
            _digit_pairs, "errors_by_pass", lambda *each, to=given[share]: to.append(each) or [np.zeros(1)] * 3
        )
        monkeypatch.setattr(_digit_pairs, "is_separable", lambda points: True)
        STUDY.trial(case.replace(flipped=share), run(tmp_path))
        (tmp_path / "checkpoint").unlink()
    seen, right = given[0.1], given[0.0]
    assert len(seen) == 45
    for _, test, passes in seen:
        assert passes == 10
        # The last coordinate is the constant 1 times the label; the classes are of nearly one size.
        assert abs(np.mean(test[:, -1])) < 0.05
    for (noisy, *_), (clean, *_) in zip(seen, right, strict=True):
        flipped = np.any(noisy != clean, axis=1)
        assert flipped.sum() == round(0.1 * len(clean))
        np.testing.assert_array_equal(noisy[flipped], -clean[flipped])


def test_a_trial_cut_off_goes_on_with_the_next_pair(tmp_path):
    case = next(case for case in STUDY.grid("smoke").cases if case.part == "flipped")
    whole = STUDY.trial(case, run(tmp_path))
    kept = json.loads((tmp_path / "checkpoint").read_text())
    (tmp_path / "checkpoint").write_text(json.dumps(kept[:40]))
    said = []
    again = STUDY.trial(case, SimpleNamespace(**{**vars(run(tmp_path)), "progress": said.append}))
    assert len(said) == 5
    for name, curve in whole.items():
        np.testing.assert_array_equal(again[name], curve)


def test_an_unknown_part_is_refused(tmp_path):
    with pytest.raises(UsageError, match="separable"):
        STUDY.trial(STUDY.grid("smoke").cases[0].replace(part="seperable"), run(tmp_path))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *itertools.product(("sets", "largest_power", "parity_bits", "passes", "bits"), (0, -1, 1.5, "many")),
        ("bits", 5),
        *itertools.product(["flipped"], (-0.1, 0.5, "some")),
    ],
)
def test_bad_settings_are_refused(tmp_path, name, value):
    with pytest.raises(UsageError) as caught:
        STUDY.trial(STUDY.grid("smoke").cases[0].replace(**{name: value}), run(tmp_path))
    assert name in str(caught.value)


def table(seeds=5, without=(), **changes):
    """Return the trials of a study that reproduces, but for the changes."""
    rng = np.random.default_rng(0)
    rows = []
    for seed in range(seeds):
        jitter = 0.001 * rng.standard_normal(10)
        found = {
            "separable": {
                "bound": np.array([100.0, 1e5]),
                "updates": np.array([[30, 20], [7, 9]]),
                "gap": np.full(2, 1e-13),
                "least": np.array([[5.0, 1.0], [900.0, 3.0]]),
                "growth": np.array([[1.0, 0.7], [1.0, 0.9]]),
                "advance": np.array([[1.0, 1.2], [3.0, 1 - 1e-12]]),
            },
            "orthogonal": {
                "bound": np.array([4.0, 8.0]),
                "updates": np.array([[4, 4], [8, 8]]),
                "gap": np.full(2, 1e-15),
                "least": np.full((2, 2), 2.0),
                "growth": np.ones((2, 2)),
                "advance": np.ones((2, 2)),
            },
            "inseparable": {"stops": np.zeros(2), "repeats_after": np.array([3, 9])},
            "boolean": {
                "threshold_functions": np.array([4, 14, 104, 1882]),
                "parity_order": np.arange(1, 9),
                "majority_order": np.ones(8, dtype=int),
                "partial_order": np.arange(8),
                "quadratic_order": np.array([1, 2, 2, 2, 2, 2, 2, 2]),
                "xor_margin": 1e-12,
            },
            "flipped": {
                "last": 0.14 + jitter,
                "voted": np.full(10, 0.02),
                "averaged": 0.02 + jitter / 10,
                "separable": np.zeros(45),
            },
            "right": {"last": 0.02 + jitter, "voted": np.full(10, 0.02), "separable": np.ones(45)},
        }
        for part in found:
            for name in found[part]:
                found[part][name] = changes.get(f"{part}_{name}", found[part][name])
        rows += [{"part": part, "flipped": 0.1, "seed": seed, **found[part]} for part in PARTS if part not in without]
    return pd.DataFrame(rows if rows else {"seed": []})


def verdict(trials, seeds=5):
    return Verdict.of(STUDY.judge(trials), seeds=seeds)


def test_what_the_papers_say_is_reproduced():
    found = verdict(table())
    assert found.outcome == "reproduced", found.reasons
    assert sum(criterion.control for criterion in found.criteria) == 6


@pytest.mark.parametrize(
    ("changes", "failing"),
    [
        ({"separable_bound": np.array([25.0, 1e5])}, "updates over (R/γ)², largest"),
        ({"orthogonal_updates": np.zeros((2, 2))}, "updates over (R/γ)², orthogonal"),
        ({"orthogonal_bound": np.array([4.0, 8.1])}, "updates over (R/γ)², orthogonal"),
        ({"separable_least": np.array([[5.0, 0.0], [900.0, 3.0]])}, "least, random separable sets"),
        ({"orthogonal_least": np.array([[2.0, -1.0], [2.0, 2.0]])}, "least, orthogonal points"),
        ({"separable_growth": np.array([[1.0, 1.001], [1.0, 0.9]])}, "|w|² over k R²"),
        ({"orthogonal_advance": np.array([[1.0, 1.0], [0.999, 1.0]])}, "w·u over k γ"),
        ({"separable_gap": np.array([0.0, 1e-3])}, "relative difference"),
        ({"boolean_threshold_functions": np.array([4, 16, 104, 1882])}, "functions of 2 bits"),
        ({"boolean_threshold_functions": np.array([4, 14, 104, 1880])}, "functions of 4 bits"),
        ({"boolean_parity_order": np.array([1, 2, 3, 4, 5, 6, 7, 7])}, "parity of n bits"),
        ({"boolean_quadratic_order": np.arange(1, 9)}, "sign of a random polynomial"),
        ({"flipped_last": np.full(10, 0.01)}, "test error of the last"),
        ({"flipped_voted": np.full(10, 0.12), "flipped_averaged": np.full(10, 0.12)}, "wrong: test error of the vote"),
        ({"flipped_averaged": np.full(10, 0.05)}, "test error of the averaged"),
        ({"flipped_separable": np.array([0.0, 1.0])}, "separates a pair so labelled"),
    ],
)
def test_planted_fakes_are_not_reproduced(changes, failing):
    found = verdict(table(**changes))
    assert found.outcome == "not reproduced"
    (reason,) = found.reasons
    assert failing in reason
    assert reason.endswith(": fails")


@pytest.mark.parametrize(
    "changes",
    [
        {"inseparable_stops": np.array([0.0, 1.0])},
        {"boolean_xor_margin": 0.3},
        {"boolean_majority_order": np.arange(1, 9)},
        {"boolean_partial_order": np.array([0, 1, 2, 3, 4, 5, 6, 8])},
        {"right_last": np.full(10, 0.14)},
        {"right_separable": np.array([1.0, 0.0])},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_a_control_that_shows_the_effect_is_not_reproduced(changes):
    found = verdict(table(**changes))
    assert found.outcome == "not reproduced"
    assert len(found.reasons) == 1
    assert found.reasons[0].endswith("the control shows the effect")


def test_without_learning_nothing_is_shown():
    nothing = np.full(10, 1.0)
    found = verdict(table(flipped_last=nothing, flipped_voted=nothing, flipped_averaged=nothing))
    names = {c.name.rpartition(": ")[2]: c.holds for c in found.criteria if not c.control}
    assert names["test error of the last weights minus that of the vote"] is None
    assert names["test error of the vote"] is False


def test_what_stays_open_is_not_reproduced_either():
    assert verdict(table(inseparable_stops=np.array([0.0, math.nan]))).outcome == "inconclusive"
    assert verdict(table(separable_growth=np.array([[1.0, math.nan], [1.0, 1.0]]))).outcome == "inconclusive"
    assert verdict(table(boolean_threshold_functions=np.array([4, 14, 104]))).outcome == "inconclusive"


@pytest.mark.parametrize("part", [*PARTS, "all"])
def test_missing_parts_leave_it_open(part):
    trials = table(without=PARTS if part == "all" else (part,))
    assert verdict(trials).outcome == "inconclusive"
    assert STUDY.draw(trials).axes


@pytest.mark.parametrize(
    "wrong",
    [
        lambda points: Margin(*program_margin(points), euclidean_margin(points).normal),
        lambda points: times(euclidean_margin(points), 1.01),
        *(lambda points, norm=norm: with_norm(points, norm) for norm in (np.min, np.mean, np.median)),
    ],
    ids=["γ of a program", "γ too large by a hundredth", "R the least norm", "R the mean norm", "R the median norm"],
)
def test_a_wrong_margin_or_norm_is_found_out(tmp_path, monkeypatch, wrong):
    monkeypatch.setattr(perceptron, "euclidean_margin", wrong)
    assert holds(tmp_path, "orthogonal")["updates over (R/γ)², orthogonal points"] is False


def times(margin, factor):
    return Margin(margin.low * factor, margin.high * factor, margin.normal)


def with_norm(points, norm):
    norms = np.linalg.norm(points, axis=1)
    return times(euclidean_margin(points), norms.max() / norm(norms))


def holds(tmp_path, *parts):
    """Return what the criteria say of three seeds of some parts, by name."""
    cases = [case for case in STUDY.grid("smoke").cases if case.part in parts]
    rows = [{**case, "seed": seed, **STUDY.trial(case, run(tmp_path, seed))} for case in cases for seed in range(3)]
    return {criterion.name: criterion.holds for criterion in STUDY.judge(pd.DataFrame(rows))}


def one_pass(points, limit):
    return sweep(points, np.zeros(points.shape[1]))[1]


def nothing(points, limit):
    return []


@pytest.mark.parametrize(("fake", "part"), [(one_pass, "separable"), (nothing, "separable"), (nothing, "orthogonal")])
def test_an_algorithm_that_stops_too_early_is_found_out(tmp_path, monkeypatch, fake, part):
    monkeypatch.setattr(perceptron, "ORDERS", (cyclic, fake))
    found = {name: value for name, value in holds(tmp_path, part).items() if "label times" in name and part in name}
    assert list(found.values()) == [False]
    monkeypatch.undo()
    assert [holds(tmp_path, part)[name] for name in found] == [True]


def test_an_algorithm_that_adds_right_points_is_found_out(tmp_path, monkeypatch):
    monkeypatch.setattr(perceptron, "ORDERS", (cyclic, lambda points, limit: list(range(len(points)))))
    assert holds(tmp_path, "separable", "orthogonal")["weights w after k updates: |w|² over k R², largest"] is False


def test_names_and_titles_say_the_share_that_was_flipped():
    trials = table().assign(flipped=0.2)
    names = [criterion.name for criterion in STUDY.judge(trials)]
    assert sum("20 % of the labels wrong" in name for name in names) == 4
    assert not any("10 %" in name for name in names)
    assert [ax.get_title(loc="left") for ax in STUDY.draw(trials).axes][1] == "Digits, 20 % of the labels wrong"
