"""What a network is asked for on its data and what it answers, in the same units."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeGuard

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from deepscope.core import DeepscopeError
from deepscope.instruments._frequency_lines import Samples
from deepscope.instruments._labels import Labels, labels_of
from deepscope.instruments._refusal import refusal
from deepscope.subject import Subject, main_output

Floats = NDArray[np.float64]

_SOFTMAX = (nn.functional.cross_entropy, nn.CrossEntropyLoss)
_SIGMOID = (
    nn.functional.binary_cross_entropy_with_logits,
    nn.BCEWithLogitsLoss,
    nn.functional.soft_margin_loss,
    nn.SoftMarginLoss,
)
_VALUES = (nn.functional.mse_loss, nn.MSELoss, nn.functional.l1_loss, nn.L1Loss)
#: How probabilities may miss the sum of 1: by the rounding of half precision.
_SUM = 1e-2


def has_rows(output: Any, n: int) -> TypeGuard[Tensor]:
    """Whether an output is one floating-point tensor with a row for each of n samples."""
    return isinstance(output, Tensor) and output.is_floating_point() and output.ndim > 0 and len(output) == n


def outputs_of(subject: Subject, data: Samples) -> tuple[Tensor | None, str]:
    """Run the data's samples; the outputs [n, …], or None and the reason."""
    found: list[Tensor] = []
    for index, batch in enumerate(data.batches):
        try:
            outputs = main_output(subject.predict(batch.inputs))
        except DeepscopeError:
            raise
        except Exception as error:
            raise refusal(error, index, subject, ran=False) from error
        if not has_rows(outputs, batch.n_samples) or (found and outputs.shape[1:] != found[0].shape[1:]):
            return None, "the outputs are not a floating-point tensor with a row per sample"
        found.append(outputs.detach())
    return torch.cat(found), ""


def targets_of(data: Samples, outputs: Tensor | None) -> Labels:
    """Return the samples' targets."""
    targets = [batch.targets for batch in data.batches]
    return labels_of(targets, data.n, outputs[0].numel() if outputs is not None else 0)


def answers_of(outputs: Tensor, labels: Labels, loss: Callable[..., Any] | None) -> tuple[Floats | None, str]:
    """Return the labelled samples' outputs in the targets' units and how they were read, or None and the reason.

    With a squared or absolute error, as they are; with cross-entropy, as probabilities by softmax; with binary
    cross-entropy, by the logistic function. With any other loss, or none, classes' outputs are taken by softmax, unless
    they are probabilities already; numbers' as they are.

    Parameters
    ----------
    outputs
        [n, …], of all samples.
    labels
        Of those of them that have one, [m, k].
    loss
        The subject's.
    """
    values = outputs.detach().double().cpu().reshape(len(outputs), -1)[torch.from_numpy(labels.rows)]
    if not bool(torch.isfinite(values).all()):
        return None, "the outputs are not finite"
    k = labels.values.shape[1]
    if not labels.of_outputs:
        return None, "the labels are not the numbers of outputs"
    single = labels.classes is not None and values.shape[1] == 1 and k == 2
    if values.shape[1] != k and not single:
        return None, f"{values.shape[1]} outputs do not fit {k} targets"
    read, how = _read(values, labels, loss, single=single)
    if single:
        read = torch.cat([1 - read, read], dim=1)
    return np.asarray(read.numpy(), np.float64), how


def _read(values: Tensor, labels: Labels, loss: Callable[..., Any] | None, *, single: bool) -> tuple[Tensor, str]:
    as_they_are = "the outputs as they are"
    if _is_one_of(loss, _VALUES):
        return values, as_they_are
    if _is_one_of(loss, _SIGMOID) or single:
        inside = bool(((values >= 0) & (values <= 1)).all()) and not _is_one_of(loss, _SIGMOID)
        return (values, as_they_are) if inside else (torch.sigmoid(values), "probabilities by the logistic function")
    if _is_one_of(loss, _SOFTMAX):
        return torch.softmax(values, dim=1), "probabilities by softmax"
    if labels.classes is None:
        return values, as_they_are
    sums = values.sum(dim=1)
    if bool((values >= 0).all()) and bool(((sums - 1).abs() <= _SUM).all()):
        return values, as_they_are
    return torch.softmax(values, dim=1), "probabilities by softmax"


def _is_one_of(loss: Callable[..., Any] | None, known: tuple[Any, ...]) -> bool:
    return any(loss is each or (isinstance(each, type) and isinstance(loss, each)) for each in known)
