"""`spectrum` beside WeightWatcher on weights shaped as GPT-2 small's: 48 matrices, one thread each.

Each measurement runs in a process of its own. deepscope reads the weights from the file while it measures;
WeightWatcher gets a model that holds them, which counts in its memory as the file's pages count in deepscope's.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from process import HERE, OURS, THEIRS, Costs, answer, medians, run, runs

SHAPES = {"attn": (768, 2304), "proj": (768, 768), "fc": (768, 3072), "out": (3072, 768)}
BLOCKS = 12
SMALL = {"blocks": 1}


def write(folder: Path, name: str, shapes: Mapping[str, tuple[int, int]]) -> tuple[Path, Path]:
    """Write one set of matrices for both sides: ``.safetensors`` for deepscope, ``.npz`` for the peer."""
    import numpy as np
    from safetensors.numpy import save_file

    rng = np.random.default_rng(0)
    tensors = {name: (0.02 * rng.standard_t(6, size=shape)).astype(np.float32) for name, shape in shapes.items()}
    for_us, for_them = folder / f"{name}.safetensors", folder / f"{name}.npz"
    save_file({f"{name}.weight": tensor for name, tensor in tensors.items()}, for_us)
    np.savez(for_them, **tensors)
    return for_us, for_them


def write_weights(folder: Path, blocks: int) -> tuple[Path, Path]:
    """Write the matrices of so many blocks of GPT-2 small."""
    shapes = {f"h{block:02d}_{part}": shape for block in range(blocks) for part, shape in SHAPES.items()}
    return write(folder, f"gpt2_{blocks}", shapes)


def worker(what: str, path: str) -> None:
    """Measure one thing in this process and print its cost."""
    import torch
    from meter import Meter

    torch.set_num_threads(1)
    actions = {
        "alpha": partial(_spectrum, bootstrap=0, null=None, alternatives=False),
        "spectrum": _spectrum,
        "everything": partial(_spectrum, null="permutation"),
        "eigenvalues": _eigenvalues,
        "examine": _examine,
    }
    action = actions[what](path)
    with Meter() as meter:
        action()
    print(json.dumps(meter.cost))


def _spectrum(path: str, **asked: Any) -> Callable[[], Any]:
    from deepscope.instruments import spectrum
    from deepscope.subject import Subject

    return lambda: spectrum(Subject.from_checkpoint(path), **asked).table()


def _eigenvalues(path: str) -> Callable[[], Any]:
    """The limit: nothing but the Gram matrices and LAPACK."""
    import numpy as np
    from safetensors import safe_open

    def solve() -> None:
        with safe_open(path, "np") as file:
            for name in file.keys():  # noqa: SIM118 - a safetensors file is not a mapping
                W = file.get_tensor(name).astype(np.float64)
                W = W if W.shape[0] <= W.shape[1] else W.T
                np.linalg.eigvalsh(W @ W.T)

    return solve


def _examine(path: str) -> Callable[[], Any]:
    from deepscope.lab import examine

    return lambda: examine(path)


def ours(what: str, path: Path) -> Costs:
    """Return what one of the actions of ``worker`` costs."""
    return answer(OURS, "spectrum.py", what, path)


def theirs(path: Path, *what: str) -> Costs:
    """Return what the peer's analysis costs."""
    answered = path.with_suffix(".json")
    run([THEIRS, str(HERE / "peer_weightwatcher.py"), str(path), str(answered), *what])
    costs: Costs = json.loads(answered.read_text())["cost"]
    return costs


