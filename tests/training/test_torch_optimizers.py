from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from deepscope.training import SGD, Adadelta, Adagrad, Adam, Adamax, AdamW, NAdam, RMSprop

GRADIENTS = torch.randn(40, 4, generator=torch.Generator().manual_seed(2), dtype=torch.float64)


def doubles(values: list[list[float]]) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def start(*values: float) -> nn.Parameter:
    return nn.Parameter(torch.tensor(values or (1.0, -2.0, 0.5, 3.0), dtype=torch.float64))


def course(optimizer: torch.optim.Optimizer, weight: Tensor, gradients: Tensor = GRADIENTS) -> list[list[float]]:
    values = []
    for gradient in gradients:
        weight.grad = gradient.clone()
        optimizer.step()
        values.append(weight.tolist())
    return values


def adam(x: float, gradients: list[float], lr: float, *, coupled: float = 0.0, decoupled: float = 0.0) -> float:
    """Adam's recursion for one number."""
    m = v = 0.0
    for t, gradient in enumerate(gradients, start=1):
        g = gradient + coupled * x
        m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g * g
        step = lr * (m / (1 - 0.9**t)) / (math.sqrt(v / (1 - 0.999**t)) + 1e-8)
        x = (1 - lr * decoupled) * x - step
    return x


@pytest.mark.parametrize("nesterov", [False, True])
def test_momentum_with_coupled_decay_follows_its_recursion(nesterov: bool) -> None:
    weight = start()
    begin = weight.tolist()
    found = course(SGD([weight], lr=0.05, momentum=0.9, nesterov=nesterov, weight_decay=0.1), weight)[-1]
    for column, x in enumerate(begin):
        v = 0.0
        for gradient in GRADIENTS[:, column].tolist():
            g = gradient + 0.1 * x
            v = 0.9 * v + g
            x -= 0.05 * (g + 0.9 * v if nesterov else v)
        # Some ten roundings of 1e-16 in each of 40 steps.
        assert found[column] == pytest.approx(x, abs=1e-10)


def test_both_decays_of_adam_follow_their_recursions() -> None:
    for kind, decay in ((Adam, "coupled"), (AdamW, "decoupled")):
        weight = start()
        begin = weight.tolist()
        found = course(kind([weight], lr=0.05, weight_decay=0.1), weight)[-1]
        expected = [adam(x, GRADIENTS[:, column].tolist(), 0.05, **{decay: 0.1}) for column, x in enumerate(begin)]
        assert found == pytest.approx(expected, abs=1e-10)


def test_decoupled_decay_acts_alike_on_all_weights_and_coupled_does_not() -> None:
    # Two weights whose gradients alternate in sign with sizes 100 and 1: without decay Adam moves both alike.
    signs = torch.tensor([1.0, -1.0] * 50, dtype=torch.float64).unsqueeze(1)
    gradients = signs * torch.tensor([100.0, 1.0], dtype=torch.float64)
    shrunk = {}
    for kind in (Adam, AdamW):
        free, decayed = start(1.0, 1.0), start(1.0, 1.0)
        course(kind([free], lr=0.01, weight_decay=0.0), free, gradients)
        course(kind([decayed], lr=0.01, weight_decay=0.5), decayed, gradients)
        shrunk[kind] = (free - decayed).tolist()
    # (1 − ηλ)¹⁰⁰ = 0.606 of a weight near 1 stays under AdamW; the sizes differ by ε/√v = 1e-8 alone.
    assert shrunk[AdamW][0] == pytest.approx(shrunk[AdamW][1], rel=1e-6)
    assert shrunk[AdamW][0] == pytest.approx(1 - (1 - 0.005) ** 100, rel=0.02)
    # Coupled, λw passes through the scaling, whose denominators are as 100 to 1.
    assert shrunk[Adam][0] < 0.05 * shrunk[Adam][1]


