"""Selective copying: sequences against loops, what networks are, a trial against a loop, planted fakes."""

from __future__ import annotations

import math
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from torch.nn import functional

from deepscope.core import Case, UsageError, Verdict, derive_seed
from deepscope.figures import to_svg
from deepscope.models import LanguageModel, Mamba, SelectiveSSM
from deepscope.studies.state_space._copying_networks import (
    SELECTED,
    build_network,
    free_kernel,
    scan_error,
    step_sizes,
    unselected,
)
from deepscope.studies.state_space._copying_tasks import Task, right, sequences, stream, task_of
from deepscope.studies.state_space._copying_trials import STRETCHES, asked_for
from deepscope.studies.state_space.mamba_selective import STUDY

SMALL = Case(**STUDY.defaults, task="selective", arm="selective").replace(
    positions=6, tokens=2, n_values=3, width=4, state_size=3, steps=STRETCHES, batch_size=4, n_test=32
)


def drawn(name, positions=9, tokens=4, n_values=5, n=200, seed=0):
    return sequences(Task(name, positions, tokens, n_values), n, torch.Generator().manual_seed(seed))


def test_selective_copying_asks_for_the_values_in_their_order():
    inputs, asked = drawn("selective")
    assert inputs.shape == (200, 13)
    for row, wanted in zip(inputs.tolist(), asked.tolist(), strict=True):
        assert [token for token in row[:9] if token != 0] == wanted
        assert row[9:] == [6] * 4
    assert set(asked.unique().tolist()) == {1, 2, 3, 4, 5}
    # 4 of 9 places each: a place holds a value with probability 4/9, ± 4 √(0.25/200).
    filled = (inputs[:, :9] != 0).double().mean(0)
    assert (filled - 4 / 9).abs().max() < 0.14


def test_fixed_copying_has_its_values_first():
    inputs, asked = drawn("fixed")
    assert torch.equal(inputs[:, :4], asked)
    assert not inputs[:, 4:9].any()
    assert (inputs[:, 9:] == 6).all()


def test_induction_asks_for_what_came_behind_the_mark():
    inputs, asked = drawn("induction", tokens=1)
    places = set()
    for row, (wanted,) in zip(inputs.tolist(), asked.tolist(), strict=True):
        first = row.index(6)
        assert first < len(row) - 2
        assert row[first + 1] == wanted
        assert row[-1] == 6
        assert row.count(6) == 2
        places.add(first)
    assert places == set(range(8))


def test_a_stretched_task_has_more_steps_and_as_many_tokens():
    task = Task("selective", 6, 2, 3)
    assert task.stretched(4) == Task("selective", 24, 2, 3)
    assert (task.length, task.stretched(4).length, task.vocabulary) == (8, 26, 5)


def test_batches_of_a_stretch_are_the_same_each_time_and_others_in_the_next():
    task = Task("selective", 6, 2, 3)
    first, again, other, second = (
        [x for x, _ in stream(task, 3, 4, seed, epoch)] for seed, epoch in ((7, 0), (7, 0), (8, 0), (7, 1))
    )
    assert all(torch.equal(*both) for both in zip(first, again, strict=True))
    assert not torch.equal(first[0], first[1])
    assert not torch.equal(first[0], other[0])
    assert not torch.equal(first[0], second[0])


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"task": "selectiv"}, "unknown task"),
        ({"tokens": 7}, "7 tokens"),
        ({"tokens": 0}, "0 tokens"),
        ({"n_values": 0}, "0 values"),
        ({"task": "induction"}, "2 tokens"),
        ({"task": "induction", "tokens": 1, "positions": 1}, "1 steps"),
    ],
)
def test_tasks_that_do_not_exist_are_refused(changed, message):
    with pytest.raises(UsageError, match=message):
        task_of(SMALL.replace(**changed))


def network(seed=0, **changed):
    case = SMALL.replace(**changed)
    return build_network(case, task_of(case), seed)


def test_selective_and_frozen_networks_are_mamba_without_gate():
    for arm, selective in (("selective", True), ("frozen", False)):
        torch.manual_seed(3)
        body = Mamba(4, 2, state_size=3, selective=selective, gated=False)
        twin = LanguageModel(5, 4, body)
        model = network(3, arm=arm)
        x = torch.randint(0, 5, (2, 9))
        assert torch.equal(model(x), twin(x))


def test_an_unknown_arm_is_refused():
    with pytest.raises(UsageError, match="unknown arm"):
        network(arm="kernels")


def test_a_wide_network_is_that_many_times_as_wide_and_a_gated_one_has_a_gate():
    assert network(wide=4).width == 16
    plain, gated = (sum(p.numel() for p in network(arm="kernel", gated=gate).parameters()) for gate in (False, True))
    # Two layers, whose first map has 2 · 4 · 4 weights more.
    assert gated - plain == 2 * 32
    assert network(arm="h3", state_size=2)(torch.zeros(2, 8, dtype=torch.int64)).shape == (2, 8, 5)


