"""Products of per-sample gradients, from their factors: Gram matrices, norms, projections and sums.

Each is had in one of two ways, whichever takes fewer multiplications: from the products of the factors,
``⟨Σ_t a_t b_tᵀ, Σ_u c_u d_uᵀ⟩ = Σ_tu ⟨a_t, c_u⟩⟨b_t, d_u⟩``, or from the gradients themselves, written out block by
block of the parameter's rows, so that memory does not grow with the parameter.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from deepscope.linalg._gradient_factors import DenseGradients, Factor, Factors, OuterGradients, ScatteredGradients

#: Values that are written out at once.
BLOCK = 2**23
#: Products of factors that are made at once: few enough to be still in a processor's cache when they are summed.
CACHED = 2**19
#: Strips in which the upper triangle of a symmetric matrix is computed: 9/16 of the whole, in large products still.
_STRIPS = 8


def factor_gram(x: Sequence[Factors], y: Sequence[Factors] | None = None, *, trace: bool = False) -> Tensor:
    """Return all inner products between the gradients of two sets of samples, over several parameters together.

    Parameters
    ----------
    x, y
        By parameter, in the same order: gradients of n and m samples, in k and l directions each; without ``y`` those
        of ``x`` with themselves.
    trace
        Sum over directions: Σ_k ⟨x[i, k], y[j, k]⟩. k = l then.

    Returns
    -------
    Tensor
        [k, n, l, m], or [n, m] with ``trace``.

    Notes
    -----
    Cost: with r × s a parameter's shape and t, u positions, about n·m·k·l·r·s multiplications from the gradients or
    n·m·t·u·(s + k·l·r) from the factors, and half of that without ``y``; memory of the result and one block.

    Examples
    --------
    >>> a, b = torch.randn(5, 1, 1, 1, 3), torch.randn(5, 1, 1, 4)
    >>> gram = factor_gram([(OuterGradients(a, b),)], trace=True)
    >>> J = (a.flatten(1)[:, :, None] * b.flatten(1)[:, None]).flatten(1)
    >>> torch.allclose(gram, J @ J.T, atol=1e-6)
    True
    """
    pairs = _with_shared_sides([(each, each) for each in x] if y is None else list(zip(x, y, strict=True)))
    first, other = pairs[0][0][0], pairs[0][1][0]
    shape = (first.n, other.n) if trace else (first.k, first.n, other.k, other.n)
    total = _values(first).new_zeros(shape)
    factored = [_by_factors(*each, trace=trace) for each in pairs]
    written = [pair for pair, by_factors in zip(pairs, factored, strict=True) if not by_factors]
    if written:
        _add_written(total, written, trace=trace, symmetric=y is None)
    rest = [pair for pair, by_factors in zip(pairs, factored, strict=True) if by_factors]
    if rest:
        _add_factored(total, rest, trace=trace, symmetric=y is None)
    return total


def squared_norms(x: Factors) -> Tensor:
    """Return ‖J[i, k]‖² for one parameter, [n, k].

    Cost: n·t²·(s + k·r) multiplications from the factors, n·k·t·r·s from the gradients, whichever is less.
    """
    if len(x) == 1 and isinstance(x[0], OuterGradients):
        only = x[0]
        t, r, s = only.positions, only.left.shape[4], only.right.shape[3]
        if t == 1:
            squares = only.left.square().sum((3, 4)) * only.right.square().sum((2, 3))[:, None]
            return squares.sum(2)
        if t * (s + only.k * r) < only.k * r * s:
            rights = only.right @ only.right.mT
            lefts = only.left @ only.left.mT
            return (lefts * rights[:, None]).sum((2, 3, 4))
    made = []
    for samples in _sample_slices(x):
        some = [each.take(samples) for each in x]
        made.append(sum(_blocks_norms(some)))
    return torch.cat(made)  # type: ignore[arg-type]


def project(x: Factors, direction: Tensor) -> Tensor:
    """Return ⟨J[i, k], D⟩ with one direction D of the parameter's shape, [n, k]."""
    return sum(_projected(each, direction.reshape(-1)) for each in x)  # type: ignore[return-value]


def weighted_sum(x: Factors, weights: Tensor) -> Tensor:
    """Return Σ_ik w[i, k] J[i, k], flat, [p]; ``weights`` is [n, k]."""
    return sum(_summed(each, weights) for each in x)  # type: ignore[return-value]


def _values(factor: Factor) -> Tensor:
    return factor.left if isinstance(factor, OuterGradients) else factor.values


