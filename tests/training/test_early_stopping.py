"""Early stopping: where it ends, the weights that are kept, its state in a checkpoint."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn import functional

from deepscope.core import MeasurementError, UsageError
from deepscope.training import Callback, Checkpoint, EarlyStopping, Evaluate, fit, fit_many


class Script(Callback):
    """Records given numbers, epoch by epoch, as an evaluation would."""

    def __init__(self, *values: float) -> None:
        self.values = values

    def on_epoch_end(self, state) -> None:
        state.history.epochs[-1]["validation_loss"] = self.values[state.epoch]


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 1))


def data(epoch: int):
    generator = torch.Generator().manual_seed(epoch)
    yield torch.randn(8, 3, generator=generator), torch.randn(8, 1, generator=generator)


def train(stopping: EarlyStopping, *values: float, model: nn.Module | None = None, **arguments):
    model = model or network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    given = {"epochs": len(values), "callbacks": [Script(*values), stopping], **arguments}
    return model, fit(model, data, functional.mse_loss, optimizer=optimizer, **given)


def ends(errors: list[float], patience: int | None, alpha: float | None) -> tuple[int, int]:
    """Return after how many epochs it ends and which is the best, by Prechelt's words."""
    for t in range(len(errors)):
        least = min(errors[: t + 1])
        best = errors.index(least)
        if (patience is not None and t - best >= patience) or (
            alpha is not None and least > 0 and 100 * (errors[t] / least - 1) > alpha
        ):
            return t + 1, best
    return len(errors), errors.index(min(errors))


def test_it_ends_where_a_loop_written_out_ends() -> None:
    generator = torch.Generator().manual_seed(0)
    for patience, alpha in ((1, None), (2, None), (4, None), (None, 5.0), (None, 40.0), (3, 25.0)):
        for _ in range(3):
            errors = (1 + torch.rand(12, generator=generator) * torch.linspace(1, 0.4, 12)).tolist()
            stopping = EarlyStopping("validation_loss", patience=patience, generalisation_loss=alpha)
            model, history = train(stopping, *errors)
            n_epochs, best = ends(errors, patience, alpha)
            assert (len(history.epochs), stopping.best_epoch, stopping.best) == (n_epochs, best, errors[best])
            # The weights and running statistics of the best epoch, bit for bit.
            twin, _ = train(EarlyStopping("validation_loss", patience=99), *errors[: best + 1])
            for one, other in zip(model.state_dict().values(), twin.state_dict().values(), strict=True):
                assert torch.equal(one, other)


def test_planted_curves() -> None:
    for arguments, errors, expected in (
        ({"patience": 2}, (3.0, 2.0, 2.5, 2.4, 1.0), (4, 1)),
        ({"patience": 3}, (3.0, 2.0, 2.5, 2.4, 1.0), (5, 4)),
        # Of two alike the first counts.
        ({"patience": 2}, (3.0, 2.0, 2.0, 2.0), (4, 1)),
        ({"patience": 1, "maximise": True}, (0.5, 0.7, 0.6, 0.9), (3, 1)),
        # 25 % above the least is not above 25 %.
        ({"generalisation_loss": 25.0}, (2.0, 1.0, 1.25, 1.26, 1.0), (4, 1)),
        ({"generalisation_loss": 0.0}, (2.0, 0.0, 0.0, 1e-9), (4, 1)),
    ):
        stopping = EarlyStopping("validation_loss", **arguments)
        _, history = train(stopping, *errors)
        assert (len(history.epochs), stopping.best_epoch) == expected


