"""The trials of deep linear learning: modes, the splits of a tree, and deep networks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from deepscope.core import Case, TrialRun, UsageError, nearest
from deepscope.studies.learning_dynamics._correlations import (
    FEATURES,
    INPUTS,
    LEVELS,
    MODES,
    OUTPUTS,
    Modes,
    decoupled,
    growing_strength,
    random_modes,
    split_strengths,
    splits,
    tree_correlation,
    tree_features,
)
from deepscope.studies.learning_dynamics._depth import (
    DEEP_OUTPUTS,
    RATES,
    deep_correlation,
    deep_weights,
    steps_to_learn,
)
from deepscope.studies.learning_dynamics._linear_network import Floats, random_weights, train
from deepscope.studies.learning_dynamics._mode_dynamics import (
    best_distance,
    distance,
    following_part,
    half_time,
    reached,
    sigmoid_fit,
)

#: How long networks are trained, in units of τ, at least 1.3 times what the slowest mode needs to be half learnt.
DURATION = {"modes": 30.0, "tree": 20.0}
#: Records in this time.
RECORDS = 600
#: Initial strength of a decoupled mode.
SMALL_STRENGTH = 1e-3
#: Standard deviation of small random weights.
SMALL_WEIGHT = 1e-3
#: Starts of each task, with the numbers of layers that it is defined for; without any: two or more.
STARTS: dict[str, dict[str, tuple[int, ...]]] = {
    "modes": {"equal": (2,), "proportional": (2,), "small": (1, 2), "large": (2,)},
    "tree": {"small": (1, 2)},
    "depth": {"orthogonal": (), "gaussian": ()},
}
#: The smallest hidden width: modes that start decoupled have a hidden direction each, and the last layer of a deep
#: network has orthonormal rows.
NARROWEST = {"modes": MODES, "tree": 1, "depth": DEEP_OUTPUTS}
#: The largest learning rate. At twice this gradient descent leaves the minimum of a mode of s = 1.
LARGEST_RATE = 0.5


def check(case: Case) -> None:
    """Refuse a case that is no condition of this study.

    Raises
    ------
    UsageError
        Unknown task or start; a number of layers that the start is not defined for; a width, rate, number of draws or
        of steps out of range.
    """
    if case.task not in STARTS:
        raise UsageError("unknown task", where=str(case.task), todo=nearest(case.task, STARTS))
    starts = STARTS[case.task]
    if case.start not in starts:
        raise UsageError(f"unknown start of task {case.task}", where=str(case.start), todo=nearest(case.start, starts))
    depths = starts[case.start]
    _require(
        case,
        "layers",
        case.layers in depths if depths else case.layers >= 2,
        " or ".join(map(str, depths)) if depths else "at least 2",
    )
    _require(case, "width", case.width >= NARROWEST[case.task], f"at least {NARROWEST[case.task]}")
    _require(case, "rate", 0 < case.rate <= LARGEST_RATE, f"above 0 and at most {LARGEST_RATE}")
    _require(case, "draws", case.draws >= 1, "at least 1")
    _require(case, "most_steps", case.most_steps >= 1, "at least 1")


def _require(case: Case, name: str, holds: bool, allowed: str) -> None:
    if not holds:
        where = f"{name}={case[name]} of task {case.task}, start {case.start}"
        raise UsageError("out of range", where=where, todo=f"Give {name} {allowed}.")


def modes_trial(case: Case, run: TrialRun, rng: np.random.Generator) -> dict[str, Any]:
    """Return how modes were learnt: curves, half-times, order, shape, and distance from the formula."""
    modes = random_modes(rng, case.draws)
    weights, start = _start(case, modes, rng)
    times, strengths = _train(case, run, weights, modes.correlation, modes.strengths)
    ratios = strengths / modes.values
    halves = reached(times, ratios, 0.5)
    fits = np.array([sigmoid_fit(times, each) for each in ratios[:, 0].T])
    found = {
        "time": times[::5],
        "ratio": ratios[::5, 0],
        "singular_value": modes.values,
        "half_time": halves,
        "preference": fits[:, 0],
        "sigmoid_rms": fits[:, 1],
        "following": following_part(times, ratios, halves, np.arange(MODES)),
    }
    if case.start == "large":
        # No formula starts below 0: such a mode cannot be fitted whatever it does, and says nothing.
        found["distance"] = np.where(ratios[0] > 0, best_distance(times, ratios, modes.values), np.nan)
    elif start is not None:
        found["initial_strength"] = start
        found["distance"] = distance(times, ratios, modes.values, start)
        found["half_time_error"] = np.abs(halves / half_time(modes.values, start) - 1)
    return found


def _start(case: Case, modes: Modes, rng: np.random.Generator) -> tuple[list[Floats], Floats | None]:
    """Return initial weights, and the a₀ that theory gives them if it gives one."""
    if case.start in ("equal", "proportional"):
        hidden = np.linalg.qr(rng.standard_normal((case.draws, case.width, MODES))).Q
        start = SMALL_STRENGTH * (modes.values if case.start == "proportional" else np.ones_like(modes.values))
        return decoupled(modes, hidden, start), start
    weights = random_weights(rng, _widths(case, INPUTS, OUTPUTS), case.draws, _scale(case))
    return weights, growing_strength(modes, *weights) if case.layers == 2 else None


def _scale(case: Case) -> float | None:
    return SMALL_WEIGHT if case.start == "small" else None


def _widths(case: Case, inputs: int, outputs: int) -> list[int]:
    return [inputs, *[case.width] * (case.layers - 1), outputs]


def _train(
    case: Case, run: TrialRun, weights: list[Floats], correlation: Floats, record: Callable[[Floats], Floats]
) -> tuple[Floats, Floats]:
    duration = DURATION[case.task]
    every = max(1, round(duration / case.rate / RECORDS))
    return train(weights, correlation, rate=case.rate, duration=duration, every=every, record=record, device=run.device)


def tree_trial(case: Case, run: TrialRun, rng: np.random.Generator) -> dict[str, Any]:
    """Return how the splits of a tree were learnt: the mean curve of each level, their order, and how stage-like."""
    correlation = tree_correlation(tree_features(rng, case.draws))
    weights = random_weights(rng, _widths(case, 2**LEVELS, FEATURES), case.draws, _scale(case))
    contrasts, levels = splits()
    times, made = _train(case, run, weights, correlation, lambda maps: split_strengths(maps, correlation, contrasts))
    low, half, high = (reached(times, made, level) for level in (0.1, 0.5, 0.9))
    return {
        "time": times[::5],
        "split": np.stack([made[::5][..., levels == level].mean(axis=(1, 2)) for level in range(LEVELS)], axis=1),
        "following": following_part(times, made, half, levels),
        "transition": (high - low) / half,
    }


def depth_trial(case: Case, run: TrialRun, rng: np.random.Generator) -> dict[str, Any]:
    """Return how many steps a deep network needs, or, where it has not learnt within the most, these."""
    correlation = deep_correlation(rng, case.width)
    weights = deep_weights(rng, case.layers, case.width, case.start)
    found = steps_to_learn(weights, correlation, RATES[case.start], most=case.most_steps, device=run.device)
    steps, rate = found or (float(case.most_steps), None)
    return {"steps": steps, "learnt": found is not None, "rate_times_depth": rate}
