from __future__ import annotations

from collections.abc import Callable

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

from deepscope.core import UsageError
from deepscope.models import GRUCell, MinimalGatedUnit, mgu, mgu1, mgu2, mgu3

GATES = ("full", "state and bias", "state", "bias")


@pytest.mark.parametrize("gate", GATES)
def test_it_is_a_gru_whose_gates_are_one(gate: str) -> None:
    # h' = (1 − f) h + f n is a GRU's (1 − z) n + z h with r = f and z = 1 − f, and 1 − σ(a) = σ(−a).
    torch.manual_seed(0)
    unit, gru = MinimalGatedUnit(3, 5, gate=gate).double(), GRUCell(3, 5).double()
    with torch.no_grad():
        for of_gate, of_candidate, there in (
            (unit.gate_ih, unit.weight_ih, gru.weight_ih),
            (unit.gate_hh, unit.weight_hh, gru.weight_hh),
            (unit.gate_bias, unit.bias, gru.bias),
        ):
            f = torch.zeros_like(of_candidate) if of_gate is None else of_gate
            there.copy_(torch.cat([f, -f, of_candidate]))
    x, h = numbers(2, 9, 3), numbers(2, 5, seed=1)
    torch.testing.assert_close(unit(x, h), gru(x, h), rtol=0, atol=1e-13)
    # Planted: with the two gates of a GRU drawn apart it is none.
    with torch.no_grad():
        gru.weight_hh[5:10] += 0.1
    assert not torch.allclose(unit(x, h), gru(x, h), rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    ("make", "formula"),
    [
        (mgu, lambda n, m: 2 * (n * n + n * m + n)),
        (mgu1, lambda n, m: 2 * (n * n + n * m + n) - n * m),
        (mgu2, lambda n, m: 2 * (n * n + n * m + n) - n * m - n),
        (mgu3, lambda n, m: 2 * (n * n + n * m + n) - n * m - n * n),
    ],
)
def test_parameters_are_those_of_the_papers_table(
    make: Callable[[], MinimalGatedUnit], formula: Callable[[int, int], int]
) -> None:
    unit = make()
    size = sum(each.numel() for each in unit.parameters())
    assert size == formula(100, 28)
    # The row: a third to two thirds fewer than a gated recurrent unit of this size.
    share = size / sum(each.numel() for each in GRUCell(28, 100).parameters())
    assert 1 / 3 - 0.01 <= share <= 2 / 3 + 0.01


@pytest.mark.parametrize("gate", GATES)
def test_it_reads_step_by_step(gate: str) -> None:
    unit = MinimalGatedUnit(3, 5, gate=gate)
    reads_step_by_step(unit)
    scans_in_sight(unit)
    assert sees_no_later_step(unit)
    refuses_what_does_not_fit(unit)


def test_a_shut_gate_keeps_the_state() -> None:
    unit = MinimalGatedUnit(3, 5, gate="bias").double()
    with torch.no_grad():
        unit.gate_bias.fill_(-800.0)
    h = numbers(2, 5)
    assert torch.equal(unit(numbers(2, 50, 3), h), h[:, None].expand(2, 50, 5))


def test_it_learns_16_sequences() -> None:
    torch.manual_seed(0)
    learns_16_sequences(MinimalGatedUnit(2, 24), 24)


def test_wrong_arguments_are_named() -> None:
    with pytest.raises(UsageError, match="gate is 'input'"):
        MinimalGatedUnit(2, 2, gate="input")  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="input_size is -1"):
        MinimalGatedUnit(-1, 2)
