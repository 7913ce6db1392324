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
    "outside, and is open otherwise; an exact one is judged by the worst case of all trials."
)
#: What a control is, said where there is one.
CONTROL = "A control is a condition in which the effect must be absent: it holds when the effect is not seen."

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
        Numbers with their meaningful digits, "2.84", "[2.61, 3.07]", "≥ 1".
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


def criteria_views(criteria: Sequence[Record]) -> tuple[CriterionView, ...]:
    """Return criteria in words, in the order given."""
    return tuple(map(_view, criteria))


def _view(criterion: Record) -> CriterionView:
    measured, low, high = (criterion.get(key) for key in ("measured", "low", "high"))
    least, most = _limits(criterion)
    # A 95 % interval is about four standard errors wide.
    error = None if low is None or high is None else (high - low) / 4
    ends = [_on_its_side(end, error, least, most) for end in (low, high)]
    exact = criterion["kind"] == "exact"
    return CriterionView(
        name=criterion["name"],
        control=bool(criterion.get("control")),
        measured=_on_its_side(measured, error, least, most),
        interval=NONE if NONE in ends else "worst case" if exact else f"[{ends[0]}, {ends[1]}]",
        must_be=_must_be(criterion),
        published=criterion.get("published") or "",
        holds=_HOLDS[criterion["holds"]],
        note="; ".join(filter(None, [criterion.get("note"), _why(criterion)])),
        drawing=drawing(criterion, least, most),
    )


def _why(criterion: Record) -> str:
    if criterion["holds"] is False and criterion.get("control"):
        return "the control shows the effect"
    known = criterion.get("low") is not None and criterion.get("high") is not None
    return "the interval lies across the threshold" if criterion["holds"] is None and known else ""


def _limits(criterion: Record) -> tuple[float, float]:
    """Return the range in which all of the interval must lie."""
    threshold, target = criterion["threshold"], criterion.get("target") or 0.0
    if criterion["side"] == "within":
        return target - threshold, target + threshold
    return (threshold, math.inf) if criterion["side"] == "above" else (-math.inf, threshold)


def _must_be(criterion: Record) -> str:
    # A threshold was chosen by somebody: it is told as it was chosen, to six digits.
    threshold = short(criterion["threshold"], 6)
    if criterion["side"] == "within":
        target = short(criterion.get("target") or 0.0, 6)
        return f"= {target}" if threshold == "0" else f"{target} ± {threshold}"
    return f"{'≥' if criterion['side'] == 'above' else '≤'} {threshold}"


def _on_its_side(value: float | None, error: float | None, least: float, most: float) -> str:
    """Write a number with enough digits to be read on that side of a limit on which it lies: 0.996 is not "1.0"."""
    text = number(value, error)
    if text == NONE or value is None:
        return text
    read = float(text.replace("−", "-").replace(",", ""))
    if (least <= read <= most) == (least <= value <= most):
        return text
    nearest = min(abs(value - least), abs(value - most))
    return number(float(value), nearest) if nearest else short(value, 6)
