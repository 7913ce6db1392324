"""Hypernetworks: kernels as an affine function of embeddings, and convolutions with them."""

from __future__ import annotations

import pytest
import torch
from contract import overfits
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from deepscope.core import UsageError
from deepscope.models import HyperConv2d, HyperNetwork, KernelGenerator


def kernel_by_hand(generator: KernelGenerator, z: Tensor) -> Tensor:
    """Return the kernel by the paper's two equations, one input channel after another."""
    e, f = generator.embedding_size, generator.kernel_size
    W = generator.projection.weight.reshape(generator.in_channels, e, e)
    B = generator.projection.bias.reshape(generator.in_channels, e)
    parts = []
    for i in range(generator.in_channels):
        a = W[i] @ z + B[i]
        part = generator.output.weight @ a + generator.output.bias
        parts.append(part.reshape(generator.out_channels, f, f))
    return torch.stack(parts, dim=1)


def built(*sizes: int) -> KernelGenerator:
    """Return a generator in float64 with biases that are not 0."""
    torch.manual_seed(0)
    generator = KernelGenerator(*sizes).double()
    with torch.no_grad():
        generator.projection.bias.normal_()
        generator.output.bias.normal_()
    return generator


def test_kernels_of_all_embeddings_lie_in_one_affine_space() -> None:
    """Of dimension e, whatever the number of layers: their differences from one of them have rank e."""
    generator = built(3, 4, 5, 3)
    kernels = generator(torch.randn(40, 3, dtype=torch.float64)).flatten(1)
    values = torch.linalg.svdvals(kernels[1:] - kernels[0])
    # Beyond the third they are rounding.
    assert values[2] > 1e-3 * values[0]
    assert values[3] < 1e-14 * values[0]
    # Kernels that each layer learns itself are the planted fault: of full rank.
    assert torch.linalg.svdvals(torch.randn_like(kernels[1:]))[3] > 0.1
    halfway = generator(torch.full((3,), 0.5, dtype=torch.float64))
    ends = generator(torch.tensor([[0.0] * 3, [1.0] * 3], dtype=torch.float64))
    torch.testing.assert_close(halfway, ends.mean(0), rtol=0, atol=1e-14)


def test_it_computes_the_papers_equations() -> None:
    generator = built(3, 4, 5, 7)
    z = torch.randn(2, 6, 3, dtype=torch.float64)
    kernels = generator(z)
    assert kernels.shape == (2, 6, 5, 4, 7, 7)
    for place in ((0, 0), (1, 5)):
        torch.testing.assert_close(kernels[place], kernel_by_hand(generator, z[place]), rtol=0, atol=1e-13)


def test_blocks_make_larger_kernels() -> None:
    generator = built(3, 4, 5, 3)
    layer = HyperConv2d(generator, in_blocks=2, out_blocks=3).double()
    assert layer.weight.shape == (15, 8, 3, 3)
    for row in range(3):
        for column in range(2):
            block = layer.weight[5 * row : 5 * row + 5, 4 * column : 4 * column + 4]
            expected = kernel_by_hand(generator, layer.embedding[row, column])
            torch.testing.assert_close(block, expected, rtol=0, atol=1e-13)


def test_the_network_is_an_ordinary_one_with_the_generated_kernel() -> None:
    torch.manual_seed(0)
    model = HyperNetwork().double()
    convolution = nn.Conv2d(16, 16, 7, padding=3).double()
    with torch.no_grad():
        convolution.weight.copy_(model.convolution2.weight)
        convolution.bias.copy_(model.convolution2.bias)
    plain = nn.Sequential(*[convolution if layer is model.convolution2 else layer for layer in model])
    x = torch.randn(3, 1, 28, 28, dtype=torch.float64)
    torch.testing.assert_close(model(x), plain(x), rtol=0, atol=1e-12)
    assert sum(p.numel() for p in plain.parameters()) - sum(p.numel() for p in model.parameters()) == 12_544 - 4_244


def test_generated_weights_have_the_variance_of_a_rectified_layer() -> None:
    torch.manual_seed(0)
    generator = KernelGenerator(64, 16, 16, 3)
    for blocks in (1, 4):
        layer = HyperConv2d(generator, in_blocks=blocks, out_blocks=8)
        # The weights of an input channel share one hidden vector of 64, whose square is known to √(2/64) = 18 %, and
        # there are 128 such: 2 %; the generator's own draw adds as much.
        assert layer.weight.var().item() * blocks * 16 * 9 == pytest.approx(2, rel=0.2)


def test_layers_that_share_a_generator_both_teach_it() -> None:
    generator = KernelGenerator(3, 4, 4, 3)
    first, second = HyperConv2d(generator), HyperConv2d(generator)
    model = nn.Sequential(first, second)
    assert sum(p.numel() for p in model.parameters()) == 4 * 3 * 4 + 36 * 4 + 2 * (3 + 4)
    x = torch.randn(2, 4, 5, 5)
    model(x).square().sum().backward()
    together = generator.output.weight.grad.clone()
    generator.zero_grad()
    second(first(x).detach()).square().sum().backward()
    assert first.embedding.grad.abs().sum() > 0
    assert not torch.allclose(generator.output.weight.grad, together)


def test_the_papers_numbers_of_parameters() -> None:
    generator = HyperNetwork().convolution2.generator
    assert sum(p.numel() for p in generator.parameters()) == 16 * 4 * 5 + 49 * 16 * 5 == 4_240
    assert HyperNetwork().convolution2.weight.numel() == 12_544


def test_sixteen_samples_are_learnt() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(HyperConv2d(KernelGenerator(2, 1, 4, 3)), nn.ReLU(), nn.Flatten(), nn.Linear(64, 3))
    overfits(model, torch.randn(16, 1, 4, 4), torch.randint(3, (16,)), cross_entropy, steps=300)


def test_its_state_is_taken_up_whole() -> None:
    first, second = HyperNetwork(), HyperNetwork()
    x = torch.randn(2, 1, 28, 28)
    assert not torch.equal(first(x), second(x))
    second.load_state_dict(first.state_dict())
    assert torch.equal(first(x), second(x))


def test_nan_is_not_hidden() -> None:
    x = torch.zeros(3, 1, 28, 28)
    x[1, 0, 3, 3] = torch.nan
    assert HyperNetwork()(x).isnan().all(1).tolist() == [False, True, False]


def test_bad_input_is_named() -> None:
    with pytest.raises(UsageError, match="embedding_size is 0"):
        HyperNetwork(embedding_size=0)
    with pytest.raises(UsageError, match="in_blocks is 0"):
        HyperConv2d(KernelGenerator(2, 2, 2, 3), in_blocks=0)
    for z in (torch.zeros(3), torch.zeros(())):
        with pytest.raises(UsageError, match="Give embeddings"):
            KernelGenerator(2, 2, 2, 3)(z)
    for x in (
        torch.zeros(2, 3, 28, 28),
        torch.zeros(2, 784),
        torch.zeros(2, 1, 28, 28).long(),
        torch.zeros(2, 1, 8, 8),
    ):
        with pytest.raises(UsageError, match=r"Give \[batch, 1, height, width\]"):
            HyperNetwork()(x)
    with pytest.raises(UsageError, match="Give images of 28×28"):
        HyperNetwork()(torch.zeros(2, 1, 32, 32))
    with pytest.raises(UsageError, match=r"Give \[batch, 4, height"):
        HyperConv2d(KernelGenerator(2, 2, 2, 3), in_blocks=2)(torch.zeros(2, 2, 5, 5))
