"""What ``representation`` tells."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from deepscope.core import Finding, Reading, Track
from deepscope.instruments._representation_findings import representation_findings
from deepscope.instruments._representation_row import LayerRepresentation
from deepscope.linalg import NeuralCollapse

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_COLUMNS = [field.name for field in fields(LayerRepresentation)]
_TEXT = {"name", "kind", "features", "status"}


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class Representation(Reading):
    """What ``representation`` saw.

    Attributes
    ----------
    layers
        One entry per layer, in forward order.
    other, other_layers
        The other network's name and its layers; None and empty where pairs are of the network's own layers.
    n_samples
        Samples behind everything but ``cka``.
    cka_samples
        Samples over which ``cka`` was added up.
    cka, cka_stderr
        [layers, other's or own layers], unbiased linear centred kernel alignment and its standard error over batches,
        missing with one batch; missing too where a layer puts out the same for all samples, as in the matrices below.
    cka_rbf
        The same with Gaussian kernels as wide as the median distance.
    procrustes, procrustes_null
        Procrustes distances, and the mean distance where samples are in random order.
    neighbours
        Share of the ten nearest neighbours in common; 10/(n − 1) in the mean for what has nothing in common.
    n_classes
        Classes that there are samples of; None where targets are no classes.
    labels_status
        ``"ok"``, or why there are no labels.
    head
        The linear layer that puts out what the network does; None where there is none.
    random_weights
        Where a layer and all behind it tell nothing of the classes though the one before it does: the accuracy of a
        probe behind the worst of 19 layers of as many random units in its place, or 256. None elsewhere.
    collapse
        Neural collapse of what the head is given, with its weights: NC1 to NC4; None where there are no classes.
    collapse_status
        ``"ok"``, or why there is none.
    """

    layers: tuple[LayerRepresentation, ...] = ()
    other: str | None = None
    other_layers: tuple[str, ...] = ()
    n_samples: int
    cka_samples: int
    cka: NDArray[np.float64]
    cka_stderr: NDArray[np.float64]
    cka_rbf: NDArray[np.float64]
    procrustes: NDArray[np.float64]
    procrustes_null: float | None
    neighbours: NDArray[np.float64]
    n_classes: int | None
    labels_status: str
    head: str | None
    random_weights: float | None
    collapse: NeuralCollapse | None
    collapse_status: str

    @property
    def names(self) -> tuple[str, ...]:
        """The layers, in the order of the rows of ``cka``."""
        return tuple(layer.name for layer in self.layers)

    def table(self) -> pd.DataFrame:
        """One row per layer."""
        frame = pd.DataFrame([asdict(each) for each in self.layers], columns=_COLUMNS)
        return frame.astype({column: float for column in _COLUMNS if column not in _TEXT})

    def counterparts(self) -> pd.DataFrame:
        """One row per layer: the layer of the other network that represents the data most alike.

        Columns: ``name``; ``most_like``, its name, and ``cka``, ``cka_stderr``, ``procrustes`` and ``neighbours`` of
        the two; ``cka_same_name``, the alignment with the other network's layer of the same name. In one network alone,
        the most similar other layer.
        """
        theirs = self.other_layers or self.names
        rows = []
        for index, name in enumerate(self.names):
            alike = self.cka[index].copy()
            if self.other is None:
                alike[index] = np.nan
            found: dict[str, object] = {"name": name}
            if np.isfinite(alike).any():
                best = int(np.nanargmax(alike))
                stderr = float(self.cka_stderr[index, best])
                found |= {
                    "most_like": theirs[best],
                    "cka": float(alike[best]),
                    "cka_stderr": None if np.isnan(stderr) else stderr,
                    "procrustes": float(self.procrustes[index, best]),
                    "neighbours": float(self.neighbours[index, best]),
                }
            if self.other is not None and name in theirs and np.isfinite(self.cka[index, theirs.index(name)]):
                found["cka_same_name"] = float(self.cka[index, theirs.index(name)])
            rows.append(found)
        columns = ["name", "most_like", "cka", "cka_stderr", "cka_same_name", "procrustes", "neighbours"]
        return pd.DataFrame(rows, columns=columns)

    def findings(self) -> tuple[Finding, ...]:
        """Problems, warnings and notes, worst first."""
        return representation_findings(self)

    def plot(self) -> Figure:
        """Draw how alike layers are, and along them dimensions and the probe."""
        from deepscope.instruments._representation_plot import plot_representation

        return plot_representation(self)

    def glance(self) -> tuple[Track, ...]:
        """Intrinsic dimension, effective rank and the probe by layer."""
        tracks = (
            Track("intrinsic dimension", *self._by_layer("intrinsic_dimension", "intrinsic_dimension"), scale="log"),
            Track("effective rank", *self._by_layer("effective_rank", "effective_rank"), scale="log"),
            Track("linear probe, accuracy", *self._by_layer("probe_accuracy", "probe")),
        )
        return tuple(track for track in tracks if track.values)

    def _by_layer(self, value: str, ends: str) -> tuple[dict[str, float], dict[str, float], dict[str, float]]:
        known = [each for each in self.layers if getattr(each, value) is not None]
        values, low, high = (
            {each.name: float(getattr(each, column)) for each in known}
            for column in (value, f"{ends}_low", f"{ends}_high")
        )
        return values, low, high

    def summary(self) -> str:
        """One sentence with the main numbers."""
        words = f"{len(self.layers)} layers over {self.n_samples:,} samples"
        dimensions = [each.intrinsic_dimension for each in self.layers if each.intrinsic_dimension is not None]
        if dimensions:
            words += f"; intrinsic dimension {dimensions[0]:.3g} in the first, {dimensions[-1]:.3g} in the last"
        probes = [each for each in self.layers if each.probe_accuracy is not None]
        if probes:
            best = max(probes, key=lambda each: each.probe_accuracy or 0.0)
            words += f"; a linear probe reads the classes best from {best.name or 'the network'}: "
            words += f"{best.probe_accuracy:.1%}, {best.probe_null:.1%} with labels in random order"
        return f"{words}."
