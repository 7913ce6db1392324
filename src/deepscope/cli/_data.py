"""deepscope data list|fetch|verify."""

from __future__ import annotations

import json as json_module
from typing import TYPE_CHECKING, Any

from cyclopts import App

from deepscope._terminal import print_table, progress_bar
from deepscope.cli._options import DONE, PARTLY, Json, Offline, go_offline

if TYPE_CHECKING:
    from deepscope.data import RemoteFile

data_app = App(name="data", help="Datasets: list, fetch, verify.")


@data_app.command(name="list")
def data_list(*, json: Json = False) -> int:
    """List the datasets, and where each is found on this machine."""
    rows = datasets()
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

    go_offline(offline)
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


def datasets() -> list[dict[str, str]]:
    """Return every dataset's name, title and licence, and where it is found: ``""`` where it is not here."""
    from deepscope.data import catalog, locate

    return [
        {"name": source.name, "title": source.title, "licence": source.licence, "found": _found(locate(source))}
        for source in catalog()
    ]


def _found(location: Any) -> str:
    if not location.paths:
        return "built in"
    return str(location.paths[0].parent) if all(path is not None for path in location.paths) else ""
