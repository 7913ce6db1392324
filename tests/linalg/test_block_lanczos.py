"""Extreme eigenvalues against the dense decomposition, planted spectra, and operators that must be refused."""

import numpy as np
import pytest
import torch
from planted_matrices import seeded, with_spectrum
from torch.utils._python_dispatch import TorchDispatchMode

from deepscope.core import MeasurementError, UsageError
from deepscope.linalg import LinearOperator, block_lanczos


def bulk(size, seed=1):
    return np.random.default_rng(seed).uniform(-0.5, 0.5, size)


#: Three eigenvalues set apart at the upper end, two at the lower.
PLANTED = {
    "separated": np.r_[10.0, 7.0, 5.0, -3.0, -2.0, bulk(195)],
    "cluster": np.r_[5.0, 5.0 - 1e-3, 5.0 - 2e-3, -4.0, -4.0 + 1e-6, bulk(195)],
    "negative": np.r_[-1.0, -2.0, -4.0, bulk(194) - 30.0, -90.0, -100.0, -100.001],
    "wide": np.r_[1e4, 50.0, 20.0, -1e3, -1e4, bulk(195)],
}
DECAYING = np.arange(1, 201) ** -1.5


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("block_size", [1, 3])
@pytest.mark.parametrize("spectrum", PLANTED.values(), ids=PLANTED)
def test_within_its_errors_and_with_its_residuals(spectrum, block_size, dtype):
    A = with_spectrum(spectrum).astype(dtype)
    ends = block_lanczos(
        LinearOperator.from_matrix(A),
        largest=3,
        smallest=2,
        block_size=block_size,
        tolerance=1e-3,
        generator=seeded(),
        vectors=True,
    )
    # The matrix as it is stored, in float64: rounding its entries moved its eigenvalues.
    exact = A.astype(np.float64)
    truth = np.linalg.eigvalsh(exact)
    # Of the decomposition that is compared with, and of the check below.
    eps, norm = float(np.finfo(dtype).eps), np.abs(truth).max()
    noise = 200 * 2.2e-16 * norm
    assert ends.status == "ok"
    for found, values in ((ends.largest, truth[::-1][:3]), (ends.smallest, truth[:2])):
        assert (np.abs(found.values - values) <= found.errors + noise).all()
        assert (found.errors <= found.residuals + noise).all()
        V = found.vectors.double().numpy()
        residuals = np.linalg.norm(exact @ V - V * found.values, axis=0)
        # What is stated is the true residual and an allowance of 16 ε‖A‖ for rounding.
        assert (residuals <= found.residuals + noise).all()
        assert (residuals >= found.residuals - 2 * 16 * eps * norm - noise).all()
        # Two passes leave an error of a few ε.
        assert pytest.approx(np.eye(V.shape[1]), abs=20 * eps) == V.T @ V


def test_the_whole_spectrum_without_ghosts():
    # Without reorthogonalisation the eigenvalue at 1e3 comes again after some 15 steps.
    spectrum = np.sort(np.r_[1e3, bulk(99)])
    ends = block_lanczos(
        LinearOperator.from_matrix(with_spectrum(spectrum)),
        largest=100,
        smallest=100,
        tolerance=1e-9,
        negligible=1e-9,
        generator=seeded(),
    )
    assert ends.n_products == 100
    # Backward stable: n·ε·‖A‖.
    assert ends.smallest.values == pytest.approx(spectrum, abs=100 * 2.2e-16 * 1e3)
    assert (ends.largest.values == ends.smallest.values[::-1]).all()


