"""Pruning while the network is trained."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, final

from torch import Tensor, nn

from deepscope.core import Specimen, UsageError
from deepscope.training._callback import Callback
from deepscope.training._masks import apply_masks, beside
from deepscope.training._pruning import Scope, magnitudes, masks_to_sparsity, require_scope
from deepscope.training._sparsity_schedules import SparsitySchedule, described
from deepscope.training._state import TrainingState


@final
class GradualPruning(Callback):
    """Prune by a schedule during training, and keep what was pruned at 0 as ``KeepMasks`` does.

    After t updates, where the schedule s(t) has grown, the weights with the lowest scores among those still kept go
    until ⌊s(t)·n⌋ of n are 0, in each layer (or the network). What is pruned stays so. Source: ``zhu2018prune``, with
    ``cubic_sparsity`` and magnitudes; ``one_shot_sparsity`` and ``geometric_sparsity`` are the schedules of
    ``han2015learning``.

    Parameters
    ----------
    sparsity
        Number of updates made to share of the weights that are then 0.
    scores
        Model to scores by parameter's name; magnitudes of linear and convolutional layers unless given.
    scope
        Whether the weights of each layer compete among themselves, or all of the network.

    Attributes
    ----------
    masks
        Parameter's name to which of its weights are kept now; empty before the first pruning.

    Raises
    ------
    UsageError
        There is no such scope; by ``fit``, the schedule gives what is not from 0 to below 1.

    Notes
    -----
    Costs as ``KeepMasks``, and a sort of the weights at each pruning. A weight's momentum from before it was pruned
    decays unused.

    Examples
    --------
    >>> import torch
    >>> from deepscope.training import cubic_sparsity, fit
    >>> _ = torch.manual_seed(0)
    >>> model, x = nn.Linear(10, 1), torch.randn(8, 10)
    >>> pruning = GradualPruning(cubic_sparsity(0.8, every=1, prunings=4))
    >>> _ = fit(
    ...     model,
    ...     lambda epoch: [(x, x[:, :1])],
    ...     nn.functional.mse_loss,
    ...     optimizer=torch.optim.SGD(model.parameters(), lr=0.1),
    ...     epochs=5,
    ...     callbacks=[pruning],
    ... )
    >>> (model.weight == 0).sum().item(), pruning.masks["weight"].sum().item()
    (8, 2)
    """

    def __init__(
        self,
        sparsity: SparsitySchedule,
        *,
        scores: Callable[[nn.Module], Mapping[str, Tensor]] = magnitudes,
        scope: Scope = "layer",
    ) -> None:
        require_scope(scope, where="GradualPruning")
        self.sparsity, self.scores, self.scope = sparsity, scores, scope
        self.masks: dict[str, Tensor] = {}
        self._reached = 0.0

    def on_start(self, state: TrainingState) -> None:
        """Prune, where the schedule begins so."""
        self.masks = beside(state.model, self.masks)
        self._prune(state)

    def on_gradients(self, state: TrainingState) -> None:
        """Set the gradients of what is pruned to 0."""
        if self.masks:
            apply_masks(state.model, self.masks, gradients=True)

    def on_step(self, state: TrainingState) -> None:
        """Prune as far as the schedule says."""
        self._prune(state)

    def configuration(self) -> Mapping[str, object]:
        """Return schedule, scores and scope."""
        return {
            "sparsity": described(self.sparsity),
            "scores": described(self.scores),
            "scope": self.scope,
        }

    def state_dict(self) -> dict[str, Any]:
        """Return the masks, and how far the schedule has come."""
        return {"masks": dict(self.masks), "reached": self._reached}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take them back."""
        self.masks, self._reached = dict(state["masks"]), state["reached"]

    def _prune(self, state: TrainingState) -> None:
        target = self.sparsity(state.step)
        if not 0 <= target < 1:
            raise UsageError(
                f"the sparsity is {target} after {state.step} updates",
                where="sparsity of GradualPruning",
                todo="Give a schedule with values from 0 to below 1.",
            )
        # The weights are as the optimiser left them; the scores are of the masked network.
        if self.masks:
            apply_masks(state.model, self.masks)
        if target > self._reached:
            self.masks = masks_to_sparsity(self.scores(state.model), target, scope=self.scope, masks=self.masks or None)
            self._reached = target
            apply_masks(state.model, self.masks)


SPECIMENS = (
    Specimen(
        name="gradual-pruning",
        title="magnitude pruning by a schedule during training",
        build=GradualPruning,
        formula="After t = t₀ + kΔt updates the share s_f + (s_i − s_f)(1 − k/n)³ of each layer's weights is 0.",
        source="zhu2018prune",
        pinned_by="tests/training/test_gradual_pruning.py::test_after_each_update_exactly_the_share_of_the_paper_is_0",
    ),
)
