"""The deep belief network: its likelihood and bound by sums, and what greedy training promises."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from contract import behaves

from deepscope.core import UsageError
from deepscope.models import DBN, RBM, all_bits, bars_and_stripes, fit_dbn, fit_rbm, likelihood_gradient, turned


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def drawn(sizes, scale=1.0, seed=0):
    network, draws = DBN(sizes).double(), generator(seed)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.copy_(scale * torch.randn(parameter.shape, generator=draws, dtype=torch.float64))
    return network


def bernoulli(logit, bit):
    return 1 / (1 + math.exp(-logit if bit else logit))


def product(logits, states):
    return math.prod(bernoulli(logit, bit) for logit, bit in zip(logits.tolist(), states.tolist(), strict=True))


def test_likelihood_and_bound_are_sums_over_the_layers_between():
    """Twin: loops over h¹ and h², with the last machine's law of h² by a sum over both of its sides."""
    network = drawn((2, 2, 2, 2))
    first, second, top = network.machines
    masses = {}
    for h, above in itertools.product(all_bits(2, first.weight), repeat=2):
        key = tuple(h.tolist())
        masses[key] = masses.get(key, 0) + math.exp(-top.energy(h[None], above[None]).item())
    z = sum(masses.values())
    for v in all_bits(2, first.weight):
        likelihood, bound = 0.0, 0.0
        for one, two in itertools.product(all_bits(2, v), all_bits(2, v)):
            joint = product(first.visible_bias + first.weight @ one, v)
            joint *= product(second.visible_bias + second.weight @ two, one) * masses[tuple(two.tolist())] / z
            recognition = product(first.hidden_bias + v @ first.weight, one)
            recognition *= product(second.hidden_bias + one @ second.weight, two)
            likelihood += joint
            bound += recognition * math.log(joint / recognition)
        assert network.log_likelihood(v[None]).item() == pytest.approx(math.log(likelihood), abs=1e-12)
        assert network.bound(v[None]).item() == pytest.approx(bound, abs=1e-12)
    v = all_bits(2, first.weight)
    for layers in (1, 2, 3):
        assert network.log_likelihood(v, layers=layers).exp().sum().item() == pytest.approx(1, abs=1e-12)
        gap = network.log_likelihood(v, layers=layers) - network.bound(v, layers=layers)
        assert (gap > -1e-12).all()
        assert (gap.max() > 1e-3) == (layers > 1)
    # Of one machine the network is that machine.
    torch.testing.assert_close(network.bound(v, layers=1), first.log_likelihood(v), rtol=0, atol=1e-12)


def test_a_turned_machine_leaves_the_bound_and_its_training_raises_it():
    """The theorem of greedy training: from the turned machine on, the bound rises with the likelihood of its data.

    By the exact gradient of that likelihood over q(h¹ | v), so that no sampling is in the way.
    """
    network = drawn((5, 3, 5, 3))
    v = torch.randint(2, (6, 5), generator=generator(3)).double()
    first, second, third = network.machines
    second.load_state_dict(turned(first).state_dict())
    alone, bound = first.log_likelihood(v), network.bound(v, layers=2)
    # Tight: what two layers have at the start is the likelihood of one.
    torch.testing.assert_close(bound, alone, rtol=0, atol=1e-12)
    torch.testing.assert_close(network.log_likelihood(v, layers=2), alone, rtol=0, atol=1e-12)
    # Another start is not.
    assert (drawn((5, 3, 5), seed=8).bound(v) - alone).mean() < -0.1

    states = all_bits(3, v)
    with torch.no_grad():
        law = (first(v)[:, None] * states + (1 - first(v)[:, None]) * (1 - states)).prod(2).mean(0)
    bounds = [bound.mean().item()]
    for _ in range(60):
        gradients = [likelihood_gradient(second, state[None]) for state in states]
        with torch.no_grad():
            for share, each in zip(law, gradients, strict=True):
                second.weight += 0.1 * share * each.weight
                second.visible_bias += 0.1 * share * each.visible_bias
                second.hidden_bias += 0.1 * share * each.hidden_bias
        bounds.append(network.bound(v, layers=2).mean().item())
    assert all(after > before for before, after in itertools.pairwise(bounds))
    assert bounds[-1] > bounds[0] + 0.05
    assert network.log_likelihood(v, layers=2).mean().item() > bounds[-1] > alone.mean().item()
    # The next one, turned, leaves it where it is.
    third.load_state_dict(turned(second).state_dict())
    assert network.bound(v).mean().item() == pytest.approx(bounds[-1], abs=1e-12)


def test_greedy_training_raises_the_bound_layer_by_layer():
    data = bars_and_stripes(3, 3)
    network = DBN((9, 8, 9), generator=generator(0))
    settings = {"steps": 500, "batch_size": 140, "learning_rate": 0.05, "k": 3, "momentum": 0.9}
    fit_dbn(network, data.repeat(40, 1), **settings, generator=generator(1))
    with torch.no_grad():
        one, two = (network.bound(data, layers=layers).mean().item() for layers in (1, 2))
        assert one < two < network.log_likelihood(data).mean().item() < -math.log(14)
    # From pixels alike fair.
    assert one > -9 * math.log(2) + 1.5


