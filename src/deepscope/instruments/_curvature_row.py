"""What is measured of one layer's curvature."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from deepscope.instruments._curvature_loss import MeanLoss
from deepscope.instruments._curvature_products import Products
from deepscope.linalg import block_lanczos


@dataclass(frozen=True, kw_only=True)
class LayerCurvature:
    """One layer: the diagonal block of the curvature matrix that belongs to its parameters.

    Attributes
    ----------
    name
        Of the layer.
    parameters
        How many are trained.
    trace, trace_stderr
        Of the block; the standard error is 0 where it is exact. None where it was not asked for.
    curvature_fraction
        Its trace as a share of the sum of all layers' traces by size; below 0 where the trace is.
    eigenvalue, residual
        The block's largest eigenvalue, and ‖Hv − λv‖ within the block.
    status
        ``"ok"``, or what is missing and why.
    """

    name: str
    parameters: int
    trace: float | None
    trace_stderr: float
    curvature_fraction: float | None
    eigenvalue: float | None
    residual: float | None
    status: str


@dataclass(frozen=True)
class Traces:
    """Of every layer.

    Attributes
    ----------
    values, stderrs
        In the order of the layers.
    stderr
        That of their sum.
    method
        How they were had.
    """

    values: Sequence[float | None]
    stderrs: Sequence[float]
    stderr: float
    method: str

    @property
    def total(self) -> float | None:
        """Their sum; None where they were not asked for."""
        known = [value for value in self.values if value is not None]
        return math.fsum(known) if known else None


def size_of_traces(layers: Sequence[LayerCurvature]) -> float:
    """Return the sum of all layers' traces by size, of which each has its share."""
    return sum(abs(each.trace) for each in layers if each.trace is not None)


def layer_rows(
    loss: MeanLoss,
    products: Products,
    traces: Traces,
    *,
    eigenvalues: bool,
    tolerance: float,
    generator: torch.Generator,
) -> tuple[tuple[LayerCurvature, ...], int]:
    """Make the rows in the order of the model, and count the products that they took."""
    total = sum(abs(value) for value in traces.values if value is not None)
    rows, taken = [], 0
    for (name, places), trace, stderr in zip(loss.layers.items(), traces.values, traces.stderrs, strict=True):
        said, eigenvalue, residual = [], None, None
        if eigenvalues:
            operator = products.operator(places)
            ends = block_lanczos(operator, largest=1, generator=generator, tolerance=tolerance)
            taken += ends.n_products
            top = ends.largest
            eigenvalue, residual = float(top.values[0]), float(top.residuals[0])
            if not top.converged[0]:
                said.append(f"eigenvalue known to {top.errors[0]:.2g} only")
            if eigenvalue == 0 and not trace:
                said.append("the loss does not bend along it")
        rows.append(
            LayerCurvature(
                name=name,
                parameters=sum(loss.sizes[place] for place in places),
                trace=trace,
                trace_stderr=stderr,
                curvature_fraction=trace / total if trace is not None and total else None,
                eigenvalue=eigenvalue,
                residual=residual,
                status="; ".join(said) or "ok",
            )
        )
    return tuple(rows), taken
