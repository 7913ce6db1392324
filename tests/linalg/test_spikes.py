"""Spikes counted in noise, at the rate of false alarms that is promised, and in planted signals."""

import math

import numpy as np
import pytest
from scipy.stats import kstest

from deepscope.core import UsageError
from deepscope.linalg import (
    bbp_threshold,
    count_spikes,
    gram_eigenvalues,
    mp_variance,
    random_gram_eigenvalues,
    tracy_widom_centre,
    tracy_widom_scale,
    tracy_widom_sf,
)


def of_noise(rows, cols, n_matrices, draws, **options):
    rng = np.random.default_rng(0)
    return [
        count_spikes(random_gram_eigenvalues(rows, cols, rng, n_matrices).ravel(), rows, cols, n_matrices, **options)
        for _ in range(draws)
    ]


def planted(rows, cols, times, seed, sigma=1.0):
    """Return a matrix of noise with orthogonal spikes of so many times the threshold."""
    rng = np.random.default_rng(seed)
    left, right = (np.linalg.qr(rng.standard_normal((side, len(times))))[0] for side in (rows, cols))
    theta = np.asarray(times) * bbp_threshold(rows, cols, 1.0)
    return sigma * (rng.standard_normal((rows, cols)) + (left * theta) @ right.T)


@pytest.mark.parametrize(
    ("rows", "cols", "n_matrices", "draws"),
    [(64, 64, 1, 3000), (64, 1024, 1, 2000), (64, 64, 9, 600), (128, 256, 1, 1500)],
)
def test_noise_shows_a_spike_as_often_as_the_level_says(rows, cols, n_matrices, draws):
    spikes = of_noise(rows, cols, n_matrices, draws)
    alarms = np.mean([each.count > 0 for each in spikes])
    # Over 10,000 draws the rate lies between 0.8 and 1.3 %; three standard deviations of this many.
    spread = 3 * math.sqrt(0.01 / draws)
    assert 0.008 - spread <= alarms <= 0.013 + spread
    # All levels at once: the p-value is uniform. 64² departs by 0.012, and Kolmogorov's 0.1 % quantile is 1.95/√n.
    assert kstest([each.p_value for each in spikes], "uniform").statistic < 0.012 + 1.95 / math.sqrt(draws)


def test_the_sum_that_is_divided_by_narrows_the_law():
    draws = of_noise(16, 64, 1, 5000)
    corrected = np.mean([each.p_value <= 0.05 for each in draws])
    # 4.6 % over 6,000 draws with the correction; this many scatter by 0.3 %.
    assert corrected == pytest.approx(0.048, abs=0.008)
    # The planted fault: Tracy–Widom's law as if the variance were known calls only three in a hundred.
    rng = np.random.default_rng(0)
    values = random_gram_eigenvalues(16, 64, rng, 5000)
    ratio = values[:, -1] / (values.sum(axis=1) / (16 * 64))
    height = (ratio - tracy_widom_centre(16, 64)) / tracy_widom_scale(16, 64)
    assert np.mean(tracy_widom_sf(height) <= 0.05) < 0.038


def test_other_levels_are_met():
    for level in (0.1, 0.5):
        alarms = np.mean([each.count > 0 for each in of_noise(40, 60, 1, 1500, level=level)])
        # 4 standard deviations, and a tenth of the level for a matrix this small.
        assert alarms == pytest.approx(level, abs=4 * math.sqrt(level * (1 - level) / 1500) + 0.1 * level)


def test_three_spikes_are_counted_right():
    # 99 % are right by the level; three wrong of 20 have a probability of 0.1 %.
    right = [count_spikes(gram_eigenvalues(planted(1000, 800, [2, 2.6, 3.2], i)), 1000, 800).count for i in range(20)]
    assert sum(count == 3 for count in right) >= 18
    small = [count_spikes(gram_eigenvalues(planted(150, 120, [2, 2.6, 3.2], i)), 150, 120).count for i in range(200)]
    # At this size the weakest of them falls short in up to one draw of a hundred as well.
    assert sum(count == 3 for count in small) >= 190


@pytest.mark.parametrize(("n_spikes", "times"), [(60, 3.0), (20, 2.0), (90, 5.0)])
def test_many_spikes_do_not_hide_one_another(n_spikes, times):
    values = gram_eigenvalues(planted(300, 200, [times] * n_spikes, 0, sigma=0.1))
    spikes = count_spikes(values, 300, 200)
    assert spikes.count == n_spikes
    assert spikes.p_value <= 0.01
    # √(2/(110·210)) is 1 %; the estimate's own bias for so many is as large. The median's is 7 to 90 % above.
    assert spikes.variance == pytest.approx(0.01, rel=0.03)
    assert mp_variance(values, 300, 200) > 0.0105


