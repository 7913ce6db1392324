"""Dropout for sequences: one mask for all steps."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import dropout

from deepscope.core import UsageError
from deepscope.training import Dropout, SequenceDropout, VariationalRecurrence


def alike_at_all_steps(y: Tensor) -> bool:
    return torch.equal(y, y[:, :1].expand_as(y))


def test_one_mask_holds_for_all_steps_of_a_sequence() -> None:
    torch.manual_seed(0)
    n, steps, p = 20_000, 7, 0.3
    y = SequenceDropout(p)(torch.ones(n, steps, 2, dtype=torch.float64))
    assert alike_at_all_steps(y)
    assert not alike_at_all_steps(Dropout(p)(torch.ones(n, steps, 2)))
    # The four masks of two features: five standard deviations of their shares.
    kept = y[:, 0] != 0
    for first in (False, True):
        for second in (False, True):
            share = ((kept[:, 0] == first) & (kept[:, 1] == second)).double().mean()
            probability = p ** (2 - first - second) * (1 - p) ** (first + second)
            assert abs(share - probability) < 5 * (probability * (1 - probability) / n) ** 0.5
    # 0 and 1/(1 − p) at these probabilities: mean 1, variance p/(1 − p), of the mean over steps as well.
    assert set(y.unique().tolist()) == {0.0, 1 / (1 - p)}
    variance = p / (1 - p)
    # The square of a centred number is p²/(1 − p)² or 1: its standard deviation is below 1.
    assert abs(y.mean(1).var(0) - variance).amax() < 5 / n**0.5
    assert Dropout(p)(torch.ones_like(y)).mean(1).var(0).amax() < 2 * variance / steps


def as_network(cell: nn.RNNCell | nn.LSTMCell, inputs: Tensor, states: Tensor) -> nn.RNN | nn.LSTM:
    """Return torch's network with the cell's weights, and their columns times the masks."""
    kind = nn.LSTM if isinstance(cell, nn.LSTMCell) else nn.RNN
    network = kind(cell.input_size, cell.hidden_size, batch_first=True).double()
    with torch.no_grad():
        network.weight_ih_l0.copy_(cell.weight_ih * inputs)
        network.weight_hh_l0.copy_(cell.weight_hh * states)
        network.bias_ih_l0.copy_(cell.bias_ih)
        network.bias_hh_l0.copy_(cell.bias_hh)
    return network


@pytest.mark.parametrize("kind", [nn.RNNCell, nn.LSTMCell])
def test_a_draw_is_the_network_without_rows_of_its_weights(kind: type[nn.RNNCell]) -> None:
    """Compare with torch's network, for each sequence one of its own; masks are drawn again from the same seed."""
    torch.manual_seed(0)
    made = VariationalRecurrence(kind(4, 5), input_p=0.4, state_p=0.3).double()
    x = torch.randn(6, 8, 4, dtype=torch.float64)
    torch.manual_seed(1)
    y = made(x)
    torch.manual_seed(1)
    inputs, states = (dropout(torch.ones(6, size, dtype=torch.float64), p) for size, p in ((4, 0.4), (5, 0.3)))
    assert (inputs == 0).any()
    assert (states == 0).any()
    for each, kept_inputs, kept_states, found in zip(x, inputs, states, y, strict=True):
        expected, _ = as_network(made.cell, kept_inputs, kept_states)(each[None])
        # Eight steps of sums of ten terms below 1.
        torch.testing.assert_close(found, expected[0], rtol=0, atol=1e-13)
    expected, _ = as_network(made.cell, torch.ones(4), torch.ones(5))(x)
    torch.testing.assert_close(made.eval()(x), expected, rtol=0, atol=1e-13)


def test_no_step_and_one_step() -> None:
    assert SequenceDropout()(torch.zeros(2, 0, 3)).shape == (2, 0, 3)
    assert VariationalRecurrence(nn.RNNCell(3, 4))(torch.zeros(2, 1, 3)).shape == (2, 1, 4)


def test_bad_input_is_named() -> None:
    for p in (-0.1, 1.0, 2.0):
        with pytest.raises(UsageError, match="p is"):
            SequenceDropout(p)
        with pytest.raises(UsageError, match="input_p is"):
            VariationalRecurrence(nn.RNNCell(2, 2), input_p=p)
        with pytest.raises(UsageError, match="state_p is"):
            VariationalRecurrence(nn.RNNCell(2, 2), state_p=p)
    with pytest.raises(UsageError, match="cell is GRUCell"):
        VariationalRecurrence(nn.GRUCell(2, 2))
    for x in (torch.zeros(2, 3), torch.zeros(2, 3, 4, dtype=torch.int64)):
        with pytest.raises(UsageError, match=r"Give \[batch, time, features\]"):
            SequenceDropout()(x)
    for x in (torch.zeros(2, 3), torch.zeros(2, 0, 2), torch.zeros(2, 3, 4)):
        with pytest.raises(UsageError, match=r"Give \[batch, time, 2\], with at least one step"):
            VariationalRecurrence(nn.RNNCell(2, 2))(x)
