"""Batches: how a model is fed, and what its loss averages over."""

import random
from collections import OrderedDict, namedtuple
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, RandomSampler, TensorDataset, WeightedRandomSampler

from deepscope.core import MeasurementError, UsageError
from deepscope.subject import Subject, call, move

CPU = torch.device("cpu")
Point = namedtuple("Point", ["x", "mask"])
DATA = TensorDataset(torch.arange(40.0).reshape(40, 1), torch.arange(40))


class Sum(nn.Module):
    def forward(self, x, y=0.0, *, z=0.0):
        return x + y + z


class Wrapped(nn.Module):
    def __init__(self, wrap):
        super().__init__()
        self.wrap = wrap

    def forward(self, x):
        return self.wrap(2 * x)


@pytest.mark.parametrize(
    ("inputs", "expected"),
    [
        (torch.ones(2), 1.0),
        ((torch.ones(2), torch.ones(2)), 2.0),
        ([torch.ones(2), torch.ones(2)], 2.0),
        (Point(torch.ones(2), torch.ones(2)), 2.0),
        ({"x": torch.ones(2), "z": torch.full((2,), 5.0)}, 6.0),
        (OrderedDict(y=torch.ones(2), x=torch.ones(2)), 2.0),
    ],
    ids=["tensor", "tuple", "list", "namedtuple", "dict", "ordered"],
)
def test_inputs_are_passed_by_their_kind(inputs, expected):
    assert call(Sum(), inputs).tolist() == [expected] * 2


@pytest.mark.parametrize(
    "wrap", [lambda t: SimpleNamespace(logits=t, loss=None), lambda t: {"logits": t, "loss": None}, lambda t: t]
)
def test_logits_are_taken_from_an_output_object(wrap):
    assert call(Wrapped(wrap), torch.ones(2)).tolist() == [2.0, 2.0]


def test_a_mapping_without_logits_is_handed_on():
    assert set(call(Wrapped(lambda t: {"out": t}), torch.ones(2))) == {"out"}


def test_moving_keeps_the_structure():
    before = {"a": (torch.ones(1), [torch.zeros(1), "text"]), "b": Point(torch.ones(1), None)}
    after = move(before, torch.device("meta"))
    assert after["a"][0].is_meta
    assert after["a"][1][0].is_meta
    assert after["a"][1][1] == "text"
    assert type(after["b"]) is Point
    assert after["b"].x.is_meta
    assert after["b"].mask is None


@pytest.mark.parametrize("data", [iter([1]), (x for x in [1]), map(str, [1]), zip([1], [2], strict=True)])
def test_what_can_be_iterated_only_once_is_refused(data):
    with pytest.raises(UsageError, match="only once"):
        Subject(nn.Linear(1, 1), data=data)


def test_what_cannot_be_iterated_is_refused():
    with pytest.raises(UsageError, match="not iterable"):
        Subject(nn.Linear(1, 1), data=3)


@pytest.mark.parametrize(
    "batch", [torch.ones(2), (torch.ones(2),), (1, 2, 3), {"x": 1, "y": 2}, "xy"], ids=lambda b: type(b).__name__
)
def test_a_batch_that_is_no_pair_is_refused(batch):
    subject = Subject(nn.Linear(1, 1), data=[batch])
    with pytest.raises(MeasurementError, match="not a pair"):
        list(subject.batches())


@pytest.mark.parametrize("data", [[], [(torch.ones(0, 1), torch.ones(0))]])
def test_no_samples_is_an_error(data):
    with pytest.raises(MeasurementError, match="no samples"):
        list(Subject(nn.Linear(1, 1), data=data).batches())


def test_without_data_there_are_no_batches():
    with pytest.raises(MeasurementError, match="no data"):
        Subject(nn.Linear(1, 1)).batches()


def own_generator(seed=3):
    return torch.Generator().manual_seed(seed)


LOADERS = {
    "global": lambda: DataLoader(DATA, batch_size=8, shuffle=True),
    "own": lambda: DataLoader(DATA, batch_size=8, shuffle=True, generator=own_generator()),
    # Draws in pieces of 32, so also while batches are being made.
    "replacement": lambda: DataLoader(
        DATA, batch_size=8, sampler=RandomSampler(DATA, replacement=True, num_samples=80, generator=own_generator())
    ),
    "weighted": lambda: DataLoader(DATA, batch_size=8, sampler=WeightedRandomSampler(torch.ones(40), 40)),
    "unbatched": lambda: DataLoader(DATA, batch_size=None, sampler=RandomSampler(DATA, generator=own_generator())),
}


def order(subject, n=None):
    return torch.cat([batch.targets.reshape(-1) for batch in subject.batches(n)]).tolist()


