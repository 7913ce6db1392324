"""What the linear regions of a network mean, in plain sentences."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import comb
from typing import TYPE_CHECKING

from deepscope.core import Finding

if TYPE_CHECKING:
    from deepscope.instruments._regions_reading import LayerRegions, Regions

#: A unit that is open for one sample in ten, or for nine in ten, has one state on all of three samples with probability
#: 0.1³ + 0.9³ = 0.73; that none of so many independent ones tells them apart has 0.73¹⁶ = 0.7 %.
FEWEST_UNITS = 16
_NAMED = 3


def regions_findings(regions: Regions) -> tuple[Finding, ...]:
    """Draw findings from a reading, worst first."""
    return tuple(sorted(_all(regions), key=lambda finding: finding.rank))


def _all(regions: Regions) -> Iterator[Finding]:
    if _holds_samples(regions) and regions.complete:
        still = [each for each in regions.layers if each.cutting == 0 and each.units >= FEWEST_UNITS]
        stuck = [each for each in still if each.on_one_side]
        # What lies behind a layer on one side may be still because of it.
        if stuck:
            yield _stuck(regions, stuck)
        elif still:
            yield _still(regions, still)
    dimensions = 1 if regions.kind == "line" else 2
    most = sum(comb(regions.n_kinks, i) for i in range(dimensions + 1))
    if not regions.complete:
        yield Finding(
            "note",
            "regions",
            "",
            f"The network has more linear pieces on {regions.slice} than were counted.",
            f"counting stopped at {regions.count:,}",
            "hanin2019complexity",
            "Give a larger max_regions, a smaller extent or a line.",
        )
    elif regions.count > most:
        yield Finding(
            "note",
            "regions",
            "",
            "The network has more linear pieces than one hidden layer of as many units can have: its layers fold the "
            "input.",
            f"{regions.count:,} regions of {regions.slice}; one layer with {regions.n_kinks:,} kinks has at most "
            f"{most:,}",
            "montufar2014number",
            "Nothing to do: it tells that depth is made use of.",
        )
    elif regions.n_kinks:
        yield Finding(
            "note",
            "regions",
            "",
            f"On {regions.slice} the network is {regions.count:,} linear piece{'' if regions.count == 1 else 's'}.",
            f"one layer with {regions.n_kinks:,} kinks in general position has {most:,}, however large the slice",
            "hanin2019complexity",
            "Compare with the network before training, on the same slice.",
        )
    else:
        yield Finding(
            "note",
            "regions",
            "",
            "The network is one linear map: nothing in it has a kink.",
            f"one region of {regions.slice}, and inside it the outputs are affine",
            "montufar2014number",
            "Put activation functions between its layers where more than a linear map was meant.",
        )


def _holds_samples(regions: Regions) -> bool:
    """Whether the slice is made by the data: one that the user gave may well be one on which a layer is linear."""
    return bool(regions.samples) and regions.extent >= 1


def _stuck(regions: Regions, layers: Sequence[LayerRegions]) -> Finding:
    layer = layers[0]
    return Finding(
        "warning",
        "regions",
        layer.name,
        f"No unit of {layer.name} ({layer.kind}) switches on {regions.slice}, and all are on one side: there the layer "
        "is a linear map.",
        f"0 of {layer.units:,} units{_also(layers)}; were each of them open for one sample in ten, or in nine of ten, "
        f"all would miss these three with a probability of {max((0.1**3 + 0.9**3) ** layer.units, 1e-9):.1g}",
        "hanin2019complexity",
        "Look whether its units are dead or always open (health); lower the learning rate, or start anew with "
        "normalised inputs and biases of zero.",
    )


def _still(regions: Regions, layers: Sequence[LayerRegions]) -> Finding:
    layer = layers[0]
    return Finding(
        "note",
        "regions",
        layer.name,
        f"No unit of {layer.name} ({layer.kind}) switches on {regions.slice}: there the layer is a linear map.",
        f"0 of {layer.units:,} units, some of them open and some closed{_also(layers)}",
        "hanin2019complexity",
        "Look whether signals die out before it (jacobian): deep networks begin so without residual connections or "
        "normalisation.",
    )


def _also(layers: Sequence[LayerRegions]) -> str:
    others = [each.name for each in layers[1:]]
    return f"; likewise {', '.join(others[:_NAMED])}{' …' if len(others) > _NAMED else ''}" if others else ""
