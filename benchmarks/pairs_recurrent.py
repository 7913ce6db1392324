"""Recurrent layers beside loops of torch's cells, or of their formulas where torch has no such cell."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from model_pairs import Pair
from torch import nn
from torch.nn import functional

from deepscope.models import GRU, LSTM, MLSTM, RNN, SLSTM, LSTMCell, MinimalGatedUnit

BATCH, TIME, INPUTS, UNITS = 32, 100, 64, 128


def _input() -> Any:
    return torch.randn(BATCH, TIME, INPUTS)


def _looped(cell: Any, x: Any) -> Callable[[], Any]:
    """Return a loop of one of torch's cells."""

    def loop() -> Any:
        state, outputs = None, []
        for each in x.unbind(1):
            state = cell(each, state)
            outputs.append(state[0] if isinstance(state, tuple) else state)
        return torch.stack(outputs, 1)

    return loop


def _copied(cell: Any, layer: Any) -> None:
    """Give one of torch's cells the weights of a layer, whose one bias is the sum of the cell's two."""
    with torch.no_grad():
        cell.weight_ih.copy_(layer.weight_ih)
        cell.weight_hh.copy_(layer.weight_hh)
        cell.bias_ih.copy_(layer.bias)
        cell.bias_hh.zero_()


def rnn() -> Pair:
    """Return an Elman network, and a loop of torch's cell."""
    x, model, cell = _input(), RNN(INPUTS, UNITS), nn.RNNCell(INPUTS, UNITS)
    _copied(cell, model.layers[0])
    return lambda: model(x), _looped(cell, x)


def lstm() -> Pair:
    """Return long short-term memory, and a loop of torch's cell."""
    x, model, cell = _input(), LSTM(INPUTS, UNITS), nn.LSTMCell(INPUTS, UNITS)
    _copied(cell, model.layers[0])
    return lambda: model(x), _looped(cell, x)


def fused_lstm() -> Callable[[], Any]:
    """Return torch's own layer of the same size, a fused kernel."""
    x, model = _input(), nn.LSTM(INPUTS, UNITS, batch_first=True)
    return lambda: model(x)[0]


def peepholes() -> Pair:
    """Return long short-term memory with peepholes, and its formula at each step."""
    x = _input()
    model: Any = LSTMCell(INPUTS, UNITS, peepholes=True)
    peephole = model.weight_peephole

    def loop() -> Any:
        h = c = torch.zeros(BATCH, UNITS)
        outputs = []
        for each in x.unbind(1):
            seen = functional.linear(each, model.weight_ih, model.bias) + functional.linear(h, model.weight_hh)
            i, f, g, o = seen.chunk(4, 1)
            i, f = torch.sigmoid(i + peephole[0] * c), torch.sigmoid(f + peephole[1] * c)
            c = f * c + i * torch.tanh(g)
            h = torch.sigmoid(o + peephole[2] * c) * torch.tanh(c)
            outputs.append(h)
        return torch.stack(outputs, 1)

    return lambda: model(x), loop


def gru() -> Pair:
    """Return gated recurrent units that reset after the product, as torch's do, and a loop of torch's cell."""
    x, model, cell = _input(), GRU(INPUTS, UNITS, reset="after"), nn.GRUCell(INPUTS, UNITS)
    layer: Any = model.layers[0]
    _copied(cell, layer)
    with torch.no_grad():
        cell.bias_hh[2 * UNITS :] = layer.bias_hn
    return lambda: model(x), _looped(cell, x)


def minimal_gated() -> Pair:
    """Return minimal gated units, and their formula at each step."""
    x = _input()
    model: Any = MinimalGatedUnit(INPUTS, UNITS)

    def loop() -> Any:
        h, outputs = torch.zeros(BATCH, UNITS), []
        for each in x.unbind(1):
            gate = functional.linear(each, model.gate_ih, model.gate_bias) + functional.linear(h, model.gate_hh)
            f = torch.sigmoid(gate)
            heard = functional.linear(f * h, model.weight_hh)
            n = torch.tanh(functional.linear(each, model.weight_ih, model.bias) + heard)
            h = (1 - f) * h + f * n
            outputs.append(h)
        return torch.stack(outputs, 1)

    return lambda: model(x), loop


def slstm() -> Pair:
    """Return an sLSTM of four heads, and its formula at each step."""
    heads, size = 4, UNITS // 4
    x, model = _input(), SLSTM(INPUTS, UNITS, heads=heads)

    def loop() -> Any:
        h, c, n, m = model.initial_state(BATCH)
        outputs = []
        for each in x.unbind(1):
            heard = torch.einsum("bhi,hij->bhj", h.view(BATCH, heads, size), model.weight_hh)
            seen = functional.linear(each, model.weight_ih, model.bias).view(BATCH, heads, 4 * size) + heard
            i, f, z, o = (part.flatten(1) for part in seen.chunk(4, -1))
            decayed = functional.logsigmoid(f) + m
            m = torch.maximum(decayed, i)
            keep, write = torch.exp(decayed - m), torch.exp(i - m)
            c, n = keep * c + write * torch.tanh(z), keep * n + write
            h = torch.sigmoid(o) * c / n
            outputs.append(h)
        return torch.stack(outputs, 1)

    return lambda: model(x), loop


def mlstm() -> Pair:
    """Return the matrix memory of an xLSTM over 1,024 steps, and its formula at each step."""
    batch, time, width, heads = 2, 1024, 128, 4
    size = width // heads
    model, x = MLSTM(width, width, heads=heads), torch.randn(batch, time, width)

    def loop() -> Any:
        q, k, v = (each(x).view(batch, time, heads, size) for each in (model.query, model.key, model.value))
        i, f = model.gates(x).chunk(2, -1)
        write, keep = torch.exp(i), torch.sigmoid(f)
        memory, normaliser, outputs = torch.zeros(batch, heads, size, size), torch.zeros(batch, heads, size), []
        for q_, k_, v_, i_, f_ in zip(*(each.unbind(1) for each in (q / size**0.5, k, v, write, keep)), strict=True):
            written = i_[..., None] * k_
            memory = f_[..., None, None] * memory + written[..., None] * v_[..., None, :]
            normaliser = f_[..., None] * normaliser + written
            found = (q_[..., None, :] @ memory)[..., 0, :]
            outputs.append(found / (normaliser * q_).sum(-1, keepdim=True).abs().clamp(min=1))
        return torch.sigmoid(model.output_gate(x)) * torch.stack(outputs, 1).flatten(2)

    return lambda: model(x), loop
