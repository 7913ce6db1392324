"""ReLU networks are differences of tropical polynomials, and how many linear regions they have.

The claims. ``zhang2018tropical``: a ReLU network with integer weights is a tropical rational function F ⊘ G, the
difference of two maxima of affine functions with integer slopes; a network of one hidden layer of n units in general
position cuts d dimensions into Σ_{i≤d} C(n, i) linear regions, as many as its zonotope has vertices on its upper faces.
``montufar2014number``: with depth, networks exist that have exponentially many regions. Networks as they are drawn and
trained have not (``hanin2019complexity``, ``hanin2019deep``).

Done here: one hidden layer of 1 to 12 Gaussian units in 1, 2 and 3 dimensions, its regions enumerated by linear
programs; the zonotope's vertices by the convex hull of all 2ⁿ sums of its generators, which knows nothing of the
former; torch networks of 2 and 3 layers with integer weights from −3 to 3 and real biases, converted to F and G; and
networks for handwritten digits, their regions counted exactly on a triangle, and on one edge of it, around three
images of the training set, at initialisation and after training: three hidden layers of 8 to 64 units, and 1 to 8
layers of 16. Weights are drawn by He's rule, with which the signal does not fade with depth; the biases as torch does.

Criteria, and what doing nothing would score:

* Regions, distinct affine functions among them, and vertices: the formula's number, exactly, in every draw. The
  enumeration takes a region only with a point in it, and the formula is the most there can be: neither can err to the
  other's favour. A network without units: 1.
* Network minus (F − G) at 1,000 points: at most 1e-10. Values are below 1e4 and are sums of few terms, which rounding
  moves by about 1e-11. F and G both 0: the network's own size, above 1.
* Regions grow as a power of the number of units: exponent 1 on a line and 2 on a plane, within ½, which tells one from
  the other. A network without regions of its own: 0. What is attainable at this depth grows with exponents 3 and 6.
* At 64 units a layer, the regions are less than a hundredth of an attainable number; eight layers instead of four
  multiply them by less than 16, a growth of degree 4 in the number of units and twice the expected one. Attainable:
  a factor of 64⁴. Both would be met by a network without regions: they bound from above, and the exponents from below.

* The trained networks are trained: their test error is below 0.2 on average. Untrained: about 0.9.

Controls. Units in groups of parallel ones: the smaller count of that arrangement, not the generic one. And a network
built to fold its input: the same counting finds all of its 4^L regions, so that it is not blind to exponential growth.

Mended in the protocol: regions on a plane were said to grow about linearly with the number of units. They do so along
a line; on a plane they grow with its square, as theory has it and as a single layer shows, 1 + n + n(n − 1)/2.
Regions are those on which the same units are active, at least as many as linear ones. Left out: the converse, that
every tropical rational function is a network, which is a construction and has nothing to measure.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from deepscope.core import Case, Criterion, Grid, Study, TrialRun, UsageError, nearest, per_seed
from deepscope.data import load
from deepscope.models import MLP
from deepscope.studies.expressivity._arrangement import Floats, cells, generic_count, parallel_count
from deepscope.studies.expressivity._digit_networks import layers_of, make, share_wrong, train
from deepscope.studies.expressivity._slices import attainable, count_regions, folding_layers
from deepscope.studies.expressivity._tropical import rational, upper_vertices
from deepscope.studies.expressivity._tropical_figure import draw

if TYPE_CHECKING:
    import pandas as pd

DIMENSIONS = (1, 2, 3)
WIDTHS, FIXED_DEPTH = (8, 16, 32, 64), 3
DEPTHS, FIXED_WIDTH = (1, 2, 4, 8), 16
#: Hidden widths of the integer networks, which have two inputs and one output.
INTEGER_NETWORKS = ((6,), (4, 4))
SQUARE = np.array([[0.0, 0.0], [1.0, 0.0], [1.0, 1.0], [0.0, 1.0]])


def trial(case: Case, run: TrialRun) -> dict[str, Any]:
    """Return what one part of the study counts."""
    if case.part not in PARTS:
        raise UsageError("the study has no such part", where=case.part, todo=nearest(case.part, PARTS))
    return PARTS[case.part](case, run)


def _generic(case: Case, run: TrialRun) -> dict[str, Any]:
    """Return by dimension and number of units the regions and affine functions, and vertices minus regions."""
    rng = np.random.default_rng(run.seed)
    regions, pieces, surplus = [], [], []
    for dimensions in DIMENSIONS:
        normals, offsets = rng.standard_normal((case.units, dimensions)), rng.standard_normal(case.units)
        outward = rng.standard_normal(case.units)
        signs = cells(normals, offsets)
        regions.append([len(each) for each in signs])
        pieces.append([_distinct_pieces(each, normals, offsets, outward) for each in signs])
        surplus += [
            upper_vertices(normals[:n], offsets[:n]) - len(signs[n - 1]) for n in range(dimensions + 1, case.units + 1)
        ]
    return {"regions": np.array(regions), "pieces": np.array(pieces), "vertex_surplus": np.array(surplus)}


def _distinct_pieces(signs: Any, normals: Floats, offsets: Floats, outward: Floats) -> int:
    """Count the affine functions Σ cⱼ (aⱼ·x + bⱼ) over the active units j of each region, equal ones once."""
    units = signs.shape[1]
    generators = outward[:units, None] * np.column_stack([normals, offsets])[:units]
    return len(np.unique(np.round((signs > 0) @ generators, 9), axis=0))


def _parallel(case: Case, run: TrialRun) -> dict[str, Any]:
    """Return by dimension, from 2 on, the regions of units in three or four groups of parallel ones."""
    rng = np.random.default_rng(run.seed)
    found = []
    for dimensions in DIMENSIONS[1:]:
        sizes = np.bincount(rng.integers(0, dimensions + 1, case.units), minlength=dimensions + 1)
        normals = np.repeat(rng.standard_normal((len(sizes), dimensions)), sizes, axis=0)
        regions = len(cells(normals, rng.standard_normal(case.units))[-1])
        found.append([regions, parallel_count(sizes.tolist(), dimensions), generic_count(case.units, dimensions)])
    regions, reduced, generic = np.array(found).T
    return {"regions": regions, "reduced": reduced, "generic": generic}


def _integer(case: Case, run: TrialRun) -> dict[str, Any]:
    """Return the largest difference of integer networks from F − G, and the last one along a line."""
    rng = np.random.default_rng(run.seed)
    points = rng.uniform(-2, 2, (1000, 2))
    line = np.column_stack([np.linspace(-1, 1, 201), np.full(201, 0.3)])
    differences = []
    for hidden in INTEGER_NETWORKS:
        for _ in range(case.draws):
            network = MLP(2, hidden, 1).double()
            with torch.no_grad():
                for parameter in network.parameters():
                    values = (
                        rng.integers(-3, 4, parameter.shape) if parameter.ndim == 2 else rng.normal(size=len(parameter))
                    )
                    parameter.copy_(torch.as_tensor(values))
            layers = layers_of(network)
            above, below = rational([(weights.astype(np.int64), biases) for weights, biases in layers])
            differences.append(np.abs(_outputs(network, points) - (above(points) - below(points))).max())
    return {
        "difference": np.array(differences),
        "network": _outputs(network, line),
        "above": above(line),
        "below": below(line),
    }


def _outputs(network: nn.Module, points: Floats) -> Floats:
    with torch.no_grad():
        found: Floats = network(torch.from_numpy(points))[:, 0].numpy()
    return found


def _slices(case: Case, run: TrialRun) -> dict[str, Any]:
    """Return the regions on a plane and on a line, [before and after training, networks], by width and by depth."""
    data, rng = load(case.data), np.random.default_rng(run.seed)
    images = data.train.inputs[torch.from_numpy(rng.choice(len(data.train), 3, replace=False))]
    corners = images.flatten(1).double().numpy()
    triangle = corners.mean(axis=0) + case.size * (corners - corners.mean(axis=0))

    def counts(network: nn.Module) -> list[int]:
        hidden = layers_of(network)[:-1]
        return [count_regions(hidden, triangle), count_regions(hidden, triangle[:2])]

    errors = []

    def both(width: int, depth: int) -> list[list[int]]:
        network = make(data, [width] * depth, run)
        before = counts(network)
        train(network, data, rng, steps=case.steps)
        errors.append(share_wrong(network, data))
        return [before, counts(network)]

    by_width = np.array([both(width, FIXED_DEPTH) for width in WIDTHS[: case.widths]])
    by_depth = np.array([both(FIXED_WIDTH, depth) for depth in DEPTHS[: case.depths]])
    folded = [count_regions(folding_layers(depth), SQUARE) / 4**depth for depth in range(1, case.folds + 1)]
    return {
        "plane_by_width": by_width[:, :, 0].T,
        "line_by_width": by_width[:, :, 1].T,
        "plane_by_depth": by_depth[:, :, 0].T,
        "folded": np.array(folded),
        "test_error": float(np.mean(errors)),
    }


PARTS = {"generic": _generic, "parallel": _parallel, "integer": _integer, "slices": _slices}


def judge(trials: pd.DataFrame) -> list[Criterion]:
    """Judge the formula, the conversion, the growth of the number of regions, and the controls."""
    growth = [
        Criterion.effect(
            f"regions on a {place}, {time}: exponent of their growth with the number of units",
            _column(trials, f"{place}_by_width", "slices", _exponent(row)),
            within=0.5,
            target=power,
            published=f"theory: about {power}",
        )
        for place, power in (("line", 1), ("plane", 2))
        for row, time in enumerate(("untrained", "trained"))
    ]
    bounds = [
        criterion
        for row, time in enumerate(("untrained", "trained"))
        for criterion in (
            Criterion.effect(
                f"regions on a plane, {time}, 64 units a layer: log₁₀ of their share in an attainable number",
                _column(trials, "plane_by_width", "slices", _share(row)),
                below=-2.0,
                published="far below 0",
            ),
            Criterion.effect(
                f"regions on a plane, {time}, 8 layers against 4: log₂ of the ratio",
                _column(trials, "plane_by_depth", "slices", _last_ratio(row)),
                below=4.0,
                published="theory: about 2; attainable: 24",
            ),
        )
    ]
    return [
        Criterion.exact(
            "one hidden layer: regions minus the formula's number",
            _column(trials, "regions", "generic", _surplus),
            within=0.0,
            published="theory: 0",
        ),
        Criterion.exact(
            "one hidden layer: distinct affine functions minus the formula's number",
            _column(trials, "pieces", "generic", _surplus),
            within=0.0,
            published="theory: 0",
        ),
        Criterion.exact(
            "one hidden layer: vertices on the upper faces of the zonotope minus regions",
            _column(trials, "vertex_surplus", "generic", np.asarray),
            within=0.0,
            published="theory: 0",
        ),
        Criterion.exact(
            "integer weights, 2 and 3 layers: largest difference of the network from F − G",
            _column(trials, "difference", "integer", np.asarray),
            below=1e-10,
            published="theory: 0",
        ),
        *growth,
        *bounds,
        Criterion.effect(
            "digits: test error of the trained networks, mean over them",
            per_seed(trials, "test_error", part="slices"),
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
            "network built to fold, L layers: regions over 4^L",
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


def _exponent(row: int) -> Callable[[Any], float]:
    return lambda counts: float(np.polyfit(np.log(WIDTHS[: counts.shape[1]]), np.log(counts[row]), 1)[0])


def _share(row: int) -> Callable[[Any], float]:
    return lambda counts: math.log10(counts[row, -1] / attainable(WIDTHS[counts.shape[1] - 1], FIXED_DEPTH, 2))


def _last_ratio(row: int) -> Callable[[Any], float]:
    return lambda counts: math.log2(counts[row, -1] / counts[row, -2])


STUDY = Study(
    claim=(
        "A ReLU network with integer weights is a difference of two maxima of affine functions; n hidden units in "
        "general position cut d dimensions into exactly C(n,0) + C(n,1) + … + C(n,d) linear regions; and deep "
        "networks, trained or not, have far fewer regions than depth makes possible."
    ),
    source="zhang2018tropical",
    topics=("expressivity",),
    rows=("tropical-geometry",),
    protocol=(
        "A ReLU network is affine on each of its linear regions. Those of one hidden layer of up to 12 Gaussian units "
        "in 1 to 3 dimensions are enumerated by linear programs, and counted once more as vertices of a polytope, the "
        "zonotope of the units' weights and biases. Networks of 2 and 3 layers with integer weights are written as "
        "F − G, where F and G are maxima of affine functions with integer slopes (tropical polynomials), and compared "
        "at 1,000 points. Networks for handwritten digits are cut exactly into their regions on a triangle around "
        "three training images, and on one edge of it, at initialisation and after training, for several widths and "
        "depths. A seed draws weights, images and batches."
    ),
    caption=(
        "Top left: regions of one hidden layer; dots: enumerated, lines: the formula, crosses: units in groups of "
        "parallel ones, in as many dimensions as their colour says. Top right: a network with integer weights along a "
        "line, as the difference of two maxima of affine functions; of the seeds, the one with most kinks. Bottom: "
        "regions of networks for digits on a plane and on a line through the input space, untrained (dotted) and "
        "trained (solid), against width and depth; points: geometric means over seeds with their 95 % intervals; "
        "dashed: what some network of this size attains."
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
        "steps": 300,
        "size": 3.0,
        "folds": 5,
    },
    scales={
        "smoke": Grid(seeds=1, part=list(PARTS), units=5, draws=2, widths=2, depths=2, steps=10, folds=3),
        "quick": Grid(seeds=10, part=list(PARTS)),
        "full": Grid(seeds=50, part=["generic", "parallel", "integer"])
        + Grid(seeds=10, part="slices", data="mnist", steps=2000),
    },
)
