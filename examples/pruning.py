"""Prune LeNet-300-100 to a ninth of its weights (Han et al. 2015), and ask whether that costs accuracy on MNIST.

Run it from the repository: ``python examples/pruning.py``. With each seed a network is trained; from there one copy is
pruned step by step by the magnitude of its weights and trained on, and two others train on for as long: one that keeps
all weights, and one that keeps a ninth at random places. Prints one JSON object: test accuracies, what pruning costs
against the dense network with its standard error over the seeds, and what it costs without training on.
"""

from __future__ import annotations

import argparse
import copy
import json
import statistics
import time
from collections.abc import Sequence

import torch

from deepscope import data
from deepscope.models import MLP
from deepscope.training import (
    Callback,
    GradualPruning,
    KeepMasks,
    apply_masks,
    cosine,
    evaluate,
    fit,
    geometric_sparsity,
    magnitudes,
    pruning_masks,
    remaining,
    shuffled_masks,
)

BATCH_SIZE, RATE, TIMES, PRUNINGS = 64, 1e-3, 9, 7


def train(model: MLP, mnist: data.Dataset, epochs: int, seed: int, callbacks: Sequence[Callback] = ()) -> float:
    """Train, and return the accuracy on the test part."""
    fit(
        model,
        mnist.train.epochs(BATCH_SIZE, seed=seed),
        mnist.loss,
        optimizer=torch.optim.Adam(model.parameters(), lr=RATE),
        epochs=epochs,
        schedule=cosine(epochs * len(mnist.train.batches(BATCH_SIZE))),
        callbacks=callbacks,
        seed=seed,
    )
    return accuracy(model, mnist)


def accuracy(model: MLP, mnist: data.Dataset) -> float:
    """Return the share of the test images that are classified rightly."""
    found = evaluate(model, mnist.test.batches()).accuracy
    assert found is not None
    return found


def compared(mnist: data.Dataset, epochs: int, seed: int) -> dict[str, float]:
    """Return the accuracies with one seed."""
    torch.manual_seed(seed)
    dense = MLP(28 * 28, (300, 100), 10)
    found = {"trained": train(dense, mnist, epochs, seed)}
    at_once = pruning_masks(magnitudes(dense), 1 - 1 / TIMES)
    models = {name: copy.deepcopy(dense) for name in ("dense", "pruned", "random", "untrained")}
    # The last pruning is made half-way, so that as much training follows.
    every = epochs * len(mnist.train.batches(BATCH_SIZE)) // (2 * PRUNINGS)
    pruning = GradualPruning(geometric_sparsity(1 - 1 / TIMES, every=every, prunings=PRUNINGS), scope="network")
    found["dense"] = train(models["dense"], mnist, epochs, seed + 1)
    found["pruned"] = train(models["pruned"], mnist, epochs, seed + 1, [pruning])
    places = shuffled_masks(pruning.masks, generator=torch.Generator().manual_seed(seed))
    found["random"] = train(models["random"], mnist, epochs, seed + 1, [KeepMasks(places)])
    apply_masks(models["untrained"], at_once)
    found["untrained"] = accuracy(models["untrained"], mnist)
    return {**found, "remaining": remaining(pruning.masks)}


def main() -> None:
    """Train, prune, compare."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--seeds", type=int, default=5)
    options.add_argument("--epochs", type=int, default=6, help="of the first training, and as many after it")
    options.add_argument("--threads", type=int, default=1)
    chosen = options.parse_args()
    if min(chosen.seeds, chosen.epochs, chosen.threads) < 1:
        options.error("--seeds, --epochs and --threads are numbers of at least 1")
    torch.set_num_threads(chosen.threads)
    mnist = data.load("mnist")
    before = time.process_time()
    runs = [compared(mnist, chosen.epochs, 10 * seed) for seed in range(chosen.seeds)]
    costs = [run["dense"] - run["pruned"] for run in runs]
    result = {
        "accuracy": {name: round(statistics.fmean(run[name] for run in runs), 5) for name in runs[0]},
        "cost": round(statistics.fmean(costs), 5),
        "standard_error": round(statistics.stdev(costs) / len(costs) ** 0.5, 5) if len(costs) > 1 else None,
        "seeds": chosen.seeds,
        "epochs": chosen.epochs,
        "cpu_seconds": round(time.process_time() - before, 1),
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
