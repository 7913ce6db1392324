"""Handles of a live module's tensors."""

from __future__ import annotations

import io
import re
from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from deepscope.core import LeftOut, TargetError
from deepscope.subject._laid_out import CONVOLUTIONS, laid_out
from deepscope.subject._role import role_of
from deepscope.subject._weight import Role, Weight, dtype_name

_NORMS = (
    nn.modules.batchnorm._NormBase,
    nn.LayerNorm,
    nn.GroupNorm,
    nn.RMSNorm,
    nn.LocalResponseNorm,
)
_ATTENTION_PARTS = frozenset({"q_proj", "k_proj", "v_proj", "o_proj", "out_proj", "query", "key", "value", "qkv"})
_PARAMETRIZED = re.compile(r"(?P<layer>(?:.+\.)?)parametrizations\.(?P<leaf>[^.]+)\.original\d*")


@dataclass(frozen=True, kw_only=True)
class ModuleWeight(Weight):
    """A parameter or buffer of a live module."""

    tensor: Tensor = field(repr=False, compare=False)

    def read(self) -> Tensor:
        """Return the tensor itself, detached: no copy."""
        return self.tensor.detach()

    def __getstate__(self) -> dict[str, Any]:
        # Tensors pickle by a legacy format that cannot hold float8 and takes the whole storage behind a view along.
        stream = io.BytesIO()
        torch.save(self.tensor.detach().clone(), stream)
        return {**vars(self), "tensor": stream.getvalue()}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state, tensor=torch.load(io.BytesIO(state["tensor"]), weights_only=True))


def module_weights(model: nn.Module) -> tuple[tuple[Weight, ...], tuple[LeftOut, ...]]:
    """List every parameter, then every buffer, once; further names of the same tensor go to the ledger.

    Raises
    ------
    TargetError
        A tensor is on the meta device, sharded over processes, or not yet initialised.
    """
    named: list[tuple[str, Tensor, bool]]
    named = [(name, tensor, True) for name, tensor in model.named_parameters(remove_duplicate=False)]
    named += [(name, tensor, False) for name, tensor in model.named_buffers(remove_duplicate=False)]
    names: dict[Hashable, list[str]] = {}
    for name, tensor, _ in named:
        _refuse_what_is_not_here(name, tensor)
        names.setdefault(_identity(tensor), []).append(name)
    modules = dict(model.named_modules())
    weights, left_out = [], []
    for name, tensor, is_parameter in named:
        first, *others = names[_identity(tensor)]
        if name == first:
            weights.append(_handle(name, tensor, tuple(others), modules, is_parameter=is_parameter))
        else:
            left_out.append(LeftOut(name, f"the same tensor as {first}"))
    return laid_out(weights, _config(model), modules), tuple(left_out)


def _config(model: nn.Module) -> Mapping[str, Any]:
    """Return the config that models of Hugging Face transformers carry; empty where there is none."""
    to_dict = getattr(getattr(model, "config", None), "to_dict", None)
    found = to_dict() if callable(to_dict) else None
    return found if isinstance(found, Mapping) else {}


def _identity(tensor: Tensor) -> Hashable:
    # Two parameters over one memory (``head.weight.data = embedding.weight.data``) are tied as well.
    if type(tensor) in (Tensor, nn.Parameter) and tensor.layout is torch.strided and tensor.data_ptr():
        return tensor.device, tensor.data_ptr(), tensor.dtype, tensor.shape, tensor.stride()
    return id(tensor)


def _handle(
    name: str, tensor: Tensor, tied: tuple[str, ...], modules: dict[str, nn.Module], *, is_parameter: bool
) -> ModuleWeight:
    path, _, leaf = _unparametrized(name).rpartition(".")
    module = modules.get(path)
    shape = tuple(tensor.shape)
    return ModuleWeight(
        name=name,
        shape=shape,
        dtype=dtype_name(tensor.dtype),
        role=_role(module, name, shape) if is_parameter else Role.BUFFER,
        tied=tied,
        fan_in=None if _is_gain(name) else _fan_in(module, leaf, tensor),
        tensor=tensor,
    )


def _unparametrized(name: str) -> str:
    """Return the name that a parametrised tensor would have without its parametrisation."""
    found = _PARAMETRIZED.fullmatch(name)
    return f"{found['layer']}{found['leaf']}" if found else name


def _is_gain(name: str) -> bool:
    # Weight normalisation writes a weight as gain times direction, in its old form and its new.
    return name.endswith((".original0", "_g"))


def _role(module: nn.Module | None, name: str, shape: tuple[int, ...]) -> Role:
    plain = _unparametrized(name)
    leaf = plain.rpartition(".")[2]
    if leaf.startswith("bias") or leaf.endswith("_bias"):
        return Role.BIAS
    if isinstance(module, _NORMS):
        return Role.NORM
    if isinstance(module, nn.PReLU) or _is_gain(name):
        return Role.OTHER
    if isinstance(module, CONVOLUTIONS):
        return Role.CONVOLUTION
    if isinstance(module, (nn.Embedding, nn.EmbeddingBag)):
        return Role.EMBEDDING
    if isinstance(module, (nn.RNNBase, nn.RNNCellBase)):
        return Role.RECURRENT
    if isinstance(module, nn.MultiheadAttention):
        return Role.ATTENTION
    if isinstance(module, nn.Linear):
        return Role.ATTENTION if _ATTENTION_PARTS & set(plain.split(".")) else Role.LINEAR
    return role_of(plain, shape)


def _fan_in(module: nn.Module | None, leaf: str, tensor: Tensor) -> int | None:
    if tensor.ndim < 2 or tensor.numel() == 0:
        return None
    if isinstance(module, (nn.RNNBase, nn.RNNCellBase)) and leaf.startswith("weight"):
        return module.hidden_size
    if isinstance(module, (nn.Linear, *CONVOLUTIONS)) and leaf in {"weight", "weight_v"}:
        # torch's own initialisers take the second dimension times the kernel, for transposed convolutions too.
        return tensor[0].numel()
    return None


def _refuse_what_is_not_here(name: str, tensor: Tensor) -> None:
    if nn.parameter.is_lazy(tensor):
        raise TargetError("a lazy parameter has no values", where=name, todo="Run one batch through the model first.")
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
