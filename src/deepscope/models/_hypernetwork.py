"""Hypernetworks: a small network that makes the kernels of a large one."""

from __future__ import annotations

import math
from collections import OrderedDict

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 — torch's own name for it

from deepscope.core import Specimen, UsageError
from deepscope.models._inputs import values
from deepscope.models._sizes import check_images, check_input, positive


class KernelGenerator(nn.Module):
    """Static hypernetwork: a convolution's kernel from the embedding z of its layer, by two linear maps.

        aᵢ = Wᵢ z + Bᵢ,   K[:, i] = W_out aᵢ + B_out   for each input channel i.

    Maps embeddings […, e] to kernels […, out, in, f, f]. All layers that share it differ by their embeddings alone:
    their kernels lie in one affine space of dimension e, a soft sharing of weights. With a hidden size of e, as in the
    paper, it has in · e (e + 1) + f² out (e + 1) parameters, and making a kernel costs twice in · e (e + f² out)
    operations. A standard normal embedding gives weights of mean 0 and variance 2/(f² in) at first, as a rectified
    layer wants them (``he2015delving``), in place of the paper's fixed deviation. Source: ``ha2017hypernetworks``.

    Parameters
    ----------
    embedding_size
        e.
    in_channels, out_channels
        Of the kernels.
    kernel_size
        f.

    Raises
    ------
    UsageError
        A size below 1; when called: embeddings of another size.

    Examples
    --------
    >>> generator = KernelGenerator(4, 16, 16, 7)
    >>> generator(torch.zeros(4)).shape, sum(p.numel() for p in generator.parameters())
    (torch.Size([16, 16, 7, 7]), 4240)
    """

    def __init__(self, embedding_size: int, in_channels: int, out_channels: int, kernel_size: int) -> None:
        super().__init__()
        self.embedding_size = positive(embedding_size, "embedding_size", self)
        self.in_channels = positive(in_channels, "in_channels", self)
        self.out_channels = positive(out_channels, "out_channels", self)
        self.kernel_size = positive(kernel_size, "kernel_size", self)
        self.projection = nn.Linear(embedding_size, in_channels * embedding_size)
        self.output = nn.Linear(embedding_size, out_channels * kernel_size**2)
        fan_in = in_channels * kernel_size**2
        nn.init.normal_(self.projection.weight, std=1 / math.sqrt(embedding_size))
        nn.init.normal_(self.output.weight, std=math.sqrt(2 / (fan_in * embedding_size)))
        nn.init.zeros_(self.projection.bias)
        nn.init.zeros_(self.output.bias)

    def forward(self, embedding: Tensor) -> Tensor:
        """Return a kernel for each embedding."""
        fits = embedding.shape[-1:] == (self.embedding_size,)
        check_input(embedding, fits, f"embeddings, […, {self.embedding_size}] of {{}} numbers", self)
        leading, side = embedding.shape[:-1], self.kernel_size
        hidden = self.projection(embedding).reshape(*leading, self.in_channels, self.embedding_size)
        kernels: Tensor = self.output(hidden).reshape(*leading, self.in_channels, self.out_channels, side, side)
        return kernels.transpose(-4, -3)


