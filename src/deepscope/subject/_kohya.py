"""Low-rank adapters by the names that kohya's sd-scripts give: ``lora_up``, ``lora_down``, and ``alpha`` beside them.

https://github.com/kohya-ss/sd-scripts
"""

from __future__ import annotations

import math
from collections.abc import Mapping

from deepscope.subject._adapters import Adapter, is_pair
from deepscope.subject._weight import Weight

_UP = "lora_up.weight"


def kohya_adapters(by_name: Mapping[str, Weight]) -> list[Adapter]:
    """Find the low-rank adapters among all tensors whose names kohya's scripts give; the scale is alpha / r.

    An update with a third factor, ``lora_mid``, and one whose sum is brought to other norms, ``dora_scale``, are left
    as they are: their factors are measured alone.

    Parameters
    ----------
    by_name
        Handles of all tensors.
    """
    found = []
    for name, up in by_name.items():
        layer = name.removesuffix(_UP)
        down = by_name.get(f"{layer}lora_down.weight")
        beyond = any(f"{layer}{other}" in by_name for other in ("lora_mid.weight", "dora_scale"))
        if layer == name or down is None or beyond or not is_pair(up, down):
            continue
        alpha = by_name.get(f"{layer}alpha")
        scale = _scale(alpha, down.shape[0])
        found.append(
            Adapter(
                layer=layer,
                label="",
                up=up,
                down=down,
                scale=1.0 if scale is None else scale,
                why_unscaled="measured without its scale: no alpha is beside it" if scale is None else "",
                transposed=False,
                alpha=None if scale is None else alpha,
            )
        )
    return found


def _scale(alpha: Weight | None, rank: int) -> float | None:
    if alpha is None or alpha.count != 1 or alpha.dtype.startswith("complex"):
        return None
    # A single number, which decides what all others of the update are worth.
    value = float(alpha.read())
    return value / rank if math.isfinite(value) else None
