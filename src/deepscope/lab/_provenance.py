"""Where stored trials come from: the versions and the machine of the runs in which they were made."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from deepscope.core import DeepscopeError
from deepscope.lab._runs import runs
from deepscope.lab._trial_record import TrialRecord

_SAID = ("versions", "hardware", "commit", "device")


def environments(study: str, records: Iterable[TrialRecord]) -> dict[str, dict[str, Any]]:
    """Return what is known of the runs in which stored trials were made, by the run's id.

    A run that copies trials keeps this with them, so that it outlives the run that made them.
    """
    wanted = {record.run for record in records}
    found: dict[str, dict[str, Any]] = {}
    for run in runs()[0] if wanted else ():
        if (run.kind, run.name) != ("study", study):
            continue
        try:
            head = run.head()
        except DeepscopeError:
            continue
        own = {run.id: {name: head[name] for name in _SAID if name in head}}
        for origin, said in {**head.get("environments", {}), **own}.items():
            if origin in wanted:
                found.setdefault(origin, said)
    return found


def differences(
    records: Iterable[TrialRecord], origins: Mapping[str, Mapping[str, Any]], here: Mapping[str, str], device: str
) -> list[str]:
    """Say which stored trials were made with other versions, or on another device: their last digits may differ.

    Parameters
    ----------
    records
        The stored trials.
    origins
        What ``environments`` returned.
    here
        Version by package.
    device
        What new trials compute on.

    Returns
    -------
    list of str
        One sentence for each other version of a package, and for each other device.
    """
    counted: Counter[tuple[str, str]] = Counter()
    elsewhere: Counter[str] = Counter()
    for record in records:
        elsewhere[record.device] += record.device != device
        versions = origins.get(record.run, {}).get("versions", {})
        counted.update((package, was) for package, was in versions.items() if here.get(package, was) != was)
    return [
        *(
            f"{_many(count)} made with {package} {was}; here is {here[package]}."
            for (package, was), count in sorted(counted.items())
        ),
        *(f"{_many(count)} made on {was}; here is {device}." for was, count in sorted(elsewhere.items()) if count),
    ]


def _many(count: int) -> str:
    return "1 stored trial was" if count == 1 else f"{count} stored trials were"
