"""The interval of the noise scale over many draws of planted Gaussian gradients."""

from __future__ import annotations

import numpy as np
import pytest

from deepscope.instruments import noise
from deepscope.instruments._noise_known import planted
from deepscope.instruments._noise_statistics import signal_noise

pytestmark = pytest.mark.verify

DRAWS = 2000


def covered(n: int, d: int, scale: float, decay: float) -> float:
    """Share of draws of n gradients N(g, Σ) in d dimensions whose interval holds tr Σ / |g|² = scale."""
    rng = np.random.default_rng(0)
    variances = np.arange(1.0, d + 1) ** -decay
    variances *= scale / variances.sum()
    mean = np.ones(d) / np.sqrt(d)
    held = 0
    for _ in range(DRAWS):
        g = mean + rng.normal(size=(n, d)) * np.sqrt(variances)
        found = signal_noise((g**2).sum(1), g @ g.mean(0))
        low, high = found.noise_scale_interval()
        held += (low is None or low <= scale) and (high is None or scale <= high)
    return held / DRAWS


@pytest.mark.parametrize(
    ("n", "d", "scale", "decay"),
    [(64, 50, 5, 0), (256, 50, 5, 0), (256, 50, 50, 0), (256, 200, 5, 1), (512, 200, 10, 1)],
)
def test_interval_holds_in_95_percent_where_the_mean_stands_out(n: int, d: int, scale: float, decay: float) -> None:
    assert 0.93 <= covered(n, d, scale, decay) <= 0.97


@pytest.mark.parametrize(("n", "d", "scale", "decay"), [(64, 50, 500, 0), (256, 200, 50, 1), (256, 200, 500, 1)])
def test_interval_is_a_bound_where_noise_drowns_the_mean(n: int, d: int, scale: float, decay: float) -> None:
    # At least 95 %, less three binomial standard errors of 0.5 %.
    assert covered(n, d, scale, decay) >= 0.935


def test_a_variance_that_is_too_small_would_be_seen() -> None:
    """The spread of tr Σ alone, which forgets that |g|² is estimated from the same samples, covers too little."""
    rng, held = np.random.default_rng(0), 0
    for _ in range(500):
        g = 1 / np.sqrt(50) + rng.normal(size=(256, 50)) * np.sqrt(5 / 50)
        found = signal_noise((g**2).sum(1), g @ g.mean(0))
        half = 1.96 * np.sqrt(found.noise_variance) / found.signal
        held += abs(found.noise / found.signal - 5) <= half
    assert held / 500 < 0.9


def test_the_instrument_has_the_interval_that_was_calibrated() -> None:
    import torch

    g = 0.3 + torch.randn(200, 20, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    rows = g.numpy()
    found = noise(planted(g))
    expected = signal_noise((rows**2).sum(1), rows @ rows.mean(0)).noise_scale_interval()
    assert (found.noise_scale_low, found.noise_scale_high) == pytest.approx(expected, rel=1e-9)