def _pair_cost(a: Factor, b: Factor, *, trace: bool) -> float:
    pairs = float(a.n) * b.n
    directions = a.k if trace else a.k * b.k
    if isinstance(a, OuterGradients) and isinstance(b, OuterGradients):
        each = a.right.shape[3] + directions * a.left.shape[4]
        # Two passes over the products beside the two that make them.
        return pairs * a.groups * a.positions * b.positions * (each + 4 * (1 if trace else directions))
    t, u = (each.positions if not isinstance(each, DenseGradients) else 0 for each in (a, b))
    return pairs * t * u * directions * (a.width + 4)


def _written_cost(x: Factors, y: Factors, *, trace: bool) -> float:
    k = x[0].k if trace else x[0].k * y[0].k
    size = x[0].rows * x[0].width
    writing = sum(each.n * each.k * (1 if isinstance(each, DenseGradients) else each.positions) for each in (*x, *y))
    return float(size) * (x[0].n * y[0].n * k + writing)


def _with_shared_sides(pairs: Sequence[tuple[Factors, Factors]]) -> list[tuple[Factors, Factors]]:
    """Put parameters together whose gradients have the same left sides, as a layer's weight and bias have.

    Σ_t l_t [a_t, b_t]ᵀ has the inner products of both together, and the products of the left sides are had once.
    """
    shared: dict[tuple[int, int], list[tuple[Factors, Factors]]] = {}
    for x, y in pairs:
        alone = len(x) == len(y) == 1 and isinstance(x[0], OuterGradients) and isinstance(y[0], OuterGradients)
        key = (id(_values(x[0])), id(_values(y[0]))) if alone else (id(x), id(y))
        shared.setdefault(key, []).append((x, y))
    made = []
    for same in shared.values():
        one, other = (_side_by_side([pair[side] for pair in same]) for side in (0, 1))
        made.append((one, one if all(x is y for x, y in same) else other))
    return made


def _side_by_side(parts: Sequence[Factors]) -> Factors:
    if len(parts) == 1:
        return parts[0]
    only = [each[0] for each in parts if isinstance(each[0], OuterGradients)]
    return (OuterGradients(only[0].left, torch.cat([each.right for each in only], 3)),)


def _by_factors(x: Factors, y: Factors, *, trace: bool) -> bool:
    if any(isinstance(each, DenseGradients) for each in (*x, *y)):
        return False
    return sum(_pair_cost(a, b, trace=trace) for a in x for b in y) < _written_cost(x, y, trace=trace)


