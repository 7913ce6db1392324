"""The reading of ``information``."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pandas as pd

from deepscope.core import Finding, Reading, Track
from deepscope.instruments._information_findings import information_findings
from deepscope.instruments._information_layer import ESTIMATORS, LayerInformation
from deepscope.linalg import InformationEstimate

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_OF = ("labels", "inputs")


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class Information(Reading):
    """What ``information`` saw.

    Attributes
    ----------
    layers
        One entry per layer that puts out a row for each sample, in forward order.
    data
        I(X; Y) of the samples themselves, by nearest neighbours: no layer holds more about the labels. None where
        inputs or labels do not allow it.
    output
        I(output; Y) of the network as a whole, likewise; None also where that is no tensor with a row per sample.
    output_constant
        Whether the network puts out the same for all samples.
    partial
        Whether only a part of the network was measured.
    n_samples
        Different samples used; the Rényi information takes 256 of them, by chance.
    bins, neighbours, permutations
        As asked for.
    n_rank_samples, n_directions, exact_rank
        At how many samples, and along how many directions of the inputs, the local rank was measured; whether those
        are all directions.
    labels_entropy
        H(Y) of classes, and of numbers that all come several times, in bits: the most that a layer can hold about
        them. None for other targets.
    labels_status, inputs_status, rank_status
        ``"ok"``, or why there is nothing about them.
    """

    layers: tuple[LayerInformation, ...] = ()
    data: InformationEstimate | None
    output: InformationEstimate | None
    output_constant: bool
    partial: bool
    n_samples: int
    bins: int
    neighbours: int
    permutations: int
    n_rank_samples: int
    n_directions: int
    exact_rank: bool
    labels_entropy: float | None
    labels_status: str
    inputs_status: str
    rank_status: str

    def table(self) -> pd.DataFrame:
        """One row per layer: each estimate beside the 95 % quantile of its null, in bits, and the local rank."""
        frame = pd.DataFrame([dict(_row(layer)) for layer in self.layers], columns=_COLUMNS)
        numbers = [name for name in _COLUMNS if name not in ("name", "kind", "features", "inputs_truth", "status")]
        return frame.astype(dict.fromkeys(numbers, float))

    def findings(self) -> tuple[Finding, ...]:
        """Problems, warnings and notes, worst first."""
        return information_findings(self)

    def plot(self) -> Figure:
        """Draw what layers hold about labels and inputs, with nulls, and their local rank."""
        from deepscope.instruments._information_plot import plot_information

        return plot_information(self)

    def glance(self) -> tuple[Track, ...]:
        """Information about the labels by nearest neighbours, and local rank, with intervals."""
        labels = {each.name: each.labels_ksg for each in self.layers}
        known = {name: found for name, found in labels.items() if found is not None}
        ranks = {each.name: each for each in self.layers if each.local_rank is not None}
        tracks = (
            Track(
                "I(T; labels), bits",
                {name: found.bits for name, found in known.items()},
                {name: found.low for name, found in known.items()},
                {name: found.high for name, found in known.items()},
            ),
            Track(
                "local rank",
                {name: each.local_rank for name, each in ranks.items() if each.local_rank is not None},
                {name: each.local_rank_low for name, each in ranks.items() if each.local_rank_low is not None},
                {name: each.local_rank_high for name, each in ranks.items() if each.local_rank_high is not None},
            ),
        )
        return tuple(track for track in tracks if track.values)

    def summary(self) -> str:
        """One sentence with the main numbers."""
        words = f"{self.n_samples} samples, {len(self.layers)} layers"
        if self.output is not None:
            most = f" of {self.labels_entropy:.3g}" if self.labels_entropy is not None else ""
            words += f"; the output holds {self.output.bits:.3g}{most} bits about the labels"
            words += f" (with labels in random order {self.output.null_high:.2g})"
        elif self.labels_status != "ok":
            words += f"; {self.labels_status}"
        infinite = sum(each.inputs_truth.startswith("infinite") for each in self.layers)
        if infinite:
            words += f"; about continuous inputs {infinite} layers hold infinitely much"
        return f"{words}."


_COLUMNS = [
    "name", "kind", "features",
    *(f"{of}_{each}{end}" for of in _OF for each in ESTIMATORS for end in ("", "_null")),
    "inputs_truth", "local_rank", "local_rank_low", "local_rank_high", "least", "greatest", "status",
]  # fmt: skip


def _row(layer: LayerInformation) -> Iterator[tuple[str, Any]]:
    for column in _COLUMNS:
        value = getattr(layer, column.removesuffix("_null"))
        if isinstance(value, InformationEstimate):
            value = value.null_high if column.endswith("_null") else value.bits
        yield column, value
