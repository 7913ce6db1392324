"""deepscope runs list|show|compare|export|gc."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import App, Parameter

from deepscope._terminal import printable, say
from deepscope.cli._options import DONE, PARTLY, Json, Out
from deepscope.cli._output import check_folder, check_writable, print_json, save, show

if TYPE_CHECKING:
    from deepscope.lab import Run

runs_app = App(name="runs", help="Stored examinations, studies and watched trainings: list, show, compare, export, gc.")


@runs_app.command(name="list")
def runs_list(*, json: Json = False) -> int:
    """List stored runs, newest first."""
    from deepscope.lab import runs

    found, broken = runs()
    if json:
        rows = [{"id": r.id, "kind": r.kind, "name": r.name, "date": r.date, "outcome": r.outcome} for r in found]
        print_json(rows)
    else:
        for run in found:
            print(printable(f"{run.id}  {run.kind:<11}  {run.outcome}"))
        if not found:
            print("No run is stored yet. Try: deepscope examine, or deepscope study list")
    for reason in broken[:3]:
        say(reason)
    return PARTLY if broken else DONE


@runs_app.command(name="show")
def runs_show(run: str = "last", *, json: Json = False, out: Out = None) -> int:
    """Show a stored run again.

    Parameters
    ----------
    run
        Its id, an unambiguous beginning or end of it, or "last".
    """
    from deepscope.lab import find_run, write_report
    from deepscope.report import examination_page, examination_text, study_page, study_text, watch_page, watch_text

    check_writable(out)
    found = find_run(run)
    record = found.record()
    text = {"examination": examination_text, "study": study_text, "watch": watch_text}[found.kind]
    code = _code([found.unreadable(found.points()[1])] if found.kind == "watch" else [])
    if out is None:
        show(record, text, json=json, out=None)
        return code

    def page(each: Mapping[str, Any]) -> str:
        if found.kind == "watch":
            return watch_page(each)
        return (study_page if found.kind == "study" else examination_page)(each, found.figures())

    save(lambda path: write_report(path, record, page), out)
    if json:
        print_json(record)
    else:
        print(f"Report: {out}")
    return code


@runs_app.command(name="compare")
def runs_compare(a: str, b: str, *, json: Json = False) -> int:
    """Say in what two stored runs differ.

    Parameters
    ----------
    a
        The first: its id, an unambiguous beginning or end of it, or "last".
    b
        The second.
    """
    from deepscope.lab import compare_runs, find_run
    from deepscope.report import compare_runs_text

    compared = compare_runs(find_run(a), find_run(b))
    show(compared, compare_runs_text, json=json, out=None)
    return _code(compared["left_out"])


@runs_app.command(name="export")
def runs_export(
    *runs: str,
    csv: Annotated[Path | None, Parameter(help="Write a table of comma-separated values here.")] = None,
    parquet: Annotated[Path | None, Parameter(help="Write a Parquet table here.")] = None,
) -> int:
    """Write runs as one table: a row per trial, per tensor or layer that an instrument measured, or per measurement.

    Parameters
    ----------
    runs
        Their ids, unambiguous beginnings or ends of them, or "last"; the last one unless given.
    """
    from deepscope.lab import export_runs, find_run

    path = _table(csv, parquet)
    found: list[Run] = [find_run(run) for run in dict.fromkeys(runs or ("last",))]
    made = save(lambda target: export_runs(found, target), path, "table")
    print(f"Table: {path}")
    return _code(made.left_out)


@runs_app.command(name="gc")
def runs_gc(
    *,
    dry_run: Annotated[bool, Parameter(negative="", help="Say what would be removed; remove nothing.")] = False,
    json: Json = False,
) -> int:
    """Remove what is stored elsewhere too: superseded runs of studies, checkpoints of finished trials, leftovers."""
    from deepscope.lab import collect_garbage

    removed = collect_garbage(dry_run=dry_run)
    if json:
        print_json([{"path": str(path), "bytes": size, "reason": reason} for path, size, reason in removed])
        return DONE
    for path, _, reason in removed:
        print(printable(f"{path}  {reason}"))
    total = sum(size for _, size, _ in removed) / 1e6
    print(f"{len(removed):,} {'would be ' if dry_run else ''}removed, {total:,.1f} MB")
    return DONE


def _code(left_out: Sequence[str]) -> int:
    """Say what of the runs could not be read, and return the exit code."""
    reasons = [reason for reason in left_out if reason]
    for reason in reasons:
        say(reason)
    return PARTLY if reasons else DONE


def _table(csv: Path | None, parquet: Path | None) -> Path:
    """Return where the table goes."""
    from deepscope.core import UsageError

    given = {suffix: path for suffix, path in ((".csv", csv), (".parquet", parquet)) if path is not None}
    if len(given) != 1:
        raise UsageError("a table has one kind", where="runs export", todo="Give --csv FILE or --parquet FILE.")
    [(suffix, path)] = given.items()
    if path.suffix != suffix:
        raise UsageError("the name does not say its kind", where=str(path), todo=f"Give a name that ends in {suffix}.")
    check_folder(path, "table", "Give a file in a folder that exists and is writable.")
    return path
