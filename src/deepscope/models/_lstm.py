"""Long short-term memory."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from deepscope.core import Specimen
from deepscope.models._cell import Cell
from deepscope.models._inputs import tokens
from deepscope.models._language_model import LanguageModel
from deepscope.models._recurrence import State
from deepscope.models._sizes import positive
from deepscope.models._stack import Stack


class LSTMCell(Cell):
    """Layer of long short-term memory: gates decide what a memory c takes in, keeps and shows.

    ::

        i = σ(Wᵢ x + Uᵢ h + pᵢ ⊙ c + bᵢ)        input gate
        f = σ(W_f x + U_f h + p_f ⊙ c + b_f)    forget gate
        g = tanh(W_g x + U_g h + b_g)           candidate
        c' = f ⊙ c + i ⊙ g                      memory
        o = σ(W_o x + U_o h + p_o ⊙ c' + b_o)   output gate
        h' = o ⊙ tanh(c')

    Along c a gradient is multiplied by f alone, which is 1 where nothing is forgotten: the constant error carousel.
    Maps [batch, time, input_size] to h, [batch, time, hidden_size]; the state is (h, c), each [batch, hidden_size] and
    zero at first. With m inputs and n units it has 4n(m + n + 1) parameters, 3n more with peepholes, and costs
    8n(m + n) operations a step. Blocks stand in torch's order i, f, g, o; ``weight_peephole`` is pᵢ, p_f, p_o,
    [3, hidden_size]. Weights begin uniform between ±1/√n, as torch's, but for b_f. Sources: ``hochreiter1997long``; the
    forget gate, which the first paper's layer lacks, ``gers2000learning``; peepholes ``gers2002learning``.

    Parameters
    ----------
    input_size
        m.
    hidden_size
        n.
    peepholes
        Whether the gates see the memory; p = 0 otherwise.
    forget_bias
        What b_f begins with; 1 keeps the memory at first (``jozefowicz2015empirical``). None draws it like the rest.

    Raises
    ------
    UsageError
        A size below 1; when called: an input or a state that does not fit.

    Examples
    --------
    >>> cell = LSTMCell(3, 8, peepholes=True)
    >>> cell(torch.zeros(2, 7, 3)).shape, sum(p.numel() for p in cell.parameters())
    (torch.Size([2, 7, 8]), 408)
    """

    def __init__(
        self, input_size: int, hidden_size: int, *, peepholes: bool = False, forget_bias: float | None = 1.0
    ) -> None:
        super().__init__(input_size, hidden_size, gates=4)
        self.forget_bias = forget_bias
        self.weight_peephole = nn.Parameter(torch.empty(3, hidden_size)) if peepholes else None
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw all parameters anew."""
        super().reset_parameters()
        if self.forget_bias is not None:
            nn.init.constant_(self.bias[self.hidden_size : 2 * self.hidden_size], self.forget_bias)

    def initial_state(self, batch: int) -> tuple[Tensor, Tensor]:
        """Return h = 0 and c = 0, [batch, hidden_size] each."""
        return self._zeros(batch), self._zeros(batch)

    def _weights(self) -> tuple[Tensor, ...]:
        return (self.weight_hh.T,) if self.weight_peephole is None else (self.weight_hh.T, *self.weight_peephole)

    def _update(self, projected: Tensor, state: State, weights: tuple[Tensor, ...]) -> tuple[Tensor, State]:
        (h, c), (u, *peepholes) = state, weights
        i, f, g, o = torch.addmm(projected, h, u).chunk(4, -1)
        if peepholes:
            i, f = torch.addcmul(i, peepholes[0], c), torch.addcmul(f, peepholes[1], c)
        c = torch.addcmul(torch.sigmoid(f) * c, torch.sigmoid(i), torch.tanh(g))
        if peepholes:
            o = torch.addcmul(o, peepholes[2], c)
        h = torch.sigmoid(o) * torch.tanh(c)
        return h, (h, c)


