"""Tell a network that has learnt its labels from one that has learnt random ones, by what instruments measure.

Run it from the repository: ``python examples/shuffled_labels.py``. LeNet-5 is trained on 1,000 images of MNIST until it
knows them, with their labels and with labels in random order, five times each. What `representation`, `information`
and `topology` say of its last hidden layer is measured on 1,000 images that no network has seen, with their true
labels. The null of each is how far two networks of the same kind, from other seeds, lie apart. It prints one JSON
object.
"""

from __future__ import annotations

import argparse
import json
from itertools import combinations
from typing import Any

import numpy as np
import torch
from scipy.stats import t as student

from deepscope import Subject, data
from deepscope.instruments import information, representation, topology
from deepscope.models import LeNet
from deepscope.training import cosine, fit

IMAGES, EPOCHS, SEEDS = 1000, 40, 5
#: The last hidden layer of LeNet-5.
LAYER = "activation4"


def train(mnist: data.Dataset, seed: int, *, shuffled: bool, epochs: int) -> tuple[LeNet, float]:
    """Return a network that was trained on the first images, and its accuracy on them."""
    generator = torch.Generator().manual_seed(seed)
    ((images, labels),) = first(mnist.train.batches(IMAGES))
    if shuffled:
        labels = labels[torch.randperm(IMAGES, generator=generator)]
    torch.manual_seed(seed)
    model = LeNet(activation="relu")
    batches = list(zip(images.split(50), labels.split(50), strict=True))
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3)
    steps = epochs * len(batches)
    schedule = cosine(steps, warmup=steps // 20)
    fit(model, lambda _: batches, mnist.loss, optimizer=optimizer, epochs=epochs, schedule=schedule, seed=seed)
    with torch.no_grad():
        right = (model.eval()(images).argmax(1) == labels).float().mean()
    return model, float(right)


def first(batches: Any) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Return the first batch alone."""
    return [next(iter(batches))]


def measures(subject: Subject) -> dict[str, float]:
    """Return one number of each instrument's, at the last hidden layer."""
    generator = torch.Generator().manual_seed(0)
    rows = {
        "representation": representation(subject, layers=[LAYER], generator=generator).table(),
        "information": information(subject.only(LAYER), generator=generator).table(),
        "topology": topology(subject.only(LAYER), 1000, generator=generator).table(),
    }
    return {name: float(table.set_index("name").loc[LAYER, COLUMNS[name]]) for name, table in rows.items()}


COLUMNS = {"representation": "probe_accuracy", "information": "labels_ksg", "topology": "over_groups_0"}


def compared(true: list[float], shuffled: list[float]) -> dict[str, Any]:
    """Return the mean difference with its 95 % interval over seeds, beside the differences within a kind."""
    differences = np.array(true) - np.array(shuffled)
    half = float(student.ppf(0.975, len(differences) - 1) * differences.std(ddof=1) / np.sqrt(len(differences)))
    mean = float(differences.mean())
    within = max(abs(a - b) for kind in (true, shuffled) for a, b in combinations(kind, 2))
    apart = abs(mean) > half and abs(mean) > within
    return {
        "true_labels": true,
        "shuffled_labels": shuffled,
        "difference": mean,
        "difference_low": mean - half,
        "difference_high": mean + half,
        "largest_within_a_kind": within,
        "separates": bool(apart),
    }


def main() -> None:
    """Train, measure, compare."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--epochs", type=int, default=EPOCHS)
    options.add_argument("--seeds", type=int, default=SEEDS)
    options.add_argument("--threads", type=int, default=1, help="more threads take less time but more CPU time")
    chosen = options.parse_args()
    if min(chosen.epochs, chosen.threads) < 1 or chosen.seeds < 2:
        options.error("--epochs and --threads are numbers of at least 1, --seeds of at least 2")
    torch.set_num_threads(chosen.threads)
    mnist = data.load("mnist")
    unseen = first(mnist.test.batches(IMAGES))
    found: dict[str, dict[bool, list[float]]] = {name: {False: [], True: []} for name in COLUMNS}
    accuracies: dict[bool, list[float]] = {False: [], True: []}
    for seed in range(chosen.seeds):
        for shuffled in (False, True):
            # Labels in random order take longer to know by heart.
            epochs = chosen.epochs * (4 if shuffled else 1)
            model, accuracy = train(mnist, seed, shuffled=shuffled, epochs=epochs)
            accuracies[shuffled].append(accuracy)
            for name, value in measures(Subject(model, unseen, mnist.loss)).items():
                found[name][shuffled].append(value)
    instruments = {
        name: {"statistic": f"{COLUMNS[name]} of {LAYER}", **compared(values[False], values[True])}
        for name, values in found.items()
    }
    training = {"true_labels": accuracies[False], "shuffled_labels": accuracies[True]}
    print(json.dumps({"training_accuracy": training, **instruments}))


if __name__ == "__main__":
    main()