@pytest.mark.demonstrates("nesterov")
def test_nesterovs_momentum_has_its_rate_and_is_torchs_after_a_shift() -> None:
    condition = 100.0
    curvatures = torch.tensor([1.0, 10.0, condition], dtype=torch.float64)
    momentum = (1 - condition**-0.5) / (1 + condition**-0.5)
    weight = nn.Parameter(torch.ones(3, dtype=torch.float64))
    optimizer = SGD([weight], lr=1 / condition, momentum=momentum, nesterov=True)
    sizes = []
    for _ in range(400):
        weight.grad = curvatures * weight.detach()
        optimizer.step()
        sizes.append(weight.detach().abs().max().item())
    # At the smallest curvature the recursion has the double root 1 − 1/√κ: the error is (a + bt)(1 − 1/√κ)ᵗ.
    ratio = sizes[-1] / sizes[-2]
    assert ratio == pytest.approx((1 - condition**-0.5) * (1 + 1 / 399), rel=1e-4)
    # Plain descent, 1 − 1/κ, is far from it.
    assert ratio < 1 - 5 / condition

    def exact(rates: list[float]) -> list[list[float]]:
        """Sutskever's form, v ← μv − η∇f(θ + μv), θ ← θ + v, as the places θ + μv where it looks."""
        theta, velocity, places = torch.ones(3, dtype=torch.float64), torch.zeros(3, dtype=torch.float64), []
        for rate in rates:
            velocity = momentum * velocity - rate * curvatures * (theta + momentum * velocity)
            theta = theta + velocity
            places.append((theta + momentum * velocity).tolist())
        return places

    def torchs(rates: list[float]) -> list[list[float]]:
        weight = nn.Parameter(torch.ones(3, dtype=torch.float64))
        optimizer = SGD([weight], lr=1.0, momentum=momentum, nesterov=True)
        places = []
        for rate in rates:
            optimizer.param_groups[0]["lr"] = rate
            weight.grad = curvatures * weight.detach()
            optimizer.step()
            places.append(weight.tolist())
        return places

    steady, falling = [0.01] * 100, [0.01 / (1 + step / 10) for step in range(100)]
    assert doubles(torchs(steady)).allclose(doubles(exact(steady)), rtol=0, atol=1e-10)
    assert not doubles(torchs(falling)).allclose(doubles(exact(falling)), rtol=0, atol=1e-3)


def test_plain_descent_contracts_as_the_closed_form() -> None:
    curvatures, weight = torch.tensor([0.5, 2.0, 15.0], dtype=torch.float64), start(1.0, 1.0, 1.0)
    optimizer = SGD([weight], lr=0.1, weight_decay=0.2)
    for _ in range(30):
        weight.grad = curvatures * weight.detach()
        optimizer.step()
    # Coupled decay adds to the curvature: (1 − η(h + λ))ᵗ.
    assert weight.tolist() == pytest.approx(((1 - 0.1 * (curvatures + 0.2)) ** 30).tolist(), rel=1e-12)


def test_heavy_ball_contracts_as_the_root_of_its_momentum() -> None:
    # Where (1 − √(ηλ))² < μ < 1 the roots are complex, of modulus √μ, whatever the curvature.
    for curvature in (1.0, 5.0):
        weight, momentum = start(1.0), 0.81
        optimizer = SGD([weight], lr=0.1, momentum=momentum)
        values = [1.0, 1.0]
        for _ in range(200):
            weight.grad = curvature * weight.detach()
            optimizer.step()
            values.append(weight.item())
        # x_{t+1}x_{t-1} − x_t² of a recursion of second order is multiplied by the product of its roots, μ, each step.
        forms = [values[t + 1] * values[t - 1] - values[t] ** 2 for t in (60, 160)]
        assert (forms[1] / forms[0]) ** (1 / 200) == pytest.approx(math.sqrt(momentum), rel=1e-6)


def keras_adam(x: Tensor, gradients: Tensor, lr: float, epsilon: float) -> list[list[float]]:
    """Adam with ε beside the uncorrected root, as Keras and section 2 of the paper have it."""
    m, v, values = torch.zeros_like(x), torch.zeros_like(x), []
    for t, g in enumerate(gradients, start=1):
        m, v = m + 0.1 * (g - m), v + 0.001 * (g**2 - v)
        x = x - lr * math.sqrt(1 - 0.999**t) / (1 - 0.9**t) * m / (v.sqrt() + epsilon)
        values.append(x.tolist())
    return values


