"""The networks that are compared, as the judge and the picture pick them out."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from deepscope.core import Grid, Value

if TYPE_CHECKING:
    import pandas as pd

#: Layers with weights of the networks that are judged, and of those that must not differ.
DEEP, SHALLOW = 34, 4


def conditions(seeds: Iterable[int], depths: Iterable[int] = (SHALLOW, DEEP), **shared: Value) -> Grid:
    """Return networks with and without skip connections, trained; and deep ones that are not."""
    chosen = tuple(seeds)
    untrained = Grid(seeds=chosen, depth=DEEP, skip=[False, True], **{**shared, "epochs": 0})
    return Grid(seeds=chosen, depth=depths, skip=[False, True], **shared) + untrained


def picked(trials: pd.DataFrame, *, trained: bool) -> pd.DataFrame:
    """Return the trials of trained or of untrained networks."""
    known = trials.reindex(columns=trials.columns.union(["epochs", "depth", "skip"], sort=False))
    return known[known["epochs"] > 0] if trained else known[known["epochs"] == 0]


def networks(trials: pd.DataFrame) -> list[tuple[str, int, bool]]:
    """Return what is shown from top to bottom: name, depth, whether trained."""
    found: Any = picked(trials, trained=True)["depth"].dropna()
    depths = sorted({DEEP, SHALLOW, *(int(depth) for depth in found)}, reverse=True)
    rows = []
    for depth in depths:
        rows.append((f"{depth} layers", depth, True))
        if depth == DEEP:
            rows.append((f"{depth}, untrained", depth, False))
    return rows
