"""Adam's L2 penalty decays weights less where gradients are large; decoupled decay does not, and generalises better.

The claim (``loshchilov2019decoupled``): a penalty λ‖θ‖²/2 enters Adam as a part of the gradient, and is divided by its
root mean square with the rest: weights of large gradients decay less. AdamW multiplies weights by 1 − ηλ instead,
beside the step. For plain gradient descent both are one. Reported: lower error on CIFAR-10 at the best rate and decay
of each. ``dangelo2024why``: decay hardly limits capacity; it changes the course of training, after which ∂f/∂θ is
smaller.

Done here, in three parts. *Paths*: perceptrons of 64-64-64-10 units learn 300 digits of 8 × 8 pixels in batches of 50,
400 steps whose rate falls along half a cosine, in double precision, all with the same batches and initial weights; at
the end the distance of two networks' weights is compared with their norm. *Rates*: seven groups of 4,000 weights see
nothing but normal noise of root mean square 2⁻³ … 2³ for 4,000 steps; they stand in pairs that start at 1 and −1 and
see the same noise, so that their distance tells the decay without their random walk. *Grid*: the perceptron in single
precision at 6 learning rates × (6 decays and none) for each form, 84 networks as one batch; that with the least loss on
500 validation digits is judged by the loss on the 997 others.

Criteria, and what would score without the effect. Without decay every distance and every difference is 0, and rates
have no slope.

* Gradient descent without momentum: L2 and decoupled decay end within 10⁻¹⁰ of each other, an identity; the decay
  itself moves the weights by more than 10⁻², or the identity would be one of networks without decay.
* Rates: the slope of their logarithm in that of the noise is −1 ± 0.05 for Adam with L2 and 0 ± 0.05 for AdamW. An
  optimiser that treats all groups alike has 0 twice. That of AdamW follows from its formula.
* Test loss at the points chosen: Adam with L2 minus AdamW above 0.
* The norm of ∂f/∂θ over 256 images after training, AdamW's chosen network over that of the same rate without decay, is
  below 1. **Smaller weights alone meet this**, however they became so: weights multiplied by c < 1 have it by about c².
  Measured beside it is the norm after all layers have been made as long as the other network's.

Controls. Without decay both forms end in the same weights, bit for bit, by gradient descent and by Adam. No coupled
decay among 20 from 10⁻⁵ to 1 brings Adam with L2 within 10⁻² of AdamW: they do not differ by a choice of λ. The chosen
decay beats none on the test images, for either form, or the comparison would have measured nothing.

Mended, by the list itself: that the best region of the grid is aligned with its axes for AdamW and not for L2 is no
criterion. For gradient descent the grids of both differ by exactly 1 in their slope by what their λ means, and torch's
AdamW multiplies its decay by the learning rate as well. Both grids are drawn. Settings stem from seeds 1000 to 1022.
There the forms did not differ in test loss: 0.003 ± 0.006 nats (mean and standard error over 12 seeds; 0.050 ± 0.008
for AdamW against none). The criterion stands as it was. The norm of ∂f/∂θ fell, to 0.7 of that without decay, and
**rose with layers made equally long**, by factors of 1.1 to 7: here it is smaller because the weights are.

What came out at ``quick``: all criteria hold. The difference in test loss is small beside what decay itself brings,
0.012 nats (0.002 to 0.021) against 0.061, and 0.2 points of accuracy (standard error 0.2); on the seeds explored, over
a grid that began and ended at half the rates, it was not there. The norm of ∂f/∂θ fell to 0.68, and with layers made
equally long rose to 2.1 times that without decay on the geometric mean.

Left out: the effective learning rate η/‖θ‖², which is a number for layers that are normalised; momentum.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from deepscope.core import Criterion, Grid, Study, per_seed
from deepscope.studies.optimisation._adamw_figure import draw
from deepscope.studies.optimisation._adamw_trials import trial

if TYPE_CHECKING:
    import pandas as pd

    Numbers = pd.Series[Any]

#: Distances over the norm of the weights: rounding in double precision; what a decay changes at least.
SAME, DIFFERENT = 1e-10, 1e-2
#: Of a slope.
MARGIN = 0.05


def judge(trials: pd.DataFrame) -> list[Criterion]:
    """Judge where decay enters, how it acts on noise, who generalises, and that decay matters at all."""
    loss = {arm: _of(trials, f"{arm}_loss", "grid") for arm in ("none", "adam-l2", "adamw")}
    return [
        Criterion.exact(
            "gradient descent: L2 against decoupled decay, distance over the norm of the weights",
            _of(trials, "sgd", "paths"),
            below=SAME,
            published="theory: 0",
        ),
        Criterion.exact(
            "gradient descent: decoupled decay against none, distance over the norm of the weights",
            _of(trials, "sgd_decay", "paths"),
            above=DIFFERENT,
        ),
        Criterion.effect(
            "Adam with L2 under noise: slope of log decay rate in log gradient scale",
            _of(trials, "adam-l2_slope", "rates"),
            within=MARGIN,
            target=-1.0,
            published="theory: −1",
        ),
        Criterion.effect(
            "AdamW under noise: slope of log decay rate in log gradient scale",
            _of(trials, "adamw_slope", "rates"),
            within=MARGIN,
            published="theory: 0",
        ),
        Criterion.effect(
            "test loss, Adam with L2 minus AdamW, nats",
            loss["adam-l2"] - loss["adamw"],
            above=0.0,
            published="above 0 (error on CIFAR-10)",
        ),
        Criterion.effect(
            "AdamW: log of the norm of ∂f/∂θ after training, with decay over without",
            _of(trials, "jacobian", "grid"),
            below=0.0,
        ),
        *_controls(trials, loss),
    ]


def _controls(trials: pd.DataFrame, loss: dict[str, Numbers]) -> list[Criterion]:
    return [
        *(
            Criterion.exact(
                f"no decay, {name}: distance of both forms over the norm of the weights",
                _of(trials, column, "paths"),
                below=0.0,
                control=True,
            )
            for name, column in (("gradient descent", "sgd_none"), ("Adam", "adam_none"))
        ),
        Criterion.exact(
            "Adam with L2 against AdamW, the least distance over 20 coupled decays",
            _of(trials, "adam", "paths"),
            above=DIFFERENT,
            control=True,
        ),
        *(
            Criterion.effect(
                f"test loss, no decay minus {name}, nats", loss["none"] - loss[arm], above=0.0, control=True
            )
            for arm, name in (("adam-l2", "Adam with L2"), ("adamw", "AdamW"))
        ),
    ]


def _of(trials: pd.DataFrame, column: str, part: str) -> Numbers:
    return per_seed(trials, column, part=part)


def _scale(seeds: int, grid_seeds: int, **settings: Any) -> Grid:
    """Return all parts; no seed that the list's thresholds were tried on."""
    exact = range(20, 20 + seeds)
    return Grid(seeds=exact, part=["paths", "rates"], **settings) + Grid(
        seeds=range(20, 20 + grid_seeds), part="grid", **settings
    )


