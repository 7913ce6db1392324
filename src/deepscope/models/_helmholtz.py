"""Helmholtz machine: a generative network of bits, and a recognition network that inverts it; wake and sleep."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from deepscope.core import Specimen, UsageError
from deepscope.models._binary import MOST_UNITS, all_bits, bits, check_bits, log_bernoulli
from deepscope.models._sizes import check_shape, positive


class HelmholtzMachine(nn.Module):
    """Helmholtz machine: p(s) = p(sᴸ) Π_l p(sˡ⁻¹ | sˡ) and q(s | v) = Π_l q(sˡ | sˡ⁻¹) of layers of bits, s⁰ = v.

    Each factor is that of independent units, with probabilities σ(Gˡsˡ + gˡ) downwards, σ(Rˡsˡ⁻¹ + rˡ) upwards and
    σ(γ) at the top. Maps samples [batch, visible] to the probabilities of the top units when each layer hands on its
    means, [batch, top]. The layers are ``recognition`` and ``generative``, from below, and γ is ``top_bias``; with
    sizes d_0 … d_L they have Σ_l (2 d_l−1 d_l + d_l−1 + d_l) + d_L parameters, and a sample costs 2 Σ_l d_l−1 d_l
    operations either way. They are drawn as torch draws those of linear layers, γ = 0. ``fit_helmholtz`` trains them by
    wake and sleep. Source: ``dayan1995helmholtz``.

    Parameters
    ----------
    sizes
        d_0 … d_L, from the visible units up.

    Raises
    ------
    UsageError
        Less than two sizes, or one below 1; when called: another shape or precision; a likelihood asked of samples that
        are not of zeros and ones, or of more than 22 hidden units.

    Examples
    --------
    >>> machine = HelmholtzMachine((9, 6, 2))
    >>> machine(torch.zeros(5, 9)).shape, sum(p.numel() for p in machine.parameters())
    (torch.Size([5, 2]), 157)
    """

    def __init__(self, sizes: Sequence[int] = (64, 16, 16, 4)) -> None:
        super().__init__()
        self.sizes = tuple(positive(size, "a size", self) for size in sizes)
        if len(self.sizes) < 2:
            raise UsageError(
                f"sizes are {self.sizes}",
                where="HelmholtzMachine",
                todo="Give the visible one and those of hidden layers.",
            )
        self.recognition = nn.ModuleList(nn.Linear(below, above) for below, above in pairwise(self.sizes))
        self.generative = nn.ModuleList(nn.Linear(above, below) for below, above in pairwise(self.sizes))
        self.top_bias = nn.Parameter(torch.zeros(self.sizes[-1]))

    def forward(self, v: Tensor) -> Tensor:
        """Return the probabilities of the top units, [batch, top]."""
        check_shape(v, self.sizes[:1], self)
        for layer in self.recognition:
            v = torch.sigmoid(layer(v))
        return v

    @torch.no_grad()
    def recognise(self, v: Tensor, *, generator: torch.Generator | None = None) -> list[Tensor]:
        """Return s⁰ = v and states s¹ … sᴸ ~ q(s | v)."""
        check_bits(v, self.sizes[0], "v", self)
        states = [v]
        for layer in self.recognition:
            states.append(torch.bernoulli(torch.sigmoid(layer(states[-1])), generator=generator))
        return states

    @torch.no_grad()
    def generate(self, n: int, *, generator: torch.Generator | None = None) -> list[Tensor]:
        """Return n fantasies, s⁰ … sᴸ ~ p(s)."""
        top = torch.sigmoid(self.top_bias).expand(positive(n, "n", self), -1)
        states = [torch.bernoulli(top, generator=generator)]
        for layer in reversed(self.generative):
            states.insert(0, torch.bernoulli(torch.sigmoid(layer(states[0])), generator=generator))
        return states

    def log_joint(self, states: Sequence[Tensor]) -> Tensor:
        """Return log p(s) of the states of all layers, [batch]."""
        found = log_bernoulli(self.top_bias.expand_as(states[-1]), states[-1])
        for layer, below, above in zip(self.generative, states, states[1:], strict=False):
            found = found + log_bernoulli(layer(above), below)
        return found

    def log_recognition(self, states: Sequence[Tensor]) -> Tensor:
        """Return log q(s¹ … sᴸ | s⁰), [batch]."""
        found = torch.zeros_like(states[0][:, 0])
        for layer, below, above in zip(self.recognition, states, states[1:], strict=False):
            found = found + log_bernoulli(layer(below), above)
        return found

    def log_likelihood(self, v: Tensor) -> Tensor:
        """Return log p(v) of each sample, [batch], summed over all states of the hidden units."""
        joint, _ = self._all_states(v)
        return joint.logsumexp(1)

    def bound(self, v: Tensor) -> Tensor:
        """Return ⟨log p(s) − log q(s | v)⟩ over q(s | v), [batch]: log p(v) minus KL(q(s | v) ‖ p(s | v)).

        The negative of the free energy of the source; summed over all states of the hidden units.
        """
        joint, recognition = self._all_states(v)
        return (recognition.exp() * (joint - recognition)).sum(1)

    def _all_states(self, v: Tensor) -> tuple[Tensor, Tensor]:
        """Return log p(s) and log q(s | v) of each sample with all hidden states, [batch, states]."""
        check_bits(v, self.sizes[0], "v", self)
        hidden = sum(self.sizes[1:])
        if hidden > MOST_UNITS:
            raise UsageError(
                f"there are {hidden} hidden units, and the likelihood is a sum over all their states",
                where="HelmholtzMachine",
                todo=f"Ask for it with at most {MOST_UNITS}.",
            )
        states = all_bits(hidden, v)
        pairs = [v.repeat_interleave(len(states), 0), *torch.split(states.repeat(len(v), 1), list(self.sizes[1:]), 1)]
        shape = (len(v), len(states))
        return self.log_joint(pairs).reshape(shape), self.log_recognition(pairs).reshape(shape)


SPECIMENS = (
    Specimen(
        name="helmholtz-machine",
        title="Helmholtz machine, trained by wake and sleep",
        build=HelmholtzMachine,
        inputs=bits(64),
        parameters=2_824,
        formula="p(s) = p(sᴸ) Π_l p(sˡ⁻¹ | sˡ) of layers of bits, s⁰ visible, with probabilities σ(Gˡsˡ + gˡ), and "
        "q(s | s⁰) = Π_l q(sˡ | sˡ⁻¹) with σ(Rˡsˡ⁻¹ + rˡ): awake, p learns what q recognises in data; asleep, q learns "
        "what p generates.",
        source="dayan1995helmholtz",
        rows=("helmholtz-machine",),
        pinned_by="tests/models/test_helmholtz.py::test_wake_and_sleep_are_the_gradients_that_they_are_said_to_be",
    ),
)