def test_machines_are_trained_one_on_the_states_of_the_other():
    """Twin: ``fit_rbm`` twice by hand, with the same draws; the second machine begins turned where it can."""
    v = torch.randint(2, (10, 4), generator=generator(2)).float()
    settings = {"steps": 5, "batch_size": 3, "learning_rate": 0.4, "k": 2, "persistent": True, "momentum": 0.3}
    for sizes in ((4, 3, 4), (4, 3, 2)):
        network, twin = DBN(sizes, generator=generator(1)), DBN(sizes, generator=generator(1))
        assert torch.equal(network.machines[1].weight, twin.machines[1].weight)
        before = torch.random.get_rng_state()
        fit_dbn(network, v, **settings, generator=generator(6))
        assert torch.equal(before, torch.random.get_rng_state())
        draws = generator(6)
        fit_rbm(twin.machines[0], v, **settings, generator=draws)
        states = torch.bernoulli(twin.machines[0](v), generator=draws).detach()
        second = turned(twin.machines[0]) if sizes[2] == 4 else twin.machines[1]
        fit_rbm(second, states, **settings, generator=draws)
        assert torch.equal(network.machines[0].weight, twin.machines[0].weight)
        assert torch.equal(network.machines[1].weight, second.weight)


def test_an_estimated_bound_is_right_in_the_mean():
    network = drawn((4, 3, 3))
    v = all_bits(4, network.machines[0].weight)[:3]
    exact = network.bound(v)
    log_partition = network.machines[-1].log_partition().item()
    repeated = network.estimated_bound(v.repeat(1000, 1), log_partition, draws=4, generator=generator(1))
    found = repeated.reshape(1000, 3).mean(0)
    # Terms have deviations of some 2 nats: five standard errors of 4000.
    assert (found - exact).abs().max() < 5 * 2 / math.sqrt(4000)
    # Nothing is drawn for one machine alone.
    first = network.machines[0]
    one = network.estimated_bound(v, first.log_partition().item(), draws=1, layers=1, generator=generator(1))
    torch.testing.assert_close(one, first.log_likelihood(v).detach(), rtol=0, atol=1e-12)


@pytest.mark.parametrize("sizes", [(3, 2, 2), (3, 2, 1, 2)])
def test_fantasies_are_draws_of_the_likelihood(sizes):
    network, n = drawn(sizes), 20_000
    found = network.generate(n, steps=40, generator=generator(1))
    states = all_bits(3, network.machines[0].weight)
    expected = n * network.log_likelihood(states).exp().detach()
    counts = torch.stack([(found == state).all(1).sum() for state in states])
    # Chi-square of 7 degrees of freedom, above 24.3 once in a thousand seeds.
    assert float(((counts - expected).square() / expected).sum()) < 24.3
    wrong = n * network.log_likelihood(states, layers=1).exp().detach()
    assert float(((counts - wrong).square() / wrong).sum()) > 100


def test_two_samples_are_learnt_by_heart():
    v = torch.tensor([[1.0, 1, 1, 0, 0, 0], [0, 0, 0, 1, 1, 1]])
    network = DBN((6, 4, 6), generator=generator(0))
    fit_dbn(network, v, steps=600, batch_size=20, learning_rate=0.3, k=3, generator=generator(1))
    # Chains of three steps do not cross from one to the other, so that their shares are left open.
    assert network.log_likelihood(v).exp().sum().item() > 0.9
    assert network.log_likelihood(v).exp().min().item() > 0.05


def test_contract():
    behaves(DBN((6, 4, 3)), DBN((6, 4, 3)), torch.rand(5, 6, generator=generator()))
    rbm = RBM(4, 3).double()
    again = turned(turned(rbm))
    assert again.weight.dtype == torch.float64
    for name, value in rbm.state_dict().items():
        assert torch.equal(value, again.state_dict()[name])


SETTINGS = {"steps": 1, "batch_size": 2, "learning_rate": 0.1}


@pytest.mark.parametrize(
    ("call", "match"),
    [
        (lambda network: DBN((3,)), r"sizes are \(3,\)"),
        (lambda network: DBN((3, 0, 2)), "a size is 0"),
        (lambda network: network(torch.zeros(2, 4)), r"\[2, 4\]"),
        (lambda network: network(torch.zeros(2, 3).double()), "float64"),
        (lambda network: network.log_likelihood(torch.full((2, 3), 0.5)), "other numbers than 0 and 1"),
        (lambda network: network.bound(torch.ones(2, 3), layers=0), "layers is 0"),
        (lambda network: network.bound(torch.ones(2, 3), layers=3), "layers is 3"),
        (lambda network: DBN((3, 23, 2)).bound(torch.ones(2, 3)), "between .* have 23 units"),
        (lambda network: DBN((3, 2, 30, 30)).bound(torch.ones(2, 3)), "between .* have 32 units"),
        (lambda network: DBN((30, 30)).bound(torch.ones(2, 30)), "smaller side has 30 units"),
        (lambda network: network.estimated_bound(torch.ones(2, 3), 1.0, draws=0), "draws is 0"),
        (lambda network: network.generate(0), "n is 0"),
        (lambda network: network.generate(2, steps=0), "steps is 0"),
        (lambda network: network.recognise(torch.full((2, 3), 0.5)), "v has other numbers"),
        (lambda network: fit_dbn(network, torch.full((2, 3), 2.0), **SETTINGS), "samples has other numbers"),
        (lambda network: fit_dbn(network, torch.ones(2, 3), **SETTINGS, k=0), "k is 0"),
        (lambda network: fit_dbn(network, torch.ones(2, 3), **SETTINGS | {"learning_rate": 0}), "learning_rate is 0"),
    ],
)
def test_bad_input_is_refused(call, match):
    with pytest.raises(UsageError, match=match):
        call(DBN((3, 2, 3)))
