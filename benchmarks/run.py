"""Run every benchmark, write results.json, and put the numbers into the README.

python benchmarks/run.py [--repeats N] [--blocks N] [--dry-run] [--readme]
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

import spectrum

HERE = Path(__file__).parent
RESULTS = HERE / "results.json"
README = HERE.parent / "README.md"
TABLES = {"spectrum": spectrum.table}


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


def write_readme(results: dict[str, Any]) -> None:
    """Replace what stands between ``<!-- bench:NAME -->`` and ``<!-- /bench -->``."""
    text = README.read_text(encoding="utf-8")
    for name, table in TABLES.items():
        where = results["machine"]
        versions = where["versions"]
        words = f"{table(results[name])} {where['cpu']}, torch {versions['torch']}, NumPy {versions['numpy']}."
        block = f"<!-- bench:{name} -->\n\n{words}\n\n<!-- /bench -->"
        before, mark, rest = text.partition(f"<!-- bench:{name} -->")
        _, end, after = rest.partition("<!-- /bench -->")
        if not (mark and end):
            print(f"README.md has no <!-- bench:{name} --> … <!-- /bench -->: left as it is.")
            continue
        text = f"{before}{block}{after}"
    README.write_text(text, encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=3, help="runs of each measurement; the median counts")
    parser.add_argument("--blocks", type=int, default=spectrum.BLOCKS, help="transformer blocks, four matrices each")
    parser.add_argument("--dry-run", action="store_true", help="print only; write neither results.json nor README.md")
    parser.add_argument("--readme", action="store_true", help="measure nothing; write README.md from results.json")
    options = parser.parse_args()
    if options.readme:
        write_readme(json.loads(RESULTS.read_text()))
        return
    results = {"machine": machine(), "spectrum": spectrum.bench(options.repeats, options.blocks)}
    for name, table in TABLES.items():
        print(f"{name}\n\n{table(results[name])}\n")
    if not options.dry_run:
        RESULTS.write_text(json.dumps(results, indent=2) + "\n")
        write_readme(results)


if __name__ == "__main__":
    main()
