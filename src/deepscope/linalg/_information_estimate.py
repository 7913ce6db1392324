"""An estimate of mutual information, with what is needed to judge it."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from deepscope.core import UsageError

Rows = NDArray[np.intp]
Floats = NDArray[np.float64]

#: Fewer permutations have no 95 % quantile.
FEWEST_PERMUTATIONS = 19
#: Random halvings of the samples behind a standard error.
_HALVINGS = 10
#: An estimate that loses more than this share with half of the samples would still grow with more.
_DRIFT = 0.05
_Z = 1.96
#: Rounding must not tell a value from itself.
_ROUNDING = 1e-9
#: Pairs of samples that are compared in one piece, over several orders where they are few.
_PAIRS = 2**18


@dataclass(frozen=True, kw_only=True)
class InformationEstimate:
    """An estimate of the mutual information of two variables, in bits.

    Attributes
    ----------
    bits
        The estimate; it may be below 0 where the estimator allows it.
    stderr
        Its standard error, from halves of the samples: √(mean (a − b)² / 4) over random halvings into a and b, as
        variances go with 1/n (``holmes2019estimation``).
    half_bits
        What half of the samples give, in the mean: an estimate that changes with n has not converged.
    bias
        What is known of its bias to first order in 1/n, to be subtracted; None where no such formula exists.
    null_mean, null_high
        Mean and 95 % quantile of what it gives when one variable's samples are in random order: nothing to be found.
    p_value
        (1 + how many orders give as much or more) / (1 + how many were drawn).
    ceiling
        The most that it can give on so many samples, whatever the truth.
    n
        Samples used.
    status
        ``"ok"``, or why the number is not to be taken for the mutual information.
    """

    bits: float
    stderr: float
    half_bits: float
    bias: float | None
    null_mean: float
    null_high: float
    p_value: float
    ceiling: float
    n: int
    status: str

    @property
    def low(self) -> float:
        """Lower end of the 95 % interval of the estimate, which allows for no bias."""
        return self.bits - _Z * self.stderr

    @property
    def high(self) -> float:
        """Upper end of it."""
        return self.bits + _Z * self.stderr

    @property
    def beats_null(self) -> bool:
        """Whether there is anything to be found: more than 95 % of random orders give."""
        return self.bits > self.null_high + _ROUNDING * max(1.0, abs(self.bits))


def estimate_of(
    n: int,
    *,
    on: Callable[[Rows], float],
    permuted: Callable[[Rows], Floats],
    ceiling: float,
    status: Callable[[float], str],
    permutations: int,
    rng: np.random.Generator | None,
    bias: float | None = None,
) -> InformationEstimate:
    """Judge an estimator by halves of its samples and by random orders of one variable.

    Parameters
    ----------
    n
        Samples.
    on
        The estimate, in bits, from some of the rows.
    permuted
        The estimates with the second variable's rows in each of these orders, [orders, n] to [orders].
    ceiling, bias
        As ``InformationEstimate`` has them.
    status
        Says of the estimate why it is not to be trusted; empty where there is no reason but those that halves tell.
    permutations
        How many random orders.
    rng
        Draws halves and orders.
    """
    if permutations < FEWEST_PERMUTATIONS:
        raise UsageError(
            f"{permutations} permutations have no 95 % quantile", todo=f"Give at least {FEWEST_PERMUTATIONS}."
        )
    draw = rng if rng is not None else np.random.default_rng(0)
    bits = on(np.arange(n))
    halves = np.array([[on(half) for half in _halves(draw, n)] for _ in range(_HALVINGS)])
    stderr = math.sqrt(float(np.mean(np.diff(halves, axis=1) ** 2)) / 4)
    orders = np.array([draw.permutation(n) for _ in range(permutations)])
    pieces = math.ceil(permutations / max(1, _PAIRS // n**2))
    null = np.sort(np.concatenate([permuted(some) for some in np.array_split(orders, pieces)]))
    reached = int(np.sum(null >= bits - _ROUNDING * max(1.0, abs(bits))))
    return InformationEstimate(
        bits=bits,
        stderr=stderr,
        half_bits=float(halves.mean()),
        bias=bias,
        null_mean=float(null.mean()),
        # Exact for independent variables: one order in twenty, the one given among them, is beyond it.
        null_high=float(null[math.ceil(0.95 * (permutations + 1)) - 1]),
        p_value=(1 + reached) / (1 + permutations),
        ceiling=ceiling,
        n=n,
        status=status(bits) or _drift(bits, float(halves.mean()), stderr) or "ok",
    )


def _halves(draw: np.random.Generator, n: int) -> tuple[Rows, Rows]:
    order = draw.permutation(n)
    return np.sort(order[: n // 2]), np.sort(order[n // 2 :])


def _drift(bits: float, half: float, stderr: float) -> str:
    if abs(bits - half) <= max(_DRIFT * abs(bits), 2 * stderr, _ROUNDING):
        return ""
    return f"not converged: {half:.3g} bits from half of the samples, {bits:.3g} from all"
