"""Instruments: each measures one thing in a subject and returns a reading."""

from deepscope.core import Instrument
from deepscope.instruments._anatomy import ANATOMY, Anatomy, anatomy
from deepscope.instruments._health import HEALTH, Health, health
from deepscope.instruments._spectrum import SPECTRUM, Spectrum, spectrum
from deepscope.instruments._spike_directions import SpikeDirections, spike_directions

#: All instruments, in the order in which a report shows them.
INSTRUMENTS: tuple[Instrument, ...] = (ANATOMY, SPECTRUM, HEALTH)

__all__ = [
    "ANATOMY",
    "HEALTH",
    "INSTRUMENTS",
    "SPECTRUM",
    "Anatomy",
    "Health",
    "Spectrum",
    "SpikeDirections",
    "anatomy",
    "health",
    "spectrum",
    "spike_directions",
]
