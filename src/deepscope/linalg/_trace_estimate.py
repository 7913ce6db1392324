"""What every estimator of a trace returns, and the exact trace that it turns to when that is no dearer."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from deepscope.core import MeasurementError, UsageError
from deepscope.linalg._linear_operator import LinearOperator

Floats = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class TraceEstimate:
    """An estimate of a trace.

    Attributes
    ----------
    status
        ``"ok"``, or that the tolerance was not reached.
    value
        The estimate.
    stderr
        Its standard error; 0 where every diagonal entry was computed.
    n_products
        How many vectors were multiplied with the operator.
    """

    status: str
    value: float
    stderr: float
    n_products: int


def judged(value: float, stderr: float, n_products: int, tolerance: float) -> TraceEstimate:
    """Return the estimate, with a status that says whether it is within the tolerance, if there is one."""
    if not np.isfinite(value):
        raise MeasurementError("a product of the operator holds values that are not finite")
    reached = tolerance == 0 or stderr <= tolerance * abs(value)
    status = "ok" if reached else f"the standard error is more than {tolerance:g} of the trace"
    return TraceEstimate(status=status, value=value, stderr=stderr, n_products=n_products)


def exact_diagonal(operator: LinearOperator, block_size: int) -> Tensor:
    """Return the diagonal, [n], in float64, by products with the n unit vectors."""
    diagonal = torch.empty(operator.n, dtype=torch.float64, device=operator.device)
    for begin in range(0, operator.n, block_size):
        count = min(block_size, operator.n - begin)
        units = torch.zeros(operator.n, count, dtype=operator.dtype, device=operator.device)
        units[begin : begin + count].fill_diagonal_(1.0)
        diagonal[begin : begin + count] = operator.matmat(units)[begin : begin + count].diagonal()
    return diagonal


def exact_trace(operator: LinearOperator, block_size: int) -> TraceEstimate:
    """Return the sum of the diagonal."""
    return judged(float(exact_diagonal(operator, block_size).sum()), 0.0, operator.n, 0.0)


def check_budget(n_products: int, fewest: int, tolerance: float, block_size: int) -> None:
    """Refuse a budget that gives no standard error, and what is out of range."""
    if n_products < fewest:
        raise UsageError(
            "too few products for a standard error", where=f"n_products = {n_products}", todo=f"Give at least {fewest}."
        )
    if tolerance < 0 or block_size < 1:
        raise UsageError(
            "the tolerance is not negative and a block has at least one vector",
            where=f"tolerance = {tolerance}, block_size = {block_size}",
        )
