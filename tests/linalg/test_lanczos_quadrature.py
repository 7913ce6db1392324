"""Gauss quadrature's theorems, the bounds on a share of eigenvalues, and how often intervals hold."""

import numpy as np
import pytest
import torch
from planted_matrices import eigenvectors, seeded, with_spectrum

from deepscope.core import MeasurementError, UsageError
from deepscope.linalg import LinearOperator, SpectralMeasure, hutchinson, lanczos_quadrature


def probes(n, count, seed=0):
    """The signs that the generator gives, one vector after the other."""
    generator = seeded(seed)
    return np.array(
        [torch.randint(2, (n,), generator=generator, dtype=torch.int8).numpy() * 2.0 - 1 for _ in range(count)]
    )


def alone(measure, probe):
    """The measure of one probe twice: nothing scatters, and intervals are what quadrature leaves open."""
    rows = [probe, probe]
    return SpectralMeasure(
        n=measure.n,
        nodes=measure.nodes[rows],
        weights=measure.weights[rows],
        residuals=measure.residuals[rows],
        n_products=measure.n_products,
    )


MIXED = np.r_[3.0, -2.0, np.random.default_rng(1).normal(size=98) / 2]


@pytest.mark.parametrize("side_by_side", [1, 3])
@pytest.mark.parametrize(("dtype", "eps"), [(np.float64, 2.2e-16), (np.float32, 1.2e-7)])
def test_moments_are_exact_to_degree_2k_minus_1_and_no_further(dtype, eps, side_by_side):
    A = with_spectrum(np.linspace(-1, 1, 100)).astype(dtype)
    steps = 4
    measure = lanczos_quadrature(
        LinearOperator.from_matrix(A), n_probes=4, n_steps=steps, side_by_side=side_by_side, generator=seeded()
    )
    assert measure.n_products == 4 * steps
    assert measure.weights.min() >= 0
    assert measure.weights.sum(axis=1) == pytest.approx(1.0, abs=1e-14)
    for x, nodes, weights in zip(probes(100, 4), measure.nodes, measure.weights, strict=True):
        power = x / 10
        for degree in range(2 * steps + 1):
            found, truth = np.sum(weights * nodes**degree), x @ power / 10
            if degree < 2 * steps:
                # ‖A‖ = 1: a rounding of a few ε a step.
                assert found == pytest.approx(truth, abs=100 * eps)
            else:
                # Off by the product of the off-diagonal entries' squares, each near 1/4.
                assert 0.3 * 4.0**-steps < abs(found - truth) < 3 * 4.0**-steps
            power = A.astype(np.float64) @ power


def test_the_trace_of_a_is_hutchinsons():
    A = with_spectrum(MIXED)
    measure = lanczos_quadrature(LinearOperator.from_matrix(A), n_probes=8, n_steps=4, generator=seeded(3))
    estimate = hutchinson(LinearOperator.from_matrix(A), n_products=8, generator=seeded(3))
    found = measure.trace_of(lambda x: x)
    assert found.value == pytest.approx(estimate.value, abs=1e-12)
    assert found.stderr == pytest.approx(estimate.stderr, abs=1e-12)
    # Student's t with 7 degrees of freedom.
    assert found.high - found.value == pytest.approx(2.364624 * found.stderr, rel=1e-6)


def test_a_smooth_function_converges_with_the_steps():
    A, Q = with_spectrum(MIXED), eigenvectors(100)
    x = probes(100, 2)
    truth = np.mean([(Q.T @ each) ** 2 @ np.exp(MIXED) for each in x])
    errors = [
        abs(
            lanczos_quadrature(LinearOperator.from_matrix(A), n_probes=2, n_steps=steps, generator=seeded())
            .trace_of(np.exp)
            .value
            - truth
        )
        for steps in (2, 4, 6, 8)
    ]
    # exp has the Taylor remainder 2.5^2k/(2k)! about the middle of [−2, 3], 9, 0.4, 6e-4, 3e-7, per unit of weight.
    assert (np.array(errors) <= 2 * 100 * np.exp(0.5) * np.array([1.7, 0.04, 3e-4, 1e-6])).all()
    assert errors[3] < 1e-3 * errors[1] < 1e-3 * errors[0]


