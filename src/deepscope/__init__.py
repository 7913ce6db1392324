"""deepscope: an observatory for deep learning.

>>> import torch, deepscope
>>> examination = deepscope.examine(torch.nn.Linear(64, 32), instruments=["anatomy"])
>>> examination.readings["anatomy"].parameters
2080
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from deepscope.core import (
        Case,
        Criterion,
        Finding,
        Grid,
        Instrument,
        LeftOut,
        Needs,
        Reading,
        Study,
        Verdict,
        per_seed,
    )
    from deepscope.lab import Comparison, Examination, Watched, compare, examine, watch
    from deepscope.subject import Subject

__version__ = "0.1.0"

# Names are loaded when first used: `import deepscope` and `deepscope --help` stay light.
_HOME = {
    "per_seed": "core",
    "Verdict": "core",
    "Study": "core",
    "Grid": "core",
    "Criterion": "core",
    "Case": "core",
    "Comparison": "lab",
    "Examination": "lab",
    "Finding": "core",
    "Instrument": "core",
    "LeftOut": "core",
    "Needs": "core",
    "Reading": "core",
    "Subject": "subject",
    "compare": "lab",
    "examine": "lab",
    "watch": "lab",
    "Watched": "lab",
}

__all__ = [
    "Case",
    "Comparison",
    "Criterion",
    "Examination",
    "Finding",
    "Grid",
    "Instrument",
    "LeftOut",
    "Needs",
    "Reading",
    "Study",
    "Subject",
    "Verdict",
    "Watched",
    "__version__",
    "compare",
    "examine",
    "per_seed",
    "watch",
]


_PARTS = (
    "core",
    "linalg",
    "figures",
    "subject",
    "data",
    "models",
    "training",
    "instruments",
    "studies",
    "report",
    "lab",
)


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)
    if name in _PARTS:
        return importlib.import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
