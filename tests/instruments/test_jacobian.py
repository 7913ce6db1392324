"""Jacobians against autograd's own, closed forms and mean-field theory."""

from __future__ import annotations

import itertools
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.integrate import quad
from torch import Tensor, nn
from torch.autograd.functional import jacobian as dense
from torch.nn.utils.parametrizations import spectral_norm

from deepscope.core import DoesNotApplyError, MeasurementError, UsageError
from deepscope.instruments import Jacobian, jacobian, lyapunov
from deepscope.subject import Subject


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def mlp() -> nn.Module:
    torch.manual_seed(1)
    return nn.Sequential(nn.Linear(5, 9), nn.Tanh(), nn.Dropout(0.5), nn.Linear(9, 7), nn.ReLU(), nn.Linear(7, 3))


def cnn() -> nn.Module:
    torch.manual_seed(1)
    return nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(inplace=True), nn.MaxPool2d(2),
        nn.Conv2d(4, 4, 2, groups=2), nn.GELU(), nn.Flatten(), nn.Linear(36, 3),
    )  # fmt: skip


class Residual(nn.Module):
    def __init__(self, depth: int = 2) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(nn.Sequential(nn.Linear(6, 6), nn.Tanh()) for _ in range(depth))
        self.out = nn.Linear(6, 4)

    def forward(self, x: Tensor) -> Tensor:
        for block in self.blocks:
            x = x + block(x)
        return self.out(torch.relu(x))


class Attention(nn.Module):
    """Positions of their own, self-attention, and sequences in the second dimension within."""

    def __init__(self) -> None:
        super().__init__()
        self.place = nn.Embedding(3, 4)
        self.attention, self.recurrent, self.out = nn.MultiheadAttention(4, 2), nn.GRU(4, 4), nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        h = (x + self.place(torch.arange(3))).transpose(0, 1)
        h = h + self.attention(h, h, h, need_weights=False)[0]
        return self.out(self.recurrent(h)[0][-1])


MODELS = {"mlp": (mlp, (7, 5)), "cnn": (cnn, (5, 1, 8, 8)), "residual": (Residual, (6, 6)),
          "attention": (Attention, (4, 3, 4))}  # fmt: skip


def made(name: str) -> tuple[nn.Module, Tensor]:
    make, shape = MODELS[name]
    torch.manual_seed(2)
    return make().double(), noise(*shape)


def dense_rows(model: nn.Module, x: Tensor) -> Tensor:
    """The naive twin: sample by sample, [n, outputs, inputs]."""
    model = model.eval()
    each = [dense(model, x[i : i + 1]) for i in range(len(x))]
    return torch.stack([J.reshape(-1, x[0].numel()) for J in each])


