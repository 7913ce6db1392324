"""Attention of pixels by their positions alone, which expresses every convolution."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from deepscope.core import Specimen, UsageError
from deepscope.models._inputs import values
from deepscope.models._sizes import check_images, positive


class QuadraticAttention(nn.Module):
    """Attention of pixels with quadratic relative encoding: y_q = Σ_h W_h Σ_k softmax_k(−α_h ‖k − q − Δ_h‖²) x_k + b.

    Maps [batch, in_channels, height, width] to [batch, out_channels, height, width]. Head h looks around q + Δ_h, the
    more narrowly the greater α_h. The scores are those of relative attention without content, v·r_δ with v = −α (1,
    −2Δ₁, −2Δ₂) and r_δ = (‖δ‖², δ₁, δ₂), but for what softmax takes away. Keys are all pixels and a border of zeros
    around them. K² heads, with the offsets of a kernel for centres and α → ∞, are that convolution
    (``from_convolution``); its error falls as e^−α. Fewer heads cannot be in general: with H heads the matrices of all
    offsets have rank H at most. H(in · out + 3) + out parameters, the W_h side by side in one linear map. Softmax over
    a grid is a product of two, over rows and over columns: an n × n image costs O(H n³) operations a channel in place
    of n⁴. The centres begin as N(0, 2), α as 1, as in the paper's experiments. Source: ``cordonnier2020relationship``.

    Parameters
    ----------
    in_channels, out_channels
        Of the images.
    heads
        H; 9 for kernels of 3 × 3.
    padding
        Width of the border of zeros.

    Raises
    ------
    UsageError
        A size below 1; when called: images of other channels.

    Examples
    --------
    >>> import torch
    >>> model = QuadraticAttention()
    >>> model(torch.zeros(2, 16, 8, 8)).shape, sum(p.numel() for p in model.parameters())
    (torch.Size([2, 16, 8, 8]), 2347)
    """

    def __init__(self, in_channels: int = 16, out_channels: int = 16, heads: int = 9, *, padding: int = 1) -> None:
        super().__init__()
        self.in_channels = positive(in_channels, "in_channels", self)
        positive(heads, "heads", self)
        if padding < 0:
            raise UsageError(f"padding is {padding}", where="QuadraticAttention", todo="Give at least 0.")
        self.padding = padding
        self.centre = nn.Parameter(2**0.5 * torch.randn(heads, 2))
        self.locality = nn.Parameter(torch.ones(heads))
        self.output = nn.Linear(heads * in_channels, positive(out_channels, "out_channels", self))

    @classmethod
    def from_convolution(cls, convolution: nn.Conv2d, locality: float = 46.0) -> QuadraticAttention:
        """Return the attention that computes a convolution, up to e^−locality.

        Parameters
        ----------
        convolution
            Of an odd square kernel and stride 1, padded by zeros to keep the size, not grouped.
        locality
            α of all heads. With 46, e^−α = 1e-20.

        Raises
        ------
        UsageError
            Another convolution.
        """
        size, dilation = convolution.kernel_size[0], convolution.dilation[0]
        reach = dilation * (size - 1) // 2
        told = (convolution.kernel_size, convolution.dilation, convolution.stride, convolution.padding)
        fits = told == ((size, size), (dilation, dilation), (1, 1), (reach, reach)) and size % 2
        if not fits or convolution.groups > 1 or convolution.padding_mode != "zeros":
            raise UsageError(
                f"the convolution is {convolution}",
                where="QuadraticAttention",
                todo="Give one of an odd square kernel and stride 1, padded by zeros to keep the size, in one group.",
            )
        model = cls(convolution.in_channels, convolution.out_channels, size**2, padding=reach).to(convolution.weight)
        offsets = dilation * torch.arange(size) - reach
        with torch.no_grad():
            model.centre.copy_(torch.cartesian_prod(offsets, offsets))
            model.locality.fill_(locality)
            model.output.weight.copy_(convolution.weight.permute(0, 2, 3, 1).flatten(1))
            if convolution.bias is None:
                model.output.bias.zero_()
            else:
                model.output.bias.copy_(convolution.bias)
        return model

    def forward(self, x: Tensor) -> Tensor:
        """Return the images that the heads make together."""
        check_images(x, self.in_channels, self)
        rows, columns = (self._along(axis, x.shape[2 + axis]) for axis in (0, 1))
        padded = pad(x, 4 * [self.padding])
        read = torch.einsum("hik,bckl,hjl->bijhc", rows, padded, columns)
        y: Tensor = self.output(read.flatten(3))
        return y.movedim(3, 1)

    def weights(self, height: int, width: int) -> Tensor:
        """Return the softmax, [heads, height, width, height + 2 padding, width + 2 padding]: who reads whom."""
        return torch.einsum("hik,hjl->hijkl", self._along(0, height), self._along(1, width))

    def _along(self, axis: int, length: int) -> Tensor:
        """Return the softmax over one axis, [heads, length, length + 2 padding]."""
        places = torch.arange(-self.padding, length + self.padding, device=self.centre.device)
        offsets = places - torch.arange(length, device=places.device)[:, None]
        distances = (offsets - self.centre[:, axis, None, None]).square()
        return (-self.locality[:, None, None] * distances).softmax(-1)


SPECIMENS = (
    Specimen(
        name="quadratic-attention",
        title="attention of pixels by quadratic relative positions, which expresses any convolution",
        build=QuadraticAttention,
        inputs=values(16, 8, 8),
        parameters=2_347,
        formula="y_q = Σ_h W_h Σ_k softmax_k(−α_h ‖k − q − Δ_h‖²) x_k + b: each head reads the pixels around an offset "
        "Δ_h of its own. With the K² offsets of a kernel and α → ∞ it is a convolution.",
        source="cordonnier2020relationship",
        rows=("attention-conv",),
        pinned_by=""
        "tests/models/test_quadratic_attention.py::test_as_many_heads_as_offsets_are_any_convolution_and_fewer_are_not",
    ),
)
