"""The reading of ``jacobian``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from deepscope.core import Finding, Reading, Track
from deepscope.instruments._jacobian_findings import jacobian_findings
from deepscope.instruments._jacobian_recurrent import RecurrentExponents

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_COLUMNS = (
    "name", "kind", "inputs", "outputs", "chi", "chi_low", "chi_high", "gain", "gain_low", "gain_high", "sensitivity",
    "sensitivity_low", "sensitivity_high", "largest", "isometry", "isometry_low", "isometry_high", "lipschitz",
    "bound", "status",
)  # fmt: skip
_NUMBERS = tuple(name for name in _COLUMNS if name not in ("name", "kind", "inputs", "outputs", "status"))


@dataclass(frozen=True, kw_only=True)
class LayerJacobian:
    """How one layer turns small changes, by itself and together with all before it.

    J is the Jacobian from the network's input to the layer's output, unless said otherwise. Ends of intervals are those
    of 95 % over samples; None where there is no number, or only one sample.

    Attributes
    ----------
    name, kind
        The layer, and its class.
    inputs, outputs
        Numbers that it takes and gives for a sample.
    chi, chi_low, chi_high
        ‖J_l‖_F² / n of the block J_l from the layer's input to its n outputs as the next layer gets them, with the
        functions between: the mean squared singular value where the block is square. It is χ₁ of mean-field theory.
    gain, gain_low, gain_high
        ‖J‖_F² / outputs: the product of all χ in a chain of random layers.
    sensitivity, sensitivity_low, sensitivity_high
        √(‖J‖_F² / inputs of the network) · ‖x‖ / ‖h‖: by what factor a random relative change of the input x comes
        out as a relative change of h; its geometric mean over samples. 1 for what keeps proportions.
    largest
        The largest singular value of J at any sample.
    isometry, isometry_low, isometry_high
        (Σσ²)² / (k Σσ⁴) over the k singular values that J can have: 1 where all are equal, 1/k where one is alone.
    lipschitz
        Certified Lipschitz constant of the layer by itself.
    bound
        Certified Lipschitz constant from the network's input to the layer's output.
    has_weights
        Whether the layer has weight matrices.
    status
        ``"ok"``, or what is to be said about it.
    """

    name: str
    kind: str
    inputs: int
    outputs: int
    chi: float | None
    chi_low: float | None
    chi_high: float | None
    gain: float | None
    gain_low: float | None
    gain_high: float | None
    sensitivity: float | None
    sensitivity_low: float | None
    sensitivity_high: float | None
    largest: float | None
    isometry: float | None
    isometry_low: float | None
    isometry_high: float | None
    lipschitz: float | None
    bound: float | None
    has_weights: bool
    status: str


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class Jacobian(Reading):
    """What ``jacobian`` saw.

    Attributes
    ----------
    layers
        One entry per layer, in forward order.
    n_samples, n_inputs, n_outputs
        Samples, and the numbers of each that go in and come out, the first sample's where lengths vary.
    respect_to
        ``"inputs"``, or ``"embeddings"`` where the inputs are whole numbers.
    singular_values
        [samples, k], of the Jacobian from the inputs to the outputs, descending: all of them, or the leading ones.
    singular_value_errors
        [samples, k], how far each may lie below the true one; 0 where the Jacobian was written out.
    frobenius, frobenius_stderr
        [samples], ‖J‖_F², and its standard error over random vectors; 0 where it was written out.
    is_complete
        Whether all singular values are there.
    lipschitz_at_samples
        The largest singular value at any sample: a lower bound on the Lipschitz constant.
    lipschitz_nearby
        The largest that was met within ``radius`` of the samples with the largest; None where it could not be had.
    n_climbs
        Around how many samples it was looked for.
    radius
        In units of the inputs.
    lipschitz_bound
        A certified upper bound on the Lipschitz constant everywhere; None where none can be certified.
    lipschitz_status
        ``"ok"``, or why there is no bound.
    recurrent
        Lyapunov exponents of the recurrent layers.
    n_layer_samples
        Samples on which layers were measured.
    """

    layers: tuple[LayerJacobian, ...] = ()
    n_samples: int
    n_inputs: int
    n_outputs: int
    respect_to: str
    singular_values: NDArray[np.float64]
    singular_value_errors: NDArray[np.float64]
    frobenius: NDArray[np.float64]
    frobenius_stderr: NDArray[np.float64]
    is_complete: bool
    lipschitz_at_samples: float
    lipschitz_nearby: float | None
    n_climbs: int
    radius: float
    lipschitz_bound: float | None
    lipschitz_status: str
    recurrent: tuple[RecurrentExponents, ...] = ()
    n_layer_samples: int

    @property
    def log_spread(self) -> NDArray[np.float64]:
        """Standard deviation of ln σ over a sample's singular values that are not rounding, [samples]; 0 is isometry.

        Those below 1e-6 of the largest are left out; 0 for a sample of which all are zero.
        """
        found = []
        for values in self.singular_values:
            seen = values[values > 1e-6 * values[0]]
            found.append(float(np.log(seen).std()) if len(seen) else 0.0)
        return np.array(found)

    @property
    def condition(self) -> NDArray[np.float64]:
        """Largest over smallest singular value of every sample, [samples]; inf where the smallest is zero."""
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.where(
                self.singular_values[:, -1] > 0, self.singular_values[:, 0] / self.singular_values[:, -1], np.inf
            )

    def table(self) -> pd.DataFrame:
        """One row per layer; a number that does not exist is missing."""
        frame = pd.DataFrame([asdict(each) for each in self.layers], columns=list(_COLUMNS))
        return frame.astype(dict.fromkeys(_NUMBERS, float))

    def findings(self) -> tuple[Finding, ...]:
        """Problems, warnings and notes, worst first."""
        return jacobian_findings(self)

    def plot(self) -> Figure:
        """Draw how changes travel through the layers, the singular values, and Lyapunov exponents where there are."""
        from deepscope.instruments._jacobian_plot import plot_jacobian

        return plot_jacobian(self)

    def glance(self) -> tuple[Track, ...]:
        """χ of the layers, and what is left of a relative change of the input."""
        tracks = (
            self._track("mean squared singular value χ", "chi"),
            self._track("sensitivity to input", "sensitivity"),
        )
        return tuple(track for track in tracks if track.values)

    def _track(self, label: str, column: str) -> Track:
        seen = [each for each in self.layers if (getattr(each, column) or 0) > 0]
        values = {each.name: float(getattr(each, column)) for each in seen}
        low: Mapping[str, float] = {
            each.name: max(getattr(each, f"{column}_low"), values[each.name] / 10)
            for each in seen
            if getattr(each, f"{column}_low") is not None
        }
        high = {each.name: getattr(each, f"{column}_high") for each in seen if each.name in low}
        return Track(label, values, low, high, scale="log")

    def summary(self) -> str:
        """One sentence with the main numbers."""
        what = "inputs" if self.respect_to == "inputs" else "embedded inputs"
        words = f"{self.n_samples} samples, Jacobians of {self.n_outputs:,} outputs by {self.n_inputs:,} {what}"
        words += f"; largest singular value {self.lipschitz_at_samples:.3g} at a sample"
        if self.lipschitz_nearby is not None:
            some = "that" if self.n_climbs == 1 else f"the {self.n_climbs} where it is largest"
            words += f", {self.lipschitz_nearby:.3g} within {self.radius:.3g} of {some}"
        if self.lipschitz_bound is not None:
            words += f", certified at most {self.lipschitz_bound:.3g} anywhere"
        if self.recurrent:
            largest = max(float(each.spectrum.exponents[0]) for each in self.recurrent)
            words += f"; largest Lyapunov exponent {largest:.3g} per step"
        return f"{words}."
