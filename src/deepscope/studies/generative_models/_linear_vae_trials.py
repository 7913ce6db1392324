"""Trials of linear variational autoencoders: trained with the exact bound, with drawn ones, and their bounds."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from deepscope.core import Case, TrialRun, derive_seed
from deepscope.models import LinearVAE, negative_elbo
from deepscope.studies.generative_models._bounds import lower, mean_bounds
from deepscope.studies.generative_models._gaussian_data import SPECTRUM, against_optimum, gaussian, largest_angle
from deepscope.subject import seeded_generators


def make_model(case: Case, seed: int) -> LinearVAE:
    """Return an untrained linear model in float64; σ² is learned where ``case.variance`` is 0."""
    with seeded_generators(derive_seed(seed, "weights")):
        return LinearVAE(len(SPECTRUM), case.latent, variance=case.variance or None).double()


def train_exactly(case: Case, run: TrialRun) -> dict[str, Any]:
    """Return where the exact bound of data of known covariance leads, the divergence weighted by ``case.weight``.

    Returns
    -------
    dict
        What ``against_optimum`` returns; ``untrained``: the gap before training; ``least_direction``: the least
        singular value of the decoder, each column times the standard deviation of its code's mean;
        ``leading_angle``: of all its columns to as many leading axes, radians; ``bounds`` and ``untrained_bounds``:
        what ``bounds_below`` returns, after training and before.
    """
    covariance, axes = gaussian(run.seed)
    mean = torch.zeros(len(SPECTRUM), dtype=torch.float64)
    model, variance = make_model(case, run.seed), case.variance or None
    untrained, loose = against_optimum(model, covariance, axes, variance)["gap"], bounds_below(model, case, run.seed)

    def loss(model: LinearVAE, mean: Tensor, covariance: Tensor) -> Tensor:
        return -model.expected_elbo(mean, covariance, weight=case.weight)

    lower(model, loss, lambda epoch: itertools.repeat((mean, covariance), case.steps), case, steps=case.steps)
    with torch.no_grad():
        code = ((model.encoder.weight @ covariance) * model.encoder.weight).sum(1)
        directions = torch.linalg.svdvals(model.decoder.weight * code.sqrt())
    return {
        **against_optimum(model, covariance, axes, variance),
        "untrained": untrained,
        "least_direction": float(directions[-1]),
        "leading_angle": largest_angle(model.decoder.weight.detach(), axes[:, : case.latent]),
        "bounds": bounds_below(model, case, run.seed),
        "untrained_bounds": loose,
    }


def train_by_draws(case: Case, run: TrialRun) -> dict[str, Any]:
    """Return where the bound leads whose data and codes are drawn: new samples in every step, one z of each."""
    _, axes = gaussian(run.seed)
    model = make_model(case, run.seed)

    def batches(epoch: int) -> Iterator[tuple[Tensor]]:
        generator = torch.Generator().manual_seed(derive_seed(run.seed, "samples", epoch))
        return ((draw_samples(axes, case.batch_size, generator),) for _ in range(case.steps))

    lower(model, negative_elbo, batches, case, steps=case.steps, seed=run.seed)
    return against_optimum(model, gaussian(run.seed)[0], axes, case.variance or None)


def draw_samples(axes: Tensor, n: int, generator: torch.Generator) -> Tensor:
    """Draw n samples of mean 0, of the covariance with eigenvalues ``SPECTRUM`` and these axes, [n, d]."""
    spread = torch.tensor(SPECTRUM, dtype=torch.float64).sqrt()
    noise = torch.randn(n, len(SPECTRUM), generator=generator, dtype=torch.float64)
    return noise * spread @ axes.T


@torch.no_grad()
def bounds_below(model: LinearVAE, case: Case, seed: int) -> NDArray[np.float64]:
    """Return ``mean_bounds`` minus ln p of ``case.n_test`` samples, nats, [3]."""
    generator = torch.Generator().manual_seed(derive_seed(seed, "bounds"))
    x = draw_samples(gaussian(seed)[1], case.n_test, generator)
    evidence = float(model.log_evidence(x).mean())
    return mean_bounds(model, (x,), generator) - evidence
