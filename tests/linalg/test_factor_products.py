"""Products of factors against those of the gradients that they stand for, written out by loops."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from deepscope.linalg import (
    DenseGradients,
    Factor,
    Factors,
    OuterGradients,
    ScatteredGradients,
    _factor_products,
    combine,
    compact,
    factor_gram,
    joined_factors,
    project,
    squared_norms,
    weighted_sum,
)

K = 3


def noise(*shape: int) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64)


def outer(n: int, *, groups: int = 1, t: int = 1, rows: int = 4, columns: int = 5, k: int = K) -> OuterGradients:
    return OuterGradients(noise(n, k, groups, t, rows), noise(n, groups, t, columns))


def scattered(n: int, *, t: int = 3, rows: int = 4, columns: int = 5, k: int = K) -> ScatteredGradients:
    return ScatteredGradients(torch.randint(0, rows, (n, t)), noise(n, k, t, columns), rows)


def by_loops(factor: Factor) -> Tensor:
    """[n, k, p], one outer product after another."""
    if isinstance(factor, DenseGradients):
        return factor.values
    made = []
    for i, k in itertools.product(range(factor.n), range(factor.k)):
        if isinstance(factor, ScatteredGradients):
            table = torch.zeros(factor.rows, factor.width, dtype=torch.float64)
            for row, value in zip(factor.index[i], factor.values[i, k], strict=True):
                table[row] += value
            made.append(table.flatten())
        else:
            blocks = [
                sum(torch.outer(factor.left[i, k, g, t], factor.right[i, g, t]) for t in range(factor.positions))
                for g in range(factor.groups)
            ]
            made.append(torch.cat(blocks).flatten())
    return torch.stack(made).view(factor.n, factor.k, -1)


KINDS: dict[str, Callable[[int], Factors]] = {
    "dense": lambda n: (DenseGradients(noise(n, K, 20)),),
    "outer": lambda n: (outer(n),),
    "positions": lambda n: (outer(n, t=2, rows=30, columns=20),),
    "many positions": lambda n: (outer(n, t=40),),
    "groups": lambda n: (outer(n, groups=3, t=4, rows=2),),
    "wide groups": lambda n: (outer(n, groups=2, rows=30, columns=20),),
    "scattered": lambda n: (scattered(n),),
    "large table": lambda n: (scattered(n, t=2, rows=300, columns=20),),
    "tied": lambda n: (outer(n), scattered(n)),
    "large tied": lambda n: (outer(n, rows=300, columns=20), scattered(n, t=2, rows=300, columns=20)),
}


def close(found: Tensor, expected: Tensor) -> None:
    # Sums of some hundred products of order one in float64.
    torch.testing.assert_close(found, expected, rtol=1e-11, atol=1e-11)


@pytest.fixture(params=[None, 64], ids=["whole", "in small blocks"])
def blocks(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    if request.param is not None:
        monkeypatch.setattr(_factor_products, "BLOCK", request.param)
        monkeypatch.setattr(_factor_products, "CACHED", request.param)


@pytest.mark.usefixtures("blocks")
@pytest.mark.parametrize("kind", KINDS)
def test_products_are_those_of_the_gradients(kind: str) -> None:
    x, y = KINDS[kind](7), KINDS[kind](5)
    one, other = (sum(by_loops(each) for each in side) for side in (x, y))
    close(factor_gram([x]), torch.einsum("nkp,mlp->knlm", one, one))
    close(factor_gram([x], [y]), torch.einsum("nkp,mlp->knlm", one, other))
    close(factor_gram([x], trace=True), torch.einsum("nkp,mkp->nm", one, one))
    close(factor_gram([x], [y], trace=True), torch.einsum("nkp,mkp->nm", one, other))
    close(squared_norms(x), one.square().sum(2))
    direction, weights = noise(one.shape[2]), noise(7, K)
    close(project(x, direction), one @ direction)
    close(weighted_sum(x, weights), torch.einsum("nk,nkp->p", weights, one))
    for factor in x:
        close(torch.cat([factor.dense(0, 1), factor.dense(1)], 2), factor.dense())
        close(factor.take(slice(2, 5)).dense(), factor.dense()[2:5])


@pytest.mark.parametrize("kind", [name for name in KINDS if name not in ("dense", "many positions")])
def test_both_ways_give_the_same(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    x, y = KINDS[kind](6), KINDS[kind](5)
    found = {}
    for way in (True, False):
        monkeypatch.setattr(_factor_products, "_by_factors", lambda *_, trace, way=way: way)
        found[way] = [factor_gram([x], trace=t) for t in (False, True)] + [factor_gram([x], [y])]
    for one, other in zip(*found.values(), strict=True):
        close(one, other)


def test_several_parameters_are_summed_and_shared_sides_used_once() -> None:
    torch.manual_seed(0)
    weight = outer(6)
    bias = OuterGradients(weight.left, torch.ones(6, 1, 1, 1, dtype=torch.float64))
    parts = [(weight,), KINDS["dense"](6), (bias,), KINDS["scattered"](6)]
    expected = sum(factor_gram([each]) for each in parts)
    close(factor_gram(parts), expected)
    close(factor_gram(parts, [tuple(f.take(slice(2, 6)) for f in each) for each in parts]), expected[..., 2:])
    assert len(_factor_products._with_shared_sides([(each, each) for each in parts])) == 3


def test_the_gram_of_float32_is_symmetric_and_positive() -> None:
    torch.manual_seed(0)
    x = OuterGradients(torch.randn(40, 2, 1, 1, 6), torch.randn(40, 1, 1, 7))
    gram = factor_gram([(x,), (DenseGradients(torch.randn(40, 2, 11)),)]).reshape(80, 80)
    # Sums of the same products in another order, on some processors: 80 numbers of float32 lose so much of the largest.
    torch.testing.assert_close(gram, gram.T, rtol=0, atol=80 * 2**-24 * float(gram.diagonal().max()))
    values = torch.linalg.eigvalsh(gram.double())
    # Rounding of float32 moves eigenvalues by at most its share of the largest.
    assert values[0] > -1e-5 * values[-1]


def test_repeated_calls_keep_their_cross_terms() -> None:
    torch.manual_seed(0)
    once, twice = outer(4), outer(4)
    (both,) = combine([once, twice])
    close(both.dense(), by_loops(once) + by_loops(twice))
    apart = squared_norms((once,)) + squared_norms((twice,))
    assert not torch.allclose(squared_norms((both,)), apart)
    table, table2 = scattered(4), scattered(4)
    close(combine([table, table2])[0].dense(), by_loops(table) + by_loops(table2))
    dense = DenseGradients(noise(4, K, 20))
    close(combine([dense, dense])[0].dense(), 2 * dense.values)
    assert len(combine([once, table, twice])) == 2


def test_factors_are_written_out_where_that_is_smaller() -> None:
    torch.manual_seed(0)
    many, few = outer(3, t=40), outer(3, t=2, rows=30, columns=20)
    (written,) = compact((many,))
    assert isinstance(written, DenseGradients)
    assert written.nbytes < many.nbytes
    close(written.dense(), by_loops(many))
    assert compact((few,)) == (few,)
    assert compact((outer(3), scattered(3)))[0].n == 3


@pytest.mark.parametrize("kind", KINDS)
def test_samples_are_put_behind_one_another(kind: str) -> None:
    torch.manual_seed(0)
    x, y = KINDS[kind](4), KINDS[kind](3)
    (joint,) = joined_factors([[x], [y]])
    for found, one, other in zip(joint, x, y, strict=True):
        close(found.dense(), torch.cat([by_loops(one), by_loops(other)]))


def test_what_parameters_share_they_share_when_samples_are_joined() -> None:
    parts = []
    for n in (4, 3):
        weight = outer(n)
        parts.append([(weight,), (OuterGradients(weight.left, torch.ones(n, 1, 1, 1, dtype=torch.float64)),)])
    (weight,), (bias,) = joined_factors(parts)
    assert weight.left is bias.left
    assert joined_factors(parts[:1]) == parts[0]
