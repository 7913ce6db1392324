"""The reference models: their scans, convolutions and attention beside the obvious torch expressions, and their speed.

Each layer is run forward and backward beside what a reader of its formula would write, on the same inputs; the outputs
agree. Whole models are run forward, and what they reach is set beside the fastest product of matrices of this machine.
Each measurement runs in a process of its own, with one thread.
"""

from __future__ import annotations

import json
import sys
from typing import Any

from model_pairs import PAIRS
from process import OURS, Costs, answer, medians, runs

#: Samples of each model whose speed is measured.
BATCHES = {
    **{"lenet-5": 256, "resnet20": 64, "resnet50": 2, "densenet40-12": 16, "vgg16": 1, "p4-cnn": 64, "capsnet": 8},
    **{"mixer-s16": 4, "vit-b-16": 1, "gpt2": 1, "transformer-base": 8, "lstm-medium": 16, "xlstm": 16},
    **{"mamba-130m": 1, "wavenet": 1},
}
SMALL = {"pairs": ("s4d", "p4"), "models": ("lenet-5",)}
#: A side of a pair is repeated for so long.
SECONDS = 1.0
#: Steps of the scans whose costs show how it grows.
LENGTHS = (1024, 4096)


def worker(what: str, name: str) -> None:
    """Measure in this process; print the cost."""
    import torch

    torch.set_num_threads(1)
    torch.manual_seed(0)
    measure = {"ours": _side, "obvious": _side, "forward": _forward, "length": _length}[what]
    print(json.dumps(measure(what, name)))


def _repeated(call: Any) -> Costs:
    """Return the cost of one call, of as many as fill the time."""
    from meter import Meter

    call()
    with Meter() as once:
        call()
    count = max(1, round(SECONDS / max(once.cost["cpu_seconds"], 1e-4)))
    with Meter() as meter:
        for _ in range(count):
            call()
    memory = max(once.cost["extra_bytes"], meter.cost["extra_bytes"])
    return {**{key: value / count for key, value in meter.cost.items()}, "extra_bytes": memory}


def _side(what: str, name: str) -> Costs:
    import torch

    ours, obvious = PAIRS[name][1]()
    with torch.no_grad():
        first = ours()
        # An LSTM of torch's cell has weights of its own.
        if name != "lstm":
            torch.testing.assert_close(first, obvious(), rtol=1e-3, atol=1e-3)
    call = ours if what == "ours" else obvious
    both = _repeated(lambda: call().sum().backward())
    with torch.no_grad():
        forward = _repeated(call)
    return {**both, "forward_seconds": forward["cpu_seconds"], "forward_bytes": forward["extra_bytes"]}


def _forward(what: str, name: str) -> Costs:
    import torch

    from deepscope.lab import model_sheet

    sheet = model_sheet(name)
    from deepscope import models
    from deepscope.lab._model_layers import specimen_of

    model = getattr(models, sheet["constructor"])().eval()
    draw = specimen_of(sheet["path"], name).inputs
    assert draw is not None
    batch = BATCHES[name]
    inputs = draw(batch, torch.Generator().manual_seed(0))
    side = torch.randn(2048, 2048)
    with torch.no_grad():
        cost = _repeated(lambda: model(inputs))
        peak = _repeated(lambda: side @ side)
    flops = float(batch * sheet["flops"])
    return {**cost, "flops": flops, "peak": 2 * 2048**3 / peak["cpu_seconds"], "batch": batch}


def _length(what: str, name: str) -> Costs:
    """Return what a whole scan of Mamba costs, forward, for a number of steps."""
    import torch

    from deepscope.models import SelectiveSSM

    model, x = SelectiveSSM(64), torch.randn(1, int(name), 64)
    with torch.no_grad():
        return _repeated(lambda: model(x))


def bench(
    repeats: int, pairs: tuple[str, ...] = tuple(PAIRS), models: tuple[str, ...] = tuple(BATCHES)
) -> dict[str, Any]:
    """Return the medians over the repeats."""
    tasks = [(side, name) for name in pairs for side in ("ours", "obvious")]
    tasks += [("forward", name) for name in models] + [("length", str(each)) for each in LENGTHS]
    gathered: dict[tuple[str, str], list[Costs]] = {task: [] for task in tasks}
    # Interleaved, so that a slow moment of the machine hits all alike.
    for _ in range(repeats):
        for task in tasks:
            gathered[task].append(answer(OURS, "models.py", *task))
    costs = {task: medians(each) for task, each in gathered.items()}
    return {
        "repeats": repeats,
        "pairs": {name: {side: costs[side, name] for side in ("ours", "obvious")} for name in pairs},
        "models": {name: costs["forward", name] for name in models},
        "lengths": {str(each): costs["length", str(each)] for each in LENGTHS},
    }


def times_faster(pair: dict[str, Costs], key: str = "cpu_seconds") -> float:
    """Return the cost of the obvious expression over ours."""
    return pair["obvious"][key] / pair["ours"][key]


def growth(result: dict[str, Any], key: str) -> float:
    """Return by how much the cost of the longer scan exceeds that of the shorter, per step."""
    short, long = (result["lengths"][str(each)][key] / each for each in LENGTHS)
    return float(long / short)


def broken_promises(result: dict[str, Any]) -> list[str]:
    """Say which of the promises do not hold."""
    broken = []
    for name, pair in result["pairs"].items():
        words, _, promised = PAIRS[name]
        if times_faster(pair) < promised:
            broken.append(f"{words}: {times_faster(pair):.2f} times faster, not {promised:g}")
    if growth(result, "cpu_seconds") > 1.3:
        broken.append(f"a step of the scan costs {growth(result, 'cpu_seconds'):.2f} times as much in a long sequence")
    return broken


def table(result: dict[str, Any]) -> str:
    """Return the result as two Markdown tables and two sentences."""
    lines = [
        "| one thread, forward and backward | CPU time | obvious | ratio | memory | obvious | forward alone |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for name, pair in result["pairs"].items():
        times = [f"{1e3 * pair[side]['cpu_seconds']:.3g} ms" for side in ("ours", "obvious")]
        memory = [f"{pair[side]['extra_bytes'] / 1e6:.0f} MB" for side in ("ours", "obvious")]
        ratios = [f"{times_faster(pair):.1f} ×", f"{times_faster(pair, 'forward_seconds'):.1f} ×"]
        lines.append(f"| {' | '.join([PAIRS[name][0], *times, ratios[0], *memory, ratios[1]])} |")
    lines += ["", "| forward, one thread | samples | FLOPs | CPU time | GFLOP/s | of the peak |"]
    lines += ["| --- | ---: | ---: | ---: | ---: | ---: |"]
    for name, cost in result["models"].items():
        speed = cost["flops"] / cost["cpu_seconds"]
        lines.append(
            f"| `{name}` | {cost['batch']:.0f} | {cost['flops'] / 1e9:.3g} G | {1e3 * cost['cpu_seconds']:.3g} ms "
            f"| {speed / 1e9:.3g} | {speed / cost['peak']:.0%} |"
        )
    peak = max((cost["peak"] for cost in result["models"].values()), default=0.0)
    words = (
        f"Selective scan: {LENGTHS[1]:,} steps cost {growth(result, 'cpu_seconds'):.2f} times as much per step as "
        f"{LENGTHS[0]:,}. The peak is a product of matrices of 2,048 × 2,048 in single precision, {peak / 1e9:.0f} "
        f"GFLOP/s; {runs(result['repeats'])}."
    )
    return "\n".join([*lines, "", words])


if __name__ == "__main__":
    worker(*sys.argv[1:])
