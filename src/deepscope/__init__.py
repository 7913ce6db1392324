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
    from deepscope.core import Finding, Instrument, LeftOut, Needs, Reading
    from deepscope.lab import Comparison, Examination, compare, examine
    from deepscope.subject import Subject

__version__ = "0.1.0"

# Names are loaded when first used: `import deepscope` and `deepscope --help` stay light.
_HOME = {
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
}

__all__ = [
    "Comparison",
    "Examination",
    "Finding",
    "Instrument",
    "LeftOut",
    "Needs",
    "Reading",
    "Subject",
    "__version__",
    "compare",
    "examine",
]


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)
    if name in {"core", "linalg", "figures", "subject", "data", "models", "training", "instruments", "report", "lab"}:
        return importlib.import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
