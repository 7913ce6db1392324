"""How the curvature weighs the noise of gradients."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from deepscope.core import first_line
from deepscope.instruments._noise_pass import GradientSums
from deepscope.subject import Batch, FirstSamples, PerSampleGradients, in_chunks, is_out_of_memory, part_of

Floats = NDArray[np.float64]

#: Samples of which one graph is kept for all products.
_ROWS = 256


@dataclass(frozen=True, kw_only=True)
class CurvatureNoise:
    """The noise scale weighed with the Hessian H of the mean loss.

    Attributes
    ----------
    noise_scale, stderr
        tr(HΣ) / gᵀHg, and its standard error over the random probes of tr(HΣ): what other samples would give is not
        in it. None where it could not be had, or gᵀHg cannot be told from 0 or is negative.
    trace, trace_stderr
        tr(HΣ), the loss by which a step of unit learning rate on one sample misses, twice, and its standard error.
    along_gradient
        gᵀHg, less the part of it that is noise.
    n_probes
        Random probes behind the trace.
    status
        ``"ok"``, or why there is no noise scale.
    """

    noise_scale: float | None = None
    stderr: float | None = None
    trace: float | None = None
    trace_stderr: float | None = None
    along_gradient: float | None = None
    n_probes: int = 0
    status: str = "ok"


def weigh(gradients: PerSampleGradients, sums: GradientSums, max_samples: int | None) -> CurvatureNoise:
    """Estimate tr(HΣ) / gᵀHg by products of the Hessian with random sums of gradients, and with the mean.

    v = Σ ε_i r_i / √(n − 1) has E[v vᵀ] = Σ, so that vᵀHv estimates tr(HΣ) without bias; ḡᵀHḡ exceeds gᵀHg by
    tr(HΣ)/n in expectation.
    """
    n_probes = len(next(iter(sums.probes.values()))) if sums.probes else 0
    if n_probes < 2:
        return CurvatureNoise(status="not asked for: fewer than two probes")
    if sums.n < 2:
        return CurvatureNoise(status="one sample has no noise")
    vectors = {name: torch.cat([sums.probes[name], sums.mean[name][None]]) for name in sums.mean}
    try:
        forms = _quadratic_forms(gradients, vectors, sums, max_samples)
    except (RuntimeError, NotImplementedError) as error:
        if is_out_of_memory(error):
            raise
        return CurvatureNoise(status=f"torch cannot differentiate this network twice: {first_line(error)}")
    if not np.isfinite(forms).all():
        return CurvatureNoise(status="the curvature is not finite")
    probes, along = forms[:-1], float(forms[-1])
    trace = float(probes.mean())
    error_of_trace = float(probes.std(ddof=1) / math.sqrt(n_probes))
    unbiased = along - trace / sums.n
    known = CurvatureNoise(trace=trace, trace_stderr=error_of_trace, along_gradient=unbiased, n_probes=n_probes)
    if unbiased <= 2 * error_of_trace / sums.n or trace <= 0:
        why = (
            "the loss does not curve upward along the gradient"
            if trace > 0
            else "the noise lies where the loss curves downward"
        )
        return CurvatureNoise(**{**vars(known), "status": why})
    # d/dT of T / (a − T/n) is a / (a − T/n)².
    stderr = error_of_trace * abs(along) / unbiased**2
    return replace(known, noise_scale=trace / unbiased, stderr=stderr)


def _quadratic_forms(
    gradients: PerSampleGradients, vectors: Mapping[str, Tensor], sums: GradientSums, max_samples: int | None
) -> Floats:
    """Return vᵀHv for every row of vectors, with H of the mean loss over all terms."""
    forms = np.zeros(len(next(iter(vectors.values()))))
    for batch in FirstSamples(gradients.subject, max_samples):
        of_part = partial(_of_part, gradients, vectors, batch)
        forms += sum(in_chunks(batch.n_samples, _ROWS, of_part))
    return forms / float(sums.terms.sum())


def _of_part(gradients: PerSampleGradients, vectors: Mapping[str, Tensor], batch: Batch, samples: slice) -> Floats:
    part = part_of(gradients.subject, batch, samples)
    if not part.count:
        return np.zeros(len(next(iter(vectors.values()))))
    weights = [gradients.parameters[name] for name in vectors]
    loss = gradients.subject.loss_of(part, gradients.subject.predict(part.inputs))
    first = torch.autograd.grad(loss, weights, create_graph=True, allow_unused=True)
    return part.count * np.array(list(_forms(first, weights, list(vectors.values()))))


def _forms(first: Sequence[Tensor | None], weights: Sequence[Tensor], vectors: Sequence[Tensor]) -> Iterator[float]:
    for row in range(len(vectors[0])):
        mine = [each[row].view_as(weight).to(weight.dtype) for each, weight in zip(vectors, weights, strict=True)]
        slope = [(g * v).sum() for g, v in zip(first, mine, strict=True) if g is not None and g.requires_grad]
        if not slope:
            yield 0.0
            continue
        second = torch.autograd.grad(torch.stack(slope).sum(), weights, retain_graph=True, allow_unused=True)
        yield float(sum((h * v).sum(dtype=torch.float64) for h, v in zip(second, mine, strict=True) if h is not None))
