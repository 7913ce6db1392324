"""What spectra mean, in plain words."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from deepscope.core import Finding
from deepscope.instruments._spectrum_row import WeightSpectrum

#: Below this smaller side a lost rank, or a likeness to noise, is not judged.
SMALLEST_JUDGED = 32

#: A spectrum whose distribution function stays this near to the Marchenko–Pastur law counts as random. Eigenvalues
#: of a random matrix repel each other, so that its own distance is of order 1/n: 0.05 is generous at every n judged.
RANDOM_DISTANCE = 0.05


def spectrum_findings(weights: Sequence[WeightSpectrum]) -> tuple[Finding, ...]:
    """Return at most one finding per tensor, warnings first."""
    warnings = tuple(finding for each in weights for finding in _collapsed(each))
    warned = {finding.where for finding in warnings}
    rest = [each for each in weights if each.tensor not in warned]
    random = [each for each in rest if looks_random(each)]
    noted = {each.name for each in random}
    unfitted = [each for each in rest if each.alpha is None and each.rank and each.name not in noted]
    return (*warnings, *_random(random), *_unfitted(unfitted))


def looks_random(weight: WeightSpectrum) -> bool:
    """Whether a spectrum cannot be told from that of a random matrix."""
    return (
        min(weight.rows, weight.cols) >= SMALLEST_JUDGED
        and weight.n_spikes == 0
        and weight.mp_distance is not None
        and weight.mp_distance < RANDOM_DISTANCE
    )


def _collapsed(weight: WeightSpectrum) -> Iterator[Finding]:
    side = min(weight.rows, weight.cols)
    if not weight.rank or side < 2:
        return
    one = weight.rank == weight.n_matrices
    if not one and (side < SMALLEST_JUDGED or weight.rank >= weight.full_rank / 2):
        return
    each = "each of its matrices" if weight.n_matrices > 1 else "it"
    lost = (
        f"{weight.name} has rank 1: {each} passes on a single direction of its input."
        if one
        else f"{weight.name} has lost most of its rank: {each} passes on only a few directions of its input."
    )
    yield Finding(
        severity="warning",
        instrument="spectrum",
        where=weight.tensor,
        message=lost,
        evidence=f"{weight.rank:,} of {weight.full_rank:,} eigenvalues of WᵀW can be told from 0; effective rank "
        f"{weight.effective_rank:.4g}.",
        source="martin2021implicit",
        action="If this is not by design (a factorised or pruned layer), look for a collapse in training: weight decay "
        "or a step that is too large, or inputs that vary in few directions.",
    )


def _random(weights: Sequence[WeightSpectrum]) -> Iterator[Finding]:
    if not weights:
        return
    largest = max(each.mp_distance or 0.0 for each in weights)
    yield Finding(
        severity="note",
        instrument="spectrum",
        where=_where(weights),
        message=f"The spectrum of {_list(weights)} cannot be told from that of a random matrix: training has left no "
        "trace in the eigenvalues.",
        evidence="no eigenvalue above the Marchenko–Pastur edge plus the Tracy–Widom 99 % quantile; the distribution "
        f"is within {largest:.2g} of the Marchenko–Pastur law (random: below {RANDOM_DISTANCE}).",
        source="martin2021implicit",
        action="Expected right after initialisation. In a trained network, check that gradients reach these layers.",
    )


def _unfitted(weights: Sequence[WeightSpectrum]) -> Iterator[Finding]:
    if not weights:
        return
    reasons = dict.fromkeys(each.status for each in weights)
    yield Finding(
        severity="note",
        instrument="spectrum",
        where=_where(weights),
        message=f"Nothing can be said about the tail of {_list(weights)}: no power law could be fitted.",
        evidence="; ".join([*list(reasons)[:3], *(["…"] if len(reasons) > 3 else [])]) + ".",
        source="clauset2009power",
        action="The ranks and norms stand; the exponent is left empty.",
    )


def _where(weights: Sequence[WeightSpectrum]) -> str:
    return weights[0].tensor if len(weights) == 1 else ""


def _list(weights: Sequence[WeightSpectrum], shown: int = 4) -> str:
    names = [each.name for each in weights]
    if len(names) == 1:
        return names[0]
    if len(names) <= shown:
        return f"{', '.join(names[:-1])} and {names[-1]}"
    return f"{len(names):,} matrices ({', '.join(names[: shown - 1])} … {names[-1]})"
