"""Recurrent layers step by step: where the gradients of their gates arrive, and what their weights saw."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.rnn import PackedSequence, pad_packed_sequence

from deepscope.linalg import Factor, OuterGradients
from deepscope.subject._gradient_rules import bias_factor, linear_factors, sides
from deepscope.subject._open_form import InnerMap, NotOpenedError, Opened, watched

#: (h,), or (h, c) of an LSTM; [n, units] each.
State = tuple[Tensor, ...]
#: ``cell(from_input, from_hidden, state)``: the next state, and the reset gate where there is one.
Cell = Callable[[Tensor, Tensor, State], tuple[State, Tensor | None]]


def open_recurrent(module: nn.RNNBase, given: Mapping[str, Any]) -> Opened:
    """Run an RNN, a GRU or an LSTM over time.

    With a_t = W_ih x_t + b_ih and b_t = W_hh h_{t−1} + b_hh a weight's gradient is a sum over time of outer products:
    Σ_t δa_t x_tᵀ and Σ_t δb_t h_{t−1}ᵀ, where δb_t = δa_t but for a GRU's new gate, whose b_t is behind its reset gate.

    Raises
    ------
    NotOpenedError
        The call is one of a single sequence without a batch.
    """
    sequence = given["input"]
    packed = isinstance(sequence, PackedSequence)
    if not packed and sequence.ndim != 3:
        raise NotOpenedError("it saw one sequence without a batch")
    active = None
    if packed:
        x, lengths = pad_packed_sequence(sequence, batch_first=True)
        mask = torch.arange(x.shape[1])[None, :, None] < lengths[:, None, None]
        active = mask.to(x.device).unbind(1)
    else:
        x = sequence if module.batch_first else sequence.transpose(0, 1)
    starts, cell = _starts(module, given["hx"], x), _CELLS[module.mode]
    ends: list[State] = []
    maps: list[InnerMap] = []
    for layer in range(module.num_layers):
        ways = []
        for way in ("", "_reverse") if module.bidirectional else ("",):
            start = tuple(each[len(ends)] for each in starts)
            run = _run(_weights(module, f"_l{layer}{way}"), cell, x, start, active, backwards=bool(way))
            ways.append(run.outputs)
            ends.append(run.end)
            maps += run.maps
        x = torch.cat(ways, 2)
    outputs = _packed(x, sequence) if packed else x if module.batch_first else x.transpose(0, 1)
    last = tuple(torch.stack(each) for each in zip(*ends, strict=True))
    return Opened((outputs, last if module.mode == "LSTM" else last[0]), tuple(maps))


def open_cell(module: nn.RNNCellBase, given: Mapping[str, Any]) -> Opened:
    """Run one step of an ``RNNCell``, ``GRUCell`` or ``LSTMCell``, as ``open_recurrent`` does every step.

    Raises
    ------
    NotOpenedError
        The call is one of a single sample without a batch.
    """
    x, state = given["input"], given["hx"]
    if x.ndim != 2:
        raise NotOpenedError("it saw one sample without a batch")
    is_lstm = isinstance(module, nn.LSTMCell)
    if state is None:
        zeros = x.new_zeros(len(x), module.hidden_size)
        state = (zeros, zeros) if is_lstm else zeros
    start = tuple(state) if is_lstm else (state,)
    run = _run(_weights(module, ""), _CELLS[_mode(module)], x[:, None], start, None, backwards=False)
    return Opened(run.end if is_lstm else run.end[0], run.maps)


@dataclass(frozen=True, eq=False)
class _Weights:
    """The parameters of one layer in one direction; ``suffix`` ends their names."""

    suffix: str
    input: Tensor
    hidden: Tensor
    input_bias: Tensor | None
    hidden_bias: Tensor | None
    projection: Tensor | None


@dataclass(frozen=True, eq=False)
class _Run:
    """What one layer in one direction put out, [n, t, units], where it ended, and its linear maps."""

    outputs: Tensor
    end: State
    maps: tuple[InnerMap, ...]


def _weights(module: nn.Module, suffix: str) -> _Weights:
    names = ("weight_ih", "weight_hh", "bias_ih", "bias_hh", "weight_hr")
    found: list[Any] = [getattr(module, name + suffix, None) for name in names]
    return _Weights(suffix, *found)


def _run(
    weights: _Weights, cell: Cell, x: Tensor, state: State, active: Sequence[Tensor] | None, *, backwards: bool
) -> _Run:
    from_input = watched(functional.linear(x, weights.input, weights.input_bias))
    n, length = x.shape[:2]
    steps = from_input.unbind(1)
    # Zeros, so that the gradients of all steps' projections arrive in one place.
    arrive = None if weights.projection is None else x.new_zeros(n, length, len(weights.projection)).requires_grad_()
    seen: dict[int, Tensor] = {}
    projected: dict[int, Tensor] = {}
    outputs: dict[int, Tensor] = {}
    for t in reversed(range(length)) if backwards else range(length):
        new, reset = cell(steps[t], functional.linear(state[0], weights.hidden, weights.hidden_bias), state)
        seen[t] = state[0].detach() if reset is None else torch.cat([state[0], reset], 1).detach()
        if weights.projection is not None and arrive is not None:
            projected[t] = new[0].detach()
            new = (functional.linear(new[0], weights.projection) + arrive[:, t], *new[1:])
        if active is not None:
            new = tuple(torch.where(active[t], one, other) for one, other in zip(new, state, strict=True))
        state = new
        outputs[t] = state[0]
    inputs = torch.cat([x.detach(), _in_time(seen)], 2)
    maps = [InnerMap(partial(_gates, weights.suffix), inputs, from_input)]
    if arrive is not None:
        maps.append(InnerMap(partial(_projection, weights.suffix), _in_time(projected), arrive))
    return _Run(_in_time(outputs), state, tuple(maps))


def _gates(suffix: str, module: Any, inputs: Tensor, gradients: Tensor) -> Iterator[tuple[str, Factor]]:
    """Give the gradients of both weights and biases from the gates' gradients, the input and the hidden state."""
    features, units = (getattr(module, name + suffix).shape[1] for name in ("weight_ih", "weight_hh"))
    left, right = sides(inputs, gradients)
    behind = left
    reset = right[..., features + units :]
    if reset.shape[3]:
        gated = left.shape[4] - reset.shape[3]
        behind = torch.cat([left[..., :gated], left[..., gated:] * reset[:, None]], 4)
    if getattr(module, "bias_ih" + suffix, None) is not None:
        yield "bias_ih" + suffix, bias_factor(left)
        yield "bias_hh" + suffix, bias_factor(behind)
    yield "weight_ih" + suffix, OuterGradients(left, right[..., :features])
    yield "weight_hh" + suffix, OuterGradients(behind, right[..., features : features + units])


