"""The Helmholtz machine against sums over all hidden states: likelihood, bound, and what wake and sleep climb."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from contract import behaves

from deepscope.core import UsageError
from deepscope.models import (
    HelmholtzMachine,
    all_bits,
    bars_and_stripes,
    fit_helmholtz,
    sleep_direction,
    wake_direction,
)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def drawn(sizes, scale=1.0, seed=0):
    machine, draws = HelmholtzMachine(sizes).double(), generator(seed)
    with torch.no_grad():
        for parameter in machine.parameters():
            parameter.copy_(scale * torch.randn(parameter.shape, generator=draws, dtype=torch.float64))
    return machine


def bernoulli(logit, bit):
    return 1 / (1 + math.exp(-logit if bit else logit))


def chain(layer, given, wanted):
    """Twin: the probability of a layer's states, unit by unit."""
    product = 1.0
    for i, bit in enumerate(wanted):
        logit = layer.bias[i].item() + sum(layer.weight[i, j].item() * given[j] for j in range(len(given)))
        product *= bernoulli(logit, bit)
    return product


def hidden_states(sizes):
    return itertools.product(*(list(itertools.product((0, 1), repeat=size)) for size in sizes))


def test_likelihood_and_bound_are_sums_over_all_hidden_states():
    machine = drawn((3, 2, 2))
    for v in itertools.product((0, 1), repeat=3):
        likelihood, bound = 0.0, 0.0
        for below, top in hidden_states((2, 2)):
            joint = math.prod(bernoulli(machine.top_bias[j].item(), top[j]) for j in range(2))
            joint *= chain(machine.generative[1], top, below) * chain(machine.generative[0], below, v)
            recognition = chain(machine.recognition[0], v, below) * chain(machine.recognition[1], below, top)
            likelihood += joint
            bound += recognition * math.log(joint / recognition)
        x = torch.tensor([v], dtype=torch.float64)
        assert machine.log_likelihood(x).item() == pytest.approx(math.log(likelihood), abs=1e-12)
        assert machine.bound(x).item() == pytest.approx(bound, abs=1e-12)
    everything = all_bits(3, machine.top_bias)
    assert machine.log_likelihood(everything).exp().sum().item() == pytest.approx(1, abs=1e-12)


@pytest.mark.parametrize("seed", range(5))
def test_the_bound_is_below_the_likelihood_by_the_divergence_and_touches_it(seed):
    machine = drawn((4, 3), seed=seed)
    v = all_bits(4, machine.top_bias)
    gap = machine.log_likelihood(v) - machine.bound(v)
    states = all_bits(3, v)
    for index in range(16):
        pairs = [v[index].expand(8, -1), states]
        posterior = (machine.log_joint(pairs) - machine.log_likelihood(v[index : index + 1])).exp()
        recognition = machine.log_recognition(pairs).exp()
        divergence = (recognition * (recognition / posterior).log()).sum().item()
        assert gap[index].item() == pytest.approx(divergence, abs=1e-12)
    assert gap.min() > 1e-4
    # Where units do not depend on each other, the posterior is the prior, which the recognition network can be.
    with torch.no_grad():
        for layer in (machine.generative[0], machine.recognition[0]):
            layer.weight.zero_()
        machine.recognition[0].bias.copy_(machine.top_bias)
    assert (machine.log_likelihood(v) - machine.bound(v)).abs().max() < 1e-13


def all_pairs(machine, v):
    """All hidden states beside each sample, as layers."""
    hidden = all_bits(sum(machine.sizes[1:]), v)
    states = [v.repeat_interleave(len(hidden), 0)]
    return [*states, *torch.split(hidden.repeat(len(v), 1), list(machine.sizes[1:]), 1)]


def mean_direction(rule, machine, states, law):
    """The mean of a rule's direction over states of given probabilities, one state at a time."""
    total = {}
    for index, share in enumerate(law.tolist()):
        for name, change in rule(machine, [layer[index : index + 1] for layer in states]).items():
            total[name] = total.get(name, 0) + share * change
    return total


