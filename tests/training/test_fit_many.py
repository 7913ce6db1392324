"""Many networks trained as one: each as if it were alone, what is chosen and why, failures, stops and resumption."""

from __future__ import annotations

import copy
import itertools
import re
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional

from deepscope.core import DataError, MeasurementError, UsageError
from deepscope.training import (
    SAM,
    Callback,
    Checkpoint,
    EarlyStopping,
    Evaluate,
    GradientClipping,
    _many,
    cosine,
    fit_many,
    muon,
)
from deepscope.training._stacked_optimizer import ELEMENTWISE

N = 5
X = torch.randn(30, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
Y = (X[:, 0] + X[:, 1].square() > 0.5).long()
#: Both ways do the same operations in float64 in another order: 12 updates of weights of order 1, 100 rounding errors
#: of 1e-16 each, and Adam divides by gradients that may be a thousandth of the largest.
EXACT: dict[str, Any] = {"rtol": 0, "atol": 1e-11}


def order(seed: int) -> Callable[[int], Any]:
    def data(epoch: int):
        shuffled = torch.randperm(len(X), generator=torch.Generator().manual_seed(100 * seed + epoch))
        for chosen in shuffled.split(8):
            yield X[chosen], Y[chosen]

    return data


ORDERS = [order(seed) for seed in range(N)]
ONE_STOPPING = [EarlyStopping("loss", patience=1)]


def plain() -> nn.Module:
    return nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 2))


def normalised() -> nn.Module:
    # Nothing that a normalisation takes away again: where a gradient is 0 but for rounding, Adam steps by its sign.
    return nn.Sequential(
        nn.BatchNorm1d(4, affine=False), nn.Linear(4, 6, bias=False), nn.BatchNorm1d(6), nn.ReLU(), nn.Linear(6, 2)
    )


class TiedAndFrozen(nn.Module):
    """A weight that is used twice, one that is not trained, and one that is not used."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last, self.frozen = nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 4)
        self.unused = nn.Parameter(torch.ones(3))
        self.last.weight = self.first.weight
        self.frozen.weight.requires_grad_(False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.last(torch.tanh(self.frozen(self.first(x))))


class Remembers(nn.Module):
    """Puts a new buffer in the place of the old, which it uses."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(4, 2)
        self.register_buffer("mean", torch.zeros(2))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.linear(x)
        self.mean = 0.9 * self.mean + 0.1 * y.detach().mean(0)
        return y - self.mean


def in_groups(parameters: Any, **settings: Any) -> torch.optim.Optimizer:
    return torch.optim.SGD([{"params": [each]} for each in parameters], **settings)


def networks(make: Callable[[], nn.Module] = plain, n: int = N) -> list[nn.Module]:
    torch.manual_seed(3)
    return [make().double() for _ in range(n)]


def both(make: Callable[[], nn.Module] = plain, n: int = N, **arguments: Any) -> tuple[Any, Any, list, list]:
    """Train the same networks as one and in a loop."""
    as_one = networks(make, n)
    alone = copy.deepcopy(as_one)
    given = {
        "data": ORDERS[:n],
        "loss": functional.cross_entropy,
        "epochs": 3,
        "optimizer": torch.optim.SGD,
        **arguments,
    }
    given = {"settings": {"lr": 0.1, "momentum": 0.9}, **given}
    together, loop = (fit_many(each, **given, together=way) for each, way in ((as_one, True), (alone, False)))
    assert (together.together, loop.together) == (True, False)
    return together, loop, as_one, alone


def assert_alike(together: Any, loop: Any, as_one: list, alone: list) -> None:
    assert together.failures == loop.failures
    for one, other in zip(as_one, alone, strict=True):
        torch.testing.assert_close(one.state_dict(), other.state_dict(), **EXACT)
    for one, other in zip(together.histories, loop.histories, strict=True):
        assert one.count == other.count
        assert one.lr_factor == other.lr_factor
        torch.testing.assert_close(torch.tensor(one.loss), torch.tensor(other.loss), **EXACT)
        assert [record.keys() for record in one.epochs] == [record.keys() for record in other.epochs]
        for mine, theirs in zip(one.epochs, other.epochs, strict=True):
            assert list(mine.values()) == pytest.approx(list(theirs.values()), rel=1e-10)


