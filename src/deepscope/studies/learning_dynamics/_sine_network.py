"""A tanh network that learns a sum of sines."""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 — torch's own name for it

from deepscope.core import Case, TrialRun, UsageError, nearest
from deepscope.models import MLP
from deepscope.studies.learning_dynamics._fourier_modes import Floats, SumOfSines, relative_errors, ring
from deepscope.studies.learning_dynamics._full_batch import full_batch_adam

#: Standard deviation of the random waves' frequencies: exp(−5²/(2 · 20²)) = 0.97 is even up to the highest of a target.
WAVES = 20.0
_LOSSES = ("value", "value and derivative")


def network_errors(case: Case, run: TrialRun, target: SumOfSines) -> Iterator[Floats]:
    """Yield the relative errors at the target's frequencies, [3], before each step of training, for ever.

    Its input is the point x, or for the learner ``"waves"`` random waves √2 cos(wx + b) in the place of a first layer.

    Raises
    ------
    UsageError
        An unknown loss.
    """
    if case.loss not in _LOSSES:
        raise UsageError("unknown loss", where=case.loss, todo=nearest(case.loss, _LOSSES))
    x = ring(case.points)
    wanted = target(x)
    inputs, values, slopes = (
        torch.from_numpy(each).float().unsqueeze(1).to(run.device) for each in (x, wanted, target.derivative(x))
    )
    if case.learner == "waves":
        frequencies = WAVES * torch.randn(1, case.width, generator=run.generator)
        phases = 2 * math.pi * torch.rand(case.width, generator=run.generator)
        inputs = math.sqrt(2) * torch.cos(inputs * frequencies.to(run.device) + phases.to(run.device))
    inputs.requires_grad_(case.loss == "value and derivative")
    hidden = [case.width] * (3 if case.learner == "waves" else 4)
    model = MLP(inputs.shape[1], hidden, 1, activation="tanh").to(run.device)

    def forward() -> tuple[Tensor, Tensor]:
        if case.loss == "value":
            outputs = model(inputs)
            return outputs, F.mse_loss(outputs, values)
        outputs = model(inputs)
        # An output depends on its own point alone, so that the gradient of their sum is the derivative at each.
        (derivative,) = torch.autograd.grad(outputs.sum(), inputs, create_graph=True)
        return outputs, F.mse_loss(outputs, values) + F.mse_loss(derivative, slopes)

    for step, outputs in enumerate(full_batch_adam(model, forward, case.learning_rate)):
        run.progress(min(1.0, step / case.steps))
        yield relative_errors(outputs.squeeze(1).double().cpu().numpy(), wanted, target.frequencies)
