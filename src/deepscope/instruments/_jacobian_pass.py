"""One forward pass of a network, and the derivatives between any two of its places."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.graph import GradientEdge

from deepscope.core import DoesNotApplyError, MeasurementError
from deepscope.subject import Subject


@dataclass(frozen=True, eq=False)
class Place:
    """A tensor in the forward pass.

    Attributes
    ----------
    edge
        Where gradients of it arrive; it stays what it is when the tensor is changed in place later.
    shape, axis
        Of the tensor, and the dimension in which the samples lie, n or a multiple of n one after another.
    n
        Samples.
    dtype, device
        Of the tensor.
    value
        The tensor, where it was asked for.
    """

    edge: GradientEdge | None
    shape: torch.Size
    axis: int
    n: int
    dtype: torch.dtype
    device: torch.device
    value: Tensor | None = None

    @property
    def size(self) -> int:
        """Numbers per sample."""
        return self.shape.numel() // self.n

    def rows(self, tensor: Tensor) -> Tensor:
        """Bring values of the tensor's shape to [n, size], float64."""
        return tensor.detach().movedim(self.axis, 0).reshape(self.n, -1).double()

    def tensor(self, rows: Tensor) -> Tensor:
        """Bring [n, size] to the tensor's shape and dtype."""
        rest = [size for dim, size in enumerate(self.shape) if dim != self.axis]
        return rows.to(self.device, self.dtype).reshape(self.shape[self.axis], *rest).movedim(0, self.axis)


@dataclass(frozen=True, eq=False)
class Call:
    """One call of a layer.

    Attributes
    ----------
    name, module
        The layer.
    inputs
        The floating-point tensors that it was given, each as this call alone saw it.
    output
        The first tensor that it returned; None where that is not floating-point.
    given
        Its arguments, of recurrent layers alone.
    why_not
        Why there is no output, where there is none.
    """

    name: str
    module: nn.Module
    inputs: tuple[Place, ...]
    output: Place | None
    given: tuple[tuple[Any, ...], dict[str, Any]] | None = None
    why_not: str = ""


@dataclass(frozen=True, eq=False)
class ForwardPass:
    """What one forward pass over n samples has left: its places, and the graph between them.

    Attributes
    ----------
    sources
        What the Jacobian is taken with respect to: the inputs, or the embeddings' outputs.
    calls
        In the order in which the layers were entered.
    output
        Of the whole network.
    """

    sources: tuple[Place, ...]
    calls: tuple[Call, ...]
    output: Place

    @property
    def n(self) -> int:
        """Samples."""
        return self.output.n

    @property
    def n_inputs(self) -> int:
        """Numbers of a sample's sources."""
        return sum(each.size for each in self.sources)

    def pull_back(self, at: Sequence[Place], cotangents: Tensor, to: Sequence[Place]) -> Tensor | None:
        """Return Jᵀu of every sample, [n, Σ size of to], for u [n, Σ size of at]; None where nothing depends on it."""
        parts = torch.split(cotangents, [each.size for each in at], 1)
        pulled = self._gradients(at, [each.tensor(u) for each, u in zip(at, parts, strict=True)], to)
        return _joined(pulled, to)

    def rows_of(self, at: Sequence[Place], to: Sequence[Place]) -> Tensor | None:
        """Return the Jacobian of every sample, [n, Σ size of at, Σ size of to], by one backward pass per row."""
        size = sum(each.size for each in at)
        rows = []
        for unit in self.units(size):
            made = self.pull_back(at, unit, to)
            if made is None:
                return None
            rows.append(made)
        return torch.stack(rows, 1)

    def units(self, size: int) -> Iterator[Tensor]:
        """Yield the unit vectors of so many dimensions, the same for every sample, [n, size]."""
        for index in range(size):
            unit = torch.zeros(self.n, size, dtype=torch.float64, device=self.output.device)
            unit[:, index] = 1
            yield unit

    def pushing(self, at: Place, from_: Sequence[Place]) -> PushForward | None:
        """Return what pushes directions of ``from_`` forward to ``at``; None where it does not depend on them."""
        cotangents = torch.zeros(at.shape, dtype=at.dtype, device=at.device, requires_grad=True)
        pulled = self._gradients([at], [cotangents], from_, create_graph=True)
        if all(each is None for each in pulled):
            return None
        return PushForward(at, tuple(from_), cotangents, pulled)

    def uphill(self, left: Tensor, right: Tensor) -> Tensor:
        """Return ∂(pᵀJ(x)q)/∂x of every sample, [n, Σ size], for p [n, outputs] and q [n, Σ size]."""
        pulled = self._gradients([self.output], [self.output.tensor(left)], self.sources, create_graph=True)
        parts = torch.split(right, [each.size for each in self.sources], 1)
        products = [
            (each * source.tensor(part)).sum()
            for each, source, part in zip(pulled, self.sources, parts, strict=True)
            if each is not None and each.requires_grad
        ]
        edges = [each.edge for each in self.sources if each.edge is not None]
        found: Sequence[Tensor | None] = (None,) * len(edges)
        if products:
            found = _gradients(sum(products[1:], products[0]), edges, retain_graph=True, allow_unused=True)
        made = _joined(found, self.sources)
        return made if made is not None else torch.zeros_like(right)

    def _gradients(
        self, at: Sequence[Place], cotangents: Sequence[Tensor], to: Sequence[Place], *, create_graph: bool = False
    ) -> tuple[Tensor | None, ...]:
        behind = [(each.edge, u) for each, u in zip(at, cotangents, strict=True) if each.edge is not None]
        before = [each.edge for each in to if each.edge is not None]
        if not behind or not before:
            return (None,) * len(to)
        found = iter(
            _gradients(
                [edge for edge, _ in behind],
                before,
                [u for _, u in behind],
                retain_graph=True,
                create_graph=create_graph,
                allow_unused=True,
            )
        )
        return tuple(None if each.edge is None else next(found) for each in to)


