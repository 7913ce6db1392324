"""Records in, pages out: what an examination or a comparison says, in a terminal and as one HTML file."""

from deepscope.report._comparison import comparison_page
from deepscope.report._comparison_text import comparison_text
from deepscope.report._examination import examination_page
from deepscope.report._examination_text import examination_text
from deepscope.report._sentence import comparison_sentence, sentence

__all__ = [
    "comparison_page",
    "comparison_sentence",
    "comparison_text",
    "examination_page",
    "examination_text",
    "sentence",
]
