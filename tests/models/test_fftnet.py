"""Adaptive spectral mixing: filters as convolutions, energy, and what adapts."""

from __future__ import annotations

import cmath
import math
from functools import partial

import pytest
import torch
from contract import overfits
from torch import nn

from deepscope.core import UsageError
from deepscope.models import FeedForward, SpectralMixing, TransformerLayer

LENGTHS = pytest.mark.parametrize("length", [1, 6, 7])


def drawn(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def built(length=7, *, fixed=False):
    """Return a layer with 2 heads of 3 columns; fixed, if its filter does not depend on the input."""
    torch.manual_seed(0)
    model = SpectralMixing(6, length, 2).double()
    nn.init.normal_(model.filter)
    if fixed:
        nn.init.zeros_(model.context[2].weight)
        nn.init.zeros_(model.context[2].bias)
    else:
        nn.init.normal_(model.threshold, std=0.3)
    return model


def spectrum(sequence):
    n = len(sequence)
    return [sum(z * cmath.exp(-2j * math.pi * k * t / n) for t, z in enumerate(sequence)) for k in range(n)]


@LENGTHS
def test_it_is_its_formula_one_number_at_a_time(length):
    """Twin: whole transforms by sums of exponentials, of each column of one sequence."""
    model, x = built(length), drawn(2, length, 6)
    filters = model.filter + model.context(x[1].mean(0)).view(2, -1)
    y = model(x)[1]
    for column in range(6):
        head, zs = column // 3, spectrum([z / math.sqrt(length) for z in x[1, :, column].tolist()])
        for k in range(length):
            # The frequencies above half the length are those below, conjugate.
            folded = min(k, length - k)
            z = zs[k] * filters[head, folded].item()
            zs[k] = z * max(0.0, abs(z) + model.threshold[head, folded].item()) / abs(z)
        back = [z.conjugate() / math.sqrt(length) for z in spectrum([z.conjugate() for z in zs])]
        assert max(abs(z.imag) for z in back) < 1e-12
        found = torch.tensor([z.real for z in back], dtype=torch.float64)
        torch.testing.assert_close(y[:, column], found, rtol=0, atol=1e-12)


def shift_dependence(model, x):
    return (model(x.roll(2, 1)) - model(x).roll(2, 1)).abs().max().item()


@LENGTHS
def test_with_a_fixed_filter_it_is_circular_convolution_and_else_it_is_not(length):
    """Twin: the sum over the kernel, which is the transform of the filter."""
    model, x = built(length, fixed=True), drawn(2, length, 6)
    kernels = torch.fft.irfft(model.filter, length)
    torch.testing.assert_close(kernels.flip(1).roll(1, 1), kernels, rtol=0, atol=1e-14)
    expected = torch.zeros_like(x)
    for t in range(length):
        for s in range(length):
            expected[:, t] += kernels[:, (t - s) % length].repeat_interleave(3) * x[:, s]
    torch.testing.assert_close(model(x), expected, rtol=0, atol=1e-12)
    # A linear map keeps sums; the adaptive filter and modReLU do not. Either way a shift goes through.
    other = drawn(2, length, 6, seed=1)
    torch.testing.assert_close(model(x + other), model(x) + model(other), rtol=0, atol=1e-12)
    adaptive = built(length)
    assert (adaptive(x + other) - adaptive(x) - adaptive(other)).abs().max() > 1e-2
    assert shift_dependence(adaptive, x) < 1e-12


def test_a_filter_of_one_is_the_identity_and_modulus_one_keeps_energy():
    model, x = built(fixed=True), drawn(2, 7, 6)
    nn.init.ones_(model.filter)
    torch.testing.assert_close(model(x), x, rtol=0, atol=1e-14)
    with torch.no_grad():
        model.filter.copy_(torch.tensor([[1.0, -1.0, 1.0, -1.0], [-1.0, -1.0, 1.0, 1.0]]))
    y = model(x)
    # Parseval.
    torch.testing.assert_close(y.square().sum(1), x.square().sum(1), rtol=1e-13, atol=0)
    assert (y - x).abs().max() > 0.1


def test_rectification_silences_weak_frequencies():
    model, x = built(fixed=True), drawn(2, 7, 6)
    nn.init.constant_(model.threshold, -1e3)
    assert torch.equal(model(x), torch.zeros_like(x))
    # Where there is nothing, there is no direction: zeros and their gradients stay finite.
    zeros = torch.zeros(1, 7, 6, dtype=torch.float64, requires_grad=True)
    nn.init.constant_(model.threshold, 0.5)
    model(zeros).sum().backward()
    assert zeros.grad.isfinite().all()


def test_parameters_follow_the_formula():
    d, heads, frequencies = 6, 2, 4
    count = sum(parameter.numel() for parameter in built().parameters())
    assert count == d * d + d + (d + 3) * heads * frequencies


def test_in_a_layer_it_learns_sixteen_sequences_by_heart():
    torch.manual_seed(0)
    layer = TransformerLayer(SpectralMixing(8, 6, 2), FeedForward(8), partial(nn.LayerNorm, 8))
    model = nn.Sequential(layer, nn.Flatten(), nn.Linear(48, 2))
    overfits(model, drawn(16, 6, 8).float(), 2 * drawn(16, 2, seed=1).float(), nn.functional.mse_loss, steps=200)


def test_nan_comes_out():
    x = drawn(2, 7, 6)
    x[0, 3, 2] = math.nan
    y = built()(x)
    assert y[0].isnan().all()
    assert y[1].isfinite().all()
    assert built()(x[:0]).shape == (0, 7, 6)


X = torch.zeros(2, 7, 6)


@pytest.mark.parametrize(
    ("call", "match"),
    [
        (lambda: SpectralMixing(6, 7, 4), "width is 6, and heads 4"),
        (lambda: SpectralMixing(6, 0, 2), "length is 0"),
        (lambda: SpectralMixing(6, 7, 2)(X[:, :6]), "has 6 steps"),
        (lambda: SpectralMixing(6, 7, 2)(X[:, :0]), r"\[2, 0, 6\]"),
        (lambda: SpectralMixing(6, 7, 2)(X[..., :5]), r"\[2, 7, 5\]"),
        (lambda: SpectralMixing(6, 7, 2)(X.long()), "int64"),
    ],
)
def test_bad_input_is_refused(call, match):
    with pytest.raises(UsageError, match=match):
        call()
