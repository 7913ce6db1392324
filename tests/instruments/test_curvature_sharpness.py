"""Sharpness by its definitions, rescaling, and what is said of them."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from curvature_networks import F64, classifier, cnn, mean_loss, mlp, noise, prepared, theta
from torch import Tensor, nn
from torch.nn import functional

from deepscope import Subject
from deepscope.instruments import curvature
from deepscope.instruments._curvature_loss import MeanLoss
from deepscope.instruments._curvature_multiaffine import why_not_multiaffine
from deepscope.instruments._curvature_pieces import gather


def quadratic(*curvatures: float, at: tuple[float, ...]) -> Subject:
    """Return L(θ) = Σ hᵢθᵢ² as a regression: the square of √(n·hᵢ)·θᵢ, one sample for each parameter."""
    n = len(curvatures)
    model = nn.Linear(n, 1, bias=False).double()
    with torch.no_grad():
        model.weight.copy_(torch.tensor([at], dtype=F64))
    x = torch.diag(torch.tensor(curvatures, dtype=F64).mul(n).sqrt())
    return Subject(model, [(x, torch.zeros(n, 1, dtype=F64))], functional.mse_loss)


def test_sharpness_of_a_parabola_is_known() -> None:
    # L = 3θ² at θ = 0.2: the farthest point is θ + ρ, θ(1 + 0.5) or θ + 1e-3·(θ + 1).
    found = curvature(quadratic(3.0, at=(0.2,))).sharpness
    rise = {ahead: 3 * ((0.2 + ahead) ** 2 - 0.04) for ahead in (0.05, 0.1, 1e-3 * 1.2)}
    assert found.sam == pytest.approx(rise[0.05], rel=1e-12)
    assert found.adaptive == pytest.approx(rise[0.1], rel=1e-12)
    assert found.keskar == pytest.approx(100 * rise[1e-3 * 1.2] / (1 + 0.12), rel=1e-9)


def test_sharpness_climbs_to_the_top_of_the_ball() -> None:
    # Near the minimum of 0.5θ₁² + 4θ₂² the gradient points along θ₁, the ball's highest point lies along θ₂. Every step
    # of the ascent turns by the ratio of the curvatures, 8: after five the rest is 8⁻⁴ of it.
    subject = quadratic(0.5, 4.0, at=(1e-3, 1e-4))
    loss = mean_loss(subject)
    circle = torch.linspace(0, 2 * math.pi, 20001, dtype=F64)
    around = theta(subject.model) + 0.05 * torch.stack([circle.cos(), circle.sin()], 1)
    highest = float(torch.stack([loss(point) for point in around[::20]]).max().detach())
    found = curvature(subject)
    rise = highest - float(loss(theta(subject.model)).detach())
    # The scan's own step, 2π/1000, costs at most (2π/1000)²/8 of the height.
    assert found.sharpness.sam == pytest.approx(rise, rel=1e-4)
    assert found.sharpness.sam > 1.5 * (loss(theta(subject.model) + torch.tensor([0.05, 0.0])).item() - highest + rise)


def test_at_an_exact_minimum_there_is_no_way_up_to_follow() -> None:
    assert curvature(quadratic(1.0, at=(0.0,))).sharpness.sam == 0


@pytest.mark.parametrize("make", [lambda: classifier(mlp(nn.ReLU), 3), lambda: classifier(cnn(), 1, 6, 6)])
def test_rescaling_changes_all_but_adaptive_sharpness(make: Callable[[], Subject]) -> None:
    found = curvature(make())
    rescaling = found.rescaling
    assert rescaling.status == "ok"
    assert (rescaling.first, rescaling.second, rescaling.factor) in {("0", "2", 2.0), ("0", "3", 2.0)}
    measured = {each.name: each for each in rescaling.measures}
    assert {name for name, each in measured.items() if each.invariant} == {"adaptive sharpness"}
    adaptive = measured["adaptive sharpness"]
    # Powers of two round nothing: the same numbers come out but for the order of sums.
    assert adaptive.after == pytest.approx(adaptive.before, rel=1e-10)
    message = next(each.message for each in found.findings() if each.source == "dinh2017sharp")
    assert "adaptive sharpness stays the same" in message


def test_what_the_other_measures_become_is_what_they_are_there() -> None:
    subject = classifier(mlp(nn.ReLU), 3)
    measured = {each.name: each for each in curvature(subject).rescaling.measures}
    with torch.no_grad():
        subject.model[0].weight.mul_(2)
        subject.model[0].bias.mul_(2)
        subject.model[2].weight.div_(2)
    there = curvature(subject)
    expected = {
        "largest eigenvalue": there.eigenvalues[0],
        "trace": there.trace,
        "SAM sharpness": there.sharpness.sam,
        "adaptive sharpness": there.sharpness.adaptive,
        "Keskar's sharpness": there.sharpness.keskar,
    }
    for name, value in expected.items():
        assert measured[name].after == pytest.approx(value, rel=1e-10)


def test_where_no_layer_can_be_rescaled_that_is_said() -> None:
    rescaling = curvature(classifier(mlp(nn.Tanh), 3)).rescaling
    assert rescaling.measures == ()
    assert "no two layers" in rescaling.status


class Made(nn.Module):
    """A module of a function, with a layer or two to use."""

    def __init__(self, function: Callable[..., Tensor]) -> None:
        super().__init__()
        self.a, self.b, self.function = nn.Linear(3, 3), nn.Linear(3, 3), function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(self, x)


#: What is affine in each parameter by itself, piece by piece, and what is not.
MULTIAFFINE = {
    "rectifier": (lambda m, x: m.b(torch.relu(m.a(x))), True),
    "rectifier in place": (lambda m, x: m.b(torch.relu_(m.a(x))), True),
    "leaky": (lambda m, x: m.b(functional.leaky_relu(m.a(x), 0.1)), True),
    "absolute value": (lambda m, x: m.b(m.a(x).abs()), True),
    "maximum of two": (lambda m, x: torch.maximum(m.a(x), m.b(x)), True),
    "residual": (lambda m, x: x + m.b(torch.relu(m.a(x))) + m.a(x), True),
    "side by side": (lambda m, x: m.a(x) + m.a(x.flip(0)), True),
    "gated by another layer": (lambda m, x: m.a(x) * m.b(x), True),
    "product of weights": (lambda m, x: x @ (m.a.weight @ m.b.weight), True),
    "behind itself": (lambda m, x: m.a(m.a(x)), False),
    "gated by itself": (lambda m, x: m.a(x) * torch.relu(m.a(x)), False),
    "square": (lambda m, x: m.a(x) ** 2, False),
    "tanh": (lambda m, x: m.b(torch.tanh(m.a(x))), False),
    "gelu": (lambda m, x: m.b(functional.gelu(m.a(x))), False),
    "normalised": (lambda m, x: functional.layer_norm(m.a(x), (3,)), False),
    "divided": (lambda m, x: m.a(x) / m.b(x), False),
    "softmax": (lambda m, x: torch.softmax(m.a(x), 1), False),
    "attention": (lambda m, x: m.a(x) @ (m.a(x).T @ m.b(x)), False),
}


@pytest.mark.parametrize("name", MULTIAFFINE)
def test_the_condition_for_an_exact_trace_is_read_off_the_operations(name: str) -> None:
    function, holds = MULTIAFFINE[name]
    subject = classifier(Made(function), 3)
    loss = MeanLoss(subject)
    piece = gather(subject, loss, whole=True).pieces[0]
    assert (why_not_multiaffine(loss, piece) == "") == holds
    # What it promises: no output has a second derivative with respect to one parameter alone.
    sums = loss.outputs(leaves := loss.leaves(loss.point), piece)
    mixed = (sums * noise(*sums.shape, seed=9)).sum()
    gradients = torch.autograd.grad(mixed, leaves, create_graph=True, materialize_grads=True)
    second = [
        torch.autograd.grad(g.flatten()[i], leaf, retain_graph=True, allow_unused=True)[0]
        for g, leaf in zip(gradients, leaves, strict=True)
        for i in range(leaf.numel())
        if g.requires_grad
    ]
    diagonal = [0.0 if each is None else float(each.abs().max()) for each in second]
    assert (max(diagonal, default=0.0) < 1e-12) == holds


def test_a_layer_with_most_of_the_curvature_is_named() -> None:
    # Inputs of size 30 into one weight, of size 1 into eight: the curvature goes with the square of the input.
    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.hot, self.cold = nn.Linear(1, 1, bias=False), nn.Linear(8, 1, bias=False)

        def forward(self, x: Tensor) -> Tensor:
            return self.hot(30 * x[:, :1]) + self.cold(x[:, 1:])

    subject = Subject(prepared(Two()), [(noise(50, 9), noise(50, 1, seed=1))], functional.mse_loss)
    found = curvature(subject)
    finding = next(each for each in found.findings() if each.where)
    assert finding.where == "hot"
    assert "of the curvature lies in hot" in finding.message
    # The largest eigenvalue may belong to several layers together: both are said.
    hot = next(layer.eigenvalue for layer in found.layers if layer.name == "hot")
    assert f"{hot:.4g} in this layer alone, {found.eigenvalues[0]:.4g} in all together" in finding.evidence
    even = Subject(prepared(nn.Linear(9, 1)), subject.data, functional.mse_loss)
    assert not any(each.where for each in curvature(even).findings())


def test_shares_add_up_and_are_drawn_at_a_glance() -> None:
    found = curvature(classifier(mlp(nn.ReLU), 3))
    assert sum(each.curvature_fraction for each in found.layers) == pytest.approx(1, rel=1e-12)
    (track,) = found.glance()
    assert track.label == "share of curvature"
    assert list(track.values) == ["0", "2", "4"]
