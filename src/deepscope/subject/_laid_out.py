"""Handles that know how their tensors are laid out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from torch import nn

from deepscope.subject._adapters import adapters, base_of
from deepscope.subject._fused import attention_layout
from deepscope.subject._gates import gate_layout
from deepscope.subject._heads import heads_told
from deepscope.subject._kohya import kohya_adapters
from deepscope.subject._layout import WHOLE, Layout
from deepscope.subject._normed import normed, plain_name
from deepscope.subject._quantised import dequantised
from deepscope.subject._weight import Role, Weight

CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)


def laid_out(
    weights: Sequence[Weight], config: Mapping[str, Any], modules: Mapping[str, nn.Module] | None = None
) -> tuple[Weight, ...]:
    """Return the handles, each with the layout that its module, its name or the config tells; quantised ones undone.

    Parameters
    ----------
    weights
        All handles of a model or checkpoint: some are told by others beside them.
    config
        The model's or adapter's, such as ``config.json`` beside a checkpoint.
    modules
        The live model's modules by name.
    """
    weights, companions = dequantised(weights, config)
    by_name = {weight.name: weight for weight in weights}
    # Vectors of spectral normalisation are named like directions of weight normalisation.
    shapes = {plain_name(weight.name): weight.shape for weight in weights if len(weight.shape) > 1}
    told = _Told(shapes, config, modules or {})
    layouts = {name: told.layout(weight, name) for name, weight in by_name.items()}
    _add_normed(layouts, by_name, told)
    _add_adapters(layouts, by_name, told)
    layouts |= companions
    return tuple(replace(weight, layout=layouts[weight.name]) for weight in weights)


def _add_normed(layouts: dict[str, Layout], by_name: Mapping[str, Weight], told: _Told) -> None:
    for name, weight in by_name.items():
        made = normed(weight, by_name, told.modules, partial(told.layout, weight))
        if made is not None:
            layouts[name] = Layout(factor_of=made.name, derived=(made,))
            layouts.update({other.name: Layout(factor_of=made.name) for other in made.others})


def _add_adapters(layouts: dict[str, Layout], by_name: Mapping[str, Weight], told: _Told) -> None:
    for adapter in [*adapters(by_name, told.config, told.modules), *kohya_adapters(by_name)]:
        product = adapter.product
        layouts[adapter.up.name] = Layout(factor_of=product.name, derived=(product,))
        layouts[adapter.down.name] = Layout(factor_of=product.name)
        if adapter.alpha is not None:
            says = f"the scale of {product.name}, applied: alpha / {adapter.down.shape[0]}"
            layouts[adapter.alpha.name] = Layout(companion=says)
        base = base_of(adapter, by_name, told.modules)
        if base is None:
            continue
        alone = layouts[base.name]
        merged = adapter.merged(base, replace(alone, derived=()))
        if merged is not None:
            layouts[base.name] = replace(alone, derived=(*alone.derived, merged))
            if adapter.magnitude is not None:
                layouts[adapter.magnitude.name] = Layout(factor_of=merged.name)


@dataclass(frozen=True)
class _Told:
    """All that tells of layouts: shapes by the names that weights have in the network, config, and live modules."""

    shapes: Mapping[str, tuple[int, ...]]
    config: Mapping[str, Any]
    modules: Mapping[str, nn.Module]

    def layout(self, weight: Weight, name: str) -> Layout:
        if len(weight.shape) < 2 or weight.role in (Role.BUFFER, Role.BIAS, Role.NORM):
            return WHOLE
        path = name.rpartition(".")[0]
        module = self.modules.get(path)
        if isinstance(module, CONVOLUTIONS):
            return Layout(groups=module.groups)
        found = gate_layout(name, weight.shape, self.shapes, module)
        if found is not None:
            return found
        # PEFT keeps the layer that it adapts as base_layer.
        unit = name.replace(".base_layer.", ".")
        holder = path if name.endswith("in_proj_weight") else unit.rpartition(".")[0].rpartition(".")[0]
        return attention_layout(unit, weight.shape, heads_told(self.config, self.modules.get(holder))) or WHOLE
