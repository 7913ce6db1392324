"""Neural circuit policy: liquid neurons wired as in a worm."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from deepscope.core import Specimen
from deepscope.models._inputs import values
from deepscope.models._liquid import check_interval
from deepscope.models._recurrence import Recurrence, State
from deepscope.models._sizes import positive
from deepscope.models._wiring import Wiring, neural_circuit_wiring


class Synapses(nn.Module):
    """Chemical synapses: what the potentials v of their sources do to their targets.

    Synapse s from neuron j to i has conductance gₛ = wₛ σ(aₛ (vⱼ − μₛ)) and pulls vᵢ to Eₛ. Maps v, [batch, sources],
    to the sums Σ gₛ and Σ gₛ Eₛ over the synapses of each target, [batch, targets] each. It has 4 parameters a synapse:
    ``weight`` (w = softplus of it, which is at least 0), ``steepness`` a, ``threshold`` μ and ``reversal`` E, which
    begins at the synapse's sign; w begins uniform in [0.001, 1], a in [3, 8], μ in [0.3, 0.8].
    Source: ``lechner2020neural``.

    Parameters
    ----------
    signs
        [sources, targets] of −1, 0 and 1.

    Examples
    --------
    >>> synapses = Synapses(torch.tensor([[1.0, 0.0], [-1.0, 1.0]]))
    >>> [each.shape for each in synapses(torch.zeros(3, 2))], sum(p.numel() for p in synapses.parameters())
    ([torch.Size([3, 2]), torch.Size([3, 2])], 12)
    """

    source: Tensor
    into: Tensor

    def __init__(self, signs: Tensor) -> None:
        super().__init__()
        source, target = signs.nonzero(as_tuple=True)
        self.register_buffer("source", source)
        # A product with it is the sum over a target's synapses, in the same order at every call and on every device.
        self.register_buffer("into", functional.one_hot(target, signs.shape[1]).to(torch.get_default_dtype()))
        n = len(source)
        self.weight = nn.Parameter(inverse_softplus(torch.empty(n).uniform_(0.001, 1)))
        self.steepness = nn.Parameter(torch.empty(n).uniform_(3, 8))
        self.threshold = nn.Parameter(torch.empty(n).uniform_(0.3, 0.8))
        self.reversal = nn.Parameter(signs[source, target].to(torch.get_default_dtype()))

    def forward(self, potentials: Tensor) -> tuple[Tensor, Tensor]:
        """Return the conductances and the currents into each target, [batch, targets] each."""
        open_ = torch.sigmoid(self.steepness * (potentials[:, self.source] - self.threshold))
        conductances = functional.softplus(self.weight) * open_
        return conductances @ self.into, (conductances * self.reversal) @ self.into


class NeuralCircuitPolicy(Recurrence):
    """Neural circuit policy: C dvᵢ/dt = g (V − vᵢ) + Σₛ gₛ (Eₛ − vᵢ) over the synapses of neuron i.

    A liquid time-constant network whose synapses are those of a wiring: gₛ depends on the potential of the neuron, or
    the input, that synapse s comes from (``Synapses``). Between two inputs, which are ``interval`` apart, ``unfolds``
    steps Δ of the fused solver are taken,

        v ← (C v / Δ + g V + Σ gₛ Eₛ) / (C / Δ + g + Σ gₛ),

    a mean of v, V and the reversal potentials E, between which the potentials therefore stay. Inputs are scaled and
    shifted one by one (``input_scale``, ``input_shift``), and so are the outputs. Maps [batch, time, inputs] to the
    motor neurons, [batch, time, motors]; the state is v, [batch, neurons], zero at first. It has 4 parameters a
    synapse, 3 a neuron (``capacitance`` and ``leak``, C and g through softplus; ``rest``, V), 2 an input and 2 a motor
    neuron. A step costs some 10 operations for each synapse and unfold. Sources: ``lechner2020neural``; the
    solver ``hasani2021liquid``.

    Parameters
    ----------
    wiring
        Its inputs, neurons and synapses.
    interval
        Time between two inputs.
    unfolds
        Steps of the solver between two inputs.

    Raises
    ------
    UsageError
        No unfold, or an interval that is not above 0; when called: an input or a state that does not fit.

    Examples
    --------
    >>> wiring = Wiring(sensory=torch.ones(2, 3), synapses=torch.eye(3), motors=1)
    >>> model = NeuralCircuitPolicy(wiring)
    >>> model(torch.zeros(5, 7, 2)).shape, sum(p.numel() for p in model.parameters())
    (torch.Size([5, 7, 1]), 51)
    """

    def __init__(self, wiring: Wiring, *, interval: float = 1.0, unfolds: int = 6) -> None:
        super().__init__(wiring.inputs)
        self.neurons, self.motors = wiring.neurons, wiring.motors
        self.interval, self.unfolds = check_interval(interval, self), positive(unfolds, "unfolds", self)
        self.sensory, self.synapses = Synapses(wiring.sensory), Synapses(wiring.synapses)
        self.capacitance = nn.Parameter(inverse_softplus(torch.empty(self.neurons).uniform_(0.4, 0.6)))
        self.leak = nn.Parameter(inverse_softplus(torch.empty(self.neurons).uniform_(0.001, 1)))
        self.rest = nn.Parameter(torch.empty(self.neurons).uniform_(-0.2, 0.2))
        self.input_scale, self.input_shift = _identity(wiring.inputs)
        self.output_scale, self.output_shift = _identity(wiring.motors)

    def initial_state(self, batch: int) -> Tensor:
        """Return v = 0, [batch, neurons]."""
        return self.rest.new_zeros(batch, self.neurons)

    def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        """Take one step: [batch, inputs] and v to the motor neurons, [batch, motors], and the next v."""
        v = cast(Tensor, state)
        inertia = functional.softplus(self.capacitance) * (self.unfolds / self.interval)
        leak = functional.softplus(self.leak)
        sensory_conductance, sensory_current = self.sensory(torch.addcmul(self.input_shift, self.input_scale, x))
        still, driven = inertia + leak + sensory_conductance, leak * self.rest + sensory_current
        for _ in range(self.unfolds):
            conductance, current = self.synapses(v)
            v = (inertia * v + driven + current) / (still + conductance)
        return torch.addcmul(self.output_shift, self.output_scale, v[:, : self.motors]), v


def inverse_softplus(x: Tensor) -> Tensor:
    """Return y with softplus(y) = x > 0.

    Examples
    --------
    >>> functional.softplus(inverse_softplus(torch.tensor(0.5)))
    tensor(0.5000)
    """
    return x + torch.log(-torch.expm1(-x))


def _identity(size: int) -> tuple[nn.Parameter, nn.Parameter]:
    return nn.Parameter(torch.ones(size)), nn.Parameter(torch.zeros(size))


def neural_circuit_19() -> NeuralCircuitPolicy:
    """Return a policy of 12 inter, 6 command and 1 motor neurons with 32 inputs and 252 synapses; 1,131 parameters.

    The paper's controller for keeping a lane has 19 neurons and 253 synapses; the wiring is drawn anew, as its
    implementation draws it. Source: ``lechner2020neural``.

    Examples
    --------
    >>> neural_circuit_19()(torch.zeros(2, 7, 32)).shape
    torch.Size([2, 7, 1])
    """
    wiring = neural_circuit_wiring(
        32,
        12,
        6,
        1,
        sensory_fanout=6,
        inter_fanout=4,
        recurrent_command_synapses=6,
        motor_fanin=6,
        generator=torch.Generator().manual_seed(0),
    )
    return NeuralCircuitPolicy(wiring)


SPECIMENS = (
    Specimen(
        name="neural-circuit-policy",
        title="neural circuit policy of 19 neurons",
        build=neural_circuit_19,
        inputs=values(16, 32),
        parameters=1_131,
        formula="C dvᵢ/dt = g (V − vᵢ) + Σₛ gₛ (Eₛ − vᵢ), gₛ = w σ(a (vⱼ − μ)) for synapse s from neuron or input j to "
        "neuron i; the synapses lead from inputs to inter, command and motor neurons, few of each.",
        source="lechner2020neural",
        pinned_by="tests/models/test_neural_circuit.py::test_it_is_the_reference_implementation_on_a_wiring_of_its_own",
    ),
)
