"""Neural ordinary differential equations: what paths in one and in more dimensions can do, and the networks of them."""

from __future__ import annotations

import math

import pytest
import torch
from contract import behaves, overfits
from saved_bytes import saved_bytes
from torch import Tensor, nn
from torch.nn import functional

from deepscope.core import UsageError
from deepscope.models import ConvolutionalField, NeuralODE, ODEBlock, ODENet, PerceptronField, augmented_ode, odenet


def spirals(n: int) -> tuple[Tensor, Tensor]:
    """Two spirals of n points each in the plane, and which of them a point is on."""
    angle = torch.linspace(0.5, 2 * math.pi, n, dtype=torch.float64)
    one = torch.stack([angle.cos(), angle.sin()], 1) * angle[:, None] / 6
    return torch.cat([one, -one]), torch.arange(2).repeat_interleave(n)


def gradient(model: NeuralODE, x: Tensor, targets: Tensor) -> Tensor:
    loss = functional.cross_entropy(model(x), targets)
    return torch.cat([each.ravel() for each in torch.autograd.grad(loss, list(model.parameters()))])


def rotation(features: int) -> PerceptronField:
    """Half a turn of the first and the last number in the time from 0 to 1."""
    field = PerceptronField(features, time=False).double()
    with torch.no_grad():
        weight = field.layers.output.weight.zero_()
        weight[0, -1], weight[-1, 0] = -math.pi, math.pi
        field.layers.output.bias.zero_()
    return field


@pytest.mark.demonstrates("neural-ode")
def test_the_adjoint_needs_little_memory_and_augmentation_lets_paths_cross() -> None:
    """Gradients of spirals have a cosine of at least 0.9999, memory is constant, x ↦ −x needs a second dimension."""
    torch.manual_seed(0)
    x, targets = spirals(20)
    model = NeuralODE(2, [16], 2, rtol=1e-3, atol=1e-3).double()
    through_steps = gradient(model, x, targets)
    model.block.adjoint = True
    assert functional.cosine_similarity(gradient(model, x, targets), through_steps, dim=0) >= 0.9999
    kept = []
    for tolerance in (1e-3, 1e-7):
        model.block.rtol = model.block.atol = tolerance
        kept.append((saved_bytes(lambda: model(x)), model.block.evaluations))
    assert kept[1][1] > 1.5 * kept[0][1]
    assert kept[0][0] == kept[1][0]

    # On the line no field takes −1 and 1 to one another, whatever its weights: training as well as chance.
    ends = torch.tensor([[-1.0], [1.0]], dtype=torch.float64)
    block = ODEBlock(PerceptronField(1, [16]).double(), method="rk4", step=0.25)
    optimizer = torch.optim.Adam(block.parameters(), lr=0.05)
    for _ in range(60):
        optimizer.zero_grad()
        (block(ends) + ends).square().mean().backward()
        optimizer.step()
    moved = block(ends).detach()
    assert moved[0] < moved[1]
    # Of two numbers in the wrong order one is wrong by at least 1.
    assert (moved + ends).abs().max() >= 1
    # In the plane half a turn does. Runge–Kutta's error is at most (π h)⁵/120 a step, times 100 steps.
    turned = ODEBlock(rotation(2), method="rk4", step=0.01, augment=1)(ends)[:, :1]
    torch.testing.assert_close(turned, -ends, rtol=0, atol=3e-8)


@pytest.mark.parametrize("seed", [0, 1, 3])
def test_paths_on_the_line_keep_their_order(seed: int) -> None:
    torch.manual_seed(seed)
    field = PerceptronField(1, [20]).double()
    with torch.no_grad():
        # Steep enough that a long step leaps over others: 1 + ∂f/∂z is negative somewhere.
        for each in field.parameters():
            each *= 4
    x = torch.linspace(-3, 3, 50, dtype=torch.float64)[:, None]
    block = ODEBlock(field, times=[0.0, 0.3, 0.6, 1.0], method="rk4", step=0.004)
    paths = block.trajectory(x)
    assert (paths[1:] > paths[:-1]).all()
    assert (paths[:, -1] - x).abs().max() > 0.5
    # Planted: long steps of Euler jump over one another, which the equation cannot.
    jumps = ODEBlock(field, times=[0.0, 1.0], method="euler").trajectory(x)
    assert not (jumps[1:] > jumps[:-1]).all()
    # With one more number of zero the first may pass each other.
    crossed = ODEBlock(rotation(2), augment=1).trajectory(x)[..., 0]
    assert (crossed[1:, -1] < crossed[:-1, -1]).all()


def test_fields_compute_their_formulas() -> None:
    torch.manual_seed(0)
    t, z = torch.tensor(0.3, dtype=torch.float64), torch.randn(4, 2, dtype=torch.float64)
    field = PerceptronField(2, [3, 5]).double()
    w = dict(field.layers.named_parameters())
    h = torch.cat([z, torch.full((4, 1), 0.3, dtype=torch.float64)], 1)
    for name in ("hidden1", "hidden2"):
        h = torch.tanh(h @ w[f"{name}.weight"].T + w[f"{name}.bias"])
    torch.testing.assert_close(field(t, z), h @ w["output.weight"].T + w["output.bias"], rtol=0, atol=1e-14)

    images, field = torch.randn(2, 4, 5, 5, dtype=torch.float64), ConvolutionalField(4).double()
    w = dict(field.named_parameters())

    def normalised(h: Tensor, name: str) -> Tensor:
        return functional.group_norm(h, 4, w[f"{name}.weight"], w[f"{name}.bias"])

    h = images
    for i in (1, 2):
        h = torch.cat(
            [normalised(h, f"normalisation{i}").relu(), torch.full((2, 1, 5, 5), 0.3, dtype=torch.float64)], 1
        )
        h = functional.conv2d(h, w[f"convolution{i}.weight"], w[f"convolution{i}.bias"], padding=1)
    torch.testing.assert_close(field(t, images), normalised(h, "normalisation3"), rtol=0, atol=1e-12)
    assert sum(each.numel() for each in field.parameters()) == 18 * 4**2 + 26 * 4


