"""Losses at many points: every short cut gives what running the network plainly gives."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pytest
import torch
from landscape_data import batches, classifier, mlp, naive_loss, noise, seeded, with_values
from torch import Tensor, nn
from torch.nn import functional

from deepscope import Subject
from deepscope.core import MeasurementError, Stopwatch
from deepscope.instruments import _chunks, _point_losses
from deepscope.instruments._landscape_directions import random_direction
from deepscope.instruments._parameter_points import Affine
from deepscope.instruments._parameter_space import ParameterSpace
from deepscope.instruments._point_losses import PointLosses

# A float64 loss of a small network, added up in another order.
EXACT = 1e-12
COEFFICIENTS = np.array([(a, b) for a in (0.0, -0.7, 0.4) for b in (0.0, 0.3, -1.1)])


@contextmanager
def evaluator(subject: Subject, **asked: object) -> Iterator[tuple[PointLosses, Affine]]:
    with subject.undisturbed():
        space = ParameterSpace.of(subject)
        directions = [random_direction(subject, space, seed, "filter", "normalised") for seed in (1, 2)]
        evaluate = PointLosses(subject, space, Stopwatch(), **{"max_samples": None, **asked})
        laid_out = [evaluate.laid_out(each) for each in directions]
        yield evaluate, Affine(evaluate.laid_out(space.origin), laid_out, COEFFICIENTS)


def check(subject: Subject, *, head: str | None = None, rtol: float = EXACT) -> PointLosses:
    """Compare all points with a copy of the network that holds their values."""
    with evaluator(subject) as (evaluate, points):
        found = evaluate.at(points).mean
        name = evaluate._head.name if evaluate._head is not None else None
        wanted = [naive_loss(with_values(subject.model, points.at(i)), subject) for i in range(len(points))]
    np.testing.assert_allclose(found, wanted, rtol=rtol)
    assert name == head
    return evaluate


def wide(*, before: nn.Module | None = None, after: nn.Module | None = None, seed: int = 0) -> nn.Module:
    parts = [before, nn.Linear(64, 7), after, nn.ReLU(), nn.Linear(7, 3)]
    return seeded(lambda: nn.Sequential(*[part for part in parts if part is not None]), seed)


def images(n: int = 9, channels: int = 1) -> list[tuple[Tensor, Tensor]]:
    return [(noise(n, channels, 8, 8), torch.arange(n) % 3), (noise(4, channels, 8, 8, seed=1), torch.arange(4) % 3)]


def flat() -> list[tuple[Tensor, Tensor]]:
    return [(x.flatten(1), y) for x, y in images()]


def test_a_first_linear_layer_is_added_up() -> None:
    check(Subject(wide(), flat(), functional.cross_entropy), head="0")
    check(Subject(wide(before=nn.Flatten()), images(), functional.cross_entropy), head="1")
    in_place = wide(after=nn.ReLU(inplace=True))
    check(Subject(in_place, flat(), functional.cross_entropy), head="0")


def test_a_first_convolution_is_added_up_where_that_wins() -> None:
    large = seeded(lambda: nn.Sequential(nn.Conv2d(3, 4, 5, padding=2), nn.ReLU(), nn.Flatten(), nn.Linear(256, 3)))
    check(Subject(large, images(channels=3), functional.cross_entropy), head="0")
    small = seeded(lambda: nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 3)))
    check(Subject(small, images(), functional.cross_entropy))


class Scaled(nn.Module):
    """What the layer sees depends on a parameter."""

    def __init__(self) -> None:
        super().__init__()
        self.scale, self.layer = nn.Parameter(torch.tensor([[1.5]])), nn.Linear(64, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x * self.scale)


class ScaledInPlace(Scaled):
    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x.mul_(self.scale.detach()))


class Twice(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(64, 64)

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(self.layer(x))[:, :3]


@pytest.mark.parametrize("make", [Scaled, ScaledInPlace, Twice])
def test_a_layer_fed_by_parameters_or_used_twice_is_run(make: type[nn.Module]) -> None:
    subject = Subject(seeded(make), flat(), functional.cross_entropy)
    with evaluator(subject) as (evaluate, points):
        found = evaluate.at(points).mean
        assert evaluate._head is None
        models = [with_values(subject.model, points.at(i)) for i in range(len(points))]
    # A plain run writes into the data that it is given; each gets its own.
    wanted = [naive_loss(model, Subject(model, flat(), subject.loss)) for model in models]
    np.testing.assert_allclose(found, wanted, rtol=EXACT)


def test_a_hooked_or_tied_first_layer_is_run() -> None:
    hooked = wide()
    hooked[0].register_forward_hook(lambda module, given, output: output * 2)
    with evaluator(Subject(hooked, flat(), functional.cross_entropy)) as (evaluate, _):
        assert evaluate._head is None
    tied = seeded(lambda: nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 64)))
    tied[2].weight = tied[0].weight
    check(Subject(tied, flat(), functional.cross_entropy))


def test_a_layer_that_is_only_partly_linear_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    subject = Subject(wide(), flat(), functional.cross_entropy)
    with evaluator(subject) as (evaluate, points):
        wanted = evaluate.at(points).mean
        right = evaluate._head.products
        monkeypatch.setattr(
            type(evaluate._head), "products", lambda self, *given: _doubled(right(*given)), raising=True
        )
        found = evaluate.at(points).mean
        assert evaluate._head is None
    np.testing.assert_allclose(found, wanted, rtol=EXACT)


def _doubled(outputs: object) -> object:
    outputs._along = [each * 2 for each in outputs._along]
    return outputs


class Peeking(nn.Module):
    """Reads the first layer's weights beside the layer."""

    def __init__(self) -> None:
        super().__init__()
        self.layer, self.out = nn.Linear(64, 7), nn.Linear(7, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(torch.relu(self.layer(x))) * self.layer.weight.norm()


def test_weights_that_are_read_beside_their_layer_are_made() -> None:
    check(Subject(seeded(Peeking), flat(), functional.cross_entropy), head=None)


class Viewing(nn.Module):
    """Written for channels first: a view of activations whose channels come last is an error."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.out = nn.Conv2d(2, 4, 3), nn.Linear(144, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.conv(x).view(len(x), -1))


def test_channels_last_only_where_the_network_bears_it() -> None:
    plain = seeded(lambda: nn.Sequential(nn.Conv2d(2, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 3)))
    assert check(Subject(plain, images(channels=2), functional.cross_entropy))._channels_last
    assert not check(Subject(seeded(Viewing), images(channels=2), functional.cross_entropy))._channels_last


def test_samples_are_told_apart_and_chunks_add_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_chunks, "_OF_VECTORS", 100)
    data = [(noise(230, 6), torch.arange(230) % 3), (noise(7, 6, seed=1), torch.arange(7) % 3)]
    subject = Subject(mlp(), data, functional.cross_entropy)
    with evaluator(subject) as (evaluate, points):
        chunks, samples = evaluate.at(points), evaluate.at(points, of_samples=True)
        models = [with_values(subject.model, points.at(i)) for i in range(len(points))]
    assert chunks.counts.tolist() == [100, 100, 30, 7]
    assert samples.of_samples
    assert samples.by_unit.shape == (9, 237)
    with torch.no_grad():
        for model, found in zip(models, samples.by_unit, strict=True):
            wanted = [functional.cross_entropy(model(x), y, reduction="none") for x, y in data]
            np.testing.assert_allclose(found, torch.cat(wanted).numpy(), rtol=EXACT)
    np.testing.assert_allclose(samples.mean, chunks.mean, rtol=EXACT)


def test_samples_with_terms_of_their_own_weigh_by_them() -> None:
    def loss(outputs: Tensor, targets: Tensor) -> Tensor:
        return functional.cross_entropy(outputs.flatten(0, 1), targets.flatten(), ignore_index=-100)

    model = seeded(lambda: nn.Linear(5, 4))
    targets = torch.arange(18).reshape(6, 3) % 4
    targets[0, 1:] = targets[2, :] = -100
    subject = Subject(model, [(noise(6, 3, 5), targets)], loss, count=lambda targets: (targets != -100).sum())
    with evaluator(subject) as (evaluate, points):
        seen = evaluate.at(points, of_samples=True)
    assert seen.of_samples
    assert seen.counts.tolist() == [1, 3, 0, 3, 3, 3]
    assert seen.mean[0] == pytest.approx(naive_loss(model, subject), rel=EXACT)


def test_a_loss_that_couples_samples_is_run_on_whole_batches() -> None:
    def contrast(outputs: Tensor, targets: Tensor) -> Tensor:
        del targets
        return torch.logsumexp(outputs @ outputs.T, dim=1).mean()

    data = [(noise(130, 6), torch.arange(130))]
    subject = Subject(mlp(), data, contrast)
    with evaluator(subject) as (evaluate, points):
        seen = evaluate.at(points, of_samples=True)
    assert not seen.of_samples
    assert seen.counts.tolist() == [130]
    assert "run whole" in dict(evaluate.left_out)["chunks"]
    assert seen.mean[0] == pytest.approx(naive_loss(subject.model, subject), rel=EXACT)


def test_blocks_of_data_give_what_all_data_at_once_give(monkeypatch: pytest.MonkeyPatch) -> None:
    subject = Subject(wide(), flat() * 5, functional.cross_entropy)
    with evaluator(subject) as (evaluate, points):
        whole = evaluate.at(points).mean
        assert evaluate._kept is not None
    monkeypatch.setattr(_point_losses, "_HELD", 1)
    with evaluator(subject) as (evaluate, points):
        np.testing.assert_allclose(evaluate.at(points).mean, whole, rtol=EXACT)
        assert evaluate._kept is None


def test_a_chunk_that_does_not_fit_is_halved(monkeypatch: pytest.MonkeyPatch) -> None:
    class Small(nn.Module):
        limit = 1000

        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(6, 3)

        def forward(self, x: Tensor) -> Tensor:
            if len(x) > self.limit:
                raise torch.OutOfMemoryError("too much")
            return self.layer(x)

    monkeypatch.setattr(_chunks, "_OF_VECTORS", 100)
    subject = Subject(seeded(Small), [(noise(70, 6), torch.arange(70) % 3)], functional.cross_entropy)
    with evaluator(subject) as (evaluate, points):
        wanted = evaluate.at(points).mean
        monkeypatch.setattr(Small, "limit", 20)
        seen = evaluate.at(points)
        assert seen.counts.tolist() == [17, 17, 17, 17, 2]
        np.testing.assert_allclose(seen.mean, wanted, rtol=EXACT)
        monkeypatch.setattr(Small, "limit", 0)
        with pytest.raises(MeasurementError, match="not enough memory"):
            evaluate.at(points)


def test_the_first_so_many_samples_are_run() -> None:
    # Of batches of nine and four.
    for asked, run, more in ((3, 3, True), (9, 9, True), (10, 10, True), (13, 13, False), (None, 13, False)):
        with evaluator(classifier(), max_samples=asked) as (evaluate, points):
            assert evaluate.at(points).n_samples == run
            assert evaluate.has_more == more


@pytest.mark.parametrize(
    ("data", "loss", "message"),
    [
        ([(noise(4, 9), torch.zeros(4).long())], functional.cross_entropy, "refuses a batch"),
        ([(noise(4, 6), torch.full((4,), 7))], functional.cross_entropy, "refuses a batch"),
        ([(noise(4, 6), torch.zeros(4).long())], lambda outputs, targets: outputs, "not a scalar"),
        ([(noise(4, 6), torch.full((4,), -100))], functional.cross_entropy, "the loss is nan"),
    ],
)
def test_what_cannot_be_run_is_explained(data: object, loss: object, message: str) -> None:
    with pytest.raises(MeasurementError, match=message), evaluator(Subject(mlp(), data, loss)):
        pass


def test_two_parameters_over_one_memory_move_together() -> None:
    model = seeded(lambda: nn.Sequential(nn.Linear(6, 6), nn.ReLU(), nn.Linear(6, 6)))
    model[2].weight.data = model[0].weight.data
    subject = Subject(model, batches(), functional.cross_entropy)
    with evaluator(subject) as (evaluate, points):
        found = evaluate.at(points).mean
        wanted = []
        for index in range(len(points)):
            values = dict(points.at(index))
            values["2.weight"] = values["0.weight"]
            other = seeded(lambda: nn.Sequential(nn.Linear(6, 6), nn.ReLU(), nn.Linear(6, 6)))
            wanted.append(naive_loss(with_values(other, values), subject))
    np.testing.assert_allclose(found, wanted, rtol=EXACT)
