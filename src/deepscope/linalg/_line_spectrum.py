"""How the power of a function along a line is spread over frequencies."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from deepscope.core import UsageError

#: Fewest points from which frequencies beside the window's own width are told.
FEWEST_POINTS = 8


@dataclass(frozen=True, eq=False)
class LineSpectrum:
    """The variance of functions along lines, split into a straight part and frequencies.

    Attributes
    ----------
    frequencies
        [n // 2 + 1], cycles per line: 0, 1 … n // 2.
    straight
        [...], the variance of the straight line fitted to the values.
    power
        [..., n // 2 + 1], the variance of what is left, by frequency.
    """

    frequencies: Tensor
    straight: Tensor
    power: Tensor


def line_spectrum(values: Tensor) -> LineSpectrum:
    r"""Split the variance of functions, sampled along a line, into a straight part and frequencies.

    With Hann's window :math:`w_j = \sin^2(\pi (j + ½)/n)` and weights :math:`w_j^2 / \sum w^2`: the weighted mean is
    taken off, the straight line :math:`\ell` of least weighted squares is fitted, and of the rest r
    :math:`P_k = \frac{c_k}{n \sum w^2} |\sum_j w_j r_j e^{-2πi jk/n}|^2`, with :math:`c_k = 2` but for 0 and n/2.
    Then :math:`\mathrm{var}\,\ell + \sum_k P_k` is the weighted variance of the values, exactly (Parseval).

    Parameters
    ----------
    values
        [..., n, units]: the functions at the n points (j + ½)/n of the way, j = 0 … n − 1; at least 8.

    Returns
    -------
    LineSpectrum
        Of [..., units], in float64, on the values' device. Values that are not finite give what is not finite.

    Raises
    ------
    UsageError
        Fewer points.

    Notes
    -----
    *Edges.* A line ends; the values at its ends do not meet, and without a window that jump would show as power at all
    frequencies. The window lets the ends fade: what happens in the first and last tenth of a line counts for 1 in 1000
    of the variance. Its price is resolution: a sine of k whole cycles has 1/6, 2/3 and 1/6 of its power at
    k − 1, k and k + 1, and a curve of less than two cycles is partly taken for a straight line.
    Frequencies above n/2 show at lower ones (aliasing): n is large enough where little power lies in the upper half.
    Cost: a fast Fourier transform of the values. Source: ``harris1978windows``.

    Examples
    --------
    >>> t = (torch.arange(32, dtype=torch.float64) + 0.5) / 32
    >>> found = line_spectrum(torch.sin(2 * torch.pi * 6 * t)[:, None])
    >>> [round(float(share), 3) for share in (found.power / found.power.sum())[0, 4:9]]
    [0.0, 0.167, 0.667, 0.167, 0.0]
    """
    n = values.shape[-2] if values.ndim >= 2 else 0
    if n < FEWEST_POINTS:
        raise UsageError(
            f"a line of {n} points has no spectrum",
            where="values",
            todo=f"Give [..., points ≥ {FEWEST_POINTS}, units].",
        )
    y = values.detach().double()
    places = (torch.arange(n, dtype=torch.float64, device=y.device) + 0.5) / n
    window = torch.sin(math.pi * places) ** 2
    weights = window**2 / (window**2).sum()
    centred = y - torch.einsum("n,...nu->...u", weights, y).unsqueeze(-2)
    # The weights are symmetric: about the middle, the places have the weighted mean 0.
    along = places - 0.5
    spread = torch.sum(weights * along**2)
    slope = torch.einsum("n,...nu->...u", weights * along, centred) / spread
    rest = centred - along[:, None] * slope.unsqueeze(-2)
    # Transforms are along the last dimension, where values lie side by side.
    transformed = torch.fft.rfft((rest * window[:, None]).transpose(-1, -2).contiguous())
    sides = torch.full((n // 2 + 1,), 2.0, dtype=torch.float64, device=y.device)
    sides[0] = 1.0
    if n % 2 == 0:
        sides[-1] = 1.0
    power = (transformed.real**2 + transformed.imag**2) * sides / (n * (window**2).sum())
    return LineSpectrum(torch.arange(n // 2 + 1), slope**2 * spread, power)
