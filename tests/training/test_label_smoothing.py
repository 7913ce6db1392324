"""Label smoothing: cross-entropy against smoothed targets, and where its minimum is."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, one_hot

from deepscope.core import UsageError
from deepscope.training import fit, label_smoothing

LOGITS = torch.randn(6, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
TARGETS = torch.tensor([0, 1, 2, 3, 4, 2])


def smoothed(epsilon: float, classes: int = 5) -> Tensor:
    return (1 - epsilon) * one_hot(TARGETS, classes).double() + epsilon / classes


@pytest.mark.parametrize("epsilon", [0.0, 0.1, 0.6])
def test_it_is_the_cross_entropy_against_smoothed_targets(epsilon: float) -> None:
    loss = label_smoothing(epsilon)
    expected = -(smoothed(epsilon) * LOGITS.log_softmax(1)).sum(1).mean()
    torch.testing.assert_close(loss(LOGITS, TARGETS), expected, rtol=1e-14, atol=0)
    # Probabilities as targets, as Mixup and CutMix make them.
    torch.testing.assert_close(loss(LOGITS, one_hot(TARGETS, 5).double()), expected, rtol=1e-14, atol=0)
    mixed = (1 - epsilon) * cross_entropy(LOGITS, TARGETS) - epsilon * LOGITS.log_softmax(1).mean()
    torch.testing.assert_close(expected, mixed, rtol=1e-14, atol=0)


@pytest.mark.parametrize(("epsilon", "classes"), [(0.1, 5), (0.3, 2), (0.01, 100)])
def test_at_the_minimum_the_logits_have_the_closed_form(epsilon: float, classes: int) -> None:
    """The loss is convex: its minimum is where its gradient is 0, up to a constant added to all logits."""
    gap = math.log((1 - epsilon + epsilon / classes) / (epsilon / classes))
    logits = torch.zeros(1, classes, dtype=torch.float64)
    logits[0, 1] = gap
    logits.requires_grad_()
    loss, target = label_smoothing(epsilon), torch.tensor([1])
    value = loss(logits, target)
    (gradient,) = torch.autograd.grad(value, logits)
    assert gradient.abs().amax() < 1e-15
    # There the loss is the entropy of the smoothed target, and more beside it on both sides.
    share = epsilon / classes
    entropy = -(1 - epsilon + share) * math.log(1 - epsilon + share) - (classes - 1) * share * math.log(share)
    assert value.item() == pytest.approx(entropy, rel=1e-13)
    for change in (-0.01, 0.01):
        moved = logits.detach() + change * one_hot(target, classes)
        assert loss(moved, target) > value
    (plain,) = torch.autograd.grad(cross_entropy(logits, target), logits)
    assert plain.abs().amax() > share / 2


def test_training_comes_to_it() -> None:
    """Without smoothing the logits grow on: log t after t steps of rate 1, and 4.6 only after about a hundred."""
    torch.manual_seed(0)
    model = nn.Linear(5, 5, bias=False)
    x, y = torch.eye(5), torch.arange(5)
    optimizer = torch.optim.SGD(model.parameters(), lr=10.0)
    fit(model, lambda epoch: [(x, y)], label_smoothing(0.05), optimizer=optimizer, epochs=250)
    logits = model(x).detach()
    gaps = logits.diag()[:, None] - logits
    others = gaps[~torch.eye(5, dtype=torch.bool)]
    # The rate times the least curvature is about 0.02: exp(−10) of the way is left.
    assert (others - math.log((1 - 0.05 + 0.01) / 0.01)).abs().amax() < 1e-3


def test_bad_input_is_named() -> None:
    for epsilon in (-0.1, 1.0, 1.5, float("nan")):
        with pytest.raises(UsageError, match="epsilon is"):
            label_smoothing(epsilon)
