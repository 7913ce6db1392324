"""The training's own loss, gathered from step to step."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from deepscope.core import UsageError
from deepscope.lab._point_log import Point

#: From so many windows on, they become longer: twice as long whenever the steps have doubled.
_WINDOWS = 1000


class TrainingLoss:
    """Gathers losses into windows of ``every`` steps, or of more in a training of many.

    A window ends at the multiples of ``every`` · 2ᵏ, where k is the least with step < 2000 · ``every`` · 2ᵏ: at the
    same steps in every training, and N steps make at most some 1000 · (1 + log₂(N / (1000 · ``every``))) windows.

    Parameters
    ----------
    every
        As for ``watch``.
    """

    def __init__(self, every: int) -> None:
        self._every = every
        self._losses: list[float | Tensor] = []

    def add(self, loss: Any) -> None:
        """Take a step's loss; one on an accelerator is not waited for.

        Raises
        ------
        UsageError
            It is not one number.
        """
        if isinstance(loss, Tensor) and loss.device.type != "cpu":
            # A copy: the caller may go on to change it.
            self._losses.append(loss.detach().clone())
            return
        try:
            self._losses.append(float(loss.item() if isinstance(loss, Tensor) else loss))
        except (TypeError, ValueError, RuntimeError) as error:
            got = list(loss.shape) if isinstance(loss, Tensor) else type(loss).__name__
            raise UsageError(
                f"the loss of a step is one number, not {got}", where="step", todo="Give the loss of the batch."
            ) from error

    def ends_at(self, step: int) -> bool:
        """Whether a window ends with this step."""
        doublings = max(0, (step // (_WINDOWS * self._every)).bit_length() - 1)
        return step % (self._every << doublings) == 0

    def window(self, step: int) -> Point | None:
        """Return the point of the losses since the last, and begin anew; None where there are none."""
        if not self._losses:
            return None
        losses = [float(loss) for loss in self._together()]
        self._losses = []
        finite = [loss for loss in losses if math.isfinite(loss)]
        return {
            "kind": "window",
            "step": step,
            "training_loss": _mean(finite),
            "training_loss_largest": max(finite, default=None),
            "nonfinite_losses": len(losses) - len(finite),
        }

    def _together(self) -> list[float]:
        if all(isinstance(loss, Tensor) for loss in self._losses):
            # One transfer for all.
            return list(torch.stack([torch.as_tensor(loss).reshape(()) for loss in self._losses]).tolist())
        return [float(loss) for loss in self._losses]


def _mean(losses: list[float]) -> float | None:
    # Each divided first: the sum of finite losses may be beyond float64.
    return math.fsum(loss / len(losses) for loss in losses) if losses else None
