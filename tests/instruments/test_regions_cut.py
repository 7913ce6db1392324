"""Cells are cut where they should be, and stay whole elsewhere."""

from __future__ import annotations

from itertools import pairwise
from math import comb
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional

from deepscope.instruments._regions_cells import BORDER, Cells, chunks, joined
from deepscope.instruments._regions_cut import Cut, cut_by_maxima, cut_by_signs
from deepscope.instruments._regions_functions import kinks_of
from deepscope.instruments._regions_maps import distinct

EVERYTHING = 10**9


def lines(n: int, seed: int = 0) -> Any:
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, 2)), rng.normal(size=n)


def cut_square(n: int, extent: float = 1.0, most: int = EVERYTHING) -> Cut:
    weights, offsets = lines(n)
    square = Cells.whole(2, extent)
    return cut_by_signs(square, square.points @ weights.T + offsets, 0, most, EVERYTHING)


def signs(cells: Cells, n: int) -> np.ndarray[Any, Any]:
    weights, offsets = lines(n)
    return np.sign(cells.means(cells.points) @ weights.T + offsets)


def test_neighbours_share_their_vertices() -> None:
    """Euler's formula: a square cut by lines has vertices − edges + cells = 1, if no vertex is there twice."""
    found = cut_square(40).cells
    edges = np.sort(np.stack([found.corners, found.corners[found.following()]]), axis=0)
    assert len(found.points) - len(np.unique(edges, axis=1).T) + len(found) == 1
    # Every edge has two cells, but for the border's.
    inner = found.made_by != BORDER
    assert (np.unique(edges[:, inner], axis=1, return_counts=True)[1] == 2).all()
    assert (np.unique(edges[:, ~inner], axis=1, return_counts=True)[1] == 1).all()
    assert found.edges()[~inner].sum() == pytest.approx(8)


def test_growth_gives_every_affine_function_at_the_new_vertices() -> None:
    found = cut_square(15)
    assert found.growth.after == len(found.cells.points)
    values = np.empty((found.growth.after, 2))
    values[:4] = Cells.whole(2, 1.0).points
    end = 4
    for first, second, share in found.growth.rounds:
        start, end = end, end + len(first)
        values[start:end] = (1 - share)[:, None] * values[first] + share[:, None] * values[second]
    np.testing.assert_array_equal(values, found.cells.points)


def test_cutting_in_steps_comes_to_the_same() -> None:
    whole = cut_square(30)
    assert whole.complete
    part, steps = cut_square(30, most=40), 0
    weights, offsets = lines(30)
    while not part.complete:
        cells = joined(list(chunks(part.cells, 10)))
        part = cut_by_signs(cells, cells.points @ weights.T + offsets, 0, len(cells.points) + 40, EVERYTHING)
        steps += 1
    assert steps > 3
    assert len(part.cells) == len(whole.cells)
    np.testing.assert_allclose(np.sort(part.cells.sizes()), np.sort(whole.cells.sizes()), atol=1e-13)


@pytest.mark.parametrize("most", [1, 2, 3, 10, 465, 466, 467])
def test_there_are_never_more_cells_than_are_wanted(most: int) -> None:
    weights, offsets = lines(30)
    square = Cells.whole(2, 1e5)
    found = cut_by_signs(square, square.points @ weights.T + offsets, 0, EVERYTHING, most)
    # Thirty lines in general position, that all meet on so large a square, have 1 + 30 + 435.
    assert len(found.cells) == min(most, 466)
    assert found.complete == (most >= 466)
    assert found.full == (most < 466)
    assert found.cells.sizes().sum() == pytest.approx(4e10)


def test_a_maximum_of_more_candidates_than_there_is_room_for_cuts_nothing() -> None:
    square = Cells.whole(2, 1.0)
    x, y = square.points.T
    values = np.stack([x, -x, y, -y], axis=1)
    for most, count in ((1, 1), (3, 1), (4, 4), (9, 4)):
        found = cut_by_maxima(square, values, np.arange(4)[None], 0, EVERYTHING, most)
        assert len(found.cells) == count
        assert (found.complete, found.full) == (count == 4, count < 4)


