"""FFTNet: mixing of positions by a spectral filter that depends on the input."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from deepscope.core import Specimen, UsageError
from deepscope.models._inputs import values
from deepscope.models._sizes import check_sequence, divided, positive

#: Coefficients smaller than this are passed on in proportion: their direction is rounding.
_SMALLEST = 1e-6


class SpectralMixing(nn.Module):
    """Adaptive spectral mixing (FFTNet): y = F⁻¹ σ((w + g(x̄)) ⊙ F x), filtering over time in the frequency domain.

    F is the orthonormal Fourier transform over time, x̄ the mean over time, g a perceptron d → d → HK with gelu, and
    σ(z) = max(0, |z| + b) z/|z| (modReLU, ``arjovsky2016unitary``). Each of H heads of d/H columns has K = ⌊T/2⌋ + 1
    frequencies with real w, g and b of their own. Maps [batch, T, d] to the same, for one length T. With g = 0 and b =
    0 it is circular convolution with the transform of w, symmetric in time; energy is kept where the filter is 1.
    Parameters: d² + d + (d + 3) HK. Cost: O(T d log T + d² + dHK). w begins at 1, b at 0, g as torch draws it. Source:
    ``feinashley2025fft``.

    It is the layer of the authors' code, without the residual connection and the normalisation around it, which
    ``TransformerLayer`` adds.

    Parameters
    ----------
    width
        d.
    length
        T.
    heads
        H, by which d is divided.

    Raises
    ------
    UsageError
        A size below 1 or one that does not divide; when called: an input that is not [batch, T, d].

    Examples
    --------
    >>> import torch
    >>> model = SpectralMixing()
    >>> model(torch.zeros(2, 64, 128)).shape, sum(p.numel() for p in model.parameters())
    (torch.Size([2, 64, 128]), 33804)
    """

    def __init__(self, width: int = 128, length: int = 64, heads: int = 4) -> None:
        super().__init__()
        self.width, self.length, self.heads = width, positive(length, "length", self), heads
        divided(width, "width", heads, "heads", self)
        frequencies = length // 2 + 1
        self.filter = nn.Parameter(torch.ones(heads, frequencies))
        self.threshold = nn.Parameter(torch.zeros(heads, frequencies))
        self.context = nn.Sequential(nn.Linear(width, width), nn.GELU(), nn.Linear(width, heads * frequencies))

    def forward(self, x: Tensor) -> Tensor:
        """Return the filtered sequences."""
        check_sequence(x, self.width, self)
        if x.shape[1] != self.length:
            raise UsageError(
                f"the sequence has {x.shape[1]} steps",
                where="SpectralMixing",
                todo=f"Give {self.length}, for which its filters were made.",
            )
        if not len(x):
            # The libraries behind the transform refuse it.
            return torch.zeros_like(x)
        columns = x.view(*x.shape[:2], self.heads, self.width // self.heads).movedim(1, 3)
        filters = self.filter + self.context(x.mean(1)).view(-1, *self.filter.shape)
        spectrum = self._rectified(torch.fft.rfft(columns, norm="ortho") * filters.unsqueeze(2))
        y: Tensor = torch.fft.irfft(spectrum, self.length, norm="ortho").movedim(3, 1).flatten(2)
        return y

    def _rectified(self, z: Tensor) -> Tensor:
        size = z.abs()
        return z * (torch.relu(size + self.threshold.unsqueeze(1)) / size.clamp(min=_SMALLEST))


SPECIMENS = (
    Specimen(
        name="fftnet",
        title="adaptive spectral mixing, the layer of FFTNet",
        build=SpectralMixing,
        inputs=values(64, 128),
        parameters=33_804,
        formula="y = F⁻¹ σ((w + g(x̄)) ⊙ F x), where F is the Fourier transform over time, w a learned filter, g a "
        "perceptron of the mean over time x̄, and σ(z) = max(0, |z| + b) z/|z|: mixing in O(T log T) that depends on "
        "the input.",
        source="feinashley2025fft",
        pinned_by="tests/models/test_fftnet.py::test_with_a_fixed_filter_it_is_circular_convolution_and_else_it_is_not",
    ),
)
