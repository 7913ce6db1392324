"""Variational autoencoders, and their form given a label."""

from __future__ import annotations

import math
from functools import partial

import pytest
import torch
from contract import behaves, overfits
from torch import Tensor, nn

from deepscope.core import UsageError
from deepscope.models import VAE, ConditionalVAE, Objective, elbo, importance_bound, negative_elbo, unit_divergences
from deepscope.training import fit


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def words(n: int = 16, length: int = 12) -> Tensor:
    return (torch.rand(n, length, generator=seeded()) > 0.5).float()


def train(model: nn.Module, batch: tuple[Tensor, ...], *, epochs: int, rate: float = 0.01) -> None:
    objective, optimizer = Objective(model, negative_elbo), torch.optim.Adam(model.parameters(), lr=rate)
    fit(objective, lambda epoch: [(batch, batch[0])], Objective.value, optimizer=optimizer, epochs=epochs)


def test_its_loss_falls_towards_the_entropy_of_the_data_and_not_below() -> None:
    """16 words that are equally frequent have an entropy of ln 16: no model of them is better.

    Gaussian clouds that are told apart do not add up to a Gaussian: the bound stays somewhat above.
    """
    x = words()
    assert len(x.unique(dim=0)) == 16
    torch.manual_seed(0)
    model = VAE(12, (64,), 4)
    with torch.no_grad():
        before = float(negative_elbo(model, x, samples=50, generator=seeded()))
    train(model, (x.repeat(8, 1),), epochs=400)
    with torch.no_grad():
        after = float(negative_elbo(model, x, samples=50, generator=seeded()))
        likelihood = float(importance_bound(model, x, samples=500, generator=seeded()).mean())
    # Doing nothing is 12 coins, 8.3 nats.
    assert before > 12 * math.log(2) - 0.5
    assert after < math.log(16) + 0.35 * (before - math.log(16))
    assert -likelihood <= after
    # 16 means of 500 ratios: an estimate of a mean below −ln 16 is above it by chance at most.
    assert -likelihood > math.log(16) - 0.05


def test_it_overfits_sixteen_samples() -> None:
    """Without the divergence the loss is the reconstruction's, whose least value is 0."""
    torch.manual_seed(0)
    x, loss = words(), partial(negative_elbo, weight=0.0, generator=seeded())
    overfits(Objective(VAE(12, (32,), 8), loss), x, x, Objective.value, steps=800, below=0.05)


def test_its_samples_are_of_the_class_asked_for() -> None:
    """Given its label a word is known: the bound reaches 0, and samples are the word."""
    x, labels = words(4), torch.arange(4)
    torch.manual_seed(0)
    model = ConditionalVAE(12, 4, (16,), 2, embedding=3)
    train(model, (x, labels), epochs=600, rate=0.02)
    with torch.no_grad():
        assert float(negative_elbo(model, x, labels, samples=20, generator=seeded())) < 0.3
        drawn = model.sample(labels.repeat(50), generator=seeded()).view(50, 4, 12)
    assert ((drawn == x).all(-1)).double().mean() > 0.9
    # Planted: asked for other labels, it gives other words.
    assert not ((drawn == x.roll(1, 0)).all(-1)).any()


