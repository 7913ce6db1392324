"""The networks on which curvature is measured, by deepscope and by its peers: needs torch alone."""

from __future__ import annotations

import torch
from torch import Tensor, nn

SAMPLES, BATCH, STEPS = 1000, 250, 60


def trained(name: str) -> tuple[nn.Module, list[tuple[Tensor, Tensor]]]:
    """Return a network after 60 steps on 1,000 samples of the shape of MNIST's, and those samples in batches.

    ``"mlp"``: 784-256-256-10, 269,322 parameters; ``"cnn"``: two convolutions with pooling and two layers, 99,550.
    """
    torch.manual_seed(0)
    draw = torch.Generator().manual_seed(1)
    centres = torch.randn(10, 784, generator=draw)
    y = torch.randint(0, 10, (SAMPLES,), generator=draw)
    x = (0.3 * centres[y] + torch.randn(SAMPLES, 784, generator=draw)).clamp(0)
    if name == "mlp":
        model = nn.Sequential(
            nn.Linear(784, 256), nn.ReLU(), nn.Linear(256, 256), nn.ReLU(), nn.Linear(256, 10)
        )  # fmt: skip
    else:
        x = x.view(-1, 1, 28, 28)
        model = nn.Sequential(
            nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(),
            nn.Linear(32 * 49, 60), nn.ReLU(), nn.Linear(60, 10),
        )  # fmt: skip
    optimizer = torch.optim.SGD(model.parameters(), lr=0.02, momentum=0.9)
    for _ in range(STEPS):
        rows = torch.randint(0, SAMPLES, (100,), generator=draw)
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(x[rows]), y[rows]).backward()
        optimizer.step()
    optimizer.zero_grad()
    return model.eval(), [(x[i : i + BATCH], y[i : i + BATCH]) for i in range(0, SAMPLES, BATCH)]
