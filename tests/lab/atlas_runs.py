"""A study's run as `deepscope study run --json` prints it, for tests of records."""

from __future__ import annotations

from typing import Any

from deepscope.core import Criterion, Verdict

FIGURE = '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 9 9"><circle r="3"/></svg>\n'


def study_run(study: str = "grokking", *, gain: float = 1.0, **changes: Any) -> dict[str, Any]:
    """Return a run with one effect, of this size, and one control."""
    criteria = [
        Criterion.effect("gain", {seed: gain + 0.01 * seed for seed in range(5)}, above=0.5, published="0.9"),
        Criterion.effect("gain of nothing", {seed: 0.01 * seed for seed in range(5)}, within=0.5, control=True),
    ]
    return {
        "schema": 1,
        "study": study,
        "claim": "There is a gain.",
        "source": "power2022grokking",
        "topics": ["testing"],
        "rows": ["grokking"],
        "protocol": "Done.",
        "caption": "Points.",
        "scale": "quick",
        "modified": False,
        "settings": {},
        **Verdict.of(criteria, seeds=5).to_dict(),
        "cases": 2,
        "seeds": 5,
        "trials": 10,
        "reused": 0,
        "failed": 0,
        "failures": [],
        "cost": {"cpu_seconds": 12.5, "wall_seconds": 7.0, "peak_memory_bytes": 3_000_000},
        "notes": [],
        "device": "cpu",
        "versions": {"torch": "2.13.0"},
        "hardware": {"cpu": "a processor", "cores": 2, "memory_bytes": 8_000_000_000, "accelerator": None},
        "commit": "0123abc",
        "environments": {},
        "command": f"deepscope study run {study}",
        "date": "2026-01-02T03:04:05+00:00",
        "path": "elsewhere",
        **changes,
    }
