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
from torch import Tensor, nn

from deepscope.core import UsageError
from deepscope.models import LSTM, LSTMCell, lstm_large, lstm_medium, lstm_small


def copied(ours: LSTM, theirs: nn.LSTM) -> None:
    """Give torch's layers the weights of ours; of its two biases, which are added, the second is 0."""
    with torch.no_grad():
        for index, layer in enumerate(ours.layers):
            getattr(theirs, f"weight_ih_l{index}").copy_(layer.weight_ih)
            getattr(theirs, f"weight_hh_l{index}").copy_(layer.weight_hh)
            getattr(theirs, f"bias_ih_l{index}").copy_(layer.bias)
            getattr(theirs, f"bias_hh_l{index}").zero_()


@pytest.mark.parametrize("num_layers", [1, 3])
def test_outputs_and_states_are_those_of_torch(num_layers: int) -> None:
    torch.manual_seed(0)
    ours = LSTM(3, 5, num_layers).double()
    theirs = nn.LSTM(3, 5, num_layers, batch_first=True).double()
    copied(ours, theirs)
    x, h, c = numbers(2, 9, 3), numbers(num_layers, 2, 5, seed=1), numbers(num_layers, 2, 5, seed=2)
    outputs, last = ours.scan(x, tuple(part for pair in zip(h, c, strict=True) for part in pair))
    expected, (h, c) = theirs(x, (h, c))
    # The same sums of about 10 terms, at 9 steps: well above their rounding in float64.
    torch.testing.assert_close(outputs, expected, rtol=0, atol=1e-12)
    torch.testing.assert_close(torch.stack(last[0::2]), h, rtol=0, atol=1e-12)
    torch.testing.assert_close(torch.stack(last[1::2]), c, rtol=0, atol=1e-12)


@pytest.mark.demonstrates("lstm-tutorials")
def test_error_along_the_memory_is_the_product_of_forget_gates() -> None:
    # First the row's other half: the cell is torch's, to 1e-6 in float32.
    torch.manual_seed(0)
    cell, theirs = LSTMCell(3, 5), nn.LSTMCell(3, 5)
    with torch.no_grad():
        theirs.weight_ih.copy_(cell.weight_ih)
        theirs.weight_hh.copy_(cell.weight_hh)
        theirs.bias_ih.copy_(cell.bias)
        theirs.bias_hh.zero_()
    x, state = numbers(4, 3).float(), (numbers(4, 5, seed=1).float(), numbers(4, 5, seed=2).float())
    output, (h, c) = cell.step(x, state)
    for ours, expected in zip((output, h, c), (*theirs(x, state)[:1], *theirs(x, state)), strict=True):
        torch.testing.assert_close(ours, expected, rtol=0, atol=1e-6)

    # Along c alone: what goes round through h is cut, as the paper cuts it.
    cell = LSTMCell(3, 5).double()
    x = numbers(1, 30, 3)
    first = numbers(1, 5, seed=3).requires_grad_()
    h, c = numbers(1, 5, seed=4), first
    product = torch.ones(5, dtype=torch.float64)
    for t in range(30):
        gates = cell.weight_ih @ x[0, t] + cell.weight_hh @ h[0].detach() + cell.bias
        product = product * torch.sigmoid(gates[5:10])
        _, (h, c) = cell.step(x[:, t], (h.detach(), c))
    carried = torch.autograd.functional.jacobian(lambda start: _memory(cell, x, start), first[0].detach())
    (gradient,) = torch.autograd.grad(c.sum(), first)
    # 30 factors and no sum: a relative error of at most some 30 roundings, each of at most some units in the gates.
    torch.testing.assert_close(gradient[0], product.detach(), rtol=1e-13, atol=0)
    # Planted: with the paths through h the error is another.
    assert not torch.allclose(torch.diag(carried), product, rtol=1e-6, atol=0)


def _memory(cell: LSTMCell, x: Tensor, start: Tensor) -> Tensor:
    _, (_, c) = cell.scan(x, (numbers(1, 5, seed=4), start[None]))
    return c[0]


