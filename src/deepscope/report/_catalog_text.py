"""Studies in a terminal: which there are, and what one of them does."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from deepscope.core import SCALES
from deepscope.report._findings import address, reference
from deepscope.report._numbers import how_many
from deepscope.report._record import Record
from deepscope.report._screen import Screen
from deepscope.report._study_record import readable, row_name, topics

if TYPE_CHECKING:
    from rich.console import Console

    from deepscope.studies import Heading


def study_list_text(headings: Sequence[Heading], console: Console) -> None:
    """Write the studies to a terminal: id, topics and claim of each.

    Parameters
    ----------
    headings
        As ``catalog`` gives them.
    console
        Where to; its width, its colours (``NO_COLOR`` too) and its character set are respected.
    """
    screen = Screen(console)
    for heading in headings:
        study = _record(heading)
        screen.line((study["id"], "bold"), (f"  {topics(study)}", "dim"))
        screen.line(study["claim"], indent=2)
    screen.blank()
    count = how_many(len(headings), "study").replace("studys", "studies")
    screen.line(f'{count}. "deepscope study show NAME" says what is done, "deepscope study run NAME" does it.')


def study_show_text(study: Heading | Record, console: Console) -> None:
    """Write what a study claims and does to a terminal.

    Parameters
    ----------
    study
        A heading, or a mapping with its fields and what only the imported study knows: ``protocol``, and ``scales``,
        which maps names to ``{"cases": …, "seeds": …, "trials": …}``. ``target`` is what names it on the command line:
        its id unless given.
    console
        Where to, as in ``study_list_text``.
    """
    record = _record(study)
    screen = Screen(console)
    screen.line(f"{record['id']}: ", (record["claim"], "bold"))
    screen.line(reference(record["source"]))
    if address(record["source"]):
        screen.line((address(record["source"]), "dim"))
    screen.blank()
    screen.line(("topics: ", "dim"), topics(record))
    for key in record["rows"]:
        screen.line(("shows: ", "dim"), row_name(key))
    if record.get("protocol"):
        screen.heading("Protocol")
        screen.line(record["protocol"], indent=2)
    _scales(screen, record.get("scales") or {})
    screen.heading("File")
    screen.whole(record["path"], indent=2)
    run = f"deepscope study run {record.get('target') or record['id']}"
    screen.heading("To run it")
    screen.whole(run, indent=2)
    screen.whole(f"{run} --dry-run", ("  # says what would run, and what it would cost", "dim"), indent=2)
    screen.whole(f"{run} --scale full", ("  # the largest protocol", "dim"), indent=2)


def _record(study: Heading | Record) -> dict[str, Any]:
    fields = dict(study) if isinstance(study, Mapping) else asdict(study)
    return readable({**fields, "path": str(fields["path"])})


def _scales(screen: Screen, scales: Record) -> None:
    known = [name for name in SCALES if name in scales]
    if not known:
        return
    screen.heading("Scales")
    for name in known:
        size = scales[name]
        counts = ", ".join(how_many(size[f"{noun}s"], noun) for noun in ("case", "seed", "trial"))
        screen.line(f"{name:<{max(map(len, SCALES))}}  {counts}", indent=2)
