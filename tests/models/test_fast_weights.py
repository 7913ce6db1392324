from __future__ import annotations

import pytest
import torch
from recurrences import (
    learns_16_sequences,
    numbers,
    reads_step_by_step,
    refuses_what_does_not_fit,
    scans_in_sight,
    sees_no_later_step,
)
from torch import Tensor, nn

from deepscope.core import UsageError
from deepscope.models import FastWeights


def linear_attention(memory: FastWeights, x: Tensor) -> Tensor:
    """Twin: Σₛ≤ₜ vₛ (kₛ·qₜ), each term by itself."""
    keys, values, queries = x @ memory.key.weight.T, x @ memory.value.weight.T, x @ memory.query.weight.T
    outputs = torch.zeros_like(values)
    for t in range(x.shape[1]):
        for s in range(t + 1):
            outputs[:, t] += values[:, s] * (keys[:, s] * queries[:, t]).sum(-1, keepdim=True)
    return outputs


def recalled(keys: Tensor, given: Tensor) -> Tensor:
    """What a memory with identity maps says of each key once all are stored."""
    d = keys.shape[1]
    memory = FastWeights(d + given.shape[1], d, given.shape[1]).double()
    with torch.no_grad():
        memory.key.weight.copy_(torch.eye(*memory.key.weight.shape))
        memory.query.weight.copy_(torch.eye(*memory.query.weight.shape))
        memory.value.weight.copy_(torch.eye(memory.value_size + d)[d:])
        _, fast = memory.scan(torch.cat([keys, given], -1)[None])
        # A query that comes with a value of 0 writes nothing.
        questions = torch.cat([keys, torch.zeros_like(given)], -1)
        return torch.cat([memory.step(question[None], fast)[0] for question in questions])


@pytest.mark.demonstrates("fast-weights")
def test_it_is_linear_attention_and_holds_as_many_keys_as_dimensions() -> None:
    torch.manual_seed(0)
    memory = FastWeights(3, 8, 5)
    x = numbers(2, 150, 3).float()
    expected = linear_attention(memory, x)
    # The row's tolerance, of the largest output: in float32 the sums of up to 150 terms round to some 1e-7 of it.
    assert (memory(x) - expected).abs().max() <= 1e-6 * expected.abs().max()

    d = 32
    orthonormal = torch.linalg.qr(numbers(d, d)).Q
    given = numbers(d, 4, seed=1)
    # d orthonormal keys are recalled exactly, but for rounding of sums of 32 terms.
    torch.testing.assert_close(recalled(orthonormal, given), given, rtol=0, atol=1e-13)

    # One more has no room. The error for values G is (K Kᵀ − 1) G, and ‖K Kᵀ − 1‖² ≥ (n − d)² / d + … > 0 for n > d
    # keys of length 1, as K Kᵀ has n − d eigenvalues 0 and the others sum to n.
    for n in (d + 1, 2 * d):
        keys = torch.nn.functional.normalize(numbers(n, d, seed=2), dim=1)
        keys[:d] = orthonormal
        wrong = recalled(keys, torch.eye(n, dtype=torch.float64)) - torch.eye(n, dtype=torch.float64)
        least = (n - d) + d * (n / d - 1) ** 2
        assert wrong.square().sum() >= least * (1 - 1e-12)

    # Random keys of length 1: each of the n − 1 others adds 1/d of its value's square, so that the error is as large
    # as what is recalled at n = d + 1.
    keys = torch.nn.functional.normalize(numbers(40, d + 1, d, seed=3), dim=-1)
    given = numbers(40, d + 1, 4, seed=4)
    pairs = zip(keys, given, strict=True)
    noise = torch.stack([(recalled(k, v) - v).square().mean() / v.square().mean() for k, v in pairs])
    # 40 draws whose spread is about 0.2: five standard errors are 0.16.
    assert abs(float(noise.mean()) - 1) < 0.16


def test_it_reads_step_by_step() -> None:
    memory = FastWeights(3, 8, 5)
    reads_step_by_step(memory)
    scans_in_sight(memory)
    assert sees_no_later_step(memory)
    refuses_what_does_not_fit(memory, at_once=True)


@pytest.mark.parametrize("steps", [63, 64, 65, 200])
def test_chunks_meet_without_a_seam(steps: int) -> None:
    torch.manual_seed(0)
    memory = FastWeights(3, 8, 5).double()
    x = numbers(2, steps, 3)
    outputs, fast = memory.scan(x, numbers(2, 5, 8, seed=1))
    state = numbers(2, 5, 8, seed=1)
    for t in range(steps):
        output, state = memory.step(x[:, t], state)
        torch.testing.assert_close(outputs[:, t], output, rtol=0, atol=1e-12)
    torch.testing.assert_close(fast, state, rtol=0, atol=1e-12)


def test_parameters_follow_the_formula_and_it_learns_16_sequences() -> None:
    torch.manual_seed(0)
    assert sum(each.numel() for each in FastWeights(3, 8, 5).parameters()) == 3 * (2 * 8 + 5)
    # Of the inputs themselves the memory is a polynomial of six terms.
    learns_16_sequences(nn.Sequential(nn.Linear(2, 16), nn.Tanh(), FastWeights(16, 16, 24)), 24)


def test_wrong_arguments_are_named() -> None:
    with pytest.raises(UsageError, match="key_size is 0"):
        FastWeights(2, 0, 2)
    with pytest.raises(UsageError, match="value_size is 0"):
        FastWeights(2, 2, 0)
