"""Complex layers, networks, and the neuron that computes XOR."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from deepscope.core import Specimen, UsageError
from deepscope.models._inputs import values
from deepscope.models._sizes import check_images, check_shape, not_negative, positive


def _real_matrix(weight: Tensor) -> Tensor:
    """Turn complex numbers, [2, out, in, …], into the real matrices that multiply by them, [2 out, 2 in, …]."""
    real, imaginary = weight.unbind()
    return torch.cat([torch.cat([real, -imaginary], 1), torch.cat([imaginary, real], 1)])


def _initialise(weight: Tensor, bias: Tensor | None) -> None:
    _, fan_out, fan_in, *window = weight.shape
    nn.init.normal_(weight, std=1 / math.sqrt(math.prod(window) * (fan_in + fan_out)))
    if bias is not None:
        nn.init.zeros_(bias)


class ComplexLinear(nn.Module):
    """Linear layer over the complex numbers: y = W x + b.

    Maps [..., 2 in_features] to [..., 2 out_features], where all real parts come first, then all imaginary ones; with
    W = A + i B the real matrix is [[A, −B], [B, A]]. There are 2 out_features (in_features + 1) parameters, and half of
    the weights of ``nn.Linear`` between as many real numbers. It costs as much as ``nn.Linear`` does. Magnitudes of
    weights begin with Rayleigh's distribution of scale 1 / √(in_features + out_features), phases uniform, so that both
    parts are Gaussian. Biases begin with 0. Source: ``trabelsi2018deep``.

    Parameters
    ----------
    in_features, out_features
        Numbers of complex numbers.
    bias
        Whether there is a b.

    Raises
    ------
    UsageError
        A size below 1; when called: an input of another length or dtype.

    Examples
    --------
    >>> import torch
    >>> layer = ComplexLinear(50, 10)
    >>> layer(torch.zeros(5, 100)).shape, sum(p.numel() for p in layer.parameters())
    (torch.Size([5, 20]), 1020)
    """

    def __init__(self, in_features: int, out_features: int, *, bias: bool = True) -> None:
        super().__init__()
        shape = positive(out_features, "out_features", self), positive(in_features, "in_features", self)
        self.weight = nn.Parameter(torch.empty(2, *shape))
        self.bias = nn.Parameter(torch.empty(2 * out_features)) if bias else None
        _initialise(self.weight, self.bias)

    def forward(self, x: Tensor) -> Tensor:
        """Return the complex numbers, [..., 2 out_features]."""
        wanted = 2 * self.weight.shape[2]
        if x.shape[-1:] != (wanted,) or not x.is_floating_point():
            raise UsageError(
                f"the input is {list(x.shape)} of {str(x.dtype).removeprefix('torch.')}",
                where="ComplexLinear",
                todo=f"Give [..., {wanted}] floating-point numbers: {wanted // 2} real parts, then as many imaginary.",
            )
        a, b = self.weight.unbind()
        real, imaginary = x.chunk(2, -1)
        # For few samples this is faster than a real matrix to multiply with.
        y_real = functional.linear(real, a) - functional.linear(imaginary, b)
        y_imaginary = functional.linear(real, b) + functional.linear(imaginary, a)
        y = torch.cat([y_real, y_imaginary], -1)
        return y if self.bias is None else y + self.bias


class ComplexConv2d(nn.Module):
    """Convolution over the complex numbers: the weights and pixels of ``nn.Conv2d`` multiply as complex numbers.

    Maps [batch, 2 in_channels, height, width] to [batch, 2 out_channels, …, …], where all real parts come first, then
    all imaginary ones. There are 2 out_channels (in_channels k² + 1) parameters. Weights begin as in ``ComplexLinear``,
    where a fan is a number of channels times k². Source: ``trabelsi2018deep``.

    Parameters
    ----------
    in_channels, out_channels
        Numbers of complex numbers per pixel.
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
    >>> layer = ComplexConv2d(1, 8, 3, padding=1)
    >>> layer(torch.zeros(5, 2, 16, 16)).shape, sum(p.numel() for p in layer.parameters())
    (torch.Size([5, 16, 16, 16]), 160)
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
        self.weight = nn.Parameter(torch.empty(2, *shape, size, size))
        self.bias = nn.Parameter(torch.empty(2 * out_channels)) if bias else None
        _initialise(self.weight, self.bias)

    def forward(self, x: Tensor) -> Tensor:
        """Return the complex numbers of each pixel, [batch, 2 out_channels, …, …]."""
        in_channels, size = self.weight.shape[2:4]
        check_images(x, 2 * in_channels, self, smallest=max(size - 2 * self.padding, 1))
        return functional.conv2d(x, _real_matrix(self.weight), self.bias, self.stride, self.padding)


