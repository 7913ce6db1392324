"""VGG: the argument for small convolutions, with the formulas that it rests on, and the paper's table."""

from __future__ import annotations

import random

import pytest
import torch
from contract import behaves, overfits
from torch import nn
from torch.nn import functional

from deepscope.core import UsageError
from deepscope.models import VGG, Window, output_size, receptive_field, vgg11, vgg13, vgg16, vgg19


def small(**arguments: object) -> VGG:
    return VGG(**{"blocks": (1, 2), "channels": (6, 8), "image_size": 8, "hidden_size": 16, "classes": 4, **arguments})


def seen_and_returned(windows: list[Window], size: int) -> tuple[int, int]:
    """Count what one output sees of a line of values, and how many outputs there are, by a chain of torch's layers.

    All weights are positive, so that nothing cancels: an input is seen where its gradient is not 0.
    """
    x = torch.zeros(1, 1, size, dtype=torch.float64, requires_grad=True)
    y = x
    for each in windows:
        weight = torch.ones(1, 1, each.kernel_size, dtype=torch.float64)
        y = torch.conv1d(y, weight, None, each.stride, each.padding, each.dilation)
    middle = y.shape[-1] // 2
    (gradient,) = torch.autograd.grad(y[0, 0, middle], x)
    seen = gradient[0, 0].nonzero().flatten()
    return int(seen[-1] - seen[0] + 1), y.shape[-1]


def transposed_correlation(weight: torch.Tensor, g: torch.Tensor, size: int, window: Window) -> torch.Tensor:
    """Return the transpose of a correlation, as the matrix that its definition says: y_t = Σ_k w_k x_{ts + kd − p}."""
    matrix = torch.zeros(g.shape[-1], size, dtype=torch.float64)
    for t in range(g.shape[-1]):
        for k in range(window.kernel_size):
            place = t * window.stride + k * window.dilation - window.padding
            if 0 <= place < size:
                matrix[t, place] = weight[k]
    return matrix.T @ g


@pytest.mark.demonstrates("cnn-heading-4")
def test_a_stack_of_small_convolutions_sees_what_a_large_one_does() -> None:
    """First the formulas of output size, receptive field and gradient, on 100 random chains; then VGG's argument."""
    draw = random.Random(0)
    torch.manual_seed(0)
    for _ in range(100):
        windows = []
        for _ in range(draw.randint(1, 4)):
            window = {"kernel_size": draw.randint(1, 5), "stride": draw.randint(1, 3), "dilation": draw.randint(1, 3)}
            windows.append(Window(**window, padding=draw.randint(0, 2)))
        # Long enough for the output in the middle to see no padding: twice what it sees, and what paddings shift.
        size = 2 * receptive_field(windows) + draw.randint(400, 500)
        assert seen_and_returned(windows, size) == (receptive_field(windows), output_size(size, windows))
        window, length = windows[0], draw.randint(20, 30)
        x = torch.randn(1, 1, length, dtype=torch.float64, requires_grad=True)
        weight = torch.randn(window.kernel_size, dtype=torch.float64)
        y = torch.conv1d(x, weight.view(1, 1, -1), None, window.stride, window.padding, window.dilation)
        g = torch.randn_like(y)
        (gradient,) = torch.autograd.grad(y, x, g)
        # Sums of at most five products of order 1.
        expected = transposed_correlation(weight, g[0, 0], length, window)
        torch.testing.assert_close(gradient[0, 0], expected, rtol=0, atol=1e-13)
    for n in (2, 3):
        block = VGG([n], [8], in_channels=8, image_size=32, hidden_size=1, classes=1).features.block1
        convolutions = [layer for layer in block if isinstance(layer, nn.Conv2d)]
        assert receptive_field([Window(kernel_size=3)] * n) == 2 * n + 1
        for layer in convolutions:
            nn.init.ones_(layer.weight)
        x = torch.rand(1, 8, 32, 32, requires_grad=True)
        (gradient,) = torch.autograd.grad(block[:-1](x)[0, 0, 16, 16], x)
        seen = gradient.abs().sum((0, 1)).nonzero()
        assert (seen.amax(0) - seen.amin(0) + 1).tolist() == [2 * n + 1] * 2
        # "Three 3×3 layers have 27 C² weights, one 7×7 layer would have 49 C², 81 % more."
        assert sum(layer.weight.numel() for layer in convolutions) == 9 * n * 8 * 8
    assert round(100 * (49 / 27 - 1)) == 81


