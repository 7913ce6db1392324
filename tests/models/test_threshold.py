"""Threshold networks: all Boolean functions of up to four inputs, one by one."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from torch import Tensor

from deepscope.core import UsageError
from deepscope.models import Heaviside, ThresholdNetwork, boolean_network, exclusive_or
from deepscope.studies.foundations._boolean_functions import count_threshold_functions


def all_inputs(bits: int) -> Tensor:
    """Return {0, 1}ⁿ, [2ⁿ, n], the first component changing fastest."""
    points = [point[::-1] for point in itertools.product((0.0, 1.0), repeat=bits)]
    return torch.tensor(points)


def all_tables(bits: int) -> Tensor:
    """Return all Boolean functions, [2^(2ⁿ), 2ⁿ]."""
    return (torch.arange(2**2**bits)[:, None] >> torch.arange(2**bits) & 1).bool()


def functions_of_one_unit(bits: int) -> int:
    """Count the functions that one unit computes with weights from −3 to 3 and thresholds between integers."""
    weights = torch.tensor(list(itertools.product(range(-3, 4), repeat=bits)), dtype=torch.float32)
    sums = weights @ all_inputs(bits).T
    thresholds = torch.arange(-3 * bits, 3 * bits + 2) - 0.5
    fires = Heaviside()(sums[:, None] - thresholds[:, None]).long()
    return len((fires << torch.arange(2**bits)).sum(-1).unique())


@pytest.mark.demonstrates("mcculloch-pitts", "discrete-math-nn")
def test_two_layers_realise_every_boolean_function_and_one_unit_few() -> None:
    """Counted by weights found, from below, and by linear programs without a solution, from above."""
    for bits in (1, 2, 3, 4):
        tables = all_tables(bits)
        assert len(tables) == 2**2**bits
        network = boolean_network(tables)
        with torch.no_grad():
            assert torch.equal(network(all_inputs(bits)).bool().T, tables)
    rng = np.random.default_rng(0)
    for bits, count in enumerate((4, 14, 104, 1882), start=1):
        assert functions_of_one_unit(bits) == count_threshold_functions(bits, rng) == count


def test_each_function_of_three_inputs_alone_has_a_unit_for_each_input_at_which_it_is_true() -> None:
    for table in all_tables(3):
        network = boolean_network(table)
        assert torch.equal(network(all_inputs(3)).flatten().bool(), table)
        assert network.hidden.out_features == max(int(table.sum()), 1)
    assert sum(p.numel() for p in network.parameters()) == 8 * (3 + 1) + 8 + 1


def test_a_wrong_unit_is_seen() -> None:
    network = exclusive_or()
    with torch.no_grad():
        network.hidden.bias[0] -= 1
    assert network(all_inputs(2)).flatten().tolist() != [0.0, 1.0, 1.0, 0.0]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_it_computes_its_formula(dtype: torch.dtype) -> None:
    """The twin is the formula with a comparison for each unit."""
    torch.manual_seed(0)
    network = ThresholdNetwork(6, 5, 3).to(dtype)
    x = torch.randn(20, 2, 3, dtype=dtype)
    outputs = network(x)
    for sample, output in zip(x.flatten(1), outputs, strict=True):
        fires = [float(w @ sample + b >= 0) for w, b in zip(network.hidden.weight, network.hidden.bias, strict=True)]
        for v, c, y in zip(network.output.weight, network.output.bias, output, strict=True):
            assert y == float(sum(a * f for a, f in zip(v, fires, strict=True)) + c >= 0)
    assert set(outputs.unique().tolist()) == {0.0, 1.0}
    assert outputs.dtype == dtype


def test_the_gradient_is_zero() -> None:
    network = ThresholdNetwork(3, 4, 2)
    network(torch.randn(5, 3)).sum().backward()
    assert all(not parameter.grad.any() for parameter in network.parameters() if parameter.grad is not None)
    assert network.hidden.weight.grad is not None


def test_nan_is_not_hidden() -> None:
    x = torch.zeros(3, 2)
    x[1, 0] = torch.nan
    assert exclusive_or()(x).isnan().flatten().tolist() == [False, True, False]


def test_its_state_is_taken_up_whole() -> None:
    other = ThresholdNetwork(2, 2, 1)
    other.load_state_dict(exclusive_or().state_dict())
    assert torch.equal(other(all_inputs(2)), exclusive_or()(all_inputs(2)))


def test_bad_input_is_named() -> None:
    with pytest.raises(UsageError, match="hidden is 0"):
        ThresholdNetwork(2, 0, 1)
    for wrong in (torch.zeros(4, 3), torch.zeros(2), torch.zeros(4, 2, dtype=torch.int64)):
        with pytest.raises(UsageError, match=r"Give \[batch, 2\]"):
            exclusive_or()(wrong)
    for length in (1, 3, 6):
        with pytest.raises(UsageError, match=f"a table has {length} places"):
            boolean_network(torch.ones(length, dtype=torch.bool))
    for table in (torch.ones(4), torch.ones(1, 2, 2).bool(), torch.ones(0).bool()):
        with pytest.raises(UsageError, match="Give truth values"):
            boolean_network(table)
