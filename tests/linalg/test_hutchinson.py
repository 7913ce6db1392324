"""Hutchinson's estimators against their closed-form variances, and biased ones that must be seen."""

import numpy as np
import pytest
import torch
from planted_matrices import seeded, with_spectrum
from repeated_traces import repeated, z_of_the_mean
from scipy import stats

from deepscope.core import MeasurementError, UsageError
from deepscope.linalg import LinearOperator, hutchinson, hutchinson_blocks, hutchinson_diagonal

MIXED = with_spectrum(np.r_[4.0, -3.0, np.random.default_rng(1).normal(size=58)])
SIZES = [10, 1, 49]


def block_variances(A, sizes):
    """2·a_ij² for pairs within the block, a_ij² for those that leave it, without the diagonal."""
    squares, ends = (A - np.diag(np.diag(A))) ** 2, np.cumsum(sizes)
    parts = [slice(end - size, end) for size, end in zip(sizes, ends, strict=True)]
    return np.array([squares[part].sum() + squares[part, part].sum() for part in parts])


def test_mean_and_variance_are_those_of_the_closed_form():
    draws, products = 2000, 4
    values, errors = repeated(hutchinson, MIXED, draws, n_products=products, block_size=products)
    variance = 2 * ((MIXED**2).sum() - (np.diag(MIXED) ** 2).sum()) / products
    assert block_variances(MIXED, [60])[0] / products == pytest.approx(variance)
    assert abs(z_of_the_mean(values, np.trace(MIXED))) < 4
    # A sample variance scatters by √((kurtosis − 1)/draws), 3 to 4 %; so does the mean of the squared errors.
    assert values.var(ddof=1) == pytest.approx(variance, rel=0.15)
    assert np.mean(errors**2) == pytest.approx(variance, rel=0.15)


def test_a_bias_of_a_fifth_of_the_scatter_is_seen():
    values, _ = repeated(hutchinson, MIXED, 2000, n_products=4, block_size=4)
    shifted = values + 0.2 * values.std()
    # 0.2·√2000 = 9.
    assert z_of_the_mean(shifted, np.trace(MIXED)) > 4


def test_standard_error_gives_students_t():
    # A dense spectrum without outliers, in which a quadratic form is nearly normal.
    A = with_spectrum(np.random.default_rng(3).normal(size=200))
    values, errors = repeated(hutchinson, A, 800, n_products=8, block_size=8)
    t = (values - np.trace(A)) / errors
    assert stats.kstest(t, stats.t(7).cdf).pvalue > 1e-3
    # The planted fault: an error that forgets to divide by the root of the number of draws.
    assert stats.kstest(t / 8**0.5, stats.t(7).cdf).pvalue < 1e-3


def test_signs_beat_gaussian_vectors_by_the_diagonal():
    A = np.diag(np.arange(1.0, 51.0)) + 0.01
    values, errors = repeated(hutchinson, A, 20, n_products=4)
    # Variance 2·Σ_{i≠j} a_ij²/4; that of Gaussian vectors is 2·‖A‖_F²/4, 300² times more.
    assert values == pytest.approx(np.trace(A), abs=5 * (2 * 50 * 49 * 1e-4 / 4) ** 0.5)
    assert errors.max() < 1


def test_blocks_have_their_own_means_and_variances_and_add_up():
    operator, generator = LinearOperator.from_matrix(MIXED), seeded()
    found = np.array(
        [
            [part.value for part in hutchinson_blocks(operator, SIZES, n_products=4, generator=generator, block_size=4)]
            for _ in range(1500)
        ]
    )
    ends = np.cumsum(SIZES)
    truth = [np.diag(MIXED)[end - size : end].sum() for size, end in zip(SIZES, ends, strict=True)]
    for values, expected, variance in zip(found.T, truth, block_variances(MIXED, SIZES) / 4, strict=True):
        assert abs(z_of_the_mean(values, expected)) < 4
        assert values.var(ddof=1) == pytest.approx(variance, rel=0.2)
    whole = hutchinson(LinearOperator.from_matrix(MIXED), n_products=4, generator=seeded(), block_size=4)
    assert found[0].sum() == pytest.approx(whole.value, abs=1e-12)


