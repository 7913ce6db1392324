"""Eigenvalues and ranks against the singular value decomposition and closed forms."""

import tracemalloc

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from deepscope.core import MeasurementError, UsageError
from deepscope.linalg import effective_rank, gram_eigenvalues, stable_rank


def matrix(rows, cols, seed=0):
    return np.random.default_rng(seed).normal(size=(rows, cols))


def naive(W):
    return np.sort(np.linalg.svd(np.asarray(W, dtype=np.float64), compute_uv=False) ** 2)


# eigvalsh is backward stable: an eigenvalue is off by at most a small multiple of n·eps·λ_max.
def close(values, truth):
    n = max(64, len(truth))
    return values == pytest.approx(truth, rel=1e-11, abs=10 * n * 2.2e-16 * truth[-1])


@pytest.mark.parametrize(("rows", "cols"), [(1, 9), (9, 1), (7, 7), (40, 100), (100, 40), (1, 1)])
def test_equals_squared_singular_values(rows, cols):
    W = matrix(rows, cols)
    values = gram_eigenvalues(W)
    assert values.shape == (min(rows, cols),)
    assert values.dtype == np.float64
    assert close(values, naive(W))


@pytest.mark.parametrize(("rows", "cols"), [(20_000, 30), (30, 20_000)])
def test_long_matrices_in_pieces(rows, cols):
    assert close(gram_eigenvalues(matrix(rows, cols)), naive(matrix(rows, cols)))


@pytest.mark.parametrize(
    "dtype", [torch.float32, torch.bfloat16, torch.float16, torch.float8_e4m3fn, torch.float8_e5m2, torch.float64]
)
def test_every_dtype_is_measured_in_float64(dtype):
    stored = torch.from_numpy(matrix(30, 50)).to(dtype)
    assert close(gram_eigenvalues(stored), naive(stored.to(torch.float64)))


@pytest.mark.parametrize("factor", [1e-6, 1e-150, 1e150])
def test_scale(factor):
    W = matrix(30, 50)
    assert close(gram_eigenvalues(W * factor), naive(W) * factor**2)


def test_power_of_two_changes_nothing_else():
    W = matrix(30, 50)
    assert (gram_eigenvalues(W * 2.0**-300) == gram_eigenvalues(W) * 2.0**-600).all()


def test_strided_views_and_gradients():
    stored = torch.from_numpy(matrix(60, 50)).requires_grad_()
    assert close(gram_eigenvalues(stored[::2, 5:].T), naive(stored.detach()[::2, 5:]))
    assert stored.grad is None
    assert close(gram_eigenvalues(matrix(60, 50)[::2]), naive(matrix(60, 50)[::2]))


def test_input_is_left_as_it_was():
    W = torch.from_numpy(matrix(30, 20))
    before = W.clone()
    gram_eigenvalues(W)
    assert torch.equal(W, before)


def test_permutation_transposition_and_rotation():
    W, rng = matrix(40, 60), np.random.default_rng(1)
    truth = gram_eigenvalues(W)
    assert close(gram_eigenvalues(W.T), truth)
    assert close(gram_eigenvalues(W[rng.permutation(40)][:, rng.permutation(60)]), truth)
    assert close(gram_eigenvalues(np.linalg.qr(matrix(40, 40, 2))[0] @ W), truth)


def test_rank_deficient_has_no_negative_eigenvalue():
    values = gram_eigenvalues(matrix(50, 3) @ matrix(3, 80, 1))
    assert values.min() >= 0
    assert (values > 80 * 2.2e-16 * values[-1]).sum() == 3


def test_zeros():
    assert gram_eigenvalues(np.zeros((4, 6))).tolist() == [0.0] * 4


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_values_that_are_not_finite_are_refused(bad):
    W = matrix(5, 8)
    W[2, 3] = bad
    with pytest.raises(MeasurementError, match="not finite"):
        gram_eigenvalues(W)


@pytest.mark.parametrize("factor", [1e-170, 1e170])
def test_squares_beyond_float64_are_refused(factor):
    with pytest.raises(MeasurementError, match="float64"):
        gram_eigenvalues(matrix(5, 8) * factor)


@pytest.mark.parametrize("shape", [(3,), (2, 3, 4), (0, 3)])
def test_not_a_matrix(shape):
    with pytest.raises(UsageError, match="matrix"):
        gram_eigenvalues(np.ones(shape))


def test_ranks_in_closed_form():
    flat = np.ones(12)
    assert stable_rank(flat) == pytest.approx(12, rel=1e-14)
    assert effective_rank(flat) == pytest.approx(12, rel=1e-14)
    # Singular values 1 and 3: p = 1/4, 3/4 and exp(entropy) = 4 / 3^(3/4).
    assert effective_rank(np.array([0.0, 1.0, 9.0])) == pytest.approx(4 / 3**0.75, rel=1e-14)
    assert stable_rank(np.array([0.0, 1.0, 9.0])) == pytest.approx(10 / 9, rel=1e-14)
    for rank in (stable_rank, effective_rank):
        assert rank(1e-200 * np.array([0.0, 1.0, 9.0])) == pytest.approx(rank(np.array([0.0, 1.0, 9.0])), rel=1e-13)
        with pytest.raises(MeasurementError):
            rank(np.zeros(3))


def test_tall_matrix_needs_no_copy_of_itself_in_float64():
    W = torch.from_numpy(matrix(60_000, 32).astype(np.float32))
    converted = []

    class Watch(TorchDispatchMode):
        def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
            made = operation(*args, **(kwargs or {}))
            if isinstance(made, torch.Tensor) and made.dtype == torch.float64:
                converted.append(made.numel())
            return made

    # Torch's memory cannot be traced: what it converts is watched instead.
    with Watch():
        gram_eigenvalues(W)
    # The pieces that the notes promise: 8,192 of the 60,000 rows.
    assert max(converted) == 8192 * 32
    tracemalloc.start()
    gram_eigenvalues(W)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    # A handful of 32 × 32 matrices in float64, and no product with the longer side.
    assert peak < 8 * 32 * 32 * 20


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_cuda():
    W = matrix(300, 500)
    assert close(gram_eigenvalues(torch.from_numpy(W).cuda()), naive(W))
