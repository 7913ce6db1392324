"""One pass over the data for all that is told of representations."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from deepscope.core import DoesNotApplyError, UsageError, nearest
from deepscope.instruments._representation_pairs import BATCH
from deepscope.linalg import CKAMatrix
from deepscope.subject import (
    Batch,
    Collected,
    FirstSamples,
    RepresentationStore,
    Subject,
    collecting,
    move,
    n_batches,
    part_of,
)

Floats = NDArray[np.float64]

#: Samples of a batch below which its kernels have no unbiased alignment.
_SMALLEST = 4


@dataclass(frozen=True, eq=False)
class Head:
    """What the last layer was given, where it is linear and its output the network's.

    Attributes
    ----------
    name, module
        The layer.
    features
        [n, d], its input for the kept samples.
    """

    name: str
    module: nn.Linear
    features: Tensor


@dataclass(frozen=True, eq=False)
class Seen:
    """What a pass saw.

    Attributes
    ----------
    mine, theirs
        The kept samples' representations; the other network's, or None.
    cka, cka_stderr
        [l, m], over all samples of the pass.
    cka_samples
        How many those were.
    passes
        Batches that were run, through either network.
    head
        The linear last layer, or None.
    """

    mine: Collected
    theirs: Collected | None
    cka: Floats
    cka_stderr: Floats
    cka_samples: int
    passes: int
    head: Head | None


def look(
    subject: Subject, other: Subject | None, layers: Collection[str] | None, samples: int, cka_samples: int, seed: int
) -> Seen:
    """Run the data once through the network, or through both.

    Parameters
    ----------
    subject, other
        The networks; both see the first one's data.
    layers
        Of the subject; those that the other network selects are all compared with.
    samples, cka_samples
        How many samples are kept, and how many kernels are compared of.
    seed
        Seeds which features are kept of wide layers, and what is random in evaluation mode.
    """
    _check_layers(subject, layers)
    matrix = CKAMatrix()
    with ExitStack() as stack:
        mine = _Network(stack, subject, layers, samples, seed, matrix)
        theirs = None if other is None else _Network(stack, other, None, samples, seed, matrix)
        head = stack.enter_context(_last_linear(subject))
        compared = passes = read = 0
        data = FirstSamples(subject, max(samples, cka_samples))
        for batch, kept, first in _divided(subject, data, samples):
            read += first
            inputs = None if other is None else move(batch.inputs, other.device, copy=True)
            kernels = mine.run(batch.inputs, batch, kept=kept)
            if kept:
                head.keep(mine.output)
            others = None if theirs is None else theirs.run(inputs, batch, kept=kept)
            for index, part in enumerate(kernels if mine.names and (theirs is None or theirs.names) else ()):
                matrix.add_kernels(part, None if others is None else others[index])
            passes += 1 if others is None else 2
            compared += batch.n_samples if kernels else 0
        collected = mine.collected(more=data.is_cut or (n_batches(subject.data) or 0) > read)
        the_others = None if theirs is None else theirs.collected(more=False)
    for network, seen in ((subject, collected), (other, the_others)):
        if network is not None and seen is not None and not seen.layers:
            raise DoesNotApplyError(
                "no layer puts out a row for each sample",
                where=network.name,
                todo="; ".join(f"{name or 'the network'}: {reason}" for name, reason in seen.left_out[:3])
                or "Build the network of modules: what its forward computes by itself cannot be seen.",
            )
    values, stderr = np.full((2, len(mine.names), len((theirs or mine).names)), np.nan)
    if compared:
        found = matrix.result()
        values, stderr = found.values, found.stderr
    rows = [mine.names.index(name) for name in collected.layers]
    columns = rows if the_others is None else [(theirs or mine).names.index(name) for name in the_others.layers]
    at = np.ix_(rows, columns)
    return Seen(collected, the_others, values[at], stderr[at], compared, passes, head.found())


class _Network:
    """A network whose layers are collected: rows of the first samples, and kernels of all."""

    def __init__(
        self,
        stack: ExitStack,
        subject: Subject,
        layers: Collection[str] | None,
        samples: int,
        seed: int,
        matrix: CKAMatrix,
    ) -> None:
        stack.enter_context(subject.undisturbed(seed=seed))
        self._collector = stack.enter_context(collecting(subject, layers, reduce=self._reduce))
        self._store = RepresentationStore(samples, seed, len(self._collector.names))
        self._matrix = matrix
        self._kept = False
        self.names: list[str] = []
        self.output: Any = None

    def run(self, inputs: Any, batch: Batch, *, kept: bool) -> list[list[Tensor]]:
        """Return the layers' kernels, for each part of a batch; those of the layers of the first one."""
        self._kept = kept
        found = self._collector.run(inputs, batch.n_samples)
        self.names = self.names or list(found)
        self.output = self._collector.output
        if kept:
            self._store.add({name: rows for name, (_, rows) in found.items()}, self.output, batch)
        # A layer that does not run for every batch is left out in the end: what stands for it here does not matter.
        return [
            [found[name][0][index] if name in found else self._blank(len(part)) for name in self.names]
            for index, part in enumerate(_parts(batch.n_samples))
        ]

    def _blank(self, n: int) -> Tensor:
        return self._matrix.kernel(torch.zeros(n, 1), (id(self), ""))

    def collected(self, *, more: bool) -> Collected:
        """Return the kept samples' representations."""
        return self._store.collected(self._collector.left_out, more=more)

    def _reduce(self, name: str, rows: Tensor) -> tuple[list[Tensor], Tensor | None]:
        # A representation that is not finite has no kernel; its row says so.
        finite = rows if bool(torch.isfinite(rows).all()) else torch.zeros_like(rows)
        kernels = [self._matrix.kernel(finite[part], (id(self), name)).cpu() for part in _parts(len(rows))]
        return kernels, self._store.part(name, rows) if self._kept else None


