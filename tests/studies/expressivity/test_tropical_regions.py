"""Tropical polynomials and linear regions: independent counts, the algebra by evaluation, planted fakes."""

from __future__ import annotations

import itertools
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.optimize import linprog

from deepscope.core import UsageError, Verdict
from deepscope.data import load
from deepscope.figures import to_svg
from deepscope.studies.expressivity import _arrangement, _tropical_trials
from deepscope.studies.expressivity._arrangement import (
    DECIDABLE_RADIUS,
    cells,
    decidable,
    generic_count,
    parallel_count,
    smallest_inradius,
)
from deepscope.studies.expressivity._digit_networks import layers_of, make, share_wrong, train
from deepscope.studies.expressivity._digit_regions import SQUARE
from deepscope.studies.expressivity._slices import attainable, count_regions, folding_layers
from deepscope.studies.expressivity._tropical import Polynomial, rational, upper_vertices
from deepscope.studies.expressivity.tropical_regions import PARTS, STUDY


def generator():
    return np.random.default_rng(7)


def run(seed=5):
    return SimpleNamespace(seed=seed, device="cpu", generator=torch.Generator().manual_seed(seed))


def zaslavsky(normals, offsets):
    """Regions of any arrangement by Whitney's sum: (−1)^(|S| − rank S) of all subsets S with a common point."""
    total = 0
    for size in range(len(normals) + 1):
        for subset in map(list, itertools.combinations(range(len(normals)), size)):
            rank = np.linalg.matrix_rank(normals[subset]) if subset else 0
            if not subset or np.linalg.matrix_rank(np.column_stack([normals, offsets])[subset]) == rank:
                total += (-1) ** (size - rank)
    return total


ARRANGEMENTS = {
    "generic": (generator().standard_normal((6, 2)), generator().standard_normal(6)),
    "space": (generator().standard_normal((6, 3)), generator().standard_normal(6)),
    "parallel": (np.array([[1.0, 0], [1, 0], [0, 1], [0, 2], [1, 1]]), np.array([0.3, 1, 2, -1, 7])),
    "one point": (np.array([[1.0, 0], [0, 1], [1, 1], [1, -1]]), np.zeros(4)),
    "line": (np.array([[1.0], [-2.0], [3.0]]), np.array([0.1, 2.0, 4.0])),
}


@pytest.mark.parametrize("name", ARRANGEMENTS)
def test_cells_are_as_many_as_zaslavsky_counts(name):
    normals, offsets = ARRANGEMENTS[name]
    for n, found in enumerate(cells(normals, offsets), start=1):
        assert len(found) == len(np.unique(found, axis=0)) == zaslavsky(normals[:n], offsets[:n])


def test_every_sampled_pattern_is_a_cell():
    normals, offsets = ARRANGEMENTS["generic"]
    found = {tuple(signs) for signs in cells(normals, offsets)[-1]}
    sampled = np.sign(generator().uniform(-50, 50, (200_000, 2)) @ normals.T + offsets)
    assert {tuple(signs) for signs in sampled.astype(int)} <= found


def largest_ball(normals, offsets):
    """The radius of the largest ball in the bounded one of the 2^(d+1) − 1 cells of d + 1 hyperplanes."""
    rows = np.column_stack([normals, offsets]) / np.linalg.norm(normals, axis=1)[:, None]
    best = 0
    for signs in itertools.product((-1, 1), repeat=len(rows)):
        found = linprog(
            [0] * normals.shape[1] + [-1],
            A_ub=np.column_stack([-np.array(signs)[:, None] * rows[:, :-1], np.ones(len(rows))]),
            b_ub=np.array(signs) * rows[:, -1],
            bounds=[(None, None)] * normals.shape[1] + [(0, 1e6)],
        )
        if found.status == 0 and found.x[-1] < 9e5:
            best = max(best, found.x[-1])
    return best


@pytest.mark.parametrize("dimensions", [1, 2, 3])
def test_the_inradius_of_a_simplex_is_that_of_a_linear_program(dimensions):
    rng = generator()
    for _ in range(4):
        normals, offsets = 5 * rng.standard_normal((dimensions + 1, dimensions)), rng.standard_normal(dimensions + 1)
        assert smallest_inradius(normals, offsets) == pytest.approx(largest_ball(normals, offsets), rel=1e-6)


