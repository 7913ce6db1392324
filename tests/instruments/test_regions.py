"""Regions are counted as theorems, rational arithmetic and the patterns of the units say."""

from __future__ import annotations

import copy
from collections.abc import Callable
from math import comb, prod
from typing import Any

import numpy as np
import pytest
import torch
from region_networks import count_exactly, middles, noise, patterns, stack
from torch import Tensor, nn
from torch.nn import functional

from deepscope.core import DoesNotApplyError, MeasurementError, UsageError
from deepscope.instruments import _regions_count, regions
from deepscope.subject import Subject


def plane_of(features: int, seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    origin, u, v = noise(3, features, seed=seed).double()
    return origin, u, v


def corners_of(plane: tuple[Tensor, Tensor, Tensor], extent: float) -> list[Tensor]:
    origin, u, v = plane
    return [origin + extent * (s * u + t * v) for s, t in ((-1, -1), (1, -1), (1, 1), (-1, 1))]


@pytest.mark.parametrize("units", [1, 2, 5, 17, 60])
def test_one_layer_in_general_position_has_the_number_of_the_theorem(units: int) -> None:
    model = Subject(stack(7, units, 3, seed=units))
    origin, u, v = plane_of(7)
    # Lines with random coefficients meet at distances with a Cauchy tail: of 1,770 points some lie hundreds away.
    on_plane = regions(model, plane=(origin, u, v), extent=1e5)
    assert on_plane.count == sum(comb(units, i) for i in range(3))
    assert on_plane.complete
    assert regions(model, line=(origin - 1e5 * u, origin + 1e5 * u)).count == units + 1


@pytest.mark.parametrize("seed", range(6))
def test_deep_networks_have_as_many_as_in_rational_arithmetic(seed: int) -> None:
    model = stack(4, *[(9, 7), (5, 5, 5), (4, 4, 4, 4)][seed % 3], 2, seed=seed)
    plane = plane_of(4, seed=seed)
    # To float64 what the test's corners are: sums of products of numbers of 24 bits, which the fractions have exactly.
    assert regions(Subject(model), plane=plane, extent=2.0).count == count_exactly(model, corners_of(plane, 2.0))
    ends = (plane[0] - 3 * plane[1], plane[0] + 3 * plane[1])
    found = regions(Subject(model), line=ends)
    assert found.count == count_exactly(model, list(ends))
    # Each layer has at most one crossing of each unit with each piece of those before.
    assert found.count <= prod(each.units + 1 for each in found.layers)


def tents(depth: int) -> nn.Sequential:
    """Fold [0, 1]² onto itself, 2 max(x, 0) − 4 max(x − ½, 0) in both coordinates, so many times."""
    split = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0], [0.0, 1.0]])
    tent = torch.tensor([[2.0, -4.0, 0.0, 0.0], [0.0, 0.0, 2.0, -4.0]])
    parts: list[nn.Module] = []
    for _ in range(depth):
        inner, outer = nn.Linear(2, 4), nn.Linear(4, 2, bias=False)
        inner.load_state_dict({"weight": split, "bias": torch.tensor([0.0, -0.5, 0.0, -0.5])})
        outer.load_state_dict({"weight": tent})
        parts += [inner, nn.ReLU(), outer]
    return nn.Sequential(*parts)


@pytest.mark.parametrize("depth", [1, 2, 3, 4, 5])
def test_tents_fold_a_square_into_a_power_of_four(depth: int) -> None:
    found = regions(Subject(tents(depth)), plane=(torch.tensor([0.5, 0.5]), *torch.eye(2)), extent=0.5)
    assert found.count == found.distinct_maps == 4**depth
    # All cells are squares of one size, and the network's slope is 2^L in both directions on each.
    np.testing.assert_allclose(found.sizes, 4.0**-depth, rtol=1e-9)
    np.testing.assert_allclose(found.slopes, 2**0.5 * 2**depth, rtol=1e-9)
    folds = [each for each in found.findings() if "fold" in each.message]
    assert bool(folds) == (4**depth > sum(comb(4 * depth, i) for i in range(3)))


