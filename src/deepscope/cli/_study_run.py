"""deepscope study run."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from deepscope._terminal import progress, say, user_code
from deepscope.cli._options import (
    DONE,
    INTERRUPTED,
    PARTLY,
    PROBLEM,
    USAGE,
    Json,
    Offline,
    Out,
    command_of,
    go_offline,
)
from deepscope.cli._output import check_writable, print_json, save, show
from deepscope.cli._study_options import (
    Address,
    Device,
    DryRun,
    Executor,
    Fresh,
    Memory,
    Mirrors,
    Scale,
    Seeds,
    Settings,
    Timeout,
    Workers,
)
from deepscope.cli._study_plan import show_plans
from deepscope.cli._subject import check_device

if TYPE_CHECKING:
    from deepscope.lab import StudyRun
    from deepscope.training import Tracker

_Result = TypeVar("_Result")


def study_run(
    *names: str,
    scale: Scale = "quick",
    executor: Executor = "pool",
    address: Address = None,
    workers: Workers = None,
    fresh: Fresh = False,
    dry_run: DryRun = False,
    settings: Settings = (),
    seeds: Seeds = None,
    timeout: Timeout = None,
    memory: Memory = None,
    device: Device = "cpu",
    mirrors: Mirrors = (),
    out: Out = None,
    json: Json = False,
    offline: Offline = False,
) -> int:
    """Put claims to the test: run the trials that are not stored yet, judge, draw, store.

    Exit code 0: all claims are reproduced. 1: one is not. 3: one is left open, or a trial or a figure failed.

    Parameters
    ----------
    names
        Studies as "deepscope study list" names them, or files of your own that end in .py.
    """
    given = locals()

    def command(*studies: str, **changes: object) -> str:
        return command_of("study run", study_run, {**given, **changes, "names": studies})

    names = tuple(dict.fromkeys(names))
    _check(names, out)
    go_offline(offline)

    # Only now: a name that is wrong is said before torch is loaded.
    from deepscope.lab import parse_settings, plan_study, run_study
    from deepscope.report import study_text

    protocol: dict[str, Any] = {"scale": scale, "settings": parse_settings(settings), "seeds": seeds, "fresh": fresh}
    if dry_run:
        return show_plans(each_study(names, lambda name: plan_study(name, **protocol)), len(names), json=json)
    if executor != "ray":
        check_device(device)
    machine: dict[str, Any] = {
        "executor": executor,
        "workers": workers,
        "address": address,
        "timeout": timeout,
        "memory_bytes": _bytes(memory),
        "device": device,
        "trackers": _trackers(mirrors),
    }

    def work(name: str) -> StudyRun:
        with progress(in_words=True) as tell:
            return run_study(name, **protocol, **machine, progress=tell, command=command(name))

    results = []
    try:
        for result in each_study(names, work):
            results.append(result)
            if out is not None:
                save(result.save, out)
            if not json:
                show(result.record, study_text, json=False, out=out)
    except KeyboardInterrupt:
        say(f"Interrupted. The trials that were finished are stored; go on with:\n{command(*names, fresh=False)}")
        return INTERRUPTED
    if json and results:
        print_json([result.record for result in results] if len(names) > 1 else results[0].record)
    return _code(results, len(names))


def _check(names: Sequence[str], out: Path | None) -> None:
    """Refuse what is wrong whatever the trials say, before the first of them runs."""
    from deepscope.core import UsageError

    if not names:
        raise UsageError("no study is named", todo='"deepscope study list" lists them.')
    check_known([name for name in names if not name.endswith(".py")])
    if out is not None and len(names) > 1:
        raise UsageError("a report is about one study", where=str(out), todo="Name one study, or leave --out away.")
    check_writable(out)


def check_known(names: Sequence[str]) -> None:
    """Refuse names that no study of the atlas has.

    Raises
    ------
    UsageError
        One of them.
    """
    from deepscope.core import UsageError, nearest
    from deepscope.studies import catalog

    known = [heading.id for heading in catalog()] if names else []
    for name in names:
        if name not in known:
            raise UsageError("unknown study", where=name, todo=nearest(name, known))


def _bytes(gib: float | None) -> int | None:
    from deepscope.core import UsageError

    if gib is not None and not 0 < gib < math.inf:
        raise UsageError(f"{gib:g} GiB of memory", where="--memory", todo="Give more than 0, such as 0.5.")
    return None if gib is None else int(gib * 2**30)


def _trackers(mirrors: Sequence[str]) -> list[Tracker]:
    if not mirrors:
        return []
    with user_code():
        from deepscope.training import tracker

        return [tracker(name) for name in mirrors]


def each_study(names: Sequence[str], work: Callable[[str], _Result]) -> Iterator[_Result]:
    """Yield what each study gives. Of several, one that cannot be run does not stop the others; why is said."""
    from deepscope.core import DeepscopeError

    said = set()
    for name in names:
        try:
            with user_code():
                result = work(name)
        except DeepscopeError as error:
            if str(error) not in said:
                say(str(error))
            said.add(str(error))
        else:
            yield result


def _code(results: Sequence[StudyRun], named: int) -> int:
    outcomes = {result.record["verdict"] for result in results}
    if not results:
        return USAGE
    if "not reproduced" in outcomes:
        return PROBLEM
    whole = len(results) == named and all(result.stored and result.figure for result in results)
    return DONE if whole and outcomes == {"reproduced"} else PARTLY