@dataclass(frozen=True, eq=False)
class PushForward:
    """Products J·v by a backward pass through the backward pass: Jᵀu is linear in u, and its transpose is J."""

    at: Place
    sources: tuple[Place, ...]
    cotangents: Tensor
    pulled: tuple[Tensor | None, ...]

    def __call__(self, directions: Tensor) -> Tensor:
        """Return J·v of every sample, [n, size], for v [n, Σ size]."""
        parts = torch.split(directions, [each.size for each in self.sources], 1)
        pairs = [
            (pulled, source.tensor(part))
            for pulled, source, part in zip(self.pulled, self.sources, parts, strict=True)
            if pulled is not None and pulled.requires_grad
        ]
        if not pairs:
            return directions.new_zeros(self.at.n, self.at.size)
        (found,) = _gradients(
            [each for each, _ in pairs], self.cotangents, [each for _, each in pairs], retain_graph=True
        )
        return self.at.rows(found)


def _gradients(*args: Any, **kwargs: Any) -> tuple[Any, ...]:
    """Run ``torch.autograd.grad``, and say what is wrong with a network that overwrites what it needs."""
    try:
        found: tuple[Any, ...] = torch.autograd.grad(*args, **kwargs)
    except RuntimeError as error:
        if "inplace operation" not in str(error):
            raise
        raise MeasurementError(
            "the forward pass changes values in place that its own derivatives are made of",
            todo="Look for += and functions that end in _ behind activation functions: no such network can be trained.",
        ) from error
    return found


def _joined(gradients: Sequence[Tensor | None], places: Sequence[Place]) -> Tensor | None:
    if all(each is None for each in gradients):
        return None
    if not all(bool(torch.isfinite(each).all()) for each in gradients if each is not None):
        raise MeasurementError(
            "a derivative is not finite",
            todo="Look for functions without a derivative where they are, as a square root at zero.",
        )
    return torch.cat(
        [
            place.rows(each)
            if each is not None
            else torch.zeros(place.n, place.size, dtype=torch.float64, device=place.device)
            for each, place in zip(gradients, places, strict=True)
        ],
        1,
    )


def no_sources(subject: Subject) -> DoesNotApplyError:
    """Return the error for a network whose inputs have no derivative."""
    return DoesNotApplyError(
        "the inputs are whole numbers, which have no derivative, and go through no nn.Embedding",
        where=subject.name,
        todo="Give floating-point inputs, or a network whose tokens go through nn.Embedding.",
    )
