"""The command line. Thin: every verb calls one function of the house; heavy imports happen inside the verbs."""

from __future__ import annotations

import inspect
import json as json_module
import os
import shlex
import sys
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from tomllib import TOMLDecodeError
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import App, Parameter
from cyclopts.config import Env, Toml

from deepscope import __version__
from deepscope._terminal import (
    console,
    forget_stdout,
    open_streams,
    print_table,
    printable,
    progress,
    progress_bar,
    say,
    user_code,
)

if TYPE_CHECKING:
    from rich.console import Console

    from deepscope.data import RemoteFile
    from deepscope.lab import Examination

SETTINGS = "deepscope.toml"

app = App(
    name="deepscope",
    help_format="plaintext",
    help="An observatory for deep learning: measure any trained network, and see what the numbers mean.",
    version=f"deepscope {__version__}",
    result_action="return_value",
    suppress_keyboard_interrupt=False,
    config=[Env("DEEPSCOPE_"), Toml(SETTINGS, search_parents=True, must_exist=False)],
)
data_app = App(name="data", help="Datasets: list, fetch, verify.")
runs_app = App(name="runs", help="Stored examinations: list, show.")
app.command(data_app)
app.command(runs_app)

Budget = Literal["quick", "standard", "deep"]
Instruments = Annotated[
    str | None, Parameter(help="Comma-separated names, or module:NAME of your own; all by default.")
]
Data = Annotated[str | None, Parameter(help="A dataset's name, or module:callable that returns batches.")]
Loss = Annotated[str | None, Parameter(help="A function of torch.nn.functional, or module:callable.")]
Out = Annotated[Path | None, Parameter(help="Write the report here: a page (.html) or data (.json).")]
Json = Annotated[bool, Parameter(name="--json", negative="", help="Print JSON on standard output.")]
Seed = Annotated[int, Parameter(help="Every random choice derives from it.")]
Device = Annotated[str | None, Parameter(help='Where to run the model: "cpu", "cuda", "cuda:1" ….')]
Offline = Annotated[bool, Parameter(negative="", help="Never touch the network.")]

DONE, PROBLEM, USAGE, PARTLY, INTERRUPTED = 0, 1, 2, 3, 130


@app.command
def examine(
    target: str | None = None,
    *,
    weights: Annotated[str | None, Parameter(help="Checkpoint to load into the factory's model.")] = None,
    data: Data = None,
    loss: Loss = None,
    layers: Annotated[str | None, Parameter(help='Only these, comma-separated patterns: "*.attention.*".')] = None,
    instruments: Instruments = None,
    budget: Budget = "standard",
    out: Out = None,
    json: Json = False,
    strict: Annotated[bool, Parameter(negative="", help="Exit with 1 if a problem was found.")] = False,
    baseline: Annotated[
        Path | None, Parameter(help="With --strict: only problems that this earlier --json did not have count.")
    ] = None,
    seed: Seed = 0,
    device: Device = None,
    offline: Offline = False,
) -> int:
    """Examine a network: what it is made of, how well its layers are trained, how signals and gradients flow.

    Parameters
    ----------
    target
        A checkpoint (.safetensors, .pt, .pth, .bin, .ckpt, .npz, or a model directory), or package.module:factory, a
        function that returns a torch module. Without it, a small network is trained on handwritten digits.
    """
    from deepscope.core import without_numbers
    from deepscope.lab import examine as run_examination
    from deepscope.lab import keep
    from deepscope.report import examination_text

    command = _command(examine, locals())
    _go_offline(offline)
    _check_writable(out)
    known = _problems_of(baseline) if baseline else set()
    with user_code():
        subject, about = _subject(target, weights, data, loss, seed, device)
        if layers is not None:
            subject = subject.only(*_split(layers))
        with progress() as tell:
            examination = run_examination(
                subject,
                instruments=_split(instruments) if instruments is not None else None,
                budget=budget,
                seed=seed,
                progress=tell,
                command=command,
                about=about,
            )
    stored = _stored(keep, examination)
    if out is not None:
        _save(examination.save, out)
    _show(examination.to_dict(), examination_text, json=json, out=out)
    _say_failures(examination)
    new = {(f.instrument, f.where, without_numbers(f.message)) for f in examination.problems} - known
    if strict and new:
        return PROBLEM
    return PARTLY if examination.failed or not stored else DONE


