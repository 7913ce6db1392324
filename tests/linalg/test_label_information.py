"""Mutual information of labels and continuous variables, by nearest neighbours."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.special import digamma
from scipy.stats import norm

from deepscope.core import UsageError
from deepscope.linalg import label_information
from deepscope.linalg._label_information import _Neighbours
from deepscope.linalg._neighbour_information import distances, scaled


def classes(rng: np.random.Generator, n: int, d: int) -> tuple[np.ndarray, np.ndarray]:
    """Two Gaussian classes at ±1 in the first coordinate."""
    y = np.arange(n) % 2
    x = rng.normal(size=(n, d))
    x[:, 0] += 2 * y - 1
    return x, y


def estimate(x: np.ndarray, y: np.ndarray, k: int = 3) -> float:
    return float(_Neighbours(distances(scaled(x, "x"))).bits(y[None], k)[0])


def twin(x: np.ndarray, y: np.ndarray, k: int) -> float:
    n, total = len(x), 0.0
    for i in range(n):
        d = np.delete(np.linalg.norm(x - x[i], axis=1), i)
        own = d[np.delete(y, i) == y[i]]
        radius = np.sort(own)[min(k, len(own)) - 1]
        total += digamma(np.sum(own <= radius)) - digamma(len(own) + 1) - digamma(np.sum(d <= radius))
    return float(digamma(n) + total / n) / math.log(2)


def test_it_is_the_estimator_of_the_paper() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(90, 3)), rng.integers(0, 4, 90)
    x[:, 0] += y
    # Two of one label: their k is 1.
    y[:2] = 7
    found = label_information(x, y, permutations=19)
    assert found.bits == pytest.approx(twin(x, y, 3), abs=1e-10)


@pytest.mark.parametrize("k", [1, 3, 10])
def test_it_is_that_of_scikit_learn(k: int) -> None:
    """A label with one sample is left out by both; noise of 1e-10 changes no count."""
    from sklearn.feature_selection import mutual_info_classif

    rng = np.random.default_rng(1)
    y = np.r_[rng.integers(0, 3, 400), 9]
    x = y + rng.normal(size=401)
    found = label_information(x, y, k, permutations=19)
    reference = mutual_info_classif(x[:, None], y, n_neighbors=k, random_state=0)[0] / math.log(2)
    assert found.bits == pytest.approx(reference, abs=1e-10)
    assert found.n == 400


def test_the_truth_that_the_docstring_gives() -> None:
    def term(x: float) -> float:
        p, q = norm.pdf(x, 1), norm.pdf(x, -1)
        return float(p * math.log2(2 * p / (p + q)))

    assert quad(term, -12, 12)[0] == pytest.approx(0.486, abs=5e-4)


@pytest.mark.parametrize(("d", "bits"), [(1, 0.50), (20, 0.40)])
def test_the_bias_is_as_the_docstring_says(d: int, bits: float) -> None:
    rng = np.random.default_rng(2)
    found = [estimate(*classes(rng, 1000, d)) for _ in range(3)]
    # A standard deviation of 0.035 over 3 draws, four times, and the last digit.
    assert np.mean(found) == pytest.approx(bits, abs=4 * 0.035 / math.sqrt(3) + 0.005)


def test_separated_classes_hold_all_of_the_labels() -> None:
    y = np.arange(300) % 3
    x = 100.0 * y[:, None] + np.random.default_rng(3).normal(size=(300, 2))
    found = label_information(x, y)
    assert found.bits == pytest.approx(found.ceiling, abs=1e-12)
    # ψ(300) − ψ(100) is log 3 and 1/300.
    assert found.ceiling == pytest.approx(math.log2(3), abs=0.006)
    assert found.status == "saturated: it tells all 3 labels of 300 samples apart"
    assert found.beats_null
    assert found.p_value == 0.01


def test_a_constant_holds_nothing_exactly() -> None:
    found = label_information(np.ones((60, 4)), np.arange(60) % 3)
    assert found.bits == pytest.approx(0, abs=1e-12)
    assert (found.beats_null, found.status) == (False, "ok")


def test_copies_of_the_classes_themselves() -> None:
    """A variable that is the label: all of it, though every distance is 0 or 1."""
    y = np.arange(80) % 2
    found = label_information(y.astype(float), y)
    assert found.bits == pytest.approx(found.ceiling, abs=1e-12)


def test_many_dimensions_are_beyond_reach_where_something_is_found() -> None:
    rng = np.random.default_rng(4)
    found = label_information(*classes(rng, 300, 40), permutations=19)
    assert found.status.startswith("beyond reach: too low, as d ≈")
    assert label_information(*classes(rng, 300, 5), permutations=19).status == "ok"


def test_every_order_is_that_of_the_labels_so_ordered() -> None:
    rng = np.random.default_rng(5)
    x, y = classes(rng, 70, 3)
    neighbours = _Neighbours(distances(scaled(x, "x")))
    orders = np.array([rng.permutation(70) for _ in range(4)])
    assert neighbours.bits(y[orders], 3) == pytest.approx([twin(x, y[order], 3) for order in orders], abs=1e-10)


def test_a_layer_that_forgets_holds_less() -> None:
    """The data-processing inequality, along X → a projection of X that mixes the classes."""
    rng = np.random.default_rng(6)
    x, y = classes(rng, 400, 2)
    first, second = (label_information(each, y, permutations=19) for each in (3 * x, x @ np.array([[0.3], [1.0]])))
    assert first.low > second.high


def test_wrong_use_is_a_clear_error() -> None:
    x = np.random.default_rng(0).normal(size=(20, 2))
    with pytest.raises(UsageError, match="20 and 19 samples"):
        label_information(x, np.arange(19))
    with pytest.raises(UsageError, match="0 with two samples or more"):
        label_information(x, np.arange(20))
    with pytest.raises(UsageError, match="1 with two samples or more"):
        label_information(x, np.zeros(20, dtype=int))
    with pytest.raises(UsageError, match="too many distances"):
        label_information(np.zeros((4097, 1)), np.arange(4097) % 2)
