"""A training that is watched."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self, final

import torch

from deepscope.core import LeftOut, UsageError, one_line
from deepscope.figures import to_svg
from deepscope.lab._examine import describe
from deepscope.lab._live_line import LiveLine
from deepscope.lab._machine import commit, hardware, versions
from deepscope.lab._measure import Measurer
from deepscope.lab._overhead import OverheadBudget
from deepscope.lab._point_log import Point, PointLog
from deepscope.lab._probes import Probe
from deepscope.lab._stability import Stability, stability_threshold
from deepscope.lab._store import OpenRun, open_run
from deepscope.lab._training_loss import TrainingLoss
from deepscope.lab._watch_record import watch_record
from deepscope.lab._watched import Watched
from deepscope.report import watch_figure, watch_sentence
from deepscope.subject import Subject, generators_kept
from deepscope.training import Callback, TrainingState

_HOW_TO_BEGIN = "Enter it (with watch(…) as watching: …), or give it to fit(…, callbacks=[…])."


@final
class TrainingWatch(Callback):
    """What ``watch`` returns: a context manager with ``step``, and a callback for ``fit``. Each watches one training.

    Parameters
    ----------
    subject, probes, every, optimizer, batch_size, seed
        As for ``watch``.
    budget
        Keeps the promise.
    """

    def __init__(
        self,
        subject: Subject,
        probes: Sequence[Probe],
        budget: OverheadBudget,
        *,
        every: int,
        optimizer: torch.optim.Optimizer | None,
        batch_size: int | None,
        seed: int,
    ) -> None:
        self._subject, self._budget, self._every = subject, budget, every
        self._optimizer, self._batch_size, self._seed = optimizer, batch_size, seed
        self._measurer = Measurer(subject, probes, seed, budget.clock)
        self._losses, self._line = TrainingLoss(every), LiveLine()
        self._points: list[Point] = []
        self._seen: dict[str, float | None] = {}
        self._run: OpenRun[PointLog] | None = None
        self._step = 0
        self._is_open = self._began_by_fit = False

    @property
    def result(self) -> Watched:
        """What has been seen so far.

        Raises
        ------
        UsageError
            Watching has not begun.
        """
        if self._run is None:
            raise UsageError("nothing was watched yet", where="result", todo=_HOW_TO_BEGIN)
        return Watched(watch_record(self._run.head, self._points))

    @property
    def path(self) -> Path | None:
        """The directory of the stored run; None before it begins."""
        return self._run.path if self._run is not None else None

    def step(self, loss: Any = None) -> None:
        """Say that a step of the training has been made, after its update.

        Parameters
        ----------
        loss
            The step's training loss, one number or a tensor of one; None where it is not to be kept.

        Raises
        ------
        UsageError
            Watching has not begun, or is over; or the loss is not one number.

        Notes
        -----
        Cost: microseconds, except at multiples of ``every``.
        """
        if not self._is_open:
            raise UsageError("nothing is watched", where="step", todo=_HOW_TO_BEGIN)
        due = (self._step + 1) % self._every == 0
        if due:
            self._wait_for_training()
        with self._budget:
            self._step += 1
            if loss is not None:
                self._losses.add(loss)
            if due:
                with generators_kept():
                    self._look()

    def __enter__(self) -> Self:
        self._begin()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end(one_line(error) if error is not None else "")

    def on_start(self, state: TrainingState) -> None:
        """Begin, unless it was entered before."""
        if state.model is not self._subject.model:
            raise UsageError("another network is watched", where="callbacks", todo="Watch the very model that trains.")
        if self._is_open and state.step:
            raise UsageError(
                f"watching began before the training was resumed at step {state.step}",
                where="callbacks",
                todo="Give the watch to fit without entering it.",
            )
        if self._is_open:
            return
        self._optimizer = self._optimizer or state.optimizer
        self._step, self._began_by_fit = state.step, True
        self._begin()

    def on_step(self, state: TrainingState) -> None:
        """Count the step."""
        self.step(state.loss)

    def on_end(self, state: TrainingState) -> None:
        """End, unless it was entered before."""
        if self._began_by_fit:
            self._end("")

    def _begin(self) -> None:
        if self._run is not None:
            raise UsageError("this watch has been used", where="watch", todo="Make another for another training.")
        with generators_kept():
            self._run = open_run("watch", self._subject.name, self._said())
            self._is_open = True
            self._wait_for_training()
            self._budget.start()
            try:
                with self._budget:
                    reason = self._stability().reason
                    if reason:
                        self._leave_out(LeftOut("stability threshold", reason))
                    self._measure()
                    self._draw_line()
            except BaseException as error:
                self._end(one_line(error))
                raise

    def _said(self) -> dict[str, Any]:
        return {
            "subject": describe(self._subject),
            "every": self._every,
            "overhead": self._budget.overhead,
            "probes": [probe.name for probe in self._measurer.probes],
            "batch_size": self._batch_size,
            "optimizer": type(self._optimizer).__name__ if self._optimizer is not None else "",
            "stability": self._stability().formula,
            "seed": self._seed,
            "versions": versions(),
            "hardware": hardware(),
            "commit": commit(),
            "device": str(self._subject.device),
        }

    def _look(self) -> None:
        """Do what is due at a multiple of ``every``."""
        if self._losses.ends_at(self._step):
            self._close_window()
        if self._measurer.probes and self._budget.affords(self._measurer.expected_seconds):
            self._measure()
        if self._line.due:
            self._draw_line()

    def _measure(self) -> None:
        before = self._budget.spent
        measured = self._measurer.measure()
        numbers = {**self._rates(), **measured.numbers}
        self._seen.update(numbers)
        for dropped in measured.dropped:
            self._drop(dropped)
        self._keep(
            {
                "kind": "measurement",
                "step": self._step,
                "training_seconds": self._budget.trained,
                "measuring_seconds": self._budget.spent - before,
                "numbers": numbers,
                "status": measured.status,
            }
        )

    def _rates(self) -> dict[str, float | None]:
        """Return the learning rate, where there is one, and the curvature from which on it is too large."""
        if self._optimizer is None:
            return {}
        rates = {float(group["lr"]) for group in self._optimizer.param_groups}
        rate = rates.pop() if len(rates) == 1 else None
        found = {"learning_rate": rate, "stability_threshold": self._stability().threshold}
        return {name: value for name, value in found.items() if value is not None}

    def _stability(self) -> Stability:
        if self._optimizer is None:
            return Stability(None, reason="no optimiser was given")
        return stability_threshold(self._optimizer)

    def _drop(self, dropped: LeftOut) -> None:
        self._leave_out(dropped)
        self._line.clear()
        warnings.warn(f"{dropped.name} is not measured any more ({dropped.reason}); the training goes on", stacklevel=5)

    def _leave_out(self, entry: LeftOut) -> None:
        self._keep({"kind": "left out", "step": self._step, **entry._asdict()})

    def _close_window(self) -> None:
        window = self._losses.window(self._step)
        if window is not None:
            self._seen["training_loss"] = window["training_loss"]
            self._keep(window)

    def _keep(self, point: Point) -> None:
        assert self._run is not None
        self._points.append(point)
        self._run.log.append(point)

    def _draw_line(self) -> None:
        known = [
            f"{words} {self._seen[name]:.3g}"
            for words, name in (("loss", "training_loss"), ("λ_max", "sharpness"), ("noise scale", "noise_scale"))
            if self._seen.get(name) is not None
        ]
        trained = self._budget.trained
        share = [f"overhead {100 * self._budget.spent / trained:.2g} %"] if trained > 0 else []
        self._line.show("  ".join([f"step {self._step:,}", *known, *share]))

    def _wait_for_training(self) -> None:
        # What an accelerator still has to do belongs to the training's time.
        if self._subject.device.type == "cuda":
            torch.cuda.synchronize(self._subject.device)

    def _end(self, error: str) -> None:
        if not self._is_open or self._run is None:
            return
        self._is_open = False
        with generators_kept(), self._run as run:
            self._line.clear()
            self._close_window()
            self._keep(
                {
                    "kind": "end",
                    "step": self._step,
                    "training_seconds": self._budget.trained,
                    "measuring_seconds": self._budget.spent,
                    "error": error,
                }
            )
            record = self.result.record
            fault = ""
            try:
                run.close(watch_sentence(record), record, {"watch": to_svg(watch_figure(record), prefix="watch")})
            except OSError as said:
                fault = said.strerror or str(said)
            if fault or run.log.unwritten:
                warnings.warn(
                    f"the watched training could not be stored whole ({fault or run.log.fault}); its result has it all",
                    stacklevel=3,
                )
