"""MLP-Mixer: perceptrons across patches, perceptrons across channels, and nothing else."""

from __future__ import annotations

from collections import OrderedDict
from typing import TypeVar

from torch import Tensor, nn

from deepscope.core import Specimen, UsageError
from deepscope.models._inputs import values
from deepscope.models._sizes import check_images, check_input, positive

_Layer = TypeVar("_Layer", nn.Linear, nn.Conv2d)


class MixerBlock(nn.Module):
    """Mixer layer: u = x + W₂ gelu(W₁ norm(x)) across tokens, y = u + W₄ gelu(W₃ norm(u)) across channels.

    Maps [batch, tokens, channels] to the same shape. Each channel is mixed across its tokens by the same perceptron,
    each token across its channels by another; norm is layer normalisation of a token's channels. With S tokens, C
    channels and hidden widths D_S and D_C there are D_S (2S + 1) + S + D_C (2C + 1) + C + 4C parameters; a sample costs
    4 S C (D_S + D_C) operations, linear in S. Source: ``tolstikhin2021mlp``.

    Parameters
    ----------
    tokens, channels
        S and C.
    token_width, channel_width
        D_S and D_C.

    Raises
    ------
    UsageError
        A size below 1; when called: an input of another shape or not of floating-point numbers.

    Examples
    --------
    >>> import torch
    >>> block = MixerBlock(49, 512, token_width=256, channel_width=2048)
    >>> block(torch.zeros(2, 49, 512)).shape, sum(p.numel() for p in block.parameters())
    (torch.Size([2, 49, 512]), 2127153)
    """

    def __init__(self, tokens: int, channels: int, *, token_width: int, channel_width: int) -> None:
        super().__init__()
        self.tokens, self.channels = positive(tokens, "tokens", self), positive(channels, "channels", self)
        self.norm1 = nn.LayerNorm(channels, eps=1e-6)
        self.token_mixing = _perceptron(tokens, positive(token_width, "token_width", self))
        self.norm2 = nn.LayerNorm(channels, eps=1e-6)
        self.channel_mixing = _perceptron(channels, positive(channel_width, "channel_width", self))

    def forward(self, x: Tensor) -> Tensor:
        """Return the mixed tokens."""
        fits = x.shape[1:] == (self.tokens, self.channels)
        check_input(x, fits, f"[batch, {self.tokens}, {self.channels}] of {{}} numbers", self)
        across_tokens: Tensor = x + self.token_mixing(self.norm1(x).mT).mT
        across_channels: Tensor = self.channel_mixing(self.norm2(across_tokens))
        return across_tokens + across_channels


def _perceptron(width: int, hidden: int) -> nn.Sequential:
    first, second = _started(nn.Linear(width, hidden)), _started(nn.Linear(hidden, width))
    return nn.Sequential(OrderedDict(hidden=first, activation=nn.GELU(), output=second))


def _started(layer: _Layer) -> _Layer:
    """Set the weights to mean 0 and variance 1/fan-in, the biases to 0."""
    nn.init.normal_(layer.weight, std=layer.weight[:1].numel() ** -0.5)
    assert layer.bias is not None
    nn.init.zeros_(layer.bias)
    return layer


