"""HyperLSTM: an LSTM while its scales are 1, the paper's equations else."""

from __future__ import annotations

import pytest
import torch
from contract import overfits
from recurrences import reads_step_by_step, refuses_what_does_not_fit, scans_in_sight, sees_no_later_step
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from deepscope.core import UsageError
from deepscope.models import HyperLSTM


def shaken(*sizes: int, **small: int) -> HyperLSTM:
    """Return a HyperLSTM in float64 with no parameter left as it begins."""
    torch.manual_seed(0)
    model = HyperLSTM(*sizes, **small).double()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.3 * torch.randn_like(parameter)
    return model


def inputs(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def test_with_scales_of_one_it_is_an_lstm_and_else_weights_change() -> None:
    """The twin is torch's LSTM with the same matrices; the small LSTM then has no say."""
    model, x = shaken(3, 5, hyper_size=4, embedding_size=2), inputs(6, 9, 3)
    twin = nn.LSTM(3, 5, batch_first=True).double()
    with torch.no_grad():
        twin.weight_ih_l0.copy_(model.input.weight)
        twin.weight_hh_l0.copy_(model.recurrent.weight)
        twin.bias_ih_l0.copy_(model.bias)
        twin.bias_hh_l0.zero_()
        assert not torch.allclose(model(x), twin(x)[0], atol=1e-2)
        for embedding, scale in (
            (model.recurrent_embedding, model.recurrent_scale),
            (model.input_embedding, model.input_scale),
        ):
            embedding.weight.zero_()
            embedding.bias.fill_(1.0)
            scale.fill_(0.5)
        model.bias_scale.zero_()
        outputs, (hidden, cell) = twin(x)
        found, state = model.scan(x)
    torch.testing.assert_close(found, outputs, rtol=0, atol=1e-12)
    torch.testing.assert_close(state[0], hidden[0], rtol=0, atol=1e-12)
    torch.testing.assert_close(state[1], cell[0], rtol=0, atol=1e-12)


def test_it_computes_the_papers_equations() -> None:
    """The twin goes through samples, steps and gates one by one; the small LSTM is torch's cell."""
    model, x = shaken(3, 5, hyper_size=4, embedding_size=2), inputs(2, 6, 3)
    small = nn.LSTMCell(3 + 5, 4).double()
    with torch.no_grad():
        small.weight_ih.copy_(model.hyper_input.weight)
        small.bias_ih.copy_(model.hyper_input.bias)
        small.weight_hh.copy_(model.hyper_recurrent.weight)
        small.bias_hh.zero_()
    outputs = model(x)
    for sample, expected in zip(x, outputs, strict=True):
        h, c = torch.zeros(2, 5, dtype=torch.float64)
        hyper = None
        for t in range(6):
            hyper = small(torch.cat([sample[t], h])[None], hyper)
            seen = []
            for gate in range(4):
                rows, codes = slice(5 * gate, 5 * gate + 5), slice(2 * gate, 2 * gate + 2)
                z_h = model.recurrent_embedding.weight[codes] @ hyper[0][0] + model.recurrent_embedding.bias[codes]
                z_x = model.input_embedding.weight[codes] @ hyper[0][0] + model.input_embedding.bias[codes]
                z_b = model.bias_embedding.weight[codes] @ hyper[0][0]
                # As the paper has it: the scale goes to the rows of the weights.
                W_h = torch.diag(model.recurrent_scale[gate] @ z_h) @ model.recurrent.weight[rows]
                W_x = torch.diag(model.input_scale[gate] @ z_x) @ model.input.weight[rows]
                seen.append(W_h @ h + W_x @ sample[t] + model.bias_scale[gate] @ z_b + model.bias[rows])
            c = seen[1].sigmoid() * c + seen[0].sigmoid() * seen[2].tanh()
            h = seen[3].sigmoid() * c.tanh()
            torch.testing.assert_close(expected[t], h, rtol=0, atol=1e-12)


def test_the_papers_numbers_of_parameters() -> None:
    """In millions: 4.25 of an LSTM of 1,000 units for 50 characters with its logits, 4.91 of a HyperLSTM."""
    with torch.device("meta"):
        model, logits = HyperLSTM(), nn.Linear(1000, 50)
    count = sum(p.numel() for p in (*model.parameters(), *logits.parameters()))
    lstm = sum(p.numel() for p in (*model.input.parameters(), *model.recurrent.parameters(), model.bias))
    assert f"{count / 1e6:.2f}" == "4.91"
    assert f"{(lstm + 50 * 1001) / 1e6:.2f}" == "4.25"
    n, m, k, e = 50, 1000, 128, 4
    assert sum(p.numel() for p in model.parameters()) == (
        4 * m * (n + m + 1) + 4 * k * (n + m + k + 1) + 12 * e * (k + m) + 8 * e
    )


def test_it_begins_with_scales_of_a_tenth() -> None:
    torch.manual_seed(0)
    model = HyperLSTM(3, 6, hyper_size=4, embedding_size=2)
    hyper = torch.randn(5, 4)
    for embedding, scale in (
        (model.recurrent_embedding, model.recurrent_scale),
        (model.input_embedding, model.input_scale),
    ):
        torch.testing.assert_close(model._rows(embedding, scale, hyper), torch.full((5, 24), 0.1))
    assert not model._rows(model.bias_embedding, model.bias_scale, hyper).any()
    for gate in model.recurrent.weight.chunk(4):
        torch.testing.assert_close(gate @ gate.T, torch.eye(6), rtol=0, atol=1e-5)
    assert model.bias.reshape(4, 6).mean(1).tolist() == [0.0, 1.0, 0.0, 0.0]
    assert model.hyper_input.bias.reshape(4, 4).mean(1).tolist() == [0.0, 1.0, 0.0, 0.0]


def test_it_is_a_recurrence() -> None:
    model = shaken(3, 5, hyper_size=4, embedding_size=2)
    reads_step_by_step(model)
    scans_in_sight(model)
    assert sees_no_later_step(model)
    refuses_what_does_not_fit(model)


def test_sixteen_samples_are_learnt() -> None:
    """Three of the last hidden states are logits; as such they are small, hence the factor."""
    torch.manual_seed(0)
    model = HyperLSTM(3, 16, hyper_size=8, embedding_size=2)

    def loss(outputs: Tensor, targets: Tensor) -> Tensor:
        return cross_entropy(10 * outputs[:, -1, :3], targets)

    overfits(model, torch.randn(16, 4, 3), torch.randint(3, (16,)), loss, steps=200, rate=2e-2)


def test_bad_input_is_named() -> None:
    for name in ("hidden_size", "hyper_size", "embedding_size"):
        with pytest.raises(UsageError, match=f"{name} is 0"):
            HyperLSTM(3, **{name: 0})
    model = HyperLSTM(3, 5, hyper_size=4, embedding_size=2)
    other = HyperLSTM(3, 5, hyper_size=2, embedding_size=2)
    with pytest.raises(UsageError, match="the state's shapes are"):
        model(torch.zeros(2, 4, 3), other.initial_state(2))
