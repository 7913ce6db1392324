"""Binary vectors: all of them once, bars and stripes by definition, and refusals."""

from __future__ import annotations

import itertools

import pytest
import torch

from deepscope.core import UsageError
from deepscope.models import RBM, Hopfield, all_bits, bars_and_stripes


def test_all_bits_are_counted_with_the_first_bit_ahead():
    assert all_bits(4).tolist() == [list(each) for each in itertools.product((0.0, 1.0), repeat=4)]
    assert all_bits(0).shape == (1, 0)
    assert all_bits(3, torch.zeros(1, dtype=torch.float64)).dtype == torch.float64


@pytest.mark.parametrize(("height", "width"), [(1, 1), (1, 3), (2, 3), (3, 3), (4, 4)])
def test_bars_and_stripes_are_the_pictures_of_equal_rows_or_equal_columns(height, width):
    found = {tuple(each) for each in bars_and_stripes(height, width).int().tolist()}
    expected = set()
    for pixels in itertools.product((0, 1), repeat=height * width):
        rows = [pixels[row * width : (row + 1) * width] for row in range(height)]
        if all(len(set(row)) == 1 for row in rows) or all(row == rows[0] for row in rows):
            expected.add(pixels)
    assert found == expected
    assert len(found) == len(bars_and_stripes(height, width))
    if min(height, width) > 1:
        assert len(found) == 2**height + 2**width - 2
    assert bars_and_stripes(2, 2, dtype=torch.float64).dtype == torch.float64


@pytest.mark.parametrize(
    ("call", "match"),
    [
        (lambda: all_bits(23), "23 units"),
        (lambda: all_bits(-1), "-1 units"),
        (lambda: bars_and_stripes(0, 3), "height is 0"),
        (lambda: bars_and_stripes(3, 40), "width is 40"),
        (lambda: bars_and_stripes(3, 2.0), "width is 2.0"),
        (lambda: RBM(3, 2).log_likelihood(torch.zeros(0, 3)), r"v is \[0, 3\]"),
        (lambda: RBM(3, 2).log_likelihood(torch.zeros(3)), r"v is \[3\]"),
        (lambda: RBM(3, 2).log_likelihood(torch.zeros(1, 3).double()), "float64"),
        (lambda: RBM(3, 2).log_likelihood(torch.full((1, 3), 0.5)), "other numbers than 0 and 1"),
        (lambda: RBM(3, 2).log_likelihood(torch.full((1, 3), torch.nan)), "other numbers than 0 and 1"),
        (lambda: Hopfield(3).store_hebb(torch.zeros(1, 3)), "patterns has other numbers than -1 and 1"),
    ],
)
def test_bad_input_is_refused(call, match):
    with pytest.raises(UsageError, match=match):
        call()
