"""What theory says of a mode's strength, and what is read off a measured curve."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from deepscope.studies.learning_dynamics._linear_network import Floats

#: Points at which curves are compared by AIC, and the standard error that each is given, of the singular value.
AIC_POINTS = 100
AIC_ERROR = 0.03


def mode_strength(time: Floats, singular_value: Any, start: Any) -> Floats:
    """Return a(t) = s e^{2st} / (e^{2st} − 1 + s/a₀), t in units of τ: ``saxe2014exact``.

    Written as s / (1 + (s/a₀ − 1) e^{−2st}), which does not overflow. Arguments broadcast.
    """
    found: Floats = singular_value / (1 + (singular_value / start - 1) * np.exp(-2 * singular_value * time))
    return found


def half_time(singular_value: Any, start: Any) -> Any:
    """Return the time at which a(t) = s/2, in units of τ: ln(s/a₀ − 1) / (2s)."""
    return np.log(singular_value / start - 1) / (2 * singular_value)


def reached(times: Floats, curves: Floats, level: float) -> Floats:
    """Return when curves [times, …] first reach a level, between two times on a straight line; NaN if never."""
    above = curves >= level
    after = above.argmax(axis=0)[None]
    before = np.maximum(after - 1, 0)
    high, low = (np.take_along_axis(curves, place, 0)[0] for place in (after, before))
    part = np.divide(level - low, high - low, out=np.ones_like(high), where=high > low)
    found = times[before[0]] + part * (times[after[0]] - times[before[0]])
    return np.where(above.any(axis=0), found, np.nan)


def distance(times: Floats, ratios: Floats, singular_value: Floats, start: Floats) -> Floats:
    """Return the largest |a(t)/s − formula/s| over time.

    ``ratios`` are measured a(t)/s, [times, …]; ``singular_value`` and ``start`` have the shape of what follows.
    """
    time = times.reshape(-1, *[1] * singular_value.ndim)
    found: Floats = np.abs(ratios - mode_strength(time, singular_value, start) / singular_value).max(axis=0)
    return found


def best_distance(times: Floats, ratios: Floats, singular_value: Floats) -> Floats:
    """Return ``distance`` for the start a₀ that makes it least, of 181 from 10⁻⁸ s to 10 s."""
    starts = np.logspace(-8, 1, 181)
    every = [distance(times, ratios, singular_value, start * singular_value) for start in starts]
    found: Floats = np.min(every, axis=0)
    return found


def following_part(times: Floats, parts: Floats, halves: Floats, levels: Any) -> Floats:
    """Return how much of a level is learnt, at most, when the one before it is half learnt.

    Parameters
    ----------
    times, parts
        [records], and which part of each mode is learnt at these times, [records, draws, modes].
    halves
        When half of each is learnt, [draws, modes].
    levels
        Level of each mode, 0, 1, …, [modes]. A level is half learnt when the last of its modes is.

    Returns
    -------
    ndarray
        The largest part of any mode of any next level, [draws]; NaN where a mode is not half learnt. 0: in strict
        order; ½: all at the same time.
    """
    found = np.full(len(halves), np.nan)
    for draw in np.flatnonzero(np.isfinite(halves).all(axis=1)):
        found[draw] = max(
            np.interp(halves[draw, levels == levels[mode] - 1].max(), times, parts[:, draw, mode])
            for mode in np.flatnonzero(levels > 0)
        )
    return found


def sigmoid_fit(times: Floats, ratio: Floats) -> tuple[float, float]:
    """Return by how much AIC prefers a sigmoid to an exponential, and how far the sigmoid is from the curve (RMS).

    Below 0 AIC prefers the exponential.

    Both go to 1 and have two free parameters, 1/(1 + e^{−(pt+q)}) and 1 − e^{−(pt+q)}. They are fitted by least squares
    to 100 points of a(t)/s, from 0 to three times the half-time, each with a standard error of 0.03. So
    AIC(exponential) − AIC(sigmoid) = (RSS(exponential) − RSS(sigmoid)) / 0.03². A ramp, too, is more like a sigmoid:
    its RMS distance, √(RSS(sigmoid)/100), is 0.031. Both are NaN if a(t) does not reach s/2.
    """
    half = float(reached(times, ratio, 0.5))
    if not half > 0:
        return math.nan, math.nan
    time = np.linspace(0, 3, AIC_POINTS)
    values = np.interp(time * half, times, ratio)
    # Each starts from a curve that has the half-time: a sigmoid that is near 0 at first, an exponential from 0.
    sigmoid = _residual(lambda p, q: 1 / (1 + np.exp(-(p * time + q))), values, (5.0, -5.0))
    exponential = _residual(lambda p, q: 1 - np.exp(-(p * time + q)), values, (math.log(2), 0.0))
    return (exponential - sigmoid) / AIC_ERROR**2, math.sqrt(sigmoid / AIC_POINTS)


def _residual(curve: Callable[[float, float], Floats], values: Floats, start: tuple[float, float]) -> float:
    """Return the residual sum of squares of the best fit."""
    from scipy.optimize import least_squares

    def residuals(free: Floats) -> Floats:
        return curve(float(free[0]), float(free[1])) - values

    return 2 * float(least_squares(residuals, start).cost)
