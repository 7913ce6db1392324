"""Representations: every number against a naive twin, in every kind of network and data that can be met."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from deepscope import Subject
from deepscope.core import DoesNotApplyError, MeasurementError, UsageError
from deepscope.instruments import REPRESENTATION, Representation, representation
from deepscope.instruments import _representation_pairs as pairs_module
from deepscope.linalg import (
    cka,
    effective_dimensions,
    intrinsic_dimension,
    mutual_neighbours,
    neural_collapse,
    procrustes_distance,
)


def network(seed: int = 0, width: int = 24, classes: int = 3) -> nn.Sequential:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        first, second, last = nn.Linear(6, width), nn.Linear(width, 9), nn.Linear(9, classes)
    return nn.Sequential(first, nn.ReLU(), nn.Dropout(), second, nn.Tanh(), last)


def batches(n: int = 120, size: int = 40, seed: int = 0, classes: int = 3) -> list[tuple[Tensor, Tensor]]:
    generator = torch.Generator().manual_seed(seed)
    y = torch.arange(n) % classes
    x = torch.randn(n, 6, generator=generator)
    x[:, 0] += 2.0 * y
    return list(zip(x.split(size), y.split(size), strict=True))


def outputs(model: nn.Sequential, data: list[tuple[Tensor, Tensor]]) -> dict[str, Tensor]:
    """Return every layer's outputs for all samples, by running one layer after the other."""
    x = torch.cat([inputs for inputs, _ in data])
    found = {}
    with torch.no_grad():
        for name, layer in model.eval().named_children():
            x = layer(x)
            if not isinstance(layer, nn.Dropout):
                found[name] = x.clone()
    return found


def measure(model: nn.Module, data: Any, seed: int = 0, **options: Any) -> Representation:
    return representation(Subject(model, data), generator=torch.Generator().manual_seed(seed), **options)


def test_rows_are_those_of_the_outputs_themselves() -> None:
    model, data = network(), batches()
    found = measure(model, data)
    truth = outputs(model, data)
    y = torch.cat([labels for _, labels in data])
    assert found.names == tuple(truth) == ("0", "1", "3", "4", "5")
    table = found.table().set_index("name")
    for name, rows in truth.items():
        row = table.loc[name]
        centred = rows.double().numpy() - rows.double().numpy().mean(axis=0)
        sigma = np.linalg.svd(centred, compute_uv=False)
        p, variances = sigma[sigma > 0] / sigma.sum(), sigma**2
        # The same sums in float64; the network's outputs are the same numbers but for the order of its products,
        # which in single precision changes them by some 1e-7.
        assert row["effective_rank"] == pytest.approx(np.exp(-np.sum(p * np.log(p))), rel=1e-5)
        assert row["participation_ratio"] == pytest.approx(variances.sum() ** 2 / np.sum(variances**2), rel=1e-5)
        dimension = intrinsic_dimension(rows)
        assert row["intrinsic_dimension"] == pytest.approx(dimension.dimension, rel=1e-4)
        assert row["intrinsic_dimension_low"] == pytest.approx(dimension.low, rel=1e-4)
        assert row["intrinsic_dimension_high"] == pytest.approx(dimension.high, rel=1e-4)
        collapse = neural_collapse(rows, y)
        assert row[["nc1", "nc2_norms", "nc2_angles"]].tolist() == pytest.approx(
            [collapse.within, collapse.norms, collapse.angles], rel=1e-4
        )
        means = np.stack([centred[y.numpy() == label].mean(axis=0) for label in range(3)])
        assert row["between_classes"] == pytest.approx(40 * np.sum(means**2) / np.sum(centred**2), rel=1e-5)
        assert row["between_classes_null"] == pytest.approx(2 / 119)
        assert row["mutual_neighbours"] == pytest.approx(mutual_neighbours(rows, truth["5"]), abs=2e-2)
        assert row["features"] == rows.shape[1]
        assert row["status"] == "ok"
    assert found.n_samples == found.cka_samples == 120
    assert (found.head, found.collapse_status, found.labels_status, found.n_classes) == ("5", "ok", "ok", 3)
    whole = neural_collapse(truth["4"], y, model[5].weight, model[5].bias)
    assert found.collapse is not None
    assert found.collapse.duality == pytest.approx(whole.duality, rel=1e-4)
    assert found.collapse.disagreement == pytest.approx(whole.disagreement, abs=1e-9)
    assert found.left_out == ()