def _projection(suffix: str, module: Any, inputs: Tensor, gradients: Tensor) -> Iterator[tuple[str, Factor]]:
    return linear_factors(inputs, gradients, weight="weight_hr" + suffix, bias=None)


def _lstm(from_input: Tensor, from_hidden: Tensor, state: State) -> tuple[State, None]:
    let_in, keep, new, let_out = (from_input + from_hidden).chunk(4, 1)
    memory = keep.sigmoid() * state[1] + let_in.sigmoid() * new.tanh()
    return (let_out.sigmoid() * memory.tanh(), memory), None


def _gru(from_input: Tensor, from_hidden: Tensor, state: State) -> tuple[State, Tensor]:
    units = state[0].shape[1]
    reset, update = (from_input[:, : 2 * units] + from_hidden[:, : 2 * units]).sigmoid().chunk(2, 1)
    new = (from_input[:, 2 * units :] + reset * from_hidden[:, 2 * units :]).tanh()
    return (new + update * (state[0] - new),), reset


def _plain(activation: Callable[[Tensor], Tensor]) -> Cell:
    return lambda from_input, from_hidden, _: ((activation(from_input + from_hidden),), None)


_CELLS: dict[str, Cell] = {
    "LSTM": _lstm,
    "GRU": _gru,
    "RNN_TANH": _plain(torch.tanh),
    "RNN_RELU": _plain(torch.relu),
}


def _mode(module: nn.RNNCellBase) -> str:
    if isinstance(module, nn.RNNCell):
        return f"RNN_{module.nonlinearity.upper()}"
    return "LSTM" if isinstance(module, nn.LSTMCell) else "GRU"


def _starts(module: nn.RNNBase, given: Any, x: Tensor) -> tuple[Tensor, ...]:
    """Return the states in which a layer begins, [layers · directions, n, units] each."""
    if given is not None:
        return tuple(given) if module.mode == "LSTM" else (given,)
    layers = module.num_layers * (2 if module.bidirectional else 1)
    hidden = x.new_zeros(layers, len(x), module.proj_size or module.hidden_size)
    return (hidden, x.new_zeros(layers, len(x), module.hidden_size)) if module.mode == "LSTM" else (hidden,)


def _in_time(steps: Mapping[int, Tensor]) -> Tensor:
    return torch.stack([steps[t] for t in range(len(steps))], 1)


def _packed(outputs: Tensor, like: PackedSequence) -> PackedSequence:
    """Pack [n, t, units] as a sequence of the same lengths was."""
    order = like.sorted_indices
    ordered = outputs if order is None else outputs[order]
    data = torch.cat([ordered[:running, t] for t, running in enumerate(like.batch_sizes.tolist())])
    return PackedSequence(data, like.batch_sizes, like.sorted_indices, like.unsorted_indices)