@pytest.mark.demonstrates("helmholtz-machine")
def test_wake_and_sleep_are_the_gradients_that_they_are_said_to_be():
    """Wake's mean over q is the bound's gradient; sleep's over p is that of −KL(p‖q), and not the bound's."""
    machine = drawn((3, 2, 2))
    v = torch.tensor([[1, 0, 1], [0, 0, 1], [1, 1, 1]], dtype=torch.float64)
    states = all_pairs(machine, v)
    law = machine.log_recognition(states).exp().detach() / len(v)
    assert law.sum().item() == pytest.approx(1, abs=1e-12)
    wake = mean_direction(wake_direction, machine, states, law)
    bound = dict(
        zip(
            dict(machine.named_parameters()),
            torch.autograd.grad(machine.bound(v).mean(), machine.parameters()),
            strict=True,
        )
    )
    assert set(wake) == {name for name in bound if not name.startswith("recognition")}
    for name, change in wake.items():
        torch.testing.assert_close(change, bound[name], rtol=0, atol=1e-12)
    fantasies = all_pairs(machine, all_bits(3, v))
    law = machine.log_joint(fantasies).exp()
    assert law.sum().item() == pytest.approx(1, abs=1e-12)
    sleep = mean_direction(sleep_direction, machine, fantasies, law.detach())
    # KL(p(s | v) ‖ q(s | v)), over fantasies v ~ p(v); p is held.
    posterior = machine.log_joint(fantasies) - machine.log_likelihood(fantasies[0])
    divergence = (law.detach() * (posterior.detach() - machine.log_recognition(fantasies))).sum()
    names = [name for name in bound if name.startswith("recognition")]
    assert set(sleep) == set(names)
    expected = torch.autograd.grad(divergence, [machine.get_parameter(name) for name in names])
    for name, gradient in zip(names, expected, strict=True):
        torch.testing.assert_close(sleep[name], -gradient, rtol=0, atol=1e-12)
        # The bias of sleep: of data, and of the divergence the right way round, the gradient is another.
        assert (sleep[name] - bound[name]).abs().max() > 1e-3
    # A direction of many states is the mean of theirs.
    together, count = wake_direction(machine, states), len(states[0])
    alike = torch.full((count,), 1 / count, dtype=torch.float64)
    for name, change in mean_direction(wake_direction, machine, states, alike).items():
        torch.testing.assert_close(together[name], change, rtol=0, atol=1e-12)


def test_states_are_draws_of_both_networks():
    machine, n = drawn((3, 2)), 20_000
    v = torch.tensor([[1.0, 0, 1]], dtype=torch.float64)
    recognised = machine.recognise(v.expand(n, -1), generator=generator(1))
    pairs = all_pairs(machine, v)
    expected = n * machine.log_recognition(pairs).exp().detach()
    counts = torch.stack([(recognised[1] == state).all(1).sum() for state in pairs[1]])
    # Chi-square of 3 degrees of freedom, above 16.3 once in a thousand seeds; of 31 below, above 61.1.
    assert float(((counts - expected).square() / expected).sum()) < 16.3
    fantasies = torch.cat(machine.generate(n, generator=generator(2)), 1)
    pairs = all_pairs(machine, all_bits(3, v))
    expected = n * machine.log_joint(pairs).exp().detach()
    counts = torch.stack([(fantasies == state).all(1).sum() for state in torch.cat(pairs, 1)])
    assert float(((counts - expected).square() / expected)[expected > 1].sum()) < 61.1


def test_training_is_the_recursion():
    """Twin: the delta rules written out for one hidden layer, with the same draws."""
    machine, v = drawn((3, 2)), all_bits(3).double()[[1, 6]]
    g, gb, r, rb, top = (
        each.detach().clone()
        for each in (*machine.generative[0].parameters(), *machine.recognition[0].parameters(), machine.top_bias)
    )
    fit_helmholtz(machine, v, steps=5, batch_size=4, learning_rate=0.3, generator=generator(5))
    draws = generator(5)
    for _ in range(5):
        x = v[torch.randint(2, (4,), generator=draws)]
        h = torch.bernoulli(torch.sigmoid(x @ r.T + rb), generator=draws)
        error = x - torch.sigmoid(h @ g.T + gb)
        g, gb, top = g + 0.3 * error.T @ h / 4, gb + 0.3 * error.mean(0), top + 0.3 * (h.mean(0) - torch.sigmoid(top))
        h = torch.bernoulli(torch.sigmoid(top).expand(4, -1), generator=draws)
        x = torch.bernoulli(torch.sigmoid(h @ g.T + gb), generator=draws)
        error = h - torch.sigmoid(x @ r.T + rb)
        r, rb = r + 0.3 * error.T @ x / 4, rb + 0.3 * error.mean(0)
    found = (*machine.generative[0].parameters(), *machine.recognition[0].parameters(), machine.top_bias)
    for one, other in zip(found, (g, gb, r, rb, top), strict=True):
        torch.testing.assert_close(one.detach(), other, rtol=0, atol=1e-12)


