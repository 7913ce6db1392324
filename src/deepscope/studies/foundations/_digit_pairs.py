"""Pairs of digits learnt by the perceptron, with some of the labels wrong or with all of them right."""

from __future__ import annotations

import itertools
import json
from typing import TYPE_CHECKING, Any

import numpy as np

from deepscope.core import Case, TrialRun, per_seed, write_atomically
from deepscope.data import Samples, load
from deepscope.studies.foundations._perceptron import Floats
from deepscope.studies.foundations._separation import is_separable
from deepscope.studies.foundations._voted_perceptron import errors_by_pass

if TYPE_CHECKING:
    import pandas as pd

#: Share of the training labels that are wrong, unless a case says otherwise.
FLIPPED = 0.1
#: The most points of a pair that are put to a program. Where no hyperplane separates these, none separates all.
PROVEN = 2000


def share_flipped(trials: pd.DataFrame) -> float:
    """Return the share of wrong labels in the trials with such; ``FLIPPED`` where there are none."""
    shares = per_seed(trials, "flipped", part="flipped")
    return float(shares.iloc[0]) if len(shares) else FLIPPED


def flipped_labels(case: Case, run: TrialRun) -> dict[str, Any]:
    """Learn with the share ``case.flipped`` of the training labels wrong.

    Returns
    -------
    dict
        ``last``, ``voted``, ``averaged`` [passes]: means over pairs of the three errors after each pass. ``separable``
        [pairs]: 1 where a hyperplane separates the pair's training points as labelled, 0 where a program proves that
        none does; by the first ``PROVEN`` points.
    """
    return _learn(case, run, case.flipped)


def right_labels(case: Case, run: TrialRun) -> dict[str, Any]:
    """Learn with all labels right; returns what ``flipped_labels`` does."""
    return _learn(case, run, 0.0)


def _learn(case: Case, run: TrialRun, share: float) -> dict[str, Any]:
    """Learn all pairs; those that are finished are kept, so that a trial cut off goes on with the next."""
    data = load(case.data)
    pairs = list(itertools.combinations(range(len(data.classes)), 2))
    done = json.loads(run.checkpoint.read_text(encoding="utf-8")) if run.checkpoint.exists() else []
    for pair in pairs[len(done) :]:
        rng = np.random.default_rng([run.seed, *pair])
        train = rng.permutation(_pair(data.train, pair))
        train[rng.permutation(len(train))[: round(share * len(train))]] *= -1
        errors = errors_by_pass(train, _pair(data.test, pair), case.passes)
        done.append({"errors": [each.tolist() for each in errors], "separable": float(is_separable(train[:PROVEN]))})
        write_atomically(run.checkpoint, json.dumps(done))
        run.progress(len(done) / len(pairs))
    last, voted, averaged = np.mean([each["errors"] for each in done], axis=0)
    separable = np.array([each["separable"] for each in done])
    return {"last": last, "voted": voted, "averaged": averaged, "separable": separable}


def _pair(samples: Samples, pair: tuple[int, int]) -> Floats:
    """Return the images of two classes as points (x, 1), those of the second class times −1."""
    targets = samples.targets.numpy()
    chosen = np.isin(targets, pair)
    images = samples.inputs.flatten(1).double().numpy()[chosen]
    labels = np.where(targets[chosen] == pair[0], 1.0, -1.0)
    points: Floats = labels[:, None] * np.column_stack([images, np.ones(len(images))])
    return points
