"""Grokking: the validation pairs of a table are learned long after the training pairs.

**Claim.** A network that learns part of a table of modular arithmetic first knows the training pairs by heart and
nothing of the others, and much later, while the training pairs stay learned, learns the others; sooner with more of the
table, and with more weight decay. The source reports the steps for the share of the table. For the decay it reports
pairs, not steps: decay more than halves the share of the table that is needed. It groks without decay too: its example
of under 10³ and near 10⁶ steps (a / b modulo 97, half of the table) was trained by Adam without weight decay, with a
budget of 10⁶ steps (its appendix A.1.2).

**What is done.** Of all pairs (a, b) modulo a prime a fraction is trained on, drawn by the seed; the rest validates. An
embedding of 128 dimensions, of a and of b side by side, one hidden layer of 128 rectified units, softmax over the
results; full-batch AdamW, learning rate 10⁻³, decay on all parameters, torch's initialisation. Accuracies are measured
at steps 1 % apart, so that logarithms of steps are known to 0.01. A trial ends at 1.1 × the step at which 99 % of the
validation pairs were right, and nothing after that step is judged, or when its steps are used up. The cases of one seed
are paired: the table is shuffled alike, and a smaller training set is part of a larger one.

**Criteria.** At 60 % of the table and a weight decay of 1:

* log(steps to 99 % validation / steps to 99 % training accuracy) is above log 5. An ordinary learner scores about 0.
  One that never learns the validation pairs would pass, since its unfinished run is a lower bound: so
* the validation accuracy reaches 99 % in every run, and
* it is at most 0.05 when the training accuracy reaches 99 % (chance is below 0.02): a network that generalises while it
  fits, but for a long tail of single errors, would pass the first two.
* From that step until the validation pairs are learned the training accuracy stays at 99 %, wherever it is measured: a
  network that forgets its training pairs and then learns all pairs together has not memorised them first.

The steps to 99 % validation accuracy, and not their ratio to those of fitting, which falls too where fitting takes
longer and learning does not come sooner:

* They fall with the share of the table (at a decay of 1) and with the decay (at 60 %; up to 1, since more of it hinders
  fitting): each seed's slope of their log, per tenth of the table and per doubling of the decay, is below log 0.9, a
  tenth fewer steps. No dependence scores 0. The margin is ten times the 1 % to which steps are known.
* Without decay they are more than twice those with it. No effect of decay scores 0. A learner without decay that used
  up its steps counts with these, a lower bound; that it never learns is neither claimed nor asked.

A run that used up its steps is a lower bound in the slopes too, and only where that makes a falling slope flatter
(``slope``). Elsewhere the seed's value is unknown, and a criterion that lacks a seed cannot hold.

**Control.** With random results in the whole table, the validation accuracy ends below chance + 4 standard errors: by
chance alone a run ends above with a probability below 4·10⁻⁴ (binomial). Nothing can be learned there about the
validation pairs, whose results are drawn independently: the control can detect a leak of them into training or into
the measurement, and nothing else. One that did not memorise its training pairs is none, and leaves its criterion open.

**What was mended.** The published ratio alone is passed by a network that learns nothing but its training pairs: the
second criterion. A slope through runs that ended too early can have either sign: the lower bounds. The highest
validation accuracy of a run on random labels, of hundreds that are measured, passes 4 standard errors by chance far
more often than the last one, which is judged: a network that has generalised stays so. a + b has a symmetry, b + a, by
which many validation pairs could be known from the training pairs; the network does not share it (the halves of its
first layer differ), and the third criterion would show it. "No decay, no grokking" was once a control here; the source
says otherwise, and it is now a comparison. The paper's transformer, modulus and 10⁶ steps are out of reach here, so
that its factor of 10³ is not asked for. Four shares of the table, not three: a slope through more of them depends less
on the runs at either end.

Described, not judged: the norm of all weights, and over how many frequencies the embedding spreads
(``nanda2023progress``: what generalises uses few). ``quick`` takes up to ten CPU-minutes, more than half of them for
runs that must use up their steps.
"""

from __future__ import annotations

import itertools
import math
from typing import Any, final

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from torch.nn import functional

from deepscope.core import Case, Criterion, Grid, Study, TrialRun, Value, per_seed
from deepscope.studies.learning_dynamics._grokking_delay import DELAYED, MAIN, learning_steps, log_ratio, slope, sweep
from deepscope.studies.learning_dynamics._grokking_figure import draw
from deepscope.studies.learning_dynamics._modular_arithmetic import (
    OPERATIONS,
    OperandMLP,
    effective_frequencies,
    table,
)
from deepscope.training import Callback, Checkpoint, TrainingState, fit

#: The accuracy at which pairs count as learned.
LEARNED = 0.99
#: So many times the steps, or fewer, with a tenth more of the table, or with twice the decay: less is no trend.
SOONER = 0.9
#: A trial ends when it has made this many times the steps after which the validation pairs were learned.
BEYOND = 1.1
#: Steps between two checkpoints: a few seconds.
SAVED_EVERY = 1000


