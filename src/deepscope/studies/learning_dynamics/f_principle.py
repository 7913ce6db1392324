"""Networks fit low frequencies first: the frequency principle.

**Claim** (``xu2020frequency``). While a network is trained, the low frequencies of its target are fitted first and the
high ones last, in one dimension and on images; Jacobi's method for −u″ = g does the opposite, and so does a loss that
compares derivatives.

**What is done.** *Sums of sines:* sin x + sin 3x + sin 5x on 64 even points of [−π, π), and sums with random phases and
one frequency drawn from each of {1, 2}, {3, 4}, {5, 6}. Amplitudes are equal, since larger ones would be fitted first
for being larger. A tanh network of 4 × 200, full-batch Adam on the mean squared error; a seed draws weights and target.
The error of a frequency is |ĥ(k) − f̂(k)| / |f̂(k)|, and it is fitted at the step from which the running median of that
error over 101 steps stays below 30 %; the trial ends when this has held for 101 steps for all three. *Derivatives:* the
same, with the mean square of the error's second derivative added to the loss (H²: modes weigh 1 + k⁴, k counting as 8
at most). *Jacobi:* damped by ω = 2/3, from 0, to the same sums, by the same rule. *Digits:* one-hot labels y of 1000
images drawn by the seed; targets and outputs h are filtered in the space of images by a Gaussian of width δ into a low
and a high part, as in the source: e_low = ‖(h − y)_low‖ / ‖y_low‖, and e_high.

**Criteria.** A network that does not learn fits no frequency: its numbers are missing, and nothing holds.

* The first sum: log ratios of steps above log 2 for 3 to 1 and for 5 to 3, the margin that the control must keep within
  from 1 to 5. Frequencies fitted in a random order score 0.
* Random sums: the smaller of the two log ratios of neighbours, each over the difference of their frequencies, is above
  log 2 / 4, which is the control's margin per unit of frequency. A random order scores below 0, the same pace 0. They
  vary more than the first sum, in target and network: twice the seeds.
* Derivatives: the larger of the two log ratios is below 0. A loss without effect scores as the first sum, a random
  order above 0.
* Jacobi, which is deterministic: in the worst case the larger of the two log ratios is below 0, and the error of every
  frequency, fitted or not, at every step is that of the closed form, 1 − ω(1 − cos(2πk/n)) to the power of the step.
  Roundings of some 1e-16 in each of 400 steps (64 points) or 4000 (200 points) add up to 1e-12 at most; the threshold
  is 1e-11. An iteration that stands still misses it by 1.
* Digits: mean over steps of log(e_high/e_low), minus the same for learning by heart, is above 0 at δ² = 1 and 2 times
  the median squared distance of an image to the nearest other one. By heart means: one image after another in random
  order, the share of each class for the rest, and at each step as many as leave the network's error overall. It
  prefers no frequency, but e_low is still below e_high, since y_low is an average of labels, of which what is learned
  here and there fits a part. Class shares alone score 0.

**Control.** With the input replaced by 200 random waves √2 cos(wx + b), w normal of standard deviation 20
(``tancik2020fourier``), frequencies 1 and 5 must be fitted at the same pace, within a factor of 2.

**What was mended.** A first passage below a tolerance can be a crossing by chance, and the last one that of a short
throw-back by Adam: hence the running median, and a small step size (5e-5), which gives the lowest frequency tens of
steps. What is fitted of one frequency is disturbed while the next is learned, by about a tenth, so that at a tolerance
of 10 % a frequency is often finished only with the next one: it is 30 %. The loss of values and *first* derivatives
only brings 3 and 5 to the same pace, as it multiplies what drives a frequency by no more than 1 + k²; second
derivatives reverse the order, and are judged. For digits, e_low < e_high alone is met by class shares, which is why
means over images are subtracted, and by learning by heart, which is why that is the reference. At δ² = ½ of the unit
learning by heart has the larger e_high/e_low: the filter there averages over a few images only, so that y_low still
holds single labels; this width is drawn and not judged. Errors like white noise would pass
too: they leave of a smooth y the high part. So the criterion tells which part of the labels is learned, not by what
mechanism. Random labels are no null, as a network prefers low frequencies of any target. Nor are large first weights a
control: a steep tanh is a step, of which low frequencies still hold the most; random waves have an even spectrum up to
their width.

**Left out.** The source's Poisson equation solved by a network, its projection on one direction of the images, and the
networks with convolutions. There is no control on images: a network on rapid random waves of them learns all labels
within 200 steps and leaves small errors like white noise, on which the two parts say nothing.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd

from deepscope.core import Case, Criterion, Grid, Study, TrialRun, UsageError, nearest, per_seed
from deepscope.studies.learning_dynamics._damped_jacobi import iterates, rates
from deepscope.studies.learning_dynamics._f_principle_figure import draw
from deepscope.studies.learning_dynamics._fourier_modes import (
    MODES,
    TARGETS,
    Floats,
    SumOfSines,
    fitted_steps,
    relative_errors,
    ring,
    until_fitted,
)
from deepscope.studies.learning_dynamics._image_frequencies import JUDGED_WIDTHS, WIDTHS, learn_images
from deepscope.studies.learning_dynamics._sine_network import network_errors

MARGIN = math.log(2)
#: Log ratio of steps per unit of frequency: a factor of 2 from frequency 1 to 5.
PACE = MARGIN / 4
_SQUARED_ERROR = "value"
_DERIVATIVE = "value and second derivative"
_LEARNERS = ("network", "waves", "Jacobi", "images")
#: Steps kept of a curve, evenly over the logarithm.
_KEPT = 200


def trial(case: Case, run: TrialRun) -> dict[str, Any]:
    """Return the steps at which frequencies are fitted, or the filtered errors during training on images."""
    _check(case)
    if case.learner == "images":
        return learn_images(case, run)
    target = SumOfSines.drawn(case.target, np.random.default_rng(run.seed))
    if case.learner == "Jacobi":
        return _jacobi(case, target)
    return _fitted(target, until_fitted(network_errors(case, run, target), case.steps))


def _check(case: Case) -> None:
    if case.learner not in _LEARNERS:
        raise UsageError("unknown learner", where=case.learner, todo=nearest(case.learner, _LEARNERS))
    if case.steps < 1:
        raise UsageError(f"steps is {case.steps}", where="steps", todo="Give at least 1.")
    if case.learner in ("Jacobi", "images") and case.loss != _SQUARED_ERROR:
        raise UsageError(f"{case.learner} has no other loss", where=case.loss, todo=f"Set loss to {_SQUARED_ERROR!r}.")
    if case.learner == "images" and case.target != TARGETS[0]:
        todo = "Leave target at its default, which the labels of the images replace."
        raise UsageError("images have no sum of sines as target", where=case.target, todo=todo)


def _jacobi(case: Case, target: SumOfSines) -> dict[str, Any]:
    """Return what ``_fitted`` does, and the largest distance of any frequency's error from the closed form."""
    solution = target(ring(case.points))
    start, factors = -np.fft.rfft(solution), rates(case.points)
    distances = []

    def errors() -> Iterator[Floats]:
        for step, u in enumerate(iterates(solution)):
            expected = start * factors**step
            # A sine of amplitude 1 has a Fourier coefficient of n/2.
            distances.append(float(np.abs(np.fft.rfft(u - solution) - expected).max()) / (case.points / 2))
            yield relative_errors(u, solution, target.frequencies)

    return {**_fitted(target, until_fitted(errors(), case.steps)), "from_closed_form": max(distances)}


