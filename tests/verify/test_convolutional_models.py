"""Every instrument that applies measures every convolutional model."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from contract import examined
from torch import Tensor, nn

from deepscope.models import (
    VGG,
    AlexNet,
    CapsNet,
    ComplexMLP,
    ComplexNeuron,
    DenseNet,
    DilatedStack,
    GroupCNN,
    PreActivationResNet,
    QuaternionMLP,
    ResNet,
    WaveNet,
)

pytestmark = pytest.mark.verify

IMAGES = (3, 8, 8)
MODELS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "alexnet": (lambda: AlexNet(image_size=63, channels=(4, 6, 8, 8, 6), hidden_size=16, classes=4), (3, 63, 63)),
    "capsnet": (
        lambda: CapsNet(image_size=17, channels=6, kinds=3, dimensions=4, class_dimensions=5, classes=4),
        (1, 17, 17),
    ),
    "complex mlp": (lambda: ComplexMLP(16, [8, 6], 4), (2, 16)),
    "complex neuron": (ComplexNeuron, (2,)),
    "densenet": (lambda: DenseNet([2, 3], growth=4, first_channels=8, classes=4), IMAGES),
    "densenet recomputed": (
        lambda: DenseNet([2, 3], growth=4, first_channels=8, classes=4, bottleneck=True, recompute=True),
        IMAGES,
    ),
    "dilated stack": (lambda: DilatedStack(3, channels=6, skip_channels=4, dilations=[1, 2]), (9, 3)),
    "p4 cnn": (lambda: GroupCNN("p4", 2, classes=4), (1, 28, 28)),
    "p4m cnn": (lambda: GroupCNN("p4m", 2, classes=4), (1, 28, 28)),
    "plain": (lambda: ResNet([1, 1], [8, 16], classes=4, residual=False), IMAGES),
    "pre-activation": (lambda: PreActivationResNet([1, 1], [8, 16], classes=4), IMAGES),
    "quaternion mlp": (lambda: QuaternionMLP(8, [6, 4], 4), (4, 8)),
    "resnet": (lambda: ResNet([1, 1], [8, 16], classes=4), IMAGES),
    "resnet, bottleneck": (
        lambda: ResNet([1, 1], [16, 32], classes=4, bottleneck=True, projection=True, large_images=True),
        (3, 32, 32),
    ),
    "vgg": (lambda: VGG([1, 2], [6, 8], image_size=8, hidden_size=16, classes=4), IMAGES),
    "vgg, batch norm": (lambda: VGG([1, 1], [6, 8], image_size=8, hidden_size=16, classes=4, batch_norm=True), IMAGES),
    "wavenet": (lambda: WaveNet(5, channels=6, skip_channels=8, dilations=[1, 2]), ()),
}


def inputs(name: str, shape: tuple[int, ...]) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    if name == "wavenet":
        return torch.randint(5, (8, 9), generator=generator)
    return torch.randn(8, *shape, generator=generator)


@pytest.mark.parametrize("name", MODELS)
def test_no_instrument_fails(name: str) -> None:
    build, shape = MODELS[name]
    torch.manual_seed(0)
    examined(build(), inputs(name, shape))
