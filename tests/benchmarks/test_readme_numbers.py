"""The README's numbers are those that were measured."""

from __future__ import annotations

import copy
import json
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
BENCHMARKS = ROOT / "benchmarks"
NAMES = (
    "spectrum",
    "curvature",
    "kernel",
    "jacobian",
    "landscape",
    "representation",
    "regions",
    "models",
    "graphs",
    "many_networks",
    "large",
    "scale",
    "store",
    "overhead",
)


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import run

    yield run
    for name in ("run", "meter", "process", *NAMES):
        sys.modules.pop(name, None)


@pytest.fixture(scope="module")
def results() -> dict[str, Any]:
    return json.loads((BENCHMARKS / "results.json").read_text())


def changed(result: dict[str, Any], value: float, *keys: str) -> dict[str, Any]:
    """Return a result with one number replaced."""
    new = inner = copy.deepcopy(result)
    for key in keys[:-1]:
        inner = inner[key]
    assert isinstance(inner[keys[-1]], (int, float))
    inner[keys[-1]] = value
    return new


def test_every_benchmark_has_its_numbers(bench, results) -> None:
    assert tuple(bench.BENCHES) == NAMES
    assert results.keys() == {*NAMES}


def test_readme_holds_what_results_json_holds(bench, results) -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert bench.with_numbers(readme, results) == readme


@pytest.mark.parametrize("name", NAMES)
def test_what_is_promised_held_when_it_was_measured(bench, results, name: str) -> None:
    assert bench.BENCHES[name].broken_promises(results[name]) == []


def test_a_spectrum_that_breaks_a_promise_is_told(bench, results) -> None:
    kept = results["spectrum"]
    slower = changed(kept, 0.56, "alpha_to_weightwatcher")
    whole = changed(kept, 0.31, "everything_to_weightwatcher")
    larger = changed(kept, 4 * kept["largest_matrix_bytes"] + 1e8, "costs", "spectrum", "extra_bytes")
    curved = changed(kept, 2.0, "per_layer_spread")
    assert [len(bench.spectrum.broken_promises(each)) for each in (kept, slower, whole, larger, curved)] == [
        0,
        1,
        1,
        1,
        1,
    ]


def test_a_curvature_that_breaks_a_promise_is_told(bench, results) -> None:
    kept = results["curvature"]
    top, density = (
        changed(kept, 0.66, "ratios", "cnn", "top_to_curvlinops"),
        changed(kept, 0.61, "ratios", "mlp", "density_to_curvlinops"),
    )
    other = copy.deepcopy(kept)
    other["found"]["top 5, mlp"][4] *= 0.97
    assert [len(bench.curvature.broken_promises(each)) for each in (kept, top, density, other)] == [0, 1, 1, 1]
    assert bench.curvature.broken_promises(top) == ["five eigenvalues of cnn take more than 0.65 of curvlinops's time"]


def test_a_kernel_that_breaks_a_promise_is_told(bench, results) -> None:
    kept = results["kernel"]
    slower = changed(kept, 7.0, "compared", "cnn", "gram", "times_faster")
    wrong = changed(kept, 2e-4, "compared", "mlp", "norms", "deviation")
    assert [len(bench.kernel.broken_promises(each)) for each in (kept, slower, wrong)] == [0, 1, 1]
    assert bench.kernel.broken_promises(slower) == ["gram on the cnn is 7 times faster than its peer, not 8"]


def test_a_landscape_that_breaks_a_promise_is_told(bench, results) -> None:
    kept = results["landscape"]
    slower, wrong = changed(kept, 0.61, "to_loss_landscapes", "mlp"), changed(kept, 2e-4, "deviation")
    assert [len(bench.landscape.broken_promises(each)) for each in (kept, slower, wrong)] == [0, 1, 1]


def test_regions_that_break_a_promise_are_told(bench, results) -> None:
    kept = results["regions"]
    slower = changed(kept, 20, "compared", "mlp", "grid 1024", "times_faster")
    missed = changed(kept, 1.1, "compared", "cnn", "grid 256", "share_seen")
    assert [len(bench.regions.broken_promises(each)) for each in (kept, slower, missed)] == [0, 1, 1]


def cost(seconds: float, megabytes: float, **others: float) -> dict[str, float]:
    return {"cpu_seconds": seconds, "wall_seconds": seconds, "extra_bytes": 1e6 * megabytes, **others}


