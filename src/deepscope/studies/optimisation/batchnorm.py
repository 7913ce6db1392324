"""Batch normalisation allows larger learning rates and faster training, though not by keeping moments still.

The claim (``ioffe2015batch``): normalised by mean and variance over the batch, networks bear learning rates 5 to 30
times as large and reach the same accuracy in a 14th of the steps (Inception, ImageNet); the reason given is that the
inputs of layers stop drifting, internal covariate shift. ``santurkar2018does``: with noise behind the norm, which makes
them drift more than ever, the gain is the same.

Done here: 1,200 digits of 8 × 8 pixels, each pixel less its mean; plain gradient descent in batches of 64. Perceptrons
of three layers of 64 sigmoids, as the source's first experiment has them, and of six and of two layers of 64
rectifiers, weights with variance 1/n and 2/n. Four arms have the same initial weights and batches: *plain*; *batch
norm* before each activation; *noisy*, batch norm and behind it, for each feature and step, a factor from U(0.75, 1.25)
and a shift from U(−0.5, 0.5); *affine*, the norm's scale and shift without the norm. Each is trained at learning rates
of factor 2, all side by side, for 1,000 steps (sigmoid) or 400, and is looked at on all training images, as one batch,
after each of the first 40 steps and then after at most 5 % more. Its speed is the fewest steps to 95 % at any rate: a
network that never gets there counts as 1,000 or 400, a lower bound. A rate is stable that ends at 90 % or more; where
the largest rate of the grid is, there is no number. That it is finite is no test, as normalised layers bear any
weights.

Criteria, and what would score without the effect. A norm that does nothing has ratios of 1, of logarithm 0.

* Steps plain over batch norm, each at its best rate: more than 3 for sigmoids, more than 1.5 for six rectified layers.
* The largest stable rate of six rectified layers: more than 4 times as large.
* Sigmoids: the log of the gain with noise exceeds 0.7 of that without, while moments drift more than in the plain
  network. Drift is the mean over steps up to 95 %, layers and units of |Δm|/s + |Δ log s|, of what enters the
  activations, over all training images. The noise alone makes it 0.5 a step, **by construction**: that the network is
  fast in spite of it is what is found.

Controls. Two rectified layers need no norm: gain within a factor of 1.5. Scale and shift without the norm gain nothing
in any network: within 1.5. In batches of 2 a normalised unit knows only which of two images is larger: six layers end,
after 1,000 steps and at their best rate, more than 20 points below plain ones, in training accuracy, though the
normalised network is given the better of two ways to be looked at, all images as one batch or two by two.

Mended. Pixels are centred. With all pixels less one common mean, two layers gained a factor of 3 and failed as a
control, on seeds 1000 and 1001: a norm then does what centring the inputs does. Both ends of the rates were worse there
than what lies between. Steps are fewer than the list's 2,000: the slowest arm is trained after some 200 at its best
rate.

What came out at ``quick`` leaves two of ten open. Sigmoids gained a factor of 6.8 and kept it with noise, six rectified
layers 2.5, scale and shift nothing. But the largest stable rate of the latter, 7 times as large on the geometric mean,
has an interval of 3.4 to 14: rates of factor 2 are coarse for five seeds. And two rectified layers, which were to gain
nothing, gained a factor of 1.44, 1.33 to 1.56, on twelve: their best rate is twice as large with the norm. The norm
itself does keep moments still, at a drift of 0.01 against 0.3 a step; it is just not what its speed needs.

Left out: how well gradients predict the loss along a step, which the list measures and does not judge; that a trained
network is more accurate on test images.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from deepscope.core import Criterion, Grid, Study, per_seed
from deepscope.studies.optimisation._batchnorm_figure import draw
from deepscope.studies.optimisation._batchnorm_trials import trial

if TYPE_CHECKING:
    import pandas as pd

    Numbers = pd.Series[Any]

#: How many times as fast; how much larger a rate; the share of the logarithm of the gain that noise leaves.
FASTER = {"sigmoid": 3.0, "relu": 1.5}
LARGER, KEPT = 4.0, 0.7
#: What is called no gain, as a factor; and what pairs lose at least.
NONE, LOST = 1.5, -0.20
NAMES = {"sigmoid": "sigmoid, 3 layers", "relu": "ReLU, 6 layers", "shallow": "ReLU, 2 layers"}


def judge(trials: pd.DataFrame) -> list[Criterion]:
    """Judge speed and rates with the norm, what noise leaves of them, and where nothing must be gained."""
    noisy, normal = _gain(trials, "sigmoid", "noisy"), _gain(trials, "sigmoid", "batch norm")
    return [
        *(
            Criterion.effect(
                f"{NAMES[network]}: log of steps to 95 %, plain over batch norm, each at its best rate",
                _gain(trials, network, "batch norm"),
                above=math.log(factor),
                published="14 times fewer steps (ImageNet, Inception)",
            )
            for network, factor in FASTER.items()
        ),
        Criterion.effect(
            f"{NAMES['relu']}: log of the largest stable rate, batch norm over plain",
            _log_ratio(trials, "stable", "relu", "batch norm", "plain"),
            above=math.log(LARGER),
            published="rates 5 to 30 times as large",
        ),
        Criterion.effect(
            f"{NAMES['sigmoid']}: log gain of speed with noise behind the norm minus {KEPT} of that without",
            noisy - KEPT * normal,
            above=0.0,
        ),
        Criterion.effect(
            f"{NAMES['sigmoid']}: log of the drift of moments, noise behind the norm over plain",
            _log_ratio(trials, "drift", "sigmoid", "noisy", "plain"),
            above=0.0,
        ),
        *_controls(trials),
    ]


def _controls(trials: pd.DataFrame) -> list[Criterion]:
    return [
        Criterion.effect(
            f"{NAMES['shallow']}: log of steps to 95 %, plain over batch norm",
            _gain(trials, "shallow", "batch norm"),
            within=math.log(NONE),
            control=True,
        ),
        *(
            Criterion.effect(
                f"{name}: log of steps to 95 %, plain over scale and shift alone",
                _gain(trials, network, "affine"),
                within=math.log(NONE),
                control=True,
            )
            for network, name in NAMES.items()
        ),
        Criterion.effect(
            "batches of 2, ReLU, 6 layers: training accuracy at the end, batch norm minus plain",
            _of(trials, "accuracy", "pairs", "batch norm") - _of(trials, "accuracy", "pairs", "plain"),
            below=LOST,
            control=True,
        ),
    ]


def _gain(trials: pd.DataFrame, network: str, arm: str) -> Numbers:
    return _log_ratio(trials, "best", network, "plain", arm)


def _log_ratio(trials: pd.DataFrame, column: str, network: str, over: str, under: str) -> Numbers:
    ratio = _of(trials, column, network, over) / _of(trials, column, network, under)
    return ratio.map(math.log, na_action="ignore")


def _of(trials: pd.DataFrame, column: str, network: str, arm: str) -> Numbers:
    return per_seed(trials, column, network=network, arm=arm).astype(float)


def _scale(
    seeds: int, shallow_seeds: int, sigmoid: int = 1000, relu: int = 400, pairs: int = 1000, **settings: Any
) -> Grid:
    """Return all networks and arms with so many steps each; no seed that the list's thresholds were tried on.

    The margin of two layers is narrow for what a seed scatters, and they train fast: they have more seeds.
    """
    chosen = range(20, 20 + seeds)
    all_arms = ["plain", "affine", "batch norm", "noisy"]
    return (
        Grid(seeds=chosen, network="sigmoid", arm=all_arms, steps=sigmoid, **settings)
        + Grid(seeds=chosen, network="relu", arm=all_arms, steps=relu, **settings)
        + Grid(seeds=range(20, 20 + shallow_seeds), network="shallow", arm=all_arms[:3], steps=relu, **settings)
        + Grid(
            seeds=chosen,
            network="pairs",
            arm=["plain", "batch norm"],
            steps=pairs,
            **{**settings, "batch_size": 2},
        )
    )


STUDY = Study(
    claim="Batch normalisation allows larger learning rates and faster training, though not by keeping moments still.",
    source="ioffe2015batch",
    topics=("optimisation",),
    rows=("batchnorm",),
    trial=trial,
    judge=judge,
    draw=draw,
    scales={
        "smoke": _scale(1, 1, 8, 30, 4, n_train=12, width=16, batch_size=6),
        "quick": _scale(5, 12),
        "full": _scale(10, 12, 10_000, 4_000, 10_000, data="mnist", n_train=12_000, width=100, batch_size=60),
    },
    defaults={"data": "digits", "n_train": 1200, "width": 64, "batch_size": 64},
    protocol=(
        "Perceptrons learn 1,200 digits by gradient descent at learning rates of factor 2: plain, with batch norm, "
        "with batch norm and noise behind it that changes at every step, and with the norm's scale and shift alone. "
        "At its best rate batch norm must reach 95 % of the training set in a third of the steps for three layers of "
        "sigmoids and in two thirds for six of rectifiers, and these must bear a rate 4 times as large. With noise "
        "0.7 of the gain must be left, in logarithms, though moments drift more than in the plain network. Controls: "
        "two layers of rectifiers, and scale and shift alone, gain less than a factor of 1.5; in batches of 2 the "
        "norm does harm."
    ),
    caption=(
        "Steps to 95 % of the training images over the learning rate, where all seeds got there; geometric means over "
        "seeds with 95 % intervals. Bottom right, one point for each seed: how much mean and spread of what enters "
        "the activations change from one step to the next, at the best rate; a norm keeps them still, noise does not."
    ),
    timeout=24 * 3600.0,
)
