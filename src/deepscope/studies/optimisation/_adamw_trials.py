"""One trial: exact paths, decay rates under noise, or a grid of networks that learn images."""

from __future__ import annotations

from typing import Any

import torch

from deepscope.core import Case, TrialRun, UsageError, derive_seed, nearest
from deepscope.data import Samples
from deepscope.models import MLP
from deepscope.studies.optimisation._decay_grid import search
from deepscope.studies.optimisation._decay_paths import distances
from deepscope.studies.optimisation._decay_rates import SCALES, decay_rates, slope
from deepscope.studies.optimisation._split_images import SplitImages, split_images
from deepscope.subject import seeded_generators

PARTS = ("paths", "rates", "grid")
#: Of the weights that see noise.
RATE, DECAY = 0.001, 0.02


def trial(case: Case, run: TrialRun) -> dict[str, Any]:
    """Return what one part measures.

    Returns
    -------
    dict
        ``case.part`` is ``"paths"``: see ``distances``; ``"rates"``: of ``adam-l2`` and ``adamw`` as prefix ``_rates``,
        the decay rates by gradient scale over λ, and ``_slope``, see ``slope``; ``scales``; ``"grid"``: see ``search``.

    Raises
    ------
    UsageError
        An unknown part, and what images, networks and batches refuse.
    """
    if case.part not in PARTS:
        raise UsageError("unknown part", where=case.part, todo=nearest(case.part, PARTS))
    if case.part == "rates":
        return _rates(case, run)
    images = split_images(case.data, case.n_train, case.n_validation, run.generator).to(run.device)
    model, order = _network(case, images, run.seed).to(run.device), derive_seed(run.seed, "batches")
    if case.part == "grid":
        return search(model, images, steps=case.steps, batch_size=case.batch_size, seed=order)
    precise = Samples(images.train.inputs.double(), images.train.targets)
    return distances(model.double(), precise, steps=case.steps, batch_size=case.batch_size, seed=order)


def _network(case: Case, images: SplitImages, seed: int) -> MLP:
    with seeded_generators(derive_seed(seed, "weights")):
        return MLP(images.train.inputs[0].numel(), [case.width] * 2, images.n_classes)


def _rates(case: Case, run: TrialRun) -> dict[str, Any]:
    found: dict[str, Any] = {"scales": list(SCALES)}
    for method in ("adam-l2", "adamw"):
        # Both see the same noise.
        rates = decay_rates(
            method,
            steps=case.noise_steps,
            n_weights=case.n_weights,
            learning_rate=RATE,
            decay=DECAY,
            generator=torch.Generator().manual_seed(derive_seed(run.seed, "noise")),
        )
        found |= {f"{method}_rates": rates / DECAY, f"{method}_slope": slope(rates)}
    return found
