"""Denoising autoencoders: what is left of the noise is the score."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from contract import overfits
from torch import Tensor

from deepscope.core import UsageError
from deepscope.models import (
    Autoencoder,
    Objective,
    denoising_loss,
    gaussian_noise,
    masking_noise,
    reconstruction_error,
    salt_and_pepper,
)


def rotated(scales: Tensor) -> Tensor:
    """Return 2d points, [2d, d], with mean 0 and covariance Q diag(s²) Qᵀ exactly: ± √d sᵢ qᵢ."""
    d = len(scales)
    axes = torch.linalg.qr(torch.randn(d, d, generator=torch.Generator().manual_seed(0)).double()).Q
    points = (axes * scales * d**0.5).T
    return torch.cat([points, -points])


def denoiser(deviation: float) -> tuple[Autoencoder, Tensor]:
    """Return the best linear denoiser of a Gaussian, and its covariance.

    The loss of a linear r is a function of the covariances of data and noise and of nothing else: so the samples are
    all pairs of points that have these exactly, and the minimum is that of the expected loss.
    """
    scales = torch.tensor([1.5, 1.0, 0.5], dtype=torch.float64)
    data, noise = rotated(scales), rotated(torch.full((3,), deviation, dtype=torch.float64))
    x, noises = data.repeat_interleave(6, 0), noise.repeat(6, 1)
    torch.manual_seed(0)
    model = Autoencoder(3, (), 3, output_activation="identity").double()
    optimizer = torch.optim.LBFGS(
        model.parameters(), max_iter=1000, tolerance_grad=1e-12, tolerance_change=0, line_search_fn="strong_wolfe"
    )

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = denoising_loss(model, x, corruption=lambda each, generator: each + noises)
        loss.backward()
        return loss

    optimizer.step(closure)
    return model, torch.cov(data.T, correction=0)


def test_its_residual_is_the_score_of_a_gaussian() -> None:
    points = torch.randn(5, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    relative = []
    for deviation in (0.4, 0.2, 0.1):
        model, covariance = denoiser(deviation)
        residual = (model(points) - points).detach() / deviation**2
        # The score of N(0, C) at x is −C⁻¹ x. That of the corrupted data is met for any deviation; the minimum is
        # found to a gradient of 1e-12 and the residual is divided by 0.01.
        smoothed = -torch.linalg.solve(covariance + deviation**2 * torch.eye(3), points.T).T
        torch.testing.assert_close(residual, smoothed, rtol=0, atol=1e-6)
        score = -torch.linalg.solve(covariance, points.T).T
        relative.append(float((residual - score).norm() / score.norm()))
    # That of the data is its limit, with an error of order σ²: a quarter with each halving, up to σ²/λ ≤ 0.64.
    assert relative[2] < 0.04
    assert 2.4 < relative[0] / relative[1] < 4
    assert 3.3 < relative[1] / relative[2] < 4


def test_its_least_loss_is_what_the_noise_hides() -> None:
    """E ‖r(x̃) − x‖² = tr C − tr C (C + σ² I)⁻¹ C at the minimum, from samples with fresh noise."""
    model, covariance = denoiser(0.5)
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(20_000, 3, dtype=torch.float64, generator=generator) @ torch.linalg.cholesky(covariance).T
    least = torch.trace(covariance - covariance @ torch.linalg.solve(covariance + 0.25 * torch.eye(3), covariance))
    loss = denoising_loss(model, x, corruption=gaussian_noise(0.5), generator=generator)
    # 20,000 samples of a squared error whose deviation is below its mean of 0.5: four standard errors.
    assert abs(float(loss) - float(least)) < 4 * float(least) / 20_000**0.5


def test_corruptions_do_what_they_say() -> None:
    x, n = torch.full((40, 1000), 0.5), 40_000

    def generator() -> torch.Generator:
        return torch.Generator().manual_seed(0)

    noise = gaussian_noise(0.3)(x, generator()) - x
    # Five standard errors: of a mean σ/√n, of a deviation σ/√(2n), of a share √(p (1 − p)/n).
    assert noise.mean().abs() < 5 * 0.3 / n**0.5
    assert (noise.std() - 0.3).abs() < 5 * 0.3 / (2 * n) ** 0.5
    masked = masking_noise(0.25)(x, generator())
    assert set(masked.unique().tolist()) == {0.0, 0.5}
    assert abs((masked == 0).double().mean() - 0.25) < 5 * (0.25 * 0.75 / n) ** 0.5
    salted = salt_and_pepper(0.25)(x, generator())
    for value in (0.0, 1.0):
        assert abs((salted == value).double().mean() - 0.125) < 5 * (0.125 * 0.875 / n) ** 0.5
    assert (salted == 0.5).any()
    for corruption in (gaussian_noise(0.3), masking_noise(0.25), salt_and_pepper(0.25)):
        first, again = (corruption(x.double(), generator()) for _ in range(2))
        assert torch.equal(first, again)
        assert first.dtype == torch.float64
    assert torch.equal(masking_noise(0.0)(x, None), x)


def test_the_loss_compares_with_what_was_not_corrupted() -> None:
    torch.manual_seed(0)
    model, x = Autoencoder(4, (), 3), torch.rand(5, 4)
    loss = denoising_loss(model, x, corruption=lambda each, generator: each + 1)
    torch.testing.assert_close(loss, (model(x + 1) - x).square().sum() / 5)
    assert abs(float(loss) - float(reconstruction_error(model, x))) > 1e-4


def test_it_overfits_sixteen_samples() -> None:
    torch.manual_seed(0)
    model = Autoencoder(32, (), 64, code_activation="sigmoid")
    x = (torch.rand(16, 32, generator=torch.Generator().manual_seed(0)) > 0.5).float()
    # Sixteen random words of 32 bits are told apart from a part of theirs: the least loss is nearly 0.
    loss = partial(denoising_loss, corruption=masking_noise(0.1), generator=torch.Generator().manual_seed(1))
    overfits(Objective(model, loss), x, x, Objective.value, steps=1500, below=0.05)


def test_bad_input_is_refused() -> None:
    for corruption in (masking_noise, salt_and_pepper):
        for fraction in (-0.1, 1.0, float("nan")):
            with pytest.raises(UsageError, match="fraction"):
                corruption(fraction)
    for deviation in (0.0, -1.0, float("nan")):
        with pytest.raises(UsageError, match="deviation"):
            gaussian_noise(deviation)
    with pytest.raises(UsageError, match="x is"):
        denoising_loss(Autoencoder(4, (), 3), torch.zeros(0, 4), corruption=masking_noise(0.1))
