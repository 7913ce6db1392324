"""What Jacobians mean, in plain sentences."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

from deepscope.core import Finding, Severity

if TYPE_CHECKING:
    from deepscope.instruments._jacobian_reading import Jacobian, LayerJacobian

#: Factors between a relative change of the input and what comes out of a layer with weights, beyond which signals are
#: said to vanish or explode. A map that keeps proportions, as a homogeneous one does in the mean, has 1; of twenty
#: healthy networks, fresh and trained, all layers with weights lay between 0.05 and 1.4.
VANISHED, EXPLODED = 1e-3, 1e2
#: Fewest samples, and layers with weights, over which growth is told.
FEWEST, DEPTH = 2, 2
#: Share of the whole change, on a logarithmic scale, from which one layer is named for it.
_ALONE = 0.5
_LARGER = "Initialise with larger weights or smaller biases (χ near 1), add residual connections or normalisation."


def jacobian_findings(reading: Jacobian) -> tuple[Finding, ...]:
    """Draw findings from a reading, worst first."""
    return tuple(sorted(_all(reading), key=lambda finding: finding.rank))


def _finding(severity: Severity, where: str, message: str, evidence: str, source: str, action: str) -> Finding:
    return Finding(severity, "jacobian", where, message, evidence, source, action)


def _all(reading: Jacobian) -> Iterator[Finding]:
    cut = next((each for each in reading.layers if each.gain == 0), None)
    if reading.frobenius.any():
        if cut is not None:
            yield _round_it(reading, cut)
        yield from _growth(reading)
    elif _faded(reading, cut):
        yield _finding(
            "note",
            "",
            "Changes of the input die out on their way through the layers, until float numbers hold nothing of them.",
            f"the Jacobian is 0 at all {reading.n_samples} samples, and layer by layer it had all but gone before",
            "schoenholz2017deep",
            _LARGER,
        )
    elif cut is not None:
        yield _finding(
            "problem",
            cut.name,
            f"Nothing of a change of the input comes through {_called(cut)}: behind it all samples look alike nearby.",
            f"the Jacobian from the input to its {cut.outputs:,} outputs is 0 at all {reading.n_layer_samples} samples",
            "saxe2014exact",
            "Look for dead or saturated units and for weights of zero there (health, anatomy).",
        )
    else:
        yield _finding(
            "problem",
            "",
            "The outputs do not change with the input at any of the samples.",
            f"the Jacobian is 0 at all {reading.n_samples} samples",
            "saxe2014exact",
            "Look for dead or saturated units (health) and for detach or rounding in the forward pass.",
        )
    yield from _chaos(reading)


def _round_it(reading: Jacobian, cut: LayerJacobian) -> Finding:
    """Note a branch that is shut, as one is that begins at zero: others carry what comes through."""
    return _finding(
        "note",
        cut.name,
        f"Nothing of a change of the input comes through {_called(cut)}: what reaches the outputs goes round it, or "
        "comes with other samples.",
        f"the Jacobian from the input to its {cut.outputs:,} outputs is 0 at all {reading.n_layer_samples} samples, "
        "that to the network's outputs is not",
        "saxe2014exact",
        "Nothing to do where a branch begins with weights of zero; else look at its units (health, anatomy).",
    )


def _faded(reading: Jacobian, cut: LayerJacobian | None) -> bool:
    """Whether changes had all but gone before the layer behind which nothing is left of them."""
    if all(each.gain is None for each in reading.layers):
        chis = [each.chi for each in reading.layers if each.has_weights and each.chi is not None]
        return bool(chis) and min(chis) > 0 and sum(map(math.log, chis)) < 2 * math.log(VANISHED)
    before = itertools.takewhile(lambda each: each is not cut, reading.layers)
    return any(each.sensitivity is not None and each.sensitivity < VANISHED for each in before)


def _growth(reading: Jacobian) -> Iterator[Finding]:
    # Behind a last layer with weights a softmax may saturate, as it does in a network that is sure of itself.
    chain = [each for each in reading.layers if each.has_weights and each.sensitivity is not None]
    if len(chain) < DEPTH or reading.n_layer_samples < FEWEST:
        return
    last = chain[-1]
    assert last.sensitivity is not None
    low, high = last.sensitivity_low, last.sensitivity_high
    if low is None or high is None:
        return
    if not (high < VANISHED or low > EXPLODED):
        return
    where, told = _steepest(chain)
    # All layers together is how a deep network begins that is initialised so; one alone is a fault.
    severity: Severity = "warning" if where else "note"
    rate = last.sensitivity ** (1 / len(chain))
    evidence = (
        f"a relative change of the input is multiplied by {last.sensitivity:.2g} ({low:.2g} to {high:.2g}) at "
        f"{last.name}, {rate:.2g} for each of {len(chain)} layers with weights; 1 keeps proportions{told}"
    )
    if high < VANISHED:
        yield _finding(
            severity,
            where,
            "Changes of the input die out on their way through the layers: the outputs hardly depend on it.",
            evidence,
            "schoenholz2017deep",
            _LARGER,
        )
    else:
        yield _finding(
            severity,
            where,
            "Small changes of the input grow on their way through the layers: the outputs are nearly chaotic in it.",
            evidence,
            "poole2016exponential",
            "Initialise with smaller weights (χ near 1), add normalisation, or lower the learning rate.",
        )


def _steepest(chain: list[LayerJacobian]) -> tuple[str, str]:
    """Name the layer at which most of the change happens, where it is most."""
    logs = [0.0, *(math.log(each.sensitivity) for each in chain if each.sensitivity)]
    steps = [after - before for before, after in itertools.pairwise(logs)]
    at = max(range(len(steps)), key=lambda i: steps[i] * math.copysign(1, logs[-1]))
    if abs(steps[at]) < _ALONE * abs(logs[-1]):
        return "", ""
    return chain[at].name, f"; {math.exp(steps[at]):.2g} of it at {chain[at].name} alone"


def _chaos(reading: Jacobian) -> Iterator[Finding]:
    for each in reading.recurrent:
        value, low, high = (float(ends[0]) for ends in (each.spectrum.exponents, each.spectrum.low, each.spectrum.high))
        if not low > 0:
            continue
        part = f" ({each.part})" if each.part else ""
        yield _finding(
            "note",
            each.name,
            "The recurrent layer is chaotic on these sequences: nearby states part, and gradients through time grow.",
            f"largest Lyapunov exponent{part} {value:.3g} per step ({low:.3g} to {high:.3g}, over "
            f"{each.spectrum.over}), {each.spectrum.n_steps} steps; 0 divides forgetting from chaos",
            "vogt2022lyapunov",
            "Clip gradients, or initialise the recurrent weights smaller or orthogonal, if training does not settle.",
        )


def _called(layer: LayerJacobian) -> str:
    return layer.name if layer.name == layer.kind else f"{layer.name} ({layer.kind})"
