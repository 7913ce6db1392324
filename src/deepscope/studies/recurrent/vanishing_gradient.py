"""Gradients through a recurrent network vanish or explode at its Lyapunov rate; the LSTM's cell carries them.

The claim (``hochreiter1991untersuchungen``, ``bengio1994learning``, ``hochreiter1997long``): the norm of
∂h_T/∂h_{T−lag} is exponential in the lag, at the rate of the spectral radius where the network is linear and of the top
Lyapunov exponent where it is not. The LSTM of 1997 has a cell that adds and does not forget, the constant error
carousel: along it the gradient stays 1. Forget gates came later (``gers2000learning``, because that cell can grow
without end) and scale the gradient; as far as they are open it is kept.

Done here, in float64 and without input: 64 units, W Gaussian, divided by its spectral radius and multiplied by g; h ↦
W h for g = 0.5, 0.9, 1, 1.2, 1.5, and h ↦ tanh(W h) for 2 and 3 as well. torch's LSTM cell of 64 units as torch
initialises it, forget bias 1, 3, 5, and 50: σ(50 − |W h|) rounds to 1, which is the cell of 1997. Norms are spectral. A
seed draws the weights and the initial state. As all g share a seed's W, they are one piece of evidence, and the worst
of them is judged.

What was wrong with slopes over 200 lags. For a linear network k log ρ ≤ log‖Wᵏ‖ ≤ k log ρ + log κ, κ the condition
number of the eigenvectors (about 100 here); the norm walks between these bounds until the second eigenvalue has died
out. For a chaotic network the growth over 200 steps differs between stretches of one trajectory by 0.01 and more per
step. So lags go to 1000, the first fifth is not fitted, and the tanh network's slope is the mean over stretches: 8, and
32 from g = 1.5 on, where many draws are chaotic.

Criteria, and what a gradient that stays 1 would score:

* Linear: |slope − log ρ| at most 0.002 at the worst g: 2 % at g = 0.9, and as absolute tolerance at g = 1. A constant
  gradient: 0.7. Exact: both bounds, at each lag, up to rounding (1000 products: 1000 ε κ ≈ 1e-11; 1e-9).
* tanh: |slope − exponent| at the worst g, over a tolerance of 0.002 or, where that is more, 5 % of a positive exponent
  (chaotic stretches differ in proportion to it); at most 1. A constant gradient misses by the exponent itself: 0.69 at
  g = 0.5 and 0.1 at 0.9, where the network rests at 0 and is the linear one; nothing at 1, where it comes to rest too
  slowly for an exponent; mostly little at 1.2 and 1.5, as many draws end in a fixed point or a cycle; all of the growth
  at 2 and 3. Single g would decide little, so the worst of a seed is taken: 300 and more for a constant gradient,
  and 20 for one that is right below g = 2 and constant from there.
  The exponent is measured by other means (forward, a vector), over twice as many steps that share none with the
  gradient's but alternate with them along one trajectory. Another initial state would not do: such networks can have
  several attractors with an exponent each. Nor would only later steps: chaos can be a transient of 10,000 steps.
  Exact: back-propagation through torch's cell gives this product of Jacobians, to 1e-10, over 20 steps (rounding grows
  at the exponent's rate as well: over 100 chaotic steps at g = 3 the two trajectories part).
* tanh, g = 2 and 3, where networks of many units are chaotic (``sompolinsky1988chaos``): the gradient grows by more
  than 0.01 per step, by e within 100 steps. A constant gradient: 0. The rate is not log g, as tanh saturates.
* LSTM along the cell, the gates' dependence on h cut. Exact: the gradient is the product of the forget gates, to 1e-10,
  computed from the weights; with gate 1 it is 1 in all units, to 1e-10. With bias 5 the units keep a tenth and more, in
  the mean of log10 (σ(5)¹⁰⁰ = 10^−0.29 at h = 0). With bias 1 even the unit that keeps most loses ten decades
  (σ(1)¹⁰⁰ = 10^−13.6); a constant gradient: 0. Bias 3 is between: σ(3)¹⁰⁰ = 1/130 is not kept, and not judged.
* LSTM over all paths, state (h, c) to state (h, c), bias 3, 5 and gate 1: the norm at lag 100 is within two decades of
  1: less than half of the 4.6 decades that 0.9 per step loses, and as much on the side of growth. A rate of more than
  0.046 per step either way fails, a slower one passes. The norm need not be 1: paths through h add to the cell's.
  At bias 3 and 5 it is also at least 1e4 times that of the tanh network at g = 0.9, which is at rest, its best case
  (tanh′ = 1; input only lessens it). The cell alone would hardly do: (σ(b)/0.9)¹⁰⁰ ≈ 290 and 2e4, less the tanh
  network's transient; paths through h do the rest. A gradient that stays 1 scores a little above 1e4, 0.9⁻¹⁰⁰ = 4e4
  less that transient.

Controls: an orthogonal linear network keeps norm 1 ± 1e-8 at every lag: what vanishes is not lost in the arithmetic. An
LSTM with forget bias 1 has no advantage over the tanh network. Theory says so: at rest, with o = i = ½, its cells map
c to (σ(1) + W/4) c with ρ(W) = 1/√3, so that the rate is 0.875 and below 0.9.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from deepscope import figures
from deepscope.core import Case, Criterion, Grid, Study, TrialRun, UsageError, per_seed
from deepscope.studies.recurrent._backpropagation import cell_path, lstm_cell, rnn_jacobian, settled, state_norms
from deepscope.studies.recurrent._tangent import Floats, log_growth, log_norms, trajectory

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

RADII = (0.5, 0.9, 1.0, 1.2, 1.5)
#: There the tanh network is chaotic.
CHAOTIC = (2.0, 3.0)
FORGET_BIASES = (1.0, 3.0, 5.0)
#: Its forget gates are 1 in float64.
CAROUSEL = 50.0
#: Lags between two norms.
EVERY = 20
#: The lag at which the LSTM is compared.
LAG = 100
#: States settle for so many times the longest lag.
SETTLE = 10
LOG10 = math.log(10)


def trial(case: Case, run: TrialRun) -> dict[str, Any]:
    """Return the log norm of the gradient against the lag, and what it is to be compared with."""
    if case.lags < LAG:
        raise UsageError(f"the longest lag is {case.lags}", where="lags", todo=f"Give at least {LAG}.")
    rng = np.random.default_rng(run.seed)
    if case.recurrence == "lstm":
        return _lstm(case, rng)
    W = rng.standard_normal((case.units, case.units))
    if case.recurrence == "orthogonal":
        return _linear(np.linalg.qr(W).Q, case.lags)
    W *= case.g / _radius(W)
    return _tanh(case, W, rng) if case.recurrence == "tanh" else _linear(W, case.lags)


def _radius(W: Floats) -> float:
    return float(np.abs(np.linalg.eigvals(W)).max())


def _linear(W: Floats, lags: int) -> dict[str, Any]:
    curve = log_norms(W, np.ones((lags, 1, len(W))), EVERY)[:, 0]
    steps = EVERY * np.arange(len(curve))
    least = steps * math.log(_radius(W))
    most = least + math.log(np.linalg.cond(np.linalg.eig(W).eigenvectors))
    outside = np.maximum(least - curve, curve - most)[1:].max()
    return {"lag": steps, "log_norm": curve, "outside_bounds": float(outside)}


def _tanh(case: Case, W: Floats, rng: np.random.Generator) -> dict[str, Any]:
    start = trajectory(W, rng.standard_normal(case.units), SETTLE * case.lags)[-1]
    states = trajectory(W, start, case.windows * 3 * case.lags)
    growth = log_growth(W, states, rng.standard_normal(case.units)).reshape(case.windows, 3, case.lags)
    # Of three stretches of the trajectory the first is the gradient's, the others are the exponent's.
    gains = (1 - states**2).reshape(case.windows, 3, case.lags, case.units)[:, 0]
    curve = log_norms(W, gains.swapaxes(0, 1), EVERY).mean(1)
    return {
        "lag": EVERY * np.arange(len(curve)),
        "log_norm": curve,
        "exponent": float(growth[:, 1:].mean()),
        "from_backpropagation": _from_backpropagation(W, start, states[:EVERY]),
    }


def _from_backpropagation(W: Floats, start: Floats, states: Floats) -> float:
    """Return the relative difference of torch's gradient from the product of Jacobians."""
    product = np.eye(len(W))
    for state in states:
        product = ((1 - state**2)[:, None] * W) @ product
    gradient = rnn_jacobian(W, start, len(states))
    return float(np.linalg.norm(gradient - product) / np.linalg.norm(product))


