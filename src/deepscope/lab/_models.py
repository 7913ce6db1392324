"""The reference models and training methods: which there are, and what one of them is made of."""

from __future__ import annotations

from typing import Any

from deepscope.core import UsageError, nearest
from deepscope.lab._declarations import specimens

_LISTED = ("name", "family", "constructor", "parameters", "rows", "source", "pinned_by")


def model_list() -> list[dict[str, Any]]:
    """Return the reference models and training methods, sorted by name, without importing any.

    Returns
    -------
    list of dict
        ``name``; ``family``, a model's file, or ``"training"``; ``constructor``, what ``deepscope.models`` exports to
        build a model without an argument, or ``deepscope.training`` as the method; ``parameters``, how many, None for
        a method; ``rows`` of the map that its test demonstrates; ``source``, the key of its reference; ``pinned_by``,
        the test that proves the property which defines it.
    """
    return [{key: each[key] for key in _LISTED} for each in _models()]


def model_sheet(name: str) -> dict[str, Any]:
    """Return what is known of one reference model or training method, and a model's layers.

    Parameters
    ----------
    name
        As ``model_list`` has it.

    Returns
    -------
    dict
        As in ``model_list``, and ``title``, ``formula``, ``path``; of a model also ``input`` and ``output``, the
        shapes of one sample; ``flops`` of one sample forward; ``layers``, as ``model_layers`` gives them.

    Raises
    ------
    UsageError
        Nothing has this name.

    Notes
    -----
    Cost, of a model: one forward pass of one sample; above three million parameters no value is computed or stored.
    """
    known = {each["name"]: each for each in _models()}
    if name not in known:
        todo = f'{nearest(name, known)} "deepscope models list" shows them.'
        raise UsageError("unknown model or method", where=name, todo=todo)
    entry = known[name]
    sheet = {key: entry[key] for key in (*_LISTED, "title", "formula", "path")}
    if entry["family"] == "training":
        return sheet
    from deepscope.lab._model_layers import model_layers

    return {**sheet, **model_layers(entry["path"], name)}


def _models() -> list[dict[str, Any]]:
    return [{**each, "constructor": each["build"], "rows": list(each["rows"])} for each in specimens()]
