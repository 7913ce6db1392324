"""A self-organising ring finds short tours.

The claim (``vicente2018using``, after ``angeniol1988self`` and ``brocki2007kohonen``): units on a ring that learn where
the cities of a travelling salesman lie pass them in an order whose tour is about a tenth longer than the shortest one;
reported are 9.4 % for the 194 cities of Qatar and 7.5 % for the 734 of Uruguay.

Done here: that work's rules. Coordinates are scaled to a square; 8 units per city start at random; a learning rate of
0.8 shrinks by 0.99997 a step, a radius of 0.8 n by 0.9997 to not less than 1; there are as many steps as would bring
8 n to 1 at the radius's pace. A tour visits the cities in the order of their best units, those of one unit in the order
of the file. The radius is not rounded to whole numbers. (The step counts printed there for Qatar and Uruguay, 14,690
and 17,351, are ln(8n) divided by −ln 0.9995: these two results were had with a radius that shrank faster than the text
says.) Cities are read from TSPLIB files; by that format's rule distances are whole numbers, here of millionths of the
square's side. A seed draws ten instances, which learn side by side; its number is their mean.

The shortest tour is known exactly for 10 and 12 cities (dynamic programming) and for cities on an ellipse (their order
around it). Otherwise it lies between a bound that no tour falls below (Held and Karp's, by 1-trees) and the tour of a
strong local search (2-opt and Or-opt, three kicks per city). What speaks for the claim is measured from the lower bound
and what speaks against it from the upper, so that the reference's error can never help.

Criteria, and what other tours score (on instances with seeds from 1000 on):

* Uniform cities, n = 100 and 200: at most 10 % over the lower bound. Any order: 500 % and more; nearest
  neighbour: 25 %.
* 10 and 12 cities: at most 2 % over the shortest tour. A tenth would be no feat with so few cities: nearest neighbour
  leaves 12 %. Any order: 80 %.
* Cities on an ellipse, ten times as long as wide, n = 50 and 100: the shortest tour, in every instance. On a circle
  nearest neighbour leaves about 1 % and often nothing; here it leaves 20 %. Any order: 900 % and more.
* Upper over lower bound: at most 2 %, or the first criterion would speak of the bounds. For many cities the lower one
  is about 0.7 % below the shortest tour (``johnson1996asymptotic``).
* Every tour has each city once. This is so by construction, unless cities that share a unit are lost; they do share
  units in the first control.

Controls, which must not find short tours: no neighbourhood (radius 0), and a radius of 1 from the start, without the
coarse order that a larger one brings, must be over by at least 25 %. Nearest neighbour must miss what is asked of the
ring, or it would hold of any method: by at least 10 % over on uniform cities, where the ring may be 10 % over, and by
at least 2 % on the ellipse, where it may not be over at all.

Mended: 0 % was to hold for 10 and 12 cities too. Nothing in the rule minimises the length of a tour, and about a third
of 200 such instances ended in another one than the shortest. The topographic error on the cities is reported, but not
judged: it is 0 in the second control as well, and says nothing of tours. Time is not: the numbers of steps,
3333 ln(8n), and of units, 8 n, are settings.

Left out: clustered cities, such as those of countries; n above 500.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from deepscope.core import Case, Criterion, Grid, Study, TrialRun, UsageError, nearest, per_seed
from deepscope.models import SelfOrganisingMap
from deepscope.studies.self_organisation._instances import instances
from deepscope.studies.self_organisation._som_tsp_figure import draw
from deepscope.studies.self_organisation._tours import is_permutation, length, nearest_neighbour
from deepscope.studies.self_organisation._tsplib import Floats, distances

if TYPE_CHECKING:
    import pandas as pd

UNITS_PER_CITY = 8
LEARNING_RATE, LEARNING_RATE_DECAY = 0.8, 0.99997
#: Of the first step, for n cities; the radius shrinks to the smaller of it and 1.
RADII: dict[str, Callable[[int], float]] = {
    "shrinking": lambda n: UNITS_PER_CITY * n / 10,
    "fixed": lambda n: 1.0,
    "none": lambda n: 0.0,
}


def trial(case: Case, run: TrialRun) -> dict[str, Any]:
    """Return how far the ring's tours are over the shortest ones, as means over the instances of one seed."""
    if case.neighbourhood not in RADII:
        todo = nearest(case.neighbourhood, RADII)
        raise UsageError("unknown neighbourhood", where=case.neighbourhood, todo=todo)
    found = run.shared(instances, layout=case.layout, n=case.n, count=case.instances, kicks=case.kicks, seed=run.seed)
    cities = np.asarray(found["cities"])
    ring, scaled = fitted(cities, case, run)
    tours = visiting_order(ring(scaled).cpu().numpy())
    lengths = [distances(each) for each in cities]
    own = np.array([length(each, tour) for each, tour in zip(lengths, tours, strict=True)])
    plain = np.array([length(each, nearest_neighbour(each)) for each in lengths])
    return {
        "over_lower": float(np.mean(own / found["lower"] - 1)),
        "over_upper": float(np.mean(own / found["upper"] - 1)),
        "worst": float(np.max(own / found["lower"] - 1)),
        "as_short": float(np.mean(own <= found["upper"])),
        "gap": float(np.mean(found["upper"] / found["lower"] - 1)),
        "nearest_neighbour": float(np.mean(plain / found["upper"] - 1)),
        "whole_tours": float(np.mean([is_permutation(tour, case.n) for tour in tours])),
        "topographic_error": ring.topographic_error(scaled).mean().item(),
        "example": cities[0][tours[0]],
        "example_over": float(own[0] / found["upper"][0] - 1),
    }


