"""An LSTM learns a few sequences, with dropout or without, until its validation loss rises."""

from __future__ import annotations

import copy
import math
from typing import Any, final

import torch
from torch import Tensor, nn

from deepscope.core import Case, UsageError, derive_seed, nearest
from deepscope.models import LanguageModel
from deepscope.studies.regularisation._dropped_lstm import DroppedLSTM
from deepscope.studies.regularisation._lag_source import LagSource
from deepscope.subject import seeded_generators
from deepscope.training import Callback, TrainingState, fit

ARMS = ("none", "vertical", "recurrent")
#: Test sequences for each that is trained on.
TESTS = 10
LOOKED_AT_EVERY = 10


def sequences(case: Case, seed: int, device: torch.device) -> dict[str, Any]:
    """Return the test cross-entropy of the network whose validation loss was least during training.

    Returns
    -------
    dict
        ``cross_entropy`` on the symbols that can be predicted, in nats; ``excess`` over the source's own on the same
        symbols; ``entropy`` of the source; ``stopped``: the step chosen; ``at_steps`` and ``curve``: validation losses.

    Raises
    ------
    UsageError
        An unknown arm.
    """
    if case.arm not in ARMS:
        raise UsageError("unknown arm", where=case.arm, todo=nearest(case.arm, ARMS))
    source = LagSource(case.n_symbols, case.lag, case.noise)
    generator = torch.Generator().manual_seed(derive_seed(seed, "sequences"))
    train, validation, test = (
        source.sequences(n, case.length, generator).to(device)
        for n in (case.n_sequences, case.n_sequences, TESTS * case.n_sequences)
    )
    rates = {name: case.rate if name == case.arm else 0.0 for name in ("vertical", "recurrent")}
    with seeded_generators(derive_seed(seed, "weights")):
        model = LanguageModel(case.n_symbols, case.units, DroppedLSTM(case.units, **rates)).to(device)
    course = _Best(source, validation)
    fit(
        model,
        # All sequences are one batch.
        lambda epoch: [(train, train)],
        source.cross_entropy,
        optimizer=torch.optim.Adam(model.parameters(), lr=case.learning_rate, fused=True),
        epochs=case.steps,
        callbacks=[course],
        seed=derive_seed(seed, "training"),
    )
    model.load_state_dict(course.weights)
    reached = course.loss(model, test)
    return {
        "cross_entropy": reached,
        "excess": reached - source.surprise(test.cpu()),
        "entropy": source.entropy,
        "stopped": course.at_steps[course.losses.index(min(course.losses))],
        "at_steps": course.at_steps,
        "curve": course.losses,
    }


@final
class _Best(Callback):
    """Keeps the weights of the least validation loss."""

    def __init__(self, source: LagSource, validation: Tensor) -> None:
        self.source, self.validation = source, validation
        self.at_steps: list[int] = []
        self.losses: list[float] = []
        self.weights: dict[str, Tensor] = {}

    def on_epoch_end(self, state: TrainingState) -> None:
        """Look at the validation loss, now and then."""
        if state.step % LOOKED_AT_EVERY:
            return
        loss = self.loss(state.model, self.validation)
        if loss < min(self.losses, default=math.inf):
            self.weights = copy.deepcopy(state.model.state_dict())
        self.at_steps.append(state.step)
        self.losses.append(loss)

    @torch.no_grad()
    def loss(self, model: nn.Module, tokens: Tensor) -> float:
        """Return the cross-entropy without dropout, and leave the model in the mode that it has."""
        training = model.training
        found = self.source.cross_entropy(model.eval()(tokens), tokens).item()
        model.train(training)
        return found
