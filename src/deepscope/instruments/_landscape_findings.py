"""What a landscape means, in plain words."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from deepscope.core import Finding, Severity

if TYPE_CHECKING:
    from deepscope.instruments._landscape_reading import Landscape

#: Differences below this share of the loss at the network are passed over.
_TELLING = 0.1
#: A layer is called the most fragile where it alone makes the loss rise by this many times the next one's rise.
_FRAGILE = 3.0


def landscape_findings(seen: Landscape) -> tuple[Finding, ...]:
    """Return all findings of a landscape, worst first."""
    found = [*_lower(seen), *_not_finite(seen), *_width(seen), *_fragile(seen), *_skewed(seen), *_marked(seen)]
    return tuple(sorted(found, key=lambda each: each.rank))


def _finding(
    severity: Severity, message: str, evidence: str, *, where: str = "", source: str = "", action: str = ""
) -> Finding:
    return Finding(severity, "landscape", where, message, evidence, source, action)


def _lower(seen: Landscape) -> Iterator[Finding]:
    lowest = seen.lowest
    if lowest.high is None or lowest.low is None or lowest.high >= 0:
        return
    share = -lowest.difference / abs(seen.centre_loss) if seen.centre_loss else np.inf
    at = _place(lowest.coordinates)
    evidence = (
        f"loss {seen.centre_loss + lowest.difference:.4g} at {at}, {seen.centre_loss:.4g} at the network; difference "
        f"{lowest.difference:.3g} [{lowest.low:.3g}, {lowest.high:.3g}], corrected for {seen.losses.size} points"
    )
    if seen.kind in ("random", "given") and share >= _TELLING:
        yield _finding(
            "warning",
            f"The network does not stand in a minimum: the loss is {share:.0%} lower close by.",
            evidence,
            source="goodfellow2015qualitatively",
            action="Train on, with a smaller learning rate; or look whether these are the data it was trained for.",
        )
    else:
        yield _finding("note", f"The loss is lower elsewhere on the grid, by {share:.0%}.", evidence)


def _not_finite(seen: Landscape) -> Iterator[Finding]:
    if not seen.status:
        return
    profile = seen.profile()
    rings = np.unique(np.abs(seen.coordinates))
    nearest = float(rings[~np.isfinite(profile)][0])
    yield _finding(
        "warning" if nearest <= rings[-1] / 2 else "note",
        "The loss is not finite close to the network."
        if nearest <= rings[-1] / 2
        else "The loss is not finite far out.",
        f"{seen.status}, the nearest at a coordinate of {nearest:.3g}",
        action="Look for logarithms, roots and exponentials that nothing bounds; or measure with dtype=torch.float64.",
    )


def _width(seen: Landscape) -> Iterator[Finding]:
    if seen.kind != "random" or seen.normalise != "filter":
        return
    profile = seen.profile()
    edge = profile[-1]
    evidence = f"mean loss {seen.centre_loss:.4g} at the network" + (
        f", {edge:.4g} where every filter has moved by {seen.coordinates[-1]:.0%} of its norm or more"
        if np.isfinite(edge)
        else ""
    )
    far, first = seen.doubling(), float(np.unique(np.abs(seen.coordinates))[1])
    if far is not None and far < first:
        # Between the network and its neighbours no straight line tells where: the loss rises like a square.
        message = f"The loss doubles before every filter has been moved at random by {first:.0%} of its norm."
        evidence += f"; {profile[1]:.4g} at the first grid points"
    elif far is not None:
        message = f"The loss doubles when every filter is moved at random by about {far:.0%} of its norm."
    elif np.isfinite(edge) and edge < 2 * seen.centre_loss:
        message = "The loss stays below twice its value as far as was looked, in random directions."
    else:
        return
    yield _finding("note", message, evidence, source="li2018visualizing")


def _fragile(seen: Landscape) -> Iterator[Finding]:
    rises = sorted(((each.rise, each.name) for each in seen.layers if each.rise is not None), reverse=True)
    if (
        len(rises) < 2
        or rises[0][0] < _FRAGILE * max(rises[1][0], 0.0)
        or rises[0][0] <= _TELLING * abs(seen.centre_loss)
    ):
        return
    (rise, name), (next_rise, next_name) = rises[:2]
    yield _finding(
        "note",
        f"Noise in the weights does most harm in {name}.",
        f"the loss rises by {rise:.3g} when {name} alone is moved, by {next_rise:.3g} for {next_name}, the next",
        where=name,
    )


def _skewed(seen: Landscape) -> Iterator[Finding]:
    if seen.direction_cosine is not None and abs(seen.direction_cosine) > 0.1:
        yield _finding(
            "note",
            "The two directions are not at right angles: distances differ from those in the picture.",
            f"cosine {seen.direction_cosine:.2f}",
        )


def _marked(seen: Landscape) -> Iterator[Finding]:
    if seen.kind == "path" and seen.explained is not None:
        share = sum(seen.explained)
        yield _finding(
            "note",
            f"The picture holds {share:.0%} of the training path's variance.",
            f"principal components {', '.join(f'{each:.1%}' for each in seen.explained)}; the networks lie up to "
            f"{max(mark.distance for mark in seen.marks):.3g} away from it",
            source="li2018visualizing",
        )
    if seen.kind != "networks" or seen.marks[0].loss is None:
        return
    along = seen.losses if seen.losses.ndim == 1 else seen.losses[:, np.flatnonzero(seen.coordinates == 0)[0]]
    between = along[(seen.coordinates >= 0) & (seen.coordinates <= 1)]
    if np.isfinite(between).all():
        yield _finding(
            "note",
            f"On the straight way to {seen.marks[0].name} the loss reaches {between.max():.4g}.",
            f"{seen.centre_loss:.4g} at the one end, {seen.marks[0].loss:.4g} at the other",
            source="goodfellow2015qualitatively",
            action="Use mode_connectivity for the barrier with its interval, and for a curve around it.",
        )


def _place(coordinates: tuple[float, ...]) -> str:
    return f"({', '.join(f'{each:.3g}' for each in coordinates)})" if len(coordinates) > 1 else f"{coordinates[0]:.3g}"
