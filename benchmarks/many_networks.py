"""Many small networks trained as one, beside a loop of the same code and a bare loop of torch.

256 perceptrons that differ in their initial weights and in the order of their batches, of two shapes and five widths.
``fit_many`` trains them as one and one after the other; the bare loop is what the manual of torch has: no history, no
check of the loss. All three see the same batches and end at the same losses. Each measurement runs in a process of
its own, with one thread.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Callable
from itertools import pairwise
from typing import Any

from process import OURS, Costs, answer, medians, runs

NETWORKS, STEPS = 256, 10
#: Inputs, hidden layers, outputs, and samples of a batch.
SHAPES = {"regression": (2, 2, 1, 32), "classification": (64, 1, 10, 64)}
WIDTHS = (8, 16, 32, 64, 128)
#: Up to this width the promise holds: so many times less time than the faster of the loops.
PROMISED_WIDTH, PROMISED = 32, 2.0
WAYS = ("bare", "loop", "one")
SMALL: dict[str, Any] = {"networks": 16, "widths": (8,)}


def worker(way: str, shape: str, width: int, networks: int) -> None:
    """Train in this process; print the cost and the last losses' mean."""
    import torch
    from meter import Meter

    torch.set_num_threads(1)
    train = _bare if way == "bare" else _ours
    # Whatever torch imports and makes at the first step.
    train(way, *_case(shape, width, 2))
    case = _case(shape, width, networks)
    with Meter() as meter:
        loss = train(way, *case)
    print(json.dumps({**meter.cost, "loss": loss}))


def _case(shape: str, width: int, networks: int) -> tuple[list[Any], list[Any], Any]:
    """Return networks, each one's batches, and the loss."""
    import torch
    from torch import nn

    n_inputs, hidden, n_outputs, batch = SHAPES[shape]
    torch.manual_seed(0)
    x = torch.randn(STEPS * batch, n_inputs)
    y = torch.sin(3 * x[:, :1]) if n_outputs == 1 else x[:, :n_outputs].argmax(1)
    sizes = [n_inputs, *[width] * hidden, n_outputs]

    def network() -> nn.Module:
        layers = [nn.Sequential(nn.Linear(a, b), nn.ReLU()) for a, b in pairwise(sizes[:-1])]
        return nn.Sequential(*layers, nn.Linear(width, n_outputs))

    def order(seed: int) -> Callable[[int], Any]:
        def data(epoch: int):
            shuffled = torch.randperm(len(x), generator=torch.Generator().manual_seed(seed))
            return ((x[chosen], y[chosen]) for chosen in shuffled.split(batch))

        return data

    loss = nn.functional.mse_loss if n_outputs == 1 else nn.functional.cross_entropy
    return [network() for _ in range(networks)], [order(seed) for seed in range(networks)], loss


def _ours(way: str, networks: list[Any], data: list[Any], loss: Any) -> float:
    import torch

    from deepscope.training import fit_many

    done = fit_many(
        networks, data, loss, optimizer=torch.optim.Adam, settings={"lr": 0.01}, epochs=1, together=way == "one"
    )
    return sum(history.loss[-1] for history in done.histories) / len(networks)


def _bare(way: str, networks: list[Any], data: list[Any], loss: Any) -> float:
    import torch

    total = 0.0
    for network, batches in zip(networks, data, strict=True):
        optimizer = torch.optim.Adam(network.parameters(), lr=0.01)
        for inputs, targets in batches(0):
            optimizer.zero_grad()
            value = loss(network(inputs), targets)
            value.backward()
            optimizer.step()
        total += value.item()
    return total / len(networks)


def bench(repeats: int, *, networks: int = NETWORKS, widths: tuple[int, ...] = WIDTHS) -> dict[str, Any]:
    """Return the medians over the repeats, for each shape, width and way."""
    tasks = [(way, shape, width) for shape in SHAPES for width in widths for way in WAYS]
    gathered: dict[tuple[str, str, int], list[Costs]] = {task: [] for task in tasks}
    # Interleaved, so that a slow moment of the machine hits all alike.
    for _ in range(repeats):
        for task in tasks:
            gathered[task].append(answer(OURS, "many_networks.py", *task, networks))
    costs = {
        shape: {str(width): {way: medians(gathered[way, shape, width]) for way in WAYS} for width in widths}
        for shape in SHAPES
    }
    for each in (each for by_width in costs.values() for each in by_width.values()):
        losses = [each[way]["loss"] for way in WAYS]
        if not all(math.isclose(loss, losses[0], rel_tol=1e-3) for loss in losses):
            raise SystemExit(f"the ways end at other losses: {losses}")
    return {"repeats": repeats, "networks": networks, "costs": costs}


def times_faster(costs: dict[str, Costs], than: str) -> float:
    """Return the time of a loop over that of the networks as one."""
    return costs[than]["cpu_seconds"] / costs["one"]["cpu_seconds"]


def broken_promises(result: dict[str, Any]) -> list[str]:
    """Say where narrow networks are not trained as one in half the time of a loop."""
    return [
        f"{shape}, width {width}: {times_faster(costs, than):.2f} times faster than the {than} loop, not {PROMISED:g}"
        for shape, by_width in result["costs"].items()
        for width, costs in by_width.items()
        for than in ("bare", "loop")
        if int(width) <= PROMISED_WIDTH and times_faster(costs, than) < PROMISED
    ]


def table(result: dict[str, Any]) -> str:
    """Return the result as a Markdown table and a sentence."""
    networks = result["networks"]
    lines = [
        f"| {networks} networks, {STEPS} steps, one thread | as one | a loop | times faster | a bare loop "
        "| times faster | memory | of the loop |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for shape, by_width in result["costs"].items():
        n_inputs, hidden, n_outputs, _ = SHAPES[shape]
        for width, costs in by_width.items():
            seconds = {way: f"{cost['cpu_seconds']:.2f} s" for way, cost in costs.items()}
            memory = {way: f"{cost['extra_bytes'] / 1e6:.0f} MB" for way, cost in costs.items()}
            name = "-".join(map(str, [n_inputs, *[width] * hidden, n_outputs]))
            ratios = {than: f"{times_faster(costs, than):.1f}" for than in ("loop", "bare")}
            cells = [name, seconds["one"], seconds["loop"], ratios["loop"], seconds["bare"], ratios["bare"]]
            lines.append(f"| {' | '.join([*cells, memory['one'], memory['loop']])} |")
    batches = " and ".join(f"{batch} for {shape}" for shape, (*_, batch) in SHAPES.items())
    words = (
        f"Adam, batches of {batches}; times are processor time. Both loops train one network after the other: "
        f"`fit_many(…, together=False)`, and torch alone. {runs(result['repeats']).capitalize()}."
    )
    return "\n".join([*lines, "", words])


if __name__ == "__main__":
    worker(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
