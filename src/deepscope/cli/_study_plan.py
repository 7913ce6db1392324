"""deepscope study run --dry-run."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import timedelta
from typing import Any

from deepscope._terminal import printable
from deepscope.cli._options import DONE, PARTLY, USAGE
from deepscope.cli._output import print_json


def show_plans(plans: Iterable[Mapping[str, Any]], named: int, *, json: bool) -> int:
    """Print what would run, as ``plan_study`` gives it, and return the exit code.

    Parameters
    ----------
    plans
        Of the studies that can be run.
    named
        How many studies were asked for.
    json
        One object for one study, a list where several were asked for.
    """
    shown = []
    for plan in plans:
        shown.append(plan)
        if not json:
            print(printable(_line(plan)))
    if not shown:
        return USAGE
    if json:
        print_json(shown if named > 1 else shown[0])
    return DONE if len(shown) == named else PARTLY


def _line(plan: Mapping[str, Any]) -> str:
    modified = ", modified protocol" if plan["modified"] else ""
    cost = f", CPU time {_duration(plan['expected_cpu_seconds'])}" if plan["to_run"] else ""
    return (
        f"{plan['study']} ({plan['scale']}{modified}): trials {plan['trials']:,}, cases {plan['cases']:,}, "
        f"seeds {plan['seeds']:,}; stored {plan['stored']:,}, to run {plan['to_run']:,}{cost}"
    )


def _duration(seconds: float | None) -> str:
    if seconds is None:
        return "not known yet"
    return f"about {timedelta(seconds=round(seconds))} (h:mm:ss)" if seconds >= 1 else "under 1 s"