def _lstm(case: Case, rng: np.random.Generator) -> dict[str, Any]:
    cell = lstm_cell(case.units, case.forget_bias)
    hidden, memory = settled(cell, rng.standard_normal((2, case.units)), SETTLE * case.lags)
    norms = state_norms(cell, hidden, memory, LAG, EVERY)
    carried, difference = cell_path(cell, hidden, memory, LAG)
    return {
        "lag": EVERY * np.arange(len(norms)),
        "log_norm": np.log(norms),
        "log10_carried": carried,
        "from_gates": difference,
    }


def judge(trials: pd.DataFrame) -> list[Criterion]:
    """Judge the rates, the identities, and what the LSTM's forget gate does."""
    trials = _with_fields(trials)
    plain = _log10_at_lag(trials, recurrence="tanh", g=0.9)
    norm = {bias: _log10_at_lag(trials, recurrence="lstm", forget_bias=bias) for bias in (*FORGET_BIASES, CAROUSEL)}
    return [
        Criterion.effect(
            "linear: |slope − log ρ(W)| per step, at the worst g",
            _worst_linear(trials),
            below=0.002,
            published="theory: 0",
        ),
        Criterion.exact(
            "linear: log norm outside its two bounds by",
            _all(trials, "outside_bounds", "linear"),
            below=1e-9,
            published="theory: at most 0",
        ),
        Criterion.effect(
            "tanh: |slope − Lyapunov exponent| over its tolerance, at the worst g",
            _worst_tanh(trials),
            below=1.0,
            published="theory: 0",
        ),
        *(
            Criterion.effect(
                f"tanh, g = {g:g}: log growth of the gradient per step",
                _slope(trials, recurrence="tanh", g=g),
                above=0.01,
                published="theory: above 0 for many units",
            )
            for g in CHAOTIC
        ),
        Criterion.exact(
            "tanh: relative difference of back-propagation from the product of Jacobians",
            _all(trials, "from_backpropagation", "tanh"),
            below=1e-10,
            published="theory: 0 (identity)",
        ),
        Criterion.exact(
            "LSTM: relative difference of the cell's path from the product of forget gates",
            _all(trials, "from_gates", "lstm"),
            below=1e-10,
            published="theory: 0 (identity)",
        ),
        Criterion.exact(
            f"LSTM, forget gate 1: |gradient along the cell − 1| at lag {LAG}, in the worst unit",
            _along_cell(trials, CAROUSEL, lambda logs: float(np.abs(np.expm1(logs * LOG10)).max())),
            below=1e-10,
            published="theory: 0 (identity)",
        ),
        Criterion.effect(
            f"LSTM, forget bias 5: gradient along the cell at lag {LAG}, log10, mean over units",
            _along_cell(trials, 5.0, lambda logs: float(logs.mean())),
            above=-1.0,
            published="theory, at h = 0: −0.29, σ(5)¹⁰⁰",
        ),
        Criterion.effect(
            f"LSTM, forget bias 1: gradient along the cell at lag {LAG}, log10, best unit",
            _along_cell(trials, 1.0, lambda logs: float(logs.max())),
            below=-10.0,
            published="theory, at h = 0: −13.6, σ(1)¹⁰⁰",
        ),
        *(
            Criterion.effect(f"LSTM, {label}: gradient over all paths at lag {LAG}, log10", norm[bias], within=2.0)
            for label, bias in (("forget bias 3", 3.0), ("forget bias 5", 5.0), ("forget gate 1", CAROUSEL))
        ),
        *(
            Criterion.effect(
                f"LSTM, forget bias {bias:g}: gradient over all paths at lag {LAG} over the tanh network's, log10",
                norm[bias] - plain,
                above=4.0,
            )
            for bias in FORGET_BIASES[1:]
        ),
        Criterion.effect(
            f"LSTM, forget bias 1: gradient over all paths at lag {LAG} over the tanh network's, log10",
            norm[1.0] - plain,
            below=0.0,
            control=True,
        ),
        Criterion.exact(
            "orthogonal linear network: |norm − 1| at any lag",
            _curves(trials, lambda lags, logs: float(np.abs(np.expm1(logs)).max()), recurrence="orthogonal"),
            below=1e-8,
            published="theory: 0 (identity)",
            control=True,
        ),
    ]