def test_an_open_forget_gate_and_a_shut_input_gate_keep_the_memory_for_ever() -> None:
    cell = LSTMCell(2, 4).double()
    with torch.no_grad():
        cell.bias.zero_()
        cell.bias[:4] = -800.0
        cell.bias[4:8] = 800.0
    c = numbers(3, 4, seed=1)
    _, (_, last) = cell.scan(numbers(3, 100, 2), (torch.zeros_like(c), c))
    assert torch.equal(last, c)
    with torch.no_grad():
        cell.bias[4:8] = -800.0
    assert torch.equal(cell.scan(numbers(3, 1, 2), (torch.zeros_like(c), c))[1][1], torch.zeros_like(c))


def test_peepholes_see_the_memory_as_the_formula_says() -> None:
    torch.manual_seed(0)
    cell = LSTMCell(3, 5, peepholes=True).double()
    (wi, wf, wg, wo), (ui, uf, ug, uo) = cell.weight_ih.chunk(4), cell.weight_hh.chunk(4)
    (bi, bf, bg, bo), (pi, pf, po) = cell.bias.chunk(4), cell.weight_peephole
    x, h, c = numbers(9, 3), numbers(5, seed=1), numbers(5, seed=2)
    outputs, _ = cell.scan(x[None], (h[None], c[None]))
    for t in range(9):
        i = torch.sigmoid(wi @ x[t] + ui @ h + pi * c + bi)
        f = torch.sigmoid(wf @ x[t] + uf @ h + pf * c + bf)
        c = f * c + i * torch.tanh(wg @ x[t] + ug @ h + bg)
        h = torch.sigmoid(wo @ x[t] + uo @ h + po * c + bo) * torch.tanh(c)
        torch.testing.assert_close(outputs[0, t], h, rtol=0, atol=1e-13)


def test_the_forget_gates_bias_begins_as_it_is_told() -> None:
    assert torch.equal(LSTMCell(3, 5).bias[5:10], torch.ones(5))
    assert torch.equal(LSTM(3, 5, 2, forget_bias=-2.0).layers[1].bias[5:10], torch.full((5,), -2.0))
    assert LSTMCell(3, 5, forget_bias=None).bias.abs().max() <= 5**-0.5


@pytest.mark.parametrize("model", [LSTMCell(3, 5), LSTMCell(3, 5, peepholes=True), LSTM(3, 5, 2, peepholes=True)])
def test_it_reads_step_by_step(model: LSTM) -> None:
    reads_step_by_step(model)
    scans_in_sight(model)
    assert sees_no_later_step(model)
    refuses_what_does_not_fit(model)


@pytest.mark.parametrize(("layers", "peepholes"), [(1, False), (3, False), (2, True)])
def test_parameters_follow_the_formula(layers: int, peepholes: bool) -> None:
    expected = 4 * 5 * 9 + (layers - 1) * 4 * 5 * 11 + layers * peepholes * 15
    assert sum(each.numel() for each in LSTM(3, 5, layers, peepholes=peepholes).parameters()) == expected


def test_language_models_have_the_published_sizes() -> None:
    with torch.device("meta"):
        sizes = [sum(each.numel() for each in make().parameters()) for make in (lstm_small, lstm_medium, lstm_large)]
        # 20 and 66 million words of the literature that compares with them; the layers as the paper names them.
        assert [round(size / 1e6) for size in sizes] == [5, 20, 66]
        medium, large = lstm_medium(), lstm_large()
    assert [layer.hidden_size for layer in medium.body.layers] == [650, 650]
    assert [layer.hidden_size for layer in large.body.layers] == [1500, 1500]
    assert (medium.body.dropout.p, large.body.dropout.p) == (0.5, 0.65)


def test_it_learns_16_sequences() -> None:
    torch.manual_seed(0)
    learns_16_sequences(LSTM(2, 24), 24)


def test_another_models_state_and_wrong_arguments_are_named() -> None:
    with pytest.raises(UsageError, match=r"the state's shapes are \[\[2, 5\], \[2, 5\]\]: LSTM\n.*\[2, 4\], \[2, 4\]"):
        LSTM(3, 4)(torch.zeros(2, 1, 3), LSTM(3, 5).initial_state(2))
    with pytest.raises(UsageError, match="hidden_size is 0"):
        LSTM(2, 0)
    with pytest.raises(UsageError, match="dropout is -0"):
        LSTM(2, 2, 2, dropout=-0.5)
