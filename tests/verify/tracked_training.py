"""Train with a tracker, and read back what it stored; run by test_trackers.py in the peers' environment.

python tracked_training.py train|read KIND FOLDER

It trains twice: the first time it is interrupted, the second time it goes on from there.
"""

from __future__ import annotations

import json
import struct
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from deepscope.training import Callback, Checkpoint, Mirror, cosine, fit, mirror_trial, tracker

X = torch.randn(24, 4, generator=torch.Generator().manual_seed(0))
Y = (X[:, 0] > 0).long()
VALUES = {"error": 0.1, "steps": 7, "curve": np.array([0.5, np.nan, 1 / 3])}

Run = dict[str, Any]


class StopAt(Callback):
    def __init__(self, step: int | None) -> None:
        self.step = step

    def on_step(self, state) -> None:
        if state.step == self.step:
            raise InterruptedError


def train(*callbacks: Callback, checkpoint: Checkpoint | None = None) -> dict[str, Any]:
    torch.manual_seed(7)
    model = nn.Sequential(nn.Linear(4, 8), nn.Dropout(0.2), nn.Linear(8, 2))
    history = fit(
        model,
        lambda epoch: [(X[part], Y[part]) for part in torch.randperm(len(X)).split(8)],
        functional.cross_entropy,
        optimizer=torch.optim.SGD(model.parameters(), lr=0.1),
        epochs=3,
        schedule=cosine(9),
        callbacks=callbacks,
        checkpoint=checkpoint,
    )
    return {"loss": history.loss, "lr_factor": history.lr_factor, "epochs": history.epochs}


def read_tensorboard(folder: Path) -> Iterator[Run]:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    for run in sorted({file.parent for file in folder.rglob("events.*")}):
        events = EventAccumulator(str(run)).Reload()
        text = events.Tensors("parameters/text_summary")[-1]
        rows = [row.strip("| ").split(" | ") for row in text.tensor_proto.string_val[0].decode().splitlines()[2:]]
        metrics = {tag: [(e.step, e.value) for e in events.Scalars(tag)] for tag in events.Tags()["scalars"]}
        yield {"name": run.relative_to(folder).as_posix(), "parameters": dict(rows), "metrics": metrics, "ended": True}


def read_mlflow(folder: Path) -> Iterator[Run]:
    from mlflow import MlflowClient

    client = MlflowClient(uri(folder))
    experiment = client.get_experiment_by_name("deepscope").experiment_id
    for run in client.search_runs([experiment], order_by=["attributes.start_time"]):
        metrics = {
            key: sorted((metric.step, metric.value) for metric in client.get_metric_history(run.info.run_id, key))
            for key in run.data.metrics
        }
        name, ended = run.info.run_name, run.info.status == "FINISHED"
        yield {"name": name, "parameters": run.data.params, "metrics": metrics, "ended": ended}


def read_wandb(folder: Path) -> Iterator[Run]:
    """Read offline runs with the library's own messages; the library keeps no reader of the file around them."""
    from wandb.proto import wandb_internal_pb2

    for file in sorted(folder.glob("wandb/offline-run-*/*.wandb"), key=lambda file: file.stat().st_mtime_ns):
        run: Run = {"metrics": {}, "ended": False}
        for content in chunks(file.read_bytes()):
            record = wandb_internal_pb2.Record.FromString(content)
            if record.HasField("run"):
                run["name"] = record.run.display_name
                run["project"] = record.run.project
                config = {item.key: json.loads(item.value_json) for item in record.run.config.update}
                run["parameters"] = {key: value for key, value in config.items() if not key.startswith("_")}
            if record.HasField("history"):
                items = {item.key or "/".join(item.nested_key): item.value_json for item in record.history.item}
                numbers = {key: json.loads(text) for key, text in items.items()}
                for key in numbers.keys() - {"_step", "_runtime", "_timestamp"}:
                    run["metrics"].setdefault(key, []).append((numbers["_step"], numbers[key]))
            run["ended"] |= record.HasField("exit")
        yield run


def chunks(data: bytes) -> Iterator[bytes]:
    """Return the records of a file in LevelDB's log format, after W&B's seven bytes of its own.

    Blocks of 32 KiB hold parts: a checksum (4 bytes), a length (2), whether it is a whole record (1), its first (2), a
    middle (3) or the last (4) part; what is too short for another part is left empty.
    """
    at, record = 7, b""
    while at + 7 <= len(data):
        if 32768 - at % 32768 < 7:
            at += 32768 - at % 32768
            continue
        length, kind = struct.unpack("<HB", data[at + 4 : at + 7])
        record += data[at + 7 : at + 7 + length]
        at += 7 + length
        if kind in (1, 4):
            yield record
            record = b""


def train_tracked(kind: str, folder: Path) -> dict[str, Any]:
    warnings.simplefilter("error", UserWarning)
    where = tracker({"tensorboard": f"tensorboard:{folder}", "mlflow": f"mlflow:{uri(folder)}"}.get(kind, "wandb:some"))
    checkpoint = Checkpoint(folder / "checkpoint", every_steps=1)
    stop = StopAt(None if Path(checkpoint.path).exists() else 5)
    resumed = train(Mirror(where, every_steps=2, name="resumed"), stop, checkpoint=checkpoint)
    plain = train()
    mirrored = train(Mirror(where, every_steps=2, name="whole", parameters={"width": 8}))
    mirror_trial(where, "a-study", {"width": 8, "noise": 0.5}, 3, VALUES)
    return {"plain": plain, "mirrored": mirrored, "resumed": resumed}


def uri(folder: Path) -> str:
    return f"sqlite:///{folder}/mlflow.db"


READERS = {"tensorboard": read_tensorboard, "mlflow": read_mlflow, "wandb": read_wandb}


def main(what: str, kind: str, folder: Path) -> None:
    print(json.dumps(train_tracked(kind, folder) if what == "train" else list(READERS[kind](folder))))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], Path(sys.argv[3]))
