"""Two stored runs side by side, in a terminal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from deepscope.report._criteria import criteria_views
from deepscope.report._findings import entries, grouped
from deepscope.report._numbers import how_many, number
from deepscope.report._record import Record, cleaned, isolated
from deepscope.report._screen import Screen
from deepscope.report._table import cell, header

if TYPE_CHECKING:
    from rich.console import Console

_SHOWN = 12
_SIDES = ("a", "b")


def compare_runs_text(record: Record, console: Console) -> None:
    """Write to a terminal how two runs of one kind differ: what they were made with, and what came out.

    Parameters
    ----------
    record
        As ``lab.compare_runs`` gives it.
    console
        Where to; its width, its colours (``NO_COLOR`` too) and its character set are respected.
    """
    record = cleaned(record)
    screen = Screen(console)
    for side in _SIDES:
        run = record[side]
        screen.line((f"{side}  {run['id']}", "bold"))
        screen.line(run["outcome"], indent=3)
    screen.heading("Made with")
    for difference in record["differences"]:
        screen.line(f"{difference['what']}: {_shown(difference['a'])} → {_shown(difference['b'])}", indent=2)
    if not record["differences"]:
        screen.line("The same.", indent=2)
    if record["kind"] == "study":
        _study(screen, record)
    else:
        _examination(screen, record)


def _study(screen: Screen, record: Record) -> None:
    if record["criteria"]:
        screen.heading("Criteria")
    for criterion in record["criteria"]:
        screen.line(isolated(criterion["name"]), indent=2)
        for side in _SIDES:
            screen.line(f"{side}  {_criterion(criterion[side])}", indent=4)
    trials = record["trials"]
    screen.heading("Trials")
    common = how_many(trials["common"], "trial")
    screen.line(f"{common} in common, by case and seed: {trials['identical']:,} the same bit for bit.", indent=2)
    for side in _SIDES:
        if trials[f"only_{side}"]:
            screen.line(f"{how_many(trials[f'only_{side}'], 'trial')} only in {side}.", indent=2)
    for each in trials["numbers"][:_SHOWN]:
        how_far = "" if each["largest"] is None else f", relatively by at most {number(each['largest'])}"
        screen.line(f"{each['name']} differs in {how_many(each['trials'], 'trial')}{how_far}", indent=2)
    _more(screen, len(trials["numbers"]), "value")


def _examination(screen: Screen, record: Record) -> None:
    for key, words in (("findings_new", "In b, not in a"), ("findings_gone", "In a, not in b")):
        if record[key]:
            screen.heading(words)
            screen.findings(grouped(entries(record[key], (), {})), _SHOWN)
    for instrument, changes in record["changes"].items():
        screen.heading(f"{instrument}: changed most")
        for each in changes:
            values = f"{number(each['a'])} → {number(each['b'])}"
            screen.line(f"{header(each['column'])}: {values} at {isolated(each['item'])}", indent=2)
    if not record["changes"]:
        screen.heading("No number differs")


def _criterion(criterion: Record | None) -> str:
    if criterion is None:
        return "not judged"
    view = criteria_views([criterion])[0]
    return f"{view.measured} {view.interval}, must be {view.must_be}; holds: {view.holds}"


def _shown(value: object) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{name}={_shown(item)}" for name, item in value.items()) or "none"
    return "none" if value in ("", None) else cell(value)


def _more(screen: Screen, count: int, noun: str) -> None:
    if count > _SHOWN:
        screen.line((f"… and {how_many(count - _SHOWN, f'more {noun}')} (see --json)", "dim"), indent=2)