@pytest.mark.parametrize("block_size", [1, 2])
def test_naive_twin(block_size):
    A = with_spectrum(PLANTED["separated"])
    started = []

    def product(block):
        started.append(block.clone())
        return torch.from_numpy(A) @ block

    operator = LinearOperator(product, 200, dtype=torch.float64)
    ends = block_lanczos(
        operator, largest=3, smallest=3, tolerance=1e-12, block_size=block_size, max_basis=8, generator=seeded()
    )
    # The same Krylov space by powers: their condition, about (‖A‖/gap)^8, costs half of the digits.
    power, powers = started[0].numpy(), []
    for _ in range(8 // block_size):
        powers.append(power / np.linalg.norm(power, axis=0))
        power = A @ powers[-1]
    Q = np.linalg.qr(np.concatenate(powers, axis=1))[0]
    ritz = np.linalg.eigvalsh(Q.T @ A @ Q)
    assert ends.n_products == 8
    assert ends.largest.values == pytest.approx(ritz[::-1][:3], abs=1e-7)
    assert ends.smallest.values == pytest.approx(ritz[:3], abs=1e-7)


def test_shift_scale_and_sign():
    A = with_spectrum(DECAYING)

    def values(matrix, end="largest"):
        operator = LinearOperator.from_matrix(matrix)
        ends = block_lanczos(operator, **{end: 3}, tolerance=1e-15, max_basis=12, generator=seeded())
        return getattr(ends, end).values

    # The Krylov space is that of A; rounding is ε·‖A‖ a step.
    assert values(A + 2 * np.eye(200)) == pytest.approx(values(A) + 2, abs=1e-13)
    assert values(-A, "smallest") == pytest.approx(-values(A), abs=1e-13)
    # By a power of two: exact.
    assert (values(A * 2.0**-40) == values(A) * 2.0**-40).all()


def test_a_larger_basis_only_comes_closer():
    A, truth = with_spectrum(DECAYING), np.sort(DECAYING)[::-1][:3]
    before = np.full(3, -np.inf)
    for size in (4, 8, 16, 32):
        operator = LinearOperator.from_matrix(A)
        found = block_lanczos(operator, largest=3, tolerance=1e-15, max_basis=size, generator=seeded()).largest.values
        # Cauchy: each θ rises with the space and stays below its λ.
        assert (found >= before - 1e-14).all()
        assert (found <= truth + 1e-14).all()
        before = found
    assert before == pytest.approx(truth, rel=1e-6)


@pytest.mark.parametrize("copies", [2, 3])
def test_repeated_eigenvalues_need_a_block_as_large(copies):
    A = with_spectrum(np.r_[[5.0] * copies, [-4.0] * copies, bulk(200 - 2 * copies)])
    found = block_lanczos(
        LinearOperator.from_matrix(A), largest=copies + 1, smallest=copies, block_size=copies, generator=seeded()
    )
    assert found.largest.values[:copies] == pytest.approx(5.0, rel=1e-2)
    assert found.largest.values[copies] < 0.51
    assert found.smallest.values == pytest.approx(-4.0, rel=1e-2)


@pytest.mark.parametrize("block_size", [1, 2, 7])
@pytest.mark.parametrize(
    ("diagonal", "largest", "smallest"),
    [
        ([1.0] * 50, [1.0, 1.0, 1.0], [1.0]),
        ([0.0] * 50, [0.0, 0.0], [0.0]),
        ([5.0, 5.0, 5.0, -1.0, -1.0] + [0.0] * 45, [5.0, 5.0, 5.0, 0.0], [-1.0, -1.0, 0.0]),
        ([2.0] + [0.0] * 49, [2.0, 0.0], [0.0, 0.0]),
        # Five steps to the first space, and as many again before the second 5 is seen.
        ([5.0] * 2 + [4.0] * 12 + [3.0] * 12 + [2.0] * 12 + [1.0] * 12, [5.0, 5.0, 4.0], [1.0, 1.0]),
        ([-3.0], [-3.0], [-3.0]),
        ([3.0, 1.0], [3.0, 1.0], [1.0, 3.0]),
    ],
)
@pytest.mark.parametrize("turned", [False, True])
def test_invariant_subspaces_are_left_for_the_copies_elsewhere(diagonal, largest, smallest, block_size, turned):
    A = with_spectrum(np.array(diagonal)) if turned else np.diag(diagonal)
    ends = block_lanczos(
        LinearOperator.from_matrix(A),
        largest=len(largest),
        smallest=len(smallest),
        block_size=block_size,
        generator=seeded(),
        vectors=True,
    )
    assert ends.status == "ok"
    # Exact up to rounding, 16·ε·‖A‖.
    assert ends.largest.values == pytest.approx(largest, abs=16 * 2.2e-16 * 5)
    assert ends.smallest.values == pytest.approx(smallest, abs=16 * 2.2e-16 * 5)
    V = ends.largest.vectors.numpy()
    assert pytest.approx(np.eye(len(largest)), abs=1e-14) == V.T @ V


def test_a_basis_that_fills_up_says_what_it_did_not_reach():
    operator = LinearOperator.from_matrix(with_spectrum(np.linspace(1.0, 2.0, 400)))
    ends = block_lanczos(operator, largest=2, smallest=1, tolerance=1e-6, max_basis=10, generator=seeded())
    assert ends.status == "3 of the eigenvalues had not converged when the basis of 10 was full"
    assert not ends.largest.converged.any()
    assert (ends.n_products, operator.n_products) == (10, 10)
    # How far: an eigenvalue does lie within the residual.
    distance = np.abs(ends.largest.values[:, None] - np.linspace(1.0, 2.0, 400)).min(axis=1)
    assert (distance <= ends.largest.residuals).all()

    # Two values make a space of two vectors: the basis has room for one such space, not for a second one.
    copies = LinearOperator.from_matrix(np.diag([5.0] * 10 + [1.0] * 40))
    ends = block_lanczos(copies, largest=2, max_basis=2, block_size=1, generator=seeded())
    assert ends.status == "the basis of 2 was full before all copies of repeated eigenvalues were looked for"


def test_squared_bound_is_tighter_and_holds_for_pairs_set_apart():
    tighter = 0
    for seed in range(60):
        rng = np.random.default_rng(seed)
        spectrum = np.r_[rng.uniform(3, 9, 4), -rng.uniform(3, 9, 4), rng.normal(size=80) / 2]
        operator = LinearOperator.from_matrix(with_spectrum(spectrum, seed))
        ends = block_lanczos(operator, largest=2, smallest=2, tolerance=0.01, block_size=3, generator=seeded(seed))
        truth = np.sort(spectrum)
        for found, values in ((ends.largest, truth[::-1][:2]), (ends.smallest, truth[:2])):
            squared = found.gaps > found.residuals
            tighter += int(np.sum(found.errors[squared] < 0.5 * found.residuals[squared]))
            assert found.errors[~squared] == pytest.approx(found.residuals[~squared])
            assert (np.abs(found.values - values) <= found.errors).all()
    assert tighter > 100


def test_an_eigenvalue_lies_within_every_residual():
    # Of a dense spectrum too, converged or not; also where the squared bound has no ground to stand on.
    for seed in range(40):
        spectrum = np.random.default_rng(seed).normal(size=100)
        operator = LinearOperator.from_matrix(np.diag(spectrum))
        found = block_lanczos(
            operator, largest=5, tolerance=1e-9, max_basis=6 + seed, block_size=1, generator=seeded(seed)
        ).largest
        distance = np.abs(found.values[:, None] - spectrum).min(axis=1)
        assert (distance <= found.residuals).all()


def test_one_vector_alone_does_not_converge():
    operator = LinearOperator.from_matrix(with_spectrum(PLANTED["separated"]))
    first = block_lanczos(operator, largest=1, block_size=1, max_basis=1, generator=seeded()).largest
    assert (first.gaps[0], first.errors[0] > 0.1, first.converged[0]) == (0, True, False)
    ends = block_lanczos(operator, largest=1, block_size=1, generator=seeded())
    assert ends.largest.values[0] == pytest.approx(10.0, rel=0.01)


def test_no_squared_bound_where_intervals_overlap():
    operator = LinearOperator.from_matrix(with_spectrum(np.linspace(0.0, 1.0, 300)))
    found = block_lanczos(operator, largest=2, tolerance=1e-6, max_basis=6, generator=seeded()).largest
    assert found.gaps[1] == 0
    assert found.errors[1] == found.residuals[1]


def test_a_function_of_the_generator_alone():
    operator = LinearOperator.from_matrix(with_spectrum(DECAYING))
    state = torch.random.get_rng_state()
    first, again, other = (
        block_lanczos(operator, largest=3, generator=seeded(seed)).largest.values for seed in (0, 0, 1)
    )
    assert (first == again).all()
    assert (first != other).any()
    assert torch.equal(torch.random.get_rng_state(), state)


@pytest.mark.parametrize("block_size", [1, 2])
def test_the_operators_own_memory_is_left_as_it_is(block_size):
    # Laid out by rows, in which the basis works: nothing has to be copied before it is written to.
    held, products = torch.zeros(block_size, 50).T, []

    def product(block):
        torch.mul(torch.arange(50.0)[:, None], block, out=held)
        products.append(held.clone())
        return held

    operator = LinearOperator(product, 50, dtype=torch.float32)
    block_lanczos(operator, largest=1, block_size=block_size, max_basis=2, generator=seeded())
    assert torch.equal(held, products[-1])
    # An operator that hands back its very input.
    ends = block_lanczos(LinearOperator(lambda block: block, 50, dtype=torch.float64), largest=3, generator=seeded())
    assert ends.largest.values == pytest.approx(1.0, abs=1e-14)


@pytest.mark.parametrize("size", [1e-6, 1.0])
def test_an_operator_that_is_not_symmetric_is_refused(size):
    A = torch.from_numpy(with_spectrum(PLANTED["separated"]))
    skew = torch.from_numpy(np.random.default_rng(0).normal(size=(200, 200)))
    operator = LinearOperator((A + size * (skew - skew.T)).__matmul__, 200, dtype=torch.float64)
    with pytest.raises(MeasurementError, match="not symmetric"):
        block_lanczos(operator, largest=3, generator=seeded())


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_products_that_are_not_finite_are_refused(bad):
    A = np.eye(20)
    A[3, 3] = bad
    operator = LinearOperator(torch.from_numpy(A).__matmul__, 20, dtype=torch.float64)
    with pytest.raises(MeasurementError, match="not finite"):
        block_lanczos(operator, largest=1, generator=seeded())


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({}, "no such number"),
        ({"largest": 21}, "no such number"),
        ({"smallest": 21}, "no such number"),
        ({"largest": -1, "smallest": 2}, "no such number"),
        ({"largest": 1, "block_size": 0}, "at least one vector"),
        ({"largest": 1, "tolerance": 0.0}, "positive"),
        ({"largest": 1, "negligible": -1.0}, "positive"),
        ({"largest": 5, "max_basis": 4}, "cannot hold 5"),
        ({"largest": 5, "max_basis": 6, "block_size": 3}, "cannot hold 5"),
    ],
)
def test_numbers_out_of_range_are_refused(arguments, said):
    with pytest.raises(UsageError, match=said):
        block_lanczos(LinearOperator.from_matrix(np.eye(20)), **arguments, generator=seeded())