@pytest.mark.parametrize("name", MODELS)
def test_singular_values_are_autograds(name: str) -> None:
    model, x = made(name)
    expected = torch.linalg.svdvals(dense_rows(model, x)).numpy()
    # Uneven batches, and only so many of the samples.
    found = jacobian(Subject(model, [(x[:2], None), (x[2:3], None), (x[3:], None)]), 4)
    # Sums of some hundred products in float64.
    np.testing.assert_allclose(found.singular_values, expected[:4], rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(found.frobenius, (expected[:4] ** 2).sum(1), rtol=1e-9)
    assert found.is_complete
    assert not found.singular_value_errors.any()
    assert found.lipschitz_at_samples == pytest.approx(expected[:4, 0].max(), rel=1e-12)
    # Rectifiers that are shut leave some values zero, which have no logarithm.
    spread = [np.log(values[values > 1e-6 * values[0]]).std() for values in expected[:4]]
    np.testing.assert_allclose(found.log_spread, spread, rtol=1e-6)
    whole = expected[:4, -1] > 1e-6 * expected[:4, 0]
    condition = (expected[:4, 0] / expected[:4, -1])[whole]
    np.testing.assert_allclose(found.condition[whole], condition, rtol=1e-8)


@pytest.mark.parametrize("name", MODELS)
def test_leading_values_lie_within_their_bounds(name: str) -> None:
    model, x = made(name)
    J = dense_rows(model, x)
    expected = torch.linalg.svdvals(J)[:, :2].numpy()
    found = jacobian(Subject(model, [(x, None)]), top=2)
    assert found.singular_values.shape == (len(x), 2)
    assert (found.singular_values <= expected * (1 + 1e-10) + 1e-12).all()
    assert (expected - found.singular_values <= found.singular_value_errors + 1e-12).all()
    np.testing.assert_allclose(found.frobenius, J.square().sum((1, 2)).numpy(), rtol=1e-9)


def test_wide_inputs_and_outputs_are_known_by_their_leading_values() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(300, 280), nn.Tanh(), nn.Linear(280, 270)).double()
    x = noise(3, 300)
    found = jacobian(Subject(model, [(x, None)]))
    expected = torch.linalg.svdvals(dense_rows(model, x)).numpy()
    assert found.singular_values.shape == (3, 10)
    assert not found.is_complete
    np.testing.assert_allclose(found.singular_values, expected[:, :10], rtol=2e-3)
    # Sixteen random vectors, hundreds of rows: Student's t of 15 degrees, five standard errors each.
    norms = (expected**2).sum(axis=1)
    assert (np.abs(found.frobenius - norms) <= 5 * found.frobenius_stderr).all()
    assert (found.frobenius_stderr > 0).all()
    assert (found.frobenius_stderr < 0.1 * norms).all()
    # The layers' numbers too, from products alone: σ_max to 1e-4, gain and isometry to their scatter over vectors.
    gram = [dense_rows(model[: i + 1], x).square().sum((1, 2)).mean() for i in range(3)]
    for layer, G, part in zip(found.layers, gram, (model[:1], model[:2], model), strict=True):
        values = torch.linalg.svdvals(dense_rows(part, x))
        assert layer.largest == pytest.approx(float(values[:, 0].max()), rel=1e-3)
        assert layer.gain == pytest.approx(float(G) / layer.outputs, rel=0.1)
        squares, fourths = values.square().sum(1), values.pow(4).sum(1)
        isometry = float(squares.square().sum() / (values.shape[1] * fourths.sum()))
        assert layer.isometry == pytest.approx(isometry, rel=0.1)


@pytest.mark.parametrize("name", ["mlp", "cnn"])
def test_layers_are_those_of_dense_blocks(name: str) -> None:
    model, x = made(name)
    model.eval()
    found = jacobian(Subject(model, [(x, None)]))
    rows = {each.name: each for each in found.layers}
    before = x
    for index, part in enumerate(model):
        block = dense_rows(_Function(lambda v, part=part: part(v.clone())), before)
        whole = dense_rows(model[: index + 1], x)
        before = model[: index + 1](x).detach()
        if isinstance(part, nn.Dropout):
            assert str(index) not in rows
            continue
        row = rows[str(index)]
        # Blocks of up to 64 rows are written out; above, elementwise and selecting ones are exact as well.
        exact = block.shape[1] <= 64 or not any(True for _ in part.parameters())
        chi = float(block.square().sum((1, 2)).mean()) / block.shape[1]
        assert row.chi == pytest.approx(chi, rel=1e-9 if exact else 0.1)
        squares = whole.square().sum((1, 2))
        assert row.gain == pytest.approx(float(squares.mean()) / whole.shape[1], rel=1e-9)
        values = torch.linalg.svdvals(whole)
        assert row.largest == pytest.approx(float(values[:, 0].max()), rel=1e-9)
        isometry = squares.square().sum() / (min(whole.shape[1:]) * values.pow(4).sum())
        assert row.isometry == pytest.approx(float(isometry), rel=1e-9)
        relative = squares / x[0].numel() * x.flatten(1).square().sum(1) / before.flatten(1).square().sum(1)
        assert row.sensitivity == pytest.approx(float(relative.log().mean().div(2).exp()), rel=1e-9)


def test_a_branch_has_its_own_chi_and_the_sum_its_gain() -> None:
    model, x = made("residual")
    found = {each.name: each for each in jacobian(Subject(model, [(x, None)])).layers}
    W = model.blocks[0][0].weight
    # Through the layer alone: what the residual connection carries past it is not its own.
    assert found["blocks.0.0"].chi == pytest.approx(float(W.detach().square().sum()) / 6, rel=1e-9)
    inner = noise(0)
    for i in range(len(x)):
        a = model.blocks[0](x[i])
        J = torch.eye(6, dtype=torch.float64) + (1 - a.square())[:, None] * W
        first = model.blocks[1][0].weight @ J
        inner = torch.cat([inner, first.square().sum()[None] / 6])
    assert found["blocks.1.0"].gain == pytest.approx(float(inner.detach().mean()), rel=1e-9)


