"""`regions` beside sampling: all cells of a plane exactly, and those that the points of a grid happen to lie in.

MNIST-shaped networks on the plane through three images. The grid's points are run as they are, in single precision, and
the different patterns of active units and pooling winners are counted. Each measurement runs in a process of its own,
with one thread.
"""

from __future__ import annotations

import json
import sys
from typing import Any

from process import OURS, Costs, answer, medians, runs

#: Points of the grid along each side.
GRIDS = (256, 1024)
SMALL = {"grids": (64, 128)}
NETWORKS = ("mlp", "cnn")
#: CPU time of the finest grid over ours.
PROMISED = {"mlp": 40, "cnn": 30}


def subject(name: str) -> Any:
    """Return a multilayer perceptron 784-64-64-10 or a CNN with pooling, initialised by torch, with 64 images."""
    import torch
    from torch import nn

    from deepscope.subject import Subject

    torch.manual_seed(0)
    if name == "mlp":
        layers = [nn.Flatten(), nn.Linear(784, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10)]
    else:
        layers = [nn.Conv2d(1, 4, 5, stride=2), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(4, 8, 3), nn.ReLU()]
        layers += [nn.Flatten(), nn.Linear(128, 10)]
    images = torch.randn(64, 1, 28, 28)
    return Subject(nn.Sequential(*layers).eval(), [(images, images)])


def worker(what: str, name: str, grid: str) -> None:
    """Count in this process; print the cost and the number found."""
    import torch
    from meter import Meter

    from deepscope.instruments import regions

    torch.set_num_threads(1)
    seen = subject(name)
    extent = 1.0 if name == "mlp" else 0.1
    # Once before with little, so that what is loaded on first use is not timed; and to know the plane.
    first = regions(seen, extent=1e-3)
    with Meter() as meter:
        found = regions(seen, extent=extent).count if what == "regions" else _sampled(seen, first, extent, int(grid))
    print(json.dumps({**meter.cost, "count": found}))


def _sampled(subject: Any, plane: Any, extent: float, grid: int) -> int:
    """Count the patterns of a grid's points, row by row."""
    import numpy as np
    import torch

    images = torch.cat([inputs for inputs, _ in subject.data])[list(plane.samples)]
    places = torch.from_numpy(plane.sample_coordinates)
    mean = images.mean(0)
    directions = torch.linalg.solve(places[:2], (images - mean)[:2].flatten(1).double()).float()
    line = torch.linspace(-extent, extent, grid)
    hashes = [_hashes(subject.model, mean, directions, t, line) for t in line]
    return len(np.unique(np.concatenate(hashes)))


def _hashes(model: Any, mean: Any, directions: Any, t: Any, line: Any) -> Any:
    """Return 64 bits of each point's pattern on one row of the grid: sums of random numbers, modulo 2⁶⁴."""
    import numpy as np
    import torch
    from torch import nn
    from torch.nn import functional

    along = torch.stack([line, t.expand(len(line))], dim=1)
    x = mean + (along @ directions).reshape(-1, *mean.shape)
    rng = np.random.default_rng(0)
    found = np.zeros(len(x), dtype=np.uint64)
    with torch.no_grad():
        for layer in model:
            if isinstance(layer, nn.MaxPool2d):
                pattern = functional.max_pool2d(x, layer.kernel_size, return_indices=True)[1].flatten(1)
            else:
                pattern = (x > 0).flatten(1)
            if isinstance(layer, (nn.ReLU, nn.MaxPool2d)):
                salt = rng.integers(2**63, size=pattern.shape[1], dtype=np.uint64)
                found += pattern.numpy().astype(np.uint64) @ salt
            x = layer(x)
    return found


def bench(repeats: int, grids: tuple[int, ...] = GRIDS) -> dict[str, Any]:
    """Return the medians over the repeats."""
    tasks = {"regions": 0, **{f"grid {each}": each for each in grids}}
    gathered: dict[str, dict[str, list[Costs]]] = {name: {task: [] for task in tasks} for name in NETWORKS}
    # Interleaved, so that a slow moment of the machine hits all alike.
    for _ in range(repeats):
        for name in NETWORKS:
            for task, grid in tasks.items():
                gathered[name][task].append(answer(OURS, "regions.py", task.split()[0], name, grid))
    costs = {name: {task: medians(each) for task, each in found.items()} for name, found in gathered.items()}
    compared = {
        name: {
            task: {
                "times_faster": cost["cpu_seconds"] / found["regions"]["cpu_seconds"],
                "share_seen": cost["count"] / found["regions"]["count"],
            }
            for task, cost in found.items()
            if task != "regions"
        }
        for name, found in costs.items()
    }
    return {"repeats": repeats, "grids": list(grids), "costs": costs, "compared": compared}


def broken_promises(result: dict[str, Any]) -> list[str]:
    """Say which of the promises do not hold: faster than the finest grid, which sees no cell that is not counted."""
    broken = []
    finest = f"grid {result['grids'][-1]}"
    for name, times in PROMISED.items():
        reached = result["compared"][name][finest]["times_faster"]
        if reached < times:
            broken.append(f"regions of the {name} are counted {reached:.1f} times faster than on a grid, not {times}")
        for task, compared in result["compared"][name].items():
            # Single precision moves points at a border to its other side, where three borders meet into no cell.
            if compared["share_seen"] > 1.001:
                broken.append(f"{task} sees more cells of the {name} than were counted")
    return broken


def table(result: dict[str, Any]) -> str:
    """Return the result as a Markdown table and one sentence."""
    lines = [
        "| one thread | MLP | cells | memory | CNN | cells | memory |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for task in result["costs"]["mlp"]:
        grid = task.split()[-1]
        name = "`regions`, exact" if task == "regions" else f"patterns on a grid of {grid} × {grid}"
        cells = [
            f"{cost['cpu_seconds']:.2g} s | {cost['count']:,.0f} | {cost['extra_bytes'] / 1e6:.0f} MB"
            for cost in (result["costs"][network][task] for network in NETWORKS)
        ]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    finest = f"grid {result['grids'][-1]}"
    seen = {name: result["compared"][name][finest] for name in NETWORKS}
    return "\n".join(
        [
            *lines,
            "",
            f"CPU time and the activation cells found on a plane through three images, {runs(result['repeats'])}; MLP "
            f"784-64-64-10, and a CNN with pooling on a tenth of the plane. The finest grid takes "
            f"{seen['mlp']['times_faster']:.0f} and {seen['cnn']['times_faster']:.0f} times as long, and finds "
            f"{seen['mlp']['share_seen']:.1%} and {seen['cnn']['share_seen']:.1%}.",
        ]
    )


if __name__ == "__main__":
    worker(*sys.argv[1:])
