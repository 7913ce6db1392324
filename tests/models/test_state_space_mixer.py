from __future__ import annotations

import torch
from contract import overfits, squared_error
from recurrent import agrees_with_its_steps, is_causal, refuses_bad_input
from state_spaces import sequence
from torch import nn
from torch.nn import functional

from deepscope.models import LSSL, S4, S4D, ResidualStack, StateSpaceMixer


def test_it_is_its_formula_and_its_recurrence() -> None:
    torch.manual_seed(0)
    x = sequence(2, 70, 4)
    for state_space in (S4D(4, 6), S4(4, 6, length=100), LSSL(4, 6)):
        model = StateSpaceMixer(state_space).double()
        mixed = functional.gelu(state_space(x)) @ model.output.weight.T + model.output.bias
        torch.testing.assert_close(model(x), mixed[..., :4] * torch.sigmoid(mixed[..., 4:]), rtol=0, atol=1e-12)
        agrees_with_its_steps(model, x[:, :9], atol=1e-11)
        assert is_causal(model, x, atol=1e-12)


def test_a_network_of_them_is_its_recurrence() -> None:
    torch.manual_seed(0)
    model = ResidualStack([StateSpaceMixer(S4D(4, 6)), StateSpaceMixer(LSSL(4, 6))]).double()
    agrees_with_its_steps(model, sequence(2, 9, 4), atol=1e-11)


def test_it_learns_sixteen_samples_by_heart() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(ResidualStack([StateSpaceMixer(S4D(8, 4))]), nn.Linear(8, 1))
    x, targets = (sequence(16, 4, features, seed=features, dtype=torch.float32) for features in (8, 1))
    overfits(model, x, targets, squared_error, steps=400, rate=3e-2)


def test_bad_input_is_refused() -> None:
    refuses_bad_input(StateSpaceMixer(LSSL(3, 4)))