def test_it_goes_on_after_an_interruption_and_when_prolonged(tmp_path: Path) -> None:
    errors = (3.0, 2.0, 2.5, 2.4, 2.3, 1.0, 1.5)

    class Interrupt(Callback):
        def __init__(self, epoch: int) -> None:
            self.epoch = epoch

        def on_epoch_end(self, state) -> None:
            if state.epoch == self.epoch:
                raise KeyboardInterrupt

    def run(checkpoint: Checkpoint | None, interrupted: int = -1, patience: int = 4, **arguments):
        stopping = EarlyStopping("validation_loss", patience=patience)
        callbacks = [Script(*errors), stopping, Interrupt(interrupted)]
        return *train(stopping, *errors, callbacks=callbacks, checkpoint=checkpoint, **arguments), stopping

    checkpoint = Checkpoint(tmp_path / "run.pt")
    with pytest.raises(KeyboardInterrupt):
        run(checkpoint, 3)
    model, history, stopping = run(checkpoint)
    expected, whole, twin = run(None)
    assert (history, stopping.best_epoch, stopping.best) == (whole, twin.best_epoch, twin.best) == (whole, 5, 1.0)
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), expected.parameters(), strict=True))

    # Prolonged, it goes on from the last weights, not from the best.
    short = Checkpoint(tmp_path / "short.pt")
    run(short, epochs=4)
    prolonged, history, _ = run(short)
    assert history == whole
    assert all(torch.equal(a, b) for a, b in zip(prolonged.parameters(), expected.parameters(), strict=True))
    # One that has ended stays ended, with its best weights.
    ended = Checkpoint(tmp_path / "ended.pt")
    first, once, _ = run(ended, patience=2)
    again, twice, _ = run(ended, patience=2)
    assert len(once.epochs) == len(twice.epochs) == 4
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), again.parameters(), strict=True))
    with pytest.raises(UsageError, match="patience is 3 here and 2"):
        run(ended, patience=3)


def test_each_of_many_networks_ends_by_itself() -> None:
    x = torch.randn(40, 3, generator=torch.Generator().manual_seed(1))
    y = x[:, :1] + 0.1 * x[:, 1:2]
    torch.manual_seed(0)
    networks = [nn.Sequential(nn.Linear(3, 16), nn.Tanh(), nn.Linear(16, 1)).double() for _ in range(6)]
    x, y = x.double(), y.double()
    alone = copy.deepcopy(networks)
    ways = []
    for trained, together in ((networks, True), (alone, False)):
        stoppings: dict[int, EarlyStopping] = {}

        def callbacks(index: int, stoppings: dict[int, EarlyStopping] = stoppings) -> list[Callback]:
            stoppings[index] = EarlyStopping("validation_loss", patience=2)
            return [Evaluate([(x[8:], y[8:])], functional.mse_loss, name="validation"), stoppings[index]]

        trainings = fit_many(
            trained,
            lambda epoch: [(x[:8], y[:8])],
            functional.mse_loss,
            optimizer=torch.optim.Adam,
            settings=[{"lr": 0.02 * 2**index} for index in range(6)],
            epochs=40,
            callbacks=callbacks,
            together=together,
        )
        ways.append([len(each.epochs) for each in trainings.histories])
        assert [each.best_epoch for each in stoppings.values()] == [n - 3 for n in ways[-1]]
    assert ways[0] == ways[1]
    assert len(set(ways[0])) > 2
    for one, other in zip(networks, alone, strict=True):
        # As in test_fit_many, of up to 40 updates.
        torch.testing.assert_close(one.state_dict(), other.state_dict(), rtol=0, atol=1e-11)


def test_a_second_run_begins_anew() -> None:
    stopping = EarlyStopping("validation_loss", patience=2)
    train(stopping, 1.0, 0.5)
    train(stopping, 3.0, 2.0)
    assert (stopping.best_epoch, stopping.best) == (1, 2.0)


def test_bad_input_is_named() -> None:
    for arguments, what in (
        ({}, "patience is None"),
        ({"patience": 0}, "patience is 0"),
        ({"generalisation_loss": -1.0}, "generalisation_loss is -1"),
        ({"generalisation_loss": 5.0, "maximise": True}, "generalisation_loss is 5"),
    ):
        with pytest.raises(UsageError, match=what):
            EarlyStopping("validation_loss", **arguments)
    with pytest.raises(UsageError, match=r"no epoch records a validation_los: .*\n.*validation_loss.*Evaluate"):
        train(EarlyStopping("validation_los", patience=1), 1.0)
    with pytest.raises(MeasurementError, match="validation_loss is nan: epoch 1"):
        train(EarlyStopping("validation_loss", patience=1), 1.0, float("nan"))
    with pytest.raises(MeasurementError, match=r"validation_loss is -1.*: epoch 1\n.*patience"):
        train(EarlyStopping("validation_loss", generalisation_loss=5.0), 1.0, -1.0)
