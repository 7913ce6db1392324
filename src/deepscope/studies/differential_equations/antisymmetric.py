"""Antisymmetric weights keep the forward propagation of a residual network stable.

The claim (``haber2017stable``; for recurrent networks ``chang2019antisymmetricrnn``): layers y ← y + h σ(A y + b) are
Euler's steps of y′ = σ(A y + b). With A = ½ (K − Kᵀ) the eigenvalues of its Jacobian lie on the imaginary axis whatever
K is, so that signals neither explode nor vanish with depth; Euler's steps themselves amplify what oscillates, and need
a diffusion, A − ½ γ I. Networks that are stable in this sense also bear noise in their inputs.

Done here. *Equations*: n = 32, entries of K from N(0, 1/n), and A = K − Kᵀ (antisymmetric), K (free) or −K Kᵀ
(dissipative), all of the Frobenius norm of K; y′ = A y and y′ = tanh(A y) to T = 10 by Runge–Kutta steps of 0.02, from
N(0, 1), in float64. Judged are medians over the 100 draws of a seed. *Layers*: ``AntisymmetricLayer`` with h = 0.1 to
T = 100, without diffusion and with γ = 1.1 h ω², ω the greatest frequency. *Digits*: ``AntisymmetricResNet`` with 20
layers of 64 units, h = 0.3, tanh, γ = 0.1, 252 steps of Adam at 0.001 (21 epochs in batches of 128); the same network
with the other two A, of equal norm at the start and with the same diffusion; test images with noise of deviation 0, 0.5
and 1, where pixels have one of 1.

Criteria, and what would score without the effect. (A = 0 keeps everything, and is excluded by the norm of A.)

* Exact, of all draws: the implicit midpoint rule multiplies by an orthogonal matrix, singular values within 10⁻¹⁰ of 1;
  the Jacobian of tanh(A y) has real parts within 10⁻¹⁰ of 0 (it is similar to an antisymmetric matrix by the root of
  tanh′, which costs some ten times the rounding error); y′ = tanh(A y) keeps Σ ln cosh(A y), within 10⁻⁶ of it, and
  y′ = A y the norm, within 10⁻⁶: Runge–Kutta loses (ω h)⁶/144 a step, 3 · 10⁻⁸ in all at ω = 2.
* y′ = A y: free signals grow more than 100 times, dissipative ones fall below one half.
* y′ = tanh(A y): antisymmetric signals end between half and twice their norm, a two-sided bound, which a contraction
  fails; free ones grow at least 3 times as much.
* Layers without diffusion: signals more than double in T = 100; with it they do not grow.
* Digits, antisymmetric minus free: at least 3 points more at noise 0.5 and at noise 1, and not 1 point less without
  noise. Networks that are alike: 0.

Controls:

* Layers without σ and diffusion grow exactly as Euler's method does, |y|² = Σ |cᵢ|² (1 + h² ωᵢ²)^N to 10⁻⁸: what grows
  is the method, not the equation.
* The free A's Jacobians have eigenvalues with real parts of more than 0.1, in every draw: the measure can tell.
* Dissipative networks are stable by forgetting: without noise they name at least 1 point less than antisymmetric ones.

Mended. All have the diffusion, not the antisymmetric network alone: otherwise the comparison would be of two things.
(Without it free networks do as with it: seeds 1000 and 1001.) To T = 100 only layers are followed: with diffusion
signals are below a thousandth there. That is exp(−γT/2) and no stability worth the name: a network of Euler's steps is
stable *and* keeps its signals only for T ≪ 1/γ.

Settings stem from seeds 1000 and 1001. The list's 3 points at noise 0.5 were out of reach in all of them: 1.0 to 2.2
points at rates of 0.001 and 0.003, in batches of 128 and in full batches, with pixels standardised alone or together.
The criterion is kept. Of the rates 0.001 shows what dissipative weights lose without noise (1 to 2 points); at 0.003
this is 0 to 1.

What came out at ``quick``: at noise 0.5 antisymmetric networks name 2.3 points more than free ones (interval 1.8 to
2.8), and 5.4 at noise 1; by the 3 points asked for at 0.5 the claim is not reproduced, while all that it says of
signals holds. Dissipative networks lose 1.4 points without noise, with an interval (0.6 to 2.3) that leaves it open
whether it is 1.

Not judged: how a small perturbation grows, which is stored. Imaginary eigenvalues at each time do not bound it where
the Jacobian changes along the way: under y′ = tanh(A y) it grew 1.7 times (seed 1000). And a network of the two linear
layers alone, which is drawn: at noise 1 it names as many images as the antisymmetric one, and 3 points fewer without
noise. What free weights lose in noise, antisymmetric ones do not, but depth does not *add* robustness.

Left out: the source's other remedies (Hamiltonian networks, smooth weights), and gradients with depth.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from deepscope.core import Case, Criterion, Grid, Study, TrialRun, UsageError, nearest, per_seed
from deepscope.studies.differential_equations._antisymmetric_digits import learn_digits
from deepscope.studies.differential_equations._antisymmetric_figure import draw
from deepscope.studies.differential_equations._antisymmetric_flows import FLOWS, GENERATORS, euler, flow

if TYPE_CHECKING:
    import pandas as pd

    Numbers = pd.Series[Any]

#: Growth of a signal that explodes, and that fades; by which a kept one may change; how much more a free one grows.
EXPLODES, FADES, KEPT, MORE = 100.0, 0.5, 2.0, 3.0
#: Shares of the images: gained in noise, lost without it.
GAINED, LOST = 0.03, 0.01
EXPERIMENTS = (*FLOWS, "euler", "digits")


def trial(case: Case, run: TrialRun) -> dict[str, Any]:
    """Solve equations, take Euler's steps, or train a network."""
    if case.experiment not in EXPERIMENTS:
        raise UsageError("unknown experiment", where=str(case.experiment), todo=nearest(case.experiment, EXPERIMENTS))
    if case.experiment == "digits":
        return learn_digits(case, run)
    return euler(case, run) if case.experiment == "euler" else flow(case, run)


