"""An instrument that measures what it costs its process to measure tensors: memory, and bytes read from files."""

import os
from dataclasses import dataclass, replace
from pathlib import Path

from deepscope.instruments import ANATOMY, SPECTRUM


def _kilobytes(field: str) -> int:
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{field}:"))


def _bytes_read() -> int:
    """Bytes that this process has asked files for: a page that is in memory already counts as well."""
    lines = Path("/proc/self/io").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("rchar:"))


#: What the process holds once everything is imported, before it reads its first tensor.
_AFTER_IMPORTS = _kilobytes("VmRSS")


@dataclass(frozen=True)
class Metered:
    """What one process has used up to and with one tensor."""

    name: str
    pid: int
    extra_kilobytes: int
    bytes_read: int
    nbytes: int


def step(weight, tensor):
    del tensor
    extra = _kilobytes("VmHWM") - _AFTER_IMPORTS
    return [Metered(weight.name, os.getpid(), extra, _bytes_read(), weight.nbytes)]


def gather(subject, items, cost):
    del items, cost
    return ANATOMY.per_weight.gather(subject, (), ANATOMY.measure(subject.only("*0.weight")).cost)


METER = replace(ANATOMY, name="meter", per_weight=replace(ANATOMY.per_weight, step=step, gather=gather, record=Metered))
#: In the order in which a tensor is handed to them: the meter sees what the spectrum took.
BOTH = (SPECTRUM, METER)
