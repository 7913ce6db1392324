"""The adjoint method's gradients are right, its memory does not grow with the steps, and flows cannot cross.

The claim (``chen2018neural``): the gradient of a loss of z(T), z′ = f(t, z), follows from solving a′ = −(∂f/∂z)ᵀ a
backwards beside z, which is integrated backwards as well and so need not be kept: memory does not depend on how many
steps a solver takes. As solutions of one equation do not cross, such a layer keeps the order of points on a line; with
dimensions of zeros added to its input it need not (``dupont2019augmented``).

Done here, with ``ODEBlock`` in float64. *Gradients* of ½|z(T) − z*|² by all parameters and the start, of Lotka and
Volterra's equation to T = 5, whose rates a seed draws, and of a perceptron with 16 units to T = 1, by ``dopri5`` with
tolerances of 10⁻³ to 10⁻⁸ (relative and absolute, forwards and backwards). Their reference are forward sensitivities by
SciPy's DOP853 at 10⁻¹²: nothing runs backwards there. *Memory*: bytes kept for the backward pass by 16 to 512 steps of
Runge and Kutta. *Line*: an equation with 32 hidden units learns x ↦ −x at 20 points from −1 to 1 by 200 steps of Adam
(0.03, half a cosine), on the line and with one more dimension, by the adjoint method; what it has learnt is measured at
10⁻⁸. *Fit*: the four rates of Lotka and Volterra from 21 observations with 1 % noise, each from half or one and a half
times its true value, by L-BFGS with the adjoint method, on the first quarter of the data, the first half, and all.

Criteria, and what would score without the effect.

* At 10⁻⁸ the gradient's error is below 10⁻⁶ of it, for either equation. No gradient: 1.
* Lotka–Volterra: the error falls as the tolerance does, slope of the logarithms 1 ± 0.25 from 10⁻⁴ on. An adjoint with
  a term missing has an error that stays: slope 0.
* Perceptron: at 10⁻³ the cosine with the reference is above 0.9999. A random direction: 0 ± 0.11.
* Exact: what the adjoint method keeps is the same for all numbers of steps. Through the solver's steps it grows in
  proportion, slope 1 ± 0.05.
* Line: no loss is below 1 − 10⁻³ of the variance of x (exact, for any field: of maps that keep the order a constant one
  is the best, and has the loss 1; the margin is the solver's), and after training it is at most 1.1 (an untrained
  equation is near the identity, which has 4). With one more dimension it is at most 0.01.
* Fit: the largest error of a rate is below 2 %. From half of it on, without training, it is 50 %.

Controls:

* The Lorenz equation to T = 2, at 10⁻⁸: backwards it expands by about exp(14.6 t) along the direction in which it
  contracts forwards, so that the state that is integrated backwards is another one, and the cosine with the reference
  is below 0.99. (Where it has not arrived in 1000 steps, five times as many as forwards, that is counted as 0; so
  it was on all of three seeds.) With
  the state stored at 100 places, to which the method returns, the cosine is at least 0.9999. The adjoint is not to
  blame, nor is chaos: it is what is not kept.
* Rates without training are at least 30 % off.

Mended. The list has a cosine of 0.9999 met already at 10⁻³ by both equations: for Lotka and Volterra's it was 0.967 to
0.9994 on seeds 1000 to 1002, where the error is 10 to 26 %, and 0.999997 at 10⁻⁴. The solver's own
steps, differentiated, did no better there (cosines of 0.73 to 0.995): at 10⁻³ the solution itself is another one. It is
asked of the perceptron. For the same reason the slope is fitted from 10⁻⁴ on, not 10⁻³: errors of 10 % and more are
not yet in proportion to anything (with them the slope was 1.2 on three seeds, without them 0.9 to 1.1).

Stored as well, not judged or drawn: the errors of the gradient through the solver's steps, and calls of the field in
training.

What came out at ``quick``: of Lotka and Volterra's equation two of five seeds have an error above 10⁻⁶, at most
1.8 · 10⁻⁶, and by this one criterion the claim is not reproduced. That says more of the threshold than of the adjoint:
the gradient through the solver's own steps, which has no adjoint, is as far off for these seeds, 1.0 and 1.9 · 10⁻⁶.
(On seeds 1000 to 1002, with which the list's threshold was looked at, 6 · 10⁻⁷ was the most.) The slope is 1.17, with
an interval from 1.05 to 1.29 that leaves it open. Nothing but the figure was changed after the run. In all five the
Lorenz equation did not arrive backwards.

Settings stem from seeds 1000 to 1003. Left out: images (a network for MNIST: 0.42 % error with 0.22 M parameters are
reported, 0.41 % with 0.60 M for a residual one), continuous normalising flows, and the plane, where not all that fails
on the line does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from deepscope.core import Case, Criterion, Grid, Study, TrialRun, UsageError, nearest, per_seed
from deepscope.studies.differential_equations._adjoint_gradients import chaos, gradients, memory
from deepscope.studies.differential_equations._neural_ode_figure import draw
from deepscope.studies.differential_equations._neural_ode_training import fit_rates, reverse

if TYPE_CHECKING:
    import pandas as pd

    Numbers = pd.Series[Any]

EXPERIMENTS = {"gradient": gradients, "chaos": chaos, "memory": memory, "reverse": reverse, "fit": fit_rates}
TITLES = {"lotka-volterra": "Lotka–Volterra", "perceptron": "perceptron"}
#: Largest tolerance at which errors are in proportion to it, with a margin for rounding of the number.
ASYMPTOTIC = 1.01e-4
#: Cosines: right, and wrong. Losses over the variance: of a constant, trained, and turned around.
RIGHT, WRONG = 0.9999, 0.99
FLOOR, TRAINED, TURNED = 1 - 1e-3, 1.1, 0.01


def trial(case: Case, run: TrialRun) -> dict[str, Any]:
    """Take gradients, count bytes, or train."""
    if case.experiment not in EXPERIMENTS:
        raise UsageError("unknown experiment", where=str(case.experiment), todo=nearest(case.experiment, EXPERIMENTS))
    return EXPERIMENTS[case.experiment](case, run)


def judge(trials: pd.DataFrame) -> list[Criterion]:
    """Judge gradients, memory, what flows can do, and a fit."""
    lotka = {"experiment": "gradient", "equation": "lotka-volterra"}
    return [
        *(
            Criterion.exact(
                f"{title}: error of the gradient at a tolerance of 1e-8",
                per_seed(trials, "error", experiment="gradient", equation=name),
                below=1e-6,
            )
            for name, title in TITLES.items()
        ),
        Criterion.effect(
            "Lotka–Volterra: slope of the log error of the gradient against the log tolerance",
            _slope(trials, "at_tolerances", "adjoint", **lotka, most=ASYMPTOTIC),
            within=0.25,
            target=1.0,
        ),
        Criterion.effect(
            "perceptron: cosine of the gradient with the reference at a tolerance of 1e-3",
            per_seed(trials, "cosine", experiment="gradient", equation="perceptron"),
            above=RIGHT,
        ),
        Criterion.exact(
            "adjoint: bytes kept, log of the most over the least",
            per_seed(trials, "adjoint_bytes", experiment="memory").map(_spread),
            within=0.0,
            published="O(1)",
        ),
        Criterion.effect(
            "through the steps: slope of the log of the bytes kept against the log number of steps",
            _slope(trials, "at_steps", "through_bytes", experiment="memory"),
            within=0.05,
            target=1.0,
        ),
        *_reversal(trials),
        Criterion.effect(
            "fit: largest relative error of a rate", per_seed(trials, "error", experiment="fit"), below=0.02
        ),
        Criterion.effect(
            "Lorenz, state integrated backwards: cosine of the gradient with the reference",
            per_seed(trials, "integrated", experiment="chaos"),
            below=WRONG,
            control=True,
        ),
        Criterion.effect(
            "Lorenz, state stored: cosine of the gradient with the reference",
            per_seed(trials, "stored", experiment="chaos"),
            above=RIGHT,
            control=True,
        ),
        Criterion.exact(
            "fit, without training: least relative error of a rate",
            per_seed(trials, "error_before", experiment="fit"),
            above=0.3,
            control=True,
        ),
    ]


def _reversal(trials: pd.DataFrame) -> list[Criterion]:
    line, augmented = (per_seed(trials, "loss", experiment="reverse", augment=augment) for augment in (0, 1))
    return [
        Criterion.exact(
            "x ↦ −x on the line: loss over the variance of x, least", line, above=FLOOR, published="theory: 1"
        ),
        Criterion.effect("x ↦ −x on the line: loss over the variance of x", line, below=TRAINED),
        Criterion.effect("x ↦ −x with one more dimension: loss over the variance of x", augmented, below=TURNED),
    ]


def _slope(trials: pd.DataFrame, along: str, column: str, *, most: float = np.inf, **case: Any) -> Numbers:
    """Return by seed the slope of the logarithms of two curves, of the points up to ``most``."""
    places, values = (per_seed(trials, name, **case) for name in (along, column))

    def fitted(at: Any, found: Any) -> float:
        x, y = (np.asarray(each, dtype=float) for each in (at, found))
        kept = x <= most
        return float(np.polyfit(np.log(x[kept]), np.log(y[kept]), 1)[0]) if kept.sum() > 1 else float("nan")

    return places.combine(values, fitted).astype(float)


def _spread(values: Any) -> float:
    found = np.asarray(values, dtype=float)
    return float(np.log(found.max() / found.min()))


def _grid(seeds: int, **sizes: Any) -> Grid:
    return (
        Grid(seeds=seeds, experiment="gradient", equation=list(TITLES), **sizes)
        + Grid(seeds=seeds, experiment="chaos", **sizes)
        + Grid(seeds=seeds, experiment="memory", **sizes)
        + Grid(seeds=seeds, experiment="reverse", augment=[0, 1], **sizes)
        + Grid(seeds=seeds, experiment="fit", **sizes)
    )


STUDY = Study(
    claim="The adjoint method's gradients are right, its memory does not grow with the steps, and flows cannot cross.",
    source="chen2018neural",
    topics=("differential equations",),
    rows=("neural-ode",),
    trial=trial,
    judge=judge,
    draw=draw,
    scales={
        "smoke": _grid(1, n_tolerances=2, places=3, part=0.02, doublings=1, steps=2, observations=4, iterations=1),
        "quick": _grid(5),
        "full": _grid(20, steps=2000, observations=100),
    },
    defaults={
        "equation": "",
        "augment": 0,
        "n_tolerances": 6,
        "part": 1.0,
        "doublings": 5,
        "places": 100,
        "learning_rate": 0.03,
        "steps": 200,
        "observations": 20,
        "noise": 0.01,
        "iterations": 20,
    },
    protocol=(
        "The gradient of a loss at the end of an equation's solution is found by the adjoint method, which integrates "
        "state and adjoint backwards and keeps nothing, for Lotka and Volterra's equation and for a small network as "
        "the field. It must agree with forward sensitivities found by another solver, the better the tighter the "
        "tolerance; what is kept must not depend on the number of steps, which it does in proportion where the "
        "solver's steps are differentiated. Equations then learn by it: to map x to −x, which on the line no equation "
        "can (its error is at least the variance of x) and with one more dimension it must; and the rates of prey and "
        "predators from noisy data, to 2 %. Controls: for the chaotic Lorenz equation the state that is integrated "
        "backwards is another one, and the gradient wrong, while the same method on a stored solution is right; and "
        "rates before training are far off."
    ),
    caption=(
        "Top left: error of the adjoint method's gradient against forward sensitivities, geometric means over seeds "
        "with 95 % intervals; dotted: in proportion to the tolerance. Top right: bytes kept for the backward pass. "
        "Bottom left: all seeds while training, and their geometric means; dotted: the least error that a map can have "
        "which keeps the order of points. Bottom right: observations with noise (points), and the solutions "
        "before and after rates are fitted to them, of the first seed."
    ),
)