def test_networks_as_one_are_those_of_a_loop_written_out() -> None:
    """Each with a rate, a weight decay and an order of its own, beside torch alone."""
    settings = [{"lr": 0.05 * (1 + index), "weight_decay": 0.02 * index, "momentum": 0.9} for index in range(N)]
    as_one = networks()
    twins = copy.deepcopy(as_one)
    trainings = fit_many(
        as_one,
        ORDERS,
        functional.cross_entropy,
        optimizer=torch.optim.SGD,
        settings=settings,
        epochs=3,
        schedule=cosine(12),
    )
    assert trainings.together
    for index, twin in enumerate(twins):
        optimizer = torch.optim.SGD(twin.parameters(), **settings[index])
        losses = []
        for epoch in range(3):
            for inputs, targets in ORDERS[index](epoch):
                optimizer.param_groups[0]["lr"] = settings[index]["lr"] * cosine(12)(len(losses))
                optimizer.zero_grad()
                loss = functional.cross_entropy(twin(inputs), targets)
                loss.backward()
                optimizer.step()
                losses.append(loss.item())
        torch.testing.assert_close(as_one[index].state_dict(), twin.state_dict(), **EXACT)
        assert trainings.histories[index].loss == pytest.approx(losses, rel=1e-11)


@pytest.mark.parametrize("optimizer", ELEMENTWISE, ids=lambda each: each.__name__)
def test_every_optimizer_has_a_rate_and_a_decay_for_each_network(optimizer: type[torch.optim.Optimizer]) -> None:
    settings = [{"lr": 0.01 * (1 + index), "weight_decay": 0.05 * index} for index in range(N)]
    assert_alike(*both(optimizer=optimizer, settings=settings, schedule=cosine(12, warmup=2)))
    rates = [{"lr": own["lr"], "weight_decay": 0.03} for own in settings]
    assert_alike(*both(optimizer=optimizer, settings=rates, epochs=1))


@pytest.mark.parametrize(
    "optimizer",
    [
        lambda weights, lr: torch.optim.SGD(weights, lr=2 * lr, weight_decay=lr),
        lambda weights, lr: torch.optim.SGD([{"params": list(weights), "lr": lr}], lr=1.0),
    ],
)
def test_what_makes_the_optimizer_need_not_take_the_rate_as_it_is(optimizer: Any) -> None:
    assert_alike(*both(optimizer=optimizer, settings=[{"lr": 0.02 * (1 + index)} for index in range(N)], epochs=1))


@pytest.mark.parametrize("further", [{"momentum": 0.9, "nesterov": True}, {"momentum": 0.9, "maximize": True}])
def test_further_settings_are_the_optimizers_own(further: dict[str, Any]) -> None:
    settings = [{"lr": 0.01 * (1 + index), **further} for index in range(N)]
    assert_alike(*both(settings=settings))
    assert_alike(*both(optimizer=torch.optim.NAdam, settings={"decoupled_weight_decay": True, "weight_decay": 0.1}))


@pytest.mark.parametrize("make", [normalised, Remembers, TiedAndFrozen])
@pytest.mark.parametrize("data", [ORDERS, ORDERS[0]], ids=["own", "shared"])
def test_buffers_tied_and_untrained_weights_are_each_networks_own(make: Callable[[], nn.Module], data: Any) -> None:
    together, loop, as_one, alone = both(make, data=data, optimizer=torch.optim.AdamW, settings={"lr": 0.02})
    assert_alike(together, loop, as_one, alone)
    if make is normalised:
        assert as_one[0][0].num_batches_tracked == 12
        assert not torch.equal(as_one[0][2].running_mean, as_one[1][2].running_mean)
    if make is TiedAndFrozen:
        assert as_one[0].last.weight is as_one[0].first.weight
        assert torch.equal(as_one[0].frozen.weight, networks(make)[0].frozen.weight)


def test_each_network_draws_its_own_dropout() -> None:
    def make() -> nn.Module:
        return nn.Sequential(nn.Dropout(0.5), nn.Linear(4, 1, bias=False))

    first = make().double()
    alike = [copy.deepcopy(first) for _ in range(400)]
    x, y = torch.ones(1, 4, dtype=torch.float64), torch.zeros(1, 1, dtype=torch.float64)
    trainings = fit_many(
        alike,
        lambda epoch: [(x, y)],
        lambda out, _: out.sum(),
        optimizer=torch.optim.SGD,
        settings={"lr": 1.0},
        epochs=1,
    )
    assert trainings.together
    moved = torch.stack([first[1].weight - each[1].weight for each in alike]).flatten(1)
    # A weight's gradient is its input: 0 or 2, a coin's throw, whose mean over 1600 has a standard deviation of 1/40.
    assert set(moved.unique().round(decimals=9).tolist()) == {0.0, 2.0}
    assert moved.mean().item() == pytest.approx(1, abs=5 / 40)
    assert len(moved.unique(dim=0)) == 16


