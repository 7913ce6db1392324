"""Callbacks: what is done beside the updates themselves."""

from __future__ import annotations

from abc import ABC
from collections.abc import Iterable, Mapping
from typing import Any, final

import torch

from deepscope.core import UsageError
from deepscope.training._evaluate import evaluate
from deepscope.training._loss import Count, Loss
from deepscope.training._state import TrainingState


class Callback(ABC):  # noqa: B024 - a callback overrides the hooks it needs, and none is needed by all
    """Something done at fixed moments of a training run.

    Override the hooks that are needed. What a callback remembers from step to step belongs into ``state_dict``, or a
    resumed run will not equal an undisturbed one.
    """

    def on_start(self, state: TrainingState) -> None:
        """Before the first step, also of a resumed run."""
        return

    def on_gradients(self, state: TrainingState) -> None:
        """After the backward pass, before the update; ``state.loss`` is this step's, not yet in the history."""
        return

    def on_step(self, state: TrainingState) -> None:
        """After each update."""
        return

    def on_epoch_end(self, state: TrainingState) -> None:
        """After each epoch; ``state.history.epochs[-1]`` is its record, to which numbers may be added."""
        return

    def on_end(self, state: TrainingState) -> None:
        """After the last epoch."""
        return

    def configuration(self) -> Mapping[str, object]:
        """Return the settings that shape the run: a checkpoint is resumed only with the same."""
        return {}

    def state_dict(self) -> dict[str, Any]:
        """Return what must be remembered: tensors, numbers, text, lists and mappings."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take back what ``state_dict`` returned."""
        return


@final
class Evaluate(Callback):
    """Evaluate the model after each epoch; adds ``{name}_loss`` and ``{name}_accuracy`` to the epoch's record.

    Parameters
    ----------
    batches, loss, count
        As for ``evaluate``.
    name
        What the data is called in the record.
    """

    def __init__(
        self, batches: Iterable[Any], loss: Loss | None = None, *, count: Count | None = None, name: str = "test"
    ) -> None:
        self.batches, self.loss, self.count, self.name = batches, loss, count, name

    def on_epoch_end(self, state: TrainingState) -> None:
        """Evaluate; a number that the data does not have (accuracy of a regression) is left out of the record."""
        evaluation = evaluate(state.model, self.batches, self.loss, self.count)
        record = state.history.epochs[-1]
        if evaluation.loss is not None:
            record[f"{self.name}_loss"] = evaluation.loss
        if evaluation.accuracy is not None:
            record[f"{self.name}_accuracy"] = evaluation.accuracy

    def configuration(self) -> Mapping[str, object]:
        """Return the name of the data."""
        return {"name": self.name}


@final
class GradientClipping(Callback):
    """Scale each step's gradient down to a norm of at most ``max_norm``, over all of the optimizer's parameters.

    Source: ``pascanu2013difficulty``.
    """

    def __init__(self, max_norm: float) -> None:
        if not max_norm > 0:
            raise UsageError(f"the largest gradient norm is {max_norm}", where="max_norm", todo="Give one above 0.")
        self.max_norm = max_norm

    def on_gradients(self, state: TrainingState) -> None:
        """Clip."""
        parameters = [parameter for group in state.optimizer.param_groups for parameter in group["params"]]
        torch.nn.utils.clip_grad_norm_(parameters, self.max_norm)

    def configuration(self) -> Mapping[str, object]:
        """Return the norm."""
        return {"max_norm": self.max_norm}
