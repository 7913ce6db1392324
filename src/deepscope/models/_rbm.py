"""Restricted Boltzmann machine: its distribution, its Gibbs sampler, and its likelihood where that can be summed."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import linear, softplus

from deepscope.core import Specimen, UsageError
from deepscope.models._binary import MOST_UNITS, all_bits, bits, check_bits
from deepscope.models._sizes import check_shape, positive

#: States whose free energies are computed at a time.
_AT_ONCE = 2**14


class RBM(nn.Module):
    """Restricted Boltzmann machine: P(v, h) = exp(−E(v, h)) / Z with E(v, h) = −b·v − c·h − vᵀWh, of zeros and ones.

    Given one side the units of the other are independent, P(h_j = 1 | v) = σ(c_j + Σ_i v_i W_ij), so that the hidden
    ones can be summed out: P(v) = exp(−F(v)) / Z with the free energy F(v) = −b·v − Σ_j log(1 + exp(c_j + Σ_i v_i
    W_ij)). Maps samples [batch, visible] to the probabilities of the hidden units, [batch, hidden]; inputs between 0
    and 1 are taken as means. With n visible and m hidden units it has nm + n + m parameters: W ~ N(0, 0.01²), as its
    author recommends, and b = c = 0. A sample costs 2nm operations, the exact likelihood 2^min(n, m) times as many. It
    is trained by ``fit_rbm``; Z of large ones is estimated by ``annealed_importance_sampling``. Source:
    ``hinton2002training``.

    Parameters
    ----------
    visible, hidden
        Number of units of each side.
    generator
        Draws W. torch's global one unless given.

    Raises
    ------
    UsageError
        A size below 1; when called: another shape or precision; a likelihood asked of samples that are not of zeros
        and ones, or of a machine both of whose sides have more than 22 units.

    Examples
    --------
    >>> rbm = RBM(6, 4)
    >>> rbm(torch.ones(5, 6)).shape, sum(p.numel() for p in rbm.parameters())
    (torch.Size([5, 4]), 34)
    """

    def __init__(self, visible: int = 784, hidden: int = 500, *, generator: torch.Generator | None = None) -> None:
        super().__init__()
        self.visible, self.hidden = positive(visible, "visible", self), positive(hidden, "hidden", self)
        self.weight = nn.Parameter(torch.empty(visible, hidden))
        self.visible_bias = nn.Parameter(torch.zeros(visible))
        self.hidden_bias = nn.Parameter(torch.zeros(hidden))
        nn.init.normal_(self.weight, std=0.01, generator=generator)

    def forward(self, v: Tensor) -> Tensor:
        """Return P(h_j = 1 | v), [batch, hidden]."""
        check_shape(v, (self.visible,), self)
        return torch.sigmoid(linear(v, self.weight.mT, self.hidden_bias))

    def visible_probabilities(self, h: Tensor) -> Tensor:
        """Return P(v_i = 1 | h), [batch, visible]."""
        check_shape(h, (self.hidden,), self)
        return torch.sigmoid(linear(h, self.weight, self.visible_bias))

    def energy(self, v: Tensor, h: Tensor) -> Tensor:
        """Return E(v, h) of pairs of states, [batch]."""
        check_shape(v, (self.visible,), self)
        check_shape(h, (self.hidden,), self)
        return -v @ self.visible_bias - h @ self.hidden_bias - ((v @ self.weight) * h).sum(-1)

    def free_energy(self, v: Tensor) -> Tensor:
        """Return F(v), [batch]."""
        check_shape(v, (self.visible,), self)
        return _free_energy(v, self.weight, self.visible_bias, self.hidden_bias)

    @torch.no_grad()
    def gibbs(self, v: Tensor, *, steps: int = 1, generator: torch.Generator | None = None) -> Tensor:
        """Return where chains from v, of zeros and ones, are after steps v → h ~ P(h | v) → v ~ P(v | h): [n, visible].

        P(v) is invariant under a step, which is reversible: P(v) T(v → v′) = P(v′) T(v′ → v).
        """
        check_bits(v, self.visible, "v", self)
        positive(steps, "steps", self)
        for _ in range(steps):
            h = torch.bernoulli(self(v), generator=generator)
            v = torch.bernoulli(self.visible_probabilities(h), generator=generator)
        return v

    def log_partition(self) -> Tensor:
        """Return log Z, summed over all states of the smaller side; gradients flow through it."""
        fewest = min(self.visible, self.hidden)
        if fewest > MOST_UNITS:
            raise UsageError(
                f"the smaller side has {fewest} units, and log Z is a sum over all their states",
                where="RBM",
                todo=f"Ask for it with at most {MOST_UNITS}; else estimate it by annealed_importance_sampling.",
            )
        if self.visible <= self.hidden:
            sides: tuple[Tensor, Tensor, Tensor] = self.weight, self.visible_bias, self.hidden_bias
        else:
            sides = self.weight.mT, self.hidden_bias, self.visible_bias
        parts = torch.split(all_bits(fewest, self.weight), _AT_ONCE)
        sums = [torch.logsumexp(-_free_energy(part, *sides), 0) for part in parts]
        return torch.stack(sums).logsumexp(0)

    def log_likelihood(self, v: Tensor) -> Tensor:
        """Return log P(v) of each sample, [batch], by ``log_partition``; gradients flow through it."""
        check_bits(v, self.visible, "v", self)
        return -self.free_energy(v) - self.log_partition()


def _free_energy(states: Tensor, weight: Tensor, own_bias: Tensor, other_bias: Tensor) -> Tensor:
    """Return the free energies of states of the side whose units are the rows of the weight."""
    energies: Tensor = -states @ own_bias - softplus(linear(states, weight.mT, other_bias)).sum(-1)
    return energies


SPECIMENS = (
    Specimen(
        name="rbm",
        title="restricted Boltzmann machine",
        build=RBM,
        inputs=bits(784),
        parameters=393_284,
        formula="P(v, h) = exp(b·v + c·h + vᵀWh) / Z of visible units v and hidden units h, all 0 or 1, where Z sums "
        "the numerator over all their states: given one side, the units of the other are independent.",
        source="hinton2002training",
        rows=("rbm",),
        pinned_by="tests/models/test_rbm_training.py::test_bias_of_contrastive_divergence_falls_at_the_spectral_gap",
    ),
)
