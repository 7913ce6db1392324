"""Health against closed forms, a naive twin, planted faults and good networks."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
from health_data import data, noise, problems, row, seeded
from torch import Tensor, nn
from torch.nn import functional

from deepscope.core import LeftOut, MeasurementError, Needs
from deepscope.figures import to_svg
from deepscope.instruments import HEALTH, Health, health
from deepscope.instruments._health_profile import depth_profile
from deepscope.subject import Subject, Watch

# --- against a naive twin -------------------------------------------------------------------------------------------


def naive(model: nn.Module, layers: dict[str, nn.Module], batches: Any, loss: Any) -> dict[str, dict[str, float]]:
    """One forward of everything at once for activations; one backward per sample for gradients; no collector."""
    outputs: dict[str, Tensor] = {}
    handles = [m.register_forward_hook(lambda _, __, y, n=n: outputs.update({n: y.clone()})) for n, m in layers.items()]
    x, y = (torch.cat([batch[part] for batch in batches]) for part in (0, 1))
    model(x)
    for handle in handles:
        handle.remove()
    found = {}
    for name, module in layers.items():
        values = outputs[name].detach().double()
        units = values.movedim(1, -1).reshape(-1, values.shape[1])
        parameters = list(module.parameters())
        found[name] = {
            "activation_mean": float(values.mean()),
            "activation_std": float(values.std(correction=0)),
            "constant_fraction": float((units.std(0, correction=0) == 0).double().mean()),
        }
        if not parameters:
            continue
        per_sample = [torch.autograd.grad(loss(model(x[[i]]), y[[i]]), parameters) for i in range(len(x))]
        mean = [torch.stack([grads[k] for grads in per_sample]).mean(0) for k in range(len(parameters))]
        found[name]["gradient_norm"] = math.sqrt(sum(float(each.square().sum()) for each in mean))
        found[name]["gradient_to_weight"] = float(mean[0].norm() / parameters[0].detach().norm())
    return found


def test_agrees_with_a_naive_twin_over_uneven_batches() -> None:
    model = seeded(
        lambda: nn.Sequential(
            nn.Conv2d(1, 4, 3), nn.ReLU(inplace=True), nn.Flatten(), nn.Linear(64, 8), nn.Tanh(), nn.Linear(8, 3)
        )
    ).double()
    with torch.no_grad():
        model[0].bias[1] = -100.0
    batches = [(noise(n, 1, 6, 6, seed=n, dtype=torch.float64), torch.arange(n) % 3) for n in (7, 7, 2)]
    reading = health(Subject(model, data=batches, loss=functional.cross_entropy))
    truth = naive(model, {name: model[int(name)] for name in ("0", "3", "4", "5")}, batches, functional.cross_entropy)
    for name, numbers in truth.items():
        for column, value in numbers.items():
            # A few hundred float64 operations of relative error 1e-16.
            assert getattr(row(reading, name), column) == pytest.approx(value, rel=1e-11, abs=1e-14), (name, column)
    assert row(reading, "1").dead_fraction == 1 / 4
    assert row(reading, "1").constant_fraction == 1 / 4
    assert row(reading, "4").saturated_fraction is not None
    assert [layer.units for layer in reading.layers] == [4, 4, 64, 8, 8, 3]
    assert [layer.kind for layer in reading.layers] == ["Conv2d", "ReLU", "Flatten", "Linear", "Tanh", "Linear"]
    assert (reading.n_samples, reading.n_batches) == (16, 3)
    everything = torch.cat([x for x, _ in batches]), torch.cat([y for _, y in batches])
    assert reading.loss == pytest.approx(
        functional.cross_entropy(model(everything[0]), everything[1]).item(), rel=1e-12
    )


def test_the_output_gradient_is_that_of_the_summed_loss() -> None:
    model = seeded(lambda: nn.Sequential(nn.Linear(3, 5), nn.Tanh(), nn.Linear(5, 2))).double()
    batches = data(3, sizes=(5, 2), classes=2, dtype=torch.float64)
    reading = health(Subject(model, data=batches, loss=functional.cross_entropy))
    x, y = (torch.cat([batch[part] for batch in batches]) for part in (0, 1))
    hidden = model[0](x)
    (gradient,) = torch.autograd.grad(functional.cross_entropy(model[2](model[1](hidden)), y, reduction="sum"), hidden)
    # The root of the mean over the 7 terms of the squared norm.
    assert row(reading, "0").output_gradient == pytest.approx(float(gradient.norm()) / math.sqrt(7), rel=1e-12)


def test_the_gradient_over_uneven_counts_is_that_of_all_terms_together() -> None:
    class Language(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed, self.head = nn.Embedding(7, 4), nn.Linear(4, 7)

        def forward(self, ids: Tensor) -> Tensor:
            return self.head(self.embed(ids).tanh())

    def loss(logits: Tensor, targets: Tensor) -> Tensor:
        return functional.cross_entropy(logits.flatten(0, 1), targets.flatten(), ignore_index=-100)

    model = seeded(Language).double()
    ids = torch.arange(30).reshape(6, 5) % 7
    targets = (ids * 3 + 1) % 7
    targets[0, 1:] = targets[3] = targets[4] = -100
    # The second batch has no term at all: its loss is NaN and must not be asked for.
    batches = [({"ids": ids[i]}, targets[i]) for i in (slice(0, 3), slice(3, 5), slice(5, 6))]
    reading = health(Subject(model, data=batches, loss=loss, count=lambda t: (t != -100).sum()))
    loss(model(ids), targets).backward()
    truth = math.hypot(float(model.head.weight.grad.norm()), float(model.head.bias.grad.norm()))
    assert row(reading, "head").gradient_norm == pytest.approx(truth, rel=1e-12)
    assert row(reading, "embed").gradient_norm == pytest.approx(float(model.embed.weight.grad.norm()), rel=1e-12)


def test_the_standard_error_covers_the_truth() -> None:
    """The norm of a batch mean spreads by no more than the standard error says, and that says no ten times too much."""
    model = seeded(lambda: nn.Linear(4, 1))
    norms, errors = [], []
    for seed in range(60):
        x = noise(64, 4, seed=seed)
        y = x.sum(1, keepdim=True) + noise(64, 1, seed=1000 + seed)
        batches = list(zip(x.split(8), y.split(8), strict=True))
        (layer,) = health(Subject(model, data=batches, loss=functional.mse_loss)).layers
        norms.append(layer.gradient_norm)
        errors.append(layer.gradient_norm_stderr)
    # A standard deviation from 60 draws is good to 1/√120 = 9 %; the bound adds the spread of 5 directions.
    spread = float(np.std(norms))
    assert spread * 0.75 <= float(np.mean(errors)) <= spread * math.sqrt(5) * 1.25


# --- closed forms and the known list --------------------------------------------------------------------------------


@pytest.mark.parametrize("known", HEALTH.known, ids=lambda known: known.name)
def test_known_answers_hold_and_only_planted_faults_are_found(known: Any) -> None:
    reading = health(known.make())
    assert known.holds(reading)
    bad = [found for found in reading.findings() if found.severity != "note"]
    if known.fault is None:
        assert bad == []
    else:
        assert known.fault in [found.where for found in bad]


@pytest.mark.demonstrates("relu")
def test_sigmoid_layers_lose_the_gradient_and_relu_layers_keep_it() -> None:
    """Ten sigmoid layers: first gradient below 1e-4 of the last; ten He-initialised ReLU layers: within 10 times."""

    def stack(activation: type[nn.Module], seed: int) -> nn.Module:
        layers: list[nn.Module] = []
        for _ in range(10):
            layers += [nn.Linear(64, 64), activation()]
            if activation is nn.ReLU:
                nn.init.kaiming_normal_(layers[-2].weight, nonlinearity="relu")
            else:
                nn.init.xavier_normal_(layers[-2].weight)
            nn.init.zeros_(layers[-2].bias)
        return nn.Sequential(*layers[:-1])

    for seed in range(3):
        batches = data(64, sizes=(64, 64), classes=64)
        readings = {
            activation: health(
                Subject(seeded(lambda a=activation: stack(a, 0), seed), data=batches, loss=functional.cross_entropy)
            )
            for activation in (nn.Sigmoid, nn.ReLU)
        }
        first_to_last = {a: row(r, "0").gradient_norm / row(r, "18").gradient_norm for a, r in readings.items()}
        assert first_to_last[nn.Sigmoid] < 1e-4
        assert 0.1 < first_to_last[nn.ReLU] < 10
        assert readings[nn.Sigmoid].profile.verdict == "vanishing"
        assert readings[nn.Sigmoid].weight_profile.verdict == "vanishing"
        assert readings[nn.ReLU].profile.verdict == "healthy"
        # σ' ≤ 1/4 and Glorot's weights keep a vector's length: at most a quarter is left per layer, give or take 2/√64.
        assert 10 ** -readings[nn.Sigmoid].profile.rate < 0.25 * 1.25


def test_a_deep_linear_chain_has_its_rate_in_closed_form() -> None:
    model = nn.Sequential(*[nn.Linear(1, 1, bias=False, dtype=torch.float64) for _ in range(6)])
    with torch.no_grad():
        for layer in model:
            layer.weight.fill_(0.1)
    x = torch.ones(2, 1, dtype=torch.float64)
    profile = health(Subject(model, data=[(x, x)], loss=lambda y, _: y.mean())).profile
    # ∂y/∂(output of layer k) = 0.1^(5−k): one decade per layer, exactly, and five from the last to the first.
    assert profile.rate == pytest.approx(1, abs=1e-12)
    assert profile.rate_low == pytest.approx(1, abs=1e-9)
    assert profile.first_to_last == pytest.approx(1e-5, rel=1e-12)
    assert profile.verdict == "vanishing"
    assert profile.intercept == pytest.approx(-5, abs=1e-12)


def test_the_rate_has_a_student_interval() -> None:
    profile = depth_profile(list("abcd"), [1.0, 10.0, 100.0, 10_000.0])
    # y = 0, 1, 2, 4 at x = 0 … 3: slope 1.3, residuals 0.2, −0.1, −0.4, 0.3, so s² = 0.3/2; Σ(x − x̄)² = 5;
    # t(0.975, 2) = 4.302653.
    half = 4.302653 * math.sqrt(0.15 / 5)
    assert profile.rate == pytest.approx(1.3, rel=1e-12)
    assert (profile.rate_low, profile.rate_high) == pytest.approx((1.3 - half, 1.3 + half), rel=1e-6)
    assert profile.verdict == "vanishing"


@pytest.mark.parametrize(
    ("gradients", "verdict", "status"),
    [
        ([1e-4, 1e-3, 1e-2, 1e-1], "vanishing", "ok"),
        ([1e-1, 1e-2, 1e-3, 1e-4], "exploding", "ok"),
        ([1e-2, 1e-1, 1e-1, 1.0], "healthy", "ok"),
        # One step down and level otherwise is no rate: the interval holds 0.
        ([1e-5, 1.0, 1.0, 1.0], "cannot say", "ok"),
        ([0.0, 1e-3, 1e-2, 1e-1, 1.0], "vanishing", "ok"),
        ([1e-4, 1e-2, 1.0], "cannot say", "too few layers"),
        ([None, 1e-4, 1e-2, 1.0], "cannot say", "too few layers"),
        ([0.0, 0.0, 0.0, 0.0], "cannot say", "all gradients are zero"),
        ([None] * 4, "cannot say", "no gradient"),
    ],
)
def test_the_verdict_follows_its_rule(gradients: list[float | None], verdict: str, status: str) -> None:
    profile = depth_profile([str(place) for place in range(len(gradients))], gradients)
    assert (profile.verdict, profile.status) == (verdict, status)


def test_saturation_needs_nearly_all_outputs_within_a_hundredth_of_the_range() -> None:
    x = torch.zeros(100, 5)
    x[:, 0] = 0.985  # within 0.02 of 1
    x[:96, 1], x[:94, 2] = 1.0, 1.0
    x[:50, 3], x[50:, 3] = 1.0, -1.0
    x[:, 4] = 0.975
    layer = nn.Sequential(nn.Tanh())
    (found,) = health(Subject(layer, data=[(torch.atanh(x.clamp(-1 + 1e-6, 1 - 1e-6)), x)])).layers
    assert found.saturated_fraction == 3 / 5


# --- every kind of network ------------------------------------------------------------------------------------------


class FunctionalNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv, self.a, self.b = nn.Conv2d(1, 4, 3), nn.Linear(36, 8), nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = functional.relu(functional.max_pool2d(self.conv(x), 2))
        return self.b(self.a(x.flatten(1)).relu())


def test_functional_activations_show_in_the_row_of_the_layer_before() -> None:
    model = seeded(FunctionalNet)
    with torch.no_grad():
        model.conv.bias[:2] = -100.0
        model.a.bias[:] = -100.0
    reading = health(Subject(model, data=[(noise(30, 1, 8, 8), torch.arange(30) % 3)]))
    assert [layer.name for layer in reading.layers] == ["conv", "a", "b"]
    assert row(reading, "conv").dead_fraction == 1 / 2
    assert row(reading, "a").dead_fraction == 1
    assert row(reading, "b").dead_fraction is None
    # The layer's own statistics are those before the function.
    assert row(reading, "a").activation_mean < -90
    assert [where for where, _ in problems(reading)] == ["a"]


class TwoInputs(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.bilinear, self.head = nn.Bilinear(3, 4, 5), nn.Linear(5, 3)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return self.head(self.bilinear(x, y).tanh())


class Recurrent(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.lstm, self.head = nn.LSTM(3, 6, batch_first=True), nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.lstm(x)[0][:, -1])


class Attention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.attention, self.head = nn.MultiheadAttention(4, 2, batch_first=True), nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.attention(x, x, x)[0].mean(1))


ZOO: dict[str, tuple[Callable[[], nn.Module], Any]] = {
    "two inputs": (TwoInputs, (noise(6, 3), noise(6, 4))),
    "mapping": (TwoInputs, {"x": noise(6, 3), "y": noise(6, 4)}),
    "lstm": (Recurrent, noise(6, 5, 3)),
    "attention": (Attention, noise(6, 5, 4)),
    "convolution": (FunctionalNet, noise(6, 1, 8, 8)),
}


@pytest.mark.parametrize("name", ZOO)
def test_every_parameter_counts_in_exactly_one_layer(name: str) -> None:
    make, inputs = ZOO[name]
    model, targets = seeded(make).double(), torch.arange(6) % 3
    inputs = torch.utils._pytree.tree_map(lambda x: x.double(), inputs)
    reading = health(Subject(model, data=[(inputs, targets)], loss=functional.cross_entropy))
    outputs = (
        model(**inputs) if isinstance(inputs, dict) else model(*inputs) if isinstance(inputs, tuple) else model(inputs)
    )
    functional.cross_entropy(outputs, targets).backward()
    truth = sum(float(parameter.grad.square().sum()) for parameter in model.parameters())
    assert sum((layer.gradient_norm or 0) ** 2 for layer in reading.layers) == pytest.approx(truth, rel=1e-11)


def test_padding_does_not_count() -> None:
    model = seeded(lambda: nn.Sequential(nn.Embedding(5, 4), nn.Linear(4, 4), nn.ReLU()))
    short, padded = torch.tensor([[1, 2], [3, 4]]), torch.tensor([[1, 2, 0, 0], [3, 4, 0, 0]])
    plain = health(Subject(model, data=[(short, short)]))
    masked = health(Subject(model, data=[(padded, padded)], mask=lambda ids: ids != 0))
    unmasked = health(Subject(model, data=[(padded, padded)]))
    for one, other, wrong in zip(plain.layers, masked.layers, unmasked.layers, strict=True):
        # The same four positions, summed in float32 in another order.
        assert one.activation_mean == pytest.approx(other.activation_mean, rel=1e-6)
        assert one.activation_std == pytest.approx(other.activation_std, rel=1e-6)
        assert one.activation_mean != pytest.approx(wrong.activation_mean, rel=1e-3)


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_other_dtypes_agree_with_float32(dtype: torch.dtype) -> None:
    model = seeded(lambda: nn.Sequential(nn.Linear(8, 16), nn.GELU(), nn.Linear(16, 3)))
    reference = health(Subject(model, data=data(8), loss=functional.cross_entropy))
    inputs = [(x.to(dtype), y) for x, y in data(8)]
    other = health(Subject(model.to(dtype), data=inputs, loss=functional.cross_entropy))
    # bfloat16 keeps 8 bits: 2⁻⁸ per operation, a handful of them in a row.
    rel = 0.05 if dtype == torch.bfloat16 else 1e-5
    for one, two in zip(reference.layers, other.layers, strict=True):
        assert two.activation_std == pytest.approx(one.activation_std, rel=rel)
        assert two.gradient_norm == (None if one.gradient_norm is None else pytest.approx(one.gradient_norm, rel=rel))


def test_values_beyond_the_square_root_of_float32_still_have_a_spread() -> None:
    model = nn.Linear(1, 1, bias=False)
    nn.init.constant_(model.weight, 1e25)
    (layer,) = health(Subject(model, data=[(torch.tensor([[1.0], [3.0]]), torch.zeros(2))])).layers
    assert layer.activation_std == pytest.approx(1e25, rel=1e-6)


# --- what is left out -----------------------------------------------------------------------------------------------


def test_without_a_loss_there_are_activations_and_a_ledger_entry() -> None:
    reading = health(Subject(seeded(lambda: nn.Sequential(nn.Linear(4, 3), nn.ReLU())), data=data(4)))
    assert LeftOut("gradients", "no loss was given") in reading.left_out
    assert [(layer.gradient_norm, layer.status) for layer in reading.layers] == [
        (None, "no gradients"),
        (None, "no parameters"),
    ]
    assert reading.layers[0].activation_mean is not None
    assert (reading.profile.verdict, reading.profile.status) == ("cannot say", "no gradient")
    assert reading.cost.backward_passes == 0


def test_frozen_unused_and_unread_are_named() -> None:
    class Partly(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.frozen, self.head, self.aside, self.never = (nn.Linear(4, 3) for _ in range(4))

        def forward(self, x: Tensor) -> Tensor:
            self.aside(x)
            return self.head(self.frozen(x)[:, [0, 1, 2, 0]])

    model = seeded(Partly)
    model.frozen.requires_grad_(requires_grad=False)
    reading = health(Subject(model, data=data(4, sizes=(8, 8, 8)), loss=functional.cross_entropy), max_samples=8)
    status = {layer.name: (layer.gradient_norm is None, layer.status) for layer in reading.layers}
    assert status["frozen"] == (True, "frozen")
    assert status["aside"] == (True, "the loss does not depend on it")
    assert status["head"] == (False, "ok")
    named = dict(reading.left_out)
    assert named["frozen.weight"] == "gradient: frozen (requires_grad=False)"
    assert named["never"] == "did not run on this data"
    assert "first 1 (8 samples)" in named["data"]
    assert "one batch" in named["gradient_norm_stderr"]


def test_a_loss_without_a_gradient_is_still_measured_over_all_batches() -> None:
    model = seeded(lambda: nn.Linear(4, 3))
    batches = data(4, sizes=(8, 3))
    reading = health(Subject(model, data=batches, loss=lambda y, t: functional.cross_entropy(y.detach(), t)))
    x, y = (torch.cat([batch[part] for batch in batches]) for part in (0, 1))
    # Eleven terms in float32, summed in another order.
    assert reading.loss == pytest.approx(functional.cross_entropy(model(x), y).item(), rel=1e-6)
    assert LeftOut("gradients", "the loss has no gradient") in reading.left_out
    assert (reading.n_batches, reading.cost.backward_passes) == (2, 0)
    assert "mean loss" in reading.summary()


def test_a_loss_that_breaks_off_is_no_mean_over_all_terms() -> None:
    def loss(y: Tensor, t: Tensor) -> Tensor:
        return functional.cross_entropy(y, t)

    good, bad = data(4)
    model = nn.Sequential(nn.Linear(4, 3))
    reading = health(Subject(model, data=[good, (bad[0] * math.inf, bad[1]), good], loss=loss))
    assert reading.n_batches == 3
    assert reading.loss is None


@pytest.mark.parametrize(
    ("effort", "loss", "cost"),
    [
        ({}, functional.cross_entropy, "forward and backward passes over up to 2,048 samples"),
        ({"max_samples": 256}, None, "forward passes over up to 256 samples"),
        ({"max_samples": None}, functional.cross_entropy, "forward and backward passes over all samples"),
    ],
)
def test_the_expected_cost_is_said_without_measuring(effort: dict[str, Any], loss: Any, cost: str) -> None:
    class Untouched(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            raise AssertionError

    assert HEALTH.expected_cost is not None
    assert HEALTH.expected_cost(Subject(Untouched(), data=data(4), loss=loss), **effort) == cost
    for budget in HEALTH.efforts:
        assert HEALTH.expected_cost(Subject(Untouched(), data=data(4), loss=loss), **HEALTH.effort(budget))


def test_many_unused_layers_are_looked_up_in_one_step_each(monkeypatch: pytest.MonkeyPatch) -> None:
    copied = []
    plain = Watch.ran.fget
    assert plain is not None
    monkeypatch.setattr(Watch, "ran", property(lambda watch: copied.append(plain(watch)) or copied[-1]))
    health(Subject(seeded(lambda: nn.Sequential(*[nn.Linear(2, 2) for _ in range(20)])), data=data(2, classes=2)))
    assert copied
    assert not any(isinstance(each, (tuple, list)) for each in copied)


# --- bare parameters --------------------------------------------------------------------------------------------------


class Stack(nn.Module):
    """Weights in a list, beside other layers or not."""

    def __init__(self) -> None:
        super().__init__()
        self.w = nn.ParameterList([nn.Parameter(noise(8, 8, seed=seed)) for seed in range(3)])
        self.scale = nn.ParameterDict({"a": nn.Parameter(torch.ones(8))})

    def forward(self, x: Tensor) -> Tensor:
        for w in self.w:
            x = x @ w
        return x * self.scale["a"]


class Beside(Stack):
    def __init__(self) -> None:
        super().__init__()
        self.out = nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(super().forward(x))


def test_a_layer_that_keeps_its_weights_in_a_list_is_a_layer() -> None:
    reading = health(Subject(nn.Sequential(Stack(), nn.Linear(8, 3)), data=data(8), loss=functional.cross_entropy))
    assert [layer.name for layer in reading.layers] == ["0", "1"]
    assert row(reading, "0").gradient_norm > 0
    assert row(reading, "0").in_profile
    assert reading.left_out == ()


@pytest.mark.parametrize("inside", [False, True])
def test_no_parameter_is_missing_from_both_rows_and_ledger(inside: bool) -> None:
    model: nn.Module = nn.Sequential(Beside(), nn.Linear(3, 3)) if inside else Beside()
    reading = health(Subject(model, data=data(8), loss=functional.cross_entropy))
    said = dict(reading.left_out)
    assert "did not run on this data" not in said.values()
    if inside:
        # Within the network such a module is a layer with parameters of its own.
        assert row(reading, "0").gradient_norm > 0
        assert said == {}
    else:
        assert said == dict.fromkeys(
            ["w.0", "w.1", "w.2", "scale.a"], "gradient: belongs to the network itself, not to one of its layers"
        )


# --- good networks --------------------------------------------------------------------------------------------------


def good_networks() -> Iterator[tuple[str, Callable[[], nn.Module], tuple[int, ...]]]:
    def mlp(activation: type[nn.Module], depth: int, *extra: Callable[[], nn.Module]) -> nn.Module:
        hidden = [m for _ in range(depth) for m in (nn.Linear(16, 16), *(make() for make in extra), activation())]
        return nn.Sequential(*hidden, nn.Linear(16, 3))

    for activation, depth in ((nn.ReLU, 2), (nn.ReLU, 8), (nn.Tanh, 4), (nn.Sigmoid, 2), (nn.GELU, 4)):
        yield f"{activation.__name__} × {depth}", lambda a=activation, d=depth: mlp(a, d), (16,)
    yield "batch norm", lambda: mlp(nn.ReLU, 10, lambda: nn.BatchNorm1d(16)), (16,)
    yield "layer norm, dropout", lambda: mlp(nn.SiLU, 4, lambda: nn.LayerNorm(16), nn.Dropout), (16,)
    yield "convolution", FunctionalNet, (1, 8, 8)
    yield "lstm", Recurrent, (5, 3)
    yield "attention", Attention, (5, 4)
    yield (
        "transformer",
        lambda: nn.Sequential(
            nn.TransformerEncoderLayer(8, 2, 16, batch_first=True),
            nn.TransformerEncoderLayer(8, 2, 16, batch_first=True),
            nn.Flatten(),
            nn.Linear(40, 3),
        ),
        (5, 8),
    )


@pytest.mark.parametrize("steps", [0, 60])
@pytest.mark.parametrize(("name", "make", "shape"), list(good_networks()), ids=[name for name, *_ in good_networks()])
def test_fresh_and_trained_networks_have_no_problem(
    name: str, make: Callable[[], nn.Module], shape: tuple[int, ...], steps: int
) -> None:
    model = seeded(make, seed=1)
    x, y = noise(96, *shape), torch.arange(96) % 3
    x[:, ..., 0] += y.view(-1, *[1] * (x.ndim - 2)) * 3.0
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    with torch.random.fork_rng(devices=[]):
        for _ in range(steps):
            optimizer.zero_grad()
            functional.cross_entropy(model(x), y).backward()
            optimizer.step()
    batches = list(zip(x.split(40), y.split(40), strict=True))
    assert problems(health(Subject(model, data=batches, loss=functional.cross_entropy))) == []


# --- errors, and leaving no trace -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("inputs", "targets", "says"),
    [
        (torch.ones(4, 5), torch.zeros(4, dtype=torch.long), "the model refuses the inputs of batch 1: mat1 and mat2"),
        (torch.ones(4, 3), torch.full((4,), 7), "the loss refuses the targets of batch 1: Target 7 is out of bounds"),
        (torch.full((4, 3), math.nan), torch.zeros(4, dtype=torch.long), "the inputs of batch 1 hold NaN"),
    ],
)
def test_refusals_are_told_in_plain_words(inputs: Tensor, targets: Tensor, says: str) -> None:
    good = (torch.ones(4, 3), torch.zeros(4, dtype=torch.long))
    subject = Subject(nn.Linear(3, 2), data=[good, (inputs, targets)], loss=functional.cross_entropy)
    with pytest.raises(MeasurementError) as raised:
        health(subject)
    assert raised.value.what.startswith(says)
    assert "\n" not in raised.value.what
    assert raised.value.todo


def test_a_loss_that_is_nan_although_all_outputs_are_finite_is_an_error() -> None:
    subject = Subject(nn.Linear(3, 2), data=data(3, classes=2), loss=lambda y, _: (y.sum() * 0).log() * 0)
    with pytest.raises(MeasurementError, match="the loss is nan"):
        health(subject)


def test_torchscript_is_refused_and_a_scripted_part_is_named() -> None:
    class Part(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = torch.jit.trace(nn.Sequential(nn.Linear(4, 4)), torch.ones(1, 4))
            self.head = nn.Linear(4, 3)

        def forward(self, x: Tensor) -> Tensor:
            return self.head(self.inner(x))

    part = Part()
    reading = health(Subject(part, data=data(4), loss=functional.cross_entropy))
    assert [layer.name for layer in reading.layers] == ["head"]
    assert reading.left_out == (LeftOut("inner", "TorchScript: its layers cannot be seen"),)
    with pytest.raises(MeasurementError, match="none of the model's layers can be seen"):
        health(Subject(part.inner, data=data(4), loss=functional.cross_entropy))


def test_needs_are_checked() -> None:
    assert HEALTH.needs == Needs.MODEL | Needs.DATA
    with pytest.raises(MeasurementError, match="health needs data"):
        health(Subject(nn.Linear(3, 2)))


class PassOn(nn.Module):
    """Puts out the caller's own tensor, on which no hook may stay."""

    def forward(self, x: Tensor) -> Tensor:
        return x


