"""What a tensor of a checkpoint does, judged by its name and shape."""

from __future__ import annotations

import re

from deepscope.subject._weight import Role

#: Last parts of a name that say only which parameter of the unit before it is meant.
_PARAMETER_PARTS = frozenset(
    {"weight", "bias", "kernel", "scale", "gamma", "beta", "w", "b", "g", "weight_g", "weight_v", "default"}
)
_BUFFER = re.compile(
    r"running_(mean|var)|num_batches_tracked|position_ids|token_type_ids|inv_freq|masked_bias|(attn|causal)_mask|mask"
    r"|relative_position_index|relative_coords_table|(cos|sin)_cached|freqs(_cis|_cos|_sin)?|_float_tensor"
    r"|original_inv_freq|(weight|input)_scale(_inv)?|scales|qzeros|g_idx|scb|absmax|quant_map|zero_point"
)
_NORM = re.compile(
    r"(.*_)?(ln|bn|gn)(_?([0-9]+|f|final|pre|post))?|.*norm(\d*|_(f|final|out|[0-9]+|q|k|before|after|pre|post|layer))"
    r"|.*layernorm.*|.*batchnorm.*|rms|ln_[a-z0-9]+"
)
_NOT_NORM_SCALE = re.compile(r"prelu|^act\d*$|ls\d*$|layer_?scale|magnitude")
_BIAS = re.compile(r"bias|.*_bias|bias_.*|beta|b|b_[a-z]+")
_RECURRENT_PARAMETER = re.compile(r"weight_(ih|hh|hr)(_l\d+)?(_reverse)?")
_RECURRENT_PART = re.compile(r"(^|_)(rnn|lstm|gru)(\d*|_.*)?$")
_EMBEDDING = re.compile(
    r"embed|(^|_)emb(s|$|_)|^wte$|^wpe$|^shared$|^(cls|dist|reg|mask|class)_token$|relative_attention_bias"
    r"|position_bias_table|^rel_pos"
)
_NOT_EMBEDDING = re.compile(r"proj|linear|mapping|dense|norm|conv")
_ATTENTION_UNIT = re.compile(
    r"([qkvo]|qkv|kv|query|key|value|q_a|q_b|kv_a|kv_b)_proj(_weight|_with_mqa)?|in_proj_weight|c_attn|q_attn|w?qkv"
    r"|query|key|value|query_key_value|to_(q|k|v|qkv|kv|out)|w[qkvo]"
)
_ATTENTION_PART = re.compile(r"(^|_)(attn|att|attention|selfattention|encdecattention|mha)\d*(_|$)")
_FEED_FORWARD_PART = re.compile(r"^(ffn|mlp|feed_?forward|experts?)\d*$")


def role_of(name: str, shape: tuple[int, ...]) -> Role:
    """Judge what a tensor does in its network, from its name in a checkpoint and its shape.

    The rules follow the names that PyTorch, Hugging Face transformers, timm, PEFT and Flax give. A bias is a bias
    also where it belongs to a norm. A low-rank factor (LoRA) has the role of the matrix that it adapts.

    Parameters
    ----------
    name
        The tensor's name, its parts separated by ``.`` or ``/``.
    shape
        Sizes of its dimensions.

    Examples
    --------
    >>> role_of("h.0.attn.c_attn.weight", (768, 2304)).value
    'attention'
    >>> role_of("encoder.layer.0.output.LayerNorm.weight", (384,)).value
    'norm'
    """
    parts = [part.lower() for part in re.split(r"[./]", name)]
    last, dimensions = parts[-1], len(shape)
    unit, ancestors = _unit(parts)
    if _BUFFER.fullmatch(last) or (last == "bias" and dimensions >= 3):
        return Role.BUFFER
    if _BIAS.fullmatch(last) and not (dimensions >= 2 and last != "bias" and not last.endswith("_bias")):
        return Role.BIAS
    if _NORM.fullmatch(unit) and (dimensions <= 1 or last in _PARAMETER_PARTS):
        return Role.NORM
    if dimensions < 2:
        scale = dimensions == 1 and last in {"weight", "scale", "gamma", "g"}
        return Role.NORM if scale and not _NOT_NORM_SCALE.search(unit) else Role.OTHER
    return _matrix_role(last, unit, ancestors, dimensions)


def _unit(parts: list[str]) -> tuple[str, list[str]]:
    """Return the part that names the layer or bare parameter, and the parts before it."""
    rest = list(parts)
    while len(rest) > 1 and rest[-1] in _PARAMETER_PARTS:
        rest.pop()
    return rest[-1], rest[:-1]


def _matrix_role(last: str, unit: str, ancestors: list[str], dimensions: int) -> Role:
    parts = [*ancestors, unit]
    if _RECURRENT_PARAMETER.fullmatch(last):
        return Role.RECURRENT
    if _EMBEDDING.search(unit) and not _NOT_EMBEDDING.search(unit) and (dimensions < 4 or unit == last):
        return Role.EMBEDDING
    if dimensions in (4, 5) or (dimensions == 3 and any("conv" in part for part in parts)):
        return Role.CONVOLUTION
    if dimensions > 3:
        return Role.OTHER
    if _is_attention(unit, ancestors):
        return Role.ATTENTION
    if any(_RECURRENT_PART.search(part) for part in parts):
        return Role.RECURRENT
    return Role.LINEAR if dimensions == 2 else Role.OTHER


def _is_attention(unit: str, ancestors: list[str]) -> bool:
    low_rank = unit.startswith("lora_") and bool(ancestors)
    adapted, above = (ancestors[-1], ancestors[:-1]) if low_rank else (unit, ancestors)
    if any(_FEED_FORWARD_PART.search(part) for part in above):
        return False
    return bool(_ATTENTION_UNIT.fullmatch(adapted)) or any(_ATTENTION_PART.search(part) for part in [*above, adapted])
