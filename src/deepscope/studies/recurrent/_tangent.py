"""How a recurrence hₜ = φ(W hₜ₋₁) stretches what is infinitely small: backward over a lag, and forward for ever."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def trajectory(W: Floats, start: Floats, steps: int) -> Floats:
    """Return h₁ … h_steps of hₜ = tanh(W hₜ₋₁), [steps, units]."""
    states = np.empty((steps, len(start)))
    state = start
    for k in range(steps):
        state = states[k] = np.tanh(W @ state)
    return states


def log_norms(W: Floats, gains: Floats, every: int) -> Floats:
    """Return the log of the spectral norm of ∂h_T/∂h_{T−lag} at lag 0, every, 2 every …, as back-propagation forms it.

    The Jacobian of a step is diag(gₜ) W; their product grows from the last step to the first. It is brought back to
    norm 1 at each lag returned, so that it can leave the range of float64 without loss.

    Parameters
    ----------
    W
        [units, units].
    gains
        φ′ at each step, in the order of time, [steps, windows, units]; windows are independent of each other.
    every
        Lags between two norms.

    Returns
    -------
    numpy.ndarray
        [steps // every + 1, windows].
    """
    _, windows, units = gains.shape
    product = np.tile(np.eye(units), (windows, 1, 1))
    found = [np.zeros(windows)]
    for lag, gain in enumerate(gains[::-1], start=1):
        product = (product * gain[:, None, :]) @ W
        if lag % every == 0:
            norms = np.linalg.norm(product, 2, axis=(1, 2))
            product /= norms[:, None, None]
            found.append(found[-1] + np.log(norms))
    return np.array(found)


def log_growth(W: Floats, states: Floats, tangent: Floats) -> Floats:
    """Return the log growth of a tangent vector at each step of a trajectory of hₜ = tanh(W hₜ₋₁), [steps].

    The vector is brought back to norm 1 at each step: Benettin's method, QR with one column. Once it has turned to the
    growing direction, the mean over many steps is the top Lyapunov exponent. Source: ``benettin1980lyapunov``.

    Parameters
    ----------
    W
        [units, units].
    states
        h₁, h₂, …, [steps, units].
    tangent
        Where the vector starts, [units].
    """
    found = np.empty(len(states))
    for k, gain in enumerate(1 - states**2):
        tangent = gain * (W @ tangent)
        norm = math.sqrt(tangent @ tangent)
        tangent = tangent / norm
        found[k] = math.log(norm)
    return found
