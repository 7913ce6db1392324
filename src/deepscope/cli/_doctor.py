"""deepscope doctor."""

from __future__ import annotations

import json as json_module
import os
from typing import Any

from deepscope._terminal import print_table
from deepscope.cli._data import datasets
from deepscope.cli._options import DONE, Json


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
        "data": {row["name"]: row["found"] for row in datasets()},
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
