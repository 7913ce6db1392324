"""Which neuron of a neural circuit hears which, and with what sign."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from deepscope.core import UsageError


@dataclass(frozen=True, eq=False)
class Wiring:
    """Synapses of a circuit: −1 where one inhibits, 1 where it excites, 0 where there is none.

    Attributes
    ----------
    sensory
        From each input to each neuron, [inputs, neurons].
    synapses
        From each neuron to each neuron, [neurons, neurons].
    motors
        Number of neurons that are read out: the first ones.

    Raises
    ------
    UsageError
        Other shapes or numbers.

    Examples
    --------
    >>> wiring = Wiring(sensory=torch.ones(2, 3), synapses=torch.eye(3), motors=1)
    >>> wiring.inputs, wiring.neurons, wiring.n_synapses
    (2, 3, 9)
    """

    sensory: Tensor
    synapses: Tensor
    motors: int

    def __post_init__(self) -> None:
        neurons = self.synapses.shape[0]
        square = self.synapses.shape == (neurons, neurons) and self.sensory.shape[1:] == (neurons,)
        signs = all(bool(((each == 0) | (each.abs() == 1)).all()) for each in (self.sensory, self.synapses))
        if not square or not len(self.sensory) or not 1 <= self.motors <= neurons or not signs:
            raise UsageError(
                f"sensory is {list(self.sensory.shape)}, synapses {list(self.synapses.shape)}, motors {self.motors}",
                where="Wiring",
                todo="Give [inputs, neurons] and [neurons, neurons] of −1, 0 and 1, and 1 to neurons motors.",
            )

    @property
    def inputs(self) -> int:
        """Number of inputs."""
        return len(self.sensory)

    @property
    def neurons(self) -> int:
        """Number of neurons."""
        return len(self.synapses)

    @property
    def n_synapses(self) -> int:
        """Number of synapses, those from inputs among them."""
        return int(self.sensory.count_nonzero() + self.synapses.count_nonzero())


def neural_circuit_wiring(
    inputs: int,
    inter: int,
    command: int,
    motor: int,
    *,
    sensory_fanout: int,
    inter_fanout: int,
    recurrent_command_synapses: int,
    motor_fanin: int,
    generator: torch.Generator | None = None,
) -> Wiring:
    """Draw the four-layer wiring of a neural circuit policy: inputs → inter → command → motor neurons.

    Each input excites or inhibits ``sensory_fanout`` inter neurons, each of these ``inter_fanout`` command neurons;
    there are ``recurrent_command_synapses`` among command neurons, and each motor neuron hears ``motor_fanin`` of them.
    A neuron that nobody hears, or that hears nobody, then gets as many synapses as the others have on average. Motor
    neurons come first, then command, then inter neurons. Source: ``lechner2020neural``, the order of whose
    implementation this follows.

    Raises
    ------
    UsageError
        A size below 1, a negative number of synapses, or more of them than there are neurons.

    Examples
    --------
    >>> wiring = neural_circuit_wiring(
    ...     4, 5, 3, 1, sensory_fanout=2, inter_fanout=2, recurrent_command_synapses=1, motor_fanin=3,
    ...     generator=torch.Generator().manual_seed(0),
    ... )
    >>> wiring.neurons, wiring.motors
    (9, 1)
    """
    asked = {
        "inter": (sensory_fanout, inter),
        "command": (max(inter_fanout, motor_fanin), command),
        "pairs of command": (max(recurrent_command_synapses, 1), command * command),
    }
    least = min(inputs, inter, command, motor, sensory_fanout, inter_fanout, motor_fanin)
    if least < 1 or recurrent_command_synapses < 0 or any(wanted > there for wanted, there in asked.values()):
        raise UsageError(
            "; ".join(f"{wanted} of {there} {kind} neurons" for kind, (wanted, there) in asked.items()),
            where="neural_circuit_wiring",
            todo="Give sizes of at least 1, and fewer synapses than there are neurons to take them.",
        )
    draw = _Draws(generator)
    neurons = inter + command + motor
    commands, inters = slice(motor, motor + command), slice(motor + command, neurons)
    sensory, synapses = torch.zeros(inputs, neurons), torch.zeros(neurons, neurons)
    sensory[:, inters] = draw.reached(inputs, inter, sensory_fanout)
    synapses[inters, commands] = draw.reached(inter, command, inter_fanout)
    among = draw.signs(command * command)
    among[torch.randperm(len(among), generator=generator)[recurrent_command_synapses:]] = 0
    synapses[commands, commands] = among.view(command, command)
    synapses[commands, :motor] = draw.reached(motor, command, motor_fanin).T
    return Wiring(sensory=sensory, synapses=synapses, motors=motor)


class _Draws:
    """Random synapses between two layers."""

    def __init__(self, generator: torch.Generator | None) -> None:
        self._generator = generator

    def signs(self, *shape: int) -> Tensor:
        """Return −1 and 1, each as often."""
        return 2.0 * torch.randint(2, shape, generator=self._generator) - 1

    def reached(self, sources: int, targets: int, fanout: int) -> Tensor:
        """Return [sources, targets] with ``fanout`` synapses of each source, and no target without one."""
        there = self._choose(sources, targets, fanout)
        forgotten = ~there.any(0)
        fanin = min(max(sources * fanout // targets, 1), sources)
        there[:, forgotten] = self._choose(targets, sources, fanin)[forgotten].T
        return self.signs(sources, targets) * there

    def _choose(self, rows: int, columns: int, count: int) -> Tensor:
        order = torch.rand(rows, columns, generator=self._generator).argsort(1)
        return torch.zeros(rows, columns, dtype=torch.bool).scatter_(1, order[:, :count], value=True)
