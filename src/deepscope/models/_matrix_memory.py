"""The matrix memory of mLSTM: written and read one step after another, or a chunk of steps at once."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

Memory = tuple[Tensor, Tensor, Tensor]

#: Steps that are computed as products of matrices.
_CHUNK = 64


def empty_memory(batch: int, heads: int, key_size: int, value_size: int, like: Tensor) -> Memory:
    """Return (C, n, m) = 0 of shapes [batch, heads, key_size, value_size], [batch, heads, key_size], [batch, heads].

    Examples
    --------
    >>> [list(each.shape) for each in empty_memory(2, 4, 3, 5, torch.zeros(()))]
    [[2, 4, 3, 5], [2, 4, 3], [2, 4]]
    """
    zeros = like.new_zeros
    return zeros(batch, heads, key_size, value_size), zeros(batch, heads, key_size), zeros(batch, heads)


def step_memory(q: Tensor, k: Tensor, v: Tensor, gates: Tensor, memory: Memory) -> tuple[Tensor, Memory]:
    """Take one step: write v at k, and read at q.

    ::

        C' = σ(f) C + exp(i) k vᵀ
        n' = σ(f) n + exp(i) k
        h = C'ᵀ q̂ / max(|n'·q̂|, 1) with q̂ = q / √key_size

    C and n are held divided by exp(m), where m' = max(ln σ(f) + m, i) is the largest exponent so far: exponential gates
    then overflow nowhere, and h is what the formula says. Source: ``beck2024xlstm``.

    Parameters
    ----------
    q, k, v
        [batch, heads, key_size], the same, [batch, heads, value_size].
    gates
        What the input gates i and the forget gates f see, [batch, 2 · heads].
    memory
        C, n and m.

    Examples
    --------
    >>> one = torch.ones(1, 1, 1)
    >>> step_memory(one, one, one, torch.ones(1, 2), empty_memory(1, 1, 1, 1, one))[0]
    tensor([[[1.]]])
    """
    matrix, normaliser, exponent = memory
    i, f = gates.chunk(2, -1)
    decayed = functional.logsigmoid(f) + exponent
    highest = torch.maximum(decayed, i)
    keep, write = torch.exp(decayed - highest)[..., None], torch.exp(i - highest)[..., None] * k
    matrix = keep[..., None] * matrix + write[..., :, None] * v[..., None, :]
    normaliser = keep * normaliser + write
    q = q / math.sqrt(q.shape[-1])
    found = (q[..., None, :] @ matrix).squeeze(-2)
    size = (q * normaliser).sum(-1).abs()
    return found / torch.maximum(size, torch.exp(-highest))[..., None], (matrix, normaliser, highest)


def scan_memory(q: Tensor, k: Tensor, v: Tensor, gates: Tensor, memory: Memory) -> tuple[Tensor, Memory]:
    """Take all steps: as ``step_memory`` one after another, in chunks of 64 steps.

    Within a chunk step t finds step s ≤ t with weight exp(iₛ + Σ ln σ(f) over s < r ≤ t), as attention does, and all
    that came before the chunk in its memory. A chunk of c steps costs O(c² + c · key_size) · value_size operations a
    head: O(T) on the whole.

    Parameters
    ----------
    q, k, v
        [batch, heads, time, key_size], the same, [batch, heads, time, value_size].
    gates
        [batch, time, 2 · heads].
    memory
        C, n and m before the first step.

    Examples
    --------
    >>> x = torch.ones(2, 4, 100, 3)
    >>> h, memory = scan_memory(x, x, x, torch.ones(2, 100, 8), empty_memory(2, 4, 3, 3, x))
    >>> h.shape, memory[0].shape
    (torch.Size([2, 4, 100, 3]), torch.Size([2, 4, 3, 3]))
    """
    outputs = []
    q, (i, f) = q / math.sqrt(q.shape[-1]), gates.mT.chunk(2, 1)
    for start in range(0, q.shape[2], _CHUNK):
        q_, k_, v_, i_, f_ = (each[:, :, start : start + _CHUNK] for each in (q, k, v, i, f))
        output, memory = _chunk(q_, k_, v_, i_, f_, memory)
        outputs.append(output)
    return torch.cat(outputs, 2), memory


def _chunk(q: Tensor, k: Tensor, v: Tensor, i: Tensor, f: Tensor, memory: Memory) -> tuple[Tensor, Memory]:
    matrix, normaliser, exponent = memory
    kept = functional.logsigmoid(f).cumsum(-1)
    # Logarithms of what step t finds of step s, and of what was there before.
    inside = kept[..., :, None] + (i - kept)[..., None, :]
    later = torch.ones(inside.shape[-2:], dtype=torch.bool, device=q.device).triu(1)
    inside = inside.masked_fill(later, -torch.inf)
    before = kept + exponent[..., None]
    highest = torch.maximum(inside.amax(-1), before)
    weights = (q @ k.mT) * torch.exp(inside - highest[..., None])
    old = torch.exp(before - highest)[..., None]
    found = weights @ v + old * (q @ matrix)
    size = (weights.sum(-1) + old[..., 0] * (q @ normaliser[..., None])[..., 0]).abs()
    output = found / torch.maximum(size, torch.exp(-highest))[..., None]
    last = highest[..., -1]
    keep = torch.exp(before[..., -1] - last)[..., None]
    write = torch.exp(inside[..., -1, :] - last[..., None])[..., None] * k
    return output, (keep[..., None] * matrix + write.mT @ v, keep * normaliser + write.sum(-2), last)