@pytest.mark.demonstrates("adam", "repo-tf-keras")
def test_adams_step_is_bounded_and_scale_free_and_it_can_diverge() -> None:
    # The first step is η whatever the gradient.
    weight = start(0.0, 0.0, 0.0)
    weight.grad = torch.tensor([1e-3, -7.0, 1e6], dtype=torch.float64)
    Adam([weight], lr=0.01).step()
    assert weight.abs().max() <= 0.01
    assert weight.tolist() == pytest.approx([-0.01, 0.01, -0.01], rel=1e-4)

    # Gradients a thousandfold: ε = 1e-8 beside gradients of 0.01 and more is what remains.
    far = GRADIENTS + 0.01 * GRADIENTS.sign()
    courses = []
    for scale in (1.0, 1000.0):
        weight = start()
        courses.append(course(Adam([weight], lr=0.01), weight, scale * far))
    assert doubles(courses[0]).allclose(doubles(courses[1]), rtol=0, atol=1e-6)

    # Keras' ε̂ is torch's ε = ε̂/√(1 − β₂ᵗ): the same course if it follows that, and else a first step of a gradient g of
    # η/(1 + ε/|g|) with torch and η/(1 + ε/(|g|√(1 − β₂))) with Keras.
    small, weight, following = 1e-6 * GRADIENTS, start(), []
    kerass = keras_adam(weight.detach(), small, 0.01, 1e-7)
    optimizer = Adam([weight], lr=0.01)
    for t, gradient in enumerate(small, start=1):
        optimizer.param_groups[0]["eps"] = 1e-7 / math.sqrt(1 - 0.999**t)
        following.extend(course(optimizer, weight, gradient.unsqueeze(0)))
    assert doubles(following).allclose(doubles(kerass), rtol=0, atol=1e-12)
    weight = start()
    torchs = course(Adam([weight], lr=0.01, eps=1e-7), weight, small)
    for found, factor in ((torchs[0], 1.0), (kerass[0], math.sqrt(0.001))):
        expected = start().detach() - 0.01 * small[0].sign() / (1 + 1e-7 / (small[0].abs() * factor))
        assert found == pytest.approx(expected.tolist(), abs=1e-12)

    # Reddi, Kale and Kumar's sequence: gradients C, −1, −1 on [−1, 1], best at −1; with β₁ = 0 and β₂ = 1/(1 + C²) Adam
    # goes to the worst point 1, where plain descent of the same rates goes to the best.
    worst = {}
    for kind, settings in {"adam": {"betas": (0.0, 1 / (1 + 4.0**2))}, "sgd": {}}.items():
        weight = start(0.0)
        optimizer = (Adam if kind == "adam" else SGD)([weight], lr=0.1, **settings)
        places = []
        for t in range(3000):
            optimizer.param_groups[0]["lr"] = 0.1 / math.sqrt(t + 1)
            weight.grad = torch.full_like(weight, 4.0 if t % 3 == 0 else -1.0)
            optimizer.step()
            with torch.no_grad():
                weight.clamp_(-1, 1)
            places.append(weight.item())
        worst[kind] = sum(places[-300:]) / 300
    assert worst["adam"] > 0.98
    assert worst["sgd"] < -0.98


def rosenbrock(x: Tensor) -> Tensor:
    return (1 - x[0]) ** 2 + 100 * (x[1] - x[0] ** 2) ** 2


def beale(x: Tensor) -> Tensor:
    return sum((c - x[0] * (1 - x[1] ** k)) ** 2 for k, c in ((1, 1.5), (2, 2.25), (3, 2.625)))


def rosenbrock_slope(x: Tensor) -> Tensor:
    a, b = x.tolist()
    return torch.tensor([-2 * (1 - a) - 400 * a * (b - a * a), 200 * (b - a * a)], dtype=torch.float64)


def beale_slope(x: Tensor) -> Tensor:
    a, b = x.tolist()
    terms = [(c - a * (1 - b**k), k) for k, c in ((1, 1.5), (2, 2.25), (3, 2.625))]
    along = sum(-2 * r * (1 - b**k) for r, k in terms), sum(2 * r * a * k * b ** (k - 1) for r, k in terms)
    return torch.tensor(along, dtype=torch.float64)


State = dict[str, Any]


def average(state: State, name: str, beta: float, value: Tensor) -> Tensor:
    """A moving average from 0, without correction."""
    state[name] = beta * state.get(name, 0.0) + (1 - beta) * value
    return state[name]


def momentum_rule(state: State, g: Tensor, t: int) -> Tensor:
    state["v"] = 0.9 * state.get("v", 0.0) + g
    return 1e-3 * state["v"]


def nesterov_rule(state: State, g: Tensor, t: int) -> Tensor:
    state["v"] = 0.9 * state.get("v", 0.0) + g
    return 1e-3 * (g + 0.9 * state["v"])


def adagrad_rule(state: State, g: Tensor, t: int) -> Tensor:
    state["G"] = state.get("G", 0.0) + g**2
    return 0.1 * g / (state["G"].sqrt() + 1e-10)


