"""The Jacobians of all layers with respect to the inputs, along directions of the inputs."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.autograd import forward_ad

from deepscope.core import MeasurementError, derive_seed, first_line
from deepscope.linalg import local_rank
from deepscope.subject import (
    Batch,
    Collector,
    FirstSamples,
    Subject,
    collecting,
    each_sampled,
    is_out_of_memory,
    part_of,
    tensors_in,
    without_fused_kernels,
)

Floats = NDArray[np.float64]

#: What the products of all layers' Jacobians with all directions may take, in bytes, and how many features of a layer
#: are kept.
_MEMORY, _MOST = 2**28, 4096


@dataclass(frozen=True, eq=False)
class LocalRanks:
    """The local rank of every layer at some samples.

    Attributes
    ----------
    by_layer
        Name to [samples].
    n_samples
        How many.
    n_directions
        Of the inputs, at each sample: as many as there are input values, or fewer at random.
    exact
        Whether all directions were taken, at all samples.
    passes
        Forward passes that were made.
    why
        Why there are none; empty where there are.
    """

    by_layer: Mapping[str, Floats]
    n_samples: int
    n_directions: int
    exact: bool
    passes: int
    why: str = ""


def local_ranks(subject: Subject, samples: int, widths: Mapping[str, int], directions: int, seed: int) -> LocalRanks:
    """Measure them by forward-mode differentiation: a pass for each direction gives ∂T/∂x·v of all layers T at once.

    Parameters
    ----------
    subject
        Run inside its ``undisturbed()``.
    samples
        The first so many are measured.
    widths
        How many features each layer has, for its memory.
    directions
        Random directions for inputs of more values than these; for others their own axes, exactly.
    seed
        Seeds the directions, and which features are kept of a layer of more than 4,096.
    """
    run = _Run(widths, directions, seed)
    with (
        warnings.catch_warnings(),
        without_fused_kernels(subject.model, products=True),
        collecting(subject, reduce=run.keep) as collector,
    ):
        # What torch warns of when it first loads its own rules of differentiation.
        warnings.filterwarnings("ignore", ".*torch.jit.script.*", DeprecationWarning)
        for batch in FirstSamples(subject, samples):
            try:
                run.see(subject, collector, batch)
            except MeasurementError as error:
                # The network has run on these samples: what fails is the derivative.
                cause = error.__cause__
                if cause is None or is_out_of_memory(cause):
                    raise
                run.why = f"it has no forward-mode derivative: {first_line(cause)}"
            if run.why:
                break
    return run.found()


class _Run:
    def __init__(self, widths: Mapping[str, int], directions: int, seed: int) -> None:
        self.directions, self.seed, self.why = directions, seed, ""
        self.features = sum(min(each, _MOST) for each in widths.values())
        self.ranks: dict[str, list[Floats]] = {}
        self.n = self.passes = 0
        self.most, self.exact = 0, True
        self._tangents: dict[str, list[Tensor]] = {}
        self._kept: dict[str, Tensor] = {}

    def keep(self, name: str, rows: Tensor) -> None:
        """Keep the tangent of a layer's rows, as it goes on to be worked on in place."""
        tangent = forward_ad.unpack_dual(rows).tangent  # type: ignore[no-untyped-call]
        tangent = torch.zeros_like(rows) if tangent is None else tangent
        if tangent.shape[1] > _MOST:
            if name not in self._kept:
                generator = torch.Generator().manual_seed(derive_seed(self.seed, "rank", name))
                chosen = torch.randperm(tangent.shape[1], generator=generator)[:_MOST]
                self._kept[name] = chosen.to(rows.device)
            tangent = tangent[:, self._kept[name]]
        self._tangents.setdefault(name, []).append(tangent.to("cpu", torch.float64, copy=True))

    def see(self, subject: Subject, collector: Collector, batch: Batch) -> None:
        width = sum(each[:1].numel() for each in _sampled_floats(batch.inputs, batch.n_samples))
        if not width:
            self.why = "the inputs are whole numbers"
            return
        exact = width <= self.directions
        k = width if exact else self.directions
        self.most, self.exact = max(self.most, k), self.exact and exact
        step = max(1, _MEMORY // (8 * k * max(1, self.features)))
        for start in range(0, batch.n_samples, step):
            part = part_of(subject, batch, slice(start, min(start + step, batch.n_samples)))
            self._tangents = {}
            for direction in range(k):
                with forward_ad.dual_level():
                    generator = None if exact else _generator(self.seed, direction, self.n)
                    collector.run(_dual(part.inputs, part.n_samples, direction, generator), part.n_samples)
            self.passes += k
            for name, columns in self._tangents.items():
                if len(columns) == k and len({each.shape for each in columns}) == 1:
                    ranks = local_rank(torch.stack(columns, dim=-1), random=not exact)
                    self.ranks.setdefault(name, []).append(ranks)
            self.n += part.n_samples

    def found(self) -> LocalRanks:
        ranks = {} if self.why else {name: np.concatenate(each) for name, each in self.ranks.items()}
        return LocalRanks(ranks, self.n, self.most, self.exact, self.passes, self.why)


def _sampled_floats(inputs: Any, n: int) -> list[Tensor]:
    return [each for each in tensors_in(inputs) if each.is_floating_point() and each.ndim and len(each) == n]


def _generator(seed: int, direction: int, sample: int) -> torch.Generator:
    return torch.Generator().manual_seed(derive_seed(seed, "direction", direction, sample))


def _dual(inputs: Any, n: int, axis: int, generator: torch.Generator | None) -> Any:
    """Return inputs with a direction: that of one of their values, or a random one for each sample."""
    before = 0

    def directed(tensor: Tensor) -> Tensor:
        nonlocal before
        if not tensor.is_floating_point():
            return tensor
        width = tensor[:1].numel()
        if generator is None:
            direction = torch.zeros(n, width, dtype=torch.float64)
            if before <= axis < before + width:
                direction[:, axis - before] = 1
        else:
            direction = torch.randn(n, width, generator=generator, dtype=torch.float64)
        before += width
        directed_to = direction.reshape(tensor.shape).to(tensor)
        dual: Tensor = forward_ad.make_dual(tensor.detach(), directed_to)  # type: ignore[no-untyped-call]
        return dual

    return each_sampled(inputs, n, directed)
