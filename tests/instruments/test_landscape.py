"""Landscapes: closed forms, a naive twin, invariance, and what must be refused."""

from __future__ import annotations

import copy
from pathlib import Path

import numpy as np
import pytest
import torch
from landscape_data import batches, classifier, mlp, moved, naive_loss, noise, seeded, with_values
from scipy import stats
from sklearn.decomposition import PCA
from torch import Tensor, nn
from torch.nn import functional

from deepscope import Subject
from deepscope.core import DoesNotApplyError, MeasurementError, UsageError, derive_seed
from deepscope.figures import to_svg
from deepscope.instruments import Landscape, _chunks, landscape
from deepscope.instruments._landscape_directions import random_direction
from deepscope.instruments._parameter_space import ParameterSpace

# A loss of a small network in float64: some hundred operations of relative error 1e-16 each.
EXACT = 1e-13


def drawn(
    subject: Subject, index: int, seed: int = 0, normalise: str = "filter", fixed: str = "fixed"
) -> dict[str, Tensor]:
    return random_direction(subject, ParameterSpace.of(subject), derive_seed(seed, index), normalise, fixed)


def regression(n: int = 20) -> tuple[Subject, Tensor, Tensor]:
    X, y = noise(n, 3, seed=1), noise(n, 1, seed=2)
    layer = seeded(lambda: nn.Linear(3, 1, bias=False))
    return Subject(layer, [(X[:13], y[:13]), (X[13:], y[13:])], functional.mse_loss), X, y


def test_a_plane_of_linear_regression_is_its_quadratic_form() -> None:
    subject, X, y = regression()
    w, d1, d2 = subject.model.weight.detach()[0], noise(3, seed=3), noise(3, seed=4)
    seen = landscape(subject, directions=[d1, {"weight": d2[None]}], points=5, radius=2.0)
    r, e1, e2 = X @ w - y[:, 0], X @ d1, X @ d2
    a, b = np.meshgrid(seen.coordinates, seen.coordinates, indexing="ij")
    q = [float(one @ other) / 20 for one, other in ((r, r), (r, e1), (r, e2), (e1, e1), (e1, e2), (e2, e2))]
    wanted = q[0] + 2 * a * q[1] + 2 * b * q[2] + a**2 * q[3] + 2 * a * b * q[4] + b**2 * q[5]
    np.testing.assert_allclose(seen.losses, wanted, rtol=EXACT)
    assert seen.coordinates.tolist() == [-2.0, -1.0, 0.0, 1.0, 2.0]
    np.testing.assert_allclose(seen.direction_norms, [float(d1.norm()), float(d2.norm())], rtol=EXACT)
    assert seen.direction_cosine == pytest.approx(float(d1 @ d2 / d1.norm() / d2.norm()), rel=EXACT)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_paraboloid_is_even(dtype: torch.dtype) -> None:
    subject, X, y = regression()
    with torch.no_grad():
        subject.model.weight.copy_(torch.linalg.lstsq(X, y).solution.T)
    seen = landscape(subject, dtype=dtype)
    # The residual at the minimum adds a constant; its rounding and that of the sum are relative to the loss.
    rounding = 50 * torch.finfo(dtype).eps
    np.testing.assert_allclose(seen.losses, seen.losses[::-1, ::-1], rtol=rounding)
    assert seen.lowest.difference == 0


def test_points_are_those_of_a_network_moved_by_hand_over_uneven_batches() -> None:
    subject = classifier()
    seen = landscape(subject, points=5, radius=0.8)
    d1, d2 = drawn(subject, 0), drawn(subject, 1)
    assert set(d1) == {"0.weight", "2.weight", "4.weight"}
    for i, a in enumerate(seen.coordinates):
        for j, b in enumerate(seen.coordinates):
            wanted = naive_loss(moved(subject, (a, d1), (b, d2)), subject)
            assert seen.losses[i, j] == pytest.approx(wanted, rel=EXACT)
    assert seen.centre_loss == seen.losses[2, 2] == pytest.approx(naive_loss(subject.model, subject), rel=EXACT)


def test_terms_that_are_ignored_do_not_count() -> None:
    def loss(outputs: Tensor, targets: Tensor) -> Tensor:
        return functional.cross_entropy(outputs, targets, ignore_index=-100)

    (x, _), (z, _) = batches()
    data = [(x, torch.tensor([0, -100, -100, 1, -100, 2, -100, -100, -100])), (z, torch.tensor([1, 2, 0, -100]))]
    subject = Subject(mlp(), data, loss, count=lambda targets: (targets != -100).sum())
    seen = landscape(subject, dimensions=1, points=3)
    for a, found in zip(seen.coordinates, seen.losses, strict=True):
        assert found == pytest.approx(naive_loss(moved(subject, (a, drawn(subject, 0))), subject), rel=EXACT)


