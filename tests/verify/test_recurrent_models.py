"""Every instrument measures every recurrent model."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from contract import examined
from torch import Tensor, nn

from deepscope.models import (
    GRU,
    LSTM,
    MLSTM,
    RNN,
    SLSTM,
    XLSTM,
    AdditiveAttention,
    Bidirectional,
    CausalConvolution,
    ClosedFormContinuous,
    EchoStateNetwork,
    FastWeights,
    LanguageModel,
    LiquidTimeConstant,
    MinimalGatedUnit,
    MLSTMBlock,
    NeuralCircuitPolicy,
    RNNSearch,
    Seq2Seq,
    SLSTMBlock,
    Stack,
    Wiring,
    neural_circuit_wiring,
)

pytestmark = pytest.mark.verify


def wiring() -> Wiring:
    generator = torch.Generator().manual_seed(0)
    sizes = {"sensory_fanout": 2, "inter_fanout": 2, "recurrent_command_synapses": 2, "motor_fanin": 2}
    return neural_circuit_wiring(4, 5, 3, 2, **sizes, generator=generator)


class Looking(nn.Module):
    """A query that is learned looks at a sequence."""

    def __init__(self) -> None:
        super().__init__()
        self.question = nn.Linear(4, 3)
        self.attention = AdditiveAttention(3, 4, 8)

    def forward(self, x: Tensor) -> Tensor:
        return self.attention(self.question(x[:, 0]), x)


def numbers() -> Tensor:
    return torch.randn(12, 5, 4, generator=torch.Generator().manual_seed(0))


def tokens() -> Tensor:
    return torch.randint(7, (12, 8), generator=torch.Generator().manual_seed(0))


MODELS: dict[str, tuple[Callable[[], nn.Module], Callable[[], Tensor]]] = {
    "rnn": (lambda: RNN(4, 6, 2), numbers),
    "lstm": (lambda: LSTM(4, 6, 2, peepholes=True), numbers),
    "gru": (lambda: GRU(4, 6, 2, reset="after", dropout=0.1), numbers),
    "minimal gated unit": (lambda: MinimalGatedUnit(4, 6), numbers),
    "bidirectional": (lambda: Bidirectional(GRU(4, 3), GRU(4, 3)), numbers),
    "stack": (lambda: Stack([SLSTM(4, 6), MinimalGatedUnit(6, 4, gate="bias")]), numbers),
    "fast weights": (lambda: FastWeights(4, 6, 3), numbers),
    "echo state": (lambda: EchoStateNetwork(4, 12, 3, generator=torch.Generator().manual_seed(0)), numbers),
    "liquid": (lambda: LiquidTimeConstant(4, 6, unfolds=2), numbers),
    "closed form": (lambda: ClosedFormContinuous(4, 6, backbone=8), numbers),
    "neural circuit": (lambda: NeuralCircuitPolicy(wiring(), unfolds=2), numbers),
    "convolution": (lambda: CausalConvolution(4, 3), numbers),
    "mlstm": (lambda: MLSTM(4, 6, heads=2), numbers),
    "slstm": (lambda: SLSTM(4, 6, heads=2), numbers),
    "mlstm block": (lambda: MLSTMBlock(4, heads=2), numbers),
    "slstm block": (lambda: SLSTMBlock(4, heads=2), numbers),
    "additive attention": (Looking, numbers),
    "language model": (lambda: LanguageModel(7, 6, LSTM(6, 6)), tokens),
    "tied language model": (lambda: LanguageModel(7, 6, GRU(6, 6), tied=True), tokens),
    "xlstm language model": (lambda: LanguageModel(7, 8, XLSTM(8, "ms", heads=2)), tokens),
    "seq2seq": (lambda: Seq2Seq(7, 7, 5, 6, source_length=4), tokens),
    "search": (lambda: RNNSearch(7, 7, 5, 6, 4, source_length=4), tokens),
}


@pytest.mark.parametrize("name", MODELS)
def test_every_instrument_measures_it(name: str) -> None:
    torch.manual_seed(0)
    make, inputs = MODELS[name]
    examined(make(), inputs())
