"""The conditions of the study of ensembles, and the ways to draw networks around one solution."""

from __future__ import annotations

from collections.abc import Iterable

from deepscope.core import Grid, Value

#: Members of an ensemble that is judged.
MEMBERS = 5
#: Ways to draw networks around one solution, and what they are called.
METHODS = {
    "random": "random directions",
    "diagonal": "diagonal Gaussian",
    "low_rank": "low-rank Gaussian",
    "dropout": "dropout",
    "snapshots": "late snapshots",
}
#: How far from the solution networks are drawn: the length of the step over that of the weights; for both Gaussians the
#: standard deviation over that of the late snapshots; the probability of dropping a unit.
SCALES = {
    "random": (0.1, 0.2, 0.3, 0.4, 0.6, 0.8),
    "diagonal": (4.0, 8.0, 16.0, 24.0, 32.0, 48.0),
    "low_rank": (1.0, 2.0, 4.0, 6.0, 8.0, 12.0),
    "dropout": (0.01, 0.02, 0.05, 0.1, 0.2, 0.3),
}
#: Snapshots from before this last share of the training are not late.
LATE = 1 / 3
#: Passes with dropout that are averaged.
PASSES = (1, 2, 5, 10, 20, 50)
#: Probability of dropping a unit in the networks that are trained with dropout.
DROPOUT = 0.3
PLAIN: dict[str, Value] = {"dropout": 0.0}
DROPPED: dict[str, Value] = {"dropout": DROPOUT}


def conditions(seeds: int | Iterable[int], *, networks: int = 10, **shared: Value) -> Grid:
    """Return the networks that are trained without dropout, and five that are trained with it.

    >>> [str(case) for case in conditions(1).cases]
    ['dropout=0.0 networks=10', 'dropout=0.3 networks=5']
    """
    chosen = seeds if isinstance(seeds, int) else tuple(seeds)
    return Grid(seeds=chosen, **PLAIN, networks=networks, **shared) + Grid(
        seeds=chosen, **DROPPED, networks=MEMBERS, **shared
    )
