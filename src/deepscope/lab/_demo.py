"""The demo: a small network, trained on real handwritten digits, to be examined."""

from __future__ import annotations

import torch
from torch.nn import functional

from deepscope.core import derive_seed
from deepscope.data import load
from deepscope.models import MLP
from deepscope.subject import Subject
from deepscope.training import cosine, evaluate, fit

EPOCHS = 30
HIDDEN = (256, 128, 64)


def train_demo(seed: int = 0, device: str | None = None) -> tuple[Subject, str]:
    """Train a multilayer perceptron on scikit-learn's 8×8 digits.

    Returns
    -------
    subject, about
        The trained network with the digits it has not seen, and one sentence that says how it was trained.
    """
    digits = load("digits")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive_seed(seed, "demo"))
        model = MLP(64, HIDDEN, 10)
    data = digits.train.epochs(64, seed=seed)
    steps = EPOCHS * sum(1 for _ in data(0))
    fit(
        model,
        data,
        functional.cross_entropy,
        optimizer=torch.optim.AdamW(model.parameters(), lr=2e-3, weight_decay=1e-2),
        epochs=EPOCHS,
        schedule=cosine(steps),
        seed=seed,
        device=device,
    )
    test = digits.test.batches(256)
    accuracy = evaluate(model, test, functional.cross_entropy).accuracy
    about = (
        f"Trained just now on {len(digits.train):,} real handwritten digits (8×8 pixels, scikit-learn) for {EPOCHS} "
        f"epochs; it reads {accuracy:.1%} of the {len(digits.test):,} digits it has not seen correctly."
    )
    return Subject(model, test, functional.cross_entropy, name="digits demo"), about
