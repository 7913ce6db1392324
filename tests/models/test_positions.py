"""Positions: what each makes of a shift in time."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from deepscope.core import UsageError
from deepscope.models import (
    ContextualPositions,
    LearnedPositions,
    LinearBiases,
    RotaryPositions,
    SinusoidalPositions,
)


def drawn(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_sinusoidal_positions_are_the_published_ones_and_a_shift_turns_them():
    width, length, shift = 6, 40, 7
    table = SinusoidalPositions(width)(torch.zeros(1, length, width, dtype=torch.float64))[0]
    for t in (0, 1, 39):
        for i in range(width // 2):
            angle = t / 10_000 ** (2 * i / width)
            assert table[t, 2 * i].item() == pytest.approx(math.sin(angle), abs=1e-14)
            assert table[t, 2 * i + 1].item() == pytest.approx(math.cos(angle), abs=1e-14)
    # One linear map takes p_t to p_{t+7} for every t: it is found from ten times and holds at the others.
    found = torch.linalg.lstsq(table[:10], table[shift : 10 + shift]).solution
    torch.testing.assert_close(table[10:-shift] @ found, table[10 + shift :], rtol=0, atol=1e-9)
    gram = table @ table.T
    torch.testing.assert_close(gram[1:, 1:], gram[:-1, :-1], rtol=0, atol=1e-13)


def test_sinusoidal_and_learned_positions_begin_where_they_are_told():
    x = drawn(2, 9, 4)
    for positions in (SinusoidalPositions(4), LearnedPositions(9, 4).double()):
        whole = positions(x)
        torch.testing.assert_close(positions(x[:, 3:], 3), whole[:, 3:], rtol=0, atol=1e-15)
        assert not torch.allclose(positions(x[:, 3:]), whole[:, 3:])


def scores(positions, queries, keys):
    return positions(queries) @ positions(keys).mT


def test_rotary_scores_depend_on_the_distance_alone():
    # One query and one key at all times: the matrix of scores must be constant along its diagonals.
    queries, keys = drawn(8).expand(30, 8), drawn(8, seed=1).expand(30, 8)
    turned = scores(RotaryPositions(8), queries, keys)
    torch.testing.assert_close(turned[1:, 1:], turned[:-1, :-1], rtol=0, atol=1e-12)
    # Not so for positions that are added; and they do tell distances apart.
    added = scores(SinusoidalPositions(8), queries[None], keys[None])[0]
    assert (added[1:, 1:] - added[:-1, :-1]).abs().max() > 0.1
    assert turned[0].std() > 0.1
    assert torch.equal(RotaryPositions(8)(queries)[5:], RotaryPositions(8)(queries[5:], 5))


def test_rotary_positions_turn_each_plane_as_a_complex_number():
    """Twin: x_{2i} + i x_{2i+1} times exp(i t ω)."""
    x = drawn(2, 3, 11, 6)
    turn = torch.tensor([[t * 100.0 ** (-2 * i / 6) for i in range(3)] for t in range(11)], dtype=torch.float64)
    expected = torch.view_as_real(torch.view_as_complex(x.unflatten(-1, (3, 2))) * torch.exp(1j * turn)).flatten(-2)
    torch.testing.assert_close(RotaryPositions(6, base=100.0)(x), expected, rtol=0, atol=1e-14)
    norms = RotaryPositions(6)(x).norm(dim=-1)
    torch.testing.assert_close(norms, x.norm(dim=-1), rtol=1e-14, atol=0)


def test_far_rotary_positions_are_exact_in_float32():
    x = torch.ones(1, 2)
    exact = RotaryPositions(2)(x.double(), 100_003)
    # Rounding of the result, and of cosine and sine: 3 units of 2⁻²⁴.
    torch.testing.assert_close(RotaryPositions(2)(x, 100_003), exact.float(), rtol=0, atol=2e-7)


def test_linear_biases_have_the_published_slopes():
    assert LinearBiases(8).slopes == [2.0**-h for h in range(1, 9)]
    # The authors' code for 12 heads: those of 8, then every other one of 16.
    assert LinearBiases(12).slopes == [2.0**-h for h in range(1, 9)] + [2.0 ** -(h + 0.5) for h in range(4)]
    (biases,) = LinearBiases(2)(torch.zeros(1, 2, 3, 4), torch.zeros(1, 2, 5, 4))
    for h, slope in enumerate((1 / 16, 1 / 256)):
        for i in range(3):
            assert biases[h, i].tolist() == [-slope * abs(i + 2 - j) for j in range(5)]


def naive_contextual(queries, keys, table):
    """Twin: the sum of gates and the interpolation, for one head, one number at a time."""
    length, width = queries.shape
    result = torch.zeros(length, length, dtype=queries.dtype)
    for t in range(length):
        for s in range(t + 1):
            place = sum(torch.sigmoid(queries[t] @ keys[r] / math.sqrt(width)).item() for r in range(s, t + 1))
            place = min(place, len(table) - 1)
            low = math.floor(place)
            share = place - low
            row = (1 - share) * table[low] + (share * table[low + 1] if share else 0.0)
            result[t, s] = queries[t] @ row
    return result


def test_contextual_positions_count_gates():
    queries, keys = drawn(2, 3, 12, 4), drawn(2, 3, 12, 4, seed=1)
    positions = ContextualPositions(4, 5).double()
    nn.init.normal_(positions.embedding)
    found = positions(queries, keys)
    for b in range(2):
        for h in range(3):
            expected = naive_contextual(queries[b, h], keys[b, h], positions.embedding.detach())
            torch.testing.assert_close(found[b, h].tril(), expected, rtol=0, atol=1e-12)


def test_with_open_gates_contextual_positions_are_relative_ones():
    queries = torch.full((1, 1, 10, 1), 40.0, dtype=torch.float64)
    positions = ContextualPositions(1, 16).double()
    nn.init.normal_(positions.embedding)
    found = positions(queries, queries)[0, 0]
    for t in range(10):
        for s in range(t + 1):
            # The gate σ(1600) is 1 to the last digit.
            assert found[t, s].item() == pytest.approx(40.0 * positions.embedding[t - s + 1].item(), rel=1e-12)


def test_contextual_positions_let_no_nan_vanish():
    queries = drawn(1, 1, 4, 2)
    queries[0, 0, 2] = math.nan
    found = ContextualPositions(2, 3).double()(queries, drawn(1, 1, 4, 2))
    assert found[0, 0, 2].isnan().all()
    assert found[0, 0, [0, 1, 3]].isfinite().all()


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (lambda: SinusoidalPositions(5), "width is 5"),
        (lambda: RotaryPositions(3), "head_size is 3"),
        (lambda: LearnedPositions(0, 4), "longest is 0"),
        (lambda: LinearBiases(0), "heads is 0"),
        (lambda: ContextualPositions(4, 0), "count is 0"),
        (lambda: LearnedPositions(3, 4)(torch.zeros(1, 2, 4), 2), "has 4 steps"),
        # Those of one column or one plane would be spread over all without a word.
        (lambda: LearnedPositions(3, 1)(torch.zeros(1, 2, 4)), r"\[1, 2, 4\].*\n.*\[batch, time, 1\]"),
        (lambda: SinusoidalPositions(2)(torch.zeros(1, 2, 1)), r"\[1, 2, 1\].*\n.*\[batch, time, 2\]"),
        (lambda: RotaryPositions(2)(torch.zeros(1, 2, 4)), r"\[1, 2, 4\].*\n.*\[..., time, 2\]"),
        (lambda: LinearBiases(1)(torch.zeros(1, 2, 3, 4), torch.zeros(1, 2, 3, 4)), "one slope for each head"),
        (lambda: ContextualPositions(1, 3)(torch.zeros(1, 2, 3, 4), torch.zeros(1, 2, 3, 4)), r"\[..., time, 1\]"),
    ],
)
def test_bad_input_is_refused(make, match):
    with pytest.raises(UsageError, match=match):
        make()
