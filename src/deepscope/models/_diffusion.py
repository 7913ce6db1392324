"""Denoising diffusion: a network learns to predict noise, and samples are made from noise step by step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn

from deepscope.core import Specimen, UsageError, nearest
from deepscope.models._autoencoder import check_batch
from deepscope.models._draws import standard_normal
from deepscope.models._noise_schedule import NoiseSchedule, check_times, linear_betas
from deepscope.models._unet import UNet

_VARIANCES = ("beta", "posterior")


class DDPM(nn.Module):
    """Denoising diffusion probabilistic model: a network ε̂(xₜ, t) predicts the noise in xₜ = √ᾱₜ x₀ + √(1 − ᾱₜ) ε.

    Maps ``x``, [batch, …], and ``times``, [batch] whole numbers from 1 to T, to the noise, [batch, …]; it has its
    network's parameters. ``diffusion_loss`` trains it. Samples are made from x_T ~ N(0, I) by

        xₜ₋₁ = (xₜ − βₜ/√(1 − ᾱₜ) ε̂(xₜ, t))/√αₜ + σₜ z,    z ~ N(0, I), and none at t = 1,

    whose mean is that of q(xₜ₋₁ | xₜ, x₀) with the x₀ that ε̂ implies. −ε̂/√(1 − ᾱₜ) is the network's score of xₜ.
    Source: ``ho2020denoising``.

    Parameters
    ----------
    predictor
        ε̂: maps x and times to noise, as ``UNet`` and ``NoiseMLP`` do.
    betas
        β₁ … β_T, [T], between 0 and 1; ``linear_betas()`` unless given. One step is enough.
    variance
        σₜ²: ``"beta"``, βₜ, which is right for data that are N(0, I), or ``"posterior"``, β̃ₜ, right for one point.

    Raises
    ------
    UsageError
        Variances out of range; an unknown ``variance``; when called: times that do not fit; what the network refuses.

    Examples
    --------
    >>> from deepscope.models import NoiseMLP, cosine_betas
    >>> model = DDPM(NoiseMLP(2), cosine_betas(20))
    >>> model(torch.zeros(5, 2), torch.full((5,), 20)).shape
    torch.Size([5, 2])
    >>> model.sample([3, 2], generator=torch.Generator().manual_seed(0)).shape
    torch.Size([3, 2])
    """

    def __init__(self, predictor: nn.Module, betas: Tensor | None = None, *, variance: str = "beta") -> None:
        super().__init__()
        if variance not in _VARIANCES:
            raise UsageError("unknown variance", where=str(variance), todo=nearest(str(variance), _VARIANCES))
        self.predictor, self.variance = predictor, variance
        self.schedule = NoiseSchedule(linear_betas() if betas is None else betas)

    def forward(self, x: Tensor, times: Tensor) -> Tensor:
        """Return the noise that the network expects in x at these times."""
        check_times(times, len(x), "DDPM", steps=self.schedule.steps)
        return cast(Tensor, self.predictor(x, times))

    def reverse(self, x: Tensor, times: Tensor) -> tuple[Tensor, Tensor]:
        """Return mean, [batch, …], and variance σₜ², [batch, 1, …], of the model's xₜ₋₁ given xₜ."""
        start = self.schedule.denoised(x, times, self(x, times))
        mean, variance = self.schedule.posterior(start, x, times)
        return mean, variance if self.variance == "posterior" else self.schedule.variance(times, x)

    @torch.no_grad()
    def sample(
        self, shape: Sequence[int], *, generator: torch.Generator | None = None, like: Tensor | None = None
    ) -> Tensor:
        """Draw samples of this shape, [n, …], with T evaluations of the network, in the mode that it is in.

        Where it has dropout, call ``eval()`` first.

        Parameters
        ----------
        shape
            That of the samples, their number first.
        generator
            Draws x_T and each step's noise; torch's own unless given.
        like
            A tensor whose precision and device they have; the network's first parameter unless given.
        """
        if not shape or min(shape) < 1:
            raise UsageError(f"shape is {list(shape)}", where="DDPM", todo="Give [n, …], all at least 1.")
        like = next(self.parameters()) if like is None else like
        x = standard_normal(shape, like, generator)
        for time in range(self.schedule.steps, 0, -1):
            mean, variance = self.reverse(x, torch.full((len(x),), time, device=x.device))
            x = mean + variance.sqrt() * standard_normal(shape, x, generator) if time > 1 else mean
        return x