STUDY = Study(
    claim="Decoupled weight decay acts on all weights alike, where Adam's L2 penalty does not, and generalises better.",
    source="loshchilov2019decoupled",
    topics=("optimisation",),
    rows=("adamw",),
    trial=trial,
    judge=judge,
    draw=draw,
    scales={
        "smoke": _scale(
            2, 1, n_train=20, n_validation=20, width=4, batch_size=10, steps=4, noise_steps=20, n_weights=4
        ),
        "quick": _scale(5, 20),
        "full": _scale(10, 20, data="mnist", n_train=1000, n_validation=2000, width=256, steps=4000),
    },
    defaults={
        "data": "digits",
        "n_train": 300,
        "n_validation": 500,
        "width": 64,
        "batch_size": 50,
        "steps": 400,
        "noise_steps": 4000,
        "n_weights": 4000,
    },
    protocol=(
        "Perceptrons learn 300 digits with the decay of their weights in the gradient (L2) or beside the step "
        "(decoupled), from the same initial weights and batches. Without momentum gradient descent must end in the "
        "same weights either way. Weights that see nothing but noise must decay at a rate that falls with its size "
        "under Adam with L2 and does not under AdamW. Over a grid of learning rates and decays the network with the "
        "least loss on 500 validation digits is taken for each form: Adam with L2 must lose more on the test digits "
        "than AdamW. The gradient of AdamW's outputs by its weights must be smaller than without decay, which smaller "
        "weights alone make so. Controls: without decay both forms agree to the last bit; no other L2 penalty of 20 "
        "makes Adam agree with AdamW; and decay lowers the test loss."
    ),
    caption=(
        "Top left: rate at which weights decay under pure noise, means over seeds. Top right: faint points are seeds, "
        "the others means with 95 % intervals. Bottom: validation loss over the grid, mean over seeds, its least "
        "marked by a ring; from the darkest shade on nothing is told apart. The decays of the two forms are in "
        "different units."
    ),
    timeout=6 * 3600.0,
)
