"""Tell what papers are about from 140 known ones and who cites whom: a graph convolutional network on Cora.

Run it from the repository: ``python examples/cora.py``. The protocol is Kipf's and Welling's (2017): the public split,
two layers with 16 hidden units, dropout of a half, 200 epochs of Adam at 0.01 with a weight decay of 5e-4 on the first
layer. Every seed draws its own weights and dropout. It prints one JSON object: the share of the 1,000 test papers whose
field is found after the last epoch, the mean over the seeds with their deviation; and what the same network finds
without citations.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time

import torch
from torch import Tensor

from deepscope import data
from deepscope.models import GCN, OnGraph
from deepscope.training import fit


def accuracy(model: OnGraph, samples: data.Samples) -> float:
    """Return the share of a part's papers whose class has the highest logit."""
    model.eval()
    with torch.no_grad():
        found = model(samples.inputs).argmax(-1)
    counted = samples.targets != data.IGNORED
    return float((found == samples.targets)[counted].double().mean())


def trained(cora: data.GraphDataset, edges: Tensor, seed: int, epochs: int) -> OnGraph:
    """Train a network on the graph with these edges."""
    torch.manual_seed(seed)
    network = GCN(cora.train.inputs.shape[-1], len(cora.classes))
    first, second = network.layers
    optimizer = torch.optim.Adam(
        [{"params": first.parameters(), "weight_decay": 5e-4}, {"params": second.parameters()}], lr=0.01
    )
    model = OnGraph(network, edges)
    fit(model, cora.train.epochs(1, seed=seed), cora.loss, optimizer=optimizer, epochs=epochs, seed=seed)
    return model


def main() -> None:
    """Train with several seeds, and once without the graph."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--seeds", type=int, default=10)
    options.add_argument("--epochs", type=int, default=200)
    options.add_argument("--threads", type=int, default=1)
    chosen = options.parse_args()
    torch.set_num_threads(chosen.threads)
    cora = data.load("cora")
    assert isinstance(cora, data.GraphDataset)
    before = time.process_time()
    seeds = range(chosen.seeds)
    found = [accuracy(trained(cora, cora.edges, seed, chosen.epochs), cora.test) for seed in seeds]
    alone = accuracy(trained(cora, cora.edges[:, :0], 0, chosen.epochs), cora.test)
    result = {
        "test_accuracy": round(statistics.fmean(found), 4),
        "deviation": round(statistics.stdev(found), 4) if len(found) > 1 else None,
        "seeds": [round(each, 4) for each in found],
        "without_citations": round(alone, 4),
        "epochs": chosen.epochs,
        "cpu_seconds": round(time.process_time() - before, 1),
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
