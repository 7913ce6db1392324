"""Handles of weights: what a tensor is, without reading it."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from enum import StrEnum

import torch
from torch import Tensor

from deepscope.subject._columns import layer_of
from deepscope.subject._layout import WHOLE, Layout

FLOAT8_DTYPES = ("float8_e4m3fn", "float8_e5m2", "float8_e4m3fnuz", "float8_e5m2fnuz")
#: Floating-point types that instruments measure; other tensors go to the ledger.
MEASURED_DTYPES = ("float32", "float64", "bfloat16", "float16", *FLOAT8_DTYPES)


class Role(StrEnum):
    """What a tensor does in its network."""

    LINEAR = "linear"
    CONVOLUTION = "convolution"
    EMBEDDING = "embedding"
    ATTENTION = "attention"
    RECURRENT = "recurrent"
    NORM = "norm"
    BIAS = "bias"
    BUFFER = "buffer"
    OTHER = "other"


@dataclass(frozen=True, kw_only=True)
class Weight(ABC):
    """A handle of one tensor: known without reading it, read on demand.

    Attributes
    ----------
    name
        As ``named_parameters``, ``named_buffers`` or the file has it.
    shape
        Sizes of its dimensions; a linear layer's weight is [out, in].
    dtype
        torch's name of its type, without ``torch.``.
    role
        What it does; from the module where there is one, else judged by name and shape.
    tied
        Other names of the very same tensor.
    fan_in
        Number of inputs each unit sums over, where it is known for certain; for a recurrent layer its hidden size, by
        which PyTorch scales all its weights.
    layout
        How its values are laid out, where the module, its name or the model's config tells.
    quantised
        Handle of the stored values where these are quantised and ``read`` returns what they stand for; else None.
    why_encoded
        Why its stored values are not the network's own and cannot be turned into them; empty where they are or can.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    role: Role
    tied: tuple[str, ...] = ()
    fan_in: int | None = None
    layout: Layout = WHOLE
    quantised: Weight | None = field(default=None, repr=False)
    why_encoded: str = ""

    @abstractmethod
    def read(self) -> Tensor:
        """Return the values, detached, on their own device and in their own dtype; in float32 those of quantised ones.

        Raises
        ------
        TargetError
            The file is gone or has changed.
        """

    @property
    def layer(self) -> str:
        """Name of the layer it belongs to: the name without its last part (the name itself where it has one part)."""
        return layer_of(self.name)

    @property
    def count(self) -> int:
        """Number of values."""
        return math.prod(self.shape)

    @property
    def nbytes(self) -> int:
        """Bytes that the values take."""
        return self.count * torch_dtype(self.dtype).itemsize

    @property
    def why_not_measured(self) -> str:
        """Why no instrument can measure it; empty where one can."""
        if self.why_encoded:
            return self.why_encoded
        if self.dtype not in MEASURED_DTYPES and self.quantised is None:
            return f"{self.dtype} is not a floating-point type that is measured"
        if self.count == 0:
            return f"has no values (shape {list(self.shape)})"
        return ""


def torch_dtype(name: str) -> torch.dtype:
    """Return torch's dtype for its name.

    >>> torch_dtype("bfloat16")
    torch.bfloat16
    """
    dtype = getattr(torch, name, None)
    if not isinstance(dtype, torch.dtype):
        raise ValueError(f"torch has no dtype {name!r}")  # noqa: TRY004 - the name is wrong, not its type
    return dtype


def dtype_name(dtype: torch.dtype) -> str:
    """Return a dtype's name without ``torch.``.

    >>> dtype_name(torch.float8_e4m3fn)
    'float8_e4m3fn'
    """
    return str(dtype).removeprefix("torch.")
