"""Certified Lipschitz constants: never below what is met, and equal where they can be."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional

from deepscope.instruments import Jacobian, jacobian
from deepscope.instruments._jacobian_constants import lipschitz_constant, matrix_norm
from deepscope.subject import Subject

ACTIVATIONS = [
    nn.ReLU(), nn.Tanh(), nn.GELU(), nn.GELU("tanh"), nn.SiLU(), nn.Mish(), nn.Sigmoid(), nn.ELU(1.5), nn.SELU(),
    nn.CELU(2.0), nn.LeakyReLU(0.2), nn.Softplus(), nn.Hardswish(), nn.Hardsigmoid(), nn.Softsign(), nn.Tanhshrink(),
    nn.Softshrink(), nn.LogSigmoid(), nn.PReLU(), nn.Hardtanh(), nn.ReLU6(), nn.RReLU(),
]  # fmt: skip


def measured(model: nn.Module, x: Tensor) -> Jacobian:
    return jacobian(Subject(model, [(x, None)]), layers=False)


@pytest.mark.parametrize("activation", ACTIVATIONS, ids=str)
def test_slopes_of_activations(activation: nn.Module) -> None:
    x = torch.linspace(-12, 12, 240_001, dtype=torch.float64, requires_grad=True)
    slopes = torch.autograd.grad(activation.double().eval()(x).sum(), x)[0].abs()
    constant = lipschitz_constant(activation, None).value
    # The grid has points 1e-4 apart: near a maximum of the slope nothing is lost beyond 1e-8. Softplus nears 1 slowly.
    assert float(slopes.max()) <= constant * (1 + 1e-9) + 1e-9
    assert float(slopes.max()) >= constant * (1 - 5e-5)


@settings(max_examples=12)
@given(st.lists(st.integers(1, 12), min_size=2, max_size=5), st.integers(0, 200), st.integers(0, len(ACTIVATIONS) - 1))
def test_bound_is_above_everything_met(widths: list[int], seed: int, which: int) -> None:
    torch.manual_seed(seed)
    layers: list[nn.Module] = []
    for a, b in itertools.pairwise(widths):
        layers += [nn.Linear(a, b), ACTIVATIONS[which]]
    model = nn.Sequential(*layers).double().eval()
    x = 3 * torch.randn(6, widths[0], dtype=torch.float64)
    found = measured(model, x)
    assert found.lipschitz_bound is not None
    assert max(found.lipschitz_at_samples, found.lipschitz_nearby or 0.0) <= found.lipschitz_bound * (1 + 1e-9) + 1e-12


def test_linear_layers_alone_meet_their_bound() -> None:
    """Aligned: each layer's leading direction is the next one's, so that nothing is lost in the product."""
    torch.manual_seed(0)
    model = nn.Sequential(*(nn.Linear(6, 6) for _ in range(4))).double()
    with torch.no_grad():
        Q = [torch.linalg.qr(torch.randn(6, 6, dtype=torch.float64)).Q for _ in range(5)]
        for i, layer in enumerate(model):
            layer.weight.copy_(Q[i + 1] @ torch.diag(torch.tensor([3.0, 2, 1, 0.5, 0.3, 0.1]).double()) @ Q[i].T)
    found = measured(model, torch.randn(3, 6, dtype=torch.float64))
    assert found.lipschitz_bound == pytest.approx(81.0, rel=1e-10)
    assert found.lipschitz_at_samples == pytest.approx(81.0, rel=1e-10)
    single = measured(nn.Linear(5, 4).double(), torch.randn(3, 5, dtype=torch.float64))
    assert single.lipschitz_bound == pytest.approx(single.lipschitz_at_samples, rel=1e-12)


LAYERS: list[tuple[Any, tuple[int, ...]]] = [
    (lambda: nn.Conv2d(2, 3, 3, padding="same", padding_mode="reflect"), (2, 6, 6)),
    (lambda: nn.Conv2d(2, 3, 3, padding=1, padding_mode="replicate", stride=2), (2, 6, 6)),
    (lambda: nn.Conv1d(2, 3, 3, padding=1, padding_mode="circular"), (2, 8)),
    (lambda: nn.Conv1d(2, 3, 3, padding=2, padding_mode="circular"), (2, 8)),
    (lambda: nn.ConvTranspose2d(3, 2, 3, stride=2, padding=1, output_padding=1), (3, 5, 5)),
    (lambda: nn.ConvTranspose1d(4, 4, 4, stride=3, groups=2, dilation=2), (4, 6)),
    (lambda: nn.AvgPool2d(3, stride=2, padding=1), (1, 9, 9)), (lambda: nn.AdaptiveAvgPool2d(3), (1, 7, 8)),
    (lambda: nn.MaxPool2d(3, stride=1), (1, 7, 7)), (lambda: nn.MaxPool1d(4, stride=2, dilation=3), (1, 20)),
    (lambda: nn.AdaptiveMaxPool1d(3), (1, 7)), (lambda: nn.BatchNorm1d(4), (4,)), (lambda: nn.LayerNorm(5), (5,)),
    (lambda: nn.RMSNorm(5), (5,)), (lambda: nn.GroupNorm(2, 4), (4, 3)), (lambda: nn.Softmax(1), (6,)),
    (lambda: nn.LogSoftmax(1), (6,)), (lambda: nn.PixelShuffle(2), (4, 3, 3)),
    (lambda: nn.ReflectionPad2d(2), (1, 5, 5)), (lambda: nn.RNN(3, 4, batch_first=True), (6, 3)),
    (lambda: nn.InstanceNorm1d(3), (3, 6)),
]  # fmt: skip


@pytest.mark.parametrize(("make", "shape"), LAYERS, ids=lambda each: "" if callable(each) else str(each))
def test_layers_never_stretch_by_more_than_their_constant(make: Any, shape: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    layer = make().double().eval()
    for parameter in layer.parameters():
        parameter.requires_grad_(False)
    constant = lipschitz_constant(layer, torch.zeros(1, *shape, dtype=torch.float64)).value
    assert constant is not None
    largest = 0.0
    for scale in (1e-3, 1.0, 30.0):
        for _ in range(3):
            x = scale * torch.randn(1, *shape, dtype=torch.float64)
            first = lambda v: layer(v)[0] if isinstance(layer, nn.RNN) else layer(v)  # noqa: E731
            J = torch.autograd.functional.jacobian(first, x).reshape(-1, x.numel())
            largest = max(largest, float(torch.linalg.matrix_norm(J, 2)))
    assert largest <= constant * (1 + 1e-9)
    # No constant here is idle: the largest met is a fair part of it. A normalisation's is met only near constants.
    # A recurrent layer's steps do not all stretch the same direction.
    if not isinstance(layer, (nn.LayerNorm, nn.RMSNorm, nn.GroupNorm, nn.InstanceNorm1d, nn.RNN)):
        assert largest >= constant / 3


def test_matrix_norms_beyond_the_exact_size_stay_above(monkeypatch: pytest.MonkeyPatch) -> None:
    from deepscope.instruments import _jacobian_constants

    torch.manual_seed(0)
    A = torch.randn(60, 90)
    true = float(torch.linalg.matrix_norm(A.double(), 2))
    assert matrix_norm(A) == pytest.approx(true, rel=1e-12)
    monkeypatch.setattr(_jacobian_constants, "_EXACT_SIDE", 10)
    # Rank^(2^−9) of 60: 0.8 %.
    assert true <= matrix_norm(A) <= true * 60 ** (2**-9) * (1 + 1e-12)
    assert matrix_norm(torch.zeros(20, 30)) == 0


class Graph(nn.Module):
    """Branches, sums, constants and functions whose bound is known by hand."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(4, 4, bias=False), nn.Linear(4, 4, bias=False)
        with torch.no_grad():
            self.a.weight.copy_(2 * torch.eye(4))
            self.b.weight.copy_(3 * torch.eye(4))

    def forward(self, x: Tensor) -> Tensor:
        h = x + 0.5 * self.a(x)  # 1 + 1
        h = torch.cat([h, functional.relu(self.b(x))], 1)  # √(4 + 9)
        h = functional.avg_pool1d(h[:, None], 2).squeeze(1)  # /√2
        return (h / 2 - 1).view(-1, 4).mean(1, keepdim=True)  # /2, /√4


