"""Gaussian data of a known covariance, and how far a linear variational autoencoder is from its optimum on them."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from deepscope.core import derive_seed
from deepscope.models import LinearVAE, ppca_log_likelihood

#: Eigenvalues of the covariance. None is within a tenth of a noise variance of the study.
SPECTRUM = (
    *(8.0, 6.0, 4.4, 3.3, 2.45, 1.77, 1.35, 1.02, 0.77, 0.57),
    *(0.42, 0.36, 0.31, 0.27, 0.23, 0.17, 0.15, 0.13, 0.11, 0.1),
)
#: E KL, in nats, from which on a unit of the code counts as active: that of an eigenvalue 2 % above the noise.
ACTIVE = 0.01


def gaussian(seed: int) -> tuple[Tensor, Tensor]:
    """Return the covariance, [d, d] float64, of eigenvalues ``SPECTRUM`` and random axes; and the axes as columns."""
    generator = torch.Generator().manual_seed(derive_seed(seed, "axes"))
    d = len(SPECTRUM)
    axes = torch.linalg.qr(torch.randn(d, d, generator=generator, dtype=torch.float64)).Q
    return (axes * torch.tensor(SPECTRUM, dtype=torch.float64)) @ axes.T, axes


def optimal_divergences(latent: int, variance: float) -> Tensor:
    """Return E KL(q(zᵢ | x) ‖ p(zᵢ)) of the units at the maximum of the bound, [latent], nats: ½ ln(λᵢ/σ²), or 0.

    There the code's variance is Dᵢ = σ²/λᵢ and that of its mean 1 − σ²/λᵢ where the eigenvalue λᵢ exceeds σ²; else the
    posterior is the prior. Source: ``lucas2019don``.

    >>> optimal_divergences(3, 5.0).numpy().round(3).tolist()
    [0.235, 0.091, 0.0]
    """
    leading = torch.tensor(SPECTRUM[:latent], dtype=torch.float64)
    return (leading / variance).log().clamp(min=0) / 2


def collapsed_log_likelihood(variance: float | None) -> float:
    """Return E ln p(x), nats, of the model whose code says nothing: N(0, σ² I), σ² the best unless given."""
    values = torch.tensor(SPECTRUM, dtype=torch.float64)
    noise = float(values.mean()) if variance is None else variance
    return -len(values) * math.log(2 * math.pi * noise) / 2 - float(values.sum()) / noise / 2


def largest_angle(columns: Tensor, axes: Tensor) -> float:
    """Return the largest angle, radians, of the space of some columns [d, n] to that of orthonormal ones, [d, m].

    >>> largest_angle(torch.tensor([[2.0], [2.0], [0.0]]), torch.eye(3)[:, :1])  # 45°
    0.785398...
    """
    basis = torch.linalg.qr(columns).Q
    outside = basis - axes @ (axes.T @ basis)
    return math.asin(min(1.0, float(torch.linalg.matrix_norm(outside, 2))))


@torch.no_grad()
def against_optimum(model: LinearVAE, covariance: Tensor, axes: Tensor, variance: float | None) -> dict[str, Any]:
    """Return how far a model is from probabilistic PCA, and which units of its code are active.

    Returns
    -------
    dict
        ``gap``: to the largest log-likelihood, nats; ``collapsed_gap``: that of the best model whose code says nothing.
        ``noise``: σ²; ``best_noise``: that of the optimum. ``divergences``: E KL of each unit, nats, largest first;
        ``best_divergences``: those of the optimum. ``active``: how many exceed ``ACTIVE``; ``above``: eigenvalues above
        ``best_noise``, at most as many as units. ``angle``: of the active units' decoder columns to as many leading
        axes; ``column_angle``: the largest of one of these columns to its nearest axis; radians, None without any.
    """
    mean = torch.zeros(len(SPECTRUM), dtype=torch.float64)
    best_noise = sum(SPECTRUM[model.latent :]) / len(SPECTRUM[model.latent :]) if variance is None else variance
    best = ppca_log_likelihood(torch.tensor(SPECTRUM, dtype=torch.float64), model.latent, variance=variance)
    divergences = model.expected_divergences(mean, covariance)
    used = model.decoder.weight[:, divergences > ACTIVE]
    cosines = (axes.T @ used / used.norm(dim=0)).abs().clamp(max=1)
    return {
        "gap": best - float(model.expected_log_evidence(mean, covariance)),
        "collapsed_gap": best - collapsed_log_likelihood(variance),
        "noise": float(model.variance),
        "best_noise": best_noise,
        "divergences": divergences.sort(descending=True).values.numpy(),
        "best_divergences": optimal_divergences(model.latent, best_noise).numpy(),
        "active": used.shape[1],
        "above": min(model.latent, sum(value > best_noise for value in SPECTRUM)),
        "angle": largest_angle(used, axes[:, : used.shape[1]]) if used.shape[1] else None,
        "column_angle": float(cosines.amax(0).min().acos()) if used.shape[1] else None,
    }
