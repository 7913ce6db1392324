"""Multi-head attention between its projections: where their gradients arrive, and what they saw."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from deepscope.linalg import DenseGradients, Factor
from deepscope.subject._gradient_rules import linear_factors
from deepscope.subject._open_form import InnerMap, NotOpenedError, Opened, watched


def open_attention(module: nn.MultiheadAttention, given: Mapping[str, Any]) -> Opened:
    """Run attention as linear maps with softmax(q kᵀ/√d + mask) v between them.

    Raises
    ------
    NotOpenedError
        The call is one of a single sequence without a batch, or of nested tensors.
    """
    query, key, value = (given[name] for name in ("query", "key", "value"))
    if query.is_nested or query.ndim != 3:
        raise NotOpenedError("it saw nested tensors" if query.is_nested else "it saw one sequence without a batch")
    form = _Form(module)
    q, k, v = form.projections(query, key, value)
    k, v = form.with_extra(k, v)
    mask = _mask(given, q, k, module.num_heads)
    q, k, v = (each.reshape(*each.shape[:2], module.num_heads, -1).transpose(1, 2) for each in (q, k, v))
    mixed, weights = _attend(q, k, v, mask, with_weights=given["need_weights"])
    outputs = form.output(mixed.transpose(1, 2).flatten(2))
    if weights is not None and given["average_attn_weights"]:
        weights = weights.mean(1)
    return Opened((outputs if module.batch_first else outputs.transpose(0, 1), weights), tuple(form.maps))


class _Form:
    """The linear maps of an attention, as they are run; sequences are [n, positions, features]."""

    def __init__(self, module: nn.MultiheadAttention) -> None:
        self.module = module
        self.maps: list[InnerMap] = []

    def projections(self, query: Tensor, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        module, width = self.module, self.module.embed_dim
        laid = {id(each): each if module.batch_first else each.transpose(0, 1) for each in (query, key, value)}
        q, k, v = (laid[id(each)] for each in (query, key, value))
        if module.in_proj_weight is not None and q is k is v:
            # One map for all three, so that their gradients are one factor.
            q, k, v = self._project(q, "in_proj_weight", 0, 3 * width).chunk(3, 2)
            return q, k, v
        names = ("in_proj_weight",) * 3
        if module.in_proj_weight is None:
            names = ("q_proj_weight", "k_proj_weight", "v_proj_weight")
        q, k, v = (
            self._project(x, name, place * width, (place + 1) * width)
            for place, (x, name) in enumerate(zip((q, k, v), names, strict=True))
        )
        return q, k, v

    def _project(self, x: Tensor, name: str, start: int, stop: int) -> Tensor:
        """Apply rows ``start`` to ``stop`` of the three projections together."""
        weight, bias = getattr(self.module, name), self.module.in_proj_bias
        packed = name == "in_proj_weight"
        made = watched(
            functional.linear(x, weight[start:stop] if packed else weight, None if bias is None else bias[start:stop])
        )
        self.maps.append(InnerMap(partial(_projection, name, start), x.detach(), made))
        return made

    def with_extra(self, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """Put behind the keys and values those that the layer adds itself."""
        made = []
        for leaf, each in (("bias_k", k), ("bias_v", v)):
            own = getattr(self.module, leaf)
            more = [each]
            if own is not None:
                extra = watched(own.expand(len(each), 1, -1))
                self.maps.append(InnerMap(partial(_added, leaf), each.new_ones(len(each)), extra))
                more.append(extra)
            if self.module.add_zero_attn:
                more.append(each.new_zeros(len(each), 1, each.shape[2]))
            made.append(torch.cat(more, 1))
        return made[0], made[1]

    def output(self, mixed: Tensor) -> Tensor:
        layer = self.module.out_proj
        made = watched(functional.linear(mixed, layer.weight, layer.bias))
        self.maps.append(InnerMap(_output, mixed.detach(), made))
        return made


def _projection(
    name: str, start: int, module: nn.MultiheadAttention, inputs: Tensor, gradients: Tensor
) -> Iterator[tuple[str, Factor]]:
    rows = 3 * module.embed_dim
    whole = functional.pad(gradients, (start, rows - start - gradients.shape[-1]))
    bias = None if module.in_proj_bias is None else "in_proj_bias"
    if name == "in_proj_weight":
        yield from linear_factors(inputs, whole, weight=name, bias=bias)
        return
    yield from linear_factors(inputs, gradients, weight=name, bias=None)
    if bias is not None:
        k, n = gradients.shape[:2]
        yield bias, DenseGradients(whole.reshape(k, n, -1, rows).sum(2).transpose(0, 1))


def _added(leaf: str, module: Any, inputs: Tensor, gradients: Tensor) -> Iterator[tuple[str, Factor]]:
    k, n = gradients.shape[:2]
    yield leaf, DenseGradients(gradients.reshape(k, n, -1, module.embed_dim).sum(2).transpose(0, 1))


def _output(module: nn.MultiheadAttention, inputs: Tensor, gradients: Tensor) -> Iterator[tuple[str, Factor]]:
    bias = None if module.out_proj.bias is None else "out_proj.bias"
    return linear_factors(inputs, gradients, weight="out_proj.weight", bias=bias)


def _attend(
    q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, *, with_weights: bool
) -> tuple[Tensor, Tensor | None]:
    """Attend from [n, heads, positions, features]; where all is masked, as torch does with and without weights."""
    if not with_weights:
        return functional.scaled_dot_product_attention(q, k, v, mask), None
    scores = q @ k.mT / math.sqrt(q.shape[-1])
    weights = (scores if mask is None else scores + mask).softmax(-1)
    return weights @ v, weights


def _mask(given: Mapping[str, Any], q: Tensor, k: Tensor, n_heads: int) -> Tensor | None:
    """Return what is added to the scores, as broadcasts to [n, heads, queries, keys]."""
    alone, padding = given["attn_mask"], given["key_padding_mask"]
    n, queries, keys = len(q), q.shape[1], k.shape[1]
    if given["is_causal"] and padding is None and not given["need_weights"]:
        # torch takes the hint for the mask.
        alone = torch.ones(queries, keys, dtype=torch.bool, device=q.device).triu(1)
    total = None
    for mask, shape in ((alone, (-1, n_heads, queries)), (padding, (n, 1, 1))):
        if mask is None:
            continue
        added = q.new_zeros(mask.shape).masked_fill(mask, -math.inf) if mask.dtype == torch.bool else mask.to(q.dtype)
        # What the layer itself adds to the keys is seen by all.
        added = functional.pad(added, (0, keys - mask.shape[-1]))
        added = added if added.ndim == 2 and mask is alone else added.reshape(*shape, keys)
        total = added if total is None else total + added
    return total
