"""Transfer of rates over widths: training against torch's Adam, the parabola, the criteria against planted fakes."""

from __future__ import annotations

import copy
import math
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn
from torch.nn import functional

from deepscope.core import Case, UsageError, Verdict, derive_seed
from deepscope.data import load
from deepscope.figures import to_svg
from deepscope.studies.wide_networks._mup_transfer_trials import optimum
from deepscope.studies.wide_networks._width_training import ARMS, losses, parametrise, perceptron, train_at_rates
from deepscope.studies.wide_networks.mup_transfer import STUDY
from deepscope.training import maximal_update, width_factors


def batches(n: int, size: int = 8):
    generator = torch.Generator().manual_seed(0)
    return [
        (torch.rand(size, 1, 8, 8, generator=generator), torch.randint(10, (size,), generator=generator))
        for _ in range(n)
    ]


@pytest.mark.parametrize("arm", list(ARMS))
def test_copies_are_trained_as_torchs_adam_trains_one(arm):
    torch.manual_seed(0)
    network, base = perceptron(12), perceptron(4)
    factors, data = parametrise(network, base, arm), batches(6)
    rates = torch.tensor([0.001, 0.02])
    found = train_at_rates(network, factors, rates, data)
    for copy_number, rate in enumerate(rates.tolist()):
        one = copy.deepcopy(network)
        groups = [
            {"params": [each], "lr": rate * factor} for each, factor in zip(one.parameters(), factors, strict=True)
        ]
        optimizer = torch.optim.Adam(groups)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=6)
        for x, y in data:
            optimizer.zero_grad()
            functional.cross_entropy(one(x), y).backward()
            optimizer.step()
            schedule.step()
        for own, each in zip(found, one.parameters(), strict=True):
            # Six steps of a rate, in float32; where a gradient is near 0 its sign decides Adam's step.
            assert torch.allclose(own[copy_number], each, rtol=0, atol=2e-3 * rate)
        x, y = data[0]
        assert losses(found, x, y)[copy_number].item() == pytest.approx(
            functional.cross_entropy(one(x), y).item(), rel=1e-4
        )


def test_an_arm_leaves_one_kind_of_tensors_as_standard():
    torch.manual_seed(0)
    network, base = perceptron(16), perceptron(4)
    whole, found = copy.deepcopy(network), {}
    groups = maximal_update(whole, base, lr=1.0)
    rates = {id(each): group["lr"] for group in groups for each in group["params"]}
    kinds = [each.kind for each in width_factors(network, base).values()]
    assert kinds == ["input", "input", "hidden", "input", "hidden", "input", "output", "fixed"]
    for arm in ARMS:
        found[arm] = (one := copy.deepcopy(network)), parametrise(one, base, arm)
    assert found["standard"][1] == [1.0] * 8
    assert found["mup"][1] == [rates[id(each)] for each in whole.parameters()]
    for arm, kind in (("mup", None), ("hidden as standard", "hidden"), ("output as standard", "output")):
        model, factors = found[arm]
        for number, (own, plain, scaled) in enumerate(
            zip(model.parameters(), network.parameters(), whole.parameters(), strict=True)
        ):
            assert torch.equal(own, plain if kinds[number] == kind else scaled)
            assert factors[number] == (1.0 if kinds[number] == kind else found["mup"][1][number])
    for own, plain in zip(found["standard"][0].parameters(), network.parameters(), strict=True):
        assert torch.equal(own, plain)
    with pytest.raises(UsageError, match="unknown arm: standart"):
        parametrise(network, base, "standart")


def test_the_optimum_is_that_of_a_parabola_and_lacks_at_an_end():
    x = np.arange(-8.0, -1.0)
    assert optimum(x, np.exp(0.3 * (x + 4.6) ** 2)) == pytest.approx(-4.6)
    assert optimum(x, np.where(x > -4, np.nan, np.exp(np.abs(x + 5)))) == pytest.approx(-5.0)
    assert optimum(x, np.exp(x)) is None
    assert optimum(x, np.exp(-x)) is None
    assert optimum(x, np.where(x > -5, np.inf, np.exp(np.abs(x + 5)))) is None
    assert optimum(x, np.ones(7)) is None


def run(seed=1000):
    return SimpleNamespace(seed=seed, device=torch.device("cpu"), generator=torch.Generator().manual_seed(seed))


