"""The lab: what is run, stored and compared. Names are loaded when first used, so that listing never loads torch."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from deepscope.lab._compare import Comparison, compare
    from deepscope.lab._demo import train_demo
    from deepscope.lab._examination import Examination
    from deepscope.lab._examine import Progress, examine
    from deepscope.lab._machine import hardware, versions
    from deepscope.lab._report_file import check_report_path, write_report
    from deepscope.lab._store import Run, find_run, keep, runs, runs_folder
    from deepscope.lab._target import subject_of

_HOME = {
    "Comparison": "_compare",
    "Examination": "_examination",
    "Progress": "_examine",
    "Run": "_store",
    "check_report_path": "_report_file",
    "compare": "_compare",
    "examine": "_examine",
    "find_run": "_store",
    "hardware": "_machine",
    "keep": "_store",
    "runs": "_store",
    "runs_folder": "_store",
    "subject_of": "_target",
    "train_demo": "_demo",
    "versions": "_machine",
    "write_report": "_report_file",
}

__all__ = [
    "Comparison",
    "Examination",
    "Progress",
    "Run",
    "check_report_path",
    "compare",
    "examine",
    "find_run",
    "hardware",
    "keep",
    "runs",
    "runs_folder",
    "subject_of",
    "train_demo",
    "versions",
    "write_report",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)
