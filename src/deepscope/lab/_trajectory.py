"""trajectory: the spectra of one network at several steps of its training."""

from __future__ import annotations

import datetime
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from deepscope.core import LeftOut, UsageError
from deepscope.instruments import SPECTRUM, Spectrum
from deepscope.lab._difference import by_name, difference, why_no_difference
from deepscope.lab._examination import plain_rows
from deepscope.lab._examine import Progress, examine
from deepscope.lab._machine import versions
from deepscope.lab._report_file import as_text, write_report
from deepscope.lab._target import subject_of
from deepscope.report import trajectory_figure, trajectory_page
from deepscope.subject import Subject, Weight

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SCHEMA = "deepscope.trajectory/1"
_SEEN = ("alpha", "alpha_low", "alpha_high", "n_spikes", "phase", "stable_rank")
_COLUMNS = ("step", "name", *_SEEN, "status", "relative_change_since_start", "change_status")


@dataclass(frozen=True, eq=False)
class Trajectory:
    """What ``trajectory`` returns.

    Attributes
    ----------
    steps
        What was examined at each step, in the order given: name, kind, path, parameters …
    table
        One row per step and matrix that all have: step, counted from 0; name; alpha with its 95 % interval alpha_low to
        alpha_high, n_spikes, phase, stable_rank and status as in the spectrum's table; relative_change_since_start,
        ‖W − W₀‖/‖W₀‖ of the tensor that the matrix is, or is a part of; and change_status, why there is none.
    left_out
        Tensors that have no spectrum, matrices that only some steps have, and steps that could not be measured.
    failed
        The steps that could not be measured.
    """

    steps: tuple[Mapping[str, Any], ...]
    table: pd.DataFrame
    left_out: tuple[LeftOut, ...]
    failed: tuple[int, ...]
    seed: int
    budget: str
    command: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Return everything as plain JSON: non-finite numbers are null."""
        return {
            "schema": SCHEMA,
            "steps": [dict(step) for step in self.steps],
            "table": plain_rows(self.table.to_dict("records")),
            "left_out": [entry._asdict() for entry in self.left_out],
            "failed": list(self.failed),
            "command": self.command,
            "seed": self.seed,
            "budget": self.budget,
            "versions": versions(),
            "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        }

    def save(self, path: str | PathLike[str]) -> Path:
        """Write the trajectory as a page (``.html``) or as data (``.json``), whole or not at all."""
        return write_report(path, self.to_dict(), trajectory_page)

    def plot(self) -> Figure:
        """Draw α with its interval, spikes, stable rank and the change since the first step, over the steps."""
        return trajectory_figure(self.to_dict())

    def __str__(self) -> str:
        from deepscope.report import trajectory_text

        return as_text(trajectory_text, self.to_dict())


def trajectory(
    targets: Sequence[Any],
    *,
    budget: str = "standard",
    seed: int = 0,
    progress: Progress | None = None,
    command: str = "",
) -> Trajectory:
    """Measure the spectrum of every matrix at each step of a training.

    Parameters
    ----------
    targets
        Two or more, in the order of training, each as for ``examine``.
    budget, seed, progress, command
        As for ``examine``, for each.

    Raises
    ------
    UsageError
        Fewer than two targets.
    TargetError
        One of them cannot be read.

    Notes
    -----
    Cost: one spectrum of each target, and a second reading of each tensor and of the first target's; memory that of
    one spectrum.

    Examples
    --------
    >>> import torch
    >>> layer = torch.nn.Linear(30, 20, bias=False)
    >>> trajectory([layer, layer, layer]).table["relative_change_since_start"].tolist()
    [0.0, 0.0, 0.0]
    """
    if len(targets) < 2:
        raise UsageError("a trajectory has two steps or more", todo="Give the checkpoints in the order of training.")
    subjects = [subject_of(each) for each in targets]
    examined = [
        examine(each, instruments=[SPECTRUM.name], budget=budget, seed=seed, progress=progress) for each in subjects
    ]
    spectra: dict[int, Spectrum] = {}
    left_out: list[LeftOut] = []
    for step, examination in enumerate(examined):
        left_out += [LeftOut(f"step {step}: {each.name}", each.reason) for each in examination.not_run]
        reading = examination.readings.get(SPECTRUM.name)
        if isinstance(reading, Spectrum):
            spectra[step] = reading
            left_out += reading.left_out
    shared, only_some = _names(spectra)
    table = pd.DataFrame(
        [row for step, each in spectra.items() for row in _rows(step, each, subjects, shared)], columns=list(_COLUMNS)
    )
    failed = tuple(step for step in range(len(subjects)) if step not in spectra)
    subjects_seen = tuple(each.subject for each in examined)
    return Trajectory(
        subjects_seen, table, tuple(dict.fromkeys([*only_some, *left_out])), failed, seed, budget, command
    )


def _names(spectra: Mapping[int, Spectrum]) -> tuple[set[str], list[LeftOut]]:
    """Return the matrices that all steps have, and a ledger of those that only some have."""
    having = Counter(row.name for each in spectra.values() for row in each.weights)
    shared = {name for name, count in having.items() if count == len(spectra)}
    only_some = []
    at = {step: {row.name for row in each.weights} for step, each in spectra.items()}
    for name in having:
        if name not in shared:
            steps = [str(step) for step, names in at.items() if name in names]
            only_some.append(LeftOut(name, f"only at step {', '.join(steps)}"))
    return shared, only_some


def _rows(step: int, spectrum: Spectrum, subjects: Sequence[Subject], shared: set[str]) -> list[dict[str, Any]]:
    first, now = by_name(subjects[0]), by_name(subjects[step])
    changes: dict[str, dict[str, Any]] = {}
    rows = []
    for each in spectrum.weights:
        if each.name not in shared:
            continue
        if each.tensor not in changes:
            changes[each.tensor] = _change(first.get(each.tensor), now.get(each.tensor))
        seen = {column: getattr(each, column) for column in (*_SEEN, "status")}
        rows.append({"step": step, "name": each.name, **seen, **changes[each.tensor]})
    return rows


def _change(first: Weight | None, now: Weight | None) -> dict[str, Any]:
    if first is None or now is None:
        return {"relative_change_since_start": None, "change_status": "the network makes it of other tensors"}
    reason = why_no_difference(first, now)
    if reason:
        return {"relative_change_since_start": None, "change_status": reason}
    found = difference(first.read(), now.read())
    return {"relative_change_since_start": found["relative_change"], "change_status": found["status"]}
