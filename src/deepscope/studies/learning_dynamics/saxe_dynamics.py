"""Linear networks learn one mode after another, each on a sigmoid; orthogonal weights make depth cost hardly any time.

The claim (``saxe2014exact``): with whitened inputs x and outputs y, let the correlation Σ = mean y xᵀ = U S Vᵀ. A
network of two linear layers learns each mode on its own. From small weights the strength a = uᵀ W₂ W₁ v of a mode of
singular value s follows a(t) = s e^{2st}/(e^{2st} − 1 + s/a₀), t in units of τ, which is 1/(learning rate) steps. Half
of it is learnt at ln(s/a₀ − 1)/(2s): strong modes first. Where Σ comes from a tree of concepts the strong modes are the
broad splits (``saxe2019mathematical``). A network of L layers that starts orthogonal learns in a number of steps that
does not depend on L, if the learning rate is the best for its depth, of the order of 1/L; a Gaussian start does not.

Done here: networks are trained in float64 by full-batch gradient descent with back-propagation; the formula is only
compared with. A step η makes a small mode grow by ln(1 + ηs) ≈ ηs − (ηs)²/2 instead of ηs: times come out longer by
ηs/2 of themselves, and curves off by up to ηs ln(s/a₀)/8 of s. At η = 0.01, s = 1, a₀ = 0.001: 0.5 % and 0.9 %.

Criteria, and what a network that learns nothing scores:

* Decoupled start (each mode in a hidden direction of its own, as strong in both layers): the largest distance of any
  mode's curve from the formula, of s, and of its half-time, of the formula's, at most 3 %. A trial has 8 Σ of 4 modes,
  each s 0.6 to 0.8 of the one before. Half of the trials start at a₀ = 0.001, where the logarithm is tested too, half
  at 0.001 s, where half-times are to each other as 1/s: slope −1 ± 0.05. Nothing learnt: 1; no half-time.
* Small random start (standard deviation 0.001): while weights are small a mode grows as if it had begun at a₀ =
  |(W₂ᵀu + W₁v)/2|², along this sum h in the hidden space. Nothing is fitted. The h of n = 64 hidden units overlap by
  cosines ρ of 1/√n. The part ρ² of a mode that lies along one that is already learnt fades: it begins as if at a₀ less
  Σρ² of itself, over the modes before it, and is off by up to a quarter of this. Of four modes the largest Σρ² is 3.9/n
  on average (mean of the largest of χ²₁, χ²₂, χ²₃): 1.5 % of s. Steps add up to 1.3 % (a₀ ≈ n/2 · 10⁻⁶). The distance
  of a network's worst mode, mean over networks, is therefore at most 2.8 %. Nothing learnt: 1.
* Sigmoid: the best one is within 1 % (RMS) of the curve, as the formula is one and curves are off by at most 0.9 %; a
  ramp is 3.1 % off. And it is no exponential: AIC prefers the sigmoid by more than 10. For the worst mode of a trial's
  first Σ. Nothing learnt: no half-time.
* One after another: when a mode reaches s/2, the next has less than a quarter of its own s; the largest of a network's
  modes, mean over networks. By the formula 1/7 where singular values are closest. All at the same time: 1/2. Nothing
  learnt: no half-time.
* Tree (8 items, 3 levels, 400 features): when the last split of a level is half learnt, every split of the next level
  is learnt to less than the same quarter; the largest, mean over trees. By the formula 0.07 for infinitely many
  features; with 400, splits of a level differ in strength. Stage-like: what a split needs from 10 to 90 % is less than
  the wait until 50 %. The formula gives ln 81/ln(s/a₀), 0.4 here; a straight line 1.6, an exponential 3.2.
* Depth: slope of log steps against log L, from 16 to 64 layers, within 0 ± 0.15 for orthogonal weights. Nothing learnt:
  no slope. Steps until 0.001 of |Σ|² is left, with the best of 13 learning rates 2^(1/8) apart, 0.5/L to 1.4/L: each of
  L orthogonal layers adds 1 to the curvature. Near the end a mode's error shrinks at the rate L s^(2 − 2/L): the
  strongest, s = 1.5, limits the learning rate, and the weakest, s = 0.5, then needs steps in proportion to
  3^(2 − 2/L). This is still a slope of (ln 9)(1/16 − 1/64)/ln 4 = 0.074 from 16 to 64, and 0.20 from 8 to 16: so it is
  judged from 16 on. Width 64 and 4 outputs: outputs must be few compared with the width, as in the paper, so that what
  a network computes at first is almost orthogonal to what it is to compute. Else modes pass near 0 on their way.
* Contrast: the same slope of Gaussian weights, at depths and seeds that both have, is larger by more than 0.5. A
  product of l wide Gaussian layers keeps the mean square, but its largest singular value squared grows as e l. The
  largest curvature is then of the order of L² where the mean is L: steps grow at least about as L, a slope of 1. Half
  of it is asked. A Gaussian network that has not learnt counts with the most steps that are taken: its slope is then a
  lower bound.

Controls. One layer: modes go as s(1 − e⁻ᵗ), so that their half-times do not depend on s (slope 0 ± 0.05) and AIC
prefers the exponential by more than 10; when a level of the tree is half learnt so is the next (½ ± 0.05), and splits
are no more stage-like than a straight line. Random weights of the usual size (variance 1/inputs of the layer): of modes
that start above 0, as the formula does, not even the a₀ that fits a curve best brings it within 3 % of it on average.

Mended: "large weights break the formula" holds only of a start that is not decoupled; for a decoupled one the formula
is exact at any size. So the control is random. Random directions overlap: 3 % of the worst mode was no consequence of
the theory, 2.8 % is. "One after another" (a share of draws) and "stage-like" had no measure. "From 8 layers on" is too
early for ± 0.15, and learning rates √2 apart hide it.

Left out: the paper's networks on MNIST and their greedy pre-training, and what it says of nonlinear networks.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

import numpy as np

from deepscope.core import Case, Criterion, Grid, Study, TrialRun, per_seed
from deepscope.studies.learning_dynamics._depth import FEWEST_LAYERS
from deepscope.studies.learning_dynamics._linear_network import Floats
from deepscope.studies.learning_dynamics._saxe_figure import draw
from deepscope.studies.learning_dynamics._saxe_trials import check, depth_trial, modes_trial, tree_trial

if TYPE_CHECKING:
    import pandas as pd

TRIALS = {"modes": modes_trial, "tree": tree_trial, "depth": depth_trial}
TOLERANCE = 0.03
#: Of the worst mode from a random start: overlaps of 64 hidden units, and steps.
OVERLAP_TOLERANCE = 0.028
NEXT = 0.25
FLAT = 0.15


def trial(case: Case, run: TrialRun) -> dict[str, Any]:
    """Return the modes' curves, the tree's splits, or the steps that a deep network needs."""
    check(case)
    return TRIALS[case.task](case, run, np.random.default_rng(run.seed))


def judge(trials: pd.DataFrame) -> list[Criterion]:
    """Judge the formula, the order of modes and splits, the cost of depth, and the controls."""
    trials = trials.reindex(columns=trials.columns.union(["task", "start", "layers"], sort=False))
    small: dict[str, Any] = {"task": "modes", "start": "small"}
    tree: dict[str, Any] = {"task": "tree", "start": "small"}
    return [
        Criterion.exact(
            "decoupled start: largest distance of a mode's curve from the formula, as part of its singular value s",
            _decoupled(trials, "distance"),
            below=TOLERANCE,
            published="theory: 0 for infinitely small steps",
        ),
        Criterion.exact(
            "decoupled start: largest error of the time until half learnt, as part of the formula's",
            _decoupled(trials, "half_time_error"),
            below=TOLERANCE,
            published="theory: 0 for infinitely small steps",
        ),
        Criterion.effect(
            "decoupled start, strengths in proportion to s: slope of log time until half learnt against log s",
            _slope_in_s(trials, task="modes", start="proportional", layers=2),
            within=0.05,
            target=-1.0,
            published="theory: −1",
        ),
        Criterion.exact(
            "decoupled start: largest RMS distance of a mode's curve from the best sigmoid, as part of s",
            _decoupled(trials, "sigmoid_rms"),
            below=0.01,
            published="theory: 0 for infinitely small steps",
        ),
        Criterion.effect(
            "decoupled start, not an exponential: AIC of the best exponential minus best sigmoid, least of the modes",
            _numbers(trials, "preference", np.min, task="modes", start="equal", layers=2),
            above=10.0,
        ),
        Criterion.effect(
            "small random start: distance of a network's worst mode from the formula, as part of s, mean over networks",
            _numbers(trials, "distance", _worst_mode, **small, layers=2),
            below=OVERLAP_TOLERANCE,
            published="theory: below 0.028 for 64 hidden units",
        ),
        Criterion.effect(
            "small random start: part of a mode learnt when the one before is half learnt, largest of a network",
            _numbers(trials, "following", np.mean, **small, layers=2),
            below=NEXT,
            published="theory: at most about 1/7",
        ),
        Criterion.effect(
            "tree: part of a split that is learnt when the level before is half learnt, largest of a tree",
            _numbers(trials, "following", np.mean, **tree, layers=2),
            below=NEXT,
            published="theory: 0.07 for infinitely many features",
        ),
        Criterion.effect(
            "tree: time from 10 to 90 % of a split over time until 50 %",
            _numbers(trials, "transition", np.mean, **tree, layers=2),
            below=1.0,
            published="theory: 0.4",
        ),
        Criterion.effect(
            "orthogonal start, from 16 layers on: slope of log steps against log depth",
            _slopes(_steps(trials, "orthogonal")),
            within=FLAT,
            published="depth-independent (MNIST, up to 100 layers)",
        ),
        Criterion.effect(
            "from 16 layers on: slope of log steps against log depth, Gaussian start minus orthogonal start",
            _difference_of_slopes(trials),
            above=0.5,
            published="theory: about 1 or more",
        ),
        Criterion.effect(
            "one layer: slope of log time until half learnt against log s",
            _slope_in_s(trials, **small, layers=1),
            within=0.05,
            published="theory: 0",
            control=True,
        ),
        Criterion.effect(
            "one layer: AIC of the best exponential minus best sigmoid, greatest of the modes",
            _numbers(trials, "preference", np.max, **small, layers=1),
            below=-10.0,
            control=True,
        ),
        Criterion.effect(
            "one layer, tree: part of a split that is learnt when the level before is half learnt, largest of a tree",
            _numbers(trials, "following", np.mean, **tree, layers=1),
            within=0.05,
            target=0.5,
            published="theory: 1/2, all at the same time",
            control=True,
        ),
        Criterion.effect(
            "one layer, tree: time from 10 to 90 % of a split over time until 50 %",
            _numbers(trials, "transition", np.mean, **tree, layers=1),
            above=1.6,
            published="theory: 3.17, an exponential",
            control=True,
        ),
        Criterion.effect(
            "large random start, modes that start above 0: mean distance from the best-fitting formula, as part of s",
            _numbers(trials, "distance", _mean_known, task="modes", start="large", layers=2),
            above=TOLERANCE,
            control=True,
        ),
    ]


def _numbers(trials: pd.DataFrame, column: str, summary: Callable[[Any], Any] = float, **case: Any) -> pd.Series[Any]:
    """Reduce what a trial of each seed returned to one number."""
    return per_seed(trials, column, **case).map(summary).astype(float)


def _worst_mode(distances: Floats) -> float:
    return float(distances.max(axis=1).mean())


def _mean_known(values: Floats) -> float:
    known = values[np.isfinite(values)]
    return float(known.mean()) if len(known) else math.nan


def _decoupled(trials: pd.DataFrame, column: str) -> pd.Series[Any]:
    """Return the numbers of all decoupled trials, by seed."""
    chosen = trials[trials["start"].isin(["equal", "proportional"])]
    return chosen.reindex(columns=["seed", column]).set_index("seed")[column]


def _slope_in_s(trials: pd.DataFrame, **case: Any) -> pd.Series[Any]:
    """Return by seed the slope of log half-time against log s, the mean over correlations."""
    values, halves = (per_seed(trials, column, **case) for column in ("singular_value", "half_time"))

    def fitted(values: Floats, halves: Floats) -> float:
        return float(np.mean([_slope(s, times) for s, times in zip(values, halves, strict=True)]))

    return values.combine(halves, fitted).astype(float)


def _steps(trials: pd.DataFrame, start: str) -> pd.DataFrame:
    """Return the steps, seeds × depths from 16 on; NaN where an orthogonal network has not learnt."""
    chosen = trials[(trials["task"] == "depth") & (trials["start"] == start) & (trials["layers"] >= FEWEST_LAYERS)]
    chosen = chosen.reindex(columns=["seed", "layers", "steps", "learnt"])
    # Of a Gaussian network the most steps are a lower bound, which speaks against the claim.
    known = chosen["steps"] if start == "gaussian" else chosen["steps"].where(chosen["learnt"].eq(True))
    return chosen.assign(steps=known).pivot(index="seed", columns="layers", values="steps")


def _slopes(steps: pd.DataFrame) -> pd.Series[Any]:
    """Return by seed the slope of log steps against log depth."""
    return steps.apply(lambda row: _slope(row.index, row), axis=1).astype(float)


def _difference_of_slopes(trials: pd.DataFrame) -> pd.Series[Any]:
    """Return by seed the slope of Gaussian networks minus that of orthogonal ones, at the depths that both have."""
    gaussian, orthogonal = _steps(trials, "gaussian"), _steps(trials, "orthogonal")
    depths = gaussian.columns.intersection(orthogonal.columns)
    return _slopes(gaussian[depths]) - _slopes(orthogonal[depths].reindex(gaussian.index))


def _slope(x: Any, y: Any) -> float:
    logs = np.log(np.asarray(x, dtype=float)), np.log(np.asarray(y, dtype=float))
    if len(logs[0]) < 2 or not np.isfinite(logs).all():
        return math.nan
    return float(np.polyfit(*logs, 1)[0])


def _grid(
    seeds: int,
    orthogonal: tuple[int, ...],
    gaussian: tuple[int, ...],
    *,
    deep_seeds: int,
    deep_width: int = 64,
    rate: float = 0.01,
    **size: Any,
) -> Grid:
    shallow = {"seeds": _from_100(seeds), "rate": rate, **size}
    return (
        Grid(task="modes", start=["equal", "proportional", "small", "large"], layers=2, **shallow)
        + Grid(task="modes", start="small", layers=1, **shallow)
        + Grid(task="tree", start="small", layers=[2, 1], **{**shallow, "rate": 2 * rate, "width": 32})
        + Grid(task="depth", start="orthogonal", layers=orthogonal, seeds=_from_100(deep_seeds), width=deep_width)
        + Grid(task="depth", start="gaussian", layers=gaussian, seeds=_from_100(seeds), width=deep_width)
    )


def _from_100(count: int) -> Iterable[int]:
    # Seeds below 100 were seen when an earlier form of the criteria was mended.
    return range(100, 100 + count)


STUDY = Study(
    claim=(
        "A linear network learns one mode after another, the strong ones first, each on a curve that a formula "
        "predicts."
    ),
    source="saxe2014exact",
    topics=("learning dynamics",),
    rows=("saxe-dynamics", "dynamical-isometry", "semantic-development"),
    trial=trial,
    judge=judge,
    draw=draw,
    scales={
        "smoke": _grid(1, (8, 16, 32), (8, 16, 32), deep_seeds=1, deep_width=16, draws=2, rate=0.1, width=16),
        "quick": _grid(10, (8, 16, 32, 64), (8, 16, 32), deep_seeds=40),
        "full": _grid(20, (8, 16, 32, 64, 100), (8, 16, 32, 64), deep_seeds=60, draws=32, rate=0.005),
    },
    # At most_steps a Gaussian network of 64 layers, the costliest, takes less than a minute.
    defaults={"draws": 8, "rate": 0.01, "width": 64, "most_steps": 3000},
    protocol=(
        "The claim in full: From small random weights a linear network of two layers learns the patterns in its data "
        "one after another, the strong and broad ones first, each on a sigmoid curve that a formula predicts; with "
        "orthogonal weights and the best learning rate a network of 64 layers needs hardly more steps than one of 16."
        "\n\n"
        "Data are made of four patterns, called modes: a direction among the inputs, one among the outputs, and how "
        "strongly the two go together, the singular value s. Each s is 20 to 40 % less than the one before. Networks "
        "without activation functions learn them by gradient descent on all data at once. How strong each mode has "
        "become in the network is recorded and compared with the paper's formula, from a start that keeps modes apart "
        "(decoupled) and from small random weights. The same is done with the features of eight things at the ends of "
        "a tree of concepts. Deep networks start with orthogonal or with Gaussian matrices, each with the best of "
        "several learning rates. Controls: one layer, and large random weights."
    ),
    caption="Top left: one network from small random weights; lines: strength of its four modes over time, dashed: the "
    "formula. Top right: one point for each mode of the networks of two layers that start decoupled, with strengths in "
    "proportion to s, and of the networks of one layer; dotted: theory, in proportion to 1/s for two layers, the same "
    "for all s for one. Bottom left: mean over seeds, bands: its 95 % interval; dotted: one layer, mean of all splits. "
    "Bottom right: geometric mean over seeds with its 95 % interval; dotted: as many steps as with 16 layers. The unit "
    "of time, τ, is 1/(learning rate) steps.",
    timeout=1800.0,
)