def _fitted(target: SumOfSines, errors: Floats) -> dict[str, Any]:
    """Return frequency, thinned curve of errors and steps at which it is fitted (None: never) of each mode."""
    kept = np.unique(np.geomspace(1, len(errors), _KEPT).astype(int)) - 1
    found: dict[str, Any] = {"step": kept}
    for name, k, curve in zip(MODES, target.frequencies, errors.T, strict=True):
        found |= {f"{name}_frequency": k, f"{name}_error": curve[kept]}
    return found | {f"{name}_step": step for name, step in zip(MODES, fitted_steps(errors), strict=True)}


def judge(trials: pd.DataFrame) -> list[Criterion]:
    """Judge the order of frequencies for networks, Jacobi's method and filtered digits, and the control."""
    low, middle, high = _steps(trials, learner="network", target="1, 3, 5", loss=_SQUARED_ERROR)
    waves_low, _, waves_high = _steps(trials, learner="waves", target="1, 3, 5", loss=_SQUARED_ERROR)
    return [
        Criterion.effect(
            "log ratio of steps to 30 %, frequency 3 over 1 (above log 2)",
            middle - low,
            above=MARGIN,
            published="above 0: low frequencies first",
        ),
        Criterion.effect(
            "log ratio of steps to 30 %, frequency 5 over 3 (above log 2)",
            high - middle,
            above=MARGIN,
            published="above 0: low frequencies first",
        ),
        Criterion.effect(
            "random sums: log ratio of steps to 30 % per unit of frequency, the smaller of two (above (log 2)/4)",
            _least_pace(trials),
            above=PACE,
        ),
        Criterion.effect(
            "second derivatives in the loss: log ratio of steps to 30 %, next higher frequency over lower, "
            "the larger of two",
            _largest_ratio(trials, learner="network", target="1, 3, 5", loss=_DERIVATIVE),
            below=0.0,
        ),
        Criterion.exact(
            "Jacobi, random sums: log ratio of steps to 30 %, next higher frequency over lower, the larger of two",
            _largest_ratio(trials, learner="Jacobi", target="random"),
            below=0.0,
        ),
        Criterion.exact(
            "Jacobi: largest distance of an error from the closed form, any frequency and step",
            _jacobi_distance(trials),
            below=1e-11,
            published="theory: 0 (identity)",
        ),
        *(
            Criterion.effect(
                f"digits: mean log(e_high/e_low), network minus learning by heart at the same error, δ² = {width:g}",
                _over_learning_by_heart(trials, width),
                above=0.0,
            )
            for width in JUDGED_WIDTHS
        ),
        Criterion.effect(
            "random waves as input: log ratio of steps to 30 %, frequency 5 over 1 (within log 2)",
            waves_high - waves_low,
            within=MARGIN,
            control=True,
        ),
    ]


