"""Deep belief network: restricted Boltzmann machines on one another, trained from below, each raising a bound."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from deepscope.core import Specimen, UsageError
from deepscope.models._binary import MOST_UNITS, all_bits, bits, check_bits, log_bernoulli
from deepscope.models._rbm import RBM
from deepscope.models._sizes import check_shape, positive


class DBN(nn.Module):
    """Deep belief network: p(v, h¹ … hᴸ) = p(v | h¹) p(h¹ | h²) … p_L(hᴸ⁻¹, hᴸ), where p_L is a Boltzmann machine's.

    Of the restricted Boltzmann machines ``machines``, from below, the last gives the distribution of its two layers,
    and each other one the layer below given the one above; its conditionals upwards are q(hˡ | hˡ⁻¹), which recognise.
    Maps samples [batch, visible] to the probabilities of the top units when each layer hands on its means,
    [batch, top]. With sizes d_0 … d_L it has Σ_l (d_l−1 d_l + d_l−1 + d_l) parameters, and a sample costs
    2 Σ_l d_l−1 d_l operations. ``fit_dbn`` trains it layer by layer. Source: ``hinton2006fast``, whose digits have
    labels beside the third layer; here there are none.

    Parameters
    ----------
    sizes
        d_0 … d_L, from the visible units up.
    generator
        Draws the weights, as ``RBM`` does.

    Raises
    ------
    UsageError
        Less than two sizes, or one below 1; when called: another shape or precision; a likelihood or bound asked of
        samples that are not of zeros and ones, or of more than 22 units in the layers that it sums over.

    Examples
    --------
    >>> network = DBN((9, 6, 4))
    >>> network(torch.zeros(5, 9)).shape, sum(p.numel() for p in network.parameters())
    (torch.Size([5, 4]), 103)
    """

    def __init__(
        self, sizes: Sequence[int] = (784, 500, 500, 2000), *, generator: torch.Generator | None = None
    ) -> None:
        super().__init__()
        self.sizes = tuple(positive(size, "a size", self) for size in sizes)
        if len(self.sizes) < 2:
            raise UsageError(
                f"sizes are {self.sizes}", where="DBN", todo="Give the visible one and those of hidden layers."
            )
        self.machines = nn.ModuleList(RBM(below, above, generator=generator) for below, above in pairwise(self.sizes))

    def forward(self, v: Tensor) -> Tensor:
        """Return the probabilities of the top units, [batch, top]."""
        check_shape(v, self.sizes[:1], self)
        for machine in self.machines:
            v = machine(v)
        return v

    @torch.no_grad()
    def recognise(self, v: Tensor, *, generator: torch.Generator | None = None) -> list[Tensor]:
        """Return v and states h¹ … hᴸ ~ q given v."""
        check_bits(v, self.sizes[0], "v", self)
        states = [v]
        for machine in self.machines:
            states.append(torch.bernoulli(machine(states[-1]), generator=generator))
        return states

    @torch.no_grad()
    def generate(self, n: int, *, steps: int = 1000, generator: torch.Generator | None = None) -> Tensor:
        """Draw n samples, [n, visible]: by so many Gibbs steps of the last machine from fair bits, and then downwards.

        They have the network's law when the steps are so many that the last machine's chain has forgotten its start.
        """
        *lower, top = self._machines(None)
        fair = top.visible_bias.new_full((positive(n, "n", self), top.visible), 0.5)
        states = top.gibbs(torch.bernoulli(fair, generator=generator), steps=steps, generator=generator)
        for machine in reversed(lower):
            states = torch.bernoulli(machine.visible_probabilities(states), generator=generator)
        return states

    def log_likelihood(self, v: Tensor, *, layers: int | None = None) -> Tensor:
        """Return log p(v) of each sample, [batch], summed over all states of h¹ … hᴸ⁻¹.

        Parameters
        ----------
        v
            [batch, visible].
        layers
            Of how many of the machines, from below, the network is made; of all unless given.
        """
        machines = self._machines(layers)
        joint, _ = self._all_states(v, machines)
        return joint.logsumexp(1) - machines[-1].log_partition()

    def bound(self, v: Tensor, *, layers: int | None = None) -> Tensor:
        """Return ⟨log p(v, h¹ … hᴸ⁻¹) − log q(h¹ … hᴸ⁻¹ | v)⟩ over q, [batch], at most log p(v); exact sums.

        When the next machine is the last one turned (``turned``), the same value as without it: one more layer can only
        raise the bound, as far as training raises the likelihood of the last layer's states under it. Of two layers it
        is then log p(v) itself. Arguments as of ``log_likelihood``.
        """
        machines = self._machines(layers)
        joint, recognition = self._all_states(v, machines)
        return (recognition.exp() * (joint - recognition)).sum(1) - machines[-1].log_partition()

    @torch.no_grad()
    def estimated_bound(
        self,
        v: Tensor,
        log_partition: float,
        *,
        draws: int = 10,
        layers: int | None = None,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """Return the bound of each sample, [batch], as a mean over draws of h¹ … hᴸ⁻¹ ~ q(· | v), which is unbiased.

        Parameters
        ----------
        v
            [batch, visible].
        log_partition
            log Z of the last machine, as ``annealed_importance_sampling`` estimates it.
        draws
            How many for each sample.
        layers
            As of ``log_likelihood``.
        generator
            torch's global one unless given.
        """
        check_bits(v, self.sizes[0], "v", self)
        positive(draws, "draws", self)
        machines = self._machines(layers)
        total = torch.zeros_like(v[:, 0])
        for _ in range(draws):
            states = self.recognise(v, generator=generator)[: len(machines)]
            total += _log_joint(machines, states) - _log_recognition(machines, states)
        return total / draws - log_partition

    def _machines(self, layers: int | None) -> list[RBM]:
        machines = [each for each in self.machines if isinstance(each, RBM)]
        if layers is None:
            return machines
        if not isinstance(layers, int) or not 1 <= layers <= len(machines):
            raise UsageError(
                f"layers is {layers!r}", where="DBN", todo=f"Give a whole number from 1 to {len(machines)}."
            )
        return machines[:layers]

    def _all_states(self, v: Tensor, machines: Sequence[RBM]) -> tuple[Tensor, Tensor]:
        """Return log p(v, h) + log Z and log q(h | v) of each sample with all h = h¹ … hᴸ⁻¹, [batch, states]."""
        check_bits(v, self.sizes[0], "v", self)
        sizes = [machine.hidden for machine in machines[:-1]]
        if sum(sizes) > MOST_UNITS:
            raise UsageError(
                f"the layers between the lowest and the highest have {sum(sizes)} units",
                where="DBN",
                todo=f"Ask for a sum over their states with at most {MOST_UNITS}; else for estimated_bound.",
            )
        states = all_bits(sum(sizes), v)
        pairs = [v.repeat_interleave(len(states), 0), *torch.split(states.repeat(len(v), 1), sizes, 1)]
        # Without a layer in between, split gives an empty one.
        pairs = pairs[: len(machines)]
        shape = (len(v), len(states))
        return _log_joint(machines, pairs).reshape(shape), _log_recognition(machines, pairs).reshape(shape)


def _log_joint(machines: Sequence[RBM], states: Sequence[Tensor]) -> Tensor:
    """Return log p(v, h¹ … hᴸ⁻¹) + log Z of states v, h¹ … hᴸ⁻¹, [batch]."""
    found = -machines[-1].free_energy(states[-1])
    for machine, below, above in zip(machines, states, states[1:], strict=False):
        found = found + log_bernoulli(linear(above, machine.weight, machine.visible_bias), below)
    return found


def _log_recognition(machines: Sequence[RBM], states: Sequence[Tensor]) -> Tensor:
    """Return log q(h¹ … hᴸ⁻¹ | v) of states v, h¹ … hᴸ⁻¹, [batch]."""
    found = torch.zeros_like(states[0][:, 0])
    for machine, below, above in zip(machines, states, states[1:], strict=False):
        found = found + log_bernoulli(linear(below, machine.weight.mT, machine.hidden_bias), above)
    return found


SPECIMENS = (
    Specimen(
        name="dbn",
        title="deep belief network",
        build=DBN,
        inputs=bits(784),
        parameters=1_646_784,
        formula="p(v, h¹ … hᴸ) = p(v | h¹) … p(hᴸ⁻² | hᴸ⁻¹) p_L(hᴸ⁻¹, hᴸ), where each conditional and the last law are "
        "those of a restricted Boltzmann machine; trained from below, each on the states of the one before.",
        source="hinton2006fast",
        rows=(),
        pinned_by="tests/models/test_dbn.py::test_a_turned_machine_leaves_the_bound_and_its_training_raises_it",
    ),
)
