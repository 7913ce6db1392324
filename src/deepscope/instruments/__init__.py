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
from deepscope.instruments._spectrum import SPECTRUM, Spectrum, spectrum
from deepscope.instruments._spike_directions import SpikeDirections, spike_directions
from deepscope.instruments._topology import TOPOLOGY, Topology, topology
from deepscope.instruments._weight_matching import WeightMatching, match_weights

#: All instruments, in the order in which a report shows them.
INSTRUMENTS: tuple[Instrument, ...] = (ANATOMY, SPECTRUM, HEALTH, CURVATURE, NOISE, KERNEL, LANDSCAPE, TOPOLOGY)

__all__ = [
    "ANATOMY",
    "CURVATURE",
    "HEALTH",
    "INSTRUMENTS",
    "KERNEL",
    "LANDSCAPE",
    "NOISE",
    "SPECTRUM",
    "TOPOLOGY",
    "Anatomy",
    "Curvature",
    "Curve",
    "Health",
    "Kernel",
    "KernelDrift",
    "Landscape",
    "ModeConnectivity",
    "Noise",
    "Spectrum",
    "SpikeDirections",
    "Topology",
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
    "spectrum",
    "spike_directions",
    "topology",
]
