"""Capsules with dynamic routing."""

from __future__ import annotations

import math
from collections import OrderedDict

import torch
from torch import Tensor, nn
from torch.nn import functional

from deepscope.core import Specimen, UsageError
from deepscope.models._inputs import values
from deepscope.models._receptive_field import Window, output_size
from deepscope.models._sizes import check_shape, positive


def squash(s: Tensor) -> Tensor:
    """Shrink vectors, [..., dimensions], to lengths below 1: v = |s|² / (1 + |s|²) · s / |s|.

    Long vectors come out with a length near 1, short ones with nearly |s|². The vector 0 stays, with a gradient of 0.
    Source: ``sabour2017dynamic``.

    Examples
    --------
    >>> import torch
    >>> squash(torch.tensor([[3.0, 4.0], [0.0, 0.0]]))
    tensor([[0.5769, 0.7692],
            [0.0000, 0.0000]])
    """
    length = torch.linalg.vector_norm(s, dim=-1, keepdim=True)
    shrunk: Tensor = s * (length / (1 + length.square()))
    return shrunk


def margin_loss(lengths: Tensor, targets: Tensor) -> Tensor:
    """Return the margin loss, a mean over the batch: Σ_k T_k max(0, 0.9 − |v_k|)² + ½ (1 − T_k) max(0, |v_k| − 0.1)².

    T_k is 1 for the class of the sample and else 0. Source: ``sabour2017dynamic``.

    Parameters
    ----------
    lengths
        |v_k| for each class, [batch, classes].
    targets
        Classes, [batch] integers.

    Raises
    ------
    UsageError
        The shapes do not belong to each other, or targets are none of the classes.

    Examples
    --------
    >>> import torch
    >>> margin_loss(torch.tensor([[0.95, 0.05], [0.5, 0.3]]), torch.tensor([0, 1]))
    tensor(0.2200)
    """
    if lengths.ndim != 2:
        raise UsageError(f"lengths are {list(lengths.shape)}", where="margin_loss", todo="Give [batch, classes].")
    _check_targets(targets, lengths, "margin_loss")
    present = functional.one_hot(targets, lengths.shape[1])
    missing, excess = functional.relu(0.9 - lengths).square(), functional.relu(lengths - 0.1).square()
    return torch.where(present == 1, missing, 0.5 * excess).sum(1).mean()


def _check_targets(targets: Tensor, of_classes: Tensor, where: str) -> None:
    batch, classes = of_classes.shape[:2]
    whole = targets.shape == (batch,) and targets.dtype == torch.int64
    if not whole or (batch and not targets.is_meta and not 0 <= int(targets.min()) <= int(targets.max()) < classes):
        raise UsageError(
            f"targets are {list(targets.shape)} of {str(targets.dtype).removeprefix('torch.')}",
            where=where,
            todo=f"Give [{batch}] of int64 from 0 to {classes - 1}.",
        )


