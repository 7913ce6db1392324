"""Persistent homology against a reduction by hand, spanning trees, closed forms and the stability theorem."""

from __future__ import annotations

import sys
from itertools import combinations

import numpy as np
import pytest
from persim import bottleneck
from planted_shapes import circle, disc
from ripser import ripser
from scipy.sparse.csgraph import minimum_spanning_tree

from deepscope.core import DoesNotApplyError, UsageError
from deepscope.linalg import farthest_points, persistence, point_distances


def reduced(D: np.ndarray, max_dimension: int) -> list[np.ndarray]:
    """Bars by column reduction of the whole boundary matrix over Z₂, as textbooks have it."""
    n = len(D)
    simplices = [s for size in range(1, max_dimension + 3) for s in combinations(range(n), size)]
    scale = {s: max((D[i, j] for i, j in combinations(s, 2)), default=0.0) for s in simplices}
    simplices.sort(key=lambda s: (scale[s], len(s), s))
    place = {s: i for i, s in enumerate(simplices)}
    columns = [{place[f] for f in combinations(s, len(s) - 1)} if len(s) > 1 else set() for s in simplices]
    lowest: dict[int, int] = {}
    bars: list[list[tuple[float, float]]] = [[] for _ in range(max_dimension + 1)]
    for j, column in enumerate(columns):
        while column and max(column) in lowest:
            column ^= columns[lowest[max(column)]]
        if column:
            birth = simplices[max(column)]
            lowest[max(column)] = j
            if len(birth) - 1 <= max_dimension and (len(birth) == 1 or scale[simplices[j]] > scale[birth]):
                bars[len(birth) - 1].append((scale[birth], scale[simplices[j]]))
    return [np.array(sorted(each, key=lambda bar: bar[::-1])).reshape(-1, 2) for each in bars]


@pytest.mark.parametrize("seed", range(4))
def test_bars_are_those_of_a_reduction_by_hand(seed: int) -> None:
    rng = np.random.default_rng(seed)
    x = np.concatenate([circle(rng, 6), 0.4 * rng.normal(size=(4, 2)) + 2])
    found = persistence(x, 2)
    for mine, theirs in zip(found.bars, reduced(point_distances(x), 2), strict=True):
        # ripser computes in float32, on numbers up to 1 in units of the diameter.
        np.testing.assert_allclose(mine, theirs, atol=4 * 6e-8 * found.diameter)


def test_an_octahedron_is_a_sphere() -> None:
    """Its edges are √2 long and its diagonals 2: the void opens with the one and closes with the other."""
    corners = np.concatenate([np.eye(3), -np.eye(3)])
    found = persistence(corners, 2)
    assert len(found.bars[1]) == 0
    assert found.bars[2] == pytest.approx(np.array([[np.sqrt(2), 2]]), rel=1e-6)
    assert found.bars[0] == pytest.approx(np.tile([0, np.sqrt(2)], (5, 1)))


def test_gaps_are_the_edges_of_the_shortest_spanning_tree() -> None:
    x = np.random.default_rng(0).normal(size=(200, 12))
    found = persistence(x, 0)
    tree = minimum_spanning_tree(point_distances(x)).data
    np.testing.assert_allclose(found.bars[0][:, 1], np.sort(tree), rtol=1e-12)
    assert not found.bars[0][:, 0].any()
    theirs = ripser(x, maxdim=0)["dgms"][0][:-1, 1]
    np.testing.assert_allclose(found.bars[0][:, 1], np.sort(theirs), rtol=1e-5)
    assert found.total(0) == pytest.approx(tree.sum() / found.diameter)
    assert found.longest(0) == pytest.approx(tree.max() / found.diameter)


def test_the_smaller_part_is_counted_where_parts_join() -> None:
    found = persistence(np.array([[0.0], [1.0], [2.1], [10.0], [11.2]]), 0)
    assert found.bars[0][:, 1].tolist() == pytest.approx([1.0, 1.1, 1.2, 7.9])
    assert found.smaller.tolist() == [1, 1, 1, 2]


