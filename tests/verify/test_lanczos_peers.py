"""Block Lanczos beside ARPACK and LOBPCG, and how often it misses one of the largest eigenvalues."""

import numpy as np
import pytest
import scipy.sparse.linalg
import torch

from deepscope.linalg import LinearOperator, block_lanczos

pytestmark = pytest.mark.verify


def stencil(side):
    """The Laplacian of a square grid with uneven sides, which tells all eigenvalues apart, and their closed form."""

    def line(step):
        return scipy.sparse.diags_array([-1.0, 2.0, -1.0], offsets=[-1, 0, 1], shape=(side, side)) * step

    one, other = line(1.0), line(0.7)
    eye = scipy.sparse.eye_array(side)
    angles = 2 - 2 * np.cos(np.arange(1, side + 1) * np.pi / (side + 1))
    return (scipy.sparse.kron(one, eye) + scipy.sparse.kron(eye, other)).tocsr(), np.sort(
        np.add.outer(angles, 0.7 * angles).ravel()
    )


def counted(A):
    """The operator for either library."""

    def product(block):
        return torch.from_numpy(A @ np.ascontiguousarray(block.numpy()))

    calls = []
    theirs = scipy.sparse.linalg.LinearOperator(A.shape, matvec=lambda x: calls.append(1) or A @ x, dtype=np.float64)
    return LinearOperator(product, A.shape[0], dtype=torch.float64), theirs, calls


def test_the_ends_of_a_grid_as_arpack_finds_them():
    A, truth = stencil(60)
    ours, theirs, calls = counted(A)
    found = block_lanczos(
        ours, largest=4, block_size=1, tolerance=1e-8, max_basis=600, generator=torch.Generator().manual_seed(0)
    )
    peers = scipy.sparse.linalg.eigsh(theirs, k=4, which="LA", tol=1e-8, return_eigenvectors=False)
    print("products", found.n_products, "ARPACK", len(calls), "errors", found.largest.values - truth[::-1][:4])
    assert found.status == "ok"
    assert (np.abs(found.largest.values - truth[::-1][:4]) <= found.largest.errors).all()
    assert found.largest.values == pytest.approx(np.sort(peers)[::-1], rel=2e-8)
    # The whole basis is kept: no product is lost to a restart.
    assert found.n_products <= len(calls)


def test_outliers_as_lobpcg_and_arpack_find_them():
    rng = np.random.default_rng(0)
    spectrum = np.r_[[9.0, 7.5, 7.5, 6.0, -4.0, -3.0], rng.normal(size=1994) * 0.3]
    Q = np.linalg.qr(rng.normal(size=(2000, 2000)))[0]
    A = (Q * spectrum) @ Q.T
    A = (A + A.T) / 2
    found = block_lanczos(
        LinearOperator.from_matrix(A),
        largest=4,
        smallest=2,
        block_size=2,
        tolerance=1e-6,
        vectors=True,
        generator=torch.Generator().manual_seed(0),
    )
    arpack = np.sort(scipy.sparse.linalg.eigsh(A, k=4, which="LA", tol=1e-10, return_eigenvectors=False))[::-1]
    lobpcg, vectors = scipy.sparse.linalg.lobpcg(A, rng.normal(size=(2000, 6)), largest=True, tol=1e-8, maxiter=200)
    assert found.status == "ok"
    assert found.largest.values == pytest.approx(arpack, rel=1e-6)
    assert found.largest.values == pytest.approx(np.sort(lobpcg)[::-1][:4], rel=1e-6)
    assert found.smallest.values == pytest.approx([-4.0, -3.0], rel=1e-6)
    # The spans agree to the residual over the gap to the rest, 6 − 1.2.
    V, U = found.largest.vectors.numpy(), vectors[:, np.argsort(lobpcg)[::-1][:4]]
    angle = np.linalg.norm(U - V @ (V.T @ U), 2)
    assert angle <= 2 * np.linalg.norm(found.largest.residuals) / 4.8 + 1e-6


#: Spectra such as networks have, or that are hard: drawn anew in every run.
SPECTRA = {
    "edge of a bulk": lambda rng: rng.normal(size=80) * np.r_[[6.0] * 5, [1.0] * 75],
    "Gaussian": lambda rng: rng.normal(size=1000),
    "outliers": lambda rng: np.r_[rng.uniform(2, 10, 8), np.abs(rng.normal(size=2000)) * 0.3],
    "1/i": lambda rng: np.arange(1, 2001) ** -1.0 * rng.uniform(0.8, 1.2, 2000),
    "1/i²": lambda rng: np.arange(1, 2001) ** -2.0 * rng.uniform(0.8, 1.2, 2000),
    "Hessian": lambda rng: np.r_[rng.gamma(1, 2, 10) + 1, rng.standard_t(3, 5000) * 0.05],
}


@pytest.mark.parametrize(("block_size", "most"), [(1, None), (2, 0.03), (3, 0.01)])
def test_how_often_one_of_the_three_largest_is_missed(block_size, most):
    missed, products, held = {}, [], []
    for name, draw in SPECTRA.items():
        wrong = 0
        for seed in range(100):
            spectrum = np.sort(draw(np.random.default_rng(seed)))[::-1].copy()
            # The Gaussian start looks the same from every basis: a diagonal matrix stands for all.
            diagonal = torch.from_numpy(spectrum)[:, None]
            operator = LinearOperator(diagonal.__mul__, len(spectrum), dtype=torch.float64)
            generator = torch.Generator().manual_seed(seed)
            found = block_lanczos(operator, largest=3, block_size=block_size, max_basis=110, generator=generator)
            off = np.abs(found.largest.values - spectrum[:3])
            wrong += int((off > 0.01 * np.abs(spectrum[:3])).any())
            held.append(off <= found.largest.errors)
            products.append(found.n_products)
        missed[name] = wrong / 100
    print(block_size, missed, "products", np.mean(products), "errors hold", np.mean(held))
    if most is None:
        # What the default guards against.
        assert max(missed.values()) > 0.15
        return
    # Stated in the docstring, with three times the scatter of 100 runs.
    assert max(missed.values()) <= most + 3 * (most * (1 - most) / 100) ** 0.5
    # As a bound on the error of the eigenvalue in the same place.
    assert np.mean(held) >= 0.95
