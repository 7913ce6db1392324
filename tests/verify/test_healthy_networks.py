"""Calibration of the findings: a network that nothing is wrong with gets no problem, fresh or trained."""

from __future__ import annotations

import pytest
import torch
from healthy_networks import NETWORKS
from torch.nn import functional

import deepscope
from deepscope import Subject
from deepscope.data import load
from deepscope.training import cosine, evaluate, fit

pytestmark = pytest.mark.verify
EPOCHS = 40


def test_there_are_twenty() -> None:
    assert len(NETWORKS) == 20


@pytest.mark.parametrize("name", NETWORKS)
def test_no_problem_fresh_or_trained(name: str) -> None:
    digits = load("digits")
    torch.manual_seed(0)
    model = NETWORKS[name]()
    subject = Subject(model, digits.test.batches(128), functional.cross_entropy)
    assert [f.message for f in deepscope.examine(subject, budget="quick").problems] == []
    data = digits.train.epochs(64, seed=0)
    fit(
        model,
        data,
        functional.cross_entropy,
        optimizer=torch.optim.Adam(model.parameters(), lr=3e-3),
        epochs=EPOCHS,
        schedule=cosine(EPOCHS * sum(1 for _ in data(0))),
    )
    # Well trained: a linear classifier reaches about 95 % on these digits, and no network here should do worse.
    assert evaluate(model, digits.test.batches(256), functional.cross_entropy).accuracy > 0.93
    examination = deepscope.examine(subject, budget="quick")
    assert examination.failed == ()
    assert [f.message for f in examination.problems] == []
    untrained = [f for f in examination.findings if "untrained" in f.message]
    assert [f.message for f in untrained] == []
