"""Gaussian dropout: normal noise of dropout's mean and variance."""

from __future__ import annotations

import pytest
import torch

from deepscope.core import UsageError
from deepscope.training import Dropout, GaussianDropout


@pytest.mark.parametrize("p", [0.1, 0.5, 0.8])
def test_it_has_the_mean_and_variance_of_dropout_and_is_normal(p: float) -> None:
    torch.manual_seed(0)
    n, x = 100_000, -2.0
    variance = x**2 * p / (1 - p)
    y = GaussianDropout(p)(torch.full((n,), x, dtype=torch.float64))
    centred = y - x
    # Five standard deviations of the means of n draws; a normal variable's even moments are σ², 3σ⁴, 15σ⁶, 105σ⁸.
    assert abs(centred.mean()) < 5 * (variance / n) ** 0.5
    assert abs(centred.square().mean() - variance) < 5 * variance * (2 / n) ** 0.5
    assert abs(centred.pow(4).mean() - 3 * variance**2) < 5 * variance**2 * (96 / n) ** 0.5
    # What tells it from dropout, whose fourth moment is that of two values.
    dropped = Dropout(p)(torch.full((n,), x, dtype=torch.float64)) - x
    assert abs(dropped.pow(4).mean() - 3 * variance**2) > 5 * variance**2 * (96 / n) ** 0.5


def test_each_number_has_noise_of_its_own() -> None:
    torch.manual_seed(0)
    y = GaussianDropout(0.5)(torch.ones(4, 5, 6))
    assert len(y.unique()) == y.numel()


def test_evaluation_and_a_share_of_zero_change_nothing() -> None:
    x = torch.randn(3, 4)
    assert torch.equal(GaussianDropout(0.5).eval()(x), x)
    assert torch.equal(GaussianDropout(0.0)(x), x)


def test_nan_is_not_hidden() -> None:
    assert GaussianDropout(0.5)(torch.tensor([torch.nan, 1.0])).isnan().tolist() == [True, False]


def test_bad_input_is_named() -> None:
    for p in (-0.1, 1.0, 1.5, float("nan")):
        with pytest.raises(UsageError, match=r"(?s)p is .*Give a share of at least 0, below 1"):
            GaussianDropout(p)
    with pytest.raises(UsageError, match=r"\[3\] of int64"):
        GaussianDropout()(torch.arange(3))