def test_inputs_may_be_mappings_and_outputs_objects_and_there_may_be_no_targets() -> None:
    class Output:
        def __init__(self, logits: torch.Tensor) -> None:
            self.logits = logits

    class Named(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear = nn.Linear(4, 1)

        def forward(self, x: torch.Tensor, scale: float) -> Output:
            return Output(self.linear(x) * scale)

    def data(index: int) -> Callable[[int], Any]:
        return lambda epoch: [({"x": X[index : index + 9], "scale": 2.0}, None)]

    assert_alike(*both(Named, data=[data(index) for index in range(N)], loss=lambda out, _: out.square().mean()))


def test_terms_are_counted_for_each_network() -> None:
    targets = [torch.where(torch.arange(30) < 3 * index, -100, Y) for index in range(N)]
    data = [lambda epoch, own=own: [(X, own)] for own in targets]
    together, loop, as_one, alone = both(data=data, count=lambda targets: (targets != -100).sum())
    assert_alike(together, loop, as_one, alone)
    assert [history.count[0] for history in together.histories] == [30, 27, 24, 21, 18]


def test_more_weights_than_a_stack_takes_are_trained_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_many, "WEIGHTS", 2 * 44)
    settings = [{"lr": 0.1 * (1 + index)} for index in range(9)]
    orders = [order(seed) for seed in range(9)]
    together, loop, as_one, alone = both(n=9, data=orders, settings=settings)
    assert_alike(together, loop, as_one, alone)


def chosen(make: Callable[[], nn.Module] = plain, n: int = 8, **arguments: Any) -> tuple[bool, str]:
    """Ask what would be done, without an epoch of training."""
    given = {"data": order(0), "loss": functional.cross_entropy, "optimizer": torch.optim.SGD, **arguments}
    trainings = fit_many(networks(make, n), **{"settings": {"lr": 0.1}, "epochs": 0, **given})
    return trainings.together, trainings.reason


def test_what_pays_is_chosen_and_said(monkeypatch: pytest.MonkeyPatch) -> None:
    # For each of 8 samples 2·(4·6 + 6·2) in products, and 10 for each of the 6 + 6 + 2 values.
    work = "a forward pass takes 1.7e+03 operations"
    assert chosen() == (True, f"{work}, and there are 8 networks: up to 2e+07 and from 4 on many gain")
    assert chosen(n=3) == (False, "3 are too few: 4 or more gain")
    assert chosen(together=False) == (False, "asked for")
    assert chosen(n=2, together=True) == (True, "asked for")
    monkeypatch.setattr(_many, "OPERATIONS", 1e3)
    assert chosen() == (False, f"{work}, more than the 1e+03 up to which many gain")
    monkeypatch.setattr(_many, "WEIGHTS", 100)
    assert chosen() == (False, "4 networks of 44 weights are more than the 100 that gain")


