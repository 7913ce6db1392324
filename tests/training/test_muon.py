from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from deepscope.core import UsageError
from deepscope.training import muon


def test_it_follows_the_recursion_on_a_scripted_sequence() -> None:
    # NS is in bfloat16, in which its fixed point 1 is exact: with gradients of a single entry and the coefficients of
    # fixed point 1, NS is the sign, and all else of the recursion is left to be compared in float64.
    for nesterov in (True, False):
        weight = nn.Parameter(torch.ones(6, 2, dtype=torch.float64))
        optimizer = muon(
            [weight], lr=0.1, momentum=0.8, nesterov=nesterov, weight_decay=0.3, coefficients=(1.5, -0.5, 0.0)
        )
        w, m = 1.0, 0.0
        # The second turns the sign with Nesterov's momentum of 0.8, the third that of the average itself; for 0.95
        # neither does.
        for t, g in enumerate((1.0, -0.4, -0.4, -4.0, 0.3, -0.2, 7.0, -9.0), start=1):
            weight.grad = torch.zeros_like(weight)
            weight.grad[3, 1] = g
            optimizer.step()
            m = 0.8 * m + 0.2 * g
            u = 0.8 * m + 0.2 * g if nesterov else m
            w = (1 - 0.1 * 0.3) * w - 0.1 * math.sqrt(6 / 2) * math.copysign(1, u)
            assert weight[3, 1].item() == pytest.approx(w, abs=1e-10)
            assert weight[0, 0].item() == pytest.approx(0.97**t, abs=1e-10)


@pytest.mark.parametrize("shape", [(8, 20), (20, 8), (12, 12)])
def test_singular_values_come_together_and_singular_vectors_stay(shape: tuple[int, int]) -> None:
    gradient = torch.randn(*shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    weight = nn.Parameter(torch.zeros_like(gradient))
    optimizer = muon([weight], lr=1.0, momentum=0.0)
    weight.grad = gradient
    optimizer.step()
    update = -weight.detach() / math.sqrt(max(1, shape[0] / shape[1]))

    u, s, vh = torch.linalg.svd(gradient, full_matrices=False)
    s = s / s.norm()
    for _ in range(5):
        s = 3.4445 * s - 4.7750 * s**3 + 2.0315 * s**5
    inside = u.T @ update @ vh.T
    # bfloat16 has 8 bits: each of 5 rounds errs by some 2⁻⁹ of its terms, which are up to 5 times the result.
    assert (inside.diagonal() - s).abs().max() < 0.05
    assert (inside - inside.diag().diag()).abs().max() < 0.05
    assert 0.6 < s.min() < s.max() < 1.2
    # The plain gradient fails: its singular values differ by more.
    plain = torch.linalg.svdvals(gradient)
    assert plain.max() / plain.min() > 2


def test_on_a_quadratic_every_direction_goes_alike() -> None:
    # From W = diag(1, 1), curvatures 100 and 1: sign descent of both singular values, where plain descent goes 100:1.
    weight = nn.Parameter(torch.eye(2, dtype=torch.float64))
    optimizer = muon([weight], lr=0.1, momentum=0.0, coefficients=(1.5, -0.5, 0.0), iterations=40)
    for step in range(1, 6):
        weight.grad = torch.diag(torch.tensor([100.0, 1.0], dtype=torch.float64)) @ weight.detach()
        optimizer.step()
        # A singular value near 1 has bfloat16's rounding of 2⁻⁸.
        assert weight.diagonal().tolist() == pytest.approx([1 - 0.1 * step] * 2, abs=step * 0.1 * 2**-7)


def test_only_matrices_are_taken() -> None:
    with pytest.raises(UsageError, match=r"shape \[3\] is no matrix"):
        muon(nn.Linear(2, 3).parameters())
    weight = nn.Parameter(torch.zeros(2, 2))
    for name, value in {"momentum": 1.0, "coefficients": (1.0, 2.0), "iterations": 100, "weight_decay": -1.0}.items():
        with pytest.raises(UsageError, match=name):
            muon([weight], **{name: value})


def test_an_old_torch_is_named(monkeypatch) -> None:
    monkeypatch.delattr(torch.optim, "Muon")
    with pytest.raises(UsageError, match=r"torch 2\.9"):
        muon([nn.Parameter(torch.zeros(2, 2))])
