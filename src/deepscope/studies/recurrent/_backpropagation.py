"""Gradients through torch's own recurrent cells, without input and in float64."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from deepscope.studies.recurrent._tangent import Floats


def rnn_jacobian(W: Floats, start: Floats, steps: int) -> Floats:
    """Return ∂h_steps/∂h₀ of torch's tanh cell with recurrent weights W, from h₀ = ``start``."""
    cell = nn.RNNCell(1, len(W), bias=False, dtype=torch.float64)
    with torch.no_grad():
        cell.weight_hh.copy_(torch.from_numpy(W))
    first = state = torch.from_numpy(start).requires_grad_()
    for _ in range(steps):
        state = cell(_no_input(), state)
    found: Floats = _jacobians(state, [first])[0].numpy()
    return found


def lstm_cell(units: int, forget_bias: float) -> nn.LSTMCell:
    """Return torch's cell as torch initialises it, the forget gates' bias apart."""
    cell = nn.LSTMCell(1, units, dtype=torch.float64)
    with torch.no_grad():
        # torch adds the two biases; the gates' order is input, forget, cell, output.
        cell.bias_ih[units : 2 * units] = forget_bias
        cell.bias_hh[units : 2 * units] = 0.0
    return cell


def settled(cell: nn.LSTMCell, start: Floats, steps: int) -> tuple[Tensor, Tensor]:
    """Return h and c after so many steps from ``start``, [2, units]."""
    hidden, memory = torch.from_numpy(start)
    with torch.no_grad():
        for _ in range(steps):
            hidden, memory = cell(_no_input(), (hidden, memory))
    return hidden, memory


def state_norms(cell: nn.LSTMCell, hidden: Tensor, memory: Tensor, steps: int, every: int) -> Floats:
    """Return the spectral norm of ∂(h, c)_steps/∂(h, c)_{steps−lag} at lag 0, every, 2 every … up to ``steps``."""
    units = cell.hidden_size
    states = [torch.cat([hidden, memory]).requires_grad_()]
    for _ in range(steps):
        states.append(torch.cat(cell(_no_input(), (states[-1][:units], states[-1][units:]))))
    earlier = states[-1 - every :: -every]
    return np.array([1.0, *(torch.linalg.matrix_norm(each, 2).item() for each in _jacobians(states[-1], earlier))])


def cell_path(cell: nn.LSTMCell, hidden: Tensor, memory: Tensor, steps: int) -> tuple[Floats, float]:
    """Return the log10 of each unit's product of forget gates, and how far ∂c_steps/∂c₀ along the cell is from them.

    Along the cell: the gates' dependence on h is cut. The distance is relative to the product of each unit; entries
    that join two units count in full.
    """
    units = cell.hidden_size
    first = memory = memory.detach().requires_grad_()
    products = torch.ones(units, dtype=torch.float64)
    with torch.no_grad():
        bias = cell.bias_hh + cell.bias_ih
    for _ in range(steps):
        before = (cell.weight_hh @ hidden).detach() + bias
        products = products * torch.sigmoid(before[units : 2 * units])
        hidden, memory = cell(_no_input(), (hidden.detach(), memory))
    path = _jacobians(memory, [first])[0] / products[:, None]
    difference = (path - torch.eye(units, dtype=torch.float64)).abs().max().item()
    return np.log10(products.numpy()), difference


def _jacobians(output: Tensor, inputs: list[Tensor]) -> tuple[Tensor, ...]:
    """Return ∂output/∂input for each input, [output, input], by one batched backward pass."""
    one = torch.eye(len(output), dtype=output.dtype)
    return torch.autograd.grad(output, inputs, one, is_grads_batched=True)


def _no_input() -> Tensor:
    return torch.zeros(1, dtype=torch.float64)
