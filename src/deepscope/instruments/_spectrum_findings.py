"""What spectra mean, in plain words."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain

from deepscope.core import Finding
from deepscope.instruments._spectrum_phase import GOOD_FIT, HEAVY_ENTRIES, UNLIKELY, a_likelier_law, has_heavy_entries
from deepscope.instruments._spectrum_row import WeightSpectrum

#: Below this smaller side a lost rank, or a likeness to noise, is not judged.
SMALLEST_JUDGED = 32

#: A power law of exponent 2 or less has no finite mean: its largest value makes up a share of the sum that does not
#: shrink with the size of the matrix.
NO_MEAN = 2.0


def spectrum_findings(weights: Sequence[WeightSpectrum]) -> tuple[Finding, ...]:
    """Return at most one finding per matrix, warnings first."""
    warned = {each.name: next(chain(_collapsed(each), _trapped(each), _no_mean(each)), None) for each in weights}
    warnings = tuple(finding for finding in warned.values() if finding)
    rest = [each for each in weights if not warned[each.name]]
    random = [each for each in rest if each.phase == "random-like" and min(each.rows, each.cols) >= SMALLEST_JUDGED]
    heavy = [each for each in rest if each.phase == "heavy-tailed"]
    single = [each for each in rest if each.n_spikes == 0 and each.phase == "unknown" and has_heavy_entries(each)]
    noted = {each.name for each in (*random, *heavy, *single)}
    others = [each for each in rest if each.name not in noted]
    doubtful = [each for each in others if each.alpha is not None and _is_doubtful(each)]
    unfitted = [each for each in others if each.alpha is None and each.rank]
    return (*warnings, *_random(random), *_single(single), *_heavy(heavy), *_doubtful(doubtful), *_unfitted(unfitted))


def _is_doubtful(weight: WeightSpectrum) -> bool:
    return (weight.fit_p_value is not None and weight.fit_p_value < GOOD_FIT) or a_likelier_law(weight)


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


def _trapped(weight: WeightSpectrum) -> Iterator[Finding]:
    if not weight.n_traps:
        return
    yield Finding(
        severity="warning",
        instrument="spectrum",
        where=weight.tensor,
        message=f"Single large entries of {weight.name} make eigenvalues of their own, whatever else was learned.",
        evidence=f"{weight.n_traps} of its eigenvalues stand out of the noise even when its entries are shuffled; of "
        "shuffled noise one matrix in a hundred shows one.",
        source="martin2021implicit",
        action="Look at the largest entries: a step that was too large leaves them, and so do outlier features.",
    )


def _no_mean(weight: WeightSpectrum) -> Iterator[Finding]:
    if weight.phase != "heavy-tailed" or weight.alpha_high is None or weight.alpha_high >= NO_MEAN:
        return
    yield Finding(
        severity="warning",
        instrument="spectrum",
        where=weight.tensor,
        message=f"{weight.name} has a tail so heavy that a few directions hold most of its norm.",
        evidence=f"α = {_alpha(weight)}, all of it below {NO_MEAN:g}, where the mean of the law does not exist; the "
        f"power law is not rejected (p = {weight.fit_p_value:.2g}), and noise of this shape has "
        f"{weight.null_alpha_low:.1f} to {weight.null_alpha_high:.1f}.",
        source="martin2025setol",
        action="Such layers are read as over-trained. Compare test accuracy with that of earlier checkpoints.",
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
        evidence="no eigenvalue beyond what one noise matrix in a hundred shows; the distribution is within "
        f"{largest:.2g} of the Marchenko–Pastur law, as noise of this size is.",
        source="martin2021implicit",
        action="Expected right after initialisation. In a trained network, check that gradients reach these layers.",
    )


def _single(weights: Sequence[WeightSpectrum]) -> Iterator[Finding]:
    if not weights:
        return
    largest = max(weights, key=lambda each: each.entry_kurtosis or 0.0)
    yield Finding(
        severity="note",
        instrument="spectrum",
        where=_where(weights),
        message=f"No eigenvalue of {_list(weights)} stands out of noise, but its entries are not those of noise: more "
        "of them are large than any usual initialiser draws.",
        evidence=f"the entries of {largest.name} have an excess kurtosis of {largest.entry_kurtosis:.3g}, as less than "
        f"{100 * HEAVY_ENTRIES:g} % of matrices with Gaussian entries do.",
        source="anscombe1983distribution",
        action="Compare the sizes of its rows, and look at its largest entries: training, pruning, rescaled units or a "
        "sparse initialisation leave such.",
    )


def _heavy(weights: Sequence[WeightSpectrum]) -> Iterator[Finding]:
    if not weights:
        return
    shown = sorted(weights, key=lambda each: each.alpha or 0.0)
    first = shown[0]
    more = f"; {len(shown) - 1} more, up to {shown[-1].alpha:.1f}" if len(shown) > 1 else ""
    yield Finding(
        severity="note",
        instrument="spectrum",
        where=_where(weights),
        message=f"{_list(weights)} {'has' if len(weights) == 1 else 'have'} a heavy tail, as well-trained layers do.",
        evidence=f"{first.name}: α = {_alpha(first)}, while noise of its shape has {first.null_alpha_low:.1f} to "
        f"{first.null_alpha_high:.1f}; a power law is not rejected (p = {first.fit_p_value:.2g}){more}.",
        source="martin2021predicting",
        action="Nothing to do. A smaller α, down to 2, goes with better generalisation among networks of one kind.",
    )


def _doubtful(weights: Sequence[WeightSpectrum]) -> Iterator[Finding]:
    if not weights:
        return
    yield Finding(
        severity="note",
        instrument="spectrum",
        where=_where(weights),
        message=f"The exponent of {_list(weights)} says little: a power law does not describe "
        f"{'its tail' if len(weights) == 1 else 'their tails'}.",
        evidence=f"the goodness of fit has p below {GOOD_FIT}, or another law is likelier (p below {UNLIKELY}).",
        source="clauset2009power",
        action="Compare spikes, ranks and norms instead.",
    )


def _alpha(weight: WeightSpectrum) -> str:
    low, high = weight.interval
    return f"{weight.alpha:.2f} (95 % interval {low:.2f} to {high:.2f})"


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
