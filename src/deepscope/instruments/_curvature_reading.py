"""The reading of ``curvature``."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from deepscope.core import Finding, Reading, Track, UsageError
from deepscope.instruments._curvature_density import NegativeDirections, SpectralDensity
from deepscope.instruments._curvature_findings import curvature_findings
from deepscope.instruments._curvature_rescaling import Rescaling
from deepscope.instruments._curvature_row import LayerCurvature, size_of_traces
from deepscope.instruments._curvature_sharpness import Sharpness

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_COLUMNS = (
    "name", "parameters", "trace", "trace_stderr", "curvature_fraction", "eigenvalue", "status",
)  # fmt: skip
#: How the matrices are called in sentences.
KINDS = {
    "hessian": "Hessian",
    "ggn": "Gauss–Newton matrix",
    "fisher": "Fisher information",
    "empirical-fisher": "empirical Fisher",
}


class ParameterSlot(NamedTuple):
    """A parameter's name and shape; together, in order, they make up the vector θ."""

    name: str
    shape: tuple[int, ...]


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class Curvature(Reading):
    """What ``curvature`` saw.

    Attributes
    ----------
    kind
        Which matrix H: ``"hessian"``, ``"ggn"``, ``"fisher"`` or ``"empirical-fisher"``.
    n_parameters, n_samples, n_batches
        Length of θ, and the data that was used.
    loss, gradient_norm
        L(θ) and ‖∇L(θ)‖₂.
    eigenvalues, residuals, errors
        The largest eigenvalues, descending, ‖Hv − λv‖ for each, and a bound on the error of each that is tighter where
        it stands apart; [top].
    lowest, lowest_residuals
        The smallest eigenvalues, descending; [bottom]. Empty for the kinds that have none below 0.
    converged, status
        Whether all of these are within the tolerance; ``"ok"``, or what is not.
    trace, trace_stderr, trace_method
        tr H, its standard error (0 where it is exact), and how it was had; None where it was not asked for.
    density, negative
        The distribution of all eigenvalues, and how many lie below 0; None where not asked for, the density also where
        all eigenvalues are one.
    sharpness, rescaling
        How much the loss rises nearby, and what the measures become when layers are rescaled; None where not asked for.
    layers
        One entry per layer with parameters, in the order of the model.
    is_random
        Whether the forward pass is random: all is then for one seeded draw.
    eigenvectors, parameters
        [n, top], in θ's order, where asked for; and the parameters that make up θ.
    n_products
        How many products with H were taken, those with a layer's block included.
    """

    kind: str
    n_parameters: int
    n_samples: int
    n_batches: int
    loss: float
    gradient_norm: float
    eigenvalues: NDArray[Any]
    residuals: NDArray[Any]
    errors: NDArray[Any]
    lowest: NDArray[Any]
    lowest_residuals: NDArray[Any]
    converged: bool
    status: str
    trace: float | None
    trace_stderr: float
    trace_method: str
    density: SpectralDensity | None
    negative: NegativeDirections | None
    sharpness: Sharpness | None
    rescaling: Rescaling | None
    layers: tuple[LayerCurvature, ...]
    is_random: bool
    eigenvectors: NDArray[Any] | None
    parameters: tuple[ParameterSlot, ...]
    n_products: int

    def direction(self, index: int) -> dict[str, NDArray[Any]]:
        """Return the eigenvector of ``eigenvalues[index]`` by parameter name, each part of the parameter's shape.

        Raises
        ------
        UsageError
            Eigenvectors were not asked for, or there are not so many.
        """
        if self.eigenvectors is None:
            raise UsageError("the eigenvectors were not kept", todo="Measure with vectors=True.")
        if not 0 <= index < self.eigenvectors.shape[1]:
            raise UsageError("no such eigenvector", where=f"{index} of {self.eigenvectors.shape[1]}")
        sizes = [int(np.prod(each.shape)) for each in self.parameters]
        parts = np.split(self.eigenvectors[:, index], np.cumsum(sizes)[:-1])
        return {each.name: part.reshape(each.shape) for each, part in zip(self.parameters, parts, strict=True)}

    def table(self) -> pd.DataFrame:
        """One row per layer; a number that does not exist is missing."""
        frame = pd.DataFrame([asdict(each) for each in self.layers], columns=list(_COLUMNS))
        numbers = [column for column in _COLUMNS if column not in ("name", "parameters", "status")]
        return frame.astype(dict.fromkeys(numbers, float))

    def findings(self) -> tuple[Finding, ...]:
        """Problems, warnings and notes, worst first."""
        return curvature_findings(self)

    def plot(self) -> Figure:
        """Draw the density with the eigenvalues at its ends, and what share of curvature each layer holds."""
        from deepscope.instruments._curvature_plot import plot_curvature

        return plot_curvature(self)

    def glance(self) -> tuple[Track, ...]:
        """Share of curvature, with its interval where it is estimated."""
        total = size_of_traces(self.layers)
        shares = {each.name: each.curvature_fraction for each in self.layers if each.curvature_fraction is not None}
        half = {each.name: 1.96 * each.trace_stderr / total for each in self.layers if total and each.trace_stderr}
        low = {name: shares[name] - width for name, width in half.items()}
        high = {name: shares[name] + width for name, width in half.items()}
        return (Track("share of curvature", shares, low, high),) if shares else ()

    def summary(self) -> str:
        """One sentence with the main numbers."""
        stderr = f" ± {self.trace_stderr:.2g}" if self.trace_stderr else ""
        trace = "" if self.trace is None else f", trace {self.trace:.4g}{stderr}"
        lowest = f", smallest {self.lowest[-1]:.3g}" if len(self.lowest) else ""
        left = "" if self.converged else f" ({self.status})"
        return (
            f"{KINDS[self.kind]} of {self.n_parameters:,} parameters over {self.n_samples:,} "
            f"sample{'' if self.n_samples == 1 else 's'}, loss {self.loss:.4g}: largest eigenvalue "
            f"{self.eigenvalues[0]:.3g} ± {self.errors[0]:.1g}{lowest}{trace}{left}."
        )
