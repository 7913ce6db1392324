"""Recurrent layers in their open form: per-sample gradients against backpropagation through torch's own layers."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from sample_gradients import alone, assert_measured, assert_same, noise, written
from torch import Tensor, nn
from torch.nn.utils import parametrizations
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from deepscope.core import MeasurementError
from deepscope.subject import Subject, _open_recurrent, per_sample_gradients, without_fused_kernels
from deepscope.subject._layer_calls import watch_calls


class Last(nn.Module):
    """Everything that a recurrent layer returns goes into two outputs."""

    def __init__(self, layer: nn.RNNBase) -> None:
        super().__init__()
        self.layer, self.out = layer, nn.Linear(_width(layer), 2)

    def forward(self, x: Tensor) -> Tensor:
        sequence, state = self.layer(x if self.layer.batch_first else x.transpose(0, 1))
        hidden = sequence.cumsum(1) if self.layer.batch_first else sequence.transpose(0, 1).cumsum(1)
        ends = sum(each.square().sum((0, 2)) for each in (state if isinstance(state, tuple) else (state,)))
        return self.out(hidden.tanh().mean(1)) + ends[:, None]


class Started(nn.Module):
    """The first states come from a layer before, and are not zero."""

    def __init__(self, layer: nn.RNNBase) -> None:
        super().__init__()
        self.layer, self.first, self.out = layer, nn.Linear(3, 2 * 4), nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        h = self.first(x[:, 0]).view(-1, 2, 4).transpose(0, 1)
        state = (h, h.cos()) if isinstance(self.layer, nn.LSTM) else h
        return self.out(self.layer(x, state)[0][:, -1])


class Packed(nn.Module):
    """Sequences of unequal length."""

    def __init__(self, layer: nn.RNNBase, *, in_order: bool = False) -> None:
        super().__init__()
        self.layer, self.out, self.in_order = layer, nn.Linear(_width(layer), 2), in_order

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        packed = pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=self.in_order)
        sequence, state = self.layer(packed)
        h = state[0] if isinstance(state, tuple) else state
        ends = h.transpose(0, 1).flatten(1).square().sum(1, keepdim=True)
        return self.out(pad_packed_sequence(sequence, batch_first=True)[0].sum(1)) + ends


class Stepped(nn.Module):
    """A cell called once a step."""

    def __init__(self, cell: nn.RNNCellBase, *, started: bool = True) -> None:
        super().__init__()
        self.cell, self.out, self.started = cell, nn.Linear(4, 2), started

    def forward(self, x: Tensor) -> Tensor:
        h = x[:, 0, :1].expand(len(x), 4)
        state = (h, h.sin()) if isinstance(self.cell, nn.LSTMCell) else h
        state = state if self.started else None
        for step in x.unbind(1):
            state = self.cell(step, state)
        return self.out(state[0] + state[1] if isinstance(state, tuple) else state)


class Windows(nn.Module):
    """Each sample is cut into three sequences."""

    def __init__(self) -> None:
        super().__init__()
        self.layer, self.out = nn.GRU(3, 4, batch_first=True), nn.Linear(12, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.layer(x.reshape(-1, 2, 3))[0][:, -1].reshape(len(x), -1))


class Twice(nn.Module):
    """One layer run twice, whose two depths share their recurrent weight with one another and with a head."""

    def __init__(self, layer: nn.RNNBase) -> None:
        super().__init__()
        self.layer, self.head = layer, nn.Linear(4, len(layer.weight_hh_l0), bias=False)
        layer.weight_hh_l1 = layer.weight_hh_l0
        self.head.weight = layer.weight_hh_l0

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.layer(self.layer(x)[0])[0][:, -1])


class OneByOne(nn.Module):
    """Sequences are run without a batch."""

    def __init__(self) -> None:
        super().__init__()
        self.layer, self.out = nn.GRU(3, 4), nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(torch.stack([self.layer(each)[0][-1] for each in x]))


class CellByCell(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer, self.out = nn.RNNCell(3, 4), nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(torch.stack([self.layer(each) for each in x[:, 0]]))


class Backwards(nn.GRU):
    """A recurrent layer with a forward pass of its own."""

    def forward(self, x: Tensor, state: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return super().forward(x.flip(1), state)


def _width(layer: nn.RNNBase) -> int:
    return (layer.proj_size or layer.hidden_size) * (2 if layer.bidirectional else 1)


def _normed() -> nn.Module:
    return parametrizations.weight_norm(nn.LSTM(3, 4, batch_first=True), "weight_hh_l0")


def _half_frozen() -> nn.Module:
    """Nothing before the recurrent weight is trained, so that no gradient would come to the gates by itself."""
    layer = nn.LSTM(3, 4, batch_first=True)
    for name, each in layer.named_parameters():
        each.requires_grad_(name == "weight_hh_l0")
    return layer


SEQUENCES: dict[str, Callable[[], nn.Module]] = {
    "LSTM, two ways, two deep": lambda: Last(nn.LSTM(3, 4, 2, bidirectional=True, batch_first=True, dropout=0.5)),
    "LSTM, projected, time first": lambda: Last(nn.LSTM(3, 4, 2, bidirectional=True, proj_size=2)),
    "GRU, two ways, two deep, no bias": lambda: Last(nn.GRU(3, 4, 2, bias=False, bidirectional=True, batch_first=True)),
    "GRU": lambda: Last(nn.GRU(3, 4)),
    "RNN, tanh, two deep": lambda: Last(nn.RNN(3, 4, 2, batch_first=True)),
    "RNN, ReLU": lambda: Last(nn.RNN(3, 4, nonlinearity="relu", bidirectional=True, batch_first=True)),
    "LSTM, started": lambda: Started(nn.LSTM(3, 4, 2, batch_first=True)),
    "GRU, started": lambda: Started(nn.GRU(3, 4, 2, batch_first=True)),
    "LSTM cell": lambda: Stepped(nn.LSTMCell(3, 4)),
    "LSTM cell, from zero": lambda: Stepped(nn.LSTMCell(3, 4, bias=False), started=False),
    "GRU cell": lambda: Stepped(nn.GRUCell(3, 4)),
    "GRU cell, from zero": lambda: Stepped(nn.GRUCell(3, 4), started=False),
    "RNN cell": lambda: Stepped(nn.RNNCell(3, 4)),
    "RNN cell, ReLU": lambda: Stepped(nn.RNNCell(3, 4, nonlinearity="relu")),
    "windows": Windows,
    "half frozen": lambda: Last(_half_frozen()),
}


@pytest.mark.parametrize("name", SEQUENCES)
def test_gradients_are_those_of_each_sequence_alone(name: str) -> None:
    torch.manual_seed(0)
    model = SEQUENCES[name]().double().eval()
    assert_measured(model, (noise(4, 6, 3),), set())


@pytest.mark.parametrize("layer", [nn.LSTM, nn.GRU, nn.RNN])
def test_cross_terms_of_repeated_calls_and_tied_depths_are_kept(layer: type[nn.RNNBase]) -> None:
    torch.manual_seed(0)
    model = Twice(layer(4, 4, 2, batch_first=True)).double().eval()
    assert_measured(model, (noise(4, 3, 4),), set())


@pytest.mark.parametrize(
    "layer",
    [
        lambda: nn.LSTM(3, 4, 2, bidirectional=True, batch_first=True),
        lambda: nn.LSTM(3, 4, proj_size=2),
        lambda: nn.GRU(3, 4, 2, bidirectional=True),
        lambda: nn.RNN(3, 4, 2),
    ],
    ids=["LSTM, two ways, two deep", "LSTM, projected", "GRU, two ways, two deep", "RNN, two deep"],
)
@pytest.mark.parametrize("lengths", [[2, 5, 1, 5], [5, 3, 3, 1]], ids=["in any order", "in order"])
def test_packed_sequences_end_where_they_end(layer: Callable[[], nn.RNNBase], lengths: list[int]) -> None:
    torch.manual_seed(0)
    model = Packed(layer(), in_order=lengths == sorted(lengths, reverse=True)).double().eval()
    assert_measured(model, (noise(4, 5, 3), torch.tensor(lengths)), set())


def test_gradients_are_those_of_torch_func() -> None:
    torch.manual_seed(0)
    model, x = Last(nn.LSTM(3, 4, 2, batch_first=True)).double().eval(), noise(3, 5, 3)
    weights = {name: each.detach() for name, each in model.named_parameters()}
    subject = Subject(model, data=[(x, None)])
    with subject.undisturbed(), per_sample_gradients(subject) as gradients:
        found = gradients.of_outputs(x, len(x)).factors
    with without_fused_kernels(model, products=True):
        for i, one in enumerate(x):
            rows = torch.func.jacrev(lambda given, x=one[None]: torch.func.functional_call(model, given, x)[0])(weights)
            for name, factors in found.items():
                assert_same(written(factors)[i], rows[name].flatten(1))


@pytest.mark.parametrize(
    ("model", "own", "said"),
    [
        (OneByOne(), True, "it saw one sequence without a batch"),
        (CellByCell(), True, "it saw one sample without a batch"),
        (Last(Backwards(3, 4, batch_first=True)), True, "there is no rule for its layer"),
        (Last(_normed()), False, "there is no rule for its layer"),
    ],
    ids=["no batch", "no batch, cell", "another forward", "weight normalisation"],
)
def test_what_cannot_be_opened_is_written_out_and_says_why(model: nn.Module, own: bool, said: str) -> None:
    torch.manual_seed(0)
    names = {name for name, _ in model.named_parameters() if name.startswith("layer" if own else "layer.para")}
    reasons = assert_measured(model.double().eval(), (noise(3, 4, 3),), names)
    assert all(each.startswith(said) for each in reasons.values())


def _forgetful(from_input: Tensor, from_hidden: Tensor, state: tuple[Tensor, ...]) -> tuple[tuple[Tensor, ...], None]:
    (h, c), _ = _open_recurrent._lstm(from_input, from_hidden, (state[0], 0.9 * state[1]))
    return (h, c), None


def test_an_open_form_that_gives_something_else_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(_open_recurrent._CELLS, "LSTM", _forgetful)
    torch.manual_seed(0)
    model = Last(nn.LSTM(3, 4, batch_first=True)).double().eval()
    reasons = assert_measured(model, (noise(3, 4, 3),), {f"layer.{name}" for name, _ in model.layer.named_parameters()})
    assert all(each.startswith("its open form gives something else") for each in reasons.values())


def test_a_rule_that_gives_something_else_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    def ungated(*given: Tensor) -> tuple[tuple[Tensor], Tensor]:
        state, reset = _open_recurrent._gru(*given)
        return state, torch.ones_like(reset)

    monkeypatch.setitem(_open_recurrent._CELLS, "GRU", ungated)
    torch.manual_seed(0)
    model = Last(nn.GRU(3, 4, batch_first=True)).double().eval()
    # The gradients before the new gate alone go through the reset gate.
    reasons = assert_measured(model, (noise(3, 4, 3),), {"layer.weight_hh_l0", "layer.bias_hh_l0"})
    assert all(each.startswith("its layer's rule does not hold here") for each in reasons.values())


def test_a_batch_in_which_the_layer_is_called_in_another_way_is_refused() -> None:
    class Either(OneByOne):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x) if x.shape[1] > 4 else self.out(self.layer(x.transpose(0, 1))[0][-1])

    model = Either().eval()
    subject = Subject(model, data=[(torch.randn(3, 4, 3), None), (torch.randn(3, 5, 3), None)])
    with subject.undisturbed(), per_sample_gradients(subject) as gradients:
        first, second = subject.batches()
        gradients.of_outputs(first.inputs, 3)
        with pytest.raises(MeasurementError, match="not called as for the first samples: it saw one sequence without"):
            gradients.of_outputs(second.inputs, 3)


def test_calls_are_kept_and_opened_while_they_are_recorded_only() -> None:
    model = Last(nn.LSTM(3, 4, 2, batch_first=True)).eval()
    x = torch.randn(2, 5, 3)
    state = {name: each.clone() for name, each in model.state_dict().items()}
    seen_by_user: list[Tensor] = []
    kept = model.layer.register_forward_hook(lambda module, arguments, result: seen_by_user.append(result[0]))
    with watch_calls(model, dict(model.named_parameters())) as calls:
        before = model(x)
        assert calls.calls == []
        with calls.recording():
            inside = model(x)
        # Two depths, and the head.
        assert len(calls.calls) == 3
        after = model(x)
        assert len(calls.calls) == 3
    assert torch.equal(before, after)
    # Single precision: 6e-8 per operation, some hundreds of them.
    torch.testing.assert_close(inside, before, rtol=1e-5, atol=1e-5)
    # The user's own hook sees torch's own result.
    assert len({each.detach().numpy().tobytes() for each in seen_by_user}) == 1
    assert list(model.layer._forward_hooks) == [kept.id]
    assert all(torch.equal(each, state[name]) for name, each in model.state_dict().items())


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_other_precisions_give_factors_in_single(dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    model, x = Last(nn.GRU(3, 4, batch_first=True)).double().eval(), noise(3, 4, 3)
    expected = alone(model, (x,))
    subject = Subject(model.to(dtype), data=[(x.to(dtype), None)])
    with subject.undisturbed(), per_sample_gradients(subject) as gradients:
        found = gradients.of_outputs(x.to(dtype), len(x)).factors
    assert not gradients.written_out
    for name, rows in expected.items():
        made = written(found[name])
        assert made.dtype == torch.float32
        # Every number is rounded to 2⁻⁸ or 2⁻²⁴ of itself, in some ten operations a step, over four steps and back.
        assert (made - rows).norm() <= 40 * (2**-8 if dtype == torch.bfloat16 else 2**-24) * rows.norm()
