"""Recurrent networks are trained on the adding problem."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, final

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from deepscope.core import Case, TrialRun
from deepscope.studies.recurrent._long_lag_tasks import adding
from deepscope.studies.recurrent._sequence_reader import SequenceReader
from deepscope.training import Callback, Checkpoint, TrainingState, fit

#: Batches whose mean loss says whether training is over.
EPOCH = 50
#: It is over below this mean squared error.
ENOUGH = 0.005
#: Sequences of the test.
N_TEST = 5000


@final
class _Training(Callback):
    """Clips the gradient's norm at 1, and ends the run where it has learned enough."""

    def __init__(self, run: TrialRun, steps: int) -> None:
        self.run, self.steps = run, steps

    def on_gradients(self, state: TrainingState) -> None:
        """Clip."""
        nn.utils.clip_grad_norm_(state.model.parameters(), 1.0)

    def on_epoch_end(self, state: TrainingState) -> None:
        """Stop where the last batches' loss is low enough."""
        self.run.progress(state.step / self.steps)
        state.stop = float(np.mean(state.history.loss[-EPOCH:])) < ENOUGH


def train_to_add(case: Case, run: TrialRun) -> dict[str, Any]:
    """Train on fresh sequences of the adding problem; return the test error and the loss over training."""

    def batches(epoch: int) -> Iterator[tuple[Tensor, Tensor]]:
        # Streams of their own for each epoch of each seed, and for the test.
        generator = torch.Generator().manual_seed(run.seed * 100_000 + 1 + epoch)
        for _ in range(min(EPOCH, case.steps)):
            x, y = adding(case.batch, case.length, generator, markers=case.answers)
            yield x.to(run.device), y.to(run.device)

    model = SequenceReader(case.learner, 2, case.units).to(run.device)
    history = fit(
        model,
        batches,
        functional.mse_loss,
        optimizer=torch.optim.Adam(model.parameters(), lr=case.learning_rate, fused=True),
        epochs=max(1, case.steps // EPOCH),
        callbacks=[_Training(run, case.steps)],
        checkpoint=Checkpoint(run.checkpoint, every_epochs=20),
        seed=run.seed,
    )
    test = torch.Generator().manual_seed(run.seed * 100_000)
    x, y = adding(N_TEST if case.steps >= EPOCH else 50, case.length, test, markers=case.answers)
    with torch.no_grad():
        error = functional.mse_loss(model(x.to(run.device)), y.to(run.device)).item()
    loss = np.array(history.loss)
    whole = len(loss) // EPOCH * EPOCH
    return {
        "test_error": error,
        "steps_made": len(loss),
        "loss": loss[:whole].reshape(-1, EPOCH).mean(1),
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
    }