def diffusion_loss(model: DDPM, x: Tensor, *, generator: torch.Generator | None = None) -> Tensor:
    """Return (ε − ε̂(xₜ, t))², in the mean over values and samples, for a time of each sample, uniform in 1 … T.

    It is the variational bound with each time's term weighted alike. The network that expects nothing has a loss of 1.
    Source: ``ho2020denoising``.

    Parameters
    ----------
    model
        The model.
    x
        Samples x₀, [batch, …].
    generator
        Draws times and noise; torch's own unless given.

    Raises
    ------
    UsageError
        No samples; what the model refuses.

    Examples
    --------
    >>> from deepscope.models import NoiseMLP
    >>> diffusion_loss(DDPM(NoiseMLP(2)), torch.zeros(5, 2)).shape
    torch.Size([])
    """
    check_batch(x, "diffusion_loss")
    place = "cpu" if generator is None else generator.device
    times = torch.randint(1, model.schedule.steps + 1, (len(x),), generator=generator, device=place).to(x.device)
    noise = standard_normal(x.shape, x, generator)
    predicted: Tensor = model(model.schedule.diffuse(x, times, noise), times)
    return (predicted - noise).square().mean()


def ddpm_28() -> DDPM:
    """Return the model of grey images of 28 × 28 pixels, 32 to 64 channels, 1,000 steps; 1,112,801 parameters.

    Source: ``ho2020denoising``; the size is ours.

    Examples
    --------
    >>> sum(p.numel() for p in ddpm_28().parameters())
    1112801
    """
    return DDPM(UNet(1, 32, (1, 2, 2), blocks=1, attention=(2,), groups=8))


def ddpm_cifar10() -> DDPM:
    """Return the published model of CIFAR-10: 128 to 256 channels, attention at 16 × 16 pixels; 35,746,307 parameters.

    Source: ``ho2020denoising``.

    Examples
    --------
    >>> with torch.device("meta"):
    ...     sum(p.numel() for p in ddpm_cifar10().parameters())
    35746307
    """
    return DDPM(UNet())


def _noisy(channels: int, side: int) -> Any:
    def draw(n: int, generator: torch.Generator | None = None) -> Mapping[str, Tensor]:
        x = torch.randn(n, channels, side, side, generator=generator)
        return {"x": x, "times": torch.randint(1, 1001, (n,), generator=generator)}

    return draw


SPECIMENS = (
    Specimen(
        name="ddpm-28",
        title="denoising diffusion model of handwritten digits",
        build=ddpm_28,
        inputs=_noisy(1, 28),
        parameters=1_112_801,
        formula="xₜ = √ᾱₜ x₀ + √(1 − ᾱₜ) ε for t = 1 … T; a U-Net ε̂(xₜ, t) is trained to lower (ε − ε̂)². Samples: "
        "x_T ~ N(0, I), xₜ₋₁ = (xₜ − βₜ/√(1 − ᾱₜ) ε̂)/√αₜ + √βₜ z.",
        source="ho2020denoising",
        pinned_by="tests/models/test_diffusion.py::test_with_the_exact_score_samples_have_the_moments_of_the_theory",
    ),
    Specimen(
        name="ddpm-cifar10",
        title="denoising diffusion model of small colour images",
        build=ddpm_cifar10,
        inputs=_noisy(3, 32),
        parameters=35_746_307,
        formula="xₜ = √ᾱₜ x₀ + √(1 − ᾱₜ) ε for t = 1 … T; a U-Net ε̂(xₜ, t) is trained to lower (ε − ε̂)². Samples: "
        "x_T ~ N(0, I), xₜ₋₁ = (xₜ − βₜ/√(1 − ᾱₜ) ε̂)/√αₜ + √βₜ z.",
        source="ho2020denoising",
        pinned_by="tests/models/test_diffusion.py::test_with_the_exact_score_samples_have_the_moments_of_the_theory",
    ),
)
