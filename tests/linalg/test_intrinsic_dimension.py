"""Intrinsic dimension of sets whose dimension is known."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from deepscope.core import UsageError
from deepscope.linalg import intrinsic_dimension


def sphere(rng: np.random.Generator, n: int, d: int) -> np.ndarray:
    x = rng.normal(size=(n, d + 1))
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def torus(rng: np.random.Generator, n: int, d: int) -> np.ndarray:
    """Return points of a flat torus: d circles, each in a plane of its own; it has no boundary."""
    angles = 2 * np.pi * rng.random((n, d))
    return np.concatenate([np.cos(angles), np.sin(angles)], axis=1)


def embedded(rng: np.random.Generator, points: np.ndarray, d: int = 100) -> np.ndarray:
    axes = np.linalg.qr(rng.normal(size=(d, points.shape[1])))[0]
    return points @ axes.T + rng.normal(size=d)


def twin(x: np.ndarray, k: int = 10) -> tuple[float, float]:
    """TwoNN and the likelihood estimate from a whole matrix of distances."""
    distances = np.sort(np.linalg.norm(x[:, None] - x, axis=2), axis=1)[:, 1 : k + 1]
    two = (len(x) - 1) / np.log(distances[:, 1] / distances[:, 0]).sum()
    inverse = [np.mean([np.log(row[-1] / each) for each in row[:-1]]) for row in distances]
    return float(two), float(1 / np.mean(inverse))


def test_it_is_that_of_a_whole_matrix_of_distances() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(700, 6)) * [1, 1, 1, 0.1, 0.01, 3] + 40
    found = intrinsic_dimension(x)
    assert (found.dimension, found.likelihood) == pytest.approx(twin(x), rel=1e-9)
    assert (found.n, found.n_duplicates) == (700, 0)


@pytest.mark.parametrize("d", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("kind", ["sphere", "subspace"])
def test_spheres_and_subspaces_in_a_hundred_dimensions(kind: str, d: int) -> None:
    rng = np.random.default_rng(d)
    x = sphere(rng, 2000, d) if kind == "sphere" else rng.normal(size=(2000, d))
    found = intrinsic_dimension(embedded(rng, x))
    assert found.dimension == pytest.approx(d, rel=0.1)
    assert found.low < d < found.high
    # s = √(1.55 / 2000), or a little more where points themselves say so.
    assert found.high / found.low == pytest.approx(np.exp(2 * 1.96 * np.sqrt(1.55 / 2000)), rel=0.03)
    assert found.likelihood == pytest.approx(d, rel=0.1)


@pytest.mark.parametrize("d", [1, 2, 3, 5])
def test_what_neighbours_share_is_what_the_interval_allows_for(d: int) -> None:
    """The spread of the estimate over draws, times √n: 1.55 for uniform points, not 1."""
    rng = np.random.default_rng(0)
    n, draws = 200, 300
    found = [1 / intrinsic_dimension(torus(rng, n, d)).dimension for _ in range(draws)]
    ratio = n * np.var(found) / np.mean(found) ** 2
    # A variance of 300 draws is known to √(2/300) = 8 %, and the constant holds for dimensions from 1 to 5 to some 6 %.
    assert ratio == pytest.approx(1.55, rel=0.3)


@pytest.mark.parametrize(("d", "seen"), [(10, 9.3), (20, 16.5)])
def test_the_bias_of_many_dimensions_is_as_the_docstring_says(d: int, seen: float) -> None:
    rng = np.random.default_rng(0)
    found = [intrinsic_dimension(sphere(rng, 1000, d)).dimension for _ in range(20)]
    # The standard error of 20 draws, √(1.55/1000/20) = 0.9 %, four times, and the last digit.
    assert np.mean(found) == pytest.approx(seen, rel=0.045)


def test_scale_shift_and_rotation_change_nothing() -> None:
    rng = np.random.default_rng(3)
    x = torus(rng, 300, 2)
    before = intrinsic_dimension(x)
    assert intrinsic_dimension(embedded(rng, x)).dimension == pytest.approx(before.dimension, rel=1e-6)
    for factor in (1e-200, 1e-6, 1e6, 1e200):
        assert intrinsic_dimension(factor * x).dimension == pytest.approx(before.dimension, rel=1e-9)
    assert intrinsic_dimension(x[::-1, ::-1]).dimension == pytest.approx(before.dimension, rel=1e-9)
    assert intrinsic_dimension(torch.from_numpy(x).reshape(300, 2, 2)) == before


def test_close_pairs_far_from_the_origin_are_told_apart() -> None:
    """Squares of coordinates of 1e6 are known to 1e12·2e-16 = 2e-4: far more than the squares of distances of 1e-3."""
    rng = np.random.default_rng(4)
    near = rng.random((400, 2)) * 0.02
    x = np.concatenate([near, [[1e6, 1e6]]])
    assert intrinsic_dimension(x).dimension == pytest.approx(intrinsic_dimension(near).dimension, rel=0.02)


def test_copies_count_once() -> None:
    rng = np.random.default_rng(5)
    x = torus(rng, 200, 2)
    found = intrinsic_dimension(np.concatenate([x, x[:50], x[:50]]))
    assert found.n_duplicates == 100
    assert found.dimension == pytest.approx(intrinsic_dimension(x).dimension, rel=1e-12)


@pytest.mark.parametrize(
    ("x", "what"),
    [
        (np.ones((50, 3)), "1 different points of 50"),
        (np.arange(11.0)[:, None], "11 different points"),
        (np.full((20, 2), np.nan), "not finite"),
        (np.float64(1), "matrix"),
        (np.stack(np.meshgrid(np.arange(8.0), np.arange(8.0)), -1).reshape(-1, 2), "lattice"),
    ],
)
def test_what_has_no_dimension_is_refused(x: np.ndarray, what: str) -> None:
    with pytest.raises(UsageError, match=what):
        intrinsic_dimension(x)
