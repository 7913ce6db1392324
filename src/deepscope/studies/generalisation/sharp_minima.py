"""Large batches find sharper minima that generalise worse; a rate in proportion to the batch closes the gap.

The claim (``keskar2017large``): trained with large batches, a tenth of the training set, networks end in sharp minima
and generalise worse than with small batches, which end in flat ones; the noise of the small batches' gradients is said
to be the reason. ``goyal2017accurate``: with a learning rate in proportion to the batch, after a warm-up, nothing is
lost.

Done here: 1,200 MNIST digits, a perceptron with two hidden layers of 64, plain stochastic gradient descent: batches of
8 and of 120 at the rate 0.04, and of 120 at 15 times that, 0.6, after 50 steps of warm-up. Each training ends where the
loss over the training set, looked at every 10 steps, is at most 0.01. Sharpness is measured there by the curvature
instrument on all training images, accuracy on the 10,000 test images. A seed draws images and initial weights, which
its trainings share. On seeds from 1000 on, the log of the factor between the largest eigenvalues was 0.80, with a
standard deviation of 0.11 over 19 seeds: 20 seeds tell it from log 2.

Criteria, and what would score without the effect. Untrained networks do not reach the loss and have no value; networks
that ignore their batch size score 0 in every difference and fail whatever has to be above something.

* Equal loss: log training loss, large minus small batch, within ±0.1, at both rates. The Hessian of a cross-entropy
  shrinks with the loss: a network that is trained longer is flatter for that alone.
* Constant rate: the largest eigenvalue of the Hessian is more than twice as large. Above 0, in logs: Keskar's
  sharpness, which is the largest rise of the loss within a box; and a sharpness that no rescaling of layers changes,
  Σ ‖W‖² tr H_W over the weight matrices. Without the latter, weights in other proportions would pass.
* Constant rate: test accuracy, small minus large batch, above 0.
* Scaled rate: the largest eigenvalue is less than 1.2 times the small batch's, and less than ¼ point of test accuracy
  is lost. A rate without effect scores a factor of 2, and the gap.
* Rescaled layers, the first divided by 5 and the weights of the second multiplied by it, are the same function
  (``dinh2017sharp``). The largest eigenvalue must be at least 5 times what it was in every trial, and is at most 25
  times that: by itself it says nothing of the function.

Controls. The small batch with the images in another order: the largest eigenvalue within a factor of e^0.2, the
accuracy within ¼ point. The rescaled layers: outputs that differ by less than 1e-4, and a scale-invariant sharpness
that differs by less than 1e-3.

What was mended. The list asks that the scaled rate's accuracy be within 1 point of the small batch's, on either side.
The gap at the constant rate is itself some 0.8 points, so that this holds without any scaling; and on the other seeds
the scaled rate is **better** than the small batch, by 1.2 points, with a flatter minimum (0.9 against 2.4). That is a
gap closed and more, not one left open, hence one side and ¼ point. The list allows another order a factor of 2 and 1
point, which is the effect itself.

What this does not show, on the other seeds. **That noise is the reason.** With all 1,200 images in each batch there is
none, and at the scaled rate the minimum is flatter than the small batch's too (1.5), and the accuracy higher, by 1
point: a large rate is enough. At a constant rate the batch does act. **That 2 is a constant**: at half the rate the
factor was 1.6 (one seed), the small batch's minimum then being the sharper; the large batch's is that of all images at
once, give or take 10 %.

Left out: that longer training closes the gap, which the list adds. At the constant rate the large batch has made about
as many steps as the small one when it reaches the loss, in 16 times the epochs, and the gap is what is left then. Adam,
which the source uses, is shown, not judged: this Hessian is not what its steps see. All images at the constant rate
take 20 s of CPU for each seed, and are in ``full`` only, which takes 6,000 images and layers of 128.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from deepscope.core import Case, Criterion, Grid, Study, TrialRun, UsageError, per_seed
from deepscope.data import Dataset, Samples, load
from deepscope.models import MLP
from deepscope.studies.generalisation._batch_arms import conditions
from deepscope.studies.generalisation._equal_loss import train_to_equal_loss
from deepscope.studies.generalisation._sharp_minima_figure import draw
from deepscope.studies.generalisation._sharpness import sharpness_of
from deepscope.training import evaluate

if TYPE_CHECKING:
    import pandas as pd

    Numbers = pd.Series[Any]

COUNTS = ("n_train", "width", "batch_size", "check_every", "max_steps")
#: By how much the layers are rescaled.
FACTOR = 5.0
#: Where the loss along the sharpest direction is measured.
DISTANCES = np.linspace(0, 0.5, 21)
#: Nats of log loss; a solution of a lower loss is flatter for that alone.
EQUAL_LOSS = 0.1
#: Percentage points.
MARGIN = 0.25
JUDGED = ("small", "large", "scaled")
SHOWN = ("whole scaled", "adam small", "adam large")


def trial(case: Case, run: TrialRun) -> dict[str, Any]:
    """Train one network to the loss and measure how sharp its solution is and how well it generalises.

    Returns
    -------
    dict
        ``steps`` (None where the loss was not reached), ``loss``, ``test_accuracy``, ``test_loss``; the sharpness, see
        ``sharpness_of``; ``distances``, at which its ``valley`` is measured.
    """
    for name in COUNTS:
        if case[name] < 1:  # type: ignore[operator]
            raise UsageError(f"this is {case[name]}", where=name, todo="Give a whole number of at least 1.")
    data = _dataset(case.data)
    samples = _subset(data, case.n_train, run)
    model = MLP(samples.inputs[0].numel(), [case.width, case.width], len(data.classes)).to(run.device)
    course = train_to_equal_loss(model, samples, case, run)
    test = evaluate(model, data.test.batches(1000), data.loss)
    return {
        **course,
        "test_accuracy": test.accuracy,
        "test_loss": test.loss,
        **sharpness_of(model, samples, factor=FACTOR, distances=DISTANCES),
        "distances": DISTANCES,
    }


@lru_cache(maxsize=1)
def _dataset(name: str) -> Dataset:
    # Reading MNIST takes half as long as a training.
    return load(name)


def _subset(data: Dataset, count: int, run: TrialRun) -> Samples:
    if count > len(data.train):
        raise UsageError(f"there are only {len(data.train)} samples", where="n_train", todo="Give fewer.")
    chosen = torch.randperm(len(data.train), generator=run.generator)[:count]
    return Samples(data.train.inputs[chosen].to(run.device), data.train.targets[chosen].to(run.device), data.name)


def judge(trials: pd.DataFrame) -> list[Criterion]:
    """Judge sharpness and accuracy at the constant and at the scaled rate, and the controls."""
    return [
        *(
            Criterion.effect(
                f"log training loss, {arm} minus small batch",
                _log_ratio(trials, "loss", name),
                within=EQUAL_LOSS,
            )
            for name, arm in (("large", "large"), ("scaled", "large, scaled rate,"))
        ),
        Criterion.effect(
            "constant rate: log of the largest Hessian eigenvalue, large over small batch",
            _log_ratio(trials, "eigenvalue", "large"),
            above=math.log(2),
            published="above 0",
        ),
        Criterion.effect(
            "constant rate: log of Keskar's sharpness, large over small batch",
            _log_ratio(trials, "keskar", "large"),
            above=0.0,
            published="above 0, in six networks",
        ),
        Criterion.effect(
            "constant rate: log of the scale-invariant sharpness, large over small batch",
            _log_ratio(trials, "invariant", "large"),
            above=0.0,
        ),
        Criterion.effect(
            "constant rate: test accuracy, small minus large batch, percentage points",
            _gap(trials, "large"),
            above=0.0,
            published="up to 5",
        ),
        Criterion.effect(
            "scaled rate: log of the largest Hessian eigenvalue, large over small batch",
            _log_ratio(trials, "eigenvalue", "scaled"),
            below=math.log(1.2),
        ),
        Criterion.effect(
            "scaled rate: test accuracy, small minus large batch, percentage points",
            _gap(trials, "scaled"),
            below=MARGIN,
            published="no loss up to batches of 8,192 (ImageNet)",
        ),
        Criterion.exact(
            "rescaled layers: the largest eigenvalue over what it was, least",
            _rescaled(trials, "eigenvalue"),
            above=FACTOR,
            published="any factor",
        ),
        *_controls(trials),
    ]


def _controls(trials: pd.DataFrame) -> list[Criterion]:
    return [
        Criterion.effect(
            "small batch in another order: log of the largest Hessian eigenvalue, over the first",
            _log_ratio(trials, "eigenvalue", "again"),
            within=0.2,
            control=True,
        ),
        Criterion.effect(
            "small batch in another order: test accuracy lost, percentage points",
            _gap(trials, "again"),
            within=MARGIN,
            control=True,
        ),
        Criterion.exact(
            "rescaled layers: change of the outputs over the largest of them, the worst",
            _judged(lambda arm: _at(trials, "rescaled_outputs", arm)),
            below=1e-4,
            control=True,
        ),
        Criterion.exact(
            "rescaled layers: the scale-invariant sharpness over what it was, the worst",
            _rescaled(trials, "invariant"),
            within=1e-3,
            target=1.0,
            control=True,
        ),
    ]


def _at(trials: pd.DataFrame, column: str, arm: str) -> Numbers:
    """Return a number by seed; none where the network did not reach the loss."""
    return per_seed(trials, column, arm=arm).where(per_seed(trials, "steps", arm=arm).notna())


def _log_ratio(trials: pd.DataFrame, column: str, arm: str) -> Numbers:
    return (_at(trials, column, arm) / _at(trials, column, "small")).map(math.log, na_action="ignore")


def _gap(trials: pd.DataFrame, arm: str) -> Numbers:
    return 100 * (_at(trials, "test_accuracy", "small") - _at(trials, "test_accuracy", arm))


def _rescaled(trials: pd.DataFrame, column: str) -> Numbers:
    """Return a measure of the rescaled layers over what it was, of all networks that are judged."""
    return _judged(lambda arm: _at(trials, f"rescaled_{column}", arm) / _at(trials, column, arm))


def _judged(numbers: Callable[[str], Numbers]) -> Numbers:
    import pandas as pd

    return pd.concat([numbers(arm) for arm in JUDGED])


def _grid(seeds: int | Iterable[int], seeds_shown: int | Iterable[int], shown: Iterable[str], **settings: Any) -> Grid:
    return conditions(seeds, (*JUDGED, "again"), **settings) + conditions(seeds_shown, shown, **settings)


STUDY = Study(
    claim=(
        "At a constant rate large batches find sharper minima that generalise worse; a rate in proportion to the batch "
        "closes the gap."
    ),
    source="keskar2017large",
    topics=("generalisation",),
    rows=("large-batch-sharp",),
    trial=trial,
    judge=judge,
    draw=draw,
    scales={
        "smoke": _grid(
            1,
            1,
            ("adam small",),
            data="digits",
            n_train=60,
            width=16,
            small=3,
            rate=0.1,
            warmup=5,
            target_loss=1.8,
            check_every=2,
            max_steps=60,
        ),
        "quick": _grid(range(100, 120), range(100, 108), SHOWN, n_train=1200, small=8, rate=0.04, warmup=50),
        "full": _grid(
            range(100, 120), range(100, 110), (*SHOWN, "whole"), n_train=6000, small=40, rate=0.04, warmup=50, width=128
        ),
    },
    defaults={"data": "mnist", "width": 64, "target_loss": 0.01, "check_every": 10, "max_steps": 40_000},
    protocol=(
        "A perceptron with two hidden layers of 64 units learns 1,200 MNIST digits by stochastic gradient descent, in "
        "batches of 8 and of 120 at one learning rate, and in batches of 120 at 15 times that rate, after a warm-up. "
        "All end at the same training loss, 0.01, as a lower loss is flatter by itself. Compared are the largest "
        "eigenvalue of the Hessian, the largest rise of the loss in a small box around the solution (Keskar's "
        "sharpness), a sharpness that does not change when layers are rescaled, and the accuracy on 10,000 test "
        "digits. Controls: the small batch in another order; and the first layer divided by 5 with the second "
        "multiplied by it, which is the same function and makes the eigenvalue at least 5 times as large, but must "
        "not change the scale-invariant sharpness. All samples in one batch at the scaled rate have no noise of "
        "gradients, and are shown, not judged: they end in a flat minimum too, so the noise alone is not the reason. "
        "So is Adam."
    ),
    caption=(
        "Top left: training loss from the solution along the eigenvector of the largest eigenvalue, mean of both "
        "ways; lines: means over seeds, shaded: 95 % intervals. Top right: measures of sharpness, divided by those of "
        "the small batch; geometric means over seeds with 95 % intervals. Rings: the small batch's network with its "
        "layers rescaled, which is the same function. Bottom: faint points are seeds, the others means with 95 % "
        "intervals. Small: 8 samples; large: 120; scaled rate: 15 times the rate; all trained to the same loss."
    ),
    timeout=6 * 3600.0,
)