class Residual(nn.Module):
    """Adds in place what it kept, and runs one ReLU twice."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two = nn.Conv2d(1, 3, 3, padding=1), nn.Conv2d(3, 3, 3, padding=1)
        self.norm, self.relu, self.head = nn.BatchNorm2d(3), nn.ReLU(inplace=True), nn.Linear(3, 2)

    def forward(self, x: Tensor) -> Tensor:
        kept = self.relu(self.one(x))
        x = self.norm(self.two(kept))
        x += kept
        return self.head(self.relu(x).mean((2, 3)))


class Times(nn.Module):
    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = factor

    def forward(self, x: Tensor) -> Tensor:
        return self.factor * x


def pooled() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 3, 3, padding=1), nn.BatchNorm2d(3), nn.LeakyReLU(0.1, inplace=True), nn.MaxPool2d(2),
        nn.Conv2d(3, 3, 2), nn.MaxPool2d(2, 1, 1), nn.AdaptiveMaxPool2d((2, 3)), nn.Flatten(), nn.Linear(18, 3),
    )  # fmt: skip


def along_time() -> nn.Module:
    return nn.Sequential(
        nn.Conv1d(2, 4, 3), nn.MaxPool1d(3, 2, 1, ceil_mode=True), nn.Conv1d(4, 3, 2), nn.ReLU(),
        nn.MaxPool1d(2, dilation=2, stride=1), nn.Flatten(), nn.LazyLinear(2),
    )  # fmt: skip


def seeded(make: Callable[[], nn.Module], *shape: int) -> Callable[[], tuple[nn.Module, tuple[int, ...]]]:
    def made() -> tuple[nn.Module, tuple[int, ...]]:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(1)
            model = make().eval()
            model(torch.zeros(1, *shape))
            for module in model.modules():
                if isinstance(module, nn.BatchNorm2d):
                    nn.init.normal_(module.running_mean, std=0.3)
        return model, shape

    return made


ZOO = {
    "relu": seeded(lambda: stack(5, 14, 12, 3), 5),
    "leaky relu": seeded(lambda: stack(5, 14, 12, 3, activation=nn.LeakyReLU), 5),
    "prelu": seeded(lambda: stack(5, 14, 12, 3, activation=nn.PReLU), 5),
    "relu6": seeded(lambda: nn.Sequential(*stack(5, 14, 12, 3, activation=nn.ReLU6)), 5),
    "hardtanh": seeded(lambda: stack(5, 14, 12, 3, activation=lambda: nn.Hardtanh(-0.5, 0.8)), 5),
    "hardsigmoid": seeded(lambda: nn.Sequential(nn.Linear(5, 9), Times(5.0), nn.Hardsigmoid(), nn.Linear(9, 2)), 5),
    "softshrink": seeded(lambda: stack(5, 14, 12, 3, activation=lambda: nn.Softshrink(0.3)), 5),
    "threshold": seeded(lambda: stack(5, 14, 12, 3, activation=lambda: nn.Threshold(0.2, 0.2)), 5),
    "residual": seeded(Residual, 1, 4, 4),
    "pooled": seeded(pooled, 1, 6, 6),
    "along time": seeded(along_time, 2, 12),
}


@pytest.mark.parametrize("make", ZOO.values(), ids=ZOO)
@pytest.mark.parametrize("grows", [True, False], ids=["growing", "anew"])
def test_each_cell_has_a_pattern_of_its_own_and_all_patterns_seen_are_cells(
    make: Callable[[], tuple[nn.Module, tuple[int, ...]]], grows: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, shape = make()
    if not grows:
        counting = _regions_count._Counting
        monkeypatch.setattr(_regions_count, "_Counting", lambda *args, grows: counting(*args, grows=False))
    origin, u, v = noise(3, *shape).double()
    found = regions(Subject(model), plane=(origin, u, v), extent=1.5)
    assert found.count > 12

    def at(places: np.ndarray[Any, Any]) -> list[bytes]:
        along = torch.from_numpy(places)
        return patterns(copy.deepcopy(model).double(), origin + torch.tensordot(along, torch.stack([u, v]), 1))

    of_cells = at(middles(found))
    assert len(set(of_cells)) == found.count
    grid = np.stack(np.meshgrid(*[np.linspace(-1.5, 1.5, 60)] * 2), -1).reshape(-1, 2)
    assert set(at(grid)) <= set(of_cells)
    assert found.sizes.sum() == pytest.approx(1)
    assert found.count == 1 + sum(each.added for each in found.layers)
    # The cut and its proof, or one pass for each call with kinks beside these.
    assert (found.cost.forward_passes == 2) is grows


class Functional(nn.Module):
    """Two hidden layers with a function between."""

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.one, self.two, self.out = stack(6, 10, 8, 2)[::2]
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.function(self.two(self.function(self.one(x)))))


class HoldsItsLength(Functional):
    def forward(self, x: Tensor) -> Tensor:
        length = x.shape[0]
        return self.out(self.function(self.two(self.function(self.one(x)))).view(length, -1))


class HoldsItsMask(Functional):
    """Uses the first layer's mask once more at the end: its rows cannot be interpolated."""

    def forward(self, x: Tensor) -> Tensor:
        x = self.one(x)
        mask = x > 0
        return self.out(self.function(self.two(x * mask)) + (x * mask)[:, :8])


