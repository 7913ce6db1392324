"""The segment or square on which regions are counted, and the inputs that it is made of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from deepscope.core import DoesNotApplyError, LeftOut, MeasurementError, UsageError, derive_seed
from deepscope.instruments._regions_cells import Floats
from deepscope.subject import Subject, take_samples, tensors_in

#: Samples of which three are chosen.
_CHOICE = 256
#: A sample this near to the line through two others, as a share of their distance, spans no plane with them.
_ON_A_LINE = 1e-6


@dataclass(frozen=True, eq=False)
class Slice:
    """Inputs origin + Σ coordinate·direction.

    Attributes
    ----------
    origin
        One sample's input, with a first dimension of 1; tensors that are not floating-point stay as they are.
    directions
        One or two, each a list of what is added to each floating-point tensor of the origin.
    extent
        Coordinates go from 0 to this on a line, and from minus this to this on a plane.
    samples
        [3, 2], the coordinates of the data's samples that the plane goes through; empty where it was given.
    chosen
        Which samples those are, counted from 0 in data order.
    left_out
        What of the inputs is not moved.
    """

    origin: Any = field(repr=False)
    directions: Sequence[Sequence[Tensor]] = field(repr=False)
    extent: float
    samples: Floats = field(default_factory=lambda: np.zeros((0, 2)))
    chosen: tuple[int, ...] = ()
    left_out: tuple[LeftOut, ...] = ()

    def inputs(self, coordinates: Floats, device: torch.device) -> tuple[Any, list[Tensor]]:
        """Return the inputs at [n, d] coordinates, a row each, and which tensors of them were moved, in float64."""
        places = torch.from_numpy(coordinates)
        moved: list[Tensor] = []

        def at(tensor: Tensor) -> Tensor:
            if not tensor.is_floating_point():
                return tensor.expand(len(places), *tensor.shape[1:]).to(device)
            value = tensor.expand(len(places), *tensor.shape[1:]).clone()
            for index, direction in enumerate(self.directions):
                along = places[:, index].reshape(-1, *[1] * (tensor.ndim - 1))
                value += along * direction[len(moved)]
            moved.append(value.to(device))
            return moved[-1]

        return _changed(self.origin, at), moved


def on_line(ends: Any) -> Slice:
    """Return the segment from one input to another, each one sample without the batch's dimension."""
    start, end = _given(ends, 2, "line", "line=(a, b)")
    direction = [there - here for here, there in zip(_moving(start), _moving(end), strict=True)]
    if not any(bool(each.any()) for each in direction):
        raise UsageError("the ends of the line are the same", where="line", todo="Give two different inputs.")
    return Slice(start, [direction], 1.0)


def on_plane(plane: Any, extent: float) -> Slice:
    """Return the square {origin + s·u + t·v : |s|, |t| ≤ extent}; each is one sample without the batch's dimension."""
    origin, *directions = _given(plane, 3, "plane", "plane=(origin, u, v)")
    u, v = (list(_moving(each)) for each in directions)
    uu, vv, uv = _dot(u, u), _dot(v, v), _dot(u, v)
    # 1 − cos² below this is rounding of the directions themselves, which come as float32.
    if not uu * vv - uv**2 > 1e-12 * uu * vv:
        raise UsageError(
            "u and v do not span a plane", where="plane", todo="Give two directions that are not parallel."
        )
    return Slice(origin, [u, v], float(extent))


def through_samples(subject: Subject, extent: float, seed: int) -> Slice:
    """Return the square through three samples, chosen among the data's first: around their mean.

    With an extent of 1 the farthest of them lies on the circle that the square holds.
    """
    samples = _first_samples(subject)
    order = torch.randperm(len(samples), generator=torch.Generator().manual_seed(derive_seed(seed, "regions")))
    chosen = _apart(samples, order.tolist())
    if len(chosen) < 3:
        raise MeasurementError(
            f"no three of the first {len(samples)} samples span a plane: they are equal, or lie on one line",
            where=subject.name,
            todo="Give more data, or line=(a, b) or plane=(origin, u, v).",
        )
    tensors = [list(_moving(samples[index])) for index in chosen]
    mean = [sum(each) / 3 for each in zip(*tensors, strict=True)]
    around = [[one - middle for one, middle in zip(each, mean, strict=True)] for each in tensors]
    # An orthonormal basis, as long as the farthest sample is far: pictures are not distorted.
    u = _scaled(around[0], 1 / _dot(around[0], around[0]) ** 0.5)
    off = [one - _dot(around[1], u) * of_u for one, of_u in zip(around[1], u, strict=True)]
    v = _scaled(off, 1 / _dot(off, off) ** 0.5)
    far = max(_dot(each, each) for each in around) ** 0.5
    coordinates = np.array([[_dot(each, u) / far, _dot(each, v) / far] for each in around])
    parts = iter(mean)
    origin = _changed(samples[chosen[0]], lambda tensor: next(parts) if tensor.is_floating_point() else tensor)
    fixed = sum(not each.is_floating_point() for each in tensors_in(origin))
    left_out = (LeftOut("inputs", f"{fixed} of their tensors are not numbers that can be moved"),) if fixed else ()
    return Slice(origin, [_scaled(u, far), _scaled(v, far)], extent, coordinates, tuple(chosen), left_out)


