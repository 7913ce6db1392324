"""Train ResNet-20 on the photographs of CIFAR-10, with the augmentation of its paper and a short schedule.

Run it from the repository: ``python examples/cifar10.py``. The paper trains for 64,000 steps of 128 photographs and
reaches 91.25 %; here the schedule is a thirteenth of that and the products are taken in bfloat16, so that it ends
within an hour. A run that was stopped goes on from its checkpoint. It prints one JSON object.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import torch

import deepscope
from deepscope import data
from deepscope.models import resnet20
from deepscope.training import Checkpoint, Evaluate, cosine, fit

BATCH_SIZE, RATE = 128, 0.2
#: Mean and standard deviation of the channels over all training photographs.
MEAN, DEVIATION = (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)


def standardised(samples: data.Samples) -> data.Samples:
    """Return the photographs with channels of mean 0 and variance 1: augmentation then fills in the mean colour."""
    mean, deviation = (torch.tensor(each).view(3, 1, 1) for each in (MEAN, DEVIATION))
    return data.Samples((samples.inputs - mean) / deviation, samples.targets, samples.name)


def main() -> None:
    """Train, examine, report."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--epochs", type=int, default=12)
    options.add_argument("--seed", type=int, default=0)
    options.add_argument("--threads", type=int, default=1, help="more threads take less time but more CPU time")
    options.add_argument("--checkpoint", type=Path, help="save here after each epoch, and go on from here")
    options.add_argument("--report", type=Path, default=Path("cifar10-report.html"))
    chosen = options.parse_args()
    if min(chosen.epochs, chosen.threads) < 1:
        options.error("--epochs and --threads are numbers of at least 1")

    torch.set_num_threads(chosen.threads)
    cifar = data.load("cifar10")
    train, test = standardised(cifar.train), standardised(cifar.test)
    epochs = data.Augmented(train.epochs(BATCH_SIZE, seed=chosen.seed), shift=4, mirror=True)
    steps = chosen.epochs * len(epochs(0))
    torch.manual_seed(chosen.seed)
    # Convolutions take half of the time where the channels of a pixel lie side by side.
    model = resnet20().to(memory_format=torch.channels_last)
    exact = model.forward
    model.forward = torch.autocast("cpu", torch.bfloat16)(exact)
    wall, cpu = time.perf_counter(), time.process_time()
    history = fit(
        model,
        epochs,
        cifar.loss,
        optimizer=torch.optim.SGD(model.parameters(), lr=RATE, momentum=0.9, weight_decay=5e-4, nesterov=True),
        epochs=chosen.epochs,
        schedule=cosine(steps, warmup=steps // 10),
        callbacks=[Evaluate(test.batches(500), cifar.loss)],
        checkpoint=Checkpoint(chosen.checkpoint, configuration={"batch size": BATCH_SIZE})
        if chosen.checkpoint
        else None,
        seed=chosen.seed,
    )
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    model.forward = exact
    deepscope.examine(deepscope.Subject(model, data=test.batches(500), loss=cifar.loss)).save(chosen.report)
    result = {
        "test_accuracy": history.curve("test_accuracy")[-1],
        "epochs": chosen.epochs,
        "cpu_seconds": round(cpu, 1),
        "wall_seconds": round(wall, 1),
        "threads": chosen.threads,
        "report": str(chosen.report),
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
