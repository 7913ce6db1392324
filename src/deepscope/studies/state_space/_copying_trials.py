"""One trial: a network learns to copy, and is asked how it does so."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from deepscope.core import Case, TrialRun, UsageError, derive_seed
from deepscope.models import LanguageModel
from deepscope.studies.state_space._copying_networks import (
    SELECTED,
    build_network,
    scan_error,
    step_sizes,
    unselected,
)
from deepscope.studies.state_space._copying_tasks import BLANK, Task, right, sequences, stream, task_of
from deepscope.training import Callback, Checkpoint, TrainingState, cosine, fit

#: Stretches of training, after each of which the network is tested.
STRETCHES = 8
#: Sequences of which the scan is compared with a loop.
N_SCANNED = 8
#: Times the steps of training before the end, at which a network is tested as well.
FACTORS = (1, 2, 4, 8)
SAVED_EVERY = 1000


def trial(case: Case, run: TrialRun) -> dict[str, Any]:
    """Return what a network has learned, by accuracy on sequences that it has not seen.

    Returns
    -------
    dict
        ``accuracy``: share of the tokens asked for that it names, in ``case.n_test`` sequences; ``whole``: share of the
        sequences of which it names all. ``at_steps`` and ``curve``: the accuracy during training, on a quarter of them.
        ``factors`` and ``longer``: the same after training, with so many times the steps before the end. Of selective
        networks also ``unselected``: the accuracy with Δ, B and C at their means; ``without_step``, ``without_B``,
        ``without_C``: with one of them at its mean; ``scan_float32`` and ``scan_float64``: how far a scan is from one
        step after another, at most, at four times the length; and, in copying, ``step_at_values`` and
        ``step_at_blanks``: the mean Δ of each layer, lowest first. Of others these are None.

    Raises
    ------
    UsageError
        Fewer steps than stretches, and what tasks and networks refuse.
    """
    task = task_of(case)
    if case.steps < STRETCHES or case.steps % STRETCHES:
        raise UsageError(f"this is {case.steps}", where="steps", todo=f"Give a multiple of {STRETCHES}.")
    model = build_network(case, task, derive_seed(run.seed, "weights")).to(run.device)
    few = -(-case.n_test // 4)
    curve = _learn(model, task, case, run, few)
    found = answers(model, task, case.n_test, run.seed)
    numbers: dict[str, Any] = {
        "accuracy": share(found),
        "whole": share(found.all(1)),
        "at_steps": [(k + 1) * case.steps // STRETCHES for k in range(STRETCHES)],
        "curve": curve,
        "factors": list(FACTORS),
        "longer": [share(answers(model, task.stretched(factor), few, run.seed)) for factor in FACTORS],
    }
    return numbers | (
        _selection(model, task, case.n_test, run.seed) if case.arm == "selective" else dict.fromkeys(OF_SELECTION)
    )


OF_SELECTION = (
    "unselected",
    *(f"without_{part}" for part in SELECTED),
    "scan_float32",
    "scan_float64",
    "step_at_values",
    "step_at_blanks",
)


def _learn(model: LanguageModel, task: Task, case: Case, run: TrialRun, n_watched: int) -> list[float]:
    """Train a network, and return its accuracy after each stretch."""
    per_stretch = case.steps // STRETCHES
    history = fit(
        model,
        partial(stream, task, per_stretch, case.batch_size, run.seed),
        asked_for,
        optimizer=torch.optim.Adam(
            [parameter for parameter in model.parameters() if parameter.requires_grad], lr=case.learning_rate
        ),
        epochs=STRETCHES,
        schedule=cosine(case.steps, warmup=per_stretch // 2),
        callbacks=[_Watch(task, n_watched, run)],
        checkpoint=Checkpoint(run.checkpoint, every_steps=SAVED_EVERY),
        seed=run.seed,
    )
    return [record["accuracy"] for record in history.epochs]


class _Watch(Callback):
    """Add the accuracy to the record of each stretch."""

    def __init__(self, task: Task, n: int, run: TrialRun) -> None:
        self.task, self.n, self.run = task, n, run

    def on_epoch_end(self, state: TrainingState) -> None:
        record = state.history.epochs[-1]
        record["accuracy"] = share(answers(state.model, self.task, self.n, self.run.seed))
        self.run.progress(len(state.history.epochs) / STRETCHES)


def asked_for(logits: Tensor, asked: Tensor) -> Tensor:
    """Return the cross-entropy of the tokens asked for, [n, tokens], at the last steps of [n, length, vocabulary]."""
    return functional.cross_entropy(logits[:, -asked.shape[1] :].flatten(0, 1), asked.flatten())


@torch.no_grad()
def answers(model: nn.Module, task: Task, n: int, seed: int) -> Tensor:
    """Return which answers are right, [n, tokens], on test sequences that are the same for all networks of a seed."""
    tokens, asked = _tests(model, task, n, seed)
    return right(model(tokens), asked)


def share(found: Tensor) -> float:
    """Return the share of what is true.

    Examples
    --------
    >>> share(torch.tensor([True, False]))
    0.5
    """
    return found.double().mean().item()


def _tests(model: nn.Module, task: Task, n: int, seed: int) -> tuple[Tensor, Tensor]:
    home = next(model.parameters()).device
    drawn = sequences(task, n, torch.Generator().manual_seed(derive_seed(seed, "test", task.positions)))
    return drawn[0].to(home), drawn[1].to(home)


@torch.no_grad()
def _selection(model: LanguageModel, task: Task, n: int, seed: int) -> dict[str, Any]:
    """Return what a selective network does without its selection, its scan's errors, and its step sizes."""
    tokens, asked = _tests(model, task, n, seed)
    numbers: dict[str, Any] = {}
    for name, parts in {"unselected": SELECTED, **{f"without_{part}": (part,) for part in SELECTED}}.items():
        with unselected(model, parts):
            numbers[name] = share(right(model(tokens), asked))
    long, _ = _tests(model, task.stretched(4), N_SCANNED, seed)
    numbers |= {
        "scan_float32": scan_error(model, long, torch.float32),
        "scan_float64": scan_error(model, long, torch.float64),
        "step_at_values": None,
        "step_at_blanks": None,
    }
    if task.name != "induction":
        sizes = step_sizes(model, tokens)
        for name, chosen in (
            ("step_at_values", (tokens != BLANK) & (tokens <= task.n_values)),
            ("step_at_blanks", tokens == BLANK),
        ):
            numbers[name] = [size[chosen].mean().item() for size in sizes]
    return numbers