def _steps(trials: pd.DataFrame, **case: str) -> tuple[pd.Series[Any], ...]:
    """Return by seed the log steps to fit the low, the middle and the high frequency; NaN where one is not fitted.

    Step 0 counts as 1: a logarithm is taken.
    """
    found = (per_seed(trials, f"{name}_step", **case).astype(float) for name in MODES)
    return tuple(each.clip(lower=1.0).map(math.log) for each in found)


def _largest_ratio(trials: pd.DataFrame, **case: str) -> pd.Series[Any]:
    low, middle, high = _steps(trials, **case)
    return pd.concat([middle - low, high - middle], axis=1).max(axis=1, skipna=False)


def _least_pace(trials: pd.DataFrame) -> pd.Series[Any]:
    """Return by seed the smaller log ratio of a network's steps on neighbours, over their difference in frequency."""
    case = {"learner": "network", "target": "random", "loss": _SQUARED_ERROR}
    low, middle, high = _steps(trials, **case)
    lowest, between, highest = (per_seed(trials, f"{name}_frequency", **case).astype(float) for name in MODES)
    paces = [(middle - low) / (between - lowest), (high - middle) / (highest - between)]
    return pd.concat(paces, axis=1).min(axis=1, skipna=False)


def _jacobi_distance(trials: pd.DataFrame) -> pd.Series[Any]:
    """Return the distances of all trials of Jacobi's method, by seed."""
    if "from_closed_form" not in trials:
        return per_seed(trials, "from_closed_form")
    return trials[trials["learner"] == "Jacobi"].set_index("seed")["from_closed_form"]


