"""Plain and residual networks of any depth: perceptrons without, convolutional ones with batch normalisation."""

from __future__ import annotations

import copy
import math

import torch
from torch import Tensor, nn

from deepscope.core import Case, UsageError, nearest
from deepscope.models import ResidualBlock, ResNet
from deepscope.studies.loss_landscape._skip_networks import TwoLayers, deep_network
from deepscope.subject import seeded_generators

#: Kind of network, whether with skip connections.
ARMS = {"plain": False, "residual": True, "unscaled": True, "looks-linear": False}


def build_network(case: Case, image: Tensor, n_classes: int, seed: int) -> nn.Module:
    """Return an untrained network of ``case.depth`` layers with weights, for images like the one given.

    *Perceptrons* are those of ``deep_network``; ``"plain"`` and ``"residual"`` ones of a seed have the same weights.
    In ``"unscaled"`` ones a branch counts 1, not 1/√(number of pairs). ``"looks-linear"`` ones are plain with other
    weights: see ``look_linear``. *Convolutional* ones are ``ResNet`` with three stages of ``width``, 2 ``width`` and
    4 ``width`` channels, with and without its shortcuts.

    Parameters
    ----------
    case
        Its ``family``, ``arm``, ``depth`` and ``width``.
    image
        [channels, height, width].
    n_classes
        Number of logits.
    seed
        Of the weights.

    Raises
    ------
    UsageError
        An unknown family or arm; a depth that the family does not have; an odd width of a looks-linear network.
    """
    if case.arm not in ARMS:
        raise UsageError("unknown arm", where=str(case.arm), todo=nearest(str(case.arm), ARMS))
    if case.family == "convolutional":
        return _convolutional(case, len(image), n_classes, seed)
    if case.family != "perceptron":
        families = ("convolutional", "perceptron")
        raise UsageError("unknown family", where=str(case.family), todo=nearest(str(case.family), families))
    generator = torch.Generator().manual_seed(seed)
    model = deep_network(image.numel(), case.depth, case.width, n_classes, skip=ARMS[case.arm], generator=generator)
    if case.arm == "unscaled":
        for pair in pairs_of(model):
            pair.scale = 1.0
    elif case.arm == "looks-linear":
        look_linear(model, generator)
    return model


def _convolutional(case: Case, in_channels: int, n_classes: int, seed: int) -> ResNet:
    blocks, rest = divmod(case.depth - 2, 6)
    if rest or blocks < 1 or case.arm not in ("plain", "residual"):
        raise UsageError(
            f"a convolutional {case.arm} network of {case.depth} layers",
            where="depth",
            todo="Give 6 n + 2 layers, n ≥ 1, plain or residual.",
        )
    width = case.width
    with seeded_generators(seed):
        return ResNet(
            [blocks] * 3,
            (width, 2 * width, 4 * width),
            residual=ARMS[case.arm],
            in_channels=in_channels,
            classes=n_classes,
        )


def pairs_of(model: nn.Module) -> list[TwoLayers]:
    """Return the pairs of layers in the middle of a perceptron, from the first on."""
    return [module for module in model.modules() if isinstance(module, TwoLayers)]


@torch.no_grad()
def look_linear(model: nn.Module, generator: torch.Generator) -> None:
    """Give a plain rectifier network weights with which it starts as an isometry (``balduzzi2017shattered``).

    Units come in pairs that see the same with opposite signs: a layer is [[Q, −Q], [−Q, Q]], the first one [Q, −Q]ᵀ,
    the last one [Q, −Q], with Q random orthogonal. As relu(z) − relu(−z) = z the network is the product of all Q, and
    |relu(z)|² + |relu(−z)|² = |z|².

    Raises
    ------
    UsageError
        An odd number of units in a hidden layer.
    """
    layers = [module for module in model.modules() if isinstance(module, nn.Linear)]
    for layer in layers:
        rows, cols = layer.weight.shape
        first, last = layer is layers[0], layer is layers[-1]
        if (rows % 2 and not last) or (cols % 2 and not first):
            raise UsageError(
                f"a layer of {cols} inputs and {rows} units", where="look_linear", todo="Give an even width."
            )
        q = torch.empty(rows if last else rows // 2, cols if first else cols // 2)
        nn.init.orthogonal_(q, generator=generator)
        beside = q if first else torch.cat([q, -q], dim=1)
        layer.weight.copy_(beside if last else torch.cat([beside, -beside]))


def without_branches(model: nn.Module) -> nn.Module:
    """Return a copy of a residual network in which only the skip connections are left: y = relu(S(x)) in each block."""
    found = copy.deepcopy(model)
    for module in found.modules():
        if isinstance(module, TwoLayers):
            module.scale = 0.0
        elif isinstance(module, ResidualBlock):
            for parameter in module.branch[-1].parameters():
                nn.init.zeros_(parameter)
    return found


def states(model: nn.Sequential, x: Tensor) -> list[Tensor]:
    """Return what a perceptron makes of its inputs after its first layer and after each pair, [n, width] each."""
    h: Tensor = model[:3](x)
    found = [h]
    for pair in pairs_of(model):
        h = pair(h)
        found.append(h)
    return found


def similarity(h: Tensor) -> float:
    """Return the mean cosine between the rows of [n, width], over all pairs of two different ones.

    Rows of zeros are at a right angle to all.

    Examples
    --------
    >>> similarity(torch.tensor([[1.0, 0.0], [2.0, 0.0], [0.0, 1.0]]))
    0.333...
    """
    unit = nn.functional.normalize(h.double(), dim=1)
    n = len(unit)
    return ((unit.sum(dim=0).square().sum() - unit.square().sum()) / (n * (n - 1))).item()


@torch.no_grad()
def responses(model: nn.Sequential, x: Tensor) -> list[float]:
    """Return for each pair of a perceptron the standard deviation of what it computes, over inputs and units.

    That is W₂ relu(W₁ h + b₁) + b₂, times what it counts where there are skip connections.
    """
    pairs = pairs_of(model)
    found = []
    for pair, h in zip(pairs, states(model, x), strict=False):
        branch = pair.second(torch.relu(pair.first(h)))
        found.append((1.0 if pair.scale is None else pair.scale) * branch.std(correction=0).item())
    return found


def growth(found: list[Tensor]) -> float | None:
    """Return log₂ of the factor by which the mean square of the states grows per pair; None where one of them is 0.

    Examples
    --------
    >>> growth([torch.ones(2, 3), 2 * torch.ones(2, 3), 4 * torch.ones(2, 3)])
    2.0
    """
    first, last = (h.double().square().mean().item() for h in (found[0], found[-1]))
    return (math.log2(last) - math.log2(first)) / (len(found) - 1) if first > 0 < last else None
