from __future__ import annotations

import itertools

import pytest
import torch
from recurrences import learns_16_sequences, numbers
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from deepscope.core import UsageError
from deepscope.models import GRU, LSTM, RNN, Bidirectional, bidirectional_lstm


def trained(body: nn.Module, width: int, x: Tensor, targets: Tensor) -> Tensor:
    """Train to say a bit at each step; return what is said then, as bits."""
    model = nn.Sequential(body, nn.Linear(width, 1))
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-2)
    for _ in range(150):
        optimizer.zero_grad()
        nn.functional.binary_cross_entropy_with_logits(model(x)[..., 0], targets).backward()
        optimizer.step()
    return (model(x)[..., 0] > 0).float()


@pytest.mark.demonstrates("birnn")
def test_it_solves_what_needs_the_future_and_no_causal_network_can() -> None:
    torch.manual_seed(0)
    bits = torch.tensor(list(itertools.product([0.0, 1.0], repeat=6)))
    x = 2 * bits[..., None] - 1
    following, previous = bits.roll(-1, 1)[:, :-1], bits.roll(1, 1)[:, 1:]

    both = trained(Bidirectional(RNN(1, 8), RNN(1, 8)), 16, x, bits.roll(-1, 1))
    assert torch.equal(both[:, :-1], following)
    # All sequences are there: of two that differ in the next bit alone a causal network says the same, and is right
    # for one. Chance is met exactly, at every step and however it is trained.
    causal = trained(RNN(1, 16), 16, x, bits.roll(-1, 1))
    assert torch.equal((causal[:, :-1] == following).float().mean(0), torch.full((5,), 0.5))

    for body, width in ((Bidirectional(RNN(1, 8), RNN(1, 8)), 16), (RNN(1, 16), 16)):
        assert torch.equal(trained(body, width, x, bits.roll(1, 1))[:, 1:], previous)


def test_outputs_are_those_of_torch_and_padding_is_not_seen() -> None:
    torch.manual_seed(0)
    model = Bidirectional(LSTM(3, 5), LSTM(3, 5)).double()
    theirs = nn.LSTM(3, 5, batch_first=True, bidirectional=True).double()
    with torch.no_grad():
        for suffix, layer in (("", model.forwards.layers[0]), ("_reverse", model.backwards.layers[0])):
            getattr(theirs, f"weight_ih_l0{suffix}").copy_(layer.weight_ih)
            getattr(theirs, f"weight_hh_l0{suffix}").copy_(layer.weight_hh)
            getattr(theirs, f"bias_ih_l0{suffix}").copy_(layer.bias)
            getattr(theirs, f"bias_hh_l0{suffix}").zero_()
    x, lengths = numbers(4, 9, 3), torch.tensor([9, 1, 4, 8])
    # The same sums of about 10 terms, at 9 steps: well above their rounding in float64.
    torch.testing.assert_close(model(x), theirs(x)[0], rtol=0, atol=1e-12)
    packed = pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)
    expected, _ = pad_packed_sequence(theirs(packed)[0], batch_first=True)
    ours = model(x, lengths)
    changed = x.clone()
    for row, length in enumerate(lengths.tolist()):
        torch.testing.assert_close(ours[row, :length], expected[row, :length], rtol=0, atol=1e-12)
        changed[row, length:] = torch.nan
    seen = model(changed, lengths)
    for row, length in enumerate(lengths.tolist()):
        assert torch.equal(seen[row, :length], ours[row, :length])


def test_the_network_for_speech_has_the_papers_size() -> None:
    # "Approximately 100,000 weights": 4 · 93 · (26 + 93 + 1) + 3 · 93 each way, and 61 · (186 + 1).
    size = sum(each.numel() for each in bidirectional_lstm().parameters())
    assert size == 2 * (4 * 93 * 120 + 3 * 93) + 61 * 187
    assert round(size, -4) == 100_000


def test_it_learns_16_sequences() -> None:
    torch.manual_seed(0)
    learns_16_sequences(Bidirectional(GRU(2, 12), GRU(2, 12)), 24)


def test_what_does_not_fit_is_refused() -> None:
    gru = GRU(3, 4)
    with pytest.raises(UsageError, match="input sizes are 3 and 2"):
        Bidirectional(gru, GRU(2, 4))
    with pytest.raises(UsageError, match="of one network"):
        Bidirectional(gru, gru)
    model = Bidirectional(gru, GRU(3, 4))
    x = numbers(2, 5, 3).float()
    for wrong in (x[:, :0], x[0], x[..., :2], x.long()):
        with pytest.raises(UsageError, match=r"Bidirectional\nGive \[batch, time, 3\]"):
            model(wrong)
    for lengths in ([0, 5], [5, 6], [5], [5.0, 5.0], [True, True]):
        with pytest.raises(UsageError, match=r"Give \[2\] whole numbers from 1 to 5"):
            model(x, torch.tensor(lengths))
    assert model(x[:, :1]).shape == (2, 1, 8)
    x[0, 2] = torch.nan
    assert model(x)[0].isnan().any(-1).all()
    assert model(x)[1].isfinite().all()
