"""What ``symmetry`` says of networks that learnt a symmetry, and how often of networks that learnt nothing."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from deepscope.data import load
from deepscope.instruments import Symmetry, symmetry
from deepscope.subject import Subject, seeded_generators

pytestmark = pytest.mark.verify


def convolutional() -> nn.Module:
    first = [nn.Conv2d(1, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(), nn.MaxPool2d(2)]
    second = [nn.Conv2d(16, 32, 3, padding=1), nn.BatchNorm2d(32), nn.ReLU(), nn.MaxPool2d(2)]
    return nn.Sequential(*first, *second, nn.Flatten(), nn.Linear(32 * 9, 10))


def digits(split: str) -> tuple[Tensor, Tensor]:
    samples = getattr(load("digits"), split)
    return functional.pad(samples.inputs.reshape(-1, 1, 8, 8), (2, 2, 2, 2)), samples.targets


def trained(augmentation: str) -> Symmetry:
    x, y = digits("train")
    held_out = digits("test")
    with seeded_generators(0):
        model = convolutional()
        optimiser = torch.optim.Adam(model.parameters(), 3e-3)
        for _ in range(300):
            chosen = torch.randint(0, len(x), (64,))
            pictures = x[chosen]
            if augmentation == "shifts":
                pictures = pictures.roll(torch.randint(-3, 4, (2,)).tolist(), (2, 3))
            if augmentation == "turns":
                pictures = pictures.rot90(int(torch.randint(0, 4, ())), (2, 3))
            optimiser.zero_grad()
            functional.cross_entropy(model(pictures), y[chosen]).backward()
            optimiser.step()
    return symmetry(Subject(model, [held_out]), networks=8)


@pytest.mark.parametrize(
    ("augmentation", "learnt"), [("", set()), ("shifts", {"translations"}), ("turns", {"rotations"})]
)
def test_a_network_learns_the_symmetry_that_its_data_show(augmentation: str, learnt: set[str]) -> None:
    reading = trained(augmentation)
    for family in reading.families:
        if family.name in learnt:
            assert family.output.against_baseline == "more"
            # Hardly a sixth of the distance of random weights, whose shifts and turns are other samples to them.
            assert family.output.value < family.output.baseline / 6
        elif family.name in ("translations", "rotations"):
            assert family.output.value > family.output.baseline / 2
    assert all(finding.severity == "note" for finding in reading.findings())


def fresh(seed: int) -> tuple[nn.Module, Tensor]:
    with seeded_generators(seed):
        if seed % 2:
            return nn.Sequential(
                nn.Linear(6, 24), nn.ReLU(), nn.Linear(24, 24), nn.Tanh(), nn.Linear(24, 3)
            ), torch.randn(48, 6)
        head = [nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(24, 3)]
        return nn.Sequential(nn.Conv2d(1, 6, 3, padding=1), nn.ReLU(), nn.Conv2d(6, 6, 3), *head), torch.randn(
            48, 1, 8, 8
        )


def test_fresh_networks_are_hardly_ever_told_from_random_ones() -> None:
    told = []
    for seed in range(60):
        model, x = fresh(seed)
        reading = symmetry(Subject(model, [(x, None)]), networks=4, generator=torch.Generator().manual_seed(seed))
        told += [family.output.against_baseline != "" for family in reading.families]
        assert all(finding.severity == "note" for finding in reading.findings())
    # Outside a 95 % interval by more than its own error: below 5 %, and three standard errors of 180 alike.
    assert np.mean(told) < 0.05 + 3 * np.sqrt(0.05 * 0.95 / 180)
