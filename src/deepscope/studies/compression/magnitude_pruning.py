"""Pruning by magnitude and retraining removes 8 of 9 weights at no loss; filters are best ranked by Taylor's criterion.

The claim (``han2015learning``): a trained network keeps its accuracy when its smallest weights are removed, the rest is
trained on, and so in several steps: AlexNet with 9 times fewer weights, VGG-16 with 13 times; without retraining it
loses much at far less. Of whole filters ``molchanov2017pruning`` says that the mean of activation times gradient, the
first order of what the loss changes without them, ranks them nearly as an oracle does that removes each, and better
than the norm of their weights.

Done here: 10,000 digits of MNIST drawn by the seed and 10,000 others to test. A perceptron 784-300-100-10 has 800 steps
of Adam in batches of 50 at a rate of 0.001, then eight times 200 more, each after a pruning (factors of about 3/2, to 9
and 32 times fewer weights): with the smallest of all weights removed (*global*), of each layer (*layer*), or at
*random*; or with none (*dense*). The first part is the same in all arms, and so are the batches. Filters are those of
``LeNet`` with rectified units, after 400 steps; their oracle is |loss without the filter − loss| on 1,000 of the
training images.

Criteria, and what would score without the effect:

* Test accuracy, global at 9 minus dense: above −0.5 points. If it does not matter which weights go, the random arm's
  loss, 5 points (seed 1000, like all that follows).
* Global minus random, both retrained: more than 2 points at 9, and more at 32 than at 9. Any mask alike: 0 and 0.
* Global retrained minus not retrained, at 9: more than 20 points. Retraining that is not needed: 0.
* Spearman's correlation with the oracle, mean over the two layers: Taylor minus norm above 0. Alike: 0.

Controls: random at 9 minus dense below −1 point, so that the network has not just 9 times too many weights; and of
random scores for filters the mean correlation with the oracle, over 20 draws, within ±0.2.

**One criterion is kept that was seen to fail.** The dense network that was trained as long, pruned at once to 9 times
fewer weights, stands at 93 % without any retraining, 3 points below the retrained one; at 32 times fewer at 71 %, 25
points below (seeds 1000 and 1001: 92 and 74 %, 4 and 22 points). The list's 20 points at 9 are out of reach in this
setting: retraining that is essential shows at greater compressions only.

Done otherwise than listed: 200 steps after each of 8 prunings in place of 300 after each of 10, and 6 seeds, for their
cost; a random score's correlation scatters by 0.26 with 6 and 16 filters, hence 20 draws.

What came out at ``quick``: not reproduced, for that criterion alone. At 9 times fewer weights the network is 0.6 points
better than the dense one, and 5.6 than with random masks; 3.1 points are owed to retraining, and 21 at 32 times fewer.
Taylor's scores correlate with the oracle at 0.71, norms at 0.45.

Shown, not judged: dense perceptrons with as many weights as remain, trained as long (94 % at 9, below the pruned ones);
and the order of filters over both layers, where Taylor's scores are divided by their norm in each layer, as the source
does, and norms of weights are not to be compared. ``full`` trains on 50,000 images, with 10 seeds and 1,000 steps after
each pruning. Left out: pruning and retraining by filters.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from deepscope.core import Case, Criterion, Grid, Study, TrialRun, UsageError, nearest, per_seed
from deepscope.studies.compression._filter_trials import score_filters
from deepscope.studies.compression._pruning_figure import draw
from deepscope.studies.compression._pruning_trials import NINE, THIRTY_TWO, prune_weights

if TYPE_CHECKING:
    import pandas as pd

    Numbers = pd.Series[Any]

#: Points of accuracy: what pruning may cost, what magnitude and retraining add, what random pruning costs at least.
KEPT, CHOSEN, RETRAINED, LOST = -0.5, 2.0, 20.0, -1.0
#: A correlation that is none.
NONE = 0.2
PARTS = {"weights": prune_weights, "filters": score_filters}


def trial(case: Case, run: TrialRun) -> dict[str, Any]:
    """Prune weights, or score filters.

    Raises
    ------
    UsageError
        An unknown part.
    """
    if case.part not in PARTS:
        raise UsageError("unknown part", where=str(case.part), todo=nearest(str(case.part), PARTS))
    return PARTS[case.part](case, run)


def judge(trials: pd.DataFrame) -> list[Criterion]:
    """Judge what pruning costs, what the choice of weights and retraining add, and scores of filters."""
    kept = {arm: _at(trials, arm, NINE) for arm in ("global", "random", "dense", "once")}
    chosen = kept["global"] - kept["random"]
    further = _at(trials, "global", THIRTY_TWO) - _at(trials, "random", THIRTY_TWO)
    return [
        Criterion.effect(
            "9 times fewer weights: test accuracy, pruned by magnitude minus dense, points",
            kept["global"] - kept["dense"],
            above=KEPT,
            published="reported: no loss at 9 (AlexNet) and 13 (VGG-16)",
        ),
        Criterion.effect("9 times fewer: by magnitude minus at random, points", chosen, above=CHOSEN),
        Criterion.effect(
            "by magnitude minus at random: at 32 times fewer minus at 9 times fewer, points",
            further - chosen,
            above=0.0,
        ),
        Criterion.effect(
            "9 times fewer: retrained minus not retrained, points",
            kept["global"] - kept["once"],
            above=RETRAINED,
            published="reported: essential",
        ),
        Criterion.effect(
            "filters: rank correlation with the oracle, Taylor minus norm",
            _filters(trials, "taylor_correlation") - _filters(trials, "norm_correlation"),
            above=0.0,
            published="reported: above 0",
        ),
        Criterion.effect(
            "9 times fewer: at random minus dense, points", kept["random"] - kept["dense"], below=LOST, control=True
        ),
        Criterion.effect(
            "filters: rank correlation of random scores with the oracle",
            _filters(trials, "random_correlation"),
            within=NONE,
            control=True,
        ),
    ]


def _at(trials: pd.DataFrame, arm: str, place: int) -> Numbers:
    """Return an arm's accuracy at one compression, in per cent."""
    return per_seed(trials, arm, part="weights").map(lambda values: 100 * values[place]).astype(float)


