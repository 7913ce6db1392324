"""Kernels of infinite width: closed forms, quadrature, and wide networks."""

import math

import numpy as np
import pytest
import torch
from scipy.special import erf

from deepscope.core import UsageError
from deepscope.linalg import infinite_width_kernel

RNG = np.random.default_rng(0)
X1, X2 = RNG.standard_normal((4, 5)), RNG.standard_normal((3, 5))
#: φ and φ′.
ACTIVATIONS = {
    "relu": (lambda u: np.maximum(u, 0), lambda u: (u > 0).astype(float)),
    "erf": (erf, lambda u: 2 / math.sqrt(math.pi) * np.exp(-(u**2))),
}


def by_quadrature(x, y, depth, activation, weight_variance, bias_variance, nodes=400):
    """The recursion for one pair, its expectations by a trapezoid rule on a square: the naive twin."""
    phi, slope = ACTIVATIONS[activation]
    points = np.linspace(-9, 9, nodes)
    a, b = np.meshgrid(points, points, indexing="ij")
    density = np.exp(-(a**2 + b**2) / 2) * (points[1] - points[0]) ** 2 / (2 * np.pi)

    def expect(function, uu, uv, vv):
        u = math.sqrt(uu) * a
        v = uv / math.sqrt(uu) * a + math.sqrt(max(vv - uv**2 / uu, 0)) * b
        return float((function(u) * function(v) * density).sum())

    xx, xy, yy = (bias_variance + weight_variance * float(p @ q) / len(x) for p, q in ((x, x), (x, y), (y, y)))
    tangent = xy
    for _ in range(depth):
        product, slopes = expect(phi, xx, xy, yy), expect(slope, xx, xy, yy)
        xx, xy, yy = (
            bias_variance + weight_variance * each
            for each in (expect(phi, xx, xx, xx), product, expect(phi, yy, yy, yy))
        )
        tangent = xy + tangent * weight_variance * slopes
    return xy, tangent


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize(("depth", "weights", "biases"), [(0, 1.5, 0.3), (1, 2.0, 0.0), (3, 1.7, 0.2)])
def test_equals_the_recursion_by_quadrature(activation, depth, weights, biases):
    found = infinite_width_kernel(X1, X2, depth, activation, weights, biases)
    for i, x in enumerate(X1):
        for j, y in enumerate(X2):
            nngp, ntk = by_quadrature(x, y, depth, activation, weights, biases)
            # The kink and the step of the rectifier cost a trapezoid rule a node's width, 0.045, in some places.
            error = 2e-2 if activation == "relu" else 1e-6
            assert found.nngp[i, j] == pytest.approx(nngp, rel=error, abs=error)
            assert found.ntk[i, j] == pytest.approx(ntk, rel=error, abs=error)


@pytest.mark.parametrize("depth", [0, 1, 2, 7])
def test_of_an_input_with_itself(depth):
    """With σ_w² = 2 and no bias each rectifier halves E[u²] and each slope is half: K = 2|x|²/d, Θ = (L + 1) K."""
    nngp, ntk = infinite_width_kernel(X1, None, depth)
    own = 2 * (X1**2).sum(axis=1) / 5
    assert np.diag(nngp) == pytest.approx(own, rel=1e-13)
    assert np.diag(ntk) == pytest.approx((depth + 1) * own, rel=1e-13)


def test_orthogonal_and_opposite_inputs():
    """One rectifier: K is σ_w² |u||v| / 2π at a right angle, and 0 for opposite inputs."""
    nngp, ntk = infinite_width_kernel(np.array([[1.0, 0.0]]), np.array([[0.0, 3.0], [-2.0, 0.0]]), 1)
    assert nngp[0] == pytest.approx([2 * math.sqrt(1 * 9) / (2 * math.pi), 0.0], abs=1e-15)
    # At a right angle Θ⁰ is 0; of opposite inputs no unit passes both.
    assert ntk[0] == pytest.approx(nngp[0], abs=1e-15)


