"""The vertical scale of a row of the glance."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

#: Height of a row's drawing, in its own units.
TALL = 40.0
#: What stays free above and below, so that no dot is cut.
EDGE = 5.0


@dataclass(frozen=True)
class Scale:
    """From values to heights: ``low`` at the bottom, ``high`` at the top."""

    low: float
    high: float
    log: bool

    @classmethod
    def over(
        cls, values: Mapping[str, float], lows: Mapping[str, Any], highs: Mapping[str, Any], band: Any, *, log: bool
    ) -> Scale:
        """Return the scale that shows all values, and of their intervals and the band what does not flatten them."""
        ends = [*lows.values(), *highs.values(), *(band or ())]
        points = [value for value in values.values() if value > 0 or not log]
        if not points:
            return cls(1.0, 10.0, log) if log else cls(0.0, 1.0, log)
        low, high = least, most = min(points), max(points)
        reach = max(most / least, 2.0) if log else (most - least) or abs(most) or 1.0
        for end in ends:
            if end is not None and (end > 0 or not log):
                inside = least / reach <= end <= most * reach if log else least - reach <= end <= most + reach
                low, high = (min(low, end), max(high, end)) if inside else (low, high)
        if low == high:
            # One value in the middle, on an axis that begins at 0; and 0 itself at its end.
            low, high = (low / 2, high * 2) if log else (min(0.0, 2 * low), max(0.0, 2 * high) if low else 1.0)
        return cls(low, high, log)

    def y(self, value: float) -> str:
        """Return the height at which a value is drawn; what lies beyond the scale stands at its edge."""
        return f"{self._height(value):.4g}"

    def shade(self, band: Sequence[float]) -> tuple[float, float]:
        """Return the upper edge and the height of a band; one that reaches beyond the scale goes to the row's edge."""
        upper, lower = (0.0 if band[1] > self.high else self._height(band[1])), self._height(band[0])
        lower = TALL if band[0] < self.low else lower
        return round(upper, 2), round(max(lower - upper, 0.5), 2)

    def _height(self, value: float) -> float:
        if self.log:
            share = math.log(value / self.low) / math.log(self.high / self.low) if value > 0 else 0.0
        else:
            share = (value - self.low) / (self.high - self.low)
        return EDGE + (1 - min(max(share, 0.0), 1.0)) * (TALL - 2 * EDGE)
