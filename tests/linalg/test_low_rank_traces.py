"""Hutch++ and XTrace: unbiased, exact on low rank, and better than signs alone by the predicted order."""

import numpy as np
import pytest
import torch
from planted_matrices import seeded, with_spectrum
from repeated_traces import repeated, z_of_the_mean

from deepscope.core import MeasurementError, UsageError
from deepscope.linalg import LinearOperator, hutch_plus_plus, hutchinson, xtrace

SPECTRA = {
    "decaying": np.arange(1, 61) ** -1.5,
    "indefinite": np.r_[4.0, -3.0, np.random.default_rng(1).normal(size=58) / 3],
    "flat": np.linspace(1.0, 2.0, 60),
}


def recorded(A):
    """The operator of A, and the blocks that it is multiplied with."""
    blocks = []

    def product(block):
        blocks.append(block.numpy().copy())
        return torch.from_numpy(A) @ block

    return LinearOperator(product, len(A), dtype=torch.float64), blocks


def naive_xtrace(A, omega, left_out=True):
    """The m terms, each from its own basis; with the fault of keeping the test vector's own column if not left out."""
    n, m = omega.shape
    terms = []
    for i in range(m):
        others = np.delete(omega, i, axis=1) if left_out else omega
        Q = np.linalg.qr(A @ others)[0]
        rest = omega[:, i] - Q @ (Q.T @ omega[:, i])
        scale = (n - Q.shape[1]) / (rest @ rest)
        terms.append(np.trace(Q.T @ A @ Q) + scale * (rest @ A @ rest))
    return np.array(terms)


@pytest.mark.parametrize("estimator", [hutch_plus_plus, xtrace])
@pytest.mark.parametrize("spectrum", SPECTRA.values(), ids=SPECTRA)
def test_unbiased(spectrum, estimator):
    values, _ = repeated(estimator, with_spectrum(spectrum), 600, n_products=12, block_size=6)
    assert abs(z_of_the_mean(values, spectrum.sum())) < 4


@pytest.mark.parametrize("spectrum", ["decaying", "flat"])
def test_the_test_sees_an_xtrace_that_leaves_no_column_out(spectrum):
    A, rng = with_spectrum(SPECTRA[spectrum]), np.random.default_rng(0)
    values = np.array([naive_xtrace(A, rng.normal(size=(60, 6)), left_out=False).mean() for _ in range(600)])
    assert abs(z_of_the_mean(values, SPECTRA[spectrum].sum())) > 8


@pytest.mark.parametrize("spectrum", SPECTRA.values(), ids=SPECTRA)
def test_xtrace_is_its_naive_twin(spectrum):
    A = with_spectrum(spectrum)
    operator, blocks = recorded(A)
    estimate = xtrace(operator, n_products=14, generator=seeded(), block_size=7)
    terms = naive_xtrace(A, blocks[0])
    assert estimate.n_products == operator.n_products == 14
    # Y has a condition of some thousands; leaving a column out loses as much, of 2e-16.
    assert estimate.value == pytest.approx(terms.mean(), rel=1e-11)
    assert estimate.stderr == pytest.approx(terms.std(ddof=1) / 7**0.5, rel=1e-9)


def test_hutch_plus_plus_is_its_naive_twin():
    A = with_spectrum(SPECTRA["decaying"])
    operator, blocks = recorded(A)
    estimate = hutch_plus_plus(operator, n_products=13, generator=seeded(), block_size=13)
    sketch, _, rests = blocks
    Q = np.linalg.qr(A @ sketch)[0]
    terms = np.einsum("ij,ij->j", rests, A @ rests)
    assert (sketch.shape[1], rests.shape[1], operator.n_products) == (4, 5, 13)
    assert Q.T @ rests == pytest.approx(np.zeros((4, 5)), abs=1e-13)
    assert estimate.value == pytest.approx(np.trace(Q.T @ A @ Q) + terms.mean(), rel=1e-12)
    assert estimate.stderr == pytest.approx(terms.std(ddof=1) / 5**0.5, rel=1e-12)


@pytest.mark.parametrize(("dtype", "eps"), [(np.float64, 2.2e-16), (np.float32, 1.2e-7)])
@pytest.mark.parametrize("block_size", [1, 3, 50])
@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize("head", [[5.0, -2.0, 1.0], [3.0], [2.0, 2.0, 2.0], [0.0]])
@pytest.mark.parametrize("estimator", [hutch_plus_plus, xtrace])
def test_exact_on_low_rank(estimator, head, turned, block_size, dtype, eps):
    spectrum = np.r_[head, np.zeros(100 - len(head))]
    A = (with_spectrum(spectrum) if turned else np.diag(spectrum)).astype(dtype)
    operator = LinearOperator.from_matrix(A)
    estimate = estimator(operator, n_products=12, generator=seeded(), block_size=block_size)
    assert estimate.n_products == operator.n_products <= 12
    # Quadratic forms of vectors of length √n = 10: ε·‖A‖·n, of either sign.
    assert estimate.value == pytest.approx(sum(head), abs=eps * 5 * 100)
    assert estimate.stderr <= eps * 5 * 100


