"""trajectory: one network over the steps of its training."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
import torch
from torch import nn

from deepscope.core import UsageError
from deepscope.lab import trajectory


def steps(heights: tuple[float, ...] = (0.0, 0.5, 0.8)) -> list[nn.Sequential]:
    """Make a layer in which a spike grows, and one that stays."""
    torch.manual_seed(0)
    start = nn.Sequential(nn.Linear(96, 64), nn.ReLU(), nn.Linear(64, 64))
    spike = torch.outer(torch.randn(64), torch.randn(96))
    made = []
    for height in heights:
        network = nn.Sequential(nn.Linear(96, 64), nn.ReLU(), nn.Linear(64, 64))
        network.load_state_dict(start.state_dict())
        with torch.no_grad():
            network[0].weight += height * spike
        made.append(network)
    return made


def test_a_row_for_each_step_and_matrix() -> None:
    networks = steps()
    table = trajectory(networks, budget="quick").table.set_index(["name", "step"])
    assert list(table.index) == [(name, step) for step in range(3) for name in ("0.weight", "2.weight")]
    assert list(table.loc["0.weight", "n_spikes"]) == [0, 1, 1]
    assert list(table.loc["0.weight", "phase"])[:2] == ["random-like", "bulk+spikes"]
    assert list(table.loc["2.weight", "relative_change_since_start"]) == [0, 0, 0]
    first, last = (each[0].weight.detach().double() for each in (networks[0], networks[-1]))
    # Sums of 6144 squares in float64, in two orders: relative error below 1e-12.
    change = float((last - first).norm() / first.norm())
    assert table.loc[("0.weight", 2), "relative_change_since_start"] == pytest.approx(change, rel=1e-12)
    assert (table["alpha_low"] <= table["alpha"]).all()
    assert (table["alpha"] <= table["alpha_high"]).all()


def test_what_only_some_steps_have_is_in_the_ledger() -> None:
    networks: list[nn.Module] = [nn.Linear(40, 30), nn.Linear(40, 30, bias=False)]
    networks += [nn.ModuleDict({"more": nn.Linear(40, 30)})]
    found = trajectory(networks, budget="quick")
    ledger = dict(found.left_out)
    assert ledger["weight"] == "only at step 0, 1"
    assert ledger["more.weight"] == "only at step 2"
    assert ledger["bias"] == "a vector has no spectrum"
    assert found.table.empty
    assert "no matrix that all steps have" in str(found)


def test_a_change_that_does_not_exist_has_a_reason() -> None:
    networks = [nn.Linear(40, 30, bias=False), nn.Linear(41, 30, bias=False), nn.Linear(40, 30, bias=False)]
    with torch.no_grad():
        networks[2].weight[0, 0] = math.nan
    table = trajectory(networks, budget="quick").table
    assert list(table["change_status"]) == ["equal", "shapes differ: [30, 40] and [30, 41]", "non-finite values"]
    assert list(table["relative_change_since_start"].isna()) == [False, True, True]


def test_a_step_that_cannot_be_measured_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    from deepscope.lab import _trajectory

    networks, examine = steps(), _trajectory.examine
    asked: list[object] = []

    def failing(target: object, **options: object) -> object:
        asked.append(target)
        return examine(target, **({**options, "instruments": ["health"]} if len(asked) == 2 else options))

    monkeypatch.setattr(_trajectory, "examine", failing)
    found = trajectory(networks, budget="quick")
    assert found.failed == (1,)
    assert sorted(set(found.table["step"])) == [0, 2]
    assert any(entry.name.startswith("step 1: health") for entry in found.left_out)
    assert "1 step could not be measured" in str(found)


def test_one_step_is_no_trajectory() -> None:
    with pytest.raises(UsageError, match="two steps"):
        trajectory([nn.Linear(3, 3)])


def test_saved_as_page_and_as_data(tmp_path: Path) -> None:
    found = trajectory(steps(), budget="quick", command="deepscope compare 0.pt 1.pt 2.pt")
    record = json.loads(found.save(tmp_path / "t.json").read_text())
    assert record["schema"] == "deepscope.trajectory/1"
    assert len(record["table"]) == 6
    page = found.save(tmp_path / "t.html").read_text()
    assert page.count("<svg") >= 1
    assert ">0.weight</text>" in page
    assert "deepscope compare 0.pt 1.pt 2.pt" in page
    assert "spikes 0 → 1; 1 matrix changes its phase" in page
    assert "spikes 0 → 1; 1 matrix changes its phase" in " ".join(str(found).split())


def test_of_many_matrices_those_that_changed_most_are_named() -> None:
    torch.manual_seed(0)
    layers = [[nn.Linear(30, 30, bias=False) for _ in range(15)] for _ in range(3)]
    for step, network in enumerate(layers):
        for index, layer in enumerate(network):
            layer.load_state_dict(layers[0][index].state_dict())
            with torch.no_grad():
                layer.weight.mul_(1 + 0.1 * step * index)
    from deepscope.report import trajectory_page

    page = trajectory_page(trajectory([nn.Sequential(*network) for network in layers], budget="quick").to_dict())
    named = [index for index in range(15) if f">{index}.weight</text>" in page]
    assert named == list(range(3, 15))
    assert "The 12 that changed most are named" in page


def test_hostile_names_reach_neither_page_nor_terminal() -> None:
    record = trajectory(steps(), budget="quick").to_dict()
    for row in record["table"]:
        row["name"] = "<script>a$b$c\x1b[31m" + row["name"]
    from rich.console import Console

    from deepscope.report import trajectory_page, trajectory_text

    page = trajectory_page(record)
    assert "<script>a$" not in page
    assert "\x1b" not in page
    console = Console(width=100, record=True, quiet=True, file=None)
    trajectory_text(record, console)
    assert "\x1b[31m" not in console.export_text()


def test_it_draws_what_the_page_shows() -> None:
    torch.manual_seed(0)
    found = trajectory([torch.nn.Linear(40, 30), torch.nn.Linear(40, 30)])
    labels = [ax.get_ylabel() for ax in found.plot().axes]
    assert labels == ["tail exponent α", "spikes", "stable rank", "relative change\nsince the first step"]
