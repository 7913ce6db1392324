"""Twenty seeds: planted frequencies are ordered rightly, and where the spectrum is shuffled the order goes with it."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from frequency_learners import FREQUENCIES, Embedding, learn

from deepscope.instruments import order_over_seeds

pytestmark = pytest.mark.verify

SEEDS = range(20)


def test_planted_frequencies_are_ordered_rightly_in_all_of_twenty_seeds() -> None:
    """A random order of four frequencies is right once in 24."""
    orders = [learn(seed, steps=2500) for seed in SEEDS]
    assert [each.is_ascending for each in orders] == [True] * 20
    # Far from the threshold of 0.3 once the others are learned: rounding does not decide in which order they were.
    for each in orders:
        assert each.errors[each.steps > 1.1 * max(each.learned), 0].max() < 0.2
    found = order_over_seeds(orders)
    assert found.by_chance == 1 / 24 < 0.8 < found.ascending.low


def test_a_shuffled_spectrum_of_the_input_is_the_order_that_is_found() -> None:
    """The control: the same network and targets, its input waves of these frequencies, louder in a random order.

    Each is a third of the one before. An instrument that found low frequencies first whatever happens would fail here.
    """
    orders = []
    for seed in SEEDS:
        rng = np.random.default_rng(1000 + seed)
        order = rng.permutation(4)
        while (order == np.arange(4)).all():
            order = rng.permutation(4)
        amplitudes = np.empty(4)
        amplitudes[order] = 3.0 ** (1 - np.arange(4))
        found = learn(seed, steps=1000, embedding=Embedding(amplitudes.tolist()))
        assert found.order == tuple(found.names[place] for place in order)
        orders.append(found)
    assert not any(each.is_ascending for each in orders)
    correlation = order_over_seeds(orders).rank_correlation
    # Of random orders but the ascending one, τ has the mean −1/23.
    assert correlation.low < 0 < correlation.high


def test_inputs_in_random_order_leave_no_order_of_frequencies() -> None:
    """The other control: with inputs shuffled against targets a network sees noise, and each wave in all of it."""
    orders = []
    for seed in SEEDS:
        shuffled = torch.from_numpy(np.random.default_rng(seed).permutation(64))
        orders.append(learn(seed, steps=2500, seen=lambda x, shuffled=shuffled: x[shuffled]))
    assert not any(each.is_ascending for each in orders)
    assert sum(len(each.order) for each in orders) < 0.2 * 20 * len(FREQUENCIES)
