"""Quaternion layers: Hamilton's product by its rules, and a rotation learnt from a part of it."""

from __future__ import annotations

import itertools

import pytest
import torch
from contract import behaves, overfits
from torch import Tensor, nn
from torch.nn import functional

from deepscope.core import UsageError
from deepscope.models import QuaternionConv2d, QuaternionLinear, QuaternionMLP, hamilton_product


def test_the_product_is_hamilton_s() -> None:
    one, i, j, k = torch.eye(4, dtype=torch.float64)
    # i² = j² = k² = i j k = −1, from which all other products of the units follow.
    for square in (hamilton_product(i, i), hamilton_product(j, j), hamilton_product(k, k)):
        assert torch.equal(square, -one)
    assert torch.equal(hamilton_product(hamilton_product(i, j), k), -one)
    for p, q in itertools.product((one, i, j, k), repeat=2):
        if p is not q and p is not one and q is not one:
            assert torch.equal(hamilton_product(p, q), -hamilton_product(q, p))
    torch.manual_seed(0)
    p, q, s = torch.randn(3, 50, 4, dtype=torch.float64)
    # Sums of four products of order 1, twice.
    both = hamilton_product(hamilton_product(p, q), s), hamilton_product(p, hamilton_product(q, s))
    torch.testing.assert_close(*both, rtol=0, atol=1e-13)
    torch.testing.assert_close(hamilton_product(p, q).norm(dim=-1), p.norm(dim=-1) * q.norm(dim=-1))
    with pytest.raises(UsageError, match=r"Give \[..., 4\] each"):
        hamilton_product(p, q[..., :3])


def split(x: Tensor, features: int) -> Tensor:
    """[batch, 4 features, …] to quaternions, [batch, features, …, 4]."""
    return x.unflatten(1, (4, features)).movedim(1, -1)


def test_layers_multiply_by_hamilton_s_product() -> None:
    """The twin multiplies one quaternion by another in a loop."""
    torch.manual_seed(0)
    layer = QuaternionLinear(3, 2).double()
    nn.init.normal_(layer.bias)
    x = torch.randn(5, 12, dtype=torch.float64)
    y, inputs, weights = split(layer(x), 2), split(x, 3), layer.weight.movedim(0, -1)
    for out in range(2):
        expected = sum(hamilton_product(weights[out, n], inputs[:, n]) for n in range(3))
        torch.testing.assert_close(y[:, out], expected + layer.bias.view(4, 2)[:, out], rtol=0, atol=1e-13)
    convolution = QuaternionConv2d(3, 2, 2, stride=2, padding=1).double()
    nn.init.normal_(convolution.bias)
    x = torch.randn(5, 12, 4, 6, dtype=torch.float64)
    y, inputs = split(convolution(x), 2), split(functional.pad(x, (1, 1, 1, 1)), 3)
    weights = convolution.weight.movedim(0, -1)
    assert y.shape == (5, 2, 3, 4, 4)
    for out, row, column in itertools.product(range(2), range(3), range(4)):
        expected = sum(
            hamilton_product(weights[out, n, a, b], inputs[:, n, 2 * row + a, 2 * column + b])
            for n, a, b in itertools.product(range(3), range(2), range(2))
        )
        expected = expected + convolution.bias.view(4, 2)[:, out]
        torch.testing.assert_close(y[:, out, row, column], expected, rtol=0, atol=1e-13)


def conjugate(q: Tensor) -> Tensor:
    return q * q.new_tensor([1, -1, -1, -1])


