"""Criteria as a reader sees them: what was measured, what it must be, whether it holds."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from deepscope.report._interval import Drawing, drawing
from deepscope.report._numbers import NONE, number, short
from deepscope.report._record import Record

#: How to read a list of criteria.
HOW_TO_READ = (
    "A criterion holds when its whole 95 % interval over the seeds lies where it must, fails when all of it lies "
    "outside, and is open otherwise. An interval that touches a limit which it must pass (> or <) is open, and so is a "
    "criterion that would hold but lacks values. An exact one is judged by the worst case of all trials."
)
#: What a control is, said where there is one.
CONTROL = (
    "A control is a condition in which the effect must be absent: it holds when the effect is not seen, that is within "
    "the margin, or on the side of no effect."
)

# A threshold that so many digits tell exactly was chosen by somebody; a computed one, log 5, nearly always has sixteen.
_CHOSEN = 12
_COMPUTED = 3  # digits of those
_EXACT = 17  # digits that tell any number of double precision exactly
_HOLDS = {True: "yes", False: "no", None: "open"}


@dataclass(frozen=True)
class CriterionView:
    """One criterion in words.

    Attributes
    ----------
    name, published
        As in the record; ``""`` where there is none.
    note
        Why a value is missing, or why the criterion does not hold where the numbers do not say so.
    control
        Whether the effect must be absent.
    measured, interval, must_be
        Numbers with their meaningful digits, "2.84", "[2.61, 3.07]", "> 1".
    holds
        ``"yes"``, ``"no"`` or ``"open"``.
    drawing
        The interval against the threshold.
    """

    name: str
    control: bool
    measured: str
    interval: str
    must_be: str
    published: str
    holds: str
    note: str
    drawing: Drawing


def criteria_views(criteria: Sequence[Record], *, judged: bool = True) -> tuple[CriterionView, ...]:
    """Return criteria in words, in the order given; where nothing is judged, all of them are open."""
    return tuple(_view(criterion if judged else {**criterion, "holds": None}, judged) for criterion in criteria)


def _view(criterion: Record, judged: bool) -> CriterionView:
    measured, low, high = (criterion.get(key) for key in ("measured", "low", "high"))
    limits = _Limits.of(criterion["side"], criterion["threshold"], criterion.get("target") or 0.0)
    threshold, target = _threshold_and_target(criterion, limits)
    told = _Limits.of(criterion["side"], _read(threshold), _read(target))
    # A 95 % interval is about four standard errors wide.
    error = None if low is None or high is None else (high - low) / 4
    value, *ends = (_on_its_side(each, error, limits, told) for each in (measured, low, high))
    why = _why(criterion, limits) if judged else ""
    return CriterionView(
        name=criterion["name"],
        control=bool(criterion.get("control")),
        measured=value,
        interval=NONE if NONE in ends else _interval(criterion, *ends),
        must_be=_must_be(criterion, threshold, target),
        published=criterion.get("published") or "",
        holds=_HOLDS[criterion["holds"]],
        note="; ".join(filter(None, [criterion.get("note"), why])),
        drawing=drawing(criterion, limits.least, limits.most),
    )


@dataclass(frozen=True)
class _Limits:
    """The range in which all of an interval must lie."""

    least: float
    most: float

    @classmethod
    def of(cls, side: str, threshold: float, target: float) -> _Limits:
        if side == "within":
            return cls(target - threshold, target + threshold)
        return cls(threshold, math.inf) if side == "above" else cls(-math.inf, threshold)

    def where(self, value: float) -> tuple[bool, bool, bool, bool]:
        """Return on which side of each limit a value lies; on neither where it is one."""
        return value < self.least, value > self.least, value < self.most, value > self.most


def _interval(criterion: Record, low: str, high: str) -> str:
    if criterion["kind"] == "exact":
        return "worst known" if criterion.get("missing") else "worst case"
    return f"[{low}, {high}]"


def _why(criterion: Record, limits: _Limits) -> str:
    """Say why a criterion does not hold where its numbers do not say it."""
    if criterion["holds"] is False and criterion.get("control"):
        return "the control shows the effect"
    low, high = criterion.get("low"), criterion.get("high")
    if criterion["holds"] is not None or criterion["kind"] == "exact" or low is None or high is None:
        return ""
    if any(low < limit < high for limit in (limits.least, limits.most)):
        return "the interval lies across the threshold"
    return "the interval touches the threshold" if {low, high} & {limits.least, limits.most} else ""


def _must_be(criterion: Record, threshold: str, target: str) -> str:
    if criterion["side"] == "within":
        return f"= {target}" if threshold == "0" else f"{target} ± {threshold}"
    above, below = ("≥", "≤") if criterion["kind"] == "exact" else (">", "<")
    return f"{above if criterion['side'] == 'above' else below} {threshold}"


def _threshold_and_target(criterion: Record, limits: _Limits) -> tuple[str, str]:
    """Write both as they were chosen; if computed, with digits enough that what was measured stays on its side."""
    values = [criterion[key] for key in ("measured", "low", "high") if criterion.get(key) is not None]
    between = [value for value in values if value not in (limits.least, limits.most)]
    for digits in range(_COMPUTED, _EXACT + 1):
        threshold, target = (_chosen(criterion.get(key) or 0.0, digits) for key in ("threshold", "target"))
        told = _Limits.of(criterion["side"], _read(threshold), _read(target))
        if all(told.where(value) == limits.where(value) for value in between):
            break
    return threshold, target


def _chosen(value: float, digits: int) -> str:
    """Write a number as it was chosen, or with some digits if nobody can have chosen it."""
    text = short(value, _CHOSEN)
    return text if _read(text) == value else short(value, digits)


def _on_its_side(value: float | None, error: float | None, limits: _Limits, told: _Limits) -> str:
    """Write a number with enough digits to be read on its side of the limits as they are told: 0.996 is not "1.0"."""
    text = number(value, error)
    if text == NONE or value is None:
        return text
    if told.where(_read(text)) == limits.where(value):
        return text
    for limit, as_told in ((limits.least, told.least), (limits.most, told.most)):
        if value == limit:
            return _chosen(as_told, _EXACT)
    return number(float(value), min(abs(value - told.least), abs(value - told.most)))


def _read(text: str) -> float:
    return float(text.replace("−", "-").replace(",", ""))
