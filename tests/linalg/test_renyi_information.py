"""Matrix-based Rényi entropy and information in closed form."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from deepscope.core import UsageError
from deepscope.linalg import renyi_entropy, renyi_information


def gaussian(rng: np.random.Generator, n: int, rho: float) -> tuple[np.ndarray, np.ndarray]:
    x = rng.normal(size=n)
    return x, rho * x + math.sqrt(1 - rho**2) * rng.normal(size=n)


@pytest.mark.parametrize("alpha", [0.5, 1.01, 2.0])
def test_entropy_of_kernels_in_closed_form(alpha: float) -> None:
    assert renyi_entropy(np.eye(32), alpha) == pytest.approx(5, abs=1e-10)
    # Rounding leaves 31 eigenvalues of up to 1e-16, of which order 1/2 takes the root: 31 · 1e-8.
    error = 1e-6 if alpha < 1 else 1e-10
    assert renyi_entropy(np.ones((32, 32)), alpha) == pytest.approx(0, abs=error)
    # Blocks of ones of sizes 1, 3 and 4: eigenvalues 1/8, 3/8 and 1/2, as of a discrete variable.
    shares = np.array([1, 3, 4]) / 8
    blocks = np.kron(np.eye(3), np.ones((8, 8)))[: 8 * 3, : 8 * 3]
    chosen = np.r_[0, 8:11, 16:20]
    known = math.log2(np.sum(shares**alpha)) / (1 - alpha)
    assert renyi_entropy(blocks[np.ix_(chosen, chosen)], alpha) == pytest.approx(known, abs=error)
    assert renyi_entropy(torch.from_numpy(7 * blocks), alpha) == pytest.approx(math.log2(3), abs=error)


def test_order_two_is_the_norm_of_the_kernel() -> None:
    x = np.random.default_rng(0).normal(size=(40, 3))
    kernel = np.exp(-np.sum((x[:, None] - x) ** 2, axis=2))
    assert renyi_entropy(kernel, 2) == pytest.approx(-math.log2(np.sum((kernel / 40) ** 2)), abs=1e-10)


def test_near_one_it_is_the_von_neumann_entropy() -> None:
    values = np.array([0.5, 0.25, 0.25])
    assert renyi_entropy(np.diag(values), 1 + 1e-7) == pytest.approx(1.5, abs=1e-6)


def test_of_labels_it_is_that_of_counts() -> None:
    """Kernels of labels have their shares as eigenvalues, and those of pairs jointly: near order 1 Shannon's."""
    rng = np.random.default_rng(1)
    x = rng.integers(0, 3, 200)
    y = (x + rng.integers(0, 2, 200)) % 3
    entropies = [np.unique(v, axis=0, return_counts=True)[1] / 200 for v in (x, y, np.c_[x, y])]
    known = [-np.sum(p * np.log2(p)) for p in entropies]
    found = renyi_information(x, y, 1 + 1e-6, permutations=19)
    assert found.bits == pytest.approx(known[0] + known[1] - known[2], abs=1e-4)


