"""The loss falls all along the straight line from initialisation to solution; between two solutions it does not.

The claim (``goodfellow2015qualitatively``): on the straight line from a network's initial weights to those that
stochastic gradient descent finds, the training loss meets no significant obstacle, although it is not convex: two
solutions are separate minima of the line between them.

Done here: 1,200 digits, drawn by the seed, as one set of standardised pixels; a perceptron with 2 hidden layers of 100
rectified units and one with 10 of 32; SGD with momentum 0.9, and Adam, at a small and at a large learning rate; batches
of 64, 40 epochs, rates that fall to 0 along half a cosine. The small rates are 0.01 and 0.001. The large one is the
largest of 2, 3, 10 and 30 times the small one at which every network reached a training loss of 0.05, on seeds from
1000 on. The loss is that of all training images, at 26 points of a line; 201 points showed no rise that 26 had missed,
on the same other seeds. ``full`` takes 5,000 images of MNIST and 60 epochs, with large rates found in the same way
(at 30 to 40 epochs).

Criteria, for each network without batch norm, and what would score without the effect:

* On the own line, the largest rise above the lowest loss so far is below 1 % of the loss at the start, for each
  training. A network that is not trained: 0, so that
* the loss of the solution must be below 0.05 in every trial; untrained: 2.7.
* Between two solutions, trained from other weights on the same images, the loss rises more than 0.1 above the chord, in
  the training where it rises least. Every convex loss is monotone on the way to its minimum: 0 here. The list also
  names this line as a control of monotonicity; it is judged once.
* Mean loss along the line from unrelated initial weights (the mean of three) minus that along the own line, in the
  training where the difference is least: above 0.1. A solution that had forgotten its start would score 0.
* The same from the own initial weights with their hidden units in another order: the same function, norm and loss at
  the start, so that nothing but the correspondence of units is lost.

The last two are asked because **monotonicity alone says little**: with 2 hidden layers it holds from any start, as the
source reports too (and ``lucas2021analyzing``, of larger networks). They show that the solution still lies beside its
own start, not that training follows the line: its weights are at times a third of the line's length away from it, or
more. With 10 layers the line from another start often rises, by some per cent; both are shown, not judged.

Controls: softmax regression. Its loss is convex, so that no point of a line lies above the chord, but for rounding; and
the solution forgets its start: the mean loss along the line from unrelated weights differs by less than 0.1.

What was mended. The list asks for a line that is monotone in 90 % of runs. Counts of so few cannot show that: 20 of 20
leave 84 % possible. The height of the rise is judged instead, as a mean, whose interval one exceptional run widens.
Where no run rises at all that interval is a point; the 8 seeds of a training then still leave it possible that three
runs in ten do. A start replaced by another initialisation is no control where the line is monotone from anywhere.

Shown, not judged: batch norm, whose statistics are recomputed from all images at every point. With 10 layers and Adam's
small rate it has not reached a loss of 0.05 after 40 epochs. Where 10 layers fail to learn with too large a rate (Adam,
0.03: losses of up to 0.37) the own line does rise, by 1 to 4 % on other seeds; the claim is about solutions. How soon
the loss falls depends on depth: half of it is lost after one to three tenths of the way with 2 hidden layers, with 10
after three to six. The source calls the shape approximately convex; ``frankle2020revisiting`` finds the loss high
until close to the end in modern networks.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from deepscope.core import Criterion, Study, Value
from deepscope.studies.loss_landscape._line_cases import CONVEX, MNIST_RATES, WIDTHS, conditions, trainings
from deepscope.studies.loss_landscape._line_figure import draw
from deepscope.studies.loss_landscape._line_measures import barrier, first, last, mean_loss, measured, rise
from deepscope.studies.loss_landscape._line_trials import trial

if TYPE_CHECKING:
    import pandas as pd

    Numbers = pd.Series[Any]

#: Share of the initial loss that the own line may rise by.
INSIGNIFICANT = 0.01
#: Training loss at which a network counts as trained.
TRAINED = 0.05
#: Nats.
MARGIN = 0.1
#: Nats; float32 losses and weights are good to some 1e-6.
ROUNDING = 1e-5


def judge(trials: pd.DataFrame) -> list[Criterion]:
    """Judge both networks, and softmax regression as the control."""
    return [*(criterion for depth in WIDTHS for criterion in _of_network(trials, depth)), *_controls(trials)]


def _of_network(trials: pd.DataFrame, depth: int) -> list[Criterion]:
    name, known = f"{depth} hidden layers", trainings(depth)
    return [
        Criterion.exact(
            f"{name}: training loss of a solution, the worst",
            _each(known, partial(_final_loss, trials)).max(axis=1, skipna=False),
            below=TRAINED,
        ),
        *(
            Criterion.effect(
                f"{name}, {training}: largest rise on the line from initialisation to solution, share of the first "
                "loss",
                measured(trials, "own", rise, case),
                below=INSIGNIFICANT,
                published="no significant obstacle",
            )
            for training, case in known.items()
        ),
        Criterion.effect(
            f"{name}: rise above the chord between two solutions, nats (least of the trainings)",
            _each(known, partial(measured, trials, "other", barrier)).min(axis=1, skipna=False),
            above=MARGIN,
            published="two solutions are separate minima",
        ),
        *(
            Criterion.effect(
                f"{name}: mean loss on the line from {start} minus that on the own line, nats (least of the trainings)",
                _each(known, partial(_excess, trials, column)).min(axis=1, skipna=False),
                above=MARGIN,
            )
            for column, start in (
                ("unrelated", "unrelated initial weights"),
                ("permuted", "the own initial weights with reordered units"),
            )
        ),
    ]


def _controls(trials: pd.DataFrame) -> list[Criterion]:
    return [
        Criterion.exact(
            "softmax regression: rise above the chord between two solutions, nats, the worst",
            measured(trials, "other", barrier, CONVEX),
            below=ROUNDING,
            published="theory: 0",
            control=True,
        ),
        Criterion.effect(
            "softmax regression: mean loss on the line from unrelated initial weights minus that on the own line, nats",
            _excess(trials, "unrelated", CONVEX),
            within=MARGIN,
            control=True,
        ),
    ]


def _each(known: dict[str, dict[str, Value]], measure: Callable[[dict[str, Value]], Numbers]) -> pd.DataFrame:
    """Return a number by seed and training; a seed that lacks a training has a gap there."""
    import pandas as pd

    return pd.DataFrame({name: measure(case) for name, case in known.items()})


def _final_loss(trials: pd.DataFrame, case: dict[str, Value]) -> Numbers:
    """Return the higher training loss of a trial's two solutions."""
    return measured(trials, "own", last, case).combine(measured(trials, "other", first, case), max)


