"""Instruments: each measures one thing in a subject and returns a reading."""

from deepscope.core import Instrument
from deepscope.instruments._anatomy import ANATOMY, Anatomy, anatomy
from deepscope.instruments._curvature import CURVATURE, Curvature, curvature
from deepscope.instruments._health import HEALTH, Health, health
from deepscope.instruments._kernel import KERNEL, Kernel, KernelDrift, kernel
from deepscope.instruments._noise import NOISE, Noise, noise
from deepscope.instruments._spectrum import SPECTRUM, Spectrum, spectrum
from deepscope.instruments._spike_directions import SpikeDirections, spike_directions

#: All instruments, in the order in which a report shows them.
INSTRUMENTS: tuple[Instrument, ...] = (ANATOMY, SPECTRUM, HEALTH, CURVATURE, NOISE, KERNEL)

__all__ = [
    "ANATOMY",
    "CURVATURE",
    "HEALTH",
    "INSTRUMENTS",
    "KERNEL",
    "NOISE",
    "SPECTRUM",
    "Anatomy",
    "Curvature",
    "Health",
    "Kernel",
    "KernelDrift",
    "Noise",
    "Spectrum",
    "SpikeDirections",
    "anatomy",
    "curvature",
    "health",
    "kernel",
    "noise",
    "spectrum",
    "spike_directions",
]
