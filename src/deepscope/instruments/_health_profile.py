"""How gradients change with depth: a rate per layer with its interval, and a verdict."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

#: Fewest layers from which a rate is told: the interval of a line through fewer says nothing.
FEWEST = 4
#: A change from the last layer to the first by less than this many decades is healthy.
#:
#: It lies in a wide gap: ten sigmoid layers lose four decades or more, ten He-initialised ReLU layers change by less
#: than one (Glorot & Bengio 2010; He et al. 2015).
DECADES = 3.0


@dataclass(frozen=True)
class DepthProfile:
    """A least-squares line through log₁₀ of a gradient against depth.

    Attributes
    ----------
    status
        ``"ok"``, or why there is no rate.
    verdict
        ``"vanishing"``, ``"exploding"``, ``"healthy"`` or ``"cannot say"``.
    layers
        The layers it goes through, from the input on: those with weight matrices and a positive gradient.
    places
        Their places among all layers with weight matrices, counted from 0.
    rate, rate_low, rate_high
        Decades per layer from the input to the output, with its 95 % interval (Student's t, residuals about the
        line). Positive where gradients shrink on their way back to the input.
    intercept
        The line at place 0, in decades.
    first_to_last
        Gradient of the first of these layers over that of the last.
    """

    status: str
    verdict: str
    layers: tuple[str, ...] = ()
    places: tuple[int, ...] = ()
    rate: float | None = None
    rate_low: float | None = None
    rate_high: float | None = None
    intercept: float | None = None
    first_to_last: float | None = None


def depth_profile(names: Sequence[str], gradients: Sequence[float | None], caveat: str = "") -> DepthProfile:
    """Fit log₁₀ gradient = intercept + rate · place over layers in forward order.

    Vanishing: the rate's whole interval is above 0 and the first layer's gradient is at most 1e-3 of the last's;
    exploding: below 0, and at least 1e3. Where the gradients are within that factor the network is healthy, whatever
    the rate; where they are not but the interval holds 0, it cannot be said. Zeros have no logarithm and are left
    out of the line; zeros everywhere, gradients that are not there, and a caveat of the caller's allow no verdict.

    Examples
    --------
    >>> profile = depth_profile(["a", "b", "c", "d", "e"], [1e-8, 1e-6, 1e-4, 1e-2, 1.0])
    >>> round(profile.rate, 6), profile.verdict
    (2.0, 'vanishing')
    """
    measured = [(place, name, g) for place, (name, g) in enumerate(zip(names, gradients, strict=True)) if g is not None]
    positive = [(place, name, g) for place, name, g in measured if g > 0]
    if not measured:
        return DepthProfile("no gradient", "cannot say")
    if not positive:
        return DepthProfile("all gradients are zero", "cannot say")
    layers, places = tuple(name for _, name, _ in positive), tuple(place for place, _, _ in positive)
    if len(positive) < FEWEST:
        return DepthProfile("too few layers", "cannot say", layers, places)
    # Here, for it takes most of a second to import, and most subjects are checkpoints without gradients.
    from scipy import stats

    x, y = np.array(places, dtype=float), np.log10([g for *_, g in positive])
    line = stats.linregress(x, y)
    half = float(stats.t.ppf(0.975, len(x) - 2) * line.stderr)
    low, high, change = line.slope - half, line.slope + half, float(y[0] - y[-1])
    return DepthProfile(
        status=caveat or "ok",
        verdict="cannot say" if caveat else _verdict(low, high, change),
        layers=layers,
        places=places,
        rate=float(line.slope),
        rate_low=float(low),
        rate_high=float(high),
        intercept=float(line.intercept),
        first_to_last=positive[0][2] / positive[-1][2],
    )


def _verdict(low: float, high: float, change: float) -> str:
    if abs(change) < DECADES:
        return "healthy"
    if low > 0 and change < 0:
        return "vanishing"
    if high < 0 and change > 0:
        return "exploding"
    return "cannot say"