def judge(trials: pd.DataFrame) -> list[Criterion]:
    """Judge what the equation keeps, how signals grow, Euler's steps, and networks in noise."""
    return [*_identities(trials), *_growths(trials), *_digits(trials), *_controls(trials)]


def _identities(trials: pd.DataFrame) -> list[Criterion]:
    return [
        Criterion.exact(
            name, per_seed(trials, column, experiment=experiment, generator="antisymmetric"), below=threshold
        )
        for name, column, experiment, threshold in (
            ("midpoint rule: largest distance of a singular value from 1", "singular_values", "linear", 1e-10),
            ("Jacobian of tanh(A y): largest real part of an eigenvalue", "real_parts", "tanh", 1e-10),
            ("y′ = tanh(A y): largest relative change of Σ ln cosh(A y)", "energy", "tanh", 1e-6),
            ("y′ = A y: largest relative change of a norm", "departure", "linear", 1e-6),
        )
    ]


def _growths(trials: pd.DataFrame) -> list[Criterion]:
    growth = {
        (experiment, generator): per_seed(trials, "growth", experiment=experiment, generator=generator)
        for experiment in FLOWS
        for generator in GENERATORS
    }
    kept = np.log(growth["tanh", "antisymmetric"])
    return [
        Criterion.effect("y′ = A y, free: growth", growth["linear", "free"], above=EXPLODES),
        Criterion.effect("y′ = A y, dissipative: growth", growth["linear", "dissipative"], below=FADES),
        Criterion.effect("y′ = tanh(A y), antisymmetric: log growth", kept, within=float(np.log(KEPT))),
        Criterion.effect(
            "y′ = tanh(A y), free over antisymmetric: log growth",
            np.log(growth["tanh", "free"]) - kept,
            above=float(np.log(MORE)),
        ),
        Criterion.effect(
            "antisymmetric layers without diffusion: growth to T = 100",
            per_seed(trials, "growth", experiment="euler"),
            above=KEPT,
            published="theory: Euler's steps amplify each mode, by 1 + h²ω²/2",
        ),
        Criterion.effect(
            "antisymmetric layers with diffusion: growth to T = 100",
            per_seed(trials, "diffused_growth", experiment="euler"),
            below=1.0,
        ),
    ]