def _over_learning_by_heart(trials: pd.DataFrame, width: float) -> pd.Series[Any]:
    """Return by seed how much the network's mean log ratio exceeds that of learning by heart."""
    network, by_heart = (
        per_seed(trials, f"{name}_log_ratios", learner="images").map(lambda at: at[WIDTHS.index(width)]).astype(float)
        for name in ("network", "by_heart")
    )
    return network - by_heart


def _grid(seeds: range, random_sums: range, **size: Any) -> Grid:
    """Return all cases, random sums with seeds of their own."""
    return (
        Grid(seeds=seeds, learner=["network", "Jacobi"], **size)
        + Grid(seeds=random_sums, learner=["network", "Jacobi"], target="random", **size)
        + Grid(seeds=seeds, learner="network", loss=_DERIVATIVE, **size)
        + Grid(seeds=seeds, learner=["waves", "images"], **size)
    )


STUDY = Study(
    claim="A tanh network fits the low frequencies of its target before the high ones.",
    source="xu2020frequency",
    topics=("learning dynamics", "frequency"),
    rows=("f-principle",),
    trial=trial,
    judge=judge,
    draw=draw,
    scales={
        "smoke": _grid(range(1), range(1), points=16, steps=120, width=16, n_train=60, image_steps=10, every=5),
        "quick": _grid(range(100, 110), range(100, 120)),
        "full": _grid(range(100, 120), range(100, 140), points=200, data="mnist", n_train=3000),
    },
    defaults={
        "target": "1, 3, 5",
        "loss": "value",
        "points": 64,
        "width": 200,
        "learning_rate": 5e-5,
        "steps": 10_000,
        "data": "digits",
        "n_train": 1000,
        "image_learning_rate": 1e-3,
        "image_steps": 300,
        "every": 5,
    },
    protocol=(
        "The claim in full: A tanh network trained with Adam on squared error fits the low frequencies of sums of "
        "three sines first and the high ones last; with second derivatives in the loss the order is reversed, and "
        "Jacobi's method, a classical iteration for differential equations, fits the high ones first. On handwritten "
        "digits the network's error on the smooth part of the labels, compared with that on the rest, is smaller than "
        "if it learned image by image.\n\n"
        "A network with four hidden layers of 200 tanh units learns sin x + sin 3x + sin 5x, and sums of three sines "
        "with random frequencies up to 6 and random phases, all of amplitude 1. A frequency counts as fitted once the "
        "network's Fourier coefficient stays within 30 % of the target's, short throw-backs aside. The same with the "
        "error of second derivatives added to the loss. Jacobi's method (damped by 2/3, on a periodic grid) is given "
        "the same sums as solutions of −u″ = g, by the same rule, and its errors are compared with their closed form. "
        "A second network learns 1000 handwritten digits. Its labels are split into a low part, each image's label "
        "averaged over similar images by a Gaussian of width δ, and a high part, the rest; e_low and e_high are the "
        "relative errors on the two, after means are subtracted. The unit of δ² is the median squared distance to the "
        "nearest other image. They are compared with those of learning by heart, one image after another, with as "
        "many images as leave the same error overall. Control: with an input of random rapid waves, frequencies "
        "should be equally quick."
    ),
    caption="Top left: the error of each frequency of sin x + sin 3x + sin 5x while a network learns, a line per seed; "
    "points with bars: where it stays below 30 %. Top right: steps until it stays below 30 %, geometric means over "
    "seeds with their 95 % intervals; circles: networks on sums with random frequencies, each seed. Bottom left: "
    "relative errors of the low and the high part of the labels of digits at δ² = 1, geometric means over seeds with "
    "bands for their 95 % intervals; grey: learning by heart, image by image, up to the same error overall. Bottom "
    "right: e_high/e_low, geometric means over steps and seeds with their 95 % intervals; δ² = ½ is not judged.",
    timeout=3600.0,
)
