"""The reference models: their scans, convolutions and attention beside the obvious torch expressions, and their speed.

Each layer is run forward and backward beside what a reader of its formula would write, on the same inputs and weights;
the outputs agree. A selective scan is run at doubled lengths. Whole models are run forward, and what they reach is set
beside the fastest product of matrices of this machine. Each measurement runs in a process of its own, with one thread.
"""

from __future__ import annotations

import ctypes
import importlib
import json
import sys
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

from model_pairs import GRAPHS, PAIRS
from process import OURS, Costs, answer, medians, runs

#: Samples of each model whose speed is measured.
BATCHES = {
    **{"lenet-5": 256, "resnet20": 64, "resnet50": 2, "densenet40-12": 16, "vgg16": 1, "p4-cnn": 64, "capsnet": 8},
    **{"mixer-s16": 4, "vit-b-16": 1, "gpt2": 1, "transformer-base": 8, "lstm-medium": 16, "xlstm": 16},
    **{"mamba-130m": 1, "wavenet": 1},
}
#: Steps of the scans whose costs show how they grow, each twice as many as before.
LENGTHS = (1024, 2048, 4096, 8192)
CHANNELS = 64
SMALL: dict[str, Any] = {"pairs": ("gru", "p4"), "models": ("lenet-5",), "lengths": (1024, 2048)}
#: A call is repeated for so long.
SECONDS = 1.0
#: A step of a scan that is linear costs the same in a sequence twice as long, one of a quadratic scan twice as much.
GROWTH = 1.4
#: Sides of the matrices whose product is the machine's peak.
PEAK = 2048

SIDES = ("ours", "obvious")


def worker(what: str, name: str) -> None:
    """Measure in this process; print the cost."""
    import torch

    torch.set_num_threads(1)
    torch.manual_seed(0)
    measure = {"ours": _side, "obvious": _side, "forward": _forward, "length": _length, "fused": _fused}[what]
    print(json.dumps(measure(what, name)))


def _repeated(call: Callable[[], Any]) -> Costs:
    """Return the cost of one call, the mean of as many as fill the time."""
    from meter import Meter

    call()
    # Memory that was freed is given back, so that what the calls take of it is seen again.
    ctypes.CDLL(None).malloc_trim(0)
    count, start = 0, time.process_time()
    with Meter() as meter:
        while not count or time.process_time() < start + SECONDS:
            call()
            count += 1
    cost = meter.cost
    return {**cost, "cpu_seconds": cost["cpu_seconds"] / count, "wall_seconds": cost["wall_seconds"] / count}


def _side(what: str, name: str) -> Costs:
    import torch

    ours, obvious = {**PAIRS, **GRAPHS}[name].sides()
    with torch.no_grad():
        torch.testing.assert_close(ours(), obvious(), rtol=1e-3, atol=1e-3)
    call = ours if what == "ours" else obvious
    both = _repeated(lambda: call().sum().backward())
    with torch.no_grad():
        forward = _repeated(call)
    return {**both, "forward_seconds": forward["cpu_seconds"], "forward_bytes": forward["extra_bytes"]}


def _forward(what: str, name: str) -> Costs:
    import torch

    from deepscope.lab import model_sheet

    sheet = model_sheet(name)
    family = importlib.import_module(f"deepscope.models.{Path(sheet['path']).stem}")
    (specimen,) = (each for each in family.SPECIMENS if each.name == name)
    model = specimen.build().eval()
    inputs = specimen.inputs(BATCHES[name], torch.Generator().manual_seed(0))
    side = torch.randn(PEAK, PEAK)
    with torch.no_grad():
        cost = _repeated(lambda: model(inputs))
        product = _repeated(lambda: side @ side)
    flops = float(BATCHES[name] * sheet["flops"])
    return {**cost, "flops": flops, "peak": 2 * PEAK**3 / product["cpu_seconds"], "batch": BATCHES[name]}


def _length(what: str, name: str) -> Costs:
    """Return what a selective scan costs, forward and backward, for a number of steps."""
    from pairs_state_space import mamba

    scan, _ = mamba(CHANNELS, int(name))
    return _repeated(lambda: scan().sum().backward())


def _fused(what: str, name: str) -> Costs:
    """Return what torch's own LSTM costs, forward and backward."""
    from pairs_recurrent import fused_lstm

    layer = fused_lstm()
    return _repeated(lambda: layer().sum().backward())


