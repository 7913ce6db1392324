"""The projections that a fused attention weight stacks: query, key and value."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace

from deepscope.subject._heads import Heads
from deepscope.subject._layout import Layout, Part, stacked

_QKV = ("query", "key", "value")
_UNKNOWN_ORDER = "in what order it stacks query, key and value is not known without the model's config"
_UNKNOWN_HEADS = "how its heads interleave query, key and value is not known without their number"
_UNLIKE = "its shape is not one of query, key and value stacked"
#: Networks whose heads stand side by side, [heads, (query, key, value), head_dim].
_INTERLEAVED = frozenset({"gpt_neox", "gpt_neox_japanese", "bloom"})
#: timm's MaxViT and CoAtNet, whose stages may order by head first.
_HEADS_MAY_COME_FIRST = re.compile(r"(^|[./])(stages|attn_block|attn_grid)[./]")


def attention_layout(name: str, shape: tuple[int, ...], heads: Heads) -> Layout | None:
    """Return how an attention weight stacks projections and heads; None where its name is of none that does.

    A name alone decides where every implementation of it agrees (``in_proj_weight`` of PyTorch, ``c_attn`` of GPT-2,
    ``Wqkv``, ``to_qkv``, ``to_kv``, ``kv``); ``query_key_value``, ``qkv_proj`` and ``wqkv`` are laid out differently
    by different networks, so that the config's ``model_type`` and head counts must tell. Nothing is guessed.

    Parameters
    ----------
    name, shape
        The tensor's.
    heads
        What config and module tell about its heads.
    """
    *path, last = re.split(r"[./]", name)
    unit = path[-1] if last == "weight" and path else last
    if unit in _APART and len(shape) == 2:
        return _of_heads_alone(_APART[unit], (shape[0], shape[1]), heads)
    rule = _RULES.get(unit)
    if rule is None or len(shape) < 2:
        return None
    if len(shape) > 2:
        return Layout(why_whole=_UNKNOWN_ORDER)
    layout = rule(name, (shape[0], shape[1]), heads)
    return replace(layout, heads=_heads_of(layout.parts, (shape[0], shape[1]), heads))


def _of_heads_alone(role: str, shape: tuple[int, int], heads: Heads) -> Layout | None:
    """Return the heads of a projection that is not fused: one below another."""
    told = heads.sizes(shape[1])
    if told is None:
        return None
    n_heads, key_value, head_dim = told
    count = n_heads if role == "query" else key_value
    if count * head_dim != shape[0]:
        return None
    return Layout(heads=stacked([f"head {head}" for head in range(count)], shape, 0))


def _heads_of(parts: tuple[Part, ...], shape: tuple[int, int], heads: Heads) -> tuple[Part, ...]:
    """Return the single heads of fused projections; none unless the sizes of all fit what is told."""
    if not parts:
        return ()
    side = 1 if parts[0].view == shape and parts[0].dim == 1 else 0
    told = heads.sizes(shape[1 - side])
    if told is None:
        return ()
    n_heads, key_value, head_dim = told
    # Multi-query attention shares one key and value head, whatever number else is told.
    shared = {n_heads, key_value} | ({1} if parts[0].name == "query" else set())
    found: list[Part] = []
    for part in parts:
        count, rest = divmod(part.shape[side], head_dim)
        if rest or count not in ({n_heads} if part.name == "query" else shared):
            return ()
        # Seen in the tensor's own shape, a head is a block of rows, or of columns, wherever its part lies.
        found += [
            Part(name=f"{part.name} {head}", view=shape, dim=side, start=_start(part, head, head_dim), length=head_dim)
            for head in range(count)
        ]
    return tuple(found)


def _start(part: Part, head: int, head_dim: int) -> int:
    if len(part.view) == 2:
        return part.start + head * head_dim
    group, place = divmod(head, part.length)
    return (group * part.view[part.dim] + part.start + place) * head_dim


def _torch(name: str, shape: tuple[int, int], heads: Heads) -> Layout:
    return _thirds(shape) if shape[0] == 3 * shape[1] else Layout(why_whole=_UNLIKE)


def _c_attn(name: str, shape: tuple[int, int], heads: Heads) -> Layout:
    """GPT-2 stores [in, 3·out], nanoGPT and Qwen [3·out, in]; GPT-BigCode shares one key and value, or interleaves."""
    rows, cols = shape
    if "multi_query" in heads.flags:
        told = heads.sizes(cols)
        return _along_rows(shape, told and (told[0], 1, told[2]))
    if heads.family == "gpt_bigcode":
        return _by_head(shape, heads.sizes(cols))
    if cols == 3 * rows:
        return Layout(parts=stacked(_QKV, shape, 1))
    if cols == 2 * rows:
        return Layout(parts=stacked(_QKV[1:], shape, 1))
    return _torch(name, shape, heads)


def _wqkv(name: str, shape: tuple[int, int], heads: Heads) -> Layout:
    told = heads.sizes(shape[1])
    if told is None and shape[0] == 3 * shape[1]:
        return _thirds(shape)
    return _along_rows(shape, told)


def _qkv(name: str, shape: tuple[int, int], heads: Heads) -> Layout:
    if "head_first" in heads.flags:
        return _by_head(shape, heads.sizes(shape[1]))
    if _HEADS_MAY_COME_FIRST.search(name) and not heads.is_live:
        return Layout(why_whole=_UNKNOWN_ORDER)
    return _torch(name, shape, heads)


def _to_qkv(name: str, shape: tuple[int, int], heads: Heads) -> Layout:
    return _thirds(shape) if shape[0] % 3 == 0 else Layout(why_whole=_UNLIKE)


def _key_value(name: str, shape: tuple[int, int], heads: Heads) -> Layout:
    return Layout(parts=stacked(_QKV[1:], shape, 0)) if shape[0] % 2 == 0 else Layout(why_whole=_UNLIKE)


def _query_key_value(name: str, shape: tuple[int, int], heads: Heads) -> Layout:
    told = heads.sizes(shape[1])
    if heads.family in _INTERLEAVED or "gpt_neox" in re.split(r"[./]", name):
        return _by_head(shape, told and (told[0], told[0], told[2]))
    if heads.family == "falcon":
        if "new_decoder_architecture" in heads.flags:
            return _by_head(shape, told)
        if "multi_query" in heads.flags:
            return _along_rows(shape, told and (told[0], 1, told[2]))
        return _by_head(shape, told and (told[0], told[0], told[2]))
    if heads.family == "chatglm":
        grouped = "multi_query_attention" in heads.flags
        return _along_rows(shape, told if grouped else told and (told[0], told[0], told[2]))
    return Layout(why_whole=_UNKNOWN_ORDER)


def _by_family(rules: dict[str, Callable[[tuple[int, int], tuple[int, int, int] | None], Layout]]) -> _Rule:
    def rule(name: str, shape: tuple[int, int], heads: Heads) -> Layout:
        known = rules.get(heads.family)
        return known(shape, heads.sizes(shape[1])) if known else Layout(why_whole=_UNKNOWN_ORDER)

    return rule


def _thirds(shape: tuple[int, int]) -> Layout:
    return Layout(parts=stacked(_QKV, shape, 0))


def _along_rows(shape: tuple[int, int], told: tuple[int, int, int] | None) -> Layout:
    """All query heads, then all key heads, then all value heads."""
    if told is None:
        return Layout(why_whole=_UNKNOWN_HEADS)
    n_heads, key_value, head_dim = told
    if (n_heads + 2 * key_value) * head_dim != shape[0]:
        return Layout(why_whole=_does_not_fit(told))
    return Layout(
        parts=stacked(_QKV, shape, 0, [n_heads * head_dim, key_value * head_dim, key_value * head_dim]),
    )


def _by_head(shape: tuple[int, int], told: tuple[int, int, int] | None) -> Layout:
    """Each key head after the query heads that share it, before its value head."""
    if told is None:
        return Layout(why_whole=_UNKNOWN_HEADS)
    n_heads, key_value, head_dim = told
    if n_heads % key_value or (n_heads + 2 * key_value) * head_dim != shape[0]:
        return Layout(why_whole=_does_not_fit(told))
    sharing = n_heads // key_value
    view = (key_value, sharing + 2, head_dim, shape[1])
    return Layout(parts=stacked(_QKV, view, 1, [sharing, 1, 1]))


def _does_not_fit(told: tuple[int, int, int]) -> str:
    n_heads, key_value, head_dim = told
    return f"{n_heads} query and {key_value} key and value heads of size {head_dim} do not make up its rows"


#: Projections that are not fused, as Llama's and BERT's.
_APART = {"q_proj": "query", "k_proj": "key", "v_proj": "value", "query": "query", "key": "key", "value": "value"}
_Rule = Callable[[str, tuple[int, int], Heads], Layout]
_RULES: dict[str, _Rule] = {
    "in_proj_weight": _torch,
    "c_attn": _c_attn,
    "Wqkv": _wqkv,
    "qkv": _qkv,
    "to_qkv": _to_qkv,
    "kv": _key_value,
    "to_kv": _key_value,
    "query_key_value": _query_key_value,
    "qkv_proj": _by_family({"phi3": _along_rows}),
    "wqkv": _by_family({"internlm2": _by_head}),
}
