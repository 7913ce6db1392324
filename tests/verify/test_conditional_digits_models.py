"""What a variational autoencoder given labels learns of them: its digits, and which labels are alike."""

from __future__ import annotations

import pytest
import torch
from scipy.stats import spearmanr
from sklearn.linear_model import LogisticRegression
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 — torch's own name for it

from deepscope.core import Criterion
from deepscope.data import load
from deepscope.models import ConditionalVAE, negative_elbo

pytestmark = pytest.mark.verify

PAIRS = torch.triu_indices(10, 10, 1)


def trained(x: Tensor, labels: Tensor, seed: int) -> tuple[ConditionalVAE, Tensor]:
    """Return a model after 100 epochs of Adam at 0.001 in batches of 64, and the labels' vectors before."""
    torch.manual_seed(seed)
    model = ConditionalVAE(64, 10, (128,), 8)
    before = model.embedding.weight.detach().clone()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    for _ in range(100):
        for batch in torch.randperm(len(x)).split(64):
            optimizer.zero_grad()
            negative_elbo(model, x[batch], labels[batch]).backward()
            optimizer.step()
    return model, before


def alike(vectors: Tensor, confusion: Tensor) -> float:
    """Return minus the rank correlation of the distances of all pairs of labels with their confusion."""
    distances = torch.cdist(vectors, vectors)[*PAIRS]
    return -float(spearmanr(distances, confusion[*PAIRS]).statistic)


@pytest.mark.demonstrates("cvae")
def test_digits_are_the_ones_asked_for_and_labels_that_are_confused_lie_near() -> None:
    """By a classifier that has seen other images: one half of the training set is its own, the model's is the other.

    A sample is the mean of x | z, y with z ~ N(0, I). Two labels are confused by as much as the classifier gives the
    one of what it sees of the other, in the mean over the test set. Controls: the vectors before training, and those of
    a model whose labels are shuffled, so that none is more like another.
    """
    digits = load("digits")
    x, labels = digits.train.inputs.flatten(1), digits.train.targets
    classifier = LogisticRegression(max_iter=1000).fit(x[1::2].numpy(), labels[1::2].numpy())
    seen, truth = digits.test.inputs.flatten(1).numpy(), digits.test.targets
    assert classifier.score(seen, truth.numpy()) > 0.94
    given = torch.from_numpy(classifier.predict_proba(seen)).float()
    confusion = F.one_hot(truth, 10).float().T @ given / torch.bincount(truth)[:, None]
    confusion = confusion + confusion.T

    asked = torch.arange(10).repeat(100)
    right, near, gained, shuffled = {}, {}, {}, {}
    for seed in range(6):
        model, before = trained(x[::2], labels[::2], seed)
        with torch.no_grad():
            images = model.decode(torch.randn(len(asked), 8), asked)
        right[seed] = float((torch.from_numpy(classifier.predict(images.numpy())) == asked).double().mean())
        near[seed] = alike(model.embedding.weight.detach(), confusion)
        gained[seed] = near[seed] - alike(before, confusion)
        mixed = labels[::2][torch.randperm(len(labels[::2]))]
        model, before = trained(x[::2], mixed, seed)
        shuffled[seed] = alike(model.embedding.weight.detach(), confusion) - alike(before, confusion)
    more = {seed: gained[seed] - shuffled[seed] for seed in gained}
    for criterion in (
        Criterion.effect("of the class asked for", right, above=0.95),
        Criterion.effect("labels that are confused are near", near, above=0.0),
        Criterion.effect("nearer than before", gained, above=0.0),
        Criterion.effect("nearer than before, labels shuffled", shuffled, within=0.15, control=True),
        Criterion.effect("than with labels shuffled", more, above=0.0),
    ):
        assert criterion.holds, criterion
