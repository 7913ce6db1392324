"""How often the intervals of traces, densities and shares of eigenvalues hold, over 2,000 draws."""

import numpy as np
import pytest
import torch
from scipy import stats

from deepscope.linalg import LinearOperator, hutch_plus_plus, hutchinson, lanczos_quadrature, xtrace

pytestmark = pytest.mark.verify

DRAWS = 2000
SPECTRUM = np.random.default_rng(5).normal(size=300) + 0.5


def operator(spectrum):
    Q = np.linalg.qr(np.random.default_rng(0).normal(size=(len(spectrum), len(spectrum))))[0]
    A = (Q * spectrum) @ Q.T
    return LinearOperator.from_matrix((A + A.T) / 2)


@pytest.mark.parametrize(
    ("estimator", "products", "terms"), [(hutchinson, 12, 12), (hutch_plus_plus, 30, 10)], ids=["signs", "hutch++"]
)
def test_independent_terms_give_students_interval(estimator, products, terms):
    A, generator = operator(SPECTRUM), torch.Generator().manual_seed(0)
    t = stats.t(terms - 1).ppf(0.975)
    found = [estimator(A, n_products=products, generator=generator, block_size=products) for _ in range(DRAWS)]
    held = np.mean([abs(each.value - SPECTRUM.sum()) <= t * each.stderr for each in found])
    print(estimator.__name__, held)
    # 2,000 draws scatter by 0.5 %.
    assert 0.93 <= held <= 0.97


@pytest.mark.parametrize(
    "spectrum",
    [SPECTRUM, np.arange(1, 201) ** -1.0, np.arange(1, 201) ** -2.0, 0.7 ** np.arange(200)],
    ids=["dense", "1/i", "1/i²", "exponential"],
)
@pytest.mark.parametrize("products", [16, 48])
def test_xtrace_knows_its_error_to_a_quarter(spectrum, products):
    A, generator = operator(spectrum), torch.Generator().manual_seed(0)
    found = [xtrace(A, n_products=products, generator=generator, block_size=products) for _ in range(DRAWS // 4)]
    off = np.array([each.value for each in found]) - spectrum.sum()
    errors = np.array([each.stderr for each in found])
    ratio, held = np.sqrt(np.mean(errors**2) / np.mean(off**2)), np.mean(np.abs(off) <= 2 * errors)
    print(len(spectrum), products, ratio, held)
    # As stated, with three times the scatter of 500 draws: 10 % of the ratio, 5 % of the share.
    assert 0.75 - 0.1 <= ratio <= 1.1
    assert 0.78 - 0.05 <= held <= 0.97


def test_quadrature():
    A, generator, grid = operator(SPECTRUM), torch.Generator().manual_seed(0), np.array([-1.0, 0.5, 2.0])
    kernel = np.exp(-0.5 * ((grid[:, None] - SPECTRUM) / 0.6) ** 2) / (0.6 * np.sqrt(2 * np.pi))
    density, negative, square = [], [], []
    for _ in range(DRAWS):
        measure = lanczos_quadrature(A, n_probes=6, n_steps=12, side_by_side=6, generator=generator)
        curve, share = measure.density(grid, 0.6), measure.fraction_below(np.array(0.0))
        squares = measure.trace_of(np.square)
        density.append((curve.low <= kernel.mean(axis=1)) & (kernel.mean(axis=1) <= curve.high))
        negative.append(share.low <= np.mean(SPECTRUM < 0) <= share.high)
        square.append(squares.low <= np.sum(SPECTRUM**2) <= squares.high)
    print(np.mean(density, axis=0), np.mean(negative), np.mean(square))
    assert ((np.mean(density, axis=0) >= 0.93) & (np.mean(density, axis=0) <= 0.97)).all()
    assert 0.93 <= np.mean(square) <= 0.97
    # Bounds: at least 95 %.
    assert np.mean(negative) >= 0.95
