"""A criterion drawn: its interval against the range in which it must lie."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from deepscope.report._record import Record

#: Size of the drawing, in its own units.
WIDE, TALL = 100.0, 10.0
_EDGE = 4.0  # what stays free at both sides, so that no dot is cut
_LIMIT = 32.0  # where a limit stands, from the side of which the interval must not be
_HALF = 18.0  # half the width of the range around a target


@dataclass(frozen=True)
class Drawing:
    """Paths and places, on a scale of the criterion's own.

    All limits stand at the same place in all drawings, so that one below the other they are read at once.

    Attributes
    ----------
    range
        Left edge and width of the range in which the interval must lie.
    limits, interval, dot, published
        Paths; ``""`` where there is nothing to draw.
    """

    range: tuple[float, float]
    limits: str
    interval: str
    dot: str
    published: str


def drawing(criterion: Record, least: float, most: float) -> Drawing:
    """Draw a criterion that must lie from ``least`` to ``most``, of which one may be infinite."""
    values = [criterion.get(key) for key in ("measured", "low", "high")]
    measured, low, high = (value if value is not None and math.isfinite(value) else None for value in values)
    published = _as_number(criterion.get("published"))
    place = _Place.over((measured, low, high, published), least, most)
    left, right = place.x(least), place.x(most)
    return Drawing(
        range=(round(left, 2), round(right - left, 2)),
        limits="".join(f"M{place.x(limit):.4g} 0V{TALL:g}" for limit in (least, most) if math.isfinite(limit)),
        interval="" if low is None or high is None else f"M{place.x(low):.4g} {TALL / 2:g}H{place.x(high):.4g}",
        dot="" if measured is None else f"M{place.x(measured):.4g} {TALL / 2:g}h0",
        published="" if published is None else f"M{place.x(published):.4g} 0V{TALL:g}",
    )


@dataclass(frozen=True)
class _Place:
    """From values to places: ``at`` stands at ``x_at``, and one unit is ``scale`` wide."""

    at: float
    x_at: float
    scale: float

    @classmethod
    def over(cls, values: Iterable[float | None], least: float, most: float) -> _Place:
        """Return the widest scale on which all values, and a range that has two ends, can be seen."""
        if math.isinf(most):
            at, x_at = least, _LIMIT
        elif math.isinf(least):
            at, x_at = most, WIDE - _LIMIT
        else:
            at, x_at = (least + most) / 2, WIDE / 2
        away = [value - at for value in values if value is not None and math.isfinite(value - at)]
        room = [(WIDE - _EDGE - x_at) / each if each > 0 else (x_at - _EDGE) / -each for each in away if each]
        if math.isfinite(most - least) and most > least:
            room.append(2 * _HALF / (most - least))
        # Numbers so near to the limit that no scale parts them stand on it.
        widest = min(room, default=1.0)
        return cls(at, x_at, widest if math.isfinite(widest) else 0.0)

    def x(self, value: float) -> float:
        if math.isinf(value - self.at):
            return 0.0 if value < self.at else WIDE
        return self.x_at + self.scale * (value - self.at)


def _as_number(published: str | None) -> float | None:
    """Return what the literature reports where that is nothing but a number."""
    try:
        value = float((published or "").replace("−", "-").replace(",", ""))
    except ValueError:
        return None
    return value if math.isfinite(value) else None
