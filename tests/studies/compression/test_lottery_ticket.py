"""Lottery tickets: networks trained at once against one by one, what is compared written out, planted fakes."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from torch.nn import functional

from deepscope.core import Case, Verdict, derive_seed
from deepscope.data import Samples
from deepscope.figures import to_svg
from deepscope.models import MLP
from deepscope.studies.compression._drawn_images import draw_images, row_batches
from deepscope.studies.compression._ticket_trials import (
    ARMS,
    ROUNDS,
    FirstSteps,
    accuracies,
    stacked,
    summed_cross_entropy,
    train_network,
)
from deepscope.studies.compression.lottery_ticket import STUDY
from deepscope.training import KeepMasks, lottery_tickets, pruning_masks

SMALL = Case(**{**STUDY.defaults, "n_train": 60, "n_test": 40, "width": 12, "batch_size": 20, "steps": 6})


def images(n=60):
    return draw_images("digits", n, 40, torch.Generator().manual_seed(0))


def networks(width=6):
    torch.manual_seed(3)
    return MLP(64, [width, width // 2], 10), MLP(64, [width, width // 2], 10)


def some_masks(model, ratio=0.5):
    generator = torch.Generator().manual_seed(5)
    names = [f"{layer}.weight" for layer in ("hidden1", "hidden2", "output")]
    scores = {name: torch.rand(model.get_parameter(name).shape, generator=generator) for name in names}
    return pruning_masks(scores, ratio, scope="layer")


def test_networks_trained_at_once_are_those_trained_one_by_one():
    train, test = images()
    model, other = networks()
    tickets = [some_masks(model), some_masks(model, 0.8)]
    stack, masks = stacked(model, other, tickets, seed=1)
    train_network(stack, train, summed_cross_entropy, [KeepMasks(masks)], SMALL, 7)
    outputs = stack(test.inputs)
    assert len(outputs) == 2 * len(ARMS) + 1
    names = list(tickets[0])
    for place in (0, 3, 5, 7, 8):
        alone, _ = networks()
        if place == 3:
            _, alone = networks()
        own = {name: masks[f"weights.{depth}"][place] for depth, name in enumerate(names)}
        train_network(alone, train, functional.cross_entropy, [KeepMasks(own)], SMALL, 7)
        # Rounding in six steps of 0.0012 by Adam, which enlarges that of gradients near 0.
        torch.testing.assert_close(outputs[place], alone(test.inputs), rtol=0, atol=2e-4)
        assert (alone.hidden1.weight[~own["hidden1.weight"]] == 0).all()


def test_what_is_compared_has_as_many_weights_in_every_layer():
    model, other = networks()
    tickets = [some_masks(model), some_masks(model, 0.8)]
    stack, masks = stacked(model, other, tickets, seed=1)
    for depth, name in enumerate(tickets[0]):
        mask, weight = masks[f"weights.{depth}"], stack.weights[depth]
        for k, ticket in enumerate(tickets):
            same = [mask[k + 2 * arm] for arm in range(len(ARMS))]
            assert {int(each.sum()) for each in same} == {int(ticket[name].sum())}
            assert torch.equal(same[0], ticket[name])
            assert torch.equal(same[1], ticket[name])
            assert not torch.equal(same[2], ticket[name])
            # The largest before training: none that went is larger than one that stayed.
            size = model.get_parameter(name).detach().abs()
            assert size[~same[3]].max() <= size[same[3]].min()
        assert mask[-1].all()
        for place in range(9):
            source = other if place in (2, 3) else model
            assert torch.equal(weight[place], source.get_parameter(name))


def test_summed_losses_have_each_networks_own_gradient():
    logits = torch.randn(3, 5, 4, dtype=torch.float64, requires_grad=True)
    targets = torch.tensor([0, 1, 2, 3, 1])
    alone = [functional.cross_entropy(each, targets) for each in logits]
    torch.testing.assert_close(summed_cross_entropy(logits, targets), torch.stack(alone).sum())
    wanted = torch.autograd.grad(torch.stack(alone).sum(), logits)[0]
    torch.testing.assert_close(torch.autograd.grad(summed_cross_entropy(logits, targets), logits)[0], wanted)


class Answers(torch.nn.Module):
    """Networks that answer as they are told."""

    def __init__(self):
        super().__init__()
        self.now = []

    def forward(self, x):
        return functional.one_hot(torch.tensor(self.now), 2).double()


def test_first_steps_are_the_first_and_one_too_many_where_there_is_none():
    model = Answers()
    first = FirstSteps(Samples(torch.zeros(4, 1), torch.tensor([1, 1, 1, 1])), 0.75)
    script = [
        [[1, 1, 0, 0], [1, 1, 1, 0], [0, 0, 0, 0]],
        [[1, 1, 1, 1], [0, 0, 0, 0], [1, 1, 0, 0]],
        [[0, 0, 0, 0], [1, 1, 1, 1], [1, 0, 1, 0]],
    ]
    for step, answers in enumerate(script, start=1):
        model.now = answers
        first.on_step(SimpleNamespace(model=model, step=step))
    assert first.steps.tolist() == [2, 1, 4]
    assert accuracies(model, first.images).tolist() == [0, 1, 0.5]


def test_a_trial_is_the_method_and_a_training_of_its_tickets():
    run = SimpleNamespace(seed=1000, device=torch.device("cpu"), progress=lambda done: None)
    case = SMALL.replace(reached=0.15)
    found = STUDY.trial(case, run)
    # A fifth of what remains goes, rounded down by layer.
    assert found["remaining"] == pytest.approx([0.8**k for k in ROUNDS], abs=0.01)
    for column in ("accuracy", "start", "steps"):
        assert {len(found[f"{arm}_{column}"]) for arm in ARMS} == {len(ROUNDS)}
        assert isinstance(found[f"dense_{column}"], (int, float))
    assert all(1 <= step <= case.steps + 1 for arm in ARMS for step in found[f"{arm}_steps"])


def test_the_tickets_of_a_trial_are_found_in_its_own_batches():
    train, _ = images()
    model, _ = networks(12)
    start = {name: each.clone() for name, each in model.state_dict().items()}

    def train_one(network, callbacks):
        train_network(network, train, functional.cross_entropy, callbacks, SMALL, 7)

    (ticket,) = lottery_tickets(model, train_one, rounds=1, ratio=0.2)
    alone = MLP(64, [12, 6], 10)
    alone.load_state_dict(start)
    optimizer = torch.optim.Adam(alone.parameters(), lr=SMALL.learning_rate)
    for rows in row_batches(60, 20, 6, derive_seed(7, "batches")):
        optimizer.zero_grad()
        functional.cross_entropy(alone(train.inputs[rows]), train.targets[rows]).backward()
        optimizer.step()
    size = alone.hidden1.weight.detach().abs().flatten()
    lowest = size.argsort()[: int(0.2 * len(size))]
    assert not ticket.masks["hidden1.weight"].flatten()[lowest].any()
    assert torch.equal(model.hidden1.bias, start["hidden1.bias"])


#: By arm, for each of the rounds.
PLANTED = {
    "ticket_accuracy": (0.978, 0.977, 0.976, 0.974, 0.97, 0.94),
    "reinitialised_accuracy": (0.976, 0.968, 0.968, 0.962, 0.958, 0.88),
    "shuffled_accuracy": (0.975, 0.966, 0.966, 0.96, 0.93, 0.6),
    "untrained_accuracy": (0.977, 0.968, 0.966, 0.96, 0.94, 0.7),
    "ticket_steps": (2, 5, 10, 6, 45, 160),
    "reinitialised_steps": (50, 90, 110, 110, 170, 401),
    "shuffled_steps": (60, 100, 116, 145, 300, 401),
    "untrained_steps": (47, 99, 110, 130, 270, 401),
}


def table(seeds=5, **changes):
    """Return the trials of a study that reproduces, but for the changes: columns of numbers, or of one for all."""
    rng, rows = np.random.default_rng(0), []
    for seed in range(seeds):
        row = {"seed": seed, "remaining": [0.8**k for k in ROUNDS], "dense_start": 0.1}
        row["dense_accuracy"] = changes.get("dense_accuracy", 0.977)
        row["dense_steps"] = changes.get("dense_steps", 28)
        for name, planted in PLANTED.items():
            values = np.broadcast_to(np.asarray(changes.get(name, planted), dtype=float), len(ROUNDS))
            row[name] = (values * (1 + 1e-4 * rng.standard_normal(len(ROUNDS)))).tolist()
        rows.append(row | {f"{arm}_start": [0.2] * len(ROUNDS) for arm in ARMS})
    return pd.DataFrame(rows)


def verdict(trials):
    return Verdict.of(STUDY.judge(trials), seeds=trials["seed"].nunique()).outcome


def wrong(trials):
    return [criterion.name for criterion in STUDY.judge(trials) if not criterion.holds]


def test_what_is_planted_is_reproduced():
    criteria = STUDY.judge(table())
    assert verdict(table()) == "reproduced"
    assert [criterion.control for criterion in criteria] == [False] * 6 + [True] * 10


@pytest.mark.parametrize(
    ("changes", "failing"),
    [
        ({"ticket_accuracy": (0.978, 0.968, 0.968, 0.966, 0.97, 0.94)}, ["ticket minus dense: test accuracy, mean"]),
        (
            {"reinitialised_accuracy": (0.976, 0.968, 0.968, 0.975, 0.958, 0.88)},
            ["re-initialised: test accuracy at 13"],
        ),
        ({"reinitialised_accuracy": (0.976, 0.968, 0.968, 0.962, 0.958, 0.95)}, ["at 3.5 %"]),
        ({"reinitialised_steps": (50, 90, 110, 9, 170, 401)}, ["re-initialised over ticket"]),
        ({"ticket_steps": (2, 5, 10, 40, 45, 160)}, ["dense over ticket"]),
        ({"shuffled_accuracy": (0.975, 0.966, 0.966, 0.96, 0.97, 0.6)}, ["shuffled minus dense: test accuracy at 7 %"]),
        ({"untrained_steps": (47, 99, 110, 130, 20, 401)}, ["untrained over dense"]),
        ({"shuffled_accuracy": (0.96, 0.966, 0.966, 0.96, 0.93, 0.6)}, ["shuffled minus dense: test accuracy at 51 %"]),
    ],
    ids=str,
)
def test_each_criterion_catches_its_fault(changes, failing):
    trials = table(**changes)
    found = wrong(trials)
    assert verdict(trials) == "not reproduced"
    assert len(found) == len(failing)
    assert all(part in name for part, name in zip(failing, found, strict=True))


def test_networks_that_learn_nothing_fail():
    nothing = {name: 0.1 if "accuracy" in name else 401 for name in PLANTED}
    trials = table(**nothing, dense_accuracy=0.1, dense_steps=401)
    assert verdict(trials) == "not reproduced"
    held = [criterion.name for criterion in STUDY.judge(trials) if criterion.holds and not criterion.control]
    assert held == ["ticket minus dense: test accuracy, mean over 21, 17 and 13 % of the weights, points"]


def test_weights_that_do_not_matter_fail():
    alike = {f"reinitialised_{name}": PLANTED[f"ticket_{name}"] for name in ("accuracy", "steps")}
    assert verdict(table(**alike)) == "not reproduced"


def test_what_is_judged_is_run_at_quick_and_full():
    for scale in ("quick", "full"):
        grid = STUDY.grid(scale)
        assert len(grid.cases) == 1
        # Seeds from 1000 on were explored.
        assert max(grid.seeds) < 1000


def test_the_figure_names_what_it_shows():
    svg = to_svg(STUDY.draw(table()), "x")
    for name in ("ticket", "re-initialised", "shuffled mask", "Before training", "weights that remain"):
        assert name in svg
    for trials in (pd.DataFrame({"seed": []}), table(seeds=1)):
        assert STUDY.draw(trials).axes
