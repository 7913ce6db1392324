"""The reading of ``landscape``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from deepscope.core import Finding, Reading, Track

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_COLUMNS = ("name", "tensors", "filters", "weight_norm", "step_norm", "relative_step", "rise", "status")


@dataclass(frozen=True)
class LayerStep:
    """How one layer moves.

    Attributes
    ----------
    name
        The layer.
    tensors, filters
        How many of its tensors move along the first direction, and how many filters they have.
    weight_norm, step_norm, relative_step
        Norm of those tensors, of the first direction's part in them, and their ratio (None where they are zero).
    rise
        Loss when this layer alone is moved to the end of the first direction's axis, mean over both ends, minus the
        loss at the centre; None where it was not measured.
    status
        Why ``rise`` is None.
    """

    name: str
    tensors: int
    filters: int
    weight_norm: float
    step_norm: float
    relative_step: float | None
    rise: float | None
    status: str


@dataclass(frozen=True)
class Mark:
    """A network marked on the plane.

    Attributes
    ----------
    name
        What it is called.
    coordinates
        Of its orthogonal projection onto the plane, in units of the directions.
    distance
        From the network to the plane; 0 where the plane goes through it.
    loss
        Of the network itself, with its own buffers; None where it is not finite.
    """

    name: str
    coordinates: tuple[float, ...]
    distance: float
    loss: float | None


@dataclass(frozen=True)
class Lowest:
    """The lowest point of the grid.

    Attributes
    ----------
    coordinates
        Where it is.
    difference
        Its loss minus that at the centre.
    low, high
        Ends of the 95 % interval of the difference over data of the kind, paired by sample (or by chunk of samples)
        and corrected for having been chosen among all points; None where one unit of data was seen.
    """

    coordinates: tuple[float, ...]
    difference: float
    low: float | None
    high: float | None


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class Landscape(Reading):
    """What ``landscape`` saw.

    Attributes
    ----------
    kind
        ``"random"``, ``"given"``, ``"networks"`` or ``"path"``: where the directions come from.
    coordinates
        Of the grid along each direction, [k]; 0 is the subject itself.
    losses
        [k, k]: ``losses[i, j]`` is the mean loss at θ + coordinates[i] d₁ + coordinates[j] d₂; [k] for a line. NaN
        where it is not finite, and then ``status`` says so.
    centre_loss, centre_stderr
        The loss of the subject itself, and its standard error over data of the kind (None for one unit of data).
    direction_norms, direction_cosine
        Norms of the directions, and the cosine between them (None for a line).
    explained
        Share of the path's variance along each direction, where they are principal components; None otherwise.
    lowest
        The lowest point of the grid.
    marks
        Networks that lie on the plane, or are projected onto it.
    layers
        One entry per layer that moves.
    n_samples
        What was run.
    normalise, biases_and_norms, batch_norm, training
        How directions were scaled, whether biases and norms move, which statistics batch normalisation used, and
        whether the network ran in training mode.
    status
        ``""``, or how many points have no finite loss.
    """

    kind: str
    coordinates: NDArray[np.float64]
    losses: NDArray[np.float64]
    centre_loss: float
    centre_stderr: float | None
    direction_norms: tuple[float, ...]
    direction_cosine: float | None
    explained: tuple[float, ...] | None
    lowest: Lowest
    marks: tuple[Mark, ...]
    layers: tuple[LayerStep, ...]
    n_samples: int
    normalise: str
    biases_and_norms: str
    batch_norm: str
    training: bool
    status: str

    def profile(self) -> NDArray[np.float64]:
        """Return the mean loss over the points whose farthest coordinate is ± each coordinate ≥ 0, in their order.

        NaN where one of those points has no finite loss.
        """
        far = np.abs(self.coordinates)
        if self.losses.ndim == 2:
            far = np.maximum(far[:, None], far[None, :])
        rings = np.unique(np.abs(self.coordinates))
        return np.array([self.losses[far == ring].mean() for ring in rings])

    def doubling(self) -> float | None:
        """Return how far from the centre the loss has doubled on average, between grid points by a straight line.

        None where it never does, or where the loss at the centre is not positive. Before the first grid point it is
        farther than the line says: around a minimum the loss rises like a square.
        """
        rings, profile = np.unique(np.abs(self.coordinates)), self.profile()
        for index in range(1, len(rings)):
            before, here = profile[index - 1], profile[index]
            if not np.isfinite(here) or self.centre_loss <= 0:
                return None
            if here >= 2 * self.centre_loss:
                share = (2 * self.centre_loss - before) / (here - before)
                return float(rings[index - 1] + share * (rings[index] - rings[index - 1]))
        return None

    def table(self) -> pd.DataFrame:
        """One row per layer that moves; a number that does not exist is missing."""
        frame = pd.DataFrame([asdict(each) for each in self.layers], columns=list(_COLUMNS))
        return frame.astype({"relative_step": float, "rise": float})

    def findings(self) -> tuple[Finding, ...]:
        """Say whether the network stands in a minimum, and how it is shaped; worst first."""
        from deepscope.instruments._landscape_findings import landscape_findings

        return landscape_findings(self)

    def plot(self) -> Figure:
        """Draw contours and the surface, or the line."""
        from deepscope.instruments._landscape_plot import plot_landscape

        return plot_landscape(self)

    def glance(self) -> tuple[Track, ...]:
        """How much the loss rises when each layer alone is moved."""
        rises: Mapping[str, float] = {each.name: each.rise for each in self.layers if each.rise and each.rise > 0}
        return (Track("loss rise, this layer moved", rises, scale="log"),) if rises else ()

    def summary(self) -> str:
        """One sentence with the main numbers."""
        size = " × ".join(str(each) for each in self.losses.shape)
        error = "" if self.centre_stderr is None else f" ± {self.centre_stderr:.2g}"
        seen = self.losses[np.isfinite(self.losses)]
        return (
            f"{size} points over {self.n_samples} sample{'' if self.n_samples == 1 else 's'}, loss "
            f"{self.centre_loss:.4g}{error} at the network, {seen.min():.4g} to {seen.max():.4g} on the grid"
            f"{f'; {self.status}' if self.status else ''}."
        )