def _with_fields(trials: pd.DataFrame) -> pd.DataFrame:
    """Return the table with a column for each field, also where the trials that have the field are missing."""
    return trials.reindex(columns=trials.columns.union(["recurrence", "g", "forget_bias"], sort=False))


def _numbers(trials: pd.DataFrame, column: str, **case: Any) -> pd.Series[Any]:
    return per_seed(trials, column, **case).astype(float)


def _curves(trials: pd.DataFrame, summary: Any, **case: Any) -> pd.Series[Any]:
    """Reduce a curve of each seed to one number: ``summary(lags, log norms)``."""
    lags, logs = (per_seed(trials, name, **case) for name in ("lag", "log_norm"))
    return lags.combine(logs, summary).astype(float)


def _slope(trials: pd.DataFrame, **case: Any) -> pd.Series[Any]:
    """Return by seed the slope of the log norm, fitted without the first fifth of the lags."""

    def fitted(lags: Any, logs: Any) -> float:
        chosen = lags >= lags[-1] / 5
        return float(np.polyfit(lags[chosen], logs[chosen], 1)[0])

    return _curves(trials, fitted, **case)


def _worst_linear(trials: pd.DataFrame) -> pd.Series[Any]:
    import pandas as pd

    off = {g: (_slope(trials, recurrence="linear", g=g) - math.log(g)).abs() for g in RADII}
    return pd.DataFrame(off).max(axis=1, skipna=False)