def adadelta_rule(state: State, g: Tensor, t: int) -> Tensor:
    size = average(state, "g", 0.9, g**2)
    step = (state.get("x", torch.zeros_like(g)) + 1e-6).sqrt() / (size + 1e-6).sqrt() * g
    average(state, "x", 0.9, step**2)
    return step


def rmsprop_rule(state: State, g: Tensor, t: int) -> Tensor:
    return 0.01 * g / (average(state, "v", 0.99, g**2).sqrt() + 1e-8)


def adam_rule(state: State, g: Tensor, t: int) -> Tensor:
    m, v = average(state, "m", 0.9, g), average(state, "v", 0.999, g**2)
    return 0.01 * (m / (1 - 0.9**t)) / ((v / (1 - 0.999**t)).sqrt() + 1e-8)


def amsgrad_rule(state: State, g: Tensor, t: int) -> Tensor:
    m, v = average(state, "m", 0.9, g), average(state, "v", 0.999, g**2)
    state["most"] = torch.maximum(state.get("most", v), v)
    return 0.01 * (m / (1 - 0.9**t)) / ((state["most"] / (1 - 0.999**t)).sqrt() + 1e-8)


def adamax_rule(state: State, g: Tensor, t: int) -> Tensor:
    m = average(state, "m", 0.9, g)
    state["u"] = torch.maximum(0.999 * state.get("u", torch.zeros_like(g)), g.abs())
    return 0.01 * (m / (1 - 0.9**t)) / state["u"]


def nadam_rule(state: State, g: Tensor, t: int) -> Tensor:
    now, after = (0.9 * (1 - 0.5 * 0.96 ** (0.004 * each)) for each in (t, t + 1))
    m, v = average(state, "m", 0.9, g), average(state, "v", 0.999, g**2)
    state["product"] = state.get("product", 1.0) * now
    ahead = (1 - now) * g / (1 - state["product"]) + after * m / (1 - state["product"] * after)
    return 0.01 * ahead / ((v / (1 - 0.999**t)).sqrt() + 1e-8)


RULES: dict[str, tuple[Callable[..., Tensor], Callable[..., torch.optim.Optimizer], State]] = {
    "descent": (lambda state, g, t: 1e-3 * g, SGD, {"lr": 1e-3}),
    "momentum": (momentum_rule, SGD, {"lr": 1e-3, "momentum": 0.9}),
    "nesterov": (nesterov_rule, SGD, {"lr": 1e-3, "momentum": 0.9, "nesterov": True}),
    "adagrad": (adagrad_rule, Adagrad, {"lr": 0.1}),
    "adadelta": (adadelta_rule, Adadelta, {"lr": 1.0}),
    "rmsprop": (rmsprop_rule, RMSprop, {"lr": 0.01}),
    "adam": (adam_rule, Adam, {"lr": 0.01}),
    "amsgrad": (amsgrad_rule, Adam, {"lr": 0.01, "amsgrad": True}),
    "adamax": (adamax_rule, Adamax, {"lr": 0.01}),
    "nadam": (nadam_rule, NAdam, {"lr": 0.01}),
}


@pytest.mark.demonstrates("gd-overview")
@pytest.mark.parametrize("name", RULES)
def test_ten_rules_follow_their_trajectories_on_rosenbrock_and_beale(name: str) -> None:
    rule, build, settings = RULES[name]
    for surface, slope in ((rosenbrock, rosenbrock_slope), (beale, beale_slope)):
        weight = start(-1.0, 1.5)
        optimizer, x, state = build([weight], **settings), weight.detach().clone(), {}
        before = surface(x).item()
        # Adadelta turns unstable on Beale's surface after 130 steps, and multiplies rounding by 1e5 in five of them.
        for t in range(1, 121):
            optimizer.zero_grad()
            surface(weight).backward()
            optimizer.step()
            x = x - rule(state, slope(x), t)
            assert (weight - x).abs().max() < 1e-8
        # It moved, and downhill.
        assert surface(x).item() < before


def test_the_rules_differ_from_one_another() -> None:
    # One large gradient and small ones after it: the running maximum of AMSGrad tells it from Adam.
    g, steps = torch.tensor([1.0, -3.0], dtype=torch.float64), []
    for rule, _, _ in RULES.values():
        state: State = {}
        steps.append([rule(state, g if t == 1 else 1e-3 * (-1) ** t * g, t) for t in range(1, 13)][-1])
    apart = torch.cdist(torch.stack(steps), torch.stack(steps)) + torch.eye(len(steps))
    assert apart.min() > 1e-6
