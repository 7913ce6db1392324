"""Dropout of units and of channels: every mask has its probability, and the mean and variance follow exactly."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product

import pytest
import torch
from torch import Tensor, nn

from deepscope.training import Dropout, Dropout2d

MASKS = list(product([False, True], repeat=3))
X = torch.tensor([1.5, -2.0, 0.25], dtype=torch.float64)


def units(p: float, n: int) -> Tensor:
    return Dropout(p)(X.expand(n, 3))


def channels(p: float, n: int) -> Tensor:
    """Return one number for each channel, of which all places are dropped or none."""
    y = Dropout2d(p)(X[:, None, None].expand(n, 3, 2, 2))
    assert torch.equal(y, y[:, :, :1, :1].expand_as(y))
    return y[:, :, 0, 0]


@pytest.mark.parametrize("p", [0.2, 0.5])
@pytest.mark.parametrize("draw", [units, channels])
def test_every_mask_has_its_probability_and_the_mean_and_variance_are_exact(
    draw: Callable[[float, int], Tensor], p: float
) -> None:
    """Sums over all 2³ masks of what the layer gives with each."""
    torch.manual_seed(0)
    n = 20_000
    outputs = draw(p, n)
    mean, square = torch.zeros(3, dtype=torch.float64), torch.zeros(3, dtype=torch.float64)
    for mask in MASKS:
        found = outputs[((outputs != 0) == torch.tensor(mask)).all(1)]
        probability = p ** mask.count(False) * (1 - p) ** mask.count(True)
        # Five standard deviations of a share of n draws: 2e-5 of all seeds would fail one of the 32 tested.
        assert abs(len(found) / n - probability) < 5 * (probability * (1 - probability) / n) ** 0.5
        assert torch.equal(found, found[:1].expand_as(found))
        mean += probability * found[0]
        square += probability * found[0].square()
    # Eight terms of order ten.
    torch.testing.assert_close(mean, X, rtol=0, atol=1e-14)
    torch.testing.assert_close(square - mean.square(), X.square() * p / (1 - p), rtol=0, atol=1e-13)


def test_channels_are_not_dropped_place_by_place() -> None:
    torch.manual_seed(0)
    y = Dropout(0.5)(torch.ones(50, 3, 2, 2))
    assert not torch.equal(y, y[:, :, :1, :1].expand_as(y))


def test_of_a_linear_model_the_mean_loss_over_all_masks_is_an_adaptive_ridge() -> None:
    """E ‖y − X̃ w‖² = ‖y − X w‖² + p/(1 − p) Σⱼ wⱼ² ‖xⱼ‖², so that the weights at its minimum are the ridge's."""
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(20, 3, generator=generator, dtype=torch.float64) * torch.tensor([1.0, 3.0, 0.3])
    targets, p = torch.randn(20, generator=generator, dtype=torch.float64), 0.4
    moment, cross = torch.zeros(3, 3, dtype=torch.float64), torch.zeros(3, dtype=torch.float64)
    layer = Dropout(p)
    torch.manual_seed(0)
    seen = {tuple((row != 0).tolist()): row for row in layer(torch.ones(200, 3, dtype=torch.float64))}
    # A row has a mask of its own, so that the means over masks of products of different rows are not needed.
    for mask in MASKS:
        probability = p ** mask.count(False) * (1 - p) ** mask.count(True)
        dropped = inputs * seen[mask]
        moment += probability * dropped.T @ dropped
        cross += probability * dropped.T @ targets
    gram = inputs.T @ inputs
    ridge = torch.linalg.solve(gram + p / (1 - p) * gram.diag().diag(), inputs.T @ targets)
    # Numbers of order 100, a well conditioned system.
    torch.testing.assert_close(torch.linalg.solve(moment, cross), ridge, rtol=0, atol=1e-12)
    plain = torch.linalg.solve(gram, inputs.T @ targets)
    assert (plain - ridge).abs().amax() > 0.1 * ridge.abs().amax()


@pytest.mark.parametrize("layer", [Dropout, Dropout2d])
def test_ends_of_the_range_and_evaluation(layer: type[nn.Dropout]) -> None:
    x = torch.randn(2, 3, 4, 4)
    assert torch.equal(layer(0.0)(x), x)
    assert torch.equal(layer(0.7).eval()(x), x)
    assert not layer(1.0)(x).any()
    for p in (-0.1, 1.1):
        with pytest.raises(ValueError, match=f"dropout probability has to be between 0 and 1, but got {p}"):
            layer(p)