def state(model: nn.Module) -> Any:
    tensors = [(name, tensor.clone()) for name, tensor in model.state_dict().items()]
    hooks = [(len(m._forward_hooks), len(m._forward_pre_hooks), m.training) for m in model.modules()]
    gradients = [None if p.grad is None else p.grad.clone() for p in model.parameters()]
    return tensors, hooks, gradients, torch.get_rng_state(), torch.is_grad_enabled(), torch.backends.cudnn.enabled


@pytest.mark.parametrize("fails", [False, True])
def test_nothing_is_disturbed(fails: bool) -> None:
    model = seeded(
        lambda: nn.Sequential(PassOn(), nn.Linear(4, 4), nn.BatchNorm1d(4), nn.Dropout(), nn.ReLU(), nn.Linear(4, 3))
    ).train()
    x, y = data(4)[0]
    x.requires_grad_()
    functional.cross_entropy(model(x), y).backward()
    x.grad = None
    before = state(model)
    batches = [(x, y), (x, y + (100 if fails else 0))]
    subject = Subject(model, data=batches, loss=functional.cross_entropy)
    if fails:
        with pytest.raises(MeasurementError):
            health(subject)
    else:
        health(subject)
    for one, other in zip(
        torch.utils._pytree.tree_leaves(before), torch.utils._pytree.tree_leaves(state(model)), strict=True
    ):
        assert torch.equal(one, other) if isinstance(one, Tensor) else one == other
    assert x.grad is None
    assert not x._backward_hooks


