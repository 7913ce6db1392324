"""The steps in which a wide ReLU network learns each frequency on the circle, under several conditions."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from deepscope.core import Case, TrialRun
from deepscope.studies.learning_dynamics._ring_network import (
    LEARNT,
    Floats,
    RingNetwork,
    circle,
    even_directions,
    fourier_features,
    mirrored,
    random_directions,
    residuals,
    theoretical_steps,
)

#: Frequencies among the features.
FEATURES = 10
#: Of the largest learning rate at which the slowest-changing error does not change its sign.
_RATE = 0.5
#: Odd frequencies without bias are given so many times the steps of frequency 4.
_PATIENCE = 10
_MARKS = 80


@dataclass(frozen=True)
class Arm:
    """How a network differs from that of the claim: circle, even directions, bias, weights that hardly move."""

    bias: bool = True
    even: bool = True
    features: bool = False
    scale: float = 50.0


ARMS = {
    "bias": Arm(),
    "no bias": Arm(bias=False),
    "Fourier features": Arm(features=True, even=False),
    "random directions": Arm(even=False),
    "moving weights": Arm(scale=1.0),
}


def learning_times(case: Case, run: TrialRun) -> dict[str, Any]:
    """Train a network for each frequency, and return numbers by frequency.

    ``steps`` until 5 % of the target is left (NaN: not within ``most``), what is ``left`` at the end, and where the
    kernel is circulant ``theory``'s steps; ``patience`` is the number of steps that odd frequencies are given without
    bias; ``residuals`` [frequencies, marks] are what is left before the steps ``marks``, NaN after the end.
    """
    arm = ARMS[case.arm]
    rng = np.random.default_rng(run.seed)
    angles = 2 * math.pi * np.arange(case.points) / case.points
    phase = rng.uniform(0, 2 * math.pi)
    network = _network(arm, case, angles, rng)
    rate = _RATE / float(np.linalg.eigvalsh(network.kernel)[-1])
    marks = np.unique(np.geomspace(1, case.most + 1, _MARKS).astype(int)) - 1
    steps, left = np.full((2, case.highest), math.nan)
    curves = np.full((case.highest, len(marks)), math.nan)
    untrained, patience = 0.0, case.most
    frequencies = np.arange(1, case.highest + 1)
    # Even ones first: frequency 4 says how long the odd ones are waited for.
    for done, k in enumerate(sorted(frequencies.tolist(), key=lambda k: k % 2)):
        limit = case.most if arm.bias or k % 2 == 0 else patience
        curve = residuals(network, np.cos(k * angles + phase), rate, limit, run.device)
        learnt = curve[-1] <= LEARNT
        steps[k - 1], left[k - 1] = len(curve) - 1 if learnt else math.nan, curve[-1]
        seen = marks[marks < len(curve)]
        curves[k - 1, : len(seen)] = curve[seen]
        untrained = max(untrained, abs(curve[0] - 1))
        if k == 4 and learnt:
            patience = min(case.most, _PATIENCE * (len(curve) - 1))
        run.progress((done + 1) / case.highest)
    found = {
        "steps": steps,
        "left": left,
        "patience": patience,
        "untrained": untrained,
        "marks": marks,
        "residuals": curves,
    }
    if arm.even:
        found["theory"] = theoretical_steps(rate * np.fft.rfft(network.kernel[0]).real[frequencies])
    return found


def _network(arm: Arm, case: Case, angles: Floats, rng: np.random.Generator) -> RingNetwork:
    inputs = fourier_features(angles, FEATURES) if arm.features else circle(angles)
    if arm.even:
        # A point on the edge of a unit's half-plane would be in both or in neither.
        directions = even_directions(case.units // 2, rng.uniform(0.1, 0.9))
    else:
        directions = random_directions(rng, case.units // 2, inputs.shape[1])
    return mirrored(inputs, directions, scale=arm.scale, bias=arm.bias)
