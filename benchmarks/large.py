"""The exponents of two matrices as large language models have them, beside WeightWatcher: one thread each."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from process import Costs, medians, runs
from spectrum import ours, theirs, write

SHAPES = {"4096 × 4096": (4096, 4096), "4096 × 11,008": (4096, 11008)}
SMALL = {"divide": 16}
LIMIT = 0.35


def bench(repeats: int, divide: int = 1) -> dict[str, Any]:
    """Return, for each shape, the medians over the repeats; the peer runs once: it takes minutes."""
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        for name, (rows, cols) in SHAPES.items():
            ours_file, theirs_file = write(Path(folder), name, {"layer": (rows // divide, cols // divide)})
            samples: dict[str, list[Costs]] = {"weightwatcher": [theirs(theirs_file)]}
            for _ in range(repeats):
                for what in ("alpha", "eigenvalues"):
                    samples.setdefault(what, []).append(ours(what, ours_file))
            found[name] = {what: medians(each) for what, each in samples.items()}
    return {"repeats": repeats, "costs": found}


def broken_promises(result: dict[str, Any]) -> list[str]:
    """Say where α takes more than 0.35 of the peer's CPU time."""
    return [
        f"α of {name} takes {ratio:.2f} of the peer's CPU time"
        for name, costs in result["costs"].items()
        if (ratio := costs["alpha"]["cpu_seconds"] / costs["weightwatcher"]["cpu_seconds"]) > LIMIT
    ]


def table(result: dict[str, Any]) -> str:
    """Return the result as a Markdown table and one sentence."""
    lines = [
        "| one thread | `weightwatcher.analyze()` | `spectrum`, α alone | ratio | Gram matrix and LAPACK alone |",
        "| --- | ---: | ---: | ---: | ---: |",
    ]
    for name, costs in result["costs"].items():
        peer, alpha, limit = (costs[what]["cpu_seconds"] for what in ("weightwatcher", "alpha", "eigenvalues"))
        lines.append(f"| {name} | {peer:.0f} s | {alpha:.1f} s | {alpha / peer:.2f} | {limit:.1f} s |")
    return "\n".join([*lines, "", f"CPU time in float64; {runs(result['repeats'])}, the peer once."])
