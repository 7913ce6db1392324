"""Random features: a layer that is drawn and stays, and a linear one that learns; a kernel in the limit."""

from __future__ import annotations

import math
from collections import OrderedDict

import torch
from torch import Tensor, nn

from deepscope.core import Specimen, UsageError
from deepscope.models._inputs import values
from deepscope.models._sizes import check_vectors, positive


class RandomFourierFeatures(nn.Module):
    """Random Fourier features z(x) = √(2/D) cos(Wx + b), whose inner products are nearly a Gaussian kernel.

    Maps [batch, in_features] to [batch, D]. The frequencies W are normal of deviation 1/ℓ and the phases b uniform in
    [0, 2π). The mean of z(x)·z(y) is k = exp(−|x − y|²/(2ℓ²)), and its variance (1 + (1 − k²)²)/(2D): it tends to k as
    1/√D. Both are buffers: nothing here learns. A sample costs 2 D in_features operations. Source:
    ``rahimi2007random``.

    Parameters
    ----------
    in_features
        Number of inputs.
    out_features
        Number of features, D.
    bandwidth
        ℓ, in units of the inputs.
    generator
        Draws W and b. torch's global one unless given.

    Raises
    ------
    UsageError
        A size below 1, a bandwidth that is not positive and finite; when called: an input of another shape or not of
        floating-point numbers.

    Examples
    --------
    >>> features = RandomFourierFeatures(3, 10_000, generator=torch.Generator().manual_seed(0))
    >>> z = features(torch.tensor([[0.0, 0.0, 0.0], [1.0, 0.0, 0.0]]))
    >>> round((z[0] @ z[1]).item(), 2), round(math.exp(-1 / 2), 2)
    (0.61, 0.61)
    """

    weight: Tensor
    bias: Tensor

    def __init__(
        self,
        in_features: int,
        out_features: int,
        *,
        bandwidth: float = 1.0,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        self.in_features = positive(in_features, "in_features", self)
        self.out_features = positive(out_features, "out_features", self)
        if not 0 < bandwidth < math.inf:
            raise UsageError(
                f"bandwidth is {bandwidth}", where="RandomFourierFeatures", todo="Give a positive, finite number."
            )
        self.register_buffer("weight", torch.randn(out_features, in_features, generator=generator) / bandwidth)
        self.register_buffer("bias", 2 * math.pi * torch.rand(out_features, generator=generator))

    def forward(self, x: Tensor) -> Tensor:
        """Return the features, [batch, D]."""
        check_vectors(x, self.in_features, self)
        return math.sqrt(2 / self.out_features) * nn.functional.linear(x.flatten(1), self.weight, self.bias).cos()


class RandomReLUFeatures(nn.Module):
    """Random rectified features z(x) = √(2/D) max(Wx, 0), whose inner products are nearly the arc-cosine kernel.

    Maps [batch, in_features] to [batch, D]. W is standard normal, a buffer that does not learn. For inputs at an angle
    θ the mean of z(x)·z(y) is |x||y| (sin θ + (π − θ) cos θ)/π: norms stay, and the angle becomes
    arccos((sin θ + (π − θ) cos θ)/π) ≤ θ, up to fluctuations of order 1/√D. Such layers in a row keep which of two
    pairs of inputs is the nearer; it takes the more units, the more dimensions the inputs extend in
    (``giryes2016deep``). A sample costs 2 D in_features operations. Source: ``cho2009kernel``.

    Parameters
    ----------
    in_features
        Number of inputs.
    out_features
        Number of features, D.
    generator
        Draws W. torch's global one unless given.

    Raises
    ------
    UsageError
        A size below 1; when called: an input of another shape or not of floating-point numbers.

    Examples
    --------
    >>> features = RandomReLUFeatures(3, 10_000, generator=torch.Generator().manual_seed(0))
    >>> z = features(torch.tensor([[2.0, 0.0, 0.0], [0.0, 1.0, 0.0]]))
    >>> round((z[0] @ z[1]).item(), 1), round(2 / math.pi, 1)
    (0.6, 0.6)
    """

    weight: Tensor

    def __init__(self, in_features: int, out_features: int, *, generator: torch.Generator | None = None) -> None:
        super().__init__()
        self.in_features = positive(in_features, "in_features", self)
        self.out_features = positive(out_features, "out_features", self)
        self.register_buffer("weight", torch.randn(out_features, in_features, generator=generator))

    def forward(self, x: Tensor) -> Tensor:
        """Return the features, [batch, D]."""
        check_vectors(x, self.in_features, self)
        return math.sqrt(2 / self.out_features) * nn.functional.linear(x.flatten(1), self.weight).relu()


class RandomFeatureModel(nn.Sequential):
    """Linear model of random features: y = V z(x) + c, of which V and c alone learn.

    Maps [batch, …] to [batch, out_features]; what follows the batch dimension is flattened. With D features it has
    out_features (D + 1) parameters. As D grows, ridge regression with it becomes that with the features' kernel. The
    layers are called ``flatten``, ``features`` and ``output``. Source: ``rahimi2007random``.

    Parameters
    ----------
    features
        The layer that is drawn.
    out_features
        Number of outputs.

    Raises
    ------
    UsageError
        A size below 1; when called: what the features refuse.

    Examples
    --------
    >>> model = RandomFeatureModel(RandomReLUFeatures(64, 300), 10)
    >>> model(torch.zeros(5, 1, 8, 8)).shape, sum(p.numel() for p in model.parameters())
    (torch.Size([5, 10]), 3010)
    """

    def __init__(self, features: RandomFourierFeatures | RandomReLUFeatures, out_features: int) -> None:
        output = nn.Linear(features.out_features, positive(out_features, "out_features", self))
        super().__init__(OrderedDict(flatten=nn.Flatten(), features=features, output=output))
        self.in_features = features.in_features

    def forward(self, x: Tensor) -> Tensor:
        """Return the outputs, [batch, out_features]."""
        check_vectors(x, self.in_features, self)
        for layer in self:
            x = layer(x)
        return x


def random_fourier_model() -> RandomFeatureModel:
    """Return a linear model of 1,000 random Fourier features of digits; 10,010 parameters.

    The bandwidth is √784, the root mean square of |x − y|/√2 for pixels of variance 1. Source: ``rahimi2007random``.

    Examples
    --------
    >>> random_fourier_model()(torch.zeros(5, 1, 28, 28)).shape
    torch.Size([5, 10])
    """
    return RandomFeatureModel(RandomFourierFeatures(28 * 28, 1000, bandwidth=28.0), 10)


def random_relu_model() -> RandomFeatureModel:
    """Return a linear model of 1,000 random rectified features of digits; 10,010 parameters.

    Source: ``cho2009kernel``.

    Examples
    --------
    >>> random_relu_model()(torch.zeros(5, 1, 28, 28)).shape
    torch.Size([5, 10])
    """
    return RandomFeatureModel(RandomReLUFeatures(28 * 28, 1000), 10)


SPECIMENS = (
    Specimen(
        name="random-fourier-features",
        title="linear model of random Fourier features",
        build=random_fourier_model,
        inputs=values(1, 28, 28),
        parameters=10_010,
        formula="y = V z(x) + c with z(x) = √(2/D) cos(Wx + b), where W is normal of deviation 1/ℓ and b uniform in "
        "[0, 2π), drawn once; V and c learn. z(x)·z(y) tends to exp(−|x − y|²/(2ℓ²)) as D grows.",
        source="rahimi2007random",
        pinned_by="tests/models/test_random_features.py::test_inner_products_have_the_kernel_as_mean_and_the_variance",
    ),
    Specimen(
        name="random-relu-features",
        title="linear model of random rectified features",
        build=random_relu_model,
        inputs=values(1, 28, 28),
        parameters=10_010,
        formula="y = V z(x) + c with z(x) = √(2/D) max(Wx, 0), where W is standard normal, drawn once; V and c learn. "
        "z(x)·z(y) tends to |x||y| (sin θ + (π − θ) cos θ)/π as D grows, where θ is the angle of x and y.",
        source="cho2009kernel",
        rows=("random-embedding",),
        pinned_by="tests/models/test_random_features.py::test_rectified_layers_map_angles_by_the_kernel_and_keep_order",
    ),
)
