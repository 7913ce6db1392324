"""What a network's layers hold, in plain sentences."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import takewhile
from typing import TYPE_CHECKING

from deepscope.core import Finding, Severity

if TYPE_CHECKING:
    from deepscope.instruments._information_layer import LayerInformation
    from deepscope.instruments._information_reading import Information

#: Fewer samples may hide what is there.
FEWEST = 64
#: The data must tell of the labels beyond doubt before a layer is said to have lost them.
_BEYOND_DOUBT = 3
#: Layers that a finding lists by name.
_LISTED = 3


def information_findings(reading: Information) -> tuple[Finding, ...]:
    """Draw findings from a reading, worst first."""
    return tuple(sorted(_all(reading), key=lambda finding: finding.rank))


def _finding(severity: Severity, where: str, message: str, evidence: str, source: str, action: str) -> Finding:
    return Finding(severity, "information", where, message, evidence, source, action)


def _all(reading: Information) -> Iterator[Finding]:
    yield from _constant(reading)
    yield from _lost(reading)
    yield from _half_lost(reading)
    yield from _labels(reading)
    yield from _infinite(reading)
    yield from _saturated(reading)


def _constant(reading: Information) -> Iterator[Finding]:
    """Say which layers are the same for all samples: the output's is a fault, a table of positions may be so."""
    constant = [each for each in reading.layers if each.constant]
    if reading.n_samples < 2 or not (constant or reading.output_constant):
        return
    evidence = f"of {reading.n_samples} different samples all outputs are equal"
    action = "Look for dead units (health) and for weights of zero or of great size before it."
    if reading.output_constant:
        ends = list(takewhile(lambda each: each.constant, reversed(reading.layers)))[::-1]
        where = _place(ends[0]) if ends else ""
        start = f"From {_called(ends[0])} on the network" if ends else "The network"
        message = f"{start} puts out the same for all samples: it knows nothing of its input."
        yield _finding("problem", where, message, f"{evidence}{_also(ends[1:])}", "saxe2018information", action)
        constant = [each for each in constant if each not in ends]
    if constant:
        message = f"{_called(constant[0])} puts out the same for all samples."
        yield _finding(
            "note", _place(constant[0]), message, f"{evidence}{_also(constant[1:])}", "saxe2018information", action
        )


def _lost(reading: Information) -> Iterator[Finding]:
    """Say where what the data tells of the labels is gone, up to the output: random weights may lose it, too."""
    data, output = reading.data, reading.output
    if data is None or reading.partial or reading.output_constant or reading.n_samples < FEWEST:
        return
    if data.bits - data.null_high < _BEYOND_DOUBT * data.stderr or not data.beats_null:
        return
    if output is not None and output.beats_null:
        return
    first: LayerInformation | None = None
    for layer in reversed(reading.layers):
        found = layer.estimates("labels")
        if not found or any(each.beats_null for each in found.values()):
            break
        first = layer
    if first is None or first.labels_ksg is None:
        return
    ksg = first.labels_ksg
    yield _finding(
        "note",
        _place(first),
        f"From {_called(first)} on nothing is found of the labels, although the inputs tell of them.",
        f"{ksg.bits:.2g} ± {1.96 * ksg.stderr:.2g} bits there by nearest neighbours, {ksg.null_high:.2g} with labels "
        "in random order, and no more than its null by any estimator; in the inputs "
        f"{data.bits:.2g} ± {1.96 * data.stderr:.2g} bits",
        "ross2014mutual",
        "Expected of few units before training; otherwise look at its weights: no later layer finds it again.",
    )


