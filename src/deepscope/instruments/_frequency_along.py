"""A network run along lines of its input, the spectra of its layers taken as they come."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from deepscope.core import DeepscopeError, DoesNotApplyError, LeftOut, UsageError, derive_seed
from deepscope.instruments._frequency_lines import Lines
from deepscope.instruments._frequency_row import LineFrequencies, LinePower, LineSums
from deepscope.instruments._frequency_targets import has_rows
from deepscope.instruments._refusal import refusal
from deepscope.subject import Collector, Subject, collecting, take_samples

#: Features of a layer that are measured where it has more, and outputs that have a row of their own.
_FEATURES, _OUTPUTS = 4096, 64
#: Most samples that are run at once, and most input values of these.
_ROWS, _VALUES = 1024, 2**22


class AlongLines:
    """Runs a network along lines and gathers the spectra of its layers, its output and its error.

    Parameters
    ----------
    subject
        Run inside its ``undisturbed()``, without gradients.
    target
        The function it should be, or None.
    seed
        Seeds which features are kept of a layer that has too many.

    Attributes
    ----------
    layers
        Name to what was gathered, in forward order.
    passes
        Forward passes that were made.
    left_out
        What was not measured, and why.
    """

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
        lost: dict[str, None] = {}
        with collecting(self._subject, reduce=self._copied if rows < points else self._reduced) as collector:
            for start in range(0, len(laid), together):
                count = min(together, len(laid) - start)
                found = self._run(collector, laid, start, count, rows)
                # What one part of the lines shows is no account of the others.
                known = self.layers if start else found
                lost |= dict.fromkeys(name for name in (*known, *found) if name not in known or name not in found)
                for name, sums in found.items():
                    if name not in lost:
                        self._row(name).add(sums)
            for name in lost:
                self.layers.pop(name, None)
                self._ledger[LeftOut(name, "it does not show a row for each sample on every line")] = None
            self.left_out = (*collector.left_out, *self._ledger)
        if not self.layers:
            raise DoesNotApplyError(
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
            self._ledger[
                LeftOut("output", "the network's output is not a floating-point tensor with a row per sample")
            ] = None
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
