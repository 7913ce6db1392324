"""Numerics that instruments share: spectra, power-law tails, random-matrix nulls, operators and gradients in factors.

Everything takes and returns NumPy arrays and plain numbers. ``gram_eigenvalues``, ``leading_directions``,
``principal_angles``, whatever compares representations and whatever measures the tail of one sample take torch tensors
too; the first two work on the tensor's own device. What takes a ``LinearOperator`` keeps its vectors in the operator's
dtype and on its device, and returns eigenvectors and diagonals there. Nothing here knows a subject.
"""

from deepscope.linalg._alpha_interval import MIN_BOOTSTRAP, AlphaInterval, bootstrap_alpha
from deepscope.linalg._bbp import bbp_eigenvalue, bbp_threshold, spike_overlap, spike_strength
from deepscope.linalg._betti_numbers import betti_numbers
from deepscope.linalg._binned_information import binned, binned_information, codes_of
from deepscope.linalg._block_lanczos import Eigenpairs, SpectrumEnds, block_lanczos
from deepscope.linalg._cka import cka
from deepscope.linalg._cka_matrix import CKAEstimate, CKAMatrix
from deepscope.linalg._convolution_norm import convolution_norm
from deepscope.linalg._effective_dimensions import EffectiveDimensions, effective_dimensions
from deepscope.linalg._estimate import Band, Estimate
from deepscope.linalg._factor_products import factor_gram, project, squared_norms, weighted_sum
from deepscope.linalg._filtered_errors import FilteredErrors, LowShare, filtered_errors
from deepscope.linalg._frequency_bands import FourierModes, FrequencyBands, GaussianBands, band_errors
from deepscope.linalg._gaussian_filter import GaussianFilter, filter_widths, gaussian_filter, squared_distances
from deepscope.linalg._goodness_of_fit import goodness_of_fit
from deepscope.linalg._gradient_factors import (
    DenseGradients,
    Factor,
    Factors,
    OuterGradients,
    ScatteredGradients,
    combine,
    compact,
    joined_factors,
)
from deepscope.linalg._hutch_plus_plus import hutch_plus_plus
from deepscope.linalg._hutchinson import DiagonalEstimate, hutchinson, hutchinson_blocks, hutchinson_diagonal
from deepscope.linalg._infinite_width import InfiniteWidthKernel, infinite_width_kernel
from deepscope.linalg._information_estimate import FEWEST_PERMUTATIONS, InformationEstimate
from deepscope.linalg._intrinsic_dimension import IntrinsicDimension, intrinsic_dimension
from deepscope.linalg._kernel_alignment import KernelAlignment, centred_kernel, kernel_alignment
from deepscope.linalg._kernel_regression import LeaveOneOut, leave_one_out
from deepscope.linalg._kurtosis import Kurtosis, kurtosis
from deepscope.linalg._label_information import label_information
from deepscope.linalg._lanczos_quadrature import lanczos_quadrature
from deepscope.linalg._leading_directions import LeadingDirections, leading_directions
from deepscope.linalg._line_spectrum import LineSpectrum, line_spectrum
from deepscope.linalg._linear_operator import LinearOperator
from deepscope.linalg._local_rank import local_rank
from deepscope.linalg._lyapunov import LyapunovSpectrum, lyapunov_spectrum
from deepscope.linalg._marchenko_pastur import (
    mp_cdf,
    mp_distance,
    mp_distance_limit,
    mp_edges,
    mp_median,
    mp_variance,
    tracy_widom_centre,
    tracy_widom_scale,
    tracy_widom_threshold,
)
from deepscope.linalg._mean_field import MeanField, mean_field
from deepscope.linalg._neighbour_information import ksg_information
from deepscope.linalg._neural_collapse import NeuralCollapse, neural_collapse
from deepscope.linalg._null_alpha import NullBand, null_alpha_band
from deepscope.linalg._paired_distance import PairedDistance, paired_distance
from deepscope.linalg._persistence import Persistence, persistence
from deepscope.linalg._point_distances import FarthestPoints, farthest_points, geodesic_distances, point_distances
from deepscope.linalg._power_law import MIN_VALUES, PowerLawFit, fit_power_law
from deepscope.linalg._power_law_weightwatcher import SMALL_SAMPLE, WEIGHTWATCHER_CUT, fit_power_law_weightwatcher
from deepscope.linalg._power_laws import PowerLawFits, fit_power_laws
from deepscope.linalg._principal_angles import principal_angles
from deepscope.linalg._quality import log_alpha_norm, matrix_entropy, unit_determinant_tail
from deepscope.linalg._random_gram import random_gram_eigenvalues
from deepscope.linalg._renyi_information import renyi_entropy, renyi_information
from deepscope.linalg._similarity import mutual_neighbours, procrustes_distance
from deepscope.linalg._singular_values import LeadingSingularValues, leading_singular_values
from deepscope.linalg._spectra import effective_rank, gram_eigenvalues, stable_rank
from deepscope.linalg._spectral_measure import SpectralMeasure
from deepscope.linalg._spikes import Spikes, count_spikes
from deepscope.linalg._tail_comparison import TailAlternative, TailComparison, compare_tails
from deepscope.linalg._tail_estimators import MomentAlpha, hill_estimates, moment_alpha
from deepscope.linalg._trace_estimate import TraceEstimate
from deepscope.linalg._tracy_widom import tracy_widom_cdf, tracy_widom_quantile, tracy_widom_sf
from deepscope.linalg._xtrace import xtrace

