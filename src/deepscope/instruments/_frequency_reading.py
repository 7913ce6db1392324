"""The reading of ``frequency``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from deepscope.core import Finding, Reading, Track
from deepscope.instruments._frequency_findings import frequency_findings
from deepscope.instruments._frequency_row import LineFrequencies
from deepscope.linalg import FilteredErrors

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_COLUMNS = (
    "name",
    "kind",
    "units",
    "centroid",
    "centroid_stderr",
    "centroid_low",
    "centroid_high",
    "straight_share",
    "high_share",
    "high_share_stderr",
    "status",
)


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class Frequency(Reading):
    """What ``frequency`` saw.

    Attributes
    ----------
    layers
        How each layer's output varies along the lines, in forward order.
    output
        The same of the network's output; None where that is no tensor with a row per sample, or a part was measured.
    outputs
        The same of each of its first units.
    target, error
        The same of the target function and of the output less it; None where no target function was given.
    frequencies
        [k] in cycles per line: 0, 1 … half the number of points.
    length
        Of a line, in units of the inputs' Euclidean distance: divided by it, frequencies are cycles per unit.
    n_lines, n_points, lines
        How many lines and points on each; and how they were laid.
    cutoff
        Frequencies above it are high, in cycles per line.
    bands
        Low and high parts of targets, outputs and error on the data's samples, a filter after the other, the narrowest
        first; empty where ``bands_status`` says why.
    n_samples
        On which.
    read_as
        How outputs were brought to the targets' units, or why they were not.
    bands_status
        ``"ok"``, or why there are no bands.
    """

    layers: tuple[LineFrequencies, ...] = ()
    output: LineFrequencies | None
    outputs: tuple[LineFrequencies, ...] = ()
    target: LineFrequencies | None = None
    error: LineFrequencies | None = None
    frequencies: NDArray[np.float64]
    length: float
    n_lines: int
    n_points: int
    lines: str
    cutoff: float
    bands: tuple[FilteredErrors, ...] = ()
    n_samples: int
    read_as: str
    bands_status: str

    def table(self) -> pd.DataFrame:
        """One row per layer: mean frequency and shares of its output along the lines."""
        rows = [{name: value for name, value in asdict(each).items() if name in _COLUMNS} for each in self.layers]
        return pd.DataFrame(rows, columns=list(_COLUMNS)).astype(dict.fromkeys(_COLUMNS[3:-1], float))

    def bands_table(self) -> pd.DataFrame:
        """One row per filter: its width, low shares of targets, outputs and error, and the errors e_low and e_high."""
        rows = []
        for band in self.bands:
            row: dict[str, float | None] = {"width": band.width, "neighbours": band.neighbours}
            for what, share in (("target", band.target), ("output", band.output), ("error", band.error)):
                for column in ("value", "stderr", "null_mean", "null_high"):
                    row[f"{what}_low_{column}"] = None if share is None else getattr(share, column)
            row |= {name: getattr(band, name) for name in ("e_low", "e_low_stderr", "e_high", "e_high_stderr")}
            rows.append(row)
        return pd.DataFrame(rows).astype(float)

    def findings(self) -> tuple[Finding, ...]:
        """Problems, warnings and notes, worst first."""
        return frequency_findings(self)

    def plot(self) -> Figure:
        """Draw mean frequencies by layer, the output's spectrum, and the errors of low and high parts."""
        from deepscope.instruments._frequency_plot import plot_frequency

        return plot_frequency(self)

    def glance(self) -> tuple[Track, ...]:
        """Mean frequency by layer, with its interval."""
        known = {each.name: each for each in self.layers if each.centroid is not None}
        if not known:
            return ()

        def ends(name: str) -> Mapping[str, float]:
            return {layer: getattr(each, name) for layer, each in known.items() if getattr(each, name) is not None}

        return (
            Track("frequency, cycles per line", ends("centroid"), low=ends("centroid_low"), high=ends("centroid_high")),
        )

    def summary(self) -> str:
        """One sentence with the main numbers."""
        words = f"{self.n_lines} line{'s' if self.n_lines > 1 else ''} of {self.n_points} points, {self.lines}"
        if self.output is not None and self.output.centroid is not None:
            error = self.output.centroid_stderr
            words += f"; output's mean frequency {self.output.centroid:.3g}"
            words += f" ± {error:.2g}" if error is not None else ""
            words += f" cycles per line, {100 * (self.output.high_share or 0):.2g} % above {self.cutoff:g}"
        middle = self.middle_band
        if middle is not None and middle.e_low is not None and middle.e_high is not None:
            words += f"; error {middle.e_low:.2g} of the targets' smooth part, {middle.e_high:.2g} of the rest"
        return f"{words}."

    @property
    def middle_band(self) -> FilteredErrors | None:
        """The filter in the middle of the ladder, on which findings rest; None where there are none."""
        return self.bands[len(self.bands) // 2] if self.bands else None
