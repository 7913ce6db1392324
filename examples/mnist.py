"""Train LeNet-5 on handwritten digits, examine it, and write a report.

Run it from the repository: ``python examples/mnist.py``. It reaches 98 % test accuracy in about a minute of CPU time
and prints one JSON object; with ``--watch watched.html`` it is measured while it trains, in half as much time again.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import torch

import deepscope
from deepscope import data
from deepscope.models import LeNet
from deepscope.training import Checkpoint, Evaluate, History, cosine, fit

BATCH_SIZE, PROBE_SIZE = 64, 128


def train(
    mnist: data.Dataset, epochs: int, shift: int, seed: int, checkpoint: Path | None, watched: Path | None
) -> tuple[LeNet, History]:
    """Train on the whole training set, shifted at random; with ``watched``, write the course of it there."""
    torch.manual_seed(seed)
    model = LeNet(activation="relu")
    n_steps = epochs * len(mnist.train.batches(BATCH_SIZE))
    probe = [next(iter(mnist.train.batches(PROBE_SIZE)))]
    watching = deepscope.watch(model, probe, mnist.loss, every=20, overhead=0.5, batch_size=BATCH_SIZE)
    evaluate = Evaluate(mnist.test.batches(), mnist.loss)
    history = fit(
        model,
        data.Augmented(mnist.train.epochs(BATCH_SIZE, seed=seed), shift=shift),
        mnist.loss,
        optimizer=torch.optim.AdamW(model.parameters(), lr=2e-3),
        epochs=epochs,
        schedule=cosine(n_steps, warmup=n_steps // 20),
        callbacks=[evaluate, watching] if watched else [evaluate],
        checkpoint=Checkpoint(checkpoint, configuration={"batch size": BATCH_SIZE}) if checkpoint else None,
        seed=seed,
    )
    if watched:
        watching.result.save(watched)
    return model, history


def main() -> None:
    """Train, examine, report."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--epochs", type=int, default=3)
    options.add_argument("--shift", type=int, default=0, help="move each image by up to so many pixels at random")
    options.add_argument("--seed", type=int, default=0)
    options.add_argument("--threads", type=int, default=1, help="more threads take less time but more CPU time")
    options.add_argument("--checkpoint", type=Path, help="save here after each epoch, and go on from here")
    options.add_argument("--watch", type=Path, metavar="FILE.html", help="measure it while it trains, and write this")
    options.add_argument("--report", type=Path, default=Path("mnist-report.html"))
    chosen = options.parse_args()
    if min(chosen.epochs, chosen.threads) < 1:
        options.error("--epochs and --threads are numbers of at least 1")

    torch.set_num_threads(chosen.threads)
    mnist = data.load("mnist")
    before = time.process_time()
    model, history = train(mnist, chosen.epochs, chosen.shift, chosen.seed, chosen.checkpoint, chosen.watch)
    seconds = time.process_time() - before

    subject = deepscope.Subject(model, data=mnist.test.batches(), loss=mnist.loss)
    deepscope.examine(subject).save(chosen.report)
    result = {
        "test_accuracy": history.curve("test_accuracy")[-1],
        "cpu_seconds": round(seconds, 1),
        "epochs": chosen.epochs,
        "shift": chosen.shift,
        "report": str(chosen.report),
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
