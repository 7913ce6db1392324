"""Make the how-to's figure: full-batch gradient descent on handwritten digits, watched up to the edge of stability.

.venv/bin/python docs/watch.py
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from unittest.mock import patch

import torch
from torch import Tensor, nn

import deepscope
from deepscope import data
from deepscope.figures import to_svg

LEARNING_RATE, STEPS, SAMPLES = 0.1, 1500, 500
PICTURE = Path(__file__).parent / "images" / "watch.svg"


def squared_error(outputs: Tensor, targets: Tensor) -> Tensor:
    """Return the mean over samples of half the squared distance from the class's unit vector."""
    return 0.5 * (outputs - nn.functional.one_hot(targets, 10)).square().sum(dim=1).mean()


def main() -> None:
    """Train by plain gradient descent, watch, draw."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    [(images, labels)] = list(data.load("digits").train.batches(2000))
    inputs = images[:SAMPLES].flatten(1)
    batch = ((inputs - inputs.mean()) / inputs.std(), labels[:SAMPLES])
    model = nn.Sequential(nn.Linear(64, 48), nn.Tanh(), nn.Linear(48, 48), nn.Tanh(), nn.Linear(48, 10))
    optimizer = torch.optim.SGD(model.parameters(), lr=LEARNING_RATE)
    watching = deepscope.watch(
        model,
        [batch],
        squared_error,
        every=20,
        overhead=1e6,
        optimizer=optimizer,
        probes=["loss", "curvature", "kernel"],
    )
    with tempfile.TemporaryDirectory() as home, patch.dict("os.environ", DEEPSCOPE_HOME=home), watching:
        for _ in range(STEPS):
            optimizer.zero_grad()
            loss = squared_error(model(batch[0]), batch[1])
            loss.backward()
            optimizer.step()
            watching.step(loss)
    PICTURE.write_text(to_svg(watching.result.plot(), prefix="watch-"), encoding="utf-8")
    print(watching.result)


if __name__ == "__main__":
    main()
