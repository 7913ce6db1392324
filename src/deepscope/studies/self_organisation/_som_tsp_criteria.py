"""The criteria of the study of tours by a self-organising ring."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from deepscope.core import Criterion, per_seed
from deepscope.studies.self_organisation._instances import ENUMERATED, SIDE
from deepscope.studies.self_organisation._tsplib import DECIMALS

if TYPE_CHECKING:
    import pandas as pd

#: Numbers of cities that ``quick`` has: few and many uniform ones, and those on the thin ellipse.
FEW, MANY, THIN = (10, ENUMERATED), (100, 200), (50, 100)
#: Half a unit of the last decimal, and the rounding of numbers as large as the square's side.
READING_ERROR = 0.5 * 10**-DECIMALS + SIDE * np.finfo(float).eps


def judge(trials: pd.DataFrame) -> list[Criterion]:
    """Judge the tours, what they are measured by, and what must not find short ones.

    Larger cases than ``quick`` has are judged where there are any.
    """
    return [*_of_the_ring(trials), *_of_the_reference(trials), *_controls(trials)]


def _of_the_ring(trials: pd.DataFrame) -> list[Criterion]:
    ring = {"layout": "random", "neighbourhood": "shrinking"}
    bound = "excess over a lower bound of the shortest tour"
    return [
        *(
            Criterion.effect(
                f"{n} uniform cities: mean {bound}",
                per_seed(trials, "over_lower", n=n, **ring),
                below=0.1,
                published="9.4 % over the shortest (Qatar: 194 clustered cities, one instance)" if n == 200 else None,
            )
            for n in _sizes(trials, "random", MANY)
        ),
        *(
            Criterion.effect(
                f"{n} uniform cities: median over the sets of a seed of the {bound}",
                per_seed(trials, "median_over_lower", n=n, **ring),
                below=0.1,
            )
            for n in _sizes(trials, "random", MANY)
        ),
        *(
            Criterion.effect(
                f"{n} uniform cities: mean excess over the shortest tour",
                per_seed(trials, "over_lower", n=n, **ring),
                below=0.02,
            )
            for n in FEW
        ),
        *(
            Criterion.exact(
                f"{n} cities on a thin ellipse: largest excess over the shortest tour",
                per_seed(trials, "worst", n=n, layout="ellipse"),
                below=0.0,
            )
            for n in _sizes(trials, "ellipse", THIN)
        ),
        Criterion.exact(
            "share of all tours that visit every city once and are no shorter than the lower bound",
            _all(trials, "valid_tours"),
            above=1.0,
        ),
    ]


def _of_the_reference(trials: pd.DataFrame) -> list[Criterion]:
    return [
        *(
            Criterion.effect(
                f"{n} uniform cities: upper over lower bound of the shortest tour, mean excess",
                per_seed(trials, "gap", n=n, layout="random", neighbourhood="shrinking"),
                below=0.02,
                published="theory: about 0.007 for the shortest tour itself, n → ∞",
            )
            for n in _sizes(trials, "random", MANY)
        ),
        Criterion.exact(
            "largest difference of a coordinate read from a TSPLIB file from the one written, in millionths of the "
            "square's side",
            _all(trials, "misread"),
            below=READING_ERROR,
        ),
    ]


def _controls(trials: pd.DataFrame) -> list[Criterion]:
    uniform, thin = "uniform cities", "cities on a thin ellipse"
    few = [("random", n) for n in FEW]
    more = [("random", n) for n in _sizes(trials, "random", MANY)]
    more += [("ellipse", n) for n in _sizes(trials, "ellipse", THIN)]
    others = [
        *((case, "nearest_neighbour", "nearest-neighbour tour", 0.02) for case in few),
        *((case, "by_angle", "tour by angle about their mean", 0.02) for case in few),
        *((case, "nearest_neighbour", "nearest-neighbour tour", 0.1) for case in more),
    ]
    return [
        *(
            Criterion.effect(
                f"100 uniform cities, {what}: mean excess over an upper bound of the shortest tour",
                per_seed(trials, "over_upper", n=100, layout="random", neighbourhood=rule),
                above=margin,
                control=True,
            )
            for rule, what, margin in (
                ("none", "no neighbourhood", 0.25),
                ("fixed", "radius 1 throughout", 0.25),
                ("narrow", "radius from 8 units on", 0.1),
            )
        ),
        *(
            Criterion.effect(
                f"{n} {uniform if layout == 'random' else thin}, {what}: mean excess over "
                + ("the shortest tour" if layout == "ellipse" or n in FEW else "an upper bound of the shortest tour"),
                per_seed(trials, column, layout=layout, n=n, neighbourhood="shrinking"),
                above=margin,
                control=True,
            )
            for (layout, n), column, what, margin in others
        ),
    ]


def _sizes(trials: pd.DataFrame, layout: str, always: Sequence[int]) -> list[int]:
    """Return the numbers of cities to judge: those of ``quick``, and larger ones that there are."""
    found = trials.loc[trials["layout"] == layout, "n"] if "layout" in trials else ()
    return sorted({*always, *(int(n) for n in found if n > max(always))})


def _all(trials: pd.DataFrame, column: str) -> pd.Series[Any]:
    """Return a number of all trials, by seed."""
    return trials.set_index("seed")[column] if column in trials else per_seed(trials, column)
