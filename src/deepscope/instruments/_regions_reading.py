"""The reading of ``regions``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from deepscope.core import Finding, Reading, Track
from deepscope.instruments._regions_findings import regions_findings

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_COLUMNS = (
    *("name", "kind", "function", "units", "cutting", "cutting_fraction", "added", "boundary_length", "status"),
)


@dataclass(frozen=True, kw_only=True)
class LayerRegions:
    """What one layer's units do to the slice.

    Attributes
    ----------
    name, kind
        The layer whose outputs an activation function bends, with parameters of its own: the last that ran before it;
        or a pooling layer. And its class.
    function
        The functions with kinks that its units go through.
    units
        How many units there are; of a pooling layer or a maximum, its outputs.
    cutting, cutting_fraction
        How many of them are not in one linear piece all over the slice, and their share.
    added
        How many more cells there are for them.
    boundary_length
        Length of the borders that they make, in units of the directions; None on a line.
    on_one_side
        Whether all units are on the same side of all of their kinks, all over the slice: closed, or open.
    status
        ``"ok"``; that none cuts; or that counting stopped before all could be seen.
    """

    name: str
    kind: str
    function: str
    units: int
    cutting: int
    cutting_fraction: float
    added: int
    boundary_length: float | None
    on_one_side: bool
    status: str


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class Regions(Reading):
    """What ``regions`` saw.

    Attributes
    ----------
    kind
        ``"line"`` or ``"plane"``.
    extent
        Coordinates go from 0 to 1 on a line, and from −extent to extent on a plane.
    samples, sample_coordinates
        The three samples that the plane goes through, counted from 0 in data order, and their coordinates, [3, 2];
        empty where the slice was given.
    count
        Number of activation cells, exact where ``complete``, else a lower bound.
    complete
        Whether all layers have cut all cells; False where there are more than ``max_regions``.
    layers
        One entry per layer that has units with kinks, in forward order, of the part that was measured.
    points, corners, corner_counts
        The cells: coordinates of vertices, [v, 1] or [v, 2]; numbers of the cells' corners, one cell after the other
        and round each; and how many each has, [count]. A line's cells are in order.
    boundary_layers
        By corner, the layer that made the edge from it to the next, or on a line the corner itself, as a place in
        ``all_layers``; −1 for the slice's own border.
    all_layers
        Names of all layers that have units with kinks, in forward order.
    sizes
        [count], the share of the slice that each cell is.
    slopes
        [count], the Frobenius norm of the derivative of all outputs by the coordinates; empty if not ``complete``.
    distinct_maps
        How many different affine maps the cells have, over the whole slice; None if not ``complete``.
    n_kinks
        How many kinks all units have together: one for a ReLU, two for a ReLU6, m(m − 1)/2 for a maximum of m.
    outputs
        [count + 1, c], a line's first outputs at the ends of its cells; empty for a plane.
    """

    kind: str
    extent: float
    samples: tuple[int, ...]
    sample_coordinates: NDArray[np.float64]
    count: int
    complete: bool
    layers: tuple[LayerRegions, ...]
    points: NDArray[np.float64]
    corners: NDArray[np.int64]
    corner_counts: NDArray[np.int64]
    boundary_layers: NDArray[np.int64]
    all_layers: tuple[str, ...]
    sizes: NDArray[np.float64]
    slopes: NDArray[np.float64]
    distinct_maps: int | None
    n_kinks: int
    outputs: NDArray[np.float64]

    @property
    def cuts(self) -> NDArray[np.float64]:
        """[count − 1], where a line is cut, ascending; empty for a plane."""
        return self.points[self.corners[2::2], 0] if self.kind == "line" else np.zeros(0)

    def table(self) -> pd.DataFrame:
        """One row per layer that has units with kinks."""
        frame = pd.DataFrame([asdict(each) for each in self.layers], columns=list(_COLUMNS))
        return frame.astype({"boundary_length": float, "cutting_fraction": float})

    def findings(self) -> tuple[Finding, ...]:
        """Warnings and notes, worst first."""
        return regions_findings(self)

    def plot(self) -> Figure:
        """Draw the cells, and how many each layer adds."""
        from deepscope.instruments._regions_plot import plot_regions

        return plot_regions(self)

    def glance(self) -> tuple[Track, ...]:
        """Cells that each layer adds, and the share of its units that cut; nothing where counting stopped."""
        if not self.complete:
            return ()
        added: Mapping[str, float] = {each.name: each.added for each in self.layers if each.added}
        cutting: Mapping[str, float] = {each.name: each.cutting_fraction for each in self.layers}
        tracks = (Track("linear regions added", added, scale="log"), Track("share of units that switch", cutting))
        return tuple(each for each in tracks if each.values)

    def summary(self) -> str:
        """One sentence with the main numbers."""
        number = f"{'' if self.complete else 'at least '}{self.count:,}"
        words = f"{number} region{'' if self.count == 1 else 's'} of {self.slice}"
        if self.distinct_maps is not None:
            words += f", {self.distinct_maps:,} different linear map{'' if self.distinct_maps == 1 else 's'}"
        units, cutting = (sum(getattr(each, name) for each in self.layers) for name in ("units", "cutting"))
        return f"{words}; {cutting:,} of {units:,} units switch on it."

    @property
    def slice(self) -> str:
        """What was cut, in a few words."""
        if not self.samples:
            return f"the {self.kind}"
        first, second, third = self.samples
        return f"the plane through samples {first}, {second} and {third}"
