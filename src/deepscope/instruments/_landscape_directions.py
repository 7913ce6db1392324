"""The directions in which a landscape is looked at."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from deepscope.core import DoesNotApplyError, UsageError, derive_seed, nearest
from deepscope.instruments._filter_norms import filter_norms, module_of
from deepscope.instruments._parameter_space import ParameterSpace, Tensors, is_fixed_by_policy
from deepscope.subject import Subject, Weight

Normalise = Literal["filter", "layer", "none"]
BiasesAndNorms = Literal["fixed", "normalised"]


def random_direction(
    subject: Subject, space: ParameterSpace, seed: int, normalise: Normalise, biases_and_norms: BiasesAndNorms
) -> Tensors:
    r"""Draw a Gaussian direction, each filter as long as the network's own: d_f ← d_f / ‖d_f‖ · ‖θ_f‖.

    Every tensor has a draw of its own, in float64 and derived from its name, so that a part of a network is moved as in
    the whole, and a float32 network as its float64 copy.

    Raises
    ------
    DoesNotApplyError
        Nothing moves: the part that was chosen has biases and norms alone, or all its filters are zero.
    """
    assert subject.model is not None
    modules = dict(subject.model.named_modules())
    drawn = {}
    for weight in space.weights:
        if is_fixed_by_policy(weight) and biases_and_norms == "fixed":
            continue
        generator = torch.Generator().manual_seed(derive_seed(seed, weight.name))
        noise = torch.randn(weight.shape, generator=generator, dtype=torch.float64)
        drawn[weight.name] = _scaled(noise, weight, space, module_of(modules, weight.name), normalise)
    if not any(bool(tensor.any()) for tensor in drawn.values()):
        raise DoesNotApplyError(
            "nothing moves: there are biases and norms alone, or zeros",
            where=subject.name,
            todo='Choose a part with weight matrices, or give biases_and_norms="normalised".',
        )
    return drawn


def _scaled(
    noise: Tensor, weight: Weight, space: ParameterSpace, module: nn.Module | None, normalise: Normalise
) -> Tensor:
    own = space.origin[weight.name]
    noise = noise.to(own.device)
    if normalise == "none":
        return noise.to(own)
    if normalise == "layer" or is_fixed_by_policy(weight):
        wanted, drawn = torch.linalg.vector_norm(own.double()), torch.linalg.vector_norm(noise)
    else:
        wanted, drawn = filter_norms(own, module), filter_norms(noise, module)
    moved: Tensor = noise / drawn * wanted
    return moved.to(own)


def given_directions(space: ParameterSpace, given: Sequence[Any]) -> tuple[Tensors, ...]:
    """Return the user's directions as tensors by name: vectors over all trainable parameters, or tensors by name.

    Raises
    ------
    UsageError
        Not one or two; an unknown name, a wrong shape, a value that is not finite, or nothing but zeros.
    """
    if not 1 <= len(given) <= 2:
        raise UsageError(f"{len(given)} directions", todo="Give one for a line, two for a plane.")
    return tuple(_given(space, each) for each in given)


def _given(space: ParameterSpace, given: Any) -> Tensors:
    if isinstance(given, Mapping):
        direction = {name: _of_shape(space, name, torch.as_tensor(value)) for name, value in given.items()}
    else:
        # A copy: NumPy arrays may be read-only.
        direction = space.from_vector(torch.as_tensor(np.array(given) if not isinstance(given, Tensor) else given))
    if not all(bool(tensor.isfinite().all()) for tensor in direction.values()):
        raise UsageError("a direction has values that are not finite", todo="Give finite numbers.")
    if not any(bool(tensor.any()) for tensor in direction.values()):
        raise UsageError("a direction is zero", todo="Give one that leads somewhere.")
    return direction


def _of_shape(space: ParameterSpace, name: str, value: Tensor) -> Tensor:
    if name not in space.origin:
        raise UsageError(
            "a direction names what is no trainable parameter here", where=name, todo=nearest(name, space.origin)
        )
    own = space.origin[name]
    if value.shape != own.shape:
        raise UsageError(
            f"shape {list(value.shape)} does not fit {list(own.shape)}", where=name, todo="Give that shape."
        )
    return value.detach().to(own)


def difference(one: Tensors, other: Tensors) -> Tensors:
    """Return one − other."""
    return {name: tensor - other[name] for name, tensor in one.items()}


def combined(directions: Sequence[Tensors], factors: Sequence[float]) -> Tensors:
    """Return Σ factor · direction, over directions of the same tensors."""
    total = {name: tensor * factors[0] for name, tensor in directions[0].items()}
    for direction, factor in zip(directions[1:], factors[1:], strict=True):
        for name, tensor in direction.items():
            total[name].add_(tensor, alpha=factor)
    return total


def dot(one: Tensors, other: Tensors) -> float:
    """Return the inner product over all tensors, in float64; a tensor that one of them lacks counts as zero."""
    shared = [name for name in one if name in other]
    return float(sum(torch.sum(one[name].double() * other[name].double()).item() for name in shared))


def norm(direction: Tensors) -> float:
    """Return the Euclidean norm over all tensors."""
    return float(np.sqrt(dot(direction, direction)))
