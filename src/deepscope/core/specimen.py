"""What a specimen declares about itself."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Specimen:
    """A reference model or training method: how to build it, its source, the rows it covers, the test that pins it.

    Its file lists it in ``SPECIMENS = (Specimen(…), …)``. All but ``build`` is plain text, so that listing specimens
    imports none of them.

    Attributes
    ----------
    name
        As the literature names it, in lower case with hyphens: ``"lenet-5"``.
    title
        What it is, in a few words.
    build
        ``build()`` makes it in its reference size; what it is made by, for a method.
    formula
        What it computes or does, and how the quantities in it are defined, in plain text.
    source
        Key of its reference.
    rows
        Rows of the map whose claim the test demonstrates.
    pinned_by
        The test that proves the property which defines it, as pytest names it. It is marked
        ``@pytest.mark.demonstrates("row")`` for each of the rows.
    """

    name: str
    title: str
    build: Callable[..., Any]
    formula: str
    source: str
    rows: tuple[str, ...] = ()
    pinned_by: str