def _excess(trials: pd.DataFrame, start: str, case: dict[str, Value]) -> Numbers:
    """Return the mean loss along lines from another start minus that along the own line."""
    return measured(trials, start, mean_loss, case) - measured(trials, "own", mean_loss, case)


STUDY = Study(
    claim=(
        "The training loss falls all along the straight line from initialisation to solution; between two solutions it "
        "rises."
    ),
    source="goodfellow2015qualitatively",
    topics=("loss landscape",),
    rows=("linear-interpolation",),
    trial=trial,
    judge=judge,
    draw=draw,
    scales={
        "smoke": conditions(1, n_train=64, epochs=2, points=3),
        "quick": conditions(8),
        "full": conditions(8, MNIST_RATES, data="mnist", n_train=5000, epochs=60, points=51),
    },
    defaults={"data": "digits", "n_train": 1200, "batch_size": 64, "epochs": 40, "points": 26},
    protocol=(
        "Perceptrons with 2 and with 10 hidden layers are trained on handwritten digits, by stochastic gradient "
        "descent with momentum and by Adam, each at a small and at a large learning rate. The training loss is then "
        "measured along straight lines in weight space that end at the trained weights, the solution: from the "
        "initial weights it was trained from; from these with their hidden units in another order, which is the same "
        "function; from unrelated initial weights; and from the solution of another network, trained on the same "
        "images. On the own line the loss must not rise by more than 1 % of its first value, and its mean must be "
        "lower than on lines from other starts; between two solutions it must rise. A line that is monotone is weak "
        "evidence by itself: with 2 hidden layers it is so from unrelated starts as well. The control is softmax "
        "regression, whose loss is convex, so that nothing parts two solutions, and whose solution does not depend on "
        "its start. Networks with batch norm are shown, not judged."
    ),
    caption=(
        "Top: training loss along straight lines that end at a solution (at 1), by where they start (at 0); trained by "
        "SGD at the small rate; lines: means over seeds, shaded: 95 % intervals. Bottom, by network and training: the "
        "largest rise on the way (shaded: at most 1 % of the first loss); by how much the mean loss "
        "along lines from unrelated starts exceeds that along the own line; and how high the barrier between two "
        "solutions is (shaded: at most 0.1). Points: means over seeds with 95 % intervals."
    ),
)
