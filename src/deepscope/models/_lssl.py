"""Linear state space layer."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from deepscope.core import Specimen, UsageError
from deepscope.models._discretise import discretise
from deepscope.models._hippo import hippo_legs
from deepscope.models._inputs import values
from deepscope.models._state_space import StateSpace, Transfer, dense_transfer


class LSSL(StateSpace):
    """Linear state space layer: ds/dt = A s + B x, y = C s + D x of each feature, in steps of a learnt size Δ.

    Maps [batch, time, features] to as many numbers. With Ā and B̄ from ``discretise`` it is at once a recurrence, a
    convolution and a differential equation, so that a signal that is sampled r times as densely is read by the same
    layer with Δ / r: log r subtracted from ``log_step``. For H features and N states it has H (N + 2) parameters:
    ``log_step``, ``C`` and ``D``. A and B, those of HiPPO-LegS, are shared and fixed (LSSL-f in the paper). A call is
    O(H (N³ log T + N² T)) for the kernel, which takes O(H N T) numbers, and O(H T log T) for the convolution.
    Source: ``gu2021combining``.

    As in the paper Δ begins log-uniform between two step sizes; C begins as N(0, 1/N). D is of ``StateSpace``.

    Parameters
    ----------
    features
        H.
    state_size
        N.
    smallest_step, largest_step
        Between which Δ begins: about one over the longest and the shortest time that matters.
    method
        As in ``discretise``.

    Raises
    ------
    UsageError
        A size below 1, another method, or steps that are not above 0 and ascending; when called: an input or a state
        that does not fit.

    Examples
    --------
    >>> model = LSSL(4, 16)
    >>> model(torch.zeros(2, 7, 4)).shape, sum(p.numel() for p in model.parameters())
    (torch.Size([2, 7, 4]), 72)
    """

    A: Tensor
    B: Tensor

    def __init__(
        self,
        features: int = 8,
        state_size: int = 64,
        *,
        smallest_step: float = 1e-3,
        largest_step: float = 0.1,
        method: str = "bilinear",
    ) -> None:
        super().__init__(features, state_size)
        A, B = hippo_legs(state_size)
        discretise(A, B, 1.0, method)
        self.method = method
        self.register_buffer("A", A.to(torch.get_default_dtype()))
        self.register_buffer("B", B.to(torch.get_default_dtype()))
        self.log_step = nn.Parameter(initial_log_step(features, smallest_step, largest_step, self))
        self.C = nn.Parameter(torch.randn(features, state_size) / math.sqrt(state_size))

    def initial_state(self, batch: int) -> Tensor:
        """Return s = 0, [batch, features, N]."""
        return self.D.new_zeros(batch, self.input_size, self.state_size)

    def transfer(self, length: int) -> Transfer:
        """Return what some steps do."""
        return dense_transfer(*discretise(self.A, self.B, self.log_step.exp(), self.method), self.C, length)


def initial_log_step(features: int, smallest: float, largest: float, owner: object) -> Tensor:
    """Return logarithms of step sizes, drawn uniformly between those of two, [features].

    Raises
    ------
    UsageError
        Not 0 < smallest ≤ largest < ∞.
    """
    if not 0 < smallest <= largest < math.inf:
        raise UsageError(
            f"smallest_step is {smallest}, largest_step {largest}",
            where=type(owner).__name__,
            todo="Give finite steps above 0, the smallest first.",
        )
    return torch.empty(features).uniform_(math.log(smallest), math.log(largest))


SPECIMENS = (
    Specimen(
        name="lssl",
        title="linear state space layer",
        build=LSSL,
        inputs=values(100, 8),
        parameters=528,
        formula=(
            "s_k = Ā s_{k−1} + B̄ x_k, y_k = C s_k + D x_k of each of 8 features, with 64 states: A and B of "
            "HiPPO-LegS, by the bilinear rule with a learnt step Δ; the same as the convolution with K_l = C Ā^l B̄."
        ),
        source="gu2021combining",
        rows=("lssl",),
        pinned_by="tests/models/test_lssl.py::test_recurrence_and_convolution_agree_and_a_step_is_a_sampling_rate",
    ),
)
