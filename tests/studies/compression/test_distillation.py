"""Distillation: students trained at once against one by one, the matched bias by brute force, planted fakes."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch

from deepscope.core import Case, UsageError, Verdict, derive_seed
from deepscope.figures import to_svg
from deepscope.models import MLP
from deepscope.studies.compression import _distillation_trials
from deepscope.studies.compression._distillation_trials import (
    ARMS,
    Arm,
    at_true_rate,
    permuted_others,
    teacher,
    train_students,
)
from deepscope.studies.compression._drawn_images import draw_images, row_batches
from deepscope.studies.compression._stacked_mlp import StackedMLP
from deepscope.studies.compression.distillation import STUDY
from deepscope.subject import seeded_generators
from deepscope.training import DistillationLoss, cosine, fit, with_teacher

SMALL = Case(**{**STUDY.defaults, "teacher_width": 8, "student_width": 6, "steps": 12, "batch_size": 16}).replace(
    transfer="omitted", n_transfer=80, n_train=80, n_test=60
)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def test_images_are_drawn_once_and_standardised_by_those_of_training():
    train, test = draw_images("digits", 1200, 597, generator())
    assert train.inputs.mean().item() == pytest.approx(0, abs=1e-5)
    assert train.inputs.std(correction=0).item() == pytest.approx(1, abs=1e-5)
    # The digits hold no image twice.
    assert len(torch.unique(torch.cat([train.inputs, test.inputs]).flatten(1), dim=0)) == 1797
    again, _ = draw_images("digits", 1200, 597, generator())
    assert torch.equal(train.inputs, again.inputs)


@pytest.mark.parametrize(("n_train", "n_test"), [(0, 1), (1, 0), (1200, 598)])
def test_images_that_do_not_exist_are_refused(n_train, n_test):
    with pytest.raises(UsageError, match="images are asked for"):
        draw_images("digits", n_train, n_test, generator())


def test_batches_go_through_one_order_after_another():
    batches = list(row_batches(6, 3, 5, seed=1))
    for first, second in ((0, 1), (2, 3)):
        assert sorted(torch.cat([batches[first], batches[second]]).tolist()) == list(range(6))
    assert len(batches) == 5
    assert [sorted(each.tolist()) for each in row_batches(3, 60, 2, seed=1)] == [[0, 1, 2]] * 2


def test_the_others_logits_are_permuted_and_the_targets_stay():
    logits = torch.randn(200, 10, generator=generator())
    targets = torch.randint(10, (200,), generator=generator(1))
    found = permuted_others(logits, targets, generator(2))
    rows = torch.arange(200)
    assert torch.equal(found[rows, targets], logits[rows, targets])
    assert torch.equal(found.sort(1).values, logits.sort(1).values)
    # Of nine others each stays in its place once in nine times: 200 of 1800, give or take 5 times 13.
    assert abs(int((found == logits).sum()) - 200 - 200) < 70


def test_the_matched_bias_is_that_of_brute_force():
    logits = torch.randn(50, 4, generator=generator(), dtype=torch.float64)
    for count in (0, 7, 50):
        found, low, high = at_true_rate(logits, 2, count), -100.0, 100.0
        for _ in range(60):
            bias = (low + high) / 2
            moved = logits.clone()
            moved[:, 2] += bias
            named = int((moved.argmax(1) == 2).sum())
            low, high = (bias, high) if named < count else (low, bias)
            if named == count:
                break
        assert torch.equal(found, moved.argmax(1))


def test_students_trained_at_once_are_those_trained_one_by_one():
    train, _ = draw_images("digits", 40, 1, generator())
    taught = MLP(64, [8], 10)
    arms = [Arm("teacher", 1, 0.0), Arm("teacher", 8), Arm("teacher", 2, 0.5)]
    with torch.no_grad():
        logits = taught(train.inputs)
    stack = train_students(SMALL, train, arms, logits.expand(3, -1, -1), seed=7)
    for place, arm in enumerate(arms):
        with seeded_generators(derive_seed(7, "student")):
            alone = MLP(64, [SMALL.student_width], 10)

        def data(epoch):
            for rows in row_batches(40, 16, 12, derive_seed(7, "student batches")):
                yield train.inputs[rows], train.targets[rows]

        fit(
            alone,
            with_teacher(data, taught),
            DistillationLoss(arm.temperature, arm.soft_weight),
            optimizer=torch.optim.Adam(alone.parameters(), lr=SMALL.learning_rate),
            epochs=1,
            schedule=cosine(12),
        )
        # Twelve steps of 0.001 at most; rounding turns a gradient near 0, and Adam makes 1e-3 of that in one step at
        # worst, but 1e-5 where gradients are above 1e-6.
        torch.testing.assert_close(stack(train.inputs)[place], alone(train.inputs), rtol=0, atol=2e-4)
    assert not torch.allclose(stack(train.inputs)[0], stack(train.inputs)[1], atol=1e-3)


def test_a_stack_takes_each_network_as_it_is():
    models = [MLP(4, [5, 3], 2) for _ in range(3)]
    x = torch.randn(6, 4, generator=generator())
    expected = torch.stack([model(x) for model in models])
    torch.testing.assert_close(StackedMLP(models)(x), expected, rtol=1e-5, atol=1e-6)
    with torch.no_grad():
        models[0].output.bias.zero_()
    torch.testing.assert_close(StackedMLP(models[1:])(x), expected[1:], rtol=1e-5, atol=1e-6)


class Run:
    """What a trial is handed; nothing is stored."""

    device = torch.device("cpu")

    def __init__(self, seed=1000):
        self.seed, self.asked = seed, []

    def shared(self, make, **key):
        self.asked.append(key["omitted"])
        return {name: each.numpy() if isinstance(each, torch.Tensor) else each for name, each in make(**key).items()}


def test_a_trial_shows_no_image_of_the_omitted_class(monkeypatch):
    shown = []

    def spy(case, transfer, arms, logits, seed):
        shown.append((transfer, arms, logits))
        return train_students(case, transfer, arms, logits, seed)

    monkeypatch.setattr(_distillation_trials, "train_students", spy)
    run = Run()
    found = STUDY.trial(SMALL, run)
    ((transfer, arms, logits),) = shown
    assert run.asked == [-1, 3]
    assert 3 not in transfer.targets
    assert len(transfer) > 60
    assert logits.shape == (len(ARMS) + 1, len(transfer), 10)
    assert torch.equal(logits[0], logits[1])
    assert not torch.equal(logits[1], logits[2])
    assert {f"{arm}_recall" for arm in (*ARMS, "ignorant")} <= set(found)
    assert len(arms) == len(logits)


def test_few_images_are_the_first_of_the_teachers(monkeypatch):
    found = STUDY.trial(SMALL.replace(transfer="few", n_transfer=20), Run())
    assert 0 <= found["soft_accuracy"] <= 1
    assert not any("recall" in name or "ignorant" in name for name in found)


def test_a_teacher_is_trained_with_what_it_is_shown():
    fields = {name: SMALL[name] for name in ("data", "n_train", "n_test", "batch_size")}
    fields |= {"teacher_width": 32, "dropout": 0.0, "steps": 150, "learning_rate": 0.01}
    whole, ignorant = (teacher(3, omitted, **fields) for omitted in (-1, 3))
    train, _ = draw_images("digits", 80, 60, generator(derive_seed(3, "images")))
    assert (whole["logits"].argmax(1) == train.targets).double().mean() > 0.97
    assert 3 not in ignorant["logits"].argmax(1)
    third = train.targets == 3
    assert (ignorant["logits"].argmax(1) == train.targets)[~third].double().mean() > 0.97
    assert whole["accuracy"] > 0.5


PLANTED = {
    "few": {"hard": 0.85, "soft": 0.93, "permuted": 0.84, "soft_1": 0.86, "soft_2": 0.9, "soft_20": 0.93},
    "more": {"hard": 0.91, "soft": 0.95, "permuted": 0.905, "soft_1": 0.92, "soft_2": 0.93, "soft_20": 0.95},
    "omitted": {
        **{"hard": 0.37, "soft": 0.93, "permuted": 0.4, "ignorant": 0.33},
        **{"soft_1": 0.6, "soft_2": 0.8, "soft_20": 0.93},
    },
}


def table(seeds=5, without=None, **changes):
    """Return the trials of a study that reproduces, but for the changes, by ``transfer_arm``."""
    rng, rows = np.random.default_rng(0), []
    for seed in range(seeds):
        for transfer, arms in PLANTED.items():
            if transfer == without:
                continue
            column = "recall" if transfer == "omitted" else "accuracy"
            row = {"transfer": transfer, "n_transfer": 60, "seed": seed, "teacher_accuracy": 0.985}
            for arm, share in arms.items():
                row[f"{arm}_{column}"] = changes.get(f"{transfer}_{arm}", share) + 0.002 * rng.standard_normal()
            if transfer == "omitted":
                row |= {f"{arm}_plain": 0.1 for arm in arms} | {"soft_matched": changes.get("matched", 0.96)}
            rows.append(row)
    return pd.DataFrame(rows)


def verdict(trials):
    return Verdict.of(STUDY.judge(trials), seeds=trials["seed"].nunique()).outcome


def wrong(trials):
    return [criterion.name for criterion in STUDY.judge(trials) if not criterion.holds]


def test_what_is_planted_is_reproduced():
    criteria = STUDY.judge(table())
    assert verdict(table()) == "reproduced"
    assert [criterion.control for criterion in criteria] == [False] * 10 + [True] * 3


@pytest.mark.parametrize(
    ("changes", "failing"),
    [
        ({"few_soft": 0.85}, ["minus hard, points", "of teacher"]),
        ({"few_soft": 0.87}, ["of teacher"]),
        ({"more_permuted": 0.955, "more_hard": 0.93}, ["more images: test accuracy, soft minus permuted"]),
        ({"omitted_soft": 0.7}, ["recall of a soft student"]),
        ({"omitted_hard": 0.8, "omitted_permuted": 0.8, "omitted_ignorant": 0.8}, ["recall, soft minus hard"]),
        ({"omitted_soft_1": 0.94}, ["T = 1"]),
        ({"matched": 0.88}, ["accuracy of a soft student"]),
        ({"more_permuted": 0.87}, ["more images: test accuracy, permuted minus hard"]),
        ({"omitted_permuted": 0.6}, ["omitted class: recall, permuted minus hard"]),
        ({"omitted_ignorant": 0.6}, ["ignorant"]),
    ],
    ids=str,
)
def test_each_criterion_catches_its_fault(changes, failing):
    trials = table(**changes)
    found = wrong(trials)
    assert verdict(trials) == "not reproduced"
    assert all(any(part in name for name in found) for part in failing)
    assert len(found) <= len(failing) + 1


def test_students_that_all_do_alike_fail():
    trials = table(**{f"{transfer}_{arm}": 0.9 for transfer, arms in PLANTED.items() for arm in arms})
    assert verdict(trials) == "not reproduced"
    names = [criterion.name for criterion in STUDY.judge(trials) if criterion.holds]
    assert not any("minus" in name and "permuted minus" not in name and "ignorant" not in name for name in names)


@pytest.mark.parametrize("without", list(PLANTED))
def test_missing_conditions_leave_it_open(without):
    assert verdict(table(without=without)) == "inconclusive"


def test_what_is_judged_is_run_at_quick_and_full():
    for scale in ("quick", "full"):
        grid = STUDY.grid(scale)
        assert {case.transfer for case in grid.cases} == set(PLANTED)
        # Seeds from 1000 on were explored.
        assert max(grid.seeds) < 1000


def test_the_figure_names_what_it_shows():
    svg = to_svg(STUDY.draw(table()), "x")
    for name in ("labels", "permuted", "ignorant teacher", "teacher", "60 images"):
        assert name in svg
    for trials in (pd.DataFrame({"seed": []}), table(seeds=1).iloc[:1], table(seeds=1, without="omitted")):
        assert STUDY.draw(trials).axes
