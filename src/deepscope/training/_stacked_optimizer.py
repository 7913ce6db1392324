"""An optimiser of one network for many whose weights are stacked, with rates and weight decays of their own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, final

import torch
from torch import Tensor
from torch.optim import SGD, Adadelta, Adagrad, Adam, Adamax, AdamW, NAdam, RMSprop

#: Optimisers that treat each number by itself, and whose step is proportional to the learning rate.
ELEMENTWISE: tuple[type[torch.optim.Optimizer], ...] = (SGD, Adam, AdamW, Adamax, NAdam, RMSprop, Adagrad, Adadelta)
#: Settings that each network may have for itself.
OWN = ("lr", "weight_decay")


def why_not_stacked(optimizers: Sequence[torch.optim.Optimizer]) -> str | None:
    """Say why the optimisers of several networks cannot be one over their stacked weights, or None where they can."""
    first = optimizers[0]
    if type(first) not in ELEMENTWISE:
        return f"{type(first).__name__} is not known to treat each number by itself"
    for index, each in enumerate(optimizers):
        if type(each) is not type(first):
            return (
                f"the optimizer is {type(first).__name__} for network 0 and {type(each).__name__} for network {index}"
            )
        if len(each.param_groups) != 1:
            return f"the optimizer of network {index} has {len(each.param_groups)} groups of parameters"
        here, there = _settings(first), _settings(each)
        for name, value in there.items():
            if name not in OWN and value != here[name]:
                return f"{name} is {here[name]} for network 0 and {value} for network {index}"
    if _settings(first).get("maximize") and "weight_decay" in own_settings(optimizers):
        return "weight decays differ while the loss is maximised"
    return None


def own_settings(optimizers: Sequence[torch.optim.Optimizer]) -> dict[str, list[float]]:
    """Return the settings that differ between networks, each with the value of every network."""
    values = {name: [float(_settings(each)[name]) for each in optimizers] for name in OWN}
    return {name: each for name, each in values.items() if len(set(each)) > 1}


def base_rate(rates: Sequence[float]) -> float:
    """Return the rate of a base for networks of these rates: the largest, if it is no more than 1."""
    # A larger one, or an infinite one, would cost the others their digits.
    return min(max(rates), 1.0) or 1.0


def _settings(optimizer: torch.optim.Optimizer) -> dict[str, Any]:
    return {name: value for name, value in optimizer.param_groups[0].items() if name != "params"}


@final
class PerNetwork(torch.optim.Optimizer):
    """Make the step of ``base`` with a learning rate, or weight decay, of each network.

    With the base's rate η, a network's own ηₙ, and its decay λₙ (those of them that are given)::

        g ← g + λₙθ  (coupled)    or    θ ← (1 − ηₙλₙ)θ  (decoupled);        θ ← θ + (ηₙ/η)(base step from θ − θ)

    which is the base's own step at ηₙ and λₙ, because it is proportional to the rate. Costs a copy of the weights, and
    reading and writing them once more.

    Parameters
    ----------
    base
        One of ``ELEMENTWISE`` over tensors [N, …]; its rate is ``base_rate(lr)`` where ``lr`` is given, and it has no
        weight decay where ``weight_decay`` is given.
    lr, weight_decay
        Of each network, [N], where they differ.
    """

    def __init__(
        self, base: torch.optim.Optimizer, *, lr: Sequence[float] = (), weight_decay: Sequence[float] = ()
    ) -> None:
        super().__init__(base.param_groups, {"own_lr": list(lr), "own_weight_decay": list(weight_decay)})
        self._base, self._decays = base, list(weight_decay)
        self._shares = [each / base_rate(lr) for each in lr]
        self.defaults = {**base.defaults, **self.defaults}
        self.param_groups, self.state = base.param_groups, base.state

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Update the weights, whose gradients are there."""
        (group,) = self.param_groups
        moved = [each for each in group["params"] if each.grad is not None]
        for weights in moved if self._decays else ():
            self._decay(weights, group)
        before = [weights.clone() for weights in moved if self._shares]
        self._base.step()
        if self._shares:
            for weights, old in zip(moved, before, strict=True):
                # The weights themselves where the share is 1, bit for bit.
                weights.copy_(torch.lerp(old, weights, _rowwise(self._shares, weights)))

    def _decay(self, weights: Tensor, group: dict[str, Any]) -> None:
        decays = _rowwise(self._decays, weights)
        if not group.get("decoupled_weight_decay", False):
            assert weights.grad is not None
            weights.grad.addcmul_(decays, weights)
            return
        rates = float(group["lr"]) * _rowwise(self._shares or [1.0] * len(weights), weights)
        weights.mul_(1 - rates * decays)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take back what ``state_dict`` returned, the base's state included."""
        super().load_state_dict(state_dict)
        self._base.param_groups, self._base.state = self.param_groups, self.state


def _rowwise(values: Sequence[float], weights: Tensor) -> Tensor:
    """Return a number for each network, [N, 1, …]."""
    return torch.tensor(values, dtype=weights.dtype, device=weights.device).reshape(-1, *[1] * (weights.ndim - 1))
