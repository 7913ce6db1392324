"""LSTM learns what depends on inputs 50 to 100 steps back; a tanh network, and random guesses of weights, do not.

The claim (``hochreiter1996lstm``, ``hochreiter1997long``): many tasks with long time lags are solved sooner by random
guesses of the weights than by the methods they were meant to promote, such as a latch or a parity. Others are not, and
long short-term memory learned them where back-propagation through time in a plain network did not: the adding problem,
where two marked numbers of a sequence are to be added at its end, and two sequences of 100 steps that differ in their
first and last symbols only.

Done here. Adding problem: numbers uniform in [0, 1], one marker in each half, 100 steps; fresh sequences, batches of
64, Adam, gradients clipped at norm 1, until the mean squared error of 50 batches is below 0.005 or 2500 steps are made;
5000 fresh sequences test. LSTM (forget bias 1), GRU and tanh network of 32 units. Guesses: all weights uniform in
[−r, r], r log-uniform in [1, 100], 100 steps, for every task alike; 1 tanh unit for the latch, 2 for parity, 6 for
adding, 5 for the two sequences. What a guess puts out at the adding problem is scaled by least squares, in its favour.

Criteria, and what doing nothing would score:

* Adding, 100 steps: LSTM and GRU leave a mean test error below 0.05, and the LSTM below 0.01 in its worst seed. The
  constant 1 scores 1/6. A network that knows the second number alone, which may be near the end, 1/12 = 0.083: below
  0.05 the first is known too, 50 to 100 steps back. (The row ``lstm`` asks for 0.01 in 4 of 5 seeds; here in all.)
* The tanh network's error is above 0.12, and 3 times the LSTM's. Doing nothing scores 1/6: this half of the claim holds
  only together with the 10 steps that it does learn. Each seed's better of two learning rates is judged, with the
  test's hindsight, so that it does not fail by its rate.
* Guesses, per network that is right on 1108 fresh sequences: latch and parity take fewer than the guesses that the
  adding problem is given. A task without solvers has no such number, and leaves its criterion open.
* The best guess at the adding problem leaves more than 0.05, where the LSTM has to be below. Guessing nothing passes,
  with 1/6: so the best guess must, as a control, leave less than the 0.12 that the tanh network is to stay above. On
  other seeds the best of 50,000 left 0.08, about what is left where the second number is known.
* The best guess at the two sequences predicts less than half of the symbols. Guessing nothing passes: as a control it
  must predict more than a hundredth, which a single symbol put out always does. This failure says little about long
  time lags, as a solution has to hold 100 transitions too; it is judged because the source names the task.

Controls. All three cells learn the adding problem over 10 steps, to 0.01 in the worst seed, with the same code (the
tanh network at its better rate). With markers that are drawn independently of those that are summed, no cell is better
than 0.95 of (1/6)(1 − 2/T), the error of the mean of each half: what is below comes from a leak. A leak would be in
the sequences, which are the same for all cells, so that at 100 steps the LSTM alone is trained on them. A latch with
answers in random order is solved by no guess.

What was mended. "RNN ≥ 0.12" alone is passed by a network that is not trained at all, or at a wrong rate: two rates,
and 10 steps as a control that must be passed. Means below 0.05 do not say that the task is solved: worst seeds. The
error at which training ended was 0.008, so close to the 0.01 of the test that noise would decide: 0.005. The row
``lstm-long-lag`` is about guesses, which the criterion left out; it speaks of short latches and parities, and here they
are as long as the tasks that guesses do not solve. That guesses do not solve a task held where none are made: the two
controls on the best guess were added when the rest had been fixed, before the judged run.

Otherwise than in the list: 32 units and a rate of 0.01 for LSTM and GRU (64 and 32 units, 0.003 and 0.005), with which
an LSTM learns in half of the steps and a quarter of the time; 5 seeds, not 3. Otherwise than in the source: there both
markers are in the first half, and the LSTM has no forget gate. With a forget bias of 1 an LSTM did not learn that in
3000 steps (3 seeds, error 1/6): over 50 steps σ(1)⁵⁰ = 10⁻⁷ of a gradient is left, and no number near the end leads the
way. What is reproduced here has that path. Nor is the source's LSTM on the two sequences repeated: with a forget bias
of 5 two of four seeds learned them in 4000 full-batch steps. ``full``: also 50 steps, minimal gated units
(``heck2017simplified``) and rectified units that begin with the identity (``le2015simple``), reported and not judged.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from deepscope.core import Case, Criterion, Grid, Study, TrialRun, UsageError, nearest, per_seed
from deepscope.studies.recurrent._long_lag_figure import draw
from deepscope.studies.recurrent._long_lag_tasks import adding, latch, least_error, parity
from deepscope.studies.recurrent._long_lag_training import train_to_add
from deepscope.studies.recurrent._weight_guessing import least_guessed_error, most_symbols, solvers

if TYPE_CHECKING:
    import pandas as pd

TASKS = ("adding", "two sequences", "latch", "parity")
CELLS = {"lstm": "LSTM", "gru": "GRU", "rnn": "tanh network"}
LONG, SHORT = 100, 10
#: Guesses that the adding problem is given.
GUESSES = 50_000
#: The tanh network's learning rates.
RATES = (0.003, 0.01)


def trial(case: Case, run: TrialRun) -> dict[str, Any]:
    """Train one network on one task, or guess."""
    if case.task not in TASKS:
        raise UsageError(f"the task is {case.task!r}", where="task", todo=nearest(case.task, TASKS))
    if case.learner == "guessing":
        return _guess(case, run.seed)
    if case.task == "adding":
        return train_to_add(case, run)
    raise UsageError(f"the task is {case.task!r}", where=case.learner, todo='It is there for learner="guessing".')


def _guess(case: Case, seed: int) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    generator = torch.Generator().manual_seed(seed)
    if case.task == "adding":

        def sums(n: int) -> tuple[Any, Any]:
            inputs, targets = adding(n, case.length, generator, markers=case.answers)
            return inputs.numpy(), targets.numpy()

        return {"test_error": least_guessed_error(case.guesses, case.units, sums, rng)}
    if case.task == "two sequences":
        return {"symbols": most_symbols(case.guesses, case.units, case.length, rng)}

    def signs(n: int) -> tuple[Any, Any]:
        if case.task == "parity":
            return parity(n, case.length, rng)
        return latch(n, case.length, rng, answers=case.answers)

    found = solvers(case.guesses, case.units, signs, rng)
    return {"solvers": found, "guesses_per_solver": case.guesses / found if found else None}


def judge(trials: pd.DataFrame) -> list[Criterion]:
    """Judge what is learned over 100 steps, what guesses find, and the controls."""
    long = {cell: _error(trials, cell, LONG) for cell in CELLS}
    sums = _numbers(trials, "test_error", task="adding", learner="guessing")
    symbols = _numbers(trials, "symbols", task="two sequences", learner="guessing")
    return [
        *(
            Criterion.effect(
                f"adding, {LONG} steps, {CELLS[cell]}: mean squared test error",
                long[cell],
                below=0.05,
                published=published,
            )
            for cell, published in (("lstm", "solved; the constant 1 leaves 0.167"), ("gru", None))
        ),
        Criterion.exact(f"adding, {LONG} steps, LSTM: mean squared test error, worst seed", long["lstm"], below=0.01),
        Criterion.effect(
            f"adding, {LONG} steps, tanh network: mean squared test error, better rate",
            long["rnn"],
            above=0.12,
            published="not solved",
        ),
        Criterion.effect(
            f"adding, {LONG} steps: log(error of the tanh network / of the LSTM)",
            np.log(long["rnn"]) - np.log(long["lstm"]),
            above=math.log(3),
        ),
        *(
            Criterion.effect(
                f"guessing, {task}: guesses per solution, log10",
                np.log10(_numbers(trials, "guesses_per_solver", task=task, learner="guessing", answers="true")),
                below=math.log10(GUESSES),
                published=published,
            )
            for task, published in (("latch", "1.3 (22 guesses)"), ("parity", "3.5 (2906 guesses)"))
        ),
        Criterion.effect(
            "guessing, adding: mean squared test error of the best guess",
            sums,
            above=0.05,
            published="not solved quickly",
        ),
        Criterion.effect(
            "guessing, two sequences: share of symbols that the best guess predicts",
            symbols,
            below=0.5,
            published="not solved quickly",
        ),
        *(
            Criterion.exact(
                f"adding, {SHORT} steps, {name}: mean squared test error, worst seed",
                _error(trials, cell, SHORT),
                below=0.01,
                control=True,
            )
            for cell, name in CELLS.items()
        ),
        *(
            Criterion.effect(
                f"adding, {length} steps, random markers, {CELLS[cell]}: error over the least possible",
                _error(trials, cell, length, answers="random") / least_error(length),
                above=0.95,
                published="theory: at least 1",
                control=True,
            )
            for length, cells in ((SHORT, CELLS), (LONG, ("lstm",)))
            for cell in cells
        ),
        Criterion.exact(
            "guessing, latch with random answers: solutions",
            _numbers(trials, "solvers", task="latch", learner="guessing", answers="random"),
            below=0.0,
            control=True,
        ),
        Criterion.effect(
            "guessing, adding: error of the best guess, which must know something", sums, below=0.12, control=True
        ),
        Criterion.effect(
            "guessing, two sequences: symbols of the best guess, which must know more than one",
            symbols,
            above=0.01,
            control=True,
        ),
    ]


def _numbers(trials: pd.DataFrame, column: str, **case: Any) -> pd.Series[Any]:
    return per_seed(trials, column, **case).astype(float)


def _error(trials: pd.DataFrame, cell: str, length: int, answers: str = "true") -> pd.Series[Any]:
    """Return the test error on the adding problem by seed; the tanh network's at its better rate, if both are known."""
    import pandas as pd

    case: dict[str, Any] = {"task": "adding", "learner": cell, "length": length, "answers": answers}
    if cell != "rnn" or answers != "true":
        return _numbers(trials, "test_error", **case)
    by_rate = {rate: _numbers(trials, "test_error", learning_rate=rate, **case) for rate in RATES}
    return pd.DataFrame(by_rate, dtype=float).min(axis=1, skipna=False)