def _digits(trials: pd.DataFrame) -> list[Criterion]:
    return [
        Criterion.effect(
            f"digits, {noise}: share named, antisymmetric minus free",
            _accuracy(trials, column, "antisymmetric") - _accuracy(trials, column, "free"),
            above=threshold,
        )
        for column, noise, threshold in (
            ("noisy", "noise 0.5", GAINED),
            ("noisiest", "noise 1", GAINED),
            ("clean", "no noise", -LOST),
        )
    ]


def _controls(trials: pd.DataFrame) -> list[Criterion]:
    return [
        Criterion.exact(
            "layers without σ and diffusion: largest relative difference of |y|² from Σ |cᵢ|² (1 + h²ωᵢ²)^N",
            per_seed(trials, "identity", experiment="euler"),
            below=1e-8,
            control=True,
        ),
        Criterion.exact(
            "Jacobian of tanh(A y), free: least over draws of the largest real part of an eigenvalue",
            per_seed(trials, "real_parts", experiment="tanh", generator="free"),
            above=0.1,
            control=True,
        ),
        Criterion.effect(
            "digits, no noise: share named, antisymmetric minus dissipative",
            _accuracy(trials, "clean", "antisymmetric") - _accuracy(trials, "clean", "dissipative"),
            above=LOST,
            control=True,
        ),
    ]


def _accuracy(trials: pd.DataFrame, column: str, generator: str) -> Numbers:
    return per_seed(trials, column, experiment="digits", generator=generator)


def _grid(flow_seeds: int, digit_seeds: int, **sizes: Any) -> Grid:
    return (
        Grid(seeds=flow_seeds, experiment=list(FLOWS), generator=list(GENERATORS), **sizes)
        + Grid(seeds=flow_seeds, experiment="euler", generator="antisymmetric", **sizes)
        + Grid(seeds=digit_seeds, experiment="digits", generator=[*GENERATORS, "none"], **sizes)
    )


STUDY = Study(
    claim=(
        "Residual layers with antisymmetric weights neither amplify nor forget their signals, and so bear noise better."
    ),
    source="haber2017stable",
    topics=("differential equations",),
    rows=("antisymmetric-resnet",),
    trial=trial,
    judge=judge,
    draw=draw,
    scales={
        "smoke": _grid(
            1, 1, width=4, draws=2, time=0.4, euler_time=2.0, units=4, depth=2, n_train=64, epochs=1, repeats=1
        ),
        "quick": _grid(10, 6),
        "full": _grid(20, 20, draws=1000, epochs=100),
    },
    defaults={
        "width": 32,
        "draws": 100,
        "time": 10.0,
        "euler_time": 100.0,
        "units": 64,
        "depth": 20,
        "step": 0.3,
        "diffusion": 0.1,
        "n_train": 1438,
        "batch_size": 128,
        "epochs": 21,
        "learning_rate": 0.001,
        "repeats": 10,
    },
    protocol=(
        "A residual layer y + h σ(A y + b) is a step of Euler's method for y′ = σ(A y + b). Equations with random "
        "antisymmetric A = K − Kᵀ, with free K and with dissipative −K Kᵀ, all of the same norm, are solved to T = 10, "
        "without σ and with tanh: what theory says is kept must be kept exactly, free signals must explode, "
        "antisymmetric ones stay. Layers of the network, which are Euler's steps, must amplify signals without "
        "diffusion, and not with it. Then residual networks of 20 such layers learn handwritten digits and are tested "
        "on noisy images: with antisymmetric weights they must name at least 3 points more than with free ones, and "
        "as many without noise. Controls: the growth of layers is exactly that of Euler's method; free matrices have "
        "eigenvalues off the imaginary axis; and dissipative networks, stable by forgetting, name fewer clean images."
    ),
    caption=(
        "Means over seeds with 95 % intervals. Top: norm of a signal over time, divided by its first; medians of "
        "random equations without σ (left) and with tanh (right). Bottom left: antisymmetric layers of step 0.1, "
        "without diffusion and with as much as Euler's steps need. Bottom right: test images named by trained "
        "networks, by the deviation of the noise in pixels whose own is 1; dotted: two linear layers alone."
    ),
)
