"""Weight matching: the same function, the planted permutation found, the optimum reached, other networks refused."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from landscape_data import batches, mlp, naive_loss, noise, seeded, with_values
from torch import Tensor, nn
from torch.nn import functional

from deepscope import Subject
from deepscope.core import MeasurementError, UsageError
from deepscope.instruments import _weight_matching, match_weights
from deepscope.instruments._permutation_spec import Group, Slot, permutation_spec
from deepscope.instruments._weight_matching import permuted

IMAGES = [(noise(5, 2, 8, 8), torch.arange(5) % 3)]
VECTORS = [(noise(5, 6), torch.arange(5) % 3)]


class LeNet(nn.Module):
    """Functions between its layers, as people write them."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(2, 5, 3), nn.Conv2d(5, 7, 2)
        self.norm = nn.BatchNorm2d(7)
        self.fc1, self.fc2 = nn.Linear(28, 9), nn.Linear(9, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = functional.max_pool2d(torch.relu(self.conv1(x)), 2)
        x = self.norm(self.conv2(x)).relu()
        x = x.view(x.size(0), -1)
        x = functional.dropout(functional.gelu(self.fc1(x)), 0.5, self.training)
        return self.fc2(x)


NETWORKS = {
    "multilayer perceptron": (mlp, VECTORS, {"0": 10, "2": 8}),
    "layer norm": (
        lambda seed=0: seeded(
            lambda: nn.Sequential(nn.Linear(6, 9), nn.LayerNorm(9), nn.Tanh(), nn.Linear(9, 3)), seed
        ),
        VECTORS,
        {"0": 9},
    ),
    "batch norm and a slope per unit": (
        lambda seed=0: seeded(
            lambda: nn.Sequential(nn.Linear(6, 9), nn.BatchNorm1d(9), nn.PReLU(9), nn.Dropout(), nn.Linear(9, 3)), seed
        ),
        VECTORS,
        {"0": 9},
    ),
    "convolutions, flattened": (lambda seed=0: seeded(LeNet, seed), IMAGES, {"conv1": 5, "conv2": 7, "fc1": 9}),
    "group norms, pooled": (
        lambda seed=0: seeded(
            lambda: nn.Sequential(
                nn.Conv2d(2, 6, 3), nn.GroupNorm(1, 6), nn.SiLU(), nn.Conv2d(6, 8, 3), nn.GroupNorm(8, 8),
                nn.InstanceNorm2d(8, affine=True), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 3),
            ),
            seed,
        ),
        IMAGES,
        {"0": 6, "3": 8},
    ),
    "a norm after flattening": (
        lambda seed=0: seeded(
            lambda: nn.Sequential(nn.Conv2d(2, 4, 7), nn.Flatten(), nn.BatchNorm1d(16), nn.Linear(16, 3)), seed
        ),
        IMAGES,
        {"0": 4},
    ),
}  # fmt: skip
EACH = pytest.mark.parametrize("name", NETWORKS)


def made(name: str, seed: int = 0) -> nn.Module:
    model = NETWORKS[name][0](seed)
    with torch.no_grad():
        # Norms' parameters and statistics that differ from unit to unit, or a wrong order would not show.
        for index, tensor in enumerate((*model.parameters(), *model.buffers())):
            if tensor.ndim == 1 and tensor.is_floating_point():
                tensor.copy_(noise(*tensor.shape, seed=100 * seed + index).abs() + 0.5)
    return model.eval()


@EACH
def test_units_and_what_stands_on_them_are_found(name: str) -> None:
    groups = permutation_spec(made(name), "it")
    assert {group.layer: group.size for group in groups} == NETWORKS[name][2]


@EACH
def test_a_random_permutation_of_itself_is_undone(name: str) -> None:
    model, data = made(name), NETWORKS[name][1]
    subject = Subject(model, data, functional.cross_entropy)
    groups = permutation_spec(model, "it")
    rng = np.random.default_rng(2)
    shuffles = [rng.permutation(group.size) for group in groups]
    shuffled = permuted(groups, dict(model.state_dict()), shuffles)
    with torch.no_grad():
        x = data[0][0]
        # The order of units is no part of the function: a sum in another order.
        np.testing.assert_allclose(with_values(model, shuffled)(x), model(x), rtol=1e-11, atol=1e-13)
    assert any(not torch.equal(shuffled[key], tensor) for key, tensor in model.state_dict().items())
    found = match_weights(subject, shuffled)
    for group, shuffle in zip(groups, shuffles, strict=True):
        assert np.array_equal(shuffle[found.permutations[group.layer]], np.arange(group.size))
    assert found.distance_before > 0
    assert found.distance_after == 0
    assert found.converged
    assert found.deviation < 1e-12
    for key, tensor in model.state_dict().items():
        assert torch.equal(found.state[key], tensor)


