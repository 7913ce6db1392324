from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from ncps.torch.ltc_cell import LTCCell
from ncps.wirings import NCP
from recurrences import (
    learns_16_sequences,
    numbers,
    reads_step_by_step,
    refuses_what_does_not_fit,
    scans_in_sight,
    sees_no_later_step,
)
from torch import nn
from torch.nn import functional

from deepscope.core import UsageError
from deepscope.models import NeuralCircuitPolicy, Synapses, Wiring, neural_circuit_19, neural_circuit_wiring

SIZES: dict[str, Any] = {"sensory_fanout": 6, "inter_fanout": 4, "recurrent_command_synapses": 6, "motor_fanin": 6}


def of_ncps(seed: int) -> NCP:
    wiring = NCP(12, 6, 1, seed=seed, **SIZES)
    wiring.build(32)
    return wiring


def drawn(seed: int, **changes: int) -> Wiring:
    return neural_circuit_wiring(32, 12, 6, 1, **{**SIZES, **changes}, generator=torch.Generator().manual_seed(seed))


def test_it_is_the_reference_implementation_on_a_wiring_of_its_own() -> None:
    torch.manual_seed(0)
    theirs_wired = of_ncps(0)
    sensory = torch.from_numpy(theirs_wired.sensory_adjacency_matrix).double()
    synapses = torch.from_numpy(theirs_wired.adjacency_matrix).double()
    model = NeuralCircuitPolicy(Wiring(sensory=sensory, synapses=synapses, motors=1), interval=0.7).double()
    theirs = LTCCell(theirs_wired, epsilon=0.0, implicit_param_constraints=True).double()
    names = {"w": "weight", "sigma": "steepness", "mu": "threshold", "erev": "reversal"}
    with torch.no_grad():
        for name, own in {"cm": "capacitance", "gleak": "leak", "vleak": "rest"}.items():
            getattr(theirs, name).copy_(getattr(model, own))
        for prefix, ours, signs in (("sensory_", model.sensory, sensory), ("", model.synapses, synapses)):
            for name, own in names.items():
                getattr(theirs, prefix + name)[signs != 0] = getattr(ours, own)
        for name, own in {"input_w": "input_scale", "input_b": "input_shift", "output_w": "output_scale"}.items():
            getattr(model, own).add_(0.1 * numbers(*getattr(model, own).shape, seed=len(name)))
            getattr(theirs, name).copy_(getattr(model, own))
    x, v = numbers(3, 9, 32), numbers(3, 19, seed=1)
    outputs, _ = model.scan(x, v)
    for t in range(9):
        expected, v = theirs(x[:, t], v, 0.7)
        # Sums of at most 32 terms of order 1, six times a step: far above their rounding.
        torch.testing.assert_close(outputs[:, t], expected, rtol=0, atol=1e-12)


def degrees(sensory: np.ndarray, synapses: np.ndarray) -> dict[str, Any]:
    there, wired = np.abs(sensory), np.abs(synapses)
    motor, command, inter = slice(0, 1), slice(1, 7), slice(7, 19)
    blocks = {(0, 1): wired[command, motor], (1, 2): wired[inter, command], (1, 1): wired[command, command]}
    return {
        "only inter neurons hear inputs": there[:, :7].sum() == 0,
        "nothing but the three blocks": wired.sum() == sum(each.sum() for each in blocks.values()),
        "outputs of an input": there.sum(1).min() == 6,
        "outputs of an inter neuron": blocks[1, 2].sum(1).min() == 4,
        "inputs of the motor neuron": blocks[0, 1].sum() == 6,
        "every inter neuron hears": there[:, inter].sum(0).min() >= 1,
        "every command neuron hears": blocks[1, 2].sum(0).min() >= 1,
        "every command neuron is heard": blocks[0, 1].sum(1).min() >= 1,
        "few recurrent ones": 1 <= blocks[1, 1].sum() <= 6,
        "both signs": -1 in synapses and 1 in synapses and -1 in sensory and 1 in sensory,
    }


@pytest.mark.parametrize("seed", range(10))
def test_wirings_have_the_degrees_of_those_of_the_reference_implementation(seed: int) -> None:
    ours = drawn(seed)
    assert all(degrees(ours.sensory.numpy(), ours.synapses.numpy()).values())
    theirs = of_ncps(seed)
    assert all(degrees(theirs.sensory_adjacency_matrix, theirs.adjacency_matrix).values())
    # Theirs draws the six recurrent synapses with replacement; a neuron that was forgotten gets some more.
    assert ours.n_synapses >= 252
    assert ours.n_synapses >= theirs.synapse_count + theirs.sensory_synapse_count
    again = drawn(seed)
    assert torch.equal(ours.synapses, again.synapses)
    assert torch.equal(ours.sensory, again.sensory)
    # Planted: one synapse from an input to the motor neuron is seen.
    ours.sensory[0, 0] = 1
    assert not all(degrees(ours.sensory.numpy(), ours.synapses.numpy()).values())