def trial(case: Case, run: TrialRun) -> dict[str, Any]:
    """Train on part of a table until the rest is learned too, or the steps are used up."""
    operands, results = table(case.operation, case.modulus)
    generator = run.generator
    order = torch.randperm(len(results), generator=generator)
    if case.labels == "random":
        results = torch.randint(case.modulus, results.shape, generator=generator)
    operands, results = operands[order].to(run.device), results[order].to(run.device)
    n_train = round(case.fraction * len(results))

    model = OperandMLP(case.modulus, case.embedding, case.hidden).to(run.device)
    course = _Course(case, run, operands, results, n_train)
    fit(
        model,
        lambda epoch: itertools.repeat((operands[:n_train], results[:n_train]), case.steps),
        functional.cross_entropy,
        optimizer=torch.optim.AdamW(
            model.parameters(), lr=case.learning_rate, weight_decay=case.weight_decay, fused=True
        ),
        epochs=1,
        callbacks=[course],
        checkpoint=Checkpoint(run.checkpoint, every_steps=SAVED_EVERY),
        seed=run.seed,
    )
    return course.outcome()


@final
class _Course(Callback):
    """Watches the accuracies during training, and ends it."""

    COLUMNS = ("step", "train_accuracy", "validation_accuracy", "weight_norm", "frequencies")

    def __init__(self, case: Case, run: TrialRun, operands: Tensor, results: Tensor, n_train: int) -> None:
        self.case, self.run, self.operands, self.results, self.n_train = case, run, operands, results, n_train
        self.moments = moments(case.steps)
        self.rows: list[list[float]] = []

    def on_step(self, state: TrainingState) -> None:
        """Measure at the chosen moments; end the run when it has seen enough."""
        if state.step not in self.moments:
            return
        model: Any = state.model
        with torch.no_grad():
            right = (model(self.operands).argmax(1) == self.results).double()
            norm = sum(parameter.square().sum().item() for parameter in model.parameters()) ** 0.5
            frequencies = effective_frequencies(model.embedding.weight, self.case.operation)
        train, validation = right[: self.n_train].mean().item(), right[self.n_train :].mean().item()
        self.rows.append([state.step, train, validation, norm, frequencies])
        learned = self.first("validation_accuracy")
        state.stop = learned is not None and state.step >= BEYOND * learned
        self.run.progress(state.step / self.case.steps)

    def first(self, accuracy: str) -> int | None:
        """Return the first step after which pairs were learned."""
        column = self.COLUMNS.index(accuracy)
        return next((int(row[0]) for row in self.rows if row[column] >= LEARNED), None)

    def outcome(self) -> dict[str, Any]:
        """Return the numbers and curves of the trial."""
        curves = dict(zip(self.COLUMNS, np.array(self.rows).T, strict=True))
        fitted = self.first("train_accuracy")
        at_fit = curves["validation_accuracy"][curves["step"] == fitted]
        return {
            **curves,
            "fitted_step": fitted,
            "learned_step": self.first("validation_accuracy"),
            "validation_when_fitted": float(at_fit[0]) if len(at_fit) else None,
            "best_validation": float(curves["validation_accuracy"].max()),
            "last_validation": float(curves["validation_accuracy"][-1]),
            "n_validation": len(self.results) - self.n_train,
        }

    def state_dict(self) -> dict[str, Any]:
        """Return what has been seen so far."""
        return {"rows": torch.tensor(self.rows, dtype=torch.float64)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take it back."""
        self.rows = state["rows"].tolist()


def moments(steps: int) -> frozenset[int]:
    """Return the steps at which accuracies are measured: each of the first, then 1 % apart, and the last."""
    grid = (round(1.01**power) for power in itertools.count())
    return frozenset(itertools.takewhile(lambda step: step < steps, grid)) | {steps}


def judge(trials: pd.DataFrame) -> list[Criterion]:
    """Judge each operation that was run."""
    known = [each for each in OPERATIONS if not trials.empty and (trials["operation"] == each).any()]
    return [criterion for operation in known or OPERATIONS[:1] for criterion in _criteria(trials, operation)]


def _criteria(trials: pd.DataFrame, operation: str) -> list[Criterion]:
    main: dict[str, Value] = {"operation": operation, **MAIN}
    steps, undecayed = (learning_steps(trials, **{**main, "weight_decay": decay}) for decay in (1.0, 0.0))
    return [
        Criterion.effect(
            f"{operation}: log of the steps to 99 % validation over those to 99 % training accuracy (above log 5)",
            (steps["learned"] / steps["fitted"]).map(math.log),
            above=math.log(DELAYED),
            published="near log 10³, without weight decay (under 10³ and near 10⁶ steps: Adam, a / b mod 97, half of "
            "the table, a transformer)",
        ),
        Criterion.exact(
            f"{operation}: highest validation accuracy",
            per_seed(trials, "best_validation", **main),
            above=LEARNED,
            published="up to 1",
        ),
        Criterion.effect(
            f"{operation}: validation accuracy when training accuracy reaches 99 %",
            per_seed(trials, "validation_when_fitted", **main),
            below=0.05,
            published="near chance",
        ),
        Criterion.exact(
            f"{operation}: lowest training accuracy from then until 99 % validation accuracy",
            _lowest_training_accuracy(trials, **main),
            above=LEARNED,
            published="near 1",
        ),
        Criterion.effect(
            f"{operation}: log of the steps to 99 % validation accuracy, change per tenth of the table (below log 0.9)",
            slope(sweep(trials, operation, "fraction")) / 10,
            below=math.log(SOONER),
            published="smaller sets need more steps",
        ),
        Criterion.effect(
            f"{operation}: log of the steps to 99 % validation accuracy, change per doubling of the weight decay "
            "(below log 0.9)",
            slope(sweep(trials, operation, "weight_decay"), log2=True),
            below=math.log(SOONER),
            published="no steps; of the pairs needed, decay more than halves the number",
        ),
        Criterion.effect(
            f"{operation}: log of the steps to 99 % validation accuracy, without decay (at least all steps) minus with "
            "decay (above log 2)",
            log_ratio(undecayed, steps),
            above=math.log(2),
            published="no comparison of steps; without decay near 10⁶ (Adam, a / b mod 97, half of the table)",
        ),
        Criterion.exact(
            f"{operation}: last validation accuracy on random labels, in standard errors above chance",
            _above_chance(trials, **{**main, "labels": "random"}),
            below=4.0,
            control=True,
        ),
    ]


def _lowest_training_accuracy(trials: pd.DataFrame, **case: Value) -> pd.Series[float]:
    """Return the lowest training accuracy of each run between its being fitted and its having learned the others."""
    columns = ("step", "train_accuracy", "fitted_step", "learned_step")
    curves = [per_seed(trials, column, **case) for column in columns]
    found = {}
    for seed, (step, accuracy, fitted, learned) in zip(curves[0].index, zip(*curves, strict=True), strict=True):
        last = step[-1] if learned is None or math.isnan(learned) else learned
        between = [] if fitted is None or math.isnan(fitted) else accuracy[(step >= fitted) & (step <= last)]
        found[seed] = float(min(between, default=math.nan))
    return pd.Series(found, dtype=float)


def _above_chance(trials: pd.DataFrame, **case: Value) -> pd.Series[float]:
    """Return by how many standard errors runs end above chance; one that memorised nothing is no control: NaN."""
    chance = 1 / per_seed(trials, "modulus", **case)
    error = np.sqrt(chance * (1 - chance) / per_seed(trials, "n_validation", **case))
    memorised = per_seed(trials, "fitted_step", **case).notna()
    return (per_seed(trials, "last_validation", **case).where(memorised) - chance) / error


def _arms(seeds: int | range, fractions: list[float], decays: list[float], **shared: Value) -> Grid:
    """Return the main condition with one thing changed at a time."""
    return (
        Grid(seeds=seeds, fraction=fractions, **shared)
        + Grid(seeds=seeds, weight_decay=decays, **shared)
        + Grid(seeds=seeds, labels="random", **shared)
    )


FULL_FRACTIONS = [0.3, 0.4, 0.5, 0.6, 0.7, 0.8]
FULL_DECAYS = [0.0, 0.1, 0.25, 0.5]

STUDY = Study(
    claim=(
        "A network learns the unseen part of a table long after it has memorised the rest; sooner with more data and "
        "more weight decay."
    ),
    source="power2022grokking",
    topics=("learning dynamics",),
    rows=("grokking",),
    trial=trial,
    judge=judge,
    draw=draw,
    scales={
        "smoke": _arms(
            1,
            [0.5, 0.6, 0.7],
            [0.0, 0.25, 0.5],
            modulus=11,
            steps=120,
            embedding=16,
            hidden=64,
            learning_rate=1e-2,
        ),
        "quick": _arms(range(100, 103), [0.5, 0.6, 0.7, 0.8], [0.0, 0.25, 0.5]),
        "full": _arms(range(100, 105), FULL_FRACTIONS, FULL_DECAYS, steps=50_000)
        + _arms(range(100, 105), FULL_FRACTIONS, FULL_DECAYS, steps=50_000, operation="a / b", modulus=53),
    },
    defaults={
        "operation": "a + b",
        "modulus": 59,
        "steps": 12_000,
        "embedding": 128,
        "hidden": 128,
        "learning_rate": 1e-3,
        **MAIN,
    },
    protocol="A multilayer perceptron on embedded operands learns part of the table of a + b modulo 59 (at full scale "
    "also of a / b modulo 53) by full-batch AdamW; the steps to 99 % accuracy on the training pairs and on all other "
    "pairs are compared, over the share of the table and over the weight decay. The source's own example, under 10³ "
    "and near 10⁶ steps, was trained without weight decay, which is beyond the steps that are made here.",
    caption="Left: every line is a seed, at 60 % of the table and a weight decay of 1 but for what is named. Right: "
    "geometric means over seeds with their 95 % intervals; open triangles: lower bounds, for some runs used up their "
    "steps before; shaded: less than 5 times the steps to learn the training pairs; diamonds: the source's example, "
    "without weight decay. Of two operations the second is drawn hollow.",
)