def _arms(seeds: int | Iterable[int], *, steps: int = 2500, guesses: int = GUESSES, **shared: Any) -> Grid:
    """Return what every scale runs."""
    both = {"seeds": seeds, "length": [LONG, SHORT], "steps": steps, **shared}
    controls = {"seeds": seeds, "answers": "random", "steps": min(1000, steps), **shared}
    guessed: dict[str, Any] = {"seeds": seeds, "learner": "guessing", "length": LONG}
    return (
        Grid(learner=["lstm", "gru"], **both)
        + Grid(learner="rnn", learning_rate=RATES, **both)
        + Grid(learner=list(CELLS), length=SHORT, **controls)
        + Grid(learner="lstm", length=LONG, **controls)
        + Grid(task="latch", units=1, guesses=2 * guesses, answers=["true", "random"], **guessed)
        + Grid(task="parity", units=2, guesses=2 * guesses, **guessed)
        + Grid(task="adding", units=6, guesses=guesses, **guessed)
        + Grid(task="two sequences", units=5, guesses=guesses, **guessed)
    )


STUDY = Study(
    claim="LSTM and GRU learn to add two numbers over 100 steps; a tanh network does not, nor do random guesses "
    "that solve latch and parity.",
    source="hochreiter1996lstm",
    topics=("recurrent",),
    rows=("lstm-long-lag", "lstm"),
    trial=trial,
    judge=judge,
    draw=draw,
    scales={
        "smoke": _arms(1, steps=4, guesses=40, batch=8),
        "quick": _arms(5),
        "full": _arms(5, steps=6000)
        + Grid(seeds=5, learner=["lstm", "gru", "rnn"], length=50, steps=6000)
        + Grid(seeds=5, learner=["mgu1", "mgu2", "mgu3", "identity rnn"], length=[LONG, SHORT], steps=6000),
    },
    defaults={
        "task": "adding",
        "learner": "lstm",
        "length": LONG,
        "answers": "true",
        "units": 32,
        "learning_rate": 0.01,
        "batch": 64,
        "steps": 0,
        "guesses": 0,
    },
    protocol="Adding problem of 100 steps, one marker in each half: an LSTM with forget bias 1, a GRU and a tanh "
    "network of 32 units, Adam, batches of 64 fresh sequences, at most 2500 steps. 50,000 random guesses of weights "
    "at the same problem and at two sequences of 100 symbols, 100,000 at a latch and at parity of 100 steps. 10 steps, "
    "and random markers, as controls.",
    caption="Left: error over training, a line per seed, of the tanh network at both rates; dotted: the constant 1, "
    "and a network that knows the second number alone. Right: test errors, geometric means over seeds with 95 % "
    "intervals; shaded: solved.",
)
