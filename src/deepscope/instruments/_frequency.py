"""Which frequencies a network's function holds, along lines of its input and on its data."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from deepscope.core import (
    DeepscopeError,
    Instrument,
    LeftOut,
    MeasurementError,
    Needs,
    Stopwatch,
    UsageError,
    derive_seed,
    nearest,
)
from deepscope.instruments._affordable import Keywords, affordable
from deepscope.instruments._frequency_known import KNOWN
from deepscope.instruments._frequency_lines import (
    Lines,
    Samples,
    line_given,
    lines_between_samples,
    lines_in_random_directions,
)
from deepscope.instruments._frequency_reading import Frequency
from deepscope.instruments._frequency_row import LineFrequencies, LinePower, LineSums
from deepscope.instruments._frequency_targets import answers_of, has_rows, outputs_of, targets_of
from deepscope.instruments._refusal import refusal
from deepscope.linalg import FilteredErrors, filter_widths, filtered_errors
from deepscope.subject import Collector, Subject, collecting, forward_work, take_samples, tensors_in

__all__ = ["FREQUENCY", "Frequency", "LineFrequencies", "frequency"]

DIRECTIONS = ("samples", "random")
#: Features of a layer that are measured where it has more, and outputs that have a row of their own.
_FEATURES, _OUTPUTS = 4096, 64
#: Most samples that are run at once, and most input values of these.
_ROWS, _VALUES = 1024, 2**22
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
        The inputs are whole numbers (tokens), between which there are no lines.
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
        along = _Along(subject, target, seed)
        along.measure(laid, points)
        outputs, no_outputs = outputs_of(subject, data)
        stopwatch.count(forward=along.passes + len(data.batches))
    with stopwatch:
        bands, read_as, status = _bands(subject, data, outputs, widths, seed)
    rows = tuple(each.row(cutoff) for each in along.layers.values())
    whole, units, wanted, missed = along.rows(cutoff)
    return Frequency(
        subject=subject.name,
        left_out=(*along.left_out, *data.left_out, *subject.left_out),
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
        n_samples=data.n,
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


class _Along:
    """The network on all lines."""

    def __init__(self, subject: Subject, target: Callable[[Any], Tensor] | None, seed: int) -> None:
        self._subject, self._target, self._seed = subject, target, seed
        self.layers: dict[str, LinePower] = {}
        self._modules = dict(subject.model.named_modules()) if subject.model is not None else {}
        self._kept: dict[str, Tensor] = {}
        self._whole: dict[str, LinePower] = {}
        self._units: list[LinePower] = []
        self._ledger: dict[LeftOut, None] = {}
        self._widths: dict[str, int] = {}
        self._points = self.passes = 0
        self.left_out: tuple[LeftOut, ...] = ()

    def measure(self, laid: Lines, points: int) -> None:
        """Run the network on all lines: several at a time where samples are small, in pieces where they are large."""
        self._points = points
        rows = max(1, min(_ROWS, _VALUES // max(1, laid.n_features)))
        together = max(1, rows // points)
        with collecting(self._subject, reduce=self._copied if rows < points else self._reduced) as collector:
            for start in range(0, len(laid), together):
                count = min(together, len(laid) - start)
                for name, sums in self._run(collector, laid, start, count, rows).items():
                    self._row(name).add(sums)
            self.left_out = (*collector.left_out, *self._ledger)
        if not self.layers:
            raise MeasurementError(
                "none of the model's layers can be seen",
                where=self._subject.name,
                todo="Give a model of torch.nn modules that run on this data, not TorchScript.",
            )

    def _run(self, collector: Collector, laid: Lines, start: int, count: int, rows: int) -> dict[str, LineSums]:
        n = count * self._points
        inputs = laid.inputs(start, count, self._points)
        in_pieces = rows < self._points
        size = rows if in_pieces else n
        found, outputs = [], []
        for first in range(0, n, size):
            piece = slice(first, min(first + size, n))
            try:
                found.append(collector.run(take_samples(inputs, n, piece), piece.stop - first))
            except DeepscopeError:
                raise
            except Exception as error:
                raise refusal(error, start, self._subject, ran=False) from error
            self.passes += 1
            outputs.append(collector.output if has_rows(collector.output, piece.stop - first) else None)
        # The inputs anew: the network may have written into its own.
        seen = [each for each in outputs if each is not None]
        whole = torch.cat(seen) if len(seen) == len(outputs) else None
        self._see_output(whole, laid.inputs(start, count, self._points), n)
        if not in_pieces:
            return found[0]
        names = [name for name in found[0] if all(name in piece for piece in found)]
        return {name: LineSums.of(self._by_line(torch.cat([piece[name] for piece in found]))) for name in names}

    def _copied(self, name: str, rows: Tensor) -> Tensor:
        # A later layer may work in place.
        return self._chosen(name, rows).clone()

    def _reduced(self, name: str, rows: Tensor) -> LineSums:
        return LineSums.of(self._by_line(self._chosen(name, rows)))

    def _row(self, name: str) -> LinePower:
        if name not in self.layers:
            kind = type(self._modules.get(name.partition("#")[0])).__name__
            self.layers[name] = LinePower(name, kind, self._widths[name])
        return self.layers[name]

    def _by_line(self, rows: Tensor) -> Tensor:
        return rows.reshape(-1, self._points, rows.shape[1])

    def _chosen(self, name: str, rows: Tensor) -> Tensor:
        width = self._widths[name] = rows.shape[1]
        if width <= _FEATURES:
            return rows
        if name not in self._kept:
            generator = torch.Generator().manual_seed(derive_seed(self._seed, name))
            self._kept[name] = torch.randperm(width, generator=generator)[:_FEATURES].sort().values.to(rows.device)
            self._ledger[LeftOut(name or "output", f"all but {_FEATURES:,} of its {width:,} features, by chance")] = (
                None
            )
        return rows[:, self._kept[name]]

    def _see_output(self, output: Any, inputs: Any, n: int) -> None:
        if not has_rows(output, n):
            self._ledger[LeftOut("output", "the network's output is not one tensor with a row per sample")] = None
            return
        values = output.detach().reshape(n, -1)
        values = values.float() if values.dtype.itemsize < 4 else values
        units = values.shape[1]
        for name, part in [("output", values), *self._errors(values, inputs, n)]:
            sums = LineSums.of(self._by_line(self._chosen("", part)))
            self._whole.setdefault(name, LinePower(name, "", units)).add(sums)
        if units > _OUTPUTS:
            self._ledger[LeftOut("output", f"rows of the outputs after the first {_OUTPUTS}")] = None
        for place, sums in enumerate(LineSums.of_each(self._by_line(values[:, :_OUTPUTS]))):
            if len(self._units) <= place:
                self._units.append(LinePower(str(place), "output", 1))
            self._units[place].add(sums)

    def _errors(self, values: Tensor, inputs: Any, n: int) -> list[tuple[str, Tensor]]:
        if self._target is None:
            return []
        wanted = self._target(inputs)
        if not has_rows(wanted, n) or wanted[0].numel() != values.shape[1]:
            shape = list(wanted.shape) if isinstance(wanted, Tensor) else type(wanted).__name__
            raise UsageError(
                f"the target function gives {shape} for {n} points",
                where="target",
                todo=f"Give one that returns [{n}, {values.shape[1]}].",
            )
        wanted = wanted.detach().reshape(n, -1).to(values.device, torch.float64)
        return [("target", wanted), ("error", values.double() - wanted)]

    def rows(
        self, cutoff: float
    ) -> tuple[LineFrequencies | None, tuple[LineFrequencies, ...], LineFrequencies | None, LineFrequencies | None]:
        """Return the rows of the output, its units, the target function and the error."""
        whole, wanted, missed = (
            self._whole[name].row(cutoff) if name in self._whole else None for name in ("output", "target", "error")
        )
        return whole, tuple(each.row(cutoff) for each in self._units), wanted, missed


def _bands(
    subject: Subject, data: Samples, outputs: Tensor | None, widths: Sequence[float] | None, seed: int
) -> tuple[tuple[FilteredErrors, ...], str, str]:
    """Return the filtered errors, how outputs were read, and why there are none."""
    labels, reason = targets_of(data, outputs)
    if labels is None:
        return (), reason, reason
    ladder = filter_widths(data.squared, _LADDER) if widths is None else tuple(sorted(widths))
    if not ladder:
        return (), "all samples are the same", "all samples are the same"
    answers, how = (None, "") if outputs is None else answers_of(outputs, labels, subject.loss)
    bands = tuple(
        filtered_errors(
            data.squared, width, labels.values, answers, rng=np.random.default_rng(derive_seed(seed, "permutations"))
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
        "‖y_low‖²/‖y‖², null (tr SᵀS − 1)/(n − 1) and its 95 % quantile over random orders. A warning where the whole "
        "interval of e_low is above 0.9 though the targets' low share beats the null, or where over a tenth of the "
        "output's power lies near the highest frequency; a problem where outputs between samples are not finite."
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