def test_a_chunk_of_which_all_terms_are_ignored_has_no_weight(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_chunks, "_OF_VECTORS", 100)

    def loss(outputs: Tensor, targets: Tensor) -> Tensor:
        return functional.cross_entropy(outputs, targets, ignore_index=-100)

    whole = (noise(250, 6), torch.arange(250) % 3)
    whole[1][100:200] = -100
    subject = Subject(mlp(), [whole], loss, count=lambda targets: (targets != -100).sum())
    assert landscape(subject, points=3).centre_loss == pytest.approx(naive_loss(subject.model, subject), rel=EXACT)


@pytest.mark.parametrize(
    "layer",
    [
        nn.Linear(5, 4), nn.Conv2d(3, 4, 2), nn.Conv1d(4, 6, 3, groups=2), nn.Embedding(7, 3),
        nn.ConvTranspose2d(4, 3, 2), nn.ConvTranspose2d(4, 6, 2, groups=2),
    ],
    ids=lambda layer: f"{type(layer).__name__} {getattr(layer, 'groups', 1)}",
)  # fmt: skip
def test_every_filter_of_a_direction_is_as_long_as_the_networks_own(layer: nn.Module) -> None:
    layer = layer.double()
    direction = drawn(Subject(layer), 0)["weight"]
    weight = layer.weight.detach()

    def filters(tensor: Tensor) -> list[Tensor]:
        if not isinstance(layer, nn.ConvTranspose2d):
            return list(tensor)
        inputs = tensor.shape[0] // layer.groups
        return [
            tensor[group * inputs : (group + 1) * inputs, unit]
            for group in range(layer.groups)
            for unit in range(tensor.shape[1])
        ]

    for one, other in zip(filters(direction), filters(weight), strict=True):
        assert float(one.norm()) == pytest.approx(float(other.norm()), rel=EXACT)
    assert abs(float(functional.cosine_similarity(direction.flatten(), weight.flatten(), dim=0))) < 0.9


def test_what_biases_and_norms_do() -> None:
    layer = seeded(lambda: nn.Sequential(nn.Linear(3, 3), nn.LayerNorm(3)))
    with torch.no_grad():
        layer[1].bias.copy_(noise(3))
    subject = Subject(layer)
    assert set(drawn(subject, 0)) == {"0.weight"}
    free = drawn(subject, 0, fixed="normalised")
    assert set(free) == {"0.weight", "0.bias", "1.weight", "1.bias"}
    for name, tensor in layer.named_parameters():
        assert float(free[name].norm()) == pytest.approx(float(tensor.detach().norm()), rel=EXACT)
    by_layer = drawn(subject, 0, normalise="layer")["0.weight"]
    assert float(by_layer.norm()) == pytest.approx(float(layer[0].weight.detach().norm()), rel=EXACT)
    assert not torch.allclose(by_layer.norm(dim=1), layer[0].weight.detach().norm(dim=1))


def rescaled(model: nn.Module, factor: float) -> nn.Module:
    """Return the same function: the first layer times a factor, the next divided by it."""
    other = copy.deepcopy(model)
    with torch.no_grad():
        other[0].weight.mul_(factor)
        other[0].bias.mul_(factor)
        other[2].weight.div_(factor)
    return other


def test_scaling_layers_against_each_other_leaves_the_picture() -> None:
    subject = classifier()
    same = Subject(rescaled(subject.model, 5.0), subject.data, subject.loss)
    one, other = (landscape(each, points=7) for each in (subject, same))
    # Multiplied by 5 and divided by it: one more rounding per weight.
    np.testing.assert_allclose(one.losses, other.losses, rtol=1e-12)
    one, other = (landscape(each, points=7, normalise="none", radius=0.1) for each in (subject, same))
    assert np.abs(one.losses - other.losses).max() > 0.1 * np.ptp(one.losses)