def test_invariant_spaces_end_early_and_are_exact():
    for diagonal, steps in (([1.0] * 40, 1), ([0.0] * 40, 1), ([-1.0] * 10 + [2.0] * 30, 2)):
        A = with_spectrum(np.array(diagonal))
        measure = lanczos_quadrature(LinearOperator.from_matrix(A), n_probes=3, n_steps=8, generator=seeded())
        assert measure.nodes.shape == (3, 8)
        assert measure.n_products == 3 * steps
        assert measure.weights[:, steps:].max() == 0
        assert measure.nodes == pytest.approx(np.array([sorted(set(diagonal)) + [max(diagonal)] * (8 - steps)] * 3))
        x = probes(40, 3)
        share = np.mean(np.einsum("pi,ij,pj->p", x, with_spectrum(np.array(diagonal) < 0), x)) / 40
        band = measure.fraction_below(np.array([-5.0, -0.5, 5.0]))
        assert band.value == pytest.approx([0, share, 1], abs=1e-12)
        assert alone(measure, 0).fraction_below(np.array(-0.5)).high - alone(measure, 0).fraction_below(
            np.array(-0.5)
        ).low == pytest.approx(0, abs=1e-6)


def test_side_by_side_is_one_by_one():
    A = with_spectrum(MIXED)
    one, many = (
        lanczos_quadrature(
            LinearOperator.from_matrix(A), n_probes=5, n_steps=12, side_by_side=together, generator=seeded()
        )
        for together in (1, 2)
    )
    # Rounding of products by blocks, amplified where a Ritz value has converged.
    assert many.nodes == pytest.approx(one.nodes, abs=1e-10)
    assert many.weights == pytest.approx(one.weights, abs=1e-10)


@pytest.mark.parametrize("steps", [5, 20, 60])
def test_bounds_hold_for_each_probe_wherever_they_are_asked(steps):
    A, Q = with_spectrum(MIXED), eigenvectors(100)
    measure = lanczos_quadrature(LinearOperator.from_matrix(A), n_probes=6, n_steps=steps, generator=seeded())
    grid = np.linspace(-2.5, 3.5, 301)
    widths = []
    for probe, x in enumerate(probes(100, 6)):
        weights = (Q.T @ x) ** 2 / 100
        truth = np.array([weights[at > MIXED].sum() for at in grid])
        band = alone(measure, probe).fraction_below(grid)
        # Rounding of sums of weights.
        assert (band.low <= truth + 1e-12).all()
        assert (truth <= band.high + 1e-12).all()
        assert (band.low <= band.value).all()
        assert (band.value <= band.high).all()
        widths.append(np.mean(band.high - band.low))
    # Chebyshev–Markov–Stieltjes alone: three weights of about 1/steps each.
    assert np.mean(widths) < 3.5 / steps


def test_a_converged_node_is_known_to_lie_on_its_side():
    # A null space of 90 %, as a Gauss–Newton matrix has it.
    spectrum = np.r_[np.geomspace(1e-2, 1, 10), np.zeros(90)]
    operator = LinearOperator.from_matrix(with_spectrum(spectrum))
    measure = lanczos_quadrature(operator, n_probes=4, n_steps=30, generator=seeded())
    assert measure.fraction_below(np.array(-1e-6)).high < 1e-6
    # At 0 itself rounding decides, and the interval says so.
    band = measure.fraction_below(np.array(0.0))
    assert band.low == pytest.approx(0.0, abs=1e-6)
    assert band.high > 0.85


def test_the_interval_for_the_share_of_negative_eigenvalues_holds():
    held, wide = 0, []
    spectrum = np.random.default_rng(5).normal(size=300) + 0.5
    operator = LinearOperator.from_matrix(with_spectrum(spectrum))
    truth, draws, generator = np.mean(spectrum < 0), 100, seeded()
    for _ in range(draws):
        measure = lanczos_quadrature(operator, n_probes=5, n_steps=16, side_by_side=5, generator=generator)
        band = measure.fraction_below(np.array(0.0))
        held += int(band.low <= truth <= band.high)
        wide.append(band.high - band.low)
    # At least 95 %; three times the scatter of 100 draws is 6.5 %.
    assert held / draws >= 0.95 - 0.065
    # And not for being wide: three nodes of some 0.1 in the middle of the spectrum, and the scatter.
    assert np.mean(wide) < 0.6


