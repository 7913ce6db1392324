"""Weight averaging: the mean of the weights that were passed, and statistics under it."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn import functional

from deepscope.core import UsageError
from deepscope.training import (
    Callback,
    Checkpoint,
    SynchronisedBatchNorm,
    WeightAveraging,
    cyclical,
    evaluate,
    fit,
    fit_many,
)

X = torch.randn(24, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
Y = X[:, :1] * X[:, 1:2]
BATCHES = [(X[start : start + 8], Y[start : start + 8]) for start in range(0, 24, 8)]


class Snapshots(Callback):
    """Keeps the weights at every epoch's end."""

    def __init__(self) -> None:
        self.weights: list[dict[str, torch.Tensor]] = []

    def on_epoch_end(self, state) -> None:
        self.weights.append(copy.deepcopy(state.model.state_dict()))


def network(*, normalised: bool = False) -> nn.Module:
    torch.manual_seed(0)
    middle = nn.BatchNorm1d(6) if normalised else nn.Identity()
    return nn.Sequential(nn.Linear(3, 6), middle, nn.Tanh(), nn.Linear(6, 1)).double()


def data(epoch: int):
    order = torch.randperm(3, generator=torch.Generator().manual_seed(epoch)).tolist()
    return [BATCHES[index] for index in order]


def train(model: nn.Module, *callbacks: Callback, epochs: int = 7, **arguments):
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    return fit(model, data, functional.mse_loss, optimizer=optimizer, epochs=epochs, callbacks=callbacks, **arguments)


@pytest.mark.parametrize(
    ("start", "every", "epochs"), [(0, 1, (0, 1, 2, 3, 4, 5, 6)), (3, 1, (3, 4, 5, 6)), (1, 2, (2, 4, 6)), (2, 3, (4,))]
)
def test_the_network_ends_with_the_mean_of_the_weights_it_passed(
    start: int, every: int, epochs: tuple[int, ...]
) -> None:
    model, snapshots = network(), Snapshots()
    averaging = WeightAveraging(start, every=every)
    history = train(model, snapshots, averaging)
    assert averaging.n_averaged == len(epochs)
    for name, mean in model.state_dict().items():
        expected = torch.stack([snapshots.weights[epoch][name] for epoch in epochs]).mean(0)
        # Seven weights of order 1 in float64.
        torch.testing.assert_close(mean, expected, rtol=0, atol=1e-14)
    # Training itself is what it is without.
    twin = network()
    assert train(twin).loss == history.loss
    assert all(
        torch.equal(a, b) for a, b in zip(twin.state_dict().values(), snapshots.weights[-1].values(), strict=True)
    )


def test_statistics_are_those_of_the_data_under_the_mean() -> None:
    model = network(normalised=True)
    train(model, WeightAveraging(2, batches=BATCHES))
    hidden = [model[0](inputs) for inputs, _ in BATCHES]
    # Means over batches of their mean and unbiased variance, written out.
    means = torch.stack([each.mean(0) for each in hidden]).mean(0)
    variances = torch.stack([each.var(0) for each in hidden]).mean(0)
    torch.testing.assert_close(model[1].running_mean, means.detach(), rtol=0, atol=1e-14)
    torch.testing.assert_close(model[1].running_var, variances.detach(), rtol=0, atol=1e-13)
    assert (model[1].momentum, model.training) == (0.1, True)
    # One batch: exactly the data's own.
    whole = network(normalised=True)
    train(whole, WeightAveraging(2, batches=[(X, Y)]))
    torch.testing.assert_close(whole[1].running_mean, whole[0](X).mean(0).detach(), rtol=0, atol=1e-14)