@pytest.mark.parametrize("observations", ["bernoulli", "gaussian"])
@torch.no_grad()
def test_the_bound_is_its_formula(observations: str) -> None:
    torch.manual_seed(0)
    model = VAE(5, (4,), 2, observations=observations).double()
    x = torch.rand(3, 5, dtype=torch.float64, generator=seeded())
    mean, log_variance = model.encode(x)
    torch.testing.assert_close(torch.cat([mean, log_variance], 1), model.encoder(x), rtol=0, atol=0)
    noise = torch.randn(7, 3, 2, dtype=torch.float64, generator=seeded())
    z = mean + (log_variance / 2).exp() * noise
    likelihoods = torch.zeros(7, 3, dtype=torch.float64)
    for s in range(7):
        outputs = model.decoder(z[s])
        if observations == "bernoulli":
            distribution: torch.distributions.Distribution = torch.distributions.Bernoulli(
                logits=outputs, validate_args=False
            )
        else:
            distribution = torch.distributions.Normal(outputs[:, :5], (outputs[:, 5:] / 2).exp())
        likelihoods[s] = distribution.log_prob(x).sum(1)
    torch.testing.assert_close(model.log_likelihood(x, z), likelihoods, rtol=1e-12, atol=0)
    posterior = torch.distributions.Normal(mean, (log_variance / 2).exp())
    prior = torch.distributions.Normal(torch.zeros_like(mean), 1.0)
    divergence = torch.distributions.kl_divergence(posterior, prior)
    torch.testing.assert_close(unit_divergences(mean, log_variance), divergence, rtol=1e-12, atol=1e-15)
    bound = elbo(model, x, samples=7, weight=0.5, generator=seeded())
    torch.testing.assert_close(bound, likelihoods.mean(0) - 0.5 * divergence.sum(1), rtol=1e-12, atol=0)
    ratio = likelihoods + (prior.log_prob(z) - posterior.log_prob(z)).sum(-1)
    weighted = importance_bound(model, x, samples=7, generator=seeded())
    torch.testing.assert_close(weighted, ratio.exp().mean(0).log(), rtol=1e-12, atol=0)


@torch.no_grad()
def test_the_bounds_rise_to_the_log_likelihood() -> None:
    """With one latent number ln p(x) is an integral over a line."""
    torch.manual_seed(0)
    model = VAE(5, (4,), 1).double()
    for each in model.decoder.parameters():
        each *= 3
    x = (torch.rand(6, 5, dtype=torch.float64, generator=seeded()) > 0.5).double()
    line = torch.linspace(-8, 8, 4001, dtype=torch.float64)
    joint = model.log_likelihood(x, line[:, None, None].expand(-1, 6, 1)) - line[:, None].square() / 2
    evidence = joint.logsumexp(0) + math.log(16 / 4000) - math.log(2 * math.pi) / 2
    means, errors = [], []
    for samples in (1, 5, 50, 1000):
        draws = torch.stack([importance_bound(model, x, samples=samples, generator=seeded(s)) for s in range(100)])
        means.append(float(draws.mean()))
        errors.append(float(draws.mean(1).std()) / 10)
    bound = torch.stack([elbo(model, x, generator=seeded(s)) for s in range(100)]).mean()
    assert abs(float(bound) - means[0]) < 4 * 2**0.5 * errors[0]
    for k in range(3):
        assert means[k + 1] - means[k] > 2 * errors[k]
    assert abs(means[3] - float(evidence.mean())) < 4 * errors[3] + 1e-3
    assert means[0] < float(evidence.mean()) - 4 * errors[0]


@torch.no_grad()
def test_what_it_maps_to_are_means() -> None:
    torch.manual_seed(0)
    x = torch.rand(3, 1, 5, generator=seeded())
    for observations, of in (("bernoulli", torch.sigmoid), ("gaussian", lambda each: each[:, :5])):
        model = VAE(5, (4,), 2, observations=observations)
        torch.testing.assert_close(model(x), of(model.decoder(model.encoder(x)[:, :2])))
        model.decoder.output.weight.zero_()
        model.decoder.output.bias.copy_(torch.linspace(-1, 1, len(model.decoder.output.bias)))
        drawn = model.sample(20_000, generator=seeded())
        assert torch.equal(drawn, model.sample(20_000, generator=seeded()))
        # The decoder says the same everywhere: five standard errors.
        wanted = model.decode(torch.zeros(1, 2))[0]
        assert ((drawn.mean(0) - wanted).abs() < 5 * drawn.std(0) / 20_000**0.5).all()
        if observations == "gaussian":
            deviation = (model.decoder.output.bias[5:] / 2).exp()
            assert ((drawn.std(0) / deviation - 1).abs() < 5 / 40_000**0.5).all()