def bench(repeats: int, blocks: int = BLOCKS) -> dict[str, Any]:
    """Return the medians over the repeats of every measurement, and the ratios that count."""
    sizes = [max(1, blocks // 4), max(1, blocks // 2), blocks]
    samples: dict[str, list[Costs]] = {}
    with tempfile.TemporaryDirectory() as folder:
        files = {size: write_weights(Path(folder), size) for size in sizes}
        for_us, for_them = files[blocks]
        # Interleaved, so that a slow moment of the machine hits all alike.
        for _ in range(repeats):
            samples.setdefault("weightwatcher", []).append(theirs(for_them))
            for what in ("alpha", "spectrum", "everything", "eigenvalues", "examine"):
                samples.setdefault(what, []).append(ours(what, for_us))
            for size in sizes[:-1]:
                samples.setdefault(f"spectrum of {4 * size}", []).append(ours("spectrum", files[size][0]))
        # Once: it takes minutes, and its share is far from the limit.
        samples["weightwatcher, everything"] = [theirs(for_them, "everything")]
    costs = {what: medians(each) for what, each in samples.items()}
    cpu = {what: cost["cpu_seconds"] for what, cost in costs.items()}
    per_layer = [cpu[f"spectrum of {4 * size}"] / (4 * size) for size in sizes[:-1]] + [cpu["spectrum"] / (4 * blocks)]
    return {
        "n_matrices": 4 * blocks,
        "repeats": repeats,
        "costs": costs,
        "alpha_to_weightwatcher": cpu["alpha"] / cpu["weightwatcher"],
        "everything_to_weightwatcher": cpu["everything"] / cpu["weightwatcher, everything"],
        "eigenvalues_to_alpha": cpu["eigenvalues"] / cpu["alpha"],
        "per_layer_spread": max(per_layer) / min(per_layer),
        "largest_matrix_bytes": 8 * max(rows * cols for rows, cols in SHAPES.values()),
    }


def broken_promises(result: dict[str, Any]) -> list[str]:
    """Say which of what is promised does not hold: the CPU time, the memory, the growth with the number of layers."""
    limit = 3 * result["largest_matrix_bytes"] + 100e6
    extra = result["costs"]["spectrum"]["extra_bytes"]
    return [
        words
        for holds, words in (
            (result["alpha_to_weightwatcher"] <= 0.55, "α alone takes more than 0.55 of the peer's CPU time"),
            (result["everything_to_weightwatcher"] <= 0.3, "everything takes more than 0.3 of the peer's CPU time"),
            (extra <= limit, f"spectrum takes {extra / 1e6:.0f} MB, more than {limit / 1e6:.0f}"),
            (result["per_layer_spread"] <= 1.5, "the time is not linear in the number of layers"),
        )
        if not holds
    ]


def table(result: dict[str, Any]) -> str:
    """Return the result as a Markdown table and one sentence."""
    count = result["n_matrices"]
    names = {
        "weightwatcher": "`weightwatcher.analyze()`",
        "weightwatcher, everything": "`weightwatcher.analyze(mp_fit=True, randomize=True)`",
        "alpha": "`spectrum`, α alone",
        "spectrum": "`spectrum`, with interval, goodness of fit, alternatives, null and phase",
        "everything": "`spectrum`, the shuffled matrices as well",
        "eigenvalues": "Gram matrices and LAPACK alone",
        "examine": "the whole `deepscope.examine`",
    }
    base = result["costs"]["weightwatcher"]["cpu_seconds"]
    lines = ["| one thread | CPU time | ratio | elapsed | extra memory |", "| --- | ---: | ---: | ---: | ---: |"]
    for what, name in names.items():
        cost = result["costs"][what]
        lines.append(
            f"| {name} | {cost['cpu_seconds']:.1f} s | {cost['cpu_seconds'] / base:.2f} "
            f"| {cost['wall_seconds']:.1f} s | {cost['extra_bytes'] / 1e6:.0f} MB |"
        )
    return "\n".join(
        [
            *lines,
            "",
            f"{count} matrices shaped as GPT-2 small's, {runs(result['repeats'])}. CPU time per matrix at "
            f"{count // 4}, {count // 2} and {count} matrices differs by a factor of "
            f"{result['per_layer_spread']:.2f} at most.",
        ]
    )


if __name__ == "__main__":
    worker(*sys.argv[1:])