def trial(**case):
    small = {"base": 4, "width": 16, "lowest": -8, "highest": -4, "steps": 3, "batch_size": 8, "probe": 8}
    return STUDY.trial(Case(**{**STUDY.defaults, **small, "coordinate_steps": 2, **case}), run())


def test_a_trial_of_rates_has_the_same_batches_in_all_arms_and_at_the_base_the_same_losses():
    curves = [trial(measure="rates", arm=arm, width=4)["losses"] for arm in ARMS]
    for curve in curves[1:]:
        assert np.array_equal(curve, curves[0])
    wide = [trial(measure="rates", arm=arm)["losses"] for arm in ARMS]
    assert not np.array_equal(wide[0], wide[1])
    assert trial(measure="rates", arm="mup")["log2_rates"].tolist() == [-8, -7, -6, -5, -4]
    # Nothing is learnt at a rate of 0, whatever the arm: the loss is that of a network that is about uniform.
    still = trial(measure="rates", arm="mup", lowest=-60, highest=-58)
    assert still["losses"] == pytest.approx(math.log(10), abs=0.2)
    assert np.ptp(still["losses"]) < 1e-6
    with pytest.raises(UsageError, match="unknown measure: rate"):
        trial(measure="rate", arm="mup")


def test_a_trial_of_coordinates_is_a_loop_written_out():
    found = trial(measure="coordinates", arm="standard", width=32)
    assert found["widths"].tolist() == [8, 16, 32]
    for name in ("last_hidden", "output"):
        slope = np.polyfit(np.log(found["widths"]), np.log(found[f"{name}_change"]), 1)[0]
        assert found[f"{name}_slope"] == pytest.approx(slope)
    digits = load("digits").train
    x, y = digits.inputs[:8], digits.targets[:8]
    # From the same seed: the same networks.
    torch.manual_seed(derive_seed(1000, "coordinate_check", 32))
    network = perceptron(32)
    optimizer = torch.optim.Adam(network.parameters(), lr=2.0**-8)
    before = network(x).detach()
    for _ in range(2):
        optimizer.zero_grad()
        nn.functional.cross_entropy(network(x), y).backward()
        optimizer.step()
    change = (network(x) - before).square().mean().sqrt().item()
    assert found["output_change"][-1] == pytest.approx(change, rel=1e-3)


LOGS = np.arange(-11.0, -1.0)
#: Best rate at width 32, slopes of the best rate and of both coordinates, loss at the best rate, by arm.
PLANTED = {
    "standard": (-0.75, 0.75, 1.05),
    "mup": (0.05, -0.03, -0.07),
    "hidden as standard": (-0.5, 0.95, 0.5),
    "output as standard": (-0.3, -0.03, 0.65),
}


def table(seeds=5, without=None, change=0.2, better=0.8, **slopes):
    """Return trials of a study that reproduces, but for the changes."""
    rng, rows = np.random.default_rng(0), []
    for seed in range(seeds):
        for arm, planted in PLANTED.items():
            if arm == without:
                continue
            best, hidden, output = slopes.get(arm.split()[0], planted)
            noise = 0.01 * rng.standard_normal()
            for width in (32, 128, 512):
                octaves = math.log2(width / 32)
                place = -5 + octaves * (best + noise)
                losses = 0.1 * (better if arm == "mup" else 1.0) ** octaves * np.exp(0.5 * (LOGS - place) ** 2)
                if width == 32:
                    losses = 0.1 * np.exp(0.5 * (LOGS + 5) ** 2)
                row = {"measure": "rates", "arm": arm, "width": width, "seed": seed, "log2_rates": LOGS}
                rows.append({**row, "losses": losses, "optimum": optimum(LOGS, losses)})
            widths = np.array([64, 128, 256, 512])
            rows.append(
                {
                    **{"measure": "coordinates", "arm": arm, "width": 512, "seed": seed, "widths": widths},
                    **{"last_hidden_slope": hidden + noise, "output_slope": output + noise, "least_change": change},
                    **{"last_hidden_change": widths**hidden, "output_change": widths**output},
                }
            )
    return pd.DataFrame(rows)


def verdict(trials):
    return Verdict.of(STUDY.judge(trials), seeds=trials["seed"].nunique()).outcome


