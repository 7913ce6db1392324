"""Feed-forward models under all instruments: not one fails."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from contract import examined
from torch import Tensor, nn

from deepscope.models import (
    GMDH,
    HyperConv2d,
    HyperLSTM,
    HyperNetwork,
    KernelGenerator,
    Maxout,
    MaxoutNetwork,
    MixerBlock,
    MixtureOfExperts,
    MLPMixer,
    Perceptron,
    QuadraticUnits,
    RandomFeatureModel,
    RandomFourierFeatures,
    RandomReLUFeatures,
    SelfNormalisingNetwork,
    SparseMixture,
    ThresholdNetwork,
)

pytestmark = pytest.mark.verify


def small_mixer() -> MLPMixer:
    mixer = MLPMixer(8, 4, in_channels=1, channels=8, num_layers=2, token_width=6, channel_width=12, classes=3)
    # Its logits begin at 0, and would be no function of the input.
    nn.init.normal_(mixer.output.weight, std=0.3)
    return mixer


def taught() -> Perceptron:
    perceptron = Perceptron(6, 2)
    inputs = torch.randn(30, 6)
    perceptron.fit(inputs, torch.where(torch.randn(30, 2) > 0, 1, -1), passes=3)
    return perceptron


def taught_mixture() -> SparseMixture:
    mixture = SparseMixture(6, 8, experts=4, active=2)
    nn.init.normal_(mixture.gate.weight)
    return mixture


MODELS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "gmdh": (lambda: GMDH(4, (((0, 1), (1, 2)), ((4, 3), (4, 5)))), (4,)),
    "hyperconvolution": (lambda: HyperConv2d(KernelGenerator(2, 1, 2, 3), in_blocks=2), (2, 4, 4)),
    "hyperlstm": (lambda: HyperLSTM(3, 6, hyper_size=4, embedding_size=2), (5, 3)),
    "hypernetwork": (HyperNetwork, (1, 28, 28)),
    "maxout": (lambda: Maxout(6, 4, pieces=3), (6,)),
    "maxout-network": (lambda: MaxoutNetwork(6, (8, 8), 3, pieces=3), (6,)),
    "mixer": (small_mixer, (1, 8, 8)),
    "mixer-block": (lambda: MixerBlock(4, 6, token_width=5, channel_width=7), (4, 6)),
    "mixture-of-experts": (lambda: MixtureOfExperts(hidden=(4,)), (2,)),
    "perceptron": (taught, (6,)),
    "quadratic-units": (lambda: QuadraticUnits([(0, 1), (2, 1)]), (3,)),
    "random-fourier-features": (lambda: RandomFeatureModel(RandomFourierFeatures(6, 20, bandwidth=2.0), 3), (6,)),
    "random-relu-features": (lambda: RandomFeatureModel(RandomReLUFeatures(6, 20), 3), (6,)),
    "self-normalising": (lambda: SelfNormalisingNetwork(6, (8,) * 3, 3, dropout=0.1), (6,)),
    "sparse-mixture-taught": (taught_mixture, (6,)),
    "sparse-mixture": (lambda: SparseMixture(6, 8, experts=4, active=2), (6,)),
    "threshold-network": (lambda: ThresholdNetwork(6, 8, 3), (6,)),
}


@pytest.mark.parametrize("name", MODELS)
def test_every_instrument_measures_it_or_says_why_not(name: str) -> None:
    torch.manual_seed(0)
    build, shape = MODELS[name]
    model, inputs = build(), torch.randn(12, *shape, generator=torch.Generator().manual_seed(1))
    before: list[Tensor] = [parameter.detach().clone() for parameter in model.parameters()]
    examined(model, inputs)
    assert all(torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))