class LSTM(Stack):
    """Long short-term memory: ``num_layers`` layers of ``LSTMCell`` on top of one another.

    Maps [batch, time, input_size] to the last layer's h, [batch, time, hidden_size]; the state is (h₁, c₁, h₂, c₂, …),
    each [batch, hidden_size]. With m inputs, n units and L layers it has 4n(m + n + 1) + (L − 1) 4n(2n + 1) parameters,
    3n more a layer with peepholes. Source: ``hochreiter1997long``.

    Parameters
    ----------
    input_size, hidden_size, peepholes, forget_bias
        As ``LSTMCell`` takes them.
    num_layers
        L.
    dropout
        Probability with which each number between two layers is dropped in training.

    Raises
    ------
    UsageError
        As ``LSTMCell`` and ``Stack``.

    Examples
    --------
    >>> lstm = LSTM(3, 8, 2)
    >>> outputs, state = lstm.scan(torch.zeros(2, 7, 3))
    >>> outputs.shape, len(state), sum(p.numel() for p in lstm.parameters())
    (torch.Size([2, 7, 8]), 4, 928)
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        *,
        peepholes: bool = False,
        forget_bias: float | None = 1.0,
        dropout: float = 0.0,
    ) -> None:
        layers = [
            LSTMCell(
                input_size if index == 0 else hidden_size, hidden_size, peepholes=peepholes, forget_bias=forget_bias
            )
            for index in range(positive(num_layers, "num_layers", self))
        ]
        super().__init__(layers, dropout=dropout)


def lstm_small() -> LanguageModel:
    """Return the small language model of Zaremba et al.: 2 layers of 200 units, 10,000 words; 4,651,600 parameters.

    Source: ``zaremba2014recurrent``.

    Examples
    --------
    >>> lstm_small()(torch.zeros(1, 2, dtype=torch.int64)).shape
    torch.Size([1, 2, 10000])
    """
    return LanguageModel(10_000, 200, LSTM(200, 200, 2))


def lstm_medium() -> LanguageModel:
    """Return the medium language model of Zaremba et al.: 2 layers of 650 units, dropout ½; 19,775,200 parameters.

    The paper also drops half of the embedding and of what goes into the head. Source: ``zaremba2014recurrent``.

    Examples
    --------
    >>> with torch.device("meta"):
    ...     sum(p.numel() for p in lstm_medium().parameters())
    19775200
    """
    return LanguageModel(10_000, 650, LSTM(650, 650, 2, dropout=0.5))


def lstm_large() -> LanguageModel:
    """Return the large language model of Zaremba et al.: 2 layers of 1500 units, dropout 0.65; 66,022,000 parameters.

    The paper also drops as much of the embedding and of what goes into the head. Source: ``zaremba2014recurrent``.

    Examples
    --------
    >>> with torch.device("meta"):
    ...     sum(p.numel() for p in lstm_large().parameters())
    66022000
    """
    return LanguageModel(10_000, 1500, LSTM(1500, 1500, 2, dropout=0.65))


SPECIMENS = (
    Specimen(
        name="lstm-small",
        title="long short-term memory, language model of 2 × 200 units",
        build=lstm_small,
        inputs=tokens(10_000, 20),
        parameters=4_651_600,
        formula="c ← f ⊙ c + i ⊙ g, h = o ⊙ tanh(c): input, forget and output gates i, f, o = σ(W x + U h + b) and a "
        "candidate g = tanh(W x + U h + b) decide what a memory c takes in, keeps and shows. Along c a gradient is "
        "multiplied by f alone. With m inputs and n units a layer has 4n(m + n + 1) parameters.",
        source="hochreiter1997long",
        rows=("lstm-tutorials",),
        pinned_by="tests/models/test_lstm.py::test_error_along_the_memory_is_the_product_of_forget_gates",
    ),
    Specimen(
        name="lstm-medium",
        title="long short-term memory, language model of 2 × 650 units",
        build=lstm_medium,
        inputs=tokens(10_000, 35),
        parameters=19_775_200,
        formula="Two layers of long short-term memory between an embedding of 10,000 words and a prediction of the "
        "next; half of the numbers between the layers are dropped in training, none along time.",
        source="zaremba2014recurrent",
        pinned_by="tests/models/test_lstm.py::test_language_models_have_the_published_sizes",
    ),
    Specimen(
        name="lstm-large",
        title="long short-term memory, language model of 2 × 1500 units",
        build=lstm_large,
        inputs=tokens(10_000, 35),
        parameters=66_022_000,
        formula="Two layers of long short-term memory between an embedding of 10,000 words and a prediction of the "
        "next; 0.65 of the numbers between the layers are dropped in training, none along time.",
        source="zaremba2014recurrent",
        pinned_by="tests/models/test_lstm.py::test_language_models_have_the_published_sizes",
    ),
)
