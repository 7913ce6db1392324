"""One pass over the weights for many instruments."""

import subprocess
import sys
import time

import pytest
from torch import nn

from deepscope.core import LeftOut
from deepscope.subject import ModuleWeight, Subject, measure_alone, measure_weights, split_ledger


@pytest.fixture
def subject():
    model = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3), nn.Linear(3, 3))
    model[2].bias = model[0].bias
    return Subject(model)


def test_each_tensor_is_read_once_for_all_in_order(subject, monkeypatch):
    read = []
    monkeypatch.setattr(ModuleWeight, "read", lambda self: read.append(self.name) or self.tensor.detach())
    announced = []
    results = measure_weights(
        subject,
        {"names": lambda weight, _: weight.name, "sums": lambda _, tensor: None if tensor is None else tensor.sum()},
        on_tensor=lambda weight: announced.append(weight.name),
    )
    names = [weight.name for weight in subject.weights()]
    assert announced == names
    # An int64 counter is shown to every step, but never read.
    assert read == [name for name in names if name != "1.num_batches_tracked"]
    tied = LeftOut("2.bias", "the same tensor as 0.bias")
    assert results["names"][0] == [*names, tied]
    assert results["sums"][0][names.index("1.num_batches_tracked")] is None
    assert results["sums"][0][-1] == tied


def failing(weight, _):
    if weight.name == "0.bias":
        raise ZeroDivisionError
    return weight.name


def test_an_instrument_that_fails_is_left_out_and_the_others_finish(subject):
    failed = []
    results = measure_weights(
        subject,
        {"bad": failing, "good": lambda weight, _: weight.name},
        on_error=lambda name, error: failed.append((name, type(error))),
    )
    assert failed == [("bad", ZeroDivisionError)]
    assert list(results) == ["good"]
    assert len(results["good"][0]) == len(subject.weights()) + 1


def test_without_a_handler_the_error_is_raised(subject):
    with pytest.raises(ZeroDivisionError):
        measure_weights(subject, {"bad": failing})


def test_an_interruption_is_no_instruments_failure(subject):
    def interrupted(*_):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        measure_weights(subject, {"it": interrupted}, on_error=lambda *_: pytest.fail("taken for a failure"))


def test_one_instrument_alone_gets_its_effort_and_all_items(subject):
    def step(weight, _, top):
        sum(range(10_000))  # work that a clock of nanoseconds sees
        return weight.name, top

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
    (items, _) = measure_weights(subject, {"it": lambda _, tensor: tensor is not None and tensor.requires_grad})["it"]
    assert not any(item for item in items if not isinstance(item, LeftOut))


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