class Recurrent(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(4, 2, batch_first=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.lstm(x[:, None])[0][:, 0]


class Hooked(nn.Linear):
    def __init__(self) -> None:
        super().__init__(4, 2)
        self.register_forward_hook(lambda *_: None)


def one_by_one(*layers: Callable[[], nn.Module]) -> Callable[[], nn.Module]:
    """Make networks that end in one layer after the other."""
    rest = itertools.cycle(layers)
    return lambda: nn.Sequential(nn.Linear(4, 2), next(rest)())


@pytest.mark.parametrize(
    ("make", "arguments", "obstacle"),
    [
        (one_by_one(nn.ReLU, nn.Tanh), {}, "the module 1 is ReLU in network 0 and Tanh in network 1"),
        (one_by_one(nn.Dropout, lambda: nn.Dropout(0.2)), {}, "1.p is 0.5 in network 0 and 0.2 in network 1"),
        (
            one_by_one(lambda: nn.Linear(2, 2), lambda: nn.Linear(2, 3)),
            {},
            "1.out_features is 2 in network 0 and 3 in network 1",
        ),
        (
            one_by_one(lambda: nn.PReLU().requires_grad_(False), nn.PReLU),
            {},
            "1.weight is float64 [1], not trained in network 0 and float64 [1] in network 1",
        ),
        (Hooked, {}, "the module itself of network 0 has hooks"),
        (Recurrent, {}, "lstm.input"),
        (lambda: nn.Linear(4, 2, bias=False), {"optimizer": muon}, "Muon is not known to treat each number by itself"),
        (plain, {"optimizer": partial(SAM, base=torch.optim.SGD)}, "SAM is not known to treat each number by itself"),
        (
            plain,
            {"settings": [{"lr": 0.1, "momentum": 0.1 * n} for n in range(2)]},
            "momentum is 0.0 for network 0 and 0.1 for network 1",
        ),
        (
            plain,
            {"settings": [{"lr": 0.1, "maximize": True, "weight_decay": 0.1 * n} for n in range(2)]},
            "weight decays differ while the loss is maximised",
        ),
        (plain, {"optimizer": in_groups}, "the optimizer of network 0 has 4 groups of parameters"),
        (plain, {"callbacks": lambda index: [GradientClipping(1.0)]}, "GradientClipping acts at every step"),
        (
            plain,
            {"callbacks": lambda index: ONE_STOPPING},
            "networks 0 and 1 share one EarlyStopping, which remembers what it saw",
        ),
    ],
)
def test_what_cannot_be_one_is_trained_in_a_loop_or_refused(
    make: Callable[[], nn.Module], arguments: dict[str, Any], obstacle: str
) -> None:
    together, reason = chosen(make, n=2, **arguments)
    assert not together
    assert obstacle in reason
    with pytest.raises(UsageError, match=f"cannot be trained as one: .*{re.escape(obstacle)}"):
        chosen(make, n=2, together=True, **arguments)


def with_nan(epoch: int):
    for batch, (inputs, targets) in enumerate(ORDERS[0](epoch)):
        yield (inputs * float("nan") if (epoch, batch) == (1, 2) else inputs), targets


@pytest.mark.parametrize(
    ("planted", "where"),
    [
        ({"settings": [{"lr": float("inf") if n in (1, 3) else 0.1, "momentum": 0.9} for n in range(N)]}, "1, epoch 0"),
        ({"data": [with_nan if n in (1, 3) else ORDERS[n] for n in range(N)]}, "6, epoch 1"),
    ],
)
def test_a_network_that_diverges_is_taken_out_and_harms_no_other(planted: dict[str, Any], where: str) -> None:
    for optimizer in (torch.optim.SGD, torch.optim.Adam) if "data" in planted else (torch.optim.SGD,):
        settings = {} if optimizer is torch.optim.SGD else {"settings": {}}
        together, loop, as_one, alone = both(optimizer=optimizer, **settings, **planted)
        failure = f"the training loss is nan: step {where} (both from 0)"
        assert together.failures == loop.failures == {1: failure, 3: failure}
        for index in (1, 3):
            assert len(together.histories[index].loss) == int(where[0])
        # An infinite weight is as infinite in a loop, but not always of the same kind.
        rest = (0, 2, 4) if "settings" in planted else range(N)
        together, loop = (replace(each, histories=[each.histories[n] for n in rest]) for each in (together, loop))
        assert_alike(together, loop, [as_one[n] for n in rest], [alone[n] for n in rest])


def test_weights_that_are_not_finite_at_an_epochs_end_are_found() -> None:
    settings = [{"lr": float("inf") if index == 2 else 0.1} for index in range(N)]
    together, loop, as_one, alone = both(data=lambda epoch: [(X, Y)], settings=settings)
    assert together.failures == {2: "the weight 0.weight is no longer finite: step 1, epoch 0 (both from 0)"}
    assert together.failures == loop.failures
    assert as_one[2][0].weight.isinf().any()
    for index in (0, 1, 3, 4):
        torch.testing.assert_close(as_one[index].state_dict(), alone[index].state_dict(), **EXACT)


def test_all_may_diverge() -> None:
    together, loop, _, _ = both(settings={"lr": float("inf")})
    assert together.failures == loop.failures
    assert len(together.failures) == N


class StopAfter(Callback):
    def __init__(self, epochs: int) -> None:
        self.epochs, self.ended = epochs, 0

    def on_start(self, state) -> None:
        state.stop = state.stop or self.epochs == 0

    def on_epoch_end(self, state) -> None:
        state.stop = state.epoch + 1 == self.epochs

    def on_end(self, state) -> None:
        self.ended = len(state.history.epochs)
        with torch.no_grad():
            state.model[0].bias.add_(1)


class Halve(Callback):
    """Changes weights between epochs."""

    def on_epoch_end(self, state) -> None:
        with torch.no_grad():
            state.model[0].weight.mul_(0.5)


def test_callbacks_see_and_change_their_own_network() -> None:
    made: list[StopAfter] = []

    def callbacks(index: int) -> list[Callback]:
        made.append(StopAfter(index))
        return [Evaluate([(X, Y)], functional.cross_entropy), Halve(), made[-1]] if index != 1 else [made[-1]]

    together, loop, as_one, alone = both(callbacks=callbacks)
    assert_alike(together, loop, as_one, alone)
    assert [each.ended for each in made] == [0, 1, 2, 3, 3] * 2
    assert [len(history.epochs) for history in together.histories] == [0, 1, 2, 3, 3]
    assert "test_accuracy" in together.histories[2].epochs[0]


class EndFails(Callback):
    def on_end(self, state) -> None:
        raise MeasurementError("no number", where="here", todo="Look.")


def test_a_callback_that_fails_at_the_end_fails_its_network_alone() -> None:
    together, loop, as_one, alone = both(callbacks=lambda index: [EndFails()] if index == 1 else [], epochs=1)
    assert_alike(together, loop, as_one, alone)
    assert together.failures == {1: "no number: here"}


class Interrupt(Callback):
    def __init__(self, epoch: int | None) -> None:
        self.epoch = epoch

    def on_epoch_end(self, state) -> None:
        if state.epoch == self.epoch:
            raise KeyboardInterrupt


@pytest.mark.parametrize("together", [True, False])
def test_an_interrupted_training_goes_on_bit_for_bit(tmp_path: Path, together: bool) -> None:
    settings = [{"lr": float("inf") if index == 1 else 0.1 * (1 + index), "momentum": 0.9} for index in range(N)]

    def run(epoch: int | None, checkpoint: Checkpoint | None, **changed: Any) -> tuple[list, Any]:
        trained = networks()
        arguments = {
            "settings": settings,
            "callbacks": lambda index: [StopAfter(1 if index == 2 else 9), Interrupt(epoch if index == 4 else None)],
            **changed,
        }
        trainings = fit_many(
            trained,
            ORDERS,
            functional.cross_entropy,
            optimizer=torch.optim.SGD,
            epochs=3,
            checkpoint=checkpoint,
            together=together,
            **arguments,
        )
        return trained, trainings

    expected, whole = run(None, None)
    checkpoint = Checkpoint(tmp_path / "run", every_steps=3)
    with pytest.raises(KeyboardInterrupt):
        run(1, checkpoint)
    assert sorted(path.name for path in (tmp_path / "run").iterdir())[0] == ("0-4.pt" if together else "0-0.pt")
    resumed, trainings = run(None, checkpoint)
    assert trainings == whole
    for one, other in zip(resumed, expected, strict=True):
        torch.testing.assert_close(one.state_dict(), other.state_dict(), rtol=0, atol=0, equal_nan=True)
    with pytest.raises(UsageError, match="the checkpoint is of another run"):
        run(None, checkpoint, settings=[{**own, "weight_decay": 0.1} for own in settings])


def test_an_interrupted_stack_leaves_the_networks_as_far_as_they_came() -> None:
    def interrupted(epoch: int):
        yield from ORDERS[0](epoch)
        if epoch == 1:
            raise KeyboardInterrupt

    trained, twin = networks(), networks()
    arguments: dict[str, Any] = {"optimizer": torch.optim.SGD, "settings": {"lr": 0.1}, "epochs": 2, "together": True}
    with pytest.raises(KeyboardInterrupt):
        fit_many(trained, interrupted, functional.cross_entropy, **arguments)
    fit_many(twin, ORDERS[0], functional.cross_entropy, **arguments)
    for one, other in zip(trained, twin, strict=True):
        torch.testing.assert_close(one.state_dict(), other.state_dict(), rtol=0, atol=0)


def test_networks_generators_and_modes_are_left_as_they_were() -> None:
    trained = [each.eval() for each in networks(lambda: nn.Sequential(nn.Dropout(0.5), nn.Linear(4, 2)))]
    torch.manual_seed(5)
    before = torch.get_rng_state()
    arguments = {"optimizer": torch.optim.SGD, "settings": {"lr": 0.1}, "epochs": 1, "together": True}
    histories = [fit_many(trained, ORDERS, functional.cross_entropy, seed=0, **arguments).histories]
    assert torch.equal(torch.get_rng_state(), before)
    assert not any(each.training for each in trained)
    assert all(each[1].weight.is_leaf and each[1].weight.shape == (2, 4) for each in trained)
    for seed in (0, 1):
        again = [each.eval() for each in networks(lambda: nn.Sequential(nn.Dropout(0.5), nn.Linear(4, 2)))]
        histories.append(fit_many(again, ORDERS, functional.cross_entropy, seed=seed, **arguments).histories)
    assert histories[0] == histories[1] != histories[2]


class Scaled(nn.Linear):
    """Takes more than one thing."""

    def __init__(self) -> None:
        super().__init__(4, 2)

    def forward(self, x: torch.Tensor, scale: float = 1.0) -> torch.Tensor:
        return super().forward(x) * scale


def inputs(common: Any, other: Any) -> list[Callable[[int], Any]]:
    """Give all networks a batch, and the last another."""
    return [lambda epoch, n=n: [(other if n == N - 1 else common, Y)] for n in range(N)]


def test_wrong_arguments_are_named() -> None:
    same = plain().double()
    twice = [*networks(), same, same]
    few = [lambda epoch: ORDERS[0](epoch)] * 2
    shorter = [*ORDERS[:4], lambda epoch: list(ORDERS[4](epoch))[:-1]]
    smaller = [*ORDERS[:4], lambda epoch: [(X[:7], Y[:7])] * 4]
    for arguments, error, what in (
        ({"networks": []}, UsageError, "sequence of at least one module"),
        ({"networks": plain()}, UsageError, "sequence of at least one module"),
        ({"networks": iter(networks())}, UsageError, "sequence of at least one module"),
        ({"networks": [nn.Tanh()]}, UsageError, "no parameter of network 0 is trained"),
        ({"networks": twice, "data": ORDERS[0]}, UsageError, "the networks 5 and 6 share the parameter 0.weight"),
        ({"data": few}, UsageError, r"data is a list of 2: .*\nGive .* a list of 5 of them"),
        ({"data": [(X, Y)] * N}, UsageError, "data is a list of 5"),
        ({"data": None}, UsageError, "data is a NoneType"),
        ({"settings": [{"lr": 0.1}] * 2}, UsageError, "settings is a list of 2"),
        ({"settings": 0.1}, UsageError, "settings is a float"),
        ({"settings": [0.1] * N}, UsageError, r"optimizer of network 0 cannot be made .*: optimizer and settings of"),
        ({"settings": {"lr": -1.0}}, UsageError, r"cannot be made \(ValueError: Invalid learning rate"),
        ({"optimizer": "SGD"}, UsageError, r"cannot be made \(TypeError: 'str' object is not callable"),
        ({"callbacks": [Halve()]}, UsageError, "callbacks is a list: callbacks of fit_many"),
        ({"callbacks": lambda index: Halve()}, UsageError, "callbacks gives a Halve: callbacks of fit_many"),
        ({"data": shorter}, DataError, "network 4 has no more batches, and others have: epoch 0"),
        ({"data": smaller}, DataError, r"given is of shape \[8, 4\], and what network 4 is given of \[7, 4\]"),
        ({"data": inputs({"x": X}, {"y": X})}, DataError, r"of keys \['x'\], and .* 4 is given of \['y'\]"),
        ({"data": inputs((X,), (X, X))}, DataError, "of length 1, and what network 4 is given of 2: epoch 0, batch 0"),
        ({"data": inputs((X, 1.0), (X, 2.0))}, DataError, "of float 1.0, and what network 4 is given of 2.0: epoch 0"),
        ({"data": lambda epoch: []}, DataError, "the data has no batches"),
        ({"data": lambda epoch: [X]}, DataError, "a batch is a Tensor, not a pair"),
        ({"loss": lambda outputs, targets: outputs}, MeasurementError, "not a scalar"),
        ({"epochs": -1}, UsageError, "epochs"),
    ):
        given = {"networks": networks(Scaled), "data": ORDERS, "loss": functional.cross_entropy, **arguments}
        with pytest.raises(error, match=what):
            fit_many(**{"settings": {"lr": 0.1}, "optimizer": torch.optim.SGD, "epochs": 1, **given})