def test_measures_without_gradients_being_recorded_outside() -> None:
    model = seeded(lambda: nn.Linear(4, 3))
    inside = health(Subject(model, data=data(4), loss=functional.cross_entropy))
    with torch.no_grad():
        assert health(Subject(model, data=data(4), loss=functional.cross_entropy)) == inside


# --- the record -----------------------------------------------------------------------------------------------------


def test_the_reading_survives_the_disk_and_draws(tmp_path: Any) -> None:
    for known in HEALTH.known[::3]:
        reading = health(known.make(), generator=torch.Generator().manual_seed(3))
        folder = tmp_path / known.name[:5]
        folder.mkdir(exist_ok=True)
        reading.save(folder)
        assert Health.load(folder) == reading
        assert to_svg(reading.plot()).startswith("<svg")
        assert reading.summary().endswith(".")
        assert all(found.instrument == "health" for found in reading.findings())


def test_a_reading_shows_itself_in_the_terminal_as_a_table() -> None:
    reading = health(HEALTH.known[3].make())
    assert repr(reading) == str(reading)
    assert "LayerHealth(" not in repr(reading)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("size", [1e-300, 1e-30, 1e30, 1e150])
def test_values_of_any_size_are_measured_and_drawn(size: float) -> None:
    model = seeded(lambda: nn.Sequential(*[nn.Linear(8, 8) for _ in range(5)])).double()
    with torch.no_grad():
        model[0].weight.mul_(size)
        model[3].weight.mul_(1 / size)
    reading = health(Subject(model, data=data(8, dtype=torch.float64), loss=lambda y, _: y.mean()))
    assert reading.findings() is not None
    assert to_svg(reading.plot()).startswith("<svg")


