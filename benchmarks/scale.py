"""`examine` on a sharded checkpoint of 2 GB in 200 tensors: with one worker process, and with two."""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from process import OURS, answer, medians, runs

SHARDS = 10
TENSORS, SHAPE = 200, (1024, 2560)
SMALL = {"tensors": 20}
LEAST = 1.5


def write_shards(folder: Path, tensors: int) -> int:
    """Write the checkpoint with its index, and return the bytes of its tensors."""
    import numpy as np
    from safetensors.numpy import save_file

    rng = np.random.default_rng(0)
    places = {}
    for shard in range(SHARDS):
        name = f"model-{shard + 1:05d}-of-{SHARDS:05d}.safetensors"
        numbers = range(shard * tensors // SHARDS, (shard + 1) * tensors // SHARDS)
        held = {f"h.{number}.weight": rng.standard_normal(SHAPE, dtype=np.float32) for number in numbers}
        save_file(held, folder / name)
        places |= dict.fromkeys(held, name)
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": places}))
    return 4 * tensors * SHAPE[0] * SHAPE[1]


def worker(workers: str, path: str) -> None:
    """Examine in this process's workers and print how long that took, their start and imports included."""
    from deepscope.lab import examine

    before = os.times()
    began = time.perf_counter()
    examination = examine(path, instruments=["anatomy", "spectrum"], workers=int(workers))
    wall = time.perf_counter() - began
    after = os.times()
    assert not examination.not_run, examination.not_run
    own, children = after.user - before.user, after.children_user - before.children_user
    print(json.dumps({"wall_seconds": wall, "cpu_seconds": own + children}))


def bench(repeats: int, tensors: int = TENSORS) -> dict[str, Any]:
    """Return the medians over the repeats for one worker and two."""
    samples: dict[str, list[dict[str, float]]] = {"1": [], "2": []}
    with tempfile.TemporaryDirectory() as folder:
        total = write_shards(Path(folder), tensors)
        for _ in range(min(repeats, 2)):
            for workers in samples:
                samples[workers].append(answer(OURS, "scale.py", workers, folder))
    costs = {workers: medians(each) for workers, each in samples.items()}
    return {
        "repeats": min(repeats, 2),
        "bytes": total,
        "tensors": tensors,
        "costs": costs,
        "speedup": costs["1"]["wall_seconds"] / costs["2"]["wall_seconds"],
    }


def broken_promises(result: dict[str, Any]) -> list[str]:
    """Say so where two workers are not one and a half times as fast as one."""
    speedup = result["speedup"]
    return [] if speedup >= LEAST else [f"two workers are {speedup:.2f} times as fast as one, not {LEAST}"]


def table(result: dict[str, Any]) -> str:
    """Return the result as a Markdown table and one sentence."""
    lines = ["| worker processes | elapsed | times as fast | CPU time |", "| --- | ---: | ---: | ---: |"]
    one = result["costs"]["1"]["wall_seconds"]
    lines += [
        f"| {workers} | {its['wall_seconds']:.0f} s | {one / its['wall_seconds']:.2f} | {its['cpu_seconds']:.0f} s |"
        for workers, its in result["costs"].items()
    ]
    return "\n".join(
        [
            *lines,
            "",
            f"`deepscope examine --instruments anatomy,spectrum --workers N` on {result['tensors']} matrices of "
            f"{SHAPE[0]} × {SHAPE[1]}, {result['bytes'] / 1e9:.1f} GB in {SHARDS} files, one thread a worker; "
            f"{runs(result['repeats'])}.",
        ]
    )


if __name__ == "__main__":
    worker(*sys.argv[1:])
