"""The collector of layer outputs: what is a layer, where its units lie, what is padding, and no trace left."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Set
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from deepscope.core import LeftOut
from deepscope.subject import LayerOutput, Subject, Watch, watch_layers


def watched(
    model: nn.Module,
    inputs: Any,
    look: Callable[[LayerOutput], Any] = lambda output: (output.site, output.units_dim),
    **options: Any,
) -> tuple[list[Any], Watch]:
    subject = Subject(model, data=[(inputs, torch.zeros(1))], **options)
    seen: list[Any] = []
    with subject.undisturbed(), watch_layers(subject, lambda output: seen.append(look(output))) as watch:
        for batch in subject.batches():
            with watch.forward(batch.inputs):
                subject.predict(batch.inputs)
    return seen, watch


def test_layers_come_in_forward_order_without_containers_dropout_and_identity() -> None:
    class Backwards(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.last = nn.Linear(4, 2)
            self.block = nn.Sequential(nn.Linear(3, 4), nn.Dropout(), nn.Identity(), nn.ReLU())

        def forward(self, x: Tensor) -> Tensor:
            return self.last(self.block(x))

    seen, _ = watched(Backwards(), torch.ones(5, 3))
    assert seen == [("block.0", 1), ("block.3", 1), ("last", 1)]


@pytest.mark.parametrize(
    ("model", "shape", "dims"),
    [
        (nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(2)), (2, 3, 4, 4), [1, 1, 1, 1]),
        (nn.Sequential(nn.Conv1d(3, 4, 1), nn.ReLU(), nn.GroupNorm(2, 4)), (2, 3, 7), [1, 1, 1]),
        (nn.Sequential(nn.ConvTranspose2d(3, 4, 2)), (3, 4, 4), [0]),
        (nn.Sequential(nn.Linear(3, 4), nn.GELU(), nn.LayerNorm(4)), (2, 7, 3), [2, 2, 2]),
        (nn.Sequential(nn.Linear(3, 4), nn.GELU()), (2, 5, 7, 3), [3, 3]),
        (nn.Sequential(nn.ReLU()), (2, 5, 7, 3), [1]),
        (nn.Sequential(nn.ReLU()), (2, 7), [1]),
        (nn.Sequential(nn.Conv2d(3, 4, 1), nn.Flatten(), nn.Linear(16, 2)), (2, 3, 2, 2), [1, 1, 1]),
        (nn.Sequential(nn.Linear(3, 1), nn.Flatten(0), nn.Tanh()), (2, 3), [1, None, None]),
    ],
)
def test_units_lie_where_the_layer_has_them(model: nn.Module, shape: tuple[int, ...], dims: list[int | None]) -> None:
    seen, _ = watched(model, torch.ones(shape))
    assert [dim for _, dim in seen] == dims


def test_a_reused_layer_has_a_site_per_layer_before_it_unless_it_has_parameters() -> None:
    class Reused(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b, self.relu, self.tanh = nn.Linear(3, 3), nn.Linear(3, 5), nn.ReLU(), nn.Tanh()

        def forward(self, x: Tensor) -> Tensor:
            for _ in range(2):
                x = self.relu(self.a(x))
            return self.tanh(self.relu(self.b(x)))

    seen, _ = watched(Reused(), torch.ones(2, 3))
    assert [site for site, _ in seen] == ["a", "relu", "a", "relu", "b", "relu#2", "tanh"]


def test_functional_activations_belong_to_the_layer_whose_output_they_got() -> None:
    class Functional(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.a, self.b = nn.Conv2d(1, 2, 3), nn.Linear(2, 3), nn.Linear(3, 4)

        def forward(self, x: Tensor) -> Tensor:
            x = functional.relu(functional.max_pool2d(self.conv(x), 2)).mean((2, 3))
            h = self.a(x).relu_()
            gate, value = self.b(h).chunk(2, dim=-1)
            return torch.sigmoid(gate) * torch.tanh(value) + functional.softmax(gate, -1)

    def look(output: LayerOutput) -> Any:
        return output.name, output.functional, output.activation and output.activation.name, output.part

    seen, _ = watched(Functional(), torch.ones(5, 1, 6, 6), look)
    assert seen == [
        ("conv", False, None, 0),
        ("conv", True, "relu", 0),
        ("a", False, None, 0),
        ("a", True, "relu", 0),
        ("b", False, None, 0),
        ("b", True, "sigmoid", 0),
        ("b", True, "tanh", 1),
    ]


@pytest.mark.parametrize(
    ("module", "name", "opened"),
    [
        (nn.ReLU(), "relu", [False, False, False, True, True]),
        (nn.ReLU(inplace=True), "relu", [False, False, False, True, True]),
        (nn.ReLU6(), "hardtanh", [False, False, False, True, True]),
        (nn.Threshold(1.0, 0.0), "threshold", [False, False, False, False, True]),
        (nn.GELU(), "gelu", [False, True, True, True, True]),
        (nn.SiLU(inplace=True), "silu", [False, True, True, True, True]),
        (nn.Hardswish(), "hardswish", [False, False, True, True, True]),
    ],
)
def test_a_rectifier_tells_where_it_is_open(module: nn.Module, name: str, opened: list[bool]) -> None:
    x = torch.tensor([[-8.0, -3.0, -0.0, 0.5, 2.0]])
    (seen,), _ = watched(module, x.clone(), lambda output: (output.activation, output.open, output.tensor.clone()))
    activation, is_open, tensor = seen
    assert activation.name == name
    assert is_open[0].tolist() == opened
    # Where a rectifier is shut it puts out nothing, or at most 1e-3 of its input.
    assert bool((tensor.abs() <= 1e-3 * x.abs() + 1e-12)[~is_open].all())


def test_bounded_functions_tell_their_range_and_others_nothing() -> None:
    model = nn.Sequential(
        nn.Sigmoid(), nn.Tanh(), nn.Hardtanh(-2, 3), nn.LeakyReLU(), nn.Softmax(-1), nn.Threshold(1, 7)
    )
    seen, _ = watched(model, torch.ones(2, 3), lambda output: output.activation)
    assert [a and (a.low, a.high) for a in seen] == [(0, 1), (-1, 1), (-2, 3), None, None, None]


def test_an_in_place_activation_does_not_spoil_what_came_before() -> None:
    model = nn.Sequential(nn.Linear(3, 4), nn.ReLU(inplace=True))
    x = torch.randn(6, 3, generator=torch.Generator().manual_seed(1))
    seen, _ = watched(model, x, lambda output: float(output.tensor.min()))
    truth = model[0](x).detach()
    assert seen[0] == float(truth.min()) < 0
    assert seen[1] == 0


def test_padding_is_left_out_where_the_mask_fits_and_named_where_it_does_not() -> None:
    class Pads(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed, self.conv = nn.Embedding(5, 4), nn.Conv1d(4, 6, 1)
            self.rnn, self.pool, self.head = nn.GRU(6, 3), nn.AvgPool1d(2), nn.Linear(3, 2)

        def forward(self, ids: Tensor) -> Tensor:
            x = self.conv(self.embed(ids).movedim(2, 1))
            self.pool(x)
            x, _ = self.rnn(x.permute(2, 0, 1))
            return self.head(x[-1])

    ids = torch.tensor([[1, 2, 3, 4], [1, 0, 0, 0]])
    seen, watch = watched(
        Pads(), ids, lambda output: (output.site, list(output.by_unit(output.tensor).shape)), mask=lambda ids: ids != 0
    )
    # 5 real positions of 8, in all three orders of batch, time and units; the pool halves time and fits nothing.
    assert seen == [("embed", [5, 4]), ("conv", [5, 6]), ("pool", [4, 6]), ("rnn", [5, 3]), ("head", [2, 2])]
    assert watch.left_out == (LeftOut("pool", "padding is counted here: the mask does not fit its output"),)


def test_a_square_mask_is_turned_for_layers_that_take_time_first() -> None:
    mask = torch.tensor([[True, True], [False, True]])
    for batch_first, expected in ((True, mask), (False, mask.T)):
        model = nn.RNN(1, 3, batch_first=batch_first)
        (real,), _ = watched(model, torch.ones(2, 2, 1), lambda output: output.real, mask=lambda _: mask)
        assert torch.equal(real, expected)


def test_what_holds_no_measurable_tensor_goes_to_the_ledger() -> None:
    class Odd(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.names, self.argmax, self.total = (
                _Call(lambda _: "text"),
                _Call(lambda x: x.argmax(1)),
                _Call(torch.sum),
            )

        def forward(self, x: Tensor) -> Tensor:
            self.names(x)
            self.argmax(x)
            return self.total(x)

    seen, watch = watched(Odd(), torch.ones(2, 3))
    assert seen == []
    assert [entry.name for entry in watch.left_out] == ["names", "argmax", "total"]
    assert "no tensor" in watch.left_out[0].reason
    assert "int64" in watch.left_out[1].reason
    assert "single number" in watch.left_out[2].reason


def test_attention_is_one_layer_and_its_fast_path_is_off_only_inside() -> None:
    model = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
    seen, watch = watched(
        model, torch.ones(2, 3, 8), lambda output: (output.site, torch.backends.mha.get_fastpath_enabled())
    )
    assert [site for site, _ in seen] == ["self_attn", "norm1", "linear1", "linear1", "linear2", "norm2"]
    assert not any(fast for _, fast in seen)
    assert torch.backends.mha.get_fastpath_enabled()
    assert "self_attn.out_proj" not in watch.ran
    assert list(watch.ran) == ["self_attn", "norm1", "linear1", "linear2", "norm2"]


def test_what_ran_is_looked_up_and_not_copied() -> None:
    _, watch = watched(nn.Sequential(nn.Linear(3, 4), nn.ReLU()), torch.ones(2, 3))
    assert isinstance(watch.ran, Set)
    assert {"0", "1"} == watch.ran


def test_a_parametrised_layer_is_one_layer() -> None:
    model = nn.Sequential(nn.utils.parametrizations.weight_norm(nn.Linear(3, 4, bias=False)), nn.ReLU())
    assert [site for site, _ in watched(model, torch.ones(2, 3))[0]] == ["0", "1"]


def test_only_shows_the_part_chosen() -> None:
    model = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2))
    subject = Subject(model, data=[(torch.ones(2, 3), torch.zeros(2))]).only("2.*")
    seen = []
    with subject.undisturbed(), watch_layers(subject, lambda output: seen.append(output.site)) as watch:
        for batch in subject.batches():
            with watch.forward(batch.inputs):
                subject.predict(batch.inputs)
    assert seen == ["2"]


def test_the_models_output_is_known_by_the_layer_it_came_from() -> None:
    class TwoHeads(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.head, self.aside = nn.Linear(3, 2), nn.Linear(3, 7)

        def forward(self, x: Tensor) -> dict[str, Tensor]:
            logits = self.head(x)
            return {"aside": self.aside(x), "logits": logits.reshape(2, 2) * 2}

    subject = Subject(TwoHeads(), data=[(torch.ones(2, 3), torch.zeros(2))])
    with subject.undisturbed(), watch_layers(subject, lambda _: None) as watch:
        for batch in subject.batches():
            with watch.forward(batch.inputs):
                outputs = subject.predict(batch.inputs)
                assert watch.output is not None
                assert watch.output.site == "head"
                assert watch.output.tensor is outputs
        assert watch.output is None


@pytest.mark.parametrize("fails", [False, True])
def test_no_trace_is_left(fails: bool) -> None:
    model = nn.Sequential(nn.Linear(3, 4), nn.ReLU())
    mine = model[0].register_forward_hook(lambda *_: None)
    subject = Subject(model, data=[(torch.ones(2, 3), torch.zeros(2))])

    def observe(_: LayerOutput) -> None:
        if fails:
            raise KeyError("planted")

    def run() -> None:
        with watch_layers(subject, observe) as watch, watch.forward(torch.ones(2, 3)):
            model(torch.ones(2, 3))

    if fails:
        with pytest.raises(KeyError, match="planted"):
            run()
    else:
        run()
    assert list(model[0]._forward_hooks) == [mine.id]
    assert not any(module._forward_pre_hooks for module in model.modules())
    assert not any(module._forward_hooks for module in (model, model[1]))
    assert torch.overrides._get_current_function_mode_stack() == []
    assert torch.backends.mha.get_fastpath_enabled()


def test_nothing_is_seen_outside_a_forward_and_nothing_is_kept() -> None:
    model = nn.Sequential(nn.Linear(3, 4), nn.ReLU())
    subject = Subject(model)
    seen = []
    with torch.no_grad(), watch_layers(subject, lambda output: seen.append(output.site)) as watch:
        model(torch.ones(2, 3))
        assert seen == []
        with watch.forward(torch.ones(2, 3)):
            hidden = model[0](torch.ones(2, 3))
            hidden = weakref.ref(hidden)
            assert hidden() is None
            pooled = functional.relu(model[0](torch.ones(2, 3)))
            del pooled
            assert len(watch._sources) == 0
    assert seen == ["0", "0", "0"]


class _Call(nn.Module):
    def __init__(self, function: Callable[[Tensor], Any]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Any:
        return self.function(x)


X = torch.tensor([[-1.0, 0.0, 2.0], [-3.0, 1.0, 4.0]])
OPEN = [[False, False, True], [False, True, True]]


@pytest.mark.parametrize(
    "rectify",
    [
        lambda x: x.clamp(min=0),
        lambda x: x.clamp(0, 6),
        lambda x: torch.clip(x, min=0.0),
        lambda x: x.clamp_(min=0),
        lambda x: torch.clamp_min(x, 0.0),
        lambda x: torch.clamp(x, min=torch.tensor(0.0)),
        lambda x: torch.maximum(x, torch.zeros_like(x)),
        lambda x: torch.maximum(torch.zeros(()), x),
        lambda x: torch.max(x, torch.tensor(0.0)),
        lambda x: torch.where(x > 0, x, 0),
        lambda x: torch.where(x > 0, x, torch.zeros_like(x)),
    ],
)
@pytest.mark.parametrize("inside", [False, True])
def test_rectifiers_written_by_hand_are_rectifiers(rectify: Callable[[Tensor], Tensor], inside: bool) -> None:
    class Rectifier(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return rectify(x)

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.rectifier = nn.Linear(3, 3, bias=False), Rectifier()
            nn.init.eye_(self.first.weight)

        def forward(self, x: Tensor) -> Tensor:
            return self.rectifier(self.first(x)) if inside else rectify(self.first(x))

    def look(output: LayerOutput) -> Any:
        return output.site, None if output.open is None else output.open.tolist()

    seen, _ = watched(Net(), X.clone(), look)
    assert seen == [("first", None), ("rectifier" if inside else "first", OPEN)]


@pytest.mark.parametrize(
    "function",
    [
        lambda x: x.clamp(max=0),
        lambda x: x.clamp(min=-1),
        lambda x: x.clamp(1e-6, 1.0),
        lambda x: torch.maximum(x, torch.ones_like(x)),
        lambda x: torch.maximum(x, -x),
        lambda x: x.max(1).values[:, None],
        lambda x: x.max()[None, None],
        lambda x: torch.where(torch.ones(2, 3, dtype=torch.bool), x, 0),
        lambda x: torch.where(x > 0, x, 0.1 * x),
    ],
)
def test_other_uses_of_these_functions_are_no_rectifiers(function: Callable[[Tensor], Tensor]) -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first = nn.Linear(3, 3, bias=False)
            nn.init.eye_(self.first.weight)

        def forward(self, x: Tensor) -> Tensor:
            return function(self.first(x))

    seen, _ = watched(Net(), X, lambda output: (output.site, output.functional))
    assert seen == [("first", False)]
