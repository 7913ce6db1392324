"""Low-rank layers: a linear or convolutional layer as two smaller ones."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from deepscope.core import Specimen
from deepscope.training._factorised import (
    Factorised,
    convolution,
    dropped,
    factorised,
    linear,
    require_rank,
    weight_of,
)


def low_rank(layer: nn.Linear | nn.Conv1d | nn.Conv2d | nn.Conv3d, rank: int) -> Factorised:
    """Return the best approximation of a layer by two of which the first has ``rank`` outputs.

    With the singular values σ of the weight W, [out, in], or of a convolution's, [out, in·taps]::

        W ≈ (U_r √Σ_r)(√Σ_r V_rᵀ)        ‖W − W̃‖² = Σ_{i>r} σᵢ²

    No other matrix of this rank is nearer (``eckart1936approximation``), also in the spectral norm, where the error is
    σ_{r+1}. A convolution becomes one of r filters and one of 1 × 1 that mixes them: the filters of
    ``zhang2016accelerating`` without regard to the data. The roots share the scale between both, so that they train at
    like rates.

    Parameters
    ----------
    layer
        Of one group; left as it is.
    rank
        r, from 1 to the smaller side of W.

    Returns
    -------
    Factorised
        Two layers, the bias with the second.

    Raises
    ------
    UsageError
        The layer is of another kind or has groups, or the rank is out of range.
    MeasurementError
        A weight is not finite.

    Notes
    -----
    Parameters without bias: r(in·taps + out), fewer than in·taps·out for r < in·taps·out/(in·taps + out). Costs a
    singular-value decomposition in float64.

    Examples
    --------
    >>> layer = nn.Linear(3, 3, bias=False)
    >>> _ = layer.weight.data.copy_(torch.diag(torch.tensor([5.0, 4.0, 3.0])))
    >>> found = low_rank(layer, 1)
    >>> round(found.error, 6), (found.layer[1].weight @ found.layer[0].weight)[0, 0].item()
    (5.0, 5.0)
    """
    weight = weight_of(layer, (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d), where="low_rank")
    matrix = weight.flatten(1)
    require_rank("rank", rank, min(matrix.shape), where="low_rank")
    U, values, Vt = torch.linalg.svd(matrix, full_matrices=False)
    scale = values[:rank].sqrt()
    left, right = U[:, :rank] * scale, scale[:, None] * Vt[:rank]
    return factorised(_pair(layer, left, right), weight, dropped(values, rank))


def _pair(layer: nn.Linear | nn.Conv1d | nn.Conv2d | nn.Conv3d, left: Tensor, right: Tensor) -> list[nn.Module]:
    if isinstance(layer, nn.Linear):
        return [linear(right, like=layer), linear(left, like=layer, bias=layer.bias)]
    dims = layer.weight.ndim - 2
    filters = right.view(len(right), *layer.weight.shape[1:])
    mixing = left.view(*left.shape, *[1] * dims)
    return [
        convolution(filters, like=layer, axes=range(dims)),
        convolution(mixing, like=layer, bias=layer.bias),
    ]


SPECIMENS = (
    Specimen(
        name="low-rank",
        title="a layer as a product of two by its singular values",
        build=low_rank,
        formula="W ≈ U_r Σ_r V_rᵀ, the nearest of rank r: ‖W − W̃‖² is the sum of the dropped σ².",
        source="eckart1936approximation",
        pinned_by="tests/training/test_low_rank.py::test_the_error_is_that_of_the_dropped_singular_values",
    ),
)
