"""Two tensors of one name: which they are, and how far they lie apart."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from deepscope.subject import Subject, Weight

_CHUNK = 2**20


def by_name(subject: Subject) -> dict[str, Weight]:
    """Return every weight by all its names: what is tied in one network need not be in the other."""
    return {name: weight for weight in subject.weights() for name in (weight.name, *weight.tied)}


def why_no_difference(a: Weight, b: Weight) -> str:
    """Say why two tensors cannot be compared; empty where they can."""
    if a.shape != b.shape:
        return f"shapes differ: {list(a.shape)} and {list(b.shape)}"
    return a.why_not_measured or b.why_not_measured


def difference(x: Tensor, y: Tensor) -> dict[str, Any]:
    """Return the columns ``relative_change`` ‖y − x‖/‖x‖, ``cosine`` and ``status`` of two tensors of one shape."""
    x, y = x.flatten(), y.flatten()
    none = {"relative_change": None, "cosine": None}
    sizes = [_largest(x), _largest(y)]
    if not all(map(math.isfinite, sizes)):
        return {**none, "status": "non-finite values"}
    size = max(sizes)
    if size == 0:
        return {**none, "relative_change": 0.0, "status": "all zero"}
    square_a = square_b = product = distance = 0.0
    # In units of the largest value, whose square float64 may not hold.
    for p, q in zip(_chunks(x), _chunks(y), strict=True):
        p, q = p / size, q / size
        square_a += float(p @ p)
        square_b += float(q @ q)
        product += float(p @ q)
        distance += float((q - p).square().sum())
    if square_a == 0 or square_b == 0:
        return {**none, "status": "all zero in one"}
    relative = math.sqrt(distance / square_a)
    cosine = max(-1.0, min(1.0, product / math.sqrt(square_a * square_b)))
    return {"relative_change": relative, "cosine": cosine, "status": "ok" if distance else "equal"}


def _largest(flat: Tensor) -> float:
    """Return the largest magnitude; not finite where a value is not."""
    return float(torch.stack([chunk.abs().max() for chunk in _chunks(flat)]).max())


def _chunks(flat: Tensor) -> Iterator[Tensor]:
    # Two tensors in float64, and their difference, would be five times the checkpoint's largest tensor.
    for start in range(0, flat.numel(), _CHUNK):
        yield flat[start : start + _CHUNK].cpu().double()
