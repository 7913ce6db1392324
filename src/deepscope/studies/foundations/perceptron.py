"""The perceptron: how many mistakes it makes, what it cannot compute, and why its weight vectors should vote.

The claims. ``novikoff1963convergence``: on samples that a hyperplane through the origin separates, the perceptron makes
at most (R/γ)² updates, R being the largest norm of a sample and γ the largest margin of such a hyperplane. On others it
makes updates for ever. ``minsky1969perceptrons``: no threshold unit computes XOR, and the parity of n bits is the sign
of no polynomial of degree below n. Of all functions of 1 to 4 bits, 4, 14, 104 and 1882 are threshold functions
(``muroga1971threshold``). ``freund1999large``: a vote of all weight vectors of a run errs less than the last one; that
labels are noisy is this study's condition, and no number is compared with the paper's.

Done here, with samples of integer coordinates, on which float64 runs the algorithm without rounding:

* 1,000 separable sets in 2 to 50 dimensions of 10 to 160 points, with margins down to a thousandth of the samples'
  norm, passed over in their order, or adding of the wrong points that nearest the hyperplane. γ comes with a proof from
  either side, and the larger value is used: the bound judged is the true one or stricter.
* Orthogonal points, for which the bound is attained: n points, (R/γ)² = n, n updates; and points of norm 1 among them.
* Sets of small integers with labels by chance, which a linear program proves inseparable.
* The count of threshold functions by linear programs, one for a function of each class under exchanged and negated
  inputs and negated output (222 classes for 4 bits); a seed draws which function that is.
* The least degree of parity, of majority and of the sign of a random polynomial of degree 2, by linear programs over
  all products of up to k bits. Parity, majority and XOR have no chance in them: they are solved once, and each seed
  repeats what was found, so that their "seeds" are no repetitions.
* All 45 pairs of digits, 10 % of the training labels flipped, 10 passes; errors are counted with the right labels.
  A linear program says of each pair whether, so labelled, a hyperplane separates it.

Criteria, and what doing nothing would score:

* Every run ends with all points right: the least z·w of its last weights, an integer, is 1 or more. No update: 0; a run
  that gives up after one pass: below 0.
* Updates over (R/γ)²: at most 1 in every run. Most sets are far below; a γ or R somewhat wrong would pass. Hence the
  orthogonal sets: 1 up to rounding, 1e-9.
* The two halves of the proof, after every update: |w|² over k R² is at most 1 (integers: no rounding
  where it is 1), and w·u over k γ at least 1, up to the 1e-8 that γ is known to.
* The two proofs of γ agree. Rounding leaves about ε (R/γ)² of it, 2e-9 for the smallest margins drawn, R/γ = 3000;
  the threshold is 1e-8. A w that is not the best one: well above.
* The counts and the order of parity, exactly. A program that separates nothing counts 0 functions and finds the order n
  for every function; hence the controls: majority has order 1, and the parity of the first k of n bits order k, so that
  every degree is found where it is the right one. Random polynomials of degree 2 have order at most 2.
* Error of the last weights minus that of the vote: above 0. Without learning all are equal. The vote's own error is
  below 10 %, that of the labels it learnt from, or the last weights would only be bad ones. No pair may be separable.
* Averaging the weights does as well as the vote: within 0.01, a tenth of the flipped labels.

Controls, besides. Inseparable sets: the share on which the algorithm stops is 0. That it never does is more than a
bounded number of passes can show: the weights are integers, and once a pass begins with the weights of an earlier one,
all repeats for ever: a cycle certifies it. XOR: no threshold unit has a margin above rounding. Right labels, the same
10 passes: the last weights err as the vote does, within 0.01; it is the wrong labels that the vote is good against.
The program that finds no flipped pair separable must find all of these so.

Mended in the protocol: the bound needs the Euclidean margin (a linear program gives another); a number of passes
without an end proves nothing, a cycle does. Averaged and voted weights are nearly equal, and no claim is made which of
the two is better. Left out: Minsky and Papert's connectedness, which is about perceptrons of limited diameter.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from deepscope.core import Case, Grid, Study, TrialRun, UsageError, nearest
from deepscope.studies.foundations._boolean_functions import (
    count_threshold_functions,
    fixed_orders,
    order,
    random_quadratic,
)
from deepscope.studies.foundations._convergence import convergence
from deepscope.studies.foundations._digit_pairs import FLIPPED, flipped_labels, right_labels
from deepscope.studies.foundations._perceptron import closest_first, cyclic, fate
from deepscope.studies.foundations._perceptron_criteria import judge
from deepscope.studies.foundations._perceptron_figure import draw
from deepscope.studies.foundations._point_sets import inseparable_set, orthogonal_set, separable_set
from deepscope.studies.foundations._separation import Floats, euclidean_margin

ORDERS = (cyclic, closest_first)
#: Passes after which a cycle is no longer expected to be found.
PATIENCE = 20_000


def trial(case: Case, run: TrialRun) -> dict[str, Any]:
    """Return what one part of the study measures: bounds and updates, counts and orders, or test errors."""
    if case.part not in PARTS:
        raise UsageError("the study has no such part", where=case.part, todo=nearest(case.part, PARTS))
    _check(case)
    return PARTS[case.part](case, run)


def _check(case: Case) -> None:
    """Refuse what is no number of sets, passes or bits, and no share of wrong labels."""
    for name, most in (("sets", None), ("largest_power", None), ("parity_bits", None), ("passes", None), ("bits", 4)):
        value = case[name]
        if not isinstance(value, int) or value < 1 or (most is not None and value > most):
            said = "of at least 1" if most is None else f"from 1 to {most}"
            raise UsageError(f"it is {value!r}", where=name, todo=f"Give a whole number {said}.")
    if isinstance(case.flipped, str) or not 0 <= case.flipped < 0.5:
        raise UsageError(f"it is {case.flipped!r}", where="flipped", todo="Give a share of at least 0 and below 0.5.")


def _separable(case: Case, run: TrialRun) -> dict[str, Any]:
    rng = np.random.default_rng(run.seed)
    sets = [
        separable_set(
            rng, int(rng.choice([2, 5, 10, 20, 50])), int(rng.choice([10, 40, 160])), 10 ** rng.uniform(-3, 0)
        )
        for _ in range(case.sets)
    ]
    return _updates(sets)


def _orthogonal(case: Case, run: TrialRun) -> dict[str, Any]:
    rng = np.random.default_rng(run.seed)
    return _updates([orthogonal_set(rng, 2**power) for power in range(1, case.largest_power + 1)])


def _updates(sets: list[Floats]) -> dict[str, Any]:
    """Return by set (R/γ)², how far apart the proofs of γ are, in units of it, and how the run of either order went."""
    margins = [euclidean_margin(points) for points in sets]
    bounds = np.array([margin.high**-2 for margin in margins])
    runs = [
        [convergence(points, updated(points, bound), margin) for updated in ORDERS]
        for points, bound, margin in zip(sets, bounds, margins, strict=True)
    ]
    updates, least, growth, advance = np.moveaxis(np.array(runs), -1, 0)
    return {
        "bound": bounds,
        "gap": np.array([(margin.high - margin.low) / margin.high for margin in margins]),
        "updates": updates,
        "least": least,
        "growth": growth,
        "advance": advance,
    }


def _inseparable(case: Case, run: TrialRun) -> dict[str, Any]:
    rng = np.random.default_rng(run.seed)
    sets = [inseparable_set(rng) for _ in range(case.sets)]
    stops = {"stops": 1.0, "cycles": 0.0, "open": np.nan}
    fates = [fate(points, PATIENCE) for points in sets]
    return {
        "stops": np.array([stops[how] for how, _ in fates]),
        "repeats_after": np.array([passes for _, passes in fates]),
    }


def _boolean(case: Case, run: TrialRun) -> dict[str, Any]:
    rng = np.random.default_rng(run.seed)
    return {
        "threshold_functions": np.array([count_threshold_functions(n, rng) for n in range(1, case.bits + 1)]),
        "quadratic_order": np.array([order(random_quadratic(n, rng)) for n in range(1, case.parity_bits + 1)]),
        **run.shared(fixed_orders, bits=case.parity_bits),
    }


PARTS = {
    "separable": _separable,
    "orthogonal": _orthogonal,
    "inseparable": _inseparable,
    "boolean": _boolean,
    "flipped": flipped_labels,
    "right": right_labels,
}


STUDY = Study(
    claim=(
        "The perceptron makes at most (R/γ)² mistakes; XOR and parity are out of its reach; where labels are noisy, "
        "voting helps."
    ),
    source="novikoff1963convergence",
    topics=("foundations",),
    rows=("perceptron-novikoff", "perceptron-limits", "voted-perceptron"),
    protocol=(
        "The claim in full: On samples of norm up to R that a hyperplane through the origin separates with margin γ, "
        "the perceptron stops after at most (R/γ)² mistakes, and on integer samples that none separates it runs in a "
        "cycle; 4, 14, 104 and 1882 functions of 1 to 4 bits are the sign of a weighted sum, XOR is not among them, "
        "and the parity of n bits needs a polynomial of degree n; on pairs of handwritten digits with a tenth of the "
        "labels flipped, a vote of all weight vectors of a run errs less than the last one.\n\n"
        "The perceptron starts with weights w = 0 and adds label times sample for each sample on the wrong side of "
        "its hyperplane. It is run on separable sets of integer points until all are right; their largest norm R and "
        "largest margin γ (the distance of the samples from the best hyperplane through the origin) are computed to "
        "rounding. It is run on orthogonal points, which should cost (R/γ)² updates and no less, and on sets that a "
        "linear program proves inseparable, until its weights repeat, and with them all that follows. Linear programs "
        "decide which functions of up to 4 bits are threshold functions (the sign of a weighted sum), and which "
        "degree a polynomial must have whose sign is the parity of up to 8 bits. Last, all 45 pairs of handwritten "
        "digits are learnt in 10 passes with a tenth of the training labels flipped: the last weights against a vote "
        "of all weight vectors, each counting for as long as it lasted, and against their average. A seed draws the "
        "sets, the functions tested, the flipped labels and the order of the samples; parity, majority and XOR have "
        "no chance in them and are solved once for all seeds."
    ),
    caption=(
        "Top left: each set has two dots, one for each order in which wrong samples are added (squares: the orthogonal "
        "sets, where the two agree); R is the largest norm of a sample, γ the margin; none may lie above the line. Top "
        "right: test error by the right labels, a tenth of the training labels being wrong; mean over pairs of digits "
        "and seeds, with its 95 % interval over seeds. Bottom left: how many functions of so many bits are the sign of "
        "a weighted sum; circles: published. Bottom right: the least degree of a polynomial whose sign is the "
        "function: parity (is the number of set bits odd?), majority (are more than half of them set?), and signs of "
        "random polynomials of degree 2."
    ),
    trial=trial,
    judge=judge,
    draw=draw,
    defaults={
        "data": "digits",
        "sets": 50,
        "largest_power": 7,
        "bits": 4,
        "parity_bits": 8,
        "flipped": FLIPPED,
        "passes": 10,
    },
    scales={
        "smoke": Grid(seeds=1, part=list(PARTS), sets=10, largest_power=4, bits=3, parity_bits=5, passes=2),
        "quick": Grid(seeds=range(100, 120), part=list(PARTS)),
        "full": Grid(seeds=range(100, 200), part=["separable", "orthogonal", "inseparable", "right"])
        + Grid(seeds=range(100, 120), part="boolean")
        + Grid(seeds=range(100, 105), part="flipped", data="mnist"),
    },
    timeout=4 * 3600.0,
)
