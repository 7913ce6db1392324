"""Watched: what was seen of a training."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from deepscope.core import Finding, LeftOut
from deepscope.lab._report_file import as_text, write_report
from deepscope.report import watch_figure, watch_page, watch_sentence

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True, eq=False, repr=False)
class Watched:
    """What a watched training showed, up to the last point that is known.

    Attributes
    ----------
    record
        All of it, plain JSON: as ``TrainingWatch.result`` has it, or ``Run.record()`` of a stored run.
    """

    record: Mapping[str, Any]

    @cached_property
    def table(self) -> pd.DataFrame:
        """A row per measurement.

        ``step``, counted from 0, the network before its first update; ``training_loss``, the mean over the ``every``
        steps before; the numbers of each probe; ``learning_rate`` and ``stability_threshold`` where an optimiser is
        known; ``training_seconds`` up to there, ``measuring_seconds`` that it took; ``status``: ``"ok"``, or which
        numbers there are not, and why.
        """
        return _frame(self.record["table"])

    @cached_property
    def training(self) -> pd.DataFrame:
        """A row per stretch of steps: its last ``step``, the mean and the largest ``training_loss`` of its steps."""
        return _frame(self.record["training"])

    @property
    def left_out(self) -> tuple[LeftOut, ...]:
        """What was not measured, or not to the end, and why."""
        return tuple(LeftOut(**each) for each in self.record["left_out"])

    def findings(self) -> tuple[Finding, ...]:
        """Say what the curves mean, worst first."""
        return tuple(Finding(**each) for each in self.record["findings"])

    def to_dict(self) -> dict[str, Any]:
        """Return everything as plain JSON: a number that there is not is null."""
        return dict(self.record)

    def save(self, path: str | PathLike[str]) -> Path:
        """Write it as a page (``.html``) or as data (``.json``), whole or not at all.

        Raises
        ------
        UsageError
            The name ends in neither.
        OSError
            The file cannot be written.
        """
        return write_report(path, self.record, watch_page)

    def plot(self) -> Figure:
        """Draw losses, sharpness beside its threshold, noise scale, kernel drift and dead units over the steps."""
        return watch_figure(self.record)

    def __str__(self) -> str:
        from deepscope.report import watch_text

        return as_text(watch_text, self.record)

    def __repr__(self) -> str:
        return f"<Watched: {watch_sentence(self.record)}>"


def _frame(rows: list[dict[str, Any]]) -> pd.DataFrame:
    frame = pd.DataFrame(rows)
    # A column of None alone would otherwise not count as numeric.
    return frame.astype({name: float for name in frame if frame[name].dtype == object and name != "status"})
