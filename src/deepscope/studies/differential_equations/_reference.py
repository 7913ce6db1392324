"""What the networks are compared with: the flow of the equation, the plain method, and closed forms."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from deepscope.studies.differential_equations._residual_network import SCHEMES

Floats = NDArray[np.float64]
Field = Callable[[float, Floats], Floats]

#: Of ``solve``, relative and absolute.
TOLERANCE = 1e-13


def solve(field: Field, start: Floats) -> Floats:
    """Return y(1) of y′ = field(t, y), y(0) = start, to about 1e-13."""
    from scipy.integrate import solve_ivp

    end: Floats = solve_ivp(field, (0.0, 1.0), start, method="DOP853", rtol=TOLERANCE, atol=TOLERANCE).y[:, -1]
    return end


def averaged_flow(bias: Floats, start: Floats, scale: float) -> Floats:
    """Return y(1) of y′ = E tanh(K y + bias), the entries of K independent, Gaussian, of standard deviation ``scale``.

    The trapezoidal rule on ±9 standard deviations: for so smooth an integrand its error is below 1e-15.
    """
    normal = np.linspace(-9, 9, 361)
    density = np.exp(-(normal**2) / 2)
    density /= density.sum()

    def field(t: float, y: Floats) -> Floats:
        mean: Floats = np.tanh(scale * np.linalg.norm(y) * normal + bias[:, None]) @ density
        return mean

    return solve(field, start)


def mean_flow(layers: Floats, bias: Floats, start: Floats) -> Floats:
    """Return y(1) of y′ = (1/n) Σₖ tanh(Kₖ y + bias), with layers K of shape [n, width, width]."""
    return solve(lambda t, y: np.tanh(layers @ y + bias).mean(axis=0), start)


def integrate(method: str, field: Field, y: Floats, steps: int) -> Floats:
    """Return y(1) by the method as textbooks write it: the independent twin of the network."""
    h = 1 / steps
    before = field(0.0, y)
    for k in range(steps):
        t, now = k * h, field(k * h, y)
        if method == "euler":
            y = y + h * now
        elif method == "rk2":
            y = y + h * field(t + h / 2, y + h / 2 * now)
        elif method == "ab2":
            y = y + h * (3 * now - before) / 2
        else:
            second = field(t + h / 2, y + h / 2 * now)
            third = field(t + h / 2, y + h / 2 * second)
            y = y + h / 6 * (now + 2 * second + 2 * third + field(t + h, y + h * third))
        before = now
    return y


def closed_form(method: str, matrix: Floats, y: Floats, steps: int) -> Floats:
    """Return what the method makes of y′ = matrix y: the power of a polynomial, or of a companion matrix."""
    one, z = np.eye(len(y)), matrix / steps
    if method == "ab2":
        companion = np.block([[one + 1.5 * z, -0.5 * z], [one, 0 * one]])
        start = np.concatenate([y + z @ y, y])
        found: Floats = (np.linalg.matrix_power(companion, steps - 1) @ start)[: len(y)]
        return found
    order = SCHEMES[method].order
    terms = [np.linalg.matrix_power(z, power) / math.factorial(power) for power in range(order + 1)]
    whole: Floats = np.linalg.matrix_power(np.sum(terms, axis=0), steps) @ y
    return whole
