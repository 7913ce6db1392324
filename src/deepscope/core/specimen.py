"""What a specimen declares about itself."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Specimen:
    """A reference model or training method: how to build it, its source, the rows it covers, the test that pins it.

    Its file lists it in ``SPECIMENS = (Specimen(…), …)``. All but ``build`` and ``inputs`` is plain text or a number,
    so that listing specimens imports none of them.

    Attributes
    ----------
    name
        As the literature names it, in lower case with hyphens: ``"lenet-5"``.
    title
        What it is, in a few words.
    build
        What its package exports to make it: ``build()`` makes a model in its reference size; a method is this itself.
    inputs
        ``inputs(n, generator)`` draws n samples of what a model takes, in its reference size: a tensor, or a mapping
        of tensors to its arguments; None for a method.
    parameters
        Number of parameters of ``build()``; None for a method.
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
    inputs: Callable[..., Any] | None = None
    parameters: int | None = None
    formula: str
    source: str
    rows: tuple[str, ...] = ()
    pinned_by: str