def test_spikes_take_a_part_of_the_noise_with_them():
    values = [gram_eigenvalues(planted(300, 200, [2.0] * 10, seed)) for seed in range(20)]
    variances = [count_spikes(each, 300, 200).variance for each in values]
    # √(2/60,000) is 0.6 % a draw, 0.13 % for the mean of 20. The spikes' own part is 10/(2²·√60,000), 1 %: without it
    # the variance would come out that much too small.
    assert np.mean(variances) == pytest.approx(1.0, abs=0.004)


def test_a_huge_spike_does_not_hide_a_small_one():
    values = random_gram_eigenvalues(300, 200, np.random.default_rng(0)).ravel()
    values[-2:] = 2000.0, 1e22
    spikes = count_spikes(values, 300, 200)
    assert spikes.count == 2
    # The noise's own sum, 6e4, is lost beside 1e22.
    assert spikes.variance == pytest.approx(1.0, rel=0.03)


def test_variance_of_noise_is_its_mean_square():
    W = 0.3 * np.random.default_rng(0).standard_normal((90, 50))
    spikes = count_spikes(gram_eigenvalues(W), 90, 50)
    assert spikes.count == 0
    assert spikes.variance == pytest.approx(np.mean(W**2), rel=1e-12)


@pytest.mark.parametrize("factor", [1e-12, 2.5, 1e12])
def test_units_do_not_matter(factor):
    values = gram_eigenvalues(planted(80, 60, [1.5, 4.0], 3))
    ours, scaled = count_spikes(values, 80, 60), count_spikes(factor * values[::-1], 60, 80)
    assert scaled.count == ours.count
    assert scaled.threshold == pytest.approx(factor * ours.threshold, rel=1e-9)
    assert scaled.variance == pytest.approx(factor * ours.variance, rel=1e-9)
    assert scaled.p_value == pytest.approx(ours.p_value, rel=1e-6)


@pytest.mark.parametrize("times", [0.5, 1.1, 1.2, 1.3, 1.5, 2.0, 10.0])
@pytest.mark.parametrize("n_matrices", [1, 4])
def test_the_numbers_agree_with_one_another(times, n_matrices):
    for seed in range(10):
        noise = random_gram_eigenvalues(50, 70, np.random.default_rng(seed), n_matrices - 1).ravel()
        values = np.append(noise, gram_eigenvalues(planted(50, 70, [times], seed)))
        spikes = count_spikes(values, 50, 70, n_matrices, level=0.05)
        assert spikes.count == np.sum(values > spikes.threshold)
        assert (spikes.count > 0) == (spikes.p_value <= 0.05)


def test_one_of_nine_slices_has_a_spike():
    noise = random_gram_eigenvalues(64, 64, np.random.default_rng(0), 8).ravel()
    spiked = np.append(noise, gram_eigenvalues(planted(64, 64, [2.5], 0)))
    assert count_spikes(spiked, 64, 64, 9).count == 1


def test_p_value_of_a_clear_spike_keeps_its_size():
    weak, strong, far = (
        count_spikes(gram_eigenvalues(planted(100, 100, [times], 0)), 100, 100).p_value for times in (1.7, 2.0, 20.0)
    )
    assert 0.0 <= far < 1e-200
    assert 0.0 < strong < 1e-12
    assert strong < weak < 1e-3


@pytest.mark.parametrize(("rows", "cols"), [(1, 1), (1, 40), (2, 2), (3, 500)])
def test_smallest_shapes_raise_no_alarm(rows, cols):
    spikes = of_noise(rows, cols, 1, 300)
    # At most 1 %: 9 of 300 have a probability of 0.4 %.
    assert sum(each.count > 0 for each in spikes) < 9
    assert all(each.status == "ok" and 0 <= each.p_value <= 1 for each in spikes)


def test_equal_eigenvalues_are_no_spikes():
    assert count_spikes(np.ones(64), 64, 64).count == 0


def test_mostly_zeros_have_no_noise():
    spikes = count_spikes(np.append(np.zeros(20), np.ones(10)), 30, 50)
    assert spikes.status == "more than half of the eigenvalues are 0"
    assert (spikes.count, spikes.threshold, spikes.variance, spikes.p_value) == (None, None, None, None)


def test_wrong_arguments_are_refused():
    with pytest.raises(UsageError, match="29 eigenvalues are not those of 1 matrices of shape 30 × 50"):
        count_spikes(np.ones(29), 30, 50)
    with pytest.raises(UsageError, match="between 0 and 1"):
        count_spikes(np.ones(30), 30, 50, level=99)
