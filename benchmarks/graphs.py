"""Layers on graphs beside torch_geometric's, with the same weights and the same list of edges; the outputs agree.

A graph of 10,000 nodes with 64 features each and 100,000 edges; forward and backward, and forward alone. Each
measurement runs in a process of its own, with one thread.
"""

from __future__ import annotations

from typing import Any

from model_pairs import GRAPHS
from models import SIDES, row, times_faster
from process import OURS, Costs, answer, medians, runs

SMALL: dict[str, Any] = {"pairs": ("gcn",)}


def bench(repeats: int, pairs: tuple[str, ...] = tuple(GRAPHS)) -> dict[str, Any]:
    """Return the medians over the repeats."""
    gathered: dict[tuple[str, str], list[Costs]] = {(side, name): [] for name in pairs for side in SIDES}
    # Interleaved, so that a slow moment of the machine hits all alike.
    for _ in range(repeats):
        for task, costs in gathered.items():
            costs.append(answer(OURS, "models.py", *task))
    return {
        "repeats": repeats,
        "pairs": {name: {side: medians(gathered[side, name]) for side in SIDES} for name in pairs},
    }


def broken_promises(result: dict[str, Any]) -> list[str]:
    """Say which of the promises do not hold."""
    return [
        f"{GRAPHS[name].words}: {times_faster(pair):.2f} times faster, not {GRAPHS[name].promised:g}"
        for name, pair in result["pairs"].items()
        if times_faster(pair) < GRAPHS[name].promised
    ]


def table(result: dict[str, Any]) -> str:
    """Return the result as a Markdown table and a sentence."""
    lines = [
        "| on a graph, one thread, forward and backward | CPU time | torch_geometric | ratio | memory "
        "| torch_geometric | forward alone |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: |",
        *(row(GRAPHS[name].words, pair) for name, pair in result["pairs"].items()),
        "",
        "10,000 nodes with 64 features, 100,000 edges given as a list, as both take them. Memory is what a call takes "
        f"above what lies there before. {runs(result['repeats']).capitalize()}.",
    ]
    return "\n".join(lines)