def test_a_part_is_moved_as_in_the_whole() -> None:
    subject = classifier()
    part = landscape(subject.only("2"), points=3, dimensions=1)
    alone = {"2.weight": drawn(subject, 0)["2.weight"]}
    wanted = [naive_loss(moved(subject, (a, alone)), subject) for a in part.coordinates]
    np.testing.assert_allclose(part.losses, wanted, rtol=EXACT)
    (row,) = landscape(subject, points=3).layers[1:2]
    # What the whole says of one layer is what that layer does alone.
    assert row.name == "2"
    assert row.rise == pytest.approx((wanted[0] + wanted[2]) / 2 - wanted[1], rel=1e-10)
    assert (row.filters, row.tensors) == (8, 1)
    assert row.relative_step == pytest.approx(1.0, rel=EXACT)


def test_three_networks_stand_exactly_where_they_are() -> None:
    subject, second, third = classifier(0), mlp(1), mlp(2)
    seen = landscape(subject, networks={"b": second, "c": third.state_dict()}, points=9)
    flat = [torch.cat([p.detach().flatten() for p in each.parameters()]) for each in (subject.model, second, third)]
    first, other = flat[1] - flat[0], flat[2] - flat[0]
    along = float(other @ first / (first @ first))
    assert [mark.name for mark in seen.marks] == ["b", "c"]
    np.testing.assert_allclose([mark.coordinates for mark in seen.marks], [[1, 0], [along, 1]], rtol=EXACT, atol=EXACT)
    zero, one = (int(np.flatnonzero(seen.coordinates == place)[0]) for place in (0.0, 1.0))
    losses = [naive_loss(each, subject) for each in (subject.model, second, third)]
    np.testing.assert_allclose([seen.losses[zero, zero], seen.losses[one, zero]], losses[:2], rtol=EXACT)
    np.testing.assert_allclose([mark.loss for mark in seen.marks], losses[1:], rtol=EXACT)
    np.testing.assert_allclose(
        seen.direction_norms, [float(first.norm()), float((other - along * first).norm())], rtol=EXACT
    )
    assert seen.direction_cosine == pytest.approx(0, abs=1e-12)
    assert all(row.rise is None and row.status for row in seen.layers)


@pytest.mark.parametrize("points", [3, 5, 11, 21, 99])
def test_a_line_to_another_network_holds_both_ends(points: int) -> None:
    seen = landscape(classifier(0), networks=[mlp(1)], points=points)
    assert len(seen.coordinates) == len(seen.losses) == points
    assert {0.0, 1.0} <= set(seen.coordinates.tolist())
    assert seen.coordinates[0] < 0 or points == 3
    assert seen.coordinates[-1] >= 1


def test_a_path_is_drawn_along_its_principal_components() -> None:
    subject = classifier()
    path = [mlp(seed) for seed in (3, 4, 5)]
    seen = landscape(subject, path=path, points=9)
    flat = np.array(
        [torch.cat([p.detach().flatten() for p in each.parameters()]).numpy() for each in (*path, subject.model)]
    )
    pca = PCA(2).fit(flat)
    np.testing.assert_allclose(seen.explained, pca.explained_variance_ratio_, rtol=1e-10)
    places = (flat - flat[-1]) @ pca.components_.T
    found = np.array([mark.coordinates for mark in seen.marks]) * seen.direction_norms
    np.testing.assert_allclose(np.abs(found), np.abs(places[:3]), rtol=1e-9, atol=1e-10)
    # The largest along each axis stands at 1.
    np.testing.assert_allclose(np.abs([mark.coordinates for mark in seen.marks]).max(axis=0), [1, 1], rtol=EXACT)
    off = [
        np.linalg.norm(step - place @ pca.components_) for step, place in zip(flat[:3] - flat[3], places, strict=False)
    ]
    np.testing.assert_allclose([mark.distance for mark in seen.marks], off, rtol=1e-9)
    assert any("training path" in finding.message for finding in seen.findings())


def test_a_path_in_a_plane_is_all_in_the_picture() -> None:
    subject = classifier()
    d1, d2 = drawn(subject, 0), drawn(subject, 1)
    path = [moved(subject, (a, d1), (b, d2)) for a, b in ((2.0, 0.5), (1.0, 1.0), (0.2, 0.4))]
    seen = landscape(subject, path=path, points=5)
    assert sum(seen.explained) == pytest.approx(1, rel=1e-10)
    assert max(mark.distance for mark in seen.marks) < 1e-6


