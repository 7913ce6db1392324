"""Hopfield network: an associative memory of signs that descends an energy."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from deepscope.core import Specimen
from deepscope.models._binary import check_spins, spins
from deepscope.models._sizes import check_input, positive


@dataclass(frozen=True, kw_only=True)
class Retrieval:
    """Where a Hopfield network's states came to.

    Attributes
    ----------
    states
        [batch, N] of −1 and 1.
    sweeps
        Turns of every unit in which some state changed.
    at_rest
        Whether the last sweep changed none; else the sweeps allowed were used up.
    """

    states: Tensor
    sweeps: int
    at_rest: bool


class Hopfield(nn.Module):
    """Hopfield network: units s_i = ±1, each of which takes in its turn the sign of its field h_i = Σ_j W_ij s_j.

    Maps states [..., N] to their fields, [..., N]; ``retrieve`` lets them run. No turn raises the energy
    E(s) = −sᵀWs / 2 where W is symmetric and no W_ii is negative, so that all come to rest at its local minima. W is
    set by a rule: ``store_hebb`` or ``store_pseudo_inverse``; it begins as 0, where nothing is stored and all states
    rest. N² parameters; a field costs 2N² operations, and so does a turn of every unit. Source: ``hopfield1982neural``,
    whose units are 0 and 1: with thresholds Σ_j W_ij / 2 they are the same.

    Parameters
    ----------
    features
        Number of units, N.

    Raises
    ------
    UsageError
        A size below 1; when called: states of another shape or precision; patterns, and states to retrieve from, that
        are not of −1 and 1.

    Examples
    --------
    >>> memory = Hopfield(4)
    >>> memory.store_hebb(torch.tensor([[1.0, 1.0, -1.0, -1.0]]))
    >>> memory.retrieve(torch.tensor([[1.0, 1.0, 1.0, -1.0]])).states
    tensor([[ 1.,  1., -1., -1.]])
    """

    def __init__(self, features: int = 100) -> None:
        super().__init__()
        self.features = positive(features, "features", self)
        self.weight = nn.Parameter(torch.zeros(features, features))

    def forward(self, x: Tensor) -> Tensor:
        """Return the fields of states, [..., N], whose signs are the states that their units would take."""
        check_input(x, x.shape[-1:] == (self.features,), f"states, [..., {self.features}] of {{}} numbers", self)
        fields: Tensor = x @ self.weight.mT
        return fields

    def energy(self, x: Tensor) -> Tensor:
        """Return E of each state, [...]."""
        energies: Tensor = -(x * self(x)).sum(-1) / 2
        return energies

    @torch.no_grad()
    def store_hebb(self, patterns: Tensor) -> None:
        """Set W_ij = Σ_μ ξ_i^μ ξ_j^μ / N, and W_ii = 0, in place of what was stored, for patterns ξ, [P, N].

        Random patterns are retrieved, with less than 2 % of wrong signs, as long as there are at most 0.138 N of them
        (``amit1987statistical``). Signs of the mixtures ξ¹ + ξ² + ξ³ of few are at rest too, which none has stored.
        """
        check_spins(patterns, self.features, "patterns", self)
        self.weight.copy_(patterns.mT @ patterns / self.features).fill_diagonal_(0)

    @torch.no_grad()
    def store_pseudo_inverse(self, patterns: Tensor) -> None:
        """Set W = Ξ⁺Ξ, the projector on patterns, the rows of Ξ, [P, N], in place of what was stored.

        Wξ = ξ, so that each pattern is at rest, however alike they are. N independent ones leave W = 1, by which all
        states are. Source: ``personnaz1985information``.
        """
        check_spins(patterns, self.features, "patterns", self)
        # Patterns may depend on one another: singular vectors of value 0 are left out.
        _, values, right = torch.linalg.svd(patterns, full_matrices=False)
        least = values[0] * max(patterns.shape) * torch.finfo(values.dtype).eps
        kept = right[values > least]
        self.weight.copy_(kept.mT @ kept)

    @torch.no_grad()
    def retrieve(self, x: Tensor, *, most_sweeps: int = 100, generator: torch.Generator | None = None) -> Retrieval:
        """Let states run until they rest: in each sweep every unit has one turn, in a random order.

        Parameters
        ----------
        x
            States of −1 and 1, [batch, N]. All go through the units in the same order.
        most_sweeps
            After how many to give up.
        generator
            Draws the orders. torch's global one unless given.

        Notes
        -----
        A unit whose field is 0 stays as it is, and so is one whose field is below what rounding makes of 0: fields of
        Hebb's rule are multiples of 1/N, which has no exact number. Cost: 2N² operations a sweep and state in double
        precision, in N steps.
        """
        check_spins(x, self.features, "x", self)
        positive(most_sweeps, "most_sweeps", self)
        # Units lead, so that a turn reads and writes one row.
        states, weight = x.mT.double().contiguous(), self.weight.double()
        # A weight is rounded to the network's precision, a sum of N of them to double precision.
        unit_roundoff = max(torch.finfo(x.dtype).eps, self.features * torch.finfo(weight.dtype).eps)
        least = unit_roundoff * weight.abs().sum(1)
        for sweep in range(most_sweeps):
            before = states.clone()
            device = generator.device if generator else states.device
            for unit in torch.randperm(self.features, generator=generator, device=device).tolist():
                field = weight[unit] @ states
                states[unit] = torch.where(field.abs() <= least[unit], states[unit], field.sign())
            if torch.equal(states, before):
                return Retrieval(states=states.mT.to(x).contiguous(), sweeps=sweep, at_rest=True)
        return Retrieval(states=states.mT.to(x).contiguous(), sweeps=most_sweeps, at_rest=False)


SPECIMENS = (
    Specimen(
        name="hopfield",
        title="Hopfield network, an associative memory of signs",
        build=Hopfield,
        inputs=spins(100),
        parameters=10_000,
        formula="s_i ← sign(Σ_j W_ij s_j), unit after unit, with W_ij = Σ_μ ξ_i^μ ξ_j^μ / N for stored patterns ξ of "
        "signs and no self-coupling: no turn raises E = −sᵀWs / 2, and random patterns are near its minima up to "
        "0.138 N of them.",
        source="hopfield1982neural",
        rows=("huang-statmech",),
        pinned_by="tests/verify/test_hopfield_capacity.py::test_retrieval_collapses_at_the_critical_load",
    ),
)
