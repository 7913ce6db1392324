"""Echo state network: a fixed random recurrent network with a trained linear readout."""

from __future__ import annotations

import math
from typing import cast

import torch
from torch import Tensor, nn

from deepscope.core import Specimen, UsageError
from deepscope.models._inputs import values
from deepscope.models._recurrence import Recurrence, State
from deepscope.models._sizes import check_sequence, positive


class EchoStateNetwork(Recurrence):
    """Echo state network: hₜ = (1 − a) hₜ₋₁ + a tanh(W xₜ + U hₜ₋₁ + b), yₜ = V [hₜ, xₜ] + c, of which V and c learn.

    Maps [batch, time, input_size] to [batch, time, output_size]; the state is h, [batch, hidden_size], zero at first. U
    has ``degree`` standard Gaussian weights a unit on average and is scaled to its spectral radius ρ, the largest
    modulus of its eigenvalues; W and b are uniform between ± ``input_scale`` and ± ``bias_scale``. They are buffers.
    Where the largest singular value of U is below 1, two states under one input come closer at each step: the network
    forgets where it began, and its state is an echo of the input. ρ < 1 is what is asked in practice; it is enough for
    a network at rest. ``fit`` solves for V and c; they can be trained by gradients as well.

    With n units, m inputs and o outputs (n + m + 1) o parameters learn. A step costs 2n(n + m) operations, a fit of T
    steps 2T n² and n³. Sources: ``jaeger2001echo``; the leak a, and the networks of ``jaeger2004harnessing``.

    Parameters
    ----------
    input_size, hidden_size, output_size
        m, n and o.
    spectral_radius
        ρ.
    leak
        a, in (0, 1].
    degree
        Mean number of units that a unit hears, at most all.
    input_scale, bias_scale
        Bounds of W and b.
    generator
        Draws U, W and b.

    Raises
    ------
    UsageError
        A size below 1, or another argument that is none of these; when called: an input or a state that does not fit.

    Examples
    --------
    >>> model = EchoStateNetwork(1, 50, 1, generator=torch.Generator().manual_seed(0))
    >>> model(torch.zeros(2, 7, 1)).shape, sum(p.numel() for p in model.parameters())
    (torch.Size([2, 7, 1]), 52)
    >>> round(float(torch.linalg.eigvals(model.weight_hh).abs().max()), 3)
    0.9
    """

    weight_hh: Tensor
    weight_ih: Tensor
    bias: Tensor

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        output_size: int,
        *,
        spectral_radius: float = 0.9,
        leak: float = 0.5,
        degree: float = 10.0,
        input_scale: float = 1.0,
        bias_scale: float = 0.2,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__(input_size)
        self.hidden_size = positive(hidden_size, "hidden_size", self)
        self.output_size = positive(output_size, "output_size", self)
        if not (0 <= spectral_radius < math.inf and 0 < leak <= 1 and 0 < degree < math.inf):
            raise UsageError(
                f"spectral_radius is {spectral_radius}, leak {leak}, degree {degree}",
                where="EchoStateNetwork",
                todo="Give a radius of at least 0, a leak in (0, 1] and a degree above 0.",
            )
        if not (math.isfinite(input_scale) and math.isfinite(bias_scale)):
            raise UsageError(
                f"input_scale is {input_scale}, bias_scale {bias_scale}",
                where="EchoStateNetwork",
                todo="Give finite bounds.",
            )
        self.leak = leak
        self.register_buffer("weight_hh", _reservoir(hidden_size, degree, spectral_radius, generator))
        self.register_buffer(
            "weight_ih", input_scale * (2 * torch.rand(hidden_size, input_size, generator=generator) - 1)
        )
        self.register_buffer("bias", bias_scale * (2 * torch.rand(hidden_size, generator=generator) - 1))
        self.readout = nn.Linear(hidden_size + input_size, output_size)

    def initial_state(self, batch: int) -> Tensor:
        """Return h = 0, [batch, hidden_size]."""
        return self.weight_hh.new_zeros(batch, self.hidden_size)

    def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        """Take one step: [batch, input_size] and h to y, [batch, output_size], and the next h."""
        h = self._echo(nn.functional.linear(x, self.weight_ih, self.bias), cast(Tensor, state))
        return self.readout(torch.cat([h, x], -1)), h

    def echoes(self, x: Tensor, state: Tensor | None = None) -> Tensor:
        """Return the states under an input, [batch, time, hidden_size]."""
        check_sequence(x, self.input_size, self)
        h, states = self.initial_state(len(x)) if state is None else state, []
        for driven in nn.functional.linear(x, self.weight_ih, self.bias).unbind(1):
            h = self._echo(driven, h)
            states.append(h)
        return torch.stack(states, 1)

    @torch.no_grad()
    def fit(self, x: Tensor, targets: Tensor, *, washout: int = 0, ridge: float = 1e-8) -> None:
        """Set the readout to the least-squares solution: min Σ (y − target)² + ridge · steps · ‖V‖².

        Parameters
        ----------
        x
            [batch, time, input_size].
        targets
            [batch, time, output_size].
        washout
            Steps at the beginning of each sequence that are not fitted, for the state to forget where it began.
        ridge
            Penalty a step. The sums are taken in float64.

        Raises
        ------
        UsageError
            Targets of another shape, no step left to fit, a negative ridge, or numbers that are not finite.
        """
        check_sequence(x, self.input_size, self)
        if targets.shape != (*x.shape[:2], self.output_size) or not 0 <= washout < x.shape[1] or not ridge >= 0:
            raise UsageError(
                f"targets are {list(targets.shape)}, washout is {washout}, ridge {ridge}",
                where="EchoStateNetwork",
                todo=f"Give {[*x.shape[:2], self.output_size]}, a washout below {x.shape[1]} a ridge of at least 0.",
            )
        features = torch.cat([self.echoes(x), x], -1)[:, washout:].flatten(0, 1).double()
        wanted = targets[:, washout:].flatten(0, 1).double()
        if not (features.isfinite().all() and wanted.isfinite().all()):
            raise UsageError("numbers are not finite", where="EchoStateNetwork", todo="Leave these sequences out.")
        means, mean = features.mean(0), wanted.mean(0)
        features, wanted = features - means, wanted - mean
        penalty = math.sqrt(ridge * len(features)) * torch.eye(features.shape[1], device=x.device, dtype=torch.float64)
        # As one least-squares problem: the normal equations would square the condition number.
        weight = torch.linalg.lstsq(
            torch.cat([features, penalty]), torch.cat([wanted, wanted.new_zeros(len(penalty), self.output_size)])
        ).solution.T
        self.readout.weight.copy_(weight)
        self.readout.bias.copy_(mean - weight @ means)

    def _echo(self, driven: Tensor, h: Tensor) -> Tensor:
        return torch.lerp(h, torch.tanh(torch.addmm(driven, h, self.weight_hh.T)), self.leak)

    def _scan(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        states = self.echoes(x, cast(Tensor, state))
        return self.readout(torch.cat([states, x], -1)), states[:, -1]


def _reservoir(units: int, degree: float, radius: float, generator: torch.Generator | None) -> Tensor:
    weights = torch.randn(units, units, generator=generator, dtype=torch.float64)
    weights *= torch.rand(units, units, generator=generator) < degree / units
    largest = float(torch.linalg.eigvals(weights).abs().max())
    if radius and not largest:
        raise UsageError(
            "all eigenvalues of the weights that were drawn are 0",
            where="EchoStateNetwork",
            todo="Give more units or a higher degree.",
        )
    return (weights * (radius / largest if largest else 0.0)).to(torch.get_default_dtype())


def echo_state_400() -> EchoStateNetwork:
    """Return a network of 400 leaky units of radius 0.9 for one number a step; 402 parameters learn.

    Source: ``jaeger2001echo``.

    Examples
    --------
    >>> echo_state_400()(torch.zeros(2, 7, 1)).shape
    torch.Size([2, 7, 1])
    """
    return EchoStateNetwork(1, 400, 1)


SPECIMENS = (
    Specimen(
        name="echo-state",
        title="echo state network",
        build=echo_state_400,
        inputs=values(100, 1),
        parameters=402,
        formula="hₜ = (1 − a) hₜ₋₁ + a tanh(W xₜ + U hₜ₋₁ + b), yₜ = V [hₜ, xₜ] + c: W, U and b are fixed, U of "
        "spectral radius below 1, so that the state is an echo of the input; V and c are a linear least-squares fit.",
        source="jaeger2001echo",
        rows=("esn",),
        pinned_by="tests/models/test_echo_state.py::test_states_forget_where_they_began_and_it_runs_on_as_mackey_glass",
    ),
)
