"""Records in, pages out: what an examination, a comparison, a study or the atlas says, in a terminal and as HTML."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from deepscope.report._atlas import atlas_site
from deepscope.report._comparison import comparison_page
from deepscope.report._examination import examination_page
from deepscope.report._sentence import comparison_sentence, sentence
from deepscope.report._study_page import study_page
from deepscope.report._trajectory import trajectory_page
from deepscope.report._trajectory_figure import trajectory_figure
from deepscope.report._verdict import verdict_sentence
from deepscope.report._watch import watch_page, watch_sentence
from deepscope.report._watch_figure import watch_figure

if TYPE_CHECKING:
    from deepscope.report._catalog_text import study_list_text, study_show_text
    from deepscope.report._comparison_text import comparison_text
    from deepscope.report._coverage_text import coverage_text
    from deepscope.report._examination_text import examination_text
    from deepscope.report._model_text import model_list_text, model_show_text
    from deepscope.report._reading_text import reading_text
    from deepscope.report._runs_text import compare_runs_text
    from deepscope.report._study_text import study_text
    from deepscope.report._trajectory_text import trajectory_text
    from deepscope.report._watch_text import watch_text

# rich draws from Python's random generator when it is first imported; only what is shown in a terminal needs it.
_HOME = {
    "compare_runs_text": "_runs_text",
    "comparison_text": "_comparison_text",
    "coverage_text": "_coverage_text",
    "examination_text": "_examination_text",
    "model_list_text": "_model_text",
    "model_show_text": "_model_text",
    "reading_text": "_reading_text",
    "study_list_text": "_catalog_text",
    "study_show_text": "_catalog_text",
    "study_text": "_study_text",
    "trajectory_text": "_trajectory_text",
    "watch_text": "_watch_text",
}

__all__ = [
    "atlas_site",
    "compare_runs_text",
    "comparison_page",
    "comparison_sentence",
    "comparison_text",
    "coverage_text",
    "examination_page",
    "examination_text",
    "model_list_text",
    "model_show_text",
    "reading_text",
    "sentence",
    "study_list_text",
    "study_page",
    "study_show_text",
    "study_text",
    "trajectory_figure",
    "trajectory_page",
    "trajectory_text",
    "verdict_sentence",
    "watch_figure",
    "watch_page",
    "watch_sentence",
    "watch_text",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)