__all__ = [
    "FEWEST_PERMUTATIONS",
    "MIN_BOOTSTRAP",
    "MIN_VALUES",
    "SMALL_SAMPLE",
    "WEIGHTWATCHER_CUT",
    "AlphaInterval",
    "Band",
    "CKAEstimate",
    "CKAMatrix",
    "DenseGradients",
    "DiagonalEstimate",
    "EffectiveDimensions",
    "Eigenpairs",
    "Estimate",
    "Factor",
    "Factors",
    "FarthestPoints",
    "FilteredErrors",
    "FourierModes",
    "FrequencyBands",
    "GaussianBands",
    "GaussianFilter",
    "InfiniteWidthKernel",
    "InformationEstimate",
    "IntrinsicDimension",
    "KernelAlignment",
    "Kurtosis",
    "LeadingDirections",
    "LeadingSingularValues",
    "LeaveOneOut",
    "LineSpectrum",
    "LinearOperator",
    "LowShare",
    "LyapunovSpectrum",
    "MeanField",
    "MomentAlpha",
    "NeuralCollapse",
    "NullBand",
    "OuterGradients",
    "PairedDistance",
    "Persistence",
    "PowerLawFit",
    "PowerLawFits",
    "ScatteredGradients",
    "SpectralMeasure",
    "SpectrumEnds",
    "Spikes",
    "TailAlternative",
    "TailComparison",
    "TraceEstimate",
    "band_errors",
    "bbp_eigenvalue",
    "bbp_threshold",
    "betti_numbers",
    "binned",
    "binned_information",
    "block_lanczos",
    "bootstrap_alpha",
    "centred_kernel",
    "cka",
    "codes_of",
    "combine",
    "compact",
    "compare_tails",
    "convolution_norm",
    "count_spikes",
    "effective_dimensions",
    "effective_rank",
    "factor_gram",
    "farthest_points",
    "filter_widths",
    "filtered_errors",
    "fit_power_law",
    "fit_power_law_weightwatcher",
    "fit_power_laws",
    "gaussian_filter",
    "geodesic_distances",
    "goodness_of_fit",
    "gram_eigenvalues",
    "hill_estimates",
    "hutch_plus_plus",
    "hutchinson",
    "hutchinson_blocks",
    "hutchinson_diagonal",
    "infinite_width_kernel",
    "intrinsic_dimension",
    "joined_factors",
    "kernel_alignment",
    "ksg_information",
    "kurtosis",
    "label_information",
    "lanczos_quadrature",
    "leading_directions",
    "leading_singular_values",
    "leave_one_out",
    "line_spectrum",
    "local_rank",
    "log_alpha_norm",
    "lyapunov_spectrum",
    "matrix_entropy",
    "mean_field",
    "moment_alpha",
    "mp_cdf",
    "mp_distance",
    "mp_distance_limit",
    "mp_edges",
    "mp_median",
    "mp_variance",
    "mutual_neighbours",
    "neural_collapse",
    "null_alpha_band",
    "paired_distance",
    "persistence",
    "point_distances",
    "principal_angles",
    "procrustes_distance",
    "project",
    "random_gram_eigenvalues",
    "renyi_entropy",
    "renyi_information",
    "spike_overlap",
    "spike_strength",
    "squared_distances",
    "squared_norms",
    "stable_rank",
    "tracy_widom_cdf",
    "tracy_widom_centre",
    "tracy_widom_quantile",
    "tracy_widom_scale",
    "tracy_widom_sf",
    "tracy_widom_threshold",
    "unit_determinant_tail",
    "weighted_sum",
    "xtrace",
]