class HyperConv2d(nn.Module):
    """Convolution whose kernel a ``KernelGenerator`` makes from embeddings that this layer learns.

    Maps [batch, channels, height, width] to [batch, channels', height, width], for an odd kernel size. Where the layer
    has more channels than the generator's kernels it is made of blocks, each with an embedding of its own: [out_blocks,
    in_blocks, e] embeddings make [out_blocks · out, in_blocks · in, f, f] weights. So it has out_blocks in_blocks e +
    out_blocks out parameters of its own, however large the kernel. Several layers may share a generator; the cost is
    that of the convolution and of its blocks' kernels. Source: ``ha2017hypernetworks``.

    Parameters
    ----------
    generator
        Makes the blocks of the kernel.
    in_blocks, out_blocks
        Channels in and out, as multiples of the generator's.

    Raises
    ------
    UsageError
        A size below 1; when called: an input of another shape, number of channels, or not of floating-point numbers.

    Examples
    --------
    >>> layer = HyperConv2d(KernelGenerator(4, 16, 16, 7), in_blocks=2, out_blocks=3)
    >>> layer(torch.zeros(2, 32, 14, 14)).shape, layer.embedding.shape
    (torch.Size([2, 48, 14, 14]), torch.Size([3, 2, 4]))
    """

    def __init__(self, generator: KernelGenerator, *, in_blocks: int = 1, out_blocks: int = 1) -> None:
        super().__init__()
        positive(in_blocks, "in_blocks", self), positive(out_blocks, "out_blocks", self)
        self.generator = generator
        # Kernels begin linear in z: with the deviation 1/√in_blocks the variance is that of the whole fan-in.
        embedding = torch.randn(out_blocks, in_blocks, generator.embedding_size) / math.sqrt(in_blocks)
        self.embedding = nn.Parameter(embedding)
        self.bias = nn.Parameter(torch.zeros(out_blocks * generator.out_channels))

    @property
    def weight(self) -> Tensor:
        """The kernel, [channels', channels, f, f]."""
        blocks: Tensor = self.generator(self.embedding)
        return blocks.movedim(1, 2).flatten(2, 3).flatten(0, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Return the convolution with the kernel of now."""
        check_images(x, self.embedding.shape[1] * self.generator.in_channels, self)
        return F.conv2d(x, self.weight, self.bias, padding="same")


class HyperNetwork(nn.Sequential):
    """Convolutional network for digits, whose second convolution has a generated kernel; 12,910 parameters.

    Maps [batch, 1, 28, 28] to logits [batch, 10]::

        convolution1  1 → 16 channels, 7×7             [16, 28, 28]    800 parameters
        pooling1      largest of 2×2, after ReLU       [16, 14, 14]
        convolution2  16 → 16 channels, 7×7, generated [16, 14, 14]  4,260: generator 4,240, embedding 4, bias 16
        pooling2      largest of 2×2, after ReLU       [16, 7, 7]
        output        784 → 10                                       7,850

    A kernel that is learnt itself has 12,544 weights in place of 4,244 (at the default embedding size).
    Source: ``ha2017hypernetworks``.

    Parameters
    ----------
    embedding_size
        e.

    Raises
    ------
    UsageError
        A size below 1; when called: an input that is not [batch, 1, 28, 28] of floating-point numbers.

    Examples
    --------
    >>> model = HyperNetwork()
    >>> model(torch.zeros(5, 1, 28, 28)).shape, sum(p.numel() for p in model.parameters())
    (torch.Size([5, 10]), 12910)
    """

    def __init__(self, *, embedding_size: int = 4) -> None:
        super().__init__(
            OrderedDict(
                convolution1=nn.Conv2d(1, 16, 7, padding=3),
                activation1=nn.ReLU(),
                pooling1=nn.MaxPool2d(2),
                convolution2=HyperConv2d(KernelGenerator(embedding_size, 16, 16, 7)),
                activation2=nn.ReLU(),
                pooling2=nn.MaxPool2d(2),
                flatten=nn.Flatten(),
                output=nn.Linear(16 * 7 * 7, 10),
            )
        )

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits, [batch, 10]."""
        check_images(x, 1, self, smallest=28)
        if x.shape[2:] != (28, 28):
            raise UsageError(
                f"the images are {list(x.shape[2:])}", where="HyperNetwork", todo="Give images of 28×28 pixels."
            )
        for layer in self:
            x = layer(x)
        return x


SPECIMENS = (
    Specimen(
        name="hypernetwork",
        title="convolutional network with a generated kernel, for digits",
        build=HyperNetwork,
        inputs=values(1, 28, 28),
        parameters=12_910,
        formula="The kernel of a convolution is K[:, i] = W_out (Wᵢ z + Bᵢ) + B_out for each input channel i, where z "
        "is an embedding that the layer learns and the rest is learnt for all layers together: 4,244 parameters for a "
        "kernel of 12,544 weights.",
        source="ha2017hypernetworks",
        pinned_by="tests/models/test_hypernetwork.py::test_kernels_of_all_embeddings_lie_in_one_affine_space",
    ),
)
