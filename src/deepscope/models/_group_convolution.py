"""Group-equivariant convolutions, and the networks of them."""

from __future__ import annotations

import math
from collections import OrderedDict

import torch
from torch import Tensor, nn
from torch.nn import functional

from deepscope.core import Specimen, UsageError
from deepscope.models._inputs import values
from deepscope.models._plane_group import plane_group
from deepscope.models._sizes import check_images, not_negative, positive, probability


class LiftingConvolution(nn.Module):
    """Convolution of images with a filter in all positions of a group: y(g, t) = Σ_u ψ(g⁻¹u) x(t + u) + b.

    Maps [batch, in_channels, height, width] to features on the group, [batch, out_channels, order, …, …]. When the
    image is turned, the features turn, and their parts g change places. There are out_channels (in_channels k² + 1)
    parameters; it costs as much as a convolution to order · out_channels channels. Weights begin as those of
    ``nn.Conv2d``. Source: ``cohen2016group``.

    Parameters
    ----------
    in_channels, out_channels
        Channels of the images; channels of the features.
    kernel_size
        k, height and width of the filter.
    group
        ``"p4"``, ``"p4m"`` or, for an ordinary convolution, ``"p1"``.
    padding
        Zeros added to each side.
    bias
        Whether there is a b, the same for all of the group.

    Raises
    ------
    UsageError
        A size below 1; a negative padding; an unknown group; when called: an input of another shape or dtype.

    Examples
    --------
    >>> import torch
    >>> layer = LiftingConvolution(1, 10, 3)
    >>> layer(torch.zeros(5, 1, 28, 28)).shape, sum(p.numel() for p in layer.parameters())
    (torch.Size([5, 10, 4, 26, 26]), 100)
    """

    table: Tensor

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        *,
        group: str = "p4",
        padding: int = 0,
        bias: bool = True,
    ) -> None:
        super().__init__()
        self.group = plane_group(group)
        self.padding = not_negative(padding, "padding", self)
        size = positive(kernel_size, "kernel_size", self)
        shape = positive(out_channels, "out_channels", self), positive(in_channels, "in_channels", self), size, size
        self.weight = nn.Parameter(torch.empty(shape))
        self.bias = nn.Parameter(torch.empty(out_channels)) if bias else None
        self.register_buffer("table", self.group.pixel_table(size), persistent=False)
        _initialise(self.weight, self.bias)

    def forward(self, x: Tensor) -> Tensor:
        """Return the features on the group."""
        in_channels, size = self.weight.shape[1:3]
        check_images(x, in_channels, self, smallest=max(size - 2 * self.padding, 1))
        # [out, in, g, u] to [out · g, in, u].
        filters = self.weight.flatten(2)[:, :, self.table].transpose(1, 2).reshape(-1, in_channels, size, size)
        return _convolved(x, filters, self.bias, self.group.order, self.padding)


