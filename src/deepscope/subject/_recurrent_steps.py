"""Recurrent layers as iterated maps: the state before every step, and how the next depends on it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.rnn import PackedSequence, pad_packed_sequence

from deepscope.subject._open_recurrent import _CELLS, _mode, _starts, _Weights, _weights

#: Numbers that the Jacobians of one chunk of steps may have.
_AT_ONCE = 2**24

#: ``step(from_input, state)``: the next state, [rows, state] each.
Step = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True, eq=False)
class RecurrentRun:
    """One layer, in one direction, of a recurrent module over sequences.

    Attributes
    ----------
    part
        ``"l0"``, ``"l0_reverse"``, ``"l1"`` … as the module's parameters end; ``""`` for a cell.
    states
        The state before every step, hidden and memory side by side, [sequences, steps, state].
    from_input
        What the inputs add to the gates at every step, [sequences, steps, gates].
    """

    part: str
    states: Tensor
    from_input: Tensor
    _step: Step

    def jacobians(self) -> Iterator[Tensor]:
        """Yield ∂s_t/∂s_{t−1} step by step, [sequences, state, state], in float64 on the CPU."""
        sequences, steps, size = self.states.shape
        at_once = max(1, _AT_ONCE // (sequences * size**2))
        for start in range(0, steps, at_once):
            part = slice(start, start + at_once)
            states = self.states[:, part].flatten(0, 1)
            found = _jacobians(self._step, self.from_input[:, part].flatten(0, 1), states)
            yield from found.reshape(sequences, -1, size, size).unbind(1)


def recurrent_runs(module: nn.Module, inputs: Any, state: Any = None) -> tuple[RecurrentRun, ...]:
    """Run a recurrent layer over sequences, and keep the states that it goes through.

    Parameters
    ----------
    module
        ``nn.RNN``, ``nn.GRU``, ``nn.LSTM``, or one of their cells.
    inputs
        As the module takes them; of a packed sequence the steps that all its sequences have. A cell takes
        [sequences, steps, features].
    state
        In which it begins; zero unless given.

    Notes
    -----
    The upper layers' states follow those of the lower ones, but do not act back on them: the Jacobian of all states
    together is block-triangular, and its exponents are those of the layers. Cost: one step at a time, in Python.

    Examples
    --------
    >>> runs = recurrent_runs(nn.GRU(3, 4, num_layers=2, batch_first=True), torch.zeros(5, 7, 3))
    >>> [(run.part, list(run.states.shape)) for run in runs]
    [('l0', [5, 7, 4]), ('l1', [5, 7, 4])]
    """
    with torch.no_grad():
        if isinstance(module, nn.RNNCellBase):
            return (_of_cell(module, inputs, state),)
        assert isinstance(module, nn.RNNBase)
        return tuple(_of_layers(module, _by_sequence(module, inputs), state))


def _by_sequence(module: nn.RNNBase, inputs: Any) -> Tensor:
    if isinstance(inputs, PackedSequence):
        padded, lengths = pad_packed_sequence(inputs, batch_first=True)
        return padded[:, : int(lengths.min())]
    if inputs.ndim == 2:
        return inputs[None]  # type: ignore[no-any-return]
    return inputs if module.batch_first else inputs.transpose(0, 1)  # type: ignore[no-any-return]


def _of_layers(module: nn.RNNBase, x: Tensor, given: Any) -> Iterator[RecurrentRun]:
    starts = _starts(module, given, x)
    cell = _CELLS[module.mode]
    for layer in range(module.num_layers):
        ways: list[Tensor] = []
        for way in ("", "_reverse") if module.bidirectional else ("",):
            place = layer * (2 if module.bidirectional else 1) + len(ways)
            start = [each[place] if each.ndim == 3 else each[place][None] for each in starts]
            run, outputs = _run(
                f"l{layer}{way}", _weights(module, f"_l{layer}{way}"), cell, x.flip(1) if way else x, start
            )
            ways.append(outputs.flip(1) if way else outputs)
            yield run
        x = torch.cat(ways, 2)


def _of_cell(module: nn.RNNCellBase, x: Tensor, given: Any) -> RecurrentRun:
    is_lstm = isinstance(module, nn.LSTMCell)
    if given is None:
        zeros = x.new_zeros(len(x), module.hidden_size)
        given = (zeros, zeros) if is_lstm else zeros
    return _run("", _weights(module, ""), _CELLS[_mode(module)], x, given if is_lstm else (given,))[0]


def _run(part: str, weights: _Weights, cell: Any, x: Tensor, start: Sequence[Tensor]) -> tuple[RecurrentRun, Tensor]:
    from_input = functional.linear(x, weights.input, weights.input_bias)
    sizes = [each.shape[-1] for each in start]
    step = partial(_next_state, weights, cell, sizes)
    state = torch.cat([each.expand(len(x), -1) for each in start], 1)
    states, outputs = [], []
    for t in range(x.shape[1]):
        states.append(state)
        state = step(from_input[:, t], state)
        outputs.append(state[:, : sizes[0]])
    return RecurrentRun(part, torch.stack(states, 1), from_input, step), torch.stack(outputs, 1)


def _next_state(weights: _Weights, cell: Any, sizes: Sequence[int], from_input: Tensor, state: Tensor) -> Tensor:
    parts = tuple(torch.split(state, list(sizes), 1))
    new, _ = cell(from_input, functional.linear(parts[0], weights.hidden, weights.hidden_bias), parts)
    if weights.projection is not None:
        new = (functional.linear(new[0], weights.projection), *new[1:])
    return torch.cat(new, 1)


def _jacobians(step: Step, from_input: Tensor, states: Tensor) -> Tensor:
    """Return those of every row, [rows, state, state]: rows are independent, so one backward pass serves all."""
    with torch.enable_grad():
        leaves = states.detach().requires_grad_()
        new = step(from_input.detach(), leaves)
        rows = [torch.autograd.grad(column.sum(), leaves, retain_graph=True)[0] for column in new.unbind(1)]
    return torch.stack([each.to("cpu", torch.float64) for each in rows], 1)
