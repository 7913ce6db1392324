"""A tanh network that learns images, and its errors on the low and the high frequencies of their labels."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 — torch's own name for it

from deepscope.core import Case, TrialRun, UsageError
from deepscope.data import load
from deepscope.models import MLP
from deepscope.studies.learning_dynamics._filtered_errors import (
    GaussianFilter,
    memorised,
    nearest_neighbour_scale,
    overall_error,
    squared_distances,
)
from deepscope.studies.learning_dynamics._fourier_modes import Floats
from deepscope.studies.learning_dynamics._full_batch import full_batch_adam

#: δ² of the filters, in units of the median squared distance to the nearest other image.
WIDTHS = (0.5, 1.0, 2.0)
#: Those that reach beyond an image's own label.
JUDGED_WIDTHS = (1.0, 2.0)


def learn_images(case: Case, run: TrialRun) -> dict[str, Any]:
    """Train on labelled images and compare the errors of the low and the high part at each width.

    Returns
    -------
    dict
        ``step``, ``accuracy`` at the end, and for the network (``network_``) and for what learns the images by heart,
        one after another in random order, as far as leaves the same overall error at each step (``by_heart_``): ``low``
        and ``high``, the errors at the middle width, and ``log_ratios``, the mean of log(e_high/e_low) at each width.

    Raises
    ------
    UsageError
        More images are asked for than there are, or fewer than 2; ``every`` is not within 1 … ``image_steps``.
    """
    if not 1 <= case.every <= case.image_steps:
        raise UsageError(f"every is {case.every}", where="every", todo=f"Give 1 … image_steps, {case.image_steps}.")
    data = load(case.data)
    if not 2 <= case.n_train <= len(data.train):
        todo = f"Set n_train to 2 … {len(data.train)}."
        raise UsageError(f"{case.n_train} images are asked for", where=case.data, todo=todo)
    rng = np.random.default_rng(run.seed)
    chosen = rng.choice(len(data.train), case.n_train, replace=False)
    inputs = data.train.inputs[chosen].flatten(1).to(run.device)
    labels = data.train.targets[chosen].to(run.device)
    targets = F.one_hot(labels, len(data.classes)).float()
    model = MLP(inputs.shape[1], [case.width] * 2, len(data.classes), activation="tanh").to(run.device)

    def forward() -> tuple[Tensor, Tensor]:
        outputs = model(inputs)
        return outputs, F.mse_loss(outputs, targets)

    squared = squared_distances(inputs)
    filters = [GaussianFilter.of(squared, width * nearest_neighbour_scale(squared)) for width in WIDTHS]
    order = torch.from_numpy(rng.permutation(case.n_train)).to(run.device)
    steps, accuracies, network, by_heart = [], [], [], []
    for step, outputs in enumerate(full_batch_adam(model, forward, case.image_learning_rate)):
        if step % case.every == 0:
            steps.append(step)
            accuracies.append(float((outputs.argmax(dim=1) == labels).float().mean()))
            network.append([each.errors(outputs, targets) for each in filters])
            learned = memorised(targets, order, overall_error(outputs, targets))
            by_heart.append([each.errors(learned, targets) for each in filters])
            run.progress(step / case.image_steps)
        if step >= case.image_steps:
            break
    return {
        "step": np.array(steps),
        "accuracy": accuracies[-1],
        **_compared("network", np.array(network)),
        **_compared("by_heart", np.array(by_heart)),
    }


def _compared(name: str, errors: Floats) -> dict[str, Any]:
    """Return errors at the middle width and mean log ratios over all steps but the first, of [step, width, part]."""
    low, high = errors.transpose(2, 1, 0)
    return {
        f"{name}_low": low[1],
        f"{name}_high": high[1],
        f"{name}_log_ratios": np.log(high[:, 1:] / low[:, 1:]).mean(axis=1),
    }
