"""Bands of frequencies: filters that add up to the whole, waves that are Fourier coefficients, errors by band."""

from __future__ import annotations

import numpy as np
import pytest

from deepscope.core import UsageError
from deepscope.linalg import FourierModes, GaussianBands, band_errors, gaussian_filter, squared_distances


def test_bands_add_up_and_one_width_is_the_filtering_method() -> None:
    rng = np.random.default_rng(0)
    squared, y = squared_distances(rng.normal(size=(30, 3))), rng.normal(size=(30, 2))
    bands = GaussianBands(squared, [0.5, 2.0, 1.0])
    parts = bands.parts(y)
    np.testing.assert_allclose(parts.sum(axis=0), y - y.mean(axis=0), atol=1e-14)
    assert bands.widths == (2.0, 1.0, 0.5)
    assert bands.frequencies == (0.5, 1.0, 2.0, 4.0)
    assert bands.names == ("δ above 2", "δ 1 to 2", "δ 0.5 to 1", "δ below 0.5")
    low, high = GaussianBands(squared, [1.0]).parts(y)
    one = gaussian_filter(squared, 1.0)
    np.testing.assert_allclose(low, one.low(y - y.mean(axis=0)), atol=1e-14)
    np.testing.assert_allclose(high, one.high(y - y.mean(axis=0)), atol=1e-14)


def test_waves_on_even_points_are_fourier_coefficients() -> None:
    n, rng = 32, np.random.default_rng(0)
    y = rng.normal(size=n)
    # A wave alone takes what others leave: on whole periods they are orthogonal.
    cosines, sines = FourierModes(np.arange(n) / n, [1, 4]).parts(y[:, None])[:, :, 0].T
    expected = np.fft.rfft(y)[[1, 4]] * 2 / n
    np.testing.assert_allclose(cosines - 1j * sines, expected, atol=1e-13)


def test_planted_waves_are_found_on_scattered_points_of_several_dimensions() -> None:
    rng = np.random.default_rng(0)
    x = rng.uniform(0, 1, (60, 3))
    waves = np.array([[1, 0, 0], [0, 2, 1], [3, 0, 2]])
    y = 5 + 2 * np.cos(2 * np.pi * x @ waves[1]) - 3 * np.sin(2 * np.pi * x @ waves[2])
    modes = FourierModes(x, waves)
    np.testing.assert_allclose(modes.parts(y[:, None])[:, :, 0], [[0, 0], [2, 0], [0, -3]], atol=1e-10)
    assert modes.frequencies == pytest.approx([1, 5**0.5, 13**0.5])
    assert modes.names == ("1, 0, 0", "0, 2, 1", "3, 0, 2")


def test_errors_by_band() -> None:
    x = np.arange(32) / 32
    waves = [np.sin(2 * np.pi * k * x) for k in (1, 3, 5)]
    modes = FourierModes(x, [1, 3, 5])
    y = sum(waves)
    errors = band_errors(modes, waves[0] + 0.75 * waves[1], y)
    np.testing.assert_allclose(errors, [0, 0.25, 1], atol=1e-12)
    np.testing.assert_allclose(band_errors(modes, np.full(32, 9.0), y), 1, atol=1e-12)
    # Half a turn out of phase: |e^{iπ} − 1| = 2.
    np.testing.assert_allclose(band_errors(modes, -y, y), 2, atol=1e-12)
    assert np.isnan(band_errors(modes, y, waves[0])).tolist() == [False, True, True]
    with pytest.raises(UsageError, match="do not fit"):
        band_errors(modes, y[:, None].repeat(2, axis=1), y)


def test_what_cannot_be_told_apart_is_refused() -> None:
    x = np.arange(16) / 16
    for waves in ([1, 1], [3, 13], [16], [0.0]):
        with pytest.raises(UsageError, match="apart"):
            FourierModes(x, waves)
    with pytest.raises(UsageError, match="apart"):
        FourierModes(x[:4], [1, 2])
    with pytest.raises(UsageError, match="do not fit"):
        FourierModes(x, [[1, 2]])
    for widths in ([], [1.0, 1.0], [0.0], [-1.0]):
        with pytest.raises(UsageError, match="widths"):
            GaussianBands(np.zeros((2, 2)), widths)
