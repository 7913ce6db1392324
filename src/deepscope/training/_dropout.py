"""Dropout, of units and of whole channels: torch's layers, with their sources and the tests that pin them.

In training a unit x becomes x m/(1 − p) with m = 0 at probability p and 1 otherwise: mean x, variance x² p/(1 − p). In
evaluation it stays x. ``Dropout`` draws m for every number, ``Dropout2d`` once for each channel of each sample, [batch,
channels, height, width]. A share p of 1 is taken, and gives zeros: their mean is no longer that of the input.
"""

from __future__ import annotations

from torch.nn import Dropout, Dropout2d

from deepscope.core import Specimen

__all__ = ["Dropout", "Dropout2d"]

SPECIMENS = (
    Specimen(
        name="dropout",
        title="dropout of units",
        build=Dropout,
        formula="y = x m/(1 − p) in training, m = 0 with probability p and 1 otherwise, drawn for each number; y = x "
        "in evaluation. Mean x, variance x² p/(1 − p).",
        source="srivastava2014dropout",
        pinned_by="tests/training/test_dropout.py::test_every_mask_has_its_probability_and_the_mean_and_variance_are_exact",
    ),
    Specimen(
        name="spatial-dropout",
        title="dropout of whole channels",
        build=Dropout2d,
        formula="y = x m/(1 − p) in training, m = 0 with probability p and 1 otherwise, drawn once for each channel of "
        "each sample: neighbours, which a convolution makes alike, are dropped together.",
        source="tompson2015efficient",
        pinned_by="tests/training/test_dropout.py::test_every_mask_has_its_probability_and_the_mean_and_variance_are_exact",
    ),
)