def test_memory_is_the_basis_and_a_few_blocks():
    n, basis, block = 5000, 40, 2
    diagonal = torch.linspace(0, 1, n)[:, None]
    made = {}

    class Watch(TorchDispatchMode):
        def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
            result = operation(*args, **(kwargs or {}))
            for each in result if isinstance(result, tuple | list) else (result,):
                if isinstance(each, torch.Tensor) and each.numel() >= n:
                    # A view has the storage of what it shows.
                    storage = each.untyped_storage()
                    made[storage.data_ptr()] = max(made.get(storage.data_ptr(), 0), storage.nbytes() // 4)
            return result

    operator = LinearOperator(lambda each: diagonal * each, n, dtype=torch.float32)
    with Watch():
        block_lanczos(operator, largest=1, block_size=block, max_basis=basis, tolerance=1e-9, generator=seeded())
    sizes = sorted(made.values(), reverse=True)
    assert sizes[0] == n * basis
    assert sizes[1] <= n * block


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_cuda():
    A = with_spectrum(PLANTED["separated"])
    here, there = (
        block_lanczos(LinearOperator.from_matrix(matrix), largest=3, generator=seeded(), vectors=True).largest
        for matrix in (torch.from_numpy(A), torch.from_numpy(A).cuda())
    )
    assert there.vectors.device.type == "cuda"
    assert there.values == pytest.approx(here.values, abs=1e-12)