@pytest.mark.parametrize(
    ("build", "millions", "plain", "with_norm"),
    [
        (vgg11, 133, 132_863_336, 132_868_840),
        (vgg13, 133, 133_047_848, 133_053_736),
        (vgg16, 138, 138_357_544, 138_365_992),
        (vgg19, 144, 143_667_240, 143_678_248),
    ],
)
def test_parameters_are_those_of_the_paper_s_table(build, millions: int, plain: int, with_norm: int) -> None:
    with torch.device("meta"):
        model, other = build(), build(batch_norm=True)
    assert sum(each.numel() for each in model.parameters()) == plain
    assert round(plain / 1e6) == millions
    # The counts with batch normalisation are those of the weights that are in use.
    assert sum(each.numel() for each in other.parameters()) == with_norm
    layers = [layer for layer in model.modules() if isinstance(layer, nn.Conv2d | nn.Linear)]
    assert len(layers) == int(build.__name__.removeprefix("vgg"))


@pytest.mark.parametrize("batch_norm", [False, True])
def test_it_computes_its_formula(batch_norm: bool) -> None:
    torch.manual_seed(0)
    model = small(batch_norm=batch_norm).double().eval()
    w = dict(model.named_parameters())
    x = torch.randn(3, 3, 8, 8, dtype=torch.float64)
    h = x
    for block, n in (("block1", 1), ("block2", 2)):
        for i in range(1, n + 1):
            name = f"features.{block}.convolution{i}"
            h = functional.conv2d(h, w[f"{name}.weight"], w[f"{name}.bias"], padding=1)
            # A new batch normalisation divides by √(1 + 1e-5).
            h = (h / (1 + 1e-5) ** 0.5 if batch_norm else h).clamp_min(0)
        h = h.unfold(2, 2, 2).unfold(3, 2, 2).amax((-2, -1))
    h = h.flatten(1)
    for name in ("linear1", "linear2"):
        h = (h @ w[f"classifier.{name}.weight"].T + w[f"classifier.{name}.bias"]).clamp_min(0)
    expected = h @ w["classifier.output.weight"].T + w["classifier.output.bias"]
    torch.testing.assert_close(model(x), expected, rtol=1e-10, atol=1e-12)


def test_weights_begin_as_glorot_s() -> None:
    torch.manual_seed(0)
    model = small(channels=(16, 32))
    for layer in model.modules():
        if isinstance(layer, nn.Conv2d):
            bound = (6 / (9 * (layer.in_channels + layer.out_channels))) ** 0.5
            assert 0.95 * bound < layer.weight.abs().max() <= bound
            assert not layer.bias.any()


def test_it_drops_units_of_both_hidden_layers_in_training_alone() -> None:
    torch.manual_seed(0)
    model, x = small(hidden_size=128), torch.rand(2, 3, 8, 8)
    for layer in (model.classifier.linear1, model.classifier.linear2):
        # All units are active, so that a zero is one that was dropped.
        nn.init.zeros_(layer.weight)
        nn.init.ones_(layer.bias)
    for reader in (model.classifier.linear2, model.classifier.output):
        seen: list[torch.Tensor] = []
        reader.register_forward_pre_hook(lambda _, inputs, seen=seen: seen.append(inputs[0]))
        model.train()(x)
        # Of 256 halves six standard deviations are 48; what is left is twice as large.
        assert 80 < (seen[0] == 0).sum() < 176
        assert seen[0].unique().tolist() == [0, 2]
        model.eval()(x)
        assert (seen[1] == 1).all()


def test_overfit() -> None:
    torch.manual_seed(0)
    x = torch.randn(16, 3, 8, 8)
    overfits(small(dropout=0.0), x, torch.arange(16) % 4, functional.cross_entropy, steps=200, rate=5e-3)


@pytest.mark.parametrize("batch_norm", [False, True])
def test_it_behaves(batch_norm: bool) -> None:
    torch.manual_seed(0)
    behaves(small(batch_norm=batch_norm), small(batch_norm=batch_norm), torch.randn(3, 3, 8, 8))


def test_wrong_arguments_are_refused() -> None:
    for shape in ((2, 1, 8, 8), (2, 3, 8, 16), (3, 8, 8)):
        with pytest.raises(UsageError, match=r"Give \[batch, 3, 8, 8\] of floating-point numbers"):
            small()(torch.zeros(shape))
    with pytest.raises(UsageError, match="int64"):
        small()(torch.zeros(2, 3, 8, 8, dtype=torch.int64))
    with pytest.raises(UsageError, match=r"image_size is 10: VGG\nGive a multiple of 4"):
        small(image_size=10)
    with pytest.raises(UsageError, match="1 blocks and 2 numbers of channels"):
        small(blocks=(1,))
    for wrong in ({"blocks": (0, 1)}, {"channels": (6, 0)}, {"hidden_size": 0}, {"classes": 0}, {"in_channels": 0}):
        with pytest.raises(UsageError, match="is 0"):
            small(**wrong)
    with pytest.raises(UsageError, match="dropout is 1"):
        small(dropout=1)
