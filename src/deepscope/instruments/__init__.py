"""Instruments: each measures one thing in a subject and returns a reading."""

from deepscope.core import Instrument
from deepscope.instruments._anatomy import ANATOMY, Anatomy, anatomy
from deepscope.instruments._health import HEALTH, Health, health
from deepscope.instruments._kernel import KERNEL, Kernel, KernelDrift, kernel
from deepscope.instruments._spectrum import SPECTRUM, Spectrum, spectrum

#: All instruments, in the order in which a report shows them.
INSTRUMENTS: tuple[Instrument, ...] = (ANATOMY, SPECTRUM, HEALTH, KERNEL)

__all__ = [
    "ANATOMY",
    "HEALTH",
    "INSTRUMENTS",
    "KERNEL",
    "SPECTRUM",
    "Anatomy",
    "Health",
    "Kernel",
    "KernelDrift",
    "Spectrum",
    "anatomy",
    "health",
    "kernel",
    "spectrum",
]
