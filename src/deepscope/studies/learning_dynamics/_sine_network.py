"""A tanh network that learns a sum of sines."""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Tensor

from deepscope.core import Case, TrialRun, UsageError, nearest
from deepscope.models import MLP
from deepscope.studies.learning_dynamics._fourier_modes import Floats, SumOfSines, relative_errors, ring
from deepscope.studies.learning_dynamics._full_batch import full_batch_adam

#: Standard deviation of the random waves' frequencies: exp(−5²/(2 · 20²)) = 0.97 is even up to the highest of a target.
WAVES = 20.0
#: The highest frequency whose second derivative counts in full: above the targets' highest, 6.
HIGHEST = 8
_LOSSES = ("value", "value and second derivative")


def network_errors(case: Case, run: TrialRun, target: SumOfSines) -> Iterator[Floats]:
    """Yield the relative errors at the target's frequencies, [3], before each step of training, for ever.

    Its input is the point x, or for the learner ``"waves"`` random waves √2 cos(wx + b) in the place of a first layer.

    Raises
    ------
    UsageError
        An unknown loss.
    """
    x = ring(case.points)
    wanted = target(x)
    inputs, values = (torch.from_numpy(each).float().unsqueeze(1).to(run.device) for each in (x, wanted))
    weights = mode_weights(case.points, case.loss).unsqueeze(1).to(run.device)
    if case.learner == "waves":
        frequencies = WAVES * torch.randn(1, case.width, generator=run.generator)
        phases = 2 * math.pi * torch.rand(case.width, generator=run.generator)
        inputs = math.sqrt(2) * torch.cos(inputs * frequencies.to(run.device) + phases.to(run.device))
    hidden = [case.width] * (3 if case.learner == "waves" else 4)
    model = MLP(inputs.shape[1], hidden, 1, activation="tanh").to(run.device)

    def forward() -> tuple[Tensor, Tensor]:
        outputs = model(inputs)
        modes = torch.fft.fft(outputs - values, dim=0, norm="ortho")
        return outputs, (weights * modes.abs().square()).mean()

    for step, outputs in enumerate(full_batch_adam(model, forward, case.learning_rate)):
        run.progress(min(1.0, step / case.steps))
        yield relative_errors(outputs.squeeze(1).double().cpu().numpy(), wanted, target.frequencies)


def mode_weights(points: int, loss: str) -> Tensor:
    """Return the weight in the loss of each mode of the error on the ring, [points], in the order of ``torch.fft.fft``.

    The loss is the mean over modes of weight · |ê(k)|². The weight 1 of ``"value"`` makes it the mean squared error
    (Parseval). ``"value and second derivative"`` has 1 + k⁴, which adds the mean square of e″; |k| counts as
    ``HIGHEST`` at most, or the modes that are in no target would outweigh the others by their number and size.

    Raises
    ------
    UsageError
        An unknown loss.
    """
    if loss not in _LOSSES:
        raise UsageError("unknown loss", where=loss, todo=nearest(loss, _LOSSES))
    if loss == "value":
        return torch.ones(points)
    frequencies: Tensor = torch.fft.fftfreq(points, 1 / points)
    return frequencies.abs().clamp(max=HIGHEST).pow(4).add(1)
