"""Networks drawn around one solution: in random directions, as its training moved, with dropout, from its past."""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from deepscope.core import Case
from deepscope.studies.generalisation._ensemble_cases import LATE, MEMBERS, SCALES
from deepscope.studies.generalisation._ensemble_networks import Images, Network, Weights, architecture, predict
from deepscope.subject import seeded_generators


def samples(
    method: str, case: Case, images: Images, network: Network, seed: int
) -> Iterator[tuple[float, list[Tensor]]]:
    """Give each scale from small to large, and what four networks drawn at that scale predict.

    Around the last weights θ, with snapshots θ_k after each of the K epochs of the last third, their mean and standard
    deviation by weight σ, and Gaussian z:

    * ``random``: θ + s ‖θ‖ z/‖z‖;
    * ``diagonal``: θ + s σ z;
    * ``low_rank``: θ + s Σ z_k (θ_k − mean) / √(K − 1), the Gaussian of the snapshots' covariance
      (``maddox2019simple``, there around their mean and with a diagonal part);
    * ``dropout``: θ with every hidden unit dropped with probability s, the others scaled up, at every image anew;
    * ``snapshots``: the weights s/4, s/2, 3s/4 and s of the training ago.

    The same z serve at all scales.
    """
    if method == "snapshots":
        return _snapshots(images, network)
    if method == "dropout":
        return _dropped(architecture(case, images, 0.5), images, network, seed)
    return _moved(method, images, network, seed)


def _snapshots(images: Images, network: Network) -> Iterator[tuple[float, list[Tensor]]]:
    epochs, back = len(network.snapshots), MEMBERS - 1
    predicted = [predict(network.model, images.inputs, each) for each in network.snapshots]
    for spacing in range(1, (epochs - 1) // back + 1):
        yield back * spacing / epochs, [predicted[-1 - spacing * step] for step in range(1, MEMBERS)]


def _dropped(model: nn.Module, images: Images, network: Network, seed: int) -> Iterator[tuple[float, list[Tensor]]]:
    for scale in SCALES["dropout"]:
        yield scale, dropout_passes(model, images, network.snapshots[-1], scale, MEMBERS - 1, seed)


def dropout_passes(
    model: nn.Module, images: Images, weights: Weights, probability: float, passes: int, seed: int
) -> list[Tensor]:
    """Return what a network predicts with dropout, pass by pass (``gal2016dropout``)."""
    for layer in model.modules():
        if isinstance(layer, nn.Dropout):
            layer.p = probability
    model.train()
    with seeded_generators(seed):
        return [predict(model, images.inputs, weights) for _ in range(passes)]


def _moved(method: str, images: Images, network: Network, seed: int) -> Iterator[tuple[float, list[Tensor]]]:
    last = network.snapshots[-1]
    centre = _vector(last)
    steps = _steps(method, network, torch.Generator().manual_seed(seed)).to(centre)
    for scale in SCALES[method]:
        yield scale, [predict(network.model, images.inputs, _like(last, centre + scale * step)) for step in steps]


def _steps(method: str, network: Network, generator: torch.Generator) -> Tensor:
    """Return four steps at a scale of 1, [4, parameters]."""
    late = late_snapshots(network)
    if method == "low_rank":
        deviations = late - late.mean(dim=0)
        return torch.randn(MEMBERS - 1, len(late), generator=generator) @ deviations / math.sqrt(len(late) - 1)
    noise = torch.randn(MEMBERS - 1, late.shape[1], generator=generator)
    if method == "diagonal":
        return noise * late.std(dim=0)
    steps: Tensor = noise / torch.linalg.vector_norm(noise, dim=1, keepdim=True) * torch.linalg.vector_norm(late[-1])
    return steps


def late_snapshots(network: Network) -> Tensor:
    """Return the weights after each epoch of the last third, as vectors [epochs, parameters] on the CPU."""
    count = max(2, round(LATE * len(network.snapshots)))
    return torch.stack([_vector(each) for each in network.snapshots[-count:]]).cpu()


def _vector(weights: Weights) -> Tensor:
    return torch.cat([value.flatten() for value in weights.values()])


def _like(weights: Weights, vector: Tensor) -> dict[str, Tensor]:
    pieces = torch.split(vector, [value.numel() for value in weights.values()])
    return {name: piece.view_as(value) for (name, value), piece in zip(weights.items(), pieces, strict=True)}
