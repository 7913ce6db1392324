"""A residual network whose weights vary smoothly with depth is a numerical method for an ODE.

The claim (``e2017proposal``, ``haber2017stable``): yₖ₊₁ = yₖ + h σ(K(tₖ) yₖ + b) is Euler's method for
y′ = σ(K(t) y + b), so that the network of 1/h blocks tends to the ODE's flow at order 1; blocks of two and four layers,
or with a skip over two blocks, are methods of order 2 and 4.

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

Control: the same layers in random order, against the same flow. The network has each K(tₖ) once, as before; it lacks
smoothness in depth and nothing else. The slope must be within 0 ± 0.2, the tolerance of the highest order; would
smoothness not matter, it would be 1. (Independent layers against the flow of some K(t) would be no control: a smooth
network of another K(t) does not approach that flow either.) What layers in random order do approach is another
statement, with criteria of its own: y′ = (1/n) Σₖ σ(K(tₖ) y + b), in which every layer acts all the time. The order of
the layers is then noise of mean 0, and the central limit theorem gives an error of √h: slope 0.5 ± 0.1. So do
independent Gaussian layers of the same variance, whose averaged equation is y′ = E σ(K y + b); as K y is Gaussian with
variance |y|²/8 in each coordinate, it is integrated without Monte Carlo. The error is the root mean square over 32
orders, or draws, per seed and h. The average is over the network's own n layers: its distance from the integral over
depth is of order h, and at these h still bends a slope of ½. The input returned: slope 0, not 0.5.

Left out: whether the weights of *trained* residual networks become smooth in depth as the depth grows. That is a claim
about training, not about the method, and found not to hold in general (``cohen2021scaling``); it takes networks
trained at several depths. A verdict here says nothing about trained weights.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from deepscope import figures
from deepscope.core import Case, Criterion, Grid, Study, TrialRun, UsageError, per_seed
from deepscope.studies.differential_equations._reference import (
    TOLERANCE,
    Field,
    Floats,
    averaged_flow,
    closed_form,
    integrate,
    mean_flow,
    solve,
)
from deepscope.studies.differential_equations._residual_network import SCHEMES, ResidualNetwork

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Weights = Callable[[Any], Floats]

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
    if case.weights == "independent":
        return _independent(case, rng, bias, inputs, blocks)
    weights = smooth_weights(rng, case.width)
    if case.weights == "smooth":
        return _smooth(case, weights, bias, inputs, blocks)
    return _shuffled(case, rng, weights, bias, inputs, blocks)


def smooth_weights(rng: np.random.Generator, width: int) -> Weights:
    """Draw K(t), a random Fourier series whose entries have variance 1/width at each t; t may be an array."""
    phases = math.pi * 2 * np.array(FREQUENCIES)
    cosines, sines = rng.standard_normal((2, len(phases), width, width)) / math.sqrt(width * len(phases))

    def weights(t: Any) -> Floats:
        angles = np.asarray(t, dtype=float)[..., None] * phases
        found: Floats = np.tensordot(np.cos(angles), cosines, 1) + np.tensordot(np.sin(angles), sines, 1)
        return found

    return weights


def _field(weights: Weights, bias: Floats) -> Field:
    def field(t: float, y: Floats) -> Floats:
        found: Floats = np.tanh(weights(t) @ y + bias)
        return found

    return field


def _smooth(case: Case, weights: Weights, bias: Floats, inputs: Floats, blocks: list[int]) -> dict[str, Any]:
    field = _field(weights, bias)
    flow = solve(field, inputs)
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


def _shuffled(
    case: Case, rng: np.random.Generator, weights: Weights, bias: Floats, inputs: Floats, blocks: list[int]
) -> dict[str, Any]:
    flow = solve(_field(weights, bias), inputs)

    def shuffled(depths: Tensor) -> Tensor:
        layers = weights(depths.numpy())
        return torch.from_numpy(np.stack([rng.permutation(layers) for _ in range(case.draws)], axis=2))

    errors, averaged_errors = [], []
    for count in blocks:
        outputs = _outputs(case, shuffled, bias, inputs, count)
        errors.append(_rms(outputs - flow))
        averaged_errors.append(_rms(outputs - mean_flow(weights(np.arange(count) / count), bias, inputs)))
    return {"blocks": np.array(blocks), "error": np.array(errors), "averaged_error": np.array(averaged_errors)}


def _independent(
    case: Case, rng: np.random.Generator, bias: Floats, inputs: Floats, blocks: list[int]
) -> dict[str, Any]:
    scale = 1 / math.sqrt(case.width)
    averaged = averaged_flow(bias, inputs, scale)

    def drawn(depths: Tensor) -> Tensor:
        return torch.from_numpy(scale * rng.standard_normal((*depths.shape, case.draws, case.width, case.width)))

    errors = [_rms(_outputs(case, drawn, bias, inputs, count) - averaged) for count in blocks]
    return {"blocks": np.array(blocks), "averaged_error": np.array(errors)}


def _outputs(case: Case, weights: Callable[[Tensor], Tensor], bias: Floats, inputs: Floats, count: int) -> Floats:
    """Return the outputs of ``draws`` networks side by side, [draws, width]."""
    network = ResidualNetwork(SCHEMES[case.method], weights, torch.from_numpy(bias), count)
    return _output(network, np.tile(inputs, (case.draws, 1)))


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
            published=f"theory: {SCHEMES[method].order}",
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
            published="theory: 0 (identity)",
        ),
        Criterion.exact(
            "constant weights, no activation: relative difference from the closed form",
            _all(trials, "from_closed_form"),
            below=1e-12,
            published="theory: 0 (identity)",
        ),
        *(
            Criterion.effect(
                f"{label}: order in h, to the averaged equation",
                _slope(trials, "averaged_error", weights, "euler"),
                within=0.1,
                target=0.5,
                published="theory: ½ (central limit theorem)",
            )
            for weights, label in (
                ("shuffled", "the same layers in random order"),
                ("independent", "independent layers"),
            )
        ),
        Criterion.effect(
            "the same layers in random order: order in h, to the smooth equation",
            _slope(trials, "error", "shuffled", "euler"),
            within=0.2,
            target=0.0,
            published="theory: 0, no limit",
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
    """Draw the error against the number of blocks: smooth weights, and weights without order."""
    figure, (left, right) = figures.new(height=3.2, cols=2, width_ratios=(1.15, 1))
    colors = figures.COLORS
    for method, label, color in (
        ("euler", "Euler, h", colors.accent),
        ("rk2", "midpoint, h²", colors.second),
        ("ab2", "Adams–B., h²", colors.muted),
        ("rk4", "RK4, h⁴", colors.third),
    ):
        _curve(left, trials, "error", ("smooth", method), (label, color), float(SCHEMES[method].order))
    for column, weights, label, color, order in (
        ("error", "shuffled", "from the smooth ODE", colors.second, 0.0),
        ("averaged_error", "independent", "independent, √h", colors.muted, 0.5),
        ("averaged_error", "shuffled", "from their average, √h", colors.accent, 0.5),
    ):
        _curve(right, trials, column, (weights, "euler"), (label, color), order)
    for axes, title in ((left, "weights smooth in depth"), (right, "the same layers in random order")):
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
    middle, low, high = figures.over_seeds(np.stack(list(curves)), log=True)
    figures.interval(axes, blocks, middle, low, high, color=color)
    axes.plot(blocks, middle, color=color, linewidth=0.8)
    fitted = blocks >= FIT_FROM
    if fitted.any():
        axes.plot(
            blocks[fitted], middle[fitted][0] * (blocks[fitted] / FIT_FROM) ** -order, ":", color=figures.COLORS.ink
        )
    figures.direct_label(axes, blocks[-1], middle[-1], label, color)


def _grid(seeds: int | range, **size: Any) -> Grid:
    return Grid(seeds=seeds, weights=["smooth", "constant"], method=list(SCHEMES), **size) + Grid(
        seeds=seeds, weights=["shuffled", "independent"], method="euler", **size
    )


STUDY = Study(
    claim=(
        "A residual network whose weights vary smoothly with depth is Euler's method for an ordinary differential "
        "equation."
    ),
    source="e2017proposal",
    topics=("differential equations",),
    rows=("resnet-euler",),
    trial=trial,
    judge=judge,
    draw=draw,
    scales={
        "smoke": _grid(1, finest=7),
        "quick": _grid(range(100, 110)),
        "full": _grid(range(100, 150)),
    },
    defaults={"width": 8, "finest": 10, "draws": 32},
    protocol=(
        "The claim in full: A residual network whose weights vary smoothly with depth is Euler's method for an "
        "ordinary differential equation: it converges to the flow at order 1, and at order 2 or 4 with the blocks of "
        "a method of that order.\n\n"
        "Residual networks of width 8 and of 4 to 1024 tanh blocks, steps h = 1/4 to 1/1024; weights K(t) from a "
        "random Fourier series; blocks of one, two and four layers, and a skip over two blocks. The error at depth 1 "
        "against DOP853 at 1e-13; slopes fitted from h = 1/64 down. Control: the same layers in 32 random orders for "
        "each seed and h. Gaussian weights independent from layer to layer, 32 draws, against their averaged "
        "equation. Trained weights are not part of it."
    ),
    caption="Points: the error at depth 1, geometric mean over seeds; bars: 95 % interval of that mean; solid lines "
    "only join the points; dotted: the order that theory gives, from 64 blocks on, where the fit begins. Right: the "
    "distance of shuffled layers from the flow of the smooth ODE, which does not shrink, and of shuffled and of "
    "independent layers from the ODE of their average; root mean square over 32 orders or draws.",
    timeout=300.0,
)