def test_diagonal_has_its_mean_and_variance():
    operator, generator = LinearOperator.from_matrix(MIXED), seeded()
    found = [hutchinson_diagonal(operator, n_products=4, generator=generator, block_size=3) for _ in range(1000)]
    values = np.array([each.value.numpy() for each in found])
    variance = ((MIXED**2).sum(axis=1) - np.diag(MIXED) ** 2) / 4
    z = (values.mean(axis=0) - np.diag(MIXED)) / np.sqrt(variance / 1000)
    # 60 entries: the largest of so many is below 4.5 but once in 2,000 times.
    assert np.abs(z).max() < 4.5
    assert values.var(axis=0, ddof=1) == pytest.approx(variance, rel=0.25)
    assert np.mean([each.stderr.numpy() ** 2 for each in found], axis=0) == pytest.approx(variance, rel=0.25)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_diagonal_matrix_is_exact_with_any_signs(dtype):
    A = np.diag(np.arange(1, 101, dtype=dtype))
    estimate = hutchinson(LinearOperator.from_matrix(A), n_products=3, generator=seeded())
    # Sums of integers.
    assert (estimate.value, estimate.stderr, estimate.n_products) == (5050.0, 0.0, 3)


def test_blocks_of_products_change_nothing():
    one, many = (
        hutchinson(LinearOperator.from_matrix(MIXED), n_products=10, generator=seeded(), block_size=size)
        for size in (1, 4)
    )
    assert many.value == pytest.approx(one.value, abs=1e-12)
    assert many.stderr == pytest.approx(one.stderr, abs=1e-12)


@pytest.mark.parametrize("block_size", [1, 7, 100])
def test_with_n_products_the_diagonal_is_computed(block_size):
    operator = LinearOperator.from_matrix(MIXED)
    whole = hutchinson(operator, n_products=60, generator=seeded(), block_size=block_size)
    assert whole.value == pytest.approx(np.trace(MIXED), abs=1e-12)
    assert (whole.stderr, whole.n_products, operator.n_products) == (0.0, 60, 60)
    parts = hutchinson_blocks(operator, SIZES, n_products=99, generator=seeded(), block_size=block_size)
    assert [part.value for part in parts] == pytest.approx(
        [np.diag(MIXED)[:10].sum(), MIXED[10, 10], np.diag(MIXED)[11:].sum()]
    )
    diagonal = hutchinson_diagonal(operator, n_products=60, generator=seeded(), block_size=block_size)
    assert diagonal.value.tolist() == np.diag(MIXED).tolist()
    assert diagonal.stderr.tolist() == [0.0] * 60


def test_stops_at_the_tolerance_or_says_that_it_did_not():
    A = with_spectrum(np.linspace(1.0, 2.0, 400))
    operator = LinearOperator.from_matrix(A)
    reached = hutchinson(operator, n_products=399, tolerance=0.01, generator=seeded(), block_size=4)
    assert reached.status == "ok"
    assert reached.stderr <= 0.01 * reached.value
    assert 16 <= reached.n_products < 60
    missed = hutchinson(operator, n_products=20, tolerance=1e-5, generator=seeded())
    assert missed.status == "the standard error is more than 1e-05 of the trace"
    assert missed.n_products == 20


def test_the_operators_own_memory_is_left_as_it_is():
    held = torch.ones(30, 2, dtype=torch.float64)
    operator = LinearOperator(lambda block: held[:, : block.shape[1]], 30, dtype=torch.float64)
    hutchinson(operator, n_products=4, generator=seeded(), block_size=2)
    hutchinson_diagonal(operator, n_products=4, generator=seeded(), block_size=2)
    assert torch.equal(held, torch.ones(30, 2, dtype=torch.float64))
    same = LinearOperator(lambda block: block, 30, dtype=torch.float64)
    assert hutchinson(same, n_products=4, generator=seeded()).value == 30


def test_products_that_are_not_finite_are_refused():
    operator = LinearOperator(lambda block: block * torch.nan, 30, dtype=torch.float64)
    with pytest.raises(MeasurementError, match="not finite"):
        hutchinson(operator, n_products=4, generator=seeded())
    with pytest.raises(MeasurementError, match="not finite"):
        hutchinson_diagonal(operator, n_products=4, generator=seeded())


@pytest.mark.parametrize(
    ("sizes", "arguments", "said"),
    [
        ([60], {"n_products": 1}, "too few products"),
        ([60], {"n_products": 4, "tolerance": -0.1}, "not negative"),
        ([60], {"n_products": 4, "block_size": 0}, "at least one vector"),
        ([30, 29], {"n_products": 4}, "59 of 60"),
        ([61, -1], {"n_products": 4}, "do not make up"),
        ([], {"n_products": 4}, "0 of 60"),
    ],
)
def test_what_is_out_of_range_is_refused(sizes, arguments, said):
    with pytest.raises(UsageError, match=said):
        hutchinson_blocks(LinearOperator.from_matrix(MIXED), sizes, **arguments, generator=seeded())


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_cuda():
    A = torch.from_numpy(MIXED)
    here, there = (
        hutchinson(LinearOperator.from_matrix(matrix), n_products=6, generator=seeded(), block_size=3)
        for matrix in (A, A.cuda())
    )
    assert there.value == pytest.approx(here.value, abs=1e-11)
