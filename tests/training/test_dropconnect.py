"""DropConnect: sums over all masks of single weights, and the normal distribution that stands for them."""

from __future__ import annotations

from itertools import product

import pytest
import torch
from torch import Tensor

from deepscope.core import UsageError
from deepscope.training import DropConnect

X = torch.tensor([0.8, -1.3], dtype=torch.float64)


def identity(x: Tensor) -> Tensor:
    return x


def layer(p: float, outputs: int = 1, **options: object) -> DropConnect:
    torch.manual_seed(0)
    return DropConnect(2, outputs, p, **options).double()


def all_masks(made: DropConnect) -> list[tuple[float, Tensor]]:
    """Return each mask's probability and the sums with it, naively: of an output's two weights and its bias."""
    terms = torch.cat([made.weight * X, made.bias[:, None]], 1).detach()
    found = []
    for mask in product([0.0, 1.0], repeat=terms.numel()):
        kept = int(sum(mask))
        probability = made.p ** (len(mask) - kept) * (1 - made.p) ** kept
        found.append((probability, (terms * torch.tensor(mask, dtype=torch.float64).reshape(terms.shape)).sum(1)))
    return found


@pytest.mark.parametrize("p", [0.25, 0.5])
def test_mean_and_variance_are_those_of_all_masks(p: float) -> None:
    made = layer(p, outputs=2, activation=identity)
    masks = all_masks(made)
    assert len(masks) == 64
    mean = sum(probability * sums for probability, sums in masks)
    square = sum(probability * sums.square() for probability, sums in masks)
    found_mean, found_variance = made.moments(X[None])
    # 64 terms below 1.
    torch.testing.assert_close(found_mean[0], mean, rtol=0, atol=1e-14)
    torch.testing.assert_close(found_variance[0], square - mean.square(), rtol=0, atol=1e-14)
    with torch.no_grad():
        torch.testing.assert_close(made.eval()(X[None])[0], mean, rtol=0, atol=1e-14)


@pytest.mark.parametrize("p", [0.25, 0.5])
def test_in_training_every_mask_has_its_probability(p: float) -> None:
    made, n = layer(p, activation=identity), 20_000
    with torch.no_grad():
        y = made(X.expand(n, 2))[:, 0]
    total = 0
    for probability, sums in all_masks(made):
        hits = int(((y - sums).abs() < 1e-14).sum())
        total += hits
        assert abs(hits / n - probability) < 5 * (probability * (1 - probability) / n) ** 0.5
    # No two masks give one sum, and there are no others.
    assert total == n


def test_in_evaluation_the_activation_has_its_mean_over_a_normal_distribution() -> None:
    made = layer(0.4, outputs=3)
    mean, variance = (each.detach() for each in made.moments(X[None]))
    normal = torch.distributions.Normal(0.0, 1.0)
    ratio, deviation = mean / variance.sqrt(), variance.sqrt()
    rectified = mean * normal.cdf(ratio) + deviation * normal.log_prob(ratio).exp()
    errors = []
    with torch.no_grad():
        for points in (16, 64, 1024):
            made.eval().points = points
            errors.append(((made(X[None]) - rectified) / deviation).abs().amax().item())
        # Points at the middles of n equally likely parts: a bend errs within one part, and the tails are cut, both 1/n.
        assert all(error < 0.5 / points for error, points in zip(errors, (16, 64, 1024), strict=True))
        # What dropping the mean alone would give.
        assert ((mean.relu() - rectified) / deviation).abs().amax() > 0.05
        made.activation, made.points = torch.square, 5
        torch.testing.assert_close(made(X[None]), mean.square() + variance, rtol=0, atol=1e-14)
        made.points = 1
        torch.testing.assert_close(made(X[None]), mean.square(), rtol=0, atol=1e-14)


def test_without_dropping_it_is_a_layer() -> None:
    made, x = layer(0.0, outputs=3), torch.randn(5, 2, dtype=torch.float64)
    expected = (x @ made.weight.T + made.bias).relu()
    torch.testing.assert_close(made(x), expected, rtol=0, atol=1e-14)
    torch.testing.assert_close(made.eval()(x), expected, rtol=0, atol=1e-14)
    made(torch.zeros_like(x)).sum().backward()
    assert made.weight.grad.isfinite().all()
    # No noise of the smallest float16 either, whose root is 0.008.
    made.bias.data.zero_()
    assert not made.half()(torch.zeros(1, 2, dtype=torch.float16)).any()


def test_evaluation_is_the_same_at_each_call_and_shows_nan() -> None:
    made, x = layer(0.5, outputs=3).eval(), torch.randn(5, 2, dtype=torch.float64)
    assert torch.equal(made(x), made(x))
    x[1, 0] = torch.nan
    for module in (made, layer(0.5, outputs=3)):
        assert module(x).isnan().all(1).tolist() == [False, True, False, False, False]


def test_bad_input_is_named() -> None:
    for p in (-0.1, 1.0, 1.5):
        with pytest.raises(UsageError, match="p is"):
            DropConnect(2, 2, p)
    for wrong in ({"in_features": 0}, {"out_features": 0}, {"points": 0}):
        with pytest.raises(UsageError, match=f"{next(iter(wrong))} is 0"):
            DropConnect(**{"in_features": 2, "out_features": 2, **wrong})
    for x in (torch.zeros(2), torch.zeros(2, 3), torch.zeros(2, 2, dtype=torch.int64)):
        with pytest.raises(UsageError, match=r"Give \[batch, 2\]"):
            DropConnect(2, 2)(x)
