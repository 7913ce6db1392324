from __future__ import annotations

import pickle
from itertools import chain, islice

import pytest
import torch

from deepscope.core import UsageError
from deepscope.data import Samples

N = 23


@pytest.fixture
def samples() -> Samples:
    return Samples(torch.arange(N).float().unsqueeze(1) * 10, torch.arange(N))


def read(batches) -> list[list[int]]:
    return [targets.tolist() for _, targets in batches]


def flat(batches) -> list[int]:
    return list(chain.from_iterable(read(batches)))


def test_batches_hold_every_sample_once_in_its_own_order_and_again(samples):
    batches = samples.batches(5)
    assert read(batches) == [list(range(i, min(i + 5, N))) for i in range(0, N, 5)]
    assert read(batches) == read(batches)
    assert (len(batches), batches.n_samples) == (5, N)


@pytest.mark.parametrize(("limit", "sizes"), [(1, [1]), (10, [5, 5]), (11, [5, 5, 1]), (N + 1, [5, 5, 5, 5, 3])])
def test_limit_takes_the_first_samples(samples, limit, sizes):
    batches = samples.batches(5, limit=limit)
    assert [len(each) for each in read(batches)] == sizes
    assert flat(batches) == list(range(min(limit, N)))
    assert (len(batches), batches.n_samples) == (len(sizes), sum(sizes))


def test_a_full_last_batch_is_not_followed_by_an_empty_one(samples):
    assert [len(each) for each in read(samples.batches(N))] == [N]
    assert len(samples.batches(N)) == 1


def test_no_samples_no_batches():
    assert list(Samples(torch.empty(0, 2), torch.empty(0)).batches()) == []


def test_an_epoch_holds_every_sample_once_with_its_own_target(samples):
    batches = samples.epochs(4, seed=7)(0)
    assert [len(each) for each in read(batches)] == [4, 4, 4, 4, 4, 3]
    assert sorted(flat(batches)) == list(range(N))
    for inputs, targets in batches:
        assert torch.equal(inputs.squeeze(1), targets * 10.0)


def test_the_order_is_a_function_of_seed_and_epoch_alone(samples):
    epochs = samples.epochs(4, seed=7)
    third = read(epochs(3))
    torch.manual_seed(999)
    torch.rand(5)
    assert read(epochs(3)) == third
    assert read(samples.epochs(4, seed=7)(3)) == third
    others = [read(epochs(0)), read(epochs(4)), read(samples.epochs(4, seed=8)(3))]
    # Two of 23! orders agree by chance with probability below 1e-22.
    assert third not in others
    assert flat(epochs(3)) != list(range(N))


def test_the_order_does_not_depend_on_the_batch_size(samples):
    assert flat(samples.epochs(4, seed=1)(2)) == flat(samples.epochs(7, seed=1)(2))


def test_the_global_generator_is_left_alone(samples):
    before = torch.get_rng_state()
    read(samples.epochs(4, seed=7)(0))
    assert torch.equal(torch.get_rng_state(), before)


def test_training_stopped_in_the_middle_resumes_with_the_same_batches(samples):
    whole = [batch for epoch in range(3) for batch in read(samples.epochs(4, seed=2)(epoch))]
    per_epoch = len(samples.epochs(4, seed=2)(0))
    stopped = per_epoch + 2
    resumed = samples.epochs(4, seed=2)
    epoch, done = divmod(stopped, per_epoch)
    rest = list(islice(read(resumed(epoch)), done, None)) + read(resumed(epoch + 1))
    assert rest == whole[stopped:]


def test_samples_and_epochs_cross_process_borders(samples):
    copy = pickle.loads(pickle.dumps(samples.epochs(4, seed=3)))
    assert read(copy(1)) == read(samples.epochs(4, seed=3)(1))


def test_wrong_numbers_are_refused(samples):
    with pytest.raises(UsageError, match="batch_size is 0"):
        samples.batches(0)
    with pytest.raises(UsageError, match="limit is 0"):
        samples.batches(4, limit=0)
    with pytest.raises(UsageError, match="batch_size is -1"):
        samples.epochs(-1, seed=0)
    with pytest.raises(UsageError, match="3 inputs but 2 targets"):
        Samples(torch.zeros(3, 1), torch.zeros(2))