def test_smallest_inradii_by_hand():
    # A right triangle with legs 3 and 4 has inradius 1; a parallel to a leg at distance 0.4 leaves a slab of half that.
    triangle = np.array([[2.0, 0], [0, 5], [4, 3]]), np.array([0.0, 0, -12])
    assert smallest_inradius(*triangle) == pytest.approx(1)
    slab = np.vstack([triangle[0], [7, 0]]), np.append(triangle[1], 7 * 0.4)
    assert smallest_inradius(*slab) == pytest.approx(0.2)
    # Parallel units only, and a single one.
    assert smallest_inradius(np.ones((3, 2)), np.sqrt(2) * np.array([0.0, 1, 3])) == pytest.approx(0.5)
    assert smallest_inradius(np.ones((1, 2)), np.zeros(1)) == np.inf


def test_arrangements_with_cells_too_small_to_be_found_are_drawn_anew():
    """The incentre of three lines is moved by the last offset: inradius 1e-7, and 2e-5."""
    normals = np.array([[0.0, 1], [1, -1], [-1, -1]])

    def triangle(radius):
        return normals, np.array([0.0, 1, 1]) * (1 + np.sqrt(2)) * radius

    assert len(cells(*triangle(1e-7))[-1]) == 6
    draws = iter([triangle(1e-7), triangle(0.9 * DECIDABLE_RADIUS), triangle(1.1 * DECIDABLE_RADIUS)])
    found = decidable(lambda: next(draws))
    assert smallest_inradius(*found) == pytest.approx(1.1 * DECIDABLE_RADIUS)
    assert len(cells(*found)[-1]) == 7


def test_formulas():
    assert [generic_count(n, 1) for n in range(4)] == [1, 2, 3, 4]
    assert generic_count(12, 12) == 2**12
    assert parallel_count([1] * 5, 2) == generic_count(5, 2)
    # m and k parallel lines make a chessboard.
    assert parallel_count([3, 4], 2) == 4 * 5
    assert parallel_count([7], 3) == 8


def test_zonotopes_have_a_vertex_for_each_region():
    normals, offsets = ARRANGEMENTS["generic"]
    assert upper_vertices(normals, offsets) == len(cells(normals, offsets)[-1])
    # Σ max(x − i, 0): slopes 0 … 4. The generators' sums have collinear points, none a vertex of its own.
    assert upper_vertices(np.ones((4, 1)), -np.arange(4.0)) == 5


def test_upper_vertices_are_not_those_of_the_whole():
    from scipy.spatial import ConvexHull

    normals, offsets = ARRANGEMENTS["generic"]
    sums = np.array(list(itertools.product((0, 1), repeat=6))) @ np.column_stack([normals, offsets])
    assert upper_vertices(normals, offsets) < len(ConvexHull(sums).vertices)


def polynomial(rng, terms=4):
    exponents = np.unique(rng.integers(0, 4, (terms, 2)), axis=0)
    return Polynomial(exponents, rng.standard_normal(len(exponents)))


def test_tropical_algebra_is_that_of_the_values():
    rng = generator()
    points = rng.uniform(-3, 3, (500, 2))
    for _ in range(10):
        f, g = polynomial(rng), polynomial(rng)
        np.testing.assert_array_equal((f | g)(points), np.maximum(f(points), g(points)))
        np.testing.assert_allclose((f * g)(points), f(points) + g(points), rtol=0, atol=1e-12)
        np.testing.assert_allclose((f**3)(points), 3 * f(points), rtol=0, atol=1e-12)
        np.testing.assert_array_equal((f**0)(points), np.zeros(500))
        for each in (f | g, f * g, f**3):
            assert len(np.unique(each.exponents, axis=0)) == len(each.exponents)


def test_a_unit_by_hand():
    """−2 max(3x − y + 1, 0) + 5 is F − G with F = 5 + 2y and G = 2 max(3x + 1, y)."""
    above, below = rational([(np.array([[3, -1]]), np.array([1.0])), (np.array([[-2]]), np.array([5.0]))])
    assert above.exponents.tolist() == [[0, 2]]
    assert above.coefficients.tolist() == [5]
    assert below.exponents.tolist() == [[0, 2], [6, 0]]
    assert below.coefficients.tolist() == [0, 2]


