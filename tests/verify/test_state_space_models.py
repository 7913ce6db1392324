from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from contract import examined
from torch import Tensor, nn

from deepscope.models import (
    DSS,
    H3,
    LSSL,
    S4,
    S4D,
    HippoRNN,
    LanguageModel,
    Mamba,
    Mamba2,
    ResidualStack,
    SelectiveSSM,
    ShiftSSM,
    StateSpaceMixer,
)

pytestmark = pytest.mark.verify

MODELS: dict[str, Callable[[], nn.Module]] = {
    "hippo": lambda: HippoRNN(3, 6, 4),
    "lssl": lambda: LSSL(3, 4),
    "s4": lambda: S4(3, 4, length=8),
    "s4d": lambda: S4D(3, 4),
    "dss": lambda: DSS(3, 4, length=8),
    "deep": lambda: ResidualStack([StateSpaceMixer(S4D(3, 4))]),
    "shift": lambda: ShiftSSM(3, 4),
    "h3": lambda: H3(3, 1, state_size=4),
    "s6": lambda: SelectiveSSM(3, 4),
    "frozen": lambda: Mamba(3, 1, state_size=2, selective=False, gated=False),
    "mamba": lambda: Mamba(3, 2, state_size=2),
    "mamba2": lambda: Mamba2(3, 2, state_size=4, head_size=2),
}


def drawn(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("name", MODELS)
def test_no_instrument_fails_on_it(name: str) -> None:
    torch.manual_seed(0)
    examined(MODELS[name](), drawn(8, 5, 3))


def test_no_instrument_fails_on_a_language_model() -> None:
    torch.manual_seed(0)
    tokens = torch.randint(7, (8, 5), generator=torch.Generator().manual_seed(0))
    examined(LanguageModel(7, 4, Mamba(4, 1, state_size=2), tied=True), tokens)
