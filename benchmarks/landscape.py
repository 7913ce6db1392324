"""`landscape` beside loss-landscapes and Landscaper: a plane of 21 × 21 points over 1,000 MNIST-shaped samples.

Each measurement runs in a process of its own, with one thread, on the same trained network.
"""

from __future__ import annotations

import copy
import json
import sys
from typing import Any

from process import OURS, THEIRS, Costs, answer, medians, runs

POINTS, SAMPLES = 21, 1000
SMALL = {"points": 5, "samples": 200}
PEERS = ("loss-landscapes", "landscaper")
#: CPU time over loss-landscapes'. Of the multilayer perceptron the first layer's products, three quarters of all, are
#: made once; what is left is the other layers' products, at the processor's limit.
_PROMISED = {"mlp": 0.6, "cnn": 0.3}


def worker(name: str, points: str, samples: str) -> None:
    """Measure one plane in this process and print its cost, and how far three of its points are from a plain run."""
    import torch
    from landscape_networks import data, network
    from meter import Meter
    from torch.nn import functional

    from deepscope.instruments import landscape
    from deepscope.subject import Subject

    torch.set_num_threads(1)
    images, labels = data(int(samples))
    model = network(name, int(samples))
    generator = torch.Generator().manual_seed(1)
    directions = [
        {
            key: torch.randn(each.shape, generator=generator) * each.detach().std()
            for key, each in model.named_parameters()
        }
        for _ in range(2)
    ]
    subject = Subject(model, [(images, labels)], functional.cross_entropy)
    # Once before, as its peers' modules are loaded before they are timed.
    landscape(subject, points=3, max_samples=None)
    with Meter() as meter:
        landscape(subject, points=int(points), max_samples=None)
    seen = landscape(subject, directions=directions, points=3, max_samples=None)
    worst = 0.0
    for i, j in ((0, 0), (1, 1), (2, 0)):
        moved = copy.deepcopy(model)
        with torch.no_grad():
            for key, parameter in moved.named_parameters():
                parameter += (
                    float(seen.coordinates[i]) * directions[0][key] + float(seen.coordinates[j]) * directions[1][key]
                )
            plain = float(functional.cross_entropy(moved(images), labels))
        worst = max(worst, abs(float(seen.losses[i, j]) - plain) / plain)
    print(json.dumps({**meter.cost, "deviation": worst}))


def bench(repeats: int, points: int = POINTS, samples: int = SAMPLES) -> dict[str, Any]:
    """Return the medians over the repeats for both networks, and deepscope's share of each peer's CPU time."""
    gathered: dict[str, dict[str, list[Costs]]] = {"mlp": {}, "cnn": {}}
    versions: dict[str, str] = {}
    deviation = 0.0
    # Interleaved, so that a slow moment of the machine hits all alike.
    for _ in range(repeats):
        for name, found in gathered.items():
            told = answer(OURS, "landscape.py", name, points, samples)
            deviation = max(deviation, told.pop("deviation"))
            found.setdefault("deepscope", []).append(told)
            for peer in PEERS:
                told = answer(THEIRS, "peer_landscapes.py", peer, name, points, samples)
                versions[peer] = told.pop("version")
                found.setdefault(peer, []).append(told)
    costs = {name: {what: medians(each) for what, each in found.items()} for name, found in gathered.items()}
    cpu = {name: {what: cost["cpu_seconds"] for what, cost in found.items()} for name, found in costs.items()}
    return {
        "points": points,
        "samples": samples,
        "repeats": repeats,
        "versions": versions,
        "costs": costs,
        "deviation": deviation,
        "to_loss_landscapes": {name: each["deepscope"] / each["loss-landscapes"] for name, each in cpu.items()},
    }


def broken_promises(result: dict[str, Any]) -> list[str]:
    """Say which of what is promised does not hold: the CPU time, and the same losses as a plain run."""
    broken = [
        f"a plane of the {name} takes {ratio:.2f} of the peer's CPU time, more than {_PROMISED[name]}"
        for name, ratio in result["to_loss_landscapes"].items()
        if ratio > _PROMISED[name]
    ]
    if result["deviation"] > 1e-4:
        broken.append(f"a loss differs by {result['deviation']:.1g} from that of a plain run")
    return broken


def table(result: dict[str, Any]) -> str:
    """Return the result as a Markdown table and one sentence."""
    versions = result["versions"]
    names = {
        "loss-landscapes": f"loss-landscapes {versions['loss-landscapes']}",
        "landscaper": f"Landscaper {versions['landscaper']}",
        "deepscope": "`landscape`, with each layer's rise",
    }
    lines = ["| one thread | MLP | ratio | CNN | ratio |", "| --- | ---: | ---: | ---: | ---: |"]
    for what, name in names.items():
        cells = []
        for network in ("mlp", "cnn"):
            cost, base = (result["costs"][network][each]["cpu_seconds"] for each in (what, "loss-landscapes"))
            cells += [f"{cost:.2g} s", f"{cost / base:.2f}"]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(
        [
            *lines,
            "",
            f"CPU time of a plane of {result['points']} × {result['points']} points over {result['samples']:,} "
            f"samples, {runs(result['repeats'])}; MLP 784-256-256-10, CNN of 93,322 parameters.",
        ]
    )


if __name__ == "__main__":
    worker(*sys.argv[1:])
