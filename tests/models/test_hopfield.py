"""The Hopfield network: descent of its energy, what each rule stores and what neither was told to."""

from __future__ import annotations

import itertools

import pytest
import torch
from contract import behaves

from deepscope.core import UsageError
from deepscope.models import Hopfield, all_bits
from deepscope.models._binary import spins


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def patterns(count, features, seed=0):
    return spins(features)(count, generator(seed)).double()


def stored(rule, memories):
    network = Hopfield(memories.shape[1]).double()
    getattr(network, rule)(memories)
    return network


RULES = pytest.mark.parametrize("rule", ["store_hebb", "store_pseudo_inverse"])


@RULES
def test_rules_are_their_formulas(rule):
    """Twins: the sum over patterns, by loops; the projector through the inverse of the patterns' overlaps."""
    memories = patterns(4, 7)
    weight = stored(rule, memories).weight
    if rule == "store_hebb":
        expected = torch.zeros(7, 7, dtype=torch.float64)
        for i, j in itertools.product(range(7), repeat=2):
            expected[i, j] = 0 if i == j else sum(float(each[i] * each[j]) for each in memories) / 7
    else:
        expected = memories.T @ torch.linalg.inv(memories @ memories.T) @ memories
        assert (weight @ weight - weight).abs().max() < 1e-13
    assert (weight - expected).abs().max() < 1e-13
    assert (weight - weight.T).abs().max() < 1e-15


@RULES
@pytest.mark.parametrize("count", [3, 12])
def test_no_turn_raises_the_energy_and_all_come_to_rest_at_its_minima(rule, count):
    network, start = stored(rule, patterns(count, 20)), patterns(40, 20, seed=1)
    state, fell = start.clone(), 0
    for _ in range(10):
        for unit in range(20):
            before = network.energy(state)
            field = network(state)[:, unit]
            state[:, unit] = torch.where(field == 0, state[:, unit], field.sign())
            after = network.energy(state)
            # Rounding of sums of 400 terms.
            assert (after <= before + 1e-12).all()
            fell += int((after < before - 1e-9).sum())
    assert fell > 40
    found = network.retrieve(start, generator=generator(2))
    assert found.at_rest
    assert (network(found.states) * found.states >= -1e-12).all()
    assert (network.energy(found.states) <= network.energy(start) + 1e-12).all()
    # No state that differs in one unit has less energy, but where units couple to themselves.
    if rule == "store_hebb":
        for unit in range(20):
            near = found.states.clone()
            near[:, unit] *= -1
            assert (network.energy(near) >= network.energy(found.states) - 1e-12).all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_unit_whose_field_is_zero_stays_as_it_is(dtype):
    """Twin: whole numbers, N times the fields, of which none is rounded. A hundredth is, and sums of it miss 0."""
    memories, start = patterns(4, 100), patterns(60, 100, seed=1)
    whole = (memories.T @ memories).fill_diagonal_(0)
    assert ((start @ whole) == 0).sum() > 100
    network = stored("store_hebb", memories).to(dtype)
    state, draws = start.clone(), generator(2)
    for _ in range(10):
        for unit in torch.randperm(100, generator=draws).tolist():
            field = state @ whole[unit]
            state[:, unit] = torch.where(field == 0, state[:, unit], field.sign())
    found = network.retrieve(start.to(dtype), generator=generator(2))
    assert found.at_rest
    assert found.states.dtype == dtype
    assert torch.equal(found.states.double(), state)
    # So that no state depends on those beside it.
    alone = [network.retrieve(each[None].to(dtype), generator=generator(2)).states for each in start[:20]]
    assert torch.equal(torch.cat(alone), found.states[:20])


def test_couplings_that_are_not_symmetric_need_not_come_to_rest():
    """The planted violation: what makes the energy a bound is symmetry."""
    network = Hopfield(2).double()
    with torch.no_grad():
        network.weight.copy_(torch.tensor([[0.0, 1.0], [-1.0, 0.0]]))
    found = network.retrieve(torch.ones(1, 2).double(), most_sweeps=20, generator=generator())
    assert not found.at_rest
    assert found.sweeps == 20


@pytest.mark.parametrize("count", [1, 10, 25, 49])
def test_the_pseudo_inverse_stores_any_load_below_the_number_of_units(count):
    memories = patterns(count, 50)
    # Alike ones too: half of each pattern's signs are those of the first, and one is there twice.
    memories[:, :25] = memories[0, :25].clone()
    memories[-1] = memories[0]
    network = stored("store_pseudo_inverse", memories)
    assert (network(memories) - memories).abs().max() < 1e-12
    # A projector on them and nothing else: its trace is the number of those that are independent.
    assert network.weight.trace().item() == pytest.approx(int(torch.linalg.matrix_rank(memories)), abs=1e-12)
    found = network.retrieve(memories, generator=generator())
    assert torch.equal(found.states, memories)
    assert found.at_rest
    assert found.sweeps == 0
    # Hebb's rule loses some of so many that are alike.
    if count >= 10:
        assert not torch.equal(
            stored("store_hebb", memories).retrieve(memories, generator=generator()).states, memories
        )