def bench(
    repeats: int,
    pairs: tuple[str, ...] = tuple(PAIRS),
    models: tuple[str, ...] = tuple(BATCHES),
    lengths: tuple[int, ...] = LENGTHS,
) -> dict[str, Any]:
    """Return the medians over the repeats."""
    tasks = [(side, name) for name in pairs for side in SIDES]
    tasks += [("length", str(each)) for each in lengths] + [("forward", name) for name in models]
    tasks.append(("fused", "lstm"))
    gathered: dict[tuple[str, str], list[Costs]] = {task: [] for task in tasks}
    # Interleaved, so that a slow moment of the machine hits all alike.
    for _ in range(repeats):
        for task in tasks:
            gathered[task].append(answer(OURS, "models.py", *task))
    costs = {task: medians(each) for task, each in gathered.items()}
    return {
        "repeats": repeats,
        "pairs": {name: {side: costs[side, name] for side in SIDES} for name in pairs},
        "fused": costs["fused", "lstm"],
        "lengths": {str(each): costs["length", str(each)] for each in lengths},
        "models": {name: costs["forward", name] for name in models},
    }


def times_faster(pair: dict[str, Costs], key: str = "cpu_seconds") -> float:
    """Return the cost of the obvious expression over ours."""
    return pair["obvious"][key] / pair["ours"][key]


def growth(lengths: dict[str, Costs], key: str) -> float:
    """Return how many times as much a step costs in a sequence twice as long, at most."""
    steps = [cost[key] / int(length) for length, cost in lengths.items()]
    return max(long / short for short, long in pairwise(steps))


def broken_promises(result: dict[str, Any]) -> list[str]:
    """Say which of the promises do not hold."""
    broken = []
    for name, pair in result["pairs"].items():
        words, promised = PAIRS[name].words, PAIRS[name].promised
        if times_faster(pair) < promised:
            broken.append(f"{words}: {times_faster(pair):.2f} times faster, not {promised:g}")
    for key, what in (("cpu_seconds", "time"), ("extra_bytes", "memory")):
        if growth(result["lengths"], key) > GROWTH:
            times = f"{growth(result['lengths'], key):.2f} times"
            broken.append(f"a step of the selective scan takes {times} the {what} in a sequence twice as long")
    return broken


def table(result: dict[str, Any]) -> str:
    """Return the result as three Markdown tables and a sentence."""
    lines = [
        "| one thread, forward and backward, beside | CPU time | obvious | ratio | memory | obvious | forward alone |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    lines += [row(PAIRS[name].words, pair) for name, pair in result["pairs"].items()]
    lines += [
        "",
        f"| selective scan, {CHANNELS} channels, forward and backward | CPU time | a step | memory | a step |",
        "| --- | ---: | ---: | ---: | ---: |",
    ]
    for length, cost in result["lengths"].items():
        seconds, memory = cost["cpu_seconds"], cost["extra_bytes"]
        lines.append(
            f"| {int(length):,} steps | {_milliseconds(seconds)} | {1e6 * seconds / int(length):.1f} µs "
            f"| {memory / 1e6:.0f} MB | {memory / 1e3 / int(length):.1f} kB |"
        )
    lines += ["", "| forward, one thread | samples | FLOPs | CPU time | memory | GFLOP/s | of the peak |"]
    lines += ["| --- | ---: | ---: | ---: | ---: | ---: | ---: |"]
    for name, cost in result["models"].items():
        speed = cost["flops"] / cost["cpu_seconds"]
        lines.append(
            f"| `{name}` | {cost['batch']:.0f} | {cost['flops'] / 1e9:.3g} G | {_milliseconds(cost['cpu_seconds'])} "
            f"| {cost['extra_bytes'] / 1e6:.0f} MB | {speed / 1e9:.3g} | {speed / cost['peak']:.0%} |"
        )
    peak = max((cost["peak"] for cost in result["models"].values()), default=0.0)
    words = (
        f"`nn.LSTM`, whose fused kernel knows no forward derivatives and no `vmap` over weights, takes "
        f"{_milliseconds(result['fused']['cpu_seconds'])}. Memory is what a call takes above what lies there before. "
        f"The peak is a product of matrices of {PEAK:,} × {PEAK:,} in single precision, {peak / 1e9:.0f} GFLOP/s, "
        f"measured beside each model; FLOPs are those of products, convolutions and attention. "
        f"{runs(result['repeats']).capitalize()}."
    )
    return "\n".join([*lines, "", words])


def row(words: str, pair: dict[str, Costs]) -> str:
    """Return both sides' costs as a row of a Markdown table."""
    times = [_milliseconds(pair[side]["cpu_seconds"]) for side in SIDES]
    memory = [f"{pair[side]['extra_bytes'] / 1e6:.0f} MB" for side in SIDES]
    ratios = [f"{times_faster(pair):.2f} ×", f"{times_faster(pair, 'forward_seconds'):.2f} ×"]
    return f"| {' | '.join([words, *times, ratios[0], *memory, ratios[1]])} |"


def _milliseconds(seconds: float) -> str:
    return f"{1e3 * seconds:,.0f} ms" if seconds >= 0.1 else f"{1e3 * seconds:.3g} ms"


if __name__ == "__main__":
    worker(*sys.argv[1:])