class RoutingCapsules(nn.Module):
    """Layer of capsules whose inputs are routed to them by agreement.

    Maps [batch, in_capsules, in_dimensions] to [batch, out_capsules, out_dimensions]. Each capsule i predicts each
    capsule j by û_{j|i} = W_ij u_i. From b_ij = 0 there follow, as often as there are iterations,

    * coupling coefficients c_i = softmax_j b_ij: what i sends to all j sums to 1;
    * outputs v_j = squash(Σ_i c_ij û_{j|i});
    * agreements: b_ij ← b_ij + û_{j|i} · v_j.

    There are in_capsules · out_capsules · in_dimensions · out_dimensions parameters, and as many multiplications per
    sample, and 2 · in_capsules · out_capsules · out_dimensions in each iteration. Memory is of order batch ·
    in_capsules · out_capsules · out_dimensions. Gradients run through all iterations. The weights begin with
    N(0, 0.01²) in many implementations; the paper leaves it open; here the variance is 1 / in_dimensions, with which
    predictions are as long as what they are made of for equal dimensions. Source: ``sabour2017dynamic``.

    Parameters
    ----------
    in_capsules, in_dimensions
        Number of capsules below, and of values of each.
    out_capsules, out_dimensions
        Number of capsules of this layer, and of values of each.
    iterations
        How often couplings are computed.

    Raises
    ------
    UsageError
        A size below 1; when called: an input of another shape or dtype.

    Examples
    --------
    >>> import torch
    >>> layer = RoutingCapsules(32, 8, 10, 16)
    >>> layer(torch.zeros(5, 32, 8)).shape, sum(p.numel() for p in layer.parameters())
    (torch.Size([5, 10, 16]), 40960)
    """

    def __init__(
        self, in_capsules: int, in_dimensions: int, out_capsules: int, out_dimensions: int, *, iterations: int = 3
    ) -> None:
        super().__init__()
        self.shape = positive(in_capsules, "in_capsules", self), positive(in_dimensions, "in_dimensions", self)
        self.iterations = positive(iterations, "iterations", self)
        positive(out_capsules, "out_capsules", self)
        positive(out_dimensions, "out_dimensions", self)
        self.weight = nn.Parameter(torch.empty(in_capsules, out_capsules, in_dimensions, out_dimensions))
        nn.init.normal_(self.weight, std=1 / math.sqrt(in_dimensions))

    def forward(self, u: Tensor) -> Tensor:
        """Return the capsules, [batch, out_capsules, out_dimensions]."""
        return self.route(u)[0]

    def route(self, u: Tensor) -> tuple[Tensor, Tensor]:
        """Return the capsules and the coupling coefficients they were computed with, [batch, in, out capsules]."""
        check_shape(u, self.shape, self)
        predictions = torch.einsum("bid,ijde->bije", u, self.weight)
        logits = predictions.new_zeros(predictions.shape[:3])
        for iteration in range(self.iterations):
            couplings = logits.softmax(2)
            capsules = squash(torch.einsum("bij,bije->bje", couplings, predictions))
            if iteration < self.iterations - 1:
                logits = logits + torch.einsum("bije,bje->bij", predictions, capsules)
        return capsules, couplings


class CapsNet(nn.Module):
    """Capsule network for small images: a convolution, convolutional capsules, and one routed capsule per class.

    Maps [batch, in_channels, image_size, image_size] to the lengths of the class capsules, [batch, classes] in [0, 1),
    which ``margin_loss`` makes large for the class that is present. In the reference size::

        convolution      1 → 256 channels, 9×9, ReLU                       [256, 20, 20]     20,992 parameters
        primary        256 → 32 kinds of 8, 9×9, stride 2, squash          [1152, 8]      5,308,672
        classes        1152 capsules of 8 → 10 of 16, three iterations     [10, 16]       1,474,560
        decoder        160 → 512 → 1024 → 784, ReLU, ReLU, sigmoid                        1,411,344

    They are 8,215,568 parameters, 6,804,224 without the decoder (the paper: 8.2 and 6.8 million). The decoder draws an
    image from the capsule of one class; ``reconstruct`` calls it, and its squared error, scaled by 0.0005 per image,
    is added to the loss in training. A sample costs 0.2·10⁹ multiplications forward, most of them for the primary
    capsules. Convolutions and linear layers begin as torch's. Source: ``sabour2017dynamic``.

    Parameters
    ----------
    in_channels, classes
        Channels of the images; number of classes.
    image_size
        Height and width of the images, at least 17.
    channels
        Of the first convolution.
    kinds, dimensions
        Number of kinds of primary capsules, one of each at every place, and of values of each.
    class_dimensions
        Number of values of a class capsule.
    iterations
        Of the routing.
    reconstruction
        Whether there is a decoder.

    Raises
    ------
    UsageError
        A size below 1; images too small; when called: an input of another shape or dtype; a reconstruction without a
        decoder.

    Examples
    --------
    >>> import torch
    >>> model = CapsNet(image_size=17, channels=4, kinds=2, dimensions=4, class_dimensions=4, classes=3)
    >>> model(torch.zeros(5, 1, 17, 17)).shape
    torch.Size([5, 3])
    """

    def __init__(
        self,
        *,
        in_channels: int = 1,
        classes: int = 10,
        image_size: int = 28,
        channels: int = 256,
        kinds: int = 32,
        dimensions: int = 8,
        class_dimensions: int = 16,
        iterations: int = 3,
        reconstruction: bool = True,
    ) -> None:
        super().__init__()
        if image_size < 17:
            raise UsageError(f"image_size is {image_size}", where="CapsNet", todo="Give at least 17.")
        self.shape = (positive(in_channels, "in_channels", self), image_size, image_size)
        self.dimensions = positive(dimensions, "dimensions", self)
        self.convolution = nn.Conv2d(in_channels, positive(channels, "channels", self), 9)
        self.activation = nn.ReLU()
        self.primary = nn.Conv2d(channels, positive(kinds, "kinds", self) * dimensions, 9, stride=2)
        places = output_size(image_size, [Window(kernel_size=9), Window(kernel_size=9, stride=2)]) ** 2
        positive(classes, "classes", self)
        self.classes = RoutingCapsules(
            kinds * places,
            dimensions,
            classes,
            positive(class_dimensions, "class_dimensions", self),
            iterations=iterations,
        )
        self.decoder = _decoder(classes * class_dimensions, math.prod(self.shape)) if reconstruction else None

    def forward(self, x: Tensor) -> Tensor:
        """Return the length of each class capsule, [batch, classes]."""
        lengths: Tensor = torch.linalg.vector_norm(self.capsules(x), dim=-1)
        return lengths

    def capsules(self, x: Tensor) -> Tensor:
        """Return the class capsules, [batch, classes, class_dimensions]."""
        check_shape(x, self.shape, self)
        primary = self.primary(self.activation(self.convolution(x)))
        # Channels are kinds of dimensions; a capsule holds all dimensions of its kind at one place.
        kinds = primary.shape[1] // self.dimensions
        vectors = primary.view(len(x), kinds, self.dimensions, *primary.shape[2:]).movedim(2, -1).flatten(1, 3)
        capsules: Tensor = self.classes(squash(vectors))
        return capsules

    def reconstruct(self, capsules: Tensor, targets: Tensor | None = None) -> Tensor:
        """Return the image that the capsule of one class stands for, [batch, in_channels, image_size, image_size].

        Parameters
        ----------
        capsules
            As ``capsules`` returns them.
        targets
            The class of each sample, [batch] integers; that of the longest capsule unless given.

        Raises
        ------
        UsageError
            The network has no decoder, capsules are of another shape, or targets none of the classes.
        """
        if self.decoder is None:
            raise UsageError("there is no decoder", where="CapsNet", todo="Build with reconstruction=True.")
        check_shape(capsules, self.classes.weight.shape[1::2], self)
        if targets is None:
            targets = torch.linalg.vector_norm(capsules, dim=-1).argmax(1)
        _check_targets(targets, capsules, "CapsNet")
        kept = functional.one_hot(targets, capsules.shape[1]).to(capsules)
        pixels: Tensor = self.decoder((capsules * kept[..., None]).flatten(1))
        return pixels.view(len(pixels), *self.shape)


