"""One pass over the weights for many instruments."""

import subprocess
import sys
import time

import pytest
import torch
from torch import nn

from deepscope.core import LeftOut
from deepscope.subject import ModuleWeight, Subject, measure_alone, measure_weight, split_ledger


@pytest.fixture
def subject():
    model = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3), nn.Linear(3, 3))
    model[2].bias = model[0].bias
    return Subject(model)


def names_step(weight, _):
    return [weight.name]


def gathered(_, items, __):
    return items


def test_a_tensor_is_read_once_for_all_instruments(subject, monkeypatch):
    read = []
    monkeypatch.setattr(ModuleWeight, "read", lambda self: read.append(self.name) or self.tensor.detach())
    steps = {"names": names_step, "sums": lambda _, tensor: [None if tensor is None else tensor.sum()]}
    results = [measure_weight(weight, steps) for weight in subject.weights()]
    names = [weight.name for weight in subject.weights()]
    # An int64 counter is shown to every step, but never read.
    assert read == [name for name in names if name != "1.num_batches_tracked"]
    assert [each["names"].records for each in results] == [(name,) for name in names]
    assert results[names.index("1.num_batches_tracked")]["sums"].records == (None,)


def test_records_stand_in_order_with_the_ledger_behind_them(subject):
    items = measure_alone(subject, names_step, gathered)
    assert items == [*(weight.name for weight in subject.weights()), LeftOut("2.bias", "the same tensor as 0.bias")]


def failing(weight, _):
    if weight.name == "0.bias":
        raise ZeroDivisionError
    return [weight.name]


def test_a_step_that_fails_leaves_the_others_alone(subject):
    (bias,) = (weight for weight in subject.weights() if weight.name == "0.bias")
    results = measure_weight(bias, {"bad": failing, "good": names_step})
    assert isinstance(results["bad"].error, ZeroDivisionError)
    assert results["bad"].records == ()
    assert results["good"].error is None
    assert results["good"].records == ("0.bias",)


def test_a_step_that_would_end_the_process_has_failed(subject):
    def leaves(*_):
        raise SystemExit

    assert isinstance(measure_weight(subject.weights()[0], {"it": leaves})["it"].error, SystemExit)


def test_a_step_that_writes_into_the_tensor_has_failed_and_the_next_does_not_see_it(tmp_path):
    torch.save({"w": torch.ones(2, 2)}, tmp_path / "m.pt")
    (weight,) = Subject.from_checkpoint(tmp_path / "m.pt").weights()
    steps = {"vandal": lambda _, tensor: [tensor.zero_()], "sum": lambda _, tensor: [float(tensor.sum())]}
    results = measure_weight(weight, steps)
    assert "has written into the tensor" in str(results["vandal"].error)
    assert results["sum"].records == (4.0,)


def test_alone_the_error_is_raised(subject):
    with pytest.raises(ZeroDivisionError):
        measure_alone(subject, failing, gathered)


def test_an_interruption_is_no_instruments_failure(subject):
    def interrupted(*_):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        measure_weight(subject.weights()[0], {"it": interrupted})


def test_one_instrument_alone_gets_its_effort_and_all_items(subject):
    def step(weight, _, top):
        sum(range(10_000))  # work that a clock of nanoseconds sees
        return [(weight.name, top)]

    def gather(of, items, cost):
        return of, items, cost.cpu_seconds

    begin = time.process_time()
    of, items, seconds = measure_alone(subject, step, gather, top=3)
    whole = time.process_time() - begin
    assert of is subject
    assert items[0] == ("0.weight", 3)
    assert 0 < seconds <= whole


def test_the_ledger_is_split_off():
    entry = LeftOut("a", "why")
    # A plain tuple of two texts is a result, not an entry.
    assert split_ledger([1, entry, ("a", "b")]) == ([1, ("a", "b")], (entry,))


def test_a_step_sees_no_gradient(subject):
    items = measure_alone(subject, lambda _, tensor: [tensor is not None and tensor.requires_grad], gathered)
    assert not any(item for item in items if not isinstance(item, LeftOut))


def test_a_checkpoints_tensor_is_put_where_it_is_measured(tmp_path):
    torch.save({"w": torch.ones(2, 2)}, tmp_path / "m.pt")
    # The meta device stands for an accelerator: nothing else is on every machine.
    subject = Subject.from_checkpoint(tmp_path / "m.pt", device="meta")
    assert measure_alone(subject, lambda _, tensor: [tensor.device.type], gathered) == ["meta"]
    assert subject.device == torch.device("meta")


def test_a_models_tensors_stay_where_they_are(subject, monkeypatch):
    # As if part of the model were on an accelerator, and its first parameter on the CPU.
    monkeypatch.setattr(ModuleWeight, "read", lambda self: self.tensor.detach().to("meta"))
    seen = measure_alone(subject, lambda _, tensor: [tensor is None or tensor.device.type], gathered)
    assert {each for each in seen if not isinstance(each, LeftOut)} == {"meta", True}


MEMORY = """
import psutil, torch
from torch import nn
from deepscope.subject import Subject, measure_alone
resident = lambda: psutil.Process().memory_info().rss
kept = []
def step(weight, tensor):
    # Blocks of other sizes each time, and something small that stays behind above them.
    wide = [tensor.to(torch.float64) * k for k in (1, 2)]
    kept.append(torch.ones(10_000 + len(kept)))
    return [float(wide[1].amax())]
model = nn.ParameterList([torch.ones(700 + 30 * k, 1000) for k in range(40)])
measure_alone(Subject(nn.Linear(600, 600)), step, lambda *_: None)
before = resident()
measure_alone(Subject(model), step, lambda *_: None)
print((resident() - before) / 2**20)
"""


@pytest.mark.verify
def test_what_a_pass_has_freed_is_given_back():
    done = subprocess.run([sys.executable, "-c", MEMORY], capture_output=True, text=True, check=True)
    # The 40 vectors that stay are 2 MiB; the largest matrix alone is 14 in float64.
    assert float(done.stdout) < 6
