"""The bands of a power-law fit to noise against fresh noise, on and between the nodes of their table."""

import math
from itertools import pairwise

import numpy as np
import pytest

from deepscope.linalg import fit_power_law, null_alpha_band, random_gram_eigenvalues


def fits(rows, cols, n_matrices, draws):
    rng = np.random.default_rng([7, rows, cols, n_matrices])
    found = [fit_power_law(random_gram_eigenvalues(rows, cols, rng, n_matrices)) for _ in range(draws)]
    return np.array([(fit.alpha, fit.ks_distance) for fit in found])


@pytest.mark.parametrize(
    ("rows", "cols", "n_matrices", "draws"),
    [
        (64, 64, 1, 2000),
        (24, 24, 1, 2000),
        (100, 130, 1, 2000),
        (300, 48, 1, 2000),
        (20, 1300, 1, 2000),
        (192, 576, 1, 1000),
        (350, 500, 1, 600),
        (48, 60, 9, 600),
        (24, 40, 3, 1000),
        (40, 40, 25, 300),
    ],
)
def test_band_holds_95_percent_of_noise(rows, cols, n_matrices, draws):
    band = null_alpha_band(rows, cols, n_matrices)
    assert (band.status, band.note) == ("ok", "")
    alpha, distance = fits(rows, cols, n_matrices, draws).T
    # Promised are 93 to 97 %; the count scatters by √(0.05·0.95/draws), of which three.
    allowed = 0.02 + 3 * math.sqrt(0.05 * 0.95 / draws)
    for values, low, high in ((alpha, band.alpha_low, band.alpha_high), (distance, band.ks_low, band.ks_high)):
        assert np.mean((low <= values) & (values <= high)) == pytest.approx(0.95, abs=allowed)
        # Neither side alone holds what the other lacks.
        assert np.mean(values < low) < 0.025 + allowed
        assert np.mean(values > high) < 0.025 + allowed


def test_band_of_another_shape_does_not_fit():
    alpha = fits(64, 64, 1, 500)[:, 0]
    for band in (null_alpha_band(64, 512), null_alpha_band(512, 512), null_alpha_band(64, 64, 49)):
        assert np.mean((band.alpha_low <= alpha) & (alpha <= band.alpha_high)) < 0.9


def test_band_is_continuous_and_grows_with_the_size():
    lows = [null_alpha_band(side, side).alpha_low for side in range(16, 400)]
    assert all(0 < after / before - 1 < 0.05 for before, after in pairwise(lows))
    assert null_alpha_band(64, 256) == null_alpha_band(256, 64)


@pytest.mark.parametrize(
    ("shape", "nearest", "note"),
    [
        ((9, 9), (16, 16), "shorter side 16"),
        ((8192, 8192), (4096, 4096), "shorter side 4096"),
        ((64, 64_000), (64, 64 * 128), "ratio of the sides 128"),
        ((64, 64, 81), (64, 64, 49), "pooled matrices 49"),
        ((4, 4_000, 9), (16, 16 * 128, 9), "shorter side 16, ratio of the sides 128"),
    ],
)
def test_outside_the_table_the_nearest_band_says_so(shape, nearest, note):
    band, inside = null_alpha_band(*shape), null_alpha_band(*nearest)
    assert band.note == f"outside the table; the band is that of {note}"
    assert inside.note == ""
    assert (band.alpha_low, band.alpha_high) == pytest.approx((inside.alpha_low, inside.alpha_high), rel=1e-12)


def test_what_gets_no_fit_has_no_band():
    band = null_alpha_band(7, 100)
    assert band.status == "fewer than 8 eigenvalues get no fit"
    assert (band.alpha_low, band.alpha_high, band.ks_low, band.ks_high) == (None, None, None, None)
    assert null_alpha_band(4, 100, 2).status == "ok"
