"""How a restricted Boltzmann machine is trained: contrastive divergence, and the gradient that it stands for."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from deepscope.core import UsageError
from deepscope.models._binary import all_bits, check_bits
from deepscope.models._rbm import RBM
from deepscope.models._sizes import not_negative, positive

#: A Gibbs kernel of more visible units than this has more than 2²⁴ numbers.
_MOST_VISIBLE = 12


@dataclass(frozen=True, kw_only=True)
class RBMDirection:
    """A direction in the parameters of a restricted Boltzmann machine, of ascent of the log-likelihood.

    Attributes
    ----------
    weight, visible_bias, hidden_bias
        In the shapes of the machine's own.
    """

    weight: Tensor
    visible_bias: Tensor
    hidden_bias: Tensor

    def flat(self) -> Tensor:
        """Return all its numbers in one vector."""
        return torch.cat([self.weight.flatten(), self.visible_bias, self.hidden_bias])


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
    Cost: (n + 2 m k) products with W. Sources: ``hinton2002training``, ``tieleman2008training``.

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
    return _difference(rbm, v, ends, None), ends


@torch.no_grad()
def likelihood_gradient(rbm: RBM, v: Tensor) -> RBMDirection:
    """Return the gradient of the mean log-likelihood of samples: ⟨v P(h|v)⟩ over them − the same over P(v).

    Raises
    ------
    UsageError
        Samples of another shape or precision, or not of zeros and ones; more than 22 visible units.

    Notes
    -----
    Cost: 2^visible states, two products with W each.

    Examples
    --------
    >>> rbm = RBM(2, 1)
    >>> likelihood_gradient(rbm, torch.tensor([[1.0, 1.0]])).visible_bias.round(decimals=2)
    tensor([0.5000, 0.5000])
    """
    check_bits(v, rbm.visible, "v", rbm)
    states = all_bits(rbm.visible, rbm.weight)
    return _difference(rbm, v, states, torch.softmax(-rbm.free_energy(states), 0))


@torch.no_grad()
def gibbs_kernel(rbm: RBM) -> Tensor:
    """Return T(v → v′) = Σ_h P(h | v) P(v′ | h) between all visible states, in the order of ``all_bits``: [2ⁿ, 2ⁿ].

    Raises
    ------
    UsageError
        More than 12 units on either side.

    Examples
    --------
    >>> gibbs_kernel(RBM(3, 2)).sum(1)
    tensor([1., 1., 1., 1., 1., 1., 1., 1.])
    """
    if max(rbm.visible, rbm.hidden) > _MOST_VISIBLE:
        raise UsageError(
            f"the machine has {rbm.visible} visible and {rbm.hidden} hidden units",
            where="gibbs_kernel",
            todo=f"Give one of at most {_MOST_VISIBLE} on each side: the kernel joins all pairs of their states.",
        )
    v, h = all_bits(rbm.visible, rbm.weight), all_bits(rbm.hidden, rbm.weight)
    return _conditional(rbm(v), h) @ _conditional(rbm.visible_probabilities(h), v)


@torch.no_grad()
def expected_contrastive_divergence(rbm: RBM, v: Tensor, *, k: int = 1) -> RBMDirection:
    """Return the mean of the direction of CD-k over all its chains: the second moment is over the samples' law · Tᵏ.

    Its difference from ``likelihood_gradient`` is the bias of contrastive divergence.

    Parameters
    ----------
    rbm
        The machine.
    v
        Samples of zeros and ones, [n, visible].
    k
        Steps of each chain; 0 gives the direction 0.

    Raises
    ------
    UsageError
        As of ``contrastive_divergence`` and ``gibbs_kernel``; k below 0.

    Examples
    --------
    >>> expected_contrastive_divergence(RBM(3, 2), torch.ones(1, 3), k=0).flat().abs().max()
    tensor(0.)
    """
    check_bits(v, rbm.visible, "v", rbm)
    not_negative(k, "k", rbm)
    states = all_bits(rbm.visible, rbm.weight)
    places = (v.long() << torch.arange(rbm.visible - 1, -1, -1, device=v.device)).sum(-1)
    law = torch.bincount(places, minlength=len(states)).to(v.dtype) / len(v)
    kernel = gibbs_kernel(rbm)
    for _ in range(k):
        law = law @ kernel
    return _difference(rbm, v, states, law)


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
    Cost of an update: (2 k + 3) products of the batch with W. Sources: ``hinton2002training``,
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


def _difference(rbm: RBM, v: Tensor, states: Tensor, law: Tensor | None) -> RBMDirection:
    """Return the moments of samples minus those of states, which are alike probable or have the law that is given."""
    shares = states.new_full((len(states),), 1 / len(states)) if law is None else law
    up, down = rbm(v), rbm(states)
    return RBMDirection(
        weight=v.mT @ up / len(v) - (states * shares[:, None]).mT @ down,
        visible_bias=v.mean(0) - shares @ states,
        hidden_bias=up.mean(0) - shares @ down,
    )


def _conditional(probabilities: Tensor, states: Tensor) -> Tensor:
    """Return the probability of each state given each row of the probabilities of its independent units."""
    law: Tensor = (probabilities[:, None] * states + (1 - probabilities[:, None]) * (1 - states)).prod(-1)
    return law