def test_the_mean_of_a_walk_around_a_minimum_is_nearer_to_it() -> None:
    """On a quadratic with noisy gradients the weights walk around 0; their mean is some √n times nearer."""
    n = 400
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(n, 50, generator=generator)
    model = nn.Linear(50, 1, bias=False)
    nn.init.zeros_(model.weight)
    snapshots = Snapshots()
    fit(
        model,
        lambda epoch: [(noise[epoch : epoch + 1], None)],
        lambda outputs, _: outputs.sum() + model.weight.square().sum() / 2,
        optimizer=torch.optim.SGD(model.parameters(), lr=0.5),
        epochs=n,
        callbacks=[snapshots, WeightAveraging()],
    )
    last = torch.stack([each["weight"].norm() for each in snapshots.weights[n // 2 :]]).mean()
    # Variances of the walk and of its mean: η/(2 − η) = 1/3, and 1/n.
    assert (model.weight.norm() / last).item() == pytest.approx((3 / n) ** 0.5, rel=0.3)


def test_it_goes_on_after_an_interruption_and_when_prolonged(tmp_path: Path) -> None:
    class Interrupt(Callback):
        def __init__(self, epoch: int | None) -> None:
            self.epoch = epoch

        def on_epoch_end(self, state) -> None:
            if state.epoch == self.epoch:
                raise KeyboardInterrupt

    def run(checkpoint: Checkpoint | None, epoch: int | None = None, **arguments) -> nn.Module:
        model = network(normalised=True)
        train(model, WeightAveraging(1, batches=BATCHES), Interrupt(epoch), checkpoint=checkpoint, **arguments)
        return model

    expected = run(None).state_dict()
    checkpoint = Checkpoint(tmp_path / "run.pt")
    with pytest.raises(KeyboardInterrupt):
        run(checkpoint, 4)
    short = Checkpoint(tmp_path / "short.pt")
    run(short, epochs=5)
    for model in (run(checkpoint), run(checkpoint), run(short)):
        assert all(torch.equal(value, expected[name]) for name, value in model.state_dict().items())


def test_each_of_many_networks_has_its_own_mean() -> None:
    torch.manual_seed(1)
    networks = [network() for _ in range(4)]
    alone = copy.deepcopy(networks)
    for trained, together in ((networks, True), (alone, False)):
        fit_many(
            trained,
            data,
            functional.mse_loss,
            optimizer=torch.optim.SGD,
            settings=[{"lr": 0.05 * (1 + index)} for index in range(4)],
            epochs=4,
            callbacks=lambda index: [WeightAveraging(index)],
            together=together,
        )
    for one, other in zip(networks, alone, strict=True):
        torch.testing.assert_close(one.state_dict(), other.state_dict(), rtol=0, atol=1e-12)


class Ends(Callback):
    """Ends a training, or interrupts all."""

    def __init__(self, stop: int, interrupt: int | None) -> None:
        self.stop, self.interrupt = stop, interrupt

    def on_epoch_end(self, state) -> None:
        if state.epoch == self.interrupt:
            raise KeyboardInterrupt
        state.stop = state.epoch == self.stop


def test_a_network_that_ended_before_an_interruption_has_its_mean(tmp_path: Path) -> None:
    def run(checkpoint: Checkpoint | None, interrupt: int | None) -> list[nn.Module]:
        torch.manual_seed(1)
        networks = [network() for _ in range(4)]
        fit_many(
            networks,
            data,
            functional.mse_loss,
            optimizer=torch.optim.SGD,
            settings={"lr": 0.05},
            epochs=4,
            callbacks=lambda index: [WeightAveraging(), Ends(1 if index == 2 else 9, interrupt)],
            checkpoint=checkpoint,
            together=True,
        )
        return networks

    checkpoint = Checkpoint(tmp_path / "run")
    with pytest.raises(KeyboardInterrupt):
        run(checkpoint, 3)
    for resumed, expected in zip(run(checkpoint, None), run(None, None), strict=True):
        torch.testing.assert_close(resumed.state_dict(), expected.state_dict(), rtol=0, atol=0)


def test_no_epoch_averaged_changes_nothing_and_a_second_run_begins_anew() -> None:
    averaging, model, twin = WeightAveraging(99, batches=BATCHES), network(normalised=True), network(normalised=True)
    train(model, averaging)
    train(twin)
    assert averaging.n_averaged == 0
    assert all(torch.equal(a, b) for a, b in zip(model.state_dict().values(), twin.state_dict().values(), strict=True))
    averaging = WeightAveraging()
    for _ in range(2):
        model = network()
        train(model, averaging)
    assert averaging.n_averaged == 7
    assert evaluate(model, BATCHES, functional.mse_loss).n == 24


def test_a_cyclical_rate_is_that_of_the_paper() -> None:
    high, low, cycle = 0.5, 0.05, 5
    schedule = cyclical(cycle, low / high)
    for i in range(1, 16):
        t = ((i - 1) % cycle + 1) / cycle
        assert high * schedule(i - 1) == pytest.approx((1 - t) * high + t * low, rel=1e-14)
    model = network()
    assert train(model, schedule=schedule).lr_factor[4] == pytest.approx(0.1, rel=1e-14)


def test_bad_input_is_named() -> None:
    for call, what in (
        (lambda: WeightAveraging(-1), "start is -1"),
        (lambda: WeightAveraging(0.75), "start is 0.75"),
        (lambda: WeightAveraging(every=0), "every is 0"),
        (lambda: WeightAveraging(every=1.5), "every is 1.5"),
        (lambda: WeightAveraging(batches=iter(BATCHES)), "iterated only once"),
        (lambda: train(network(normalised=True), WeightAveraging()), "1 keeps running estimates"),
        (lambda: train(network(normalised=True), WeightAveraging(batches=[((X,), Y)])), "the inputs are a tuple"),
        (
            lambda: train(nn.Sequential(nn.Linear(3, 1), SynchronisedBatchNorm(1)).double(), WeightAveraging()),
            "1 is a SynchronisedBatchNorm",
        ),
        (lambda: cyclical(0, 0.1), "cycle is 0"),
        (lambda: cyclical(3, 1.1), "lowest is 1.1"),
    ):
        with pytest.raises(UsageError, match=what):
            call()
