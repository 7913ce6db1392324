"""Products of per-sample gradients, from their factors: Gram matrices, norms, projections and sums.

Each is had in one of two ways, whichever takes fewer multiplications: from the products of the factors,
``⟨Σ_t a_t b_tᵀ, Σ_u c_u d_uᵀ⟩ = Σ_tu ⟨a_t, c_u⟩⟨b_t, d_u⟩``, or from the gradients themselves, written out block by
block of the parameter's rows, so that memory does not grow with the parameter.
"""

from __future__ import annotations

import torch
from torch import Tensor

from deepscope.linalg._gradient_factors import DenseGradients, Factor, Factors, OuterGradients, ScatteredGradients

#: Values that are written out at once: what a processor's cache holds and its matrix product still likes.
BLOCK = 2**23


def factor_gram(x: Factors, y: Factors | None = None, *, trace: bool = False) -> Tensor:
    """Return all inner products between the gradients of two sets of samples, for one parameter.

    Parameters
    ----------
    x, y
        Gradients of n and m samples, in k and l directions each; without ``y`` those of ``x`` with themselves.
    trace
        Sum over directions: Σ_k ⟨x[i, k], y[j, k]⟩. k = l then.

    Returns
    -------
    Tensor
        [n, k, m, l], or [n, m] with ``trace``.

    Notes
    -----
    Cost: with r × s the parameter's shape and t, u positions, about n·m·(k·l·p) multiplications from the gradients
    or n·m·t·u·(s + k·l·r) from the factors; memory of the result and one block.

    Examples
    --------
    >>> a, b = torch.randn(5, 1, 1, 1, 3), torch.randn(5, 1, 1, 4)
    >>> gram = factor_gram((OuterGradients(a, b),), trace=True)
    >>> J = (a.flatten(1)[:, :, None] * b.flatten(1)[:, None]).flatten(1)
    >>> torch.allclose(gram, J @ J.T, atol=1e-6)
    True
    """
    y = x if y is None else y
    n, k, m, l = x[0].n, x[0].k, y[0].n, y[0].k  # noqa: E741 - k and l are the directions' usual letters
    by_factors = all(not isinstance(each, DenseGradients) for each in (*x, *y)) and (
        sum(_pair_cost(a, b, trace=trace) for a in x for b in y) < _written_cost(x, y, trace=trace)
    )
    if not by_factors:
        return _written_gram(x, y, trace=trace)
    shape = (n, m) if trace else (n, k, m, l)
    total = _values(x[0]).new_zeros(shape)
    for a in x:
        for b in y:
            _add_pair(total, a, b, trace=trace)
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


def _written_gram(x: Factors, y: Factors, *, trace: bool) -> Tensor:
    n, k, m, l = x[0].n, x[0].k, y[0].n, y[0].k  # noqa: E741
    same = x is y
    total: Tensor | None = None
    for start, stop in _row_blocks(x, (n + (0 if same else m)) * k):
        one = _written(x, start, stop)
        other = one if same else _written(y, start, stop)
        one, other = (one.flatten(1), other.flatten(1)) if trace else (one.flatten(0, 1), other.flatten(0, 1))
        total = one @ other.T if total is None else total.addmm_(one, other.T)
    assert total is not None
    return total if trace else total.view(n, k, m, l)


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
        turned = total.T if trace else total.permute(2, 3, 0, 1)
        _add_scattered(turned, b, a, trace=trace)


def _add_outer(total: Tensor, a: OuterGradients, b: OuterGradients, *, trace: bool) -> None:
    left, other = a.left, b.left
    if trace:
        # Σ over directions is an inner product over directions and rows together.
        left, other = (each.permute(0, 2, 3, 1, 4).flatten(3).unsqueeze(1) for each in (left, other))
    n, k, groups, t, _ = left.shape
    m, l, _, u, _ = other.shape  # noqa: E741
    out = total.view(n, k, m, l) if not trace else total.view(n, 1, m, 1)
    step = max(1, BLOCK // max(1, k * t * m * l * u))
    for group in range(groups):
        theirs, their_right = other[:, :, group].reshape(m * l * u, -1), b.right[:, group].reshape(m * u, -1)
        for start in range(0, n, step):
            mine, right = left[start : start + step, :, group], a.right[start : start + step, group]
            lefts = (mine.reshape(-1, mine.shape[-1]) @ theirs.T).view(-1, k, t, m, l, u)
            rights = (right.reshape(-1, right.shape[-1]) @ their_right.T).view(-1, 1, t, m, 1, u)
            if t == u == 1:
                out[start : start + step].addcmul_(lefts[:, :, 0, :, :, 0], rights[:, :, 0, :, :, 0])
            else:
                out[start : start + step] += (lefts.mul_(rights)).sum((2, 5))


def _add_scattered(total: Tensor, a: ScatteredGradients, b: Factor, *, trace: bool) -> None:
    """Add ⟨J_a[i, k], J_b[j, l]⟩, sample by sample of ``a``: what of ``b`` stands in the rows that the sample reads."""
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
            total[i] += torch.einsum("ktd,mltd->kml", values, read)


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
