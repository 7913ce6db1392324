"""The reading of ``noise``."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from deepscope.core import Finding, Reading, Track
from deepscope.instruments._noise_curvature import CurvatureNoise
from deepscope.instruments._noise_findings import noise_findings

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_COLUMNS = (
    "name", "kind", "parameters", "gradient_norm", "noise", "signal_to_noise", "signal_to_noise_low",
    "signal_to_noise_high", "share", "status",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class LayerNoise:
    """Signal and noise of one layer's gradient.

    Attributes
    ----------
    name, kind, parameters
        The layer that holds the parameters, its class, and how many were measured.
    gradient_norm
        ‖ḡ‖ of the mean gradient of its parameters.
    noise
        √tr Σ: how far one sample's gradient is from the mean, root mean square.
    signal_to_noise, signal_to_noise_low, signal_to_noise_high
        |g|² / tr Σ of one sample, the first estimated without bias (so that it may be below 0), with a 95 % interval;
        a batch of B samples has B times as much. None where nothing is told.
    share
        Of the whole network's tr Σ.
    status
        ``"ok"``, or what is to be said.
    """

    name: str
    kind: str
    parameters: int
    gradient_norm: float
    noise: float | None
    signal_to_noise: float | None
    signal_to_noise_low: float | None
    signal_to_noise_high: float | None
    share: float | None
    status: str


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class Noise(Reading):
    """What ``noise`` saw.

    Attributes
    ----------
    layers
        One entry per layer with trainable parameters, in the order of the network.
    per_sample_norms
        [n], ‖∇l_i‖ of each sample's own loss over all trainable parameters, in data order; 0 where a sample has no
        terms.
    terms
        [n], how many terms each sample's loss is a mean over.
    loss
        Mean loss over all terms.
    gradient_norm
        ‖ḡ‖ of the mean loss's gradient.
    signal, noise
        |g|² and tr Σ, both estimated without bias; the first may be negative, both are None for a single sample.
    noise_scale, noise_scale_low, noise_scale_high
        tr Σ / |g|² in samples, and its 95 % interval; an end that the samples do not tell is None, and so is the
        value where the estimate of |g|² is not positive.
    largest_share, largest_sample
        The largest share of Σ ‖r_i‖² that one sample has, and which; None where there is no noise.
    curvature
        The noise scale weighed with the Hessian.
    batch_size
        Samples in the data's first batch.
    status
        ``"ok"``, or why there is no noise scale.
    """

    layers: tuple[LayerNoise, ...] = ()
    per_sample_norms: NDArray[np.float64]
    terms: NDArray[np.float64]
    loss: float
    gradient_norm: float
    signal: float | None
    noise: float | None
    noise_scale: float | None
    noise_scale_low: float | None
    noise_scale_high: float | None
    largest_share: float | None
    largest_sample: int | None
    curvature: CurvatureNoise
    batch_size: int
    status: str

    @property
    def n_samples(self) -> int:
        """How many samples were measured."""
        return len(self.per_sample_norms)

    @property
    def critical_batch_size(self) -> float | None:
        """The batch size at which noise and signal are of one size: the noise scale, from 1 on; None likewise."""
        return None if self.noise_scale is None else max(1.0, self.noise_scale)

    @property
    def critical_batch_size_interval(self) -> tuple[float | None, float | None]:
        """Its 95 % interval; an end that the samples do not tell is None."""
        ends = (self.noise_scale_low, self.noise_scale_high)
        low, high = (None if end is None else max(1.0, end) for end in ends)
        return low, high

    def table(self) -> pd.DataFrame:
        """One row per layer with trainable parameters; a number that does not exist is missing."""
        frame = pd.DataFrame([asdict(each) for each in self.layers], columns=list(_COLUMNS))
        numbers = [name for name in _COLUMNS if name not in ("name", "kind", "status", "parameters")]
        return frame.astype(dict.fromkeys(numbers, float))

    def findings(self) -> tuple[Finding, ...]:
        """Problems, warnings and notes, worst first."""
        return noise_findings(self)

    def plot(self) -> Figure:
        """Draw the signal-to-noise ratio by layer, and the samples' gradient norms."""
        from deepscope.instruments._noise_plot import plot_noise

        return plot_noise(self)

    def glance(self) -> tuple[Track, ...]:
        """Signal-to-noise ratio with its interval, where it is above 0."""
        known = {each.name: each for each in self.layers if each.signal_to_noise is not None}
        values = {name: each.signal_to_noise for name, each in known.items() if (each.signal_to_noise or 0) > 0}
        seen = {name: value for name, value in values.items() if value is not None}
        # A logarithmic axis has no zero: an interval that reaches it is cut at a tenth.
        low = {name: max(known[name].signal_to_noise_low or 0.0, seen[name] / 10) for name in seen}
        high = {name: end for name in seen if (end := known[name].signal_to_noise_high) is not None}
        ends = {name: low[name] for name in high}
        return (Track("gradient signal to noise", seen, ends, high, scale="log"),) if seen else ()

    def summary(self) -> str:
        """One sentence with the main numbers."""
        words = f"{self.n_samples} samples, mean loss {self.loss:.4g}, gradient norm {self.gradient_norm:.3g}"
        if self.noise_scale is None:
            return f"{words}; no noise scale: {self.status}."
        return f"{words}; noise scale {self.noise_scale:.3g} samples ({interval_words(self)})."


def interval_words(noise: Noise) -> str:
    """Say a noise scale's interval in words."""
    low, high = noise.critical_batch_size_interval
    if low is None:
        return "its interval is not told by these samples"
    return f"{low:.3g} to {high:.3g}" if high is not None else f"{low:.3g} or more"
