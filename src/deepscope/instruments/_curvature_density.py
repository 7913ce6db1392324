"""The distribution of the eigenvalues."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepscope.linalg import SpectralMeasure

_GRID = 256


@dataclass(frozen=True, eq=False, kw_only=True)
class SpectralDensity:
    """Density of eigenvalues under a Gaussian kernel; its integral is 1.

    Attributes
    ----------
    grid
        Where, [256].
    value, low, high
        The density and its pointwise 95 % interval over probes, [256]; one curve where all eigenvalues were computed.
    width
        Standard deviation of the kernel: peaks narrower than this are not seen.
    n_probes, n_steps
        Random vectors, and Lanczos steps for each; 0 probes where all eigenvalues were computed.
    """

    grid: NDArray[Any]
    value: NDArray[Any]
    low: NDArray[Any]
    high: NDArray[Any]
    width: float
    n_probes: int
    n_steps: int


@dataclass(frozen=True, kw_only=True)
class NegativeDirections:
    """How many eigenvalues are below 0 by more than rounding.

    Attributes
    ----------
    count, low, high
        The number and its 95 % interval, which holds both the scatter over probes and what quadrature leaves open.
    threshold
        Below which an eigenvalue counts.
    """

    count: float
    low: float
    high: float
    threshold: float


def spectral_density(measure: SpectralMeasure, *, exact: bool) -> SpectralDensity | None:
    """Return the density on a grid that holds all of it; None where all eigenvalues are one."""
    low, high = float(measure.nodes.min()), float(measure.nodes.max())
    steps = measure.nodes.shape[1]
    width = (high - low) / (min(steps, 30) if exact else steps)
    if width <= 0:
        return None
    grid = np.linspace(low - 4 * width, high + 4 * width, _GRID)
    band = measure.density(grid, width)
    return SpectralDensity(
        grid=grid,
        value=band.value,
        low=band.low,
        high=band.high,
        width=width,
        n_probes=0 if exact else len(measure.nodes),
        n_steps=steps,
    )


def negative_directions(measure: SpectralMeasure, rounding: float) -> NegativeDirections:
    """Count the eigenvalues below −rounding, a share of the largest by size."""
    threshold = -rounding * float(np.abs(measure.nodes).max())
    share = measure.fraction_below(np.array(threshold))
    count, low, high = (float(each) * measure.n for each in (share.value, share.low, share.high))
    return NegativeDirections(count=count, low=low, high=high, threshold=threshold)


def exact_measure(eigenvalues: NDArray[np.float64], rounding: float, n_products: int) -> SpectralMeasure:
    """Return the distribution of eigenvalues that are all known, as a quadrature."""
    n = len(eigenvalues)
    nodes = np.tile(np.sort(eigenvalues), (2, 1))
    return SpectralMeasure(
        n=n,
        nodes=nodes,
        weights=np.full_like(nodes, 1 / n),
        residuals=np.full_like(nodes, rounding * float(np.abs(eigenvalues).max())),
        n_products=n_products,
    )