@pytest.mark.parametrize("hidden", [(), (5,), (3, 4), (2, 3, 2)])
def test_networks_are_rational(hidden):
    rng = generator()
    sizes = (3, *hidden, 1)
    layers = [(rng.integers(-2, 3, (n, m)), rng.standard_normal(n)) for m, n in itertools.pairwise(sizes)]
    points = rng.uniform(-3, 3, (300, 3))
    values = points
    for weights, biases in layers[:-1]:
        values = np.maximum(values @ weights.T + biases, 0)
    values = (values @ layers[-1][0].T + layers[-1][1])[:, 0]
    above, below = rational(layers)
    np.testing.assert_allclose(above(points) - below(points), values, rtol=0, atol=1e-11)
    for each in (above, below):
        assert each.exponents.min() >= 0
        assert each.exponents.dtype.kind == "i"


def random_layers(rng, widths):
    return [(rng.standard_normal((n, m)), rng.standard_normal(n)) for m, n in itertools.pairwise(widths)]


def test_regions_of_one_layer_on_a_polygon_and_a_segment():
    normals, offsets = ARRANGEMENTS["generic"]
    far = 1e4 * np.array([[-1.0, -1], [1, -1], [1, 1], [-1, 1]])
    assert count_regions([(normals, offsets)], far) == generic_count(6, 2)
    assert count_regions([(normals, offsets)], far[[0, 2]]) == generic_count(6, 1)
    assert count_regions([(normals, offsets)], 1e-9 * far) == 1
    assert count_regions([], far) == 1


def test_regions_of_deep_networks_are_those_of_a_fine_grid():
    """Patterns at 490,000 points: no more than are counted, and all but a few small regions."""
    layers = random_layers(generator(), (2, 6, 6, 4))
    counted = count_regions(layers, 6 * SQUARE - 3)
    axis = 6 * (np.arange(700) + 0.5) / 700 - 3
    values = np.stack(np.meshgrid(axis, axis), axis=-1).reshape(-1, 2)
    patterns = []
    for weights, biases in layers:
        values = values @ weights.T + biases
        patterns.append(values > 0)
        values = np.maximum(values, 0)
    seen = len(np.unique(np.packbits(np.hstack(patterns), axis=1), axis=0))
    assert 0.9 * counted <= seen <= counted
    assert counted > generic_count(6, 2)


def test_regions_along_a_segment_are_changes_of_the_pattern():
    layers = random_layers(generator(), (6, 8, 8))
    start, end = generator().standard_normal((2, 6)) * 3
    values = start + np.linspace(0, 1, 400_001)[:, None] * (end - start)
    changes = 0
    active = []
    for weights, biases in layers:
        values = values @ weights.T + biases
        active.append(values > 0)
        values = np.maximum(values, 0)
    changes = np.any(np.diff(np.hstack(active).astype(int), axis=0), axis=1).sum()
    assert count_regions(layers, np.array([start, end])) == changes + 1


@pytest.mark.parametrize("depth", [1, 2, 4])
def test_folding_networks_fold(depth):
    layers = folding_layers(depth)
    assert count_regions(layers, SQUARE) == 4**depth
    assert count_regions(layers, SQUARE[:2]) == 2**depth
    # The next layer would see tents between 0 and 1, 2^depth of them.
    values = np.column_stack([np.linspace(0, 1, 2**depth + 1), np.zeros(2**depth + 1)])
    for weights, biases in layers:
        values = np.maximum(values @ weights.T + biases, 0)
    tents = values @ [2.0, -4.0, 0, 0]
    np.testing.assert_array_equal(tents, np.arange(2**depth + 1) % 2)


def test_attainable_counts_fold_and_cut():
    assert attainable(12, 1, 2) == generic_count(12, 2)
    assert attainable(8, 3, 2) == 4**4 * generic_count(8, 2)


def test_digit_networks_are_made_and_trained():
    data = load("digits")
    network = make(data, [32, 32], run())
    assert layers_of(network)[1][0].std() == pytest.approx(np.sqrt(2 / 32), rel=0.1)
    weights = layers_of(network)
    values = data.test.inputs.flatten(1).double().numpy()
    for place, (matrix, biases) in enumerate(weights):
        values = values @ matrix.T + biases
        values = values if place == 2 else np.maximum(values, 0)
    wrong = np.mean(values.argmax(axis=1) != data.test.targets.numpy())
    assert share_wrong(network, data) == pytest.approx(wrong)
    train(network, data, generator(), steps=100)
    assert share_wrong(network, data) < 0.3 < wrong


