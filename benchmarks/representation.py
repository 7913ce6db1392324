"""Centred kernel alignment of all pairs of layers of two networks, beside torch_cka.

Two multilayer perceptrons of 10 and of 50 linear layers, 256 wide, on 2,000 random samples in batches of 250, all pairs
of their linear layers. Then 50,000 samples, without the peer: memory must not grow with them. Each measurement runs in
a process of its own, with one thread.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from typing import Any

from process import OURS, THEIRS, Costs, answer, medians, runs

DEPTHS = (10, 50)
SAMPLES, STREAMED, BATCH, WIDTH, INPUTS = 2000, 50_000, 250, 256, 784
SMALL = {"depths": (3, 5), "samples": 500, "streamed": 2000}
WHAT = ("torch_cka", "alignment", "representation")
#: CPU time of the peer over ours, by the number of layers.
PROMISED = {10: 4, 50: 20}
#: Extra memory of 50,000 samples over that of half of them.
BOUNDED = 1.5


class Batches:
    """Random samples, made anew at each pass, so that they take no memory; as a list and as a data loader."""

    def __init__(self, samples: int) -> None:
        self.samples = samples
        self.dataset = "random samples"

    def __len__(self) -> int:
        return -(-self.samples // BATCH)

    def __iter__(self) -> Iterator[tuple[Any, Any]]:
        import torch

        generator = torch.Generator().manual_seed(0)
        for start in range(0, self.samples, BATCH):
            n = min(BATCH, self.samples - start)
            yield torch.randn(n, INPUTS, generator=generator), torch.zeros(n, dtype=torch.long)


def network(depth: int, seed: int) -> Any:
    """Return a perceptron of so many linear layers, orthogonal, with odd activations: samples stay apart through them.

    Behind fifty rectifiers they are all but one, and the peer's alignments, of kernels that are not centred, NaN.
    """
    import torch
    from torch import nn

    torch.manual_seed(seed)
    layers: list[Any] = []
    for index in range(depth):
        linear = nn.Linear(INPUTS if index == 0 else WIDTH, WIDTH)
        nn.init.orthogonal_(linear.weight, gain=1.1)
        layers += [linear, nn.Tanh()]
    return nn.Sequential(*layers[:-1]).eval()


def linear_layers(model: Any) -> list[str]:
    """Name the layers that are compared."""
    return [name for name, layer in model.named_children() if hasattr(layer, "weight")]


def worker(what: str, depth: str, samples: str) -> None:
    """Measure one thing in this process; print its cost and the sum of the matrix."""
    import torch
    from meter import Meter

    torch.set_num_threads(1)
    networks = [network(int(depth), seed) for seed in (0, 1)]
    action = {"torch_cka": _peer, "alignment": _alignment, "representation": _representation}[what]
    # Once before with few samples, so that what is loaded on first use is not timed.
    action(*networks, Batches(BATCH))
    networks = [network(int(depth), seed) for seed in (0, 1)]
    with Meter() as meter:
        found = action(*networks, Batches(int(samples)))
    print(json.dumps({**meter.cost, "check": float(found.sum())}))


def _peer(one: Any, other: Any, data: Batches) -> Any:
    import io
    import warnings
    from contextlib import redirect_stderr

    from torch_cka import CKA

    with warnings.catch_warnings(), redirect_stderr(io.StringIO()):
        warnings.simplefilter("ignore")
        found = CKA(one, other, "one", "other", linear_layers(one), linear_layers(other))
        import torch

        with torch.no_grad():
            found.compare(data)
    return found.export()["CKA"]


def _alignment(one: Any, other: Any, data: Batches) -> Any:
    from deepscope import Subject
    from deepscope.linalg import CKAMatrix
    from deepscope.subject import collecting

    matrix = CKAMatrix()
    subjects = [Subject(one, data), Subject(other, data)]
    with subjects[0].undisturbed(), subjects[1].undisturbed():

        def kernel(of: int) -> Any:
            return lambda name, rows: matrix.kernel(rows, (of, name))

        collectors = [
            collecting(each, linear_layers(each.model), reduce=kernel(index)) for index, each in enumerate(subjects)
        ]
        with collectors[0] as mine, collectors[1] as theirs:
            for batch in subjects[0].batches():
                kernels = [list(each.run(batch.inputs, batch.n_samples).values()) for each in (mine, theirs)]
                matrix.add_kernels(*kernels)
    return matrix.result().values


def _representation(one: Any, other: Any, data: Batches) -> Any:
    from deepscope import Subject
    from deepscope.instruments import representation

    found = representation(Subject(one, data), other, linear_layers(one), samples=256, cka_samples=data.samples)
    columns = [found.other_layers.index(name) for name in linear_layers(other)]
    return found.cka[:, columns]


def bench(
    repeats: int, depths: tuple[int, ...] = DEPTHS, samples: int = SAMPLES, streamed: int = STREAMED
) -> dict[str, Any]:
    """Return the medians over the repeats by depth, and how they compare."""
    gathered: dict[int, dict[str, list[Costs]]] = {
        depth: {what: [] for what in (*WHAT, "halfway", "streamed")} for depth in depths
    }
    # Interleaved, so that a slow moment of the machine hits all alike.
    for _ in range(repeats):
        for depth in depths:
            for what in WHAT:
                python = THEIRS if what == "torch_cka" else OURS
                gathered[depth][what].append(answer(python, "representation.py", what, depth, samples))
            for what, many in (("halfway", streamed // 2), ("streamed", streamed)):
                # Freed memory goes back at once: what is in use is measured, not what the allocator keeps.
                given = answer(OURS, "representation.py", "alignment", depth, many, MALLOC_MMAP_THRESHOLD_="65536")
                gathered[depth][what].append(given)
    costs = {str(depth): {what: medians(each) for what, each in found.items()} for depth, found in gathered.items()}
    compared = {
        depth: {
            "times_faster": found["torch_cka"]["cpu_seconds"] / found["alignment"]["cpu_seconds"],
            "memory_share": found["alignment"]["extra_bytes"] / max(found["torch_cka"]["extra_bytes"], 1),
            "memory_growth": found["streamed"]["extra_bytes"] / max(found["halfway"]["extra_bytes"], 1),
            "deviation": abs(found["alignment"]["check"] / found["torch_cka"]["check"] - 1),
        }
        for depth, found in costs.items()
    }
    return {"samples": samples, "streamed": streamed, "repeats": repeats, "costs": costs, "compared": compared}


def broken_promises(result: dict[str, Any]) -> list[str]:
    """Say which of the promises do not hold: speed and memory beside the peer, the same numbers, bounded memory."""
    broken = []
    for depth, found in result["compared"].items():
        times = PROMISED.get(int(depth), 1)
        if found["times_faster"] < times:
            broken.append(f"alignment of {depth} layers is {found['times_faster']:.1f} times faster, not {times}")
        if found["memory_share"] > 1:
            broken.append(f"alignment of {depth} layers takes {found['memory_share']:.2f} of the peer's memory")
        if found["memory_growth"] > BOUNDED:
            broken.append(f"twice the samples take {found['memory_growth']:.2f} times the memory with {depth} layers")
        # Traces of products of 250 × 250 matrices in single precision, the peer's without centring.
        if found["deviation"] > 1e-3:
            broken.append(f"alignment of {depth} layers differs from the peer's by {found['deviation']:.1g}")
    return broken


def table(result: dict[str, Any]) -> str:
    """Return the result as a Markdown table and one sentence."""
    names = {
        "torch_cka": "torch_cka 0.21",
        "alignment": "the same matrix (`CKAMatrix`, `collecting`)",
        "representation": "`representation`, all it measures",
        "halfway": f"the matrix of {result['streamed'] // 2:,} samples",
        "streamed": f"of {result['streamed']:,} samples",
    }
    depths = list(result["costs"])
    heads = [f"{depth} × {depth} layers | memory" for depth in depths]
    lines = [f"| one thread | {' | '.join(heads)} |", f"| --- |{' ---: | ---: |' * len(depths)}"]
    for what, name in names.items():
        cells = [
            f"{cost['cpu_seconds']:.2g} s | {cost['extra_bytes'] / 1e6:.0f} MB"
            for cost in (result["costs"][depth][what] for depth in depths)
        ]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    faster = " and ".join(f"{result['compared'][depth]['times_faster']:.0f}" for depth in depths)
    return "\n".join(
        [
            *lines,
            "",
            f"All pairs of linear layers of two perceptrons, 256 wide, over {result['samples']:,} samples in batches "
            f"of 250, {runs(result['repeats'])}: {faster} times as fast as the peer.",
        ]
    )


if __name__ == "__main__":
    worker(*sys.argv[1:])
