"""Shapes and neighbours of representations against closed forms and naive twins."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
import torch
from scipy.linalg import orthogonal_procrustes

from deepscope.core import UsageError
from deepscope.linalg import mutual_neighbours, procrustes_distance


def normed(x: np.ndarray) -> np.ndarray:
    x = x - x.mean(axis=0)
    return x / np.linalg.norm(x)


@pytest.mark.parametrize(("n", "d", "e"), [(30, 5, 5), (30, 3, 8), (12, 40, 40), (12, 50, 4)])
def test_the_distance_is_that_of_the_best_rotation(n: int, d: int, e: int) -> None:
    rng = np.random.default_rng(n + d)
    x, y = rng.normal(size=(n, d)), rng.normal(size=(n, e)) + 2
    wide = max(d, e)
    X, Y = (np.pad(normed(each), ((0, 0), (0, wide - each.shape[1]))) for each in (x, y))
    rotation, _ = orthogonal_procrustes(Y, X)
    # A root of a difference of numbers near 1: the rounding of 1e-16 comes to 1e-8 where the distance is 0.
    assert procrustes_distance(x, y) == pytest.approx(float(np.linalg.norm(X - Y @ rotation)), abs=1e-7)


def test_it_is_a_metric_between_shapes() -> None:
    rng = np.random.default_rng(0)
    shapes = [rng.normal(size=(20, 4)) for _ in range(4)]
    rotation = np.linalg.qr(rng.normal(size=(4, 4)))[0]
    assert procrustes_distance(shapes[0], 3 * shapes[0] @ rotation - 7) == pytest.approx(0, abs=1e-7)
    between = np.array([[procrustes_distance(a, b) for b in shapes] for a in shapes])
    np.testing.assert_allclose(between, between.T, atol=1e-7)
    for i, j in pairwise(range(4)):
        assert (between[i] <= between[i, j] + between[j] + 1e-7).all()
    assert between.max() < math.sqrt(2)


def test_orthogonal_shapes_are_farthest_and_wide_ones_alike() -> None:
    # XᵀY = 0: nothing of one is in the other.
    x, y = np.array([[1.0], [-1.0], [0.0], [0.0]]), np.array([[0.0], [0.0], [1.0], [-1.0]])
    assert procrustes_distance(x, y) == pytest.approx(math.sqrt(2), rel=1e-12)
    rng = np.random.default_rng(1)
    distances = [procrustes_distance(*rng.normal(size=(2, 10, d))) for d in (3, 100, 10_000)]
    assert distances == sorted(distances, reverse=True)
    # Gaussian rows of length d are orthogonal to 1/√d.
    assert distances[-1] < 0.05


def twin(x: np.ndarray, y: np.ndarray, k: int) -> float:
    def near(z: np.ndarray, i: int) -> set[int]:
        distances = np.linalg.norm(z - z[i], axis=1)
        distances[i] = np.inf
        return set(np.argsort(distances)[:k])

    return float(np.mean([len(near(x, i) & near(y, i)) / k for i in range(len(x))]))


@pytest.mark.parametrize("k", [1, 7])
def test_neighbours_in_common_are_counted(k: int) -> None:
    rng = np.random.default_rng(2)
    x = rng.normal(size=(600, 4))
    y = x @ rng.normal(size=(4, 9)) + 0.5 * rng.normal(size=(600, 9))
    assert mutual_neighbours(x, y, k) == pytest.approx(twin(x, y, k), abs=1e-12)
    assert mutual_neighbours(torch.from_numpy(x).reshape(600, 2, 2), 1e-200 * y + 0, k) == mutual_neighbours(x, y, k)


def test_of_unrelated_representations_it_is_chance() -> None:
    rng = np.random.default_rng(3)
    n, k = 400, 10
    found = [mutual_neighbours(rng.normal(size=(n, 6)), rng.normal(size=(n, 6)), k) for _ in range(10)]
    # A share of 40,000 pairs of expectation 10/399, nearly independent: four standard deviations.
    chance = k / (n - 1)
    assert np.mean(found) == pytest.approx(chance, abs=4 * math.sqrt(chance / (n * k * 10)))


@pytest.mark.parametrize(
    ("call", "what"),
    [
        (lambda: procrustes_distance(np.ones((5, 2)), np.eye(5)), "same for all samples"),
        (lambda: procrustes_distance(np.eye(5), np.eye(6)), "5 and 6 samples"),
        (lambda: mutual_neighbours(np.eye(5), np.eye(5), 5), "at least 6"),
        (lambda: mutual_neighbours(np.eye(5), np.eye(5), 0), "at least one neighbour"),
        (lambda: mutual_neighbours(np.full((5, 2), np.inf), np.eye(5), 2), "not finite"),
    ],
)
def test_what_cannot_be_compared_is_refused(call, what: str) -> None:
    with pytest.raises(UsageError, match=what):
        call()
