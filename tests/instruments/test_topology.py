"""Topology of layers against plain ripser, known shapes, and what intervals and nulls promise."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import pytest
import torch
from ripser import ripser
from scipy.spatial.distance import cdist
from topology_data import clusters, generator, identity, ring, subject
from torch import Tensor, nn

from deepscope import Subject
from deepscope.core import DoesNotApplyError, LeftOut, MeasurementError, UsageError, derive_seed
from deepscope.instruments import TOPOLOGY, topology
from deepscope.instruments._topology_clouds import ShapeOf, draw, layer_shape
from deepscope.linalg import point_distances


def hooked(model: nn.Module, x: Tensor) -> dict[str, np.ndarray]:
    found: dict[str, np.ndarray] = {}
    handles = [
        module.register_forward_hook(lambda _m, _i, out, name=name: found.update({name: out.detach().double().numpy()}))
        for name, module in model.named_modules()
        if not list(module.children())
    ]
    model(x)
    for handle in handles:
        handle.remove()
    return found


def naive_bars(points: np.ndarray, landmarks: int) -> tuple[list[np.ndarray], list[float]]:
    """Bars and diameters: gaps of all points, loops of landmarks chosen one by one."""
    chosen = [0]
    while len(chosen) < landmarks:
        chosen.append(int(cdist(points[chosen], points).min(axis=0).argmax()))
    gaps = ripser(points, maxdim=0)["dgms"][0][:-1]
    loops = ripser(points[chosen], maxdim=1)["dgms"][1]
    return [gaps, loops], [cdist(points, points).max(), cdist(points[chosen], points[chosen]).max()]


def test_bars_are_those_of_ripser_on_hooked_outputs() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 9), nn.Tanh(), nn.Linear(9, 5))
    x, y = clusters(90)
    found = topology(subject(model, x, y), landmarks=10, subsamples=3, permutations=5, generator=generator(7))
    members = {str(k): np.flatnonzero(y.numpy() == k) for k in range(3)}
    draws = draw(members, 3, 5, 256, derive_seed(7, "subsamples"))
    assert all(set(half) <= set(members[name]) for name, halves in draws.halves.items() for half in halves)
    assert found.subsample == 15
    for row, (name, points) in zip(found.table().itertuples(), hooked(model, x).items(), strict=True):
        assert row.name == name
        of_class = [[naive_bars(points[half], 10) for half in draws.halves[c]] for c in members]
        mixed = [[naive_bars(points[some], 10) for some in groups] for groups in draws.mixed]
        for k in (0, 1):
            length = [[np.ptp(bars[k], axis=1).sum() for bars, _ in each] for each in of_class]
            total = [[np.ptp(bars[k], axis=1).sum() / d[k] for bars, d in each] for each in of_class]
            longest = [[np.ptp(bars[k], axis=1).max(initial=0) / d[k] for bars, d in each] for each in of_class]
            random = [np.mean([np.ptp(bars[k], axis=1).sum() for bars, _ in each]) for each in mixed]
            # ripser computes in float32.
            assert getattr(row, f"total_persistence_{k}") == pytest.approx(np.mean(total), rel=1e-5)
            assert getattr(row, f"longest_bar_{k}") == pytest.approx(np.mean(longest), rel=1e-5)
            assert getattr(row, f"over_groups_{k}") == pytest.approx(np.mean(length) / np.mean(random), rel=1e-5)


def test_an_interval_holds_the_mean_over_new_samples() -> None:
    """Of clouds of 30 points; as promised for 95 % of data sets of 60, and more, since it is conservative."""
    rng = np.random.default_rng(0)

    def cloud(n: int) -> np.ndarray:
        return rng.normal(size=(n, 3)) * [1, 1, 0.1]

    shape_of = ShapeOf(landmarks=30, max_dimension=0, neighbours=None)
    truth = np.mean([(s := shape_of(point_distances(cloud(30)))).sums / s.diameters for _ in range(1000)])
    inside, widths = 0, []
    for seed in range(100):
        draws = draw({"all": np.arange(60)}, 8, 0, 256, seed)
        total = layer_shape(point_distances(cloud(60)), draws, shape_of).total
        assert total is not None
        inside += total[0].low <= truth <= total[0].high
        widths.append(total[0].high - total[0].low)
    # Fewer than 89 of 100 come once in a hundred times at 95 %; the truth itself is known 15 times better.
    assert inside >= 89
    # And it says something: within a factor of two of what a mean over 8 subsamples of their own scatters.
    spread = np.std([(s := shape_of(point_distances(cloud(30)))).sums / s.diameters for _ in range(500)])
    assert np.mean(widths) < 2 * 2 * 2.36 * spread


def test_random_labels_are_beyond_the_null_in_one_of_twenty() -> None:
    rng = np.random.default_rng(0)
    shape_of = ShapeOf(landmarks=8, max_dimension=0, neighbours=None)
    p_values = []
    for seed in range(100):
        members = {str(k): np.arange(60)[k::3] for k in range(3)}
        distances = point_distances(rng.normal(size=(60, 3)))
        over = layer_shape(distances, draw(members, 4, 15, 256, seed), shape_of).over_groups[0]
        assert over is not None
        assert (over.p_value < 0.05) == (not over.null_low <= over.ratio.value <= over.null_high)
        p_values.append(over.p_value)
    # More than 11 of 100 come once in a hundred times at 5 %; means over subsamples scatter less than divisions do.
    assert np.sum(np.array(p_values) < 0.05) <= 11
    assert 0.3 < np.mean(p_values) < 0.8


def test_clusters_are_told_from_random_groups_and_shuffled_labels_are_not() -> None:
    x, y = clusters(240)
    apart = topology(subject(identity(), x, y)).separation["0"]
    assert apart.ratio.high < 0.9 < apart.null_low
    assert apart.p_value < 1e-6
    shuffled = y[torch.randperm(len(y), generator=generator(1))]
    mixed = topology(subject(identity(), x, shuffled))
    assert mixed.separation["0"].null_low < mixed.separation["0"].ratio.value < mixed.separation["0"].null_high
    assert mixed.findings() == ()


@pytest.mark.parametrize("factor", [1e-6, 1e6])
def test_scale_and_rotation_change_nothing(factor: float) -> None:
    x, y = clusters(120)
    turn = torch.linalg.qr(torch.randn(4, 4, generator=generator(2)))[0]
    one = topology(subject(identity(), x, y), permutations=5)
    other = topology(subject(identity(), factor * x @ turn, y), permutations=5)
    numbers = one.table().select_dtypes("number").columns
    # Coordinates of order 10 are rounded to 1e-6 by the rotation, distances are of order 1.
    np.testing.assert_allclose(other.table()[numbers], one.table()[numbers], rtol=1e-4, atol=1e-5)


def test_voids_are_found_where_they_are_asked_for() -> None:
    x = torch.randn(240, 3, generator=generator())
    found = topology(
        subject(identity(), x / x.norm(dim=1, keepdim=True), None), subsamples=2, landmarks=48, max_dimension=2
    )
    assert found.betti == {"0": {"all": (1, 0, 1)}}
    assert found.table()["betti_2"].tolist() == [1]
    assert found.plot().axes[-1].texts[-1].get_text() == "● ◇"


def test_along_the_graph_an_open_ring_is_no_loop() -> None:
    angles = torch.linspace(0.3, 2 * torch.pi - 0.3, 200)
    x = torch.stack([angles.cos(), angles.sin()], dim=1)
    assert topology(subject(identity(), x, None), subsamples=3).betti["0"]["all"] == (1, 1)
    assert topology(subject(identity(), x, None), subsamples=3, neighbours=8).betti["0"]["all"] == (1, 0)


def test_a_network_that_gathers_and_one_that_scatters_are_told_apart() -> None:
    x, y = clusters(240, d=8, apart=12.0)
    gathers = topology(subject(nn.Sequential(nn.Identity(), Cut()), x, y)).findings()
    assert [each.message for each in gathers] == [
        "The network gathers classes: their samples are closer together at 1 than at 0."
    ]
    noise = nn.Linear(8, 8, bias=False)
    with torch.no_grad():
        # Two of three classes become one, and the third comes nearer.
        noise.weight.copy_(torch.diag(torch.tensor([0.0, 0.0, 0.25, 1.0, 1.0, 1.0, 1.0, 1.0])))
    scatters = topology(subject(nn.Sequential(nn.Identity(), noise), x, y)).findings()
    assert [each.message for each in scatters] == [
        "The network does not gather classes: their samples are closer together at 0 than at 1."
    ]
    same = topology(subject(nn.Sequential(nn.Identity(), nn.Identity()), x, y)).findings()
    assert same[0].message == "Samples of one class are closer together than samples of any class, at 1 as well."


class Cut(nn.Module):
    """Leaves little of what is nearer to one end of (0, 12) than the other."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.tanh(x - 6)