class Rotation(nn.Module):
    """Turn points by one Hamilton layer: v ↦ w v w̄, as w v w̄ is the conjugate of w times the conjugate of w v."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = QuaternionLinear(1, 1, bias=False)

    def forward(self, points: Tensor) -> Tensor:
        once = self.layer(functional.pad(points, (1, 0)))
        return conjugate(self.layer(conjugate(once)))[..., 1:]


def fitted(model: nn.Module, x: Tensor, y: Tensor) -> nn.Module:
    """Minimise the squared error."""
    settings = {"max_iter": 60, "tolerance_grad": 1e-12, "tolerance_change": 1e-16, "line_search_fn": "strong_wolfe"}
    optimizer = torch.optim.LBFGS(model.parameters(), **settings)

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = (model(x) - y).square().mean()
        loss.backward()
        return loss

    optimizer.step(closure)
    return model


@pytest.mark.demonstrates("quaternion-nn")
def test_it_learns_a_rotation_of_which_it_has_seen_a_part() -> None:
    """Points of one plane are seen, all others are not: a rotation is known by them, a matrix is not."""
    for numbers in (4, 8, 400):
        real = nn.Linear(numbers, numbers)
        quaternions = QuaternionLinear(numbers // 4, numbers // 4)
        assert 4 * quaternions.weight.numel() == real.weight.numel()
    for seed in range(8):
        torch.manual_seed(seed)
        turn = torch.linalg.qr(torch.randn(3, 3, dtype=torch.float64))[0]
        turn = turn * turn.det().sign()
        frame = torch.linalg.qr(torch.randn(3, 3, dtype=torch.float64))[0]
        seen = torch.randn(20, 2, dtype=torch.float64) @ frame[:2]
        unseen = torch.randn(200, 3, dtype=torch.float64)
        errors = {}
        # As large as the layer in what it maps; more weights than it has; a network with an activation.
        candidates = {
            "quaternion": Rotation(),
            "real": nn.Linear(3, 3, bias=False),
            "network": nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 3)),
        }
        for name, model in candidates.items():
            model = fitted(model.double(), seen, seen @ turn.T)
            with torch.no_grad():
                assert (model(seen) - seen @ turn.T).norm() < 0.1 * seen.norm()
                errors[name] = float((model(unseen) - unseen @ turn.T).norm() / unseen.norm())
        # The gradient vanishes to some 1e-12 at the minimum, which has no flat direction.
        assert errors["quaternion"] < 1e-6
        assert min(errors["real"], errors["network"]) > 10 * errors["quaternion"]
        assert min(errors["real"], errors["network"]) > 0.05
        assert sum(each.numel() for each in candidates["quaternion"].parameters()) == 4


def test_weights_begin_with_the_published_magnitudes() -> None:
    torch.manual_seed(0)
    for layer, fans in ((QuaternionLinear(60, 40), 100), (QuaternionConv2d(10, 20, 3), 9 * 30)):
        squared = layer.weight.square().sum(0)
        # A chi variable with four degrees of freedom has mean square 4 and fourth moment 24: of n draws of the square
        # the mean is off by a share of √(24/16 − 1) / √n = 0.71 / √1800; four of these.
        assert squared.mean().item() == pytest.approx(4 / (2 * fans), rel=4 * 0.71 / 1800**0.5)
        # cos²θ is ½ in the mean, and the axis has no preferred direction: ½, 1/6, 1/6, 1/6 of the square.
        shares = layer.weight.square().flatten(1).mean(1) / squared.mean()
        assert shares.tolist() == pytest.approx([1 / 2, 1 / 6, 1 / 6, 1 / 6], abs=0.05)
        # The angle goes all the way round: as many real parts are below 0 as above.
        assert (layer.weight[0] > 0).float().mean().item() == pytest.approx(0.5, abs=4 * 0.5 / 1800**0.5)
        assert not layer.bias.any()


def test_overfit() -> None:
    torch.manual_seed(0)
    model = QuaternionMLP(4, [8], 4)
    overfits(model, torch.randn(16, 4, 4), torch.arange(16) % 4, functional.cross_entropy, steps=200)


def test_it_behaves() -> None:
    torch.manual_seed(0)
    behaves(QuaternionMLP(4, [3, 2], 4), QuaternionMLP(4, [3, 2], 4), torch.randn(3, 4, 2, 2))
    wrapped = [nn.Sequential(QuaternionConv2d(1, 2, 3), nn.Flatten()) for _ in range(2)]
    behaves(*wrapped, torch.randn(3, 4, 5, 5))


def test_parameters_follow_the_formula() -> None:
    model = QuaternionMLP(16, [8, 5], 10)
    expected = 4 * 8 * (16 + 1) + 4 * 5 * (8 + 1) + 10 * (4 * 5 + 1)
    assert sum(each.numel() for each in model.parameters()) == expected


def test_wrong_arguments_are_refused() -> None:
    for shape in ((2, 4, 3), (2, 3, 4), (2, 16), (4, 4)):
        with pytest.raises(UsageError, match=r"QuaternionMLP\nGive \[batch, 4, …\] .* with 4 of each part"):
            QuaternionMLP(4, [2], 3)(torch.zeros(shape))
    with pytest.raises(UsageError, match="int64"):
        QuaternionMLP(4, [2], 3)(torch.zeros(2, 4, 4, dtype=torch.int64))
    with pytest.raises(UsageError, match="no hidden layer"):
        QuaternionMLP(4, [], 3)
    for wrong in ((0, [2], 3), (4, [0], 3), (4, [2], 0)):
        with pytest.raises(UsageError, match="is 0"):
            QuaternionMLP(*wrong)
    with pytest.raises(UsageError, match=r"QuaternionLinear\nGive \[..., 12\]"):
        QuaternionLinear(3, 2)(torch.zeros(2, 8))
    with pytest.raises(UsageError, match=r"\[batch, 12, height, width\] .* both at least 3"):
        QuaternionConv2d(3, 2, 3)(torch.zeros(2, 12, 2, 3))
    for sizes in ((0, 1, 1), (1, 0, 1), (1, 1, 0)):
        with pytest.raises(UsageError, match="is 0"):
            QuaternionConv2d(*sizes)
    with pytest.raises(UsageError, match="stride is 0"):
        QuaternionConv2d(1, 1, 1, stride=0)
    with pytest.raises(UsageError, match="padding is -1"):
        QuaternionConv2d(1, 1, 3, padding=-1)