@pytest.mark.parametrize("amount", [0.01, 0.1, 0.3])
def test_what_is_moved_a_little_changes_a_little(amount: float) -> None:
    """Points moved by at most e change every distance by at most 2e, and bars by no more than that."""
    rng = np.random.default_rng(1)
    x = circle(rng, 40)
    moves = rng.normal(size=x.shape)
    moved = x + amount * moves / np.linalg.norm(moves, axis=1, keepdims=True)
    one, other = persistence(x), persistence(moved)
    changed = max(bottleneck(a, b) for a, b in zip(one.bars, other.bars, strict=True))
    assert 0 < changed <= 2 * amount + 1e-6


@pytest.mark.parametrize("factor", [1e-200, 1e-3, 1e3, 1e200])
def test_scale_rotation_and_order_change_nothing(factor: float) -> None:
    rng = np.random.default_rng(2)
    x = circle(rng, 40) + 0.1 * rng.normal(size=(40, 2))
    axes = np.linalg.qr(rng.normal(size=(9, 2)))[0]
    before, after = persistence(x), persistence(factor * (x[::-1] @ axes.T))
    for dimension in (0, 1):
        assert after.total(dimension) == pytest.approx(before.total(dimension), rel=1e-5)
        assert after.longest(dimension) == pytest.approx(before.longest(dimension), rel=1e-5)
        np.testing.assert_allclose(after.bars[dimension] / factor, before.bars[dimension], rtol=1e-5)


def test_a_circle_has_a_long_bar_and_a_disc_has_none() -> None:
    """A circle's loop is filled by its largest equilateral triangle, of side √3 = 0.87 diameters."""
    rng = np.random.default_rng(3)
    for draw, n in ((circle, 64), (disc, 128)):
        distances = point_distances(draw(rng, 1000))
        chosen, radius = farthest_points(distances, n)
        found = persistence(distances[np.ix_(chosen, chosen)], distances=True)
        if draw is circle:
            assert found.longest(1) > 0.4
            # Deaths within twice the landmarks' radius of √3.
            assert found.bars[1][-1, 1] == pytest.approx(np.sqrt(3), abs=2 * radius)
        else:
            assert found.longest(1) < 0.1


def test_copies_are_gaps_of_no_width() -> None:
    x = circle(np.random.default_rng(4), 30)
    found = persistence(np.concatenate([x, x[:7]]))
    assert (found.bars[0][:7, 1] == 0).all()
    assert found.n == 37
    np.testing.assert_allclose(found.bars[1], persistence(x).bars[1], rtol=1e-6)


def test_a_single_point_has_no_bars_and_no_shares() -> None:
    for x in (np.zeros((1, 3)), np.full((5, 2), 0.7)):
        found = persistence(x)
        assert found.diameter == 0
        assert not found.bars[0].any()
        assert len(found.bars[1]) == 0
        assert found.total(0) is None
        assert found.longest(1) is None


def test_without_ripser_there_are_gaps_but_no_loops(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ripser", None)
    x = circle(np.random.default_rng(5), 10)
    assert len(persistence(x, 0).bars[0]) == 9
    with pytest.raises(DoesNotApplyError, match=r"deepscope\[topology\]"):
        persistence(x)


@pytest.mark.parametrize("dimension", [-1, 3])
def test_dimensions_out_of_range_are_refused(dimension: int) -> None:
    with pytest.raises(UsageError, match="max_dimension"):
        persistence(np.zeros((3, 2)), dimension)


def test_values_that_are_not_finite_are_refused() -> None:
    with pytest.raises(UsageError, match="not finite"):
        persistence(np.full((3, 2), np.nan))
    with pytest.raises(UsageError, match="square matrix"):
        persistence(np.full((3, 3), np.inf), distances=True)