@torch.no_grad()
def test_given_a_label_both_networks_see_it() -> None:
    torch.manual_seed(0)
    model, x, labels = ConditionalVAE(5, 3, (4,), 2, embedding=2), torch.rand(3, 5), torch.tensor([0, 2, 1])
    beside = torch.cat([x, model.embedding.weight[labels]], 1)
    mean, log_variance = model.encode(x, labels)
    torch.testing.assert_close(torch.cat([mean, log_variance], 1), model.encoder(beside))
    decoded = torch.cat([mean, model.embedding.weight[labels]], 1)
    torch.testing.assert_close(model(x, labels), model.decoder(decoded).sigmoid())
    assert (model(x, labels) - model(x, (labels + 1) % 3)).abs().max() > 1e-3
    z = torch.randn(4, 3, 2)
    each = torch.stack([model.log_likelihood(x, z[s : s + 1], labels)[0] for s in range(4)])
    torch.testing.assert_close(model.log_likelihood(x, z, labels), each)


def test_settings_reach_the_networks() -> None:
    for build in (VAE, partial(ConditionalVAE, classes=3, embedding=1)):
        model = build(in_features=6, hidden=(5, 4), latent=2, observations="gaussian", activation="relu")
        sizes = [
            [each.out_features for each in network.modules() if isinstance(each, nn.Linear)]
            for network in (model.encoder, model.decoder)
        ]
        assert sizes == [[5, 4, 4], [4, 5, 12]]
        assert sum(isinstance(each, nn.ReLU) for each in model.modules()) == 4
        given = () if isinstance(model, VAE) else (torch.tensor([0, 2, 1]),)
        x, z = torch.randn(3, 6, generator=seeded()), torch.randn(1, 3, 2, generator=seeded(1))
        beside = z[0] if not given else torch.cat([z[0], model.embedding(given[0])], 1)
        mean, log_variance = model.decoder(beside).chunk(2, 1)
        density = torch.distributions.Normal(mean, (log_variance / 2).exp()).log_prob(x).sum(1)
        torch.testing.assert_close(model.log_likelihood(x, z, *given)[0], density)


def test_they_behave() -> None:
    x = torch.rand(4, 6, generator=seeded())
    behaves(VAE(6, (5,), 2), VAE(6, (5,), 2), x)
    behaves(VAE(6, (5,), 2, observations="gaussian"), VAE(6, (5,), 2, observations="gaussian"), x)
    loss = partial(negative_elbo, generator=seeded())
    spoilt = x.clone()
    spoilt[0, 0] = torch.nan
    assert loss(VAE(6, (5,), 2), spoilt).isnan()


def test_bad_input_is_refused() -> None:
    for given in ({"in_features": 0}, {"hidden": (0,)}, {"latent": 0}):
        for build in (VAE, ConditionalVAE):
            with pytest.raises(UsageError, match=next(iter(given))):
                build(**given)
    with pytest.raises(UsageError, match="bernoulli"):
        VAE(observations="bernouli")
    for given in ({"classes": 0}, {"embedding": 0}):
        with pytest.raises(UsageError, match=next(iter(given))):
            ConditionalVAE(**given)
    model = VAE(6, (5,), 2)
    with pytest.raises(UsageError, match=r"from 0 to 1"):
        elbo(model, torch.full((2, 6), 1.5))
    for x in (torch.zeros(2, 5), torch.zeros(2, 6, dtype=torch.int64)):
        with pytest.raises(UsageError, match="6"):
            model(x)
    with pytest.raises(UsageError, match="n is"):
        model.sample(0)
    conditional = ConditionalVAE(6, 3, (5,), 2)
    for labels in (torch.tensor([0, 3]), torch.tensor([-1, 0]), torch.tensor([0]), torch.tensor([0.0, 1.0])):
        with pytest.raises(UsageError, match="labels"):
            conditional(torch.zeros(2, 6), labels)
    for labels in (torch.tensor(0), torch.zeros(1, 2, dtype=torch.int64), [0, 1], 2):
        with pytest.raises(UsageError, match=r"labels is (\[|a )"):
            conditional.sample(labels)
