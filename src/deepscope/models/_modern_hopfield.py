"""Modern Hopfield network: an associative memory whose update is attention."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from deepscope.core import Specimen, UsageError
from deepscope.models._inputs import values
from deepscope.models._sizes import check_input, positive


class ModernHopfield(nn.Module):
    """Modern Hopfield network: ξ ← Xᵀ softmax(β X ξ), which descends E = −β⁻¹ log Σ_i e^(β x_i·ξ) + |ξ|²/2 + constant.

    Maps states [..., d] to the next, towards the stored patterns, the rows of X, [N, d]. It is attention of the states
    as queries to the patterns as keys and values, with β in place of 1/√d_h. The constant, β⁻¹ log N + max |x_i|²/2,
    makes E ≥ 0; no update increases it. A pattern that differs from the others by much more than 1/β is retrieved by
    one update, to within an error that falls exponentially in β times the difference. N d parameters, which may be set
    (``store``) or trained; they begin as N(0, 1). Cost of an update of one state: 4Nd operations. Source:
    ``ramsauer2021hopfield``.

    Parameters
    ----------
    features
        d.
    patterns
        N.
    beta
        β, the inverse temperature.
    steps
        Updates of one call.

    Raises
    ------
    UsageError
        A size below 1, or β not above 0; when called: states of other features.

    Examples
    --------
    >>> import torch
    >>> memory = ModernHopfield(2, 2, beta=20.0)
    >>> memory.store(torch.tensor([[1.0, 1.0], [-1.0, 1.0]]))
    >>> memory(torch.tensor([0.4, 0.9])).round(decimals=3)
    tensor([1., 1.], grad_fn=<RoundBackward1>)
    """

    def __init__(self, features: int = 64, patterns: int = 16, *, beta: float = 0.125, steps: int = 1) -> None:
        super().__init__()
        self.features, self.steps = positive(features, "features", self), positive(steps, "steps", self)
        if not 0 < beta < math.inf:
            raise UsageError(f"beta is {beta}", where="ModernHopfield", todo="Give a finite number above 0.")
        self.beta = beta
        self.patterns = nn.Parameter(torch.randn(positive(patterns, "patterns", self), features))

    def store(self, patterns: Tensor) -> None:
        """Remember these patterns, [N, d], in place of the ones before."""
        if patterns.shape != self.patterns.shape or not patterns.is_floating_point():
            raise UsageError(
                f"the patterns are {list(patterns.shape)} of {str(patterns.dtype).removeprefix('torch.')}",
                where="ModernHopfield",
                todo=f"Give {list(self.patterns.shape)} of floating-point numbers.",
            )
        with torch.no_grad():
            self.patterns.copy_(patterns)

    def forward(self, x: Tensor) -> Tensor:
        """Return the states after the updates, [..., d]."""
        self._check(x)
        for _ in range(self.steps):
            x = self.weights(x) @ self.patterns
        return x

    def weights(self, x: Tensor) -> Tensor:
        """Return softmax(β X ξ), [..., N]: how much of each pattern the next state has."""
        self._check(x)
        weights: Tensor = (self.beta * x @ self.patterns.mT).softmax(-1)
        return weights

    def energy(self, x: Tensor) -> Tensor:
        """Return E of each state, [...]."""
        self._check(x)
        lse = torch.logsumexp(self.beta * x @ self.patterns.mT, -1) / self.beta
        constant = math.log(len(self.patterns)) / self.beta + self.patterns.square().sum(-1).max() / 2
        return x.square().sum(-1) / 2 - lse + constant

    def _check(self, x: Tensor) -> None:
        check_input(x, x.shape[-1:] == (self.features,), f"states, [..., {self.features}] of {{}} numbers", self)


SPECIMENS = (
    Specimen(
        name="modern-hopfield",
        title="modern Hopfield network, an associative memory",
        build=ModernHopfield,
        inputs=values(64),
        parameters=1_024,
        formula="ξ ← Xᵀ softmax(β X ξ) for the stored patterns X, which never increases the energy E = −β⁻¹ log Σ_i "
        "e^(β x_i·ξ) + |ξ|²/2: a step of attention, in which the state is the query and the patterns are keys and "
        "values.",
        source="ramsauer2021hopfield",
        rows=("hopfield-dynamics",),
        pinned_by="tests/models/test_modern_hopfield.py::test_an_update_is_a_step_of_attention",
    ),
)
