"""Directions in a restricted Boltzmann machine's parameters: differences of moments."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from deepscope.models._rbm import RBM


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


def difference(rbm: RBM, v: Tensor, states: Tensor, law: Tensor | None) -> RBMDirection:
    """Return the moments of samples minus those of states, which are alike probable or have the law that is given."""
    shares = states.new_full((len(states),), 1 / len(states)) if law is None else law
    up, down = rbm(v), rbm(states)
    return RBMDirection(
        weight=v.mT @ up / len(v) - (states * shares[:, None]).mT @ down,
        visible_bias=v.mean(0) - shares @ states,
        hidden_bias=up.mean(0) - shares @ down,
    )
