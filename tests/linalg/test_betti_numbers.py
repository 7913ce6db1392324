"""Betti numbers of shapes that are known, and of noise that has none."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
import pytest
from planted_shapes import annulus, ball, circle, clusters, disc, linked_rings, sphere, torus

from deepscope.linalg import betti_numbers, farthest_points, persistence, point_distances

Draw = Callable[[np.random.Generator, int], np.ndarray]


def counted(points: np.ndarray, landmarks: int, max_dimension: int) -> tuple[int, ...]:
    distances = point_distances(points)
    chosen = farthest_points(distances, landmarks).indices
    parts = betti_numbers(persistence(distances, 0, distances=True))
    holes = betti_numbers(persistence(distances[np.ix_(chosen, chosen)], max_dimension, distances=True))
    return (*parts, *holes[1:])


@pytest.mark.parametrize(
    ("draw", "n", "landmarks", "expected"),
    [
        pytest.param(circle, 400, 64, (1, 1), id="circle"),
        pytest.param(annulus, 600, 64, (1, 1), id="annulus"),
        pytest.param(linked_rings, 600, 64, (2, 2), id="linked rings"),
        pytest.param(disc, 400, 64, (1, 0), id="disc"),
        pytest.param(partial(ball, d=10), 400, 48, (1, 0), id="ball in ten dimensions"),
        pytest.param(sphere, 400, 64, (1, 0, 1), id="sphere"),
        pytest.param(torus, 800, 100, (1, 2, 1), id="torus"),
        pytest.param(partial(clusters, k=2, d=2, apart=14), 200, 48, (2, 0), id="two clusters"),
        pytest.param(partial(clusters, k=3, d=10, apart=20), 200, 48, (3, 0), id="three clusters"),
        pytest.param(partial(clusters, k=10, d=10, apart=30), 300, 48, (10, 0), id="ten clusters"),
        pytest.param(partial(clusters, k=1, d=3, apart=0), 200, 48, (1, 0), id="one cluster"),
    ],
)
def test_shapes_in_nineteen_of_twenty_draws(draw: Draw, n: int, landmarks: int, expected: tuple[int, ...]) -> None:
    found = [counted(draw(np.random.default_rng(seed), n), landmarks, max(1, len(expected) - 1)) for seed in range(20)]
    assert sum(each == expected for each in found) >= 19, found


def exponential(rng: np.random.Generator, n: int) -> np.ndarray:
    return rng.exponential(size=(n, 2))


@pytest.mark.parametrize("n", [16, 64, 256])
@pytest.mark.parametrize(
    "draw",
    [
        pytest.param(lambda rng, n: rng.random((n, 1)), id="segment"),
        pytest.param(circle, id="circle"),
        pytest.param(disc, id="disc"),
        pytest.param(partial(ball, d=8), id="ball"),
        pytest.param(lambda rng, n: rng.normal(size=(n, 1)), id="normal numbers"),
        pytest.param(lambda rng, n: rng.normal(size=(n, 5)), id="normal"),
        pytest.param(lambda rng, n: rng.standard_t(3, size=(n, 2)), id="heavy tails"),
        pytest.param(exponential, id="exponential"),
    ],
)
def test_noise_has_one_part(draw: Draw, n: int) -> None:
    rng = np.random.default_rng(n)
    wrong = sum(betti_numbers(persistence(draw(rng, n), 0)) != (1,) for _ in range(100))
    # At most 5 % each; of a hundred draws of 5 % no more than 11 are seen, but once in a hundred.
    assert wrong <= 11


@pytest.mark.parametrize(("n", "draws"), [(16, 200), (64, 200), (200, 20)])
def test_noise_has_no_loops(n: int, draws: int) -> None:
    rng = np.random.default_rng(n)
    wrong = sum(betti_numbers(persistence(disc(rng, n)))[1] > 0 for _ in range(draws))
    # As above: P(more than 18 of 200) = P(more than 3 of 20) = 1 % at 5 %.
    assert wrong <= {200: 18, 20: 3}[draws]


@pytest.mark.parametrize(("n", "draws"), [(16, 100), (64, 30)])
def test_noise_has_no_voids(n: int, draws: int) -> None:
    rng = np.random.default_rng(n)
    wrong = sum(betti_numbers(persistence(ball(rng, n, 3), 2))[2] > 0 for _ in range(draws))
    assert wrong <= {100: 11, 30: 5}[draws]


@pytest.mark.parametrize("factor", [1e-200, 1e200])
def test_scale_is_no_matter(factor: float) -> None:
    x = linked_rings(np.random.default_rng(0), 240)
    assert betti_numbers(persistence(factor * x)) == (2, 2)


def test_outliers_are_no_parts() -> None:
    rng = np.random.default_rng(1)
    x = np.concatenate([rng.normal(size=(200, 2)), 100 * rng.normal(size=(5, 2))])
    assert betti_numbers(persistence(x, 0)) == (1,)
    assert betti_numbers(persistence(np.concatenate([x, x + 40]), 0)) == (2,)


def test_of_nested_scales_the_widest_is_counted() -> None:
    rng = np.random.default_rng(2)
    pair = clusters(rng, 80, 2, 2, 14)
    far = np.concatenate([pair, pair + np.array([1000, 0])])
    assert betti_numbers(persistence(far, 0)) == (2,)
    near = np.concatenate([pair, pair + np.array([20, 0])])
    assert betti_numbers(persistence(near, 0)) == (4,)


def test_copies_are_parts_however_close_they_are() -> None:
    piles = np.repeat(np.array([[0.0], [1e-9], [1.0]]), 10, axis=0)
    assert betti_numbers(persistence(piles, 0)) == (3,)
    assert betti_numbers(persistence(np.ones((10, 2)))) == (1, 0)
    assert betti_numbers(persistence(np.ones((1, 2)))) == (1, 0)
