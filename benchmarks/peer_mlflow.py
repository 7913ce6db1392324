"""Runs of a twenty-point curve written to MLflow's local stores, with what they cost; runs in the peers' environment.

python peer_mlflow.py sqlite|files points|batch RUNS    (in an empty folder)
"""

from __future__ import annotations

import json
import logging
import os
import sys
import time
from pathlib import Path

# Neither belongs into a measurement: what it sends home, and the notice that its store of files is no longer grown.
os.environ |= {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_ALLOW_FILE_STORE": "true"}

import mlflow
from meter import Meter
from mlflow.entities import Metric, Param

POINTS = 20


def by_points(experiment: str, number: int) -> None:
    """As a training loop does it: a call for each point."""
    with mlflow.start_run(experiment_id=experiment, run_name=f"run {number}"):
        mlflow.log_params({"width": "64", "seed": str(number)})
        for step in range(POINTS):
            mlflow.log_metric("loss", 1 / (1 + step + number), step=step)


def by_batch(experiment: str, number: int) -> None:
    """The least that MLflow needs: all of a run in one call."""
    client = mlflow.MlflowClient()
    run = client.create_run(experiment, run_name=f"run {number}").info.run_id
    now = int(1000 * time.time())
    metrics = [Metric("loss", 1 / (1 + step + number), now, step) for step in range(POINTS)]
    client.log_batch(run, metrics, [Param("width", "64"), Param("seed", str(number))])
    client.set_terminated(run)


def main(store: str, how: str, runs: int) -> None:
    logging.disable(logging.WARNING)
    if store == "files":
        mlflow.set_tracking_uri((Path.cwd() / "mlruns").as_uri())
    write = {"points": by_points, "batch": by_batch}[how]
    experiment = mlflow.create_experiment("benchmark")
    # The first run makes the store.
    write(experiment, 0)
    with Meter() as meter:
        for number in range(runs):
            write(experiment, 1 + number)
    stored = mlflow.MlflowClient().search_runs([experiment], max_results=50_000)
    history = mlflow.MlflowClient().get_metric_history(stored[0].info.run_id, "loss")
    if (len(stored), len(history)) != (1 + runs, POINTS):
        raise SystemExit(f"{len(stored)} runs and {len(history)} points are stored, not {1 + runs} and {POINTS}")
    print(json.dumps({"cost": meter.cost, "version": mlflow.__version__}))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
