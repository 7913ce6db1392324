"""What the wide networks learn: a smooth function on three quarters of a circle, or a pair of digits."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from deepscope.core import UsageError, nearest
from deepscope.data import load

Floats = NDArray[np.float64]

TASKS = ("circle", "digits")
#: Training points fill this share of the circle evenly; in the rest predictions are the learner's own.
COVERED = 0.75
#: Points of the whole circle at which functions are compared.
COMPARED = 120
#: The two digits, of which one is +1 and the other −1, and the images of each among those compared but not learnt.
PAIR = (3, 8)
HELD_OUT = 50


@dataclass(frozen=True, eq=False)
class Task:
    """Points [points, d], of which the first m are learnt, their targets [points], and the targets' range."""

    points: Floats
    targets: Floats
    n_train: int

    @property
    def range(self) -> float:
        """Largest target minus smallest."""
        return float(np.ptp(self.targets))


def make_task(name: str, n_train: int, seed: int) -> Task:
    """Return the task of a seed.

    ``"circle"``: cos θ + ½ sin 2θ of points (cos θ, sin θ, 1), the last a bias, whatever the seed. ``"digits"``: 3
    against 8, equally many of each, drawn by the seed, their pixels and a bias of 1, scaled to a mean square of 1.

    Raises
    ------
    UsageError
        An unknown task, fewer than 2 training points, or more than there are.
    """
    if name not in TASKS:
        raise UsageError("unknown task", where=name, todo=nearest(name, TASKS))
    if n_train < 2:
        raise UsageError(f"this is {n_train}", where="n_train", todo="Give at least 2.")
    return _circle(n_train) if name == "circle" else _digits(n_train, np.random.default_rng(seed))


def _circle(n_train: int) -> Task:
    learnt = 2 * np.pi * COVERED * np.arange(n_train) / (n_train - 1)
    angles = np.concatenate([learnt, compared_angles()])
    points = np.column_stack([np.cos(angles), np.sin(angles), np.ones(len(angles))])
    return Task(points, circle_target(angles), n_train)


def circle_target(angles: Floats) -> Floats:
    """Return what is to be learnt at these angles."""
    found: Floats = np.cos(angles) + 0.5 * np.sin(2 * angles)
    return found


def compared_angles() -> Floats:
    """Return the angles, in radians, at which functions on the circle are compared."""
    return 2 * np.pi * np.arange(COMPARED) / COMPARED


def _digits(n_train: int, rng: np.random.Generator) -> Task:
    samples = load("digits").train
    labels = samples.targets.numpy()
    drawn = [rng.permutation(np.flatnonzero(labels == digit)) for digit in PAIR]
    each = n_train // 2
    if n_train % 2 or each + HELD_OUT > min(map(len, drawn)):
        todo = "Give an even number that leaves images to compare."
        raise UsageError(f"this is {n_train}", where="n_train", todo=todo)
    learnt, held_out = ([images[part] for images in drawn] for part in (slice(each), slice(each, each + HELD_OUT)))
    order = np.concatenate([*learnt, *held_out])
    pixels = samples.inputs.flatten(1).double().numpy()[order]
    pixels *= 1 / np.sqrt(np.mean(pixels**2))
    points = np.column_stack([pixels, np.ones(len(order))])
    return Task(points, np.where(labels[order] == PAIR[0], 1.0, -1.0), n_train)
