from __future__ import annotations

import pytest
import torch
from recurrences import (
    learns_16_sequences,
    numbers,
    reads_step_by_step,
    refuses_what_does_not_fit,
    scans_in_sight,
    sees_no_later_step,
)
from torch import nn

from deepscope.core import UsageError
from deepscope.models import GRU, GRUCell


@pytest.mark.parametrize("num_layers", [1, 3])
def test_with_the_reset_after_outputs_and_states_are_those_of_torch(num_layers: int) -> None:
    torch.manual_seed(0)
    ours = GRU(3, 5, num_layers, reset="after").double()
    theirs = nn.GRU(3, 5, num_layers, batch_first=True).double()
    with torch.no_grad():
        for index, layer in enumerate(ours.layers):
            getattr(theirs, f"weight_ih_l{index}").copy_(layer.weight_ih)
            getattr(theirs, f"weight_hh_l{index}").copy_(layer.weight_hh)
            getattr(theirs, f"bias_ih_l{index}").copy_(layer.bias)
            getattr(theirs, f"bias_hh_l{index}").copy_(torch.cat([torch.zeros(10), layer.bias_hn]))
    x, state = numbers(2, 9, 3), numbers(num_layers, 2, 5, seed=1)
    outputs, last = ours.scan(x, tuple(state))
    expected, end = theirs(x, state)
    # The same sums of about 10 terms, at 9 steps: well above their rounding in float64.
    torch.testing.assert_close(outputs, expected, rtol=0, atol=1e-12)
    torch.testing.assert_close(torch.stack(tuple(last)), end, rtol=0, atol=1e-12)


def test_with_the_reset_before_it_computes_the_papers_formula() -> None:
    torch.manual_seed(0)
    cell = GRUCell(3, 5).double()
    (wr, wz, wn), (ur, uz, un), (br, bz, bn) = (p.chunk(3) for p in (cell.weight_ih, cell.weight_hh, cell.bias))
    x, h = numbers(9, 3), numbers(5, seed=1)
    outputs, _ = cell.scan(x[None], h[None])
    for t in range(9):
        r, z = torch.sigmoid(wr @ x[t] + ur @ h + br), torch.sigmoid(wz @ x[t] + uz @ h + bz)
        h = z * h + (1 - z) * torch.tanh(wn @ x[t] + un @ (r * h) + bn)
        torch.testing.assert_close(outputs[0, t], h, rtol=0, atol=1e-13)


def test_the_two_resets_differ_but_where_the_gate_is_open() -> None:
    torch.manual_seed(0)
    before, after = GRUCell(3, 5).double(), GRUCell(3, 5, reset="after").double()
    after.load_state_dict({**before.state_dict(), "bias_hn": torch.zeros(5)})
    x, h = numbers(2, 9, 3), numbers(2, 5, seed=1)
    assert (before(x, h) - after(x, h)).abs().max() > 1e-3
    with torch.no_grad():
        for cell in (before, after):
            cell.bias[:5] = 800.0
    torch.testing.assert_close(before(x, h), after(x, h), rtol=0, atol=1e-12)


@pytest.mark.parametrize("reset", ["before", "after"])
def test_gates_at_their_limits_keep_the_state_or_forget_it(reset: str) -> None:
    torch.manual_seed(0)
    cell = GRUCell(3, 5, reset=reset).double()
    x, h = numbers(2, 50, 3), numbers(2, 5, seed=1)
    with torch.no_grad():
        cell.bias[5:10] = 800.0
    # An update gate of 1 keeps the state, bit for bit.
    assert torch.equal(cell(x, h), h[:, None].expand(2, 50, 5))
    with torch.no_grad():
        cell.bias[5:10] = -800.0
        cell.bias[:5] = -800.0
    # Gates of 0 forget it: what comes out is a function of the present input alone.
    alone = torch.stack([cell(x[:, t : t + 1], 100 * h)[:, 0] for t in range(50)], 1)
    torch.testing.assert_close(cell(x, h), alone, rtol=0, atol=1e-13)


@pytest.mark.parametrize("model", [GRUCell(3, 5), GRUCell(3, 5, reset="after"), GRU(3, 5, 2)])
def test_it_reads_step_by_step(model: GRU) -> None:
    reads_step_by_step(model)
    scans_in_sight(model)
    assert sees_no_later_step(model)
    refuses_what_does_not_fit(model)


@pytest.mark.parametrize(("layers", "reset"), [(1, "before"), (3, "before"), (2, "after")])
def test_parameters_follow_the_formula(layers: int, reset: str) -> None:
    expected = 3 * 5 * 9 + (layers - 1) * 3 * 5 * 11 + layers * 5 * (reset == "after")
    assert sum(each.numel() for each in GRU(3, 5, layers, reset=reset).parameters()) == expected


def test_it_learns_16_sequences() -> None:
    torch.manual_seed(0)
    learns_16_sequences(GRU(2, 24), 24)


def test_wrong_arguments_are_named() -> None:
    with pytest.raises(UsageError, match="reset is 'never'"):
        GRU(2, 2, reset="never")  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="hidden_size is 0"):
        GRU(2, 0)