@pytest.fixture(scope="module")
def smoke():
    return pd.DataFrame([{**case, "seed": 0, **STUDY.trial(case, run(0))} for case in STUDY.grid("smoke").cases])


def test_smoke_decides_nothing_and_is_drawn(smoke):
    criteria = STUDY.judge(smoke)
    assert Verdict.of(criteria, seeds=1).outcome == "inconclusive"
    assert all(criterion.measured is not None for criterion in criteria)
    svg = to_svg(STUDY.draw(smoke), "x")
    for name in (
        "3 dimensions",
        "parallel",
        "network",
        "attainable",
        "plane",
        "line",
        "hidden layers",
        "untrained",
        "trained",
    ):
        assert name in svg


def test_parallel_units_are_parallel_and_have_fewer_regions():
    case = next(case for case in STUDY.grid("quick").cases if case.part == "parallel").replace(units=9)
    found = STUDY.trial(case, run())
    np.testing.assert_array_equal(found["regions"], found["reduced"])
    assert (found["regions"] < found["generic"]).all()


def test_the_control_fails_where_parallel_units_are_taken_for_generic_ones(monkeypatch):
    monkeypatch.setattr(_tropical_trials, "parallel_count", lambda sizes, d: generic_count(sum(sizes), d))
    case = next(case for case in STUDY.grid("smoke").cases if case.part == "parallel").replace(units=7)
    rows = [{"part": "parallel", "seed": seed, **STUDY.trial(case, run(seed))} for seed in range(3)]
    control = next(c for c in STUDY.judge(pd.DataFrame(rows)) if "number for parallel" in c.name)
    assert control.control
    assert control.holds is False


def test_a_wrong_conversion_is_found_out(monkeypatch):
    def wrong(layers):
        above, below = rational(layers)
        return above, Polynomial(below.exponents[:1], below.coefficients[:1])

    monkeypatch.setattr(_tropical_trials, "rational", wrong)
    case = next(case for case in STUDY.grid("smoke").cases if case.part == "integer")
    assert STUDY.trial(case, run())["difference"].max() > 1e-3


def test_cells_that_are_too_small_are_not_invented(monkeypatch):
    monkeypatch.setattr(_arrangement, "SMALLEST_RADIUS", 0.2)
    # Three lines around a triangle of inradius 0.1.
    normals, offsets = np.array([[0.0, 1], [1, -1], [-1, -1]]), np.array([0.0, 0.2414, 0.2414])
    assert len(cells(normals, offsets)[-1]) == 6


def test_an_unknown_part_is_refused():
    with pytest.raises(UsageError, match="generic"):
        STUDY.trial(STUDY.grid("smoke").cases[0].replace(part="genric"), run())


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("units", 4),
        ("units", 17),
        ("draws", 0),
        ("draws", 1.5),
        ("widths", 1),
        ("widths", 9),
        ("depths", 1),
        ("depths", 5),
        ("steps", -1),
        ("folds", 0),
        ("size", 0),
    ],
)
def test_sizes_that_cannot_be_are_refused(name, value):
    with pytest.raises(UsageError, match=f"{name}.*{value}|{value}.*{name}"):
        STUDY.trial(STUDY.grid("smoke").cases[0].replace(**{name: value}), run())


COUNTS = np.array([[generic_count(n, d) for n in range(1, 6)] for d in (1, 2, 3)])
UNITS, LAYERS = np.array([8, 16, 32, 64]), np.array([1, 2, 4, 8])


def table(seeds=5, without=(), **changes):
    """Return the trials of a study that reproduces, but for the changes."""
    rng = np.random.default_rng(0)
    rows = []
    for seed in range(seeds):
        jitter = np.exp(0.02 * rng.standard_normal((2, 4)))
        found = {
            "generic": {"regions": COUNTS, "pieces": COUNTS, "vertex_surplus": np.zeros(9)},
            "parallel": {
                "regions": np.array([20, 40]),
                "reduced": np.array([20, 40]),
                "generic": np.array([79, 299]),
            },
            "integer": {
                "difference": np.full(4, 1e-13),
                "network": np.ones(9),
                "above": np.ones(9),
                "below": np.ones(9),
            },
            "slices": {
                "plane_by_width": UNITS**2 * jitter,
                "line_by_width": 2 * UNITS * jitter,
                "plane_by_depth": 100 * LAYERS**2 * jitter,
                "folded": np.ones(5),
                "test_errors": 0.05 * jitter[0],
            },
        }
        for part, numbers in found.items():
            for name in numbers:
                change = changes.get(f"{part}_{name}")
                if change is not None:
                    numbers[name] = change * jitter if np.shape(change) == (2, 4) else change
        rows += [{"part": part, "seed": seed, **found[part]} for part in PARTS if part not in without]
    return pd.DataFrame(rows if rows else {"seed": []})