def test_graphs_are_followed_by_hand() -> None:
    found = measured(Graph().double(), torch.randn(5, 4, dtype=torch.float64))
    assert found.lipschitz_bound == pytest.approx(math.sqrt(13) / math.sqrt(2) / 2 / 2, rel=1e-9)
    rows = {each.name: each.bound for each in found.layers}
    assert rows == {"a": pytest.approx(2), "b": pytest.approx(3)}


class Lambda(nn.Module):
    def __init__(self, function: Any) -> None:
        super().__init__()
        self.function, self.inner = function, nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.function(self.inner, x)


@pytest.mark.parametrize(
    ("function", "reason"),
    [
        (lambda f, x: f(x) * x, "product of two"),
        (lambda f, x: f(x) if x.sum() > 0 else x, "cannot be followed"),
        (lambda f, x: functional.scaled_dot_product_attention(f(x)[:, None], *[x[:, None]] * 2), "attention"),
        (lambda f, x: (f(x).abs() + 1).sqrt(), "no constant is known for sqrt"),
        (lambda f, x: f(x) / (1 + x.abs()), "product of two"),
        (lambda f, x: (f(x) > 0) * f(x), "jumps"),
    ],
)
def test_what_cannot_be_certified_says_why(function: Any, reason: str) -> None:
    torch.manual_seed(0)
    found = measured(Lambda(function), torch.rand(3, 4))
    assert found.lipschitz_bound is None
    assert reason in found.lipschitz_status


def test_no_bound_through_attention_gates_or_a_forward_of_ones_own() -> None:
    torch.manual_seed(0)
    encoder = nn.TransformerEncoderLayer(4, 2, 8, batch_first=True)
    assert "attention" in measured(encoder, torch.randn(3, 5, 4)).lipschitz_status
    assert "gates" in str(lipschitz_constant(nn.LSTM(2, 2), torch.zeros(3, 1, 2)).reason)
    subject = Subject(nn.Linear(4, 2), [(torch.randn(3, 4), None)], forward=lambda model, x: model(x) ** 3)
    assert "forward=" in jacobian(subject).lipschitz_status

    class Own(nn.Linear):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x) ** 2

    found = measured(nn.Sequential(Own(3, 3), nn.ReLU()), torch.randn(4, 3))
    assert found.layers[0].lipschitz is None
    assert "Own" in found.layers[0].status


def test_repeated_and_tied_inputs_are_counted() -> None:
    """Expanding to m copies stretches by √m; a sum over m numbers by √m."""
    model = Lambda(lambda f, x: (x[:, None].expand(-1, 9, -1) + 0.0).sum(1))
    found = measured(model.double(), torch.randn(3, 4, dtype=torch.float64))
    assert found.lipschitz_bound == pytest.approx(9)
    assert found.lipschitz_at_samples == pytest.approx(9)
    np.testing.assert_allclose(found.singular_values, 9)
