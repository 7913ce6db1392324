"""A residual network whose weights vary smoothly with depth is a numerical method for an ODE.

The claim (E 2017; Haber & Ruthotto 2017): yₖ₊₁ = yₖ + h σ(K(tₖ) yₖ + b) is Euler's method for y′ = σ(K(t) y + b), so
that the network of 1/h blocks tends to the ODE's flow at order 1; blocks of two and four layers, or with a skip over
two blocks, are methods of order 2 and 4.

Done here: width 8, σ = tanh, K(t) with random Fourier coefficients at the half-integer frequencies 0, ½, 1, 3/2, so
that it is smooth and not periodic over the network's depth 1 (a periodic integrand flatters some methods). Entries
have variance 1/8, as at initialisation. The network is a torch module in float64; the flow is found by another method,
DOP853 with tolerance 1e-13. A seed draws K, b and the input.

Criteria, and what a network that returns its input would score:

* Slope of log error against log h: 1 ± 0.1, 2 ± 0.1 (one step and two steps), 4 ± 0.2. Fitted from h = 1/64 down, as
  coarser steps are pre-asymptotic, and as long as h^order ≥ 1e-11, a hundred times the reference's tolerance: below
  it the error is that of the reference. This is all h down to 1/1024 for orders 1 and 2, and 1/512 for order 4. The
  input returned: slope 0.
* Exact: the network's output is the iterate of the method as textbooks write it, at each h. Rounding in n = 1024
  steps gives about √n ε e^L ≈ 1e-13, L ≈ 3 being the largest norm of K; the threshold is 1e-12. The input returned: 1.
* Exact: with constant weights and without σ the output is R(hK)ⁿ y for the method's polynomial R, the exponential
  series cut off at the method's order (for two steps, a power of the companion matrix). This is where the order comes
  from. Rounding 1 + hK before it is taken to the n-th power gives n ε ≈ 2e-13 of the output; the threshold is 1e-12.
  The input returned: 1.

Control: weights drawn anew in each layer (Gaussian, of the same variance). The network then does not approach the
smooth ODE: slope within 0 ± 0.2. It does approach something, which is another statement and a criterion of its own:
the central limit theorem takes it to the averaged equation y′ = E σ(K y + b) with an error of √h, slope 0.5 ± 0.1. The
error of a random network is the root mean square over 32 draws per seed and h. As K y is Gaussian with variance |y|²/8
in each coordinate, the averaged equation is integrated without Monte Carlo.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from deepscope import figures
from deepscope.core import FEWEST_SEEDS, Case, Criterion, Grid, Study, TrialRun, UsageError, interval, per_seed
from deepscope.studies.differential_equations._reference import (
    TOLERANCE,
    Floats,
    averaged_flow,
    closed_form,
    integrate,
    solve,
)
from deepscope.studies.differential_equations._residual_network import SCHEMES, ResidualNetwork

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FREQUENCIES = (0.0, 0.5, 1.0, 1.5)
#: Slopes are fitted where there are at least so many blocks, and the error is well above the reference's.
FIT_FROM = 64
FIT_ABOVE = 100 * TOLERANCE


def trial(case: Case, run: TrialRun) -> dict[str, Any]:
    """Return the error of networks of 4, 8, 16 … blocks, or their distance from a closed form."""
    if case.finest < 2:
        raise UsageError(f"the finest network has 2^{case.finest} blocks", where="finest", todo="Give at least 2.")
    rng = np.random.default_rng(run.seed)
    bias, inputs = rng.standard_normal((2, case.width))
    blocks = [2**power for power in range(2, case.finest + 1)]
    if case.weights == "constant":
        return _constant(case, rng, inputs, blocks)
    weights = smooth_weights(rng, case.width)
    flow = solve(lambda t, y: np.tanh(weights(t) @ y + bias), inputs)
    if case.weights == "smooth":
        return _smooth(case, weights, bias, inputs, flow, blocks)
    return _independent(case, rng, bias, inputs, flow, blocks)


def smooth_weights(rng: np.random.Generator, width: int) -> Callable[[Any], Floats]:
    """Draw K(t), a random Fourier series whose entries have variance 1/width at each t; t may be an array."""
    phases = math.pi * 2 * np.array(FREQUENCIES)
    cosines, sines = rng.standard_normal((2, len(phases), width, width)) / math.sqrt(width * len(phases))

    def weights(t: Any) -> Floats:
        angles = np.asarray(t, dtype=float)[..., None] * phases
        found: Floats = np.tensordot(np.cos(angles), cosines, 1) + np.tensordot(np.sin(angles), sines, 1)
        return found

    return weights


def _smooth(
    case: Case, weights: Callable[[Any], Floats], bias: Floats, inputs: Floats, flow: Floats, blocks: list[int]
) -> dict[str, Any]:
    def field(t: float, y: Floats) -> Floats:
        return np.tanh(weights(t) @ y + bias)

    errors, differences = [], []
    for count in blocks:
        network = ResidualNetwork(
            SCHEMES[case.method],
            lambda depths: torch.from_numpy(weights(depths.numpy())),
            torch.from_numpy(bias),
            count,
        )
        output = _output(network, inputs)
        errors.append(np.linalg.norm(output - flow))
        differences.append(np.abs(output - integrate(case.method, field, inputs, count)).max())
    return {"blocks": np.array(blocks), "error": np.array(errors), "from_method": float(max(differences))}


def _output(network: ResidualNetwork, inputs: Floats) -> Floats:
    with torch.no_grad():
        found: Floats = network(torch.from_numpy(inputs)).numpy()
    return found


def _constant(case: Case, rng: np.random.Generator, inputs: Floats, blocks: list[int]) -> dict[str, Any]:
    matrix = rng.standard_normal((case.width, case.width)) / math.sqrt(case.width)
    differences = []
    for count in blocks:
        network = ResidualNetwork(
            SCHEMES[case.method],
            lambda depths: torch.from_numpy(matrix).expand(*depths.shape, -1, -1),
            torch.zeros(case.width, dtype=torch.float64),
            count,
            activation=_identity,
        )
        exact = closed_form(case.method, matrix, inputs, count)
        differences.append(np.linalg.norm(_output(network, inputs) - exact) / np.linalg.norm(exact))
    return {"from_closed_form": float(max(differences))}


def _identity(values: Tensor) -> Tensor:
    return values


def _independent(
    case: Case, rng: np.random.Generator, bias: Floats, inputs: Floats, flow: Floats, blocks: list[int]
) -> dict[str, Any]:
    scale = 1 / math.sqrt(case.width)
    averaged = averaged_flow(bias, inputs, scale)

    def weights(depths: Tensor) -> Tensor:
        return torch.from_numpy(scale * rng.standard_normal((*depths.shape, case.draws, case.width, case.width)))

    starts = np.tile(inputs, (case.draws, 1))
    errors, averaged_errors = [], []
    for count in blocks:
        outputs = _output(ResidualNetwork(SCHEMES[case.method], weights, torch.from_numpy(bias), count), starts)
        errors.append(_rms(outputs - flow))
        averaged_errors.append(_rms(outputs - averaged))
    return {"blocks": np.array(blocks), "error": np.array(errors), "averaged_error": np.array(averaged_errors)}


def _rms(differences: Floats) -> float:
    return math.sqrt(np.mean(np.sum(differences**2, axis=-1)))


def judge(trials: pd.DataFrame) -> list[Criterion]:
    """Judge the orders, the two identities, and weights without any order."""
    orders = [
        Criterion.effect(
            f"{label}: order in h",
            _slope(trials, "error", "smooth", method),
            within=margin,
            target=SCHEMES[method].order,
            published=f"{SCHEMES[method].order} (theorem)",
        )
        for method, label, margin in (
            ("euler", "residual blocks (Euler)", 0.1),
            ("rk2", "blocks of two layers (midpoint)", 0.1),
            ("ab2", "skips over two blocks (Adams–Bashforth)", 0.1),
            ("rk4", "blocks of four layers (Runge–Kutta)", 0.2),
        )
    ]
    return [
        *orders,
        Criterion.exact(
            "largest difference of a network's output from the method's iterate",
            _all(trials, "from_method"),
            below=1e-12,
            published="0 (identity)",
        ),
        Criterion.exact(
            "constant weights, no activation: relative difference from the closed form",
            _all(trials, "from_closed_form"),
            below=1e-12,
            published="0 (identity)",
        ),
        Criterion.effect(
            "independent layers: order in h, to the averaged equation",
            _slope(trials, "averaged_error", "independent", "euler"),
            within=0.1,
            target=0.5,
            published="1/2 (central limit theorem)",
        ),
        Criterion.effect(
            "independent layers: order in h, to the smooth equation",
            _slope(trials, "error", "independent", "euler"),
            within=0.2,
            published="0: no limit",
            control=True,
        ),
    ]


def _slope(trials: pd.DataFrame, column: str, weights: str, method: str) -> pd.Series[Any]:
    """Return by seed the slope of log error against log h, fitted where ``FIT_FROM`` and ``FIT_ABOVE`` allow."""
    blocks, errors = (per_seed(trials, name, weights=weights, method=method) for name in ("blocks", column))
    order = SCHEMES[method].order

    def fitted(counts: Any, values: Any) -> float:
        chosen = (counts >= FIT_FROM) & (counts ** -float(order) >= FIT_ABOVE)
        if chosen.sum() < 2:
            return math.nan
        return -float(np.polyfit(np.log(counts[chosen]), np.log(values[chosen]), 1)[0])

    return blocks.combine(errors, fitted).astype(float)


def _all(trials: pd.DataFrame, column: str) -> pd.Series[Any]:
    """Return a number of all trials that have it, by seed."""
    if column not in trials:
        return per_seed(trials, column)
    return trials.dropna(subset=[column]).set_index("seed")[column]


def draw(trials: pd.DataFrame) -> Figure:
    """Draw the error against the number of blocks: smooth weights, and independent ones."""
    figure, (left, right) = figures.new(height=3.2, cols=2, width_ratios=(1.15, 1))
    colors = figures.COLORS
    for method, label, color in (
        ("euler", "Euler, h", colors.accent),
        ("rk2", "midpoint, h²", colors.second),
        ("ab2", "Adams–B., h²", colors.muted),
        ("rk4", "RK4, h⁴", colors.third),
    ):
        _curve(left, trials, "error", ("smooth", method), (label, color), float(SCHEMES[method].order))
    _curve(right, trials, "error", ("independent", "euler"), ("smooth ODE, 1", colors.second), 0.0)
    _curve(right, trials, "averaged_error", ("independent", "euler"), ("averaged ODE, √h", colors.accent), 0.5)
    for axes, title in ((left, "weights smooth in depth"), (right, "weights independent from layer to layer")):
        axes.set_xscale("log", base=2)
        axes.set_yscale("log")
        axes.set_xticks([4, 16, 64, 256, 1024], ["4", "16", "64", "256", "1024"])
        axes.set_xlabel("blocks, 1/h")
        with figures.style():
            axes.set_title(title)
    left.set_ylabel("error at depth 1")
    left.text(0.03, 0.03, "dotted: theory", transform=left.transAxes, fontsize=8, color=colors.muted)
    return figure


def _curve(
    axes: Axes, trials: pd.DataFrame, column: str, case: tuple[str, str], look: tuple[str, str], order: float
) -> None:
    """Draw the geometric mean over seeds with its interval, and dotted the theory's slope from ``FIT_FROM`` on."""
    weights, method = case
    curves = per_seed(trials, column, weights=weights, method=method)
    if curves.empty:
        return
    label, color = look
    blocks = per_seed(trials, "blocks", weights=weights, method=method).iloc[0].astype(float)
    logs = np.log(np.stack(list(curves)))
    middle = logs.mean(0)
    ends = np.array([interval(each) if len(each) >= FEWEST_SEEDS else (math.nan, math.nan) for each in logs.T]).T
    figures.interval(axes, blocks, np.exp(middle), *np.exp(ends), color=color)
    axes.plot(blocks, np.exp(middle), color=color, linewidth=0.8)
    fitted = blocks >= FIT_FROM
    if fitted.any():
        anchor = middle[fitted][0] + order * math.log(FIT_FROM)
        axes.plot(blocks[fitted], np.exp(anchor) * blocks[fitted] ** -order, ":", color=figures.COLORS.ink)
    figures.direct_label(axes, blocks[-1], math.exp(middle[-1]), label, color)