@pytest.mark.demonstrates("helmholtz-machine")
def test_likelihood_of_bars_rises_with_wake_and_sleep():
    data = bars_and_stripes(3, 3)
    torch.manual_seed(0)
    machine = HelmholtzMachine((9, 6, 2))
    with torch.no_grad():
        values = [machine.log_likelihood(data).mean().item()]
        draws = generator(1)
        for _ in range(4):
            fit_helmholtz(machine, data, steps=300, batch_size=28, learning_rate=0.5, generator=draws)
            values.append(machine.log_likelihood(data).mean().item())
        assert all(after > before for before, after in itertools.pairwise(values))
        # From some 9 log 2 nats; no model has less than log 14.
        assert values[0] < -6
        assert -4.2 < values[-1] < -math.log(14)
        assert (machine.bound(data) <= machine.log_likelihood(data)).all()


def test_two_samples_are_learnt_by_heart():
    torch.manual_seed(0)
    machine, v = HelmholtzMachine((6, 3)), torch.tensor([[1.0, 1, 1, 0, 0, 0], [0, 1, 0, 1, 0, 1]])
    fit_helmholtz(machine, v, steps=1500, batch_size=20, learning_rate=0.5, generator=generator())
    assert -machine.log_likelihood(v).mean().item() < math.log(2) + 0.1


def test_contract():
    torch.manual_seed(0)
    behaves(HelmholtzMachine((6, 4, 3)), HelmholtzMachine((6, 4, 3)), torch.rand(5, 6))
    before = torch.random.get_rng_state()
    machine = HelmholtzMachine((3, 2))
    after = torch.random.get_rng_state()
    fit_helmholtz(machine, torch.ones(2, 3), steps=2, batch_size=2, learning_rate=0.1, generator=generator())
    assert torch.equal(after, torch.random.get_rng_state())
    assert not torch.equal(before, after)


SETTINGS = {"steps": 1, "batch_size": 2, "learning_rate": 0.1}


@pytest.mark.parametrize(
    ("call", "match"),
    [
        (lambda machine: HelmholtzMachine((3,)), r"sizes are \(3,\)"),
        (lambda machine: HelmholtzMachine((3, 0)), "a size is 0"),
        (lambda machine: HelmholtzMachine((3, 23)).log_likelihood(torch.ones(1, 3)), "23 hidden units"),
        (lambda machine: HelmholtzMachine((3, 12, 11)).bound(torch.ones(1, 3)), "23 hidden units"),
        (lambda machine: machine(torch.zeros(2, 4)), r"\[2, 4\]"),
        (lambda machine: machine(torch.zeros(2, 3).double()), "float64"),
        (lambda machine: machine.recognise(torch.zeros(2, 4)), r"v is \[2, 4\]"),
        (lambda machine: machine.bound(torch.full((2, 3), 0.5)), "other numbers than 0 and 1"),
        (lambda machine: machine.generate(0), "n is 0"),
        (lambda machine: fit_helmholtz(machine, torch.full((2, 3), -1.0), **SETTINGS), "samples has other numbers"),
        (lambda machine: fit_helmholtz(machine, torch.ones(2, 3), **SETTINGS | {"steps": 0}), "steps is 0"),
        (lambda machine: fit_helmholtz(machine, torch.ones(2, 3), **SETTINGS | {"batch_size": 0}), "batch_size is 0"),
        (lambda machine: fit_helmholtz(machine, torch.ones(2, 3), **SETTINGS | {"learning_rate": -1}), "rate is -1"),
    ],
)
def test_bad_input_is_refused(call, match):
    with pytest.raises(UsageError, match=match):
        call(HelmholtzMachine((3, 2)))
