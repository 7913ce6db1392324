"""One trial: a variational autoencoder learns images, and its bounds are compared."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from deepscope.core import Case, TrialRun, derive_seed
from deepscope.data import Samples, load
from deepscope.models import VAE, ConditionalVAE, negative_elbo, unit_divergences
from deepscope.studies.generative_models._bounds import lower, mean_bounds
from deepscope.subject import seeded_generators


def train_on_images(case: Case, run: TrialRun) -> dict[str, Any]:
    """Return the bounds of a variational autoencoder on test images whose pixels are black or white.

    Returns
    -------
    dict
        ``bounds`` and ``untrained_bounds``: ``mean_bounds`` after training and before; ``independent``: the mean ln p
        of pixels that are independent, as frequent as in training: a code that says nothing; ``divergences``: mean KL
        of each unit, largest first. In nats.
    """
    found = load(case.data)
    train, test = (_binary(samples, run.device) for samples in (found.train, found.test))
    features, classes = train.inputs.shape[1], len(found.classes)
    with seeded_generators(derive_seed(run.seed, "weights")):
        model = (
            ConditionalVAE(features, classes, (case.hidden,), case.code)
            if case.conditional
            else VAE(features, (case.hidden,), case.code)
        ).to(run.device)
    inputs = _given(case, test.inputs, test.targets)
    generator = torch.Generator(run.device).manual_seed(derive_seed(run.seed, "bounds"))
    untrained = mean_bounds(model, inputs, generator)

    def batches(epoch: int) -> Iterator[tuple[Tensor, ...]]:
        epochs = train.epochs(case.images_per_step, seed=run.seed)
        return (_given(case, *batch) for batch in epochs(epoch))

    steps = case.epochs * -(-len(train) // case.images_per_step)
    lower(model, negative_elbo, batches, case, steps=steps, epochs=case.epochs, seed=run.seed)
    with torch.no_grad():
        divergences = unit_divergences(*model.encode(*inputs)).mean(0)
    return {
        "bounds": mean_bounds(model, inputs, generator),
        "untrained_bounds": untrained,
        "independent": independent_log_likelihood(train.inputs, test.inputs),
        "divergences": divergences.sort(descending=True).values.cpu().numpy(),
    }


def independent_log_likelihood(train: Tensor, test: Tensor) -> float:
    """Return the mean ln p of test images, [n, pixels] of 0 and 1, whose pixels are independent.

    A pixel that is 1 in c of n training images is 1 with probability (c + 1)/(n + 2).
    """
    share = (train.sum(0) + 1) / (len(train) + 2)
    return float((test * share.log() + (1 - test) * (1 - share).log()).sum(1).mean())


def _binary(samples: Samples, device: Any) -> Samples:
    """Return images as [n, pixels], 1 where a pixel is above one half."""
    return Samples((samples.inputs.flatten(1) > 0.5).float().to(device), samples.targets.to(device))


def _given(case: Case, images: Tensor, labels: Tensor) -> tuple[Tensor, ...]:
    """Return what the model is given."""
    return (images, labels) if case.conditional else (images,)
