"""Where an output's positions are padding."""

from __future__ import annotations

from torch import Tensor, nn


def real_positions(mask: Tensor, module: nn.Module, tensor: Tensor, units_dim: int | None) -> tuple[Tensor, int] | None:
    """Lay a batch's mask over the positions of a layer's output.

    Parameters
    ----------
    mask
        Boolean over the leading dimensions of the batch, [samples, …]; False where a position is padding.
    module
        The layer.
    tensor
        Its output.
    units_dim
        The dimension of its units; the others are positions.

    Returns
    -------
    tuple or None
        The mask, over the leading dimensions of the output other than the units', and which of them is the samples':
        1 for layers that take time first. None where it does not fit.
    """
    positions = [size for dim, size in enumerate(tensor.shape) if dim != units_dim]
    fitting = [(each, dim) for each, dim in ((mask, 0), (mask.T, 1)) if list(each.shape) == positions[: mask.ndim]]
    # A square one fits both ways.
    return fitting[-1 if getattr(module, "batch_first", True) is False else 0] if fitting else None
