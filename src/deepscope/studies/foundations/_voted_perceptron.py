"""The voted and the averaged perceptron: what all weight vectors of a run say, each weighed by how long it lasted."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from deepscope.studies.foundations._perceptron import Floats, sweep


class Errors(NamedTuple):
    """Shares of test points on the wrong side after each pass, [passes] each.

    Attributes
    ----------
    last
        By the weights w that the run has arrived at.
    voted
        By the sign of Σₖ cₖ sign(wₖ·z), where cₖ is the number of training points after which wₖ was in force.
    averaged
        By the sign of Σₖ cₖ wₖ·z.
    """

    last: Floats
    voted: Floats
    averaged: Floats


def errors_by_pass(train: Floats, test: Floats, passes: int) -> Errors:
    """Run the perceptron and count the test errors of its three predictions.

    A point on the hyperplane, or a vote that is tied, counts as an error.

    Parameters
    ----------
    train, test
        [n, d] and [m, d] points, each a sample times its label.
    passes
        Over the training points, in their order.

    Notes
    -----
    Votes cost m·d operations for each weight vector: the products with the test points.
    """
    weights, total = np.zeros(train.shape[1]), np.zeros(train.shape[1])
    votes = np.zeros(len(test))
    errors = []
    for _ in range(passes):
        start = weights
        weights, mistakes = sweep(train, start)
        history = start + np.vstack([np.zeros_like(start), np.cumsum(train[mistakes], axis=0)])
        lasted = np.diff([0, *mistakes, len(train)]).astype(float)
        votes += np.sign(test @ history.T) @ lasted
        total += lasted @ history
        errors.append([np.mean(each <= 0) for each in (test @ weights, votes, test @ total)])
    return Errors(*np.array(errors).T)
