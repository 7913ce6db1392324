"""Energy-based models and the Born machine under all instruments: not one fails."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from contract import examined
from torch import nn

from deepscope.models import DBN, RBM, BornMachine, HelmholtzMachine, Hopfield

pytestmark = pytest.mark.verify


def remembering() -> Hopfield:
    network = Hopfield(6)
    network.store_hebb(2.0 * torch.randint(2, (3, 6)) - 1)
    return network


NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "rbm": lambda: RBM(6, 4),
    "dbn": lambda: DBN((6, 5, 4)),
    "helmholtz-machine": lambda: HelmholtzMachine((6, 5, 4)),
    "hopfield": remembering,
    "mps-born-machine": lambda: BornMachine(6, 4),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_no_instrument_fails(name: str) -> None:
    torch.manual_seed(0)
    inputs = torch.randint(2, (12, 6), generator=torch.Generator().manual_seed(1)).float()
    examined(NETWORKS[name](), 2 * inputs - 1 if name == "hopfield" else inputs)
