"""Vision Transformer."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from deepscope.core import Specimen, UsageError
from deepscope.models._inputs import values
from deepscope.models._positions import LearnedPositions
from deepscope.models._sizes import check_images, divided, positive
from deepscope.models._transformer import TransformerEncoder


class VisionTransformer(nn.Module):
    """Vision Transformer (ViT): an image as a sequence of patches, and a token whose last state tells the class.

    Maps [batch, channels, s, s] to logits [batch, classes]. Each of n = (s/p)² patches of p × p pixels is mapped
    linearly to d numbers; a learned class token comes first; learned positions are added; L pre-norm layers of
    attention with a network of 4d hidden units, φ(z) = z Φ(z); layer normalisation (its ε torch's 10⁻⁵, the authors'
    10⁻⁶); a linear head reads the class token. Parameters: L(12d² + 13d) + (cp² + n + 5) d + (d + 1) classes, with c
    channels; 86,567,656 in the base size with patches of 16. Cost for T = n + 1: L(24Td² + 4T²d) operations. The linear
    maps begin as those of the Transformer, the patches' as torch's convolution, the positions as N(0, 0.02²), class
    token and head at 0. Source: ``dosovitskiy2021image``.

    The paper's head has a hidden layer while it is trained on the larger dataset; this is the one of its fine-tuning,
    and of the published sizes. It trains with a dropout of 0.1 for the smaller datasets.

    Parameters
    ----------
    image_size, patch_size
        s and p, in pixels; p divides s.
    in_channels, classes
        Of the images, and to tell apart.
    width, heads, num_layers
        d, the number of heads, L.
    dropout
        Rate at which numbers are set to 0 in training.

    Raises
    ------
    UsageError
        A size below 1 or one that does not divide; when called: images of another size or number of channels.

    Examples
    --------
    >>> import torch
    >>> model = VisionTransformer(28, 7, in_channels=1, classes=10, width=64, heads=4, num_layers=4)
    >>> model(torch.zeros(5, 1, 28, 28)).shape, sum(p.numel() for p in model.parameters())
    (torch.Size([5, 10]), 205066)
    """

    def __init__(
        self,
        image_size: int = 224,
        patch_size: int = 16,
        *,
        in_channels: int = 3,
        classes: int = 1000,
        width: int = 768,
        heads: int = 12,
        num_layers: int = 12,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.image_size, self.in_channels = image_size, positive(in_channels, "in_channels", self)
        positive(classes, "classes", self)
        n_patches = divided(image_size, "image_size", patch_size, "patch_size", self) ** 2
        self.patches = nn.Conv2d(in_channels, positive(width, "width", self), patch_size, stride=patch_size)
        self.class_token = nn.Parameter(torch.zeros(width))
        self.encoder = TransformerEncoder(
            width,
            heads,
            4 * width,
            num_layers,
            attention_bias=True,
            positions="learned",
            longest=n_patches + 1,
            activation=nn.GELU,
            pre_norm=True,
            dropout=dropout,
        )
        assert isinstance(self.encoder.positions, LearnedPositions)
        nn.init.normal_(self.encoder.positions.embedding.weight, std=0.02)
        self.head = nn.Linear(width, classes)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits of the classes."""
        check_images(x, self.in_channels, self)
        if x.shape[2:] != (self.image_size, self.image_size):
            raise UsageError(
                f"the images are {x.shape[2]} × {x.shape[3]}",
                where="VisionTransformer",
                todo=f"Give images of {self.image_size} × {self.image_size}, for which its positions were made.",
            )
        patches = self.patches(x).flatten(2).mT
        classes = self.class_token.expand(len(x), 1, -1)
        logits: Tensor = self.head(self.encoder(torch.cat([classes, patches], 1))[:, 0])
        return logits


def vit_b_16() -> VisionTransformer:
    """Return ViT-B/16: 12 layers, 768 wide, patches of 16 × 16 pixels; 86,567,656 parameters.

    Source: ``dosovitskiy2021image``.

    Examples
    --------
    >>> import torch
    >>> with torch.device("meta"):
    ...     sum(p.numel() for p in vit_b_16().parameters())
    86567656
    """
    return VisionTransformer()


