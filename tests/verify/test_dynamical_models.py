"""Networks that are differential equations under all instruments: not one fails."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from contract import examined
from torch import nn

from deepscope.models import (
    AntisymmetricResNet,
    AntisymmetricRNN,
    DeepEquilibrium,
    EquilibriumCell,
    HamiltonianCNN,
    HamiltonianStack,
    LMResNet,
    MgNet,
    NeuralODE,
    ODENet,
    PDENet,
    RevNet,
)

pytestmark = pytest.mark.verify

IMAGES = (3, 8, 8)
#: Equations are solved with steps of a fixed length: a solver that chooses them for a whole batch mixes samples to
#: within its tolerance, which instruments of single samples notice and refuse.
MODELS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "antisymmetric resnet": (lambda: AntisymmetricResNet(6, 4, width=8, depth=3), (6,)),
    "antisymmetric rnn": (lambda: AntisymmetricRNN(3, 8, step=0.3), (5, 3)),
    "antisymmetric rnn, gated": (lambda: AntisymmetricRNN(3, 8, step=0.3, gated=True), (5, 3)),
    "deep equilibrium": (
        lambda: nn.Sequential(DeepEquilibrium(EquilibriumCell(6, 8), tolerance=1e-6), nn.Linear(8, 4)),
        (6,),
    ),
    "hamiltonian": (lambda: HamiltonianStack(6, 4), (6,)),
    "hamiltonian cnn": (lambda: HamiltonianCNN([2, 1], [8, 12], classes=4), IMAGES),
    "hyperbolic cnn": (lambda: PDENet([2, 1], [8, 12], classes=4, hyperbolic=True), IMAGES),
    "linear multi-step": (lambda: LMResNet([2, 2], [8, 12], classes=4), IMAGES),
    "mgnet": (lambda: MgNet([8, 12], [2, 1], classes=4), IMAGES),
    "neural ode, augmented": (lambda: NeuralODE(6, [8], 4, augment=1, method="midpoint", step=0.25), (6,)),
    "neural ode, fixed steps": (lambda: NeuralODE(6, [8], 4, method="rk4", step=0.5), (6,)),
    "odenet": (lambda: ODENet(4, in_channels=3, classes=4, method="midpoint", step=0.5), (3, 12, 12)),
    "parabolic cnn": (lambda: PDENet([2, 1], [8, 12], classes=4), IMAGES),
    "revnet": (lambda: RevNet([2, 2], [8, 12], classes=4), IMAGES),
    "revnet, all kept": (lambda: RevNet([2, 2], [8, 12], classes=4, recompute=False), IMAGES),
}


@pytest.mark.parametrize("name", MODELS)
def test_no_instrument_fails(name: str) -> None:
    build, shape = MODELS[name]
    torch.manual_seed(0)
    examined(build(), torch.randn(8, *shape, generator=torch.Generator().manual_seed(0)))