def test_it_is_the_formula_with_a_kernel_of_that_width() -> None:
    rng = np.random.default_rng(2)
    x, y = rng.normal(size=(50, 2)), rng.normal(size=(50, 1))
    kernels = []
    for v in (x, y):
        distance = np.linalg.norm(v[:, None] - v, axis=2)
        # torch's median: the lower of the two in the middle.
        width = np.sort(distance[distance > 0])[(50 * 49 - 1) // 2] * 50 ** (-1 / (v.shape[1] + 4))
        kernels.append(np.exp(-((distance / width) ** 2) / 2))
    A, B = kernels
    known = renyi_entropy(A) + renyi_entropy(B) - renyi_entropy(A * B)
    assert renyi_information(x, y, permutations=19).bits == pytest.approx(known, abs=1e-9)


@pytest.mark.parametrize(("rho", "bits"), [(0.0, 0.34), (0.9, 1.25), (0.99, 2.18)])
def test_of_gaussian_pairs_it_is_as_the_docstring_says(rho: float, bits: float) -> None:
    rng = np.random.default_rng(3)
    found = [renyi_information(*gaussian(rng, 256, rho), permutations=19) for _ in range(3)]
    # A standard deviation of 0.05 over 3 draws, four times.
    assert np.mean([each.bits for each in found]) == pytest.approx(bits, abs=0.12)
    assert np.mean([each.null_mean for each in found]) == pytest.approx(0.34, abs=0.05)
    assert all(each.beats_null for each in found) or rho == 0


def test_its_value_is_the_width_s_and_says_so_where_no_two_samples_are_alike() -> None:
    x, y = gaussian(np.random.default_rng(4), 64, 0.0)
    wide, narrow = (renyi_information(x, y, width=width, permutations=19) for width in (1e3, 1e-6))
    assert wide.bits == pytest.approx(0, abs=1e-3)
    assert narrow.bits == pytest.approx(6, abs=1e-6)
    assert narrow.status == "saturated: the kernel tells nearly all of 64 samples apart"
    assert not narrow.beats_null


def test_it_is_never_more_than_the_smaller_entropy() -> None:
    rng = np.random.default_rng(5)
    x = rng.normal(size=(60, 2))
    found = renyi_information(x, x, permutations=19)
    assert 0 <= found.bits <= found.ceiling + 1e-9
    constant = renyi_information(x, np.ones(60), permutations=19)
    assert constant.bits == pytest.approx(0, abs=1e-9)
    assert not constant.beats_null


def test_wrong_use_is_a_clear_error() -> None:
    x = np.random.default_rng(0).normal(size=20)
    with pytest.raises(UsageError, match="20 and 19 samples"):
        renyi_information(x, x[1:])
    for alpha in (1.0, 0.0, -1.0):
        with pytest.raises(UsageError, match="order"):
            renyi_information(x, x, alpha)
        with pytest.raises(UsageError, match="order"):
            renyi_entropy(np.eye(2), alpha)
    with pytest.raises(UsageError, match="width"):
        renyi_information(x, x, width=0.0)
    with pytest.raises(UsageError, match="positive trace"):
        renyi_entropy(np.zeros((3, 3)))
    with pytest.raises(UsageError, match="square"):
        renyi_entropy(np.ones((3, 2)))


@pytest.mark.parametrize("shares", [[0.5, 0.5], [0.8, 0.1, 0.1], [1.0]])
def test_with_labels_it_is_the_formula_of_the_whole_kernels(shares: list[float]) -> None:
    rng = np.random.default_rng(6)
    y = 3 * rng.choice(len(shares), 60, p=shares) + 1
    x = rng.normal(size=(60, 2)) + y[:, None]
    found = renyi_information(x, y, width=0.5, permutations=19, rng=np.random.default_rng(7))
    A = np.exp(-np.sum((x[:, None] - x) ** 2, axis=2) / (2 * 0.5**2 * np.sum(x.var(axis=0))))
    B = (y[:, None] == y).astype(float)

    def formula(rows: np.ndarray, others: np.ndarray) -> float:
        a, b = A[np.ix_(rows, rows)], B[np.ix_(others, others)]
        return renyi_entropy(a) + renyi_entropy(b) - renyi_entropy(a * b)

    draws, every = np.random.default_rng(7), np.arange(60)
    halves = []
    for _ in range(10):
        order = draws.permutation(60)
        halves.append([formula(half, half) for half in (order[:30], order[30:])])
    null = [formula(every, draws.permutation(60)) for _ in range(19)]
    # Eigenvalues of 0 are known to some 1e-17, sixty of them, over α − 1 = 0.01.
    assert found.bits == pytest.approx(formula(every, every), abs=1e-11)
    assert found.stderr == pytest.approx(np.sqrt(np.mean(np.diff(halves) ** 2) / 4), abs=1e-11)
    assert found.null_mean == pytest.approx(np.mean(null), abs=1e-11)
    assert found.null_high == pytest.approx(max(null), abs=1e-11)
