"""The points of a watched training, one line each. Never loads torch."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, TypedDict

from deepscope.lab._fitting import misfit
from deepscope.lab._line_log import LineLog, read_lines

Point = Mapping[str, Any]


class WindowPoint(TypedDict):
    """The training's own loss, over the steps since the last such point: mean and largest of the finite ones."""

    kind: Literal["window"]
    step: int
    training_loss: float | None
    training_loss_largest: float | None
    nonfinite_losses: int


class MeasurementPoint(TypedDict):
    """What was measured at a step, by name of the number; a number that could not be had is null, with a status."""

    kind: Literal["measurement"]
    step: int
    training_seconds: float
    measuring_seconds: float
    numbers: dict[str, float | None]
    status: str


class LeftOutPoint(TypedDict):
    """What is not measured from a step on, and why."""

    kind: Literal["left out"]
    step: int
    name: str
    reason: str


class EndPoint(TypedDict):
    """The last point of a training that was not killed: time in all, and the error that ended it, or ``""``."""

    kind: Literal["end"]
    step: int
    training_seconds: float
    measuring_seconds: float
    error: str


_KINDS = {"window": WindowPoint, "measurement": MeasurementPoint, "left out": LeftOutPoint, "end": EndPoint}


class PointLog(LineLog):
    """Appends points, as ``LineLog`` does."""

    def append(self, point: Point) -> None:
        """Write a point, as one line in one system call.

        Raises
        ------
        ValueError
            It holds a number that is not finite. A disk that cannot be written raises nothing: see ``fault``.
        """
        # ASCII alone: no line can be torn within a character.
        self.append_line(json.dumps(point, allow_nan=False, separators=(",", ":")).encode("ascii") + b"\n")


def read_points(path: Path) -> tuple[list[dict[str, Any]], int]:
    """Read what a log wrote, also while it is being written.

    Returns
    -------
    points, bad
        The points in the order in which they were written, and the number of whole lines that are none. A last line
        without its end is what a killed process leaves: skipped, not counted. A file that does not exist holds nothing.

    Raises
    ------
    OSError
        The file cannot be read.
    """
    points, bad = [], 0
    for line in read_lines(path):
        try:
            point = json.loads(line)
        except (ValueError, RecursionError):
            point = None
        kind = _KINDS.get(str(point.get("kind"))) if isinstance(point, dict) else None
        if kind is None or misfit(point, kind):
            bad += 1
        else:
            points.append(point)
    return points, bad