@pytest.mark.parametrize("seed", range(20))
def test_no_neuron_is_forgotten_where_synapses_are_few(seed: int) -> None:
    wiring = neural_circuit_wiring(
        3,
        12,
        8,
        4,
        sensory_fanout=1,
        inter_fanout=1,
        recurrent_command_synapses=0,
        motor_fanin=1,
        generator=torch.Generator().manual_seed(seed),
    )
    assert (wiring.sensory[:, 12:] != 0).any(0).all()
    assert (wiring.synapses[12:, 4:12] != 0).any(0).all()
    assert (wiring.synapses[4:12, :4] != 0).any(0).all()
    assert (wiring.synapses[4:12, :4] != 0).any(1).all()
    assert not wiring.synapses[4:12, 4:12].any()


def test_potentials_stay_between_rest_and_reversal_whatever_the_input() -> None:
    torch.manual_seed(0)
    model = neural_circuit_19().double()
    x = numbers(4, 50, 32) * torch.logspace(-2, 6, 4, dtype=torch.float64)[:, None, None]
    with torch.no_grad():
        v, low, high = model.initial_state(4), -1.0, 1.0
        for each in x.unbind(1):
            _, v = model.step(each, v)
            # Reversal potentials are ±1, resting potentials within ±0.2: a mean of them, but for rounding.
            assert low - 1e-14 <= v.min()
            assert v.max() <= high + 1e-14
        assert v.abs().max() > 0.5


def test_19_neurons_have_252_synapses_and_as_many_parameters_as_the_formula_says() -> None:
    model = neural_circuit_19()
    synapses = len(model.sensory.source) + len(model.synapses.source)
    assert (model.neurons, model.motors, synapses) == (19, 1, 252)
    assert sum(each.numel() for each in model.parameters()) == 4 * 252 + 3 * 19 + 2 * 32 + 2
    twin = NeuralCircuitPolicy(drawn(0))
    twin.load_state_dict(model.state_dict())
    x = numbers(2, 3, 32).float()
    assert torch.equal(twin(x), model(x))


def test_parameters_begin_in_the_ranges_of_the_reference_implementation() -> None:
    torch.manual_seed(0)
    n = 40
    model = NeuralCircuitPolicy(Wiring(sensory=torch.ones(n, n), synapses=-torch.ones(n, n), motors=1))
    ranges = [(model.capacitance, 0.4, 0.6, True), (model.leak, 0.001, 1, True), (model.rest, -0.2, 0.2, False)]
    for synapses, sign in ((model.sensory, 1), (model.synapses, -1)):
        ranges += [(synapses.weight, 0.001, 1, True), (synapses.steepness, 3, 8, False)]
        ranges += [(synapses.threshold, 0.3, 0.8, False)]
        assert (synapses.reversal == sign).all()
    for parameter, least, largest, positive in ranges:
        drawn = functional.softplus(parameter) if positive else parameter
        # Of 40 draws none is in the outer quarter at an end with a probability of 1e-5.
        margin = (largest - least) / 4
        assert least - 1e-6 <= drawn.min() < least + margin
        assert largest - margin < drawn.max() <= largest + 1e-6


def test_it_reads_step_by_step() -> None:
    torch.manual_seed(0)
    model = NeuralCircuitPolicy(Wiring(sensory=torch.ones(3, 4), synapses=torch.ones(4, 4), motors=4))
    reads_step_by_step(model)
    scans_in_sight(model)
    assert sees_no_later_step(model)
    refuses_what_does_not_fit(model)


def test_a_synapse_that_is_not_there_carries_nothing() -> None:
    signs = torch.tensor([[1.0, 0.0], [-1.0, 1.0]])
    synapses = Synapses(signs).double()
    v = numbers(3, 2).requires_grad_()
    conductances, _ = synapses(v)
    (gradient,) = torch.autograd.grad(conductances[:, 1].sum(), v)
    assert torch.equal(gradient[:, 0], torch.zeros(3, dtype=torch.float64))
    assert (gradient[:, 1] != 0).all()


def test_it_learns_16_sequences() -> None:
    torch.manual_seed(0)
    wiring = Wiring(sensory=torch.ones(8, 16), synapses=2.0 * torch.randint(2, (16, 16)) - 1, motors=16)
    body = nn.Sequential(nn.Linear(2, 8), NeuralCircuitPolicy(wiring, unfolds=2))
    learns_16_sequences(body, 16, steps=400)


def test_wrong_arguments_are_named() -> None:
    good = {"sensory": torch.ones(2, 3), "synapses": torch.ones(3, 3), "motors": 1}
    for wrong in (
        {"sensory": torch.ones(2, 2)},
        {"sensory": torch.ones(0, 3)},
        {"synapses": torch.ones(3, 2)},
        {"synapses": torch.full((3, 3), 0.5)},
        {"motors": 0},
        {"motors": 4},
    ):
        with pytest.raises(UsageError, match="Wiring\nGive"):
            Wiring(**{**good, **wrong})
    wrong_sizes = {"sensory_fanout": 13, "inter_fanout": 7, "motor_fanin": 7, "recurrent_command_synapses": 37}
    for name, value in (*wrong_sizes.items(), ("sensory_fanout", 0), ("recurrent_command_synapses", -1)):
        with pytest.raises(UsageError, match="neural_circuit_wiring"):
            drawn(0, **{name: value})
    with pytest.raises(UsageError, match="unfolds is 0"):
        NeuralCircuitPolicy(drawn(0), unfolds=0)
    with pytest.raises(UsageError, match="interval is 0"):
        NeuralCircuitPolicy(drawn(0), interval=0.0)
