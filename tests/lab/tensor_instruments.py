"""Instruments whose steps fail, die or count, for workers to import."""

import os
import signal
from dataclasses import dataclass, replace
from pathlib import Path

from deepscope.instruments import ANATOMY

CALLS = "DEEPSCOPE_TEST_CALLS"


@dataclass(frozen=True)
class Seen:
    """What the steps below return."""

    name: str
    pid: int
    threads: int


def seen(weight, tensor):
    import torch

    del tensor
    if CALLS in os.environ:
        with Path(os.environ[CALLS]).open("a") as calls:
            calls.write(f"{weight.name}\n")
    return [Seen(weight.name, os.getpid(), torch.get_num_threads())]


def dies(weight, tensor):
    if weight.name == "b.weight":
        os.kill(os.getpid(), signal.SIGKILL)
    return ANATOMY.per_weight.step(weight, tensor)


def fails(weight, tensor):
    if weight.name in ("b.weight", "c.weight"):
        raise ValueError(f"not {weight.name}")
    return ANATOMY.per_weight.step(weight, tensor)


def strange(weight, tensor):
    # A set is nothing that a reading can hold.
    return [{weight.name}] if tensor is not None else []


@dataclass(frozen=True)
class SeenMore(Seen):
    """More than the instrument says that its step returns."""

    more: float = 0.0


def more(weight, tensor):
    return [SeenMore(weight.name, 0, 0, more=7.0) for _ in seen(weight, tensor)]


class Unreadable:
    """Pickles, and cannot be unpickled."""

    def __reduce__(self):
        return (int, ("no number",))


def unreadable(weight, tensor):
    del tensor
    return [Unreadable()] if weight.name == "b.weight" else []


def unsendable(weight, tensor):
    del tensor
    return [lambda: None] if weight.name == "b.weight" else []


def gathers(subject, items, cost):
    del cost
    return ANATOMY.per_weight.gather(subject, (), ANATOMY.measure(subject).cost)


def _instrument(name, step, record=ANATOMY.per_weight.record, gather=ANATOMY.per_weight.gather):
    return replace(ANATOMY, name=name, per_weight=replace(ANATOMY.per_weight, step=step, record=record, gather=gather))


SEEN = _instrument("seen", seen, Seen, gathers)
DIES = _instrument("dies", dies)
FAILS = _instrument("fails", fails)
STRANGE = _instrument("strange", strange, gather=gathers)
MORE = _instrument("more", more, Seen, gathers)
UNREADABLE = _instrument("unreadable", unreadable, gather=gathers)
UNSENDABLE = _instrument("unsendable", unsendable, gather=gathers)