def test_what_goes_past_a_layer_is_not_its_chi() -> None:
    torch.manual_seed(0)

    class Skip(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Linear(4, 4), nn.Linear(4, 3)

        def forward(self, x: Tensor) -> Tensor:
            return self.b(x + self.a(x))

    model = Skip().double()
    found = {each.name: each for each in jacobian(Subject(model, [(noise(5, 4), None)])).layers}
    W = model.a.weight.detach()
    assert found["a"].chi == pytest.approx(float(W.square().sum()) / 4, rel=1e-12)
    whole = model.b.weight.detach() @ (W + torch.eye(4, dtype=torch.float64))
    assert found["b"].gain == pytest.approx(float(whole.square().sum()) / 3, rel=1e-12)


def test_the_layer_at_which_changes_vanish_is_named() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(5, 8), nn.Tanh(), nn.Linear(8, 8), nn.Tanh(), nn.Linear(8, 3)).double()
    with torch.no_grad():
        model[2].weight.mul_(1e-6)
        model[2].bias.fill_(1.0)
    (found,) = jacobian(Subject(model, [(noise(6, 5), None)])).findings()
    assert (found.severity, found.where) == ("warning", "2")
    assert "die out" in found.message
    assert "at 2 alone" in found.evidence
    # Without the bias the same small weights are no fault: the next layer may make up for them.
    with torch.no_grad():
        model[2].bias.zero_()
        model[4].bias.zero_()
    assert jacobian(Subject(model, [(noise(6, 5), None)])).findings() == ()


@pytest.mark.parametrize("layers", [True, False])
@pytest.mark.parametrize("depth", [12, 80])
def test_a_deep_network_in_which_signals_die_out_layer_by_layer_is_noted(depth: int, layers: bool) -> None:
    """As torch initialises it: eighty sigmoids leave less than float32's smallest number, and the Jacobian is 0."""
    torch.manual_seed(0)
    hidden = [part for _ in range(depth) for part in (nn.Linear(8, 8), nn.Sigmoid())]
    found = jacobian(Subject(nn.Sequential(*hidden, nn.Linear(8, 3)), [(noise(6, 8).float(), None)]), layers=layers)
    assert bool(found.frobenius.any()) == (depth == 12)
    expected = [] if depth == 12 and not layers else ["note"]
    assert [each.severity for each in found.findings()] == expected