def smoothed(x, at, weights, width):
    return np.exp(-0.5 * ((x[:, None] - at) / width) ** 2) @ weights / (width * np.sqrt(2 * np.pi))


def test_density_is_the_smoothed_one_within_the_stated_error_and_integrates_to_one():
    A, Q = with_spectrum(MIXED), eigenvectors(100)
    measure = lanczos_quadrature(LinearOperator.from_matrix(A), n_probes=3, n_steps=25, generator=seeded())
    grid = np.linspace(-4.0, 5.0, 1201)
    truth = np.mean([smoothed(grid, MIXED, (Q.T @ x) ** 2 / 100, measure.resolution) for x in probes(100, 3)], axis=0)
    band = measure.density(grid)
    peak = 1 / (measure.resolution * np.sqrt(2 * np.pi))
    assert measure.resolution == pytest.approx(5 / 25, rel=1e-6)
    assert np.abs(band.value - truth).max() <= 3e-4 * peak
    # A kernel four times narrower is not resolved: the statement is not empty.
    narrow = measure.density(grid, measure.resolution / 4).value
    exact = np.mean(
        [smoothed(grid, MIXED, (Q.T @ x) ** 2 / 100, measure.resolution / 4) for x in probes(100, 3)], axis=0
    )
    assert np.abs(narrow - exact).max() > 10 * 3e-4 * peak
    assert np.trapezoid(band.value, grid) == pytest.approx(1.0, abs=1e-6)
    assert (band.low <= band.value).all()
    assert (band.value <= band.high).all()
    assert measure.density(grid.reshape(-1, 1)).value.shape == (1201, 1)


def test_density_interval_holds_the_expected_density():
    spectrum = np.random.default_rng(5).normal(size=200)
    operator = LinearOperator.from_matrix(with_spectrum(spectrum))
    grid, generator, held = np.array([-1.0, 0.0, 1.5]), seeded(), []
    # Half the range is 3: with s = 0.6/3 and 10 steps quadrature errs by 1.6/2·exp(−8) of the peak.
    truth = smoothed(grid, spectrum, np.full(200, 1 / 200), 0.6)
    for _ in range(150):
        measure = lanczos_quadrature(operator, n_probes=6, n_steps=10, side_by_side=6, generator=generator)
        band = measure.density(grid, 0.6)
        held.append((band.low <= truth) & (truth <= band.high))
    # 95 %, with four times the scatter of 150 draws.
    assert np.abs(np.mean(held, axis=0) - 0.95).max() <= 4 * (0.95 * 0.05 / 150) ** 0.5


@pytest.mark.parametrize("arguments", [{"n_probes": 1}, {"n_steps": 0}, {"side_by_side": 0}])
def test_numbers_out_of_range_are_refused(arguments):
    with pytest.raises(UsageError, match="two probes"):
        lanczos_quadrature(LinearOperator.from_matrix(np.eye(5)), **arguments, generator=seeded())


@pytest.mark.parametrize("width", [0.0, -1.0, None])
def test_a_kernel_without_width_is_refused(width):
    measure = lanczos_quadrature(LinearOperator.from_matrix(np.eye(5)), generator=seeded())
    with pytest.raises(UsageError, match="positive width"):
        measure.density(np.zeros(1), width)


def test_operators_that_are_not_symmetric_are_refused():
    A = torch.triu(torch.ones(30, 30, dtype=torch.float64))
    with pytest.raises(MeasurementError, match="not symmetric"):
        lanczos_quadrature(LinearOperator(A.__matmul__, 30, dtype=torch.float64), generator=seeded())


def test_a_function_of_the_generator_alone():
    operator = LinearOperator.from_matrix(with_spectrum(MIXED))
    state = torch.random.get_rng_state()
    first, again, other = (
        lanczos_quadrature(operator, n_probes=2, n_steps=5, generator=seeded(seed)).nodes for seed in (0, 0, 1)
    )
    assert (first == again).all()
    assert (first != other).any()
    assert torch.equal(torch.random.get_rng_state(), state)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_cuda():
    A = torch.from_numpy(with_spectrum(MIXED))
    here, there = (
        lanczos_quadrature(LinearOperator.from_matrix(matrix), n_probes=2, n_steps=8, generator=seeded())
        for matrix in (A, A.cuda())
    )
    assert there.nodes == pytest.approx(here.nodes, abs=1e-10)