@app.command
def compare(
    a: str,
    b: str,
    *,
    data: Data = None,
    loss: Loss = None,
    instruments: Instruments = None,
    budget: Budget = "standard",
    out: Out = None,
    json: Json = False,
    seed: Seed = 0,
    device: Device = None,
    offline: Offline = False,
) -> int:
    """Compare two networks by name: change in weights per tensor, and both tables side by side.

    Parameters
    ----------
    a
        The first: a checkpoint, or package.module:factory.
    b
        The second.
    """
    from deepscope.lab import compare as run_comparison
    from deepscope.report import comparison_text

    command = _command(compare, locals())
    _go_offline(offline)
    _check_writable(out)
    with user_code():
        one, _ = _subject(a, None, data, loss, seed, device)
        other, _ = _subject(b, None, data, loss, seed, device)
        with progress() as tell:
            comparison = run_comparison(
                one,
                other,
                instruments=_split(instruments) if instruments is not None else None,
                budget=budget,
                seed=seed,
                progress=tell,
                command=command,
            )
    if out is not None:
        _save(comparison.save, out)
    _show(comparison.to_dict(), comparison_text, json=json, out=out)
    _say_failures(comparison.a)
    _say_failures(comparison.b)
    return PARTLY if comparison.a.failed or comparison.b.failed else DONE


@runs_app.command(name="list")
def runs_list(*, json: Json = False) -> int:
    """List stored runs, newest first."""
    from deepscope.lab import runs

    found, broken = runs()
    if json:
        rows = [{"id": r.id, "kind": r.kind, "name": r.name, "date": r.date, "outcome": r.outcome} for r in found]
        print(json_module.dumps(rows))
    else:
        for run in found:
            print(printable(f"{run.id}  {run.outcome}"))
        if not found:
            print("No run is stored yet. Try: deepscope examine")
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
    from deepscope.report import examination_page, examination_text

    _check_writable(out)
    found = find_run(run)
    record = found.record()
    if out is not None:
        _save(lambda path: write_report(path, record, lambda each: examination_page(each, found.figures())), out)
    if json:
        print(json_module.dumps(record, allow_nan=False))
    elif out is not None:
        print(f"Report: {out}")
    else:
        examination_text(record, console())
    return DONE


@data_app.command(name="list")
def data_list(*, json: Json = False) -> int:
    """List the datasets, and where each is found on this machine."""
    rows = _datasets()
    if json:
        print(json_module.dumps(rows))
        return DONE
    from rich.table import Table

    table = Table("name", "what", "licence", "found", box=None, pad_edge=False)
    for row in rows:
        table.add_row(row["name"], row["title"], row["licence"], row["found"] or "–")
    print_table(table)
    return DONE


@data_app.command(name="fetch")
def data_fetch(name: str, *, offline: Offline = False) -> int:
    """Make sure that a dataset is on this machine, and right.

    Parameters
    ----------
    name
        As "deepscope data list" names it.
    """
    from deepscope.data import fetch

    _go_offline(offline)
    with progress_bar() as bar:
        tasks: dict[str, Any] = {}

        def tell(file: RemoteFile, done: int, total: int) -> None:
            if file.path not in tasks:
                tasks[file.path] = bar.add_task(file.path, total=total or None)
            bar.update(tasks[file.path], completed=done)

        paths = fetch(name, progress=tell)
    print("\n".join(map(str, paths)) if paths else f"{name} comes with an installed library; nothing to fetch.")
    return DONE


@data_app.command(name="verify")
def data_verify(name: str | None = None, *, json: Json = False) -> int:
    """Check every file that is here against its checksum.

    Parameters
    ----------
    name
        One dataset; all unless given.
    """
    from dataclasses import asdict

    from deepscope.data import catalog, verify

    names = [name] if name is not None else [source.name for source in catalog()]
    states = [(each, state) for each in names for state in verify(each)]
    if json:
        print(json_module.dumps([{"name": n, **{k: str(v or "") for k, v in asdict(s).items()}} for n, s in states]))
    else:
        for _, state in states:
            print(f"{state.status:<8} {state.file}  {state.detail or state.path}")
        if not states:
            print("No files to check: it comes with an installed library.")
    wrong = any(state.status == "wrong" for _, state in states)
    missing = name is not None and any(state.status == "missing" for _, state in states)
    return PARTLY if wrong or missing else DONE


