"""Tucker-2 decomposition of convolutions."""

from __future__ import annotations

import torch
from torch import nn

from deepscope.core import Specimen
from deepscope.training._factorised import (
    Convolution,
    Factorised,
    convolution,
    dropped,
    factorised,
    joined,
    require_rank,
    weight_of,
)


def tucker2(layer: Convolution, in_rank: int, out_rank: int) -> Factorised:
    """Return a convolution as three: fewer channels, the same taps on them, and the channels again.

    With the kernel K, [out, in, taps]::

        K_ois ≈ Σ_{p ≤ out_rank} Σ_{q ≤ in_rank} U_op C_pqs V_iq

    which is a convolution of 1 × 1 by Vᵀ, one by the core C with the stride, padding and dilation of the layer, and one
    of 1 × 1 by U, with the bias. Source: ``kim2016compression``. U are the leading left singular vectors of K as
    [out, in·taps], V those of UᵀK as [in, out_rank·taps] (sequentially truncated, ``vannieuwenhoven2012new``), so that
    ‖K − K̃‖² is the sum of the squared singular values that both drop; it is at most twice that of the best of these
    ranks.

    Parameters
    ----------
    layer
        Of one group; left as it is.
    in_rank, out_rank
        Channels of the core.

    Returns
    -------
    Factorised
        Three convolutions.

    Raises
    ------
    UsageError
        The layer is of another kind or has groups, or a rank is out of range: ``out_rank`` up to
        min(out, in·taps), ``in_rank`` up to min(in, out_rank·taps).
    MeasurementError
        A weight is not finite.

    Notes
    -----
    Parameters without bias: in·in_rank + in_rank·out_rank·taps + out_rank·out. Costs two singular-value decompositions
    in float64. The source chooses the ranks by variational Bayes; here they are given.

    Examples
    --------
    >>> layer = nn.Conv2d(16, 32, 3, padding=1)
    >>> found = tucker2(layer, 4, 8)
    >>> [tuple(each.weight.shape) for each in found.layer], found.layer(torch.zeros(1, 16, 9, 9)).shape
    ([(4, 16, 1, 1), (8, 4, 3, 3), (32, 8, 1, 1)], torch.Size([1, 32, 9, 9]))
    """
    kernel = weight_of(layer, (nn.Conv1d, nn.Conv2d, nn.Conv3d), where="tucker2")
    outputs, inputs, *taps = kernel.shape
    n_taps = kernel[0, 0].numel()
    require_rank("out_rank", out_rank, min(outputs, inputs * n_taps), where="tucker2")
    require_rank("in_rank", in_rank, min(inputs, out_rank * n_taps), where="tucker2")

    U, out_values, _ = torch.linalg.svd(kernel.flatten(1), full_matrices=False)
    U = U[:, :out_rank]
    partly = (U.mT @ kernel.flatten(1)).view(out_rank, inputs, n_taps)
    V, in_values, _ = torch.linalg.svd(partly.movedim(1, 0).flatten(1), full_matrices=False)
    V = V[:, :in_rank]
    core = torch.einsum("pis,iq->pqs", partly, V).reshape(out_rank, in_rank, *taps)

    points = [1] * len(taps)
    layers = [
        convolution(V.mT.reshape(in_rank, inputs, *points), like=layer),
        convolution(core, like=layer, axes=range(len(taps))),
        convolution(U.reshape(outputs, out_rank, *points), like=layer, bias=layer.bias),
    ]
    return factorised(layers, kernel, joined([dropped(out_values, out_rank), dropped(in_values, in_rank)]))


SPECIMENS = (
    Specimen(
        name="tucker-2",
        title="a convolution as three, with fewer channels between",
        build=tucker2,
        formula="K_ois ≈ Σ_pq U_op C_pqs V_iq; ‖K − K̃‖² is the sum of the squared singular values that U and V drop.",
        source="kim2016compression",
        pinned_by="tests/training/test_tucker.py::test_the_error_is_that_of_the_dropped_singular_values",
    ),
)
