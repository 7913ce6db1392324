"""The spectra of weight matrices, and of two stand-ins for them: shuffled entries, and noise with the same spikes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import nn

from deepscope.core import MeasurementError
from deepscope.instruments import spectrum
from deepscope.linalg import count_spikes, mp_distance_limit
from deepscope.studies.random_matrices._random_matrices import Floats
from deepscope.subject import Subject


def spectra(matrices: Mapping[str, Floats], *, bootstrap: int, seed: int) -> dict[str, Any]:
    """Return what the spectrum instrument says of each matrix.

    Parameters
    ----------
    matrices
        By name, [rows, cols].
    bootstrap
        Resamples for the interval of the exponent and its goodness of fit. With 0 there are neither, nor alternatives:
        a phase other than by the random-matrix bulk is then unknown.
    seed
        Of the resamples.
    """
    subject = Subject(nn.ParameterDict({name: torch.from_numpy(matrix) for name, matrix in matrices.items()}))
    generator = torch.Generator().manual_seed(seed)
    reading = spectrum(subject, bootstrap=bootstrap, alternatives=bootstrap > 0, generator=generator)
    return {each.name: each for each in reading.weights}


def is_noise(row: Any) -> bool:
    """Whether no eigenvalue is a spike, and all are as near to the Marchenko–Pastur law as noise is."""
    return bool(row.n_spikes == 0 and row.mp_distance <= mp_distance_limit(row.rows, row.cols))


def noise_with_spikes(matrix: Floats, rng: np.random.Generator) -> Floats:
    """Return a matrix whose spikes are those of another, and all the rest noise.

    With W = Σ sᵢ uᵢ vᵢᵀ and its k spikes: Σ_{i≤k} sᵢ uᵢ vᵢᵀ, plus Gaussian entries projected onto what is orthogonal to
    these u and v. Their variance is Σ_{i>k} sᵢ² / ((rows − k)(cols − k)), so that the mean of Σ s² is kept.

    Parameters
    ----------
    matrix
        [rows, cols].
    rng
        Draws the noise.

    Raises
    ------
    MeasurementError
        Most singular values are 0: there is no bulk.
    """
    u, s, vt = np.linalg.svd(matrix, full_matrices=False)
    rows, cols = matrix.shape
    k = count_spikes(s**2, rows, cols).count
    if k is None:
        raise MeasurementError("most singular values are 0", where=f"a matrix of {rows} × {cols}", todo="Train anew.")
    u, vt = u[:, :k], vt[:k]
    noise = np.sqrt(np.sum(s[k:] ** 2) / ((rows - k) * (cols - k))) * rng.standard_normal((rows, cols))
    noise -= u @ (u.T @ noise)
    noise -= (noise @ vt.T) @ vt
    found: Floats = (u * s[:k]) @ vt + noise
    return found
