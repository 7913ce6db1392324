"""Per-sample gradients over data: their norms, their products with the mean, and random sums of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from deepscope.core import DeepscopeError, MeasurementError, first_line
from deepscope.linalg import project, squared_norms, weighted_sum
from deepscope.subject import (
    Batch,
    FirstSamples,
    NoMeanError,
    PerSampleGradients,
    SampleGradients,
    Subject,
    in_chunks,
    part_of,
)

Floats = NDArray[np.float64]

#: Samples in one pass: few enough that what passes between layers stays in a processor's cache.
_ROWS = 128
#: Bytes of factors that are kept for the second look; what is beyond is computed anew.
KEPT_BYTES = 2**29


@dataclass(frozen=True, eq=False)
class _Chunk:
    """Samples that went through the network together: where they stand, and their gradients if they could be kept."""

    batch: int
    samples: slice
    start: int
    n: int
    has_terms: bool
    gradients: SampleGradients | None


@dataclass
class GradientSums:
    """What has been gathered of n per-sample gradients.

    Attributes
    ----------
    terms
        c_i, how many terms each sample's own loss is a mean over, [n].
    mean
        ḡ = Σ c_i ∇l_i / Σ c_i, by parameter, flat; in at least single precision.
    squares, products
        By parameter, [n]: ‖c_i ∇l_i‖², and ⟨c_i ∇l_i, ḡ⟩.
    probes
        [m, p] by parameter: Σ_i ε_i r_i / √(n − 1) with random signs ε and residuals r_i = c_i (∇l_i − ḡ) / c̄, whose
        covariance is that of the r_i.
    loss
        The mean over all terms.
    batch_size
        Samples in the data's first batch.
    is_cut
        Whether the last batch has more samples.
    n_batches, passes
        The data's batches, and forward and backward passes that were made.
    """

    terms: Floats
    mean: dict[str, Tensor] = field(default_factory=dict)
    squares: dict[str, Floats] = field(default_factory=dict)
    products: dict[str, Floats] = field(default_factory=dict)
    probes: dict[str, Tensor] = field(default_factory=dict)
    loss: float = 0.0
    batch_size: int = 0
    is_cut: bool = False
    n_batches: int = 0
    passes: int = 0

    @property
    def n(self) -> int:
        """Number of samples."""
        return len(self.terms)


def gather(
    gradients: PerSampleGradients, max_samples: int | None, n_probes: int, generator: torch.Generator
) -> GradientSums:
    """Look at every sample's gradient twice: for the mean, then for norms and products with it.

    Raises
    ------
    MeasurementError
        A loss or a gradient is not finite, or the model or the loss refuses a batch.
    """
    sums = GradientSums(terms=np.zeros(0))
    chunks = list(_first_look(gradients, max_samples, sums))
    total = float(sums.terms.sum())
    if not total > 0:
        raise MeasurementError(
            "the losses have no terms", where=gradients.subject.name, todo="Give targets that are not all ignored."
        )
    sums.loss /= total
    for mean in sums.mean.values():
        mean /= total
    signs = torch.randint(0, 2, (n_probes, sums.n), generator=generator).float() * 2 - 1
    for name, mean in sums.mean.items():
        sums.squares[name], sums.products[name] = np.zeros(sums.n), np.zeros(sums.n)
        if n_probes:
            sums.probes[name] = mean.new_zeros(n_probes, mean.numel())
    for chunk, found in _again(gradients, chunks, max_samples, sums):
        _second_look(gradients, chunk, found, sums, signs)
    share = torch.from_numpy(sums.terms / total).float()
    for name, rows in sums.probes.items():
        # Σ ε_i r_i, with the mean taken from each as often as it has terms.
        weights = (signs @ share) * sums.n
        rows -= weights.to(rows.device, rows.dtype)[:, None] * sums.mean[name]
        rows /= max(sums.n - 1, 1) ** 0.5
    return sums


def _first_look(gradients: PerSampleGradients, max_samples: int | None, sums: GradientSums) -> Iterator[_Chunk]:
    """Run all samples once: sum their gradients, count their terms, keep what fits."""
    subject, kept, start, terms = gradients.subject, 0, 0, []
    first = FirstSamples(subject, max_samples)
    for index, batch in enumerate(first):
        sums.n_batches += 1
        sums.batch_size = sums.batch_size or batch.n_samples
        terms.append(_terms(subject, batch))
        for part, samples, found in in_chunks(batch.n_samples, _ROWS, partial(_of, gradients, batch, index)):
            size = 0
            if found is not None:
                sums.passes += 1
                sums.loss += (found.loss or 0.0) * part.count
                for name, factors in found.factors.items():
                    ones = torch.ones(part.n_samples, 1, device=subject.device, dtype=_dtype(gradients, name))
                    value = weighted_sum(factors, ones)
                    sums.mean[name] = sums.mean[name] + value if name in sums.mean else value
                size = found.nbytes
            keep = kept + size <= KEPT_BYTES
            kept += size if keep else 0
            yield _Chunk(index, samples, start, part.n_samples, found is not None, found if keep else None)
            start += part.n_samples
    sums.terms, sums.is_cut = np.concatenate(terms), first.is_cut


def _terms(subject: Subject, batch: Batch) -> Floats:
    n = batch.n_samples
    if subject.count is None:
        return np.full(n, batch.count / max(n, 1))
    return np.array([part_of(subject, batch, slice(i, i + 1)).count for i in range(n)], np.float64)


def _again(
    gradients: PerSampleGradients, chunks: Sequence[_Chunk], max_samples: int | None, sums: GradientSums
) -> Iterator[tuple[_Chunk, SampleGradients]]:
    """Give every chunk that has terms with its gradients; those that were not kept are computed anew."""
    yield from ((each, each.gradients) for each in chunks if each.gradients is not None)
    missing = [each for each in chunks if each.has_terms and each.gradients is None]
    if not missing:
        return
    for index, batch in enumerate(FirstSamples(gradients.subject, max_samples)):
        for chunk in missing:
            if chunk.batch == index:
                sums.passes += 1
                yield chunk, gradients.of_losses(part_of(gradients.subject, batch, chunk.samples))


def _of(
    gradients: PerSampleGradients, batch: Batch, index: int, samples: slice
) -> tuple[Batch, slice, SampleGradients | None]:
    part = part_of(gradients.subject, batch, samples)
    # A mean over no terms is no number, and its samples have no gradient.
    if not part.count:
        return part, samples, None
    try:
        return part, samples, gradients.of_losses(part)
    except NoMeanError:
        raise
    except DeepscopeError as error:
        raise _named(error, gradients, part, index) from error
    except (RuntimeError, MemoryError):
        raise
    except Exception as error:
        raise MeasurementError(
            f"the loss refuses the targets of batch {index}: {first_line(error)}",
            where=gradients.subject.name,
            todo="Check that the labels fit the model's outputs, in type and range.",
        ) from error


def _named(error: DeepscopeError, gradients: PerSampleGradients, part: Batch, index: int) -> DeepscopeError:
    """Say which sample's loss is at fault, where one is."""
    subject = gradients.subject
    for i in range(part.n_samples):
        one = part_of(subject, part, slice(i, i + 1))
        if not one.count:
            continue
        try:
            with torch.no_grad():
                subject.loss_of(one, subject.predict(one.inputs))
        except MeasurementError as alone:
            return MeasurementError(
                f"{alone.what} at a sample of batch {index}, the {i + 1}. of {part.n_samples} run together",
                where=subject.name,
                todo="Look at that sample, and at anatomy's and health's findings first.",
            )
    return error


def _second_look(
    gradients: PerSampleGradients, chunk: _Chunk, found: SampleGradients, sums: GradientSums, signs: Tensor
) -> None:
    place = slice(chunk.start, chunk.start + chunk.n)
    average = float(sums.terms.mean())
    for name, factors in found.factors.items():
        sums.squares[name][place] = squared_norms(factors)[:, 0].double().cpu().numpy()
        sums.products[name][place] = project(factors, sums.mean[name])[:, 0].double().cpu().numpy()
        for probe, row in enumerate(sums.probes.get(name, ())):
            mine = signs[probe, place].to(row.device, row.dtype)[:, None] / average
            row += weighted_sum(factors, mine)
    own = sum(each[place] for each in sums.squares.values())
    if not np.isfinite(own).all():
        bad = int(np.flatnonzero(~np.isfinite(own))[0])
        raise MeasurementError(
            f"the gradient of sample {chunk.start + bad} is not finite",
            where=gradients.subject.name,
            todo="Look at that sample, and at health's findings first.",
        )


def _dtype(gradients: PerSampleGradients, name: str) -> torch.dtype:
    return torch.promote_types(gradients.parameters[name].dtype, torch.float32)