MODELLED = {
    "repeats": 3,
    "pairs": {
        "mamba 16": {"ours": cost(0.02, 9, forward_seconds=0.005), "obvious": cost(0.5, 1, forward_seconds=0.06)},
        "gru": {"ours": cost(0.025, 26, forward_seconds=0.0081), "obvious": cost(0.03, 17, forward_seconds=0.00891)},
    },
    "fused": cost(0.0177, 10),
    "lengths": {"1024": cost(0.03, 24), "2048": cost(0.066, 50), "4096": cost(0.13, 96)},
    "models": {"vgg16": cost(0.5, 60, flops=3e10, peak=1.2e11, batch=1)},
}


def test_a_model_that_breaks_a_promise_is_told(bench) -> None:
    scan = changed(MODELLED, 0.199, "pairs", "mamba 16", "obvious", "cpu_seconds")
    loop = changed(MODELLED, 0.0199, "pairs", "gru", "obvious", "cpu_seconds")
    # What a scan that is quadratic in its length would take: four times as much of twice the steps.
    slower = changed(MODELLED, 4 * 0.066, "lengths", "4096", "cpu_seconds")
    larger = changed(MODELLED, 4e6 * 50, "lengths", "4096", "extra_bytes")
    told = [bench.models.broken_promises(each) for each in (MODELLED, scan, loop, slower, larger)]
    assert [len(each) for each in told] == [0, 1, 1, 1, 1]
    assert told[2] == ["GRU, 100 steps, a loop of `nn.GRUCell`: 0.80 times faster, not 0.8"]
    assert told[4] == ["a step of the selective scan takes 2.00 times the memory in a sequence twice as long"]


def test_the_models_tables(bench) -> None:
    lines = bench.models.table(MODELLED).splitlines()
    assert lines[3] == "| GRU, 100 steps, a loop of `nn.GRUCell` | 25 ms | 30 ms | 1.20 × | 26 MB | 17 MB | 1.10 × |"
    assert lines[8] == "| 2,048 steps | 66 ms | 32.2 µs | 50 MB | 24.4 kB |"
    assert lines[13] == "| `vgg16` | 1 | 30 G | 500 ms | 60 MB | 60 | 50% |"
    assert "takes 17.7 ms" in lines[-1]
    assert "120 GFLOP/s" in lines[-1]


LARGE = {
    "repeats": 3,
    "costs": {
        "4096 × 4096": {
            "weightwatcher": {"cpu_seconds": 100.0},
            "alpha": {"cpu_seconds": 35.0},
            "eigenvalues": {"cpu_seconds": 30.04},
        }
    },
}


def test_a_large_matrix_that_takes_too_long_is_told(bench) -> None:
    slower = changed(LARGE, 36.0, "costs", "4096 × 4096", "alpha", "cpu_seconds")
    assert bench.large.broken_promises(LARGE) == []
    assert bench.large.broken_promises(slower) == ["α of 4096 × 4096 takes 0.36 of the peer's CPU time"]
    assert bench.large.table(LARGE).splitlines()[2] == "| 4096 × 4096 | 100 s | 35.0 s | 0.35 | 30.0 s |"


SCALED = {
    "repeats": 2,
    "bytes": 2_097_152_000,
    "tensors": 200,
    "costs": {"1": {"wall_seconds": 90.0, "cpu_seconds": 88.0}, "2": {"wall_seconds": 60.0, "cpu_seconds": 95.0}},
    "speedup": 1.5,
}


def test_workers_that_do_not_share_the_work_are_told(bench) -> None:
    assert bench.scale.broken_promises(SCALED) == []
    slower = changed(SCALED, 1.49, "speedup")
    assert bench.scale.broken_promises(slower) == ["two workers are 1.49 times as fast as one, not 1.5"]
    lines = bench.scale.table(SCALED).splitlines()
    assert lines[3] == "| 2 | 60 s | 1.50 | 95 s |"
    assert "200 matrices of 1024 × 2560, 2.1 GB in 10 files" in lines[-1]


STORED = {
    "runs": 1000,
    "peer_runs": 20,
    "repeats": 3,
    "mlflow": "3.0",
    "costs": {
        "mlflow sqlite points": {"cpu_seconds": 0.14, "wall_seconds": 0.4, "extra_bytes": 2e6},
        "mlflow sqlite batch": {"cpu_seconds": 0.02, "wall_seconds": 0.1, "extra_bytes": 2e6},
        "mlflow files points": {"cpu_seconds": 0.01, "wall_seconds": 0.03, "extra_bytes": 2e6},
        "mlflow files batch": {"cpu_seconds": 0.004, "wall_seconds": 0.01, "extra_bytes": 2e6},
        "runs": {"cpu_seconds": 0.001, "wall_seconds": 0.004, "extra_bytes": 1e6},
        "trials": {"cpu_seconds": 0.00002, "wall_seconds": 0.00003, "extra_bytes": 1e6},
    },
    "mlflow_to_trial": 100.0,
    "listed": 10_000,
    "listing": {
        "without an index": {"cpu_seconds": 1.0, "wall_seconds": 4.9},
        "with one": {"cpu_seconds": 0.49, "wall_seconds": 0.6},
    },
}