class _Branch(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.branch, self.out = nn.Linear(5, 5), nn.Linear(5, 3)
        nn.init.zeros_(self.branch.weight)

    def forward(self, x: Tensor) -> Tensor:
        made: Tensor = self.out(x + self.branch(x))
        return made


def test_a_branch_that_begins_at_zero_is_no_fault() -> None:
    torch.manual_seed(0)
    found = jacobian(Subject(_Branch().double(), [(noise(6, 5), None)])).findings()
    assert [(each.severity, each.where) for each in found] == [("note", "branch")]


@pytest.mark.parametrize("variance", [1.0, 2.0, 3.0])
def test_chi_of_wide_random_networks_is_that_of_mean_field_theory(variance: float) -> None:
    """χ₁ = σ_w² E φ′(√q z)² at the fixed point q = σ_w² E φ(√q z)² + σ_b² (``poole2016exponential``)."""
    bias, width, depth = 0.3, 400, 12

    def mean(f: Any, q: float) -> float:
        return quad(lambda z: f(math.sqrt(q) * z) * math.exp(-(z**2) / 2) / math.sqrt(2 * math.pi), -8, 8)[0]

    q = 1.0
    for _ in range(400):
        q = variance * mean(lambda h: math.tanh(h) ** 2, q) + bias**2
    expected = variance * mean(lambda h: (1 - math.tanh(h) ** 2) ** 2, q)
    torch.manual_seed(0)
    layers: list[nn.Module] = []
    for _ in range(depth):
        linear = nn.Linear(width, width)
        nn.init.normal_(linear.weight, std=math.sqrt(variance / width))
        nn.init.normal_(linear.bias, std=bias)
        layers += [linear, nn.Tanh()]
    x = math.sqrt(q) * torch.randn(8, width)
    found = jacobian(Subject(nn.Sequential(*layers), [(x, None)]), layers=False, top=1, probes=4)
    chi = np.array([each.chi for each in found.layers])
    # A layer of its weights and its activation; the first ones are still on their way to the fixed point.
    products = (chi[0::2] * chi[1::2])[6:]
    stderr = products.std(ddof=1) / math.sqrt(len(products))
    # Means over the random weights scatter by 1/width, and by 1/√(width·…) over the layers: four standard errors, or
    # 3 % where six layers agree by chance.
    assert products.mean() == pytest.approx(expected, abs=max(4 * stderr, 0.03 * expected))


@pytest.mark.demonstrates("spectral-norm")
def test_spectral_normalisation_bounds_every_layer_and_the_network() -> None:
    """Layers ≤ 1 ± 1e-3 after power iteration against the SVD; the network's bound on 1e5 pairs of inputs."""
    torch.manual_seed(0)
    sizes = (20, 40, 40, 10)
    linears = [spectral_norm(nn.Linear(a, b)) for a, b in itertools.pairwise(sizes)]
    model = nn.Sequential(linears[0], nn.ReLU(), linears[1], nn.ReLU(), linears[2]).double()
    model.train()
    x = noise(100_000, 20)
    for _ in range(300):
        model(x[:2])
    model.eval()
    found = jacobian(Subject(model, [(x[:32], None)]))
    for row, layer in zip(found.layers[::2], linears, strict=True):
        assert row.lipschitz == pytest.approx(1, abs=1e-3)
        assert row.lipschitz == pytest.approx(float(torch.linalg.svdvals(layer.weight)[0]), rel=1e-9)
    assert found.lipschitz_bound == pytest.approx(1, abs=3e-3)
    other = x + 10.0 ** torch.linspace(-4, 1, len(x))[:, None] * noise(100_000, 20, seed=1)
    with torch.no_grad():
        moved = (model(x) - model(other)).norm(dim=1) / (x - other).norm(dim=1)
    assert float(moved.max()) <= found.lipschitz_bound
    # Without it, the same network is not within 1: the test can fail.
    plain = nn.Sequential(*(nn.Linear(a, b) for a, b in itertools.pairwise(sizes))).double()
    with torch.no_grad():
        for layer in plain:
            layer.weight.mul_(2)
    assert jacobian(Subject(plain, [(x[:8], None)])).lipschitz_at_samples > 1.1


def test_integer_inputs_are_differentiated_at_their_embeddings() -> None:
    torch.manual_seed(0)

    class Tokens(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed, self.place = nn.Embedding(9, 3), nn.Embedding(5, 3)
            self.out = nn.Linear(3, 2)

        def forward(self, tokens: Tensor) -> Tensor:
            return self.out(torch.tanh(self.embed(tokens) + self.place(torch.arange(5)))).mean(1)

    model, tokens = Tokens().double(), torch.arange(20).reshape(4, 5) % 9
    found = jacobian(Subject(model, [(tokens, None)]))
    embedded = model.embed(tokens).detach()
    expected = dense_rows(
        _Function(lambda e: model.out(torch.tanh(e + model.place(torch.arange(5)))).mean(1)), embedded
    )
    np.testing.assert_allclose(found.singular_values, torch.linalg.svdvals(expected).numpy(), rtol=1e-9)
    assert found.respect_to == "embeddings"
    assert "embedded inputs" in found.summary()
    # What positions put out does not come from the inputs.
    rows = {each.name: each for each in found.layers}
    assert rows["embed"].gain == 1
    assert "the same for all samples" in rows["place"].status
    assert rows["place"].gain is None
    with pytest.raises(DoesNotApplyError, match="whole numbers"):
        jacobian(Subject(_Function(lambda t: t.double() @ torch.ones(5, 2, dtype=torch.float64)), [(tokens, None)]))


class _Function(nn.Module):
    def __init__(self, function: Any) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x)


class _Odd(nn.Module):
    """A reused layer, one that returns a tuple, one that returns nothing, and a branch on the values."""

    def __init__(self) -> None:
        super().__init__()
        self.twice = nn.Linear(4, 4)
        self.pair, self.silent = _Function(lambda x: (x * 2, x.sum())), _Function(lambda x: None)
        self.constant = _Function(lambda x: torch.ones_like(x))

    def forward(self, x: Tensor) -> Tensor:
        h = self.twice(torch.tanh(self.twice(x)))
        self.silent(h)
        h, _ = self.pair(h)
        return h + self.constant(h) if float(h.detach().sum()) < 1e9 else h


def test_odd_networks_are_measured_and_say_what_is_odd() -> None:
    torch.manual_seed(0)
    model, x = _Odd().double(), noise(5, 4)
    found = jacobian(Subject(model, [(x, None)]))
    np.testing.assert_allclose(found.singular_values, torch.linalg.svdvals(dense_rows(model, x)).numpy(), rtol=1e-9)
    rows = {each.name: each for each in found.layers}
    assert "called 2 times" in rows["twice"].status
    assert rows["pair"].chi == pytest.approx(4, rel=1e-9)
    assert "not floating-point" in rows["silent"].status
    assert rows["silent"].gain is None
    assert "does not depend" in rows["constant"].status
    assert found.lipschitz_bound is None
    assert "cannot be followed" in found.lipschitz_status
    assert [finding for finding in found.findings() if finding.severity != "note"] == []


def test_lengths_that_vary_leave_as_many_values_as_all_have() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(2, 2), nn.Tanh()).double()
    found = jacobian(Subject(model, [(noise(3, 2, 2), None), (noise(2, 5, 2), None)]))
    assert found.singular_values.shape == (5, 4)
    assert any("not all samples have" in each.reason for each in found.left_out)