class Odd(nn.Module):
    """Layers that return tuples, nothing, or run now and then; one is used twice."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.recurrent, self.act, self.out = (
            nn.Embedding(9, 6),
            nn.LSTM(6, 6, batch_first=True),
            nn.Tanh(),
            nn.Linear(6, 3),
        )
        self.silent, self.sometimes, self.calls = Silent(), nn.Linear(3, 3), 0

    def forward(self, tokens: Tensor) -> Tensor:
        hidden = self.act(self.recurrent(self.act(self.embed(tokens)))[0].mean(dim=1))
        self.silent(hidden)
        out = self.out(hidden)
        return out if len(tokens) < 16 else self.sometimes(out)


class Silent(nn.Module):
    def forward(self, x: Tensor) -> None:
        del x


def test_odd_layers_are_measured_or_in_the_ledger() -> None:
    torch.manual_seed(0)
    tokens = torch.randint(0, 9, (40, 5), generator=generator())
    found = topology(subject(Odd(), tokens, torch.arange(40) % 2, batch=16), permutations=5)
    assert list(found.table()["name"]) == ["embed", "act", "recurrent", "act#2", "out"]
    assert list(found.table()["kind"]) == ["Embedding", "Tanh", "LSTM", "Tanh", "Linear"]
    assert {"silent", "sometimes"} <= {entry.name for entry in found.left_out}


def test_a_class_with_few_samples_is_left_out_and_absent_ones_are_no_matter() -> None:
    x, _ = clusters(60)
    y = torch.tensor([7] * 30 + [3] * 27 + [90] * 3)
    found = topology(subject(identity(), x, y), permutations=5)
    assert found.classes == ("3", "7")
    assert found.n_samples == 57
    assert found.subsample == 13
    assert LeftOut("class 90", "3 samples; at least 8 make a cloud") in found.left_out


def test_only_the_largest_classes_are_measured_where_there_are_many() -> None:
    x, y = clusters(240, classes=4)
    y[y == 2] = torch.where(torch.arange(60) < 20, 1, 2)
    found = topology(subject(identity(), x, y), permutations=5, max_classes=2)
    assert found.classes == ("0", "1")
    assert LeftOut("class 3", "not among the 2 largest") in found.left_out


@pytest.mark.parametrize(
    ("targets", "reason"),
    [
        (None, "there are no targets"),
        (torch.arange(24) / 7, "the targets are numbers, not classes"),
        (torch.zeros(24, 5, dtype=torch.long), "each sample has several labels"),
        (torch.arange(24), "all samples are one cloud instead"),
    ],
)
def test_without_classes_all_samples_are_one_cloud(targets: Tensor | None, reason: str) -> None:
    x, _ = clusters(24, classes=1)
    found = topology(subject(identity(), x, targets))
    assert found.classes == ("all",)
    assert found.separation == {}
    assert found.permutations == 0
    assert any(reason in entry.reason for entry in found.left_out if entry.name == "classes")
    assert "one cloud" in found.summary()
    assert found.findings() == ()


def test_a_single_class_has_a_shape_but_no_null() -> None:
    found = topology(subject(identity(), ring(200), torch.full((200,), 4)))
    assert found.betti == {"0": {"4": (1, 1)}}
    assert found.separation == {}
    assert found.table()["p_value_0"].isna().all()
    assert [each.where for each in found.findings()] == ["0"]


def test_one_sample_has_no_shape() -> None:
    with pytest.raises(DoesNotApplyError, match="1 sample has no shape"):
        topology(subject(identity(), torch.zeros(1, 3), torch.zeros(1).long()))


def test_copies_and_constant_activations_are_points() -> None:
    x = torch.tensor([[0.0, 0.0], [1.0, 1.0]]).repeat(20, 1)
    found = topology(subject(nn.Sequential(nn.Identity(), nn.Threshold(5.0, 0.5)), x, torch.arange(40) % 2))
    assert found.betti == {"0": {"0": (1, 0), "1": (1, 0)}, "1": {"0": (1, 0), "1": (1, 0)}}
    assert list(found.table()["status"]) == [
        "of class 0, 1 samples are one point, in some subsamples at least",
        "all samples are one point",
    ]
    assert found.table()["total_persistence_0"].isna().all()
    assert found.separation["0"].ratio.value == 0
    assert [(each.severity, each.where) for each in found.findings()] == [("warning", "1"), ("note", "0")]
    # One piled on the other are two parts.
    together = topology(subject(identity(), x, torch.zeros(40).long()))
    assert together.betti["0"]["0"] == (2, 0)


def test_what_is_the_same_but_for_rounding_is_a_point() -> None:
    x = torch.randn(40, 2, generator=generator())
    layer = nn.Linear(2, 2)
    with torch.no_grad():
        layer.weight.mul_(1e-7)
        layer.bias.fill_(1.0)
    assert topology(subject(layer, x, None)).layers[0].status == "all samples are one point"
    tall = topology(subject(layer.double(), x.double(), None))
    assert tall.layers[0].status == "ok"


def test_values_that_are_not_finite_are_a_status() -> None:
    x, y = clusters(40, classes=2)
    x[3, 1] = float("inf")
    found = topology(subject(nn.Sequential(nn.Identity(), nn.Sigmoid()), x, y), permutations=5)
    assert list(found.table()["status"]) == ["values are not finite", "ok"]
    assert list(found.betti) == ["1"]
    assert found.table()["betti_0"].isna().tolist() == [True, False]


def test_huge_feature_maps_are_thinned_and_it_is_said() -> None:
    x = torch.randn(24, 5000, generator=generator())
    found = topology(subject(identity(), x, None), subsamples=2)
    assert found.layers[0].features == 5000
    assert LeftOut("0", "all but 4,096 of its 5,000 features, by chance") in found.left_out


def test_layers_are_chosen_evenly_where_there_are_many() -> None:
    x, y = clusters(40, classes=2)
    model = nn.Sequential(*[nn.Linear(4, 4) for _ in range(9)])
    found = topology(subject(model, x, y), permutations=5, max_layers=3)
    assert list(found.table()["name"]) == ["0", "4", "8"]
    assert LeftOut("1", "not among 3 layers, evenly spaced") in found.left_out
    assert list(topology(subject(model, x, y), permutations=5, max_layers=1).table()["name"]) == ["8"]
    whole = topology(subject(model, x, y), permutations=5).table().set_index("name")
    # Subsamples are the same whichever layers are measured.
    assert whole.loc[["0", "4", "8"]].equals(found.table().set_index("name"))


def test_without_ripser_it_says_what_to_install_and_finds_gaps(monkeypatch: pytest.MonkeyPatch) -> None:
    x, y = clusters(40, classes=2)
    monkeypatch.setitem(sys.modules, "ripser", None)
    with pytest.raises(DoesNotApplyError, match=r"pip install 'deepscope\[topology\]'"):
        topology(subject(identity(), x, y))
    found = topology(subject(identity(), x, y), max_dimension=0)
    assert found.betti["0"] == {"0": (1,), "1": (1,)}
    assert "betti_1" not in found.table()
    assert found.plot().axes


def test_a_model_that_cannot_run_is_explained() -> None:
    with pytest.raises(MeasurementError, match="the model refuses the inputs"):
        topology(subject(nn.Linear(3, 2), torch.zeros(16, 5), None))
    with pytest.raises(DoesNotApplyError, match="no layer puts out a row for each sample"):
        topology(Subject(Silent(), [(torch.zeros(16, 3), None)]))


@pytest.mark.parametrize(
    "arguments",
    [
        {"samples": 0},
        {"landmarks": 3},
        {"subsamples": 1},
        {"permutations": -1},
        {"max_dimension": 3},
        {"neighbours": 0},
        {"max_classes": 0},
        {"max_layers": 0},
    ],
)
def test_arguments_out_of_range_are_refused(arguments: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match=f"{next(iter(arguments))} must be"):
        topology(subject(identity(), torch.zeros(16, 2), None), **arguments)


def test_the_glance_and_the_announcement_say_what_is_there() -> None:
    x, y = clusters(60)
    found = topology(subject(identity(), x, y), permutations=5)
    ratio, loops = found.glance()
    assert ratio.low["0"] < ratio.values["0"] < ratio.high["0"]
    assert ratio.band == (found.separation["0"].null_low, found.separation["0"].null_high)
    assert loops.values == {"0": 0.0}
    assert TOPOLOGY.expected_cost is not None
    announced = TOPOLOGY.expected_cost(subject(identity(), x, y), **TOPOLOGY.efforts["quick"])
    assert announced == "a forward pass over up to 512 samples, persistence of 32 landmarks in up to 16 layers"


class Branch(nn.Module):
    """A branch that begins at zero, beside one that does not."""

    def __init__(self) -> None:
        super().__init__()
        self.zero, self.out = nn.Linear(2, 2), nn.Linear(2, 2)
        with torch.no_grad():
            for each in self.zero.parameters():
                each.zero_()

    def forward(self, x: Tensor) -> Tensor:
        return self.out(x + self.zero(x))


def test_what_fades_goes_round_or_was_never_there_is_no_warning() -> None:
    torch.manual_seed(0)
    x, y = clusters(40, classes=2, d=2)
    # Each sigmoid of slope 1/4 at most makes differences a tenth or so of what they were: float32 holds seven.
    deep = nn.Sequential(*[layer for _ in range(16) for layer in (nn.Linear(2, 2), nn.Sigmoid())])
    for model, data, words in (
        (deep, x, "dies out"),
        (Branch(), x, "tell them apart all the same"),
        (identity(), torch.ones(40, 2), "All samples are the same"),
    ):
        found = topology(subject(model, data, y), permutations=5, subsamples=2).findings()
        assert {each.severity for each in found} == {"note"}
        assert any(words in each.message for each in found)
    # The warning stays where a layer does it at once, and where only layers behind it are measured.
    cut = nn.Sequential(identity(), nn.Threshold(99.0, 1.0), nn.Tanh(), nn.Tanh())
    seen = topology(subject(cut, x, y), permutations=5, subsamples=2, max_layers=2)
    assert [each.severity for each in seen.findings()][:1] == ["warning"]