def verdict(trials, seeds=5):
    return Verdict.of(STUDY.judge(trials), seeds=seeds)


def test_what_the_papers_say_is_reproduced():
    found = verdict(table())
    assert found.outcome == "reproduced", found.reasons
    assert sum(criterion.control for criterion in found.criteria) == 3


ATTAINED = np.array([[attainable(w, 3, 2) for w in (8, 16, 32, 64)]] * 2, dtype=float)
ATTAINED_DEEP = np.array([[attainable(16, depth, 2) for depth in (1, 2, 4, 8)]] * 2, dtype=float)
FLAT = np.full((2, 4), 7.0)
BY_UNITS = {f"plane, {time}: exponent of their growth with the units" for time in ("untrained", "trained")}
BY_LAYERS = {f"plane, {time}: exponent of their growth with the number of layers" for time in ("untrained", "trained")}


@pytest.mark.parametrize(
    ("changes", "failing"),
    [
        ({"generic_regions": COUNTS - np.eye(3, 5, dtype=int)}, {"one hidden layer: regions minus"}),
        ({"generic_pieces": COUNTS - 1}, {"one hidden layer: distinct affine"}),
        ({"generic_vertex_surplus": np.eye(1, 9)[0]}, {"one hidden layer: vertices"}),
        ({"integer_difference": np.array([0, 1e-6])}, {"integer weights"}),
        ({"slices_plane_by_width": FLAT}, BY_UNITS),
        ({"slices_line_by_width": FLAT}, {"line, untrained: exponent", "line, trained: exponent"}),
        ({"slices_plane_by_width": np.array([10 * UNITS, UNITS**2.0])}, {"plane, untrained: exponent"}),
        ({"slices_plane_by_width": ATTAINED}, {*BY_UNITS, "untrained, 64", "trained, 64"}),
        ({"slices_plane_by_depth": ATTAINED_DEEP}, BY_LAYERS),
        ({"slices_plane_by_depth": FLAT}, BY_LAYERS),
        ({"slices_plane_by_depth": np.array([[60.0, 150, 500, 1]] * 2)}, BY_LAYERS),
        ({"slices_plane_by_depth": np.array([[900.0, 300, 100, 10]] * 2)}, BY_LAYERS),
        ({"slices_plane_by_depth": np.array([40 * 15.0 ** np.arange(4)] * 2)}, BY_LAYERS),
        (
            {"slices_plane_by_depth": np.array([100 * LAYERS**2.0, FLAT[0]])},
            {"plane, trained: exponent of their growth with the number", "trained against untrained"},
        ),
        (
            {
                "slices_plane_by_width": np.array([[1], [40]]) * UNITS**2.0,
                "slices_plane_by_depth": np.array([[40], [1]]) * LAYERS**2.0,
            },
            {"trained against untrained"},
        ),
        ({"slices_test_errors": np.array([0.9, *[0.06] * 7])}, {"test error"}),
        ({"parallel_regions": np.array([79, 299])}, {"number for parallel", "number for general"}),
        (
            {"parallel_regions": np.array([20, 299]), "parallel_reduced": np.array([20, 299])},
            {"number for general"},
        ),
        ({"slices_folded": np.array([1.0, 0.5])}, {"built to fold"}),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_planted_fakes_are_not_reproduced(changes, failing):
    found = verdict(table(**changes))
    assert found.outcome == "not reproduced"
    assert len(found.reasons) == len(failing)
    for name in failing:
        assert any(name in reason for reason in found.reasons), found.reasons


def test_criteria_are_named_for_what_was_counted():
    names = [c.name for c in STUDY.judge(table(slices_plane_by_width=np.array([[64.0, 256]] * 2)))]
    assert sum("16 units a layer" in name for name in names) == 2
    assert not any("64" in name for name in names)


@pytest.mark.parametrize("part", [*PARTS, "all"])
def test_missing_parts_leave_it_open(part):
    trials = table(without=PARTS if part == "all" else (part,))
    assert verdict(trials).outcome == "inconclusive"
    assert STUDY.draw(trials).axes
