from __future__ import annotations

import math

import pytest
import torch

from deepscope.data import IGNORED, count_tokens, token_loss


def naive(logits: torch.Tensor, targets: torch.Tensor) -> tuple[float, int]:
    terms = []
    for row in range(targets.shape[0]):
        for step in range(targets.shape[1]):
            if (target := int(targets[row, step])) != IGNORED:
                scores = logits[row, step].tolist()
                terms.append(math.log(sum(map(math.exp, scores))) - scores[target])
    return sum(terms) / len(terms), len(terms)


def test_the_loss_is_the_mean_over_the_targets_that_count():
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(4, 6, 9, generator=generator, dtype=torch.float64)
    targets = torch.randint(9, (4, 6), generator=generator)
    targets[0, 3:], targets[2, 1:] = IGNORED, IGNORED
    mean, count = naive(logits, targets)
    # 16 terms of order 1 in float64: rounding stays below 16 × 2.2e-16 × a few.
    assert token_loss(logits, targets).item() == pytest.approx(mean, abs=1e-13)
    assert count_tokens(targets) == count == 24 - 3 - 5


def test_uneven_batches_weigh_right_by_their_count():
    logits = torch.randn(3, 5, 4, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    targets = torch.tensor([[1, 2, 3, 0, 1], [2, *[IGNORED] * 4], [0, 1, *[IGNORED] * 3]])
    parts = [(token_loss(logits[i : i + 1], targets[i : i + 1]), count_tokens(targets[i : i + 1])) for i in range(3)]
    weighed = sum(loss * count for loss, count in parts) / sum(count for _, count in parts)
    assert token_loss(logits, targets).item() == pytest.approx(weighed.item(), abs=1e-13)
