"""The linear variational autoencoder, and probabilistic PCA as its optimum."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from contract import behaves
from torch import Tensor

from deepscope.core import UsageError
from deepscope.models import LinearVAE, elbo, importance_bound, ppca_log_likelihood, unit_divergences

SPECTRUM = [5.0, 3.0, 2.0, 0.8, 0.5, 0.3]


def covariance() -> Tensor:
    axes = torch.linalg.qr(torch.randn(6, 6, generator=torch.Generator().manual_seed(0)).double()).Q
    return axes @ torch.diag(torch.tensor(SPECTRUM).double()) @ axes.T


def numbers(*shape: int) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def untrained(latent: int = 3, variance: float | None = None) -> LinearVAE:
    torch.manual_seed(0)
    return LinearVAE(6, latent, variance=variance).double()


def maximised(model: LinearVAE, mean: Tensor, spread: Tensor, *, weight: float = 1.0, steps: int = 2000) -> LinearVAE:
    optimizer = torch.optim.LBFGS(
        model.parameters(), max_iter=steps, tolerance_grad=1e-9, tolerance_change=0, line_search_fn="strong_wolfe"
    )

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = -model.expected_elbo(mean, spread, weight=weight)
        loss.backward()
        return loss

    optimizer.step(closure)
    return model


@pytest.mark.demonstrates("vae")
def test_its_optimum_is_probabilistic_pca_and_the_bounds_are_ordered() -> None:
    mean, spread = torch.ones(6, dtype=torch.float64), covariance()
    best = maximised(untrained(), mean, spread)
    with torch.no_grad():
        optimum = ppca_log_likelihood(torch.linalg.eigvalsh(spread), 3)
        # The row asks for 0.1 nat; a gradient of 1e-9 where curvatures are of order 1 leaves much less.
        assert optimum - float(best.expected_elbo(mean, spread)) < 1e-6
        assert optimum - float(best.expected_log_evidence(mean, spread)) > -1e-12
        assert optimum - float(untrained().expected_elbo(mean, spread)) > 1
        assert float(best.variance) == pytest.approx((0.8 + 0.5 + 0.3) / 3, rel=1e-3)
        leading = torch.linalg.eigh(spread).eigenvectors[:, 3:]
        outside = best.decoder.weight - leading @ (leading.T @ best.decoder.weight)
        assert float(outside.norm() / best.decoder.weight.norm()) < 1e-3

        # Before training the bounds lie apart: ELBO < IWAE of 5 < of 50 < ln p.
        x, model = 2 * numbers(20, 6), untrained()
        evidence, bounds = model.log_evidence(x), []
        for samples in (1, 5, 50):
            draws = torch.stack(
                [importance_bound(model, x, samples=samples, generator=generator) for generator in generators(100)]
            )
            bounds.append(draws.mean(1))
        evidences = evidence.mean()
        for low, high in pairwise([*bounds, evidences.expand(100)]):
            rise = high - low
            assert float(rise.mean()) > 4 * float(rise.std()) / 10
        # Of many draws the estimate is near ln p, and after training each draw is exact to what training left.
        assert float(evidences - bounds[-1].mean()) < 0.5 * float(evidences - bounds[0].mean())
        exact = importance_bound(best, x, samples=1, generator=torch.Generator().manual_seed(0))
        torch.testing.assert_close(exact, best.log_evidence(x), rtol=0, atol=1e-3)


def generators(n: int) -> list[torch.Generator]:
    return [torch.Generator().manual_seed(seed) for seed in range(n)]


@torch.no_grad()
def test_the_sampled_bound_is_the_exact_one_in_the_mean() -> None:
    model, x = untrained(), numbers(3, 6)
    zero = torch.zeros(6, 6, dtype=torch.float64)
    exact = torch.stack([model.expected_elbo(each, zero) for each in x])
    for weight in (1.0, 0.0, 0.5):
        draws = torch.stack([elbo(model, x, weight=weight, generator=each) for each in generators(400)])
        divergence = model.expected_divergences(x[0], zero).sum()
        torch.testing.assert_close(divergence, unit_divergences(*model.encode(x[:1])).sum())
        wanted = torch.stack([model.expected_elbo(each, zero, weight=weight) for each in x])
        # Four standard errors of 400 draws.
        assert ((draws.mean(0) - wanted).abs() < 4 * draws.std(0) / 20).all()
    # A draw of k noises is the mean of k draws: the variance falls as 1/k. A ratio of variances of 400 draws each is
    # known to 1 ± 5 √(2 · 2/400).
    many = torch.stack([elbo(model, x, samples=10, generator=each) for each in generators(400)])
    once = torch.stack([elbo(model, x, generator=each) for each in generators(400)])
    assert ((10 * many.var(0) / once.var(0) - 1).abs() < 0.5).all()
    assert (exact <= model.log_evidence(x)).all()


@torch.no_grad()
def test_log_evidence_is_the_gaussian_density() -> None:
    model, x = untrained(), numbers(4, 6)
    w = model.decoder.weight
    density = torch.distributions.MultivariateNormal(
        model.decoder.bias, w @ w.T + model.variance * torch.eye(6, dtype=torch.float64)
    )
    torch.testing.assert_close(model.log_evidence(x), density.log_prob(x), rtol=1e-12, atol=0)
    mean, spread = x.mean(0), torch.cov(x.T, correction=0)
    torch.testing.assert_close(
        model.expected_log_evidence(mean, spread), density.log_prob(x).mean(), rtol=1e-12, atol=0
    )
    zero = torch.zeros(6, 6, dtype=torch.float64)
    each = torch.stack([model.expected_elbo(one, zero) for one in x]).mean()
    torch.testing.assert_close(model.expected_elbo(mean, spread), each, rtol=1e-12, atol=0)


@pytest.mark.parametrize("variance", [0.4, 0.9, 2.5, 6.0])
def test_units_collapse_where_the_noise_exceeds_the_eigenvalue(variance: float) -> None:
    mean, spread = torch.zeros(6, dtype=torch.float64), covariance()
    best = maximised(untrained(4, variance), mean, spread)
    with torch.no_grad():
        active = int((best.expected_divergences(mean, spread) > 0.01).sum())
        assert active == min(4, sum(each > variance for each in SPECTRUM))
        optimum = ppca_log_likelihood(torch.linalg.eigvalsh(spread), 4, variance=variance)
        assert abs(optimum - float(best.expected_elbo(mean, spread))) < 1e-6
        assert float(best.variance) == pytest.approx(variance)


def test_without_the_divergence_no_unit_collapses() -> None:
    mean, spread = torch.zeros(6, dtype=torch.float64), covariance()
    # Nothing bounds the code's scale then: D goes to 0 and the error is that of PCA, whatever σ² is.
    best = maximised(untrained(3, 6.0), mean, spread, weight=0.0, steps=100)
    with torch.no_grad():
        code = best.encoder.weight @ spread @ best.encoder.weight.T
        used = best.decoder.weight * code.diagonal().sqrt()
        assert float(torch.linalg.svdvals(used)[2]) > 0.1
        assert int((best.expected_divergences(mean, spread) > 0.01).sum()) == 3


def test_the_closed_form_is_the_likelihood_of_its_maximiser() -> None:
    """Against the Gaussian density with the covariance of Tipping and Bishop, U (Λ − σ² I) Uᵀ + σ² I."""
    values, vectors = torch.linalg.eigh(covariance())
    for latent in (1, 3, 5):
        for variance in (None, 0.4, 2.5, 6.0):
            noise = float(values[: 6 - latent].mean()) if variance is None else variance
            kept = (values[6 - latent :] - noise).clamp(min=0)
            leading = vectors[:, 6 - latent :]
            best = leading @ torch.diag(kept) @ leading.T + noise * torch.eye(6, dtype=torch.float64)
            naive = -0.5 * (torch.logdet(2 * torch.pi * best) + torch.trace(torch.linalg.solve(best, covariance())))
            assert ppca_log_likelihood(values, latent, variance=variance) == pytest.approx(float(naive), rel=1e-12)


@torch.no_grad()
def test_its_samples_have_its_mean_and_covariance() -> None:
    model = untrained()
    model.decoder.bias += 1
    x, n = model.sample(20_000, generator=torch.Generator().manual_seed(0)), 20_000
    spread = model.decoder.weight @ model.decoder.weight.T + model.variance * torch.eye(6, dtype=torch.float64)
    variances = spread.diagonal()
    # Five standard errors, of a mean √(v/n) and of a covariance √((vᵢ vⱼ + cᵢⱼ²)/n).
    assert ((x.mean(0) - 1).abs() < 5 * (variances / n).sqrt()).all()
    error = ((variances[:, None] * variances + spread.square()) / n).sqrt()
    assert ((torch.cov(x.T) - spread).abs() < 5 * error).all()


def test_it_behaves() -> None:
    behaves(LinearVAE(6, 2), LinearVAE(6, 2), numbers(4, 6).float())


def test_bad_input_is_refused() -> None:
    for given in ({"in_features": 0}, {"latent": 0}, {"in_features": 4, "latent": 4}, {"variance": 0.0}):
        with pytest.raises(UsageError, match=next(reversed(given))):
            LinearVAE(**given)
    model, x = untrained(), numbers(3, 6)
    with pytest.raises(UsageError, match="covariance"):
        model.expected_elbo(x[0], torch.eye(5))
    with pytest.raises(UsageError, match="6"):
        model.log_evidence(numbers(3, 5))
    for samples in (0, 1.5, True):
        with pytest.raises(UsageError, match="samples"):
            importance_bound(model, x, samples=samples)
        with pytest.raises(UsageError, match="samples"):
            elbo(model, x, samples=samples)
    with pytest.raises(UsageError, match="weight"):
        elbo(model, x, weight=-1.0)
    with pytest.raises(UsageError, match="x is"):
        elbo(model, x[:0])
    for latent in (0, 6):
        with pytest.raises(UsageError, match="latent"):
            ppca_log_likelihood(torch.ones(6), latent)
    with pytest.raises(UsageError, match="variance"):
        ppca_log_likelihood(torch.tensor([1.0, 0.0]), 1)
    with pytest.raises(UsageError, match="eigenvalues"):
        ppca_log_likelihood(torch.tensor([1.0, -1.0]), 1, variance=1.0)
