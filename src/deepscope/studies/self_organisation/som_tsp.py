"""A self-organising ring finds short tours.

The claim (``vicente2018using``, after ``angeniol1988self`` and ``brocki2007kohonen``): units on a ring that learn where
the cities of a travelling salesman lie pass them in an order whose tour is about a tenth longer than the shortest one.
Reported, each for one country and as a mean of 5 runs: 9.4 % for the 194 cities of Qatar, 7.5 % for the 734 of Uruguay,
22.3 % for the 10,639 of Finland, 29.7 % for the 16,862 of Italy. So it is a claim on up to a few hundred cities, and
not on thousands.

Done here: that work's rules. Coordinates are scaled by one factor, so that the longer side is 1; 8 units per city start
at random in the unit square; a learning rate of 0.8 shrinks by 0.99997 a step, a radius of 0.8 n by 0.9997 to not less
than 1; there are as many steps as would bring 8 n to 1 at the radius's pace. A tour visits the cities in the order of
their best units, those of one unit in the order of the file. The radius is not rounded to whole numbers. (The step
counts printed there for Qatar and Uruguay, 14,690 and 17,351, are ln(8n) divided by −ln 0.9995: these two results were
had with a radius that shrank faster than the text says.) Cities are read from TSPLIB files; by that format's rule
distances are whole numbers, here of millionths of the square's side. The instances of a seed learn side by side; its
number is their mean.

The shortest tour is known exactly for 10 and 12 cities (dynamic programming) and for cities on an ellipse (their order
around it). Otherwise it lies between a bound that no tour falls below (Held and Karp's, by 1-trees) and the tour of a
strong local search (2-opt and Or-opt, three kicks per city). What speaks for the claim is measured from the lower bound
and what speaks against it from the upper, so that the reference's error can never help.

Criteria, and what other orders score (the tests measure them, on instances of their own):

* Uniform cities, n = 100 and 200 (``full``: 500): at most 10 % over the lower bound, in the mean and, for the row of
  the map, in the median over the instances of a seed. A random order leaves over 500 %.
* 10 and 12 cities: at most 2 % over the shortest tour. A tenth would be no feat with so few cities. The simple
  order that does best there, by the angle about the cities' mean, leaves about 4 % for 10 and 5 % for 12: 2 % is half
  of the smaller. Nearest neighbour leaves about 10 %.
* Cities on an ellipse, ten times as long as wide, n = 50 and 100 (``full``: 200): the shortest tour, in every instance.
  Nearest neighbour leaves about 20 %.
* Upper over lower bound: at most 2 %, or the first criterion would speak of the bounds. For many cities the lower one
  is about 0.7 % below the shortest tour (``johnson1996asymptotic``).
* Coordinates that were read differ from those written by half a unit of the last decimal, and rounding, at most.
* Every tour has each city once, and is no shorter than the lower bound. As a tour is got by sorting, the first part can
  hardly fail; the second does if the bound is none, or if tour and bound are measured by different distances.

Controls, which must not find short tours. No neighbourhood (radius 0), and a radius of 1 from the start, must be over
by at least 25 %. Both come out near a random order, so that they only show that neighbours matter. A radius of 8 from
the start, the spacing of cities along the ring, is the middling one: it must miss the 10 % that are asked of the ring,
as it lacks the coarse order that a large radius brings. Nearest neighbour, and for few cities the order by angle, must
miss what is asked of the ring, or it would hold of any method: they must be over by at least 10 % for many uniform
cities and 2 % for few. On the ellipse, where the ring must not be over at all, nearest neighbour must be by at least
10 %: about half of what it leaves there.

Mended:

* 0 % was to hold for 10 and 12 cities too. Nothing in the rule minimises the length of a tour.
* Scaling: at first each coordinate was stretched to [0, 1] by itself, unlike in the source. Of long and thin sets of
  cities the ring then orders a distorted picture. Two runs were judged so.
* The margin of nearest neighbour on the ellipse was 10 % in the first of them, with ten instances a seed; the
  interval for 100 cities lay across it, and the margin was lowered to 2 % for the second. It is 10 % again, with twenty
  instances a seed; seeds are fresh, and what is above was fixed before they were run.
* The topographic error is not judged: it is 0 with a radius of 1 as well, and says nothing of tours. Nor is time: the
  numbers of steps, 3333 ln(8n), and of units, 8 n, are settings.

``quick`` takes three to four CPU-minutes: the ring's rule is one of many small steps, and nine cases have eight seeds.

Left out: clustered cities, such as those of countries; n above 500.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from deepscope.core import Case, Grid, Study, TrialRun, UsageError, nearest
from deepscope.models import SelfOrganisingMap
from deepscope.studies.self_organisation._instances import instances
from deepscope.studies.self_organisation._som_tsp_criteria import FEW, MANY, THIN, judge
from deepscope.studies.self_organisation._som_tsp_figure import draw
from deepscope.studies.self_organisation._tours import Tour, around, is_permutation, length, nearest_neighbour
from deepscope.studies.self_organisation._tsplib import Floats, Lengths, distances

UNITS_PER_CITY = 8
LEARNING_RATE, LEARNING_RATE_DECAY = 0.8, 0.99997
#: Of the first step, for n cities; the radius shrinks to the smaller of it and 1.
RADII: dict[str, Callable[[int], float]] = {
    "shrinking": lambda n: UNITS_PER_CITY * n / 10,
    "narrow": lambda n: float(UNITS_PER_CITY),
    "fixed": lambda n: 1.0,
    "none": lambda n: 0.0,
}
#: Potentials add 2 Σπ to the bound by 1-trees and take it off again: rounding, as part of a tour.
BOUND_ROUNDING = 1e-9


def trial(case: Case, run: TrialRun) -> dict[str, Any]:
    """Return how far tours are over the shortest ones, of the instances of one seed."""
    _check(case)
    found = run.shared(instances, layout=case.layout, n=case.n, count=case.instances, kicks=case.kicks, seed=run.seed)
    cities = np.asarray(found["cities"])
    ring, scaled = fitted(cities, case, run)
    tours = visiting_order(ring(scaled).cpu().numpy())
    lengths = [distances(each) for each in cities]
    own = _lengths(lengths, tours)
    nearest_first = _lengths(lengths, [nearest_neighbour(each) for each in lengths])
    by_angle = _lengths(lengths, [around(each) for each in cities])
    over_lower = own / found["lower"] - 1
    whole = np.array([is_permutation(tour, case.n) for tour in tours])
    return {
        "over_lower": float(np.mean(over_lower)),
        "median_over_lower": float(np.median(over_lower)),
        "over_upper": float(np.mean(own / found["upper"] - 1)),
        "worst": float(np.max(over_lower)),
        "gap": float(np.mean(found["upper"] / found["lower"] - 1)),
        "nearest_neighbour": float(np.mean(nearest_first / found["upper"] - 1)),
        "by_angle": float(np.mean(by_angle / found["upper"] - 1)),
        "valid_tours": float(np.mean(whole & (over_lower >= -BOUND_ROUNDING))),
        "misread": float(np.max(found["misread"])),
        "example": cities[0][tours[0]],
        "example_over": float(own[0] / found["upper"][0] - 1),
    }


def _check(case: Case) -> None:
    if case.neighbourhood not in RADII:
        todo = nearest(case.neighbourhood, RADII)
        raise UsageError("unknown neighbourhood", where=case.neighbourhood, todo=todo)
    for name, least in (("n", 3), ("instances", 1), ("kicks", 0)):
        value = case[name]
        if not isinstance(value, int) or value < least:
            todo = f"Give a whole number of at least {least}."
            raise UsageError(f"{name} is {value}", where="som-tsp", todo=todo)
    if not 0 < case.radius_decay < 1:
        todo = "Give a factor between 0 and 1: the radius has to shrink."
        raise UsageError(f"radius_decay is {case.radius_decay}", where="som-tsp", todo=todo)


def _lengths(distance: Sequence[Lengths], tours: Iterable[Tour]) -> Floats:
    return np.array([length(each, tour) for each, tour in zip(distance, tours, strict=True)], dtype=float)


def n_steps(n: int, radius_decay: float) -> int:
    """Return after how many steps a number of 8 n has shrunk to 1, at the radius's pace."""
    return math.ceil(math.log(UNITS_PER_CITY * n) / -math.log(radius_decay))