def test_cells_have_different_signs_and_fill_the_square() -> None:
    found = cut_square(60, extent=1e5).cells
    assert len(np.unique(signs(found, 60), axis=0)) == len(found) == 1 + 60 + comb(60, 2)
    assert found.sizes().sum() == pytest.approx(4e10, rel=1e-12)


def test_units_that_cut_are_told_from_those_that_do_not() -> None:
    square = Cells.whole(2, 1.0)
    x, y = square.points.T
    # Above 0, below 0, through the middle, zero, along an edge, and rounding beside a large value.
    values = np.stack([x + 3, y - 3, x + y, 0 * x, x - 1, 1e-17 * x], axis=1)
    found = cut_by_signs(square, values, 7, EVERYTHING, EVERYTHING)
    assert found.cutting.tolist() == [2]
    assert len(found.cells) == 2
    assert set(found.cells.made_by) == {BORDER, 7}


def test_units_that_differ_by_rounding_cut_once() -> None:
    """Sums of hundreds of terms err by some 1e-14 of the largest: lines so far apart are one, a thousand times not."""
    square = Cells.whole(2, 1.0)
    x, y = square.points.T
    for off, count in ((5e-14, 2), (5e-11, 4)):
        values = np.stack([x, -1.7 * (x + off * y)], axis=1)
        assert len(cut_by_signs(square, values, 0, EVERYTHING, EVERYTHING).cells) == count


def test_maxima_of_affine_functions_are_power_diagrams() -> None:
    """Max over k of 2 c·x − |c|² is where c is the nearest of the centres: cells are Voronoi's, and their areas."""
    rng = np.random.default_rng(1)
    centres = rng.uniform(-1, 1, size=(12, 2))
    square = Cells.whole(2, 1.0)
    values = 2 * square.points @ centres.T - (centres**2).sum(axis=1)
    found = cut_by_maxima(square, values, np.arange(12)[None], 0, EVERYTHING, EVERYTHING)
    assert len(found.cells) == 12
    middles = found.cells.means(found.cells.points)
    nearest = ((middles[:, None] - centres) ** 2).sum(axis=2).argmin(axis=1)
    assert sorted(nearest) == list(range(12))
    grid = np.stack(np.meshgrid(*[(np.arange(400) + 0.5) / 200 - 1] * 2), -1).reshape(-1, 2)
    share = np.bincount(((grid[:, None] - centres) ** 2).sum(axis=2).argmin(axis=1), minlength=12) / len(grid)
    # A grid point at a border may count for either side: some 400 of 160,000.
    np.testing.assert_allclose(found.cells.sizes()[np.argsort(nearest)] / 4, share, atol=3e-3)


def test_equal_candidates_are_one_and_absent_ones_none() -> None:
    square = Cells.whole(2, 1.0)
    x, y = square.points.T
    values = np.stack([x, x, -x, y, 0 * x], axis=1)
    windows = np.array([[0, 1, 2, -1], [-1, 1, -1, 0], [4, -1, -1, -1], [3, -1, 4, -1]])
    found = cut_by_maxima(square, values, windows, 0, EVERYTHING, EVERYTHING)
    # The first at x = 0, the last at y = 0; the second has the same function twice.
    assert found.cutting.tolist() == [0, 3]
    assert len(found.cells) == 4
    np.testing.assert_allclose(found.cells.sizes(), 1.0)


def test_chunks_are_all_cells_once() -> None:
    cells = cut_square(30).cells
    parts = list(chunks(cells, 50))
    assert len(parts) > 5
    assert max(len(each.points) for each in parts) <= 50 + cells.counts.max()
    np.testing.assert_allclose(np.sort(joined(parts).sizes()), np.sort(cells.sizes()), atol=1e-15)


def test_distinct_maps_by_hand() -> None:
    rng = np.random.default_rng(0)
    marks = rng.normal(size=(50, 4))
    again = np.concatenate([marks, marks[:20] + 1e-10, np.full((3, 4), np.nan)])[rng.permutation(73)]
    assert distinct(again) == (50, 3)
    # They differ in the last only.
    marks[:, :3] = 0
    assert distinct(marks) == (50, 0)
    assert distinct(np.zeros((1000, 4))) == (1, 0)