class Hidden(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x.clamp(min=0)


RECTIFIERS: dict[str, Callable[[Tensor], Tensor]] = {
    "torch.relu": torch.relu,
    "relu_": lambda x: x.relu_(),
    "clamp": lambda x: x.clamp(min=0),
    "clip by a tensor": lambda x: torch.clip(x, torch.zeros((), dtype=x.dtype)),
    "maximum": lambda x: torch.maximum(x, torch.zeros((), dtype=x.dtype)),
    "max of two": lambda x: torch.max(torch.zeros_like(x), x),
    "where": lambda x: torch.where(x > 0, x, 0.0),
    "where the other way": lambda x: torch.where(x.le(0.0), 0.0, x),
    "times a mask": lambda x: x * (x > 0),
    "by abs": lambda x: (x + x.abs()) / 2,
    "by amax": lambda x: torch.stack([x, torch.zeros_like(x)], dim=-1).amax(-1),
    "by max": lambda x: torch.stack([torch.zeros_like(x), x], dim=1).max(dim=1).values,
    "by min": lambda x: -torch.stack([torch.zeros_like(x), -x], dim=1).min(1)[0],
    "threshold": lambda x: functional.threshold(x, 0.0, 0.0),
    "by sign": lambda x: x * (1 + x.sign()) / 2,
    "in a function of autograd": Hidden.apply,
}


@pytest.mark.parametrize("rectifier", RECTIFIERS.values(), ids=RECTIFIERS)
def test_every_spelling_of_a_rectifier_is_seen(rectifier: Callable[[Tensor], Tensor]) -> None:
    plane = plane_of(6)
    expected = regions(Subject(Functional(functional.relu)), plane=plane)
    found = regions(Subject(Functional(rectifier)), plane=plane)
    assert found.count == expected.count > 20
    of_layers = [[(each.name, each.cutting) for each in seen.layers] for seen in (found, expected)]
    assert of_layers[0] == of_layers[1]
    np.testing.assert_allclose(np.sort(found.sizes), np.sort(expected.sizes), atol=1e-12)


@pytest.mark.parametrize("kind", [HoldsItsLength, HoldsItsMask])
def test_a_forward_pass_whose_batch_cannot_grow_is_run_anew(kind: type[Functional]) -> None:
    found = regions(Subject(kind(functional.relu)), plane=plane_of(6))
    # Both have the units of the plain network, and no others.
    assert found.count == regions(Subject(Functional(functional.relu)), plane=plane_of(6)).count
    assert found.cost.forward_passes > 2


def test_samples_need_not_come_first_inside() -> None:
    class TimeFirst(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.one, self.two, self.out = stack(3, 6, 5, 2)[::2]

        def forward(self, x: Tensor) -> Tensor:
            x = torch.relu(self.one(x.transpose(0, 1)))
            return self.out(torch.relu(self.two(x))).mean(0)

    model = TimeFirst()
    other = nn.Sequential(model.one, nn.ReLU(), model.two, nn.ReLU(), model.out)
    plane = noise(3, 7, 3).double().unbind()
    assert regions(Subject(model), plane=plane).count == regions(Subject(other), plane=plane).count > 20


def test_numbers_that_are_not_finite_are_an_error() -> None:
    for function in (lambda x: x / 0, lambda x: torch.relu(x) / 0):
        with pytest.raises(MeasurementError, match="not finite"):
            regions(Subject(Functional(function)), plane=plane_of(6))


def test_maxout_has_a_cell_for_every_winner() -> None:
    """Of one maximum of m affine functions; those that win somewhere are found on a grid fine enough for them all."""

    class Maxout(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.all = stack(2, 7, 1, seed=3)[0]

        def forward(self, x: Tensor) -> Tensor:
            return self.all(x).max(dim=1, keepdim=True).values

    model = Maxout()
    found = regions(Subject(model), plane=(torch.zeros(2), *torch.eye(2)), extent=4.0)
    grid = torch.cartesian_prod(*[torch.linspace(-4, 4, 300)] * 2)
    winners = model.all(grid).argmax(1)
    assert found.count == len(winners.unique()) >= 4
    shares = torch.bincount(winners, minlength=7)[winners.unique()] / len(grid)
    # Each cell's share is counted in grid points: off by those along its border, some 4 · 300 of 90,000.
    np.testing.assert_allclose(np.sort(found.sizes), np.sort(shares.numpy()), atol=0.014)


def one_layer(weight: Any, bias: Any) -> Subject:
    layer = nn.Linear(2, len(bias))
    layer.load_state_dict({"weight": torch.tensor(weight), "bias": torch.tensor(bias)})
    return Subject(nn.Sequential(layer, nn.ReLU(), stack(len(bias), 2)[0]))


SQUARE = (torch.zeros(2), *torch.eye(2))


@pytest.mark.parametrize(
    ("weight", "bias", "count"),
    [
        ([[0.0, 0.0], [0.0, 0.0]], [0.0, -1.0], 1),
        ([[1.0, 0.3], [2.0, 0.6], [-0.5, -0.15]], [0.1, 0.2, -0.05], 2),
        ([[1.0, 0.3], [1.0, 0.3]], [0.1, 0.1 + 1e-3], 3),
        # Along a diagonal, from corner to corner; and along an edge, where it cuts nothing.
        ([[1.0, -1.0], [1.0, 0.0]], [0.0, 1.0], 2),
        # Six lines through one point.
        ([[1.0, 0.1 * k] for k in range(6)], [0.0] * 6, 12),
        # Through corners that other lines have made.
        ([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0], [1.0, -1.0]], [0.0] * 4, 8),
    ],
    ids=["zero", "equal, turned and scaled", "parallel", "through corners", "through one point", "through crossings"],
)
def test_degenerate_positions(weight: Any, bias: Any, count: int) -> None:
    assert regions(one_layer(weight, bias), plane=SQUARE).count == count


def test_a_unit_of_rounding_alone_cuts_nothing() -> None:
    """x₁ + x₂ on the line where it is 0 is 0 but for rounding, for directions that do not have exact binary digits."""
    model = one_layer([[1.0, 1.0], [3.0, 1.0]], [0.0, 0.1])
    assert regions(model, line=([0.1, -0.1], [-0.7, 0.7])).count == 2


def test_slopes_and_distinct_maps_are_those_of_jacobians() -> None:
    model = stack(5, 8, 6, 4, seed=2)
    with torch.no_grad():
        # Two units that nothing reads: cells on their two sides have one map.
        model[2].weight[:, :2] = 0
    origin, u, v = plane_of(5)
    found = regions(Subject(model), plane=(origin, u, v))
    wide = copy.deepcopy(model).double()

    def along(st: Tensor) -> Tensor:
        return wide(origin + st[0] * u + st[1] * v)

    places = torch.from_numpy(middles(found))
    jacobians = torch.stack([torch.autograd.functional.jacobian(along, each) for each in places])
    # Rounding of 1e-15 in values over cells of 1e-3 and more, and some are thinner.
    np.testing.assert_allclose(found.slopes, jacobians.flatten(1).norm(dim=1).numpy(), rtol=1e-6)
    offsets = torch.stack([along(each) for each in places]) - torch.einsum("noi,ni->no", jacobians, places)
    maps = torch.cat([jacobians.flatten(1), offsets], dim=1)
    assert found.distinct_maps == len(maps.mul(1e6).round().unique(dim=0)) < found.count


def test_the_same_square_in_other_coordinates_has_the_same_cells() -> None:
    model, (origin, u, v) = Subject(stack(6, 12, 12, 2)), plane_of(6)
    expected = regions(model, plane=(origin, u, v), extent=1.5)
    for other, extent in (((origin, v, u), 1.5), ((origin, -u, v), 1.5), ((origin, 10 * u, 10 * v), 0.15)):
        found = regions(model, plane=other, extent=extent)
        assert found.count == expected.count
        # Cells of a size near rounding differ by it.
        np.testing.assert_allclose(np.sort(found.sizes), np.sort(expected.sizes), atol=1e-12)
    there, back = regions(model, line=(origin, v)), regions(model, line=(v, origin))
    np.testing.assert_allclose(there.cuts, np.sort(1 - back.cuts), atol=1e-12)
    np.testing.assert_allclose(there.outputs, back.outputs[::-1], atol=1e-12)


def test_scaling_and_permuting_hidden_units_changes_nothing() -> None:
    model, plane = stack(6, 12, 12, 2), plane_of(6)
    other = copy.deepcopy(model)
    scale, order = 2.0 ** torch.arange(-6, 6), torch.randperm(12, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        other[0].weight.copy_((scale[:, None] * model[0].weight)[order])
        other[0].bias.copy_((scale * model[0].bias)[order])
        other[2].weight.copy_((model[2].weight / scale)[:, order])
    one, two = (regions(Subject(each), plane=plane) for each in (model, other))
    assert one.count == two.count
    assert one.distinct_maps == two.distinct_maps
    np.testing.assert_allclose(np.sort(one.sizes), np.sort(two.sizes), atol=1e-12)


def test_a_line_says_where_it_is_cut_and_what_the_outputs_are_there() -> None:
    layer, out = nn.Linear(1, 2), nn.Linear(2, 1)
    layer.load_state_dict({"weight": torch.tensor([[1.0], [2.0]]), "bias": torch.tensor([-1.0, -6.0])})
    out.load_state_dict({"weight": torch.tensor([[1.0, -2.0]]), "bias": torch.tensor([0.5])})
    found = regions(Subject(nn.Sequential(layer, nn.ReLU(), out)), line=([0.0], [4.0]))
    np.testing.assert_allclose(found.cuts, [0.25, 0.75], rtol=1e-15)
    np.testing.assert_allclose(found.sizes, [0.25, 0.5, 0.25], rtol=1e-15)
    # max(x − 1, 0) − 2 max(2x − 6, 0) + ½ at 0, 1, 3, 4; by the line's coordinate its slopes are 0, 4 and −12.
    np.testing.assert_allclose(found.outputs[:, 0], [0.5, 0.5, 2.5, -0.5], rtol=1e-14)
    np.testing.assert_allclose(found.slopes, [0, 4, 12], atol=1e-12)
    assert found.table()["boundary_length"].isna().all()


def test_boundary_lengths_and_layers_by_hand() -> None:
    """A vertical line through the square, and a second layer that cuts the right half only, along y = 0."""
    first, second = nn.Linear(2, 2), nn.Linear(2, 1)
    first.load_state_dict({"weight": torch.tensor([[1.0, 0.0], [0.0, 1.0]]), "bias": torch.tensor([0.0, 5.0])})
    # h = (max(x, 0), y + 5): 10 h₁ − (h₂ − 5) is 0 on y = 10 max(x, 0).
    second.load_state_dict({"weight": torch.tensor([[10.0, -1.0]]), "bias": torch.tensor([5.0])})
    model = nn.Sequential(first, nn.ReLU(), second, nn.ReLU())
    found = regions(Subject(model), plane=SQUARE)
    table = found.table().set_index("name")
    assert table["added"].tolist() == [1, 2]
    assert table["cutting"].tolist() == [1, 1]
    # On the left along y = 0, on the right from the origin to (0.1, 1).
    np.testing.assert_allclose(table["boundary_length"], [2.0, 1 + 1.01**0.5], rtol=1e-12)
    assert found.count == 4


def test_layers_are_named_where_arguments_come_from() -> None:
    model, _ = ZOO["residual"]()
    table = regions(Subject(model), plane=noise(3, 1, 4, 4).unbind()).table()
    assert table["name"].tolist() == ["one", "norm"]
    model, _ = ZOO["pooled"]()
    table = regions(Subject(model), plane=noise(3, 1, 6, 6).unbind()).table()
    assert table["name"].tolist() == ["1", "3", "5", "6"]
    assert table["units"].tolist() == [3 * 36, 3 * 9, 3 * 9, 3 * 6]


def test_the_plane_of_the_data_goes_through_three_samples() -> None:
    x = noise(20, 5)
    subject = Subject(stack(5, 9, 2), data=[(x[:12], x[:12]), (x[12:], x[12:])])
    found = regions(subject, generator=torch.Generator().manual_seed(3))
    assert len(set(found.samples)) == 3
    assert np.linalg.norm(found.sample_coordinates, axis=1).max() == pytest.approx(1)
    # Distances in coordinates are those of the samples, as shares of one length.
    chosen = x[list(found.samples)].double()
    ratio = torch.pdist(chosen) / torch.pdist(torch.from_numpy(found.sample_coordinates))
    np.testing.assert_allclose(ratio, ratio[0].item(), rtol=1e-12)
    assert found.sample_coordinates.mean(axis=0) == pytest.approx([0, 0], abs=1e-12)
    # The same plane, given.
    far = float(ratio[0])
    (a, b), origin = torch.from_numpy(found.sample_coordinates[:2]), chosen.mean(0)
    directions = torch.linalg.solve(torch.stack([a, b]), chosen[:2] - origin)
    assert directions.norm(dim=1).numpy() == pytest.approx(far)
    assert regions(subject, plane=(origin, *directions)).count == found.count
    others = {regions(subject, generator=torch.Generator().manual_seed(seed)).samples for seed in range(5)}
    assert len(others) == 5


class Two(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner = stack(8, 9, 3)

    def forward(self, a: Tensor, b: Tensor) -> Any:
        return self.inner(torch.cat([a, b], dim=1)), {"of a": torch.relu(a)}


def test_inputs_and_outputs_of_several_tensors() -> None:
    plane = plane_of(8)
    both: Any = [(each[:3], each[3:]) for each in plane]
    named: Any = [{"a": each[:3].numpy(), "b": each[3:].numpy()} for each in plane]
    found = regions(Subject(Two()), plane=tuple(both))
    assert found.count > regions(Subject(stack(8, 9, 3)), plane=plane).count
    assert regions(Subject(Two()), plane=tuple(named)) == found


def test_what_does_not_move_is_held_and_said() -> None:
    class Embedded(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed, self.inner = nn.Embedding(4, 3), stack(3, 8, 2)

        def forward(self, tokens: Tensor, x: Tensor) -> Tensor:
            return self.inner(self.embed(tokens) + x)

    data = [((torch.arange(6) % 4, noise(6, 3)), torch.zeros(6))]
    found = regions(Subject(Embedded(), data))
    assert found.count > 1
    assert [each.name for each in found.left_out] == ["inputs"]


def test_counting_stops_and_says_at_least() -> None:
    model, plane = Subject(stack(8, 40, 40, 40, 2)), plane_of(8)
    whole = regions(model, plane=plane, extent=3.0)
    part = regions(model, plane=plane, extent=3.0, max_regions=500)
    assert part.count == 500 < whole.count
    assert whole.complete
    assert not part.complete
    assert part.distinct_maps is None
    assert "at least" in part.summary()
    assert [each.name for each in part.left_out] == ["regions"]
    assert part.sizes.sum() == pytest.approx(1)
    assert set(part.table()["status"]) == {"counting stopped: there may be more"}
    assert part.glance() == ()
    part.plot()
    of_line = regions(model, line=(plane[0], plane[1]), max_regions=9)
    assert not of_line.complete
    assert (np.diff(of_line.cuts) > 0).all()
    of_line.plot()
    assert regions(model, plane=plane, extent=3.0, max_regions=whole.count).complete


@pytest.mark.parametrize("name", ["pooled", "residual", "along time"])
def test_no_more_are_counted_than_were_asked_for(name: str) -> None:
    model, shape = ZOO[name]()
    plane = noise(3, *shape).unbind()
    whole = regions(Subject(model), plane=plane, extent=0.1).count
    for most in (1, 2, 3, 7, whole - 1, whole):
        found = regions(Subject(model), plane=plane, extent=0.1, max_regions=most)
        assert found.count <= most
        assert found.complete == (most == whole)


class Alternating(Functional):
    """Takes another way in every other forward pass."""

    turn = False

    def forward(self, x: Tensor) -> Tensor:
        self.turn = not self.turn
        return self.out(functional.relu(self.one(x)) if self.turn else functional.hardtanh(self.one(x))[:, :10])


def scripted() -> nn.Module:
    return torch.jit.script(stack(6, 8, 2))


class CentredBatch(Functional):
    def forward(self, x: Tensor) -> Tensor:
        x = self.one(x)
        return self.out(self.two(x - x.mean(0)))


SMOOTH: dict[str, tuple[Callable[[], nn.Module], str]] = {
    "tanh": (lambda: stack(6, 8, 2, activation=nn.Tanh), "tanh in 1"),
    "gelu behind relu": (lambda: nn.Sequential(*stack(6, 8, 8), nn.ReLU(), nn.GELU()), "gelu in 4"),
    "hardswish": (lambda: stack(6, 8, 2, activation=nn.Hardswish), "hardswish in 1"),
    "layer norm": (lambda: nn.Sequential(nn.Linear(6, 8), nn.LayerNorm(8)), "layer_norm in 1"),
    "softmax": (lambda: Functional(lambda x: x.softmax(1)), "softmax in one"),
    "square": (lambda: Functional(lambda x: x * x), "mul in one"),
    "two that cancel nearly everywhere": (lambda: Functional(lambda x: x + 1e-3 * x.sin()), "sin in one"),
    "noise": (lambda: Functional(lambda x: x + torch.rand_like(x)), "rand"),
}


@pytest.mark.parametrize(("make", "words"), SMOOTH.values(), ids=SMOOTH)
def test_what_is_smooth_is_refused_by_name(make: Callable[[], nn.Module], words: str) -> None:
    with pytest.raises(DoesNotApplyError, match=words):
        regions(Subject(make()), plane=plane_of(6))


HIDDEN: dict[str, Callable[[], nn.Module]] = {
    "sorted": lambda: Functional(lambda x: x.sort(1).values),
    "sign": lambda: Functional(torch.sign),
    "hardshrink": lambda: Functional(functional.hardshrink),
    "scripted": scripted,
    "mean of the batch": lambda: CentredBatch(functional.relu),
}


@pytest.mark.parametrize("make", HIDDEN.values(), ids=HIDDEN)
def test_what_is_not_affine_inside_its_cells_is_caught(make: Callable[[], nn.Module]) -> None:
    with pytest.raises(DoesNotApplyError):
        regions(Subject(make()), plane=plane_of(6))


def test_a_forward_pass_that_takes_different_ways_is_refused() -> None:
    alternating = Alternating(functional.relu)
    alternating.out = nn.Linear(10, 2)
    with pytest.raises(DoesNotApplyError, match="different ways"):
        regions(Subject(alternating), plane=plane_of(6))


def test_clear_errors() -> None:
    model = stack(6, 8, 2)
    subject, (origin, u, v) = Subject(model), plane_of(6)
    wrong: list[tuple[Any, type[Exception], str]] = [
        ({"line": (origin, u), "plane": (origin, u, v)}, UsageError, "a line or on a plane"),
        ({"line": (origin, origin)}, UsageError, "are the same"),
        ({"line": (origin, u[:4])}, UsageError, "one shape"),
        ({"line": (torch.arange(6), torch.ones(6))}, UsageError, "floating-point"),
        ({"line": (origin, u), "extent": 2.0}, UsageError, "extent"),
        ({"plane": (origin, u)}, UsageError, "takes 3"),
        ({"plane": (origin, u, -2 * u)}, UsageError, "span"),
        ({"plane": (origin, u, v * torch.nan)}, UsageError, "finite"),
        ({"plane": (origin, u, v), "extent": 0.0}, UsageError, "extent"),
        ({"plane": (origin, u, v), "max_regions": 0}, UsageError, "max_regions"),
        ({"plane": (origin[:5], u[:5], v[:5])}, MeasurementError, "cannot be run"),
        ({}, MeasurementError, "data"),
    ]
    for arguments, kind, words in wrong:
        with pytest.raises(kind, match=words):
            regions(subject, **arguments)


@pytest.mark.parametrize(
    "x",
    [noise(1, 6), noise(1, 6).expand(9, 6), noise(1, 6) * torch.arange(9.0)[:, None]],
    ids=["one", "equal", "on a line"],
)
def test_samples_that_span_no_plane(x: Tensor) -> None:
    with pytest.raises(MeasurementError, match="span a plane"):
        regions(Subject(stack(6, 8, 2), [(x, x)]))


def test_samples_of_other_lengths_are_passed_over() -> None:
    class Recurrent(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner, self.out = nn.RNN(3, 5, nonlinearity="relu", batch_first=True), nn.Linear(5, 2)

        def forward(self, x: Tensor) -> Tensor:
            return self.out(self.inner(x)[0][:, -1])

    class Averaged(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = stack(3, 7, 2)

        def forward(self, x: Tensor) -> Tensor:
            return self.inner(x).mean(1)

    data = [(noise(2, 4, 3), None), (noise(3, 6, 3, seed=1), None), (noise(2, 4, 3, seed=2), None)]
    assert regions(Subject(Averaged(), data)).samples <= (6, 6, 6)
    assert not {2, 3, 4} & set(regions(Subject(Averaged(), data)).samples)
    # torch's recurrent kernels are one call: what is inside cannot be seen.
    with pytest.raises(DoesNotApplyError):
        regions(Subject(Recurrent(), data))


def test_a_layer_that_does_not_switch_is_found_on_the_plane_of_the_data_only() -> None:
    model = stack(6, 20, 20, 2)
    with torch.no_grad():
        model[2].bias.fill_(100.0)
    x = noise(30, 6)
    found = regions(Subject(model, [(x, x)]))
    warnings = [each for each in found.findings() if each.severity == "warning"]
    assert [each.where for each in warnings] == ["2"]
    assert found.table().set_index("name").loc["2", "status"] != "ok"
    of_line = regions(Subject(model), line=(x[0], x[1]))
    assert [each.severity for each in of_line.findings()] == ["note"]
    assert [each.severity for each in regions(Subject(model, [(x, x)]), extent=0.01).findings()] == ["note"]


def test_a_trained_or_fresh_network_is_not_warned_about() -> None:
    """None of twenty fresh networks, with torch's own initialisation, on Gaussian data."""
    for seed in range(20):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            model = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 16), nn.ReLU(), nn.Linear(16, 3))
        x = noise(40, 8, seed=seed)
        found = regions(Subject(model, [(x, x)]), generator=torch.Generator().manual_seed(seed))
        assert {each.severity for each in found.findings()} == {"note"}


def test_a_deep_fresh_network_whose_signals_die_out_has_one_note_of_it() -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        hidden = [part for _ in range(24) for part in (nn.Linear(32, 32), nn.ReLU())]
        model = nn.Sequential(*hidden, nn.Linear(32, 3))
    x = noise(30, 32)
    found = regions(Subject(model, [(x, x)])).findings()
    assert {each.severity for each in found} == {"note"}
    assert sum("No unit of" in each.message for each in found) == 1
    # One of its layers shut is a fault all the same.
    with torch.no_grad():
        model[2].bias.fill_(-100.0)
    assert [each.where for each in regions(Subject(model, [(x, x)])).findings() if each.severity == "warning"] == ["2"]


def test_pictures_of_lines_planes_and_many_layers() -> None:
    from deepscope.figures import to_svg

    deep = stack(4, *[6] * 20, 20, seed=5)
    for found in (
        regions(Subject(deep), line=plane_of(4)[:2]),
        regions(Subject(deep), plane=plane_of(4), extent=3.0),
        regions(Subject(nn.Linear(4, 2)), plane=plane_of(4)),
        regions(Subject(nn.Linear(4, 2)), line=plane_of(4)[:2]),
    ):
        svg = to_svg(found.plot())
        assert len(svg) < 400_000
        assert "linear" in svg
