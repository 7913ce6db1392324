"""Records in, pages out: what an examination or a comparison says, in a terminal and as one HTML file."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from deepscope.report._comparison import comparison_page
from deepscope.report._examination import examination_page
from deepscope.report._sentence import comparison_sentence, sentence

if TYPE_CHECKING:
    from deepscope.report._comparison_text import comparison_text
    from deepscope.report._examination_text import examination_text

# rich draws from Python's random generator when it is first imported; only what is shown in a terminal needs it.
_HOME = {"comparison_text": "_comparison_text", "examination_text": "_examination_text"}

__all__ = [
    "comparison_page",
    "comparison_sentence",
    "comparison_text",
    "examination_page",
    "examination_text",
    "sentence",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)
