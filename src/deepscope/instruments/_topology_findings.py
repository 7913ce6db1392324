"""What the shapes of classes mean, in plain sentences."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from deepscope.core import Finding, Severity

if TYPE_CHECKING:
    from deepscope.instruments._topology_clouds import ClassesOverGroups
    from deepscope.instruments._topology_reading import LayerTopology, Topology

#: One reading in twenty of classes that are random shows anything at any layer.
_LEVEL = 0.05
#: So many of a class's subsamples must agree on a loop or a part.
_AGREE = 0.75
#: Nearer to 1 than this a ratio is no matter, however certain.
_CLOSER = 0.95
_NAMED = 3
ONE_POINT = "all samples are one point"
FADED, SAME_INPUTS = f"{ONE_POINT}, as they nearly were before", f"{ONE_POINT}: so are the inputs"
#: Samples are nearly one point where they lie closer than this to one of them, as a share of the longest.
CLOSE = 1e-3


def topology_findings(topology: Topology) -> tuple[Finding, ...]:
    """Draw findings from a reading, worst first."""
    return tuple(sorted(_all(topology), key=lambda finding: finding.rank))


def _all(topology: Topology) -> Iterator[Finding]:
    yield from _one_point(topology)
    if topology.by_class:
        yield from _separation(topology)
    yield from _several(topology, 0)
    for dimension in range(1, topology.max_dimension + 1):
        yield from _several(topology, dimension)


def _finding(severity: Severity, where: str, message: str, evidence: str, source: str, action: str) -> Finding:
    # A later use of a module is a row of its own; the place is the module.
    return Finding(severity, "topology", where.split("#")[0], message, evidence, source, action)


def _one_point(topology: Topology) -> Iterator[Finding]:
    silent = [layer for layer in topology.layers if layer.status in (ONE_POINT, FADED, SAME_INPUTS)]
    if not silent:
        return
    first, others = silent[0], [layer.name for layer in silent[1:]]
    also = f"; likewise {', '.join(others[:_NAMED])}{' …' if len(others) > _NAMED else ''}" if others else ""
    evidence = f"the diameter of {topology.n_samples:,} samples is 0 but for rounding{also}"
    behind = topology.layers[topology.layers.index(first) + 1 :]
    apart = next((layer for layer in behind if layer not in silent and layer.shape is not None), None)
    if apart is not None:
        yield _finding(
            "note",
            first.name,
            f"{_called(first)} puts out the same for all samples, and layers behind it tell them apart all the same.",
            f"{evidence}; not {apart.name}",
            "",
            "Nothing to do for an embedding of what samples share, or a branch that begins at zero.",
        )
    elif first.status == SAME_INPUTS:
        yield _finding(
            "note",
            first.name,
            "All samples are the same: they have no shape.",
            evidence,
            "",
            "Give data that differ.",
        )
    elif first.status == FADED:
        yield _finding(
            "note",
            first.name,
            f"What tells samples apart dies out on its way through the layers, until at {_called(first)} none is left.",
            f"{evidence}; at the layer before it was below {CLOSE:g} of the largest sample",
            "schoenholz2017deep",
            "Initialise with larger weights or smaller biases, add residual connections or normalisation.",
        )
    else:
        yield _finding(
            "warning",
            first.name,
            f"{_called(first)} puts out the same for all samples: nothing behind it can tell them apart.",
            evidence,
            "",
            "Look for dead or saturated units (health) and for weights of zero (anatomy).",
        )


def _separation(topology: Topology) -> Iterator[Finding]:
    found = list(topology.separation.items())
    # Every layer is a test of its own.
    apart = [index for index, (_, each) in enumerate(found) if _closer(each, _LEVEL / len(found))]
    if not apart:
        return
    (first_name, first), (last_name, last) = found[0], found[-1]
    if last.ratio.high < first.ratio.low:
        message = f"The network gathers classes: their samples are closer together at {last_name} than at {first_name}."
    elif last.ratio.low > first.ratio.high:
        message = (
            f"The network does not gather classes: their samples are closer together at {first_name} than at "
            f"{last_name}."
        )
    else:
        message = (
            f"Samples of one class are closer together than samples of any class, at {found[apart[-1]][0]} as well."
        )
    among = f"; beyond the null in {len(apart)} of {len(found)} layers"
    yield _finding(
        "note",
        last_name,
        message,
        f"at {first_name} {_evidence(first)}; at {last_name} {_evidence(last)}{among}",
        "naitzat2020topology",
        "Compare with the network before training, and with one trained on shuffled labels.",
    )
    if apart[-1] < len(found) - 1 and not _closer(last, _LEVEL):
        lost, _ = found[apart[-1] + 1]
        name, best = min((found[index] for index in apart), key=lambda each: each[1].ratio.value)
        yield _finding(
            "note",
            lost,
            f"Classes that are told apart in earlier layers are mixed from {lost} on.",
            f"at {name} {_evidence(best)}; at {last_name} {_evidence(last)}",
            "naitzat2020topology",
            f"Look at what {lost} does (anatomy, spectrum), and whether the network was trained on these labels.",
        )


def _closer(each: ClassesOverGroups, level: float) -> bool:
    return each.ratio.value < _CLOSER and each.p_value < level


def _evidence(each: ClassesOverGroups) -> str:
    return (
        f"gaps of classes are {each.ratio.value:.3g} ({each.ratio.low:.3g} to {each.ratio.high:.3g}) times those of "
        f"random clouds, of which 95 % lie from {each.null_low:.3g} to {each.null_high:.3g}"
    )


def _several(topology: Topology, dimension: int) -> Iterator[Finding]:
    """Say which classes have several parts, or loops, and whether they keep them to the end."""
    fewest, noun = ((1, "parts"), (0, "loops"), (0, "voids"))[dimension]
    having = [
        (layer.name, [(name, cloud.betti[dimension]) for name, cloud in layer.shape.classes.items()
                      if cloud.betti[dimension] > fewest and cloud.agreement >= _AGREE])
        for layer in topology.layers if layer.shape is not None
    ]  # fmt: skip
    places = [index for index, (_, clouds) in enumerate(having) if clouds]
    if not places:
        return
    first, clouds = having[places[0]]
    which = "; ".join(f"{_cloud(topology, name)} {count}" for name, count in clouds[:_NAMED])
    more = f" and {len(clouds) - _NAMED} more" if len(clouds) > _NAMED else ""
    kept = places[-1] == len(having) - 1
    what = noun if dimension else "several parts"
    end = "and still at the last layer" if kept else f"and no more from {having[places[-1] + 1][0]} on"
    yield _finding(
        "note",
        first,
        f"Some clouds have {what} that are more than noise, first at {first}, {end}.",
        f"{noun}: {which}{more}, at {first}; in {len(places)} of {len(having)} layers; each in {_AGREE:.0%} of its "
        f"subsamples or more, noise in at most one of twenty",
        "bobrowski2023universal",
        "Look at which samples make up each part: hidden subclasses and wrong labels look so."
        if dimension == 0
        else "Look at what changes along it: a quantity that comes back to itself, such as an angle, makes a loop.",
    )


def _cloud(topology: Topology, name: str) -> str:
    return f"class {name}" if topology.by_class else "all samples"


def _called(layer: LayerTopology) -> str:
    return layer.name if layer.name == layer.kind else f"{layer.name} ({layer.kind})"
