"""Weighted alpha, read off the weights alone, tells which of several networks is the most accurate.

The claim (``martin2021predicting``): λ the eigenvalues of WᵀW of a layer, α the exponent of their tail, weighted alpha
α̂ is the mean over layers of α log₁₀ λ_max. Within a series of published networks (VGG, ResNet, DenseNet: one design,
of several sizes) a smaller α̂ goes with a higher test accuracy, closely, and more reliably than with norms of the
weights, which may even have the wrong sign where networks are poorly trained. No data are needed.

Done here: six zoos of 52 perceptrons each, trained on 1,000 MNIST digits and tested on 10,000 (SGD with momentum 0.9,
batches of 64, rate 0.03). A network of two hidden layers of 256 for 24 epochs is the base; five series change one thing
each: epochs 1 … 24, label noise 0 … 0.8 (share of labels redrawn at random), depth 1 … 6, width 128 … 1024, dropout 0 …
0.75; two replicas of each setting. A zoo, one seed, has images and label noise of its own. Hidden layers have at least
128 eigenvalues, not divided by the layer's size; the output layer is left out; α is the maximum-likelihood exponent,
its start where the Kolmogorov–Smirnov distance is least (``clauset2009power``). Inputs have mean 0 and variance 1 over
all pixels. The order of networks by α̂ is compared with that by test accuracy by Kendall's τ_b (``kendall1938rank``)
within each series, over its 12 networks, as ``jiang2020fantastic`` do: over all networks at once a τ can have another
sign than in each series (``simpson1951interaction``). The median over series is judged, one number per zoo.

Rate, epochs and settings were chosen on seeds from 1000 by accuracies alone: true labels are fitted by all but the
extremes of depth and dropout, and accuracies differ. No τ was looked at at these settings before the run. (At a rate of
0.04, in one zoo with other dropouts and part of a second one, τ had been seen: about 0.7 over epochs and 0.5 over
width, −0.6 over noise, −0.3 over dropout.)

Criteria, and what would score without the effect:

* Samples of 1,000 values with a planted exponent of 2, 3 or 4: the mean estimate is within ±0.1. It is the estimator
  that is checked: with a poor one, α̂ would fail for no fault of its own.
* The median over series of τ between α̂ and test accuracy is below −0.3. A number that knows nothing: 0. The direction
  is fixed beforehand; The median lets two of five series have the wrong sign; they are shown. The map's row asks for
  0.5 in a series of architectures, of which depth and width are two: shown, and less is asked for here.
* −τ is larger than that of the best of five rivals: mean α, log Frobenius norm, log spectral norm (means over layers of
  log₁₀ Σλ and log₁₀ λ_max), stable rank, log path norm (``neyshabur2015norm``). Which one is best, and with which sign,
  is taken from the other zoos: the largest of several noisy values flatters whoever is chosen by it. A number that
  knows nothing: 0 at most.

Controls. Test accuracies that are dealt out at random among the networks of a series, 100 times, give the median τ
within ±0.2. A second zoo of each seed is trained on random labels alone, drawn anew for each network: whatever α̂ is,
the accuracy is chance, and τ is within ±0.2.

A series counts if its test accuracy (the means over all zoos) ranges over at least three standard deviations between
networks that differ by their seed only; with fewer than three such series nothing is judged. Weight decay, which hardly
changes it, was left out.

What was mended. An interval was asked for from drawing the networks of each series anew with replacement. That is the
interval of one zoo, and it takes networks for independent that were trained on the same images. It is drawn (thin), but
judged are zoos: really new networks, images and noise. The best rival was to be chosen on one half of the zoo and
compared on the other; all other zoos choose here, which is the same with less noise.

Shown beside, not judged: numbers that use no spectrum. Steps × learning rate and the distance from the initial weights
say how long a network was trained, the training accuracy uses data; a number that they beat is no evidence that the
spectrum knows quality. Shown as well: τ with the generalisation gap (training minus test accuracy), and τ over all
networks of a zoo at once.

What α̂ cannot be: multiplying one layer by c and dividing the next by c changes no output of a rectified network
without biases, but α̂ by 2 log₁₀ c times the difference of their exponents, over the number of layers. It compares
networks only as they come out of like training.

Seen in the six zoos: an open verdict. The median τ is −0.24 ± 0.26, the lead −0.10 ± 0.28. The sign is not that of the
claim in all series: τ is −0.46 over depth, −0.43 over label noise (0.21 in one zoo of the six) and −0.35 over dropout,
but 0.84 over epochs, as λ_max grows while a network learns, and 0.63 over width, as the larger of two like matrices has
the larger α. Over all networks at once it is 0.28, with the sign of the two. Were all that is not shown called "not
reproduced", as was first proposed, this would be: the upper end of a single zoo's own interval is between 0.08 and
0.68, in none below −0.3. Of the numbers that use no spectrum the training accuracy has a median τ of 0.64.

Cost: ``quick`` takes thirteen minutes of CPU, for 564 networks; with fewer the control of random labels would be open.

Left out: large convolutional networks and transformers, of which the claim was made; here are small networks on few
images, in series that the source does not have (noise, epochs, dropout).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd

from deepscope.core import Case, Criterion, Grid, Study, TrialRun, UsageError, nearest, per_seed
from deepscope.linalg import fit_power_laws
from deepscope.studies.generalisation._alpha_hat_figure import draw
from deepscope.studies.generalisation._model_zoo import BASE, train, zoos
from deepscope.studies.generalisation._zoo_ranking import THRESHOLD, by_zoo, counted, lead, permuted_tau, tau

EXPONENTS = (2, 3, 4)
PLANTED_VALUES = 1000
#: What is read off the weights besides weighted alpha.
RIVALS = ("alpha", "log_frobenius", "log_spectral", "stable_rank", "log_path")


def trial(case: Case, run: TrialRun) -> dict[str, Any]:
    """Train and measure one network of a zoo, or fit planted exponents."""
    if case.part == "zoo":
        return train(case, run)
    if case.part == "planted":
        return _planted(case, run)
    raise UsageError("unknown part", where=case.part, todo=nearest(case.part, ["zoo", "planted"]))


def _planted(case: Case, run: TrialRun) -> dict[str, Any]:
    """Return ``alpha_2`` …: the mean estimate in samples of p(x) ∝ x^−α, x ≥ 1, which are U^(−1/(α−1))."""
    rng = np.random.default_rng(run.seed)
    uniform = 1 - rng.random((len(EXPONENTS), case.draws, PLANTED_VALUES))
    return {
        f"alpha_{alpha}": float(fit_power_laws(each ** (-1 / (alpha - 1))).alpha.mean())
        for alpha, each in zip(EXPONENTS, uniform, strict=True)
    }


def judge(trials: pd.DataFrame) -> list[Criterion]:
    """Judge the estimator, the order by weighted alpha, and that order beside those by other numbers and by chance."""
    series = counted(trials)
    ordered = by_zoo(trials, series, tau("alpha_hat"))
    rivals = pd.DataFrame({name: by_zoo(trials, series, tau(name)) for name in RIVALS})
    of_random_labels = [name for name in series if name != "noise"]
    return [
        *(
            Criterion.effect(
                f"planted exponent {alpha}, {PLANTED_VALUES:,} values: mean estimate",
                per_seed(trials, f"alpha_{alpha}", part="planted"),
                within=0.1,
                target=float(alpha),
            )
            for alpha in EXPONENTS
        ),
        Criterion.effect(
            "median over series of Kendall's τ, weighted alpha and test accuracy",
            ordered,
            below=THRESHOLD,
            published="negative: a smaller weighted alpha goes with a higher accuracy (VGG, ResNet, DenseNet)",
        ),
        Criterion.effect(
            "lead of weighted alpha: its median −τ over that of the best other number read off the weights",
            lead(ordered, rivals),
            above=0.0,
            published="above 0: better than norms at telling good, better and best networks apart",
        ),
        Criterion.effect(
            "the median τ once test accuracies are permuted within series",
            by_zoo(trials, series, permuted_tau("alpha_hat")),
            within=0.2,
            control=True,
        ),
        Criterion.effect(
            "the median τ of networks trained on random labels",
            by_zoo(trials, of_random_labels, tau("alpha_hat"), labels="random"),
            within=0.2,
            control=True,
        ),
    ]


def _grid(seeds: int | Iterable[int], **settings: Any) -> Grid:
    return Grid(seeds=seeds, part="planted") + zoos(seeds, **settings)


STUDY = Study(
    claim=(
        "Weighted alpha, read off the weights without any data, orders networks by their test accuracy, better than "
        "norms do."
    ),
    source="martin2021predicting",
    topics=("generalisation",),
    rows=("alpha-hat", "data-free-quality"),
    trial=trial,
    judge=judge,
    draw=draw,
    scales={
        "smoke": _grid(
            1,
            base={**BASE, "epochs": 1, "width": 16},
            series={"noise": (0.0, 0.8), "depth": (2, 3), "dropout": (0.0, 0.6)},
            data="digits",
            n_train=64,
            draws=5,
        ),
        "quick": _grid(range(100, 106)),
        "full": _grid(range(100, 110), n_train=5000),
    },
    defaults={
        "labels": "true",
        "series": "base",
        "replica": 0,
        **BASE,
        "data": "mnist",
        "n_train": 1000,
        "batch_size": 64,
        "learning_rate": 0.03,
        "draws": 200,
    },
    protocol=(
        "The claim in full: α is the exponent of the tail of the eigenvalues λ of WᵀW, W a layer's weights; weighted "
        "alpha is the mean over layers of α log₁₀ λ_max. Of networks of one series, those with a smaller weighted "
        "alpha have a higher test accuracy, so that quality is predicted without data; and norms predict it less "
        "reliably."
        "\n\n"
        "A zoo of perceptrons is trained on 1,000 MNIST digits in five series, which change the number of epochs, the "
        "label noise, the depth, the width or the dropout of one base network, with two networks of each setting. In "
        "each series the order of the networks by weighted alpha is compared with that by accuracy on 10,000 test "
        "digits by Kendall's τ, which is −1 where a smaller weighted alpha always means a higher accuracy, 0 for no "
        "relation, and 1 where it always means a lower one. The median over series is judged, over six independent "
        "zoos. It is compared with the median τ of the best of five other numbers that are read off the weights; "
        "which one is best, and with which sign, is told by the other zoos. Series of nearly equal accuracies, less "
        "than three standard deviations of a network's seed apart, are not judged. Controls: accuracies that are "
        "dealt out at random within the series, and zoos trained on random labels, whose accuracy is chance. That the "
        "estimator finds planted exponents is checked as well."
    ),
    caption=(
        "First five: a faint point is a network; dots joined by a line: the means of each setting of a series, its "
        "first and last setting named. The sixth: all of them, with these lines. Bottom left: Kendall's τ between "
        "weighted alpha and test accuracy, −1 where smaller is always better; the claim is judged by the median of "
        "the series, which must lie in the shaded range. Thick: means over zoos and their 95 % intervals; thin: the "
        "mean interval of a single zoo when its networks are drawn anew with replacement. Bottom right: the median τ "
        "of each number with test accuracy (filled) and with the generalisation gap, training minus test accuracy "
        "(hollow); those below the line take no spectrum."
    ),
    timeout=3600.0,
)
