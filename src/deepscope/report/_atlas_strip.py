"""A study's criteria at a glance: one mark for each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from deepscope.report._numbers import how_many
from deepscope.report._record import Record

#: Height of a strip, in pixels; its width depends on the number of criteria.
HEIGHT = 17

_PITCH = 15  # from one mark to the next
# Each mark in a box of 12 × 12: a disc, a triangle, a ring; the bar under a control.
_MARKS = {
    True: "M{x:g} 6a5 5 0 1 0 10 0a5 5 0 1 0-10 0",
    False: "M{x:g} 10.5h10l-5-9.5z",
    None: "M{x:g} 6a4.2 4.2 0 1 0 8.4 0a4.2 4.2 0 1 0-8.4 0",
}
_AT = {True: 1.0, False: 1.0, None: 1.8}
_WORDS = {True: ("holds", "hold"), False: ("fails", "fail"), None: ("is open", "are open")}


@dataclass(frozen=True)
class Strip:
    """Paths of the marks, by what they mean, and all of it in words.

    Attributes
    ----------
    width
        In pixels.
    holds, fails, undecided, controls
        Paths; ``""`` where there is nothing to draw.
    words
        What the marks say.
    """

    width: int
    holds: str
    fails: str
    undecided: str
    controls: str
    words: str


def strip(criteria: Sequence[Record], *, judged: bool = True) -> Strip:
    """Draw criteria as marks in their order; where nothing is judged, all of them are open."""
    outcomes = [criterion["holds"] if judged else None for criterion in criteria]
    paths = {
        outcome: "".join(
            _MARKS[outcome].format(x=_PITCH * place + _AT[outcome])
            for place, each in enumerate(outcomes)
            if each is outcome
        )
        for outcome in _MARKS
    }
    controls = [place for place, criterion in enumerate(criteria) if criterion.get("control")]
    return Strip(
        width=_PITCH * len(outcomes),
        holds=paths[True],
        fails=paths[False],
        undecided=paths[None],
        controls="".join(f"M{_PITCH * place + 1} 15.5h10" for place in controls),
        words=_words(outcomes, len(controls)),
    )


def _words(outcomes: Sequence[bool | None], controls: int) -> str:
    if not outcomes:
        return "no criteria"
    counts = {outcome: outcomes.count(outcome) for outcome in _WORDS}
    parts = [f"{count:,} {_WORDS[outcome][count != 1]}" for outcome, count in counts.items() if count]
    among = f", {how_many(controls, 'control')} among them" if controls else ""
    number = "1 criterion" if len(outcomes) == 1 else f"{len(outcomes):,} criteria"
    return f"{number}{among}: {', '.join(parts)}"
