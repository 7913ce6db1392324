"""Points of shapes whose topology is known."""

from __future__ import annotations

import numpy as np


def circle(rng: np.random.Generator, n: int) -> np.ndarray:
    angles = 2 * np.pi * rng.random(n)
    return np.column_stack([np.cos(angles), np.sin(angles)])


def torus(rng: np.random.Generator, n: int) -> np.ndarray:
    """Two circles, each in a plane of its own."""
    return np.concatenate([circle(rng, n), circle(rng, n)], axis=1)


def linked_rings(rng: np.random.Generator, n: int) -> np.ndarray:
    """Two circles of which each passes through the middle of the other."""
    one, other, flat = circle(rng, n // 2), circle(rng, n // 2), np.zeros(n // 2)
    return np.concatenate(
        [np.column_stack([one, flat]), np.column_stack([other[:, 0] + 1, flat, other[:, 1]])],
    )


def ball(rng: np.random.Generator, n: int, d: int) -> np.ndarray:
    return sphere(rng, n, d) * rng.random((n, 1)) ** (1 / d)


def disc(rng: np.random.Generator, n: int) -> np.ndarray:
    return ball(rng, n, 2)


def annulus(rng: np.random.Generator, n: int) -> np.ndarray:
    """Points between radius 1/2 and 1, uniform in area."""
    return circle(rng, n) * np.sqrt(rng.uniform(0.25, 1, size=(n, 1)))


def sphere(rng: np.random.Generator, n: int, d: int = 3) -> np.ndarray:
    x = rng.normal(size=(n, d))
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def clusters(rng: np.random.Generator, n: int, k: int, d: int, apart: float) -> np.ndarray:
    """Normal clouds of unit variance around centres that are ``apart``, at the corners of a simplex."""
    centres = np.eye(k, max(k, d)) * apart / np.sqrt(2)
    return centres[np.arange(n) % k] + rng.normal(size=(n, max(k, d))) * (np.arange(max(k, d)) < d)
