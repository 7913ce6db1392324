"""The perceptron: how many mistakes it makes, what it cannot compute, and why its weight vectors should vote.

The claims. ``novikoff1963convergence``: on separable samples the perceptron makes at most (R/γ)² updates, R being the
largest norm of a sample and γ the largest margin of a hyperplane; on others it never stops. ``minsky1969perceptrons``:
no threshold unit computes XOR, and the parity of n bits is the sign of no polynomial of degree below n; of all
functions of 1 to 4 bits, 4, 14, 104 and 1882 are threshold functions. ``freund1999large``: where labels are noisy, a
vote of all weight vectors of a run errs less than the last one.

Done here, with samples of integer coordinates, on which float64 runs the algorithm without rounding:

* 1,000 separable sets in 2 to 50 dimensions of 10 to 160 points, with margins down to a thousandth of the samples'
  norm, passed over in their order, or adding of the wrong points that nearest the hyperplane. γ comes with a proof from
  either side, and the larger value is used: the bound judged is the true one or stricter.
* Orthogonal points, for which the bound is attained: n points, (R/γ)² = n, n updates.
* Sets of small integers with labels by chance, which a linear program proves inseparable.
* The count of threshold functions by linear programs, one for a function of each class under exchanged and negated
  inputs and negated output (222 classes for 4 bits); a seed draws which function that is.
* The least degree of parity, and of majority and of the sign of a random polynomial of degree 2, by linear programs
  over all products of up to k bits.
* All 45 pairs of digits, 10 % of the training labels flipped, 10 passes; errors are counted with the right labels.

Criteria, and what doing nothing would score:

* Updates over (R/γ)²: at most 1 in every run. Most sets are far below; a run without updates would pass, and a γ or R
  somewhat wrong as well. Hence the orthogonal sets: 1 up to rounding, 1e-9. No update: 0.
* The two proofs of γ agree. Rounding leaves about ε (R/γ)² of it, 2e-9 for the smallest margins drawn, R/γ = 3000;
  the threshold is 1e-8. A w that is not the best one: well above.
* The counts and the order of parity, exactly. A program that separates nothing counts 0 functions and finds the order n
  for every function; hence majority, of order 1, as a control, and random polynomials of degree 2: order at most 2.
* Error of the last weights minus that of the vote: above 0. Without learning all are equal. The vote's own error is
  below 10 %, that of the labels it learnt from, or the last weights would only be bad ones.
* Averaging the weights does as well as the vote: within 0.01, a tenth of the flipped labels.

Controls. Inseparable sets: the share on which the algorithm stops is 0. That it never does is more than a bounded
number of passes can show: the weights are integers, and once a pass begins with the weights of an earlier one, all
repeats for ever. XOR: no threshold unit has a margin above rounding. Right labels, with which all pairs of the small
digits are separable, and twice as many passes as it takes to separate them: the last weights then have the majority,
and the vote must err as they do.

Mended in the protocol: the bound needs the Euclidean margin (a linear program gives another); a number of passes
without an end proves nothing, a cycle does. Averaged and voted weights are nearly equal, and no claim is made which of
the two is better. Left out: Minsky and Papert's connectedness, which is about perceptrons of limited diameter.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from deepscope.core import Case, Criterion, Grid, Study, TrialRun, UsageError, nearest, per_seed
from deepscope.studies.foundations._boolean_functions import (
    THRESHOLD_FUNCTIONS,
    count_threshold_functions,
    majority,
    order,
    parity,
    random_quadratic,
    signed_monomials,
)
from deepscope.studies.foundations._digit_pairs import flipped_labels, right_labels
from deepscope.studies.foundations._perceptron import closest_first_updates, cyclic_updates, fate
from deepscope.studies.foundations._perceptron_figure import draw
from deepscope.studies.foundations._point_sets import inseparable_set, orthogonal_set, separable_set
from deepscope.studies.foundations._separation import ROUNDING, Floats, euclidean_margin, program_margin

if TYPE_CHECKING:
    import pandas as pd

ORDERS = (cyclic_updates, closest_first_updates)
#: Passes after which a cycle is no longer expected to be found.
PATIENCE = 20_000


def trial(case: Case, run: TrialRun) -> dict[str, Any]:
    """Return what one part of the study measures: bounds and updates, counts and orders, or test errors."""
    if case.part not in PARTS:
        raise UsageError("the study has no such part", where=case.part, todo=nearest(case.part, PARTS))
    return PARTS[case.part](case, run)


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
    """Return by set (R/γ)², the updates in either order, and how far apart the proofs of γ are, in units of it."""
    margins = [euclidean_margin(points) for points in sets]
    bounds = np.array([margin.high**-2 for margin in margins])
    return {
        "bound": bounds,
        "updates": np.array([[count(*each) for count in ORDERS] for each in zip(sets, bounds, strict=True)]),
        "gap": np.array([(margin.high - margin.low) / margin.high for margin in margins]),
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
    bits = range(1, case.parity_bits + 1)
    return {
        "threshold_functions": np.array([count_threshold_functions(n, rng) for n in range(1, case.bits + 1)]),
        "parity_order": np.array([order(parity(n)) for n in bits]),
        "majority_order": np.array([order(majority(n)) for n in bits]),
        "quadratic_order": np.array([order(random_quadratic(n, rng)) for n in bits]),
        "xor_margin": program_margin(signed_monomials(parity(2), 1)).high,
    }


PARTS = {
    "separable": _separable,
    "orthogonal": _orthogonal,
    "inseparable": _inseparable,
    "boolean": _boolean,
    "flipped": flipped_labels,
    "right": right_labels,
}


def judge(trials: pd.DataFrame) -> list[Criterion]:
    """Judge the bound, what a threshold unit cannot compute, the vote, and the controls."""
    last, voted, averaged = (_column(trials, name, "flipped", _final) for name in ("last", "voted", "averaged"))
    return [
        Criterion.exact(
            "updates over (R/γ)², largest of the random separable sets",
            _column(trials, "updates", "separable", _ratios, "bound"),
            below=1.0,
            published="theory: at most 1",
        ),
        Criterion.exact(
            "updates over (R/γ)², orthogonal points",
            _column(trials, "updates", "orthogonal", _ratios, "bound"),
            within=ROUNDING,
            target=1.0,
            published="theory: 1, the bound is attained",
        ),
        Criterion.exact(
            "relative difference of the two proofs of the margin γ, largest",
            _column(trials, "gap", "separable", _all),
            below=1e-8,
            published="theory: 0",
        ),
        *(
            Criterion.exact(
                f"threshold functions among the Boolean functions of {bits} {'bit' if bits == 1 else 'bits'}",
                _column(trials, "threshold_functions", "boolean", _at(bits)),
                within=0.0,
                target=count,
                published=str(count),
            )
            for bits, count in enumerate(THRESHOLD_FUNCTIONS, start=1)
        ),
        Criterion.exact(
            "parity of n bits: least degree of a polynomial with its sign, minus n",
            _column(trials, "parity_order", "boolean", lambda orders: orders - np.arange(1, len(orders) + 1)),
            within=0.0,
            published="theory: 0, at every n",
        ),
        Criterion.exact(
            "sign of a random polynomial of degree 2: least degree, largest",
            _column(trials, "quadratic_order", "boolean", _all),
            below=2.0,
            published="theory: at most 2",
        ),
        Criterion.effect(
            "digits, 10 % of the labels wrong: test error of the last weights minus that of the vote",
            last - voted,
            above=0.0,
            published="above 0",
        ),
        Criterion.effect("digits, 10 % of the labels wrong: test error of the vote", voted, below=0.1),
        Criterion.effect(
            "digits, 10 % of the labels wrong: test error of the averaged weights minus that of the vote",
            averaged - voted,
            within=0.01,
            published="nearly equal",
        ),
        Criterion.exact(
            "sets that no hyperplane separates: 1 where the algorithm stops, 0 where it repeats itself for ever",
            _column(trials, "stops", "inseparable", _all),
            within=0.0,
            published="theory: 0",
            control=True,
        ),
        Criterion.exact(
            "XOR: largest margin that a threshold unit could have",
            _column(trials, "xor_margin", "boolean", _all),
            below=ROUNDING,
            published="theory: 0",
            control=True,
        ),
        Criterion.exact(
            "majority of n bits: least degree of a polynomial with its sign",
            _column(trials, "majority_order", "boolean", _all),
            within=0.0,
            target=1.0,
            published="theory: 1, at every n",
            control=True,
        ),
        Criterion.exact(
            "digits, right labels, pairs separated: difference of test error, last weights and vote",
            _column(trials, "differ", "right", _all),
            within=0.0,
            published="theory: 0",
            control=True,
        ),
    ]


def _column(trials: pd.DataFrame, name: str, part: str, summary: Callable[..., Any], *others: str) -> pd.Series[Any]:
    """Reduce what one part returned to ``summary`` of it, by seed."""
    import pandas as pd

    columns = [per_seed(trials, each, part=part) for each in (name, *others)]
    return pd.Series(
        {seed: summary(*row) for seed, *row in zip(columns[0].index, *columns, strict=True)}, name=name, dtype=object
    )


def _all(found: Any) -> Any:
    return found


def _final(errors: Floats) -> float:
    return float(errors[-1])


def _ratios(updates: Floats, bounds: Floats) -> Floats:
    return updates / bounds[:, None]


def _at(bits: int) -> Callable[[Floats], float]:
    return lambda counts: float(counts[bits - 1]) if bits <= len(counts) else np.nan


STUDY = Study(
    claim=(
        "On separable samples the perceptron makes at most (R/γ)² mistakes, and on others it never stops; no threshold "
        "unit computes XOR, and parity of n bits needs a polynomial of degree n; where labels are noisy, a vote of all "
        "weight vectors of a run errs less than the last one."
    ),
    source="novikoff1963convergence",
    topics=("foundations",),
    rows=("perceptron-novikoff", "perceptron-limits", "voted-perceptron"),
    protocol=(
        "The perceptron starts with weights w = 0 and adds label times sample for each sample on the wrong side of its "
        "hyperplane. It is run on separable sets of integer points, whose largest norm R and largest margin γ (the "
        "distance of the samples from the best hyperplane) are computed exactly; on orthogonal points, which should "
        "cost (R/γ)² updates and no less; and on sets that a linear program proves inseparable, until its weights "
        "repeat. Linear programs decide which functions of up to 4 bits are threshold functions (the sign of a "
        "weighted sum), and which degree a polynomial must have whose sign is the parity of up to 8 bits. Last, all 45 "
        "pairs of handwritten digits are learnt in 10 passes with a tenth of the training labels flipped: the last "
        "weights against a vote of all weight vectors, each counting for as long as it lasted, and against their "
        "average. A seed draws the sets, the functions tested, the flipped labels and the order of the samples."
    ),
    caption=(
        "Top left: a dot is a run on one set; R is the largest norm of a sample, γ the margin; none may lie above the "
        "line. Top right: test error by the right labels, a tenth of the training labels being wrong; mean over pairs "
        "of digits and seeds, with its 95 % interval over seeds. Bottom left: how many functions of so many bits are "
        "the sign of a weighted sum; circles: published. Bottom right: the least degree of a polynomial whose sign is "
        "the function: parity (is the number of set bits odd?), majority (are more than half of them set?), and signs "
        "of random polynomials of degree 2."
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
        "flipped": 0.1,
        "passes": 10,
    },
    scales={
        "smoke": Grid(seeds=1, part=list(PARTS), sets=10, largest_power=4, bits=3, parity_bits=5, passes=3),
        "quick": Grid(seeds=20, part=list(PARTS)),
        "full": Grid(seeds=100, part=["separable", "orthogonal", "inseparable", "right"])
        + Grid(seeds=20, part="boolean")
        + Grid(seeds=5, part="flipped", data="mnist"),
    },
    timeout=4 * 3600.0,
)
