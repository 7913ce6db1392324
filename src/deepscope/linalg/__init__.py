"""Numerics that instruments share: spectra, power-law tails, random-matrix nulls.

Everything takes and returns NumPy arrays and plain numbers. ``gram_eigenvalues`` and whatever measures the tail of one
sample take torch tensors too; the first works on the tensor's own device. Nothing here knows a subject.
"""

from deepscope.linalg._alpha_interval import AlphaInterval, bootstrap_alpha
from deepscope.linalg._goodness_of_fit import goodness_of_fit
from deepscope.linalg._marchenko_pastur import (
    mp_cdf,
    mp_edges,
    mp_median,
    mp_variance,
    tracy_widom_scale,
    tracy_widom_threshold,
)
from deepscope.linalg._power_law import MIN_VALUES, PowerLawFit, fit_power_law
from deepscope.linalg._power_laws import PowerLawFits, fit_power_laws
from deepscope.linalg._spectra import effective_rank, gram_eigenvalues, stable_rank
from deepscope.linalg._tail_comparison import TailAlternative, TailComparison, compare_tails
from deepscope.linalg._tail_estimators import MomentAlpha, hill_estimates, moment_alpha

__all__ = [
    "MIN_VALUES",
    "AlphaInterval",
    "MomentAlpha",
    "PowerLawFit",
    "PowerLawFits",
    "TailAlternative",
    "TailComparison",
    "bootstrap_alpha",
    "compare_tails",
    "effective_rank",
    "fit_power_law",
    "fit_power_laws",
    "goodness_of_fit",
    "gram_eigenvalues",
    "hill_estimates",
    "moment_alpha",
    "mp_cdf",
    "mp_edges",
    "mp_median",
    "mp_variance",
    "stable_rank",
    "tracy_widom_scale",
    "tracy_widom_threshold",
]
