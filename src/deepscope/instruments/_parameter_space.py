"""The parameters that a landscape moves, and the tensors of other networks of the same architecture."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from deepscope.core import LeftOut, MeasurementError, UsageError, nearest
from deepscope.subject import Role, Subject, Weight, torch_dtype

#: A module, a subject, a state dict, or a path to a checkpoint.
Network = Any
Tensors = dict[str, Tensor]

_HALF = (torch.float16, torch.bfloat16)


@dataclass(frozen=True)
class ParameterSpace:
    """Where in the space of its parameters a network stands.

    Attributes
    ----------
    weights
        Handles of the parameters that may move: trainable, floating point, of the part that was chosen.
    origin
        Their values by name, in the dtype of the measurement.
    fixed
        All other tensors that must be cast to that dtype: parameters that stay, and buffers.
    dtype
        The dtype of the measurement where it is not the network's own.
    left_out
        Parameters that cannot move, with the reason.
    """

    weights: tuple[Weight, ...]
    origin: Tensors
    fixed: Tensors
    dtype: torch.dtype | None
    left_out: tuple[LeftOut, ...]

    @classmethod
    def of(cls, subject: Subject, dtype: torch.dtype | None = None) -> ParameterSpace:
        """Return the space of a subject's trainable parameters.

        Half precision is measured in float32 unless another dtype is asked for: steps of a grid are lost in its
        rounding.

        Raises
        ------
        MeasurementError
            No parameter of the subject is trainable.
        """
        assert subject.model is not None
        parameters = dict(subject.model.named_parameters(remove_duplicate=False))
        moving, left_out = [], []
        for weight in subject.weights():
            if weight.name not in parameters:
                continue
            why = _why_fixed(weight, parameters[weight.name])
            if why:
                left_out.append(LeftOut(weight.name, why))
            else:
                moving.append(weight)
        if not moving:
            raise MeasurementError(
                "the model has no trainable parameters here",
                where=subject.name,
                todo="Set requires_grad on what may move, or choose another part of it.",
            )
        if dtype is None and any(torch_dtype(weight.dtype) in _HALF for weight in moving):
            dtype = torch.float32
        origin = {weight.name: cast(weight.read(), dtype) for weight in moving}
        return cls(tuple(moving), origin, _fixed(subject.model, origin, dtype), dtype, tuple(left_out))

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the parameters that may move, in the order of the model."""
        return tuple(self.origin)

    @property
    def aliases(self) -> dict[str, tuple[str, ...]]:
        """Further names of each tensor, under which the model must find the same values."""
        return {weight.name: weight.tied for weight in self.weights}

    def from_vector(self, vector: Tensor) -> Tensors:
        """Split a vector over all trainable parameters, in the order of ``names``, into tensors.

        Raises
        ------
        UsageError
            It is not as long as all parameters together.
        """
        sizes = [tensor.numel() for tensor in self.origin.values()]
        if vector.ndim != 1 or vector.numel() != sum(sizes):
            raise UsageError(
                f"a direction of shape {list(vector.shape)} does not fit {sum(sizes):,} trainable parameters",
                todo="Give one number per trainable parameter in the model's order, or tensors by name.",
            )
        pieces = torch.split(vector, sizes)
        return {
            name: piece.reshape(tensor.shape).to(tensor)
            for (name, tensor), piece in zip(self.origin.items(), pieces, strict=True)
        }

    def select(self, tensors: Mapping[str, Tensor]) -> Tensors:
        """Return another network's values of the parameters that may move, in the dtype of the measurement."""
        return {name: tensors[name].detach().to(tensor) for name, tensor in self.origin.items()}


def cast(value: Any, dtype: torch.dtype | None) -> Any:
    """Cast floating-point tensors, in nested tuples, lists and mappings, to a dtype; None leaves all as it is."""
    if dtype is None:
        return value
    if isinstance(value, Tensor):
        return value.to(dtype) if value.is_floating_point() else value
    if isinstance(value, Mapping):
        return {key: cast(item, dtype) for key, item in value.items()}
    if isinstance(value, (tuple, list)):
        items = [cast(item, dtype) for item in value]
        return type(value)(*items) if hasattr(value, "_fields") else type(value)(items)
    return value


def tensors_of(subject: Subject, other: Network) -> Tensors:
    """Return all parameters and buffers of another network by the subject's names.

    Parameters
    ----------
    subject
        The network whose names and shapes the other must have.
    other
        A module, a subject, a state dict, or a path to a checkpoint.

    Raises
    ------
    UsageError
        A tensor is missing or has another shape: the two are not of one architecture.
    """
    found = _by_name(other)
    taken = {}
    for weight in subject.weights():
        name = next((each for each in (weight.name, *weight.tied) if each in found), None)
        if name is None:
            raise UsageError(
                "the other network lacks a tensor of this one", where=weight.name, todo=nearest(weight.name, found)
            )
        if tuple(found[name].shape) != weight.shape:
            raise UsageError(
                f"shape {list(found[name].shape)} does not fit {list(weight.shape)}",
                where=weight.name,
                todo="Give networks of one architecture.",
            )
        taken[weight.name] = found[name].detach().to(subject.device)
    return taken


def _by_name(other: Network) -> Mapping[str, Tensor]:
    if isinstance(other, Mapping):
        return other
    if isinstance(other, nn.Module):
        return {**dict(other.named_parameters()), **dict(other.named_buffers())}
    if isinstance(other, (str, os.PathLike)):
        other = Subject.from_checkpoint(other)
    if isinstance(other, Subject):
        return {weight.name: weight.read() for weight in other.weights()}
    raise UsageError(
        f"a network cannot be a {type(other).__name__}", todo="Give a module, a subject, a state dict or a path."
    )


def buffers_of(subject: Subject, space: ParameterSpace) -> Tensors:
    """Return the network's floating-point buffers by name, in the dtype of the measurement."""
    assert subject.model is not None
    floating = {name: each.detach() for name, each in subject.model.named_buffers() if each.is_floating_point()}
    return {name: cast(each, space.dtype) for name, each in floating.items()}


def named(networks: Sequence[Network] | Mapping[str, Network], word: str, first: int) -> dict[str, Network]:
    """Return networks by name; those given without names are numbered."""
    if isinstance(networks, Mapping):
        return dict(networks)
    return {f"{word} {index}": each for index, each in enumerate(networks, first)}


def _why_fixed(weight: Weight, parameter: Tensor) -> str:
    if weight.why_not_measured:
        return weight.why_not_measured
    return "" if parameter.requires_grad else "frozen (requires_grad=False): it does not move"


def _fixed(model: nn.Module, origin: Tensors, dtype: torch.dtype | None) -> Tensors:
    if dtype is None:
        return {}
    every = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    return {
        name: tensor.detach().to(dtype)
        for name, tensor in every.items()
        if name not in origin and tensor.is_floating_point()
    }


def is_fixed_by_policy(weight: Weight) -> bool:
    """Whether a parameter is a bias, a norm's, or any other with one value per unit."""
    return len(weight.shape) < 2 or weight.role in (Role.BIAS, Role.NORM)
