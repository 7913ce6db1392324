"""Numerics that instruments share: spectra, power-law tails, random-matrix nulls.

Everything takes and returns NumPy arrays and plain numbers. ``gram_eigenvalues`` and ``fit_power_law`` take torch
tensors too; the first works on the tensor's own device. Nothing here knows a subject.
"""

from deepscope.linalg._bbp import bbp_eigenvalue, bbp_threshold, spike_overlap, spike_strength
from deepscope.linalg._marchenko_pastur import (
    mp_cdf,
    mp_edges,
    mp_median,
    mp_variance,
    tracy_widom_centre,
    tracy_widom_scale,
    tracy_widom_threshold,
)
from deepscope.linalg._null_alpha import NullBand, null_alpha_band
from deepscope.linalg._power_law import MIN_VALUES, PowerLawFit, fit_power_law
from deepscope.linalg._random_gram import random_gram_eigenvalues
from deepscope.linalg._spectra import effective_rank, gram_eigenvalues, stable_rank
from deepscope.linalg._spikes import Spikes, count_spikes
from deepscope.linalg._tracy_widom import tracy_widom_cdf, tracy_widom_quantile, tracy_widom_sf

__all__ = [
    "MIN_VALUES",
    "NullBand",
    "PowerLawFit",
    "Spikes",
    "bbp_eigenvalue",
    "bbp_threshold",
    "count_spikes",
    "effective_rank",
    "fit_power_law",
    "gram_eigenvalues",
    "mp_cdf",
    "mp_edges",
    "mp_median",
    "mp_variance",
    "null_alpha_band",
    "random_gram_eigenvalues",
    "spike_overlap",
    "spike_strength",
    "stable_rank",
    "tracy_widom_cdf",
    "tracy_widom_centre",
    "tracy_widom_quantile",
    "tracy_widom_scale",
    "tracy_widom_sf",
    "tracy_widom_threshold",
]
