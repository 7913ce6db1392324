"""Mixup: batches on lines between samples, and losses that are linear in their share."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy, mse_loss, one_hot

from deepscope.core import UsageError
from deepscope.training import Checkpoint, CutMix, Mixup, fit
from deepscope.training._mixing import draw_share

N, CLASSES = 6, 3
TARGETS = torch.tensor([0, 1, 2, 0, 1, 2])


def nothing(epoch: int) -> list[object]:
    return []


@pytest.mark.parametrize("alpha", [0.5, 1.0, 4.0])
def test_batches_lie_on_lines_between_samples_and_so_do_their_losses(alpha: float) -> None:
    """Inputs that are unit vectors show the share of each sample and its partner."""
    torch.manual_seed(0)
    mixup, eye = Mixup(nothing, alpha=alpha, classes=CLASSES), torch.eye(N, dtype=torch.float64)
    network = nn.Linear(N, CLASSES).double()
    shares = set()
    for _ in range(20):
        inputs, targets = mixup.mix(eye, TARGETS)
        torch.testing.assert_close(inputs.sum(0), torch.ones(N).double(), rtol=0, atol=1e-15)
        torch.testing.assert_close(inputs.sum(1), torch.ones(N).double(), rtol=0, atol=1e-15)
        own = inputs.diag()
        alone = own > 1 - 1e-12
        share = own[~alone][0].item()
        shares.add(share)
        assert (own[~alone] - share).abs().amax() < 1e-15
        others = inputs - own.diag()
        partners = torch.where(alone, torch.arange(N), others.argmax(1))
        assert sorted(partners.tolist()) == list(range(N))
        expected = share * one_hot(TARGETS, CLASSES).double()
        expected += (1 - share) * one_hot(TARGETS[partners], CLASSES).double()
        torch.testing.assert_close(targets, expected, rtol=0, atol=1e-15)
        logits = network(inputs)
        parts = [cross_entropy(logits, each) for each in (TARGETS, TARGETS[partners])]
        expected_loss = share * parts[0] + (1 - share) * parts[1]
        torch.testing.assert_close(cross_entropy(logits, targets), expected_loss, rtol=1e-12, atol=0)
    assert len(shares) == 20


@pytest.mark.parametrize("alpha", [1e-4, 1e-3, 0.2, 1.0, 8.0])
def test_shares_have_the_beta_distribution(alpha: float) -> None:
    """Mean ½, variance 1/(4 (2α + 1)), fourth central moment 3/(16 (2α + 1)(2α + 3)), and no skewness."""
    torch.manual_seed(0)
    n = 2000
    shares = torch.tensor([draw_share(alpha) for _ in range(n)], dtype=torch.float64) - 0.5
    variance = 1 / (4 * (2 * alpha + 1))
    fourth = 3 / (16 * (2 * alpha + 1) * (2 * alpha + 3))
    assert abs(shares.mean()) < 5 * (variance / n) ** 0.5
    assert abs(shares.square().mean() - variance) < 5 * ((fourth - variance**2) / n) ** 0.5
    # Fourth powers are at most 1/16 of themselves: their variance is at most a 16th of their mean.
    assert abs(shares.pow(4).mean() - fourth) < 5 * (fourth / 16 / n) ** 0.5


def test_targets_that_are_numbers_are_mixed_as_they_are() -> None:
    torch.manual_seed(0)
    x = torch.randn(8, 2, dtype=torch.float64)
    inputs, targets = Mixup(nothing).mix(x, x @ torch.tensor([[2.0], [-1.0]]).double())
    assert not torch.equal(inputs, x)
    # What is linear stays so.
    torch.testing.assert_close(targets, inputs @ torch.tensor([[2.0], [-1.0]]).double(), rtol=0, atol=1e-14)
    assert mse_loss(targets, targets) == 0


@pytest.mark.parametrize("kind", [Mixup, CutMix])
def test_an_interrupted_run_ends_like_one_that_was_not(kind: type[Mixup], tmp_path: Path) -> None:
    x = torch.randn(N, 1, 4, 4, generator=torch.Generator().manual_seed(0))

    def run(epochs: list[int], path: Path | None) -> tuple[list[float], torch.Tensor]:
        history = None
        for until in epochs:
            torch.manual_seed(0)
            model = nn.Sequential(nn.Flatten(), nn.Dropout(0.5), nn.Linear(16, CLASSES))
            history = fit(
                model,
                kind(lambda epoch: [(x, TARGETS)] * 2, alpha=0.5, classes=CLASSES),
                cross_entropy,
                optimizer=torch.optim.SGD(model.parameters(), lr=0.1),
                epochs=until,
                checkpoint=None if path is None else Checkpoint(path),
                seed=3,
            )
        assert history is not None
        return history.loss, model[2].weight.detach()

    losses, weight = run([4], None)
    resumed, same_weight = run([1, 3, 4], tmp_path / "run.pt")
    assert losses == resumed
    assert torch.equal(weight, same_weight)
    assert len(set(losses)) == 8


def test_every_batch_of_an_epoch_is_mixed() -> None:
    torch.manual_seed(0)
    asked = []

    def data(epoch: int) -> list[tuple[torch.Tensor, torch.Tensor]]:
        asked.append(epoch)
        return [(torch.eye(N), TARGETS), (torch.eye(N)[:1], TARGETS[:1])]

    batches = list(Mixup(data, classes=CLASSES)(7))
    assert asked == [7]
    assert [len(inputs) for inputs, _ in batches] == [N, 1]
    assert torch.equal(batches[1][0], torch.eye(N)[:1])


def test_bad_input_is_named() -> None:
    for alpha in (0.0, -1.0, float("inf"), float("nan")):
        with pytest.raises(UsageError, match="alpha is"):
            Mixup(nothing, alpha=alpha)
    with pytest.raises(UsageError, match="classes is 0"):
        Mixup(nothing, classes=0)
    x = torch.zeros(3, 2)
    with pytest.raises(UsageError, match="classes is None"):
        Mixup(nothing).mix(x, torch.arange(3))
    with pytest.raises(UsageError, match="targets run from 0 to 2, and classes is 2"):
        Mixup(nothing, classes=2).mix(x, torch.arange(3))
    with pytest.raises(UsageError, match=r"targets are \[3, 2\] of int64"):
        Mixup(nothing, classes=2).mix(x, torch.zeros(3, 2, dtype=torch.int64))
    with pytest.raises(UsageError, match="Give a target for each sample"):
        Mixup(nothing, classes=2).mix(x, torch.arange(2))
    with pytest.raises(UsageError, match=r"\[3\] of int64"):
        Mixup(nothing, classes=3).mix(torch.arange(3), torch.arange(3))
    with pytest.raises(UsageError, match="inputs and targets are tuple and Tensor"):
        Mixup(nothing, classes=3).mix((x, x), torch.arange(3))