@EACH
def test_another_network_comes_nearer_and_computes_the_same(name: str) -> None:
    subject = Subject(made(name), NETWORKS[name][1], functional.cross_entropy)
    other = made(name, 1)
    found = match_weights(subject, other)
    assert found.distance_after < found.distance_before
    before, after = (naive_loss(each, subject) for each in (other, with_values(other, found.state)))
    assert after == pytest.approx(before, rel=1e-11)


def test_one_hidden_layer_is_matched_as_well_as_can_be() -> None:
    def small(seed: int) -> nn.Module:
        return seeded(lambda: nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 3)), seed)

    subject, other = Subject(small(0), VECTORS, functional.cross_entropy), small(1)
    mine, theirs = (dict(each.state_dict()) for each in (subject.model, other))
    groups = permutation_spec(subject.model, "it")

    def distance(order: tuple[int, ...]) -> float:
        state = permuted(groups, theirs, [np.array(order)])
        moving = ("0.weight", "0.bias", "2.weight")
        return float(sum(((mine[key] - state[key]) ** 2).sum() for key in moving)) ** 0.5

    best = min(distance(order) for order in itertools.permutations(range(5)))
    found = match_weights(subject, other)
    assert found.distance_after == pytest.approx(best, rel=1e-12)
    assert found.distance_before == pytest.approx(distance((0, 1, 2, 3, 4)), rel=1e-12)


class Residual(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(6, 6)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.inner(x)


class Branching(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.one, self.out = nn.Linear(6, 6), nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        hidden = self.one(x)
        return self.out(torch.relu(hidden) * hidden)


class Dependent(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.one, self.out = nn.Linear(6, 6), nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.one(x)) if x.sum() > 0 else self.out(x)


class Repeated(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.one, self.out = nn.Linear(6, 6), nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(torch.relu(self.one(torch.relu(self.one(x)))))


def chain(*layers: nn.Module) -> nn.Module:
    return nn.Sequential(*layers)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: chain(nn.Linear(6, 6), Residual(), nn.Linear(6, 3)), "do not form a chain"),
        (Branching, "do not form a chain"),
        (Dependent, "cannot be traced"),
        (Repeated, "one is used twice"),
        (lambda: chain(nn.Linear(6, 3), nn.ReLU()), "no hidden layer"),
        (lambda: chain(nn.Linear(6, 8), nn.Softmax(1), nn.Linear(8, 3)), "is a Softmax"),
        (lambda: chain(nn.Linear(6, 8), nn.GroupNorm(2, 8), nn.Linear(8, 3)), "groups of units together"),
        (lambda: chain(nn.Linear(6, 8), nn.MaxPool1d(2), nn.Linear(4, 3)), "pools over units"),
        (lambda: chain(nn.Conv2d(2, 4, 3), nn.Conv2d(4, 4, 3, groups=2), nn.Flatten(), nn.Linear(64, 3)), "grouped"),
        (lambda: chain(nn.Conv2d(2, 4, 3), nn.LayerNorm(6), nn.Flatten(), nn.Linear(144, 3)), "more than the units"),
        (lambda: chain(nn.Conv2d(2, 6, 3), nn.Linear(6, 3)), "as they stand"),
        (lambda: chain(nn.Conv2d(2, 4, 3), nn.Flatten(2), nn.Linear(36, 3)), "in a way of its own"),
        (lambda: chain(nn.Linear(6, 8), nn.Bilinear(8, 8, 3)), "cannot be traced|Bilinear"),
    ],
)
def test_what_cannot_be_permuted_for_certain_is_refused(make: object, message: str) -> None:
    with pytest.raises(MeasurementError, match=message):
        permutation_spec(seeded(make), "it")


def test_tied_weights_and_other_architectures_are_refused() -> None:
    tied = seeded(lambda: chain(nn.Linear(6, 6), nn.ReLU(), nn.Linear(6, 6), nn.ReLU(), nn.Linear(6, 3)))
    tied[2].weight = tied[0].weight
    with pytest.raises(MeasurementError, match="tied"):
        match_weights(Subject(tied, VECTORS), tied)
    with pytest.raises(UsageError, match="lacks a tensor"):
        match_weights(Subject(mlp(), VECTORS), nn.Linear(6, 3))
    broken = mlp(1)
    with torch.no_grad():
        broken[0].weight[0, 0] = torch.nan
    with pytest.raises(MeasurementError, match="not finite"):
        match_weights(Subject(mlp(), VECTORS), broken)


def test_a_wrong_account_of_the_units_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    wrong = (Group("0", 10, (Slot("0.weight", 0, 1, True), Slot("2.weight", 1, 1, False))),)
    monkeypatch.setattr(_weight_matching, "permutation_spec", lambda model, name: wrong)
    with pytest.raises(MeasurementError, match="does not compute the same function"):
        match_weights(Subject(mlp(), batches()), mlp(1))