def _add_written(total: Tensor, pairs: Sequence[tuple[Factors, Factors]], *, trace: bool, symmetric: bool) -> None:
    """Add products of gradients that are written out; of a symmetric result the upper triangle is computed."""
    flat = total if trace else total.flatten(2).flatten(0, 1)
    lines = len(flat)
    step = -(-lines // _STRIPS) if symmetric else lines
    for x, y in pairs:
        for start, stop in _row_blocks(x, (x[0].n + (0 if symmetric else y[0].n)) * x[0].k):
            one = _lines(_written(x, start, stop), trace=trace)
            other = one if symmetric else _lines(_written(y, start, stop), trace=trace)
            for line in range(0, lines, step):
                first = line if symmetric else 0
                flat[line : line + step, first:].addmm_(one[line : line + step], other[first:].T)
    for line in range(step, lines, step):
        flat[line : line + step, :line] = flat[:line, line : line + step].T


def _add_factored(total: Tensor, pairs: Sequence[tuple[Factors, Factors]], *, trace: bool, symmetric: bool) -> None:
    """Add products of factors, tile by tile of samples, so that a tile stays in the cache for all parameters."""
    n, m = (pairs[0][side][0].n for side in (0, 1))
    k, l = (1, 1) if trace else (pairs[0][side][0].k for side in (0, 1))  # noqa: E741
    step = max(1, int((CACHED / (k * l)) ** 0.5))
    for i in range(0, n, step):
        rows = slice(i, i + step)
        for j in range(i if symmetric else 0, m, step):
            columns = slice(j, j + step)
            place = (rows, columns) if trace else (slice(None), rows, slice(None), columns)
            tile = torch.zeros_like(total[place], memory_format=torch.contiguous_format)
            for x, y in pairs:
                for a in x:
                    for b in y:
                        _add_pair(tile, a.take(rows), b.take(columns), trace=trace)
            total[place] += tile
            if symmetric and i != j:
                turned = (columns, rows) if trace else (slice(None), columns, slice(None), rows)
                total[turned] += tile.T if trace else tile.permute(2, 3, 0, 1)


def _lines(gradients: Tensor, *, trace: bool) -> Tensor:
    return gradients.flatten(1) if trace else gradients.transpose(0, 1).flatten(0, 1)


def _written(x: Factors, start: int, stop: int) -> Tensor:
    first, *others = (each.dense(start, stop) for each in x)
    return sum(others, first)


def _row_blocks(x: Factors, lines: int) -> list[tuple[int, int]]:
    rows = x[0].rows
    step = max(1, BLOCK // max(1, lines * x[0].width))
    return [(start, min(start + step, rows)) for start in range(0, rows, step)]


def _sample_slices(x: Factors) -> list[slice]:
    # Many samples by few rows would be many small products: samples first, then rows where one sample is too large.
    n = x[0].n
    step = max(1, BLOCK // max(1, x[0].k * x[0].rows * x[0].width))
    return [slice(start, start + step) for start in range(0, n, step)]


def _blocks_norms(x: list[Factor]) -> list[Tensor]:
    some = tuple(x)
    blocks = _row_blocks(some, some[0].n * some[0].k)
    return [_written(some, start, stop).square().sum(2) for start, stop in blocks]


def _add_pair(total: Tensor, a: Factor, b: Factor, *, trace: bool) -> None:
    if isinstance(a, OuterGradients) and isinstance(b, OuterGradients):
        _add_outer(total, a, b, trace=trace)
    elif isinstance(a, ScatteredGradients):
        _add_scattered(total, a, b, trace=trace)
    else:
        assert isinstance(b, ScatteredGradients)
        _add_scattered(total.T if trace else total.permute(2, 3, 0, 1), b, a, trace=trace)


def _add_outer(total: Tensor, a: OuterGradients, b: OuterGradients, *, trace: bool) -> None:
    # Directions first: what the samples' inputs give is then the same for whole rows.
    left, other = a.left.permute(2, 1, 0, 3, 4), b.left.permute(2, 1, 0, 3, 4)
    if trace:
        # A sum over directions is an inner product over directions and rows together.
        left, other = (each.permute(0, 2, 3, 1, 4).flatten(3).unsqueeze(1) for each in (left, other))
    groups, k, n, t, _ = left.shape
    l, m, u = other.shape[1:4]  # noqa: E741
    out = total.view(k, n, l, m)
    step = max(1, CACHED // max(1, k * t * m * l * u))
    for group in range(groups):
        theirs, their_right = other[group].reshape(l * m * u, -1), b.right[:, group].reshape(m * u, -1)
        for start in range(0, n, step):
            mine, right = left[group, :, start : start + step], a.right[start : start + step, group]
            lefts = (mine.reshape(-1, mine.shape[-1]) @ theirs.T).view(k, -1, t, l, m, u)
            rights = (right.reshape(-1, right.shape[-1]) @ their_right.T).view(-1, t, 1, m, u)
            if t == u == 1:
                out[:, start : start + step].addcmul_(lefts[:, :, 0, :, :, 0], rights[:, 0, :, :, 0])
            else:
                out[:, start : start + step] += lefts.mul_(rights).sum((2, 5))


def _add_scattered(total: Tensor, a: ScatteredGradients, b: Factor, *, trace: bool) -> None:
    """Add what of ``b`` stands in the rows that each sample of ``a`` reads, times what that sample has there."""
    assert not isinstance(b, DenseGradients)
    for i in range(a.n):
        index, values = a.index[i], a.values[i]
        if isinstance(b, ScatteredGradients):
            # [m, t, u]: whether read t of this sample and read u of that one are of the same row.
            same = (index[None, :, None] == b.index[:, None, :]).to(values.dtype)
            read = torch.einsum("mtu,mlud->mltd", same, b.values)
        else:
            picked = b.left[:, :, 0].index_select(3, index)
            read = torch.einsum("mlut,mud->mltd", picked, b.right[:, 0])
        if trace:
            total[i] += torch.einsum("ktd,mktd->m", values, read)
        else:
            total[:, i] += torch.einsum("ktd,mltd->klm", values, read)


def _projected(factor: Factor, direction: Tensor) -> Tensor:
    if isinstance(factor, DenseGradients):
        return factor.values @ direction
    if isinstance(factor, ScatteredGradients):
        rows = direction.view(factor.rows, factor.width)[factor.index]
        return torch.einsum("nktd,ntd->nk", factor.values, rows)
    groups, r = factor.groups, factor.left.shape[4]
    through = factor.right @ direction.view(groups, r, -1).mT
    return (factor.left * through[:, None]).sum((2, 3, 4))


def _summed(factor: Factor, weights: Tensor) -> Tensor:
    if isinstance(factor, DenseGradients):
        return torch.einsum("nkp,nk->p", factor.values, weights)
    if isinstance(factor, ScatteredGradients):
        values = torch.einsum("nktd,nk->ntd", factor.values, weights)
        made = values.new_zeros(factor.rows, factor.width)
        return made.index_add_(0, factor.index.flatten(), values.flatten(0, 1)).flatten()
    left = torch.einsum("nkgtr,nk->gntr", factor.left, weights).flatten(1, 2)
    return torch.bmm(left.mT, factor.right.transpose(0, 1).flatten(1, 2)).flatten()
