"""Quaternion layers and networks."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from deepscope.core import Specimen, UsageError
from deepscope.models._inputs import values
from deepscope.models._sizes import check_images, not_negative, positive

# Row i of the matrix of p ↦ w p holds these parts of w = (r, i, j, k), with these signs.
_PARTS = ((0, 1, 2, 3), (1, 0, 3, 2), (2, 3, 0, 1), (3, 2, 1, 0))
_SIGNS = ((1, -1, -1, -1), (1, 1, -1, 1), (1, 1, 1, -1), (1, -1, 1, 1))


def hamilton_product(p: Tensor, q: Tensor) -> Tensor:
    """Return the product of quaternions, [..., 4] each, with parts (r, i, j, k): i² = j² = k² = i j k = −1.

    Raises
    ------
    UsageError
        The last axis does not hold four parts.

    Examples
    --------
    >>> import torch
    >>> i, j = torch.eye(4)[1], torch.eye(4)[2]
    >>> hamilton_product(i, j), hamilton_product(j, i)
    (tensor([0., 0., 0., 1.]), tensor([ 0.,  0.,  0., -1.]))
    """
    if p.shape[-1:] != (4,) or q.shape[-1:] != (4,):
        raise UsageError(
            f"the factors are {list(p.shape)} and {list(q.shape)}",
            where="hamilton_product",
            todo="Give [..., 4] each: the parts r, i, j and k.",
        )
    left = torch.stack([p[..., part] * p.new_tensor(sign) for part, sign in zip(_PARTS, _SIGNS, strict=True)], -2)
    return (left * q[..., None, :]).sum(-1)


def _real_matrix(weight: Tensor) -> Tensor:
    """Turn quaternions, [4, out, in, …], into the real matrices that multiply by them, [4 out, 4 in, …]."""
    rows = [
        torch.cat([weight[part] if sign > 0 else -weight[part] for part, sign in zip(parts, signs, strict=True)], 1)
        for parts, signs in zip(_PARTS, _SIGNS, strict=True)
    ]
    return torch.cat(rows)


def _initialise(weight: Tensor, bias: Tensor | None) -> None:
    _, fan_out, fan_in, *window = weight.shape
    area = math.prod(window)
    scale = 1 / math.sqrt(2 * area * (fan_in + fan_out))
    with torch.no_grad():
        axis = functional.normalize(torch.randn_like(weight[1:]), dim=0)
        angle = torch.empty_like(weight[0]).uniform_(-math.pi, math.pi)
        size = scale * torch.randn_like(weight).norm(dim=0)
        weight.copy_(size * torch.cat([angle.cos()[None], axis * angle.sin()]))
    if bias is not None:
        nn.init.zeros_(bias)


class QuaternionLinear(nn.Module):
    """Linear layer over the quaternions: y_o = Σ_n w_on x_n + b_o, with Hamilton's product.

    Maps [..., 4 in_features] to [..., 4 out_features], where all parts r come first, then all i, all j, all k. With
    w = (r, i, j, k) the real matrix of a product is ::

        r −i −j −k
        i  r −k  j
        j  k  r −i
        k −j  i  r

    so that a layer between as many real numbers has a quarter of the weights of ``nn.Linear``: 4 out_features
    (in_features + 1) parameters. It costs as much as ``nn.Linear`` does. Weights begin with a magnitude of the chi
    distribution with four degrees of freedom, scaled by 1 / √(2 (in_features + out_features)), a uniform angle and a
    uniform axis; biases with 0. Source: ``parcollet2019quaternion``.

    Parameters
    ----------
    in_features, out_features
        Numbers of quaternions.
    bias
        Whether there is a b.

    Raises
    ------
    UsageError
        A size below 1; when called: an input of another length or dtype.

    Examples
    --------
    >>> import torch
    >>> layer = QuaternionLinear(25, 10)
    >>> layer(torch.zeros(5, 100)).shape, sum(p.numel() for p in layer.parameters())
    (torch.Size([5, 40]), 1040)
    """

    def __init__(self, in_features: int, out_features: int, *, bias: bool = True) -> None:
        super().__init__()
        shape = positive(out_features, "out_features", self), positive(in_features, "in_features", self)
        self.weight = nn.Parameter(torch.empty(4, *shape))
        self.bias = nn.Parameter(torch.empty(4 * out_features)) if bias else None
        _initialise(self.weight, self.bias)

    def forward(self, x: Tensor) -> Tensor:
        """Return the quaternions, [..., 4 out_features]."""
        wanted = 4 * self.weight.shape[2]
        if x.shape[-1:] != (wanted,) or not x.is_floating_point():
            raise UsageError(
                f"the input is {list(x.shape)} of {str(x.dtype).removeprefix('torch.')}",
                where="QuaternionLinear",
                todo=f"Give [..., {wanted}] floating-point numbers: {self.weight.shape[2]} of each part.",
            )
        _, out_features, in_features = self.weight.shape
        parts = functional.linear(x.reshape(*x.shape[:-1], 4, in_features), self.weight.flatten(0, 1))
        # [..., part of x, part of w, out_features]: for few samples this is faster than a real matrix to multiply with.
        products = parts.reshape(*x.shape[:-1], 4, 4, out_features)
        y = torch.cat([_signed_sum(products, row) for row in range(4)], -1)
        return y if self.bias is None else y + self.bias


def _signed_sum(products: Tensor, row: int) -> Tensor:
    total = products[..., 0, _PARTS[row][0], :]
    for column in (1, 2, 3):
        product = products[..., column, _PARTS[row][column], :]
        total = total + product if _SIGNS[row][column] > 0 else total - product
    return total


class QuaternionConv2d(nn.Module):
    """Convolution over the quaternions: the weights and pixels of ``nn.Conv2d`` multiply by Hamilton's product.

    Maps [batch, 4 in_channels, height, width] to [batch, 4 out_channels, …, …], where all parts r come first, then all
    i, all j, all k. There are 4 out_channels (in_channels k² + 1) parameters, a quarter of those of a convolution
    between as many real channels. Weights begin as in ``QuaternionLinear``, where a fan is a number of channels times
    k². Source: ``parcollet2019quaternion``.

    Parameters
    ----------
    in_channels, out_channels
        Numbers of quaternions per pixel.
    kernel_size
        k, height and width of the filter.
    stride, padding
        As in ``nn.Conv2d``.
    bias
        Whether a bias is added.

    Raises
    ------
    UsageError
        A size below 1; a negative padding; when called: an input of another shape or dtype.

    Examples
    --------
    >>> import torch
    >>> layer = QuaternionConv2d(1, 8, 3, padding=1)
    >>> layer(torch.zeros(5, 4, 16, 16)).shape, sum(p.numel() for p in layer.parameters())
    (torch.Size([5, 32, 16, 16]), 320)
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        *,
        stride: int = 1,
        padding: int = 0,
        bias: bool = True,
    ) -> None:
        super().__init__()
        self.stride = positive(stride, "stride", self)
        self.padding = not_negative(padding, "padding", self)
        size = positive(kernel_size, "kernel_size", self)
        shape = positive(out_channels, "out_channels", self), positive(in_channels, "in_channels", self)
        self.weight = nn.Parameter(torch.empty(4, *shape, size, size))
        self.bias = nn.Parameter(torch.empty(4 * out_channels)) if bias else None
        _initialise(self.weight, self.bias)

    def forward(self, x: Tensor) -> Tensor:
        """Return the quaternions of each pixel, [batch, 4 out_channels, …, …]."""
        in_channels, size = self.weight.shape[2:4]
        check_images(x, 4 * in_channels, self, smallest=max(size - 2 * self.padding, 1))
        return functional.conv2d(x, _real_matrix(self.weight), self.bias, self.stride, self.padding)


