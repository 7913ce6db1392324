"""What symmetries mean, in plain sentences."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from deepscope.core import Finding, Severity
from deepscope.instruments._symmetry_scores import ALIKE, SymmetryError

if TYPE_CHECKING:
    from deepscope.instruments._symmetry_reading import FamilySymmetry, LayerSymmetry, Symmetry

#: Fewest samples of which it is said that the network cannot tell them apart.
FEWEST = 4
_SOURCE = "lenc2015understanding"


def symmetry_findings(symmetry: Symmetry) -> tuple[Finding, ...]:
    """Draw findings from a reading, worst first."""
    return tuple(sorted(_all(symmetry), key=lambda finding: finding.rank))


def _finding(severity: Severity, where: str, message: str, evidence: str, action: str) -> Finding:
    return Finding(severity, "symmetry", where, message, evidence, _SOURCE, action)


def _all(symmetry: Symmetry) -> Iterator[Finding]:
    alike = [family for family in symmetry.families if family.invariance.status == ALIKE]
    collapsed = [family.name for family in alike]
    if collapsed and symmetry.inputs_differ and symmetry.n_samples >= FEWEST:
        constant = [layer for layer in symmetry.layers if layer.invariance.status == ALIKE]
        where = f"; the first such layer is {_called(constant[0])}" if constant else ""
        evidence = (
            f"outputs of {symmetry.n_samples} different samples agree to rounding, plain and under "
            f"{', '.join(collapsed)}{where}"
        )
        # Deep networks whose signals die out begin so: what random weights do as well is no fault of these.
        if symmetry.n_networks and all(family.invariance.baseline is None for family in alike):
            yield _finding(
                "note",
                "",
                "The network puts out the same for all samples, and so it does with random weights.",
                f"{evidence}; the same of {symmetry.n_networks} networks with random weights",
                "Add residual connections or normalisation, or initialise with larger weights, if it does not train.",
            )
            return
        yield _finding(
            "problem",
            "",
            "The network puts out the same for all samples: it is symmetric because it ignores its input.",
            evidence,
            "Look for dead or saturated layers (health), and for weights of zeros (anatomy).",
        )
        return
    for family in symmetry.families:
        yield from _of_family(symmetry, family)


def _of_family(symmetry: Symmetry, family: FamilySymmetry) -> Iterator[Finding]:
    output = family.output
    if output.value is None:
        return
    symmetric = "equivariant" if family.kind == "equivariance" else "invariant"
    evidence = _evidence(symmetry, family, output)
    if output.is_exact:
        by = (
            ", with random weights too: it is built so, or begins so"
            if output.baseline_is_exact
            else ": its weights make it so, random ones do not"
            if output.baseline is not None
            else ""
        )
        yield _finding(
            "note",
            "",
            f"The network is {symmetric} under {family.name} to float accuracy{by}.",
            evidence,
            "Nothing to do; augmenting the data with these transformations teaches it nothing more.",
        )
        return
    if family.begins_symmetric:
        yield _finding(
            "note",
            "",
            f"The network begins {symmetric} under {family.name}, because what begins constant, such as biases of 0, "
            "is so; what it has learnt there ends that.",
            f"{evidence}; with random weights and its own values of what begins constant {family.own_constants:.2g}",
            "Nothing to do; if the task has this symmetry, leave these parameters out.",
        )
        return
    if output.is_broken:
        first = _first_broken(family)
        at = f", from {_called(first)} on" if first is not None else ""
        yield _finding(
            "warning",
            first.module if first is not None else "",
            f"Random weights make the network {symmetric} under {family.name}, and its own have broken that{at}.",
            evidence if first is None else f"{evidence}; {_of_layer(family, first)}",
            "Tie the weights that begin equal (share one parameter), or project them back; or accept that the symmetry "
            "is only where training begins.",
        )
        return
    if output.against_baseline:
        less = output.against_baseline == "less"
        yield _finding(
            "note",
            "",
            f"The network is {'less' if less else 'more'} {symmetric} under {family.name} than with random weights"
            f"{'' if less else ': it has learnt to be'}.",
            evidence,
            "If the task has this symmetry, augment the data with it, or build it in."
            if less
            else "Make sure that the task does not need what the network has learnt to ignore.",
        )
    yield from _lost(family)


def _lost(family: FamilySymmetry) -> Iterator[Finding]:
    """Say which layer ends a symmetry that those before it keep exactly."""
    known = [layer for layer in family.layers if layer.equivariance.value is not None]
    broken = _first_broken(family)
    # Every first layer without a bias follows these; it says nothing of the network.
    if family.name in ("signs", "scalings"):
        return
    if broken is None or not known or known[0] is broken:
        return
    before = known[: known.index(broken)]
    yield _finding(
        "note",
        broken.module,
        f"Layers follow {family.name} to float accuracy up to {_called(before[-1])}, and {_called(broken)} ends that.",
        f"{_of_layer(family, broken)}; at {_called(before[-1])} it is {before[-1].equivariance.value:.2g}",
        "Look at padding, strides and what the layer does by position, if the symmetry is wanted.",
    )


def _first_broken(family: FamilySymmetry) -> LayerSymmetry | None:
    known = [layer for layer in family.layers if layer.equivariance.value is not None]
    return next((layer for layer in known if not layer.equivariance.is_exact), None)


def _of_layer(family: FamilySymmetry, layer: LayerSymmetry) -> str:
    return f"the equivariance error of {_called(layer)} under {family.name} is {layer.equivariance.value:.2g}"


def _evidence(symmetry: Symmetry, family: FamilySymmetry, error: SymmetryError) -> str:
    words = f"{family.kind} error {error.value:.2g}"
    if error.interval is not None and not error.is_exact:
        words += f" ({error.interval[0]:.2g} to {error.interval[1]:.2g})"
    words += f" over {symmetry.n_samples} samples, where 1 is as different as another sample's output"
    if error.rounding is not None:
        words += f"; rounding may make {error.rounding:.1g}"
    if error.baseline is not None:
        words += f"; with random weights {error.baseline:.2g}"
    if error.baseline_low is not None and error.baseline_high is not None:
        words += f" ({error.baseline_low:.2g} to {error.baseline_high:.2g} for one network of {symmetry.n_networks})"
    if family.interpolation is not None:
        words += f"; interpolation alone loses {family.interpolation:.2g} of the inputs, there and back"
    return words


def _called(layer: LayerSymmetry) -> str:
    name = layer.name or "the network"
    return name if name == layer.kind else f"{name} ({layer.kind})"
