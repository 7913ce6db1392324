"""Instruments: each measures one thing in a subject and returns a reading."""

from deepscope.core import Instrument
from deepscope.instruments._anatomy import ANATOMY, Anatomy, anatomy
from deepscope.instruments._curvature import CURVATURE, Curvature, curvature
from deepscope.instruments._curve import Curve, find_curve
from deepscope.instruments._health import HEALTH, Health, health
from deepscope.instruments._kernel import KERNEL, Kernel, KernelDrift, kernel
from deepscope.instruments._landscape import LANDSCAPE, Landscape, landscape
from deepscope.instruments._mode_connectivity import ModeConnectivity, mode_connectivity
from deepscope.instruments._noise import NOISE, Noise, noise
from deepscope.instruments._regions import REGIONS, Regions, regions
from deepscope.instruments._representation import REPRESENTATION, Representation, representation
from deepscope.instruments._spectrum import SPECTRUM, Spectrum, spectrum
from deepscope.instruments._spike_directions import SpikeDirections, spike_directions
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
    REGIONS,
)

__all__ = [
    "ANATOMY",
    "CURVATURE",
    "HEALTH",
    "INSTRUMENTS",
    "KERNEL",
    "LANDSCAPE",
    "NOISE",
    "REGIONS",
    "REPRESENTATION",
    "SPECTRUM",
    "Anatomy",
    "Curvature",
    "Curve",
    "Health",
    "Kernel",
    "KernelDrift",
    "Landscape",
    "ModeConnectivity",
    "Noise",
    "Regions",
    "Representation",
    "Spectrum",
    "SpikeDirections",
    "WeightMatching",
    "anatomy",
    "curvature",
    "find_curve",
    "health",
    "kernel",
    "landscape",
    "match_weights",
    "mode_connectivity",
    "noise",
    "regions",
    "representation",
    "spectrum",
    "spike_directions",
]
