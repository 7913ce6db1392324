from __future__ import annotations

import torch
from contract import overfits, squared_error
from recurrences import numbers, reads_step_by_step, refuses_what_does_not_fit, scans_in_sight, sees_no_later_step
from torch import nn
from torch.nn import functional

from deepscope.models import LSSL, S4, S4D, ResidualStack, StateSpaceMixer


def test_it_is_its_formula_and_its_recurrence() -> None:
    torch.manual_seed(0)
    x = numbers(2, 70, 4)
    for state_space in (S4D(4, 6), S4(4, 6, length=100), LSSL(4, 6)):
        model = StateSpaceMixer(state_space).double()
        mixed = functional.gelu(state_space(x)) @ model.output.weight.T + model.output.bias
        torch.testing.assert_close(model(x), mixed[..., :4] * torch.sigmoid(mixed[..., 4:]), rtol=0, atol=1e-12)
        scans_in_sight(model)
        assert sees_no_later_step(model, steps=70, atol=1e-12)
        reads_step_by_step(model, steps=9, atol=1e-11)


def test_a_network_of_them_is_its_recurrence() -> None:
    torch.manual_seed(0)
    model = ResidualStack([StateSpaceMixer(S4D(4, 6)), StateSpaceMixer(LSSL(4, 6))]).double()
    reads_step_by_step(model, steps=9, atol=1e-11)
    scans_in_sight(model)


def test_it_learns_sixteen_samples_by_heart() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(ResidualStack([StateSpaceMixer(S4D(8, 4))]), nn.Linear(8, 1))
    x, targets = (numbers(16, 4, features, seed=features, dtype=torch.float32) for features in (8, 1))
    overfits(model, x, targets, squared_error, steps=400, rate=3e-2)


def test_bad_input_is_refused() -> None:
    refuses_what_does_not_fit(StateSpaceMixer(LSSL(3, 4)), at_once=True)