def test_better_than_signs_alone_by_the_predicted_order():
    # λ_i = i^−2: what a sketch of k leaves has a Frobenius norm of k^−3/2, sampled by k vectors: k^−2.
    A = with_spectrum(np.arange(1, 257) ** -2.0)
    truth, counts = np.trace(A), np.array([12, 24, 48, 96])

    def slope(estimator):
        errors = []
        for count in counts:
            values, _ = repeated(estimator, A, 60, n_products=int(count), block_size=int(count))
            errors.append(np.sqrt(np.mean((values - truth) ** 2)))
        return np.polyfit(np.log(counts), np.log(errors), 1)[0], errors[-1]

    # A root mean square of 60 draws scatters by 10 to 15 %: a slope over three doublings by 0.09.
    plain, plain_error = slope(hutchinson)
    split, split_error = slope(hutch_plus_plus)
    both, both_error = slope(xtrace)
    assert plain == pytest.approx(-0.5, abs=0.3)
    assert split == pytest.approx(-2.0, abs=0.4)
    assert both == pytest.approx(-2.0, abs=0.4)
    assert both_error < split_error < plain_error / 50


@pytest.mark.parametrize(("estimator", "least", "most"), [(hutch_plus_plus, 0.85, 1.15), (xtrace, 0.7, 1.05)])
@pytest.mark.parametrize("spectrum", SPECTRA.values(), ids=SPECTRA)
def test_the_standard_error_is_of_the_size_of_the_error(spectrum, estimator, least, most):
    values, errors = repeated(estimator, with_spectrum(spectrum), 600, n_products=24, block_size=12)
    ratio = np.sqrt(np.mean(errors**2) / np.mean((values - spectrum.sum()) ** 2))
    # 600 draws scatter by 3 to 5 %. XTrace's terms share their basis, which its error does not know.
    assert least <= ratio <= most


@pytest.mark.parametrize("estimator", [hutch_plus_plus, xtrace])
def test_with_n_products_the_diagonal_is_computed(estimator):
    A = with_spectrum(SPECTRA["indefinite"])
    estimate = estimator(LinearOperator.from_matrix(A), n_products=60, generator=seeded(), block_size=7)
    assert estimate.value == pytest.approx(np.trace(A), abs=1e-12)
    assert (estimate.stderr, estimate.n_products) == (0.0, 60)


def test_xtrace_doubles_to_its_tolerance_and_wastes_no_product():
    A = with_spectrum(np.arange(1, 257) ** -1.5)
    operator, blocks = recorded(A)
    reached = xtrace(operator, n_products=200, tolerance=0.01, generator=seeded(), block_size=4)
    assert reached.status == "ok"
    assert reached.stderr <= 0.01 * reached.value
    assert reached.n_products in (32, 64, 128)
    # The same vectors at once give the same estimate.
    m = reached.n_products // 2
    omega = np.concatenate(blocks[::2], axis=1)
    assert reached.value == pytest.approx(naive_xtrace(A, omega[:, :m]).mean(), rel=1e-10)
    missed = xtrace(LinearOperator.from_matrix(A), n_products=20, tolerance=1e-9, generator=seeded())
    assert missed.status == "the standard error is more than 1e-09 of the trace"
    assert missed.n_products == 20


@pytest.mark.parametrize("estimator", [hutch_plus_plus, xtrace])
def test_what_is_out_of_range_or_not_finite_is_refused(estimator):
    operator = LinearOperator.from_matrix(np.eye(50))
    with pytest.raises(UsageError, match="at least 4"):
        estimator(operator, n_products=3, generator=seeded())
    with pytest.raises(UsageError, match="at least one vector"):
        estimator(operator, n_products=8, generator=seeded(), block_size=0)
    with pytest.raises(MeasurementError, match="not finite"):
        estimator(
            LinearOperator(lambda block: block * torch.inf, 50, dtype=torch.float64), n_products=8, generator=seeded()
        )


@pytest.mark.parametrize("estimator", [hutch_plus_plus, xtrace])
def test_a_function_of_the_generator_alone(estimator):
    operator = LinearOperator.from_matrix(with_spectrum(SPECTRA["flat"]))
    state = torch.random.get_rng_state()
    first, again, other = (estimator(operator, n_products=8, generator=seeded(seed)).value for seed in (0, 0, 1))
    assert first == again != other
    assert torch.equal(torch.random.get_rng_state(), state)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("estimator", [hutch_plus_plus, xtrace])
def test_cuda(estimator):
    A = torch.from_numpy(with_spectrum(SPECTRA["decaying"]))
    here, there = (
        estimator(LinearOperator.from_matrix(matrix), n_products=12, generator=seeded()) for matrix in (A, A.cuda())
    )
    assert there.value == pytest.approx(here.value, rel=1e-9)
