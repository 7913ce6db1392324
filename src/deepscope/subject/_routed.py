"""Layers to which a network gives some rows of a batch only, as to the experts of a mixture."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from deepscope.subject._agreement import agrees
from deepscope.subject._gradient_rules import RowsError, by_sample
from deepscope.subject._layer_calls import LayerCall
from deepscope.subject._written_gradients import pulled_back

#: Why a rule cannot be taken for a layer.
ROUTED = "its layer does not see a row of every sample"


def routed(calls: Sequence[LayerCall], outputs: Sequence[Tensor], n: int) -> dict[str, str]:
    """Say which parameters belong to layers whose rows are not those of all samples in order, and why.

    A row belongs to the sample whose outputs it changes. The gradient of ⟨u, outputs⟩ at every row is compared with
    that of ⟨w ∘ u, outputs⟩, for random u and one random weight w for each sample: at the rows of sample i the second
    is w_i times the first.

    Parameters
    ----------
    calls
        Of one forward pass over n samples.
    outputs
        What the network put out, one row, or as many for each, of the samples; attached to the graph.
    n
        Samples.

    Notes
    -----
    Cost: two backward passes, without weight gradients.
    """
    draw = torch.Generator().manual_seed(0)
    weights = torch.randn(n, generator=draw)
    directions = []
    for each in outputs:
        u = torch.randn(each.shape, generator=draw).to(each.device, each.dtype)
        w = weights.repeat_interleave(len(each) // n).reshape(-1, *[1] * (each.ndim - 1)).to(u)
        directions.append(torch.stack([u, w * u]))
    found = pulled_back(outputs, [call.edge for call in calls], directions, at_once=False) if calls else []
    reasons: dict[str, str] = {}
    for call, gradients in zip(calls, found, strict=True):
        # A call of no rows adds nothing to anyone's gradient.
        if gradients is not None and gradients.numel() and not _in_order(call, gradients, weights):
            reasons |= dict.fromkeys(call.names.values(), ROUTED)
    return reasons


def _in_order(call: LayerCall, gradients: Tensor, weights: Tensor) -> bool:
    try:
        plain, weighed = by_sample(call.module, call.inputs, gradients, len(weights))[1]
    except RowsError:
        return False
    return agrees(weighed, weights.to(plain).reshape(-1, *[1] * (plain.ndim - 1)) * plain)
