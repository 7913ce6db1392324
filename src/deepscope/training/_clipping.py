"""Gradient clipping, by value and by norm."""

from __future__ import annotations

from collections.abc import Mapping
from typing import final

import torch

from deepscope.core import Specimen
from deepscope.training._callback import Callback, GradientClipping
from deepscope.training._optimizer_arguments import require, with_gradient
from deepscope.training._state import TrainingState


@final
class ValueClipping(Callback):
    """Limit each component of each step's gradient to [−limit, limit]; ``GradientClipping`` keeps its direction.

    Source: ``graves2013generating``.

    Raises
    ------
    UsageError
        The limit is not above 0.

    Examples
    --------
    >>> from deepscope.training import fit
    >>> model = torch.nn.Linear(1, 1, bias=False)
    >>> _ = torch.nn.init.zeros_(model.weight)
    >>> steep = lambda outputs, targets: -100 * outputs.sum()
    >>> _ = fit(
    ...     model,
    ...     lambda epoch: [(torch.ones(1, 1), torch.zeros(1))],
    ...     steep,
    ...     optimizer=torch.optim.SGD(model.parameters(), lr=0.1),
    ...     epochs=1,
    ...     callbacks=[ValueClipping(10.0)],
    ... )
    >>> model.weight.item()
    1.0
    """

    def __init__(self, limit: float) -> None:
        require(limit > 0, "limit", limit, "above 0", where="ValueClipping")
        self.limit = limit

    def on_gradients(self, state: TrainingState) -> None:
        """Clip."""
        torch.nn.utils.clip_grad_value_(with_gradient(state.optimizer), self.limit)

    def configuration(self) -> Mapping[str, object]:
        """Return the limit."""
        return {"limit": self.limit}


SPECIMENS = (
    Specimen(
        name="gradient-clipping",
        title="gradients scaled down to a largest norm",
        build=GradientClipping,
        formula="g ← g·min(1, c/‖g‖), the norm over all parameters.",
        source="pascanu2013difficulty",
        rows=("grad-clipping",),
        pinned_by="tests/verify/test_clipped_networks.py::test_clipping_ends_divergence_and_leaves_bounded_gradients_alone",
    ),
    Specimen(
        name="value-clipping",
        title="gradients limited component by component",
        build=ValueClipping,
        formula="gᵢ ← min(c, max(−c, gᵢ)).",
        source="graves2013generating",
        pinned_by="tests/training/test_clipping.py::test_each_component_is_limited_by_itself",
    ),
)
