"""What a network's health means, in plain sentences."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from deepscope.core import Finding, Severity
from deepscope.instruments._health_profile import DepthProfile
from deepscope.instruments._health_row import NONFINITE_GRADIENT, LayerHealth

if TYPE_CHECKING:
    from deepscope.instruments._health_reading import Health

#: Shares of dead or saturated units from which a layer is worth a warning or a note.
MANY = 0.5
SOME = 0.1
#: Gradients that shrink to at most LOST from the last layer to the first may be lost. Depth alone brings many a network
#: there that trains all the same: per layer, as torch initialises it, ReLU keeps 0.41, GELU 0.30 and SiLU 0.296, so
#: that twelve, eight and eight layers pass 1e-4. A sigmoid has a slope of at most a quarter: it keeps 0.14, and 0.24
#: with Glorot's weights. So it is a problem where each layer keeps at most STEEP, between that quarter and that 0.296,
#: or where less is left than GONE: float32 resolves 1.2e-7 of a sum, and ten times that leaves a gradient one digit.
LOST = 1e-4
STEEP = 0.27
GONE = 1e-6
#: Gradient of a layer over its weights' norm (over 1 where that is less: weights near zero have no scale of their own),
#: from which a step of plain gradient descent at a learning rate of 1e-3 moves the weights by their own size, and from
#: which one of 1e-6 does so. Fresh and trained networks of many kinds stay below 10; regression on targets of size 100
#: starts at up to 300, and on targets of size 1,000 at 3,000, where a step of 1e-3 does overshoot.
REPLACED = 1e3
EXPLODED = 1e6
#: Fewest units that are all dead by more than chance: each starts shut with probability 1/2 where inputs vary little.
FEWEST_UNITS = 8
#: Fewest samples from which a share of dead units is told: a unit that is open half the time looks dead in n samples
#: with probability 2⁻ⁿ, one that is open in 15 % of them with 0.85²⁰ = 4 %.
FEWEST_SAMPLES = 20


def health_findings(health: Health) -> tuple[Finding, ...]:
    """Draw findings from a reading, worst first, then in forward order; one per layer."""
    order = {layer.module: place for place, layer in reversed(list(enumerate(health.layers)))}
    found = sorted(_all(health), key=lambda finding: (finding.rank, order.get(finding.where, -1)))
    worst: dict[str, Finding] = {}
    for finding in found:
        # What has no place is of the network as a whole, and each says something else.
        worst.setdefault(finding.where or finding.message, finding)
    return tuple(worst.values())


def _all(health: Health) -> Iterator[Finding]:
    nonfinite = next((layer for layer in health.layers if layer.nonfinite_fraction), None)
    if nonfinite is not None:
        yield _nonfinite(health, nonfinite)
    # A layer that passes nothing on makes what follows constant, and what precedes it without gradient.
    dead = [layer for layer in health.layers if layer.dead_fraction == 1 and health.n_samples > 1]
    if dead:
        yield _all_dead(health, dead)
    constant = bool(health.output_constant) and not dead and nonfinite is None
    if constant:
        yield _constant_output(health)
    broken = [layer for layer in health.layers if NONFINITE_GRADIENT in layer.status]
    if broken and nonfinite is None:
        yield _nonfinite_gradient(broken)
    yield from _depth(health)
    if nonfinite is None and health.profile.verdict != "exploding":
        yield from _steep(health)
    if not (dead or constant or nonfinite is not None):
        yield from _no_gradient(health)
    yield from _shares(health, before=dead[0] if dead else None)


def _finding(severity: Severity, where: str, message: str, evidence: str, source: str, action: str) -> Finding:
    return Finding(severity, "health", where, message, evidence, source, action)


def _nonfinite(health: Health, first: LayerHealth) -> Finding:
    behind = health.layers[health.layers.index(first) + 1 :]
    also = sum(1 for layer in behind if layer.nonfinite_fraction)
    it = "It is the first of the chosen ones" if health.partial else "It is the first"
    return _finding(
        "problem",
        first.module,
        f"{_called(first)} puts out values that are NaN or infinite."
        + (f" {it}; {_layers(also)} after it follow." if also else ""),
        f"{first.nonfinite_fraction:.3g} of its values are not finite over {_samples(health)}",
        "",
        "Look at this layer's weights (anatomy) and at what goes into it: a division by zero, a logarithm of 0, or a "
        "range too small for the numbers.",
    )


def _all_dead(health: Health, dead: Sequence[LayerHealth]) -> Finding:
    first, others = dead[0], [layer.name for layer in dead[1:]]
    # A gate of one to seven units may well be shut as it was initialised, 2^-units; with the output alive, it is no
    # fault of the network.
    broken = health.output_constant or first.units is None or first.units >= FEWEST_UNITS
    return _finding(
        "problem" if broken else "warning",
        first.module,
        f"All units of {_called(first, small=True)} are dead: its {first.activation} lets nothing through, whatever "
        "the input, so nothing learns through it"
        + (" and the network's output is constant." if health.output_constant else "."),
        f"{_units(first, first.dead_fraction)} shut at every one of {_samples(health)}"
        + (f"; behind it also {', '.join(others[:3])}{' …' if len(others) > 3 else ''}" if others else ""),
        "glorot2010understanding",
        "Look at the biases before it (very negative?), lower the learning rate, or initialise the layer anew.",
    )


def _constant_output(health: Health) -> Finding:
    names = [layer.name for layer in health.layers]
    seen = health.output_site in names
    place = names.index(health.output_site) if seen else len(names) - 1
    end = health.layers[place] if seen or not health.partial else None
    while end is not None and place > 0 and _both_constant(health, place - 1, place):
        place -= 1
    start = health.layers[place] if end is not None else None
    where = start.module if start is not None else ""
    stuck = start is not None and start.saturated_fraction == 1
    if start is None:
        more = "; where that begins lies outside the chosen part."
    elif _comes_first(health, start):
        more = f"; from {where or 'here'} on nothing depends on the input." if start is not end else "."
    else:
        more = "; what comes before it lies outside the chosen part."
    return _finding(
        "problem",
        where,
        f"The network's output is constant: the same for every input{more}",
        f"every output varies by at most 1e-6 of its magnitude over {_samples(health)} whose inputs differ"
        + ("; there all units are saturated" if stuck else ""),
        "",
        "Look at this layer's weights (all zero?) and at whether the signal before it still varies."
        if start is not None
        else "Examine the whole network.",
    )


def _both_constant(health: Health, one: int, other: int) -> bool:
    first, second = health.layers[one], health.layers[other]
    if not first.constant_fraction == second.constant_fraction == 1:
        return False
    return not health.partial or health.ran.index(first.module) + 1 == health.ran.index(second.module)


def _comes_first(health: Health, layer: LayerHealth) -> bool:
    """Whether what runs before a layer is among those looked at, or nothing does."""
    place = health.ran.index(layer.module) if health.partial else 0
    return place == 0 or any(each.module == health.ran[place - 1] for each in health.layers)


def _nonfinite_gradient(broken: Sequence[LayerHealth]) -> Finding:
    # Backward, the last layer comes first.
    first = broken[-1]
    return _finding(
        "problem",
        first.module,
        f"The gradient of {_called(first, small=True)} is NaN or infinite although every output is finite."
        + (f" {_layers(len(broken) - 1)} before it follow." if len(broken) > 1 else ""),
        "gradient norm of the mean loss is not finite",
        "",
        "Look for a square root or a norm at 0, or a loss that overflows, behind this layer.",
    )


def _depth(health: Health) -> Iterator[Finding]:
    profile = health.profile
    if profile.verdict not in ("vanishing", "exploding"):
        return
    nearest = next(layer for layer in health.layers if layer.in_profile and layer.output_gradient is not None)
    zeros = sum(1 for layer in health.layers if layer.in_profile and layer.output_gradient == 0)
    vanishing = profile.verdict == "vanishing"
    factor, low, high = _factors(profile)
    left = profile.first_to_last or 0.0
    lost = not vanishing or (left <= LOST and factor <= STEEP) or left <= GONE
    yield _finding(
        "problem" if lost else "warning",
        nearest.module,
        f"Gradients {'vanish' if vanishing else 'explode'} toward the input: per layer they "
        f"{'shrink' if vanishing else 'grow'} to {factor:.3g} times what they were"
        + (
            ", so the first layers learn slowly, if at all."
            if vanishing
            else ", so a step that suits the last layers is too large for the first."
        ),
        f"rate per layer × {factor:.3g} (95 % interval {low:.3g} to {high:.3g}) over {len(profile.layers)} layers; "
        f"first/last {profile.first_to_last:.2g}, healthy between 1e-3 and 1e3"
        + (f"; exactly zero in {_layers(zeros)}" if zeros else ""),
        "glorot2010understanding" if vanishing else "bengio1994learning",
        "Use ReLU-like activations, normalisation or residual connections, and an initialisation that keeps variances "
        "(Glorot, He)."
        if vanishing
        else "Initialise smaller (Glorot, He), add normalisation, or clip gradients.",
    )


def _steep(health: Health) -> Iterator[Finding]:
    """Gradients too large for the weights, which a layer that unrolls within itself shows in no profile of depth."""
    steep = [layer for layer in health.layers if _steepness(layer) >= REPLACED]
    if not steep:
        return
    exploded = max(map(_steepness, steep)) >= EXPLODED
    # The first to be so steep: what it puts out makes the gradients of those behind it large.
    first = next(layer for layer in steep if _steepness(layer) >= (EXPLODED if exploded else REPLACED))
    yield _finding(
        "problem" if exploded else "warning",
        first.module,
        f"The gradients of {_called(first, small=True)} {'explode' if exploded else 'are too large for its weights'}: "
        f"they are {first.gradient_to_weight:.2g} times as large as its weights"
        + (
            ", so even one step at a learning rate of 1e-6 would replace them."
            if exploded
            else ", so one step at a learning rate of 1e-3 would replace them."
        ),
        f"‖∂L/∂W‖/‖W‖ {first.gradient_to_weight:.2g}, gradient norm {first.gradient_norm:.2g}; at least "
        f"{REPLACED:.0e} in {_layers(len(steep))} of {len(health.layers)}",
        "pascanu2013difficulty",
        "Clip gradients and initialise smaller (recurrent weights: orthogonal, at most 1); bring targets and the loss "
        "to a size of 1.",
    )


def _steepness(layer: LayerHealth) -> float:
    if layer.gradient_to_weight is None or layer.gradient_norm is None:
        return 0.0
    return min(layer.gradient_to_weight, layer.gradient_norm)


def _factors(profile: DepthProfile) -> tuple[float, float, float]:
    assert profile.rate is not None
    assert profile.rate_low is not None
    assert profile.rate_high is not None
    # Backward, from the output to the input; 1e300 rather than an overflow.
    factor, low, high = (10 ** min(-each, 300.0) for each in (profile.rate, profile.rate_high, profile.rate_low))
    return factor, low, high


def _no_gradient(health: Health) -> Iterator[Finding]:
    measured = [layer for layer in health.layers if layer.gradient_norm is not None]
    zero = [layer for layer in measured if layer.gradient_norm == 0]
    if not zero:
        return
    if len(zero) == len(measured) and not health.partial:
        yield _finding(
            "note",
            "",
            "The gradient is exactly zero in every layer: the loss cannot fall any further here, or does not see the "
            "outputs.",
            f"gradient norm 0 in {_layers(len(zero))}; mean loss {health.loss:.3g}",
            "",
            "If the loss is not at its floor, check that it depends on the outputs.",
        )
        return
    last = zero[-1]
    yield _finding(
        "warning",
        last.module,
        f"The gradient of {_called(last, small=True)} is exactly zero: it learns nothing from this data."
        + (f" So is that of {_layers(len(zero) - 1)} before it." if len(zero) > 1 else ""),
        f"gradient norm 0 over {_samples(health)}",
        "",
        "Look at what follows it: closed units, zero weights, or a loss that does not need it.",
    )


def _shares(health: Health, before: LayerHealth | None) -> Iterator[Finding]:
    for layer in health.layers:
        if layer is before:
            # Behind a dead layer everything is constant, and half of what follows shut for that reason alone.
            return
        if layer.dead_fraction is not None and layer.dead_fraction >= SOME and health.n_samples >= FEWEST_SAMPLES:
            yield _finding(
                "warning" if layer.dead_fraction >= MANY else "note",
                layer.module,
                f"{_percent(layer.dead_fraction)} of the units of {_called(layer, small=True)} are dead: they let "
                "nothing through, whatever the input.",
                f"{_units(layer, layer.dead_fraction)} shut at every one of {_samples(health)}: such a unit is open "
                f"for fewer than {3 / health.n_samples:.2g} of inputs (95 %)",
                "glorot2010understanding",
                "Lower the learning rate, or use a leaky activation; dead units can also be pruned.",
            )
        at_the_end = layer.name == health.output_site or (layer is health.layers[-1] and not health.partial)
        # An output that is sure of itself is at an end of its range: that is what training wants.
        if layer.saturated_fraction is not None and layer.saturated_fraction >= MANY and not at_the_end:
            yield _finding(
                "warning",
                layer.module,
                f"{_percent(layer.saturated_fraction)} of the units of {_called(layer, small=True)} are saturated: "
                f"their {layer.activation} is stuck at an end of its range and passes hardly any gradient.",
                f"{_units(layer, layer.saturated_fraction)} with at least 95 % of their outputs within 1 % of the "
                f"range from an end, over {_samples(health)}",
                "glorot2010understanding",
                "Scale down the weights before it or its inputs, or normalise them.",
            )


def _called(layer: LayerHealth, *, small: bool = False) -> str:
    the = "the" if small else "The"
    return f"{the} {layer.kind} layer {layer.module}" if layer.module else f"{the} model ({layer.kind})"


def _units(layer: LayerHealth, share: float | None) -> str:
    share = share or 0.0
    if layer.units is None:
        return f"{_percent(share)} of its units"
    count = share * layer.units
    # Where a layer's output goes through several functions the share is one over all of them, and no count of units.
    if abs(count - round(count)) > 1e-6 * layer.units:
        return f"{_percent(share)} of its {layer.units} units"
    return f"{round(count)} of {layer.units} units"


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"


def _samples(health: Health) -> str:
    return f"{health.n_samples} samples"


def _layers(number: int) -> str:
    return f"{number} layer{'' if number == 1 else 's'}"
