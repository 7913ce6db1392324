"""Training runs and trials shown in a tracker."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, final

import numpy as np

from deepscope.core import UsageError, Value
from deepscope.subject import generators_kept
from deepscope.training._callback import Callback
from deepscope.training._guarded import Guarded
from deepscope.training._state import History, TrainingState
from deepscope.training._trackers import Tracker


@final
class Mirror(Callback):
    """Show a training run in a tracker: ``loss`` and ``lr_factor`` by step, and each epoch's record as ``epoch/…``.

    Steps count from 0 as in ``History``; an epoch stands at the number of updates made by its end. Give it as the last
    of the callbacks: numbers that a later one adds to an epoch's record are not shown. The training is bit for bit what
    it is without, and a tracker that fails is said once, as a warning.

    A resumed training is a run of its own in the tracker and begins with the history that the checkpoint holds, so
    that each run shows every point once and the newest is whole. What was shown before the interruption is left as it
    was; where no step is left to be made nothing is shown again.

    Parameters
    ----------
    tracker
        ``TensorBoard``, ``MLflow``, ``WandB`` or one of your own.
    every_steps
        Show every so many steps, from the first.
    name
        Of the run in the tracker; the model's class and the time unless given.
    parameters
        Shown with the run, beside the model's and optimizer's class.

    Raises
    ------
    UsageError
        The interval is below 1.
    """

    def __init__(
        self,
        tracker: Tracker,
        *,
        every_steps: int = 10,
        name: str | None = None,
        parameters: Mapping[str, Value] | None = None,
    ) -> None:
        if every_steps < 1:
            raise UsageError(f"the interval is {every_steps} steps", where="every_steps", todo="Give at least 1.")
        self._tracker, self._every_steps = Guarded(tracker), every_steps
        self._name, self._parameters = name, dict(parameters or {})

    def on_start(self, state: TrainingState) -> None:
        """Note that nothing is shown yet; the run is opened with its first point."""
        self._close()
        self._shown_steps = self._shown_epochs = 0
        self._opened = False

    def on_step(self, state: TrainingState) -> None:
        """Show the step, if it is one to be shown."""
        if (state.step - 1) % self._every_steps == 0:
            self._show(state)

    def on_epoch_end(self, state: TrainingState) -> None:
        """Show the epoch's record."""
        self._show(state)

    def on_end(self, state: TrainingState) -> None:
        """End the run in the tracker."""
        self._close()

    def _show(self, state: TrainingState) -> None:
        with generators_kept():
            if not self._opened:
                self._open(state)
            for step, numbers in self._new_points(state.history):
                self._tracker.log(numbers, step)

    def _close(self) -> None:
        with generators_kept():
            self._tracker.close()

    def _open(self, state: TrainingState) -> None:
        kind = type(state.model).__name__
        name = self._name or f"{kind} {datetime.now().astimezone():%Y-%m-%d %H.%M.%S.%f}"
        self._tracker.open(name, {"model": kind, "optimizer": type(state.optimizer).__name__, **self._parameters})
        self._opened = True

    def _new_points(self, history: History) -> list[tuple[int, dict[str, float]]]:
        """Return what the history holds and the tracker does not, in the order of the steps."""
        steps = [
            (step, {"loss": history.loss[step], "lr_factor": history.lr_factor[step]})
            for step in range(self._shown_steps, len(history.loss))
            if step % self._every_steps == 0
        ]
        epochs = [
            (int(record["steps"]), {f"epoch/{key}": value for key, value in record.items() if key not in _POSITION})
            for record in history.epochs[self._shown_epochs :]
        ]
        self._shown_steps, self._shown_epochs = len(history.loss), len(history.epochs)
        return sorted(steps + epochs, key=lambda point: point[0])


def mirror_trial(tracker: Tracker, study: str, case: Mapping[str, Value], seed: int, values: Mapping[str, Any]) -> None:
    """Show a finished trial of a study as a run of its own.

    Parameters
    ----------
    tracker
        Where; what it raises is passed on.
    study, case, seed
        What was tried: the run's name and parameters.
    values
        What the trial returned. Numbers stand at step 0, a one-dimensional array is a curve over the steps; text, None
        and other arrays are left out.
    """
    condition = " ".join(f"{name}={value}" for name, value in case.items())
    numbers = {name: float(value) for name, value in values.items() if isinstance(value, (bool, int, float))}
    arrays = {name: value for name, value in values.items() if isinstance(value, np.ndarray)}
    curves = {name: array for name, array in arrays.items() if array.ndim == 1 and array.dtype.kind in "biuf"}
    with generators_kept():
        tracker.open(f"{study}/{condition}/seed={seed}", {**case, "seed": seed, "study": study})
        try:
            tracker.log(numbers, 0)
            for step in range(max(map(len, curves.values()), default=0)):
                tracker.log({name: float(curve[step]) for name, curve in curves.items() if step < len(curve)}, step)
        finally:
            tracker.close()


#: What an epoch's record says of where it stands; the step says the same.
_POSITION = ("epoch", "steps")