def test_a_free_kernel_is_a_convolution_written_out():
    generator = torch.Generator().manual_seed(0)
    model = free_kernel(3, 7).double()
    x = torch.randn(2, 7, 3, generator=generator, dtype=torch.float64)
    wanted = torch.zeros_like(x)
    for t in range(7):
        for lag in range(t + 1):
            wanted[:, t] += model.C[:, lag] * x[:, t - lag]
    wanted += x
    torch.testing.assert_close(model(x), wanted)
    torch.testing.assert_close(model.scan(x)[0], wanted)
    assert [name for name, each in model.named_parameters() if each.requires_grad] == ["D", "C"]


def test_a_free_kernel_can_be_what_a_frozen_state_space_is():
    frozen = SelectiveSSM(6, 4, selective=False).double()
    impulse = torch.zeros(1, 9, 6, dtype=torch.float64)
    impulse[:, 0] = 1
    with torch.no_grad():
        model = free_kernel(6, 9).double()
        # D of both is 1.
        model.C.copy_((frozen(impulse) - impulse)[0].T)
        x = torch.randn(3, 9, 6, dtype=torch.float64)
        torch.testing.assert_close(model(x), frozen(x))


@pytest.mark.parametrize("arm", ["frozen", "kernel", "selective"])
def test_only_a_selective_state_space_is_not_linear(arm):
    space = network(arm=arm).double().body.layers[0].mixer.state_space
    x, z = torch.randn(2, 2, 8, 8, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    linear = torch.allclose(space(x + 2 * z), space(x) + 2 * space(z))
    assert linear == (arm != "selective")


def test_without_its_selection_a_state_space_is_linear_and_afterwards_as_before():
    space = network().double().body.layers[0].mixer.state_space
    x = torch.randn(3, 8, 8, dtype=torch.float64)
    before = space(x)
    with unselected(space):
        held = space(x)
    assert torch.equal(space(x), before)
    assert not torch.allclose(held, before)
    # Written out: one Δ, one B and one C for all sequences and steps.
    low, B, C = torch.split(space.selection(x).mean((0, 1)), [space.step_rank, 3, 3])
    step = functional.softplus(space.step_size(low))
    state, wanted = torch.zeros(3, 8, 3, dtype=torch.float64), []
    for u in x.unbind(1):
        state = torch.exp(step[:, None] * -space.A_log.exp()) * state + (step * u)[..., None] * B
        wanted.append(state @ C + space.D * u)
    torch.testing.assert_close(held, torch.stack(wanted, 1))


@pytest.mark.parametrize("part", SELECTED)
def test_what_is_held_is_one_part_alone(part):
    model = network().double()
    space, seen = model.body.layers[0].mixer.state_space, {}
    x = torch.randn(3, 8, 8, dtype=torch.float64)
    with unselected(model, (part,)):
        pieces = torch.split(space.selection(x), [space.step_rank, 3, 3], -1)
    whole = torch.split(space.selection(x), [space.step_rank, 3, 3], -1)
    for name, found, free in zip(SELECTED, pieces, whole, strict=True):
        seen[name] = torch.equal(found, free)
        constant = free.mean((0, 1)).expand_as(free)
        torch.testing.assert_close(found, constant if name == part else free)
    assert seen == {name: name != part for name in SELECTED}


def test_step_sizes_are_those_that_the_state_spaces_take():
    model = network().double()
    tokens = torch.randint(0, 5, (3, 8), generator=torch.Generator().manual_seed(0))
    first, _ = step_sizes(model, tokens)
    mixer = model.body.layers[0].mixer
    h = model.body.layers[0].norm(model.embedding(tokens))
    v = functional.silu(mixer.convolution(mixer.input_projection(h)))
    low = v @ mixer.state_space.selection.weight[: mixer.state_space.step_rank].T
    torch.testing.assert_close(first, functional.softplus(mixer.state_space.step_size(low)))
    assert step_sizes(network(arm="frozen"), tokens) == []


def test_the_scan_is_the_recurrence_and_another_one_is_not(monkeypatch):
    tokens = torch.randint(0, 5, (3, 40), generator=torch.Generator().manual_seed(0))
    model = network()
    # Some hundred operations of rounding error in either precision.
    assert scan_error(model, tokens, torch.float32) < 1e-5
    assert 0 < scan_error(model, tokens, torch.float64) < 1e-13
    step = SelectiveSSM.step
    monkeypatch.setattr(SelectiveSSM, "step", lambda self, x, state: step(self, x, 0.9 * state))
    assert scan_error(model, tokens, torch.float64) > 1e-5


class Run:
    """What a trial is handed, as the lab does it."""

    device = torch.device("cpu")

    def __init__(self, seed=1000):
        self.seed, self.done = seed, []
        self.folder = tempfile.TemporaryDirectory()

    @property
    def checkpoint(self):
        return Path(self.folder.name) / "checkpoint.pt"

    def progress(self, done):
        self.done.append(done)


@pytest.mark.parametrize("arm", ["selective", "kernel"])
def test_a_trial_equals_a_loop_written_out(arm):
    run, case = Run(), SMALL.replace(arm=arm, steps=2 * STRETCHES, learning_rate=0.02)
    found = STUDY.trial(case, run)
    task = task_of(case)
    model = build_network(case, task, derive_seed(1000, "weights"))
    optimizer = torch.optim.Adam([each for each in model.parameters() if each.requires_grad], lr=0.02)
    curve, step, total = [], 0, 2 * STRETCHES

    def shares(positions, n):
        generator = torch.Generator().manual_seed(derive_seed(1000, "test", positions))
        x, y = sequences(Task("selective", positions, 2, 3), n, generator)
        with torch.no_grad():
            return (model(x)[:, -2:].argmax(-1) == y).double()

    for stretch in range(STRETCHES):
        for x, y in stream(task, 2, 4, 1000, stretch):
            factor = 1.0 if step < 1 else (1 + math.cos(math.pi * (step - 1) / (total - 1))) / 2
            optimizer.param_groups[0]["lr"] = 0.02 * factor
            optimizer.zero_grad()
            functional.cross_entropy(model(x)[:, -2:].reshape(-1, 5), y.reshape(-1)).backward()
            optimizer.step()
            step += 1
        curve.append(shares(6, 8).mean().item())
    assert found["curve"] == pytest.approx(curve)
    assert found["at_steps"] == [2 * (k + 1) for k in range(STRETCHES)]
    assert found["accuracy"] == pytest.approx(shares(6, 32).mean().item())
    assert found["whole"] == pytest.approx(shares(6, 32).prod(1).mean().item())
    assert found["longer"] == pytest.approx([shares(6 * factor, 8).mean().item() for factor in (1, 2, 4, 8)])
    assert run.done[-1] == 1
    if arm == "kernel":
        assert found["unselected"] is found["scan_float64"] is found["step_at_blanks"] is None
    else:
        assert len(found["step_at_values"]) == len(found["step_at_blanks"]) == 2
        assert found["scan_float64"] < 1e-10


def test_a_run_is_taken_up_where_it_was_left():
    run = Run()
    first = STUDY.trial(SMALL, run)
    assert run.checkpoint.exists()
    assert STUDY.trial(SMALL, run) == first


@pytest.mark.parametrize("steps", [STRETCHES - 1, STRETCHES + 1])
def test_steps_that_do_not_divide_are_refused(steps):
    with pytest.raises(UsageError, match="multiple"):
        STUDY.trial(SMALL.replace(steps=steps), Run())


def test_the_loss_is_of_what_is_asked_for_alone():
    logits = torch.zeros(3, 7, 5)
    logits[:, :5] = 100 * torch.randn(3, 5, 5)
    asked = torch.tensor([[1, 2], [3, 4], [0, 1]])
    assert asked_for(logits, asked).item() == pytest.approx(math.log(5))
    logits[:, -2:].scatter_(2, asked[..., None], 50.0)
    assert asked_for(logits, asked).item() == pytest.approx(0, abs=1e-6)
    assert right(logits, asked).all()


PLANTED = {
    "selective_selective": {"accuracy": 0.99, "whole": 0.97, "unselected": 0.2, "longer": 0.95},
    "selective_frozen": {"accuracy": 0.5, "whole": 0.1, "longer": 0.2},
    "selective_kernel": {"accuracy": 0.75, "whole": 0.3, "longer": 0.2},
    "fixed_selective": {"accuracy": 1.0, "whole": 1.0, "unselected": 0.2, "longer": 0.2},
    "fixed_kernel": {"accuracy": 1.0, "whole": 1.0, "longer": 0.2},
}


def table(seeds=5, without=None, extra=(), **changes):
    """Return the trials of a study that reproduces, but for the changes, by ``task_arm``."""
    rng, rows = np.random.default_rng(0), []
    for seed in range(seeds):
        for key, numbers in [*PLANTED.items(), *extra]:
            if key == without:
                continue
            task, arm = key.split("_")
            numbers = numbers | changes.get(key, {})
            noise = 1 - 0.005 * rng.random()
            row = {name: value * noise for name, value in numbers.items()}
            selective = arm == "selective"
            rows.append(
                {
                    **{"task": task, "arm": arm, "gated": False, "wide": 1, "n_values": 8, "seed": seed},
                    **dict.fromkeys(("unselected", "without_step", "without_B", "without_C")),
                    **row,
                    "at_steps": [1, 2, 3],
                    "curve": [0.2, 0.4, row["accuracy"]],
                    "factors": [1, 2, 4, 8],
                    "longer": [row["accuracy"], row["longer"], row["longer"], row["longer"]],
                    "scan_float32": numbers.get("scan_float32", 1e-7) if selective else None,
                    "scan_float64": numbers.get("scan_float64", 1e-15) if selective else None,
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
    assert [criterion.control for criterion in criteria] == [False] * 11 + [True] * 3


def test_what_is_shown_beside_it_decides_nothing():
    shown = table().assign(gated=True, accuracy=0.99, whole=0.99)
    wide = table().assign(wide=4, accuracy=0.99, whole=0.99)
    assert STUDY.judge(pd.concat([table(), shown, wide])) == STUDY.judge(table())


def test_networks_that_learn_nothing_fail():
    trials = table().assign(accuracy=0.125, whole=0.0002, unselected=0.125)
    assert verdict(trials) == "not reproduced"
    holds = [criterion.name for criterion in STUDY.judge(trials) if criterion.holds]
    assert "frozen block: sequences copied without an error" in holds
    assert not any("minus" in name and "fixed" not in name and "four" not in name for name in holds)


@pytest.mark.parametrize("arm", ["frozen", "kernel"])
def test_networks_without_selection_that_copy_fail(arm):
    trials = table(**{f"selective_{arm}": {"accuracy": 0.99, "whole": 0.97}})
    name = {"frozen": "frozen block", "kernel": "free kernel"}[arm]
    assert verdict(trials) == "not reproduced"
    assert wrong(trials) == [
        f"{name}: sequences copied without an error",
        f"selective minus {name}: tokens copied",
    ]


def test_selection_that_is_not_used_fails():
    trials = table(selective_selective={"unselected": 0.9})
    assert wrong(trials) == ["selective: tokens lost when Δ, B and C are held at their means"]
    assert verdict(trials) == "not reproduced"


def test_selective_networks_that_copy_only_at_the_length_of_training_fail():
    trials = table(selective_selective={"longer": 0.55})
    assert verdict(trials) == "not reproduced"
    assert len(wrong(trials)) == 2
    assert all("four times" in name for name in wrong(trials))
    # A frozen block that passes over blanks as well.
    trials = table(selective_frozen={"longer": 0.7})
    assert wrong(trials) == ["selective minus frozen block, four times the steps: tokens copied"]


@pytest.mark.parametrize(("name", "error"), [("scan_float32", 1e-4), ("scan_float64", 1e-9)])
def test_a_scan_that_is_not_the_recurrence_fails(name, error):
    trials = table(selective_selective={name: error})
    assert verdict(trials) == "not reproduced"
    assert [name.removeprefix("scan_") in each for each in wrong(trials)] == [True]


@pytest.mark.parametrize("arm", ["selective", "kernel"])
def test_a_network_that_does_not_learn_what_needs_no_selection_fails(arm):
    trials = table(**{f"fixed_{arm}": {"accuracy": 0.9}})
    assert verdict(trials) == "not reproduced"
    assert len(wrong(trials)) == 2
    assert all(name.startswith("fixed places") for name in wrong(trials))


@pytest.mark.parametrize("without", list(PLANTED))
def test_missing_conditions_leave_it_open(without):
    assert verdict(table(without=without)) == "inconclusive"


def test_a_missing_number_leaves_it_open():
    trials = table()
    trials.loc[trials["task"] == "selective", "whole"] = None
    assert verdict(trials) == "inconclusive"


def test_induction_is_judged_where_it_is_run():
    good = ("induction_selective", {"accuracy": 0.99, "whole": 0.99, "unselected": 0.1, "longer": 0.98})
    trials = table(extra=(good,))
    assert verdict(trials) == "reproduced"
    assert len(STUDY.judge(trials)) == len(STUDY.judge(table())) + 2
    for change in ({"accuracy": 0.9}, {"longer": 0.7}):
        assert verdict(table(extra=(good,), induction_selective=change)) == "not reproduced"


def test_what_is_judged_is_run_at_quick_and_full():
    for scale in ("quick", "full"):
        grid = STUDY.grid(scale)
        found = {(f"{case.task}_{case.arm}") for case in grid.cases if not case.gated and case.wide == 1}
        assert set(PLANTED) <= found
        # Seeds from 1000 on were explored.
        assert max(grid.seeds) < 1000


def test_the_figure_names_what_it_shows():
    svg = to_svg(STUDY.draw(table()), "x")
    for name in ("selective", "frozen", "free kernel", "guessing", "training steps", "all three"):
        assert name in svg
    for trials in (pd.DataFrame({"seed": []}), table(seeds=1).iloc[:1], table(seeds=1, without="selective_selective")):
        assert STUDY.draw(trials).axes
