"""Which frequencies a network's function holds, along lines of its input and on its data."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from deepscope.core import Instrument, Needs, Stopwatch, UsageError, derive_seed, nearest
from deepscope.instruments._affordable import Keywords, affordable
from deepscope.instruments._frequency_along import AlongLines
from deepscope.instruments._frequency_known import KNOWN
from deepscope.instruments._frequency_lines import (
    Samples,
    line_given,
    lines_between_samples,
    lines_in_random_directions,
)
from deepscope.instruments._frequency_reading import Frequency
from deepscope.instruments._frequency_row import LineFrequencies
from deepscope.instruments._frequency_targets import answers_of, outputs_of, targets_of
from deepscope.instruments._labels import Labels
from deepscope.linalg import FilteredErrors, filter_widths, filtered_errors
from deepscope.subject import Subject, forward_work, tensors_in

__all__ = ["FREQUENCY", "Frequency", "LineFrequencies", "frequency"]

DIRECTIONS = ("samples", "random")
#: Fewest lines from which an interval says something, and points whose spectrum reaches beyond the window's width.
_FEWEST_LINES, _FEWEST_POINTS = 4, 16
_LADDER = 5


def frequency(
    subject: Subject,
    samples: int = 512,
    *,
    lines: int = 32,
    points: int = 64,
    line: tuple[Any, Any] | None = None,
    directions: str = "samples",
    length: float | None = None,
    cutoff: float = 4.0,
    target: Callable[[Any], Tensor] | None = None,
    widths: Sequence[float] | None = None,
    generator: torch.Generator | None = None,
) -> Frequency:
    r"""Measure which frequencies the network and its error hold: along lines of the input, and on the data.

    *Along lines.* The network is run at even points of straight lines through its input, and the variance of each
    layer's output along them is split into a straight part S and powers P_k at k cycles per line, by a Fourier
    transform with Hann's window (see ``deepscope.linalg.line_spectrum``). A straight line has the frequency 0, and so
    has a linear network; mean frequency Σ k P_k / (S + Σ P_k), with sums over the layer's units and over lines.

    *On the data.* The filtering method (``xu2020frequency``) for inputs of any dimension: the low part of targets y is
    their mean over near samples, y_low(x_i) = Σ_j G(x_i − x_j) y_j / Σ_j G(x_i − x_j) with a Gaussian G of width δ, the
    high part the rest; e_low = ‖(h − y)_low‖ / ‖y_low‖ and e_high likewise for outputs h, over a ladder of δ. Classes
    are indicators. The null: the same values in random order over the samples.

    Parameters
    ----------
    subject
        A model with data whose inputs are floating-point numbers; targets, where there are some, are classes or
        numbers.
    samples
        How many of the first samples lines are laid through, and targets are filtered on.
    lines, points
        How many lines, and points on each: frequencies up to half of these are told apart.
    line
        One line (a, b) of your own, each one sample's inputs, in place of many.
    directions
        ``"samples"``: lines centred halfway between two random samples, along their difference; ``"random"``: centred
        on samples, in random directions.
    length
        Of the lines, in units of the inputs' Euclidean distance; the median distance between two samples unless given.
    cutoff
        Frequencies above so many cycles per line count as high.
    target
        A function that the network should be, of inputs as the model takes them, to outputs [points, …]: its spectrum
        along the lines, and that of the network's output less it, are measured too.
    widths
        δ of the filters; five between the nearest neighbours' distance and the median one unless given, each halved.
    generator
        Its initial seed seeds which lines are laid, which features are kept of a layer with more than 4,096, the
        permutations, and what is random in the model's evaluation mode.

    Returns
    -------
    Frequency
        With the columns ``name, kind, units, centroid, centroid_stderr, centroid_low, centroid_high, straight_share,
        high_share, high_share_stderr, status``: see ``LineFrequencies``; ``bands``: see
        ``deepscope.linalg.FilteredErrors``.

    Raises
    ------
    DoesNotApplyError
        The inputs are whole numbers (tokens), between which there are no lines; or no layer can be seen.
    UsageError
        An argument is out of range, the line does not fit the inputs, or the target function not the outputs.
    MeasurementError
        There is no model or no data, no two samples differ, or the model refuses the inputs.

    Notes
    -----
    The model runs in evaluation mode; inputs keep their dtype, transforms are in float64. Standard errors are the
    jackknife's: over lines, which share samples only where there are more than pairs of these, and over 32 groups of
    samples. Beyond half the points per line, frequencies show at lower ones; the status says so where more than a tenth
    of the power lies in the upper half. Of inputs with both numbers and whole numbers, the latter stay fixed.
    Lines between samples leave the data where it is curved; what the network does there is its own choice.
    Cost: lines × points + samples forward passes of one sample; then for each filter n² exponentials and n²·k
    multiplications for each of up to 200 permutations. Memory: a line's layer outputs one by one, and [n, n].
    Sources: ``xu2020frequency``, ``rahaman2019spectral``, ``harris1978windows``.

    Examples
    --------
    >>> class Wave(torch.nn.Module):
    ...     def forward(self, x):
    ...         return torch.sin(2 * torch.pi * 6 * x)
    >>> subject = Subject(Wave(), data=[(torch.linspace(0, 1, 40)[:, None], None)])
    >>> round(frequency(subject, line=([0.0], [1.0])).output.centroid, 2)
    6.0
    """
    subject.require(Needs.MODEL | Needs.DATA, "frequency")
    _check(samples, lines, points, directions, length, cutoff)
    seed = generator.initial_seed() if generator is not None else 0
    stopwatch = Stopwatch()
    with stopwatch, subject.undisturbed(seed=seed), torch.no_grad():
        data = Samples(subject, samples)
        if line is not None:
            laid, words = line_given(data, line), "as given"
        elif directions == "samples":
            laid, words = lines_between_samples(data, lines, length, seed), "between samples"
        else:
            laid, words = lines_in_random_directions(data, lines, length, seed), "in random directions"
        along = AlongLines(subject, target, seed)
        along.measure(laid, points)
        outputs, no_outputs = outputs_of(subject, data)
        stopwatch.count(forward=along.passes + len(data.batches))
    with stopwatch:
        labels = targets_of(data, outputs)
        bands, read_as, status = _bands(subject, data, labels, outputs, widths, seed)
    rows = tuple(each.row(cutoff) for each in along.layers.values())
    whole, units, wanted, missed = along.rows(cutoff)
    return Frequency(
        subject=subject.name,
        left_out=(*along.left_out, *data.left_out, *labels.left_out, *subject.left_out),
        cost=stopwatch.cost,
        layers=rows,
        output=whole,
        outputs=units,
        target=wanted,
        error=missed,
        frequencies=np.arange(points // 2 + 1, dtype=float),
        length=laid.length,
        n_lines=len(laid),
        n_points=points,
        lines=words,
        cutoff=float(cutoff),
        bands=bands,
        n_samples=len(labels.rows),
        read_as=no_outputs or read_as,
        bands_status=status,
    )


def _check(samples: int, lines: int, points: int, directions: str, length: float | None, cutoff: float) -> None:
    least = (("samples", samples, 1), ("lines", lines, 1), ("points", points, _FEWEST_POINTS))
    for name, number, fewest in least:
        if number < fewest:
            raise UsageError(f"{name} is {number}", where="frequency", todo=f"Give at least {fewest}.")
    if points % 2:
        raise UsageError(f"points is {points}", where="frequency", todo="Give an even number.")
    if directions not in DIRECTIONS:
        raise UsageError("unknown directions", where=directions, todo=nearest(directions, DIRECTIONS))
    if length is not None and not 0 < length < float("inf"):
        raise UsageError(f"length is {length}", where="frequency", todo="Give one above 0.")
    if not 0 <= cutoff < points / 2:
        raise UsageError(
            f"cutoff is {cutoff}", where="frequency", todo=f"Give 0 to below {points // 2}, half the points."
        )


def _bands(
    subject: Subject,
    data: Samples,
    labels: Labels,
    outputs: Tensor | None,
    widths: Sequence[float] | None,
    seed: int,
) -> tuple[tuple[FilteredErrors, ...], str, str]:
    """Return the filtered errors, how outputs were read, and why there are none."""
    if labels.why:
        return (), labels.why, labels.why
    squared = data.squared[np.ix_(labels.rows, labels.rows)]
    ladder = filter_widths(squared, _LADDER) if widths is None else tuple(sorted(widths))
    if not ladder:
        return (), "all samples are the same", "all samples are the same"
    answers, how = (None, "") if outputs is None else answers_of(outputs, labels, subject.loss)
    bands = tuple(
        filtered_errors(
            squared, width, labels.values, answers, rng=np.random.default_rng(derive_seed(seed, "permutations"))
        )
        for width in ladder
    )
    return bands, how, "ok"


def _fit(subject: Subject, effort: Keywords, operations: float) -> Keywords:
    work = forward_work(subject).operations
    batch = next(iter(subject.batches(1)))
    features = sum(each[0].numel() for each in tensors_in(batch.inputs) if each.ndim and each.is_floating_point())
    asked = effort["samples"]

    def price(each: Keywords) -> float:
        # Distances to all others, and forward passes along the lines besides its own.
        return float(2 * asked * features + work * (1 + each["lines"] * each["points"] / asked))

    found = affordable([effort, {**effort, "points": min(effort["points"], 32)}], "samples", price, operations)
    if found["samples"] == asked:
        return found
    return {**found, "lines": max(_FEWEST_LINES, effort["lines"] * found["samples"] // asked)}


def _expected_cost(subject: Subject, *, samples: int = 512, lines: int = 32, points: int = 64) -> str:
    del subject
    return f"forward passes over {lines} lines of {points} points, and over up to {samples:,} samples"


FREQUENCY = Instrument(
    name="frequency",
    title="Frequencies",
    measure=frequency,
    reading=Frequency,
    needs=Needs.MODEL | Needs.DATA,
    formula=(
        "Along straight lines of one length through the inputs: y less its weighted mean = straight line + rest, "
        "weights w² of Hann's window w; P_k ∝ |Σ_j w_j rest_j e^(−2πijk/n)|², S the variance of the line. Mean "
        "frequency Σ k P_k / (S + Σ P_k) in cycles per line, sums over units and lines; standard error by leaving "
        "lines out in turn. On the data: y_low(x_i) = Σ_j G_ij y_j / Σ_j G_ij, G = exp(−|x_i − x_j|²/(2δ²)), "
        "y_high = y − y_low; e_low = ‖(h − y)_low‖ / ‖y_low‖, e_high likewise, means taken off; low share "
        "‖y_low‖²/‖y‖², null (tr SᵀS − 1)/(n − 1) and its 95 % quantile over random orders. A warning where the "
        "network has one answer for all samples though the targets' low share beats the null, or where over a tenth of "
        "the output's power lies near the highest frequency; a problem where outputs between samples are not finite."
    ),
    how_to_read=(
        "Above, how fast each layer's output varies along lines between samples, with its 95 % interval, and how the "
        "network's own output is spread over frequencies: a linear network lies at 0. Below, where there are targets, "
        "how much of them and of the error is smooth, beside what noise would have, and how much of the smooth part "
        "and of the rest the network misses: 0 is learned, 1 not at all."
    ),
    source="xu2020frequency",
    expected_cost=_expected_cost,
    fit=_fit,
    efforts={
        "quick": {"samples": 256, "lines": 16, "points": 64},
        "standard": {"samples": 512, "lines": 32, "points": 64},
        "deep": {"samples": 2048, "lines": 128, "points": 128},
    },
    pinned_by="tests/instruments/test_frequency.py::test_a_network_that_is_a_wave_has_its_frequency",
    known=KNOWN,
)