class QuaternionMLP(nn.Module):
    """Multilayer perceptron over the quaternions: h_i = relu(W_i h_{i−1} + b_i) with Hamilton's products, and logits.

    Maps [batch, 4, …] to [batch, out_features]: axis 1 holds the parts r, i, j and k of in_features quaternions. ReLU
    acts on each part, and a real linear layer reads all parts of the last quaternions. With widths d₀ = in_features,
    d₁, …, d_k there are Σ_i 4 d_i (d_{i−1} + 1) parameters and out_features (4 d_k + 1) in the last layer. Hidden
    layers begin as ``QuaternionLinear``, the last as torch does. Source: ``parcollet2019quaternion``.

    Parameters
    ----------
    in_features
        Number of quaternions per sample.
    hidden
        Widths of the hidden layers, in quaternions.
    out_features
        Number of logits.

    Raises
    ------
    UsageError
        A size below 1; no hidden layer; when called: an input of another size or dtype.

    Examples
    --------
    >>> import torch
    >>> model = QuaternionMLP(16, [8], 10)
    >>> model(torch.zeros(5, 4, 4, 4)).shape, sum(p.numel() for p in model.parameters())
    (torch.Size([5, 10]), 874)
    """

    def __init__(self, in_features: int, hidden: Sequence[int], out_features: int) -> None:
        super().__init__()
        if not hidden:
            raise UsageError("there is no hidden layer", where="QuaternionMLP", todo="Give the width of one at least.")
        self.in_features = positive(in_features, "in_features", self)
        layers: OrderedDict[str, nn.Module] = OrderedDict(flatten=nn.Flatten())
        fan_in = in_features
        for index, width in enumerate(hidden, start=1):
            layers[f"hidden{index}"] = QuaternionLinear(fan_in, positive(width, "a width", self))
            layers[f"activation{index}"] = nn.ReLU()
            fan_in = width
        layers["output"] = nn.Linear(4 * fan_in, positive(out_features, "out_features", self))
        self.layers = nn.Sequential(layers)

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits, [batch, out_features]."""
        if x.ndim < 3 or x.shape[1] != 4 or math.prod(x.shape[2:]) != self.in_features or not x.is_floating_point():
            raise UsageError(
                f"the input is {list(x.shape)} of {str(x.dtype).removeprefix('torch.')}",
                where="QuaternionMLP",
                todo=f"Give [batch, 4, …] floating-point numbers, with {self.in_features} of each part.",
            )
        logits: Tensor = self.layers(x)
        return logits


def quaternion_300_100() -> QuaternionMLP:
    """Return the perceptron of 784, 300, 100 and 10 numbers, in quaternions but for the last; 67,710 parameters.

    A quaternion of its input holds 2×2 neighbouring pixels of a digit: ``nn.PixelUnshuffle(2)`` makes
    [batch, 1, 28, 28] into [batch, 4, 14, 14]. The real perceptron of these widths has 266,610 parameters.
    Layers: ``parcollet2019quaternion``; widths: ``lecun1998gradient``.

    Examples
    --------
    >>> sum(p.numel() for p in quaternion_300_100().parameters())
    67710
    """
    return QuaternionMLP(14 * 14, (75, 25), 10)


SPECIMENS = (
    Specimen(
        name="quaternion-mlp",
        title="multilayer perceptron over the quaternions",
        build=quaternion_300_100,
        inputs=values(4, 14, 14),
        parameters=67_710,
        formula=(
            "h_i = relu(W_i h_(i−1) + b_i) with Hamilton's products, from 196 quaternions to 75, to 25, to 10 real "
            "logits; 67,710 parameters."
        ),
        source="parcollet2019quaternion",
        rows=("quaternion-nn",),
        pinned_by="tests/models/test_quaternion.py::test_it_learns_a_rotation_of_which_it_has_seen_a_part",
    ),
)
