"""How layers represent samples: the same rows as plain hooks see, in every order of dimensions, without a trace."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.autograd import forward_ad

from deepscope import Subject
from deepscope.core import LeftOut, MeasurementError
from deepscope.subject import _collect as collect_module
from deepscope.subject import collect, collecting


def run(model: nn.Module, inputs: Any, n: int, **options: Any) -> tuple[dict[str, Tensor], tuple[LeftOut, ...]]:
    subject = Subject(model, [(inputs, None)], mask=options.pop("mask", None))
    with subject.undisturbed(), collecting(subject, **options) as collector:
        found = collector.run(inputs, n)
        return found, collector.left_out


class Call(nn.Module):
    """A leaf that calls a function."""

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__()
        self.function = function

    def forward(self, *args: Any) -> Any:
        return self.function(*args)


def test_leaf_modules_come_in_forward_order_without_containers_and_dropout() -> None:
    torch.manual_seed(0)
    late, early = nn.Linear(4, 3), nn.Sequential(nn.Linear(5, 4), nn.Dropout(0.5), nn.ReLU(inplace=True), nn.Identity())

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.late, self.early = late, early

        def forward(self, x: Tensor) -> Tensor:
            return self.late(self.early(x))

    x = torch.randn(6, 5)
    found, left_out = run(Net(), x, 6)
    first = early[0](x).detach()
    assert list(found) == ["early.0", "early.2", "early.3", "late"]
    # The rectifier works in place on what the first layer put out; its copy was taken before.
    assert torch.equal(found["early.0"], first)
    assert torch.equal(found["early.2"], first.relu())
    assert torch.equal(found["early.3"], first.relu())
    assert torch.equal(found["late"], late(first.relu()).detach())
    assert left_out == ()


def test_a_row_is_a_sample_in_every_order_of_dimensions() -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.rnn, self.flat = nn.Conv1d(2, 3, 1), nn.GRU(3, 4), nn.Linear(4, 2)

        def forward(self, x: Tensor) -> Tensor:
            hidden, _ = self.rnn(self.conv(x).permute(2, 0, 1))
            # All positions of all samples in one dimension, samples first.
            return self.flat(hidden.movedim(1, 0).reshape(-1, 4))

    torch.manual_seed(0)
    model, x = Net(), torch.randn(5, 2, 7)
    found, _ = run(model, x, 5)
    alone = [run(model, x[i : i + 1], 1)[0] for i in range(5)]
    assert {name: tuple(rows.shape) for name, rows in found.items()} == {
        "conv": (5, 21),
        "rnn": (5, 28),
        "flat": (5, 14),
    }
    for name, rows in found.items():
        # One sample is summed in another order: some 3·4 products of order one, 6e-8 each.
        torch.testing.assert_close(rows, torch.cat([each[name] for each in alone]), rtol=0, atol=1e-6)


def test_time_first_is_told_from_samples_first_where_both_are_as_long() -> None:
    torch.manual_seed(0)
    x = torch.randn(4, 4, 3)
    for batch_first in (True, False):
        rnn = nn.RNN(3, 2, batch_first=batch_first)
        found, _ = run(rnn, x, 4)
        out = rnn(x)[0].detach()
        assert torch.equal(found[""], (out if batch_first else out.movedim(1, 0)).flatten(1))


def test_padding_is_averaged_out_whatever_it_holds() -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed, self.conv, self.rnn = nn.Embedding(9, 3), nn.Conv1d(3, 2, 1), nn.GRU(2, 4)

        def forward(self, ids: Tensor) -> Tensor:
            x = self.conv(self.embed(ids).movedim(2, 1))
            return self.rnn(x.permute(2, 0, 1))[0][-1]

    torch.manual_seed(0)
    model = Net()
    with torch.no_grad():
        model.embed.weight[0] = float("nan")
    ids = torch.tensor([[1, 2, 3, 4], [5, 6, 0, 0], [7, 0, 0, 0]])
    found, left_out = run(model, ids, 3, mask=lambda ids: ids != 0)
    for i, n in enumerate((4, 2, 1)):
        alone, _ = run(model, ids[i : i + 1, :n], 1, mask=lambda ids: ids != 0)
        for name, rows in found.items():
            # Means of at most four numbers of order one in another order.
            torch.testing.assert_close(rows[i], alone[name][0], rtol=0, atol=1e-6)
    assert {name: tuple(rows.shape) for name, rows in found.items()} == {"embed": (3, 3), "conv": (3, 2), "rnn": (3, 4)}
    assert left_out == ()
    halved = nn.Sequential(nn.Embedding(9, 4), Call(lambda x: x[:, ::2]))
    _, left_out = run(halved, ids, 3, mask=lambda ids: ids != 0)
    assert left_out == (LeftOut("1", "padding is counted here: the mask does not fit its output"),)


def test_a_reused_module_is_a_row_behind_each_layer_and_a_repeated_one_is_its_last_call() -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.one, self.two, self.cell, self.act = nn.Linear(3, 3), nn.Linear(3, 3), nn.RNNCell(3, 3), nn.ReLU()

        def forward(self, x: Tensor) -> Tensor:
            x = self.act(self.two(self.act(self.one(x))))
            for _ in range(3):
                x = self.cell(x)
            return x

    torch.manual_seed(0)
    model, x = Net(), torch.randn(4, 3)
    found, left_out = run(model, x, 4)
    assert list(found) == ["one", "act", "two", "act#2", "cell"]
    assert torch.equal(found["cell"], model(x).detach())
    assert torch.equal(found["act#2"], model.two(model.one(x).relu()).relu().detach())
    assert left_out == (LeftOut("cell", "called several times in a pass: its last output is taken"),)


def test_what_has_no_row_per_sample_goes_to_the_ledger() -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.nothing, self.tuple, self.ids, self.total, self.odd = (
                Call(lambda x: None),
                Call(lambda x: (x, None)),
                Call(lambda x: x.argmax(1)),
                Call(torch.sum),
                Call(lambda x: x[:3]),
            )

        def forward(self, x: Tensor) -> Tensor:
            for leaf in (self.nothing, self.ids, self.total, self.odd):
                leaf(x)
            return self.tuple(x)[0]

    x = torch.randn(4, 3)
    found, left_out = run(Net(), x, 4)
    assert list(found) == ["tuple"]
    assert [name for name, _ in left_out] == ["nothing", "ids", "total", "odd"]
    for word, (_, reason) in zip(("no tensor", "int64", "single number", "[3, 3]"), left_out, strict=True):
        assert word in reason


def test_half_precision_is_widened_and_double_kept() -> None:
    for dtype, kept in ((torch.bfloat16, torch.float32), (torch.float64, torch.float64)):
        found, _ = run(nn.Linear(3, 2).to(dtype), torch.ones(4, 3, dtype=dtype), 4)
        assert found[""].dtype == kept


def test_reduce_sees_each_output_before_it_is_changed_and_nothing_else_is_kept() -> None:
    model = nn.Sequential(nn.Linear(3, 2), nn.ReLU(inplace=True))
    x = torch.randn(8, 3)
    found, _ = run(model, x, 8, reduce=lambda name, rows: (name, float(rows.min())))
    assert found["0"] == ("0", float(model[0](x).detach().min()))
    assert found["0"][1] < 0 == found["1"][1]


def test_layers_and_parts_are_chosen_by_name() -> None:
    model = nn.Sequential(nn.Linear(3, 3), nn.ReLU(), nn.Linear(3, 3))
    x = torch.randn(4, 3)
    assert list(run(model, x, 4, layers=["1"])[0]) == ["1"]
    subject = Subject(model, [(x, None)]).only("2")
    with subject.undisturbed(), collecting(subject) as collector:
        assert list(collector.run(x, 4)) == ["2"]
        assert collector.names == ("2",)
        assert torch.equal(collector.output, model(x).detach())


@pytest.mark.parametrize("fails", [False, True])
def test_no_trace_is_left(fails: bool) -> None:
    model = nn.Sequential(nn.Linear(3, 3), nn.TransformerEncoderLayer(3, 1, 4, batch_first=True))
    subject = Subject(model, [(torch.zeros(2, 5, 4 if fails else 3), None)])
    hooks = [len(module._forward_hooks) for module in model.modules()]
    fast = torch.backends.mha.get_fastpath_enabled()
    try:
        with subject.undisturbed():
            collect(subject, 2)
        assert not fails
    except MeasurementError:
        assert fails
    assert [len(module._forward_hooks) for module in model.modules()] == hooks
    assert torch.backends.mha.get_fastpath_enabled() == fast


def test_the_layers_inside_an_encoder_are_seen() -> None:
    model = nn.TransformerEncoderLayer(4, 2, 8, batch_first=True)
    found, _ = run(model, torch.randn(3, 5, 4), 3)
    assert list(found) == ["self_attn", "norm1", "linear1", "linear2", "norm2"]


def test_collected_samples_are_the_first_ones_whole() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 4), nn.Tanh())
    data = [(torch.randn(n, 3), torch.arange(n)) for n in (5, 4, 5)]
    subject = Subject(model, data)
    with subject.undisturbed():
        found = collect(subject, 7)
        whole = collect(subject, 14)
    x = torch.cat([inputs for inputs, _ in data])
    # A batch is cut, and products of other shapes are summed in another order: 3 products of order one.
    torch.testing.assert_close(found.layers["1"], model(x[:7]).detach(), rtol=0, atol=1e-6)
    assert found.output is not None
    assert torch.equal(found.output, found.layers["1"])
    assert torch.cat(found.targets).tolist() == [0, 1, 2, 3, 4, 0, 1]
    assert (found.n_samples, found.n_batches) == (7, 2)
    assert found.left_out == (LeftOut("data", "the samples after the first 7"),)
    assert (whole.n_samples, whole.left_out) == (14, ())


def test_wide_layers_are_kept_in_part_the_same_features_of_all_samples(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(collect_module, "_MOST", 10)
    monkeypatch.setattr(collect_module, "_FEWEST", 2)
    model = nn.Sequential(Call(lambda x: x.repeat(1, 25)), Call(lambda x: x[:, :10]))
    # Column j of what the first layer puts out is j plus the sample's number times 1,000.
    x = [torch.arange(4.0) + 1000 * torch.arange(start, start + 3.0)[:, None] for start in (0, 3)]
    subject = Subject(model, [(each, None) for each in x])
    with subject.undisturbed():
        one, same, other = (collect(subject, 6, seed=seed) for seed in (0, 0, 1))
        fewer = collect(subject, 2**26)
    assert one.layers["0"].shape == (6, 10)
    assert one.widths == {"0": 100, "1": 10}
    assert torch.equal(one.layers["0"] - one.layers["0"][0], 1000 * torch.arange(6.0)[:, None].expand(6, 10))
    assert torch.equal(one.layers["0"], same.layers["0"])
    assert one.layers["1"].shape == (6, 10)
    assert one.left_out == (LeftOut("0", "all but 10 of its 100 features, by chance"),)
    assert len(fewer.layers["0"][0]) == 2
    assert not torch.equal(one.layers["0"], other.layers["0"])


def test_what_does_not_run_or_fit_in_every_batch_is_left_out() -> None:
    class Changing(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.always, self.long, self.short = nn.Linear(2, 2), nn.Linear(2, 2), nn.Linear(2, 2)

        def forward(self, x: Tensor) -> Tensor:
            return (self.long if x.shape[1] > 3 else self.short)(self.always(x)).mean(1)

    subject = Subject(Changing(), [(torch.randn(3, length, 2), None) for length in (3, 3, 5)])
    with subject.undisturbed():
        found = collect(subject, 9)
    assert found.layers == {}
    assert found.output is not None
    assert found.output.shape == (9, 2)
    assert dict(found.left_out) == {
        "always": "its output has not the same length for every batch; give mask=",
        "short": "it does not run for every batch",
        "long": "it does not run for every batch",
    }


def test_rows_of_dual_inputs_hold_the_derivative_along_them() -> None:
    """In forward order, before what works in place comes by; and without a trace of a graph."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 4), nn.ReLU(inplace=True), nn.Linear(4, 2))
    x, v = torch.randn(5, 3), torch.randn(5, 3)
    seen: dict[str, torch.Tensor] = {}

    def keep(name: str, rows: torch.Tensor) -> None:
        assert not rows.requires_grad
        seen[name] = forward_ad.unpack_dual(rows).tangent.clone()

    subject = Subject(model, data=[(x, None)])
    with subject.undisturbed(), collecting(subject, reduce=keep) as collector, forward_ad.dual_level():
        collector.run(forward_ad.make_dual(x, v), 5)
    first = v @ model[0].weight.T
    open_units = model[0](x) > 0
    torch.testing.assert_close(seen["0"], first.detach())
    torch.testing.assert_close(seen["1"], (first * open_units).detach())
    torch.testing.assert_close(seen["2"], ((first * open_units) @ model[2].weight.T).detach())