def test_pairs_are_those_of_the_functions_for_two_representations() -> None:
    model, data = network(), batches(n=128, size=64)
    found = measure(model, data)
    truth = list(outputs(model, data).values())
    for i, one in enumerate(truth):
        for j, other in enumerate(truth):
            # HSIC is averaged over the two batches, and the ratio taken of averages.
            parts = [
                [_hsic(a[half], b[half]) for half in (slice(0, 64), slice(64, 128))]
                for a, b in ((one, other), (one, one), (other, other))
            ]
            across, left, right = (np.mean(each) for each in parts)
            # Single precision in kernels of 64² entries.
            assert found.cka[i, j] == pytest.approx(across / np.sqrt(left * right), abs=1e-5)
            # Where the distance is 0 it is the root of what rounding leaves of it.
            rounding = 1e-3 if i == j else 1e-5
            assert found.procrustes[i, j] == pytest.approx(procrustes_distance(one, other), abs=rounding)
            # A tie by rounding moves one neighbour of 1,280.
            assert found.neighbours[i, j] == pytest.approx(mutual_neighbours(one, other), abs=3 / 1280)
    assert found.cka_stderr.shape == found.cka.shape == found.cka_rbf.shape == (5, 5)
    assert np.allclose(np.diag(found.cka_rbf), 1, atol=1e-6)
    assert np.isfinite(found.cka_stderr).all()


def _hsic(x: Tensor, y: Tensor) -> float:
    """Return unbiased HSIC by its definition, term by term."""
    n = len(x)
    K, L = (each.double() @ each.double().T for each in (x - x.mean(0), y - y.mean(0)))
    K, L = (each - torch.diag(each.diag()) for each in (K, L))
    one = torch.ones(n, dtype=torch.float64)
    sums = (one @ K @ one) * (one @ L @ one) / ((n - 1) * (n - 2)) - 2 * (one @ K @ L @ one) / (n - 2)
    return float(torch.trace(K @ L) + sums) / (n * (n - 3))


def test_one_batch_is_the_unbiased_alignment_of_all_samples() -> None:
    model, data = network(), batches(n=200, size=200)
    found = measure(model, data)
    truth = list(outputs(model, data).values())
    assert found.cka[0, 4] == pytest.approx(cka(truth[0], truth[4]), abs=1e-5)
    assert np.isnan(found.cka_stderr).all(), "one batch has no standard error"


def test_alignment_goes_on_beyond_the_samples_that_are_kept() -> None:
    model, data = network(), batches(n=240, size=50)[:4]
    found = measure(model, data, samples=70, cka_samples=190)
    assert (found.n_samples, found.cka_samples) == (70, 190)
    parts = [[slice(0, 50)], [slice(50, 70), slice(70, 100)], [slice(100, 150)], [slice(150, 190)]]
    truth = outputs(model, data)
    weighed = [0.0, 0.0, 0.0]
    for part in (each for batch in parts for each in batch):
        for index, (a, b) in enumerate((("0", "5"), ("0", "0"), ("5", "5"))):
            weighed[index] += _hsic(truth[a][part], truth[b][part]) * (part.stop - part.start)
    assert found.cka[0, 4] == pytest.approx(weighed[0] / np.sqrt(weighed[1] * weighed[2]), abs=1e-5)
    assert [each.name for each in found.left_out] == ["data"]


