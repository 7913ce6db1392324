"""What the curvature of a loss means, in plain sentences."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from deepscope.core import Finding, Severity
from deepscope.instruments._curvature_row import size_of_traces

if TYPE_CHECKING:
    from deepscope.instruments._curvature_reading import Curvature
    from deepscope.instruments._curvature_row import LayerCurvature

#: A most negative eigenvalue of this share of the largest is told; from SADDLE the loss bends as much down as up.
DOWNWARD = 0.05
SADDLE = 0.5
#: A layer that holds this share of all curvature, more than so many times its share of the parameters, is told.
MOST = 0.5
TIMES = 3.0


def curvature_findings(found: Curvature) -> tuple[Finding, ...]:
    """Draw findings from a reading, worst first."""
    return tuple(sorted(_all(found), key=lambda finding: finding.rank))


def _all(found: Curvature) -> Iterator[Finding]:
    if found.is_random:
        yield _finding(
            "warning",
            "",
            "The forward pass is random even in the mode in which it was measured: the curvature is that of one seeded "
            "draw, not of the network.",
            f"another seed gives another loss than {found.loss:.4g}",
            action="Look for functional.dropout(x) without training=self.training, or for noise in the forward pass.",
        )
    if not found.converged:
        yield _finding(
            "note",
            "",
            "Not all eigenvalues have converged within the products that were allowed: they are lower bounds.",
            f"{found.status}; the largest is {found.eigenvalues[0]:.4g} ± {found.errors[0]:.2g}, the last of "
            f"{len(found.eigenvalues)} {found.eigenvalues[-1]:.4g} ± {found.errors[-1]:.2g}",
            action="Measure with a larger max_products, or ask for fewer eigenvalues.",
        )
    largest, lowest = float(found.eigenvalues[0]), float(found.lowest[-1]) if len(found.lowest) else 0.0
    if largest == 0 and lowest == 0:
        yield _finding(
            "warning",
            "",
            "The loss does not bend in any direction: it depends on the parameters not at all, or in a straight line.",
            f"all eigenvalues found are 0; gradient norm {found.gradient_norm:.3g}",
            action="Check that the loss depends on the outputs, and that not all units are dead (health).",
        )
        return
    if lowest < -DOWNWARD * abs(largest):
        yield _downward(found, largest, lowest)
    if largest > 0:
        yield _finding(
            "note",
            "",
            f"Plain gradient descent on this loss is stable only with a learning rate below {2 / largest:.2g}.",
            f"2/λ with the largest eigenvalue λ = {largest:.4g} ± {found.errors[0]:.2g}, over {_samples(found)}",
            "cohen2021gradient",
            "Compare with the learning rate in use; momentum and adaptive steps have bounds of their own.",
        )
    yield from _heavy_layer(found)
    yield from _rescaled(found)


def _downward(found: Curvature, largest: float, lowest: float) -> Finding:
    saddle = lowest <= -SADDLE * abs(largest)
    many = found.negative
    count = "" if many is None else f"; {many.count:.0f} of {found.n_parameters} eigenvalues are negative"
    interval = "" if many is None else f" ({max(many.low, 0):.0f} to {many.high:.0f})"
    return _finding(
        "warning" if saddle else "note",
        "",
        "The loss curves downward along some directions"
        + (
            " as strongly as it curves upward along others: this is a saddle, not a minimum."
            if saddle
            else ": this is not a minimum yet."
        ),
        f"smallest eigenvalue {lowest:.4g} ± {found.lowest_residuals[-1]:.2g}, largest {largest:.4g}{count}{interval}",
        "ghorbani2019investigation",
        "Train on; where training has stalled, a step along that direction lowers the loss."
        if saddle
        else "Expected before the end of training, and for most networks even there.",
    )


def _heavy_layer(found: Curvature) -> Iterator[Finding]:
    if len(found.layers) < 2:
        return
    layer = max(found.layers, key=lambda each: each.curvature_fraction or 0.0)
    share = layer.curvature_fraction or 0.0
    weight = layer.parameters / found.n_parameters
    total = size_of_traces(found.layers)
    if layer.trace is None or share - 1.96 * layer.trace_stderr / (total or 1.0) < MOST or share < TIMES * weight:
        return
    yield _finding(
        "note",
        layer.name,
        f"{100 * share:.0f} % of the curvature lies in {layer.name}, which holds {100 * weight:.2g} % of the "
        "parameters.",
        f"trace {layer.trace:.4g}{f' ± {1.96 * layer.trace_stderr:.2g}' if layer.trace_stderr else ''} of "
        f"{total:.4g} over all layers{_alone(found, layer)}",
        action="Give it a smaller learning rate of its own, or normalise its inputs.",
    )


def _alone(found: Curvature, layer: LayerCurvature) -> str:
    # The most curved direction may lie across layers: a share of the trace says nothing of it.
    largest = float(found.eigenvalues[0])
    if layer.eigenvalue is None:
        return ""
    return f"; the largest eigenvalue is {layer.eigenvalue:.4g} in this layer alone, {largest:.4g} in all together"


def _rescaled(found: Curvature) -> Iterator[Finding]:
    rescaling = found.rescaling
    if rescaling is None or not rescaling.measures:
        return
    moved = [each for each in rescaling.measures if each.invariant is False and each.before]
    kept = [each.name for each in rescaling.measures if each.invariant]
    if not moved:
        return
    worst = max(moved, key=lambda each: abs((each.after or 0.0) / (each.before or 1.0)))
    stays = f"; {' and '.join(kept)} {'stay' if len(kept) > 1 else 'stays'} the same" if kept else ""
    yield _finding(
        "note",
        "",
        "How sharp this minimum is depends on how its layers are scaled: "
        f"{_list([each.name for each in moved])} change when {rescaling.first} is multiplied and {rescaling.second} "
        f"divided by {rescaling.factor:g}, which leaves the network's function as it is{stays}.",
        f"{worst.name} {worst.before:.4g} becomes {worst.after:.4g}",
        "dinh2017sharp",
        "Do not compare two networks by a measure that changes; use one that does not.",
    )


def _finding(
    severity: Severity, where: str, message: str, evidence: str, source: str = "", action: str = ""
) -> Finding:
    return Finding(severity, "curvature", where, message, evidence, source, action)


def _samples(found: Curvature) -> str:
    return f"{found.n_samples} sample{'' if found.n_samples == 1 else 's'}"


def _list(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
