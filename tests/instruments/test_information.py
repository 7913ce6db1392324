"""What layers hold, against closed forms, whole Jacobians, and the estimators themselves."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from deepscope.core import DoesNotApplyError, UsageError
from deepscope.instruments import information
from deepscope.instruments._information_known import KNOWN
from deepscope.linalg import binned_information, ksg_information, label_information, local_rank, renyi_information
from deepscope.subject import Subject

FEW: dict[str, Any] = {"permutations": 19}


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def classes(n: int = 96, d: int = 6, kinds: int = 3) -> tuple[Tensor, Tensor]:
    y = torch.arange(n) % kinds
    return draw(n, d) + 2.0 * draw(kinds, d, seed=1)[y], y


def network(*layers: nn.Module, data: tuple[Any, Any] | None = None, **given: Any) -> Subject:
    torch.manual_seed(0)
    for layer in layers:
        for part in layer.modules():
            if hasattr(part, "reset_parameters"):
                part.reset_parameters()
    return Subject(nn.Sequential(*layers), data=[data or classes()], **given)


def only(reading: Any) -> Any:
    (layer,) = reading.layers
    return layer


def test_layers_of_a_network_whose_information_is_known() -> None:
    """A chain of correlation 0.9 from X to T₁ = X, and T₂ = T₁ with noise that is an input of its own."""
    x, noise = draw(400, 1, seed=3), draw(400, 1, seed=4)
    y = 0.9 * x + math.sqrt(0.19) * draw(400, 1, seed=5)
    first, second = nn.Linear(2, 2), nn.Linear(2, 1)
    with torch.no_grad():
        first.weight.copy_(torch.eye(2))
        second.weight.copy_(torch.tensor([[0.9, math.sqrt(0.19)]]))
    reading = information(Subject(nn.Sequential(first, second), data=[(torch.cat([x, noise], 1), y)]), **FEW)
    # T₂ is correlated with Y by 0.9², and T₁ holds all that X does.
    known = [-0.5 * math.log2(1 - rho**2) for rho in (0.9, 0.81)]
    for layer, bits in zip(reading.layers, known, strict=True):
        found = layer.labels_ksg
        # A bias of at most 0.05 in two dimensions, as measured for pairs.
        assert found.bits == pytest.approx(bits, abs=4 * found.stderr + 0.05)
        assert found.beats_null
        assert layer.inputs_truth == "infinite for continuous inputs"
    assert reading.layers[0].labels_ksg.low > reading.layers[1].labels_ksg.high
    assert [layer.local_rank for layer in reading.layers] == pytest.approx([2, 1], abs=1e-6)
    assert reading.exact_rank


def test_it_is_what_the_estimators_give() -> None:
    x, y = classes()
    subject = network(nn.Linear(6, 5), nn.Tanh(), nn.Linear(5, 3))
    reading = information(subject, **FEW)
    with torch.no_grad():
        T = subject.model[:2](x).double()  # type: ignore[index,union-attr]
    layer = reading.layers[1]
    given = {"permutations": 19}
    for name, twin in (
        ("labels_binned", binned_information(T, y, **given)),
        ("labels_ksg", label_information(T, y, **given)),
        ("labels_renyi", renyi_information(T, y, **given)),
        ("inputs_binned", binned_information(T, torch.arange(96), **given)),
        ("inputs_ksg", ksg_information(T, x, **given)),
        ("inputs_renyi", renyi_information(T, x, **given)),
    ):
        # Another order of random draws: the estimate is the same, its null is alike.
        assert getattr(layer, name).bits == pytest.approx(twin.bits, abs=1e-6), name
        assert getattr(layer, name).null_mean == pytest.approx(twin.null_mean, abs=0.15), name
    assert reading.data is not None
    assert reading.data.bits == pytest.approx(label_information(x, y, **given).bits, abs=1e-9)
    assert reading.labels_entropy == pytest.approx(math.log2(3))
    assert (layer.least, layer.greatest) == pytest.approx((float(T.min()), float(T.max())))


class Recurrent(nn.Module):
    def __init__(self, kind: type[nn.Module]) -> None:
        super().__init__()
        self.cells = kind(3, 4, batch_first=True)
        self.head = nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.cells(x)[0][:, -1])


MODELS: dict[str, tuple[nn.Module, tuple[int, ...], str]] = {
    "mlp": (nn.Sequential(nn.Linear(6, 9), nn.GELU(), nn.Linear(9, 4)), (6,), "2"),
    "in place": (nn.Sequential(nn.Linear(6, 9), nn.ReLU(inplace=True), nn.Linear(9, 4)), (6,), "2"),
    "convolutional": (
        nn.Sequential(nn.Conv2d(1, 3, 2), nn.BatchNorm2d(3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(3, 4)),
        (1, 4, 4),
        "5",
    ),
    "lstm": (Recurrent(nn.LSTM), (4, 3), "head"),
    "gru": (Recurrent(nn.GRU), (4, 3), "head"),
    "attention": (nn.TransformerEncoderLayer(4, 2, 8, batch_first=True), (4, 4), "norm2"),
}


@pytest.mark.parametrize("name", MODELS)
def test_the_local_rank_is_that_of_whole_jacobians(name: str) -> None:
    torch.manual_seed(0)
    model, shape, last = MODELS[name]
    x = draw(5, *shape, seed=2)
    reading = information(Subject(model, data=[(x[:3], None), (x[3:], None)]), **FEW)
    model.eval()
    jacobians = [torch.autograd.functional.jacobian(model, each[None]).reshape(-1, each.numel()) for each in x]
    ranks = np.array([float(local_rank(J)) for J in jacobians])
    found = next(layer for layer in reading.layers if layer.name == last)
    # Jacobians in float32.
    assert found.local_rank == pytest.approx(ranks.mean(), rel=1e-4)
    half = 2.776445 * ranks.std(ddof=1) / math.sqrt(5)
    assert found.local_rank_high == pytest.approx(ranks.mean() + half, rel=1e-4)
    assert (reading.n_rank_samples, reading.n_directions, reading.exact_rank) == (5, math.prod(shape), True)


def test_random_directions_give_the_local_rank_of_many_inputs() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(200, 30), nn.Tanh(), nn.Linear(30, 20))
    x = draw(64, 200, seed=3)
    reading = information(Subject(model, data=[(x, None)]), **FEW)
    exact = local_rank(torch.vmap(torch.func.jacrev(model))(x).detach())
    assert not reading.exact_rank
    # √8/32 of itself for a sample, by 8 for the mean of 64: 1 %; four of these, and the bias of a ratio.
    assert reading.layers[2].local_rank == pytest.approx(exact.mean(), rel=0.05)


def test_binary_inputs_are_discrete_and_bins_count_codes() -> None:
    """All 256 words of 8 bits through a layer that drops the last two: 6 bits, and 1 of 6 is the label."""
    words = torch.tensor([[(i >> bit) & 1 for bit in range(8)] for i in range(256)]).float()
    layer = nn.Linear(8, 6, bias=False)
    with torch.no_grad():
        layer.weight.copy_(torch.eye(8)[:6])
    found = only(information(Subject(layer, data=[(words, words[:, 0].long())]), **FEW))
    assert found.inputs_binned.bits == pytest.approx(6, abs=1e-12)
    assert found.labels_binned.bits == pytest.approx(1, abs=1e-12)
    assert found.inputs_ksg is None
    assert found.inputs_truth == "finite: at most the entropy of the inputs"
    assert "inputs_ksg: the inputs are discrete" in found.status


def test_tokens_are_names() -> None:
    """Whole numbers have no distances: what bins tell of them, and no local rank."""
    tokens = torch.arange(60)[:, None] % 4
    reading = information(Subject(nn.Embedding(4, 3), data=[(tokens, tokens[:, 0] // 2)]), **FEW)
    found = only(reading)
    # Each token comes 15 times: no copies, but draws of four values.
    assert reading.n_samples == 60
    assert found.inputs_binned.bits == pytest.approx(2, abs=1e-12)
    assert found.labels_ksg.bits == pytest.approx(found.labels_ksg.ceiling, abs=1e-9)
    assert (found.local_rank, reading.rank_status) == (None, "the inputs are whole numbers")


def test_counting_about_inputs_says_that_it_measures_bins() -> None:
    """Where samples share bins it is their entropy; and inputs in any order would give the same."""
    reading = information(network(nn.Linear(6, 3), nn.Linear(3, 1)), bins=8, **FEW)
    last = reading.layers[-1].inputs_binned
    assert last.status == "the entropy of its own bins: all inputs differ"
    assert last.null_high == pytest.approx(last.bits, abs=1e-9)
    assert last.bits <= 3
    assert not last.beats_null
    fine = information(network(nn.Linear(6, 3), nn.Linear(3, 1)), bins=10**6, **FEW)
    assert fine.layers[-1].inputs_binned.status == "saturated: no two samples share their bins"
    assert fine.layers[-1].inputs_binned.bits == pytest.approx(math.log2(96))
    assert any("no two samples share" in each.message for each in fine.findings())


@pytest.mark.parametrize("known", KNOWN, ids=lambda each: each.name)
def test_known_networks_hold_for_other_seeds(known: Any) -> None:
    reading = information(known.make(), generator=torch.Generator().manual_seed(5), **FEW)
    assert known.holds(reading)


def test_a_part_has_the_numbers_of_the_whole() -> None:
    subject = network(nn.Linear(6, 5), nn.Tanh(), nn.Linear(5, 3))
    whole, part = (information(each, **FEW) for each in (subject, subject.only("1")))
    assert only(part) == whole.layers[1]
    assert part.partial
    assert not whole.partial


def test_the_output_that_keeps_little_of_the_labels_is_told() -> None:
    y = torch.arange(200) % 2
    x = draw(200, 2)
    x[:, 0] = 0.2 * x[:, 0] + y
    mixed = nn.Linear(2, 1)
    with torch.no_grad():
        mixed.weight.copy_(torch.tensor([[1.5, 1.0]]))
    reading = information(Subject(mixed, data=[(x, y)]), **FEW)
    assert any("less than half" in each.message for each in reading.findings())
    with torch.no_grad():
        mixed.weight.copy_(torch.tensor([[1.0, 0.1]]))
    good = information(Subject(mixed, data=[(x, y)]), **FEW)
    assert not any("less than half" in each.message for each in good.findings())


@pytest.mark.parametrize("seed", range(3))
def test_an_untrained_network_that_happens_to_lose_the_labels_gets_notes_only(seed: int) -> None:
    """One random unit sees the one direction of 16 that tells of the classes through a quarter of its size at most."""
    y = torch.arange(160) % 2
    x = draw(160, 16, seed=seed)
    x[:, 0] = x[:, 0] + 4 * y
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        unit = nn.Linear(16, 1)
    with torch.no_grad():
        unit.weight[:, 0] /= 4
    reading = information(Subject(unit, data=[(x, y)]), **FEW)
    assert reading.data is not None
    assert reading.data.beats_null
    assert any(word in each.message for each in reading.findings() for word in ("nothing is found", "less than half"))
    assert {each.severity for each in reading.findings()} == {"note"}


class Positions(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.table, self.head = nn.Embedding(4, 4), nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(x + self.table(torch.arange(len(x)) * 0))


def test_a_table_that_is_the_same_for_all_samples_is_no_fault() -> None:
    torch.manual_seed(0)
    reading = information(Subject(Positions(), data=[classes(60, 4)]), **FEW)
    (found,) = [each for each in reading.findings() if each.where == "table"]
    assert found.severity == "note"
    assert "problem" not in {each.severity for each in reading.findings()}
    assert reading.layers[0].inputs_truth.startswith("0")
    assert not reading.output_constant


class Odd(nn.Module):
    """Layers that return tuples or nothing, one that is used twice, and one that runs for some batches alone."""

    def __init__(self) -> None:
        super().__init__()
        self.pair, self.nothing, self.twice, self.some = _Pair(), _Nothing(), nn.Tanh(), nn.Linear(6, 6)
        self.body, self.head = nn.Linear(6, 6), nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        x, _ = self.pair(x)
        self.nothing(x)
        x = self.twice(self.body(self.twice(x)))
        return self.head(self.some(x) if len(x) > 40 else x)


class _Pair(nn.Module):
    def forward(self, x: Tensor) -> tuple[Tensor, int]:
        return 2 * x, 1


class _Nothing(nn.Module):
    def forward(self, x: Tensor) -> None:
        return None


def test_odd_layers_are_rows_or_in_the_ledger() -> None:
    torch.manual_seed(0)
    x, y = classes()
    reading = information(Subject(Odd(), data=[(x[:60], y[:60]), (x[60:], y[60:])]), **FEW)
    names = [layer.name for layer in reading.layers]
    assert names == ["pair", "twice", "body", "twice#2", "head"]
    left_out = dict(reading.left_out)
    assert left_out["nothing"] == "its output holds no tensor"
    assert left_out["some"] == "it does not run for every batch"
    assert all(layer.labels_ksg is not None and layer.local_rank is not None for layer in reading.layers)


@pytest.mark.parametrize(
    ("targets", "status"),
    [
        (None, "there are no targets"),
        (torch.zeros(96).long(), "all samples are of one class"),
        (torch.arange(96), "hardly any label comes twice"),
        (torch.zeros(96, 2).long(), "each sample has several labels"),
        (torch.full((96,), torch.nan), "the targets are not finite"),
    ],
)
def test_targets_that_are_no_labels_are_said_to_be_none(targets: Tensor | None, status: str) -> None:
    reading = information(network(nn.Linear(6, 3), data=(classes()[0], targets)), **FEW)
    layer = only(reading)
    assert reading.labels_status == status
    assert layer.labels_ksg is None
    assert layer.inputs_ksg is not None
    assert f"labels: {status}" in layer.status
    assert reading.plot() is not None


def test_values_of_few_kinds_are_classes_and_others_are_values() -> None:
    x, y = classes()
    for labels in (y.float(), functional.one_hot(y).float()):
        reading = information(network(nn.Linear(6, 3), data=(x, labels)), **FEW)
        assert reading.labels_entropy == pytest.approx(math.log2(3))
    reading = information(network(nn.Linear(6, 3), data=(x, x[:, :2].clone())), **FEW)
    assert (reading.labels_entropy, reading.labels_status) == (None, "ok")
    assert only(reading).labels_ksg.beats_null


@pytest.mark.parametrize("n", [1, 11])
def test_too_few_samples_are_said_to_be_too_few(n: int) -> None:
    x, y = classes(n)
    reading = information(network(nn.Linear(6, 3), data=(x, y)), **FEW)
    layer = only(reading)
    assert layer.labels_ksg is None
    assert layer.status == f"{n} different samples are too few"
    assert layer.local_rank is not None
    assert {each.severity for each in reading.findings()} == {"note"}
    assert reading.plot() is not None


def test_copies_of_samples_count_once() -> None:
    x, y = classes()
    once = information(network(nn.Linear(6, 3), data=(x, y)), **FEW)
    twice = information(network(nn.Linear(6, 3), data=(torch.cat([x, x]), torch.cat([y, y]))), **FEW)
    assert only(once) == only(twice)
    assert ("data", "96 samples that are copies of others") in twice.left_out
    # Another label makes another sample of it.
    other = information(network(nn.Linear(6, 3), data=(torch.cat([x, x]), torch.cat([y, 1 - y.clamp(max=1)]))), **FEW)
    assert other.n_samples > 150


def test_more_features_than_samples_and_absent_classes() -> None:
    x, y = classes(40, 100, kinds=3)
    reading = information(network(nn.Linear(100, 300), nn.Linear(300, 10), data=(x, 2 * y)), **FEW)
    assert reading.labels_entropy == pytest.approx(math.log2(3), abs=0.01)
    assert all(layer.labels_ksg.beats_null for layer in reading.layers)
    assert reading.layers[0].labels_binned.status.startswith("saturated")
    assert not reading.layers[0].labels_binned.beats_null


def test_sequences_of_different_lengths_are_compared_where_a_mask_says_what_is_real() -> None:
    torch.manual_seed(0)
    x, y = draw(40, 9, 3), torch.arange(40) % 2
    batches = [(x[:20, :5], y[:20]), (x[20:], y[20:])]
    subject = Subject(nn.Linear(3, 4), data=batches, mask=lambda inputs: torch.ones(inputs.shape[:2]))
    reading = information(subject, **FEW)
    layer = only(reading)
    assert reading.inputs_status == "the inputs have not the same shape for all samples"
    assert layer.labels_ksg is not None
    assert layer.inputs_ksg is None
    assert layer.local_rank is not None


def test_large_feature_maps_are_taken_in_part_and_said_so() -> None:
    x = draw(16, 1, 80, 80)
    reading = information(network(nn.Conv2d(1, 2, 1), data=(x, torch.arange(16) % 2)), directions=2, **FEW)
    layer = only(reading)
    assert layer.features == 2 * 80 * 80
    assert layer.labels_ksg is not None
    left_out = dict(reading.left_out)
    assert left_out["0"] == "all but 4,096 of its 12,800 features, by chance"
    assert left_out["inputs"] == "all but 4,096 of their 6,400 values, by chance"


def test_outputs_that_are_not_finite_are_said_to_be_so() -> None:
    subject = network(nn.Linear(6, 5), nn.Linear(5, 3))
    with torch.no_grad():
        subject.model[1].bias[0] = torch.nan  # type: ignore[index,union-attr]
    reading = information(subject, **FEW)
    assert reading.layers[0].labels_ksg is not None
    assert reading.layers[1].status == "its outputs are not finite"
    assert reading.plot() is not None


class _Sign(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x.sign()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        return gradients[0]


class Own(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return _Sign.apply(x)


def test_a_function_without_forward_derivative_has_no_local_rank_and_says_so() -> None:
    reading = information(network(nn.Linear(6, 3), Own()), **FEW)
    assert reading.rank_status.startswith("it has no forward-mode derivative: ")
    assert [layer.local_rank for layer in reading.layers] == [None, None]
    assert reading.layers[0].inputs_truth.startswith("infinite for continuous inputs, unless")
    assert reading.layers[0].labels_ksg is not None


def test_a_layer_of_steps_holds_a_finite_amount() -> None:
    class Steps(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x.sign()

    reading = information(network(nn.Linear(6, 3), Steps()), **FEW)
    assert reading.layers[1].inputs_truth == "finite: the layer is piecewise constant"
    assert reading.layers[1].local_rank == 0
    assert reading.layers[1].inputs_binned.bits < 3 + 1e-12


@pytest.mark.parametrize(
    "wrong",
    [{"samples": 0}, {"samples": 5000}, {"bins": 0}, {"neighbours": 0}, {"permutations": 18}, {"directions": 1}],
)
def test_arguments_out_of_range_are_a_clear_error(wrong: dict[str, int]) -> None:
    (name,) = wrong
    with pytest.raises(UsageError, match=f"{name} must be at least"):
        information(network(nn.Linear(6, 3)), **wrong)


def test_a_network_without_rows_is_a_clear_error() -> None:
    class Plain(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.part = _Nothing()

        def forward(self, x: Tensor) -> Tensor:
            self.part(x)
            return x

    with pytest.raises(DoesNotApplyError, match="no layer puts out a row"):
        information(Subject(Plain(), data=[classes()]), **FEW)


def test_samples_after_the_first_are_in_the_ledger() -> None:
    x, y = classes(300)
    reading = information(network(nn.Linear(6, 3), data=(x, y)), 270, **FEW)
    left_out = dict(reading.left_out)
    assert reading.n_samples == 270
    assert left_out["data"] == "the samples after the first 270"
    assert left_out["Rényi information"] == "all but 256 of 270 samples, by chance"
    assert only(reading).labels_renyi.n == 256


def test_kernels_are_of_samples_of_all_classes_though_they_come_class_by_class() -> None:
    x, y = classes(600)
    order = y.argsort(stable=True)
    mixed, sorted_by_class = (
        only(information(network(nn.Linear(6, 3), data=(x[rows], y[rows])), samples=600, **FEW)).labels_renyi
        for rows in (torch.arange(600), order)
    )
    # Of log₂ 3 = 1.585 bits that labels have; the first 256 samples are of two classes, which have 0.76.
    assert sorted_by_class.ceiling > 1.5
    # Two draws of 256 of 600 samples: four standard errors of their difference.
    assert sorted_by_class.bits == pytest.approx(mixed.bits, abs=4 * math.hypot(sorted_by_class.stderr, mixed.stderr))