@app.command
def doctor(*, json: Json = False) -> int:
    """Say what deepscope finds here: versions, device, data, disk."""
    import shutil

    import torch  # noqa: F401 - hardware() names the accelerator only where torch is loaded

    from deepscope.core import home
    from deepscope.lab import hardware, versions

    where = home()
    existing = next(folder for folder in (where, *where.parents) if folder.exists())
    facts: dict[str, Any] = {
        "versions": versions(),
        "hardware": hardware(),
        "home": str(where),
        "home_writable": os.access(existing, os.W_OK),
        "disk_free_bytes": shutil.disk_usage(existing).free,
        "data": {row["name"]: row["found"] for row in _datasets()},
    }
    if json:
        print(json_module.dumps(facts))
        return DONE
    from rich.table import Table

    table = Table(box=None, show_header=False, pad_edge=False)
    for name, version in facts["versions"].items():
        table.add_row(name, version)
    machine = facts["hardware"]
    table.add_row("processor", f"{machine['cpu']}, {machine['cores']} cores, {machine['memory_bytes'] / 2**30:.0f} GiB")
    table.add_row("accelerator", machine["accelerator"] or "none (everything runs on the CPU)")
    table.add_row("store", f"{where} ({'writable' if facts['home_writable'] else 'NOT writable: set DEEPSCOPE_HOME'})")
    table.add_row("disk free", f"{facts['disk_free_bytes'] / 2**30:.0f} GiB")
    for name, found in facts["data"].items():
        table.add_row(f"data: {name}", found or "not here; deepscope data fetch " + name)
    print_table(table)
    return DONE


