"""Mutual information by nearest neighbours, of Gaussians whose information is known."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.special import digamma

from deepscope.core import UsageError
from deepscope.linalg import ksg_information
from deepscope.linalg._neighbour_information import _Distances, _Sorted


def gaussian(rng: np.random.Generator, n: int, d: int, rho: float) -> tuple[np.ndarray, np.ndarray]:
    x = rng.normal(size=(n, d))
    return x, rho * x + math.sqrt(1 - rho**2) * rng.normal(size=(n, d))


def truth(d: int, rho: float) -> float:
    return -0.5 * d * math.log2(1 - rho**2)


def bits(x: np.ndarray, y: np.ndarray, k: int = 3) -> float:
    """The estimate alone."""
    return ksg_information(x, y, k, permutations=19).bits


def twin(x: np.ndarray, y: np.ndarray, k: int) -> float:
    """The estimator of the paper, sample by sample."""
    n, total = len(x), 0.0
    for i in range(n):
        dx, dy = (np.delete(np.linalg.norm(v - v[i], axis=1), i) for v in (x, y))
        radius = np.sort(np.maximum(dx, dy))[k - 1]
        total += digamma(np.sum(dx < radius) + 1) + digamma(np.sum(dy < radius) + 1)
    return float(digamma(k) + digamma(n) - total / n) / math.log(2)


@pytest.mark.parametrize(("d", "e", "k"), [(1, 1, 3), (2, 3, 1), (4, 1, 5)])
def test_it_is_the_estimator_of_the_paper(d: int, e: int, k: int) -> None:
    rng = np.random.default_rng(d)
    x = rng.normal(size=(80, d))
    y = x[:, :1] + rng.normal(size=(80, e))
    x, y = (v / np.sqrt(np.mean(np.sum((v - v.mean(0)) ** 2, axis=1))) for v in (x, y))
    assert bits(x, y, k) == pytest.approx(twin(x, y, k), abs=1e-10)


@pytest.mark.parametrize("k", [1, 3, 7])
def test_it_is_that_of_scikit_learn(k: int) -> None:
    """Which divides by standard deviations too and adds noise of 1e-10: no count changes, and none is near to."""
    from sklearn.feature_selection import mutual_info_regression

    x, y = gaussian(np.random.default_rng(0), 500, 1, 0.8)
    reference = mutual_info_regression(x, y[:, 0], n_neighbors=k, random_state=0)[0] / math.log(2)
    assert bits(x, y, k) == pytest.approx(reference, abs=1e-10)


@pytest.mark.parametrize(("d", "rho", "bias"), [(1, 0.5, 0.01), (1, 0.99, 0.02), (2, 0.99, -0.43), (20, 0.5, -2.99)])
def test_the_bias_is_as_the_docstring_says(d: int, rho: float, bias: float) -> None:
    """Some rows of its table; all of them in tests/verify/test_information_calibration.py."""
    rng = np.random.default_rng(7)
    draws = 10 if d == 1 else 3
    found = [_estimate(*gaussian(rng, 1000, d, rho)) for _ in range(draws)]
    # A standard deviation of at most 0.06, and the docstring's own error of 0.01: four standard errors.
    assert np.mean(found) - truth(d, rho) == pytest.approx(bias, abs=4 * 0.06 / math.sqrt(draws) + 0.01)


def _estimate(x: np.ndarray, y: np.ndarray) -> float:
    """Without the null, in which most of the time goes."""
    X, Y = (torch.from_numpy(each) for each in (x, y))
    pairs = _Sorted(X, Y, 3) if x.shape[1] == 1 else _Distances(X, Y, 3)
    return pairs.on(np.arange(len(x)))


def test_trees_and_distances_agree_for_every_order() -> None:
    rng = np.random.default_rng(1)
    x, y = (torch.from_numpy(each) for each in gaussian(rng, 120, 1, 0.7))
    orders = np.array([rng.permutation(120) for _ in range(5)])
    one, other = _Sorted(x, y, 3), _Distances(x, y, 3)
    assert one.permuted(orders) == pytest.approx(other.permuted(orders), abs=1e-12)
    naive = [_Distances(x, y[torch.from_numpy(order)], 3).on(np.arange(120)) for order in orders]
    assert other.permuted(orders) == pytest.approx(naive, abs=1e-12)


def test_orders_of_copies_are_those_of_the_samples_so_ordered() -> None:
    rng = np.random.default_rng(10)
    x, y = (torch.from_numpy(rng.integers(0, 2, (90, 2)).astype(float)) for _ in range(2))
    orders = np.array([rng.permutation(90) for _ in range(3)])
    naive = [_Distances(x, y[torch.from_numpy(order)], 3).on(np.arange(90)) for order in orders]
    assert _Distances(x, y, 3).permuted(orders) == pytest.approx(naive, abs=1e-12)


@pytest.mark.parametrize("d", [1, 2])
def test_copies_count_as_values_of_a_discrete_variable(d: int) -> None:
    """Of two discrete variables it is the plug-in estimate with ψ for ln, which differ by 1/2c for a count of c."""
    labels = np.repeat([0, 0, 1, 1], [300, 100, 100, 300])
    others = np.repeat([0, 1, 0, 1], [300, 100, 100, 300])
    found = bits(np.tile(labels[:, None], d), np.tile(others[:, None], d))
    known = 1 + 0.25 * math.log2(0.25) + 0.75 * math.log2(0.75)
    assert found == pytest.approx(known, abs=1 / 100)


def test_a_constant_holds_nothing_exactly() -> None:
    x = np.random.default_rng(0).normal(size=(60, 2))
    for one, other in ((x, np.ones((60, 3))), (np.zeros((60, 1)), x), (x[:, :1], np.full((60, 1), 0.1))):
        found = ksg_information(one, other)
        assert found.bits == pytest.approx(0, abs=1e-12)
        assert not found.beats_null
        assert found.status == "ok"


def test_shift_rotation_and_scale_change_nothing() -> None:
    rng = np.random.default_rng(2)
    x, y = gaussian(rng, 300, 4, 0.8)
    rotation = np.linalg.qr(rng.normal(size=(4, 4)))[0]
    assert bits(1e3 * x @ rotation + 50, 1e-4 * y - 7) == pytest.approx(bits(x, y), abs=1e-9)


@pytest.mark.parametrize("change", [np.exp, np.arctan, np.sinh])
def test_a_monotone_change_of_either_variable_changes_no_more_than_its_error(change: object) -> None:
    x, y = gaussian(np.random.default_rng(0), 1000, 1, 0.8)
    before = ksg_information(x, y, permutations=19)
    after = ksg_information(change(x), change(y), permutations=19)  # type: ignore[operator]
    # The information is the same, and so are the samples: the estimates differ by no more than independent ones would.
    assert abs(after.bits - before.bits) < 1.96 * math.hypot(before.stderr, after.stderr)
    assert truth(1, 0.8) == pytest.approx(after.bits, abs=4 * after.stderr)


def test_a_bijection_reaches_the_ceiling_and_grows_by_a_bit_as_samples_double() -> None:
    x = np.random.default_rng(4).normal(size=(512, 1))
    # A power of two, so that not even rounding tells the two apart.
    found = ksg_information(x, 4 * x, permutations=19)
    ceiling = (digamma(512) - digamma(3)) / math.log(2)
    assert found.bits == pytest.approx(ceiling, abs=1e-9)
    assert found.ceiling == pytest.approx(ceiling)
    assert found.status.startswith("saturated")
    assert found.bits - found.half_bits == pytest.approx(1, abs=0.01)
    curved = ksg_information(x, np.exp(x), permutations=19)
    assert curved.status.startswith(("saturated", "not converged"))


def test_what_is_not_to_be_trusted_says_so() -> None:
    rng = np.random.default_rng(5)
    strong = ksg_information(*gaussian(rng, 500, 2, 0.99), permutations=19)
    assert strong.status.startswith("not converged")
    many = ksg_information(*gaussian(rng, 500, 20, 0.5), permutations=19)
    assert many.status.startswith("beyond reach: too low, as d ≈ 1")
    assert many.bits < truth(20, 0.5) / 3
    # Seen through twenty coordinates, two dimensions are two.
    x, y = gaussian(rng, 500, 2, 0.3)
    seen = ksg_information(x @ rng.normal(size=(2, 20)), y @ rng.normal(size=(2, 30)), permutations=19)
    assert seen.status == "ok"


def test_what_goes_through_a_chain_is_never_more_than_before() -> None:
    """X → Y → Z, each the one before at a correlation of 0.9: 1.20 bits, then 0.77."""
    rng = np.random.default_rng(6)
    x, y = gaussian(rng, 800, 1, 0.9)
    z = 0.9 * y + math.sqrt(1 - 0.81) * rng.normal(size=y.shape)
    first, second = (ksg_information(x, each, permutations=19) for each in (y, z))
    assert first.low > second.high
    assert second.bits == pytest.approx(truth(1, 0.81), abs=4 * second.stderr)


def test_independent_variables_are_inside_the_null_whatever_their_dimension() -> None:
    rng = np.random.default_rng(8)
    for d in (1, 5, 50):
        found = ksg_information(*gaussian(rng, 200, d, 0.0))
        # Half of the time beyond the mean, and one time in a thousand beyond this.
        assert abs(found.bits - found.null_mean) < 4 * (found.null_high - found.null_mean)
        assert found.null_mean == pytest.approx(0, abs=0.05)
        assert found.status == "ok" or found.beats_null


def test_same_generator_same_estimate() -> None:
    x, y = gaussian(np.random.default_rng(9), 50, 2, 0.5)
    one, other, third = (ksg_information(x, y, rng=np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert one == other
    assert one != third
    assert ksg_information(torch.from_numpy(x), torch.from_numpy(y), rng=np.random.default_rng(1)) == one


def test_wrong_use_is_a_clear_error() -> None:
    x = np.random.default_rng(0).normal(size=(20, 2))
    with pytest.raises(UsageError, match="20 and 19 samples"):
        ksg_information(x, x[1:])
    with pytest.raises(UsageError, match="at least 21"):
        ksg_information(x, x, 9)
    with pytest.raises(UsageError, match="k = 0"):
        ksg_information(x, x, 0)
    with pytest.raises(UsageError, match="too many distances"):
        ksg_information(np.zeros((4097, 2)), np.zeros((4097, 1)))
    with pytest.raises(UsageError, match="not finite"):
        ksg_information(x, x * np.inf)
