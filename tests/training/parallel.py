"""Train in several processes; run as ``python parallel.py FOLDER PLAN`` or by torchrun.

Without torchrun the parent forks two: it never computes with torch itself, which forked children could not survive.
PLAN is JSON, see ``train``. Each process writes what it found, or the error that it met.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch

# Making an optimizer imports it, which would cost every forked child a second.
import torch._dynamo
from torch import distributed, nn
from torch.nn import functional

from deepscope.core import DeepscopeError
from deepscope.training import (
    Callback,
    Checkpoint,
    EarlyStopping,
    Evaluate,
    GradientClipping,
    History,
    Mirror,
    SynchronisedBatchNorm,
    Tracker,
    fit,
    fit_distributed,
)

N, BATCH, EPOCHS = 30, 8, 3
X = torch.randn(N, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
# Every third sample of the first half has no target: parts of a batch count unequal numbers of terms.
Y = torch.where((torch.arange(N) % 3 == 0) & (torch.arange(N) < 15), -100, (X[:, 0] > 0).long())


def data(epoch: int):
    order = torch.randperm(N, generator=torch.Generator().manual_seed(epoch))
    for chosen in order.split(BATCH):
        yield X[chosen], Y[chosen]


class Kill(Callback):
    """Kills all processes of the run, as a machine that loses power would, or the last alone, the first time."""

    def __init__(self, step: int | None, alone: bool) -> None:
        self.step, self.alone = step, alone

    def on_gradients(self, state) -> None:
        if state.step != self.step or distributed.get_rank() != self.alone:
            return
        if not self.alone:
            os.killpg(os.getpgrp(), signal.SIGKILL)
        elif os.environ["TORCHELASTIC_RESTART_COUNT"] == "0":
            os.kill(os.getpid(), signal.SIGKILL)


class StopInOne(Callback):
    """Ends the training in the last process, whose clock has run out."""

    def __init__(self, step: int | None) -> None:
        self.step = step

    def on_step(self, state) -> None:
        state.stop = state.stop or (state.step == self.step and distributed.get_rank() == 1)


class Printed(Tracker):
    """What was shown in this process."""

    def __init__(self) -> None:
        self.shown = 0

    def open(self, name: str, parameters: object) -> None:
        pass

    def log(self, numbers: object, step: int) -> None:
        self.shown += 1

    def close(self) -> None:
        pass


def network(dropout: float) -> nn.Module:
    torch.manual_seed(1)
    return nn.Sequential(
        # Without a bias, which the normalisation takes away: Adam would step by the sign of its rounding.
        nn.Linear(4, 6, bias=False),
        SynchronisedBatchNorm(6),
        nn.Tanh(),
        nn.Dropout(dropout),
        nn.Linear(6, 2),
    ).double()


def train(folder: Path, plan: dict[str, Any], rank: int) -> dict[str, Any]:
    """Train as PLAN says: ``alone``, ``dropout``, ``checkpoint``, ``kill`` (that ``restarts``) or ``stop``, ``bad``."""
    alone, bad = plan.get("alone", False), plan.get("bad")
    model = network(plan.get("dropout", 0.0))
    if bad == "normalisation":
        model = nn.Sequential(nn.BatchNorm1d(4), nn.Linear(4, 2)).double()
    given = data
    if bad == "order":
        given = lambda epoch: [(X[rank : rank + 8], Y[rank : rank + 8])]  # noqa: E731
    elif bad == "shorter":
        given = lambda epoch: list(data(epoch))[: 4 - rank]  # noqa: E731
    elif bad == "small":
        given = lambda epoch: [(X[:1], Y[:1])]  # noqa: E731
    printed = Printed()
    held_out = Evaluate([(X, Y)], functional.cross_entropy, count=counted, name="validation")
    callbacks: list[Callback] = [GradientClipping(0.5), held_out, EarlyStopping("validation_loss", patience=9)]
    if not alone:
        callbacks += [Kill(plan.get("kill"), plan.get("restarts", False)), StopInOne(plan.get("stop")), Mirror(printed)]
    history = (fit if alone else fit_distributed)(
        model,
        given,
        functional.cross_entropy,
        optimizer=torch.optim.AdamW(model.parameters(), lr=0.02 * (1 + rank * (bad == "rate"))),
        epochs=EPOCHS,
        callbacks=callbacks,
        count=counted,
        checkpoint=Checkpoint(folder / "run.pt", every_steps=3) if plan.get("checkpoint") else None,
    )
    return {**outcome(model, history), "shown": printed.shown}


def counted(targets: torch.Tensor) -> torch.Tensor:
    return (targets != -100).sum()


def outcome(model: nn.Module, history: History) -> dict[str, Any]:
    return {"model": model.state_dict(), "history": history.to_plain()}


def one(folder: Path, plan: dict[str, Any], rank: int) -> None:
    torch.set_num_threads(1)
    try:
        found = train(folder, plan, rank)
    except DeepscopeError as error:
        found = {"error": f"{type(error).__name__}: {error}"}
    torch.save(found, folder / f"{plan.get('name', 'found')}{rank}.pt")


def forked(folder: Path, plans: list[dict[str, Any]], rank: int) -> None:
    for index, plan in enumerate(plans):
        if plan.get("alone"):
            one(folder, plan, rank)
            continue
        distributed.init_process_group(
            "gloo",
            init_method=f"file://{folder / f'group{index}'}",
            rank=rank,
            world_size=2,
            timeout=timedelta(seconds=60),
        )
        one(folder, plan, rank)
        distributed.destroy_process_group()


def main() -> None:
    folder, plans = Path(sys.argv[1]), json.loads(sys.argv[2])
    if "RANK" in os.environ:
        for plan in plans:
            one(folder, plan, int(os.environ["RANK"]))
        return
    children = []
    for rank in range(2):
        child = os.fork()
        if not child:
            forked(folder, plans, rank)
            return
        children.append(child)
    statuses = [os.waitpid(child, 0)[1] for child in children]
    if any(statuses):
        raise SystemExit(f"the processes ended with {statuses}")


if __name__ == "__main__":
    main()