def _filters(trials: pd.DataFrame, column: str) -> Numbers:
    return per_seed(trials, column, part="filters")


def _grid(seeds: int, seeds_of_filters: int, **settings: Any) -> Grid:
    return Grid(seeds=seeds, part="weights", **settings) + Grid(seeds=seeds_of_filters, part="filters", **settings)


_SMOKE = {"first_steps": 3, "steps": 2, "filter_steps": 3, "n_scored": 60}

STUDY = Study(
    claim=(
        "Pruning by magnitude and retraining removes 8 of 9 weights at no loss; filters are best ranked by Taylor's "
        "criterion."
    ),
    source="han2015learning",
    topics=("compression",),
    rows=("han-pruning", "molchanov-pruning"),
    trial=trial,
    judge=judge,
    draw=draw,
    scales={
        "smoke": _grid(2, 2, data="digits", n_train=60, n_test=60, width=12, batch_size=20, **_SMOKE),
        "quick": _grid(6, 10),
        "full": _grid(10, 20, n_train=50_000, first_steps=4000, steps=1000, filter_steps=4000),
    },
    defaults={
        "data": "mnist",
        "n_train": 10_000,
        "n_test": 10_000,
        "width": 300,
        "first_steps": 800,
        "steps": 200,
        "batch_size": 50,
        "learning_rate": 0.001,
        "filter_steps": 400,
        "n_scored": 1000,
    },
    protocol=(
        "A perceptron of 300 and 100 units learns 10,000 MNIST digits, then loses weights in eight steps, to 9 and to "
        "32 times fewer, with some training after each: the smallest of all, or of each layer, or any at random. At 9 "
        "times fewer the smallest may cost half a point of test accuracy beside the dense network, trained as long; "
        "must be 2 points better than random ones, and more so at 32; and 20 points better than without retraining. "
        "In a convolutional network filters are ranked by activation times gradient (Taylor) and by the norm of their "
        "weights: the former must agree better with an oracle that removes each filter. Controls: random weights "
        "must cost more than a point; random scores must not agree with the oracle."
    ),
    caption=(
        "Means over seeds with 95 % intervals. Left: errors on test images after each step of pruning and retraining; "
        "dashed: the dense network pruned at once, without retraining; crosses: dense networks with as many weights, "
        "trained as long; dotted: the dense network after all training. Right: Spearman's correlation of scores of "
        "filters with the loss that changes without them; faint: seeds; rings: filters of both layers in one order."
    ),
)