def n_steps(n: int, radius_decay: float) -> int:
    """Return after how many steps a number of 8 n has shrunk to 1, at the radius's pace."""
    return math.ceil(math.log(UNITS_PER_CITY * n) / -math.log(radius_decay))


def fitted(cities: Floats, case: Case, run: TrialRun) -> tuple[SelfOrganisingMap, torch.Tensor]:
    """Return a ring for each of the instances [count, n, 2], and the cities that it has learnt, scaled to [0, 1]."""
    low, high = cities.min(axis=1, keepdims=True), cities.max(axis=1, keepdims=True)
    scaled = torch.from_numpy((cities - low) / (high - low)).to(run.device)
    count, n, _ = cities.shape
    ring = SelfOrganisingMap(
        [UNITS_PER_CITY * n],
        2,
        periodic=True,
        batch_shape=[count],
        generator=run.generator,
        device=run.device,
        dtype=torch.float64,
    )
    radius = RADII[case.neighbourhood](n)
    ring.fit_online(
        scaled,
        steps=n_steps(n, case.radius_decay),
        learning_rate=LEARNING_RATE,
        learning_rate_decay=LEARNING_RATE_DECAY,
        radius=radius,
        radius_decay=case.radius_decay,
        least_radius=min(1.0, radius),
        generator=run.generator,
    )
    return ring, scaled


