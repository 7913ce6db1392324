"""Lyapunov exponents against eigenvalues, a known map, a long naive run and the determinant."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from deepscope.core import MeasurementError, UsageError
from deepscope.linalg import LyapunovSpectrum, lyapunov_spectrum


def random_matrix(n: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((n, n)) / np.sqrt(n)


@pytest.mark.parametrize("seed", range(4))
def test_a_linear_map_has_its_eigenvalues(seed: int) -> None:
    A = random_matrix(6, seed)
    expected = np.sort(np.log(np.abs(np.linalg.eigvals(A))))[::-1]
    # Complex pairs only oscillate, which smooth weights average away; 1e-6 is what is promised of a linear map.
    found = lyapunov_spectrum([A] * 3000, transient=500, smooth=True)
    np.testing.assert_allclose(found.exponents, expected, atol=1e-6)
    # Equal weights leave an oscillation of at most ln of the condition of the eigenvectors over T.
    plain = lyapunov_spectrum([A] * 3000, transient=500)
    bound = math.log(np.linalg.cond(np.linalg.eig(A)[1])) / 2500
    assert np.abs(plain.exponents - expected).max() <= 2 * bound + 1e-9
    leading = lyapunov_spectrum([A] * 3000, count=2, transient=500, smooth=True)
    np.testing.assert_allclose(leading.exponents, expected[:2], atol=1e-6)


def test_the_sum_is_the_mean_logarithm_of_the_determinant() -> None:
    steps = [random_matrix(5, seed) for seed in range(200)]
    found = lyapunov_spectrum(steps)
    expected = np.mean([np.linalg.slogdet(J)[1] for J in steps])
    # |det J| = Π R_ii exactly: 5·200 rounded logarithms.
    assert found.exponents.sum() == pytest.approx(expected, abs=1e-12)


def test_henon_map() -> None:
    """Published: 0.41922 and −1.62319, dimension 1.25827."""
    x, y, steps = 0.1, 0.3, []
    for _ in range(20_000):
        steps.append(np.array([[-2.8 * x, 1.0], [0.3, 0.0]]))
        x, y = 1 - 1.4 * x**2 + y, 0.3 * x
    found = lyapunov_spectrum(steps, transient=100)
    # Five standard errors; they are 2e-3 at this length, as long runs elsewhere scatter.
    error = 5 * found.stderr[0]
    assert error < 0.015
    np.testing.assert_allclose(found.exponents, [0.41922, -1.62319], atol=error)
    assert found.kaplan_yorke == pytest.approx(1.25827, abs=error / 1.62)
    assert found.over == "blocks of steps"
    # ln 0.3 at every step, whatever the orbit.
    assert found.exponents.sum() == pytest.approx(math.log(0.3), abs=1e-12)


def test_a_tanh_network_against_a_long_naive_run() -> None:
    """The naive twin: two nearby orbits, the distance brought back to its size after every step."""
    n, g = 20, 3.0
    W = g * random_matrix(n, 1)
    rng = np.random.default_rng(2)
    h = rng.standard_normal(n)
    other = h + 1e-7 * rng.standard_normal(n)
    distance = np.linalg.norm(other - h)
    steps, logs = [], []
    for _ in range(6000):
        new, moved = np.tanh(W @ h), np.tanh(W @ other)
        steps.append((1 - new**2)[:, None] * W)
        apart = np.linalg.norm(moved - new)
        logs.append(math.log(apart / distance))
        h, other = new, new + (moved - new) * distance / apart
    found = lyapunov_spectrum(steps, transient=200)
    # Both follow the same orbit, so that they share its chance: they differ by the curvature over a distance of 1e-6
    # and by rounding of 1e-16/1e-6 a step.
    assert found.exponents[0] == pytest.approx(np.mean(logs[200:]), abs=1e-4)
    assert found.exponents[0] > 0


def test_the_start_does_not_matter_behind_a_transient() -> None:
    A = np.array([[2.0, 1.0, 0.3], [0.0, 1.0, -2.0], [0.0, 0.0, 0.25]])
    one, two = (
        lyapunov_spectrum([A] * 200, transient=100, generator=torch.Generator().manual_seed(seed)) for seed in (0, 1)
    )
    # The ratio of neighbouring eigenvalues, 1/2, to the power of the transient: nothing but rounding is left.
    np.testing.assert_allclose(one.exponents, two.exponents, atol=1e-12)
    assert (one.n_steps, one.n_states) == (100, 3)


def test_intervals_over_sequences_cover() -> None:
    """Independent triangular steps: λ₁ is the mean of ln of independent numbers, known."""
    rng = np.random.default_rng(0)
    covered = 0
    for _ in range(100):
        draws = np.exp(rng.standard_normal((12, 20)))  # 12 sequences of 20 steps, mean of the logarithm 0
        steps = [torch.from_numpy(np.einsum("s,ij->sij", draws[:, t], np.eye(1))) for t in range(20)]
        found = lyapunov_spectrum(steps)
        assert found.over == "sequences"
        covered += bool(found.low[0] <= 0 <= found.high[0])
    # 95 of 100, ± 4 standard deviations of 2.2.
    assert covered >= 86


def test_a_singular_step_gives_minus_infinity_and_no_interval() -> None:
    found = lyapunov_spectrum([np.diag([2.0, 0.0])] * 40, transient=1)
    assert found.exponents.tolist() == [pytest.approx(math.log(2)), -math.inf]
    assert math.isnan(found.stderr[1])
    assert found.kaplan_yorke == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("exponents", "n", "dimension"),
    [([-1.0, -2.0], 2, 0.0), ([1.0, 0.5], 2, 2.0), ([1.0, 0.5], 3, None), ([0.5, 0.0, -1.0], 3, 2.5)],
)
def test_kaplan_yorke(exponents: list[float], n: int, dimension: float | None) -> None:
    nothing = np.zeros(len(exponents))
    spectrum = LyapunovSpectrum(
        exponents=np.array(exponents), stderr=nothing, low=nothing, high=nothing, over="nothing",
        by_sequence=np.zeros((1, len(exponents))), n_steps=1, n_states=n,
    )  # fmt: skip
    assert spectrum.kaplan_yorke == dimension


def test_wrong_steps_are_clear_errors() -> None:
    with pytest.raises(UsageError, match="no steps"):
        lyapunov_spectrum([])
    with pytest.raises(UsageError, match="square"):
        lyapunov_spectrum([np.zeros((2, 3))])
    with pytest.raises(UsageError, match="change their shape"):
        lyapunov_spectrum([np.eye(2), np.eye(3)])
    with pytest.raises(UsageError, match="1 to 2 exponents"):
        lyapunov_spectrum([np.eye(2)], count=3)
    with pytest.raises(UsageError, match="behind the transient"):
        lyapunov_spectrum([np.eye(2)] * 3, transient=3)
    with pytest.raises(MeasurementError, match="not finite"):
        lyapunov_spectrum([np.full((2, 2), np.nan)])
