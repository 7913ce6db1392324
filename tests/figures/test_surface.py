"""Contours and surfaces."""

from __future__ import annotations

import numpy as np
import pytest

from deepscope.figures import contours, new, surface, to_svg
from deepscope.figures._surface import _is_wide, _levels

X, Y = np.linspace(-1, 1, 9), np.linspace(0, 3, 7)


def drawn(z: np.ndarray) -> str:
    figure, (left, right) = new(6.0, 3.0, cols=2)
    right.remove()
    contours(left, X, Y, z)
    surface(figure, (1, 2, 2), X, Y, z, "loss $x$")
    return to_svg(figure)


@pytest.mark.parametrize("scale", [1.0, 1e6], ids=["linear", "logarithmic"])
def test_it_is_drawn_with_its_heights(scale: float) -> None:
    z = 1.0 + scale * (X[None, :] ** 2 + Y[:, None] ** 2)
    svg = drawn(z)
    assert ("log₁₀ loss $x$" in svg) == (scale > 1)
    assert svg == drawn(z)


def test_holes_flat_surfaces_and_nothing_at_all_are_drawn() -> None:
    z = X[None, :] ** 2 + Y[:, None]
    z[2, 3] = np.nan
    z[0, 0] = np.inf
    assert drawn(z).startswith("<svg")
    assert "2 everywhere" in drawn(np.full((7, 9), 2.0))
    assert "no finite height" in drawn(np.full((7, 9), np.nan))


def test_levels_span_the_heights_and_grow() -> None:
    for heights in (np.array([1.0, 2.0]), np.array([1e-3, 1e3]), np.array([-5.0, 3.0]), np.array([0.0, 1e4])):
        levels = _levels(heights)
        assert (np.diff(levels) > 0).all()
        assert levels[0] >= heights[0] * (1 - 1e-12) if heights[0] >= 0 else levels[0] > heights[0]
        assert levels[-1] == pytest.approx(heights[-1])
    assert _is_wide(np.array([1e-3, 1e3]))
    # What is not positive has no logarithm.
    assert not _is_wide(np.array([0.0, 1e4]))
