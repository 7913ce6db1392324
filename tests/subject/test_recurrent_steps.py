"""Recurrent layers as iterated maps, against torch's own."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.autograd.functional import jacobian
from torch.nn.utils.rnn import pack_padded_sequence

from deepscope.subject import recurrent_runs


def rectified(*sizes: int, **options: object) -> nn.RNN:
    return nn.RNN(*sizes, nonlinearity="relu", **options)


@pytest.mark.parametrize("kind", [nn.RNN, nn.GRU, nn.LSTM, rectified], ids=lambda kind: kind.__name__)
@pytest.mark.parametrize("kwargs", [{}, {"num_layers": 2, "bidirectional": True}, {"batch_first": True}])
def test_states_are_those_of_the_layer(kind: type[nn.RNNBase], kwargs: dict) -> None:
    torch.manual_seed(0)
    module = kind(3, 4, **kwargs).double()
    x = torch.randn(2, 5, 3, dtype=torch.float64)
    runs = recurrent_runs(module, x if module.batch_first else x.transpose(0, 1))
    outputs = module(x if module.batch_first else x.transpose(0, 1))[0]
    outputs = outputs if module.batch_first else outputs.transpose(0, 1)
    last = runs[-1]
    if last.part.endswith("reverse"):
        # Backwards the state before the last step is the output at the second place.
        assert torch.allclose(last.states[:, -1, :4], outputs[:, 1, 4:], atol=1e-12)
    else:
        assert torch.allclose(last.states[:, 1:, :4], outputs[:, :-1, :4], atol=1e-12)
    assert [run.part for run in runs][:2] in (["l0"], ["l0", "l0_reverse"])


@pytest.mark.parametrize("kind", [nn.RNNCell, nn.GRUCell, nn.LSTMCell])
def test_jacobians_are_autograds(kind: type[nn.RNNCellBase]) -> None:
    torch.manual_seed(0)
    cell = kind(3, 4).double()
    x = torch.randn(2, 6, 3, dtype=torch.float64)
    (run,) = recurrent_runs(cell, x)

    def step(state: torch.Tensor, t: int, i: int) -> torch.Tensor:
        given = (state[None, :4], state[None, 4:]) if kind is nn.LSTMCell else state[None]
        new = cell(x[i : i + 1, t], given)
        return torch.cat(new, 1)[0] if kind is nn.LSTMCell else new[0]

    for t, found in enumerate(run.jacobians()):
        for i in range(2):
            expected = jacobian(lambda state, t=t, i=i: step(state, t, i), run.states[i, t])
            assert torch.allclose(found[i], expected, atol=1e-12)
    assert t == 5


def test_projected_and_packed_sequences() -> None:
    torch.manual_seed(0)
    module = nn.LSTM(3, 5, proj_size=2, batch_first=True).double()
    x = torch.randn(3, 6, 3, dtype=torch.float64)
    packed = pack_padded_sequence(x, torch.tensor([6, 5, 4]), batch_first=True)
    (run,) = recurrent_runs(module, packed)
    # The steps that all have; hidden 2 and memory 5.
    assert run.states.shape == (3, 4, 7)
    assert torch.allclose(run.states[:, 1:, :2], module(x)[0][:, :3], atol=1e-12)
    alone = recurrent_runs(module, x[0])
    assert torch.allclose(alone[0].states[0, :4], run.states[0], atol=1e-12)
