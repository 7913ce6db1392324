"""Low-rank adapters: which factors belong together, to what weight, and by what scale."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeGuard

from torch import nn

from deepscope.subject._derived import LowRank, Merged, low_rank_shape
from deepscope.subject._layout import Layout
from deepscope.subject._weight import Weight

_UP = re.compile(r"(?P<layer>(?:.+\.)?)lora_(?P<embedding>embedding_)?B(?:\.(?P<adapter>.+?))??(?P<weight>\.weight)?")


@dataclass(frozen=True, kw_only=True)
class Adapter:
    """A pair of factors, B [out, r] and A [r, in], of the layer whose weight they update.

    Attributes
    ----------
    layer, label
        Name of the layer with its dot, and of the adapter with a space before it; empty for the only one.
    up, down
        Handles of B and A.
    scale, why_unscaled
        By what B·A is multiplied; or why that is not known, and the scale 1.
    transposed
        Whether the layer stores its weight as [in, out]; None where not told.
    alpha
        Handle of the tensor that tells the scale; None where a config or a module does.
    magnitude
        Handle of the norms to which W + s·B·A is brought (DoRA); None where the layer uses the sum itself.
    """

    layer: str
    label: str
    up: Weight
    down: Weight
    scale: float
    why_unscaled: str
    transposed: bool | None
    alpha: Weight | None = None
    magnitude: Weight | None = None

    @property
    def product(self) -> LowRank:
        """The update alone."""
        return LowRank(
            name=f"{self.layer}weight[lora{self.label}]",
            shape=low_rank_shape(self.up.shape, self.down.shape),
            others=(self.down,),
            caveat=self.why_unscaled,
            scale=self.scale,
        )

    def merged(self, base: Weight, layout: Layout) -> Merged | None:
        """Add the update to the base weight; None where the sum cannot be known."""
        sides = (self.up.shape[0], *self.down.shape[1:])
        fits = {False: sides == base.shape, True: len(sides) == 2 and sides[::-1] == base.shape}
        told = [each for each, is_fit in fits.items() if is_fit and self.transposed in (each, None)]
        beside = () if self.magnitude is None else (self.magnitude,)
        fitting = all(each.count == self.up.shape[0] and not each.why_not_measured for each in beside)
        if self.why_unscaled or base.why_not_measured or len(told) != 1 or not fitting:
            return None
        return Merged(
            name=f"{base.name}[merged{self.label}]",
            shape=base.shape,
            layout=layout,
            others=(self.up, self.down, *beside),
            scale=self.scale,
            transposed=told[0],
        )


def adapters(
    by_name: Mapping[str, Weight], config: Mapping[str, Any], modules: Mapping[str, nn.Module]
) -> list[Adapter]:
    """Find the low-rank adapters among all tensors, by the names that PEFT gives.

    Parameters
    ----------
    by_name
        Handles of all tensors.
    config
        The adapter's: ``lora_alpha``, ``alpha_pattern``, ``use_rslora``, ``fan_in_fan_out``. Ranks are those of the
        tensors, whatever it says.
    modules
        The live model's modules by name; a layer of PEFT tells its own scale.
    """
    found = []
    for name, up in by_name.items():
        match = _UP.fullmatch(name)
        down = by_name.get(re.sub(r"lora_(embedding_)?B", r"lora_\1A", name)) if match else None
        if match is None or down is None or not is_pair(up, down):
            continue
        layer, adapter = match["layer"], match["adapter"] or "default"
        module = modules.get(layer.removesuffix("."))
        scale = _scale(layer, adapter, down.shape[0], config, module)
        turned = getattr(module, "fan_in_fan_out", config.get("fan_in_fan_out"))
        found.append(
            Adapter(
                layer=layer,
                label="" if adapter == "default" else f" {adapter}",
                up=up,
                down=down,
                scale=1.0 if isinstance(scale, str) else scale,
                why_unscaled=scale if isinstance(scale, str) else "",
                # An embedding's factors are those of its transpose.
                transposed=True if match["embedding"] else turned if isinstance(turned, bool) else None,
                magnitude=_magnitude(layer, adapter, by_name),
            )
        )
    return found


def base_of(adapter: Adapter, by_name: Mapping[str, Weight], modules: Mapping[str, nn.Module]) -> Weight | None:
    """Return the weight that an adapter updates and that does not hold the update yet; None where there is none."""
    if getattr(modules.get(adapter.layer.removesuffix(".")), "merged_adapters", None):
        return None
    return by_name.get(f"{adapter.layer}base_layer.weight") or by_name.get(f"{adapter.layer}weight")


def _magnitude(layer: str, adapter: str, by_name: Mapping[str, Weight]) -> Weight | None:
    stem = f"{layer}lora_magnitude_vector"
    names = (f"{stem}.{adapter}.weight", f"{stem}.{adapter}", f"{stem}.weight", stem)
    return next((by_name[name] for name in names if name in by_name), None)


def is_pair(up: Weight, down: Weight) -> bool:
    """Whether two tensors are B [out, r] and A [r, in], or those of a convolution, A [r, in, *kernel]."""
    if up.why_not_measured or down.why_not_measured or len(up.shape) != len(down.shape) or len(up.shape) < 2:
        return False
    return up.shape[1] == down.shape[0] and math.prod(up.shape[2:]) == 1


def _scale(layer: str, adapter: str, rank: int, config: Mapping[str, Any], module: nn.Module | None) -> float | str:
    """Return lora_alpha / r, or lora_alpha / √r where the config says use_rslora; a reason where it cannot be known."""
    told = getattr(module, "scaling", None)
    of_layer = told.get(adapter) if isinstance(told, Mapping) else None
    if _is_number(of_layer):
        return float(of_layer)
    alpha = config.get("lora_alpha")
    pattern = config.get("alpha_pattern")
    if isinstance(pattern, Mapping) and pattern:
        name = layer.removesuffix(".")
        if not all(re.fullmatch(r"[\w.]+", str(key)) for key in pattern):
            return "measured without its scale: alpha_pattern of the adapter's config holds regular expressions"
        alpha = next((each for key, each in pattern.items() if f".{name}".endswith(f".{key}")), alpha)
    if not _is_number(alpha):
        return "measured without its scale: no config of the adapter tells lora_alpha"
    return float(alpha) / (math.sqrt(rank) if config.get("use_rslora") is True else rank)


def _is_number(value: object) -> TypeGuard[float]:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