def test_one_sample_duplicates_and_zeros() -> None:
    model = mlp().double()
    one = jacobian(Subject(model, [(noise(1, 5), None)]))
    assert one.singular_values.shape == (1, 3)
    assert one.layers[0].chi_low is None
    assert one.findings() == ()
    same = jacobian(Subject(model, [(noise(1, 5).expand(4, 5), None)]))
    np.testing.assert_allclose(same.singular_values, np.repeat(one.singular_values, 4, 0), rtol=1e-12)
    assert same.layers[0].chi_low == pytest.approx(same.layers[0].chi)
    zeros = jacobian(Subject(model, [(torch.zeros(3, 5, dtype=torch.float64), None)]))
    assert zeros.lipschitz_nearby is None
    assert zeros.layers[0].sensitivity is None
    assert any("zero" in each.reason for each in zeros.left_out)


def test_what_cannot_be_measured_is_a_clear_error() -> None:
    x = noise(4, 5)
    mixed = nn.Sequential(nn.Linear(5, 3), nn.BatchNorm1d(3, track_running_stats=False)).double()
    with pytest.raises(MeasurementError, match="other samples"):
        jacobian(Subject(mixed, [(x, None)]))
    with pytest.raises(MeasurementError, match="not a floating-point tensor"):
        jacobian(Subject(_Function(lambda x: (x > 0, None)), [(x, None)]))
    with pytest.raises(MeasurementError, match="not finite"):
        jacobian(Subject(_Function(lambda x: x / 0), [(x, None)]))
    with pytest.raises(UsageError, match="samples must be"):
        jacobian(Subject(mlp().double(), [(x, None)]), 0)
    with pytest.raises(UsageError, match="radius"):
        jacobian(Subject(mlp().double(), [(x, None)]), radius=-1.0)


def test_climbing_finds_more_where_there_is_more() -> None:
    """f = sin(x₁): |f′| = |cos x₁| is 1 only at multiples of π."""
    model, x = _Function(lambda x: torch.sin(x[:, :1])), torch.tensor([[0.5, 0.0], [0.6, 0.0]], dtype=torch.float64)
    found = jacobian(Subject(model, [(x, None)]), radius=1.0)
    assert found.lipschitz_at_samples == pytest.approx(math.cos(0.5))
    assert found.lipschitz_nearby == pytest.approx(1, abs=0.05)
    near = jacobian(Subject(model, [(x, None)]), radius=0.1)
    # Never farther than the radius: cos 0.4 at most.
    assert near.lipschitz_at_samples < near.lipschitz_nearby <= math.cos(0.4) + 1e-12


def test_numbers_do_not_depend_on_how_samples_are_run(monkeypatch: pytest.MonkeyPatch) -> None:
    from deepscope.instruments import _jacobian_run

    model, x = made("cnn")
    whole = jacobian(Subject(model, [(x, None)]))
    monkeypatch.setattr(_jacobian_run, "CHUNK", 2)
    parts = jacobian(Subject(model, [(x, None)]))
    np.testing.assert_allclose(whole.singular_values, parts.singular_values, rtol=1e-10)
    np.testing.assert_allclose(whole.table()["gain"].to_numpy(), parts.table()["gain"].to_numpy(), rtol=1e-10)


