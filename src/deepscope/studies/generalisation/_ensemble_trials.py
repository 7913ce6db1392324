"""One trial: networks from different initial weights, and what ensembles of them and around them gain."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from typing import Any

import numpy as np
import torch
from torch import Tensor

from deepscope.core import Case, TrialRun, derive_seed
from deepscope.studies.generalisation._ensemble_cases import MEMBERS, METHODS, PASSES
from deepscope.studies.generalisation._ensemble_networks import (
    Images,
    Network,
    draw_images,
    predict,
    train_network,
    weights_of,
)
from deepscope.studies.generalisation._mode_barriers import barriers, reordered
from deepscope.studies.generalisation._predictive_scores import Scores, accuracy, disagreement, scores
from deepscope.studies.generalisation._subspace_samples import dropout_passes, samples


def trial(case: Case, run: TrialRun) -> dict[str, Any]:
    """Train networks without dropout and compare ensembles, or with dropout and compare with dropout passes."""
    images = draw_images(case, run)
    networks = []
    for number in range(case.networks):
        networks.append(train_network(case, images, run.seed, number))
        run.progress((number + 1) / case.networks / 2)
    predicted = [predict(each.model, images.inputs) for each in networks]
    alone = [_scores(each, images) for each in predicted]
    found = {"train_loss": max(each.loss for each in networks), **_by_size(predicted, images)}
    if case.dropout:
        return {**found, **_monte_carlo(case, images, networks, run.seed)}
    for method in METHODS:
        found |= _around(method, case, images, networks[:MEMBERS], alone, run.seed)
    return {
        **found,
        **_pairs(predicted, alone, images),
        **barriers(networks, images, case.points, run.generator),
        **_controls(case, images, networks[0], predicted[0], alone[0], run),
    }


def _scores(probabilities: Tensor, images: Images) -> Scores:
    return scores(probabilities, images.targets, images.n_validation)


def _mean(numbers: Sequence[float]) -> float:
    return float(np.mean(numbers))


def _by_size(predicted: Sequence[Tensor], images: Images) -> dict[str, Any]:
    """Return the scores of ensembles of 1, 2, 3 … networks, each the mean over as many ensembles as networks.

    The ensembles are of neighbours, the first network following the last.
    """
    count = len(predicted)
    rows = []
    for size in range(1, count + 1):
        starts = range(count if size < count else 1)
        found = [_scores(_average([predicted[(start + k) % count] for k in range(size)]), images) for start in starts]
        rows.append(found)
    return {
        name: np.array([_mean([getattr(each, name) for each in found]) for found in rows])
        for name in ("nll", "own_nll", "accuracy", "calibration_error", "temperature")
    }


def _average(predicted: Sequence[Tensor]) -> Tensor:
    return torch.stack(list(predicted)).mean(dim=0)


def _around(
    method: str, case: Case, images: Images, networks: Sequence[Network], alone: Sequence[Scores], seed: int
) -> dict[str, Any]:
    """Return by scale, 0 first, what networks around a solution gain and how they differ, means over solutions."""
    rows = []
    for number, network in enumerate(networks):
        base = predict(network.model, images.inputs)
        drawn = samples(method, case, images, network, derive_seed(seed, method, number))
        unmoved = [0.0, 0.0, 0.0, alone[number].validation_nll, alone[number].validation_own_nll, 0.0, 0.0]
        rows.append([unmoved, *([scale, *_gains(alone[number], [base, *members], images)] for scale, members in drawn)])
    columns = np.mean(np.array(rows), axis=0).T
    names = ("scale", "gain", "own_gain", "validation", "own_validation", "disagreement", "lost")
    return {f"{method}_{name}": column for name, column in zip(names, columns, strict=True)}


def _gains(alone: Scores, members: Sequence[Tensor], images: Images) -> list[float]:
    """Return what an ensemble gains over its first member, its losses in validation, and how the others differ."""
    together = _scores(_average(members), images)
    base, *others = [each[images.n_validation :] for each in members]
    return [
        alone.nll - together.nll,
        alone.own_nll - together.own_nll,
        together.validation_nll,
        together.validation_own_nll,
        _mean([disagreement(base, each) for each in others]),
        alone.accuracy - _mean([accuracy(each, images.targets[images.n_validation :]) for each in others]),
    ]


def _pairs(predicted: Sequence[Tensor], alone: Sequence[Scores], images: Images) -> dict[str, Any]:
    """Return how much two networks disagree, and by how much more a pair gains that disagrees more.

    The slope is that of the least-squares line through all pairs, in nats per share of the test images.
    """
    apart, gains = [], []
    for one, other in combinations(range(len(predicted)), 2):
        together = _scores(_average([predicted[one], predicted[other]]), images)
        apart.append(disagreement(*(predicted[each][images.n_validation :] for each in (one, other))))
        gains.append((alone[one].own_nll + alone[other].own_nll) / 2 - together.own_nll)
    # Pairs that all disagree alike have no slope.
    slope = float(np.polyfit(apart, gains, 1)[0]) if np.ptp(apart) else None
    return {"disagreement": _mean(apart), "pair_slope": slope}


def _monte_carlo(case: Case, images: Images, networks: Sequence[Network], seed: int) -> dict[str, Any]:
    """Return the scores of each network's mean over dropout passes, by their number, means over networks."""
    rows = []
    for number, network in enumerate(networks):
        passes = dropout_passes(
            network.model, images, network.snapshots[-1], case.dropout, max(PASSES), derive_seed(seed, "passes", number)
        )
        found = [_scores(_average(passes[:count]), images) for count in PASSES]
        rows.append([[each.nll, each.own_nll, each.accuracy] for each in found])
    columns = np.mean(np.array(rows), axis=0).T
    return dict(zip(("passes_nll", "passes_own_nll", "passes_accuracy"), columns, strict=True))


def _controls(
    case: Case, images: Images, network: Network, predicted: Tensor, alone: Scores, run: TrialRun
) -> dict[str, Any]:
    """Return what ensembles gain that hold one function five times, and a function that is only softer."""
    again = predict(train_network(case, images, run.seed, 0).model, images.inputs)
    weights = weights_of(network.model)
    # In float32 another order of summation could turn an answer that hangs in the balance.
    base, moved = (
        predict(network.model, images.inputs.double(), {name: value.double() for name, value in each.items()})
        for each in (weights, reordered(weights, run.generator))
    )
    softer = _scores(torch.softmax(predicted.log() / 2, dim=1), images)
    found = {"softer_gain": alone.nll - softer.nll, "softer_own_gain": alone.own_nll - softer.own_nll}
    for name, first, other in (("same_seed", predicted, again), ("reordered", base, moved)):
        gain, own_gain, _, _, apart, _ = _gains(_scores(first, images), [first, *[other] * (MEMBERS - 1)], images)
        found |= {f"{name}_gain": gain, f"{name}_own_gain": own_gain, f"{name}_disagreement": apart}
    return found
