"""How a restricted Boltzmann machine is trained: contrastive divergence."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from deepscope.core import UsageError
from deepscope.models._binary import check_bits
from deepscope.models._rbm import RBM
from deepscope.models._rbm_direction import RBMDirection, difference
from deepscope.models._sizes import positive


@torch.no_grad()
def contrastive_divergence(
    rbm: RBM, v: Tensor, *, k: int = 1, chains: Tensor | None = None, generator: torch.Generator | None = None
) -> tuple[RBMDirection, Tensor]:
    """Return the direction of contrastive divergence, CD-k, and the states where its chains end.

    ⟨v P(h|v)⟩ over the samples − the same over the ends of Gibbs chains of k steps, which stands for the second term
    of the gradient of the log-likelihood, the mean over the machine's own distribution. Chains begin at the samples:
    the mean over their ends is then biased, by an amount that falls as λᵏ, where λ is the second eigenvalue of the
    kernel. When the ends of the last call are given as ``chains``, they begin there, which is *persistent* contrastive
    divergence. Hidden units enter by their probabilities, which has the same mean as their states and less variance.

    Parameters
    ----------
    rbm
        The machine, which stays as it is.
    v
        Samples of zeros and ones, [n, visible].
    k
        Steps of each chain.
    chains
        Where chains begin, [m, visible]; at the samples unless given.
    generator
        Draws the chains. torch's global one unless given.

    Raises
    ------
    UsageError
        Samples or chains of another shape or precision, or not of zeros and ones; k below 1.

    Notes
    -----
    Cost: 2 n + 2 (k + 1) m products of a vector with W. Sources: ``hinton2002training``, ``tieleman2008training``.

    Examples
    --------
    >>> rbm, draws = RBM(3, 2), torch.Generator().manual_seed(0)
    >>> direction, ends = contrastive_divergence(rbm, torch.ones(4, 3), k=2, generator=draws)
    >>> direction.weight.shape, ends.shape
    (torch.Size([3, 2]), torch.Size([4, 3]))
    """
    check_bits(v, rbm.visible, "v", rbm)
    positive(k, "k", rbm)
    if chains is not None:
        check_bits(chains, rbm.visible, "chains", rbm)
    ends = rbm.gibbs(v if chains is None else chains, steps=k, generator=generator)
    return difference(rbm, v, ends, None), ends


@torch.no_grad()
def fit_rbm(
    rbm: RBM,
    samples: Tensor,
    *,
    steps: int,
    batch_size: int,
    learning_rate: float,
    k: int = 1,
    persistent: bool = False,
    momentum: float = 0.0,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Train a restricted Boltzmann machine by contrastive divergence, and return the last states of its chains.

    Each step draws samples with replacement and adds velocity ← momentum · velocity + learning_rate · CD-k.

    Parameters
    ----------
    rbm
        The machine, whose parameters change.
    samples
        [n, visible] zeros and ones.
    steps, batch_size
        Number of updates, and of samples and chains of each.
    learning_rate
        Factor of the direction, which is a mean over the batch.
    k
        Gibbs steps of an update.
    persistent
        Whether chains go on from update to update; they begin at the first samples drawn.
    momentum
        In [0, 1).
    generator
        Draws samples and chains. torch's global one unless given.

    Returns
    -------
    Tensor
        [batch_size, visible].

    Raises
    ------
    UsageError
        Samples of another shape or precision, or not of zeros and ones; a number below 1; a rate not above 0, a
        momentum not in [0, 1).

    Notes
    -----
    Cost of an update: 2 k + 4 products of the batch with W. Sources: ``hinton2002training``,
    ``tieleman2008training``.

    Examples
    --------
    >>> rbm, draws = RBM(4, 3), torch.Generator().manual_seed(0)
    >>> fit_rbm(rbm, torch.ones(8, 4), steps=200, batch_size=8, learning_rate=0.2, generator=draws).shape
    torch.Size([8, 4])
    >>> bool(rbm.log_likelihood(torch.ones(1, 4)) > -0.7)
    True
    """
    check_bits(samples, rbm.visible, "samples", rbm)
    positive(steps, "steps", rbm), positive(batch_size, "batch_size", rbm)
    if not 0 < learning_rate < math.inf or not 0 <= momentum < 1:
        raise UsageError(
            f"learning_rate is {learning_rate}, momentum {momentum}",
            where="fit_rbm",
            todo="Give a finite rate above 0, and a momentum of at least 0 and below 1.",
        )
    parameters = (rbm.weight, rbm.visible_bias, rbm.hidden_bias)
    velocities = [torch.zeros_like(each) for each in parameters]
    chains: Tensor | None = None
    for _ in range(steps):
        drawn = torch.randint(
            len(samples), (batch_size,), generator=generator, device=generator.device if generator else None
        )
        batch = samples[drawn.to(samples.device)]
        direction, ends = contrastive_divergence(rbm, batch, k=k, chains=chains, generator=generator)
        chains = ends if persistent else None
        for parameter, velocity, change in zip(
            parameters, velocities, (direction.weight, direction.visible_bias, direction.hidden_bias), strict=True
        ):
            velocity.mul_(momentum).add_(change, alpha=learning_rate)
            parameter.add_(velocity)
    return ends
