"""Findings: what a reading means, in one plain sentence."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal, get_args

Severity = Literal["problem", "warning", "note"]
_NUMBER = re.compile(r"[-−]?\d[\d.,]*(?:e[-−+]?\d+)?(?: ?%)?")
SEVERITIES: tuple[Severity, ...] = get_args(Severity)


@dataclass(frozen=True)
class Finding:
    """One plain sentence drawn from a reading.

    Attributes
    ----------
    severity
        ``"problem"`` (the network is broken there), ``"warning"`` (probably not what was meant) or ``"note"``.
    instrument
        The name of the instrument that saw it.
    where
        The layer's or tensor's name as ``named_parameters`` or the file has it; ``""`` for the whole network.
    message
        The sentence, understandable without knowing the instrument.
    evidence
        What was seen: the value, its interval, and what it was compared with.
    source
        Key of the reference that the judgement rests on, or ``""`` where none is needed.
    action
        What to do next.
    """

    severity: Severity
    instrument: str
    where: str
    message: str
    evidence: str = ""
    source: str = ""
    action: str = ""

    def __post_init__(self) -> None:
        if self.severity not in SEVERITIES:
            raise ValueError(f"severity must be one of {SEVERITIES}, got {self.severity!r}")

    @property
    def rank(self) -> int:
        """Order of gravity: 0 is the worst."""
        return SEVERITIES.index(self.severity)


def without_numbers(message: str) -> str:
    """Return what a message says apart from how much: two examinations that see the same agree on it.

    >>> without_numbers("24 % of the units of fc1 are dead.") == without_numbers("31 % of the units of fc1 are dead.")
    True
    """
    return _NUMBER.sub("#", message)