def test_dropout_in_training_mode_is_only_used_when_asked_for_and_then_seeded() -> None:
    model = seeded(lambda: nn.Sequential(nn.Linear(6, 30), nn.Dropout(0.5), nn.Linear(30, 3)))
    subject = Subject(model, batches(), functional.cross_entropy)
    model.eval()
    quiet = landscape(subject, points=3)
    model.train()
    assert landscape(subject, points=3) == quiet
    noisy = landscape(subject, points=3, training=True)
    assert noisy.losses[1, 1] != quiet.losses[1, 1]
    assert landscape(subject, points=3, training=True) == noisy
    # One mask for all points: without moving, all points have the same loss.
    still = landscape(
        subject, directions=[{"0.bias": torch.full((30,), 1e-300, dtype=torch.float64)}], points=5, training=True
    )
    assert np.ptp(still.losses) == 0


class Noisy(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner = mlp()

    def forward(self, x: Tensor) -> Tensor:
        return self.inner(x) + torch.randn(len(x), 3)


def test_randomness_in_evaluation_mode_is_seen_and_told() -> None:
    subject = Subject(Noisy(), batches(), functional.cross_entropy)
    seen = landscape(subject, points=5)
    assert "random in evaluation mode" in dict(seen.left_out)["randomness"]
    assert landscape(subject, points=5) == seen
    assert "randomness" not in dict(landscape(classifier(), points=3).left_out)


class Root(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor([[1.0]], dtype=torch.float64))

    def forward(self, x: Tensor) -> Tensor:
        return x * (0.3 + self.weight).sqrt()[0]


def test_points_without_a_finite_loss_are_masked_and_told(tmp_path: Path) -> None:
    data = [(noise(8, 1), noise(8, 1, seed=1))]
    subject = Subject(Root(), data, functional.mse_loss)
    seen = landscape(subject, directions=[{"weight": [[1.0]]}], points=5, radius=2.0)
    # Coordinates −2 and −1 give roots of −0.7 and 0.3: one is not a number.
    assert np.isnan(seen.losses).tolist() == [True, False, False, False, False]
    assert seen.status == "1 of 5 points have no finite loss"
    assert seen.summary().endswith("1 of 5 points have no finite loss.")
    assert any("not finite" in finding.message for finding in seen.findings())
    seen.save(tmp_path)
    assert Landscape.load(tmp_path) == seen
    assert to_svg(seen.plot()).startswith("<svg")
    plane = landscape(subject, directions=[{"weight": [[1.0]]}] * 2, points=5, radius=1.0)
    assert 0 < np.isnan(plane.losses).sum() < 25
    assert to_svg(plane.plot()).startswith("<svg")
    subject.model.weight.data.fill_(-1.0)
    with pytest.raises(MeasurementError, match="the loss is nan"):
        landscape(subject)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_measured_in_single(dtype: torch.dtype) -> None:
    half = mlp(dtype=dtype)
    subject = Subject(half, batches(dtype), functional.cross_entropy)
    same = Subject(copy.deepcopy(half).float(), batches(dtype), functional.cross_entropy)
    same.data = [(x.float(), y) for x, y in same.data]
    assert landscape(subject, points=5) == landscape(same, points=5)
    assert half[0].weight.dtype == dtype


def test_float64_on_request() -> None:
    single = classifier(dtype=torch.float32)
    double = Subject(copy.deepcopy(single.model).double(), [(x.double(), y) for x, y in single.data], single.loss)
    np.testing.assert_array_equal(
        landscape(single, points=3, dtype=torch.float64).losses, landscape(double, points=3).losses
    )


def test_frozen_parameters_stay_and_are_told() -> None:
    subject = classifier()
    subject.model[0].requires_grad_(False)
    seen = landscape(subject, points=3, dimensions=1)
    assert "frozen" in dict(seen.left_out)["0.weight"]
    assert list(seen.table()["name"]) == ["2", "4"]
    rest = {name: step for name, step in drawn(subject, 0).items() if not name.startswith("0.")}
    assert seen.losses[0] == pytest.approx(naive_loss(moved(subject, (-1.0, rest)), subject), rel=EXACT)
    subject.model.requires_grad_(False)
    with pytest.raises(MeasurementError, match="no trainable parameters"):
        landscape(subject)


def test_a_sum_over_samples_is_refused() -> None:
    def total(outputs: Tensor, targets: Tensor) -> Tensor:
        return functional.cross_entropy(outputs, targets, reduction="sum")

    with pytest.raises(MeasurementError, match="a sum over the samples"):
        landscape(Subject(mlp(), batches(), total))
    # With one term per batch it is a mean over batches.
    subject = Subject(mlp(), batches(), total, count=lambda targets: 1)
    assert landscape(subject, points=3).centre_loss == pytest.approx(naive_loss(subject.model, subject), rel=EXACT)


def test_a_network_that_takes_batches_of_one_length_is_run_on_whole_batches() -> None:
    class Fixed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(3, 2)

        def forward(self, x: Tensor) -> Tensor:
            return self.layer(x.view(6, 3))

    torch.manual_seed(0)
    model, data = Fixed(), [(torch.randn(6, 3), torch.arange(6) % 2) for _ in range(2)]
    seen = landscape(Subject(model, data, functional.cross_entropy), points=3, max_samples=9)
    assert seen.n_samples == 12
    mean = sum(functional.cross_entropy(model(x), y).item() for x, y in data) / 2
    # float32, a dozen terms.
    assert seen.centre_loss == pytest.approx(mean, rel=1e-6)


def test_a_mean_over_outputs_too_is_a_mean() -> None:
    data = [(noise(9, 6), noise(9, 3, seed=1)), (noise(4, 6, seed=2), noise(4, 3, seed=3))]
    subject = Subject(mlp(), data, functional.mse_loss)
    assert landscape(subject, points=3).centre_loss == pytest.approx(naive_loss(subject.model, subject), rel=EXACT)


def normed(seed: int) -> nn.Module:
    model = seeded(lambda: nn.Sequential(nn.Linear(6, 5), nn.BatchNorm1d(5), nn.ReLU(), nn.Linear(5, 3)), seed)
    with torch.no_grad():
        model.train()(noise(30, 6, seed=9 + seed))
    return model.eval()


def test_running_statistics_go_from_network_to_network_with_the_weights() -> None:
    subject, other = Subject(normed(0), batches(), functional.cross_entropy), normed(1)
    seen = landscape(subject, networks=[other], points=5)
    assert seen.batch_norm == "running"
    one = int(np.flatnonzero(seen.coordinates == 1)[0])
    wanted = naive_loss(other, subject)
    assert seen.losses[one] == pytest.approx(wanted, rel=EXACT)
    assert seen.marks[0].loss == pytest.approx(wanted, rel=EXACT)


def test_statistics_estimated_anew_are_those_of_the_data() -> None:
    subject = Subject(normed(0), batches(), functional.cross_entropy)
    seen = landscape(subject, points=3, dimensions=1, batch_norm="recompute")
    for a, found in zip(seen.coordinates, seen.losses, strict=True):
        model = moved(subject, (a, drawn(subject, 0)))
        with torch.no_grad():
            hidden = [model[0](x) for x, _ in subject.data]
        sizes = torch.tensor([len(each) for each in hidden], dtype=torch.float64)
        # Each batch's statistics weighted by its samples, as Garipov et al. do.
        model[1].running_mean.copy_(sum(n * each.mean(0) for n, each in zip(sizes, hidden, strict=True)) / sizes.sum())
        model[1].running_var.copy_(sum(n * each.var(0) for n, each in zip(sizes, hidden, strict=True)) / sizes.sum())
        assert found == pytest.approx(naive_loss(model, subject), rel=1e-12)
    assert seen != landscape(subject, points=3, dimensions=1)


def test_a_network_beside_its_minimum_is_told_from_one_in_it() -> None:
    subject, X, y = regression(200)
    best = torch.linalg.lstsq(X, y).solution.T
    with torch.no_grad():
        subject.model.weight.copy_(best)
    assert all(finding.severity == "note" for finding in landscape(subject, points=11).findings())
    with torch.no_grad():
        subject.model.weight.copy_(best + 3)
    seen = landscape(subject, directions=[torch.full((3,), 3.0)], points=11)
    (found,) = [finding for finding in seen.findings() if finding.severity != "note"]
    assert "does not stand in a minimum" in found.message
    assert "corrected for 11 points" in found.evidence
    assert seen.lowest.coordinates == (-1.0,)
    # The paired interval of the samples' own losses, by hand.
    apart = ((X @ best.T - y) ** 2 - (X @ (best + 3).T - y) ** 2)[:, 0].numpy()
    half = stats.t.ppf(1 - 0.025 / 11, 199) * apart.std(ddof=1) / np.sqrt(200)
    np.testing.assert_allclose(
        [seen.lowest.difference, seen.lowest.low, seen.lowest.high],
        [apart.mean(), apart.mean() - half, apart.mean() + half],
        rtol=1e-10,
    )


def test_a_fragile_layer_is_named() -> None:
    subject = classifier()
    with torch.no_grad():
        # What the second layer makes hangs on its bias; the last one is sure of its answers.
        subject.model[2].weight.mul_(1e-3)
        subject.model[4].weight.mul_(30)
        subject.data = [(x, subject.model(x).argmax(1)) for x, _ in subject.data]
    found = [finding for finding in landscape(subject, points=3).findings() if finding.where]
    assert [finding.where for finding in found] == ["4"]


def test_the_profile_and_where_the_loss_doubles() -> None:
    X = torch.ones(4, 1, dtype=torch.float64)
    layer = nn.Linear(1, 1, bias=False, dtype=torch.float64)
    with torch.no_grad():
        layer.weight.zero_()
    seen = landscape(
        Subject(layer, [(X, X)], functional.mse_loss), directions=[{"weight": [[1.0]]}], points=5, radius=2
    )
    # (a − 1)² at a = ±2, ±1, 0.
    assert seen.profile().tolist() == [1.0, 2.0, 5.0]
    assert seen.doubling() == 1.0
    flat = landscape(classifier(), points=3, radius=1e-3)
    assert flat.doubling() is None
    assert any("stays below twice" in finding.message for finding in flat.findings())


@pytest.mark.parametrize(("offset", "radius", "words"), [(0.01, 1.0, "before"), (1.0, 2.0, "when")])
def test_where_the_loss_doubles_is_not_told_more_finely_than_the_grid_does(
    offset: float, radius: float, words: str
) -> None:
    X = torch.ones(4, 1, dtype=torch.float64)
    layer = nn.Linear(1, 1, bias=False, dtype=torch.float64)
    with torch.no_grad():
        layer.weight.fill_(1.0)
    # a² + offset at coordinate a: it doubles at √offset, a tenth of the radius, or half of it.
    subject = Subject(layer, [(X, X)], lambda out, y: functional.mse_loss(out, y) + offset)
    seen = landscape(subject, points=9, radius=radius, dimensions=1)
    (message,) = (each.message for each in seen.findings() if "doubles" in each.message)
    assert f"doubles {words} every filter" in message
    assert f"{radius / 4 if words == 'before' else 1.0:.0%} of its norm" in message


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"points": 4}, "4 grid points"),
        ({"points": 1}, "1 grid points"),
        ({"radius": 0.0}, "a radius of 0"),
        ({"dimensions": 3}, "3 dimensions"),
        ({"directions": [torch.ones(4)]}, "does not fit"),
        ({"directions": []}, "0 directions"),
        ({"directions": [{"9.weight": torch.ones(3)}]}, "names what is no trainable parameter"),
        ({"directions": [{"0.bias": torch.ones(3)}]}, "does not fit"),
        ({"directions": [{"0.bias": torch.zeros(10)}]}, "a direction is zero"),
        ({"directions": [{"0.bias": torch.full((10,), torch.nan)}]}, "not finite"),
        ({"networks": [nn.Linear(6, 3)]}, "lacks a tensor"),
        ({"networks": [mlp()]}, "two networks are the same"),
        ({"networks": [3.0]}, "cannot be a float"),
        ({"path": [mlp(1)]}, "make no path"),
        ({"path": [mlp(1), mlp(2)], "networks": [mlp(1)]}, "two ways"),
    ],
)
def test_bad_calls_are_explained(asked: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        landscape(classifier(), **asked)


def test_networks_on_a_line_make_no_plane() -> None:
    subject = classifier()
    step = drawn(subject, 0)
    with pytest.raises(UsageError, match="lie on a line"):
        landscape(subject, networks=[moved(subject, (1.0, step)), moved(subject, (2.5, step))])
    with pytest.raises(UsageError, match="too few dimensions"):
        landscape(subject, path=[moved(subject, (1.0, step)), moved(subject, (2.5, step))])
    wide = {**mlp(1).state_dict(), "0.bias": torch.zeros(7)}
    with pytest.raises(UsageError, match=r"shape \[7\] does not fit \[10\]"):
        landscape(subject, networks=[wide])


def test_nothing_to_move_is_an_error() -> None:
    with pytest.raises(DoesNotApplyError, match="nothing moves"):
        landscape(classifier().only("*.bias"))


def test_a_checkpoint_file_is_a_network(tmp_path: Path) -> None:
    other = mlp(1)
    torch.save(other.state_dict(), tmp_path / "other.pt")
    subject = classifier()
    assert landscape(subject, networks=[tmp_path / "other.pt"], points=3).losses.tolist() == (
        landscape(subject, networks=[other], points=3).losses.tolist()
    )
    assert with_values(subject.model, other.state_dict()) is not other
