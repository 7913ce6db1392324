"""What the eigenvalues of one tensor say."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from deepscope.instruments._spectrum_phase import Phase, phase_of
from deepscope.linalg import (
    SMALL_SAMPLE,
    WEIGHTWATCHER_CUT,
    Kurtosis,
    PowerLawFit,
    bootstrap_alpha,
    compare_tails,
    count_spikes,
    effective_rank,
    fit_power_law,
    fit_power_law_weightwatcher,
    goodness_of_fit,
    log_alpha_norm,
    matrix_entropy,
    moment_alpha,
    mp_distance,
    mp_edges,
    null_alpha_band,
    stable_rank,
    unit_determinant_tail,
)
from deepscope.subject import Weight

Floats = NDArray[np.float64]

#: Whose estimator of the exponent: deepscope's, or WeightWatcher's with its absolute cut and small-sample rule.
Convention = Literal["deepscope", "weightwatcher"]

#: What a matrix is compared with: the laws of random matrices, these and its own shuffled entries, or nothing.
Null = Literal["analytic", "permutation"]


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What is computed beside the exponent.

    Attributes
    ----------
    convention, null
        Whose estimator, and which null.
    bootstrap
        Resamples of the interval for the exponent, and samples of the goodness of fit; 0 for neither.
    alternatives
        Whether other laws are compared with the power law.
    """

    convention: Convention = "deepscope"
    null: Null | None = "analytic"
    bootstrap: int = 200
    alternatives: bool = True


@dataclass(frozen=True, kw_only=True)
class WeightSpectrum:
    """The numbers of one tensor; None where a number does not exist, with ``status`` saying why there is no α.

    Attributes
    ----------
    name, layer
        The tensor's name, with its part in brackets where it is one part of several, and the layer it belongs to.
    part
        What that part does, such as ``query``; empty for a whole tensor.
    read_as
        For a convolution ``slices``, ``flattened`` or ``circulant`` with its grid; ``low-rank core`` for an update of
        rank r, whose matrix [r, r] has its singular values other than 0; empty for other tensors.
    rows, cols, n_matrices
        Sides of its matrices as stored, and how many there are.
    status
        ``"ok"``, or why there is no exponent.
    alpha, alpha_stderr, ks_distance, x_min, n_tail
        The power-law tail of the positive eigenvalues.
    alpha_low, alpha_high
        95 % bootstrap interval of α, with ``x_min`` chosen anew in each resample.
    fit_p_value
        Probability of a distance as large as ``ks_distance`` if the tail were a power law.
    best_alternative, alternative_ratio, alternative_p_value
        The likeliest other law of the tail; its normalised log-likelihood ratio, negative where it is likelier than the
        power law; and the probability of a ratio this far from 0 if both were equally good.
    alpha_moment
        1 + 1/γ by the moment estimator on the same tail: independent of the likelihood.
    null_alpha_low, null_alpha_high
        Where the exponent of noise of this shape lies, 95 % of it.
    phase
        Which of the 5+1 phases of Martin and Mahoney.
    stable_rank, effective_rank, rank
        Σλ/λ_max, exp of the entropy of σ/Σσ, number of positive eigenvalues.
    matrix_entropy
        −Σ p ln p / ln(rank) with p = λ/Σλ.
    log_norm, log_spectral_norm, log_alpha_norm, alpha_weighted
        log₁₀ Σλ, log₁₀ λ_max, log₁₀ Σλ^α and α log₁₀ λ_max.
    n_unit_determinant
        Number of the largest eigenvalues that multiply to 1 when the mean is 1.
    mp_lower, mp_upper, n_spikes, spike_p_value, mp_distance
        Edges of the random-matrix null, number of eigenvalues that noise does not make, probability of so large a
        largest eigenvalue in noise, and the largest distance between the distribution functions of the eigenvalues
        below the spikes and of noise with the same sum, in a matrix that lacks a row and a column for each spike. None
        where most eigenvalues are 0.
    mp_soft_rank
        Upper edge over λ_max.
    entry_kurtosis, entry_p_value
        Excess kurtosis of the entries, 0 for Gaussian ones, and the probability of one as large among these.
    n_traps
        Number of spikes left when the entries are shuffled: correlation traps, owed to single large entries.
    shuffled_alpha
        The exponent when the entries are shuffled.
    """

    name: str
    layer: str
    rows: int
    cols: int
    n_matrices: int
    status: str
    alpha: float | None = None
    alpha_stderr: float | None = None
    ks_distance: float | None = None
    x_min: float | None = None
    n_tail: int | None = None
    alpha_low: float | None = None
    alpha_high: float | None = None
    fit_p_value: float | None = None
    best_alternative: str | None = None
    alternative_ratio: float | None = None
    alternative_p_value: float | None = None
    alpha_moment: float | None = None
    null_alpha_low: float | None = None
    null_alpha_high: float | None = None
    phase: Phase = "unknown"
    stable_rank: float | None = None
    effective_rank: float | None = None
    matrix_entropy: float | None = None
    log_norm: float | None = None
    log_spectral_norm: float | None = None
    log_alpha_norm: float | None = None
    alpha_weighted: float | None = None
    n_unit_determinant: int | None = None
    mp_lower: float | None = None
    mp_upper: float | None = None
    mp_soft_rank: float | None = None
    n_spikes: int | None = None
    spike_p_value: float | None = None
    mp_distance: float | None = None
    entry_kurtosis: float | None = None
    entry_p_value: float | None = None
    n_traps: int | None = None
    shuffled_alpha: float | None = None
    rank: int | None = None
    part: str = ""
    read_as: str = ""

    @property
    def tensor(self) -> str:
        """Name of the tensor."""
        return self.name.removesuffix(f"[{self.part}]") if self.part else self.name

    @property
    def interval(self) -> tuple[float, float]:
        """95 % interval of α: the bootstrap's, else 1.96 standard errors, which take x_min as known."""
        assert self.alpha is not None
        if self.alpha_low is not None and self.alpha_high is not None:
            return self.alpha_low, self.alpha_high
        half = 1.96 * (self.alpha_stderr or 0.0)
        return self.alpha - half, self.alpha + half

    @property
    def full_rank(self) -> int:
        """The largest rank its shape allows."""
        return self.n_matrices * min(self.rows, self.cols)


