"""Adversarial training: the worst neighbours of linear networks, the recursion written out, many networks as one."""

from __future__ import annotations

import copy
import itertools

import pytest
import torch
from torch import nn
from torch.nn import functional

from deepscope.core import UsageError
from deepscope.subject import call
from deepscope.training import AdversarialTraining, evaluate, fit, fit_many, with_targets

X = torch.randn(12, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
Y = (X[:, 0] > 0).long()
EPSILON = torch.tensor([0.1, 0.0, 0.3], dtype=torch.float64)


def data(epoch: int):
    return [(X[:6], Y[:6]), (X[6:], Y[6:])]


def network(seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(3, 5), nn.Tanh(), nn.Linear(5, 2)).double()


def test_neighbours_of_a_linear_network_are_the_worst_within_reach() -> None:
    """The loss of a linear network is convex in x: no corner of the box is worse, and so no point in it."""
    linear = nn.Linear(3, 2).double()
    model = AdversarialTraining(linear, functional.cross_entropy, EPSILON)
    neighbours = model.worst_neighbours(X, Y)
    assert ((neighbours - X).abs() <= EPSILON + 1e-15).all()
    losses = functional.cross_entropy(linear(neighbours), Y, reduction="none")
    for signs in itertools.product((-1, 1), repeat=3):
        corner = X + EPSILON * torch.tensor(signs, dtype=torch.float64)
        assert (functional.cross_entropy(linear(corner), Y, reduction="none") <= losses + 1e-12).all()
    # The gradient of class 1 over class 0 in closed form.
    sign = (linear.weight[1] - linear.weight[0]).sign() * torch.where(Y == 1, -1, 1)[:, None]
    torch.testing.assert_close(neighbours, (X + EPSILON * sign).detach(), rtol=0, atol=1e-15)


def test_it_follows_the_recursion_written_out() -> None:
    model = AdversarialTraining(network(), functional.cross_entropy, 0.1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.2)
    history = fit(model, with_targets(data), model.summed_loss, optimizer=optimizer, epochs=3)
    twin, losses = network(), []
    for epoch in range(3):
        for inputs, targets in data(epoch):
            x = inputs.clone().requires_grad_()
            (gradient,) = torch.autograd.grad(functional.cross_entropy(twin(x), targets), x)
            near = inputs + 0.1 * gradient.sign()
            loss = functional.cross_entropy(twin(inputs), targets) + functional.cross_entropy(twin(near), targets)
            gradients = torch.autograd.grad(loss, list(twin.parameters()))
            with torch.no_grad():
                for parameter, step in zip(twin.parameters(), gradients, strict=True):
                    parameter -= 0.2 * step
            losses.append(loss.item())
    # Six updates in the same order of operations.
    assert history.loss == pytest.approx(losses, rel=1e-12)
    torch.testing.assert_close(model.network.state_dict(), twin.state_dict(), rtol=0, atol=1e-12)


def test_many_are_trained_as_one() -> None:
    networks = [AdversarialTraining(network(seed), functional.cross_entropy, EPSILON) for seed in range(4)]
    alone = copy.deepcopy(networks)
    for trained, together in ((networks, True), (alone, False)):
        fit_many(
            trained,
            with_targets(data),
            trained[0].summed_loss,
            optimizer=torch.optim.SGD,
            settings={"lr": 0.2},
            epochs=3,
            together=together,
        )
    for one, other in zip(networks, alone, strict=True):
        torch.testing.assert_close(one.state_dict(), other.state_dict(), rtol=0, atol=1e-12)


def test_what_cannot_be_counted_is_trained_in_a_loop_unless_asked_for() -> None:
    networks = [AdversarialTraining(network(seed), functional.cross_entropy, EPSILON) for seed in range(4)]
    loss, optimizer = networks[0].summed_loss, torch.optim.SGD
    trainings = fit_many(networks, with_targets(data), loss, optimizer=optimizer, settings={"lr": 0.2}, epochs=1)
    assert (trainings.together, trainings.failures) == (False, {})
    assert "cannot be counted" in trainings.reason
    assert "together=True" in trainings.reason


def test_it_is_its_network_where_there_are_no_targets() -> None:
    model = AdversarialTraining(network(), functional.cross_entropy, 0.1)
    assert torch.equal(model(X), network()(X))
    loss = functional.cross_entropy
    assert evaluate(model, [(X, Y)], loss) == evaluate(model.network, [(X, Y)], loss)
    pair = model(X, Y)
    assert model.summed_loss(pair, Y) > 2 * loss(model(X), Y)


def test_bad_input_is_named() -> None:
    loss = functional.cross_entropy
    with pytest.raises(UsageError, match="epsilon is -1"):
        AdversarialTraining(network(), loss, -1.0)
    with pytest.raises(UsageError, match=r"1.running_mean .* is a running estimate"):
        AdversarialTraining(nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2)), loss, 0.1)
    with pytest.raises(UsageError, match="inputs are of int64"):
        AdversarialTraining(nn.Embedding(3, 2), loss, 0.1)(torch.zeros(4, dtype=torch.int64), Y[:4])
    model = AdversarialTraining(nn.Linear(3, 2).double(), loss, 0.1)
    two = X[:2], Y[:2]
    for batches in ([two], with_targets(lambda epoch: [(X, None)])(0)):
        ((inputs, targets),) = batches
        with pytest.raises(UsageError, match=r"outputs are a Tensor, .*\nGive .*with_targets\(data\)"):
            model.summed_loss(call(model, inputs), targets)
    wide = AdversarialTraining(nn.Linear(1, 2).double(), loss, EPSILON)
    with pytest.raises(UsageError, match=r"epsilon is \[3\]: .*\nGive .*\[12, 1\]"):
        wide.worst_neighbours(X[:, :1], Y)
