"""What representations mean, in plain sentences."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from deepscope.core import Finding, Severity

if TYPE_CHECKING:
    from deepscope.instruments._representation_reading import Representation
    from deepscope.instruments._representation_row import LayerRepresentation

#: Fewest samples from which a layer is said to have lost the classes.
_FEWEST = 64
#: Layers whose alignment is at least this represent the data alike.
_ALIKE = 0.95
#: Variance within classes over that between them below which they are called gathered.
_GATHERED = 0.1
#: An estimate of the intrinsic dimension above this is known to be too low.
_HIGH = 5.5


def representation_findings(found: Representation) -> tuple[Finding, ...]:
    """Draw findings from a reading, worst first."""
    return tuple(sorted(_all(found), key=lambda finding: finding.rank))


def _finding(severity: Severity, where: str, message: str, evidence: str, source: str, action: str) -> Finding:
    return Finding(severity, "representation", where, message, evidence, source, action)


def _all(found: Representation) -> Iterator[Finding]:
    yield from _lost(found)
    yield from _probe(found.layers)
    yield from _gathered(found)
    if found.other is None:
        yield from _alike(found)
    else:
        yield from _counterparts(found)
    yield from _dimension(found)


def _reads(layer: LayerRepresentation) -> bool:
    """Whether a probe reads the classes from a layer."""
    return layer.probe_low is not None and layer.probe_null_high is not None and layer.probe_low > layer.probe_null_high


def _is_blind(layer: LayerRepresentation) -> bool:
    """Whether a probe does no better on a layer than on labels in random order, or has nothing to read."""
    if layer.probe_accuracy is None or layer.probe_null_high is None:
        return layer.status == "the same for all samples"
    return layer.probe_accuracy <= layer.probe_null_high


def first_lost(layers: Sequence[LayerRepresentation]) -> int | None:
    """Return which layer is the first from which on none tells of the classes, though the one before it does."""
    first = len(layers)
    while first and _is_blind(layers[first - 1]):
        first -= 1
    return first if 0 < first < len(layers) and _reads(layers[first - 1]) else None


def _lost(found: Representation) -> Iterator[Finding]:
    layers = found.layers
    first = first_lost(layers)
    if first is None or found.n_samples < _FEWEST:
        return
    before, lost = layers[first - 1], layers[first]
    assert before.probe_null_high is not None
    # Through few units even weights that were never trained let nothing pass.
    random = found.random_weights
    more = random is not None and random > before.probe_null_high
    reached = f"from {lost.name} {lost.probe_accuracy:.1%}" if lost.probe_accuracy is not None else lost.status
    yield _finding(
        "problem" if more else "note",
        lost.name.partition("#")[0],
        f"A linear readout tells the classes from what {_called(before)} puts out, and no better than chance from "
        f"{_called(lost)} and all behind it: they are lost there"
        + ("." if more else ", as random weights might lose them."),
        f"held-out accuracy from {before.name} {before.probe_accuracy:.1%} ({before.probe_low:.1%} to "
        f"{before.probe_high:.1%}), {reached}; labels in random order reach {before.probe_null_high:.1%} in one of "
        "twenty" + (f", and {random:.1%} is left by the worst of 19 layers of random weights" if random else ""),
        "alain2017understanding",
        "Look for dead units or weights of zero in that layer (health, anatomy), or initialise it anew."
        if more
        else "Expected of few units before training.",
    )


def _probe(layers: Sequence[LayerRepresentation]) -> Iterator[Finding]:
    probed = [each for each in layers if each.probe_accuracy is not None and _reads(each)]
    if len(probed) < 2:
        return
    best, last = max(probed, key=lambda each: each.probe_low or 0.0), layers[-1]
    behind = best is not last and last.probe_high is not None and last.probe_high < (best.probe_low or 0.0)
    yield _finding(
        "note",
        best.name.partition("#")[0],
        f"A linear readout of {_called(best)} tells the classes better than one of the last layer does."
        if behind
        else f"The classes can be read linearly from {_called(best)}, better than from labels in random order.",
        f"held-out accuracy {best.probe_accuracy:.1%} ({best.probe_low:.1%} to {best.probe_high:.1%})"
        + (f", from {last.name} {last.probe_accuracy:.1%}" if behind else "")
        + f"; labels in random order reach {best.probe_null_high:.1%} in one of twenty",
        "alain2017understanding",
        "Use this layer's outputs where features are wanted.",
    )


def _gathered(found: Representation) -> Iterator[Finding]:
    collapse = found.collapse
    layer = next((each for each in found.layers if each.name == found.head), None)
    if collapse is None or layer is None or found.head is None or not collapse.within < _GATHERED:
        return
    yield _finding(
        "note",
        found.head,
        f"The classes are gathered around their means in what {_called(layer)} is given.",
        f"NC1 {collapse.within:.2g}, the variance within classes over that between them; NC2 {collapse.norms:.2g} and "
        f"{collapse.angles:.2g}"
        + (f"; NC3 {collapse.duality:.2g}, NC4 {collapse.disagreement:.1%}" if collapse.duality is not None else "")
        + "; all are 0 at complete collapse",
        "papyan2020prevalence",
        "Expected at the end of training to a loss of zero; what is left to learn is in few samples.",
    )


def _alike(found: Representation) -> Iterator[Finding]:
    best: tuple[int, int] = (0, 0)
    error = np.nan_to_num(found.cka_stderr, nan=0.0)
    alike = np.nan_to_num(found.cka, nan=0.0) - 1.96 * error > _ALIKE
    np.fill_diagonal(alike, True)
    for start in range(len(alike)):
        stop = start + 1
        while stop < len(alike) and alike[start : stop + 1, start : stop + 1].all():
            stop += 1
        if stop - start > best[1] - best[0]:
            best = (start, stop)
    start, stop = best
    weighted = [each for each in found.layers[start:stop] if each.kind in _MIXING]
    if len(weighted) < 3:
        return
    block = found.cka[start:stop, start:stop]
    yield _finding(
        "note",
        found.layers[start].name.partition("#")[0],
        f"The layers from {_called(found.layers[start])} to {_called(found.layers[stop - 1])} represent the data "
        "alike.",
        f"{stop - start} layers, {len(weighted)} of them with weights; centred kernel alignment at least "
        f"{np.nanmin(block):.3g} between any two, where independent representations have 0",
        "nguyen2021wide",
        "Some of them may do without: compare with a network of fewer layers.",
    )


_MIXING = ("Linear", "Conv1d", "Conv2d", "Conv3d", "MultiheadAttention", "LSTM", "GRU", "RNN")


def _counterparts(found: Representation) -> Iterator[Finding]:
    if not found.cka.size or not np.isfinite(found.cka).any():
        return
    i, j = np.unravel_index(np.nanargmax(found.cka), found.cka.shape)
    best = np.nanmax(np.where(np.isfinite(found.cka), found.cka, -1.0), axis=1)
    yield _finding(
        "note",
        found.layers[i].name.partition("#")[0],
        f"Most like a layer of {found.other} is {_called(found.layers[i])}: like its {found.other_layers[j]}.",
        f"centred kernel alignment {found.cka[i, j]:.3g}, {_MEAN.format(best[best > -1].mean())}; independent "
        "representations have 0",
        "kornblith2019similarity",
        "The matrix shows which layers correspond.",
    )


_MEAN = "{:.3g} in the mean over layers with the most similar one"


def _dimension(found: Representation) -> Iterator[Finding]:
    known = [each for each in found.layers if each.intrinsic_dimension is not None]
    if len(known) < 2:
        return
    top, last = max(known, key=lambda each: each.intrinsic_dimension or 0.0), known[-1]
    if (last.intrinsic_dimension_high or 0.0) < (top.intrinsic_dimension_low or 0.0):
        high = (top.intrinsic_dimension or 0.0) > _HIGH
        yield _finding(
            "note",
            top.name.partition("#")[0],
            f"The data depends on most coordinates at {_called(top)}, and on fewer at the last layer.",
            f"intrinsic dimension {top.intrinsic_dimension:.2g} ({top.intrinsic_dimension_low:.2g} to "
            f"{top.intrinsic_dimension_high:.2g}), then {last.intrinsic_dimension:.2g} "
            f"({last.intrinsic_dimension_low:.2g} to {last.intrinsic_dimension_high:.2g})"
            + ("; estimates above five are too low" if high else ""),
            "ansuini2019intrinsic",
            "Compare with the network before training, in which dimensions hardly fall.",
        )


def _called(layer: LayerRepresentation) -> str:
    return f"{layer.name} ({layer.kind})" if layer.name else f"the network ({layer.kind})"