def _half_lost(reading: Information) -> Iterator[Finding]:
    """Say where the output keeps something of the labels, but less than half of what the inputs tell."""
    data, output = reading.data, reading.output
    if data is None or output is None or not output.beats_null or reading.n_samples < FEWEST:
        return
    # Of classes only: about values of which the inputs tell all, neighbours find as much as samples allow.
    if reading.labels_entropy is None or reading.output_constant:
        return
    short = data.bits / 2 - output.bits
    if short < _BEYOND_DOUBT * math.hypot(data.stderr / 2, output.stderr):
        return
    yield _finding(
        "note",
        "",
        "The network's output keeps less than half of what its inputs tell of the labels of these samples.",
        f"{output.bits:.3g} ± {1.96 * output.stderr:.2g} bits by nearest neighbours, of {data.bits:.3g} ± "
        f"{1.96 * data.stderr:.2g} in the inputs and {reading.labels_entropy:.3g} that labels have; labels in random "
        f"order {output.null_high:.2g}",
        "ross2014mutual",
        "See in which layer it is lost; a network that has fitted other labels, or has not been trained, looks so.",
    )


def _labels(reading: Information) -> Iterator[Finding]:
    layers = [each for each in reading.layers if each.labels_ksg is not None]
    found = reading.output if reading.output is not None else layers[-1].labels_ksg if layers else None
    if found is None:
        return
    place = "" if reading.output is not None else _place(layers[-1])
    name = "The network's output" if reading.output is not None else _called(layers[-1])
    most = f" of the {reading.labels_entropy:.3g} that labels have" if reading.labels_entropy is not None else ""
    above = sum(each.labels_ksg is not None and each.labels_ksg.beats_null for each in layers)
    data = reading.data
    inputs = f"; {data.bits:.3g} ± {1.96 * data.stderr:.2g} in the inputs" if data is not None else ""
    yield _finding(
        "note",
        place,
        f"{name} tells of the labels of these samples."
        if found.beats_null
        else f"{name} tells no more of the labels of these samples than of labels in random order.",
        f"{found.bits:.3g} ± {1.96 * found.stderr:.2g} bits{most} by nearest neighbours; labels in random order "
        f"{found.null_mean:.2g}, and {found.null_high:.2g} in one of twenty; above that in {above} of {len(layers)} "
        f"layers{inputs}; {found.status}",
        "ross2014mutual" if reading.labels_entropy is not None else "kraskov2004estimating",
        "Give samples it was not trained on: of its training set a network may know labels that mean nothing.",
    )


def _infinite(reading: Information) -> Iterator[Finding]:
    infinite = [each for each in reading.layers if each.inputs_truth.startswith("infinite")]
    if infinite:
        yield _finding(
            "note",
            "",
            "Layers hold infinitely much information about continuous inputs, of which they are functions: numbers for "
            "it measure bins, kernels and samples.",
            f"{len(infinite)} of {len(reading.layers)} layers ({_names(infinite)})",
            "amjad2020learning",
            "Compare such numbers only between layers and times with the same bins and samples, and beside the local "
            "rank.",
        )


def _saturated(reading: Information) -> Iterator[Finding]:
    saturated = [each for each in reading.layers if _is_saturated(each)]
    if saturated:
        yield _finding(
            "note",
            "",
            f"In {len(saturated)} of {len(reading.layers)} layers no two samples share their bins: counting says how "
            "many samples there are, and no more.",
            f"log₂ {reading.n_samples} = {math.log2(reading.n_samples):.3g} bits with {reading.bins} bins "
            f"({_names(saturated)})",
            "goldfeld2019estimating",
            "Look at the nearest neighbours and at the local rank there.",
        )


def _is_saturated(layer: LayerInformation) -> bool:
    return layer.inputs_binned is not None and layer.inputs_binned.status.startswith("saturated")


def _names(layers: Sequence[LayerInformation]) -> str:
    return ", ".join(each.name for each in layers[:_LISTED]) + (" …" if len(layers) > _LISTED else "")


def _also(others: Sequence[LayerInformation]) -> str:
    return f"; likewise {_names(others)}" if others else ""


def _place(layer: LayerInformation) -> str:
    return layer.name.split("#")[0]


def _called(layer: LayerInformation) -> str:
    return layer.kind if layer.name in ("", layer.kind) else f"{layer.name} ({layer.kind})"