class ComplexMLP(nn.Module):
    """Multilayer perceptron over the complex numbers: h_i = ℂrelu(W_i h_{i−1} + b_i), and real logits.

    Maps [batch, 2, …] to [batch, out_features]: axis 1 holds the real and the imaginary parts of in_features numbers.
    ℂrelu(z) = relu(Re z) + i relu(Im z), and a real linear layer reads both parts of the last complex numbers. With
    widths d₀ = in_features, d₁, …, d_k there are Σ_i 2 d_i (d_{i−1} + 1) parameters and out_features (2 d_k + 1) in the
    last layer. Hidden layers begin as ``ComplexLinear``, the last as torch does. Source: ``trabelsi2018deep``.

    Parameters
    ----------
    in_features
        Complex numbers per sample.
    hidden
        Widths of the hidden layers, in complex numbers.
    out_features
        Number of logits.

    Raises
    ------
    UsageError
        A size below 1; no hidden layer; when called: an input of another size or dtype.

    Examples
    --------
    >>> import torch
    >>> model = ComplexMLP(16, [8], 10)
    >>> model(torch.zeros(5, 2, 4, 4)).shape, sum(p.numel() for p in model.parameters())
    (torch.Size([5, 10]), 442)
    """

    def __init__(self, in_features: int, hidden: Sequence[int], out_features: int) -> None:
        super().__init__()
        if not hidden:
            raise UsageError("there is no hidden layer", where="ComplexMLP", todo="Give the width of one at least.")
        self.in_features = positive(in_features, "in_features", self)
        layers: OrderedDict[str, nn.Module] = OrderedDict(flatten=nn.Flatten())
        fan_in = in_features
        for index, width in enumerate(hidden, start=1):
            layers[f"hidden{index}"] = ComplexLinear(fan_in, positive(width, "a width", self))
            layers[f"activation{index}"] = nn.ReLU()
            fan_in = width
        layers["output"] = nn.Linear(2 * fan_in, positive(out_features, "out_features", self))
        self.layers = nn.Sequential(layers)

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits, [batch, out_features]."""
        if x.ndim < 3 or x.shape[1] != 2 or math.prod(x.shape[2:]) != self.in_features or not x.is_floating_point():
            raise UsageError(
                f"the input is {list(x.shape)} of {str(x.dtype).removeprefix('torch.')}",
                where="ComplexMLP",
                todo=f"Give [batch, 2, …] floating-point numbers, with {self.in_features} of each part.",
            )
        logits: Tensor = self.layers(x)
        return logits


class ComplexNeuron(nn.Module):
    """Universal binary neuron: y = sin(m φ / 2), where φ is the phase of z = w₀ + Σ_n w_n x_n with complex weights.

    Maps [batch, in_features] real numbers to [batch, 1] in [−1, 1]. The sign of y is the neuron's answer (−1)^j in
    sector j of the m equal sectors of the plane, 2π j / m ≤ φ < 2π (j + 1) / m. With four sectors one neuron computes
    every Boolean function of two inputs ±1: XOR, which no single neuron with real weights and a monotone activation
    can compute, by z = x₁ + i x₂. There are 2 (in_features + 1) parameters; they begin as in ``ComplexLinear``.

    The source has the sign alone; y passes through 0 where the sign changes, so that there is a gradient to learn by.
    Source: ``aizenberg2008solving``.

    Parameters
    ----------
    in_features
        Number of real inputs.
    sectors
        m, an even number, so that the signs alternate all the way round.

    Raises
    ------
    UsageError
        A size below 1; an odd number of sectors; when called: an input of another shape or dtype.

    Examples
    --------
    >>> import torch
    >>> neuron = ComplexNeuron()
    >>> neuron(torch.zeros(5, 2)).shape, sum(p.numel() for p in neuron.parameters())
    (torch.Size([5, 1]), 6)
    """

    def __init__(self, in_features: int = 2, *, sectors: int = 4) -> None:
        super().__init__()
        if positive(sectors, "sectors", self) % 2:
            raise UsageError(f"sectors is {sectors}", where="ComplexNeuron", todo="Give an even number.")
        self.sectors = sectors
        self.linear = ComplexLinear(in_features, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Return sin(m φ / 2), [batch, 1]."""
        check_shape(x, [self.linear.weight.shape[2]], self)
        real, imaginary = self.linear(torch.cat([x, torch.zeros_like(x)], 1)).chunk(2, 1)
        return torch.sin(self.sectors / 2 * torch.atan2(imaginary, real))


def complex_300_100() -> ComplexMLP:
    """Return the perceptron of 784, 300, 100 and 10 numbers, complex but for the last; 134,010 parameters.

    A complex number of its input holds two neighbouring pixels of a digit: ``x.view(-1, 14, 2, 28).transpose(1, 2)``
    makes [batch, 1, 28, 28] into [batch, 2, 14, 28]. The real perceptron of these widths has 266,610 parameters.
    Layers: ``trabelsi2018deep``; widths: ``lecun1998gradient``.

    Examples
    --------
    >>> sum(p.numel() for p in complex_300_100().parameters())
    134010
    """
    return ComplexMLP(14 * 28, (150, 50), 10)


SPECIMENS = (
    Specimen(
        name="complex-mlp",
        title="multilayer perceptron over the complex numbers",
        build=complex_300_100,
        inputs=values(2, 14, 28),
        parameters=134_010,
        formula=(
            "h_i = relu(Re z_i) + i relu(Im z_i) with z_i = W_i h_(i−1) + b_i, from 392 complex numbers to 150, to 50, "
            "to 10 real logits; 134,010 parameters."
        ),
        source="trabelsi2018deep",
        pinned_by="tests/models/test_complex.py::test_layers_compute_with_complex_numbers",
    ),
    Specimen(
        name="complex-neuron",
        title="one complex neuron that computes XOR",
        build=ComplexNeuron,
        inputs=values(2),
        parameters=6,
        formula=(
            "y = sin(m φ / 2), where φ is the phase of w₀ + w₁ x₁ + w₂ x₂ with complex weights and m = 4; the sign "
            "alternates from one quadrant to the next."
        ),
        source="aizenberg2008solving",
        rows=("complex-nn",),
        pinned_by="tests/models/test_complex.py::test_one_neuron_computes_xor_and_a_wave_needs_half_the_parameters",
    ),
)
