"""Processes that normalise and differentiate their part of a batch each; run as ``python sharded.py FOLDER``.

FOLDER has ``given.pt``: the parts, the outputs' gradients and the layer's state; each process writes what it found.
The parent only forks: it never computes with torch itself, which forked children could not survive.
"""

from __future__ import annotations

import os
import sys
from datetime import timedelta
from pathlib import Path

import torch
from torch import distributed

from deepscope.training import SynchronisedBatchNorm


def one(folder: Path, rank: int, processes: int) -> None:
    distributed.init_process_group(
        "gloo",
        init_method=f"file://{folder / 'group'}",
        rank=rank,
        world_size=processes,
        timeout=timedelta(seconds=60),
    )
    given = torch.load(folder / "given.pt")
    x = given["parts"][rank].clone().requires_grad_()
    layer = SynchronisedBatchNorm(x.shape[1]).double()
    layer.load_state_dict(given["state"])
    y = layer(x)
    (y * given["directions"][rank]).sum().backward()
    found = {
        "y": y.detach(),
        "x": x.grad,
        "weight": layer.weight.grad,
        "bias": layer.bias.grad,
        "state": layer.state_dict(),
    }
    torch.save(found, folder / f"found{rank}.pt")
    distributed.destroy_process_group()


def main(folder: Path, processes: int) -> None:
    children = []
    for rank in range(processes):
        child = os.fork()
        if not child:
            one(folder, rank, processes)
            return
        children.append(child)
    statuses = [os.waitpid(child, 0)[1] for child in children]
    if any(statuses):
        raise SystemExit(f"the processes ended with {statuses}")


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