def _parts(n: int) -> list[range]:
    """Cut a batch into as even parts as can be; none where it is too small for an unbiased kernel."""
    if n < _SMALLEST:
        return []
    cuts = np.linspace(0, n, -(-n // BATCH) + 1).round().astype(int)
    return [range(int(start), int(stop)) for start, stop in pairwise(cuts)]


def _divided(subject: Subject, data: FirstSamples, samples: int) -> Iterator[tuple[Batch, bool, bool]]:
    """Yield batches, whether each is kept, as a whole or not at all, and whether it begins one of the data's."""
    left = samples
    for batch in data:
        if 0 < left < batch.n_samples:
            yield part_of(subject, batch, slice(0, left)), True, True
            yield part_of(subject, batch, slice(left, batch.n_samples)), False, False
        else:
            yield batch, left > 0, True
        left = max(0, left - batch.n_samples)


def _check_layers(subject: Subject, layers: Collection[str] | None) -> None:
    known = [name for name, _ in subject.model.named_modules()] if subject.model is not None else []
    for name in layers or ():
        if name not in known:
            raise UsageError("no such layer", where=name, todo=nearest(name, known))
    if layers is not None and not layers:
        raise UsageError("no layer was given", where="layers", todo="Leave layers out for all of them.")


class _LastLinear:
    """What the last linear layer of each pass was given, as long as its output is the network's."""

    def __init__(self) -> None:
        self._latest: tuple[str, nn.Linear, Tensor, Tensor] | None = None
        self._features: list[Tensor] = []
        self._name: str | None = None
        self._module: nn.Linear | None = None
        self._lost = False

    def called(self, name: str, module: nn.Module, given: tuple[Any, ...], result: Any) -> None:
        assert isinstance(module, nn.Linear)
        self._latest = (name, module, given[0], result) if given else None

    def keep(self, output: Any) -> None:
        """Keep what was given in the latest pass, whose output this was."""
        latest, self._latest = self._latest, None
        if latest is None or latest[3] is not output or latest[2].ndim != 2 or self._name not in (None, latest[0]):
            self._lost = True
            return
        self._name, self._module = latest[:2]
        self._features.append(latest[2].detach().clone())

    def found(self) -> Head | None:
        """Return what was kept, where every pass ended in the same layer."""
        if self._lost or self._name is None or self._module is None:
            return None
        return Head(self._name, self._module, torch.cat(self._features))


@contextmanager
def _last_linear(subject: Subject) -> Iterator[_LastLinear]:
    last = _LastLinear()
    with ExitStack() as stack:
        for name, module in subject.model.named_modules() if subject.model is not None else ():
            if isinstance(module, nn.Linear):
                stack.callback(module.register_forward_hook(partial(last.called, name)).remove)
        yield last
