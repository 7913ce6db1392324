"""Norms of convolutions against the matrix that they are."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.autograd.functional import jacobian

from deepscope.core import UsageError
from deepscope.linalg import _convolution_norm, convolution_norm


def dense_norm(layer: nn.Module, *shape: int) -> float:
    x = torch.zeros(1, *shape, dtype=torch.float64)
    matrix = jacobian(layer, x).reshape(layer(x).numel(), x.numel())
    return float(torch.linalg.matrix_norm(matrix, 2))


def layer_of(dims: int, **kwargs: Any) -> Any:
    kind = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}[dims]
    return kind(4, 6, 3, bias=False, **kwargs).double()


CASES = [
    (1, {}), (1, {"stride": 2, "padding": 1}), (1, {"dilation": 2, "padding": 2}), (2, {}), (2, {"padding": 1}),
    (2, {"stride": 2}), (2, {"stride": (1, 3), "padding": 2, "dilation": (2, 1)}), (2, {"groups": 2, "padding": 1}),
    (3, {"padding": 1}),
]  # fmt: skip


@pytest.mark.parametrize(("dims", "kwargs"), CASES)
def test_is_never_below_the_dense_norm_and_close_above(dims: int, kwargs: dict[str, Any]) -> None:
    torch.manual_seed(0)
    layer = layer_of(dims, **kwargs)
    side = {1: 24, 2: 9, 3: 4}[dims]
    true = dense_norm(layer, 4, *[side] * dims)
    grid = [side + 2 * p for p in layer.padding]
    bound, margin = convolution_norm(
        layer.weight, grid, stride=layer.stride, dilation=layer.dilation, groups=layer.groups
    )
    assert margin == 1
    assert bound >= true * (1 - 1e-12)
    # What the edges cut off: at these sizes a fifth, at 3-D's four points more.
    assert bound <= true * (1.25 if dims < 3 else 1.6)


@pytest.mark.parametrize("stride", [1, 2])
def test_periodic_padding_is_exact(stride: int) -> None:
    torch.manual_seed(0)
    layer = layer_of(2, padding=1, padding_mode="circular", stride=stride)
    bound, margin = convolution_norm(layer.weight, [8, 8], stride=stride, circular=True)
    # Exactly block-diagonal: rounding of some thousand products.
    assert bound == pytest.approx(dense_norm(layer, 4, 8, 8), rel=1e-12)
    assert margin == 1


def test_a_coarse_grid_stays_above_within_its_margin(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    kernels = [torch.randn(3, 2, 5, 5, dtype=torch.float64) for _ in range(5)]
    fine = [convolution_norm(kernel, [60, 60])[0] for kernel in kernels]
    monkeypatch.setattr(_convolution_norm, "_WORK", 1.0)
    for kernel, true in zip(kernels, fine, strict=True):
        bound, margin = convolution_norm(kernel, [60, 60])
        assert 1 < margin < 1.09
        # The true supremum lies between those of the fine grid and its margin, which is cos(4π/64)^−1 < 1.02.
        assert true <= bound <= true * margin * 1.02


@settings(max_examples=30)
@given(
    st.integers(1, 5), st.integers(1, 3), st.integers(1, 2), st.integers(0, 2), st.integers(6, 11), st.integers(0, 99)
)
def test_bound_holds_for_any_convolution(
    taps: int, stride: int, dilation: int, padding: int, side: int, seed: int
) -> None:
    torch.manual_seed(seed)
    if (taps - 1) * dilation + 1 > side + 2 * padding:
        return
    layer = nn.Conv1d(2, 3, taps, stride, padding, dilation, bias=False).double()
    bound, _ = convolution_norm(layer.weight, [side + 2 * padding], stride=stride, dilation=dilation)
    assert bound >= dense_norm(layer, 2, side) * (1 - 1e-12)


def test_one_tap_is_its_matrix() -> None:
    kernel: Tensor = torch.randn(5, 3, 1, 1, dtype=torch.float64)
    expected = float(torch.linalg.matrix_norm(kernel[:, :, 0, 0], 2))
    assert convolution_norm(kernel, [7, 7])[0] == pytest.approx(expected, rel=1e-12)


def test_dimensions_that_do_not_agree_are_a_clear_error() -> None:
    with pytest.raises(UsageError, match="2 dimensions"):
        convolution_norm(torch.zeros(1, 1, 3, 3), [5])