def test_hebb_retrieves_few_from_a_quarter_of_wrong_signs_and_not_many():
    """The whole measurement, with the limit of large N, is in tests/verify."""
    overlaps = {}
    for count in (10, 50):
        memories = patterns(count, 200)
        network = stored("store_hebb", memories)
        found = network.retrieve(memories, generator=generator(1)).states
        overlaps[count] = float((found * memories).mean())
        if count == 10:
            noisy = memories * torch.where(torch.rand(memories.shape, generator=generator(2)) < 0.25, -1, 1)
            again = network.retrieve(noisy, generator=generator(3)).states
            assert float((again * memories).mean()) > 0.99
    # Loads 0.05 and 0.25, on either side of 0.138: overlaps of theory 1 − 1e-5 and, in the spin glass, some 0.35.
    assert overlaps[10] > 0.99
    assert overlaps[50] < 0.7


def test_mixtures_of_three_patterns_are_at_rest_though_none_was_stored():
    memories = patterns(3, 1000)
    network = stored("store_hebb", memories)
    for signs in itertools.product((1, -1), repeat=3):
        mixture = (memories * torch.tensor(signs)[:, None]).sum(0, keepdim=True).sign()
        # It has 3/4 of the signs of each, an overlap of 1/2, and is none of them; its fields are 3/2 of 1/2 at least
        # where all agree, and 1/2 where two do, with deviations of √(3/1000).
        rest = network.retrieve(mixture, generator=generator())
        assert rest.at_rest
        overlaps = rest.states @ memories.T / 1000 * torch.tensor(signs)
        assert ((overlaps - 0.5).abs() < 0.1).all()
        assert (rest.states * mixture).mean() > 0.98
        # They are shallower than what was stored: −N · 3/8 against −N / 2.
        assert network.energy(rest.states).item() > network.energy(memories).max().item() + 50
    # Patterns and what they are with all signs turned are minima alike.
    assert torch.equal(network.retrieve(-memories, generator=generator()).states, -memories)


def test_sixteen_patterns_are_learnt_by_heart():
    for rule, features in (("store_hebb", 400), ("store_pseudo_inverse", 17)):
        memories = patterns(16, features)
        network = stored(rule, memories)
        assert torch.equal(network.retrieve(memories, generator=generator()).states, memories)
        # Before, all is at rest.
        assert torch.equal(Hopfield(features).double().retrieve(-memories, generator=generator()).states, -memories)


def test_every_state_comes_to_the_nearest_minimum_of_few_units():
    """All 32 states of five units and one pattern: those with more of its signs come to it, the others to minus it."""
    memory = torch.tensor([[1.0, -1.0, 1.0, 1.0, -1.0]], dtype=torch.float64)
    network, states = stored("store_hebb", memory), 2 * all_bits(5, memory) - 1
    found = network.retrieve(states, generator=generator()).states
    assert torch.equal(found, (states @ memory.T).sign() * memory)


def test_contract():
    first, other = Hopfield(6), Hopfield(6)
    first.store_hebb(patterns(2, 6).float())
    behaves(first, other, torch.randn(5, 6, generator=generator()))
    found = [first.retrieve(patterns(9, 6).float(), generator=generator(seed)).states for seed in (0, 0)]
    assert torch.equal(*found)
    before = torch.random.get_rng_state()
    first.retrieve(patterns(9, 6).float(), generator=generator())
    assert torch.equal(before, torch.random.get_rng_state())


@pytest.mark.parametrize(
    ("call", "match"),
    [
        (lambda: Hopfield(0), "features is 0"),
        (lambda: Hopfield(3)(torch.zeros(2, 4)), r"\[2, 4\]"),
        (lambda: Hopfield(3).energy(torch.zeros(2, 3).long()), "int64"),
        (lambda: Hopfield(3).store_hebb(torch.ones(2, 4)), r"patterns is \[2, 4\]"),
        (lambda: Hopfield(3).store_hebb(torch.ones(0, 3)), r"patterns is \[0, 3\]"),
        (lambda: Hopfield(3).store_pseudo_inverse(torch.zeros(2, 3)), "other numbers than -1 and 1"),
        (lambda: Hopfield(3).store_hebb(torch.full((1, 3), torch.nan)), "other numbers than -1 and 1"),
        (lambda: Hopfield(3).retrieve(torch.zeros(2, 3)), "x has other numbers than -1 and 1"),
        (lambda: Hopfield(3).retrieve(torch.ones(2, 3).double()), "float64"),
        (lambda: Hopfield(3).retrieve(torch.ones(2, 3), most_sweeps=0), "most_sweeps is 0"),
    ],
)
def test_bad_input_is_refused(call, match):
    with pytest.raises(UsageError, match=match):
        call()