def _worst_tanh(trials: pd.DataFrame) -> pd.Series[Any]:
    """Return by seed the largest |slope − exponent| over max(0.002, 5 % of the exponent)."""
    import pandas as pd

    off = {}
    for g in (*RADII, *CHAOTIC):
        exponent = _numbers(trials, "exponent", recurrence="tanh", g=g)
        off[g] = (_slope(trials, recurrence="tanh", g=g) - exponent).abs() / (0.05 * exponent).clip(lower=0.002)
    return pd.DataFrame(off).max(axis=1, skipna=False)


def _along_cell(trials: pd.DataFrame, forget_bias: float, summary: Callable[[Floats], float]) -> pd.Series[Any]:
    """Reduce the units' log10 gradients along the cell to one number of each seed."""
    logs = per_seed(trials, "log10_carried", recurrence="lstm", forget_bias=forget_bias)
    return logs.map(summary).astype(float)


def _log10_at_lag(trials: pd.DataFrame, **case: Any) -> pd.Series[Any]:
    return _curves(trials, lambda lags, logs: float(logs[lags == LAG][0]) / LOG10, **case)


def _all(trials: pd.DataFrame, column: str, recurrence: str) -> pd.Series[Any]:
    """Return a number of all trials of a recurrence, by seed."""
    chosen = trials[trials["recurrence"] == recurrence]
    return chosen.reindex(columns=["seed", column]).set_index("seed")[column].astype(float)


def draw(trials: pd.DataFrame) -> Figure:
    """Draw the rates against the spectral radius, and the gradient of the LSTM against the lag."""
    trials = _with_fields(trials)
    figure, (left, right) = figures.new(height=3.2, cols=2)
    _draw_rates(left, trials)
    _draw_lags(right, trials)
    with figures.style():
        left.set_title("rate against spectral radius")
        right.set_title("LSTM and tanh network")
    return figure


def _draw_rates(axes: Axes, trials: pd.DataFrame) -> None:
    colors = figures.COLORS
    every = (*RADII, *CHAOTIC)
    radii = np.linspace(every[0], every[-1], 101)
    axes.plot(radii, np.log(radii), ":", color=colors.ink)
    figures.direct_label(axes, every[-1] + 0.02, math.log(every[-1]), "log g")
    ends = {}
    for label, color, shift, at, rates in (
        ("linear", colors.accent, 0.0, RADII, [_slope(trials, recurrence="linear", g=g) for g in RADII]),
        ("tanh", colors.second, -0.02, every, [_slope(trials, recurrence="tanh", g=g) for g in every]),
        (
            "its exponent",
            colors.third,
            0.02,
            every,
            [_numbers(trials, "exponent", recurrence="tanh", g=g) for g in every],
        ),
    ):
        middle, low, high = np.transpose([figures.over_seeds(each) for each in rates])
        figures.interval(axes, np.array(at) + shift, middle, low, high, color=color)
        if at is RADII:
            figures.direct_label(axes, at[-1], middle[-1] - 0.06, label, color)
        else:
            ends[label, color] = middle[-1]
    _labels(axes, every[-1] + 0.02, ends, gap=0.12)
    axes.set_xlabel("spectral radius g")
    axes.set_ylabel("log gradient norm per step of lag")