class Recurrent(nn.Module):
    def __init__(self, cell: nn.Module) -> None:
        super().__init__()
        self.cell, self.out = cell, nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        if isinstance(self.cell, nn.RNNBase):
            return self.out(self.cell(x)[0][:, -1])
        h = x.new_zeros(len(x), 4)
        for t in range(x.shape[1]):
            h = self.cell(x[:, t], h)
        return self.out(h)


def test_recurrent_layers_have_lyapunov_exponents() -> None:
    torch.manual_seed(0)
    layer, x = nn.RNN(3, 4, batch_first=True).double(), noise(6, 40, 3)
    found = jacobian(Subject(Recurrent(layer).double(), [(x, None)]))
    (exponents,) = found.recurrent
    assert (exponents.name, exponents.part, exponents.n_sequences) == ("cell", "l0", 6)
    # The naive twin: the singular values of each whole product behind the transient, to the mean over 1/(2T) ln κ.
    (alone,) = lyapunov(layer, x)
    np.testing.assert_allclose(alone.spectrum.exponents, exponents.spectrum.exponents, atol=0.05)
    assert found.summary().endswith("per step.")
    # The same weights in a cell that runs step by step.
    cell = nn.RNNCell(3, 4).double()
    cell.load_state_dict({name.removesuffix("_l0"): each for name, each in layer.state_dict().items()})
    stepped = jacobian(Subject(Recurrent(cell).double(), [(x, None)]))
    np.testing.assert_allclose(stepped.recurrent[0].spectrum.exponents, exponents.spectrum.exponents, rtol=1e-9)
    assert stepped.recurrent[0].part == ""


def test_a_chaotic_recurrent_layer_is_noted() -> None:
    torch.manual_seed(0)
    layer = nn.RNN(1, 64, batch_first=True).double()
    with torch.no_grad():
        layer.weight_hh_l0.copy_(2.5 * noise(64, 64) / 8)
        layer.weight_ih_l0.mul_(0.1)
    model = nn.Sequential(layer, _Function(lambda out: out[0][:, -1, :3]))
    found = jacobian(Subject(model, [(0.1 * noise(6, 60, 1), None)]), 6)
    notes = [each for each in found.findings() if "chaotic" in each.message and each.severity == "note"]
    assert [each.where for each in notes] == ["0"]
    with torch.no_grad():
        layer.weight_hh_l0.mul_(0.2)
    calm = jacobian(Subject(model, [(0.1 * noise(6, 60, 1), None)]), 6)
    assert not [each for each in calm.findings() if "recurrent" in each.message]


def test_linear_recurrence_has_its_eigenvalues() -> None:
    """To 1e-6, with the orbit at zero, where the Jacobian of tanh is the weight matrix."""
    layer = nn.RNN(1, 3, bias=False, batch_first=True).double()
    A = torch.tensor([[0.9, 0.4, 0.0], [0.0, 0.5, 0.3], [0.0, 0.0, 0.1]], dtype=torch.float64)
    with torch.no_grad():
        layer.weight_hh_l0.copy_(A)
    (found,) = lyapunov(layer, torch.zeros(1, 200, 1, dtype=torch.float64), transient=100)
    np.testing.assert_allclose(found.spectrum.exponents, np.log([0.9, 0.5, 0.1]), atol=1e-6)
    assert found.kaplan_yorke == 0


def test_wrong_sequences_are_clear_errors() -> None:
    with pytest.raises(UsageError, match="no recurrent layer"):
        lyapunov(nn.Linear(2, 2), torch.zeros(1, 3, 2))
    with pytest.raises(UsageError, match="two steps"):
        lyapunov(nn.GRU(2, 2, batch_first=True), torch.zeros(1, 1, 2))
    short = jacobian(Subject(Recurrent(nn.GRU(3, 4, batch_first=True)), [(torch.randn(3, 1, 3), None)]))
    assert short.recurrent == ()
    assert any("single step" in each.reason for each in short.left_out)


def test_reading_round_trips_with_exponents(tmp_path: Path) -> None:
    torch.manual_seed(0)
    found = jacobian(Subject(Recurrent(nn.GRU(3, 4, batch_first=True)), [(torch.randn(5, 9, 3), None)]))
    found.save(tmp_path)
    assert Jacobian.load(tmp_path) == found
