"""ReLU networks are differences of tropical polynomials, and how many linear regions they have.

The claims. ``zhang2018tropical``: a ReLU network with integer weights is a tropical rational function F ⊘ G, the
difference of two maxima of affine functions with integer slopes; a network of one hidden layer of n units in general
position cuts d dimensions into Σ_{i≤d} C(n, i) linear regions, as many as its zonotope has vertices on its upper faces.
``montufar2014number``: with depth, networks exist that have exponentially many regions. Networks as they are drawn have
not, nor trained ones in experiments (``hanin2019complexity``, ``hanin2019deep``): on d dimensions about as many as the
d-th power of the number of units, whether units are added to layers or layers to the network.

Done here: one hidden layer of 1 to 12 Gaussian units in 1, 2 and 3 dimensions, its regions enumerated by linear
programs; the zonotope's vertices by the convex hull of all 2ⁿ sums of its generators, which knows nothing of the
former; torch networks of 2 and 3 layers with integer weights from −3 to 3 and real biases, converted to F and G; and
networks for handwritten digits, their regions counted exactly on a triangle, and on one edge of it, around three
images of the training set, at initialisation and after training: three hidden layers of 8 to 64 units, and 1 to 8
layers of 16. Weights are drawn by He's rule, with which the signal does not fade with depth; the biases as torch does.

Criteria, and what doing nothing would score:

* Regions, and vertices: the formula's number, exactly, in every draw. The enumeration takes a region only with a point
  in it, and the formula is the most there can be: neither can err to the other's favour. A network without units: 1.
* Distinct affine functions on the enumerated regions: as many. No second count of the regions: it says that regions on
  which other units are active are other linear regions.
* Network minus (F − G) at 1,000 points: at most 1e-10. Values are below 1e4 and are sums of few terms, which rounding
  moves by about 1e-11. F and G both 0: the network's own size, above 1.
* Regions grow with the width as a power of the number of units: exponent 1 on a line and 2 on a plane, within ½, which
  tells one from the other. A network without regions of its own: 0. Attainable at this depth: about 3 and 6.
* They grow with the number of layers with exponent 2 on a plane, within 1. At 1, the regions of a layer would add to
  those of the others, as curves do that never cross; 3 is as far on the other side. The law is asymptotic. Short of it
  falls the linear term of 1 + n + n²/2, on a triangle that holds only some of the crossings. And with layers of n = 16,
  the logarithm of a layer's squared stretch, relative to the signal's length, has variance 8/n: over 8 layers the mean
  stretch is up to e^{½}, so that crossings change by a factor e, the exponent by ½. Networks that die with depth: below
  0. Attainable: 14.
* At the largest width, the regions are less than a hundredth of an attainable number. One region would do: the
  exponents bound from below.
* Training changes them by less than twice the units would, a factor of 4: the mean of |log₂| of the ratio, of the same
  network before and after, is below 2; increases and decreases do not cancel. No training: 0; hence the next.
* The trained networks are trained: the test error of the worst of the eight is below 0.2. Untrained: about 0.9.

Controls. Units in groups of parallel ones: the smaller count of that arrangement, and in every draw fewer than the
formula's number. And a network built to fold its input, the same for all seeds: the same counting finds all of its 4^L
regions, so that it is not blind to exponential growth.

Mended in the protocol: regions on a plane were said to grow about linearly with the number of units. They do so along
a line; on a plane they grow with its square, as theory has it and as a single layer shows, 1 + n + n(n − 1)/2. The row
``linear-regions-depth`` says the former and is therefore not claimed here. Units are drawn anew where some d + 1 of
them enclose a simplex of inradius below 1e-5, or two parallel ones a slab of twice that width: a linear program solved
to 1e-7 cannot be trusted to find the region in it. It happens about once in 100 seeds.
Regions are those on which the same units are active, at least as many as linear ones. Left out: the converse, that
every tropical rational function is a network, which is a construction and has nothing to measure.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from deepscope.core import Case, Criterion, Grid, Study, TrialRun, UsageError, nearest, per_seed
from deepscope.studies.expressivity._arrangement import generic_count
from deepscope.studies.expressivity._digit_regions import DEPTHS, FIXED_DEPTH, WIDTHS, slices
from deepscope.studies.expressivity._slices import attainable
from deepscope.studies.expressivity._tropical_figure import draw
from deepscope.studies.expressivity._tropical_trials import DIMENSIONS, generic, integer, parallel

if TYPE_CHECKING:
    import pandas as pd

PARTS = {"generic": generic, "parallel": parallel, "integer": integer, "slices": slices}
#: Fields of a case with the least and the most they can be. More units than groups of parallel ones; at most 2¹⁶ sums.
LIMITS = {
    "units": (5, 16),
    "draws": (1, math.inf),
    "widths": (2, len(WIDTHS)),
    "depths": (2, len(DEPTHS)),
    "steps": (0, math.inf),
    "folds": (1, math.inf),
}


def trial(case: Case, run: TrialRun) -> dict[str, Any]:
    """Return what one part of the study counts."""
    if case.part not in PARTS:
        raise UsageError("the study has no such part", where=case.part, todo=nearest(case.part, PARTS))
    for name, (least, most) in LIMITS.items():
        value = getattr(case, name)
        if not isinstance(value, int) or not least <= value <= most:
            todo = f"Give a whole number of at least {least}" + ("." if most == math.inf else f" and at most {most}.")
            raise UsageError(f"it is {value!r}", where=name, todo=todo)
    if case.size <= 0:
        raise UsageError(f"it is {case.size!r}", where="size", todo="Give a number above 0.")
    return PARTS[case.part](case, run)


def judge(trials: pd.DataFrame) -> list[Criterion]:
    """Judge the formula, the conversion, the growth of the number of regions, and the controls."""
    growth = [
        Criterion.effect(
            f"regions on a {place}, {time}: exponent of their growth with the units in each layer",
            _column(trials, f"{place}_by_width", "slices", _exponent(WIDTHS, row)),
            within=0.5,
            target=power,
            published=f"theory (Hanin & Rolnick 2019): about {power}",
        )
        for place, power in (("line", 1), ("plane", 2))
        for row, time in enumerate(("untrained", "trained"))
    ]
    growth += [
        Criterion.effect(
            f"regions on a plane, {time}: exponent of their growth with the number of layers",
            _column(trials, "plane_by_depth", "slices", _exponent(DEPTHS, row)),
            within=1.0,
            target=2.0,
            published="theory (Hanin & Rolnick 2019): about 2",
        )
        for row, time in enumerate(("untrained", "trained"))
    ]
    shares = [
        Criterion.effect(
            f"regions on a plane, {time}, {_widest(trials)} units a layer: log₁₀ of their share in the number that "
            "Montúfar et al. (2014) show attainable",
            _column(trials, "plane_by_width", "slices", _share(row)),
            below=-2.0,
        )
        for row, time in enumerate(("untrained", "trained"))
    ]
    return [
        Criterion.exact(
            "one hidden layer: regions minus the formula's number",
            _column(trials, "regions", "generic", _surplus),
            within=0.0,
            published="theory (Zhang et al. 2018): 0",
        ),
        Criterion.exact(
            "one hidden layer: distinct affine functions minus the formula's number",
            _column(trials, "pieces", "generic", _surplus),
            within=0.0,
            published="theory (Zhang et al. 2018): 0",
        ),
        Criterion.exact(
            "one hidden layer: vertices on the upper faces of the zonotope minus regions",
            _column(trials, "vertex_surplus", "generic", np.asarray),
            within=0.0,
            published="theory (Zhang et al. 2018): 0",
        ),
        Criterion.exact(
            "integer weights, 2 and 3 layers: largest difference of the network from F − G",
            _column(trials, "difference", "integer", np.asarray),
            below=1e-10,
            published="theory (Zhang et al. 2018): 0",
        ),
        *growth,
        *shares,
        Criterion.effect(
            "regions on a plane, trained against untrained: |log₂ of the ratio|, mean over networks",
            _column(trials, "plane_by_width", "slices", _change, "plane_by_depth"),
            below=2.0,
        ),
        Criterion.effect(
            "digits: test error of the worst of the trained networks",
            _column(trials, "test_errors", "slices", np.max),
            below=0.2,
        ),
        Criterion.exact(
            "units in parallel groups: regions minus the number for parallel groups",
            _column(trials, "regions", "parallel", np.subtract, "reduced"),
            within=0.0,
            published="theory: 0",
            control=True,
        ),
        Criterion.exact(
            "units in parallel groups: regions minus the number for general position",
            _column(trials, "regions", "parallel", np.subtract, "generic"),
            below=-1.0,
            control=True,
        ),
        Criterion.exact(
            "network built to fold, L layers, the same for all seeds: regions over 4^L",
            _column(trials, "folded", "slices", np.asarray),
            within=0.0,
            target=1.0,
            published="theory: 1",
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


def _surplus(counts: Any) -> Any:
    return counts - np.array([[generic_count(n, d) for n in range(1, counts.shape[1] + 1)] for d in DIMENSIONS])


def _exponent(sizes: tuple[int, ...], row: int) -> Callable[[Any], float]:
    return lambda counts: float(np.polyfit(np.log(sizes[: counts.shape[1]]), np.log(counts[row]), 1)[0])


def _widest(trials: pd.DataFrame) -> int:
    """Return the units in each layer of the widest networks that were counted."""
    counted = per_seed(trials, "plane_by_width", part="slices")
    return WIDTHS[max((counts.shape[1] for counts in counted), default=len(WIDTHS)) - 1]


def _share(row: int) -> Callable[[Any], float]:
    return lambda counts: math.log10(counts[row, -1] / attainable(WIDTHS[counts.shape[1] - 1], FIXED_DEPTH, 2))


def _change(*counts: Any) -> float:
    return float(np.abs(np.concatenate([np.log2(trained / untrained) for untrained, trained in counts])).mean())


STUDY = Study(
    claim=(
        "A ReLU network is a difference of two maxima of affine functions, and its linear regions are counted exactly."
    ),
    source="zhang2018tropical",
    topics=("expressivity",),
    rows=("tropical-geometry",),
    protocol=(
        "The claim in full: A ReLU network with integer weights is a difference of two maxima of affine functions; n "
        "hidden units in general position cut d dimensions into exactly C(n,0) + C(n,1) + … + C(n,d) linear regions; "
        "and the regions of multilayer perceptrons for digits, untrained or trained, grow about in proportion to the "
        "number of units on a line through the input space, with its square on a plane, where depth makes far more "
        "possible.\n\n"
        "A ReLU network is affine on each of its linear regions. Those of one hidden layer of up to 12 Gaussian units "
        "in 1 to 3 dimensions are enumerated by linear programs, and counted once more as vertices of a polytope, the "
        "zonotope of the units' weights and biases; units are drawn anew where they leave a gap so small (a ball of "
        "radius 1e-5) that the programs could miss a region. Networks of 2 and 3 layers with integer weights are "
        "written as F − G, where F and G are maxima of affine functions with integer slopes (tropical polynomials), "
        "and compared at 1,000 points. Networks for handwritten digits are cut exactly into their regions on a "
        "triangle around three training images, and on one edge of it, at initialisation and after training, for "
        "several widths and depths. A seed draws weights, images and batches. Two controls: units of which some are "
        "parallel, which have fewer regions, and a network built to fold its input (the same for all seeds), which "
        "has exponentially many."
    ),
    caption=(
        "Top left: regions of one hidden layer; dots: enumerated, of every seed (they coincide), lines: the formula, "
        "crosses: units in groups of parallel ones, in as many dimensions as their colour says. Top right: a network "
        "with integer weights along a line, as the difference of two maxima of affine functions; of the seeds, the one "
        "with most kinks. Bottom: regions of networks for digits, untrained (open points, dotted) and trained (full "
        "points, solid): on a plane and on a line through the input space against width, on the plane against depth; "
        "points: geometric means over seeds with their 95 % intervals; dashed: what some network of this size attains."
    ),
    trial=trial,
    judge=judge,
    draw=draw,
    defaults={
        "data": "digits",
        "units": 12,
        "draws": 20,
        "widths": len(WIDTHS),
        "depths": len(DEPTHS),
        "steps": 600,
        "size": 3.0,
        "folds": 5,
    },
    scales={
        "smoke": Grid(seeds=1, part=list(PARTS), units=5, draws=2, widths=2, depths=2, steps=10, folds=3),
        "quick": Grid(seeds=range(100, 110), part=list(PARTS)),
        "full": Grid(seeds=50, part=["generic", "parallel", "integer"])
        + Grid(seeds=10, part="slices", data="mnist", steps=2000),
    },
)