def _decoder(in_features: int, out_features: int) -> nn.Sequential:
    return nn.Sequential(
        OrderedDict(
            linear1=nn.Linear(in_features, 512),
            activation1=nn.ReLU(),
            linear2=nn.Linear(512, 1024),
            activation2=nn.ReLU(),
            output=nn.Linear(1024, out_features),
            pixels=nn.Sigmoid(),
        )
    )


def capsnet_without_reconstruction() -> CapsNet:
    """Return the capsule network for MNIST without its decoder; 6,804,224 parameters. Source: ``sabour2017dynamic``.

    Examples
    --------
    >>> import torch
    >>> with torch.device("meta"):
    ...     print(sum(p.numel() for p in capsnet_without_reconstruction().parameters()))
    6804224
    """
    return CapsNet(reconstruction=False)


SPECIMENS = (
    Specimen(
        name="capsnet",
        title="capsule network with routing by agreement, and its decoder",
        build=CapsNet,
        inputs=values(1, 28, 28),
        parameters=8_215_568,
        formula=(
            "û_(j|i) = W_ij u_i, c_i = softmax_j b_ij, v_j = squash(Σ_i c_ij û_(j|i)), b_ij ← b_ij + û_(j|i) · v_j, "
            "three times, from 1,152 capsules of 8 values to 10 of 16; a decoder of 512, 1,024 and 784 units."
        ),
        source="sabour2017dynamic",
        pinned_by="tests/models/test_capsules.py::test_predictions_that_agree_win_the_couplings",
    ),
    Specimen(
        name="capsnet-without-reconstruction",
        title="capsule network with routing by agreement",
        build=capsnet_without_reconstruction,
        inputs=values(1, 28, 28),
        parameters=6_804_224,
        formula=(
            "û_(j|i) = W_ij u_i, c_i = softmax_j b_ij, v_j = squash(Σ_i c_ij û_(j|i)), b_ij ← b_ij + û_(j|i) · v_j, "
            "three times, from 1,152 capsules of 8 values to 10 of 16."
        ),
        source="sabour2017dynamic",
        pinned_by="tests/models/test_capsules.py::test_predictions_that_agree_win_the_couplings",
    ),
)
