"""compare: tables aligned by name, and the change in weights per tensor."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
import torch
from torch import nn

import deepscope


def two() -> tuple[nn.Sequential, nn.Sequential]:
    torch.manual_seed(0)
    a = nn.Sequential(nn.Linear(20, 30), nn.ReLU(), nn.Linear(30, 10))
    b = nn.Sequential(nn.Linear(20, 30), nn.ReLU(), nn.Linear(30, 10))
    b.load_state_dict(a.state_dict())
    return a, b


def test_change_in_weights_against_the_closed_form() -> None:
    a, b = two()
    with torch.no_grad():
        b[0].weight.mul_(1.5)
        b[2].weight.copy_(-a[2].weight)
    weights = deepscope.compare(a, b, instruments=["anatomy"]).weights.set_index("name")
    assert weights.loc["0.weight", "relative_change"] == pytest.approx(0.5, rel=1e-6)
    assert weights.loc["0.weight", "cosine"] == pytest.approx(1.0, abs=1e-6)
    assert weights.loc["2.weight", "relative_change"] == pytest.approx(2.0, rel=1e-6)
    assert weights.loc["2.weight", "cosine"] == pytest.approx(-1.0, abs=1e-6)
    assert weights.loc["0.bias", "relative_change"] == 0


def test_distance_from_initialisation_of_layers_that_were_trained(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(20, 30, bias=False), nn.Linear(30, 10, bias=False))
    torch.save(model.state_dict(), tmp_path / "initial.pt")
    x, pull = torch.randn(20), torch.randn(30)
    optimiser = torch.optim.SGD(model[0].parameters(), lr=0.01)
    for _ in range(5):
        optimiser.zero_grad()
        (pull @ model[0](x)).backward()
        optimiser.step()
    torch.save(model.state_dict(), tmp_path / "trained.pt")
    comparison = deepscope.compare(tmp_path / "initial.pt", tmp_path / "trained.pt", instruments=["anatomy"])
    relative = comparison.weights.set_index("name")["relative_change"]
    before = comparison.tables["anatomy"].set_index("name")["norm_a"]
    # The gradient is pull·xᵀ at each of 5 steps; float32 rounds each entry of W by 6e-8 a step.
    moved = 5 * 0.01 * float(pull.norm() * x.norm())
    assert relative["0.weight"] * before["0.weight"] == pytest.approx(moved, rel=1e-5)
    assert relative["1.weight"] == 0


def test_chunks_do_not_change_the_result(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(1)
    a, b = nn.Linear(1500, 1500, bias=False), nn.Linear(1500, 1500, bias=False)  # 2.25 M values: three chunks
    row = deepscope.compare(a, b, instruments=["anatomy"]).weights.iloc[0]
    x, y = a.weight.detach().double(), b.weight.detach().double()
    # Sums of 2.25 M doubles in another order: relative error below 1e-10.
    assert row["relative_change"] == pytest.approx(((y - x).norm() / x.norm()).item(), rel=1e-10)
    assert row["cosine"] == pytest.approx((x * y).sum().item() / (x.norm() * y.norm()).item(), rel=1e-7)


def test_tables_are_aligned_by_name() -> None:
    a, b = two()
    with torch.no_grad():
        b[0].weight.mul_(2)
    table = deepscope.compare(a, b).tables["spectrum"].set_index("name")
    # log10 ‖W‖² of twice the matrix is larger by log10 4.
    assert table.loc["0.weight", "log_norm_change"] == pytest.approx(math.log10(4), rel=1e-6)
    assert table.loc["2.weight", "log_norm_change"] == 0


def test_what_only_one_has_is_in_the_ledger() -> None:
    a, _ = two()
    b = nn.Sequential(nn.Linear(20, 30), nn.ReLU(), nn.Linear(30, 10, bias=False), nn.Linear(10, 10))
    comparison = deepscope.compare(a, b, instruments=["anatomy"])
    assert dict(comparison.left_out) == {
        "2.bias": "only in Sequential (a)",
        "3.weight": "only in Sequential (b)",
        "3.bias": "only in Sequential (b)",
    }


def test_other_shapes_zeros_and_nan_have_a_status_and_no_number() -> None:
    a, b = two()
    with torch.no_grad():
        a[0].bias.zero_()
        b[2].bias[0] = torch.nan
    b[0].weight = nn.Parameter(torch.ones(30, 21))
    weights = deepscope.compare(a, b, instruments=["anatomy"]).weights.set_index("name")
    assert weights.loc["0.weight", "status"].startswith("shapes differ")
    assert weights.loc["0.bias", "status"] == "all zero in one"
    assert weights.loc["2.bias", "status"] == "non-finite values"
    assert weights.loc[["0.weight", "0.bias", "2.bias"], "relative_change"].isna().all()


def test_findings_gone_and_new() -> None:
    a, b = two()
    with torch.no_grad():
        a[0].weight[0, 0] = torch.nan
        b[2].weight.zero_()
    comparison = deepscope.compare(a, b, instruments=["anatomy"])
    assert "0.weight" in {finding.where for finding in comparison.findings_gone}
    assert "2.weight" in {finding.where for finding in comparison.findings_new}


def test_saved_as_page_and_as_data(tmp_path: Path) -> None:
    comparison = deepscope.compare(*two())
    record = json.loads(comparison.save(tmp_path / "c.json").read_text())
    assert record["schema"] == "deepscope.comparison/1"
    assert "<html" in comparison.save(tmp_path / "c.html").read_text()
    assert str(comparison)


def test_a_network_equals_itself() -> None:
    a, b = two()
    comparison = deepscope.compare(a, b, instruments=["anatomy"])
    assert set(comparison.weights["status"]) == {"equal"}
    assert "4 of 4" not in str(comparison)


@pytest.mark.parametrize("size", [1e-170, 1e170])
def test_squares_beyond_float64_are_compared_all_the_same(size: float) -> None:
    a, b = nn.Linear(3, 3, bias=False).double(), nn.Linear(3, 3, bias=False).double()
    with torch.no_grad():
        a.weight.fill_(size)
        b.weight.fill_(2 * size)
    [row] = deepscope.compare(a, b, instruments=["anatomy"]).weights.to_dict("records")
    assert (row["relative_change"], row["cosine"], row["status"]) == (pytest.approx(1), pytest.approx(1), "ok")


def test_a_worse_finding_at_the_same_place_is_new() -> None:
    a, b = two()
    with torch.no_grad():
        a[0].weight.zero_()
        b[0].weight.fill_(torch.nan)
    comparison = deepscope.compare(a, b, instruments=["anatomy"])
    assert ["NaN" in finding.message for finding in comparison.findings_new if finding.where == "0.weight"] == [True]


def test_rows_keep_the_order_of_the_networks() -> None:
    layers = [nn.Linear(10, 10) for _ in range(12)]
    table = deepscope.compare(nn.Sequential(*layers), nn.Sequential(*layers[:11])).tables["spectrum"]
    assert list(table["name"]) == [f"{index}.weight" for index in range(12)]


def test_exponents_stand_beside_their_intervals_and_phases_beside_each_other():
    torch.manual_seed(0)
    before = torch.nn.Linear(96, 64, bias=False)
    after = torch.nn.Linear(96, 64, bias=False)
    after.load_state_dict(before.state_dict())
    with torch.no_grad():
        after.weight += 0.5 * torch.outer(torch.randn(64), torch.randn(96))
    (row,) = deepscope.compare(before, after, instruments=["spectrum"]).tables["spectrum"].to_dict("records")
    assert (row["phase_a"], row["phase_b"]) == ("random-like", "bulk+spikes")
    assert row["n_spikes_change"] == 1
    for side in ("a", "b"):
        assert row[f"alpha_low_{side}"] <= row[f"alpha_{side}"] <= row[f"alpha_high_{side}"]


def turned_by(degrees: float, size: int = 40) -> tuple[nn.Linear, nn.Linear]:
    """Two layers whose single spike is turned on both sides by a known angle."""
    rng = torch.Generator().manual_seed(0)
    U, V = (torch.linalg.qr(torch.randn(side, side, generator=rng, dtype=torch.float64)).Q for side in (size, 60))
    angle = math.radians(degrees)
    layers = []
    for cos, sin in ((1.0, 0.0), (math.cos(angle), math.sin(angle))):
        layer = nn.Linear(60, size, bias=False).double()
        # Values that noise has, but in a basis of its own: the spike's directions are exactly known.
        values = torch.linspace(1.0, 2.0, size, dtype=torch.float64)
        left, right = U.clone(), V[:, :size].clone()
        for basis in (left, right):
            basis[:, 0], basis[:, 1] = cos * basis[:, 0] + sin * basis[:, 1], cos * basis[:, 1] - sin * basis[:, 0]
        values[0] = 20.0
        layer.weight = nn.Parameter(left @ torch.diag(values) @ right.T)
        layers.append(layer)
    return layers[0], layers[1]


@pytest.mark.parametrize("degrees", [0.0, 1e-6, 30.0, 89.0])
def test_a_spike_turned_by_a_known_angle(degrees: float) -> None:
    (row,) = deepscope.compare(*turned_by(degrees), instruments=["spectrum"]).weights.to_dict("records")
    assert (row["n_directions"], row["spikes_born"], row["angle_status"]) == (1, 0, "ok")
    # The spike's eigenvalue is most of the gap: both spans are off by at most 60·2.2e-16 rad, or 1e-12 degrees.
    assert row["left_angle"] == pytest.approx(degrees, abs=1e-11)
    assert row["right_angle"] == pytest.approx(degrees, abs=1e-11)


def test_a_spike_is_born() -> None:
    torch.manual_seed(0)
    before, after = nn.Linear(96, 64, bias=False), nn.Linear(96, 64, bias=False)
    u, v = torch.randn(64), torch.randn(96)
    after.load_state_dict(before.state_dict())
    with torch.no_grad():
        after.weight += 0.5 * torch.outer(u, v)
    (row,) = deepscope.compare(before, after, instruments=["spectrum"]).weights.to_dict("records")
    assert (row["spikes_born"], row["n_directions"]) == (1, 1)
    # What was the largest direction of noise has nothing to do with the spike's.
    W = before.weight.detach().double()
    first = torch.linalg.svd(W).U[:, 0]
    spike = torch.linalg.svd(after.weight.detach().double()).U[:, 0]
    assert row["left_angle"] == pytest.approx(math.degrees(math.acos(abs(float(first @ spike)))), rel=1e-9)
    assert row["left_angle"] > 45


def test_the_largest_angle_of_the_parts_stands_for_the_tensor() -> None:
    torch.manual_seed(0)
    before, after = nn.MultiheadAttention(32, 4), nn.MultiheadAttention(32, 4)
    weights = deepscope.compare(before, after, instruments=["spectrum"]).weights.set_index("name")
    lefts = []
    for start in (0, 32, 64):
        parts = [layer.in_proj_weight.detach()[start : start + 32].double() for layer in (before, after)]
        first, second = (torch.linalg.svd(part).U[:, 0] for part in parts)
        lefts.append(math.degrees(math.acos(abs(float(first @ second)))))
    row = weights.loc["in_proj_weight"]
    assert (row["n_directions"], row["spikes_born"]) == (3, 0)
    assert row["left_angle"] == pytest.approx(max(lefts), rel=1e-9)


def test_angles_that_do_not_exist_have_a_reason() -> None:
    torch.manual_seed(0)
    a = nn.ModuleDict({"conv": nn.Conv2d(8, 8, 3), "square": nn.Linear(20, 20), "none": nn.Linear(12, 12)})
    b = nn.ModuleDict({"conv": nn.Conv2d(8, 8, 3), "square": nn.Linear(20, 20), "none": nn.Linear(12, 12)})
    with torch.no_grad():
        b["square"].weight.copy_(torch.eye(20))
        b["none"].weight.zero_()
    weights = deepscope.compare(a, b, instruments=["spectrum"]).weights.set_index("name")
    assert dict(weights["angle_status"]) == {
        "conv.weight": "it is several matrices, whose spikes are counted together",
        "conv.bias": "a vector has no spectrum",
        "square.weight": "singular value 1 cannot be told from the next",
        "square.bias": "a vector has no spectrum",
        "none.weight": "all values are zero",
        "none.bias": "a vector has no spectrum",
    }
    assert weights[["left_angle", "right_angle", "n_directions"]].isna().all(axis=None)
    assert weights.loc["conv.weight", "spikes_born"] == 0


def test_without_the_spectrum_nothing_is_decomposed(monkeypatch: pytest.MonkeyPatch) -> None:
    from deepscope.lab import _turned

    monkeypatch.setattr(_turned, "leading_directions", lambda *_: pytest.fail("a matrix was decomposed"))
    weights = deepscope.compare(*two(), instruments=["anatomy"]).weights
    assert set(weights["angle_status"]) == {"spectrum was not run"}
    assert weights[["left_angle", "right_angle", "n_directions", "spikes_born"]].isna().all(axis=None)


def test_at_most_ten_directions_are_followed() -> None:
    torch.manual_seed(0)
    before, after = nn.Linear(96, 64, bias=False), nn.Linear(96, 64, bias=False)
    with torch.no_grad():
        for height in range(12):
            after.weight += (0.5 + 0.1 * height) * torch.outer(torch.randn(64), torch.randn(96))
    (row,) = deepscope.compare(before, after, instruments=["spectrum"]).weights.to_dict("records")
    assert (row["spikes_born"], row["n_directions"]) == (12, 10)


def test_layers_are_compared_where_both_networks_run(tmp_path: Path) -> None:
    a, b = two()
    with torch.no_grad():
        b[0].weight.copy_(torch.randn(30, 20))
    data = [(torch.randn(40, 20), torch.arange(40) % 4)]
    comparison = deepscope.compare(a, b, data=data, instruments=["representation"], budget="quick")
    found = comparison.representations
    assert found is not None
    assert (found.names, found.other_layers) == (("0", "1", "2"), ("0", "1", "2"))
    record = json.loads(json.dumps(comparison.to_dict()))["representations"]
    assert record["a_layers"] == ["0", "1", "2"]
    assert record["cka"][0][2] == pytest.approx(found.cka[0, 2])
    assert record["cka_stderr"][0][0] is None, "one batch has no standard error"
    for row, alike in zip(record["counterparts"], found.cka, strict=True):
        assert row["cka"] == pytest.approx(alike.max())
        assert row["most_like"] == found.other_layers[int(alike.argmax())]
    assert "the layer of b that represents the data most alike" in str(comparison)
    page = comparison.save(tmp_path / "comparison.html").read_text()
    assert "How alike their layers represent the data" in page
    assert "<svg" in page
    same = deepscope.compare(a, a, data=data, instruments=["representation"], budget="quick").representations
    assert same is not None
    assert same.counterparts()["cka_same_name"].tolist() == pytest.approx([1, 1, 1], abs=1e-5)
    assert deepscope.compare(a, b, instruments=["anatomy"]).representations is None


def test_networks_that_take_other_inputs_are_not_compared_by_layers() -> None:
    a, _ = two()
    b = nn.Linear(7, 3)
    mine, theirs = (
        deepscope.Subject(model, [(torch.randn(20, width), torch.arange(20) % 3)]) for model, width in ((a, 20), (b, 7))
    )
    comparison = deepscope.compare(mine, theirs, instruments=["representation"], budget="quick")
    assert comparison.representations is None
    assert "refuses the inputs" in dict(comparison.left_out)["representations"]