def vit_b_32() -> VisionTransformer:
    """Return ViT-B/32: 12 layers, 768 wide, patches of 32 × 32 pixels; 88,224,232 parameters.

    Source: ``dosovitskiy2021image``.

    Examples
    --------
    >>> import torch
    >>> with torch.device("meta"):
    ...     sum(p.numel() for p in vit_b_32().parameters())
    88224232
    """
    return VisionTransformer(patch_size=32)


def vit_l_16() -> VisionTransformer:
    """Return ViT-L/16: 24 layers, 1,024 wide, patches of 16 × 16 pixels; 304,326,632 parameters.

    Source: ``dosovitskiy2021image``.

    Examples
    --------
    >>> import torch
    >>> with torch.device("meta"):
    ...     sum(p.numel() for p in vit_l_16().parameters())
    304326632
    """
    return VisionTransformer(width=1024, heads=16, num_layers=24)


def vit_h_14() -> VisionTransformer:
    """Return ViT-H/14: 32 layers, 1,280 wide, patches of 14 × 14 pixels; 632,045,800 parameters.

    Source: ``dosovitskiy2021image``.

    Examples
    --------
    >>> import torch
    >>> with torch.device("meta"):
    ...     sum(p.numel() for p in vit_h_14().parameters())
    632045800
    """
    return VisionTransformer(patch_size=14, width=1280, heads=16, num_layers=32)


def vit_28() -> VisionTransformer:
    """Return a small one for images of 1 × 28 × 28 and 10 classes, a size of ours: 205,066 parameters.

    4 layers, 64 wide, of 4 heads, with 16 patches of 7 × 7. Source: ``dosovitskiy2021image``.

    Examples
    --------
    >>> vit_28().patches
    Conv2d(1, 64, kernel_size=(7, 7), stride=(7, 7))
    """
    return VisionTransformer(28, 7, in_channels=1, classes=10, width=64, heads=4, num_layers=4)


SPECIMENS = (
    Specimen(
        name="vit-b-16",
        title="Vision Transformer ViT-B/16, patches of 16 × 16",
        build=vit_b_16,
        inputs=values(3, 224, 224),
        parameters=86_567_656,
        formula="x = [class token, W patch_1, …, W patch_n] + positions; L layers x ← x + attention(N(x)), x ← x + W₂ "
        "gelu(W₁ N(x) + b₁) + b₂ with 4d hidden units; logits = a linear map of the class token's N(x). L(12d² + 13d) "
        "+ (cp² + n + 5) d + (d + 1) classes parameters.",
        source="dosovitskiy2021image",
        pinned_by="tests/models/test_vit.py::test_it_is_the_network_that_transformers_builds",
    ),
    Specimen(
        name="vit-b-32",
        title="Vision Transformer ViT-B/32, patches of 32 × 32",
        build=vit_b_32,
        inputs=values(3, 224, 224),
        parameters=88_224_232,
        formula="As ViT-B/16, with 12 layers, 768 wide, patches of 32.",
        source="dosovitskiy2021image",
        pinned_by="tests/models/test_vit.py::test_it_is_the_network_that_transformers_builds",
    ),
    Specimen(
        name="vit-l-16",
        title="Vision Transformer ViT-L/16, patches of 16 × 16",
        build=vit_l_16,
        inputs=values(3, 224, 224),
        parameters=304_326_632,
        formula="As ViT-B/16, with 24 layers, 1,024 wide, patches of 16.",
        source="dosovitskiy2021image",
        pinned_by="tests/models/test_vit.py::test_it_is_the_network_that_transformers_builds",
    ),
    Specimen(
        name="vit-h-14",
        title="Vision Transformer ViT-H/14, patches of 14 × 14",
        build=vit_h_14,
        inputs=values(3, 224, 224),
        parameters=632_045_800,
        formula="As ViT-B/16, with 32 layers, 1,280 wide, patches of 14.",
        source="dosovitskiy2021image",
        pinned_by="tests/models/test_vit.py::test_it_is_the_network_that_transformers_builds",
    ),
    Specimen(
        name="vit-28",
        title="Vision Transformer, small, for digits",
        build=vit_28,
        inputs=values(1, 28, 28),
        parameters=205_066,
        formula="As ViT-B/16, with 4 layers, 64 wide, 4 heads, and patches of 7 × 7 of images of 1 × 28 × 28; 10 "
        "classes.",
        source="dosovitskiy2021image",
        pinned_by="tests/models/test_vit.py::test_it_is_the_network_that_transformers_builds",
    ),
)
