from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from deepscope.core import UsageError
from deepscope.training import Callback, Checkpoint, Rewind, fit, lottery_tickets

X = torch.randn(24, 6, generator=torch.Generator().manual_seed(0))
Y = (X[:, 0] > 0).long()


def network() -> nn.Sequential:
    torch.manual_seed(1)
    return nn.Sequential(nn.Linear(6, 10), nn.BatchNorm1d(10), nn.Tanh(), nn.Linear(10, 2))


def data(epoch: int):
    return [(X[chosen], Y[chosen]) for chosen in torch.arange(len(X)).split(8)]


def train(model: nn.Module, callbacks: list[Callback], epochs: int = 2):
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, weight_decay=0.01)
    return fit(model, data, cross_entropy, optimizer=optimizer, epochs=epochs, callbacks=callbacks)


@pytest.mark.parametrize("rewind_to", [0, 4])
def test_it_is_the_loop_of_the_paper(rewind_to: int) -> None:
    model = network()
    tickets = lottery_tickets(model, train, rounds=3, ratio={"0.weight": 0.2, "3.weight": 0.1}, rewind_to=rewind_to)
    assert all(torch.equal(each, tickets[-1].weights[name]) for name, each in model.state_dict().items())

    twin, masks = network(), {"0.weight": torch.ones(10, 6), "3.weight": torch.ones(2, 10)}
    origin = {name: each.clone() for name, each in twin.state_dict().items()}
    for number, ticket in enumerate(tickets):
        # By hand, with the mask as a factor of the weights after each update.
        optimizer = torch.optim.SGD(twin.parameters(), lr=0.1, momentum=0.9, weight_decay=0.01)
        losses = []
        for step in range(6):
            if number == 0 and step == rewind_to:
                origin = {name: each.clone() for name, each in twin.state_dict().items()}
            inputs, targets = data(0)[step % 3]
            loss = cross_entropy(twin(inputs), targets)
            optimizer.zero_grad()
            loss.backward()
            for name, mask in masks.items():
                twin.get_parameter(name).grad *= mask
            optimizer.step()
            losses.append(loss.item())
        assert ticket.trained.loss == losses
        for name, share in (("0.weight", 0.2), ("3.weight", 0.1)):
            weights = [
                (abs(weight), place)
                for place, weight in enumerate(twin.get_parameter(name).flatten().tolist())
                if masks[name].flatten()[place]
            ]
            for _, place in sorted(weights)[: int(share * len(weights) + 1e-9)]:
                masks[name].view(-1)[place] = 0
            assert torch.equal(ticket.masks[name], masks[name].bool())
        twin.load_state_dict({name: each * masks.get(name, 1) for name, each in origin.items()})
        assert all(torch.equal(ticket.weights[name], each) for name, each in twin.state_dict().items())
    kept = [sum(int(each.sum()) for each in ticket.masks.values()) for ticket in tickets]
    assert kept == [48 + 18, 39 + 17, 32 + 16]
    assert [ticket.remaining for ticket in tickets] == [each / 80 for each in kept]


def test_a_step_that_is_not_reached_is_named() -> None:
    with pytest.raises(UsageError, match="before 7 updates"):
        lottery_tickets(network(), train, rounds=1, rewind_to=7)
    with pytest.raises(UsageError, match="step"):
        Rewind(-1)
    with pytest.raises(UsageError, match="rounds"):
        lottery_tickets(network(), train, rounds=0)


def test_bad_arguments_are_named_before_a_training_is_spent() -> None:
    def never(model: nn.Module, callbacks: list[Callback]) -> None:
        raise AssertionError

    for ratio in (0.0, 1.0, {"0.weight": 0.5, "3.weight": 1.0}, {"0.weight": 0.5}):
        with pytest.raises(UsageError, match="ratio"):
            lottery_tickets(network(), never, rounds=1, ratio=ratio)
    with pytest.raises(UsageError, match="scope"):
        lottery_tickets(network(), never, rounds=1, scope="filter")


class Stop(Callback):
    """End the run as a crash would."""

    def __init__(self, step: int) -> None:
        self.step = step

    def on_step(self, state) -> None:
        if state.step == self.step:
            raise KeyboardInterrupt


def test_what_is_remembered_survives_an_interruption(tmp_path: Path) -> None:
    def run(checkpoint: Checkpoint | None, stop: int) -> Rewind:
        model, rewind = network(), Rewind(4)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        callbacks = [rewind, Stop(stop)]
        fit(model, data, cross_entropy, optimizer=optimizer, epochs=3, callbacks=callbacks, checkpoint=checkpoint)
        return rewind

    undisturbed = run(None, 99).weights
    checkpoint = Checkpoint(tmp_path / "run.ckpt", every_steps=1)
    for stop in (3, 6):
        with pytest.raises(KeyboardInterrupt):
            run(checkpoint, stop)
    resumed = run(checkpoint, 99).weights
    assert undisturbed.keys() == resumed.keys()
    assert all(torch.equal(undisturbed[name], each) for name, each in resumed.items())