def fitted(cities: Floats, case: Case, run: TrialRun) -> tuple[SelfOrganisingMap, torch.Tensor]:
    """Return a ring for each of the instances [count, n, 2], and the cities that it has learnt, their longer side 1."""
    low = cities.min(axis=1, keepdims=True)
    # One factor for both coordinates: of a country that is longer than wide, distances keep their ratios.
    side = (cities - low).max(axis=(1, 2), keepdims=True)
    scaled = torch.from_numpy((cities - low) / side).to(run.device)
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


def _grid(seeds: int | range, few: Sequence[int], many: Sequence[int], thin: Sequence[int], **settings: Any) -> Grid:
    """Return uniform cities, those on the ellipse, and the controls of 100 uniform ones; ``settings`` win."""

    def part(instances: int, **axes: Any) -> Grid:
        return Grid(seeds=seeds, **{"instances": instances, **axes, **settings})

    return (
        part(40, layout="random", n=few)
        + part(5, layout="random", n=many)
        + part(20, layout="ellipse", n=thin)
        + part(5, layout="random", n=100, neighbourhood=["none", "fixed", "narrow"])
    )


STUDY = Study(
    claim=(
        "A self-organising ring finds round trips through up to a few hundred cities at most about a tenth too long."
    ),
    source="vicente2018using",
    topics=("self organisation",),
    rows=("som-tsp", "repo-som-tsp"),
    trial=trial,
    judge=judge,
    draw=draw,
    scales={
        "smoke": _grid(1, [10], [100], [50], instances=2, kicks=1, radius_decay=0.98),
        "quick": _grid(range(200, 208), FEW, MANY, THIN),
        "full": _grid(range(200, 220), FEW, [*MANY, 500], [*THIN, 200]),
    },
    defaults={"neighbourhood": "shrinking", "kicks": 3, "radius_decay": 0.9997},
    protocol=(
        "The claim in full: A closed chain of artificial neurons that learns where up to a few hundred cities lie "
        "passes them in an order whose round trip is at most about a tenth longer than the shortest one.\n\n"
        "The task is the travelling salesman's: the shortest round trip through n cities. A ring of 8 n units, each a "
        "point of the plane, starts at random. At each step a city is drawn, and the unit nearest to it and, less and "
        "less, its neighbours on the ring move towards it; how far along the ring this reaches (the radius) shrinks "
        "from 0.8 n units to 1 in 15,000 to 25,000 steps. The trip visits the cities in the order of their nearest "
        "units. Each seed draws several sets of cities: 40 of 10 or 12 cities, 20 on a thin ellipse, else 5. The "
        "shortest trip is known exactly for 10 and 12 cities and for those on an ellipse; otherwise it is enclosed "
        "between a proven lower bound and the trip of a strong local search. Controls: no neighbours move; only the "
        "next ones do, from the start; the reach starts at 8 units, one city's share of the ring; always go to the "
        "nearest city not yet visited; go by the direction in which a city is seen from the middle."
    ),
    caption="Top: the ring's trip through the same 100 cities, with a neighbourhood that shrinks and with "
    "none, and by how much it is longer than the trip of the local search. Below: how much longer trips are than the "
    "shortest, on a scale that is linear below 1 %; means over seeds of several sets of cities each, with 95 % "
    "intervals. Where the shortest is not known, the ring and the local search are measured from a length that no trip "
    "falls below, the others from the local search. Radius: how many units along the ring the nearest one takes along; "
    "a radius of 1 takes hardly more than the next ones. Ellipse: cities on a thin ellipse; all others are spread at "
    "random over a square. Points of as many cities are drawn a little apart where they would hide each other. Dashed: "
    "the 10 % that are claimed.",
    timeout=1800.0,
)
