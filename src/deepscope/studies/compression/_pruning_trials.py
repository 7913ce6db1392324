"""One trial: a network is pruned in steps and retrained after each, by three choices of what to prune."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from deepscope.core import Case, TrialRun, derive_seed
from deepscope.data import Samples
from deepscope.models import MLP
from deepscope.studies.compression._drawn_images import draw_images, row_batches
from deepscope.subject import seeded_generators
from deepscope.training import KeepMasks, apply_masks, evaluate, fit, magnitudes, pruning_masks

Masks = Mapping[str, Tensor]
#: How many times fewer weights remain after each step: to 9 in five steps, to 32 in three more.
COMPRESSIONS = (*(9 ** (k / 5) for k in range(1, 6)), *(9 * (32 / 9) ** (k / 3) for k in range(1, 4)))
#: Places of 9 and 32.
NINE, THIRTY_TWO = 4, 7
ARMS = ("dense", "global", "layer", "random")
N_CLASSES = 10
#: Images that are tested at a time, which changes no result.
TESTED_AT_ONCE = 1000


def prune_weights(case: Case, run: TrialRun) -> dict[str, Any]:
    """Return accuracies on the test images, one for each of ``COMPRESSIONS``.

    Returns
    -------
    dict
        ``global``, ``layer``, ``random``: after each step of pruning and retraining, where all weights compete by
        magnitude, those of each layer, or all by random scores. ``dense``: after as many steps without pruning.
        ``once``: of the last of these networks, pruned by magnitude without retraining. ``small``: of dense
        perceptrons with about as many weights as remain at 9 and at 32, after all steps. ``compressions``.
    """
    train, test = images_of(case, run)
    model = perceptron(train, case.width, derive_seed(run.seed, "weights"))
    _train(model, train, {}, case, run.seed, 0)
    trained = _copied(model)
    found: dict[str, Any] = {"compressions": list(COMPRESSIONS)}
    for place, arm in enumerate(ARMS):
        model.load_state_dict(trained)
        found[arm] = [_accuracy(model, test) for _ in in_steps(model, arm, train, case, run.seed)]
        if arm == "dense":
            found["once"] = [pruned_at_once(model, compression, test) for compression in COMPRESSIONS]
        run.progress((place + 1) / (len(ARMS) + 1))
    found["small"] = [_small(COMPRESSIONS[place], train, test, case, run) for place in (NINE, THIRTY_TWO)]
    return found


def images_of(case: Case, run: TrialRun) -> tuple[Samples, Samples]:
    """Return training and test images drawn by the seed."""
    generator = torch.Generator().manual_seed(derive_seed(run.seed, "images"))
    drawn = draw_images(case.data, case.n_train, case.n_test, generator)
    train, test = (Samples(each.inputs.to(run.device), each.targets.to(run.device), each.name) for each in drawn)
    return train, test


def in_steps(model: nn.Module, arm: str, train: Samples, case: Case, seed: int) -> Iterator[dict[str, Tensor]]:
    """Prune and retrain, step by step, and yield the masks after each; none of the arm that is not pruned."""
    generator = torch.Generator().manual_seed(derive_seed(seed, "random scores"))
    masks: dict[str, Tensor] = {}
    before = 1.0
    for place, compression in enumerate(COMPRESSIONS, start=1):
        if arm != "dense":
            scores = magnitudes(model)
            if arm == "random":
                scores = {name: torch.rand(each.shape, generator=generator) for name, each in scores.items()}
            scope = "layer" if arm == "layer" else "network"
            masks = pruning_masks(scores, 1 - before / compression, scope=scope, masks=masks or None)  # type: ignore[arg-type]
        _train(model, train, masks, case, seed, place)
        yield masks
        before = compression


def pruned_at_once(model: nn.Module, compression: float, test: Samples) -> float:
    """Return the accuracy without the smallest weights, and leave the model as it was."""
    weights = _copied(model)
    apply_masks(model, pruning_masks(magnitudes(model), 1 - 1 / compression))
    accuracy = _accuracy(model, test)
    model.load_state_dict(weights)
    return accuracy


def perceptron(train: Samples, width: int, seed: int) -> MLP:
    """Return a perceptron of two hidden layers, the second a third as wide."""
    with seeded_generators(seed):
        model = MLP(train.inputs[0].numel(), [width, max(1, width // 3)], N_CLASSES)
    return model.to(train.inputs.device)


def n_weights(n_inputs: int, width: int) -> int:
    """Return how many weights without biases such a perceptron has.

    >>> n_weights(784, 300)
    266200
    """
    second = max(1, width // 3)
    return n_inputs * width + width * second + second * N_CLASSES


def width_of(n_inputs: int, weights: float) -> int:
    """Return the greatest width at which it has no more than so many weights, at least 1.

    >>> width_of(784, 266200 / 9), n_weights(784, 37)
    (37, 29572)
    """
    width = 1
    while n_weights(n_inputs, width + 1) <= weights:
        width += 1
    return width


def _small(compression: float, train: Samples, test: Samples, case: Case, run: TrialRun) -> float:
    n_inputs = train.inputs[0].numel()
    width = width_of(n_inputs, n_weights(n_inputs, case.width) / compression)
    model = perceptron(train, width, derive_seed(run.seed, "small"))
    _train(model, train, {}, case, run.seed, 0)
    for _ in in_steps(model, "dense", train, case, run.seed):
        pass
    return _accuracy(model, test)


def _accuracy(model: nn.Module, test: Samples) -> float:
    accuracy = evaluate(model, test.batches(TESTED_AT_ONCE)).accuracy
    assert accuracy is not None
    return accuracy


def _copied(model: nn.Module) -> dict[str, Tensor]:
    return {name: each.detach().clone() for name, each in model.state_dict().items()}


def _train(model: nn.Module, train: Samples, masks: Masks, case: Case, seed: int, stage: int) -> None:
    steps = case.steps if stage else case.first_steps
    train_network(model, train, masks, case, steps, derive_seed(seed, "batches", stage))


def train_network(model: nn.Module, train: Samples, masks: Masks, case: Case, steps: int, seed: int) -> None:
    """Train by Adam in batches drawn by the seed, with what is pruned kept at 0."""

    def data(epoch: int) -> Iterator[tuple[Tensor, Tensor]]:
        for rows in row_batches(len(train), case.batch_size, steps, seed):
            yield train.inputs[rows], train.targets[rows]

    optimizer = torch.optim.Adam(model.parameters(), lr=case.learning_rate, fused=True)
    callbacks = [KeepMasks(masks)] if masks else []
    fit(model, data, functional.cross_entropy, optimizer=optimizer, epochs=1, callbacks=callbacks)
