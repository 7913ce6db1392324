"""The README's numbers are those that were measured."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
BENCHMARKS = ROOT / "benchmarks"


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import run

    yield run
    for name in ("run", "spectrum", "meter"):
        sys.modules.pop(name, None)


def test_readme_holds_what_results_json_holds(bench) -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert bench.with_numbers(readme, json.loads((BENCHMARKS / "results.json").read_text())) == readme


def test_what_is_promised_held_when_it_was_measured(bench) -> None:
    results = json.loads((BENCHMARKS / "results.json").read_text())["spectrum"]
    assert bench.spectrum.broken_promises(results) == []
    slower = {**results, "spectrum_to_weightwatcher": 0.61}
    larger = {
        **results,
        "costs": {**results["costs"], "spectrum": {"extra_bytes": 4 * results["largest_matrix_bytes"] + 1e8}},
    }
    curved = {**results, "per_layer_spread": 2.0}
    assert [len(bench.spectrum.broken_promises(each)) for each in (slower, larger, curved)] == [1, 1, 1]
