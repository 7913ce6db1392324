"""What the store can do without: leftovers, runs that newer ones hold, checkpoints of finished trials."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from deepscope.core import DeepscopeError, UsageError, home
from deepscope.lab import _index
from deepscope.lab._draft import LOCK, abandoned, leftovers, remove
from deepscope.lab._runs import Run, runs, runs_folder, tensor_logs
from deepscope.lab._store import earlier_trials
from deepscope.lab._trial_record import fingerprint

Garbage = tuple[Path, str]

_STALE_SECONDS = 30 * 24 * 3600.0


def collect_garbage(*, dry_run: bool = False) -> list[tuple[Path, int, str]]:
    """Remove what holds nothing that the store does not hold elsewhere.

    That is: what killed writers have left; what an examination that was stopped a month ago had measured; a study's
    run all of whose finished trials are, bit for bit, in newer runs, if it was never finished or a newer one gives the
    verdict of the same protocol; a watched training that was killed before its first measurement; checkpoints of
    finished trials. What is being written is not touched, nor is an examination, nor anything that cannot be read.

    Parameters
    ----------
    dry_run
        Only say what would be removed.

    Returns
    -------
    list of (path, bytes, reason)

    Raises
    ------
    UsageError
        Something cannot be removed; what stands before it in the order of the list is gone.

    Notes
    -----
    Cost: reads the trials of all studies' runs.
    """
    found, _ = runs()
    studies: dict[str, list[Run]] = {}
    for run in found:
        if run.kind == "study":
            studies.setdefault(run.name, []).append(run)
    garbage = [*_leftovers(found), *_superseded(studies.values()), *_unmeasured(found), *_checkpoints(studies)]
    removed = []
    for path, reason in garbage:
        size = _size(path)
        if dry_run or _remove(path):
            removed.append((path, size, reason))
    return removed


def _leftovers(found: Sequence[Run]) -> Iterator[Garbage]:
    reason = "left by a process that was killed"
    folder = runs_folder()
    yield from ((path, reason) for path in leftovers(folder))
    # Whoever is writing one of these does without the index.
    yield from ((path, reason) for path in sorted(folder.glob(f".{_index.NAME}.*.part")))
    for path in sorted(tensor_logs().glob("*")):
        if time.time() - path.stat().st_mtime > _STALE_SECONDS:
            yield path, "of an examination that was stopped a month ago"
    for run in found:
        if (run.path / LOCK).exists() and _is_idle(run):
            yield from ((path, reason) for path in sorted(run.path.rglob(".*.part")))


def _superseded(studies: Iterable[list[Run]]) -> Iterator[Garbage]:
    for its in studies:
        kept: set[tuple[str, str]] = set()
        verdicts: set[str] = set()
        # Newest first, so that what is counted as being elsewhere stays.
        for run in filter(_is_idle, its):
            try:
                records, unreadable = run.trials()
                protocol = _protocol(run)
            except DeepscopeError:
                continue
            trials = {(each.identity, fingerprint(each)) for each in records if each.status == "finished"}
            if unreadable or not trials <= kept or (run.finished and protocol not in verdicts):
                kept |= trials
                verdicts |= {protocol} if run.finished else set()
            elif run.finished:
                yield run.path, "newer runs hold its trials and the verdict of its protocol"
            else:
                yield run.path, "not finished, and newer runs hold its trials" if trials else "not finished, no trials"


def _unmeasured(found: Sequence[Run]) -> Iterator[Garbage]:
    for run in found:
        if run.kind != "watch" or run.finished or not _is_idle(run):
            continue
        try:
            points, unreadable = run.points()
        except DeepscopeError:
            continue
        if not unreadable and not any(point["kind"] in ("measurement", "window") for point in points):
            yield run.path, "not finished, nothing measured"


def _checkpoints(studies: dict[str, list[Run]]) -> Iterator[Garbage]:
    for folder in sorted((home() / "checkpoints").glob("*/")):
        its = studies.get(folder.name, [])
        # A run that is made anew writes checkpoints of trials that are finished elsewhere.
        if its and all(map(_is_idle, its)):
            finished, _ = earlier_trials(folder.name)
            for path in sorted(folder.iterdir()):
                if path.name.lstrip(".").partition(".")[0] in finished:
                    yield path, "its trial is finished"


def _is_idle(run: Run) -> bool:
    with abandoned(run.path) as nobody_writes:
        return nobody_writes


def _protocol(run: Run) -> str:
    head = run.head()
    return json.dumps([head.get(part) for part in ("scale", "modified", "settings", "seeds")], sort_keys=True)


def _size(path: Path) -> int:
    files = path.rglob("*") if path.is_dir() else [path]
    return sum(file.lstat().st_size for file in files if not file.is_dir())


def _remove(path: Path) -> bool:
    try:
        if path.parent == runs_folder() and path.is_dir():
            return remove(path)
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
    except OSError as error:
        raise UsageError(
            f"cannot be removed ({error.strerror or error})",
            where=str(path),
            todo="Make it writable, then run it again.",
        ) from error
    return True
