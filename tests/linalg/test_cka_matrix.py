"""Alignments of all pairs, batch by batch, against one pair of all samples at a time."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from deepscope.core import UsageError
from deepscope.linalg import CKAMatrix, cka


def layers(n: int, seed: int = 0) -> list[Tensor]:
    """Representations that share less and less with the first."""
    draw = torch.Generator().manual_seed(seed)
    x = torch.randn(n, 30, generator=draw, dtype=torch.float64)
    made = [x]
    for width in (20, 200, 7):
        mixed = made[-1] @ torch.randn(made[-1].shape[1], width, generator=draw, dtype=torch.float64)
        made.append(torch.tanh(mixed / made[-1].shape[1] ** 0.5) + 3)
    return [*made, torch.randn(n, 50, generator=draw, dtype=torch.float64)]


def hsic(K: np.ndarray, L: np.ndarray) -> float:
    """The unbiased estimate as its definition has it."""
    n, one = len(K), np.ones(len(K))
    K, L = K * (1 - np.eye(n)), L * (1 - np.eye(n))
    means = (one @ K @ one) * (one @ L @ one) / ((n - 1) * (n - 2)) - 2 * (one @ K @ L @ one) / (n - 2)
    return float(np.trace(K @ L) + means) / (n * (n - 3))


def of(xs: list[Tensor], ys: list[Tensor] | None, size: int, **options: float) -> CKAMatrix:
    pairs = CKAMatrix(**options)
    for start in range(0, len(xs[0]), size):
        part = slice(start, start + size)
        pairs.add([each[part] for each in xs], None if ys is None else [each[part] for each in ys])
    return pairs


def test_of_one_batch_it_is_that_of_each_pair() -> None:
    xs, ys = layers(120), layers(120, 1)[:3]
    expected = [[cka(x, y) for y in ys] for x in xs]
    # Kernels are held in single precision.
    np.testing.assert_allclose(of(xs, ys, 120).result().values, expected, atol=1e-6)
    own = of(xs, None, 120).result()
    np.testing.assert_allclose(own.values, [[cka(x, y) for y in xs] for x in xs], atol=1e-6)
    np.testing.assert_allclose(np.diag(own.values), 1, atol=1e-6)
    assert np.isnan(own.stderr).all()


def test_batches_agree_with_the_whole_within_their_error() -> None:
    xs = layers(3000)
    found, whole = of(xs, None, 100).result(), of(xs, None, 3000).result()
    assert (found.n_samples, found.n_batches) == (3000, 30)
    off = ~np.eye(len(xs), dtype=bool)
    # Ten different pairs; four standard errors, and what 30 batches say of a standard error.
    assert (np.abs(found.values - whole.values)[off] < 4 * found.stderr[off] + 1e-6).all()
    assert found.stderr[off].max() < 0.02


def test_the_standard_error_is_the_scatter_over_draws() -> None:
    found = [of(layers(640, seed), None, 20).result() for seed in range(60)]
    values, stated = np.stack([each.values for each in found]), np.stack([each.stderr for each in found])
    # Of two layers whose mixing differs from draw to draw the scatter is not that of samples: independent ones alone.
    ratio = stated[:, 0, 4].mean() / values[:, 0, 4].std()
    # 1/√(2·60) = 9 % each, three of them.
    assert ratio == pytest.approx(1, abs=0.3)
    assert abs(values[:, 0, 4].mean()) < 4 * values[:, 0, 4].std() / np.sqrt(60)


def test_batches_of_other_lengths_and_scales_have_their_weight() -> None:
    xs = layers(110)[:3]
    # Batches that differ in spread: each counts as much as its kernels are large.
    xs = [torch.cat([x[:100], 3 * x[100:]]) for x in xs]
    found = of(xs, None, 100).result().values
    grams = [[(x[part] @ x[part].T).numpy() for x in xs] for part in (slice(0, 100), slice(100, 110))]
    mean = sum(
        share * np.array([[hsic(K, L) for L in batch] for K in batch])
        for share, batch in zip((100 / 110, 10 / 110), grams, strict=True)
    )
    scale = np.sqrt(np.outer(np.diag(mean), np.diag(mean)))
    np.testing.assert_allclose(found, np.minimum(mean / scale, 1), atol=1e-5)


def test_gaussian_kernels_see_what_linear_ones_cannot() -> None:
    """The radius of a point is no linear function of it, and HSIC with a Gaussian kernel is that written down."""
    x = torch.randn(300, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    radius = x.square().sum(dim=1, keepdim=True)
    linear, gaussian = (of([x], [radius], 300, **options).result() for options in ({}, {"bandwidth": 0.5}))
    assert abs(float(linear.values[0, 0])) < 0.1
    assert float(gaussian.values[0, 0]) > 0.2

    def kernel(points: Tensor) -> np.ndarray:
        distances = torch.cdist(points, points)
        sigma = 0.5 * distances[torch.triu(torch.ones(300, 300), 1).bool()].median()
        return torch.exp(-(distances**2) / (2 * sigma**2)).numpy()

    K, L = kernel(x), kernel(radius)

    assert float(gaussian.values[0, 0]) == pytest.approx(hsic(K, L) / np.sqrt(hsic(K, K) * hsic(L, L)), abs=1e-5)


def test_scale_and_shift_change_nothing_and_constants_have_no_alignment() -> None:
    xs = layers(60)
    expected = of(xs, None, 20).result().values
    moved = [1e-20 * xs[0], xs[1] + 100, 1e20 * xs[2], xs[3], xs[4]]
    np.testing.assert_allclose(of(moved, None, 20).result().values, expected, atol=1e-5)
    constant = of([xs[0], torch.full((60, 3), 7.0)], None, 20).result()
    assert np.isnan(constant.values).tolist() == [[False, True], [True, True]]


@pytest.mark.parametrize("bandwidth", [None, 1.0])
def test_numbers_whose_sums_overflow_in_single_precision_are_compared(bandwidth: float | None) -> None:
    x = torch.rand(64, 5, generator=torch.Generator().manual_seed(0))
    # 64 numbers of up to 3e38 add up to more than the greatest number there is, 3.4e38.
    pairs, plain = CKAMatrix(bandwidth=bandwidth), CKAMatrix(bandwidth=bandwidth)
    pairs.add([x, 3e38 * x])
    plain.add([x, x])
    # Single precision rounds each of the kernels' entries by 6e-8 of the largest.
    assert pairs.result().values == pytest.approx(plain.result().values, abs=1e-5)


def test_what_cannot_be_compared_is_refused() -> None:
    with pytest.raises(UsageError, match="no samples"):
        CKAMatrix().result()
    with pytest.raises(UsageError, match="positive"):
        CKAMatrix(bandwidth=0)
    pairs = of(layers(8), None, 8)
    with pytest.raises(UsageError, match="at least four"):
        pairs.add([torch.zeros(3, 2)] * 5)
    with pytest.raises(UsageError, match="4, 5 samples"):
        pairs.add([torch.zeros(4, 2), torch.zeros(5, 2)])
    with pytest.raises(UsageError, match="2 × 2 instead of 5 × 5"):
        pairs.add([torch.randn(6, 2), torch.randn(6, 2)])
    with pytest.raises(UsageError, match="not finite"):
        pairs.add([torch.full((5, 2), torch.nan)] * 5)
