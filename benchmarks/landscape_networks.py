"""The networks and data of the landscape benchmark, the same in both environments."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

SAMPLES, STEPS = 1000, 60
NETWORKS = ("mlp", "cnn")


def data(samples: int = SAMPLES) -> tuple[torch.Tensor, torch.Tensor]:
    """Return MNIST-shaped images, and labels that a random linear map gives them."""
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(samples, 1, 28, 28, generator=generator)
    teacher = torch.randn(784, 10, generator=generator)
    return images, (images.flatten(1) @ teacher).argmax(1)


def network(name: str, samples: int = SAMPLES) -> nn.Module:
    """Return a multilayer perceptron 784-256-256-10 or a convolutional one of 93,322 parameters, trained 60 steps."""
    torch.manual_seed(0)
    if name == "mlp":
        layers = [nn.Flatten(), nn.Linear(784, 256), nn.ReLU(), nn.Linear(256, 256), nn.ReLU(), nn.Linear(256, 10)]
    else:
        layers = []
        for inputs, outputs in ((1, 32), (32, 64), (64, 64)):
            layers += [nn.Conv2d(inputs, outputs, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)]
        layers += [nn.Flatten(), nn.Linear(576, 64), nn.ReLU(), nn.Linear(64, 10)]
    model = nn.Sequential(*layers)
    images, labels = data(samples)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    for step in range(STEPS):
        batch = slice(step * 100 % samples, step * 100 % samples + 100)
        optimizer.zero_grad()
        functional.cross_entropy(model(images[batch]), labels[batch]).backward()
        optimizer.step()
    return model.eval()
