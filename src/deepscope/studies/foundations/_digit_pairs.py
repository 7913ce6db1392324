"""Pairs of digits learnt by the perceptron, with some of the labels wrong or with all of them right."""

from __future__ import annotations

import itertools
import json
from typing import Any

import numpy as np

from deepscope.core import Case, TrialRun, write_atomically
from deepscope.data import Samples, load
from deepscope.studies.foundations._perceptron import Floats, passes_until_right
from deepscope.studies.foundations._voted_perceptron import errors_by_pass

#: Passes after which a pair is no longer expected to be separable.
MOST_PASSES = 20_000


def flipped_labels(case: Case, run: TrialRun) -> dict[str, Any]:
    """Return the mean over pairs of the three errors after each pass; keeps the pairs that are finished."""
    data = load(case.data)
    pairs = list(itertools.combinations(range(len(data.classes)), 2))
    done = json.loads(run.checkpoint.read_text(encoding="utf-8")) if run.checkpoint.exists() else []
    for pair in pairs[len(done) :]:
        rng = np.random.default_rng([run.seed, *pair])
        train = rng.permutation(_pair(data.train, pair))
        train[rng.permutation(len(train))[: round(case.flipped * len(train))]] *= -1
        errors = errors_by_pass(train, _pair(data.test, pair), case.passes)
        done.append([each.tolist() for each in errors])
        write_atomically(run.checkpoint, json.dumps(done))
        run.progress(len(done) / len(pairs))
    last, voted, averaged = np.mean(done, axis=0)
    return {"last": last, "voted": voted, "averaged": averaged}


def right_labels(case: Case, run: TrialRun) -> dict[str, Any]:
    """Return by pair how far the test errors of the last weights and of the vote are apart.

    Both after twice as many passes as it takes to separate the pair; NaN for one that is not separated.
    """
    data = load(case.data)
    rng = np.random.default_rng(run.seed)
    differ = []
    for pair in itertools.combinations(range(len(data.classes)), 2):
        train = rng.permutation(_pair(data.train, pair))
        passes = passes_until_right(train, MOST_PASSES)
        if passes is None:
            differ.append(np.nan)
            continue
        errors = errors_by_pass(train, _pair(data.test, pair), 2 * passes)
        differ.append(abs(errors.last[-1] - errors.voted[-1]))
    return {"differ": np.array(differ)}


def _pair(samples: Samples, pair: tuple[int, int]) -> Floats:
    """Return the images of two classes as points (x, 1), those of the second class times −1."""
    targets = samples.targets.numpy()
    chosen = np.isin(targets, pair)
    images = samples.inputs.flatten(1).double().numpy()[chosen]
    labels = np.where(targets[chosen] == pair[0], 1.0, -1.0)
    points: Floats = labels[:, None] * np.column_stack([images, np.ones(len(images))])
    return points
