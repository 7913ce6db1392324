"""Distances between points against plain differences, graphs and choices made by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from planted_shapes import circle
from scipy.spatial.distance import cdist

from deepscope.core import UsageError
from deepscope.linalg import farthest_points, geodesic_distances, point_distances


def test_distances_are_those_of_differences() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(80, 7)) * 10.0 ** rng.integers(-3, 3, size=7) + 1e3
    x[3] = x[5]
    x[7] = x[9] + 1e-9
    found = point_distances(x)
    # Squares above 1e-6 of the largest keep 1e-16/1e-6 of their value; coordinates of 1e3 are known to 1e-13.
    np.testing.assert_allclose(found, cdist(x, x), rtol=1e-9, atol=1e-12)
    assert found[3, 5] == 0
    assert (found == found.T).all()
    assert not found.diagonal().any()
    np.testing.assert_array_equal(point_distances(torch.from_numpy(x).reshape(80, 7, 1)), found)


@pytest.mark.parametrize("factor", [1e-200, 1e-3, 1e200])
def test_scale_is_no_matter(factor: float) -> None:
    x = np.random.default_rng(1).normal(size=(20, 3))
    np.testing.assert_allclose(point_distances(factor * x), factor * point_distances(x), rtol=1e-9)


def test_points_that_are_all_one_have_no_distance() -> None:
    assert not point_distances(np.full((5, 3), 0.1)).any()
    assert point_distances(np.ones((1, 4))).tolist() == [[0.0]]


def test_distances_along_a_circle_are_its_arcs() -> None:
    angles = np.sort(2 * np.pi * np.random.default_rng(2).random(400))
    points = np.column_stack([np.cos(angles), np.sin(angles)])
    found = geodesic_distances(point_distances(points), neighbours=8)
    turned = np.abs(angles[:, None] - angles)
    arcs = np.minimum(turned, 2 * np.pi - turned)
    # A chord is shorter than its arc a by a³/24, and the longest of chords between neighbours is under 0.3.
    np.testing.assert_allclose(found, arcs, rtol=0.3**2 / 24, atol=1e-9)


def test_a_graph_in_parts_is_joined_at_its_narrowest() -> None:
    x = np.array([0.0, 1.0, 2.0, 10.0, 11.0, 12.0])[:, None]
    found = geodesic_distances(point_distances(x), neighbours=1)
    np.testing.assert_allclose(found, np.abs(x - x.T))


def test_every_point_a_neighbour_leaves_distances_as_they_are() -> None:
    x = np.random.default_rng(3).normal(size=(15, 2))
    x[4] = x[8]
    straight = point_distances(x)
    np.testing.assert_allclose(geodesic_distances(straight, neighbours=20), straight, atol=1e-12)
    assert geodesic_distances(straight)[4, 8] == 0


def test_each_is_the_farthest_and_all_others_are_near() -> None:
    rng = np.random.default_rng(4)
    distances = point_distances(circle(rng, 300))
    chosen, radius = farthest_points(distances, 20, first=7)
    assert chosen[0] == 7
    for count in range(1, 20):
        near = distances[chosen[:count]].min(axis=0)
        assert near[chosen[count]] == near.max()
    assert radius == distances[chosen].min(axis=0).max()
    # The best twenty arcs have a radius of 2π/40; twice that is promised.
    assert radius <= 2 * 2 * np.pi / 40


def test_copies_are_chosen_once() -> None:
    distances = point_distances(np.array([[0.0], [0.0], [1.0], [1.0], [5.0]]))
    assert farthest_points(distances, 10).indices.tolist() == [0, 4, 2]
    assert farthest_points(distances, 10).radius == 0


@pytest.mark.parametrize("bad", [np.ones((2, 3)), np.zeros((0, 0)), np.full((2, 2), np.nan), -np.ones((2, 2))])
def test_what_is_no_matrix_of_distances_is_refused(bad: np.ndarray) -> None:
    for function in (geodesic_distances, lambda D: farthest_points(D, 1)):
        with pytest.raises(UsageError, match="square matrix"):
            function(bad)


def test_arguments_out_of_range_are_refused() -> None:
    D = point_distances(np.arange(4.0)[:, None])
    with pytest.raises(UsageError, match="neighbours must be"):
        geodesic_distances(D, neighbours=0)
    for k, first in ((0, 0), (2, 4), (2, -1)):
        with pytest.raises(UsageError, match="choose none"):
            farthest_points(D, k, first=first)
    with pytest.raises(UsageError, match="no points"):
        point_distances(np.zeros((0, 3)))