def test_independent_representations_have_an_alignment_of_zero_even_with_more_features_than_samples() -> None:
    """256 samples of 2,000 independent features: biased alignment is above 0.5, the unbiased one 0 ± its error."""
    values = []
    for seed in range(6):
        generator = torch.Generator().manual_seed(seed)
        x = torch.randn(256, 4000, generator=generator)

        class Halves(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.left, self.right = nn.Identity(), nn.Identity()

            def forward(self, x: Tensor) -> Tensor:
                return self.left(x[:, :2000]) + self.right(x[:, 2000:])

        found = measure(Halves(), [(each, None) for each in x.split(64)], samples=16, cka_samples=256)
        assert found.names == ("left", "right")
        values.append((found.cka[0, 1], found.cka_stderr[0, 1]))
        assert cka(x[:64, :2000], x[:64, 2000:], unbiased=False) > 0.5
    estimates, errors = np.array(values).T
    # Six estimates within three of their own errors, and their mean within three of its: misses in 1 of 60 seeds.
    assert (np.abs(estimates) < 3 * errors).sum() >= 5
    assert abs(estimates.mean()) < 3 * np.sqrt(np.mean(errors**2) / 6)


def test_the_probe_is_a_ridge_regression_on_the_other_half() -> None:
    from deepscope.instruments._labels import Labels
    from deepscope.instruments._representation_probe import linear_probe

    rng = np.random.default_rng(0)
    for d in (5, 90):
        x = rng.normal(size=(60, d))
        classes = np.arange(60) % 3
        x[:, 0] += 1.5 * classes
        labels = Labels(np.arange(60), np.eye(3)[classes], classes)
        found = linear_probe(x, labels, np.random.default_rng(7))
        assert found is not None
        order = np.random.default_rng(7).permutation(60)
        right = 0
        for fitted, judged in ((order[:30], order[30:]), (order[30:], order[:30])):
            X, y = x[fitted] - x[fitted].mean(0), np.eye(3)[classes[fitted]]
            largest = np.linalg.svd(X, compute_uv=False)[0] ** 2
            best = min(
                (sum(np.sum((y[i] - _ridge(x[fitted], y, ridge, leave=i)) ** 2) for i in range(30)), ridge)
                for ridge in largest * 10.0 ** np.arange(-7.0, 1.5, 0.5)
            )[1]
            predicted = np.stack([_ridge_at(x[fitted], y, best, z) for z in x[judged]])
            right += int((predicted.argmax(1) == classes[judged]).sum())
        # Leaving one out in closed form keeps the mean of the features, so that another ridge of nearly the same error
        # may be chosen: of sixty predictions one or two.
        assert abs(found.score * 60 - right) <= 2
        assert found.low < found.score < found.high
        assert found.null == pytest.approx(1 / 3, abs=0.08)


def _ridge(x: np.ndarray, y: np.ndarray, ridge: float, leave: int) -> np.ndarray:
    keep = np.arange(len(x)) != leave
    return _ridge_at(x[keep], y[keep], ridge, x[leave])


def _ridge_at(x: np.ndarray, y: np.ndarray, ridge: float, z: np.ndarray) -> np.ndarray:
    X = x - x.mean(0)
    beta = np.linalg.solve(X.T @ X + ridge * np.eye(X.shape[1]), X.T @ (y - y.mean(0)))
    return (z - x.mean(0)) @ beta + y.mean(0)


def test_labels_in_random_order_are_read_as_well_as_their_null() -> None:
    """Of sixty pairs of layers and labels that have nothing to do with one another some 5 % exceed the null's end."""
    above, sure = 0, 0
    for seed in range(20):
        data = batches(n=90, size=90, seed=seed)
        order = torch.randperm(90, generator=torch.Generator().manual_seed(seed + 100))
        found = measure(network(), [(data[0][0], data[0][1][order])], seed=seed)
        for layer in (found.layers[0], found.layers[2], found.layers[4]):
            assert layer.probe_accuracy is not None
            above += layer.probe_accuracy > (layer.probe_null_high or 0)
            sure += (layer.probe_low or 0) > (layer.probe_null_high or 0)
        assert all(finding.severity == "note" for finding in found.findings())
    # Binomial with 60 draws and 0.05, layers of a network being nearly one draw: at most 9 of 20 times three.
    assert above <= 12
    assert sure == 0


def test_a_regression_is_probed_by_r_squared() -> None:
    data = [(x, (x[:, :1] * 2 + 1).double().float()) for x, _ in batches()]
    found = measure(network(classes=1), data)
    table = found.table()
    # The first layer is linear in the inputs, and more outputs than inputs.
    assert table["probe_r2"].iloc[0] > 0.999
    assert table["probe_accuracy"].isna().all()
    assert (table["probe_null_high"] < 0.2).all()
    assert found.n_classes is None
    assert found.collapse_status == "no classes"


def test_two_networks_are_compared_on_the_firsts_data() -> None:
    model, data = network(), batches()
    other = nn.Sequential(nn.Linear(6, 4), nn.ReLU())
    found = measure(model, data, other=other)
    assert found.cka.shape == found.procrustes.shape == found.neighbours.shape == (5, 2)
    assert found.other_layers == ("0", "1")
    assert found.other == "Sequential"
    mine, theirs = outputs(model, data), outputs(other, data)
    parts = [slice(start, start + 40) for start in (0, 40, 80)]
    across, left, right = (
        np.mean([_hsic(a[part], b[part]) for part in parts])
        for a, b in ((mine["3"], theirs["1"]), (mine["3"], mine["3"]), (theirs["1"], theirs["1"]))
    )
    assert found.cka[2, 1] == pytest.approx(across / np.sqrt(left * right), abs=1e-5)
    assert found.procrustes[2, 1] == pytest.approx(procrustes_distance(mine["3"], theirs["1"]), abs=1e-5)
    assert found.layers[2].mutual_neighbours == pytest.approx(mutual_neighbours(mine["3"], theirs["1"]), abs=1e-2)
    same = measure(model, data, other=model)
    assert np.allclose(np.diag(same.cka), 1, atol=1e-5)
    assert np.allclose(same.cka, measure(model, data).cka, atol=1e-6)
    assert any("Most like a layer of" in finding.message for finding in found.findings())


def test_a_network_that_changes_its_inputs_does_not_change_the_others() -> None:
    class Greedy(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.out = nn.Identity()

        def forward(self, x: Tensor) -> Tensor:
            return self.out(x.mul_(0))

    data = batches()
    found = measure(Greedy(), data, other=network())
    assert np.allclose(found.neighbours.shape, (1, 5))
    assert found.layers[0].status == "the same for all samples"
    other = measure(network(), data, other=Greedy())
    assert other.table()["status"].eq("ok").all()


def test_layers_are_chosen_and_named() -> None:
    found = measure(network(), batches(), layers=["3", "4"])
    assert found.names == ("3", "4")
    assert found.cka.shape == (2, 2)
    with pytest.raises(UsageError, match="no such layer"):
        measure(network(), batches(), layers=["three"])
    with pytest.raises(UsageError, match="no layer was given"):
        measure(network(), batches(), layers=[])
    for options in ({"samples": 3}, {"cka_samples": 0}):
        with pytest.raises(UsageError, match="at least 4"):
            measure(network(), batches(), **options)


def odd(kind: str) -> tuple[nn.Module, list[tuple[Any, Any]]]:
    x, y = batches(n=40, size=40)[0]
    data: dict[str, tuple[nn.Module, list[tuple[Any, Any]]]] = {
        "one sample": (network(), [(x[:1], y[:1])]),
        "samples one by one": (network(), [(x[i : i + 1], y[i : i + 1]) for i in range(20)]),
        "one class": (network(), [(x, torch.zeros_like(y))]),
        "absent classes": (network(classes=7), [(x, torch.where(y == 1, 6, 2))]),
        "duplicate samples": (network(), [(x[:1].repeat(30, 1), y[:30])]),
        "half duplicates": (network(), [(x[:15].repeat(2, 1), y[:15].repeat(2))]),
        "constant activations": (nn.Sequential(nn.Linear(6, 4), nn.Hardtanh(5, 6), nn.Linear(4, 3)), [(x, y)]),
        "more features than samples": (network(width=500), [(x[:20], y[:20])]),
        "no labels": (network(), [(x, None)]),
        "not finite": (nn.Sequential(nn.Linear(6, 4), Root(), nn.Linear(4, 3)), [(x, y)]),
        "no layers": (Bare(), [(x, y)]),
    }
    return data[kind]


class Root(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.sqrt()


class Bare(nn.Module):
    """Computes everything itself, and puts out no tensor."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(6, 3))

    def forward(self, x: Tensor) -> dict[str, Any]:
        return {"text": "none"}


ODD = {
    "one sample": "the same for all samples",
    "samples one by one": "ok",
    "one class": "ok",
    "absent classes": "ok",
    "duplicate samples": "the same for all samples",
    "half duplicates": "ok",
    "constant activations": "the same for all samples",
    "more features than samples": "ok",
    "no labels": "ok",
    "not finite": "its output is not finite",
}


@pytest.mark.parametrize("kind", ODD)
def test_odd_data_gets_a_status_and_no_finding_but_notes(kind: str) -> None:
    model, data = odd(kind)
    found = measure(model, data)
    statuses = found.table()["status"].tolist()
    assert ODD[kind] in statuses
    if ODD[kind] == "ok":
        assert set(statuses) == {"ok"}
    assert all(finding.severity == "note" for finding in found.findings())
    assert found.summary()
    found.plot()
    values = found.table().select_dtypes("float").to_numpy()
    assert not np.isinf(values).any()


def test_odd_data_is_told_apart() -> None:
    alone = measure(*odd("samples one by one"))
    assert alone.cka_samples == 0
    assert np.isnan(alone.cka).all(), "batches of one sample have no unbiased alignment"
    assert alone.table()["effective_rank"].notna().all()
    assert measure(*odd("one class")).labels_status == "all samples are of one class"
    assert measure(*odd("no labels")).labels_status == "there are no targets"
    absent = measure(*odd("absent classes"))
    assert (absent.n_classes, absent.labels_status) == (2, "ok")
    twice = measure(*odd("half duplicates"))
    assert twice.table()["intrinsic_dimension"].notna().all()
    wide = measure(*odd("more features than samples"))
    assert (wide.table()["effective_rank"] < 20).all()
    gone = measure(*odd("constant activations"))
    assert np.isnan(gone.cka[1]).all()
    assert np.isfinite(gone.cka[0, 0])
    with pytest.raises(DoesNotApplyError, match="no layer puts out a row for each sample"):
        measure(*odd("no layers"))


def test_integer_inputs_and_sequences_of_changing_length() -> None:
    class Tokens(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed, self.rnn, self.out = nn.Embedding(30, 8), nn.GRU(8, 12, batch_first=True), nn.Linear(12, 2)

        def forward(self, tokens: Tensor) -> Tensor:
            return self.out(self.rnn(self.embed(tokens))[0][:, -1])

    torch.manual_seed(0)
    model = Tokens()
    data = [(torch.randint(1, 30, (20, length)), torch.arange(20) % 2) for length in (5, 7, 5)]
    without = representation(Subject(model, data))
    assert without.names == ("out",)
    assert {name for name, _ in without.left_out} == {"embed", "rnn"}
    assert all("give mask=" in reason for _, reason in without.left_out)
    found = representation(Subject(model, data, mask=lambda tokens: tokens != 0))
    assert found.names == ("embed", "rnn", "out")
    assert found.table()["features"].tolist() == [8, 12, 2]
    assert found.table()["status"].eq("ok").all()


def test_huge_feature_maps_stay_within_bounded_memory_and_say_so(monkeypatch: pytest.MonkeyPatch) -> None:
    from deepscope.subject import _collect

    monkeypatch.setattr(_collect, "_MEMORY", 4 * 40 * 2 * 300)
    model = nn.Sequential(nn.Conv2d(1, 64, 1), nn.Flatten())
    data = [(torch.randn(40, 1, 6, 6), torch.arange(40) % 2)]
    found = measure(model, data, samples=40)
    assert found.table()["features"].tolist() == [64 * 36] * 2
    assert {reason for _, reason in found.left_out} == {"all but 300 of its 2,304 features, by chance"}
    # Of all features, whatever is kept: the second layer puts out what the first does.
    assert found.cka[0, 1] == pytest.approx(1, abs=1e-5)


def test_a_layer_that_forgets_the_classes_is_found_and_healthy_ones_are_not() -> None:
    torch.manual_seed(0)
    data = batches(n=200, size=100)
    for seed in range(4):
        found = measure(network(seed), data)
        assert [finding for finding in found.findings() if finding.severity != "note"] == []
    model = network(1)
    with torch.no_grad():
        model[3].weight.zero_()
    found = measure(model, data)
    (problem,) = (finding for finding in found.findings() if finding.severity != "note")
    assert (problem.severity, problem.where) == ("problem", "3")
    assert "no better than chance" in problem.message


def test_alike_layers_are_found() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(*(nn.Linear(6, 6) for _ in range(4)))
    with torch.no_grad():
        for layer in model:
            layer.weight.copy_(torch.linalg.qr(torch.randn(6, 6)).Q)
    messages = [finding.message for finding in measure(model, batches(classes=3)).findings()]
    assert any("from 0 (Linear) to 3 (Linear) represent the data alike" in message for message in messages)
    assert not any("alike" in finding.message for finding in measure(network(), batches()).findings())


def test_a_wrong_input_is_a_clear_error() -> None:
    with pytest.raises(MeasurementError, match="refuses the inputs of batch 1"):
        measure(network(), [batches()[0], (torch.randn(4, 5), torch.zeros(4).long())])


def test_distances_are_of_the_first_samples_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pairs_module, "SHAPES", 50)
    model, data = network(), batches()
    found = measure(model, data)
    truth = outputs(model, data)
    assert found.procrustes[0, 4] == pytest.approx(procrustes_distance(truth["0"][:50], truth["5"][:50]), abs=1e-5)
    assert found.procrustes_null is not None
    assert found.procrustes_null > found.procrustes[0, 1]


def test_the_intervals_of_effective_dimensions_are_those_of_the_function() -> None:
    model, data = network(), batches()
    row = measure(model, data).layers[2]
    truth = effective_dimensions(outputs(model, data)["3"])
    assert row.participation_ratio_low == pytest.approx(truth.participation_ratio_low, rel=1e-4)
    assert row.effective_rank_high == pytest.approx(truth.effective_rank_high, rel=1e-4)


def test_budgets_take_fewer_samples_of_wide_networks() -> None:
    def subject(width: int) -> Subject:
        layers = (nn.Linear(width, width) for _ in range(3))
        return Subject(nn.Sequential(*layers), [(torch.randn(8, width), None)] * 200)

    given = [REPRESENTATION.effort("quick", subject(width))["samples"] for width in (8, 256, 3000)]
    assert given[0] == 256 >= given[1] >= given[2] >= 16


def test_the_most_similar_other_layer_is_named() -> None:
    found = measure(network(), batches())
    table = found.counterparts().set_index("name")
    for index, name in enumerate(found.names):
        others = np.delete(found.cka[index], index)
        assert table.loc[name, "cka"] == others.max()
        assert table.loc[name, "most_like"] != name
    gone = measure(*odd("constant activations"), other=network()).counterparts()
    assert gone["most_like"].isna().tolist() == [False, True, True]


@pytest.mark.parametrize("seed", range(4))
def test_random_weights_that_let_little_pass_are_no_problem(seed: int) -> None:
    """One of 200 directions tells of the classes, weakly: few random units may see nothing of it."""
    generator = torch.Generator().manual_seed(seed)
    y = torch.randint(0, 2, (600,), generator=generator)
    x = torch.randn(600, 200, generator=generator)
    x[:, 0] += 1.8 * y
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = nn.Sequential(nn.Identity(), nn.Linear(200, 8), nn.ReLU(), nn.Linear(8, 2))
    with torch.no_grad():
        model[1].weight[:, 0] = 0
    found = measure(model, [(x, y)])
    # The direction itself is closed, so that a probe reads it before and not behind.
    assert found.layers[0].probe_low > found.layers[0].probe_null_high
    assert not [finding for finding in found.findings() if finding.severity != "note"]


def test_what_random_weights_would_leave_is_what_a_probe_reads_behind_them() -> None:
    data = batches(n=200, size=100)
    model = network(1)
    with torch.no_grad():
        model[3].weight.zero_()
    found = measure(model, data)
    assert found.random_weights is not None
    assert found.layers[1].probe_null_high < found.random_weights < found.layers[1].probe_high
    assert measure(network(1), data).random_weights is None
