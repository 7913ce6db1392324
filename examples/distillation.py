"""Distil a large network with dropout into a smaller one (Hinton, Vinyals & Dean 2015) on MNIST.

Run it from the repository: ``python examples/distillation.py``. The teacher has two layers of 1,200 units with dropout
and sees the images moved by up to two pixels. The students have two layers of 800 units, no dropout, and see the images
as they are: one learns from the labels, one from the teacher's softened probabilities as well, both from the same
weights and batches. Prints one JSON object: test errors, and how much of the gap to the teacher is closed.

How long to train was chosen on the last 10,000 training images, kept from training; with ``--epochs 5`` nothing was
closed on the test part.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import torch
from torch import nn

from deepscope import data
from deepscope.models import MLP
from deepscope.training import Checkpoint, DistillationLoss, cosine, evaluate, fit, with_teacher

BATCH_SIZE, RATE, SHIFT = 128, 1e-3, 2
TEMPERATURE, SOFT_WEIGHT = 20.0, 0.9


def make_teacher() -> nn.Module:
    """Return the teacher, not yet trained."""
    return nn.Sequential(
        nn.Flatten(),
        *(nn.Dropout(0.2), nn.Linear(28 * 28, 1200), nn.ReLU()),
        *(nn.Dropout(0.5), nn.Linear(1200, 1200), nn.ReLU()),
        *(nn.Dropout(0.5), nn.Linear(1200, 10)),
    )


def train(
    model: nn.Module,
    batches: Callable[[int], Iterable[Any]],
    loss: Callable[..., torch.Tensor],
    *,
    steps: int,
    epochs: int,
    seed: int,
    checkpoint: Checkpoint | None = None,
) -> None:
    """Train with Adam and a rate that falls to 0."""
    fit(
        model,
        batches,
        loss,
        optimizer=torch.optim.Adam(model.parameters(), lr=RATE),
        epochs=epochs,
        schedule=cosine(steps * epochs),
        seed=seed,
        checkpoint=checkpoint,
    )


def errors(model: nn.Module, mnist: data.Dataset) -> int:
    """Return how many test images are classified wrongly."""
    found = evaluate(model, mnist.test.batches())
    assert found.accuracy is not None
    return round((1 - found.accuracy) * found.n)


def main() -> None:
    """Train the teacher, then pairs of students."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--seeds", type=int, default=3, help="pairs of students")
    options.add_argument("--epochs", type=int, default=30, help="of each student; the teacher is trained twice as long")
    options.add_argument("--threads", type=int, default=1)
    options.add_argument("--checkpoint", type=Path, help="save the teacher here after each epoch, and go on from here")
    chosen = options.parse_args()
    if min(chosen.seeds, chosen.epochs, chosen.threads) < 1:
        options.error("--seeds, --epochs and --threads are numbers of at least 1")
    torch.set_num_threads(chosen.threads)
    mnist = data.load("mnist")
    steps = len(mnist.train.batches(BATCH_SIZE))
    before = time.process_time()
    torch.manual_seed(0)
    teacher = make_teacher()
    moved = data.Augmented(mnist.train.epochs(BATCH_SIZE, seed=0), shift=SHIFT)
    checkpoint = Checkpoint(chosen.checkpoint) if chosen.checkpoint else None
    train(teacher, moved, mnist.loss, steps=steps, epochs=2 * chosen.epochs, seed=0, checkpoint=checkpoint)
    taught = errors(teacher, mnist)
    hard, soft = [], []
    for seed in range(chosen.seeds):
        images = mnist.train.epochs(BATCH_SIZE, seed=seed)
        arms = (
            (hard, images, mnist.loss),
            (soft, with_teacher(images, teacher), DistillationLoss(TEMPERATURE, SOFT_WEIGHT)),
        )
        for found, batches, loss in arms:
            torch.manual_seed(seed)
            student = MLP(28 * 28, (800, 800), 10)
            train(student, batches, loss, steps=steps, epochs=chosen.epochs, seed=seed)
            found.append(errors(student, mnist))
    gap = statistics.fmean(hard) - taught
    result = {
        "errors": {"teacher": taught, "labels": hard, "distilled": soft},
        "gap_closed": round((statistics.fmean(hard) - statistics.fmean(soft)) / gap, 3) if gap > 0 else None,
        "epochs": chosen.epochs,
        "cpu_seconds": round(time.process_time() - before, 1),
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
