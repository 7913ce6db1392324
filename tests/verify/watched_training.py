"""A watched training without an end, for tests that kill it; says each step when the watch has been told."""

from __future__ import annotations

import torch
from torch import nn

import deepscope


def main() -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    x = torch.randn(64, 5)
    y = x[:, :3].argmax(1)
    model = nn.Sequential(nn.Linear(5, 16), nn.Tanh(), nn.Linear(16, 3))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with deepscope.watch(
        model,
        [(x, y)],
        nn.functional.cross_entropy,
        every=2,
        overhead=1e9,
        optimizer=optimizer,
        probes=["loss", "weights"],
    ) as watching:
        step = 0
        while True:
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(model(x), y)
            loss.backward()
            optimizer.step()
            step += 1
            watching.step(loss)
            print(step, flush=True)


if __name__ == "__main__":
    main()
