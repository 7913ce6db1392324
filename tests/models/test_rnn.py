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
from deepscope.models import RNN, RNNCell, Stack, elman_network


def copied(ours: RNN, theirs: nn.RNN) -> None:
    """Give torch's layers the weights of ours; of its two biases, which are added, the second is 0."""
    with torch.no_grad():
        for index, layer in enumerate(ours.layers):
            getattr(theirs, f"weight_ih_l{index}").copy_(layer.weight_ih)
            getattr(theirs, f"weight_hh_l{index}").copy_(layer.weight_hh)
            getattr(theirs, f"bias_ih_l{index}").copy_(layer.bias)
            getattr(theirs, f"bias_hh_l{index}").zero_()


@pytest.mark.parametrize("num_layers", [1, 3])
@pytest.mark.parametrize("activation", ["tanh", "relu"])
def test_outputs_and_states_are_those_of_torch(num_layers: int, activation: str) -> None:
    torch.manual_seed(0)
    ours = RNN(3, 5, num_layers, activation=activation).double()
    theirs = nn.RNN(3, 5, num_layers, nonlinearity=activation, batch_first=True).double()
    copied(ours, theirs)
    x, state = numbers(2, 9, 3), numbers(num_layers, 2, 5, seed=1)
    outputs, last = ours.scan(x, tuple(state))
    expected, end = theirs(x, state)
    # The same sums of about 10 terms, at 9 steps: well above their rounding in float64.
    torch.testing.assert_close(outputs, expected, rtol=0, atol=1e-12)
    torch.testing.assert_close(torch.stack(tuple(last)), end, rtol=0, atol=1e-12)


def test_it_computes_its_formula_step_by_step() -> None:
    cell = RNNCell(3, 5).double()
    x = numbers(2, 4, 3)
    h = torch.zeros(2, 5, dtype=torch.float64)
    for t in range(4):
        h = torch.stack([torch.tanh(cell.weight_ih @ x[n, t] + cell.weight_hh @ h[n] + cell.bias) for n in range(2)])
        torch.testing.assert_close(cell(x)[:, t], h, rtol=0, atol=1e-13)


@pytest.mark.parametrize("model", [RNNCell(3, 5), RNN(3, 5, 2), RNN(3, 5, activation="relu")])
def test_it_reads_step_by_step(model: RNN) -> None:
    reads_step_by_step(model)
    scans_in_sight(model)
    assert sees_no_later_step(model)
    refuses_what_does_not_fit(model)


@pytest.mark.parametrize(("layers", "expected"), [(1, 5 * 9), (3, 5 * 9 + 2 * 5 * 11)])
def test_parameters_follow_the_formula(layers: int, expected: int) -> None:
    assert sum(each.numel() for each in RNN(3, 5, layers).parameters()) == expected


def test_numbers_are_dropped_between_layers_in_training_only_and_never_along_time() -> None:
    torch.manual_seed(0)
    model = RNN(4, 64, 2, dropout=0.5)
    seen: list[torch.Tensor] = []
    model.layers[1].register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    first: list[torch.Tensor] = []
    model.layers[0].register_forward_hook(lambda _m, _a, output: first.append(output))
    x = numbers(8, 5, 4).float()
    model(x)
    model.eval()
    model(x)
    assert torch.equal(first[0], first[1])
    assert torch.equal(seen[1], first[1])
    kept = seen[0] != 0
    torch.testing.assert_close(seen[0][kept], 2 * first[0][kept])
    # 2560 numbers of which each is dropped with probability ½: five standard deviations of their share are 0.05.
    assert abs(float(kept.float().mean()) - 0.5) < 0.05


def test_it_learns_16_sequences() -> None:
    torch.manual_seed(0)
    learns_16_sequences(RNN(2, 24), 24)


def test_elmans_network_learns_what_follows_each_consonant() -> None:
    # The paper's letters: each consonant is followed by its own number of one vowel. A network without memory cannot
    # tell whether another vowel follows.
    torch.manual_seed(0)
    codes = torch.eye(5)
    followers = {0: 1, 1: 2, 2: 3}
    drawn = torch.randint(3, (16, 20), generator=torch.Generator().manual_seed(0))
    letters = [[letter for c in row.tolist() for letter in (c, *(3,) * followers[c])][:21] for row in drawn]
    text = codes[torch.tensor(letters)]
    model, targets = elman_network(), text[:, 1:]
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    known = targets[..., 3] == 1
    for _ in range(300):
        optimizer.zero_grad()
        loss = nn.functional.mse_loss(model(text[:, :-1]), targets)
        loss.backward()
        optimizer.step()
    predicted = model(text[:, :-1])[..., 3] > 0.5
    assert torch.equal(predicted, known)


def test_wrong_arguments_are_named() -> None:
    with pytest.raises(UsageError, match="tanh"):
        RNN(2, 2, activation="tahn")
    with pytest.raises(UsageError, match="hidden_size is 0"):
        RNN(2, 0)
    with pytest.raises(UsageError, match="input_size is 0"):
        RNN(0, 2)
    with pytest.raises(UsageError, match="num_layers is 0"):
        RNN(2, 2, 0)
    with pytest.raises(UsageError, match="dropout is 1"):
        RNN(2, 2, 2, dropout=1)
    with pytest.raises(UsageError, match="no layers"):
        Stack([])
