"""What a config or a module tells about attention heads."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import nn

_HEADS = ("num_attention_heads", "n_head", "n_heads", "num_heads")
_KEY_VALUE_HEADS = ("num_key_value_heads", "kv_n_heads", "n_kv_heads", "num_kv_heads", "multi_query_group_num")
_HEAD_SIZE = ("head_dim", "kv_channels")
_FLAGS = ("multi_query", "multi_query_attention", "new_decoder_architecture", "head_first")


@dataclass(frozen=True, kw_only=True)
class Heads:
    """Attention heads, as far as they are told.

    Attributes
    ----------
    family
        ``model_type`` of the config; empty where it is not told.
    n_heads, n_key_value_heads, head_dim
        Query heads, key and value heads, and the size of each; None where not told.
    flags
        Switches that are told to be on, by their names in the config or module.
    is_live
        Whether a module tells, so that a switch which is not on is off.
    """

    family: str = ""
    n_heads: int | None = None
    n_key_value_heads: int | None = None
    head_dim: int | None = None
    flags: frozenset[str] = frozenset()
    is_live: bool = False

    def sizes(self, features: int) -> tuple[int, int, int] | None:
        """Return query heads, key and value heads, and head size for an input of so many features."""
        if not self.n_heads:
            return None
        if not self.head_dim and features % self.n_heads:
            return None
        key_value = self.n_key_value_heads or self.n_heads
        return self.n_heads, key_value, self.head_dim or features // self.n_heads


def heads_told(config: Mapping[str, Any], module: nn.Module | None = None) -> Heads:
    """Read heads from a config and from the attributes of an attention module, which go first."""
    nested = config.get("attn_config")
    told = (vars(module) if module else {}, config, nested if isinstance(nested, Mapping) else {})
    family = config.get("model_type")
    return Heads(
        family=family if isinstance(family, str) else "",
        n_heads=_count(told, _HEADS),
        n_key_value_heads=_count(told, _KEY_VALUE_HEADS),
        head_dim=_count(told, _HEAD_SIZE),
        flags=frozenset(name for name in _FLAGS if any(each.get(name) is True for each in told)),
        is_live=module is not None,
    )


def _count(told: Iterable[Mapping[str, Any]], names: Iterable[str]) -> int | None:
    values = (each.get(name) for each in told for name in names)
    return next((each for each in values if type(each) is int and each > 0), None)