def test_rectifiers_are_homogeneous():
    ours, theirs = infinite_width_kernel(X1, X2, 3), infinite_width_kernel(10 * X1, X2, 3)
    assert theirs.nngp == pytest.approx(10 * ours.nngp, rel=1e-12)
    assert theirs.ntk == pytest.approx(10 * ours.ntk, rel=1e-12)


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_symmetric_and_positive(activation):
    for kernel in infinite_width_kernel(X1, None, 3, activation, 1.5, 0.1):
        assert kernel == pytest.approx(kernel.T, rel=1e-14)
        assert np.linalg.eigvalsh(kernel)[0] > 0


def test_inputs_in_one_direction_are_not_told_apart():
    """The cosine of x and 2x is 1 but for its rounding, which an arccosine would make 1e-8 of."""
    x = RNG.standard_normal((50, 7))
    nngp, ntk = infinite_width_kernel(x, 2 * x, 4)
    own = infinite_width_kernel(x, None, 4)
    assert np.diag(nngp) == pytest.approx(2 * np.diag(own.nngp), rel=1e-13)
    assert np.diag(ntk) == pytest.approx(2 * np.diag(own.ntk), rel=1e-13)


def test_an_input_of_zeros_has_no_kernel_without_a_bias():
    nngp, ntk = infinite_width_kernel(np.zeros((1, 3)), np.array([[0.0, 0.0, 0.0], [1.0, 2.0, 3.0]]), 3)
    assert (nngp == 0).all()
    assert (ntk == 0).all()


def test_a_wide_network_comes_near_it():
    """Both kernels of networks of width 4096 with two hidden layers, averaged over twelve."""
    width, x = 4096, torch.from_numpy(X1).float()
    nngp, ntk = torch.zeros(4, 4), torch.zeros(4, 4)
    generator = torch.Generator().manual_seed(0)

    def dense(n_in, n_out):
        return torch.randn(n_out, n_in, generator=generator)

    for _ in range(12):
        weights = [dense(5, width), dense(width, width), dense(width, 1)]
        h, inputs, pre = x, [], []
        for weight in weights:
            inputs.append(h)
            pre.append(math.sqrt(2 / h.shape[1]) * h @ weight.T)
            h = pre[-1].relu()
        nngp += 2 * inputs[-1] @ inputs[-1].T / width / 12
        gradient = torch.ones(4, 1)
        for layer in (2, 1, 0):
            fan = inputs[layer].shape[1]
            ntk += 2 / fan * (inputs[layer] @ inputs[layer].T) * (gradient @ gradient.T) / 12
            if layer:
                gradient = math.sqrt(2 / fan) * gradient @ weights[layer] * (pre[layer - 1] > 0)
    found = infinite_width_kernel(X1, None, 2)
    # A network's kernels scatter by about 5/sqrt(width) relative to their diagonal; twelve are averaged: 2 %, and three
    # standard errors.
    scale = np.diag(found.ntk).max()
    assert nngp.numpy() == pytest.approx(found.nngp, abs=0.07 * np.diag(found.nngp).max())
    assert ntk.numpy() == pytest.approx(found.ntk, abs=0.07 * scale)


@pytest.mark.parametrize(
    ("asked", "what"),
    [
        ({"x2": np.ones((2, 4))}, "inputs of different size"),
        ({"activation": "tanh"}, "no kernel is known"),
        ({"depth": -1}, "this is -1"),
        ({"bias_variance": -0.1}, "this is -0.1"),
        ({"weight_variance": float("nan")}, "this is nan"),
        ({"x1": np.full((2, 5), np.nan)}, "not finite"),
        ({"x1": np.empty((0, 5))}, "empty"),
    ],
)
def test_what_is_refused(asked, what):
    with pytest.raises(UsageError, match=what):
        infinite_width_kernel(**{"x1": X1, "x2": X2, "depth": 1, **asked})


def test_images_and_tensors_are_read_as_rows():
    images = torch.from_numpy(RNG.standard_normal((3, 1, 2, 4))).requires_grad_()
    found = infinite_width_kernel(images, None, 2)
    assert found.ntk.tolist() == infinite_width_kernel(images.detach().numpy().reshape(3, 8), None, 2).ntk.tolist()
