"""Deep linear networks learn one mode after another, each on a sigmoid; orthogonal weights make depth cost no time.

The claim (``saxe2014exact``): with whitened inputs x and outputs y, let the correlation Σ = mean y xᵀ = U S Vᵀ. A
network of two linear layers learns each mode on its own. From small weights the strength a = uᵀ W₂ W₁ v of a mode of
singular value s follows a(t) = s e^{2st}/(e^{2st} − 1 + s/a₀), t in units of τ, which is 1/(learning rate) steps. Half
of it is learnt at ln(s/a₀ − 1)/(2s): strong modes first. Where Σ comes from a tree of concepts the strong modes are the
broad splits. A network of L layers that starts orthogonal learns in a number of steps that does not depend on L, if the
learning rate is best for its depth, which is of the order of 1/L; one that starts Gaussian does not.

Done here: networks are trained in float64 by full-batch gradient descent with back-propagation; the formula is only
compared with. A step η makes a small mode grow by ln(1 + ηs) ≈ ηs − (ηs)²/2 instead of ηs: times come out longer by
ηs/2 of themselves, and curves off by up to ηs ln(s/a₀)/8 of s. At η = 0.01, s = 1, a₀ = 0.001: 0.5 % and 0.9 %.

Criteria, and what a network that learns nothing scores:

* Decoupled start (each mode in a hidden direction of its own, as strong in both layers): the largest distance of any
  mode's curve from the formula, of s, and of its half-time, of the formula's, at most 3 %. A trial has 8 Σ of 4 modes,
  each s 0.6 to 0.8 of the one before. Half of the trials start at a₀ = 0.001, where the logarithm is tested too, half
  at 0.001 s, where half-times are to each other as 1/s: slope −1 ± 0.05. Nothing learnt: 1; no half-time.
* Small random start (standard deviation 0.001), not decoupled: while weights are small a mode grows as if it had begun
  at a₀ = |(W₂ᵀu + W₁v)/2|². With this a₀, and nothing fitted, the mean distance from the formula is at most the same
  3 %. A mean, as random directions of 64 hidden units overlap by 1/8: modes are not quite independent. Nothing: 1.
* One after another: when a mode reaches s/2, the next has less than a quarter of its own s. From the formula it has
  about 1/7 where singular values are closest. The share of Σ for which this is so of all modes is above 0.95. Nothing
  learnt: 0; all modes at the same time: 0.
* Sigmoid: AIC prefers the best sigmoid to the best exponential by more than 10, for the least sigmoid mode of
  a trial's first Σ. Nothing learnt: no half-time.
* Tree (8 items, 3 levels, 400 features): in more than 0.95 of draws all splits of a level are half learnt before any
  split of the next. Theory says in all draws, for infinitely many features; with 200, about one in 100 has a fine split
  that happens to be as strong as a broad one. In random order: 1/105. Stage-like: what a split needs from 10 to 90 % is
  less than the wait until 50 %. The formula gives ln 81/ln(s/a₀), 0.4 here; a straight line 1.6, an exponential 3.2.
* Depth: slope of log steps against log L within 0 ± 0.15 from 8 to 64 layers for orthogonal weights, and for Gaussian
  ones, from 8 to 32, above the same 0.15. Nothing learnt: no steps, hence no slope. Steps until 0.001 of |Σ|² is left,
  with the best of 8 learning rates √2 apart, in units of 1/L: each of L orthogonal layers adds 1 to the curvature.
  Width 64 and 4 outputs: outputs must be few compared with the width, as in the paper. What an orthogonal network
  computes is then almost orthogonal to what it is to compute. Else modes pass near 0 on their way, where a mode grows
  as L a^(2 − 2/L), which depends on L. Even so theory gives a slope of up to 0.11 at these depths, and 0 only beyond:
  the strongest mode, s = 1.5, limits the learning rate, and the weakest, s = 0.5, then needs steps in proportion to
  3^(2 − 2/L). Orthogonal networks have more seeds, as the slope of a seed varies by about as much.

Controls. One layer: modes go as s(1 − e⁻ᵗ), so that their half-times do not depend on s (slope 0 ± 0.05) and AIC
prefers the exponential by more than 10; splits of the tree are learnt in random order, and no more stage-like than a
straight line. Random weights of the usual size (variance 1/inputs of the layer): not even the a₀ that fits a curve best
brings it within 3 % of the formula.

Mended: "large weights break the formula" holds only of a start that is not decoupled; for a decoupled one the formula
is exact at any size. So the control is random. "One after another" and "stage-like" had no measure.

Left out: the paper's networks on MNIST and their greedy pre-training, and what it says of nonlinear networks.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from deepscope.core import Case, Criterion, Grid, Study, TrialRun, UsageError, nearest, per_seed
from deepscope.studies.learning_dynamics._correlations import (
    FEATURES,
    INPUTS,
    LEVELS,
    MODES,
    OUTPUTS,
    Modes,
    decoupled,
    growing_strength,
    random_modes,
    split_strengths,
    splits,
    tree_correlation,
    tree_features,
)
from deepscope.studies.learning_dynamics._depth import deep_correlation, deep_weights, steps_to_learn
from deepscope.studies.learning_dynamics._linear_network import Floats, random_weights, train
from deepscope.studies.learning_dynamics._mode_dynamics import (
    best_distance,
    distance,
    half_time,
    reached,
    sigmoid_preference,
)
from deepscope.studies.learning_dynamics._saxe_figure import draw

if TYPE_CHECKING:
    import pandas as pd

#: How long networks are trained, in units of τ, at least 1.3 times what the slowest mode needs to be half learnt.
DURATION = {"modes": 30.0, "tree": 20.0}
#: Records in this time.
RECORDS = 600
#: Initial strength of a decoupled mode.
SMALL_STRENGTH = 1e-3
#: Standard deviation of small random weights.
SMALL_WEIGHT = 1e-3
TOLERANCE = 0.03
FLAT = 0.15


def trial(case: Case, run: TrialRun) -> dict[str, Any]:
    """Return the modes' curves, the tree's splits, or the steps that a deep network needs."""
    kinds: dict[str, Callable[[Case, TrialRun, np.random.Generator], dict[str, Any]]] = {
        "modes": _modes,
        "tree": _tree,
        "depth": _depth,
    }
    if case.task not in kinds:
        raise UsageError("unknown task", where=case.task, todo=nearest(case.task, kinds))
    return kinds[case.task](case, run, np.random.default_rng(run.seed))


def _modes(case: Case, run: TrialRun, rng: np.random.Generator) -> dict[str, Any]:
    modes = random_modes(rng, case.draws)
    weights, start = _start(case, modes, rng)
    times, maps = _train(case, run, weights, modes.correlation)
    ratios = modes.strengths(maps) / modes.values
    halves = reached(times, ratios, 0.5)
    found = {
        "time": times[::5],
        "ratio": ratios[::5, 0],
        "singular_value": modes.values,
        "half_time": halves,
        "preference": np.array([sigmoid_preference(times, each) for each in ratios[:, 0].T]),
        "in_turn": float(np.mean(_in_turn(times, ratios, halves))),
    }
    if case.start == "large":
        found["distance"] = best_distance(times, ratios, modes.values)
    elif start is not None:
        found["initial_strength"] = start
        found["distance"] = distance(times, ratios, modes.values, start)
        found["half_time_error"] = np.abs(halves / half_time(modes.values, start) - 1)
    return found


def _start(case: Case, modes: Modes, rng: np.random.Generator) -> tuple[list[Floats], Floats | None]:
    """Return initial weights, and the a₀ that theory gives them if it gives one."""
    if case.start in ("equal", "proportional"):
        hidden = np.linalg.qr(rng.standard_normal((case.draws, case.width, MODES))).Q
        start = SMALL_STRENGTH * (modes.values if case.start == "proportional" else np.ones_like(modes.values))
        return decoupled(modes, hidden, start), start
    if case.start not in ("small", "large"):
        todo = nearest(case.start, ["equal", "proportional", "small", "large"])
        raise UsageError("unknown start", where=case.start, todo=todo)
    weights = random_weights(rng, _widths(case, INPUTS, OUTPUTS), case.draws, _scale(case))
    return weights, growing_strength(modes, *weights) if case.layers == 2 else None


def _scale(case: Case) -> float | None:
    return SMALL_WEIGHT if case.start == "small" else None


def _widths(case: Case, inputs: int, outputs: int) -> list[int]:
    return [inputs, *[case.width] * (case.layers - 1), outputs]


def _train(case: Case, run: TrialRun, weights: list[Floats], correlation: Floats) -> tuple[Floats, Floats]:
    duration = DURATION[case.task]
    every = max(1, round(duration / case.rate / RECORDS))
    return train(weights, correlation, rate=case.rate, duration=duration, every=every, device=run.device)


def _in_turn(times: Floats, ratios: Floats, halves: Floats) -> Any:
    """Return of which draws it is true that modes are learnt one after another, [draws]."""
    held = np.zeros((len(halves), MODES - 1), dtype=bool)
    for draw_, mode in np.ndindex(held.shape):
        following = np.interp(halves[draw_, mode], times, ratios[:, draw_, mode + 1])
        held[draw_, mode] = following < 0.25
    # The last mode, too, has to be learnt.
    return held.all(axis=1) & np.isfinite(halves[:, -1])


def _tree(case: Case, run: TrialRun, rng: np.random.Generator) -> dict[str, Any]:
    correlation = tree_correlation(tree_features(rng, case.draws))
    weights = random_weights(rng, _widths(case, 2**LEVELS, FEATURES), case.draws, _scale(case))
    times, maps = _train(case, run, weights, correlation)
    contrasts, levels = splits()
    made = split_strengths(maps, correlation, contrasts)
    low, half, high = (reached(times, made, level) for level in (0.1, 0.5, 0.9))
    return {
        "time": times[::5],
        "split": np.stack([made[::5][..., levels == level].mean(axis=(1, 2)) for level in range(LEVELS)], axis=1),
        "broad_first": float(np.mean(_broad_first(half, levels))),
        "transition": (high - low) / half,
    }


def _broad_first(halves: Floats, levels: Any) -> Any:
    """Return in which draws all splits of a level are half learnt before any of the next, [draws]."""
    steps = [
        halves[:, levels == level].max(axis=1) < halves[:, levels == level + 1].min(axis=1)
        for level in range(LEVELS - 1)
    ]
    return np.all(steps, axis=0)


def _depth(case: Case, run: TrialRun, rng: np.random.Generator) -> dict[str, Any]:
    if case.start not in ("orthogonal", "gaussian"):
        raise UsageError("unknown start", where=case.start, todo=nearest(case.start, ["orthogonal", "gaussian"]))
    correlation = deep_correlation(rng, case.width)
    weights = deep_weights(rng, case.layers, case.width, case.start)
    found = steps_to_learn(weights, correlation, most=case.most_steps, device=run.device)
    steps, rate = found or (None, None)
    return {"steps": steps, "rate_times_depth": rate}


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
        Criterion.effect(
            "decoupled start: AIC of the best exponential minus best sigmoid, least of the modes",
            _numbers(trials, "preference", np.min, task="modes", start="equal", layers=2),
            above=10.0,
        ),
        Criterion.effect(
            "small random start: mean distance of a mode's curve from the formula, as part of its singular value s",
            _numbers(trials, "distance", np.mean, **small, layers=2),
            below=TOLERANCE,
        ),
        Criterion.effect(
            "small random start: share of networks that learn one mode after another",
            _numbers(trials, "in_turn", **small, layers=2),
            above=0.95,
        ),
        Criterion.effect(
            "tree: share of networks that learn all broad splits before finer ones",
            _numbers(trials, "broad_first", **tree, layers=2),
            above=0.95,
            published="theory: 1",
        ),
        Criterion.effect(
            "tree: time from 10 to 90 % of a split over time until 50 %",
            _numbers(trials, "transition", np.mean, **tree, layers=2),
            below=1.0,
        ),
        Criterion.effect(
            "orthogonal start, from 8 layers on: slope of log steps against log depth",
            _slope_in_depth(trials, "orthogonal"),
            within=FLAT,
            published="0 in the limit; theory at these depths: up to 0.11",
        ),
        Criterion.effect(
            "Gaussian start, from 8 layers on: slope of log steps against log depth",
            _slope_in_depth(trials, "gaussian"),
            above=FLAT,
            published="grows with depth",
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
            "one layer, tree: share of networks that learn all broad splits before finer ones",
            _numbers(trials, "broad_first", **tree, layers=1),
            below=0.1,
            published="theory: 1/105, random order",
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
            "large random start: mean distance of a mode's curve from the best-fitting formula, as part of s",
            _numbers(trials, "distance", np.mean, task="modes", start="large", layers=2),
            above=TOLERANCE,
            control=True,
        ),
    ]


def _numbers(trials: pd.DataFrame, column: str, summary: Callable[[Any], Any] = float, **case: Any) -> pd.Series[Any]:
    """Reduce what a trial of each seed returned to one number."""
    return per_seed(trials, column, **case).map(summary).astype(float)


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


def _slope_in_depth(trials: pd.DataFrame, start: str) -> pd.Series[Any]:
    """Return by seed the slope of log steps against log depth, NaN where a network has not learnt."""
    chosen = trials[(trials["task"] == "depth") & (trials["start"] == start) & (trials["layers"] >= 8)]
    table = chosen.reindex(columns=["seed", "layers", "steps"]).pivot(index="seed", columns="layers", values="steps")
    return table.apply(lambda steps: _slope(steps.index, steps), axis=1).astype(float)


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
    shallow = {"seeds": seeds, "rate": rate, **size}
    return (
        Grid(task="modes", start=["equal", "proportional", "small", "large"], layers=2, **shallow)
        + Grid(task="modes", start="small", layers=1, **shallow)
        + Grid(task="tree", start="small", layers=[2, 1], **{**shallow, "rate": 2 * rate, "width": 32})
        + Grid(task="depth", start="orthogonal", layers=orthogonal, seeds=deep_seeds, width=deep_width)
        + Grid(task="depth", start="gaussian", layers=gaussian, seeds=seeds, width=deep_width)
    )


STUDY = Study(
    claim="A deep linear network learns the patterns in its data one after another, the strong and broad ones first, "
    "each on a sigmoid curve that a formula predicts; if its weights start as orthogonal matrices, a deeper network "
    "needs no more steps.",
    source="saxe2014exact",
    topics=("learning dynamics",),
    rows=("saxe-dynamics", "dynamical-isometry", "semantic-development"),
    trial=trial,
    judge=judge,
    draw=draw,
    scales={
        "smoke": _grid(1, (8, 16), (8, 16), deep_seeds=1, deep_width=16, draws=2, rate=0.1, width=16),
        "quick": _grid(10, (8, 16, 32, 64), (8, 16, 32), deep_seeds=20),
        "full": _grid(20, (8, 16, 32, 64, 100), (8, 16, 32, 64, 100), deep_seeds=50, draws=32, rate=0.005),
    },
    defaults={"draws": 8, "rate": 0.01, "width": 64, "most_steps": 5000},
    protocol="Data are made of patterns, called modes: a direction among the inputs, one among the outputs, and how "
    "strongly the two go together, the singular value s. Networks without activation functions learn them by gradient "
    "descent on all data at once. How strong each mode has become in the network is recorded and compared with the "
    "paper's formula, from a start that keeps modes apart and from small random weights. The same is done with the "
    "features of eight things at the ends of a tree of concepts. Deep networks start with orthogonal or with Gaussian "
    "matrices; each has the best of eight learning rates. Controls: one layer, and large random weights.",
    caption="Top left: one network from small random weights; lines: strength of its four modes over time, dashed: the "
    "formula. Top right: one point for each mode of all networks; dotted: theory, in proportion to 1/s for two layers, "
    "the same for all s for one layer. Bottom left: mean over seeds, bands: its 95 % interval; dotted: one layer. "
    "Bottom right: geometric mean over seeds with its 95 % interval; dotted: the published effect for orthogonal "
    "weights, as many steps at any depth. Time τ is in units of 1/(learning rate) steps.",
    timeout=1800.0,
)