def _first_samples(subject: Subject) -> list[Any]:
    """Return samples of one shape, in float64 on the CPU, each with a first dimension of 1."""
    found: list[Any] = []
    shapes = None
    for batch in subject.batches(_CHOICE):
        if not any(each.is_floating_point() for each in tensors_in(batch.inputs)):
            raise DoesNotApplyError(
                "the inputs are not numbers that can be moved continuously, such as tokens: there are no lines or "
                "planes between them",
                where=subject.name,
                todo="Examine the part behind the embedding, with embedded inputs as data.",
            )
        for index in range(min(batch.n_samples, _CHOICE - len(found))):
            one = take_samples(batch.inputs, batch.n_samples, slice(index, index + 1))
            one = _changed(one, lambda tensor: tensor.double().cpu() if tensor.is_floating_point() else tensor.cpu())
            here = [each.shape for each in tensors_in(one)]
            shapes = here if shapes is None else shapes
            # Sequences of another length do not lie in one plane; they are counted all the same.
            found.append(one if here == shapes and all(map(_is_finite, tensors_in(one))) else None)
    return found


def _is_finite(tensor: Tensor) -> bool:
    return not tensor.is_floating_point() or bool(tensor.isfinite().all())


def _apart(samples: list[Any], order: list[int]) -> list[int]:
    """Return the first three in this order that do not lie on a line."""
    chosen: list[int] = []
    basis: list[list[Tensor]] = []
    first: list[Tensor] = []
    for index in order:
        if samples[index] is None:
            continue
        here = list(_moving(samples[index]))
        if not chosen:
            chosen, first = [index], here
            continue
        off = [one - other for one, other in zip(here, first, strict=True)]
        length = _dot(off, off) ** 0.5
        for unit in basis:
            off = [one - _dot(off, unit) * part for one, part in zip(off, unit, strict=True)]
        rest = _dot(off, off) ** 0.5
        if length > 0 and rest > _ON_A_LINE * length:
            basis.append(_scaled(off, 1 / rest))
            chosen.append(index)
        if len(chosen) == 3:
            break
    return chosen


def _given(values: Any, n: int, name: str, example: str) -> list[Any]:
    if not isinstance(values, (tuple, list)) or len(values) != n:
        raise UsageError(f"{name} takes {n} inputs", where=name, todo=f"Give {example}.")
    made = [_changed(_tensors(each), lambda tensor: tensor.detach().cpu().unsqueeze(0)) for each in values]
    made = [_changed(each, lambda t: t.double() if t.is_floating_point() else t) for each in made]
    shapes = [[each.shape for each in _moving(one)] for one in made]
    if not shapes[0] or any(each != shapes[0] for each in shapes):
        raise UsageError(
            f"the inputs of {name} have to be floating-point and of one shape",
            where=name,
            todo="Give each as one sample of the data, without the batch's dimension.",
        )
    if not all(_is_finite(each) for one in made for each in _moving(one)):
        raise UsageError("an input is not finite", where=name, todo="Give numbers.")
    return made


def _tensors(value: Any) -> Any:
    if isinstance(value, (tuple, list)) and not all(isinstance(each, (int, float)) for each in value):
        return tuple(_tensors(each) for each in value)
    if isinstance(value, dict):
        return {key: _tensors(each) for key, each in value.items()}
    return torch.as_tensor(value)


def _changed(value: Any, change: Any) -> Any:
    """Return nested tuples, lists and mappings with every tensor changed, in order."""
    if isinstance(value, Tensor):
        return change(value)
    if isinstance(value, dict):
        return {key: _changed(each, change) for key, each in value.items()}
    if isinstance(value, (tuple, list)):
        made = [_changed(each, change) for each in value]
        return type(value)(*made) if hasattr(value, "_fields") else type(value)(made)
    return value


def _moving(value: Any) -> list[Tensor]:
    return [each for each in tensors_in(value) if each.is_floating_point()]


def _dot(one: Sequence[Tensor], other: Sequence[Tensor]) -> float:
    return sum(float((a * b).sum()) for a, b in zip(one, other, strict=True))


def _scaled(tensors: Sequence[Tensor], factor: float) -> list[Tensor]:
    return [factor * each for each in tensors]
