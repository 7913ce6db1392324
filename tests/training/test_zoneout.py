"""Zoneout: each unit keeps its last value or takes the cell's."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from deepscope.core import UsageError
from deepscope.training import Zoneout

CELLS = [nn.RNNCell, nn.GRUCell, nn.LSTMCell]
NETWORKS = {nn.RNNCell: nn.RNN, nn.GRUCell: nn.GRU, nn.LSTMCell: nn.LSTM}


def made(cell: type[nn.Module], **shares: float) -> Zoneout:
    torch.manual_seed(0)
    return Zoneout(cell(3, 4), **shares).double()


X = torch.randn(5, 6, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


@pytest.mark.parametrize("cell", [nn.RNNCell, nn.GRUCell])
def test_units_keep_their_value_or_take_the_cells(cell: type[nn.Module]) -> None:
    """Each unit is one of the two at each step, the first at the rate of p; the mean of draws is evaluation's step."""
    network, n, p = made(cell, state_p=0.3), 4000, 0.3
    with torch.no_grad():
        states = network(X[:1].expand(n, 6, 3))
        last = torch.zeros(n, 4, dtype=torch.float64)
        for step in range(6):
            taken = network.cell(X[:1, step].expand(n, 3), last)
            kept = (states[:, step] - last).abs() < 1e-14
            assert (kept | ((states[:, step] - taken).abs() < 1e-14)).all()
            # Five standard deviations of a share of n draws.
            assert ((kept.double().mean(0) - p).abs() < 5 * (p * (1 - p) / n) ** 0.5).all()
            last = states[:, step]
        first = network(X[:1].expand(n, 6, 3))[:, 0]
        expected = network.eval()(X[:1])[0, 0]
        assert ((first.mean(0) - expected).abs() <= 5 * first.std(0) / n**0.5).all()


def naive(network: Zoneout, x: Tensor) -> Tensor:
    """Return the states in evaluation: every step a mean of the last value and the cell's."""
    state = memory = torch.zeros(len(x), 4, dtype=torch.float64)
    states = []
    for step in range(x.shape[1]):
        if isinstance(network.cell, nn.LSTMCell):
            taken, now = network.cell(x[:, step], (state, memory))
            memory = network.memory_p * memory + (1 - network.memory_p) * now
        else:
            taken = network.cell(x[:, step], state)
        state = network.state_p * state + (1 - network.state_p) * taken
        states.append(state)
    return torch.stack(states, 1)


@pytest.mark.parametrize("cell", CELLS)
def test_in_evaluation_the_rate_takes_the_place_of_the_draw(cell: type[nn.Module]) -> None:
    network = made(cell, state_p=0.2, memory_p=0.6).eval()
    torch.testing.assert_close(network(X), naive(network, X), rtol=0, atol=1e-14)


@pytest.mark.parametrize("cell", CELLS)
def test_with_shares_of_zero_it_is_torchs_network(cell: type[nn.Module]) -> None:
    network = made(cell, state_p=0.0, memory_p=0.0)
    twin = NETWORKS[cell](3, 4, batch_first=True).double()
    twin.load_state_dict({f"{name}_l0": each for name, each in network.cell.state_dict().items()})
    torch.testing.assert_close(network(X), twin(X)[0], rtol=0, atol=1e-14)


def test_memory_has_a_draw_of_its_own() -> None:
    """With the state always taken, a memory that was kept at the first step is 0, and so is the second step's share."""
    network = made(nn.LSTMCell, state_p=0.0, memory_p=0.5)
    with torch.no_grad():
        states = network(X[:1, :2].expand(2000, 2, 3))
    assert torch.equal(states[:, 0], states[:1, 0].expand(2000, 4))
    # What the second step reads differs by which of the memory's units were kept: two values for each.
    assert all(len(torch.unique((each * 1e12).round())) == 2 for each in states[:, 1].T)


def test_one_step_and_nan() -> None:
    assert made(nn.GRUCell)(X[:, :1]).shape == (5, 1, 4)
    spoilt = X.clone()
    spoilt[0, 2, 0] = torch.nan
    y = made(nn.LSTMCell)(spoilt)
    assert y[0, 2:].isnan().any()
    assert y[1:].isfinite().all()


def test_bad_input_is_named() -> None:
    for name in ("state_p", "memory_p"):
        for p in (-0.1, 1.0, 1.5):
            with pytest.raises(UsageError, match=f"{name} is {p}"):
                Zoneout(nn.LSTMCell(3, 4), **{name: p})
    with pytest.raises(UsageError, match="cell is LSTM"):
        Zoneout(nn.LSTM(3, 4))
    for x in (torch.zeros(2, 3), torch.zeros(2, 0, 3), torch.zeros(2, 3, 4), torch.zeros(2, 3, 3, dtype=torch.int64)):
        with pytest.raises(UsageError, match=r"Give \[batch, time, 3\], with at least one step"):
            Zoneout(nn.GRUCell(3, 4))(x)