def weight_spectrum(
    weight: Weight,
    shape: Sequence[int],
    eigenvalues: Floats | None,
    status: str = "",
    part: str = "",
    read_as: str = "",
    *,
    asked: Asked,
    entries: Kurtosis | None = None,
    shuffled: Floats | None = None,
    rng: np.random.Generator,
) -> WeightSpectrum:
    """Return the numbers of a tensor of matrices [n_matrices, rows, cols].

    Parameters
    ----------
    weight, shape
        The tensor's handle, and the shape of its matrices.
    eigenvalues
        Of all its matrices, ascending, 0 where they cannot be told from 0; None where there are none.
    status
        Why there are no eigenvalues.
    part
        Which part of the tensor this is; empty where it is the whole.
    read_as
        As in ``WeightSpectrum``.
    asked
        What is computed.
    entries
        The kurtosis of the matrices' entries, where these may be independent.
    shuffled
        The eigenvalues when the entries are shuffled, where that was asked for.
    rng
        Draws resamples.
    """
    n_matrices, rows, cols = shape
    row = WeightSpectrum(
        name=f"{weight.name}[{part}]" if part else weight.name,
        layer=weight.layer,
        rows=rows,
        cols=cols,
        n_matrices=n_matrices,
        status=status,
        part=part,
        read_as=read_as,
    )
    if eigenvalues is None:
        return row
    if eigenvalues[-1] == 0:
        return replace(row, status="all values are zero", rank=0, phase="degenerate")
    positive = eigenvalues[eigenvalues > 0]
    theirs = asked.convention == "weightwatcher"
    estimate = fit_power_law_weightwatcher if theirs else fit_power_law
    fit = estimate(positive)
    fitted = positive[positive > WEIGHTWATCHER_CUT] if theirs else positive
    if theirs and fitted.size < SMALL_SAMPLE:
        # Resamples are fitted by deepscope's rule, which is another one here: they say nothing of this exponent.
        asked = replace(asked, bootstrap=0)
    row = replace(row, **_sizes(positive, fit), **_tail(fitted, fit, asked, rng))
    if asked.null is None:
        return row
    row = replace(row, **_null(eigenvalues, row))
    if entries is not None:
        row = replace(row, entry_kurtosis=entries.excess, entry_p_value=entries.p_value)
    if shuffled is not None:
        row = replace(
            row,
            n_traps=count_spikes(shuffled, rows, cols, n_matrices).count,
            shuffled_alpha=estimate(shuffled[shuffled > 0]).alpha,
        )
    return replace(row, phase=phase_of(row))


