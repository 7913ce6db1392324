"""Train in processes that are killed; run by test_checkpoint.py as ``python interrupted.py FOLDER PLAN``.

The parent only forks: it never computes with torch itself, which forked children could not survive. PLAN is JSON:
``{"data": kind, "moments": [[what, step], …]}`` kills one run per moment, by its own hand, at exactly that moment;
``{"data": kind, "random": n, "seed": s}`` kills one run n times from outside, at moments that nobody chose.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import torch

# Making an optimizer imports it, which would cost every forked child a second.
import torch._dynamo
from torch import nn
from torch.nn import functional
from torch.utils.data import DataLoader, Dataset

from deepscope.training import Callback, Checkpoint, Evaluate, GradientClipping, cosine, fit

EPOCHS, STEPS_PER_EPOCH, BATCH = 3, 10, 8
N = STEPS_PER_EPOCH * BATCH - 3


class Noisy(Dataset):
    """Samples that draw from every global generator on the CPU."""

    def __len__(self) -> int:
        return N

    def __getitem__(self, index: int):
        x = torch.full((6,), index / N) + torch.randn(6) * 0.1 + np.random.standard_normal() * 0.1  # noqa: NPY002
        return x.float() + random.gauss(0, 0.1), int(index > N // 2)


def pure(epoch: int):
    generator = torch.Generator().manual_seed(epoch)
    x = torch.randn(N, 6, generator=generator)
    for chosen in torch.randperm(N, generator=generator).split(BATCH):
        yield x[chosen], (x[chosen, 0] > 0).long()


class Remember(Callback):
    """State of a callback: a running mean of the losses."""

    def __init__(self) -> None:
        self.mean = torch.zeros((), dtype=torch.float64)

    def on_step(self, state) -> None:
        self.mean = 0.9 * self.mean + 0.1 * state.loss

    def state_dict(self):
        return {"mean": self.mean}

    def load_state_dict(self, state) -> None:
        self.mean = state["mean"]


class Die(Callback):
    """Kill the own process at a moment."""

    def __init__(self, what: str, step: int) -> None:
        self.what, self.step = what, step

    def at(self, what: str, step: int) -> None:
        if (what, step) == (self.what, self.step):
            os.kill(os.getpid(), signal.SIGKILL)

    def on_start(self, state) -> None:
        self.at("start", state.step)
        if self.what == "write":
            fsync = os.fsync

            def dying_fsync(handle: int) -> None:
                if state.step == self.step:
                    # Half of the new file is on the disk, under its temporary name.
                    os.ftruncate(handle, os.fstat(handle).st_size // 2)
                fsync(handle)
                self.at("write", state.step)

            os.fsync = dying_fsync

    def on_gradients(self, state) -> None:
        self.at("gradients", state.step)

    def on_step(self, state) -> None:
        self.at("step", state.step)

    def on_epoch_end(self, state) -> None:
        self.at("epoch", state.step)


def train(kind: str, checkpoint: Checkpoint | None, result: Path, die: Callback) -> None:
    torch.manual_seed(1)
    model = nn.Sequential(nn.Linear(6, 12), nn.BatchNorm1d(12), nn.ReLU(), nn.Dropout(0.4), nn.Linear(12, 2))
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
    loader = DataLoader(Noisy(), batch_size=BATCH, shuffle=True)
    remember = Remember()
    test = [(torch.linspace(-1, 1, 6 * N).reshape(N, 6), torch.arange(N) % 2)]
    history = fit(
        model,
        pure if kind == "pure" else lambda epoch: loader,
        functional.cross_entropy,
        optimizer=optimizer,
        epochs=EPOCHS,
        schedule=cosine(EPOCHS * STEPS_PER_EPOCH, warmup=4),
        callbacks=[GradientClipping(1.0), remember, Evaluate(test, functional.cross_entropy), die],
        checkpoint=checkpoint,
        seed=3,
    )
    torch.save(
        {
            "model": model.state_dict(),
            "optimizer": optimizer.state_dict(),
            "history": history.to_plain(),
            "remembered": remember.mean,
        },
        result,
    )


def in_a_child(work: Callable[[], None], kill_after: float | None = None) -> int:
    """Run work in a forked process, perhaps kill it; return the signal that ended it, 0 when it ended by itself."""
    child = os.fork()
    if child == 0:
        try:
            torch.set_num_threads(1)
            work()
        except BaseException as error:
            print(repr(error), file=sys.stderr, flush=True)
            os._exit(1)
        os._exit(0)
    if kill_after is not None:
        time.sleep(kill_after)
        os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    if os.WIFEXITED(status) and os.WEXITSTATUS(status):
        raise SystemExit(1)
    return os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0


def chosen_moments(folder: Path, kind: str, moments: list[tuple[str, int]]) -> list[dict[str, object]]:
    killed = []
    for number, (what, step) in enumerate(moments):
        checkpoint = Checkpoint(folder / f"{number}.ckpt", every_steps=3, every_epochs=1)
        result = folder / f"result{number}.pt"
        ended_by = in_a_child(partial(train, kind, checkpoint, result, Die(what, step)))
        killed.append({"moment": [what, step], "signal": ended_by, "had_result": result.exists()})
        in_a_child(partial(train, kind, checkpoint, result, Die("never", 0)))
    return killed


def random_moments(folder: Path, kind: str, n: int, seed: int) -> list[dict[str, object]]:
    moments = random.Random(seed)
    started = time.perf_counter()
    saving = Checkpoint(folder / "timed.ckpt", every_steps=1)
    in_a_child(lambda: train(kind, saving, folder / "result_timed.pt", Die("never", 0)))
    duration = time.perf_counter() - started
    checkpoint, result, killed = Checkpoint(folder / "random.ckpt", every_steps=1), folder / "result0.pt", []
    for _ in range(n):
        # A run that finished before its kill is begun anew, so that every kill meets a run in progress.
        wait = moments.uniform(0, 0.8) * duration
        ended_by = in_a_child(lambda: train(kind, checkpoint, result, Die("never", 0)), wait)
        size = Path(checkpoint.path).stat().st_size if Path(checkpoint.path).exists() else 0
        killed.append({"after": wait, "signal": ended_by, "saved": size > 0})
        if result.exists():
            result.unlink()
            Path(checkpoint.path).unlink()
    in_a_child(lambda: train(kind, checkpoint, result, Die("never", 0)))
    return killed


def main() -> None:
    folder, plan = Path(sys.argv[1]), json.loads(sys.argv[2])
    in_a_child(lambda: train(plan["data"], None, folder / "undisturbed.pt", Die("never", 0)))
    if "moments" in plan:
        killed = chosen_moments(folder, plan["data"], [tuple(moment) for moment in plan["moments"]])
    else:
        killed = random_moments(folder, plan["data"], plan["random"], plan["seed"])
    print(json.dumps(killed))


if __name__ == "__main__":
    main()