def wrong(trials):
    return [criterion.name for criterion in STUDY.judge(trials) if not criterion.holds]


def test_what_is_planted_is_reproduced():
    criteria = STUDY.judge(table())
    assert verdict(table()) == "reproduced"
    assert [criterion.control for criterion in criteria] == [False] * 10 + [True] * 3
    assert criteria[0].measured == pytest.approx(0.05, abs=0.02)
    assert criteria[1].measured == pytest.approx(-0.75, abs=0.02)


def test_doing_nothing_fails():
    """Networks in one parametrisation, which do not move, whatever it is called."""
    flat = (0.0, 0.0, 0.0)
    trials = table(change=0.0, better=1.0, standard=flat, mup=flat, hidden=flat, output=flat)
    assert verdict(trials) == "not reproduced"
    holds = [criterion.name for criterion in STUDY.judge(trials) if criterion.holds]
    assert all(name.startswith(("µP: best rate", "µP: coordinate", "at the base's")) for name in holds)


@pytest.mark.parametrize(
    ("changes", "names"),
    [
        ({"mup": (-0.3, -0.03, -0.07)}, ["µP: best rate"]),
        ({"mup": (0.05, 0.3, -0.07)}, ["µP: coordinate slope of the last hidden layer"]),
        ({"mup": (0.05, -0.03, -0.3)}, ["µP: coordinate slope of the output"]),
        ({"standard": (-0.45, 0.75, 1.05)}, ["standard: best rate"]),
        ({"standard": (-0.75, 0.1, 1.05)}, ["standard: coordinate slope of the last hidden layer"]),
        ({"standard": (-0.75, 0.75, 0.1)}, ["standard: coordinate slope of the output"]),
        ({"hidden": (0.0, 0.95, 0.5)}, ["µP with hidden layers as standard"]),
        ({"output": (-0.3, -0.03, 0.0)}, ["µP with the output as standard"]),
        ({"change": 0.01}, ["µP: least change"]),
        ({"better": 1.2}, ["µP: log of the loss"]),
    ],
)
def test_each_criterion_fails_on_its_own_fault(changes, names):
    trials = table(**changes)
    assert verdict(trials) == "not reproduced"
    found = wrong(trials)
    assert len(found) == len(names)
    assert all(name.startswith(wanted) for name, wanted in zip(found, names, strict=True))


def test_a_rate_that_transfers_as_badly_as_the_standard_ones_fails():
    trials = table(mup=(-0.75, -0.03, -0.07), better=1.0)
    assert "log of the loss of the widest at the base's best rate, µP over standard (below log ½)" in wrong(trials)


def test_networks_that_differ_at_the_base_fail():
    trials = table()
    row = trials[(trials["arm"] == "mup") & (trials["width"] == 32)].index[0]
    trials.at[row, "losses"] = trials.at[row, "losses"] + 1e-9
    assert verdict(trials) == "not reproduced"
    assert [name.startswith("at the base's width") for name in wrong(trials)] == [True]


@pytest.mark.parametrize("without", list(PLANTED))
def test_missing_arms_leave_it_open(without):
    assert verdict(table(without=without)) == "inconclusive"


def test_a_best_rate_at_an_end_of_the_grid_leaves_it_open():
    trials = table()
    trials.loc[trials[trials["arm"] == "mup"].index[1], "optimum"] = None
    assert verdict(trials) == "inconclusive"
    assert STUDY.judge(trials)[0].missing == 1


def test_what_is_judged_is_run_at_quick_and_full():
    for scale in ("quick", "full"):
        grid = STUDY.grid(scale)
        for arm in PLANTED:
            widths = {case.width for case in grid.cases if case.arm == arm and case.measure == "rates"}
            assert 32 in widths
            assert len(widths) >= 3
            assert any(case.measure == "coordinates" for case in grid.cases if case.arm == arm)
        # Seeds from 1000 on were explored.
        assert max(grid.seeds) < 1000


def test_the_figure_names_what_it_shows():
    svg = to_svg(STUDY.draw(table()), "x")
    for name in ("Standard parametrisation", "µP", "as standard", "learning rate", "width", "512"):
        assert name in svg
    for trials in (pd.DataFrame({"seed": []}), table(seeds=1).iloc[:1], table(seeds=1, without="mup")):
        assert STUDY.draw(trials).axes
