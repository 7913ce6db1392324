"""A subject's model with other tensors in place of its own, for gradients to pass through."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from deepscope.instruments._parameter_space import ParameterSpace
from deepscope.subject import Batch, Subject, scalar_loss


class StandIn(nn.Module):
    """Runs a subject's forward pass while other tensors stand in for its model's own.

    Parameters
    ----------
    subject, space
        What is run; it must be in its undisturbed context.
    """

    def __init__(self, subject: Subject, space: ParameterSpace) -> None:
        super().__init__()
        self.model = subject.model
        self._subject, self._space = subject, space

    def outputs(self, values: Mapping[str, Tensor], batch: Batch) -> Any:
        """Return the outputs for a batch, attached to the graph of ``values``."""
        every = {**self._space.fixed, **values}
        for name, others in self._space.aliases.items():
            if name in every:
                every.update(dict.fromkeys(others, every[name]))
        named = {f"model.{name}": tensor for name, tensor in every.items()}
        return torch.func.functional_call(self, named, (batch.inputs,))

    def loss(self, values: Mapping[str, Tensor], batch: Batch) -> Tensor:
        """Return the loss of a batch, a scalar."""
        assert self._subject.loss is not None
        return scalar_loss(self._subject.loss, self.outputs(values, batch), batch.targets)

    def forward(self, inputs: Any) -> Any:
        """Run the subject; what ``outputs`` calls."""
        return self._subject.predict(inputs)
