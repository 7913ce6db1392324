"""Paths between networks: barriers in closed form, aligned networks, curves around a barrier."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from landscape_data import batches, classifier, mlp, naive_loss, noise, seeded, with_values
from torch import Tensor, nn
from torch.nn import functional

from deepscope import Subject
from deepscope.core import MeasurementError, UsageError
from deepscope.data import load
from deepscope.figures import to_svg
from deepscope.instruments import Curve, ModeConnectivity, find_curve, match_weights, mode_connectivity
from deepscope.instruments._permutation_spec import permutation_spec
from deepscope.instruments._weight_matching import permuted

# A float64 loss of a small network, added up in another order.
EXACT = 1e-12


def wells(outputs: Tensor, targets: Tensor) -> Tensor:
    """(w − 1)² (w + 1)², half as high for the one kind of sample: minima at ±1, a barrier at 0."""
    return ((outputs**2 - 1) ** 2 * targets).mean()


def well(n: int = 40) -> Subject:
    model = nn.Linear(1, 1, bias=False, dtype=torch.float64)
    with torch.no_grad():
        model.weight.fill_(-1.0)
    heights = 1 + 0.5 * (torch.arange(n, dtype=torch.float64) % 2)
    return Subject(model, [(torch.ones(n, 1, dtype=torch.float64), heights[:, None])], wells)


def test_a_planted_barrier_has_its_height_and_interval() -> None:
    seen = mode_connectivity(well(), {"weight": torch.ones(1, 1)}, points=21)
    np.testing.assert_allclose(seen.losses, 1.25 * ((2 * seen.t - 1) ** 2 - 1) ** 2, rtol=EXACT, atol=1e-15)
    found = seen.barrier
    assert (found.height, found.above_chord, found.at) == (pytest.approx(1.25), pytest.approx(1.25), 0.5)
    # Heights 1 and 1.5 in equal parts: a standard error of 0.25/√40, and a normal interval to 10 %.
    half = 1.96 * 0.25 / np.sqrt(40)
    assert found.high - 1.25 == pytest.approx(half, rel=0.1)
    assert 1.25 - found.low == pytest.approx(half, rel=0.1)
    assert seen.distance == seen.length == pytest.approx(2)
    (finding,) = seen.findings()
    assert "parted by a barrier on the straight line" in finding.message
    assert seen.of_samples


def test_two_identical_networks_are_joined_by_a_flat_line() -> None:
    subject = classifier()
    seen = mode_connectivity(subject, mlp(0))
    assert np.ptp(seen.losses) <= EXACT * seen.losses[0]
    assert abs(seen.barrier.height) <= EXACT
    assert seen.distance == 0
    assert "connected" in seen.findings()[0].message


def test_points_of_a_line_are_networks_mixed_by_hand() -> None:
    subject, other = classifier(0), mlp(1)
    seen = mode_connectivity(subject, other, points=5)
    one, two = subject.model.state_dict(), other.state_dict()
    for t, found in zip(seen.t, seen.losses, strict=True):
        mixed = with_values(subject.model, {name: (1 - t) * one[name] + t * two[name] for name in one})
        assert found == pytest.approx(naive_loss(mixed, subject), rel=EXACT)
    table = seen.table()
    assert list(table["name"]) == ["0", "2", "4"]
    apart = torch.cat([(one["0.weight"] - two["0.weight"]).flatten(), one["0.bias"] - two["0.bias"]])
    assert table["distance"][0] == pytest.approx(float(apart.norm()), rel=EXACT)
    assert (table["distance"] ** 2).sum() == pytest.approx(seen.distance**2, rel=EXACT)


def test_a_network_and_its_own_permutation_have_no_barrier_once_aligned() -> None:
    subject = classifier()
    with torch.no_grad():
        # Sure of its own answers, which a mixture of units is not.
        subject.model[4].weight.mul_(20)
        subject.data = [(x, subject.model(x).argmax(1)) for x, _ in subject.data]
    groups = permutation_spec(subject.model, "it")
    shuffles = [np.random.default_rng(0).permutation(group.size) for group in groups]
    shuffled = permuted(groups, dict(subject.model.state_dict()), shuffles)
    plain = mode_connectivity(subject, shuffled)
    aligned = mode_connectivity(subject, shuffled, align=True)
    assert plain.losses[-1] == pytest.approx(plain.losses[0], rel=EXACT)
    assert plain.barrier.height > 1e-3
    assert aligned.barrier.height == 0
    assert aligned.distance == 0
    moved = [float(np.mean(shuffle != np.arange(len(shuffle)))) for shuffle in shuffles]
    assert aligned.table()["moved_units"][:2].tolist() == moved


def trained(seed: int) -> nn.Module:
    digits = load("digits")
    model = seeded(
        lambda: nn.Sequential(nn.Flatten(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10)), seed, torch.float32
    )
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    for epoch in range(8):
        for inputs, targets in digits.train.epochs(64, seed=seed)(epoch):
            optimizer.zero_grad()
            functional.cross_entropy(model(inputs), targets).backward()
            optimizer.step()
    return model.eval()


def test_networks_trained_apart_are_nearer_once_aligned_and_joined_by_a_curve() -> None:
    one, other = trained(0), trained(1)
    subject = Subject(one, load("digits").train.batches(256), functional.cross_entropy)
    straight = mode_connectivity(subject, other, max_samples=512)
    aligned = mode_connectivity(subject, other, max_samples=512, align=True)
    curve = find_curve(subject, other, steps=150, lr=1e-2)
    curved = mode_connectivity(subject, other, max_samples=512, curve=curve)
    # Published and usual: a high barrier between independent networks, a fraction of it once aligned, none on a curve.
    assert straight.barrier.low > 0.1
    assert aligned.barrier.high < straight.barrier.low
    assert aligned.distance < straight.distance
    assert curved.barrier.high < straight.barrier.low / 5
    assert curved.straight_barrier.height == pytest.approx(straight.barrier.height, rel=1e-4)
    assert curved.length > curved.distance
    assert "Align the units" in straight.findings()[0].action
    assert np.isfinite(curve.losses).all()
    assert curve.losses[-20:].mean() < curve.losses[:20].mean()


@pytest.mark.parametrize("kind", ["bezier", "chain"])
@pytest.mark.parametrize("bends", [1, 2, 3])
def test_a_curve_leads_from_end_to_end_and_has_its_weights(kind: str, bends: int) -> None:
    subject, other = classifier(0), mlp(1)
    curve = find_curve(subject, other, kind=kind, bends=bends, steps=3)
    assert len(curve.points) == bends + 2
    for t in np.linspace(0, 1, 7):
        weights = curve.weights(float(t))
        assert weights.sum() == pytest.approx(1, rel=EXACT)
        assert (weights >= 0).all()
        # The mean index is linear in t: both parametrisations reproduce a straight line.
        assert weights @ np.arange(bends + 2) == pytest.approx(t * (bends + 1), abs=EXACT)
    for t, network in ((0.0, subject.model), (1.0, other)):
        assert all(torch.equal(curve.at(t)[name], tensor) for name, tensor in network.named_parameters())
    seen = mode_connectivity(subject, other, curve=curve, points=3)
    middle = naive_loss(with_values(subject.model, curve.at(0.5)), subject)
    assert seen.losses[1] == pytest.approx(middle, rel=EXACT)


def test_a_curve_goes_around_a_planted_hill() -> None:
    def ring(outputs: Tensor, _: Tensor) -> Tensor:
        return ((outputs**2).sum(dim=1) - 1).square().mean()

    model = nn.Linear(1, 2, bias=False, dtype=torch.float64)
    with torch.no_grad():
        model.weight.copy_(torch.tensor([[1.0], [0.0]]))
    subject = Subject(model, [(torch.ones(4, 1, dtype=torch.float64), torch.zeros(4))], ring)
    other = {"weight": torch.tensor([[-1.0], [0.02]])}
    assert mode_connectivity(subject, other).barrier.height == pytest.approx(1, rel=1e-3)
    curve = find_curve(subject, other, steps=500, lr=0.02)
    # A parabola cannot follow a circle: the best one keeps within 0.13 of it in squared radius.
    assert mode_connectivity(subject, other, curve=curve).barrier.height < 0.1
    repeated = find_curve(subject, other, steps=500, lr=0.02)
    assert torch.equal(repeated.at(0.4)["weight"], curve.at(0.4)["weight"])


def test_a_curve_through_batch_norm_leaves_the_network_as_it_was() -> None:
    def normed(seed: int) -> nn.Module:
        return seeded(
            lambda: nn.Sequential(nn.Linear(6, 5), nn.BatchNorm1d(5), nn.ReLU(), nn.Linear(5, 3)), seed
        ).eval()

    subject, other = Subject(normed(0), batches(), functional.cross_entropy), normed(1)
    before = {name: tensor.clone() for name, tensor in subject.model.state_dict().items()}
    curve = find_curve(subject, other, steps=30)
    seen = mode_connectivity(subject, other, curve=curve, points=5)
    assert seen.batch_norm == "recompute"
    assert all(torch.equal(tensor, before[name]) for name, tensor in subject.model.state_dict().items())
    assert not any(parameter.grad is not None for parameter in subject.model.parameters())
    running = mode_connectivity(subject, other, batch_norm="running", points=5)
    assert running.losses[0] == pytest.approx(naive_loss(subject.model, subject), rel=EXACT)
    assert running.losses[-1] == pytest.approx(naive_loss(other, subject), rel=EXACT)
    curve.points[0]["0.weight"].zero_()
    assert subject.model[0].weight.any()


def test_a_path_without_a_finite_loss_says_so(tmp_path: Path) -> None:
    class Root(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.tensor([[1.0]]))

        def forward(self, x: Tensor) -> Tensor:
            return x * self.weight.sqrt()[0]

    subject = Subject(Root(), [(torch.ones(4, 1), torch.zeros(4, 1))], functional.mse_loss)
    seen = mode_connectivity(subject, {"weight": torch.tensor([[-1.0]])}, points=5)
    assert seen.barrier.height is None
    assert seen.barrier.status == "the loss is not finite at t = 0.75"
    assert seen.findings()[0].severity == "warning"
    seen.save(tmp_path)
    assert ModeConnectivity.load(tmp_path) == seen
    assert to_svg(seen.plot()).startswith("<svg")
    with pytest.raises(MeasurementError, match="nan on the way"):
        find_curve(subject, {"weight": torch.tensor([[-9.0]])}, steps=50)


def test_a_reading_survives_the_disk_and_shows_itself(tmp_path: Path) -> None:
    subject, other = classifier(0), mlp(1)
    seen = mode_connectivity(subject, other, curve=find_curve(subject, other, steps=2), align=False)
    seen.save(tmp_path)
    assert ModeConnectivity.load(tmp_path) == seen
    assert "on a Bézier curve" in str(seen)
    assert to_svg(seen.plot()).startswith("<svg")


def test_one_unit_of_data_has_no_interval() -> None:
    def coupled(outputs: Tensor, _: Tensor) -> Tensor:
        return torch.logsumexp(outputs @ outputs.T, dim=1).mean()

    seen = mode_connectivity(Subject(mlp(), [(noise(9, 6), torch.arange(9))], coupled), mlp(1))
    assert (seen.of_samples, seen.barrier.low) == (False, None)
    assert "one unit of data" in seen.barrier.status
    assert to_svg(seen.plot()).startswith("<svg")


def test_bad_calls_are_explained() -> None:
    subject = classifier(0)
    curve = find_curve(subject, mlp(1), steps=1)
    with pytest.raises(UsageError, match="the curve's end is another network"):
        mode_connectivity(subject, mlp(2), curve=curve)
    with pytest.raises(UsageError, match="the curve's start is another network"):
        mode_connectivity(classifier(3), mlp(1), curve=curve)
    with pytest.raises(UsageError, match="2 points"):
        mode_connectivity(subject, mlp(1), points=2)
    with pytest.raises(UsageError, match="0 bends"):
        find_curve(subject, mlp(1), bends=0)
    with pytest.raises(UsageError, match="unknown kind"):
        find_curve(subject, mlp(1), kind="spline")
    with pytest.raises(MeasurementError, match="mode_connectivity needs"):
        mode_connectivity(Subject(mlp()), mlp(1))
    aligned = match_weights(subject, mlp(1)).state
    assert mode_connectivity(subject, aligned, curve=find_curve(subject, aligned, steps=1), points=3).kind == "bezier"
    assert isinstance(curve, Curve)