def visiting_order(best: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the tours by the best unit of each city, [count, n]; cities with the same one in the file's order."""
    return np.argsort(best, axis=-1, kind="stable")


def judge(trials: pd.DataFrame) -> list[Criterion]:
    """Judge the tours, the bounds they are measured by, and what must not find short ones."""
    ring = {"layout": "random", "neighbourhood": "shrinking"}
    return [
        *(
            Criterion.effect(
                f"{n} uniform cities: mean excess over a lower bound of the shortest tour",
                per_seed(trials, "over_lower", n=n, **ring),
                below=0.1,
                published="9.4 % over the shortest (194 cities of Qatar)",
            )
            for n in (100, 200)
        ),
        *(
            Criterion.effect(
                f"{n} uniform cities: mean excess over the shortest tour",
                per_seed(trials, "over_lower", n=n, **ring),
                below=0.02,
            )
            for n in (10, 12)
        ),
        *(
            Criterion.exact(
                f"{n} cities on a thin ellipse: largest excess over the shortest tour",
                per_seed(trials, "worst", n=n, layout="ellipse"),
                below=0.0,
            )
            for n in (50, 100)
        ),
        *(
            Criterion.effect(
                f"{n} uniform cities: upper over lower bound of the shortest tour, mean excess",
                per_seed(trials, "gap", n=n, **ring),
                below=0.02,
                published="theory: about 0.007 for the shortest tour itself, n → ∞",
            )
            for n in (100, 200)
        ),
        Criterion.exact(
            "share of all tours that visit every city once", _all(trials, "whole_tours"), above=1.0, published="1"
        ),
        *(
            Criterion.effect(
                f"100 uniform cities, {what}: mean excess over an upper bound of the shortest tour",
                per_seed(trials, "over_upper", n=100, layout="random", neighbourhood=rule),
                above=0.25,
                control=True,
            )
            for rule, what in (("none", "no neighbourhood"), ("fixed", "radius 1 throughout"))
        ),
        *(
            Criterion.effect(
                f"{n} {where}, nearest-neighbour tour: mean excess over an upper bound of the shortest tour",
                per_seed(trials, "nearest_neighbour", layout=layout, n=n, neighbourhood="shrinking"),
                above=margin,
                control=True,
            )
            for layout, where, sizes, margin in (
                ("random", "uniform cities", (100, 200), 0.1),
                ("ellipse", "cities on a thin ellipse", (50, 100), 0.02),
            )
            for n in sizes
        ),
    ]


def _all(trials: pd.DataFrame, column: str) -> pd.Series[Any]:
    """Return a number of all trials, by seed."""
    return trials.set_index("seed")[column] if column in trials else per_seed(trials, column)


def _grid(seeds: int | range, sizes: dict[str, list[int]], control: int, **settings: Any) -> Grid:
    parts = [Grid(seeds=seeds, layout=layout, n=n, **settings) for layout, n in sizes.items()]
    controls = Grid(seeds=seeds, layout="random", n=control, neighbourhood=["none", "fixed"], **settings)
    return sum(parts[1:], parts[0]) + controls


STUDY = Study(
    claim="A closed chain of artificial neurons that learns where cities lie passes them in an order whose round trip "
    "is at most about a tenth longer than the shortest one.",
    source="vicente2018using",
    topics=("self organisation",),
    rows=("som-tsp", "repo-som-tsp"),
    trial=trial,
    judge=judge,
    draw=draw,
    scales={
        "smoke": _grid(1, {"random": [10, 100], "ellipse": [50]}, control=100, instances=2, kicks=1, radius_decay=0.98),
        "quick": _grid(range(100, 106), {"random": [10, 12, 100, 200], "ellipse": [50, 100]}, control=100),
        "full": _grid(range(100, 120), {"random": [10, 12, 100, 200, 500], "ellipse": [50, 100, 200]}, control=100),
    },
    defaults={"neighbourhood": "shrinking", "instances": 10, "kicks": 3, "radius_decay": 0.9997},
    protocol="The task is the travelling salesman's: the shortest round trip through n cities. A ring of 8 n units, "
    "each a point of the plane, starts at random. At each step a city is drawn, and the unit nearest to it and, less "
    "and less, its neighbours on the ring move towards it; how far along the ring this reaches shrinks from 0.8 n "
    "units to 1 in 15,000 to 25,000 steps. The trip visits the cities in the order of their nearest units. Each seed "
    "draws ten sets of cities. The shortest trip is known exactly for 10 and 12 cities and for cities on an ellipse; "
    "otherwise it is enclosed between a proven lower bound and the trip of a strong local search. Controls: no "
    "neighbours move; only the next ones do, from the start; always go to the nearest city not yet visited.",
    caption="Left and middle: the ring's trip through the same 100 cities, with a neighbourhood that shrinks and with "
    "none, and by how much it is longer than the trip of the local search. Right: how much longer trips are than the "
    "shortest, on a scale that is linear below 1 %; means over seeds of ten sets of cities each, with 95 % intervals. "
    "Where the shortest is not known, the ring and the local search are measured from a length that no trip falls "
    "below, the others from the local search. Dashed: the 10 % that are claimed.",
    timeout=1800.0,
)
