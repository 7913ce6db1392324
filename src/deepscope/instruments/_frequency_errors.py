"""The error of a network in bands of frequencies, measured again and again while it trains."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from deepscope.core import MeasurementError, Needs, UsageError
from deepscope.instruments._frequency_lines import Samples
from deepscope.instruments._frequency_targets import answers_of, outputs_of, targets_of
from deepscope.linalg import FourierModes, FrequencyBands, GaussianBands, band_errors, filter_widths
from deepscope.subject import Subject

Floats = NDArray[np.float64]

#: Filters between which bands lie, where none are given.
_LADDER = 3


class FrequencyErrors:
    """‖(h − y)_b‖ / ‖y_b‖ of a network's outputs h and its targets y, for each band b of frequencies.

    Parameters
    ----------
    subject
        A model with data, whose inputs are floating-point numbers and whose targets are classes or numbers.
    samples
        How many, the first of the data.
    waves
        Waves that are known to be in the targets, [m] or [m, d] in cycles per unit of the d inputs: each is a band.
    widths
        Without waves: δ of Gaussian filters over the samples, between which bands lie; three as ``frequency`` chooses
        its own unless given.
    seed
        Seeds what is random in the model's evaluation mode.

    Attributes
    ----------
    names, frequencies
        What each band is called, and the number by which it is ordered: cycles per unit, or 1/δ.

    Raises
    ------
    DoesNotApplyError
        The inputs are whole numbers.
    UsageError
        Waves and widths are both given, or do not fit the inputs.
    MeasurementError
        There is no model or no data; there are no targets, or they have nothing in one of the bands.

    Notes
    -----
    Samples, targets and bands are taken once. Classes are indicators, to which outputs are compared as probabilities:
    see ``frequency``. Cost of a measurement: a forward pass, and n² multiplications per filter and output.
    Sources: ``xu2020frequency``, ``rahaman2019spectral``.

    Examples
    --------
    >>> x = torch.arange(16.0)[:, None] / 16
    >>> y = torch.sin(2 * torch.pi * x) + torch.sin(6 * torch.pi * x)
    >>> FrequencyErrors(Subject(torch.nn.Linear(1, 1), data=[(x, y)]), waves=[1, 3]).frequencies
    (1.0, 3.0)
    """

    def __init__(
        self,
        subject: Subject,
        samples: int = 512,
        *,
        waves: Sequence[Any] | NDArray[Any] | None = None,
        widths: Sequence[float] | None = None,
        seed: int = 0,
    ) -> None:
        subject.require(Needs.MODEL | Needs.DATA, "frequency")
        if waves is not None and widths is not None:
            raise UsageError("waves and widths are both given", where="waves", todo="Give one of them.")
        self._subject, self._seed = subject, seed
        self._data = Samples(subject, samples)
        with subject.undisturbed(seed=seed), torch.no_grad():
            outputs, _ = outputs_of(subject, self._data)
        self._labels = labels = targets_of(self._data, outputs)
        if labels.why:
            raise MeasurementError(labels.why, where=subject.name, todo="Give classes or numbers as targets.")
        self._bands = self._made(waves, widths)
        sizes = band_errors(self._bands, np.zeros_like(labels.values), labels.values)
        empty = [name for name, size in zip(self._bands.names, sizes, strict=True) if not np.isfinite(size)]
        if empty:
            raise MeasurementError(
                "the targets have nothing in this band",
                where=empty[0],
                todo="Leave it out: there is no relative error.",
            )

    @property
    def names(self) -> tuple[str, ...]:
        """What each band is called."""
        return self._bands.names

    @property
    def frequencies(self) -> tuple[float, ...]:
        """By what each band is ordered."""
        return self._bands.frequencies

    def measure(self) -> Floats:
        """Return the errors of the network as it is now, [bands]; the subject is undisturbed.

        Raises
        ------
        MeasurementError
            The outputs are not finite, or do not fit the targets.
        """
        with self._subject.undisturbed(seed=self._seed), torch.no_grad():
            outputs, reason = outputs_of(self._subject, self._data)
        answers = None
        if outputs is not None:
            answers, reason = answers_of(outputs, self._labels, self._subject.loss)
        if answers is None:
            raise MeasurementError(reason, where=self._subject.name, todo="Give outputs that fit the targets.")
        return band_errors(self._bands, answers, self._labels.values)

    def _made(self, waves: Sequence[Any] | NDArray[Any] | None, widths: Sequence[float] | None) -> FrequencyBands:
        rows = self._labels.rows
        if waves is not None:
            return FourierModes(self._data.points()[rows], waves)
        squared = self._data.squared[np.ix_(rows, rows)]
        ladder = filter_widths(squared, _LADDER) if widths is None else tuple(widths)
        if not ladder:
            raise MeasurementError("all samples are the same", where=self._subject.name, todo="Give others.")
        return GaussianBands(squared, ladder)
