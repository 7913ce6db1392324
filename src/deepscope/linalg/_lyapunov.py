"""Lyapunov exponents: how fast nearby states of an iterated map part, by QR of the products of its Jacobians."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from deepscope.core import MeasurementError, UsageError
from deepscope.linalg._estimate import mean_of

Floats = NDArray[np.float64]

#: Blocks of successive steps whose means are taken as independent where there is one sequence.
_BLOCKS = 16


@dataclass(frozen=True, eq=False, kw_only=True)
class LyapunovSpectrum:
    """The leading Lyapunov exponents of a sequence of steps, in nats per step.

    Attributes
    ----------
    exponents
        λ, descending, [k]; −inf for directions that a step maps to zero.
    stderr, low, high
        Standard error and ends of the 95 % interval by Student's t, [k]: over sequences where there are several, else
        over 16 blocks of successive steps. NaN where neither can be had, and at exponents of −inf.
    over
        ``"sequences"``, ``"blocks of steps"``, or ``"nothing"`` where there is no interval.
    by_sequence
        The exponents of each sequence, in the order of ``exponents``, [sequences, k].
    n_steps
        Steps of a sequence that were averaged, without the transient.
    n_states
        Dimension n of the state.
    """

    exponents: Floats
    stderr: Floats
    low: Floats
    high: Floats
    over: str
    by_sequence: Floats
    n_steps: int
    n_states: int

    @property
    def kaplan_yorke(self) -> float | None:
        """Dimension j + Σ_{i≤j} λ_i / |λ_{j+1}|, j the most exponents of which the sum is not negative.

        0 where all are negative; n where the sum of all n is not; None where fewer than n are known and their sum is
        not negative (``frederickson1983liapunov``).
        """
        sums = np.cumsum(self.exponents)
        j = int(np.sum(np.logical_and.accumulate(sums >= 0)))
        if j == 0:
            return 0.0
        if j == len(sums):
            return float(j) if j == self.n_states else None
        return j + float(sums[j - 1]) / abs(float(self.exponents[j]))


def lyapunov_spectrum(
    jacobians: Iterable[Tensor | NDArray[Any]],
    *,
    count: int | None = None,
    transient: int = 0,
    smooth: bool = False,
    generator: torch.Generator | None = None,
) -> LyapunovSpectrum:
    r"""Return the Lyapunov exponents along a sequence of steps.

    From a random orthonormal Q₀, with :math:`Q_t R_t = J_t Q_{t-1}`, diag R > 0: the exponents are the means
    :math:`\lambda_i = \sum_t w_t \ln (R_t)_{ii}` over the steps behind the transient (``benettin1980lyapunov``). The
    sum of all n is the mean of ln |det J|, whatever Q₀.

    Parameters
    ----------
    jacobians
        J_t = ∂s_t/∂s_{t−1}, [n, n], or [sequences, n, n] for sequences side by side; read once, in order.
    count
        How many exponents, the largest; all n unless given.
    transient
        Steps at the start that only turn Q towards the directions of growth. A transient of τ steps leaves an error
        that falls as exp(−τ·gap) with the gap between neighbouring exponents.
    smooth
        Weigh the steps by exp(−1/(u(1 − u))), u = t/(T + 1), instead of all alike. Where the exponents only oscillate,
        as those of a complex pair at a fixed point or on a torus, the error then falls faster than any power of T
        instead of as 1/T; where they scatter as in chaos, the variance is 1.7 times as large
        (``das2017quantitative``).
    generator
        For Q₀; seeded with 0 unless given.

    Returns
    -------
    LyapunovSpectrum

    Raises
    ------
    UsageError
        The Jacobians are not square or change their shape, ``count`` is out of range, or no step is left behind the
        transient.
    MeasurementError
        A Jacobian is not finite.

    Notes
    -----
    In float64 on the CPU. Cost: a product and a QR of n × count a step, 4·n²·count operations. A finite sequence gives
    finite-time exponents: without a transient the largest is underestimated by about ln(n)/(2T), because Q₀ must first
    turn.

    Examples
    --------
    A linear map has the logarithms of its eigenvalues' sizes:

    >>> A = np.array([[2.0, 1.0], [0.0, 0.5]])
    >>> lyapunov_spectrum([A] * 200, transient=100).exponents.round(9).tolist()
    [0.693147181, -0.693147181]
    """
    steps = (_as_block(each) for each in jacobians)
    first = next(steps, None)
    if first is None:
        raise UsageError("there are no steps", todo="Give at least one Jacobian.")
    n_sequences, n, _ = first.shape
    k = n if count is None else count
    if not 1 <= k <= n or transient < 0:
        raise UsageError(
            f"a state of {n} numbers has 1 to {n} exponents", where=f"count={count}, transient={transient}"
        )
    generator = generator if generator is not None else torch.Generator().manual_seed(0)
    start = torch.randn(n_sequences, n, k, generator=generator, device=generator.device, dtype=torch.float64).cpu()
    Q = torch.linalg.qr(start).Q
    kept: list[Tensor] = []
    for t, J in enumerate(itertools.chain([first], steps)):
        if J.shape != first.shape:
            raise UsageError("the Jacobians change their shape", where=f"{list(first.shape)} and {list(J.shape)}")
        Q, R = torch.linalg.qr(J @ Q)
        if t >= transient:
            kept.append(R.diagonal(dim1=1, dim2=2).abs().log())
    if not kept:
        raise UsageError("no step is left behind the transient", where=f"transient={transient}")
    return _summarised(torch.stack(kept).numpy(), n, smooth=smooth)


def _as_block(jacobian: Tensor | NDArray[Any]) -> Tensor:
    J = torch.as_tensor(jacobian).detach().to("cpu", torch.float64)
    J = J[None] if J.ndim == 2 else J
    if J.ndim != 3 or J.shape[1] != J.shape[2]:
        raise UsageError("a step's Jacobian is square", where=f"shape {list(J.shape)}")
    if not bool(torch.isfinite(J).all()):
        raise MeasurementError("a step's Jacobian is not finite")
    return J


def _summarised(logs: Floats, n: int, *, smooth: bool) -> LyapunovSpectrum:
    """Average logarithms of growth, [steps, sequences, k]."""
    n_steps, n_sequences, k = logs.shape
    by_sequence = np.tensordot(_weights(n_steps, smooth=smooth), logs, axes=1)
    mean = by_sequence.mean(axis=0)
    # A start that is not yet turned may give them in another order.
    order = np.argsort(-mean, kind="stable")
    draws, over = by_sequence, "sequences"
    if n_sequences == 1:
        whole = n_steps // _BLOCKS * _BLOCKS
        draws = logs[n_steps - whole :, 0].reshape(_BLOCKS, -1, k).mean(axis=1) if whole else logs[:, 0][:0]
        over = "blocks of steps" if whole else "nothing"
    ends = [_interval(draws[:, i], mean[i]) for i in order]
    stderr, low, high = (np.array(each) for each in zip(*ends, strict=True))
    return LyapunovSpectrum(
        exponents=mean[order],
        stderr=stderr,
        low=low,
        high=high,
        over=over,
        by_sequence=by_sequence[:, order],
        n_steps=n_steps,
        n_states=n,
    )


def _weights(n_steps: int, *, smooth: bool) -> Floats:
    if not smooth:
        return np.full(n_steps, 1 / n_steps)
    u = np.arange(1, n_steps + 1) / (n_steps + 1)
    weights = np.exp(-1 / (u * (1 - u)))
    return np.asarray(weights / weights.sum())


def _interval(draws: Floats, value: float) -> tuple[float, float, float]:
    if len(draws) < 2 or not np.isfinite(draws).all():
        return math.nan, math.nan, math.nan
    found = mean_of(draws)
    half = found.high - found.value
    return found.stderr, value - half, value + half
