"""What a logarithmic axis can hold."""

from __future__ import annotations

#: Beyond this a figure's margins and ticks leave float64, although the values themselves do not.
FARTHEST = 1e100


def on_log_axis(value: float) -> float:
    """Bring a positive value to the nearest that a logarithmic axis can hold.

    >>> on_log_axis(1e300), on_log_axis(2.0), on_log_axis(1e-300)
    (1e+100, 2.0, 1e-100)
    """
    return min(max(value, 1 / FARTHEST), FARTHEST)