class GroupConvolution(nn.Module):
    """Convolution of features on a group: y(g, t) = Σ_h Σ_u ψ(g⁻¹h, g⁻¹u) x(h, t + u) + b.

    Maps [batch, in_channels, order, height, width] to [batch, out_channels, order, …, …]. When what it sees turns, what
    it returns turns alike. There are out_channels (in_channels · order · k² + 1) parameters; it costs as much as a
    convolution from order · in_channels to order · out_channels channels. Weights begin as those of ``nn.Conv2d``.
    Source: ``cohen2016group``.

    Parameters
    ----------
    in_channels, out_channels, kernel_size, group, padding, bias
        As for ``LiftingConvolution``.

    Raises
    ------
    UsageError
        A size below 1; a negative padding; an unknown group; when called: an input of another shape or dtype.

    Examples
    --------
    >>> import torch
    >>> layer = GroupConvolution(10, 10, 3)
    >>> layer(torch.zeros(5, 10, 4, 26, 26)).shape, sum(p.numel() for p in layer.parameters())
    (torch.Size([5, 10, 4, 24, 24]), 3610)
    """

    table: Tensor

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        *,
        group: str = "p4",
        padding: int = 0,
        bias: bool = True,
    ) -> None:
        super().__init__()
        self.group = plane_group(group)
        self.padding = not_negative(padding, "padding", self)
        size = positive(kernel_size, "kernel_size", self)
        channels = positive(out_channels, "out_channels", self), positive(in_channels, "in_channels", self)
        self.weight = nn.Parameter(torch.empty(*channels, self.group.order, size, size))
        self.bias = nn.Parameter(torch.empty(out_channels)) if bias else None
        self.register_buffer("table", self.group.filter_table(size), persistent=False)
        _initialise(self.weight, self.bias)

    def forward(self, x: Tensor) -> Tensor:
        """Return the features on the group."""
        in_channels, order, size = self.weight.shape[1:4]
        fits = x.ndim == 5 and x.shape[1:3] == (in_channels, order) and x.is_floating_point()
        if not fits or min(x.shape[3:]) < max(size - 2 * self.padding, 1):
            raise UsageError(
                f"the input is {list(x.shape)} of {str(x.dtype).removeprefix('torch.')}",
                where="GroupConvolution",
                todo=f"Give [batch, {in_channels}, {order}, height, width] of floating-point numbers, large enough for "
                f"a filter of {size}×{size}.",
            )
        # [out, in, g, h · u] to [out · g, in · h, u].
        filters = self.weight.flatten(2)[:, :, self.table].transpose(1, 2).reshape(-1, in_channels * order, size, size)
        return _convolved(x.flatten(1, 2), filters, self.bias, order, self.padding)


def _initialise(weight: Tensor, bias: Tensor | None) -> None:
    fan_in = weight[0].numel()
    # As for a = √5 in torch: a variance of 1 / (3 fan_in).
    nn.init.uniform_(weight, -1 / math.sqrt(fan_in), 1 / math.sqrt(fan_in))
    if bias is not None:
        nn.init.uniform_(bias, -1 / math.sqrt(fan_in), 1 / math.sqrt(fan_in))


