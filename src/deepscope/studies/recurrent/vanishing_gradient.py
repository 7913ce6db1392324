"""Gradients through a recurrent network vanish or explode at its Lyapunov rate; the LSTM's cell carries them.

The claim (Hochreiter 1991; Bengio, Simard & Frasconi 1994; Hochreiter & Schmidhuber 1997): the norm of ∂h_T/∂h_{T−lag}
is exponential in the lag, at the rate of the spectral radius where the network is linear and of the top Lyapunov
exponent where it is not; a cell whose forget gate stays open keeps the gradient over a hundred steps.

Done here, in float64 and without input: 64 units, W Gaussian, divided by its spectral radius and multiplied by
g = 0.5, 0.9, 1, 1.2, 1.5; h ↦ W h and h ↦ tanh(W h). torch's LSTM cell of 64 units as torch initialises it, forget bias
1, 3, 5. Norms are spectral. A seed draws the weights and the initial state. As all g share a seed's W, and log‖Wᵏ‖ at g
is that at 1 plus k log g, the five linear networks of a seed are one piece of evidence; the worst of them is judged.

What was wrong with slopes over 200 lags. For a linear network k log ρ ≤ log‖Wᵏ‖ ≤ k log ρ + log κ, κ the condition
number of the eigenvectors (about 100 here); the norm walks between these bounds until the second eigenvalue has died
out. For a chaotic network the growth over 200 steps differs between stretches of one trajectory by 0.01 and more per
step. So lags go to 1000, the first fifth is not fitted, and the tanh network's slope is the mean over 8 stretches.

Criteria, and what a gradient that stays 1 would score:

* Linear: |slope − log ρ| at most 0.002, the published 2 % at g = 0.9 and its absolute tolerance at g = 1; at all g. A
  constant gradient: 0.7. Exact: both bounds, at each lag, up to rounding (1000 products: 1000 ε κ ≈ 1e-11; 1e-9).
* tanh: |slope − exponent| at most 0.002 at each g, the absolute value taken in each draw so that misses do not cancel.
  The exponent is measured by other means (forward, a vector), over 16,000 steps that share none with the gradient's but
  alternate with them along one trajectory. Another initial state would not do: such networks can have several
  attractors with an exponent each. Nor would only later steps: chaos can be a transient that ends after 10,000 steps
  and more. Below g = 1 the network comes to rest and is the linear one; above, many draws end in a fixed point or a
  cycle, as tanh saturates: the rate is not log g. A constant gradient: the exponent itself, 0.7 to 0 and above.
  Exact: back-propagation through torch's cell gives this product of Jacobians, to 1e-10.
* LSTM, forget bias 3 and 5: gradient at lag 100 at least 1e4 times that of the tanh network at g = 0.9, which is at
  rest, its best case (tanh′ = 1; input only lessens it). State (h, c) to state (h, c), all paths: the path along the
  cell would not do at bias 3, (σ(3)/0.9)¹⁰⁰ ≈ 290; it takes those through h besides. A gradient that stays 1 scores a
  little above 1e4, 0.9⁻¹⁰⁰ = 4e4 less the tanh network's transient: the threshold asks for one that does not vanish.
* Exact: along the cell alone the gradient is the product of the forget gates, to 1e-10, computed from the weights. It
  vanishes at bias 1 (σ(1)¹⁰⁰ ≈ 1e-14): at most 1e-10 in the unit that keeps most.

Controls: an orthogonal linear network keeps norm 1 ± 1e-8 at every lag: what vanishes is not lost in the arithmetic. An
LSTM with forget bias 1 has no advantage over the tanh network. Theory says so: at rest, with o = i = ½, its cells map
c to (σ(1) + W/4) c with ρ(W) = 1/√3, so that the rate is 0.875 and below 0.9.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from deepscope import figures
from deepscope.core import FEWEST_SEEDS, Case, Criterion, Grid, Study, TrialRun, UsageError, interval, per_seed
from deepscope.studies.recurrent._backpropagation import cell_path, lstm_cell, rnn_jacobian, settled, state_norms
from deepscope.studies.recurrent._tangent import Floats, log_growth, log_norms, trajectory

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

RADII = (0.5, 0.9, 1.0, 1.2, 1.5)
FORGET_BIASES = (1.0, 3.0, 5.0)
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
        "from_backpropagation": _from_backpropagation(W, start, states[:LAG]),
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
    advantage = {bias: _log10_at_lag(trials, recurrence="lstm", forget_bias=bias) - plain for bias in FORGET_BIASES}
    return [
        Criterion.effect(
            "linear: |slope − log ρ(W)| per step, at the worst g",
            _worst_linear(trials),
            below=0.002,
            published="log ρ(W)",
        ),
        Criterion.exact(
            "linear: log norm outside its two bounds by",
            _all(trials, "outside_bounds", "linear"),
            below=1e-9,
            published="at most 0 (theorem)",
        ),
        *(
            Criterion.effect(
                f"tanh, g = {g}: |slope − Lyapunov exponent| per step",
                (_slope(trials, recurrence="tanh", g=g) - _numbers(trials, "exponent", recurrence="tanh", g=g)).abs(),
                below=0.002,
                published="0 (theorem)",
            )
            for g in RADII
        ),
        Criterion.exact(
            "tanh: relative difference of back-propagation from the product of Jacobians",
            _all(trials, "from_backpropagation", "tanh"),
            below=1e-10,
            published="0 (identity)",
        ),
        *(
            Criterion.effect(
                f"LSTM, forget bias {bias:g}: gradient at lag {LAG} over the tanh network's, log10",
                advantage[bias],
                above=4.0,
                published="no decay along the cell",
            )
            for bias in FORGET_BIASES[1:]
        ),
        Criterion.exact(
            "LSTM: relative difference of the cell's path from the product of forget gates",
            _all(trials, "from_gates", "lstm"),
            below=1e-10,
            published="0 (identity)",
        ),
        Criterion.effect(
            f"LSTM, forget bias 1: gradient along the cell at lag {LAG} in the best unit, log10",
            _numbers(trials, "log10_carried", recurrence="lstm", forget_bias=1.0),
            below=-10.0,
            published="−14, σ(1)¹⁰⁰",
        ),
        Criterion.effect(
            f"LSTM, forget bias 1: gradient at lag {LAG} over the tanh network's, log10",
            advantage[1.0],
            below=0.0,
            control=True,
        ),
        Criterion.exact(
            "orthogonal linear network: |norm − 1| at any lag",
            _curves(trials, lambda lags, logs: float(np.abs(np.expm1(logs)).max()), recurrence="orthogonal"),
            below=1e-8,
            published="0 (identity)",
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
    radii = np.linspace(RADII[0], RADII[-1], 101)
    axes.plot(radii, np.log(radii), ":", color=colors.ink)
    figures.direct_label(axes, 0.7, math.log(0.7) - 0.03, "log g")
    ends = {}
    for label, color, shift, rates in (
        ("linear", colors.accent, 0.0, [_slope(trials, recurrence="linear", g=g) for g in RADII]),
        ("tanh", colors.second, -0.012, [_slope(trials, recurrence="tanh", g=g) for g in RADII]),
        ("its exponent", colors.third, 0.012, [_numbers(trials, "exponent", recurrence="tanh", g=g) for g in RADII]),
    ):
        low, middle, high = np.array([_span(each.to_numpy()) for each in rates]).T
        figures.interval(axes, np.array(RADII) + shift, middle, low, high, color=color)
        ends[label, color] = middle[-1]
    _labels(axes, RADII[-1] + 0.02, ends, gap=0.08)
    axes.set_xlabel("spectral radius g")
    axes.set_ylabel("log gradient norm per step of lag")


def _draw_lags(axes: Axes, trials: pd.DataFrame) -> None:
    colors = figures.COLORS
    shown: list[tuple[str, str, dict[str, Any]]] = [
        ("orthogonal", colors.muted, {"recurrence": "orthogonal"}),
        ("tanh, g = 0.9", colors.second, {"recurrence": "tanh", "g": 0.9}),
    ]
    shown += [
        (f"LSTM, bias {bias:g}", colors.accent, {"recurrence": "lstm", "forget_bias": bias}) for bias in FORGET_BIASES
    ]
    ends = {}
    for label, color, case in shown:
        curves = per_seed(trials, "log_norm", **case)
        if curves.empty:
            continue
        lags = np.arange(0, LAG + 1, EVERY)
        norms = np.stack([curve[: len(lags)] for curve in curves]) / LOG10
        low, middle, high = np.array([_span(each) for each in norms.T]).T
        figures.interval(axes, lags, middle, low, high, color=color)
        axes.plot(lags, middle, color=color, linewidth=0.8)
        ends[label, color] = middle[-1]
    lags = np.array([0, LAG])
    alone = lags * math.log10(1 / (1 + math.exp(-3)))
    axes.plot(lags, alone, ":", color=colors.ink)
    ends["σ(3) per step", colors.ink] = alone[-1]
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


def _span(values: Floats) -> tuple[float, float, float]:
    """Return low, mean and high; without an interval where there are too few seeds."""
    if not len(values):
        return math.nan, math.nan, math.nan
    low, high = interval(values) if len(values) >= FEWEST_SEEDS else (math.nan, math.nan)
    return low, float(values.mean()), high


def _grid(seeds: int, **size: Any) -> Grid:
    return (
        Grid(seeds=seeds, recurrence=["linear", "tanh"], g=RADII, **size)
        + Grid(seeds=seeds, recurrence="lstm", forget_bias=FORGET_BIASES, **size)
        + Grid(seeds=seeds, recurrence="orthogonal", **size)
    )


STUDY = Study(
    claim="Gradients through a recurrent network vanish or explode exponentially in the lag, at the rate of its "
    "spectral radius if it is linear, of its top Lyapunov exponent if not; an LSTM with open forget gates keeps them.",
    source="hochreiter1997long",
    topics=("recurrent",),
    rows=("vanishing-gradient",),
    trial=trial,
    judge=judge,
    draw=draw,
    scales={"smoke": _grid(1, units=32, lags=200, windows=1), "quick": _grid(12), "full": _grid(50)},
    defaults={"units": 64, "lags": 1000, "windows": 8},
    protocol="Recurrences of 64 units without input: linear and tanh with Gaussian W of spectral radius 0.5 to 1.5, "
    "torch's LSTM cell with forget bias 1, 3, 5. The spectral norm of the Jacobian of states up to 1000 lags apart; "
    "its slope against log ρ(W), and against the Lyapunov exponent of other stretches of the trajectory; the LSTM "
    "against the tanh network of radius 0.9 at lag 100. Controls: an orthogonal W, and forget bias 1.",
    timeout=600.0,
)