def _draw_lags(axes: Axes, trials: pd.DataFrame) -> None:
    colors = figures.COLORS
    shown: list[tuple[str, str, dict[str, Any]]] = [
        ("orthogonal", colors.muted, {"recurrence": "orthogonal"}),
        ("tanh, g = 0.9", colors.second, {"recurrence": "tanh", "g": 0.9}),
    ]
    shown += [
        (f"LSTM, {label}", colors.accent, {"recurrence": "lstm", "forget_bias": bias})
        for label, bias in (("bias 1", 1.0), ("bias ≥ 3", 3.0), ("bias ≥ 3", 5.0), ("bias ≥ 3", CAROUSEL))
    ]
    ends = {}
    for label, color, case in shown:
        curves = per_seed(trials, "log_norm", **case)
        if curves.empty:
            continue
        lags = np.arange(0, LAG + 1, EVERY)
        norms = np.stack([curve[: len(lags)] for curve in curves]) / LOG10
        middle, low, high = figures.over_seeds(norms)
        figures.interval(axes, lags, middle, low, high, color=color)
        axes.plot(lags, middle, color=color, linewidth=0.8)
        ends[label, color] = middle[-1]
    for bias in FORGET_BIASES[1:]:
        alone = -LAG * math.log10(1 + math.exp(-bias))
        axes.plot([0, LAG], [0, alone], ":", color=colors.ink)
        ends[f"σ({bias:g}) per step", colors.ink] = alone
    _labels(axes, LAG, ends, gap=0.5)
    axes.set_xlabel("lag, steps")
    axes.set_ylabel("gradient norm, log10")


def _labels(axes: Axes, x: float, ends: dict[tuple[str, str], float], gap: float) -> None:
    """Name curves at their ends, the names moved up where they would touch."""
    place = -math.inf
    for (label, color), end in sorted(ends.items(), key=lambda item: item[1]):
        if math.isfinite(end):
            place = max(end, place + gap)
            figures.direct_label(axes, x, place, label, color)


def _grid(seeds: int | range, windows: int = 8, chaotic_windows: int = 32, **size: Any) -> Grid:
    few, many = {"windows": windows, **size}, {"windows": chaotic_windows, **size}
    return (
        Grid(seeds=seeds, recurrence="linear", g=RADII, **few)
        + Grid(seeds=seeds, recurrence="tanh", g=RADII[:-1], **few)
        + Grid(seeds=seeds, recurrence="tanh", g=[RADII[-1], *CHAOTIC], **many)
        + Grid(seeds=seeds, recurrence="lstm", forget_bias=[*FORGET_BIASES, CAROUSEL], **few)
        + Grid(seeds=seeds, recurrence="orthogonal", **few)
    )


STUDY = Study(
    claim=(
        "Gradients through a recurrent network vanish or explode at the Lyapunov rate; along an LSTM's cell open "
        "gates keep them."
    ),
    source="hochreiter1997long",
    topics=("recurrent",),
    rows=("vanishing-gradient",),
    trial=trial,
    judge=judge,
    draw=draw,
    scales={
        "smoke": _grid(1, windows=1, chaotic_windows=1, units=32, lags=200),
        "quick": _grid(range(100, 112)),
        "full": _grid(range(100, 150)),
    },
    defaults={"units": 64, "lags": 1000, "windows": 8},
    protocol=(
        "The claim in full: Gradients through a recurrent network vanish or explode exponentially in the lag, at the "
        "rate of its spectral radius if it is linear, of its top Lyapunov exponent if not; along an LSTM's cell its "
        "forget gates alone scale them, and open gates keep them.\n\n"
        "Recurrences of 64 units without input: linear and tanh with Gaussian W of spectral radius 0.5 to 1.5, tanh "
        "also 2 and 3; torch's LSTM cell with forget bias 1, 3, 5, and with gates that are 1. The spectral norm of "
        "the Jacobian of states up to 1000 lags apart; its slope against log ρ(W), and against the Lyapunov exponent "
        "of other stretches of the trajectory; the LSTM at lag 100 along the cell and over all paths. Controls: an "
        "orthogonal W, and forget bias 1."
    ),
    caption="Points: mean over seeds; bars: its 95 % interval. Left: the slope of the log gradient norm against the "
    "lag, and the Lyapunov exponent from other steps; dotted: log g. Right: the norm over all paths from state to "
    "state, solid lines only joining the points (LSTM: forget bias 1, 3, 5, and gate 1); dotted: along the cell alone.",
    timeout=600.0,
)
