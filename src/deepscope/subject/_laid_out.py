"""Handles that know how their tensors are laid out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeVar

from torch import nn

from deepscope.subject._fused import attention_layout
from deepscope.subject._gates import gate_layout
from deepscope.subject._heads import heads_told
from deepscope.subject._layout import WHOLE, Layout
from deepscope.subject._weight import Role, Weight

W = TypeVar("W", bound=Weight)
CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)


def laid_out(
    weights: Sequence[W], config: Mapping[str, Any], modules: Mapping[str, nn.Module] | None = None
) -> tuple[W, ...]:
    """Return the handles, each with the layout that its module, its name or the config tells.

    Parameters
    ----------
    weights
        All handles of a model or checkpoint: some are told by others beside them.
    config
        The model's, such as ``config.json`` beside a checkpoint.
    modules
        The live model's modules by name.
    """
    shapes = {weight.name: weight.shape for weight in weights}
    return tuple(replace(weight, layout=_layout(weight, shapes, config, modules or {})) for weight in weights)


def _layout(
    weight: Weight,
    shapes: Mapping[str, tuple[int, ...]],
    config: Mapping[str, Any],
    modules: Mapping[str, nn.Module],
) -> Layout:
    if len(weight.shape) < 2 or weight.role in (Role.BUFFER, Role.BIAS, Role.NORM):
        return WHOLE
    path = weight.name.rpartition(".")[0]
    module = modules.get(path)
    if isinstance(module, CONVOLUTIONS):
        return Layout(groups=module.groups)
    found = gate_layout(weight.name, weight.shape, shapes, module)
    if found is not None:
        return found
    holder = path if weight.name.endswith("in_proj_weight") else path.rpartition(".")[0]
    found = attention_layout(weight.name, weight.shape, heads_told(config, modules.get(holder)))
    return found or WHOLE
