"""Deep ensembles: mixtures beside closed forms, what Jensen promises, and members trained as one."""

from __future__ import annotations

import copy
import math

import pytest
import torch
from torch import nn
from torch.nn import functional

from deepscope.core import UsageError
from deepscope.training import (
    DeepEnsemble,
    GaussianEnsemble,
    GaussianOutput,
    disagreement,
    evaluate,
    fit_many,
    gaussian_nll,
    predictive_entropy,
)

X = torch.randn(200, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
LABELS = (X[:, 0] * X[:, 1] > 0).long()
Y = torch.sin(3 * X[:, :1])


def order(seed: int, targets: torch.Tensor):
    def data(epoch: int):
        shuffled = torch.randperm(100, generator=torch.Generator().manual_seed(1000 * seed + epoch))
        for chosen in shuffled.split(50):
            yield X[chosen], targets[chosen]

    return data


def trained(networks: list[nn.Module], targets: torch.Tensor, loss, epochs: int = 40):
    data = [order(seed, targets) for seed in range(len(networks))]
    return fit_many(networks, data, loss, optimizer=torch.optim.Adam, settings={"lr": 0.02}, epochs=epochs)


def network(outputs: int, *head: nn.Module) -> nn.Module:
    return nn.Sequential(nn.Linear(2, 12), nn.Tanh(), nn.Linear(12, outputs), *head).double()


@pytest.fixture(scope="module")
def classifier() -> DeepEnsemble:
    torch.manual_seed(0)
    ensemble = DeepEnsemble([network(2) for _ in range(5)])
    assert trained(list(ensemble.networks), LABELS, functional.cross_entropy).together
    return ensemble


def test_the_mixture_is_at_least_as_likely_as_its_members_by_jensen(classifier: DeepEnsemble) -> None:
    held_out = [(X[100:], LABELS[100:])]
    mixture = evaluate(classifier, held_out, functional.cross_entropy)
    alone = [evaluate(each, held_out, functional.cross_entropy) for each in classifier.networks]
    mean = sum(each.loss for each in alone) / 5
    assert mixture.loss < mean
    # The gain is the mean over samples of log(mean p) − mean(log p), of the label's probability.
    probabilities = torch.stack([each(X[100:]).softmax(1) for each in classifier.networks])[:, range(100), LABELS[100:]]
    gain = (probabilities.mean(0).log() - probabilities.log().mean(0)).mean()
    assert mean - mixture.loss == pytest.approx(gain.item(), rel=1e-10)
    # Copies of one network gain nothing.
    copies = DeepEnsemble([copy.deepcopy(classifier.networks[0]) for _ in range(5)])
    assert evaluate(copies, held_out, functional.cross_entropy).loss == pytest.approx(alone[0].loss, rel=1e-14)


def test_it_is_the_mean_of_probabilities_also_of_those_too_small_for_a_number() -> None:
    logits = [
        torch.tensor([[1.0, 2.0, 0.5]]),
        torch.tensor([[0.0, 3.0, -1.0]]),
        torch.tensor([[-2000.0, 0.0, -3000.0]]),
    ]

    class Says(nn.Module):
        def __init__(self, logits: torch.Tensor) -> None:
            super().__init__()
            self.logits = logits

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.logits.expand(len(x), -1)

    ensemble = DeepEnsemble([Says(each) for each in logits])
    expected = torch.stack([each.softmax(1) for each in logits]).mean(0).expand(4, -1)
    torch.testing.assert_close(ensemble(torch.zeros(4, 1)).exp(), expected)
    torch.testing.assert_close(ensemble(torch.zeros(4, 1)).softmax(1), expected)
    one = DeepEnsemble([Says(logits[2])])
    assert one(torch.zeros(1, 1))[0, 2] == -3000


def test_entropy_and_disagreement_are_the_closed_forms() -> None:
    p = torch.tensor(
        [[[0.9, 0.1], [1.0, 0.0]], [[0.5, 0.5], [0.0, 1.0]], [[0.4, 0.6], [1.0, 0.0]]], dtype=torch.float64
    )
    mean = [[0.6, 0.4], [2 / 3, 1 / 3]]
    entropies = [-sum(q * math.log(q) for q in row) for row in mean]
    torch.testing.assert_close(predictive_entropy(p.log()), torch.tensor(entropies, dtype=torch.float64))
    kl = [
        sum(q * math.log(q / mean[i][k]) for member in p[:, i].tolist() for k, q in enumerate(member) if q > 0)
        for i in range(2)
    ]
    torch.testing.assert_close(disagreement(p.log()), torch.tensor(kl, dtype=torch.float64))
    alike = p[:1].expand(3, -1, -1).log()
    assert disagreement(alike).abs().max() < 1e-14
    different = torch.eye(4, dtype=torch.float64)[:, None].log()
    assert disagreement(different).item() == pytest.approx(4 * math.log(4), rel=1e-12)


def test_the_variance_is_that_of_the_mixture() -> None:
    """The law of total variance, beside the mixture's moments by quadrature and by draws."""
    means = torch.tensor([1.0, 2.0, 4.0], dtype=torch.float64)
    variances = torch.tensor([0.5, 0.1, 2.0], dtype=torch.float64)

    class Says(nn.Module):
        def __init__(self, mean: torch.Tensor, variance: torch.Tensor) -> None:
            super().__init__()
            self.said = mean.reshape(1, 1), variance.reshape(1, 1)

        def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            return self.said

    ensemble = GaussianEnsemble([Says(mean, variance) for mean, variance in zip(means, variances, strict=True)])
    mean, variance = ensemble(torch.zeros(1, 1))
    grid = torch.linspace(-20, 30, 50_001, dtype=torch.float64)
    density = sum(
        torch.exp(-(grid - m).square() / (2 * v)) / (2 * math.pi * v).sqrt()
        for m, v in zip(means, variances, strict=True)
    )
    density = density / 3
    first = torch.trapezoid(density * grid, grid)
    second = torch.trapezoid(density * (grid - first).square(), grid)
    # The trapezoid rule of a smooth density that is 0 at the ends has no error but rounding.
    torch.testing.assert_close(mean.squeeze(), first, rtol=1e-11, atol=0)
    torch.testing.assert_close(variance.squeeze(), second, rtol=1e-11, atol=0)
    assert variance.item() == pytest.approx((variances + means.square()).mean().item() - mean.item() ** 2, rel=1e-12)
    # Far from 0 the difference of squares loses digits; this does not.
    far = GaussianEnsemble([Says(mean + 1e8, variance) for mean, variance in zip(means, variances, strict=True)])
    assert far(torch.zeros(1, 1))[1].item() == pytest.approx(variance.item(), rel=1e-7)


def test_a_gaussian_ensemble_learns_noise_and_knows_where_it_was_not() -> None:
    torch.manual_seed(0)
    noise = torch.where(X[:, 1:] > 0, 0.3, 0.05) * torch.randn(200, 1, dtype=torch.float64)
    ensemble = GaussianEnsemble([network(2, GaussianOutput()) for _ in range(5)])
    assert trained(list(ensemble.networks), Y + noise, gaussian_nll, epochs=120).together
    _, variance = ensemble(X)
    assert variance[X[:, 1] > 0.5].median() > 3 * variance[X[:, 1] < -0.5].median()
    means = torch.stack([each(X)[0] for each in ensemble.networks])
    far = torch.stack([each(X + 6)[0] for each in ensemble.networks])
    assert far.var(0).median() > 10 * means.var(0).median()
    loss = gaussian_nll(ensemble(X), Y + noise)
    assert loss < sum(gaussian_nll(each(X), Y + noise) for each in ensemble.networks) / 5


def test_the_loss_is_torchs_and_its_minimum_the_truth() -> None:
    mean, variance = torch.randn(2, 50, 3, dtype=torch.float64)
    variance = variance.exp()
    targets = torch.randn(50, 3, dtype=torch.float64)
    expected = functional.gaussian_nll_loss(mean, targets, variance, full=True)
    torch.testing.assert_close(gaussian_nll((mean, variance), targets), expected)
    # Of one Gaussian: the sample's mean and biased variance.
    best = gaussian_nll((targets.mean(0).expand(50, 3), targets.var(0, correction=0).expand(50, 3)), targets)
    for shift, scale in ((0.1, 1.0), (-0.1, 1.0), (0.0, 1.2), (0.0, 0.8)):
        other = targets.mean(0) + shift, targets.var(0, correction=0) * scale
        assert best < gaussian_nll(tuple(each.expand(50, 3) for each in other), targets)
    assert GaussianOutput()(torch.tensor([[0.0, -1e4]]))[1].item() == pytest.approx(1e-6)


def test_bad_input_is_named() -> None:
    for kind in (DeepEnsemble, GaussianEnsemble):
        with pytest.raises(UsageError, match="networks is"):
            kind([])
    with pytest.raises(UsageError, match=r"logits of a network are \[4, 3\]"):
        DeepEnsemble([nn.Linear(2, 2), nn.Linear(2, 3)])(torch.zeros(4, 2))
    with pytest.raises(UsageError, match="a network gives a Tensor"):
        GaussianEnsemble([nn.Linear(2, 2)])(torch.zeros(4, 2))
    with pytest.raises(UsageError, match="the last dimension is 3"):
        GaussianOutput()(torch.zeros(4, 3))
    with pytest.raises(UsageError, match=r"targets is \[4\]"):
        gaussian_nll((torch.zeros(4, 1), torch.ones(4, 1)), torch.zeros(4))
    with pytest.raises(UsageError, match=r"variance is \[4, 1\]"):
        gaussian_nll((torch.zeros(4), torch.ones(4, 1)), torch.zeros(4))
