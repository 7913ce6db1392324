"""What a watched training's head and points say together. Never loads torch."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from deepscope.lab._point_log import Point
from deepscope.lab._watch_findings import watch_findings

SCHEMA = "deepscope.watch/1"
_FROM_HEAD = (
    *("subject", "every", "overhead", "probes", "batch_size", "optimizer", "stability", "seed", "command"),
    *("commit", "versions", "hardware", "device", "date"),
)


def watch_record(head: Mapping[str, Any], points: Sequence[Point]) -> dict[str, Any]:
    """Return the record of a watched training, plain JSON; of one that goes on or was killed, up to its last point.

    Parameters
    ----------
    head
        What ``run.json`` says.
    points
        As ``read_points`` returns them.

    Returns
    -------
    dict
        Of the head ``subject``, ``every``, ``overhead``, ``probes``, ``batch_size``, ``optimizer``, ``stability`` and
        what it was made with. ``table``: a row per measurement, with the mean training loss of the window that ended
        last. ``training``: a row per window. ``left_out``. ``steps``: the last step known. ``ended``: whether it
        ended, by the error ``error`` where there was one. ``cost``: seconds of training and of measuring. ``findings``.
    """
    windows = [each for each in points if each["kind"] == "window"]
    measurements = [each for each in points if each["kind"] == "measurement"]
    end = next((each for each in points if each["kind"] == "end"), None)
    record = {
        "schema": SCHEMA,
        **{name: head[name] for name in _FROM_HEAD if name in head},
        "steps": max((each["step"] for each in points), default=0),
        "ended": end is not None,
        "error": end["error"] if end else "",
        "table": _table(measurements, windows),
        "training": [{name: value for name, value in each.items() if name != "kind"} for each in windows],
        "left_out": [
            {"name": each["name"], "reason": _since(each["step"], points[0]["step"]) + each["reason"]}
            for each in points
            if each["kind"] == "left out"
        ],
        "cost": _cost(end, measurements),
    }
    return {**record, "findings": [asdict(each) for each in watch_findings(record)]}


def _table(measurements: Sequence[Point], windows: Sequence[Point]) -> list[dict[str, Any]]:
    names = dict.fromkeys(name for each in measurements for name in each["numbers"])
    ends = [window["step"] for window in windows]
    rows = []
    for each in measurements:
        place = bisect_right(ends, each["step"])
        rows.append(
            {
                "step": each["step"],
                "training_loss": windows[place - 1]["training_loss"] if place else None,
                **{name: each["numbers"].get(name) for name in names},
                "training_seconds": each["training_seconds"],
                "measuring_seconds": each["measuring_seconds"],
                "status": each["status"],
            }
        )
    return rows


def _since(step: int, start: int) -> str:
    return f"from step {step:,} on: " if step > start else ""


def _cost(end: Point | None, measurements: Sequence[Point]) -> dict[str, float]:
    if end is not None:
        return {"training_seconds": end["training_seconds"], "measuring_seconds": end["measuring_seconds"]}
    return {
        "training_seconds": measurements[-1]["training_seconds"] if measurements else 0.0,
        "measuring_seconds": math.fsum(each["measuring_seconds"] for each in measurements),
    }
