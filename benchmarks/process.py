"""Measurements run in processes of their own, one thread each, and answer in JSON."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
#: Python of deepscope's environment, and of the peers'.
OURS, THEIRS = sys.executable, str(HERE.parent / ".peers" / "bin" / "python")

Costs = dict[str, float]


def run(command: list[str], folder: Path = HERE, **environment: str) -> str:
    """Return what a command prints; one that fails ends the benchmark."""
    if not Path(command[0]).exists():
        raise SystemExit("the peers' environment is missing: make .peers/.ready")
    one = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
    done = subprocess.run(
        command, env={**os.environ, **one, **environment}, cwd=folder, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} failed:\n{done.stderr[-2000:]}")
    return done.stdout


def answer(python: str, script: str, *arguments: object, folder: Path = HERE, **environment: str) -> dict[str, Any]:
    """Return the JSON of the last line that one of the scripts beside this file prints."""
    printed = run([python, str(HERE / script), *map(str, arguments)], folder, **environment)
    found: dict[str, Any] = json.loads(printed.splitlines()[-1])
    return found


def runs(repeats: int) -> str:
    """Say what the numbers are."""
    return f"medians of {repeats} runs" if repeats > 1 else "one run each"


def medians(samples: Iterable[Mapping[str, float]]) -> Costs:
    """Return the median of each number."""
    found = list(samples)
    return {name: statistics.median(sample[name] for sample in found) for name in found[0]}
