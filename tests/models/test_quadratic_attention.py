"""Attention by quadratic relative positions: the convolutions that it is, and those that it cannot be."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from contract import overfits
from torch import nn
from torch.nn.functional import mse_loss

from deepscope.core import UsageError
from deepscope.models import QuadraticAttention


def drawn(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def convolution(size, *, channels=(3, 3), dilation=1, bias=True, seed=0):
    torch.manual_seed(seed)
    reach = dilation * (size - 1) // 2
    return nn.Conv2d(*channels, size, padding=reach, dilation=dilation, bias=bias, dtype=torch.float64)


def as_matrix(layer, size=5):
    """Return what the pixel in the middle reads from every pixel, [pixels, in · out]; layers are linear in x."""
    units = torch.eye(3 * size * size, dtype=torch.float64).reshape(-1, 3, size, size)
    with torch.no_grad():
        nothing = layer(torch.zeros(1, 3, size, size, dtype=torch.float64))
        middle = (layer(units) - nothing)[:, :, size // 2, size // 2]
    return middle.reshape(3, size * size, -1).movedim(1, 0).flatten(1)


def fitted(target, heads, seed):
    """Return the best that some heads do for a convolution: places by Adam, values by least squares."""
    torch.manual_seed(seed)
    layer = QuadraticAttention(3, 3, heads, padding=0).double()
    with torch.no_grad():
        layer.centre.copy_(torch.randint(-1, 2, (heads, 2)) + 0.1 * torch.randn(heads, 2))
        layer.locality.fill_(2.0)
    optimizer = torch.optim.Adam([layer.centre, layer.locality], lr=0.05)
    for _ in range(60):
        reads = layer.weights(5, 5)[:, 2, 2].flatten(1).T
        residual = target - reads @ torch.linalg.lstsq(reads, target).solution
        optimizer.zero_grad()
        residual.square().sum().backward()
        optimizer.step()
    return residual.detach().norm().item()


@pytest.mark.demonstrates("attention-conv")
def test_as_many_heads_as_offsets_are_any_convolution_and_fewer_are_not():
    x = drawn(2, 3, 7, 6)
    for size in (1, 3, 5):
        for seed in range(3):
            exact = convolution(size, seed=seed)
            # Twin: torch.nn.Conv2d. e⁻⁴⁶ is 1e-20; what is left is rounding of sums of at most 75 terms.
            found = QuadraticAttention.from_convolution(exact)(x)
            torch.testing.assert_close(found, exact(x), rtol=0, atol=1e-12)
            single = QuadraticAttention.from_convolution(exact.float())(x.float())
            torch.testing.assert_close(single, exact(x.float()), rtol=0, atol=1e-5)
    # Of this 3 × 3 convolution the matrices of the nine offsets are orthogonal, with norms 9, 8, …, 1.
    kernel, basis = convolution(3, bias=False), torch.linalg.qr(drawn(9, 9))[0]
    norms = torch.arange(9, 0, -1, dtype=torch.float64)
    with torch.no_grad():
        kernel.weight.copy_((norms * basis).reshape(3, 3, 3, 3))
    target = as_matrix(kernel)
    singular = torch.linalg.svdvals(target)
    torch.testing.assert_close(singular, norms, rtol=0, atol=1e-12)
    assert (as_matrix(QuadraticAttention.from_convolution(kernel)) - target).abs().max() < 1e-10
    for heads in range(1, 9):
        torch.manual_seed(heads)
        layer = QuadraticAttention(3, 3, heads).double()
        assert torch.linalg.matrix_rank(as_matrix(layer), rtol=1e-10) == heads
        # Eckart and Young: no matrix of that rank is nearer than the singular values that are left out.
        bound = singular[heads:].norm().item()
        assert (as_matrix(layer) - target).norm().item() >= bound
        assert fitted(target, heads, seed=heads) >= bound * (1 - 1e-6)


def test_its_error_falls_exponentially_with_locality():
    exact, x = convolution(3), drawn(2, 3, 7, 7)

    def error(locality):
        return (QuadraticAttention.from_convolution(exact, locality)(x) - exact(x)).abs().max().item()

    localities = [8.0, 12.0, 16.0, 20.0]
    slopes = [math.log(error(b) / error(a)) / (b - a) for a, b in itertools.pairwise(localities)]
    # The nearest neighbours' weight is e^−α; the next, √2 away, are smaller by e^−8 at least.
    assert all(abs(slope + 1) < 0.05 for slope in slopes)


def test_it_is_dilated_convolution_as_well():
    exact, x = convolution(3, channels=(2, 4), dilation=2, bias=False), drawn(2, 2, 9, 8)
    torch.testing.assert_close(QuadraticAttention.from_convolution(exact)(x), exact(x), rtol=0, atol=1e-12)


def test_it_is_its_formula_pixel_by_pixel():
    """Twin: one softmax over all pixels and the border, from the scores v·r of the paper."""
    torch.manual_seed(0)
    layer, x = QuadraticAttention(2, 3, 4, padding=1).double(), drawn(1, 2, 4, 5)
    with torch.no_grad():
        layer.locality.copy_(torch.tensor([0.3, 1.0, 2.0, 0.0]))
    padded = nn.functional.pad(x, (1, 1, 1, 1))[0]
    expected = torch.zeros(3, 4, 5, dtype=torch.float64)
    for i in range(4):
        for j in range(5):
            reads = []
            for alpha, (first, second) in zip(layer.locality, layer.centre, strict=True):
                vector = -alpha * torch.stack([torch.ones_like(first), -2 * first, -2 * second])
                deltas = [(k - 1 - i, n - 1 - j) for k in range(6) for n in range(7)]
                codes = torch.tensor([[a * a + b * b, a, b] for a, b in deltas], dtype=torch.float64)
                weights = torch.softmax(codes @ vector, 0)
                assert torch.allclose(layer.weights(4, 5)[len(reads), i, j].flatten(), weights, atol=1e-14)
                reads.append(padded.flatten(1) @ weights)
            expected[:, i, j] = layer.output(torch.cat(reads))
    torch.testing.assert_close(layer(x)[0], expected, rtol=0, atol=1e-12)


def test_centres_begin_as_in_the_papers_experiments():
    torch.manual_seed(0)
    layer = QuadraticAttention(1, 1, 2000)
    # Of 4,000 draws the mean square is off by a share of √(2/4000), and four of these.
    assert layer.centre.square().mean().item() == pytest.approx(2, rel=4 * (2 / 4000) ** 0.5)
    assert torch.equal(layer.locality, torch.ones(2000))


def test_inside_it_is_equivariant_under_shifts():
    layer = QuadraticAttention.from_convolution(convolution(3))
    x = torch.zeros(1, 3, 12, 12, dtype=torch.float64)
    x[:, :, 3:7, 3:7] = drawn(1, 3, 4, 4)
    torch.testing.assert_close(layer(x.roll((2, 1), (2, 3))), layer(x).roll((2, 1), (2, 3)), rtol=0, atol=1e-13)


def test_it_learns_sixteen_images_by_heart():
    torch.manual_seed(0)
    model = nn.Sequential(QuadraticAttention(1, 8, 4, padding=0), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 16, 2))
    overfits(model, drawn(16, 1, 4, 4).float(), 2 * drawn(16, 2, seed=1).float(), mse_loss, steps=300)


def test_one_pixel_is_enough_and_nan_comes_out():
    layer = QuadraticAttention(3, 3, 2, padding=0).double()
    assert layer(drawn(2, 3, 1, 1)).shape == (2, 3, 1, 1)
    x = drawn(2, 3, 4, 4)
    x[0, 1, 2, 2] = math.nan
    y = layer(x)
    assert y[0].isnan().all()
    assert y[1].isfinite().all()


X = torch.zeros(2, 3, 4, 4)


@pytest.mark.parametrize(
    ("call", "match"),
    [
        (lambda: QuadraticAttention(0), "in_channels is 0"),
        (lambda: QuadraticAttention(3, 0), "out_channels is 0"),
        (lambda: QuadraticAttention(3, 3, 0), "heads is 0"),
        (lambda: QuadraticAttention(3, 3, padding=-1), "padding is -1"),
        (lambda: QuadraticAttention(4)(X), r"\[2, 3, 4, 4\]"),
        (lambda: QuadraticAttention(3)(X.long()), "int64"),
        (lambda: QuadraticAttention(3)(X[:, :, :0]), r"\[2, 3, 0, 4\]"),
        (lambda: QuadraticAttention.from_convolution(nn.Conv2d(3, 3, 2)), "kernel_size"),
        (lambda: QuadraticAttention.from_convolution(nn.Conv2d(3, 3, 3)), "kernel_size"),
        (lambda: QuadraticAttention.from_convolution(nn.Conv2d(3, 3, 3, padding=1, stride=2)), "stride"),
        (lambda: QuadraticAttention.from_convolution(nn.Conv2d(3, 3, 3, padding=1, groups=3)), "groups"),
    ],
)
def test_bad_input_is_refused(call, match):
    with pytest.raises(UsageError, match=match):
        call()
