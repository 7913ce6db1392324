"""Kurtosis of entries: SciPy's, and what Gaussian values give."""

import numpy as np
import pytest
import torch
from scipy import stats

from deepscope.linalg import _kurtosis as module
from deepscope.linalg import kurtosis


@pytest.mark.parametrize("draw", ["standard_normal", "random", "standard_exponential", "standard_cauchy"])
@pytest.mark.parametrize("n", [20, 137, 5000])
def test_equals_scipy(draw: str, n: int) -> None:
    values = getattr(np.random.default_rng(n), draw)(n)
    found = kurtosis(torch.from_numpy(values))
    # Sums of n terms of one sign: n roundings at most.
    assert found.excess == pytest.approx(stats.kurtosis(values), rel=1e-10, abs=1e-10)
    theirs = stats.kurtosistest(values, alternative="greater").pvalue
    assert found.p_value == pytest.approx(theirs, rel=1e-8, abs=1e-300)


def test_closed_forms() -> None:
    # Of two values alike: m4 = m2 squared. Of 0 everywhere but k of n ones, p = k/n: 1 / (p (1 - p)) - 6.
    assert kurtosis(torch.tensor([3.0, 7.0] * 50)).excess == pytest.approx(-2, abs=1e-12)
    single = torch.zeros(100)
    single[0] = 1
    assert kurtosis(single).excess == pytest.approx(1 / (0.01 * 0.99) - 6, rel=1e-12)


def test_scale_and_place_change_nothing(monkeypatch) -> None:
    values = torch.from_numpy(np.random.default_rng(0).standard_t(3, 1000))
    found = kurtosis(values)
    for other in (1e-170 * values, 1e170 * values, -values, values + 10.0, values.reshape(10, 4, 25)):
        assert kurtosis(other).excess == pytest.approx(found.excess, rel=1e-11)
    monkeypatch.setattr(module, "_CHUNK", 37)
    assert kurtosis(values).excess == pytest.approx(found.excess, rel=1e-12)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float8_e4m3fn])
def test_narrow_types_are_read_as_they_are(dtype: torch.dtype) -> None:
    values = torch.from_numpy(np.random.default_rng(0).standard_normal(500)).to(dtype)
    assert kurtosis(values) == kurtosis(values.double())


@pytest.mark.parametrize(
    "values",
    [
        torch.randn(19),
        torch.zeros(100),
        torch.full((100,), 0.1),
        torch.full((100,), 1e5),
        torch.tensor([1.0, float("nan")] * 20),
        torch.tensor([1.0, float("inf")] * 20),
        torch.empty(0),
    ],
)
def test_no_number_where_there_is_none(values: torch.Tensor) -> None:
    assert kurtosis(values) is None


def test_the_p_value_is_uniform_for_gaussian_values() -> None:
    rng = np.random.default_rng(1)
    p = [kurtosis(torch.from_numpy(rng.standard_normal(1024))).p_value for _ in range(4000)]
    # Standard errors of the shares: 0.0011 at 0.5 %, 0.0034 at 5 %. The approximation itself is good to a tenth.
    assert np.mean(np.array(p) < 0.005) == pytest.approx(0.005, abs=0.0005 + 3 * 0.0011)
    assert np.mean(np.array(p) < 0.05) == pytest.approx(0.05, abs=0.005 + 3 * 0.0034)