def _convolved(x: Tensor, filters: Tensor, bias: Tensor | None, order: int, padding: int) -> Tensor:
    everywhere = None if bias is None else bias.repeat_interleave(order)
    y = functional.conv2d(x, filters, everywhere, padding=padding)
    return y.view(len(y), len(filters) // order, order, *y.shape[2:])


class GroupCNN(nn.Module):
    """Network of seven group convolutions for small images, whose logits do not change when the image is turned.

    Maps [batch, in_channels, height, width], both even and at least 28, to logits [batch, classes]: six convolutions of
    3×3 to ``channels`` features, each with batch normalisation (shared by the group) and ReLU, with a max pooling over
    2×2 after the second; one of 4×4 to a feature per class; the maximum over the group and all places. On an image that
    an element of the group moves, all features move alike, and the maximum is the same. With order g and c channels
    there are, for one input channel and ten classes, 45 g c² + 160 g c + 27 c + 10 parameters:

    =======  =====  ========  ==========  ===============
    network  group  channels  parameters  multiplications
    =======  =====  ========  ==========  ===============
    z2_cnn   p1     20        21,750      3.0·10⁶
    p4_cnn   p4     10        24,680      12·10⁶
    p4m_cnn  p4m    7         26,799      23·10⁶
    =======  =====  ========  ==========  ===============

    The first two are the paper's for rotated MNIST, with about 25,000 parameters each: of order g they have 20 / √g
    channels. The third is made alike; the paper has the group p4m in its networks for CIFAR-10 alone. Weights begin as
    torch's. Source: ``cohen2016group``.

    Parameters
    ----------
    group
        ``"p4"``, ``"p4m"`` or ``"p1"``.
    channels
        Features on the group that each layer but the last returns.
    in_channels, classes
        Channels of the images; number of logits.
    dropout
        Probability that a feature is dropped in training, after each layer but the second and last. The paper's is 0.3
        for the group p1 and 0 for the others.

    Raises
    ------
    UsageError
        A size below 1; an unknown group; a probability outside of [0, 1); when called: an input of another shape or
        dtype.

    Examples
    --------
    >>> import torch
    >>> model = GroupCNN()
    >>> model(torch.zeros(5, 1, 28, 28)).shape, sum(p.numel() for p in model.parameters())
    (torch.Size([5, 10]), 24680)
    """

    def __init__(
        self,
        group: str = "p4",
        channels: int = 10,
        *,
        in_channels: int = 1,
        classes: int = 10,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.in_channels = positive(in_channels, "in_channels", self)
        probability(dropout, "dropout", self)
        layers: OrderedDict[str, nn.Module] = OrderedDict()
        for index in range(1, 7):
            layers[f"convolution{index}"] = (
                LiftingConvolution(in_channels, positive(channels, "channels", self), 3, group=group)
                if index == 1
                else GroupConvolution(channels, channels, 3, group=group)
            )
            layers[f"normalisation{index}"] = nn.BatchNorm3d(channels)
            layers[f"activation{index}"] = nn.ReLU()
            if index == 2:
                layers["pooling"] = nn.MaxPool3d((1, 2, 2))
            elif dropout:
                layers[f"dropout{index}"] = nn.Dropout(dropout)
        layers["output"] = GroupConvolution(channels, positive(classes, "classes", self), 4, group=group)
        self.features = nn.Sequential(layers)

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits, [batch, classes]."""
        check_images(x, self.in_channels, self, smallest=28, multiple=2)
        features: Tensor = self.features(x)
        return features.amax((2, 3, 4))


def z2_cnn() -> GroupCNN:
    """Return the ordinary network that those of group convolutions are compared with; 21,750 parameters.

    Source: ``cohen2016group``.

    Examples
    --------
    >>> sum(p.numel() for p in z2_cnn().parameters())
    21750
    """
    return GroupCNN("p1", 20, dropout=0.3)


def p4_cnn() -> GroupCNN:
    """Return the network whose logits quarter turns do not change; 24,680 parameters. Source: ``cohen2016group``.

    Examples
    --------
    >>> sum(p.numel() for p in p4_cnn().parameters())
    24680
    """
    return GroupCNN("p4", 10)


def p4m_cnn() -> GroupCNN:
    """Return the network whose logits quarter turns and mirrorings do not change; 26,799 parameters.

    Source: ``cohen2016group``.

    Examples
    --------
    >>> sum(p.numel() for p in p4m_cnn().parameters())
    26799
    """
    return GroupCNN("p4m", 7)


SPECIMENS = (
    Specimen(
        name="z2-cnn",
        title="ordinary network, the peer of those of group convolutions",
        build=z2_cnn,
        inputs=values(1, 28, 28),
        parameters=21_750,
        formula=(
            "Seven convolutions, six of 3×3 to 20 channels and one of 4×4, with max pooling after the second; "
            "21,750 parameters."
        ),
        source="cohen2016group",
        pinned_by="tests/models/test_group_convolution.py::test_for_translations_alone_it_is_an_ordinary_network",
    ),
    Specimen(
        name="p4-cnn",
        title="network of group convolutions over quarter turns",
        build=p4_cnn,
        inputs=values(1, 28, 28),
        parameters=24_680,
        formula=(
            "y(g, t) = Σ_h Σ_u ψ(g⁻¹h, g⁻¹u) x(h, t + u): six convolutions of 3×3 to 10 features on the group of "
            "quarter turns and one of 4×4, and the maximum over the group; 24,680 parameters."
        ),
        source="cohen2016group",
        pinned_by="tests/models/test_group_convolution.py::test_features_move_as_the_image_does",
    ),
    Specimen(
        name="p4m-cnn",
        title="network of group convolutions over quarter turns and mirrorings",
        build=p4m_cnn,
        inputs=values(1, 28, 28),
        parameters=26_799,
        formula=(
            "y(g, t) = Σ_h Σ_u ψ(g⁻¹h, g⁻¹u) x(h, t + u): six convolutions of 3×3 to 7 features on the group of "
            "quarter turns and mirrorings and one of 4×4, and the maximum over the group; 26,799 parameters."
        ),
        source="cohen2016group",
        rows=("repo-gconv",),
        pinned_by="tests/models/test_group_convolution.py::test_tables_are_those_of_a_group",
    ),
)
