"""Annealed importance sampling: the partition function of a restricted Boltzmann machine too large to sum."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor
from torch.nn.functional import linear, softplus

from deepscope.core import UsageError
from deepscope.models._binary import check_bits
from deepscope.models._rbm import RBM
from deepscope.models._sizes import positive


@dataclass(frozen=True, kw_only=True)
class PartitionEstimate:
    """An estimate of a partition function, and how much it can be trusted.

    Attributes
    ----------
    log_partition
        log Ẑ; Ẑ itself is unbiased.
    standard_error
        Of log Ẑ: the standard error of the mean weight, relative to the mean.
    lower, upper
        log(Ẑ ∓ 3 standard errors of Ẑ); −∞ where the lower one is not above 0.
    effective_chains
        (Σ w)² / Σ w² of the weights w: chains alike good would give as much. When it is few of them, the weights have
        a heavy tail, and the standard error is itself too small.
    """

    log_partition: float
    standard_error: float
    lower: float
    upper: float
    effective_chains: float


@torch.no_grad()
def annealed_importance_sampling(
    rbm: RBM,
    *,
    temperatures: int = 1000,
    chains: int = 100,
    samples: Tensor | None = None,
    generator: torch.Generator | None = None,
) -> PartitionEstimate:
    """Estimate log Z of a restricted Boltzmann machine by annealed importance sampling.

    Between a machine without weights, of visible biases a, and the machine itself stand those of free energies
    F_β(v) = −((1 − β) a + β b)·v − Σ_j log(1 + exp(β (c_j + Σ_i v_i W_ij))). A chain begins with v ~ P_0 and makes a
    Gibbs step at each β, 0 < β < 1; its weight is w = Π_k exp(F_β(k−1)(v_k) − F_β(k)(v_k)), whose mean is Z / Z_0,
    with log Z_0 = m log 2 + Σ_i log(1 + exp(a_i)) of m hidden units.

    Parameters
    ----------
    rbm
        The machine.
    temperatures
        Steps from β = 0 to 1, all alike.
    chains
        Number of weights.
    samples
        Data [n, visible] whose means a has, drawn to one half by one sample of each value; a = 0 unless given.
    generator
        Draws the chains. torch's global one unless given.

    Raises
    ------
    UsageError
        A number of temperatures below 1, or of chains below 2; samples of another shape or precision, or not of zeros
        and ones.

    Notes
    -----
    Cost: 2 products of the chains with W at each temperature. Weights are summed in float64. Sources:
    ``neal2001annealed``, ``salakhutdinov2008quantitative``.

    Examples
    --------
    >>> rbm = RBM(6, 4, generator=torch.Generator().manual_seed(0))
    >>> estimate = annealed_importance_sampling(rbm, generator=torch.Generator().manual_seed(0))
    >>> estimate.lower < float(rbm.log_partition()) < estimate.upper
    True
    """
    positive(temperatures, "temperatures", rbm)
    if positive(chains, "chains", rbm) < 2:
        raise UsageError(
            "chains is 1",
            where="annealed_importance_sampling",
            todo="Give at least 2: of one weight no error is known.",
        )
    bias = torch.zeros_like(rbm.visible_bias)
    if samples is not None:
        check_bits(samples, rbm.visible, "samples", rbm)
        bias = torch.logit((samples.sum(0) + 1) / (len(samples) + 2))
    betas = torch.linspace(0, 1, temperatures + 1, dtype=torch.float64).tolist()
    v = torch.bernoulli(torch.sigmoid(bias).expand(chains, -1), generator=generator)
    log_weights = torch.zeros(chains, dtype=torch.float64, device=v.device)
    for before, beta in pairwise(betas):
        field = linear(v, rbm.weight.mT, rbm.hidden_bias)
        rise = softplus(beta * field).sum(-1) - softplus(before * field).sum(-1)
        log_weights += rise + (beta - before) * (v @ (rbm.visible_bias - bias))
        h = torch.bernoulli(torch.sigmoid(beta * field), generator=generator)
        down = beta * linear(h, rbm.weight, rbm.visible_bias) + (1 - beta) * bias
        v = torch.bernoulli(torch.sigmoid(down), generator=generator)
    return _estimate(log_weights, rbm.hidden * math.log(2) + float(softplus(bias.double()).sum()))


def _estimate(log_weights: Tensor, log_start: float) -> PartitionEstimate:
    highest = log_weights.max()
    weights = torch.exp(log_weights - highest)
    mean = float(weights.mean())
    error = float(weights.std()) / math.sqrt(len(weights)) / mean
    centre = log_start + float(highest) + math.log(mean)
    return PartitionEstimate(
        log_partition=centre,
        standard_error=error,
        lower=centre + math.log1p(-3 * error) if 3 * error < 1 else -math.inf,
        upper=centre + math.log1p(3 * error),
        effective_chains=float(weights.sum().square() / weights.square().sum()),
    )
