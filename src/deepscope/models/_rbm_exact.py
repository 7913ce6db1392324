"""What contrastive divergence stands for, by sums over all states: the gradient, the Gibbs kernel, and the bias."""

from __future__ import annotations

import torch
from torch import Tensor

from deepscope.core import UsageError
from deepscope.models._binary import all_bits, check_bits
from deepscope.models._rbm import RBM
from deepscope.models._rbm_direction import RBMDirection, difference
from deepscope.models._sizes import not_negative

#: A kernel of more units than this has more than 2²⁴ numbers.
_MOST = 12


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
    return difference(rbm, v, states, torch.softmax(-rbm.free_energy(states), 0))


@torch.no_grad()
def gibbs_kernel(rbm: RBM) -> Tensor:
    """Return T(v → v′) = Σ_h P(h | v) P(v′ | h) between all visible states, in the order of ``all_bits``: [2ⁿ, 2ⁿ].

    Raises
    ------
    UsageError
        More than 12 units on either side.

    Examples
    --------
    >>> gibbs_kernel(RBM(3, 2)).sum(1).allclose(torch.ones(8))
    True
    """
    if max(rbm.visible, rbm.hidden) > _MOST:
        raise UsageError(
            f"the machine has {rbm.visible} visible and {rbm.hidden} hidden units",
            where="gibbs_kernel",
            todo=f"Give one of at most {_MOST} on each side: the kernel joins all pairs of their states.",
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
    return difference(rbm, v, states, law)


def _conditional(probabilities: Tensor, states: Tensor) -> Tensor:
    """Return the probability of each state given each row of the probabilities of its independent units."""
    law: Tensor = (probabilities[:, None] * states + (1 - probabilities[:, None]) * (1 - states)).prod(-1)
    return law
