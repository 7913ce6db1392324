"""Kernels of fully connected networks of infinite width: as Gaussian processes, and as they are trained."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from deepscope.core import UsageError, nearest

Floats = NDArray[np.float64]

#: Cosines this near to 1 are of two inputs in one direction: their own rounding, a few units of the last place.
_ROUNDING = 8 * float(np.finfo(np.float64).eps)


class InfiniteWidthKernel(NamedTuple):
    """The covariance of the outputs at initialisation, and the tangent kernel; each [n1, n2]."""

    nngp: Floats
    ntk: Floats


def infinite_width_kernel(
    x1: NDArray[Any] | Tensor,
    x2: NDArray[Any] | Tensor | None,
    depth: int,
    activation: str = "relu",
    weight_variance: float = 2.0,
    bias_variance: float = 0.0,
) -> InfiniteWidthKernel:
    """Return the NNGP kernel and the neural tangent kernel of a fully connected network of infinite width.

    In the NTK parametrisation a layer of n inputs computes σ_w/√n · W h + σ_b · b with all entries of W and b drawn
    from N(0, 1) and trained. With K⁰ = Θ⁰ = σ_b² + σ_w² x·x′/d, and (u, v) Gaussian with the covariance that K^(l−1)
    gives the two inputs,

        K^l = σ_b² + σ_w² E[φ(u) φ(v)],  Θ^l = K^l + Θ^(l−1) · σ_w² E[φ′(u) φ′(v)].

    Parameters
    ----------
    x1, x2
        Inputs, [n1, …] and [n2, …] with the same number d of values each; the kernel of ``x1`` with itself where ``x2``
        is None.
    depth
        Number L of hidden layers; the kernels are K^L and Θ^L, of one output.
    activation
        ``"relu"`` (the arc-cosine kernels) or ``"erf"``.
    weight_variance, bias_variance
        σ_w² and σ_b². With ReLU, no bias and σ_w² = 2 the variance is the same in every layer.

    Returns
    -------
    InfiniteWidthKernel
        ``.nngp`` and ``.ntk``, float64. For ReLU, Θ of two inputs at an angle θ below about 1e-7 is off by up to θ/2,
        relatively: their cosine cannot be told from 1.

    Raises
    ------
    UsageError
        Inputs of different size or that are not finite, an unknown activation, a negative depth or variance.

    Notes
    -----
    Cost: n1·n2·d operations and some twenty per entry and layer. Sources: ``cho2009kernel``, ``williams1997computing``,
    ``lee2018deep``, ``jacot2018neural``.

    Examples
    --------
    >>> x = np.array([[1.0, 1.0], [1.0, -1.0]])
    >>> infinite_width_kernel(x, None, depth=2).ntk.round(3).tolist()
    [[6.0, 1.371], [1.371, 6.0]]
    """
    a, b = _rows(x1, "x1"), _rows(x1 if x2 is None else x2, "x2")
    if a.shape[1] != b.shape[1]:
        raise UsageError(
            "inputs of different size", where=f"{a.shape[1]} and {b.shape[1]} values", todo="Give inputs of one kind."
        )
    if activation not in _ACTIVATIONS:
        todo = nearest(activation, _ACTIVATIONS)
        raise UsageError("no kernel is known of this activation", where=activation, todo=todo)
    for name, number in (("depth", depth), ("weight_variance", weight_variance), ("bias_variance", bias_variance)):
        if not number >= 0:
            raise UsageError(f"this is {number}", where=name, todo="Give 0 or more.")
    expectations = _ACTIVATIONS[activation]
    across = bias_variance + weight_variance * (a @ b.T) / a.shape[1]
    own = [bias_variance + weight_variance * np.einsum("ij,ij->i", x, x) / x.shape[1] for x in (a, b)]
    tangent = across.copy()
    for _ in range(depth):
        product, slopes = expectations(own[0][:, None], own[1][None, :], across)
        across = bias_variance + weight_variance * product
        tangent = across + tangent * weight_variance * slopes
        own = [bias_variance + weight_variance * expectations(each, each, each)[0] for each in own]
    return InfiniteWidthKernel(across, tangent)


def _rows(x: NDArray[Any] | Tensor, where: str) -> Floats:
    values = x.detach().cpu().double().numpy() if isinstance(x, Tensor) else np.asarray(x, dtype=np.float64)
    if values.size == 0 or values.ndim == 0 or not np.isfinite(values).all():
        raise UsageError("inputs that are empty or not finite", where=where, todo="Give numbers, [n, …].")
    return values.reshape(len(values), -1)


def _relu(u: Floats, v: Floats, across: Floats) -> tuple[Floats, Floats]:
    """Return E[φ(u) φ(v)] and E[φ′(u) φ′(v)]: the arc-cosine kernels of degree 1 and 0."""
    size = np.sqrt(u * v)
    # Where an input is 0 there is no angle; whatever it were, kernels of that input are 0.
    cosine = np.divide(across, size, out=np.zeros_like(across + size), where=size > 0)
    cosine = np.where(cosine > 1 - _ROUNDING, 1.0, np.clip(cosine, -1.0, 1.0))
    angle = np.arccos(cosine)
    product = size / (2 * np.pi) * (np.sqrt(1 - cosine**2) + (np.pi - angle) * cosine)
    return product, (np.pi - angle) / (2 * np.pi)


def _erf(u: Floats, v: Floats, across: Floats) -> tuple[Floats, Floats]:
    size = (1 + 2 * u) * (1 + 2 * v)
    product = 2 / np.pi * np.arcsin(np.clip(2 * across / np.sqrt(size), -1.0, 1.0))
    return product, 4 / np.pi / np.sqrt(size - 4 * across**2)


_ACTIVATIONS: dict[str, Callable[[Floats, Floats, Floats], tuple[Floats, Floats]]] = {"relu": _relu, "erf": _erf}
