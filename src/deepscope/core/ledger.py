"""What was left out, and why."""

from __future__ import annotations

from typing import NamedTuple


class LeftOut(NamedTuple):
    """One entry of a ledger: the name of what was left out, and the reason in plain words."""

    name: str
    reason: str