@pytest.mark.parametrize("kind", LOADERS)
def test_a_shuffling_loader_gives_the_same_order_each_time_and_disturbs_no_generator(kind):
    loader = LOADERS[kind]()
    own = getattr(loader, "generator", None) or getattr(loader.sampler, "generator", None)
    subject = Subject(nn.Linear(1, 1), data=loader)
    torch.manual_seed(11)
    states = torch.get_rng_state(), random.getstate(), np.random.get_state()[1].tolist()  # noqa: NPY002
    own_state = own.get_state() if own is not None else None
    first = order(subject)
    torch.rand(3)
    assert order(subject) == first
    assert order(subject, 10) == first[: len(order(subject, 10))]
    next(iter(subject.batches()))
    assert order(subject) == first
    torch.manual_seed(11)
    list(subject.batches())
    assert torch.equal(torch.get_rng_state(), states[0])
    assert random.getstate() == states[1]
    assert np.random.get_state()[1].tolist() == states[2]  # noqa: NPY002
    if own is not None:
        assert torch.equal(own.get_state(), own_state)
    assert first != sorted(first), "the loader should shuffle, or this tests nothing"


class Noisy(torch.utils.data.Dataset):
    def __len__(self):
        return 6

    def __getitem__(self, index):
        return torch.rand(1), index


def test_augmentation_repeats_and_does_not_depend_on_what_happens_between_batches():
    subject = Subject(nn.Linear(1, 1), data=DataLoader(Noisy(), batch_size=2))
    first = torch.cat([batch.inputs for batch in subject.batches()])
    second = []
    for batch in subject.batches():
        torch.rand(5)
        second.append(batch.inputs)
    assert torch.equal(torch.cat(second), first)
    assert len(set(first.flatten().tolist())) == 6


def test_the_random_numbers_of_the_caller_go_on_between_batches():
    subject = Subject(nn.Linear(1, 1), data=DataLoader(DATA, batch_size=8, shuffle=True))
    torch.manual_seed(0)
    drawn = [torch.rand(1).item() for _ in subject.batches()]
    torch.manual_seed(0)
    assert drawn == [torch.rand(1).item() for _ in drawn]


def test_cuda_generators_are_not_seeded(monkeypatch):
    monkeypatch.setattr(torch.cuda, "manual_seed_all", lambda seed: pytest.fail("seeded CUDA"))
    list(Subject(nn.Linear(1, 1), data=LOADERS["global"]()).batches())


@pytest.mark.parametrize(("max_samples", "expected"), [(None, 10), (1, 4), (4, 4), (5, 8), (9, 10), (99, 10)])
def test_whole_batches_until_enough_samples_were_seen(max_samples, expected):
    x = torch.ones(10, 1)
    subject = Subject(nn.Linear(1, 1), data=[(x[:4], x[:4]), (x[4:8], x[4:8]), (x[8:], x[8:])])
    assert sum(batch.n_samples for batch in subject.batches(max_samples)) == expected


@pytest.mark.parametrize(
    ("inputs", "targets", "n"),
    [
        (torch.ones(3, 2), torch.ones(3), 3),
        (torch.ones(3, 2), None, 3),
        ({"ids": torch.ones(5, 7)}, None, 5),
        ((torch.ones(4, 1), torch.ones(4, 2)), {"y": torch.ones(4)}, 4),
        (torch.ones(2, 1), [0, 1], 2),
    ],
)
def test_the_number_of_samples(inputs, targets, n):
    (batch,) = Subject(nn.Linear(1, 1), data=[(inputs, targets)]).batches()
    assert (batch.n_samples, batch.count) == (n, float(n))


def test_uneven_batches_and_ignored_targets_weigh_right():
    """The mean over batches weighted by ``count`` is the mean over all targets that are not ignored."""
    torch.manual_seed(0)
    model = nn.Linear(3, 5).double()
    x, y = torch.randn(11, 3, dtype=torch.float64), torch.randint(0, 5, (11,))
    y[[0, 1, 2, 6]] = -100
    parts = [(x[:4], y[:4]), (x[4:10], y[4:10]), (x[10:], y[10:])]
    subject = Subject(model, parts, nn.functional.cross_entropy, count=lambda targets: (targets != -100).sum())
    batches = list(subject.batches())
    assert [batch.count for batch in batches] == [1.0, 5.0, 1.0]
    losses = [subject.loss_of(batch, subject.predict(batch.inputs)) for batch in batches]
    counts = [batch.count for batch in batches]
    total = sum(a * b for a, b in zip(losses, counts, strict=True)) / sum(counts)
    # Seven float64 terms of order 1: rounding is some 1e-16 each.
    torch.testing.assert_close(total, nn.functional.cross_entropy(model(x), y), rtol=1e-14, atol=0)
