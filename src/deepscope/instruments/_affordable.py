"""What of an effort a network's size allows: a budget is meant in time, and is written down in samples."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

#: Samples of which an estimate is worth its other expenses; with fewer, those are cut first.
ENOUGH = 32
#: Fewer samples than these say nothing about the data, whatever they cost.
FEWEST = 16
#: Where so many can be had, all are asked for.
AS_GOOD_AS_ALL = 10**6

Keywords = Mapping[str, Any]


def affordable(
    efforts: Sequence[Keywords], samples: str, price: Callable[[Keywords], float], operations: float
) -> Keywords:
    """Return the first effort of which enough samples can be had, or else the last; with as many samples as can be had.

    Parameters
    ----------
    efforts
        From the dearest on: what is asked for, and what to do without.
    samples
        The keyword that says how many samples; its value may be None, for all.
    price
        Operations that a sample takes at an effort.
    operations
        How many there are.

    Examples
    --------
    >>> efforts = [{"points": 15, "n": 512}, {"points": 11, "n": 512}]
    >>> [dict(affordable(efforts, "n", lambda each: each["points"] ** 2, have)) for have in (2e5, 2e4, 5e3, 1e2)]
    [{'points': 15, 'n': 512}, {'points': 15, 'n': 88}, {'points': 11, 'n': 41}, {'points': 11, 'n': 16}]
    """
    for effort in efforts:
        most = AS_GOOD_AS_ALL if effort[samples] is None else effort[samples]
        allowed = operations / price(effort)
        if allowed >= most:
            return effort
        if allowed >= ENOUGH or effort is efforts[-1]:
            return {**effort, samples: int(min(most, max(FEWEST, allowed)))}
    raise AssertionError("no effort was given")
