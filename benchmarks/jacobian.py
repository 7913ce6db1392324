"""`jacobian` beside the naive loop: `torch.autograd.functional.jacobian` of every sample, and its singular values.

256 MNIST-shaped samples, on networks trained for 60 steps. Each measurement runs in a process of its own, with one
thread. The instrument's measurement without layers' spectra is compared too: it adds χ of every layer, larger singular
values nearby and the certified bound.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from typing import Any

from kernel import data, network
from process import OURS, Costs, answer, medians, runs

SAMPLES = 256
SMALL = {"samples": 32}
NETWORKS = ("mlp", "cnn")
WHAT = ("loop", "values", "jacobian", "layers")
#: CPU time of the naive loop over that of the singular values alone.
PROMISED = {"mlp": 3.0, "cnn": 1.0}


def worker(what: str, name: str, samples: str) -> None:
    """Measure one thing in this process; print its cost and a number that it found."""
    import torch
    from meter import Meter

    torch.set_num_threads(1)
    images, labels = data(max(100, int(samples)))
    model = network(name, images, labels)
    actions: dict[str, Callable[[Any, Any], Any]] = {
        "loop": _loop, "values": _values, "jacobian": _jacobian, "layers": _layers
    }  # fmt: skip
    run = actions[what]
    # Once before with a few samples, so that what is loaded or compiled on first use is not timed.
    run(model, images[:8])
    with Meter() as meter:
        found = run(model, images[: int(samples)])
    print(json.dumps({**meter.cost, "check": float(found)}))


def _loop(model: Any, x: Any) -> Any:
    import torch

    each = (torch.autograd.functional.jacobian(model, x[i : i + 1]).reshape(10, -1) for i in range(len(x)))
    return sum(float(torch.linalg.svdvals(J).sum()) for J in each)


def _values(model: Any, x: Any) -> Any:
    import torch

    from deepscope.instruments._jacobian_outputs import output_spectrum
    from deepscope.instruments._jacobian_trace import traced
    from deepscope.subject import Subject

    subject = Subject(model, [(x, None)])
    total = 0.0
    with subject.undisturbed(), traced(subject) as tracer:
        layout = tracer.layout(x, len(x))
        for part in x.split(128):
            passed = tracer.run(part, len(part), layout)
            total += float(output_spectrum(passed, None, torch.Generator()).values.sum())
    return total


def _jacobian(model: Any, x: Any) -> Any:
    from deepscope.instruments import jacobian
    from deepscope.subject import Subject

    return jacobian(Subject(model, [(x, None)]), len(x), layers=False).singular_values.sum()


def _layers(model: Any, x: Any) -> Any:
    from deepscope.instruments import jacobian
    from deepscope.subject import Subject

    return jacobian(Subject(model, [(x, None)]), len(x)).singular_values.sum()


def bench(repeats: int, samples: int = SAMPLES) -> dict[str, Any]:
    """Return the medians over the repeats, how many times faster than the loop each is, and the largest deviation."""
    gathered: dict[str, dict[str, list[Costs]]] = {name: {what: [] for what in WHAT} for name in NETWORKS}
    # Interleaved, so that a slow moment of the machine hits all alike.
    for _ in range(repeats):
        for name in NETWORKS:
            for what in WHAT:
                gathered[name][what].append(answer(OURS, "jacobian.py", what, name, samples))
    costs = {name: {what: medians(each) for what, each in found.items()} for name, found in gathered.items()}
    compared = {
        name: {
            what: {
                "times_faster": found["loop"]["cpu_seconds"] / found[what]["cpu_seconds"],
                "deviation": abs(found[what]["check"] / found["loop"]["check"] - 1),
            }
            for what in WHAT[1:]
        }
        for name, found in costs.items()
    }
    return {"samples": samples, "repeats": repeats, "costs": costs, "compared": compared}


def broken_promises(result: dict[str, Any]) -> list[str]:
    """Say which of the promises do not hold: speed beside the loop, and the same numbers."""
    broken = []
    for name, times in PROMISED.items():
        reached = result["compared"][name]["values"]["times_faster"]
        if reached < times:
            broken.append(f"singular values on the {name} are {reached:.1f} times faster than the loop, not {times}")
    worst = max(each["deviation"] for found in result["compared"].values() for each in found.values())
    # Sums in single precision, in another order.
    return broken if worst < 1e-4 else [*broken, f"results differ from the loop's by {worst:.1g}"]


def table(result: dict[str, Any]) -> str:
    """Return the result as a Markdown table and one sentence."""
    names = {
        "loop": "singular values by `autograd.functional.jacobian`, sample by sample",
        "values": "the same, all samples of a chunk together",
        "jacobian": "`jacobian`, with χ by layer, nearby values and bounds",
        "layers": "and with changes followed from the input to every layer",
    }
    lines = ["| one thread | MLP | memory | CNN | memory |", "| --- | ---: | ---: | ---: | ---: |"]
    for what, name in names.items():
        cells = [
            f"{cost['cpu_seconds']:.2g} s | {cost['extra_bytes'] / 1e6:.0f} MB"
            for cost in (result["costs"][network][what] for network in NETWORKS)
        ]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    faster = {name: result["compared"][name]["values"]["times_faster"] for name in NETWORKS}
    return "\n".join(
        [
            *lines,
            "",
            f"Jacobians of 10 outputs by 784 inputs at {result['samples']} samples; MLP 784-256-256-10 and a CNN of "
            f"99,550 parameters, 60 steps trained, {runs(result['repeats'])}: {faster['mlp']:.1f} and "
            f"{faster['cnn']:.1f} times faster than the loop.",
        ]
    )


if __name__ == "__main__":
    worker(*sys.argv[1:])
