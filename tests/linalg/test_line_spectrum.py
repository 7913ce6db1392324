"""The spectrum along a line: Parseval, closed forms of waves and straight lines, twins, and how ends fade."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy import signal

from deepscope.core import UsageError
from deepscope.linalg import line_spectrum


def places(n: int) -> torch.Tensor:
    return (torch.arange(n, dtype=torch.float64) + 0.5) / n


def hann(n: int) -> np.ndarray:
    return np.sin(np.pi * (np.arange(n) + 0.5) / n) ** 2


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("n", [8, 16, 33, 64])
def test_straight_part_and_frequencies_add_up_to_the_variance(n: int) -> None:
    values = 3 + noise(2, n, 5).cumsum(dim=1)
    found = line_spectrum(values)
    weights = torch.from_numpy(hann(n) ** 2 / np.sum(hann(n) ** 2))[:, None]
    mean = (weights * values).sum(dim=1, keepdim=True)
    variance = (weights * (values - mean) ** 2).sum(dim=1)
    # Sums of some 64 terms in double precision.
    torch.testing.assert_close(found.straight + found.power.sum(dim=-1), variance, rtol=1e-12, atol=0)
    assert found.power.shape == (2, 5, n // 2 + 1)
    assert found.frequencies.tolist() == list(range(n // 2 + 1))


@pytest.mark.parametrize("n", [9, 16])
def test_it_is_a_transform_written_out(n: int) -> None:
    y, t, w = noise(n, 1)[:, 0].numpy(), places(n).numpy(), hann(n)
    # Weighted least squares, as of a library: its weights multiply residuals, not their squares.
    slope, start = np.polyfit(t, y, 1, w=w)
    rest = y - start - slope * t
    power = []
    for k in range(n // 2 + 1):
        total = sum(w[j] * rest[j] * np.exp(-2j * np.pi * j * k / n) for j in range(n))
        sides = 1 if k == 0 or 2 * k == n else 2
        power.append(sides * abs(total) ** 2 / (n * np.sum(w**2)))
    np.testing.assert_allclose(line_spectrum(torch.from_numpy(y)[:, None]).power[0], power, rtol=1e-9, atol=1e-15)


def test_it_is_scipys_periodogram_of_what_is_not_straight() -> None:
    n = 32
    y, t, w = noise(n, 1)[:, 0].numpy(), places(n).numpy(), hann(n)
    rest = y - np.polyval(np.polyfit(t, y, 1, w=w), t)
    _, expected = signal.periodogram(rest, fs=n, window=w, detrend=False)
    np.testing.assert_allclose(line_spectrum(torch.from_numpy(y)[:, None]).power[0], expected, rtol=1e-9, atol=1e-15)


@pytest.mark.parametrize("cycles", [4, 9, 13])
def test_whole_cycles_lie_at_their_own_frequency_and_its_neighbours(cycles: int) -> None:
    found = line_spectrum(torch.sin(2 * math.pi * cycles * places(32) + 0.7)[:, None])
    share = found.power[0] / (found.straight + found.power.sum(dim=-1))
    # What a straight line takes of four cycles or more: the window's square and its first three derivatives vanish at
    # the ends, so that a line's coefficients there fall with the fifth power of the frequency.
    np.testing.assert_allclose(share[cycles - 1 : cycles + 2], [1 / 6, 2 / 3, 1 / 6], atol=1e-3)
    assert float(share.sum()) == pytest.approx(1, abs=1e-3)


def test_any_frequency_is_recovered_within_half_a_cycle() -> None:
    for cycles in np.random.default_rng(0).uniform(4, 28, 50):
        found = line_spectrum(torch.sin(2 * math.pi * cycles * places(64) + cycles)[:, None])
        centroid = float(found.power[0] @ found.frequencies.double()) / float(found.straight + found.power.sum())
        assert abs(centroid - cycles) < 0.5


def test_a_straight_line_has_no_frequency() -> None:
    found = line_spectrum((5 - 3 * places(32))[:, None])
    # The variance of 3t with weights w²: by the sums themselves.
    weights = hann(32) ** 2 / np.sum(hann(32) ** 2)
    assert float(found.straight) == pytest.approx(9 * float(weights @ (places(32).numpy() - 0.5) ** 2), rel=1e-12)
    # Rounding of 1e-16 of values up to 5, squared.
    assert float(found.power.sum()) < 1e-29


def test_scales_and_shifts_and_direction() -> None:
    values = noise(32, 3)
    found, other = line_spectrum(values), line_spectrum(7 - 2 * values.flip(0))
    torch.testing.assert_close(other.power, 4 * found.power, rtol=1e-9, atol=1e-14)
    torch.testing.assert_close(other.straight, 4 * found.straight, rtol=1e-9, atol=1e-14)


def test_the_ends_fade() -> None:
    weights = hann(1000) ** 2 / np.sum(hann(1000) ** 2)
    assert weights[:100].sum() + weights[-100:].sum() < 1e-3
    jump = torch.zeros(64, 1)
    jump[-1] = 1.0
    middle = torch.zeros(64, 1)
    middle[32] = 1.0
    assert float(line_spectrum(jump).power.sum()) < 1e-6 * float(line_spectrum(middle).power.sum())


def test_values_that_are_not_finite_give_what_is_not_and_too_few_points_are_refused() -> None:
    values = noise(16, 2)
    values[3, 1] = torch.inf
    found = line_spectrum(values)
    assert torch.isfinite(found.power[0]).all()
    assert not torch.isfinite(found.power[1]).all()
    for wrong in (torch.zeros(7, 1), torch.zeros(16)):
        with pytest.raises(UsageError, match="no spectrum"):
            line_spectrum(wrong)
