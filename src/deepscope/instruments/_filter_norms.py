"""The norm of each filter: of all weights that feed one output unit."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

_TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)


def filter_norms(tensor: Tensor, module: nn.Module | None = None) -> Tensor:
    r"""Return :math:`\|W_f\|_2` of each filter f, in a shape that broadcasts over the tensor.

    A filter is a row of a linear layer's weight [out, in], a kernel [in, …] of a convolution's [out, in, …], the vector
    of one token of an embedding; of a transposed convolution's weight [in, out / groups, …], all weights that feed one
    output channel. A vector is one filter.

    Parameters
    ----------
    tensor
        The weight, or a direction of its shape.
    module
        The layer it belongs to, which tells a transposed convolution.

    Examples
    --------
    >>> filter_norms(torch.tensor([[3.0, 4.0], [0.0, 2.0]])).tolist()
    [[5.0], [2.0]]
    """
    values = tensor.double()
    if isinstance(module, _TRANSPOSED) and tensor.ndim > 2:
        inputs, outputs, *kernel = tensor.shape
        grouped = values.reshape(module.groups, inputs // module.groups, outputs, -1)
        norms: Tensor = torch.linalg.vector_norm(grouped, dim=(1, 3), keepdim=True)
        spread = norms.expand(-1, inputs // module.groups, -1, 1)
        return spread.reshape(inputs, outputs, *(1 for _ in kernel))
    dims = tuple(range(1 if tensor.ndim > 1 else 0, tensor.ndim))
    found: Tensor = torch.linalg.vector_norm(values, dim=dims or None, keepdim=bool(dims))
    return found


def n_filters(tensor: Tensor, module: nn.Module | None = None) -> int:
    """Return how many filters a weight has; a vector is one."""
    if isinstance(module, _TRANSPOSED) and tensor.ndim > 2:
        return tensor.shape[1] * module.groups
    return len(tensor) if tensor.ndim > 1 else 1


def module_of(modules: Mapping[str, nn.Module], name: str) -> nn.Module | None:
    """Return the module that holds a tensor; the root's name is empty."""
    return modules.get(name.rpartition(".")[0])
