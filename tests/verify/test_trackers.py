"""What TensorBoard, MLflow and Weights & Biases hold after a training, read back from their own stores."""

from __future__ import annotations

import json
import math
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
PEER = ROOT / ".peers" / "bin" / "python"
SCRIPT = Path(__file__).with_name("tracked_training.py")
KINDS = ("tensorboard", "mlflow", "wandb")

pytestmark = pytest.mark.verify


@pytest.fixture(scope="module")
def stored(tmp_path_factory) -> dict[str, dict[str, Any]]:
    if not PEER.exists():
        reason = "the peers' environment is missing: make .peers/.ready"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    answers = {}
    for kind in KINDS:
        folder = tmp_path_factory.mktemp(kind)
        interrupted, resumed, read = (run(what, kind, folder) for what in ("train", "train", "read"))
        assert "InterruptedError" in interrupted.stderr, interrupted.stderr[-3000:]
        for done in (resumed, read):
            assert done.returncode == 0, done.stderr[-3000:]
        answers[kind] = {**json.loads(resumed.stdout), "runs": json.loads(read.stdout)}
    return answers


def run(what: str, kind: str, folder: Path) -> subprocess.CompletedProcess[str]:
    quiet = {"WANDB_MODE": "offline", "WANDB_ERROR_REPORTING": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}
    return subprocess.run(
        [str(PEER), str(SCRIPT), what, kind, str(folder)],
        cwd=folder,
        env={**os.environ, **quiet, "PYTHONPATH": str(ROOT / "src"), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )


def expected(history: dict[str, Any]) -> dict[str, list[tuple[int, float]]]:
    """What is to be stored of a training that is shown every second step."""
    curves = {name: list(enumerate(history[name]))[::2] for name in ("loss", "lr_factor")}
    return {**curves, "epoch/loss": [(record["steps"], record["loss"]) for record in history["epochs"]]}


def same(found: dict[str, Any], wanted: dict[str, list[tuple[int, float]]], kind: str) -> None:
    assert found.keys() == wanted.keys()
    for name, points in wanted.items():
        assert [step for step, _ in found[name]] == [step for step, _ in points], name
        for (_, value), (step, number) in zip(found[name], points, strict=True):
            # TensorBoard keeps single precision, half an ulp of which is 2**-24; the others keep what they are given.
            exact = number if kind != "tensorboard" else pytest.approx(number, rel=2**-24)
            assert value == exact or (math.isnan(value) and math.isnan(number)), (name, step)


@pytest.mark.parametrize("kind", KINDS)
def test_mirroring_changes_nothing_in_the_training(stored, kind: str) -> None:
    assert stored[kind]["mirrored"] == stored[kind]["resumed"] == stored[kind]["plain"]


@pytest.mark.parametrize("kind", KINDS)
def test_a_training_is_stored_whole(stored, kind: str) -> None:
    (run,) = [run for run in stored[kind]["runs"] if run["name"] == "whole"]
    same(run["metrics"], expected(stored[kind]["plain"]), kind)
    parameters = {name: str(value) for name, value in run["parameters"].items()}
    assert parameters == {"model": "Sequential", "optimizer": "SGD", "width": "8"}
    assert run["ended"]
    assert run.get("project", "some") == "some"


@pytest.mark.parametrize("kind", KINDS)
def test_a_resumed_training_shows_every_point_once(stored, kind: str) -> None:
    found = [run for run in stored[kind]["runs"] if run["name"] == "resumed"]
    # In TensorBoard the later run takes the place of the earlier one of its name.
    assert len(found) == (1 if kind == "tensorboard" else 2)
    same(found[-1]["metrics"], expected(stored[kind]["plain"]), kind)
    assert all(run["ended"] for run in found)


@pytest.mark.parametrize("kind", KINDS)
def test_a_trial_is_stored_with_numbers_and_curves(stored, kind: str) -> None:
    (run,) = [run for run in stored[kind]["runs"] if run["name"].startswith("a-study")]
    assert run["name"] == "a-study/width=8 noise=0.5/seed=3"
    parameters = {name: str(value) for name, value in run["parameters"].items()}
    assert parameters == {"width": "8", "noise": "0.5", "seed": "3", "study": "a-study"}
    curve = [(0, 0.5), (1, math.nan), (2, 1 / 3)]
    same(run["metrics"], {"error": [(0, 0.1)], "steps": [(0, 7.0)], "curve": curve}, kind)
