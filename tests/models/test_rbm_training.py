"""Contrastive divergence: its mean and its bias exactly, by the spectrum of the Gibbs kernel; what training reaches."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch

from deepscope.core import UsageError
from deepscope.models import (
    RBM,
    all_bits,
    bars_and_stripes,
    contrastive_divergence,
    expected_contrastive_divergence,
    fit_rbm,
    gibbs_kernel,
    likelihood_gradient,
)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def drawn(visible, hidden, scale=1.0, seed=0):
    rbm, draws = RBM(visible, hidden).double(), generator(seed)
    with torch.no_grad():
        for parameter in rbm.parameters():
            parameter.copy_(scale * torch.randn(parameter.shape, generator=draws, dtype=torch.float64))
    return rbm


def samples(visible, n=6, seed=1):
    return torch.randint(2, (n, visible), generator=generator(seed)).double()


def test_gradient_of_the_likelihood_is_that_of_autograd():
    for visible, hidden in ((5, 3), (3, 5)):
        rbm, v = drawn(visible, hidden), samples(visible)
        expected = torch.autograd.grad(rbm.log_likelihood(v).mean(), (rbm.weight, rbm.visible_bias, rbm.hidden_bias))
        found = likelihood_gradient(rbm, v)
        for one, other in zip((found.weight, found.visible_bias, found.hidden_bias), expected, strict=True):
            torch.testing.assert_close(one, other, rtol=0, atol=1e-13)


def test_gibbs_kernel_is_reversible_and_leaves_the_distribution_as_it_is():
    rbm = drawn(4, 3)
    kernel, law = gibbs_kernel(rbm), rbm.log_likelihood(all_bits(4, rbm.weight)).exp().detach()
    assert (kernel.sum(1) - 1).abs().max() < 1e-14
    assert (law @ kernel - law).abs().max() < 1e-15
    flow = law[:, None] * kernel
    assert (flow - flow.mT).abs().max() < 1e-15
    # Another machine's law is caught.
    other = drawn(4, 3, seed=5).log_likelihood(all_bits(4, rbm.weight)).exp()
    assert (other @ kernel - other).abs().max() > 0.01


@pytest.mark.demonstrates("rbm")
def test_bias_of_contrastive_divergence_falls_at_the_spectral_gap():
    """The kernel is self-adjoint under the machine's law: the bias is Σ λᵏ c over its eigenvalues below 1.

    Twin: eigenvectors of the symmetrised kernel, by numpy, and the moments of each.
    """
    rbm, v = drawn(5, 4, 1.5), samples(5)
    exact = likelihood_gradient(rbm, v).flat().numpy()
    states = all_bits(5, rbm.weight)
    with torch.no_grad():
        law = rbm.log_likelihood(states).exp().numpy()
        up = rbm(states)
        moments = torch.cat([(states[:, :, None] * up[:, None]).flatten(1), states, up], 1).numpy()
    root = np.sqrt(law)
    values, vectors = np.linalg.eigh(root[:, None] * gibbs_kernel(rbm).numpy() / root)
    assert values[-1] == pytest.approx(1, abs=1e-12)
    # A step and its reverse: no eigenvalue is negative.
    assert values[0] > -1e-12
    begin = np.zeros(32)
    for each in v.int().tolist():
        begin[int("".join(map(str, each)), 2)] += 1 / len(v)
    shares = (begin / root) @ vectors
    pieces = shares[:-1, None] * (vectors[:, :-1].T * root) @ moments
    # By Cauchy and Schwarz, moment for moment: at most λ₂ᵏ, the samples' χ² distance and the moment's deviation.
    distance = math.sqrt((begin**2 / law).sum() - 1)
    deviations = np.sqrt(law @ moments**2 - (law @ moments) ** 2)
    norms = []
    for k in range(17):
        bias = expected_contrastive_divergence(rbm, v, k=k).flat().numpy() - exact
        # Eigenvectors are divided by √P(v), of which the least is 1e-4 and less.
        np.testing.assert_allclose(bias, -(values[:-1] ** k) @ pieces, rtol=0, atol=1e-10)
        assert (np.abs(bias) <= values[-2] ** k * distance * deviations + 1e-12).all()
        norms.append(np.linalg.norm(bias))
    assert norms[1] > 0.1
    assert all(after < before for before, after in itertools.pairwise(norms))
    # In the end the slowest mode is all that is left; the next ones are less by (λ₃ / λ₂)ᵏ.
    rest = (values[-3] / values[-2]) ** 15
    assert rest < 0.01
    assert norms[16] / norms[15] == pytest.approx(values[-2], rel=10 * rest)
    assert norms[16] < 1e-6 * norms[1]


@pytest.mark.parametrize("k", [1, 3])
def test_mean_over_chains_is_the_expected_direction(k):
    rbm, v = drawn(3, 2), samples(3, 2)
    repeats = 40_000
    direction, ends = contrastive_divergence(rbm, v.repeat(repeats, 1), k=k, generator=generator(2))
    assert ends.shape == (2 * repeats, 3)
    expected = expected_contrastive_divergence(rbm, v, k=k).flat()
    # Numbers in [0, 1] have a standard deviation of at most 1/2; 11 of them within five standard errors.
    error = 0.5 / math.sqrt(2 * repeats)
    assert (direction.flat() - expected).abs().max() < 5 * error
    if k == 1:
        assert (expected - likelihood_gradient(rbm, v).flat()).abs().max() > 10 * error


@pytest.mark.parametrize("persistent", [False, True])
def test_training_is_the_recursion(persistent):
    """Twin: the published update, written out, with chains of the same draws."""
    # Couplings so strong that chains know where they began.
    v, rbm = samples(4, 5), drawn(4, 3, 2.0)
    weight, b, c = (each.detach().clone() for each in (rbm.weight, rbm.visible_bias, rbm.hidden_bias))
    last = fit_rbm(
        rbm,
        v,
        steps=6,
        batch_size=3,
        learning_rate=0.3,
        k=2,
        persistent=persistent,
        momentum=0.5,
        generator=generator(7),
    )
    draws, chain, speed = generator(7), None, [0.0, 0.0, 0.0]
    for _ in range(6):
        batch = v[torch.randint(5, (3,), generator=draws)]
        state = chain if persistent and chain is not None else batch
        for _ in range(2):
            h = torch.bernoulli(torch.sigmoid(c + state @ weight), generator=draws)
            state = torch.bernoulli(torch.sigmoid(b + h @ weight.T), generator=draws)
        chain = state
        up, down = torch.sigmoid(c + batch @ weight), torch.sigmoid(c + state @ weight)
        change = [(batch.T @ up - state.T @ down) / 3, (batch - state).mean(0), (up - down).mean(0)]
        speed = [0.5 * old + 0.3 * new for old, new in zip(speed, change, strict=True)]
        weight, b, c = weight + speed[0], b + speed[1], c + speed[2]
    for found, expected in zip((rbm.weight, rbm.visible_bias, rbm.hidden_bias), (weight, b, c), strict=True):
        torch.testing.assert_close(found.detach(), expected, rtol=0, atol=1e-12)
    assert torch.equal(last, chain)


@pytest.mark.demonstrates("rbm")
def test_bars_and_stripes_are_learnt_almost_to_their_entropy():
    data = bars_and_stripes(3, 3)
    rbm = RBM(9, 16, generator=generator(0))
    entropy = math.log(14)
    before = -rbm.log_likelihood(data).mean().item() - entropy
    # All pixels are nearly fair: 9 log 2 − log 14.
    assert before == pytest.approx(3.6, abs=0.1)
    for rate, draws in ((0.1, generator(1)), (0.01, generator(2))):
        fit_rbm(rbm, data, steps=800, batch_size=112, learning_rate=rate, k=10, momentum=0.9, generator=draws)
    gap = -rbm.log_likelihood(data).mean().item() - entropy
    assert 0 < gap < 0.2


def test_draws_come_from_the_generator_alone():
    v = samples(4).float()
    found = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed * 31)
        rbm = RBM(4, 3, generator=generator(0))
        before = torch.random.get_rng_state()
        fit_rbm(rbm, v, steps=3, batch_size=4, learning_rate=0.5, generator=generator(seed))
        assert torch.equal(before, torch.random.get_rng_state())
        found.append(rbm.weight.detach())
    assert torch.equal(found[0], found[1])
    assert not torch.equal(found[0], found[2])


SETTINGS = {"steps": 1, "batch_size": 2, "learning_rate": 0.1}


@pytest.mark.parametrize(
    ("call", "match"),
    [
        (lambda rbm, v: contrastive_divergence(rbm, v, k=0), "k is 0"),
        (lambda rbm, v: contrastive_divergence(rbm, v / 2), "v has other numbers than 0 and 1"),
        (lambda rbm, v: contrastive_divergence(rbm, v, chains=v[:, :2]), r"chains is \[2, 2\]"),
        (lambda rbm, v: expected_contrastive_divergence(rbm, v, k=-1), "k is -1"),
        (lambda rbm, v: likelihood_gradient(rbm, v[:, :2]), r"v is \[2, 2\]"),
        (lambda rbm, v: likelihood_gradient(RBM(23, 2), torch.zeros(1, 23)), "23 units"),
        (lambda rbm, v: gibbs_kernel(RBM(13, 2)), "13 visible"),
        (lambda rbm, v: gibbs_kernel(RBM(2, 13)), "13 hidden"),
        (lambda rbm, v: fit_rbm(rbm, v - 2, **SETTINGS), "samples has other numbers"),
        (lambda rbm, v: fit_rbm(rbm, v, **SETTINGS | {"steps": 0}), "steps is 0"),
        (lambda rbm, v: fit_rbm(rbm, v, **SETTINGS | {"batch_size": 0}), "batch_size is 0"),
        (lambda rbm, v: fit_rbm(rbm, v, **SETTINGS | {"learning_rate": 0.0}), "learning_rate is 0"),
        (lambda rbm, v: fit_rbm(rbm, v, **SETTINGS | {"learning_rate": math.nan}), "learning_rate is nan"),
        (lambda rbm, v: fit_rbm(rbm, v, **SETTINGS, momentum=1.0), "momentum 1"),
        (lambda rbm, v: fit_rbm(rbm, v, **SETTINGS, k=0), "k is 0"),
    ],
)
def test_bad_input_is_refused(call, match):
    with pytest.raises(UsageError, match=match):
        call(RBM(3, 2), torch.ones(2, 3))
