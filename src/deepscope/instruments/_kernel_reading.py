"""The reading of ``kernel``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from deepscope.core import Finding, Reading, Track, UsageError
from deepscope.instruments._kernel_findings import kernel_findings
from deepscope.instruments._kernel_regression import KernelRegression
from deepscope.linalg import KernelAlignment, effective_rank, kernel_alignment

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_COLUMNS = ("name", "kind", "parameters", "share", "status")


@dataclass(frozen=True, kw_only=True)
class LayerKernel:
    """What one layer adds to the kernel.

    Attributes
    ----------
    name, kind
        The layer that holds the parameters, and its class.
    parameters
        Number of its trainable parameters that were measured.
    share
        Of the kernel's trace Σ ‖∂f/∂θ‖²; None where the whole is zero.
    status
        ``"ok"``, or what is to be said about it.
    """

    name: str
    kind: str
    parameters: int
    share: float | None
    status: str


@dataclass(frozen=True)
class KernelDrift:
    """How a kernel has changed from one reading to another.

    Attributes
    ----------
    distance
        1 − ⟨K, K′⟩ / (‖K‖ ‖K′‖): 0 where the kernels are proportional.
    alignment
        Centred alignment of the kernels summed over outputs, with its standard error; None where one is constant.
    scale
        tr K′ / tr K.
    """

    distance: float
    alignment: KernelAlignment | None
    scale: float


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class Kernel(Reading):
    """What ``kernel`` saw.

    Attributes
    ----------
    layers
        One entry per layer with trainable parameters, in the order of the network.
    outputs
        ``"full"`` or ``"trace"``.
    gram
        [n, n, c, c], ⟨∂f_a(x_i)/∂θ, ∂f_b(x_j)/∂θ⟩, or [n, n], summed over a = b; the first n samples in data order.
    n_samples, n_outputs
        n and c.
    n_directions
        Random directions of outputs from which the kernel was estimated; None where it is exact.
    trace, trace_stderr
        Σ ‖∂f_a(x_i)/∂θ‖² over samples and outputs, and its standard error over directions, 0 where it is exact.
    spectrum
        [n], the eigenvalues of the kernel summed over outputs, descending.
    label_shares
        [n], the share of the labels, less their mean, along each of its eigenvectors; empty without labels.
    constant_share
        1ᵀK1 / (n tr K) of that kernel: the share of it that is the same for all samples; 1 where a step on one sample
        moves the outputs of all alike. None where the kernel is zero.
    label_alignment
        Centred alignment with the labels' kernel YYᵀ; None where there are none, or it is constant.
    regression
        Leave-one-out kernel regression of the labels, beside the network; None likewise.
    labels_status
        ``"ok"``, or why there are no labels.
    """

    layers: tuple[LayerKernel, ...] = ()
    outputs: str
    gram: NDArray[np.float64]
    n_samples: int
    n_outputs: int
    n_directions: int | None
    trace: float
    trace_stderr: float
    spectrum: NDArray[np.float64]
    label_shares: NDArray[np.float64]
    constant_share: float | None
    label_alignment: KernelAlignment | None
    regression: KernelRegression | None
    labels_status: str

    @cached_property
    def eigenvalues(self) -> NDArray[np.float64]:
        """Eigenvalues of the Gram matrix as it was asked for, descending: n·c of the full one, n of the trace.

        Computed when first asked for: the full matrix takes about (n·c)³ multiplications.
        """
        if self.outputs == "trace":
            return self.spectrum
        size = self.n_samples * self.n_outputs
        matrix = self.gram.transpose(0, 2, 1, 3).reshape(size, size).astype(np.float64)
        return np.ascontiguousarray(np.linalg.eigvalsh(matrix)[::-1])

    @property
    def effective_rank(self) -> float | None:
        """exp(−Σ p ln p) with p = λ / Σλ over ``eigenvalues``; None where the kernel is zero."""
        return rank_of(self.eigenvalues)

    @property
    def alignment(self) -> float | None:
        """Centred alignment of the kernel, summed over outputs, with the labels' YYᵀ; None where there is none."""
        return self.label_alignment.value if self.label_alignment is not None else None

    @property
    def summed(self) -> NDArray[np.float64]:
        """The kernel summed over outputs, [n, n]."""
        return self.gram if self.outputs == "trace" else np.einsum("ijaa->ij", self.gram)

    def drift(self, other: Kernel) -> KernelDrift:
        """Compare with the kernel of another time or network on the same samples.

        Parameters
        ----------
        other
            The later reading, of as many samples and outputs, in the same order.

        Raises
        ------
        UsageError
            The readings are of other samples or outputs, or a kernel is zero.

        Notes
        -----
        The distance is that of ``fort2020deep``, between the full kernels where both readings have them and between
        those summed over outputs otherwise.
        """
        mine, theirs = (self.n_samples, self.n_outputs), (other.n_samples, other.n_outputs)
        if mine != theirs:
            raise UsageError(
                "kernels of other samples cannot be compared",
                where=f"{mine[0]} samples × {mine[1]} outputs and {theirs[0]} × {theirs[1]}",
                todo="Measure both with the same data, samples and outputs.",
            )
        if not (self.trace > 0 and other.trace > 0):
            raise UsageError("a kernel of zeros has no direction", todo="Look at the reading's findings.")
        both_full = self.outputs == other.outputs == "full"
        K, L = ((each.gram if both_full else each.summed).astype(np.float64) for each in (self, other))
        cosine = float(np.vdot(K, L) / (np.linalg.norm(K) * np.linalg.norm(L)))
        return KernelDrift(max(0.0, 1 - cosine), kernel_alignment(self.summed, other.summed), other.trace / self.trace)

    def table(self) -> pd.DataFrame:
        """One row per layer with trainable parameters: its share of the kernel's trace."""
        frame = pd.DataFrame([asdict(each) for each in self.layers], columns=list(_COLUMNS))
        return frame.astype({"share": float})

    def findings(self) -> tuple[Finding, ...]:
        """Problems, warnings and notes, worst first."""
        return kernel_findings(self)

    def plot(self) -> Figure:
        """Draw the spectrum, and how much of the labels its leading eigenvectors hold."""
        from deepscope.instruments._kernel_plot import plot_kernel

        return plot_kernel(self)

    def glance(self) -> tuple[Track, ...]:
        """Share of the kernel by layer."""
        values: Mapping[str, float] = {each.name: each.share for each in self.layers if each.share}
        return (Track("share of tangent kernel", values, scale="log"),) if values else ()

    def summary(self) -> str:
        """One sentence with the main numbers."""
        rank = rank_of(self.spectrum)
        words = f"{self.n_samples} samples, {self.n_outputs:,} outputs"
        words += f" in {self.n_directions} random directions" if self.n_directions is not None else ""
        words += f"; effective rank {rank:.3g} of {self.n_samples}" if rank is not None else "; the kernel is zero"
        if self.label_alignment is not None:
            words += f"; alignment with the labels {self.label_alignment.value:.3g}"
        if self.regression is not None:
            words += f"; kernel regression {self.regression.score} {self.regression.kernel:.3g}"
        return f"{words}."


def rank_of(eigenvalues: NDArray[Any]) -> float | None:
    """Return exp of the entropy of a kernel's eigenvalues; None where all are zero."""
    positive = np.clip(eigenvalues, 0.0, None)
    # The kernel's own singular values are its eigenvalues.
    return effective_rank(positive**2) if positive.any() else None