class MLPMixer(nn.Module):
    """MLP-Mixer for square images: patches as tokens, a linear map of each, mixer layers, the mean of tokens, logits.

    Maps [batch, in_channels, image_size, image_size] to [batch, classes]. With patches of side P there are S =
    (image_size/P)² tokens of C channels. It has C (in_channels P² + 1) parameters for the patches, those of its
    ``MixerBlock`` layers, 2C of the last norm and out_features (C + 1). It knows no neighbourhood: another order of the
    patches is another order of the token-mixing weights. The number of tokens is fixed by those weights.

    As in the paper's code norms have ε = 10⁻⁶, weights begin with mean 0 and variance 1/fan-in (there cut off at two
    deviations), those of the logits at 0; gelu is exact here. Its stochastic depth belongs to training and is not
    here. The defaults are S/16 for ImageNet. Source: ``tolstikhin2021mlp``.

    Parameters
    ----------
    image_size, patch_size
        Sides in pixels; the patch's divides the image's.
    in_channels
        Of the images.
    channels
        C.
    num_layers
        Number of mixer layers.
    token_width, channel_width
        D_S and D_C, the hidden widths of the layers' perceptrons.
    classes
        Number of outputs.

    Raises
    ------
    UsageError
        A size below 1, an image that is not a whole number of patches; when called: images of another size or number of
        channels, or not of floating-point numbers.

    Examples
    --------
    >>> import torch
    >>> model = MLPMixer(28, 7, in_channels=1, channels=32, num_layers=2, token_width=16, channel_width=64, classes=10)
    >>> model(torch.zeros(2, 1, 28, 28)).shape, sum(p.numel() for p in model.parameters())
    (torch.Size([2, 10]), 11722)
    """

    def __init__(
        self,
        image_size: int = 224,
        patch_size: int = 16,
        *,
        in_channels: int = 3,
        channels: int = 512,
        num_layers: int = 8,
        token_width: int = 256,
        channel_width: int = 2048,
        classes: int = 1000,
    ) -> None:
        super().__init__()
        self.image_size, self.in_channels = positive(image_size, "image_size", self), in_channels
        positive(in_channels, "in_channels", self), positive(channels, "channels", self)
        positive(num_layers, "num_layers", self), positive(classes, "classes", self)
        if image_size % positive(patch_size, "patch_size", self):
            raise UsageError(
                f"an image of {image_size} pixels is no whole number of patches of {patch_size}",
                where="MLPMixer",
                todo="Give a patch size that divides the image size.",
            )
        tokens = (image_size // patch_size) ** 2
        self.patches = _started(nn.Conv2d(in_channels, channels, patch_size, stride=patch_size))
        self.blocks = nn.Sequential(
            *(
                MixerBlock(tokens, channels, token_width=token_width, channel_width=channel_width)
                for _ in range(num_layers)
            )
        )
        self.norm = nn.LayerNorm(channels, eps=1e-6)
        self.output = nn.Linear(channels, classes)
        nn.init.zeros_(self.output.weight)
        nn.init.zeros_(self.output.bias)

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits, [batch, classes]."""
        check_images(x, self.in_channels, self, smallest=self.image_size)
        if x.shape[2:] != (self.image_size, self.image_size):
            raise UsageError(
                f"the images are {list(x.shape[2:])}",
                where="MLPMixer",
                todo=f"Give images of {self.image_size}×{self.image_size} pixels.",
            )
        tokens = self.patches(x).flatten(2).mT
        logits: Tensor = self.output(self.norm(self.blocks(tokens)).mean(1))
        return logits


def mixer_s32() -> MLPMixer:
    """Return MLP-Mixer S/32 for ImageNet: 8 layers, 49 tokens of 512 channels.

    Source: ``tolstikhin2021mlp``.

    Examples
    --------
    >>> import torch
    >>> with torch.device("meta"):
    ...     sum(p.numel() for p in mixer_s32().parameters())
    19104624
    """
    return MLPMixer(patch_size=32)


def mixer_s16() -> MLPMixer:
    """Return MLP-Mixer S/16 for ImageNet: 8 layers, 196 tokens of 512 channels.

    Source: ``tolstikhin2021mlp``.

    Examples
    --------
    >>> import torch
    >>> with torch.device("meta"):
    ...     sum(p.numel() for p in mixer_s16().parameters())
    18528264
    """
    return MLPMixer()


def mixer_b32() -> MLPMixer:
    """Return MLP-Mixer B/32 for ImageNet: 12 layers, 49 tokens of 768 channels.

    Source: ``tolstikhin2021mlp``.

    Examples
    --------
    >>> import torch
    >>> with torch.device("meta"):
    ...     sum(p.numel() for p in mixer_b32().parameters())
    60293428
    """
    return MLPMixer(patch_size=32, channels=768, num_layers=12, token_width=384, channel_width=3072)


def mixer_b16() -> MLPMixer:
    """Return MLP-Mixer B/16 for ImageNet: 12 layers, 196 tokens of 768 channels.

    Source: ``tolstikhin2021mlp``.

    Examples
    --------
    >>> import torch
    >>> with torch.device("meta"):
    ...     sum(p.numel() for p in mixer_b16().parameters())
    59880472
    """
    return MLPMixer(channels=768, num_layers=12, token_width=384, channel_width=3072)


def mixer_l32() -> MLPMixer:
    """Return MLP-Mixer L/32 for ImageNet: 24 layers, 49 tokens of 1,024 channels.

    Source: ``tolstikhin2021mlp``.

    Examples
    --------
    >>> import torch
    >>> with torch.device("meta"):
    ...     sum(p.numel() for p in mixer_l32().parameters())
    206939264
    """
    return MLPMixer(patch_size=32, channels=1024, num_layers=24, token_width=512, channel_width=4096)


def mixer_l16() -> MLPMixer:
    """Return MLP-Mixer L/16 for ImageNet: 24 layers, 196 tokens of 1,024 channels.

    Source: ``tolstikhin2021mlp``.

    Examples
    --------
    >>> import torch
    >>> with torch.device("meta"):
    ...     sum(p.numel() for p in mixer_l16().parameters())
    208196168
    """
    return MLPMixer(channels=1024, num_layers=24, token_width=512, channel_width=4096)


def mixer_h14() -> MLPMixer:
    """Return MLP-Mixer H/14 for ImageNet: 32 layers, 256 tokens of 1,280 channels.

    Source: ``tolstikhin2021mlp``.

    Examples
    --------
    >>> import torch
    >>> with torch.device("meta"):
    ...     sum(p.numel() for p in mixer_h14().parameters())
    432350952
    """
    return MLPMixer(patch_size=14, channels=1280, num_layers=32, token_width=640, channel_width=5120)


SPECIMENS = (
    Specimen(
        name="mixer-s32",
        title="MLP-Mixer S/32 for ImageNet",
        build=mixer_s32,
        inputs=values(3, 224, 224),
        parameters=19_104_624,
        formula="Each patch becomes a token by a linear map; 8 layers u = x + W₂ gelu(W₁ norm(x)) across 49 tokens, "
        "y = u + W₄ gelu(W₃ norm(u)) across 512 channels, with hidden widths 256 and 2,048; then the mean of the "
        "tokens, and logits.",
        source="tolstikhin2021mlp",
        pinned_by="tests/models/test_mixer.py::test_another_order_of_patches_is_another_order_of_token_weights",
    ),
    Specimen(
        name="mixer-s16",
        title="MLP-Mixer S/16 for ImageNet",
        build=mixer_s16,
        inputs=values(3, 224, 224),
        parameters=18_528_264,
        formula="Each patch becomes a token by a linear map; 8 layers u = x + W₂ gelu(W₁ norm(x)) across 196 tokens, "
        "y = u + W₄ gelu(W₃ norm(u)) across 512 channels, with hidden widths 256 and 2,048; then the mean of the "
        "tokens, and logits.",
        source="tolstikhin2021mlp",
        pinned_by="tests/models/test_mixer.py::test_another_order_of_patches_is_another_order_of_token_weights",
    ),
    Specimen(
        name="mixer-b32",
        title="MLP-Mixer B/32 for ImageNet",
        build=mixer_b32,
        inputs=values(3, 224, 224),
        parameters=60_293_428,
        formula="Each patch becomes a token by a linear map; 12 layers u = x + W₂ gelu(W₁ norm(x)) across 49 tokens, "
        "y = u + W₄ gelu(W₃ norm(u)) across 768 channels, with hidden widths 384 and 3,072; then the mean of the "
        "tokens, and logits.",
        source="tolstikhin2021mlp",
        pinned_by="tests/models/test_mixer.py::test_another_order_of_patches_is_another_order_of_token_weights",
    ),
    Specimen(
        name="mixer-b16",
        title="MLP-Mixer B/16 for ImageNet",
        build=mixer_b16,
        inputs=values(3, 224, 224),
        parameters=59_880_472,
        formula="Each patch becomes a token by a linear map; 12 layers u = x + W₂ gelu(W₁ norm(x)) across 196 tokens, "
        "y = u + W₄ gelu(W₃ norm(u)) across 768 channels, with hidden widths 384 and 3,072; then the mean of the "
        "tokens, and logits.",
        source="tolstikhin2021mlp",
        pinned_by="tests/models/test_mixer.py::test_another_order_of_patches_is_another_order_of_token_weights",
    ),
    Specimen(
        name="mixer-l32",
        title="MLP-Mixer L/32 for ImageNet",
        build=mixer_l32,
        inputs=values(3, 224, 224),
        parameters=206_939_264,
        formula="Each patch becomes a token by a linear map; 24 layers u = x + W₂ gelu(W₁ norm(x)) across 49 tokens, "
        "y = u + W₄ gelu(W₃ norm(u)) across 1,024 channels, with hidden widths 512 and 4,096; then the mean of the "
        "tokens, and logits.",
        source="tolstikhin2021mlp",
        pinned_by="tests/models/test_mixer.py::test_another_order_of_patches_is_another_order_of_token_weights",
    ),
    Specimen(
        name="mixer-l16",
        title="MLP-Mixer L/16 for ImageNet",
        build=mixer_l16,
        inputs=values(3, 224, 224),
        parameters=208_196_168,
        formula="Each patch becomes a token by a linear map; 24 layers u = x + W₂ gelu(W₁ norm(x)) across 196 tokens, "
        "y = u + W₄ gelu(W₃ norm(u)) across 1,024 channels, with hidden widths 512 and 4,096; then the mean of the "
        "tokens, and logits.",
        source="tolstikhin2021mlp",
        pinned_by="tests/models/test_mixer.py::test_another_order_of_patches_is_another_order_of_token_weights",
    ),
    Specimen(
        name="mixer-h14",
        title="MLP-Mixer H/14 for ImageNet",
        build=mixer_h14,
        inputs=values(3, 224, 224),
        parameters=432_350_952,
        formula="Each patch becomes a token by a linear map; 32 layers u = x + W₂ gelu(W₁ norm(x)) across 256 tokens, "
        "y = u + W₄ gelu(W₃ norm(u)) across 1,280 channels, with hidden widths 640 and 5,120; then the mean of the "
        "tokens, and logits.",
        source="tolstikhin2021mlp",
        pinned_by="tests/models/test_mixer.py::test_another_order_of_patches_is_another_order_of_token_weights",
    ),
)
