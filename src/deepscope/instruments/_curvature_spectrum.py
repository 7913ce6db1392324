"""Ends, density and trace of a curvature matrix, by whichever way takes fewer products."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from deepscope.core import MeasurementError
from deepscope.instruments._curvature_density import exact_measure
from deepscope.linalg import LinearOperator, SpectralMeasure, block_lanczos, lanczos_quadrature

#: Rounding of an eigenvalue, in units of the dtype's precision times the largest: the products' own comes to Lanczos'.
ROUNDING = 100
_BLOCK = 32


@dataclass(frozen=True, eq=False, kw_only=True)
class Spectrum:
    """What was found of a spectrum.

    Attributes
    ----------
    largest, largest_residuals, largest_errors
        The algebraically largest eigenvalues, descending, ‖Hv − λv‖, and bounds on their errors.
    smallest, smallest_residuals, smallest_errors
        The smallest ones, descending.
    converged, status
        Whether all are within the tolerance; ``"ok"`` or what is not.
    vectors
        Of the largest, [n, top]; None unless asked for.
    measure
        The distribution of all; None unless asked for.
    dense
        The matrix itself, where it was cheaper; else None.
    n_products
        What it took.
    """

    largest: NDArray[np.float64]
    largest_residuals: NDArray[np.float64]
    largest_errors: NDArray[np.float64]
    smallest: NDArray[np.float64]
    smallest_residuals: NDArray[np.float64]
    smallest_errors: NDArray[np.float64]
    converged: bool
    status: str
    vectors: Tensor | None
    measure: SpectralMeasure | None
    dense: Tensor | None
    n_products: int


def spectrum_of(
    operator: LinearOperator,
    *,
    top: int,
    bottom: int,
    tolerance: float,
    max_products: int,
    probes: tuple[int, int] | None,
    vectors: bool,
    generator: torch.Generator,
) -> Spectrum:
    """Return the ends of a spectrum and, with ``probes`` (how many, and steps for each), its distribution.

    A matrix with no more rows than the distribution would take products is written down instead, and all is exact.
    """
    if operator.n <= max(1, probes[0] * probes[1] if probes else 0, top + bottom):
        return _dense(operator, top, bottom, vectors=vectors, distribution=probes is not None)
    ends = block_lanczos(
        operator,
        largest=top,
        smallest=bottom,
        generator=generator,
        tolerance=tolerance,
        max_basis=max_products,
        vectors=vectors,
    )
    measure = None
    if probes is not None:
        measure = lanczos_quadrature(operator, n_probes=probes[0], n_steps=probes[1], generator=generator)
    low = slice(None, None, -1)
    return Spectrum(
        largest=ends.largest.values,
        largest_residuals=ends.largest.residuals,
        largest_errors=ends.largest.errors,
        smallest=ends.smallest.values[low],
        smallest_residuals=ends.smallest.residuals[low],
        smallest_errors=ends.smallest.errors[low],
        converged=bool(ends.largest.converged.all() and ends.smallest.converged.all()),
        status=ends.status,
        vectors=ends.largest.vectors,
        measure=measure,
        dense=None,
        n_products=ends.n_products + (measure.n_products if measure is not None else 0),
    )


def _dense(operator: LinearOperator, top: int, bottom: int, *, vectors: bool, distribution: bool) -> Spectrum:
    n, rounding = operator.n, ROUNDING * float(torch.finfo(operator.dtype).eps)
    H = dense_of(operator)
    values, axes = torch.linalg.eigh(H)
    descending = values.flip(0).cpu().numpy()
    error = np.full(n, rounding * float(np.abs(descending).max()))
    return Spectrum(
        largest=descending[:top],
        largest_residuals=error[:top],
        largest_errors=error[:top],
        smallest=descending[n - bottom :],
        smallest_residuals=error[:bottom],
        smallest_errors=error[:bottom],
        converged=True,
        status="ok",
        vectors=axes.flip(1)[:, :top].to(operator.dtype) if vectors else None,
        measure=exact_measure(descending, rounding, n) if distribution else None,
        dense=H,
        n_products=n,
    )


def dense_of(operator: LinearOperator) -> Tensor:
    """Return the matrix itself, [n, n], in float64, by n products."""
    units = torch.eye(operator.n, dtype=operator.dtype, device=operator.device)
    H = torch.cat([operator.matmat(block.contiguous()) for block in torch.split(units, _BLOCK, dim=1)], dim=1).double()
    if not bool(torch.isfinite(H).all()):
        raise MeasurementError("a product of the curvature matrix holds values that are not finite")
    if (H - H.T).abs().max() > float(torch.finfo(operator.dtype).eps) ** 0.5 * H.abs().max():
        raise MeasurementError("the curvature matrix is not symmetric", todo="Look for a custom backward pass.")
    return (H + H.T) / 2
