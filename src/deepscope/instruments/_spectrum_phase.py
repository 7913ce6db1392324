"""Which of the 5+1 phases of training a spectrum is in."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from deepscope.linalg import mp_distance_limit

if TYPE_CHECKING:
    from deepscope.instruments._spectrum_row import WeightSpectrum

Phase = Literal[
    "random-like", "bleeding-out", "bulk+spikes", "bulk-decay", "heavy-tailed", "rank-collapse", "degenerate", "unknown"
]

#: Fewer eigenvalues show no shape.
FEWEST = 16

#: Spikes that stay within this factor of the bulk's edge bleed out of it; a larger one stands apart.
APART = 1.2

#: A tail is a power law where the goodness of fit is no worse than this, as in ``clauset2009power``, no other law is
#: likelier at ``UNLIKELY``, and the exponent is at most ``LARGEST_EXPONENT``: beyond it no heavy tail is spoken of.
GOOD_FIT, UNLIKELY, LARGEST_EXPONENT = 0.1, 0.05, 6.0

#: Of matrices with Gaussian entries, so many have entries whose kurtosis counts as heavy-tailed.
HEAVY_ENTRIES = 0.001


def phase_of(row: WeightSpectrum) -> Phase:
    """Return the phase of a spectrum, by tests against noise of the same shape.

    * ``degenerate``: all eigenvalues are equal, or 0.
    * ``rank-collapse``: fewer than half of them can be told from 0.
    * ``random-like``: no spike (1 % of noise shows one), the rest is as near to the Marchenko–Pastur law as noise is
      (0.1 % of noise is farther), and the entries have no heavier tails than Gaussian ones (as have 0.1 % of these).
    * ``bleeding-out``, ``bulk+spikes``: such a bulk, with spikes up to 1.2 times its edge, or beyond.
    * ``heavy-tailed``: no such bulk; the tail is a power law by its goodness of fit, no other law is likelier, and its
      exponent, the whole 95 % interval, is below that of noise and at most 6.
    * ``bulk-decay``: no such bulk, and no such tail.
    * ``unknown``: fewer than 16 eigenvalues, no null, a tail whose goodness of fit was not asked for, or the spectrum
      of noise whose entries have heavier tails than noise's.

    The phases are those of ``martin2021implicit``, where they are told by eye; the tests and their levels are
    deepscope's own.
    """
    if row.rank == 0 or "equal" in row.status:
        return "degenerate"
    if row.rank is None or row.full_rank < FEWEST:
        return "unknown"
    if row.rank < row.full_rank / 2:
        return "rank-collapse"
    if row.n_spikes is None or row.mp_distance is None or row.mp_soft_rank is None:
        return "unknown"
    spikes = row.n_spikes / row.n_matrices
    if row.mp_distance <= mp_distance_limit(row.rows - spikes, row.cols - spikes, row.n_matrices):
        if row.n_spikes == 0:
            return "unknown" if has_heavy_entries(row) else "random-like"
        return "bulk+spikes" if row.mp_soft_rank < 1 / APART else "bleeding-out"
    heavy = is_heavy(row)
    return "unknown" if heavy is None else "heavy-tailed" if heavy else "bulk-decay"


def has_heavy_entries(row: WeightSpectrum) -> bool:
    """Whether the entries have heavier tails than Gaussian ones, which no usual initialiser's have."""
    return row.entry_p_value is not None and row.entry_p_value < HEAVY_ENTRIES


def is_heavy(row: WeightSpectrum) -> bool | None:
    """Whether the tail is a power law heavier than noise's; None where that was not asked for."""
    if row.alpha is None:
        return False
    if row.fit_p_value is None or row.alpha_high is None or row.null_alpha_low is None:
        return None
    return (
        row.fit_p_value >= GOOD_FIT
        and not a_likelier_law(row)
        and row.alpha_high < row.null_alpha_low
        and row.alpha <= LARGEST_EXPONENT
    )


def a_likelier_law(row: WeightSpectrum) -> bool:
    """Whether another law describes the tail better than chance would have it."""
    if row.alternative_ratio is None or row.alternative_p_value is None:
        return False
    return row.alternative_ratio < 0 and row.alternative_p_value < UNLIKELY
