"""deepscope reading."""

from __future__ import annotations

from deepscope.cli._options import DONE, Json
from deepscope.cli._output import show


def reading(*text: str, json: Json = False) -> int:
    """Search the literature that deepscope cites and the map of the field, and show what of it runs here.

    Parameters
    ----------
    text
        Words that must all occur, in authors, titles, claims, names or ids. Everything is listed without it.
    """
    from deepscope.lab import reading_list
    from deepscope.report import reading_text

    show(reading_list(" ".join(text)), reading_text, json=json, out=None)
    return DONE
