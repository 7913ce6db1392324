"""Watching frequencies: planted ones in their order, a shuffled spectrum in its own, and training untouched."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from frequency_learners import FREQUENCIES, WAVES, learn, waves_target
from torch import Tensor, nn
from torch.nn import functional

from deepscope.core import DoesNotApplyError, MeasurementError, UsageError
from deepscope.instruments import FrequencyErrors
from deepscope.lab import FrequencyWatch, watch_frequencies
from deepscope.subject import Subject
from deepscope.training import Checkpoint, fit


@pytest.mark.parametrize("seed", [0, 1])
def test_a_network_learns_planted_frequencies_from_the_lowest_on(seed: int) -> None:
    """Of four frequencies a random order ascends one time in 24; verify has twenty seeds."""
    found = learn(seed, steps=2500)
    assert found.is_ascending
    assert found.rank_correlation == pytest.approx(1)


class Waves(nn.Module):
    """Σ_k speed_k (a_k cos kx + b_k sin kx), a and b learned from 0: by gradient descent each k by itself."""

    def __init__(self, speeds: Sequence[float]) -> None:
        super().__init__()
        self.coefficients = nn.Parameter(torch.zeros(2 * len(speeds), dtype=torch.float64))
        self.register_buffer("speeds", torch.tensor(speeds, dtype=torch.float64).repeat(2))

    def forward(self, x: Tensor) -> Tensor:
        angles = x * torch.tensor(FREQUENCIES, dtype=torch.float64)
        return (torch.cat([angles.cos(), angles.sin()], dim=1) * self.speeds) @ self.coefficients[:, None]


@pytest.mark.parametrize("order", [[0, 1, 2, 3], [3, 1, 2, 0], [2, 3, 0, 1]])
def test_a_learner_with_a_shuffled_spectrum_is_said_to_learn_in_its_own_order(order: list[int]) -> None:
    """Gradient descent on the mean square shrinks the error of wave k by 1 − η s_k² a step: in closed form."""
    x, y = waves_target(0)
    speeds = np.empty(4)
    speeds[order] = [0.5, 0.4, 0.3, 0.2]
    model = Waves(speeds.tolist())
    watching = watch_frequencies(model, [(x, y)], functional.mse_loss, waves=WAVES, every=7)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
    fit(model, lambda _: [(x, y)], functional.mse_loss, optimizer=optimizer, epochs=140, callbacks=[watching])
    found = watching.result
    expected = [math.log(0.3) / math.log(1 - 0.5 * speed**2) for speed in speeds]
    # A straight line over the logarithm is the curve itself; errors of 1e-15 are divided by slopes of 0.02 a step.
    assert found.learned == pytest.approx(expected, rel=1e-9)
    assert found.order == tuple(found.names[place] for place in order)
    assert found.is_ascending == (order == [0, 1, 2, 3])


def target() -> tuple[Tensor, Tensor]:
    x, y = waves_target(0)
    return x.float(), y.float()


def small() -> nn.Sequential:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return nn.Sequential(nn.Linear(1, 16), nn.Dropout(0.2), nn.Tanh(), nn.Linear(16, 1))


def trained(epochs: int, path: Path | None = None, *, watched: bool = True) -> tuple[nn.Module, Any]:
    model, (x, y) = small(), target()
    watching = watch_frequencies(model, [(x, y)], functional.mse_loss, waves=WAVES, every=3)
    fit(
        model,
        lambda epoch: [(x[epoch % 2 :: 2], y[epoch % 2 :: 2])] * 4,
        functional.mse_loss,
        optimizer=torch.optim.Adam(model.parameters(), lr=1e-2),
        epochs=epochs,
        callbacks=[watching] if watched else [],
        checkpoint=None if path is None else Checkpoint(path),
    )
    return model, watching


def test_training_is_what_it_is_without() -> None:
    watched, watching = trained(4)
    alone, _ = trained(4, watched=False)
    for one, other in zip(watched.parameters(), alone.parameters(), strict=True):
        assert torch.equal(one, other)
    assert watching.result.steps.tolist() == [0, 3, 6, 9, 12, 15]


def test_a_resumed_run_has_seen_the_same(tmp_path: Path) -> None:
    whole = trained(4)[1].result
    trained(2, tmp_path / "run.pt")
    resumed = trained(4, tmp_path / "run.pt")[1].result
    assert resumed.steps.tolist() == whole.steps.tolist()
    np.testing.assert_array_equal(resumed.errors, whole.errors)


def test_a_loop_of_ones_own() -> None:
    model, (x, y) = small(), target()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with watch_frequencies(model, [(x, y)], functional.mse_loss, waves=WAVES, every=2) as watching:
        for _ in range(5):
            optimizer.zero_grad()
            functional.mse_loss(model(x), y).backward()
            gradient = model[0].weight.grad.clone()
            watching.step()
            assert torch.equal(model[0].weight.grad, gradient)
            assert model.training
    assert watching.result.steps.tolist() == [0, 2, 4]
    with pytest.raises(UsageError, match="nothing is watched"):
        watching.step()
    with pytest.raises(UsageError, match="has been used"), watching:
        pass


def test_bands_between_filters_order_a_target_of_several_dimensions() -> None:
    """A learner that knows a slow and a quick wave of the plane, and learns the quick one first or last."""
    x = torch.rand(300, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    features = torch.stack([torch.sin(3 * x.sum(dim=1)), torch.sin(40 * x[:, 0])], dim=1)
    y = features.sum(dim=1, keepdim=True)
    for speeds in ((1.0, 0.4), (0.4, 1.0)):
        model = nn.Linear(2, 1, bias=False, dtype=torch.float64)
        nn.init.zeros_(model.weight)

        def forward(model: nn.Module, x: Tensor, speeds: tuple[float, float] = speeds) -> Tensor:
            waves = torch.stack([torch.sin(3 * x.sum(dim=1)), torch.sin(40 * x[:, 0])], dim=1)
            return model(waves * torch.tensor(speeds, dtype=torch.float64))

        subject = Subject(model, [(x, y)], functional.mse_loss, forward=forward)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.2)
        with watch_frequencies(subject, widths=[0.06], every=1) as watching:
            for _ in range(120):
                optimizer.zero_grad()
                functional.mse_loss(subject.predict(x), y).backward()
                optimizer.step()
                watching.step()
        found = watching.result
        assert found.names == ("δ above 0.06", "δ below 0.06")
        assert found.is_ascending == (speeds[0] > speeds[1])
        assert None not in found.learned


def test_what_cannot_be_watched() -> None:
    x, y = target()
    for wrong in ({"every": 0}, {"threshold": 1.0}, {"waves": WAVES, "widths": [1.0]}):
        with pytest.raises(UsageError):
            watch_frequencies(small(), [(x, y)], functional.mse_loss, **wrong)
    with pytest.raises(MeasurementError, match="nothing in this band"):
        watch_frequencies(small(), [(x, y)], waves=[10 / (2 * math.pi)])
    with pytest.raises(MeasurementError, match="no targets"):
        watch_frequencies(small(), [(x, None)], waves=WAVES)
    with pytest.raises(MeasurementError, match="the same"):
        FrequencyErrors(Subject(small(), [(torch.ones(8, 1), y[:8])]))
    with pytest.raises(DoesNotApplyError):
        watch_frequencies(nn.Embedding(4, 1), [(torch.arange(4)[:, None], y[:4])])
    watching = watch_frequencies(small(), [(x, y)], waves=WAVES)
    assert isinstance(watching, FrequencyWatch)
    with pytest.raises(UsageError, match="nothing was watched"):
        watching.result.order  # noqa: B018
    other = small()
    with pytest.raises(UsageError, match="another network"):
        fit(
            other,
            lambda _: [(x, y)],
            functional.mse_loss,
            optimizer=torch.optim.SGD(other.parameters()),
            epochs=1,
            callbacks=[watching],
        )


def test_outputs_that_break_down_are_a_clear_error() -> None:
    x, y = target()
    errors = FrequencyErrors(Subject(small(), [(x, y)]), waves=WAVES)
    assert errors.measure().shape == (4,)
    broken = Subject(nn.Linear(1, 1), [(x, y)])
    with torch.no_grad():
        broken.model.weight.fill_(math.nan)
    with pytest.raises(MeasurementError, match="not finite"):
        FrequencyErrors(broken, waves=WAVES).measure()