def _tail(fitted: Floats, fit: PowerLawFit, asked: Asked, rng: np.random.Generator) -> dict[str, Any]:
    found: dict[str, Any] = {
        "status": fit.status,
        "alpha": fit.alpha,
        "alpha_stderr": fit.stderr,
        "ks_distance": fit.ks_distance,
        "x_min": fit.x_min,
        "n_tail": fit.n_tail,
    }
    if fit.alpha is None or fit.n_tail is None:
        return found
    found["alpha_moment"] = moment_alpha(fitted, min(fit.n_tail, fitted.size - 1)).alpha
    if asked.bootstrap:
        interval = bootstrap_alpha(fitted, n_bootstrap=asked.bootstrap, rng=rng)
        found |= {"alpha_low": interval.low, "alpha_high": interval.high}
        found["fit_p_value"] = goodness_of_fit(fitted, fit, n_samples=asked.bootstrap, rng=rng)
    if asked.alternatives:
        best = compare_tails(fitted, fit).best
        if best is not None:
            found |= {
                "best_alternative": best.name,
                "alternative_ratio": best.normalised_ratio,
                "alternative_p_value": best.p_value,
            }
    return found


def _sizes(positive: Floats, fit: PowerLawFit) -> dict[str, Any]:
    largest = math.log10(float(positive[-1]))
    return {
        "stable_rank": stable_rank(positive),
        "effective_rank": effective_rank(positive),
        "matrix_entropy": matrix_entropy(positive),
        "log_norm": math.log10(float(positive.sum())),
        "log_spectral_norm": largest,
        "log_alpha_norm": None if fit.alpha is None else log_alpha_norm(positive, fit.alpha),
        "alpha_weighted": None if fit.alpha is None else fit.alpha * largest,
        "n_unit_determinant": unit_determinant_tail(positive),
        "rank": positive.size,
    }


def _null(eigenvalues: Floats, row: WeightSpectrum) -> dict[str, Any]:
    rows, cols, n_matrices = row.rows, row.cols, row.n_matrices
    band = null_alpha_band(rows, cols, n_matrices)
    found: dict[str, Any] = {"null_alpha_low": band.alpha_low, "null_alpha_high": band.alpha_high}
    spikes = count_spikes(eigenvalues, rows, cols, n_matrices)
    if not spikes.variance or spikes.count is None:
        return found
    lower, upper = mp_edges(rows, cols, spikes.variance)
    bulk = eigenvalues[: eigenvalues.size - spikes.count]
    # Each spike takes a dimension on either side with it: beside the law of the whole matrix, noise with a handful of
    # spikes would count as no noise.
    tall, wide = rows - spikes.count / n_matrices, cols - spikes.count / n_matrices
    return found | {
        "mp_lower": lower,
        "mp_upper": upper,
        "mp_soft_rank": upper / float(eigenvalues[-1]),
        "n_spikes": spikes.count,
        "spike_p_value": spikes.p_value,
        "mp_distance": mp_distance(bulk, tall, wide, float(bulk.sum()) / (n_matrices * tall * wide)),
    }
