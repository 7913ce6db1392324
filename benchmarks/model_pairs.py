"""Layers of the reference models, each beside the obvious torch expression of what it computes, or its peer's layer."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any, NamedTuple

#: Ours and the obvious expression.
Pair = tuple[Callable[[], Any], Callable[[], Any]]


class Compared(NamedTuple):
    """``function`` of ``file`` gives both sides; ``promised`` is by how much ours is to be faster.

    Layers that do the same arithmetic as the other side, a loop of torch's cells or attention along edges, are promised
    to be as fast within what two processes differ by: the same code has been at 0.99 and 0.91 of its cell's speed.
    Hence 0.8.
    """

    words: str
    file: str
    function: str
    promised: float = 1.0
    arguments: tuple[int, ...] = ()

    def sides(self) -> Pair:
        """Return both; this loads torch."""
        pair: Pair = getattr(importlib.import_module(self.file), self.function)(*self.arguments)
        return pair


_STATES, _RECURRENT, _ATTENTION, _OTHER = "pairs_state_space", "pairs_recurrent", "pairs_attention", "pairs_convolution"
_GRAPHS = "pairs_graphs"

PAIRS: dict[str, Compared] = {
    "mamba 16": Compared("selective scan, 16 channels × 2,048 steps, a loop", _STATES, "mamba", 10, (16,)),
    "mamba 64": Compared("selective scan, 64 channels, a loop", _STATES, "mamba", 10, (64,)),
    "mamba 256": Compared("selective scan, 256 channels, a loop", _STATES, "mamba", 10, (256,)),
    "mamba 1536": Compared("selective scan, 1,536 channels, a loop", _STATES, "mamba", 10, (1536,)),
    "mamba 2": Compared("Mamba-2's scan, 2,048 steps, a loop", _STATES, "mamba2"),
    "s4d": Compared("S4D by convolution, 2,048 steps, its recurrence", _STATES, "s4d"),
    "lssl": Compared("LSSL by convolution, 1,024 steps, its recurrence", _STATES, "lssl"),
    "h3": Compared("H3 by convolution, 2,048 steps, its recurrence", _STATES, "h3"),
    "attention": Compared("attention to 1,024 positions, softmax of all scores", _ATTENTION, "attention"),
    "rotary": Compared("the same with rotary positions, turned as complex numbers", _ATTENTION, "rotary"),
    "alibi": Compared("the same with linear biases, added to all scores", _ATTENTION, "linear_biases"),
    "linear attention": Compared("linear attention to 2,048 positions, its matrix", _ATTENTION, "linear_attention"),
    "log-linear attention": Compared("log-linear attention, its matrix", _ATTENTION, "log_linear_attention"),
    "rnn": Compared("RNN, 100 steps, a loop of `nn.RNNCell`", _RECURRENT, "rnn", 0.8),
    "lstm": Compared("LSTM, 100 steps, a loop of `nn.LSTMCell`", _RECURRENT, "lstm", 0.8),
    "peepholes": Compared("LSTM with peepholes, its formula in a loop", _RECURRENT, "peepholes"),
    "gru": Compared("GRU, 100 steps, a loop of `nn.GRUCell`", _RECURRENT, "gru", 0.8),
    "minimal gated": Compared("minimal gated units, their formula in a loop", _RECURRENT, "minimal_gated"),
    "slstm": Compared("sLSTM, 100 steps, its formula in a loop", _RECURRENT, "slstm"),
    "mlstm": Compared("mLSTM in chunks, 1,024 steps, its formula in a loop", _RECURRENT, "mlstm"),
    "p4": Compared("p4 convolution, one convolution per rotation", _OTHER, "p4"),
    "quaternion": Compared("quaternion convolution, sixteen of its parts", _OTHER, "quaternion"),
    "complex": Compared("complex convolution, four of its parts", _OTHER, "complex_numbers"),
    "wavenet": Compared("WaveNet, 16,000 samples, padded convolutions", _OTHER, "wavenet"),
    "capsules": Compared("routing of capsules, the paper's procedure", _OTHER, "capsules"),
    "sparse mixture": Compared("two of sixteen experts, all of them", _OTHER, "sparse_mixture"),
}

#: Layers on graphs, beside torch_geometric's.
GRAPHS: dict[str, Compared] = {
    "gcn": Compared("graph convolution", _GRAPHS, "gcn"),
    "chebyshev": Compared("spectral convolution of order 2", _GRAPHS, "chebyshev"),
    "gat": Compared("attention along the edges in 8 heads", _GRAPHS, "gat", 0.8),
}
