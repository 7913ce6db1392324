"""Instruments: each measures one thing in a subject and returns a reading."""

from deepscope.core import Instrument
from deepscope.instruments._anatomy import ANATOMY, Anatomy, anatomy
from deepscope.instruments._curvature import CURVATURE, Curvature, curvature
from deepscope.instruments._curve import Curve, find_curve
from deepscope.instruments._frequency import FREQUENCY, Frequency, LineFrequencies, frequency
from deepscope.instruments._frequency_errors import FrequencyErrors
from deepscope.instruments._frequency_order import FrequencyOrder, OrderOverSeeds, frequency_order, order_over_seeds
from deepscope.instruments._health import HEALTH, Health, health
from deepscope.instruments._information import INFORMATION, Information, information
from deepscope.instruments._jacobian import JACOBIAN, Jacobian, jacobian
from deepscope.instruments._jacobian_recurrent import RecurrentExponents, lyapunov
from deepscope.instruments._kernel import KERNEL, Kernel, KernelDrift, kernel
from deepscope.instruments._landscape import LANDSCAPE, Landscape, landscape
from deepscope.instruments._mode_connectivity import ModeConnectivity, mode_connectivity
from deepscope.instruments._noise import NOISE, Noise, noise
from deepscope.instruments._regions import REGIONS, Regions, regions
from deepscope.instruments._representation import REPRESENTATION, Representation, representation
from deepscope.instruments._spectrum import SPECTRUM, Spectrum, spectrum
from deepscope.instruments._spike_directions import SpikeDirections, spike_directions
from deepscope.instruments._symmetry import SYMMETRY, Symmetry, symmetry
from deepscope.instruments._symmetry_transformation import LayerPlace, Transformation
from deepscope.instruments._topology import TOPOLOGY, Topology, topology
from deepscope.instruments._weight_matching import WeightMatching, match_weights

#: All instruments, in the order in which a report shows them.
INSTRUMENTS: tuple[Instrument, ...] = (
    ANATOMY,
    SPECTRUM,
    HEALTH,
    CURVATURE,
    NOISE,
    KERNEL,
    LANDSCAPE,
    REPRESENTATION,
    FREQUENCY,
    INFORMATION,
    TOPOLOGY,
    REGIONS,
    JACOBIAN,
    SYMMETRY,
)

__all__ = [
    "ANATOMY",
    "CURVATURE",
    "FREQUENCY",
    "HEALTH",
    "INFORMATION",
    "INSTRUMENTS",
    "JACOBIAN",
    "KERNEL",
    "LANDSCAPE",
    "NOISE",
    "REGIONS",
    "REPRESENTATION",
    "SPECTRUM",
    "SYMMETRY",
    "TOPOLOGY",
    "Anatomy",
    "Curvature",
    "Curve",
    "Frequency",
    "FrequencyErrors",
    "FrequencyOrder",
    "Health",
    "Information",
    "Jacobian",
    "Kernel",
    "KernelDrift",
    "Landscape",
    "LayerPlace",
    "LineFrequencies",
    "ModeConnectivity",
    "Noise",
    "OrderOverSeeds",
    "RecurrentExponents",
    "Regions",
    "Representation",
    "Spectrum",
    "SpikeDirections",
    "Symmetry",
    "Topology",
    "Transformation",
    "WeightMatching",
    "anatomy",
    "curvature",
    "find_curve",
    "frequency",
    "frequency_order",
    "health",
    "information",
    "jacobian",
    "kernel",
    "landscape",
    "lyapunov",
    "match_weights",
    "mode_connectivity",
    "noise",
    "order_over_seeds",
    "regions",
    "representation",
    "spectrum",
    "spike_directions",
    "symmetry",
    "topology",
]
