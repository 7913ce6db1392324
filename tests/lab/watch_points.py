"""Heads and points of watched trainings that nobody has trained."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from deepscope.lab import Run, find_run, open_run
from deepscope.lab._watch_record import watch_record

HEAD: dict[str, Any] = {
    "subject": {"name": "LeNet", "kind": "model", "parameters": 61706},
    "every": 100,
    "overhead": 0.05,
    "probes": ["loss", "curvature"],
    "batch_size": 64,
    "optimizer": "SGD",
    "stability": "2/η",
    "seed": 0,
    "commit": "0123abc",
    "versions": {"torch": "2.13.0"},
    "hardware": {"cpu": "a processor"},
    "device": "cpu",
    "date": "2026-01-02T03:04:05+00:00",
}


def window(step: int, loss: float | None, *, nonfinite: int = 0) -> dict[str, Any]:
    return {
        "kind": "window", "step": step, "training_loss": loss, "training_loss_largest": loss,
        "nonfinite_losses": nonfinite,
    }  # fmt: skip


def measurement(step: int, **numbers: float | None) -> dict[str, Any]:
    missing = [f"{name} is not known" for name, value in numbers.items() if value is None]
    return {
        "kind": "measurement", "step": step, "training_seconds": step / 10, "measuring_seconds": 0.5,
        "numbers": numbers, "status": "; ".join(missing) or "ok",
    }  # fmt: skip


def measurements(**curves: Sequence[float | None]) -> list[dict[str, Any]]:
    """Make a measurement every hundred steps."""
    rows = [dict(zip(curves, row, strict=True)) for row in zip(*curves.values(), strict=True)]
    return [measurement(100 * place, **row) for place, row in enumerate(rows)]


def windows(losses: Sequence[float | None], length: int = 100) -> list[dict[str, Any]]:
    return [window(length * (place + 1), loss) for place, loss in enumerate(losses)]


def end(step: int, *, trained: float = 100.0, spent: float = 4.0, error: str = "") -> dict[str, Any]:
    return {"kind": "end", "step": step, "training_seconds": trained, "measuring_seconds": spent, "error": error}


def left_out(name: str, reason: str, step: int = 0) -> dict[str, Any]:
    return {"kind": "left out", "step": step, "name": name, "reason": reason}


def record(*points: Mapping[str, Any], **head: Any) -> dict[str, Any]:
    return watch_record({**HEAD, **head}, sorted(points, key=lambda point: point["step"]))


def store(*points: Mapping[str, Any], finished: bool = True, figure: str = "<svg/>", **head: Any) -> Run:
    with open_run("watch", "LeNet", {**HEAD, **head}) as run:
        for point in points:
            run.log.append(point)
        if finished:
            run.close("LeNet was watched.", watch_record(run.head, points), {"watch": figure})
    return find_run(run.id)