def run(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code; every error is a message, never a traceback."""
    open_streams()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            code = app(arguments, exit_on_error=False, print_error=False, console=console())
    except KeyboardInterrupt:
        say("Interrupted; nothing half-written.")
        return INTERRUPTED
    except BrokenPipeError:
        # Only lists and help print outside _show; a reader who has seen enough of them is no error.
        code = DONE
    except Exception as error:
        if os.environ.get("DEEPSCOPE_DEBUG"):
            raise
        say(_explained(error))
        return USAGE
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        forget_stdout()
    return code if isinstance(code, int) else DONE


def _explained(error: Exception) -> str:
    """Say in at most three lines what happened, where, and what to do next."""
    from cyclopts import CycloptsError

    from deepscope.core import DeepscopeError, one_line

    if isinstance(error, DeepscopeError):
        return str(error)
    if isinstance(error.__cause__ or error, (TOMLDecodeError, UnicodeDecodeError)):
        found = [folder / SETTINGS for folder in (Path.cwd(), *Path.cwd().parents) if (folder / SETTINGS).exists()]
        where = found[0] if found else SETTINGS
        return f"The settings cannot be read ({one_line(error)}): {where}\nMend it, or move it away."
    if isinstance(error, CycloptsError):
        return f"{' '.join(str(error).split())}\nSee deepscope --help."
    if isinstance(error, (OSError, MemoryError)):
        return one_line(error)
    return f"{one_line(error)}\nThis is a fault of deepscope: please report it, with what DEEPSCOPE_DEBUG=1 prints."


def _show(
    record: dict[str, Any], text: Callable[[dict[str, Any], Console], None], *, json: bool, out: Path | None
) -> None:
    """Print a record as JSON or as text. A reader who leaves early does not change the exit code."""
    try:
        if json:
            print(json_module.dumps(record, allow_nan=False), flush=True)
        else:
            text(record, console())
            if out is not None:
                print(f"\nReport: {out}", flush=True)
    except BrokenPipeError:
        forget_stdout()


def _say_failures(examination: Examination) -> None:
    for entry in examination.not_run:
        if entry.name in examination.failed:
            say(f"not run: {entry.name}: {entry.reason}".replace("\n", " "))


def _subject(
    target: str | None, weights: str | None, data: str | None, loss: str | None, seed: int, device: str | None
) -> tuple[Any, str]:
    from deepscope.core import UsageError
    from deepscope.lab import subject_of, train_demo

    if device is not None:
        _check_device(device)
    _seed(seed)
    if target is None:
        if weights or data or loss:
            raise UsageError("the demo takes no --weights, --data or --loss", todo="Give a target to examine.")
        say("Training a small network on handwritten digits (the demo; a few seconds) …", transient=True)
        return train_demo(seed, device)
    subject = subject_of(target, data=data, loss=loss, weights=weights)
    if subject.model is not None and device is not None:
        subject.model.to(device)
    return subject, ""


def _seed(seed: int) -> None:
    """Let a user's factory and data draw the same each time; the process is the command line's own."""
    import random

    import numpy as np
    import torch

    from deepscope.core import derive_seed

    random.seed(seed)
    np.random.seed(derive_seed(seed, "numpy") % 2**32)  # noqa: NPY002 - what a user's code may draw from
    torch.manual_seed(derive_seed(seed, "torch"))


def _check_device(device: str) -> None:
    import torch

    from deepscope.core import UsageError

    try:
        torch.zeros(1, device=device).item()
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise UsageError(
            f"the device cannot be used ({str(error).splitlines()[0]})",
            where=device,
            todo='Use --device cpu, or see what "deepscope doctor" finds.',
        ) from error


def _check_writable(out: Path | None) -> None:
    from deepscope.core import UsageError
    from deepscope.lab import check_report_path

    if out is None:
        return
    check_report_path(out)
    if out.is_dir() or not out.parent.is_dir() or not os.access(out.parent, os.W_OK):
        raise UsageError(
            "the report cannot be written", where=str(out), todo="Give a file in a folder that exists and is writable."
        )


def _save(save: Callable[[Path], object], out: Path) -> None:
    from deepscope.core import UsageError

    try:
        save(out)
    except OSError as error:
        raise UsageError(
            f"the report cannot be written ({error.strerror or error})",
            where=str(out),
            todo="Free some space, or give another path with --out.",
        ) from error


def _stored(keep: Callable[[Examination], object], examination: Examination) -> bool:
    try:
        keep(examination)
    except OSError as error:
        say(f"The run was not stored: {error}. Set DEEPSCOPE_HOME to a writable folder.")
        return False
    return True


def _problems_of(baseline: Path) -> set[tuple[str, str, str]]:
    from deepscope.core import TargetError, without_numbers

    try:
        findings = json_module.loads(baseline.read_text(encoding="utf-8"))["findings"]
        problems = [finding for finding in findings if finding["severity"] == "problem"]
        return {(f["instrument"], f["where"], without_numbers(f["message"])) for f in problems}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise TargetError(
            f"the baseline cannot be read ({type(error).__name__})",
            where=str(baseline),
            todo="Give what an earlier deepscope examine --json printed.",
        ) from error


def _datasets() -> list[dict[str, str]]:
    from deepscope.data import catalog, locate

    return [
        {"name": source.name, "title": source.title, "licence": source.licence, "found": _found(locate(source))}
        for source in catalog()
    ]


def _found(location: Any) -> str:
    if not location.paths:
        return "built in"
    return str(location.paths[0].parent) if all(path is not None for path in location.paths) else ""


def _split(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def _go_offline(offline: bool) -> None:
    if offline:
        os.environ["DEEPSCOPE_OFFLINE"] = "1"


def _command(verb: Callable[..., int], given: Mapping[str, Any]) -> str:
    """Return the command that does this again, settings from the environment or a file included."""
    words = ["deepscope", verb.__name__]
    for name, parameter in inspect.signature(verb).parameters.items():
        value = given[name]
        if value == parameter.default:
            continue
        flag = [] if parameter.kind is parameter.POSITIONAL_OR_KEYWORD else [f"--{name}"]
        words += flag if value is True else [*flag, str(value)]
    return shlex.join(words)