@pytest.mark.parametrize(
    ("pool", "shape", "how"),
    [
        (functional.max_pool1d, (2, 11), {"kernel_size": 3, "stride": 2, "padding": 1}),
        (functional.max_pool1d, (2, 11), {"kernel_size": 2, "dilation": 3, "stride": 1}),
        (functional.max_pool2d, (2, 7, 9), {"kernel_size": (2, 3)}),
        (functional.max_pool2d, (1, 8, 8), {"kernel_size": 3, "stride": (2, 1), "padding": (1, 0)}),
        (functional.max_pool2d, (1, 8, 7), {"kernel_size": 3, "stride": 2, "ceil_mode": True}),
        (functional.max_pool3d, (1, 4, 5, 6), {"kernel_size": 2}),
        (functional.adaptive_max_pool1d, (3, 10), {"output_size": 4}),
        (functional.adaptive_max_pool2d, (2, 7, 5), {"output_size": (3, 2)}),
        (functional.adaptive_max_pool2d, (2, 7, 5), {"output_size": (None, 1)}),
        (torch.amax, (3, 4, 5), {"dim": (1, 3)}),
        (torch.amax, (3, 4, 5), {"dim": -1, "keepdim": True}),
        (lambda x, **how: torch.max(x, **how).values, (3, 4), {"dim": 2}),
    ],
)
def test_windows_are_those_of_the_function(pool: Any, shape: tuple[int, ...], how: dict[str, Any]) -> None:
    x = torch.randn(5, *shape, generator=torch.Generator().manual_seed(0)).double()
    name = getattr(pool, "__name__", "max")
    function = pool if name != "<lambda>" else torch.max
    kinks = kinks_of(function, (x,), how, 5)
    # What a boolean switch dispatches bears another name.
    kinks = kinks if kinks is not None else kinks_of(getattr(torch, name), (x,), how, 5)
    assert kinks is not None
    assert kinks.windows is not None
    values = np.where(kinks.windows >= 0, kinks.values.numpy()[:, kinks.windows], -np.inf)
    np.testing.assert_array_equal(values.max(axis=2), pool(x, **how).reshape(5, -1).numpy())


@pytest.mark.parametrize(
    ("function", "arguments", "named", "kinks"),
    [
        (functional.relu, (), {}, [0.0]),
        (functional.relu6, (), {}, [0.0, 6.0]),
        (functional.hardtanh, (-0.5,), {"max_val": 2.0}, [-0.5, 2.0]),
        (functional.softshrink, (0.7,), {}, [-0.7, 0.7]),
        (torch.clamp, (), {"max": 0.3}, [0.3]),
        (torch.clamp, (-0.1, 0.4), {}, [-0.1, 0.4]),
        (torch.Tensor.clamp_min, (0.2,), {}, [0.2]),
        (torch.Tensor.gt, (0.25,), {}, [0.25]),
        (torch.minimum, (torch.full((1, 1), 0.5, dtype=torch.float64),), {}, [0.5]),
        (torch.tanh, (), {}, []),
        (torch.max, (), {}, []),
        (torch.Tensor.amax, (0,), {}, []),
    ],
)
def test_kinks_are_where_the_slope_changes(function: Any, arguments: Any, named: Any, kinks: list[float]) -> None:
    x = torch.linspace(-8, 8, 7).double()[:, None]
    found = kinks_of(function, (x, *arguments), named, 7)
    if not kinks:
        assert found is None
        return
    assert found is not None
    np.testing.assert_allclose(found.values[:, :, 0].numpy(), x.numpy() - np.array(kinks)[None])
    # Between kinks and the ends the function's second difference is 0; across each it is not.
    if found.function != "gt":
        ends = [-9.0, *kinks, 9.0]
        for low, high in pairwise(ends):
            inner = torch.linspace(low, high, 3, dtype=torch.float64)[:, None]
            values = function(inner, *arguments, **named)
            assert float((values[0] + values[2] - 2 * values[1]).abs()) < 1e-12
        for kink in kinks:
            across = torch.tensor([kink - 0.05, kink, kink + 0.05], dtype=torch.float64)[:, None]
            values = function(across, *arguments, **named)
            assert float((values[0] + values[2] - 2 * values[1]).abs()) > 1e-3
