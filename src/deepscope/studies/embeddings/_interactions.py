"""Matrices of users and items whose items belong to known groups: planted clusters, and images as items."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from deepscope.core import Case
from deepscope.data import load

Floats = NDArray[np.float64]
Labels = NDArray[np.int64]

PLANTED = "planted"
#: Weights of the clusters for a user are drawn from a Dirichlet distribution: at ½ most users favour one or two.
_CONCENTRATION = 0.5
#: Popularity of an item is its rank to this power, so that the most popular of 60 is seen 8 times as often as the last.
_SKEW = -0.5
#: The share of all items that a user has seen, but for those that would be above 1.
_SEEN = 0.15


def interactions(case: Case, rng: np.random.Generator) -> tuple[Floats, Labels]:
    """Return X, [users, items], and the group of each item, [items].

    Of a data set of images a random sample is taken: an image is an item, each of its pixels a user.
    """
    if case.data == PLANTED:
        return planted(rng, case.n_users, case.n_items, case.clusters)
    data = load(case.data).train
    chosen = torch.from_numpy(rng.choice(len(data), case.n_images, replace=False))
    return data.inputs[chosen].flatten(1).double().numpy().T, data.targets[chosen].numpy()


def planted(rng: np.random.Generator, users: int, items: int, clusters: int) -> tuple[Floats, Labels]:
    """Draw which of the items each user has seen, 0 or 1, independently given the user's tastes.

    User u sees item i of cluster c with probability min(1, 0.15 · clusters · w_uc · p_i): w_u is the user's taste over
    clusters, which adds up to 1, and p_i the item's popularity, 1 on average.
    """
    groups = np.arange(items) * clusters // items
    popularity = (1.0 + rng.permutation(items)) ** _SKEW
    tastes = rng.dirichlet(np.full(clusters, _CONCENTRATION), size=users)
    chances = _SEEN * clusters * tastes[:, groups] * popularity / popularity.mean()
    return (rng.random((users, items)) < chances).astype(np.float64), groups
