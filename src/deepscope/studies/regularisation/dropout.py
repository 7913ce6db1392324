"""Dropout helps on few samples, is an adaptive ridge in linear models, and belongs beside the recurrence, not on it.

The claim (``srivastava2014dropout``): a network whose units are dropped at random while it learns, each with
probability p, generalises better: on MNIST 1.25 to 1.35 % errors where there were 1.60 %, without augmentation. In
linear regression with dropped inputs the mean loss is a ridge with the penalty p/(1 − p) diag(XᵀX). In recurrent
networks (``zaremba2014recurrent``) it helps between layers, and not on the connections along time.

Done here, in three parts. *Images*: perceptrons of two layers of 256 rectifiers learn 100 or 300 MNIST digits for 3,000
steps of Adam at 0.001, in batches of 100, with p = 0.5 on both hidden layers or without, from the same initial weights
and batches, and are tested on 10,000 others. *Regression*: 100 samples of 10 correlated features, whose scales are ¼ to
4, with 40,000 masks of p = 0.5 each; coefficients are exact minima for these masks, and count by what they contribute.
*Sequences*: the symbol five steps back, one further on among 8, follows with probability 0.825, and else any other: an
entropy of 0.804 nats, where guessing has log 8 = 2.079. An LSTM of 64 units learns 60 sequences of 25 symbols for 200
steps of Adam at 0.005, all in each batch; that with the least loss on 60 others is tested on 600. Its dropout, of p =
0.4 and with fresh masks at every step, is on what enters and leaves it (*vertical*), on the h that it hands on
(*recurrent*), or nowhere.

Criteria, and what would score without the effect. Dropout that does nothing has differences of 0 and the coefficients
of least squares.

* Test accuracy with dropout minus without, above 0 at 100 and at 300 images.
* Regression: the adaptive ridge within 1 % of the coefficients, in every trial.
* LSTM: test cross-entropy, none minus vertical above 0, and recurrent minus vertical above 0. The second says only that
  vertical is the better place. That recurrent dropout does harm, as the map's row has it, is not so here: on the seeds
  explored it was better than none by half of what vertical gains. Both are shown.

Controls. Least squares, and the nearest of 200 ridges with the penalty λ‖w‖², stay more than 10 % off: scales differ,
and no penalty that is the same for all will do. A network of width 8, which has no room to spare, loses by dropout. No
LSTM is better than its source, whose own surprise on the same test symbols is taken off.

Mended. The list has 8×8 digits ruled out already. Large n is no control, as the published gain is at 60,000; 1,000 are
shown at ``full``. **At 100 images the source itself reports no gain** (where it varies the size of the data: nor at
500, as so few are learned by heart in spite of the noise). The list's criterion stands. What matters is how long is
trained: after 2,000 steps in batches of 50 there was none on seeds 1000 to 1003 (−0.3 points at 100 images, 0.4 at 300,
0.8 at 1,000), after 3,000 in batches of 100 it was 1.4 points at 300 (seeds 1000 to 1002), and 0.0 and 1.1 at 100 (1000
and 1001). Test loss, unlike accuracy, is not better with dropout on so few.

What came out at ``quick`` leaves the images open: −0.6 points at 100 (−1.9 to 0.7) and 0.9 at 300 (−0.1 to 1.9; seven
of eight seeds gain). That is what the source reports of so few. The rest holds: the ridge is within 0.2 % of the
coefficients, and vertical dropout lowers the LSTM's loss by 0.087 nats where recurrent dropout lowers it by 0.061. The
symbols are learned in part at best: the entropy of the source is 0.9 nats below.

Left out: other p than 0.5, averages over masks in testing, dropout of inputs and of channels. It takes some seven
minutes of one processor, of which images are six.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from deepscope.core import Case, Criterion, Grid, Study, TrialRun, UsageError, derive_seed, nearest, per_seed
from deepscope.studies.regularisation._dropout_figure import draw, gain
from deepscope.studies.regularisation._dropout_images import images
from deepscope.studies.regularisation._dropout_regression import regression
from deepscope.studies.regularisation._dropout_sequences import ARMS, sequences

if TYPE_CHECKING:
    import pandas as pd

    Numbers = pd.Series[Any]

PARTS = ("images", "regression", "sequences")
#: Images on which dropout must help, and on which a narrow network must lose by it; the widths.
FEW, UNDERFITTED = (100, 300), 300
WIDE, NARROW = 256, 8
#: Distances of coefficients: the same; not the same.
SAME, DIFFERENT = 0.01, 0.10


def trial(case: Case, run: TrialRun) -> dict[str, Any]:
    """Return what one part measures: see ``images``, ``regression`` and ``sequences``.

    Raises
    ------
    UsageError
        An unknown part, and what the parts refuse.
    """
    if case.part == "images":
        return images(case, run.seed, run.device)
    if case.part == "sequences":
        return sequences(case, run.seed, run.device)
    if case.part == "regression":
        seed = derive_seed(run.seed, "regression")
        return regression(n_samples=case.n_samples, n_masks=case.n_masks, rate=case.rate, seed=seed)
    raise UsageError("unknown part", where=case.part, todo=nearest(case.part, PARTS))


def judge(trials: pd.DataFrame) -> list[Criterion]:
    """Judge accuracy on few images, the penalty in regression, where an LSTM bears dropout, and the controls."""
    entropy = {arm: _of(trials, "cross_entropy", part="sequences", arm=arm) for arm in ARMS}
    return [
        *(
            Criterion.effect(
                f"{n} images: test accuracy with dropout minus without, percentage points",
                gain(trials, n, WIDE),
                above=0.0,
                published="0.25 to 0.35 (MNIST, 60,000 images)",
            )
            for n in FEW
        ),
        Criterion.exact(
            "regression: distance of the adaptive ridge from dropped inputs",
            _of(trials, "adaptive", part="regression"),
            below=SAME,
            published="theory: 0",
        ),
        Criterion.effect(
            "LSTM: test cross-entropy, no dropout minus vertical, nats",
            entropy["none"] - entropy["vertical"],
            above=0.0,
            published="above 0 (Penn Treebank)",
        ),
        Criterion.effect(
            "LSTM: test cross-entropy, recurrent minus vertical, nats",
            entropy["recurrent"] - entropy["vertical"],
            above=0.0,
            published="above 0 (Penn Treebank)",
        ),
        *_controls(trials),
    ]


def _controls(trials: pd.DataFrame) -> list[Criterion]:
    return [
        *(
            Criterion.effect(
                f"LSTM, {arm}: test cross-entropy minus that of the source, nats",
                _of(trials, "excess", part="sequences", arm=arm),
                above=0.0,
                control=True,
            )
            for arm in ARMS
        ),
        Criterion.effect(
            f"{UNDERFITTED} images, width {NARROW}: test accuracy with dropout minus without, percentage points",
            gain(trials, UNDERFITTED, NARROW),
            below=0.0,
            control=True,
        ),
        *(
            Criterion.exact(
                f"regression: distance of {name} from dropped inputs, least",
                _of(trials, column, part="regression"),
                above=DIFFERENT,
                control=True,
            )
            for column, name in (("least_squares", "least squares"), ("identity", "the best ridge λ‖w‖²"))
        ),
    ]


def _of(trials: pd.DataFrame, column: str, **case: Any) -> Numbers:
    return per_seed(trials, column, **case).astype(float)


def _scale(
    seeds: int,
    *,
    image_settings: dict[str, Any],
    regression_settings: dict[str, Any],
    sequence_settings: dict[str, Any],
) -> Grid:
    """Return all parts; no seed that the list's thresholds were tried on."""
    chosen, few = range(20, 20 + seeds), range(20, 20 + -(-seeds // 2))
    rates = [0.0, 0.5]
    return (
        Grid(seeds=chosen, part="images", n_train=list(FEW), width=WIDE, rate=rates, **image_settings)
        + Grid(seeds=few, part="images", n_train=UNDERFITTED, width=NARROW, rate=rates, **image_settings)
        + Grid(seeds=few, part="regression", rate=0.5, **regression_settings)
        + Grid(seeds=chosen, part="sequences", arm=list(ARMS), rate=0.4, learning_rate=0.005, **sequence_settings)
    )


STUDY = Study(
    claim=(
        "Dropout helps on few samples, is an adaptive ridge in linear models, and belongs beside the recurrence, "
        "not on it."
    ),
    source="srivastava2014dropout",
    topics=("regularisation",),
    rows=("dropout", "rnn-dropout"),
    trial=trial,
    judge=judge,
    draw=draw,
    scales={
        "smoke": _scale(
            2,
            image_settings={"data": "digits", "steps": 4, "n_test": 50},
            regression_settings={"n_samples": 20, "n_masks": 500},
            sequence_settings={"n_sequences": 4, "length": 8, "units": 4, "steps": 10},
        ),
        "quick": _scale(8, image_settings={}, regression_settings={}, sequence_settings={"steps": 200}),
        "full": Grid(seeds=range(20, 40), part="images", n_train=1000, rate=[0.0, 0.5], steps=10_000)
        + _scale(
            20,
            image_settings={"steps": 10_000},
            regression_settings={"n_masks": 400_000},
            sequence_settings={"steps": 2000, "n_sequences": 200, "length": 60},
        ),
    },
    defaults={
        "data": "mnist",
        "n_train": 0,
        "n_test": 10_000,
        "width": WIDE,
        "batch_size": 100,
        "learning_rate": 0.001,
        "steps": 3000,
        "n_samples": 100,
        "n_masks": 40_000,
        "arm": "none",
        "n_symbols": 8,
        "lag": 5,
        "noise": 0.2,
        "length": 25,
        "n_sequences": 60,
        "units": 64,
    },
    protocol=(
        "Perceptrons learn 100 and 300 digits with half of their hidden units dropped, and without, in as many steps: "
        "test accuracy must be higher with dropout. Regression with dropped inputs must have the coefficients of a "
        "ridge whose penalty is each feature's sum of squares. An LSTM learns a few sequences whose entropy is known, "
        "and is stopped where validation is best: dropout on what enters and leaves it must lower the loss, and do "
        "better than dropout on what it hands on along time. Controls: least squares and the best ridge with one "
        "penalty for all features miss the coefficients; a narrow network loses by dropout; no LSTM is better than "
        "its source."
    ),
    caption=(
        "Faint points are seeds, the others means with 95 % intervals. Top left: test accuracy with dropout minus "
        "without, on an axis that is linear up to 2 points and logarithmic beyond. Top right: one point for each "
        "coefficient and seed; on the line they are those of dropout. Bottom: LSTMs with dropout nowhere, on inputs "
        "and outputs, or on the state handed on; dotted: the entropy of the source."
    ),
    timeout=6 * 3600.0,
)
