"""Movement pruning: scores of the weights, learnt with them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import final

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from deepscope.core import Specimen, UsageError
from deepscope.training._callback import Callback
from deepscope.training._masks import prunable_weights
from deepscope.training._pruning import share_of
from deepscope.training._sparsity_schedules import SparsitySchedule, described
from deepscope.training._state import TrainingState


class MovementMask(nn.Module):
    """Let through the weights with the highest scores S; a parametrization of one parameter W.

    With the mask M of the ``n_pruned`` lowest scores, of equal ones those that stand first, and G the gradient with
    respect to what the layer uses::

        W̃ = M ⊙ W        ∂L/∂W = M ⊙ G        ∂L/∂S = W ⊙ G

    the last as if the mask were the scores (straight-through). Under gradient descent S = −η Σₜ (W ⊙ G)ₜ: it grows
    where weights move away from 0, also where they are pruned, so that they may come back.

    Parameters
    ----------
    weight
        Of whose shape the scores are; they are 0 at first.
    """

    n_pruned: Tensor

    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        self.scores = nn.Parameter(torch.zeros_like(weight))
        self.register_buffer("n_pruned", torch.zeros((), dtype=torch.int64, device=weight.device))

    def mask(self) -> Tensor:
        """Return which weights are kept, boolean."""
        scores = self.scores.detach()
        kept = torch.ones_like(scores, dtype=torch.bool).flatten()
        kept[scores.flatten().argsort(stable=True)[: int(self.n_pruned)]] = False
        return kept.view_as(scores)

    def forward(self, weight: Tensor) -> Tensor:
        """Return the masked weight."""
        # The scores less themselves: nothing in value, and their gradient is that of the mask.
        return weight * (self.mask().to(weight.dtype) + (self.scores - self.scores.detach()))


def add_movement_masks(model: nn.Module, names: Iterable[str] | None = None) -> dict[str, MovementMask]:
    """Give the weights of linear and convolutional layers, or the parameters of these names, a ``MovementMask`` each.

    In place; make the optimiser afterwards: the scores are parameters, which may have a learning rate of their own.

    Returns
    -------
    dict
        The masks by their parameter's name.

    Raises
    ------
    UsageError
        There is no such parameter, it has a mask already, or several layers share it.

    Examples
    --------
    >>> model = nn.Sequential(nn.Linear(3, 2), nn.ReLU())
    >>> list(add_movement_masks(model))
    ['0.weight']
    >>> [name for name, _ in model.named_parameters()]
    ['0.bias', '0.parametrizations.weight.original', '0.parametrizations.weight.0.scores']
    """
    weights = prunable_weights(model, names)
    all_names = list(model.named_parameters(remove_duplicate=False))
    for name, weight in weights.items():
        sharing = [other for other, each in all_names if each is weight]
        if len(sharing) > 1:
            raise UsageError(
                f"the parameter is shared: it is {' and '.join(sharing)}",
                where=f"{name} of add_movement_masks",
                todo="Give the names of others: the mask would be on one of its uses only.",
            )
    found = {}
    for name, weight in weights.items():
        layer, _, leaf = name.rpartition(".")
        found[name] = MovementMask(weight)
        parametrize.register_parametrization(model.get_submodule(layer), leaf, found[name])
    return found


def movement_masks(model: nn.Module) -> dict[str, Tensor]:
    """Return which weights movement pruning keeps now: parameter's name, as it was without scores, to boolean mask.

    Raises
    ------
    UsageError
        No parameter has scores.

    Examples
    --------
    >>> model = nn.Linear(2, 1)
    >>> add_movement_masks(model)["weight"].n_pruned.fill_(1)
    tensor(1)
    >>> movement_masks(model)["weight"].tolist()
    [[False, True]]
    """
    return {name: found.mask() for name, (_, _, found) in _masked(model).items()}


def fix_movement_masks(model: nn.Module) -> dict[str, Tensor]:
    """Set the pruned weights to 0 and take the scores away; return the masks, for ``KeepMasks``.

    Raises
    ------
    UsageError
        No parameter has scores.

    Examples
    --------
    >>> model = nn.Linear(2, 1)
    >>> add_movement_masks(model)["weight"].n_pruned.fill_(1)
    tensor(1)
    >>> fix_movement_masks(model)["weight"].tolist(), model.weight[0, 0].item(), sorted(model.state_dict())
    ([[False, True]], 0.0, ['bias', 'weight'])
    """
    masks = movement_masks(model)
    for layer, leaf, _ in _masked(model).values():
        parametrize.remove_parametrizations(layer, leaf, leave_parametrized=True)
    return masks


@final
class MovementPruning(Callback):
    """Prune by scores that are learnt with the weights, by a schedule.

    Of each parameter with a ``MovementMask``, after t updates the ⌊s(t)·n⌋ weights with the lowest scores are pruned;
    which these are may change with every update. Source: ``sanh2020movement``, its hard movement pruning with
    ``cubic_sparsity``.

    Parameters
    ----------
    sparsity
        s: number of updates made to share of the weights that are then pruned.

    Raises
    ------
    UsageError
        By ``fit``: no parameter has scores, or the schedule gives what is not from 0 to below 1.

    Notes
    -----
    Costs a sort of the scores at each use of a weight, and as much memory for scores and their optimiser's state as
    for weights.

    Examples
    --------
    >>> from deepscope.training import fit, one_shot_sparsity
    >>> _ = torch.manual_seed(0)
    >>> model, x = nn.Linear(4, 1, bias=False), torch.randn(32, 4)
    >>> _ = add_movement_masks(model)
    >>> _ = fit(
    ...     model,
    ...     lambda epoch: [(x, 3 * x[:, 2:3])],
    ...     nn.functional.mse_loss,
    ...     optimizer=torch.optim.SGD(model.parameters(), lr=0.1),
    ...     epochs=60,
    ...     callbacks=[MovementPruning(one_shot_sparsity(0.75, start=10))],
    ... )
    >>> fix_movement_masks(model)["weight"].tolist(), round(model.weight[0, 2].item(), 2)
    ([[False, False, True, False]], 3.0)
    """

    def __init__(self, sparsity: SparsitySchedule) -> None:
        self.sparsity = sparsity

    def on_start(self, state: TrainingState) -> None:
        """Prune, where the schedule begins so."""
        self._prune(state)

    def on_step(self, state: TrainingState) -> None:
        """Prune as many weights as the schedule says."""
        self._prune(state)

    def configuration(self) -> Mapping[str, object]:
        """Return the schedule."""
        return {"sparsity": described(self.sparsity)}

    def _prune(self, state: TrainingState) -> None:
        target = self.sparsity(state.step)
        if not 0 <= target < 1:
            raise UsageError(
                f"the sparsity is {target} after {state.step} updates",
                where="sparsity of MovementPruning",
                todo="Give a schedule with values from 0 to below 1.",
            )
        for _, _, found in _masked(state.model).values():
            found.n_pruned.fill_(share_of(found.scores.numel(), target))


def _masked(model: nn.Module) -> dict[str, tuple[nn.Module, str, MovementMask]]:
    """Return layer, parameter's name in it, and its mask, of all that have one."""
    found = {}
    for name, layer in model.named_modules():
        if parametrize.is_parametrized(layer):
            for leaf, chain in layer.parametrizations.items():
                for each in chain:
                    if isinstance(each, MovementMask):
                        found[f"{name}.{leaf}" if name else leaf] = (layer, leaf, each)
    if not found:
        raise UsageError(
            "no parameter has scores",
            where=type(model).__name__,
            todo="Call add_movement_masks(model) before the optimizer is made.",
        )
    return found


SPECIMENS = (
    Specimen(
        name="movement-pruning",
        title="pruning by scores that are learnt straight through the mask",
        build=MovementPruning,
        formula="W̃ = M ⊙ W with M = 1 at the highest scores S; ∂L/∂S = W ⊙ ∂L/∂W̃, ∂L/∂W = M ⊙ ∂L/∂W̃.",
        source="sanh2020movement",
        pinned_by="tests/training/test_movement_pruning.py::test_it_follows_the_recursion_of_the_paper",
    ),
)