def test_a_store_that_breaks_a_promise_is_told(bench) -> None:
    slower = changed(STORED, 99.0, "mlflow_to_trial")
    listed = changed(STORED, 0.5, "listing", "with one", "cpu_seconds")
    rebuilt = changed(STORED, 5.0, "listing", "without an index", "wall_seconds")
    assert [len(bench.store.broken_promises(each)) for each in (STORED, slower, listed, rebuilt)] == [0, 1, 1, 1]


def test_the_stores_table(bench) -> None:
    lines = bench.store.table(STORED).splitlines()
    assert lines[2] == "| MLflow, its default store, a call for each point | 400 ms | 1.0 | 140 ms | 2.0 MB |"
    assert lines[6] == "| deepscope, each a run of its own | 4 ms | 100 | 1 ms | 1.0 MB |"
    assert lines[7] == "| deepscope, all as trials of one run | 0.03 ms | 13,333 | 0.02 ms | 1.0 MB |"
    assert "0.49 s of CPU time; without an index 4.9 s elapsed" in lines[-1]


OVERHEAD = {
    "workers": 2,
    "timed": 500,
    "repeats": 3,
    "versions": {"pool": "", "joblib": "1.0", "ray": "2.0"},
    "seconds_per_trial": {"deepscope": 0.0149, "pool": 0.0001, "joblib": 0.0002, "ray": 0.000512},
}


def test_a_lab_that_breaks_its_promise_is_told(bench) -> None:
    slower = changed(OVERHEAD, 0.015, "seconds_per_trial", "deepscope")
    assert bench.overhead.broken_promises(OVERHEAD) == []
    assert bench.overhead.broken_promises(slower) == ["the lab adds 30 ms to a trial, not less than 30"]


def test_the_overheads_table(bench) -> None:
    lines = bench.overhead.table(OVERHEAD).splitlines()
    assert lines[2] == "| `deepscope.lab.run_study`, local pool | 30 ms | 67 |"
    assert lines[3] == "| bare `ProcessPoolExecutor` | 0.2 ms | 10,000 |"
    assert lines[5] == "| Ray 2.0, local | 1 ms | 2,000 |"


def of_networks(one: float) -> dict[str, Any]:
    """Return what training took: as one so many seconds at width 32, more than a third of a loop at width 64."""
    seconds = {"bare": 2.0, "loop": 3.0}
    costs = {
        width: {way: {"cpu_seconds": value, "extra_bytes": 2e6} for way, value in {**seconds, "one": as_one}.items()}
        for width, as_one in (("32", one), ("64", 1.5))
    }
    return {"repeats": 1, "networks": 256, "costs": {"regression": costs}}


def on_graphs(seconds: float) -> dict[str, Any]:
    """Return a graph convolution's costs, with ours so long and the peer's a second."""
    sides = {
        side: {**cost(each, 30), "forward_seconds": 0.1, "forward_bytes": 1e6}
        for side, each in {"ours": seconds, "obvious": 1.0}.items()
    }
    return {"repeats": 1, "pairs": {"gcn": sides}}


def test_a_graph_s_layer_that_is_slower_than_its_peer_is_told(bench) -> None:
    assert bench.graphs.broken_promises(on_graphs(0.9)) == []
    assert bench.graphs.broken_promises(on_graphs(1.25)) == ["graph convolution: 0.80 times faster, not 1"]


def test_the_table_of_graphs(bench) -> None:
    line = bench.graphs.table(on_graphs(0.5)).splitlines()[2]
    assert line == "| graph convolution | 500 ms | 1,000 ms | 2.00 × | 30 MB | 30 MB | 1.00 × |"


def test_networks_that_are_not_trained_faster_as_one_are_told(bench) -> None:
    broken = bench.many_networks.broken_promises
    assert broken(of_networks(0.99)) == []
    assert broken(of_networks(1.1)) == ["regression, width 32: 1.82 times faster than the bare loop, not 2"]
    assert len(broken(of_networks(1.6))) == 2


def test_the_table_of_many_networks(bench) -> None:
    lines = bench.many_networks.table(of_networks(0.5)).splitlines()
    assert lines[2] == "| 2-32-32-1 | 0.50 s | 3.00 s | 6.0 | 2.00 s | 4.0 | 2 MB | 2 MB |"
    assert lines[-1].endswith("torch alone. One run each.")
