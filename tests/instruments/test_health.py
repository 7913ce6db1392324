"""Health against closed forms, a naive twin, planted faults and good networks."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from deepscope.core import LeftOut, MeasurementError, Needs
from deepscope.figures import to_svg
from deepscope.instruments import HEALTH, Health, health
from deepscope.instruments._health_profile import depth_profile
from deepscope.subject import Subject, Watch


def noise(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


def seeded(make: Callable[[], nn.Module], seed: int = 0) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return make()


def data(
    features: int, *, sizes: tuple[int, ...] = (16, 16), classes: int = 3, dtype: torch.dtype = torch.float32
) -> Any:
    labels = torch.arange(max(sizes)) % classes
    return [(noise(size, features, seed=index, dtype=dtype), labels[:size]) for index, size in enumerate(sizes)]


def row(reading: Health, name: str) -> Any:
    (found,) = [layer for layer in reading.layers if layer.name == name]
    return found


def problems(reading: Health, severity: str = "problem") -> list[tuple[str, str]]:
    return [(found.where, found.message) for found in reading.findings() if found.severity == severity]


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


# --- planted faults beyond the known list ---------------------------------------------------------------------------


def test_a_fault_is_told_once_with_what_follows_from_it() -> None:
    model = seeded(lambda: nn.Sequential(*[m for _ in range(6) for m in (nn.Linear(8, 8), nn.ReLU())], nn.Linear(8, 3)))
    with torch.no_grad():
        model[4].bias.fill_(-100.0)
    reading = health(Subject(model, data=data(8, sizes=(32,)), loss=functional.cross_entropy))
    found = [(f.severity, f.where) for f in reading.findings() if f.severity != "note"]
    # Behind it outputs are constant, before it gradients are zero: neither is a second fault.
    assert found == [("problem", "5")]
    assert "output is constant" in reading.findings()[0].message
    assert reading.output_constant is True
    assert row(reading, "0").gradient_norm == 0


@pytest.mark.parametrize(("units", "severity"), [(1, "warning"), (8, "problem")])
def test_a_shut_gate_of_few_units_beside_the_way_is_a_warning(units: int, severity: str) -> None:
    class Gated(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.squeeze, self.relu, self.excite = nn.Linear(4, units), nn.ReLU(), nn.Linear(units, 4)
            self.head = nn.Linear(4, 3)

        def forward(self, x: Tensor) -> Tensor:
            return self.head(x * self.excite(self.relu(self.squeeze(x))).sigmoid())

    model = seeded(Gated)
    nn.init.constant_(model.squeeze.bias, -100.0)
    found = health(Subject(model, data=data(4), loss=functional.cross_entropy)).findings()
    assert [(each.severity, each.where) for each in found] == [(severity, "relu")]


def test_the_first_of_non_finite_layers_is_named() -> None:
    model = seeded(lambda: nn.Sequential(nn.Linear(4, 4), nn.Tanh(), nn.Linear(4, 4), nn.Tanh(), nn.Linear(4, 3)))
    with torch.no_grad():
        model[2].weight[1, 1] = math.inf
    reading = health(Subject(model, data=data(4), loss=functional.cross_entropy))
    found = problems(reading)
    assert [where for where, _ in found] == ["2"]
    assert "NaN or infinite" in found[0][1]
    assert row(reading, "2").nonfinite_fraction == 1 / 4
    assert row(reading, "2").activation_mean is not None
    assert row(reading, "1").nonfinite_fraction == 0


def test_a_gradient_that_is_not_finite_is_a_problem_where_it_starts() -> None:
    class RootOfZero(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Linear(4, 4), nn.Linear(4, 3)

        def forward(self, x: Tensor) -> Tensor:
            return self.b((self.a(x) * 0).sqrt())

    reading = health(Subject(seeded(RootOfZero), data=data(4), loss=functional.cross_entropy))
    assert row(reading, "a").gradient_norm is None
    assert row(reading, "a").status == "non-finite gradient"
    assert "a" in [where for where, message in problems(reading) if "gradient" in message]


def test_a_constant_output_names_the_layer_from_which_on_nothing_varies() -> None:
    model = seeded(lambda: nn.Sequential(nn.Linear(4, 4), nn.Tanh(), nn.Linear(4, 4), nn.Tanh(), nn.Linear(4, 3)))
    with torch.no_grad():
        model[2].weight.zero_()
    found = problems(health(Subject(model, data=data(4), loss=functional.cross_entropy)))
    assert [where for where, _ in found] == ["2"]
    assert found[0][1] == (
        "The network's output is constant: the same for every input; from 2 on nothing depends on the input."
    )


def test_a_constant_last_layer_is_told_without_a_place_further_back() -> None:
    model = seeded(lambda: nn.Sequential(nn.Linear(4, 4), nn.Tanh(), nn.Linear(4, 3)))
    nn.init.zeros_(model[2].weight)
    assert problems(health(Subject(model, data=data(4)))) == [
        ("2", "The network's output is constant: the same for every input.")
    ]


def test_evidence_counts_units_and_messages_give_a_percentage() -> None:
    model = seeded(lambda: nn.Sequential(nn.Linear(8, 25), nn.ReLU(), nn.Linear(25, 3)))
    with torch.no_grad():
        model[0].weight.mul_(0.01)
        model[0].bias.fill_(1.0)[:6].fill_(-100.0)
    (dead,) = health(Subject(model, data=data(8, sizes=(30,)))).findings()
    assert dead.message.startswith("24 % of the units of the ReLU layer 1 are dead")
    assert dead.evidence.startswith("6 of 25 units shut at every one of 30 samples: such a unit is open for fewer than")
    # The rule of three.
    assert "fewer than 0.1 of inputs (95 %)" in dead.evidence
    bounded = nn.Sequential(nn.Linear(8, 10), nn.Tanh(), nn.Linear(10, 3))
    with torch.no_grad():
        bounded[0].weight.mul_(0.001)
        bounded[0].bias.fill_(0.1)[:7].fill_(9.0)
    (stuck,) = health(Subject(bounded, data=data(8, sizes=(30,)))).findings()
    assert stuck.message.startswith("70 % of the units of the Tanh layer 1 are saturated")
    assert stuck.evidence.startswith("7 of 10 units with at least 95 %")
    with torch.no_grad():
        model[0].bias.fill_(-100.0)
    (all_dead,) = health(Subject(model, data=data(8, sizes=(30,)))).findings()
    assert all_dead.evidence.startswith("25 of 25 units shut at every one of 30 samples")


def test_a_share_over_several_functions_is_not_told_as_a_count_of_units() -> None:
    class Both(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.head = nn.Linear(4, 5), nn.Linear(5, 3)

        def forward(self, x: Tensor) -> Tensor:
            hidden = self.a(x)
            return self.head(hidden.relu() + (hidden - 50).relu())

    model = seeded(Both)
    nn.init.constant_(model.a.bias, 9.0)
    reading = health(Subject(model, data=data(4, sizes=(30,))))
    # Five gates are open and five are shut: half of ten gates, and 2.5 of 5 units.
    assert row(reading, "a").dead_fraction == 0.5
    (finding,) = reading.findings()
    assert finding.evidence.startswith("50 % of its 5 units shut")


def test_constant_inputs_or_a_constant_side_branch_are_no_fault() -> None:
    class Positions(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.position, self.head = nn.Embedding(4, 4), nn.Linear(4, 3)

        def forward(self, x: Tensor) -> Tensor:
            return self.head(x + self.position(torch.tensor([2])))

    assert problems(health(Subject(seeded(Positions), data=data(4)))) == []
    same = [(torch.ones(8, 4), torch.zeros(8))]
    reading = health(Subject(seeded(Positions), data=same))
    assert reading.output_constant is None
    assert problems(reading) == []


def test_a_gradient_of_exactly_zero_is_a_warning() -> None:
    class Detached(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Linear(4, 4), nn.Linear(4, 3)

        def forward(self, x: Tensor) -> Tensor:
            return self.b(x + 0 * self.a(x))

    warned = problems(health(Subject(seeded(Detached), data=data(4), loss=functional.cross_entropy)), "warning")
    assert [where for where, _ in warned] == ["a"]
    assert "exactly zero" in warned[0][1]


def test_a_saturated_output_is_no_fault_and_few_samples_make_no_dead_units() -> None:
    model = seeded(lambda: nn.Sequential(nn.Linear(4, 4), nn.Sigmoid()))
    with torch.no_grad():
        model[0].weight.mul_(1000)
    reading = health(Subject(model, data=data(4)))
    assert row(reading, "1").saturated_fraction is not None
    assert row(reading, "1").saturated_fraction > 0.5
    assert reading.findings() == ()
    few = health(
        Subject(seeded(lambda: nn.Sequential(nn.Linear(4, 64), nn.ReLU(), nn.Linear(64, 2))), data=data(4, sizes=(2,)))
    )
    assert row(few, "1").dead_fraction > 0.1
    assert few.findings() == ()


def test_fresh_batch_normalisation_allows_no_verdict_on_depth() -> None:
    layers = [m for _ in range(12) for m in (nn.Linear(16, 16), nn.BatchNorm1d(16), nn.ReLU())]
    model = seeded(lambda: nn.Sequential(*layers, nn.Linear(16, 3)))
    reading = health(Subject(model, data=data(16), loss=functional.cross_entropy))
    assert reading.profile.verdict == "cannot say"
    assert "no statistics yet" in reading.profile.status


# --- how bad vanishing and exploding are ------------------------------------------------------------------------------


def deep(activation: type[nn.Module], depth: int, width: int = 64) -> nn.Sequential:
    return nn.Sequential(
        *[m for _ in range(depth) for m in (nn.Linear(width, width), activation())], nn.Linear(width, 3)
    )


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(("activation", "depth"), [(nn.GELU, 8), (nn.SiLU, 8), (nn.ReLU, 12), (nn.ReLU, 10)])
def test_deep_default_stacks_that_train_are_at_most_warned_of(
    activation: type[nn.Module], depth: int, seed: int
) -> None:
    subject = Subject(
        seeded(lambda: deep(activation, depth), seed), data=data(64, sizes=(64,)), loss=functional.cross_entropy
    )
    reading = health(subject)
    assert problems(reading) == []
    assert reading.profile.first_to_last is not None
    vanish = [message for _, message in problems(reading, "warning") if "vanish" in message]
    assert bool(vanish) == (reading.profile.first_to_last <= 1e-3)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(("depth", "xavier"), [(6, False), (10, False), (10, True)])
def test_sigmoid_stacks_are_a_problem(depth: int, xavier: bool, seed: int) -> None:
    model = seeded(lambda: deep(nn.Sigmoid, depth), seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        for layer in model[::2] if xavier else ():
            nn.init.xavier_normal_(layer.weight)
    reading = health(Subject(model, data=data(64, sizes=(64,)), loss=functional.cross_entropy))
    assert any("vanish" in message for _, message in problems(reading))


@pytest.mark.parametrize(
    ("factor", "layers", "severity"),
    [
        # At most 0.27 per layer and 1e-4 in all, or 1e-6 in all; else from 1e-3 on a warning.
        (0.26, 8, "problem"),
        (0.26, 7, "warning"),
        (0.28, 9, "warning"),
        (0.28, 12, "problem"),
        (0.5, 15, "warning"),
        (0.5, 22, "problem"),
        (0.5, 9, None),
    ],
)
def test_the_severity_of_vanishing_follows_its_rule(factor: float, layers: int, severity: str | None) -> None:
    model = nn.Sequential(*[nn.Linear(1, 1, bias=False, dtype=torch.float64) for _ in range(layers)])
    with torch.no_grad():
        for layer in model:
            layer.weight.fill_(factor)
    x = torch.tensor([[1.0], [2.0]], dtype=torch.float64)
    found = health(Subject(model, data=[(x, x)], loss=lambda y, _: y.mean())).findings()
    assert [each.severity for each in found if "vanish" in each.message] == ([severity] if severity else [])


class Unrolled(nn.Module):
    """A recurrent layer whose state grows by a factor per step."""

    def __init__(self, factor: float) -> None:
        super().__init__()
        self.cell = nn.RNN(1, 32, batch_first=True, nonlinearity="relu")
        self.out = nn.Linear(32, 10)
        nn.init.orthogonal_(self.cell.weight_hh_l0)
        with torch.no_grad():
            self.cell.weight_hh_l0.mul_(factor)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.cell(x)[0][:, -1])


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(("factor", "severity"), [(2.5, "problem"), (1.0, None)])
def test_gradients_that_explode_inside_a_recurrent_layer_are_seen(factor: float, severity: str, seed: int) -> None:
    batches = [(noise(16, 64, 1, seed=seed).abs(), torch.arange(16) % 10)]
    reading = health(Subject(seeded(lambda: Unrolled(factor), seed), data=batches, loss=functional.cross_entropy))
    bad = [f for f in reading.findings() if f.severity != "note"]
    assert [(f.severity, f.where) for f in bad] == ([(severity, "cell")] if severity else [])
    if bad:
        assert "explode" in bad[0].message
        assert row(reading, "cell").gradient_to_weight > 1e6


@pytest.mark.parametrize(("size", "severity"), [(1.0, []), (100.0, []), (1000.0, ["warning"]), (1e7, ["problem"])])
def test_regression_on_large_targets_is_told_where_a_step_would_replace_the_weights(
    size: float, severity: list[str]
) -> None:
    """With targets of size t the gradient is some 3t: a step of 1e-3 moves weights of size 1 by 3 at t = 1,000."""
    model = seeded(lambda: nn.Sequential(nn.Linear(20, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 1)))
    x = noise(128, 20)
    found = health(Subject(model, data=[(x, size * (1 + x[:, :1].tanh()))], loss=functional.mse_loss)).findings()
    assert [each.severity for each in found] == severity


def test_weights_near_zero_do_not_make_their_gradients_explode() -> None:
    model = seeded(lambda: nn.Sequential(nn.Linear(8, 16), nn.Tanh(), nn.Linear(16, 3)))
    with torch.no_grad():
        model[2].weight.mul_(1e-9)
    reading = health(Subject(model, data=data(8), loss=functional.cross_entropy))
    assert row(reading, "2").gradient_to_weight > 1e6
    assert not any("explode" in f.message or "too large" in f.message for f in reading.findings())


def test_an_exploding_profile_is_told_once() -> None:
    reading = health(next(known for known in HEALTH.known if "exploding" in known.name).make())
    assert max(layer.gradient_to_weight or 0 for layer in reading.layers) > 1e6
    assert len([f for f in reading.findings() if "explode" in f.message]) == 1


# --- outputs that do not depend on the input --------------------------------------------------------------------------


class Deaf(nn.Module):
    """A language model that sees its positions and not its tokens."""

    def __init__(self, hears: float = 0.0) -> None:
        super().__init__()
        self.embed, self.position, self.head = nn.Embedding(20, 16), nn.Embedding(12, 16), nn.Linear(16, 20)
        self.hears = hears

    def forward(self, ids: Tensor) -> Tensor:
        return self.head(self.hears * self.embed(ids) + self.position(torch.arange(ids.shape[1])))


class Decoder(nn.Module):
    def __init__(self, gain: float) -> None:
        super().__init__()
        self.linear, self.up = nn.Linear(8, 64), nn.ConvTranspose2d(4, 1, 4, 2, 1)
        with torch.no_grad():
            self.linear.weight.mul_(gain)

    def forward(self, z: Tensor) -> Tensor:
        return self.up(self.linear(z).relu().view(-1, 4, 4, 4))


def deaf_gru(gain: float) -> nn.Module:
    gru = nn.GRU(3, 8, batch_first=True)
    with torch.no_grad():
        gru.weight_ih_l0.mul_(gain)
    return gru


def flattened(gain: float) -> nn.Module:
    return nn.Sequential(Deaf(gain), nn.Flatten(0, 1))


TOKENS = [(torch.randint(20, (6, 9), generator=torch.Generator().manual_seed(seed)), torch.zeros(6)) for seed in (1, 2)]
DEAF: dict[str, tuple[Callable[[float], nn.Module], Any]] = {
    "language model": (Deaf, TOKENS),
    "language model, flattened": (flattened, TOKENS),
    "decoder": (Decoder, [(noise(6, 8, seed=seed), torch.zeros(6)) for seed in range(2)]),
    "recurrent": (deaf_gru, [(noise(6, 5, 3, seed=seed), torch.zeros(6)) for seed in range(2)]),
}


@pytest.mark.parametrize("name", DEAF)
def test_an_output_that_depends_on_the_position_alone_is_constant(name: str) -> None:
    make, batches = DEAF[name]
    for gain, constant in ((0.0, True), (1e-3, False), (1.0, False)):
        reading = health(Subject(seeded(lambda g=gain: make(g)), data=batches))
        assert reading.output_constant is constant
        assert any("constant" in message for _, message in problems(reading)) == constant
    same = [(batches[0][0][:1].expand(4, *batches[0][0].shape[1:]), torch.zeros(4))]
    assert health(Subject(seeded(lambda: make(0.0)), data=same)).output_constant is None


@pytest.mark.parametrize("time_first", [False, True])
def test_what_a_deaf_model_makes_of_padding_is_not_its_output(time_first: bool) -> None:
    class Counts(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed = nn.Embedding(20, 4)
            self.batch_first = not time_first

        def forward(self, ids: Tensor) -> Tensor:
            out = self.embed(0 * ids + torch.arange(ids.shape[1])) + 100.0 * (ids == 0)[..., None]
            return out.transpose(0, 1) if time_first else out

    ids = torch.tensor([[3, 4, 5, 6, 7], [4, 5, 0, 0, 0], [6, 2, 9, 0, 0]])
    subject = Subject(seeded(Counts), data=[(ids, torch.zeros(3))])
    assert health(subject).output_constant is False
    masked = Subject(seeded(Counts), data=[(ids, torch.zeros(3))], mask=lambda ids: ids != 0)
    assert health(masked).output_constant is True


def test_batches_of_different_lengths_are_not_compared_by_position() -> None:
    ids = [torch.arange(n).repeat(3, 1) + torch.arange(3)[:, None] for n in (4, 6)]
    assert health(Subject(seeded(Deaf), data=[(each, torch.zeros(3)) for each in ids])).output_constant is False


# --- a part of the network --------------------------------------------------------------------------------------------


def with_a_zero_head() -> nn.Module:
    model = seeded(
        lambda: nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 2), nn.Tanh())
    )
    nn.init.zeros_(model[4].weight)
    return model


@pytest.mark.parametrize(
    ("patterns", "where", "more"),
    [
        (("0",), "", "; where that begins lies outside the chosen part."),
        (("0", "2"), "", "; where that begins lies outside the chosen part."),
        (("5",), "5", "; what comes before it lies outside the chosen part."),
        (("4", "5"), "4", "; what comes before it lies outside the chosen part."),
        (("3", "4", "5"), "4", "; from 4 on nothing depends on the input."),
        (("4",), "", "; where that begins lies outside the chosen part."),
        (("*",), "4", "; from 4 on nothing depends on the input."),
    ],
)
def test_a_fault_outside_the_chosen_part_is_not_put_on_a_chosen_layer(
    patterns: tuple[str, ...], where: str, more: str
) -> None:
    subject = Subject(with_a_zero_head(), data=data(8, classes=2, sizes=(40,)), loss=functional.cross_entropy)
    found = [f for f in health(subject.only(*patterns)).findings() if "output is constant" in f.message]
    assert [(f.where, f.message) for f in found] == [
        (where, f"The network's output is constant: the same for every input{more}")
    ]


def test_what_a_part_does_not_show_is_not_said_of_the_whole() -> None:
    class Cut(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b, self.c = nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 3)

        def forward(self, x: Tensor) -> Tensor:
            return self.c(self.b(x) + 0 * self.a(x))

    subject = Subject(seeded(Cut), data=data(4), loss=functional.cross_entropy).only("a")
    (found,) = health(subject).findings()
    assert (found.severity, found.where) == ("warning", "a")
    assert "every layer" not in found.message
    # The last of the chosen layers is not the network's output, where saturation would be wanted.
    model = seeded(lambda: nn.Sequential(nn.Linear(4, 4), nn.Tanh(), nn.Linear(4, 3)))
    with torch.no_grad():
        model[0].weight.mul_(1e3)
    (stuck,) = [f for f in health(Subject(model, data=data(4)).only("1")).findings() if "saturated" in f.message]
    assert stuck.where == "1"


def test_with_a_forward_of_the_callers_own_a_part_says_nothing_of_the_output() -> None:
    model = with_a_zero_head()
    subject = Subject(model, data=data(8), forward=lambda m, x: m[5](m[4](m[3](m[2](m[1](m[0](x)))))))
    assert health(subject).output_constant is True
    assert health(subject.only("5")).output_constant is None


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
