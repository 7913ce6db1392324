"""The reading of ``topology``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pandas as pd

from deepscope.core import Finding, Reading, Track
from deepscope.instruments._topology_clouds import ClassesOverGroups, LayerShape
from deepscope.instruments._topology_findings import topology_findings

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True, kw_only=True)
class LayerTopology:
    """The shape that one layer gives the data.

    Attributes
    ----------
    name, kind
        The layer and its class.
    features
        It puts out for a sample.
    shape
        Of each class, of classes on the mean, and beside clouds of samples of any class; None where it has none.
    status
        ``"ok"``, or what is to be said about it.
    """

    name: str
    kind: str
    features: int
    shape: LayerShape | None
    status: str


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class Topology(Reading):
    """What ``topology`` saw.

    Attributes
    ----------
    layers
        One entry per layer, in forward order.
    classes
        Names of the clouds: the classes', or ``"all"``.
    by_class
        Whether clouds are classes.
    max_dimension
        The highest dimension: 1 for parts and loops.
    n_samples
        Of all clouds.
    subsample, landmarks, subsamples, permutations
        Points of a subsample; how many of them loops are sought among; subsamples of a class; random divisions.
    neighbours
        Of the graph along which distances are; None for straight ones.
    """

    layers: tuple[LayerTopology, ...]
    classes: tuple[str, ...]
    by_class: bool
    max_dimension: int
    n_samples: int
    subsample: int
    landmarks: int
    subsamples: int
    permutations: int
    neighbours: int | None

    @property
    def betti(self) -> Mapping[str, Mapping[str, tuple[int, ...]]]:
        """Betti numbers of each class in each layer: ``betti["fc1"]["3"] == (1, 0)``; layers without are absent."""
        return {
            layer.name: {name: cloud.betti for name, cloud in layer.shape.classes.items()}
            for layer in self.layers
            if layer.shape is not None
        }

    @property
    def separation(self) -> Mapping[str, ClassesOverGroups]:
        """How long classes' bars of dimension 0 are beside those of random clouds, by layer, with the null."""
        found = {layer.name: layer.shape.over_groups[0] for layer in self.layers if layer.shape is not None}
        return {name: each for name, each in found.items() if each is not None}

    def table(self) -> pd.DataFrame:
        """One row per layer: Betti numbers on the mean over classes, total persistence, classes beside random clouds.

        Columns end in the dimension: ``betti_1``; ``total_persistence_1`` with ``…_low`` and ``…_high``;
        ``longest_bar_1``; ``over_groups_1`` with its null's ``null_low_1``, ``null_high_1`` and ``p_value_1``.
        """
        frame = pd.DataFrame([dict(self._row(layer)) for layer in self.layers])
        numbers = [column for column in frame if column not in ("name", "kind", "features", "status")]
        return frame.astype(dict.fromkeys(numbers, float))

    def _row(self, layer: LayerTopology) -> Iterator[tuple[str, Any]]:
        yield from (("name", layer.name), ("kind", layer.kind), ("features", layer.features))
        shape = layer.shape
        for k in range(self.max_dimension + 1):
            betti = None if shape is None else [each.betti[k] for each in shape.classes.values()]
            yield f"betti_{k}", None if betti is None else sum(betti) / len(betti)
            total = shape.total[k] if shape is not None and shape.total is not None else None
            longest = shape.longest[k] if shape is not None and shape.longest is not None else None
            over = shape.over_groups[k] if shape is not None else None
            yield f"total_persistence_{k}", total and total.value
            yield f"total_persistence_{k}_low", total and total.low
            yield f"total_persistence_{k}_high", total and total.high
            yield f"longest_bar_{k}", longest and longest.value
            yield f"over_groups_{k}", over and over.ratio.value
            yield f"null_low_{k}", over and over.null_low
            yield f"null_high_{k}", over and over.null_high
            yield f"p_value_{k}", over and over.p_value
        yield "status", layer.status

    def findings(self) -> tuple[Finding, ...]:
        """Warnings and notes, worst first."""
        return topology_findings(self)

    def plot(self) -> Figure:
        """Draw classes' bars beside those of random clouds, and parts and loops of each class, by layer."""
        from deepscope.instruments._topology_plot import plot_topology

        return plot_topology(self)

    def glance(self) -> tuple[Track, ...]:
        """Classes' gaps beside those of random clouds, and loops per class, by layer."""
        tracks = []
        found = self.separation
        if found:
            low = sum(each.null_low for each in found.values()) / len(found)
            high = sum(each.null_high for each in found.values()) / len(found)
            tracks.append(
                Track(
                    "class clouds ÷ random clouds",
                    {name: each.ratio.value for name, each in found.items()},
                    {name: each.ratio.low for name, each in found.items()},
                    {name: each.ratio.high for name, each in found.items()},
                    band=(low, high),
                )
            )
        if self.max_dimension:
            loops = {
                name: sum(each[1] for each in clouds.values()) / len(clouds) for name, clouds in self.betti.items()
            }
            tracks.append(Track("loops per class" if self.by_class else "loops", loops))
        return tuple(tracks)

    def summary(self) -> str:
        """One sentence with the main numbers."""
        clouds = f"{len(self.classes)} classes" if self.by_class else "one cloud"
        words = f"{self.n_samples:,} samples, {clouds}, {self.subsamples} subsamples of {self.subsample} each"
        found = self.separation
        if found:
            name, last = list(found.items())[-1]
            words += (
                f"; at {name} the bars of classes are {last.ratio.value:.2g} times those of random clouds "
                f"(null {last.null_low:.2g} to {last.null_high:.2g})"
            )
        return f"{words}."
