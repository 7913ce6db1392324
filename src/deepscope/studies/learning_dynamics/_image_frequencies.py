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
    nearest_neighbour_scale,
    squared_distances,
)
from deepscope.studies.learning_dynamics._fourier_modes import Floats
from deepscope.studies.learning_dynamics._full_batch import full_batch_adam

#: δ² of the filters, in units of the median squared distance to the nearest other image.
WIDTHS = (0.5, 1.0, 2.0)


def learn_images(case: Case, run: TrialRun) -> dict[str, Any]:
    """Train on labelled images and compare the errors of the low and the high part at each width.

    Returns
    -------
    dict
        ``step``, ``accuracy`` at the end, and with the filters of the images (``true_``) and of the images dealt to
        other labels (``dealt_``): ``low`` and ``high``, the errors at the middle width; ``log_ratios``, the mean of
        log(e_high/e_low), and ``shares``, that of steps with e_low < e_high, at each width.

    Raises
    ------
    UsageError
        More images are asked for than there are, or fewer than 2.
    """
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

    filters = _filters(inputs, rng)
    steps, accuracies, errors = [], [], []
    for step, outputs in enumerate(full_batch_adam(model, forward, case.image_learning_rate)):
        if step % case.every == 0:
            steps.append(step)
            accuracies.append(float((outputs.argmax(dim=1) == labels).float().mean()))
            errors.append([each.errors(outputs, targets) for each in filters])
            run.progress(step / case.image_steps)
        if step >= case.image_steps:
            break
    low, high = np.array(errors).transpose(2, 1, 0)
    return {
        "step": np.array(steps),
        "accuracy": accuracies[-1],
        **_compared("true", low[: len(WIDTHS)], high[: len(WIDTHS)]),
        **_compared("dealt", low[len(WIDTHS) :], high[len(WIDTHS) :]),
    }


def _filters(inputs: Tensor, rng: np.random.Generator) -> list[GaussianFilter]:
    """Return the filters of all widths, and then those of the same images in random order."""
    squared = squared_distances(inputs)
    scale = nearest_neighbour_scale(squared)
    dealt = torch.from_numpy(rng.permutation(len(inputs))).to(inputs.device)
    return [
        GaussianFilter.of(distances, width * scale)
        for distances in (squared, squared[dealt][:, dealt])
        for width in WIDTHS
    ]


def _compared(name: str, low: Floats, high: Floats) -> dict[str, Any]:
    """Return errors at the middle width, and at each width what is judged, over all steps but the first."""
    ratios = np.log(high[:, 1:] / low[:, 1:])
    return {
        f"{name}_low": low[1],
        f"{name}_high": high[1],
        f"{name}_log_ratios": ratios.mean(axis=1),
        f"{name}_shares": (ratios > 0).mean(axis=1),
    }
