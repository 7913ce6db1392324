"""Run every benchmark, write results.json, and put the numbers into the README.

python benchmarks/run.py [--repeats N] [--small] [--dry-run] [--readme]
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
import re
from importlib.metadata import version
from pathlib import Path
from typing import Any

import curvature
import graphs
import jacobian
import kernel
import landscape
import large
import many_networks
import models
import overhead
import regions
import representation
import scale
import spectrum
import store

HERE = Path(__file__).parent
RESULTS = HERE / "results.json"
README = HERE.parent / "README.md"
BENCHES: dict[str, Any] = {
    "spectrum": spectrum,
    "curvature": curvature,
    "kernel": kernel,
    "jacobian": jacobian,
    "landscape": landscape,
    "representation": representation,
    "regions": regions,
    "models": models,
    "graphs": graphs,
    "many_networks": many_networks,
    "large": large,
    "scale": scale,
    "store": store,
    "overhead": overhead,
}


def machine() -> dict[str, Any]:
    """Return what the numbers depend on."""
    info = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
    model = re.search(r"model name\s*:\s*(.+)", info)
    return {
        "cpu": model[1].strip() if model else platform.processor(),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "versions": {name: version(name) for name in ("deepscope", "numpy", "scipy", "torch")},
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
    }


def with_numbers(text: str, results: dict[str, Any]) -> str:
    """Return a page with the numbers between ``<!-- bench:NAME -->`` and ``<!-- /bench -->`` replaced."""
    for name, bench in BENCHES.items():
        where = results[name]["machine"]
        words = f"{bench.table(results[name])} {where['cpu']}, torch {where['versions']['torch']}, "
        words += f"NumPy {where['versions']['numpy']}, {where['date']}."
        before, mark, rest = text.partition(f"<!-- bench:{name} -->")
        _, end, after = rest.partition("<!-- /bench -->")
        if not (mark and end):
            raise SystemExit(f"README.md has no <!-- bench:{name} --> … <!-- /bench -->: put it back.")
        text = f"{before}{mark}\n\n{words}\n\n{end}{after}"
    return text


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=3, help="runs of each measurement; the median counts")
    parser.add_argument("--small", action="store_true", help="less of everything, to try it out; implies --dry-run")
    parser.add_argument("--dry-run", action="store_true", help="print only; write neither results.json nor README.md")
    parser.add_argument("--only", choices=BENCHES, action="append", help="this alone (repeatable); the rest is kept")
    parser.add_argument("--readme", action="store_true", help="measure nothing; write README.md from results.json")
    options = parser.parse_args()
    if options.readme:
        README.write_text(with_numbers(README.read_text(encoding="utf-8"), json.loads(RESULTS.read_text())), "utf-8")
        return
    asked = {name: bench for name, bench in BENCHES.items() if name in (options.only or BENCHES)}
    results = json.loads(RESULTS.read_text()) if options.only and RESULTS.exists() else {}
    for name, bench in asked.items():
        # Beside its own numbers: what is measured alone says nothing of where the others were.
        results[name] = {"machine": machine(), **bench.bench(options.repeats, **(bench.SMALL if options.small else {}))}
        print(f"{name}\n\n{bench.table(results[name])}\n", flush=True)
    if not (options.dry_run or options.small):
        RESULTS.write_text(json.dumps(results, indent=2) + "\n")
        README.write_text(with_numbers(README.read_text(encoding="utf-8"), results), "utf-8")
    if broken := [words for name, bench in asked.items() for words in bench.broken_promises(results[name])]:
        raise SystemExit("; ".join(broken))


if __name__ == "__main__":
    main()
