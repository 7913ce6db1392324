"""Maxout units: convex, piecewise linear, and as good with k pieces as k pieces can be."""

from __future__ import annotations

import pytest
import torch
from contract import overfits
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from deepscope.core import UsageError
from deepscope.models import Maxout, MaxoutNetwork


def unit(slopes: list[float], offsets: list[float]) -> Maxout:
    layer = Maxout(1, 1, pieces=len(slopes)).double()
    with torch.no_grad():
        layer.linear.weight.copy_(torch.tensor(slopes)[:, None])
        layer.linear.bias.copy_(torch.tensor(offsets))
    return layer


def bend(function: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    """Return the largest excess of a value between two points over the mean of theirs: positive if not convex."""
    with torch.no_grad():
        return (function((x + y) / 2) - (function(x) + function(y)) / 2).amax()


@pytest.mark.parametrize("pieces", [1, 2, 3, 8, 50])
def test_k_pieces_approximate_a_parabola_as_well_as_k_pieces_can(pieces: int) -> None:
    """On [0, 1] no function of k linear pieces is nearer x² than 1/(8k²) everywhere; a unit attains it.

    On an interval of length 1/k the best line errs by 1/(8k²), and some piece is on an interval at least as long. Its
    pieces are tangents at the intervals' middles, c, raised by half of what they err by: 2c x − c² + 1/(8k²).
    """
    middles = (torch.arange(pieces).double() + 0.5) / pieces
    best = 1 / (8 * pieces**2)
    layer = unit((2 * middles).tolist(), (best - middles**2).tolist())
    # Ends and middles of all intervals are among the points.
    x = torch.linspace(0, 1, 2 * pieces * 20 + 1, dtype=torch.float64)[:, None]
    error = (layer(x) - x**2).abs().amax().item()
    # Float32 offsets and slopes are rounded to 6e-8 at most.
    assert error == pytest.approx(best, abs=2e-7)


def test_rectifier_and_absolute_value_are_units() -> None:
    x = torch.linspace(-2, 2, 101, dtype=torch.float64)[:, None]
    assert torch.equal(unit([1.0, 0.0], [0.0, 0.0])(x), x.relu())
    assert torch.equal(unit([1.0, -1.0], [0.0, 0.0])(x), x.abs())


def test_units_are_convex_and_their_differences_are_not() -> None:
    torch.manual_seed(0)
    layer = Maxout(6, 4, pieces=3).double()
    x, y = torch.randn(2, 2000, 6, dtype=torch.float64)
    # Sums of seven terms of order 1.
    assert bend(layer, x, y) < 1e-14
    difference = nn.Sequential(layer, nn.Linear(4, 1).double())
    assert bend(difference, x, y) > 1e-2


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_it_computes_its_formula(dtype: torch.dtype) -> None:
    """The twin takes unit after unit and piece after piece."""
    torch.manual_seed(0)
    layer = Maxout(4, 3, pieces=5).to(dtype)
    x = torch.randn(7, 2, 4, dtype=dtype)
    weight, bias = layer.linear.weight.reshape(3, 5, 4), layer.linear.bias.reshape(3, 5)
    expected = torch.stack(
        [torch.stack([x @ weight[i, j] + bias[i, j] for j in range(5)]).amax(0) for i in range(3)], dim=-1
    )
    torch.testing.assert_close(layer(x), expected, rtol=0, atol=1e-6 if dtype == torch.float32 else 1e-14)


def test_with_one_piece_it_is_linear() -> None:
    layer, x = Maxout(4, 3, pieces=1), torch.randn(7, 4)
    assert torch.equal(layer(x), layer.linear(x))


def test_equal_pieces_are_not_both_given_the_gradient() -> None:
    layer = unit([1.0, 1.0], [0.0, 0.0])
    layer(torch.ones(1, 1, dtype=torch.float64)).sum().backward()
    assert sorted(layer.linear.weight.grad.flatten().tolist()) == [0.0, 1.0]


def test_the_published_network_has_its_size_and_dropout() -> None:
    model = MaxoutNetwork()
    assert {name: layer.out_features for name, layer in model.named_children() if isinstance(layer, Maxout)} == {
        "hidden1": 240,
        "hidden2": 240,
    }
    assert [layer.p for layer in model if isinstance(layer, nn.Dropout)] == [0.2, 0.5, 0.5]
    assert 5 * 240 * 785 + 5 * 240 * 241 + 10 * 241 == sum(p.numel() for p in model.parameters()) == 1_233_610
    # The largest of 942,000 uniform numbers.
    assert 0.00499 < model.hidden1.linear.weight.abs().max() <= 0.005
    x = torch.randn(3, 784)
    assert not torch.equal(model(x), model(x))
    assert torch.equal(model.eval()(x), model(x))


def test_sixteen_samples_are_learnt() -> None:
    torch.manual_seed(0)
    model = MaxoutNetwork(12, (16, 16), 3, pieces=3, input_dropout=0.0, dropout=0.0)
    overfits(model, torch.randn(16, 3, 4), torch.randint(3, (16,)), cross_entropy, steps=200)


def test_nan_is_not_hidden() -> None:
    x = torch.zeros(3, 4)
    x[1, 0] = torch.nan
    assert MaxoutNetwork(4, (5,), 2).eval()(x).isnan().all(1).tolist() == [False, True, False]


def test_bad_input_is_named() -> None:
    with pytest.raises(UsageError, match="pieces is 0"):
        Maxout(2, 2, pieces=0)
    with pytest.raises(UsageError, match="out_features is 0"):
        MaxoutNetwork(2, (3,), 0)
    for wrong in ({"hidden": ()}, {"dropout": 1.0}, {"input_dropout": -0.1}):
        with pytest.raises(UsageError, match="at least one hidden layer"):
            MaxoutNetwork(2, **wrong)
    model = MaxoutNetwork(6, (3,), 2)
    for x in (torch.zeros(4, 5), torch.zeros(6), torch.zeros(4, 6, dtype=torch.int64)):
        with pytest.raises(UsageError, match=r"Give \[batch, 6\]"):
            model(x)
