"""Handles of a live module's tensors."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from deepscope.core import LeftOut, TargetError
from deepscope.subject._role import role_of
from deepscope.subject._weight import Role, Weight, dtype_name

_TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d, *_TRANSPOSED)
_NORMS = (
    nn.modules.batchnorm._NormBase,
    nn.LayerNorm,
    nn.GroupNorm,
    nn.RMSNorm,
    nn.LocalResponseNorm,
)
_ATTENTION_PARTS = frozenset({"q_proj", "k_proj", "v_proj", "o_proj", "out_proj", "query", "key", "value", "qkv"})


@dataclass(frozen=True, kw_only=True)
class ModuleWeight(Weight):
    """A parameter or buffer of a live module."""

    tensor: Tensor = field(repr=False, compare=False)

    def read(self) -> Tensor:
        """Return the tensor itself, detached: no copy."""
        return self.tensor.detach()


def module_weights(model: nn.Module) -> tuple[tuple[ModuleWeight, ...], tuple[LeftOut, ...]]:
    """List every parameter, then every buffer, once; further names of the same tensor go to the ledger.

    Raises
    ------
    TargetError
        A tensor is on the meta device, sharded over processes, or not yet initialised.
    """
    named = [*model.named_parameters(remove_duplicate=False), *model.named_buffers(remove_duplicate=False)]
    names: dict[int, list[str]] = {}
    for name, tensor in named:
        _refuse_what_is_not_here(name, tensor)
        names.setdefault(id(tensor), []).append(name)
    parameters = {id(parameter) for parameter in model.parameters()}
    modules = dict(model.named_modules())
    weights, left_out, seen = [], [], set()
    for name, tensor in named:
        first, *others = names[id(tensor)]
        if id(tensor) in seen:
            left_out.append(LeftOut(name, f"the same tensor as {first}"))
            continue
        seen.add(id(tensor))
        weights.append(_handle(name, tensor, tuple(others), modules, is_parameter=id(tensor) in parameters))
    return tuple(weights), tuple(left_out)


def _handle(
    name: str, tensor: Tensor, tied: tuple[str, ...], modules: dict[str, nn.Module], *, is_parameter: bool
) -> ModuleWeight:
    path, _, leaf = name.rpartition(".")
    module = modules.get(path)
    shape = tuple(tensor.shape)
    role = _role(module, name, shape) if is_parameter else Role.BUFFER
    return ModuleWeight(
        name=name,
        shape=shape,
        dtype=dtype_name(tensor.dtype),
        role=role,
        tied=tied,
        transposed=isinstance(module, _TRANSPOSED) and leaf == "weight",
        fan_in=_fan_in(module, leaf, tensor),
        tensor=tensor,
    )


def _role(module: nn.Module | None, name: str, shape: tuple[int, ...]) -> Role:
    leaf = name.rpartition(".")[2]
    if isinstance(module, _NORMS):
        return Role.NORM
    if leaf.startswith("bias") or leaf.endswith("_bias"):
        return Role.BIAS
    if isinstance(module, _CONVOLUTIONS):
        return Role.CONVOLUTION
    if isinstance(module, (nn.Embedding, nn.EmbeddingBag)):
        return Role.EMBEDDING
    if isinstance(module, (nn.RNNBase, nn.RNNCellBase)):
        return Role.RECURRENT
    if isinstance(module, nn.MultiheadAttention):
        return Role.ATTENTION
    if isinstance(module, nn.Linear):
        return Role.ATTENTION if _ATTENTION_PARTS & set(name.split(".")) else Role.LINEAR
    return role_of(name, shape)


def _fan_in(module: nn.Module | None, leaf: str, tensor: Tensor) -> int | None:
    if leaf != "weight" or tensor.ndim < 2 or tensor.shape[0] == 0:
        return None
    if isinstance(module, (nn.Linear, *_CONVOLUTIONS)):
        # torch's own initialisers take the second dimension times the kernel, for transposed convolutions too.
        return tensor[0].numel()
    return None


def _refuse_what_is_not_here(name: str, tensor: Tensor) -> None:
    if nn.parameter.is_lazy(tensor):
        raise TargetError(
            "a lazy parameter has no values", where=name, todo="Run one batch through the model first."
        )
    if tensor.is_meta:
        raise TargetError(
            "a parameter on the meta device has no values", where=name, todo="Load the weights, then examine the model."
        )
    if type(tensor).__name__ in {"DTensor", "FlatParameter"} or getattr(tensor, "_is_sharded", False):
        raise TargetError(
            "a parameter is sharded over processes",
            where=name,
            todo="Gather the model (or save a full state_dict) and examine that.",
        )


def device_of(model: nn.Module) -> torch.device:
    """Return the device of a model's first parameter or buffer; the CPU where it has none."""
    for tensor in (*model.parameters(), *model.buffers()):
        return tensor.device
    return torch.device("cpu")