def test_networks_are_a_block_between_layers() -> None:
    torch.manual_seed(0)
    model, x = NeuralODE(3, [5], 2, augment=2, method="rk4").double(), torch.randn(4, 3, dtype=torch.float64)
    w = dict(model.output.named_parameters())
    torch.testing.assert_close(model(x), model.block(x) @ w["weight"].T + w["bias"], rtol=0, atol=1e-14)
    assert model.block.field.layers.output.out_features == 5
    images, h = ODENet(4, classes=3, augment=4, method="rk4").double(), torch.randn(2, 1, 28, 28, dtype=torch.float64)
    x, w = h, dict(images.named_parameters())

    def rectified(h: Tensor, name: str) -> Tensor:
        return functional.group_norm(h, h.shape[1], w[f"{name}.weight"], w[f"{name}.bias"]).relu()

    for i, stride in ((1, 1), (2, 2), (3, 2)):
        name = f"stem.convolution{i}"
        h = functional.conv2d(h, w[f"{name}.weight"], w[f"{name}.bias"], stride=stride, padding=stride - 1)
        h = rectified(h, f"stem.normalisation{i}") if i < 3 else h
    h = images.block(h)
    assert h.shape == (2, 8, 6, 6)
    expected = rectified(h, "normalisation").mean((2, 3)) @ w["output.weight"].T + w["output.bias"]
    torch.testing.assert_close(images(x), expected, rtol=0, atol=1e-12)


def test_settings_reach_the_field() -> None:
    for activation, kind in (("relu", nn.ReLU), ("tanh", nn.Tanh)):
        for time in (False, True):
            field = NeuralODE(3, [5], 2, activation=activation, time=time).block.field
            assert isinstance(field.layers.activation1, kind)
            assert field.layers.hidden1.in_features == 3 + time
    field = augmented_ode().block.field
    assert isinstance(field.layers.activation2, nn.ReLU)
    assert field.layers.hidden1.in_features == 2 + 5


def test_its_parameters_are_as_many_as_in_the_paper() -> None:
    # The paper gives 0.22 M, and the authors' example, whose layers these are, prints this count.
    with torch.device("meta"):
        assert sum(each.numel() for each in odenet().parameters()) == 208_266


def test_overfit() -> None:
    # A seed with which the loss falls all the way: one that climbs again ends where rounding has it.
    torch.manual_seed(1)
    model, targets = NeuralODE(2, [16], 2, augment=1, method="rk4", step=0.5), torch.arange(16) % 2
    overfits(model, torch.randn(16, 2), targets, functional.cross_entropy, steps=150, rate=3e-2, below=2e-2)


def test_it_behaves() -> None:
    torch.manual_seed(0)
    behaves(*(NeuralODE(3, [8], 2, augment=1, method="rk4") for _ in "ab"), torch.randn(3, 3))
    behaves(*(ODENet(4, method="euler", step=0.5) for _ in "ab"), torch.randn(3, 1, 12, 12))


def test_the_smallest_image_is_not_normalised_to_a_constant() -> None:
    """Of one pixel, with a channel to each group, nothing but the bias is left: smaller images are refused."""
    torch.manual_seed(0)
    network = ODENet(4, method="midpoint")
    states = [network.block(network.stem(torch.randn(2, 1, side, side))) for side in (9, 10)]
    assert [each.shape[-1] for each in states] == [1, 2]
    one, four = (network.normalisation(each) for each in states)
    torch.testing.assert_close(one[0], one[1], rtol=0, atol=1e-4)
    assert (four[0] - four[1]).abs().max() > 0.1


def test_wrong_arguments_are_refused() -> None:
    for wrong in (torch.zeros(2, 4), torch.zeros(3), torch.zeros(2, 3, dtype=torch.int64)):
        with pytest.raises(UsageError, match=r"NeuralODE\nGive \[batch, 3\]"):
            NeuralODE(3, [5], 2)(wrong)
    for shape in ((2, 3, 28, 28), (1, 28, 28), (2, 1, 9, 28)):
        with pytest.raises(UsageError, match=r"ODENet\nGive \[batch, 1, height, width\]"):
            ODENet(4)(torch.zeros(shape))
    for build in (
        lambda: NeuralODE(0, [5], 2),
        lambda: NeuralODE(3, [0], 2),
        lambda: NeuralODE(3, [5], 0),
        lambda: ODENet(0),
        lambda: ODENet(4, in_channels=0),
        lambda: ODENet(4, classes=0),
    ):
        with pytest.raises(UsageError, match="is 0"):
            build()
    with pytest.raises(UsageError, match="augment is -1"):
        NeuralODE(3, [5], 2, augment=-1)
    with pytest.raises(UsageError, match="rtol is 0"):
        ODENet(4, rtol=0)
