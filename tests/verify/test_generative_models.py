"""Generative networks under all instruments: not one fails."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from contract import examined
from torch import Tensor, nn

from deepscope.models import (
    DDPM,
    GAN,
    VAE,
    AffineCoupling,
    Autoencoder,
    ConditionalVAE,
    LinearVAE,
    NoiseMLP,
    RealNVP,
    UNet,
    linear_betas,
)

pytestmark = pytest.mark.verify


class Given(nn.Module):
    """A model whose second argument, a label or a time, is the same for all samples."""

    def __init__(self, model: nn.Module, given: int) -> None:
        super().__init__()
        self.model, self.given = model, given

    def forward(self, x: Tensor) -> Tensor:
        return self.model(x, torch.full((len(x),), self.given, device=x.device))


def stirred(model: nn.Module) -> nn.Module:
    """Add noise to all weights: what begins at 0 would hide what comes before it."""
    generator = torch.Generator().manual_seed(2)
    for each in model.parameters():
        each.data += 0.1 * torch.randn(each.shape, generator=generator)
    return model


MODELS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "affine coupling": (lambda: stirred(AffineCoupling(6, (8,))), (6,)),
    "autoencoder": (lambda: Autoencoder(6, (5,), 2), (6,)),
    "autoencoder, sigmoid code": (lambda: Autoencoder(6, (), 8, code_activation="sigmoid"), (6,)),
    "conditional vae": (lambda: Given(ConditionalVAE(6, 3, (5,), 2, embedding=2), 1), (6,)),
    "ddpm, perceptron": (lambda: Given(DDPM(NoiseMLP(6, (8,), embedding=4), linear_betas(5)), 3), (6,)),
    "ddpm, u-net": (
        lambda: Given(stirred(DDPM(UNet(1, 4, (1, 2), blocks=1, attention=(1,), groups=2), linear_betas(5))), 3),
        (1, 4, 4),
    ),
    "gan": (lambda: GAN(6, 3, (8,), (8,)), (3,)),
    "linear vae": (lambda: LinearVAE(6, 2), (6,)),
    "realnvp": (lambda: stirred(RealNVP(6, 4, (8,))), (6,)),
    "vae": (lambda: VAE(6, (5,), 2), (6,)),
    "vae, gaussian": (lambda: VAE(6, (5,), 2, observations="gaussian"), (6,)),
}


@pytest.mark.parametrize("name", MODELS)
def test_no_instrument_fails(name: str) -> None:
    build, shape = MODELS[name]
    torch.manual_seed(0)
    examined(build(), torch.randn(8, *shape, generator=torch.Generator().manual_seed(0)))