def test_the_table_has_its_columns() -> None:
    reading = health(Subject(seeded(lambda: nn.Sequential(nn.Linear(4, 3), nn.ReLU())), data=data(4)))
    table = reading.table()
    assert list(table) == [
        "name", "kind", "units", "activation_mean", "activation_std", "dead_fraction", "saturated_fraction",
        "constant_fraction", "nonfinite_fraction", "gradient_norm", "gradient_norm_stderr", "gradient_to_weight",
        "status",
    ]  # fmt: skip
    assert table["gradient_norm"].isna().all()
    assert table["gradient_norm"].dtype == float


def test_the_glance_names_layers_and_keeps_intervals_positive() -> None:
    tracks = {track.label: track for track in health(HEALTH.known[3].make()).glance()}
    assert set(tracks) == {"dead units (share)", "gradient norm", "activation spread"}
    track = tracks["gradient norm"]
    assert set(track.low) <= set(track.values)
    assert all(0 < track.low[name] <= track.values[name] <= track.high[name] for name in track.low)


def test_a_thousand_layers_make_a_small_picture() -> None:
    model = nn.Sequential(*[m for _ in range(500) for m in (nn.Linear(2, 2), nn.ReLU())])
    for layer in model[::2]:
        nn.init.eye_(layer.weight)
        nn.init.constant_(layer.bias, 1e-3)
    reading = health(Subject(model, data=data(2, classes=2), loss=functional.cross_entropy))
    assert len(reading.layers) == 1000
    assert len(to_svg(reading.plot())) < 200_000