STUDY = Study(
    claim="A residual network whose weights vary smoothly with depth is Euler's method for an ordinary differential "
    "equation: it converges to the flow at order 1, and at order 2 or 4 with the blocks of a method of that order.",
    source="e2017proposal",
    topics=("differential equations",),
    rows=("resnet-euler",),
    trial=trial,
    judge=judge,
    draw=draw,
    scales={
        "smoke": Grid(seeds=1, weights=["smooth", "constant"], method=list(SCHEMES), finest=7)
        + Grid(seeds=1, weights="independent", method="euler", finest=7),
        "quick": Grid(seeds=10, weights=["smooth", "constant"], method=list(SCHEMES))
        + Grid(seeds=10, weights="independent", method="euler"),
        "full": Grid(seeds=50, weights=["smooth", "constant"], method=list(SCHEMES))
        + Grid(seeds=50, weights="independent", method="euler"),
    },
    defaults={"width": 8, "finest": 10, "draws": 32},
    protocol="Residual networks of width 8 and of 4 to 1024 tanh blocks, steps h = 1/4 to 1/1024; weights K(t) from a "
    "random Fourier series; blocks of one, two and four layers, and a skip over two blocks. The error at depth 1 "
    "against DOP853 at 1e-13; slopes fitted from h = 1/64 down. Control: Gaussian weights independent from layer to "
    "layer, 32 draws for each seed and h.",
    timeout=300.0,
)
