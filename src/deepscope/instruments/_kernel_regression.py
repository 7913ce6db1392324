"""What kernel regression with a network's tangent kernel predicts, beside the network itself."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from deepscope.instruments._held_out_scores import accuracy, r_squared
from deepscope.instruments._labels import Labels
from deepscope.linalg import leave_one_out

Floats = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class KernelRegression:
    """How well two predictors do on the same samples.

    Attributes
    ----------
    score
        ``"accuracy"`` for classes, ``"R²"`` for a regression's targets: 1 − Σ‖y − ŷ‖² / Σ‖y − ȳ‖².
    kernel, kernel_low, kernel_high
        Of kernel ridge regression, each sample predicted from all the others, with its 95 % interval: Wilson's for an
        accuracy, the jackknife's over samples for R².
    network, network_low, network_high
        Of the network on the same samples, which it may have been trained on; None where its outputs do not fit the
        labels.
    agreement
        Share of samples to which both give the same class; None for a regression.
    ridge
        As a share of the kernel's mean eigenvalue.
    """

    score: str
    kernel: float
    kernel_low: float
    kernel_high: float
    network: float | None
    network_low: float | None
    network_high: float | None
    agreement: float | None
    ridge: float


def regress(kernel: Floats, outputs: Floats, labels: Labels) -> KernelRegression | None:
    """Regress labels on a kernel of shape [n, n]; None where there is nothing to regress on.

    Classes are predicted by the largest of regressions on their indicators less 1/classes; targets about their mean.
    """
    values, classes = labels.values, labels.classes
    centre = 1 / values.shape[1] if classes is not None else values.mean(axis=0)
    found = leave_one_out(kernel, values - centre)
    if found is None:
        return None
    fits = labels.of_outputs and outputs.shape == values.shape
    ridge = found.ridge / (float(np.trace(kernel)) / len(kernel))
    if classes is not None:
        chosen = found.predictions.argmax(axis=1)
        own = outputs.argmax(axis=1) if fits else None
        mine = accuracy(chosen == classes)
        theirs = accuracy(own == classes) if own is not None else (None, None, None)
        agreement = float(np.mean(chosen == own)) if own is not None else None
        score = "accuracy"
    else:
        mine = r_squared(values, found.predictions + centre)
        theirs = r_squared(values, outputs) if fits else (None, None, None)
        agreement, score = None, "R²"
    return KernelRegression(
        score=score,
        kernel=mine[0],
        kernel_low=mine[1],
        kernel_high=mine[2],
        network=theirs[0],
        network_low=theirs[1],
        network_high=theirs[2],
        agreement=agreement,
        ridge=ridge,
    )
