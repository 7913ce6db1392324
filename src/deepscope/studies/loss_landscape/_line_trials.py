"""One trial: two networks are trained, and the losses along the lines to the first one's solution measured."""

from __future__ import annotations

from typing import Any, final

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from deepscope.core import Case, TrialRun, UsageError, derive_seed, nearest
from deepscope.data import Dataset, Samples, load
from deepscope.studies.loss_landscape._line_cases import OPTIMIZERS, UNRELATED
from deepscope.studies.loss_landscape._line_losses import losses_along
from deepscope.studies.loss_landscape._line_networks import Weights, perceptron, reordered, weights_of
from deepscope.training import Callback, TrainingState, cosine, fit

MOMENTUM = 0.9


def trial(case: Case, run: TrialRun) -> dict[str, Any]:
    """Train a network, and without batch norm another, and return the losses along lines to the first's solution.

    Returns
    -------
    dict
        By where the line starts, training losses [points]: ``own``, the initialisation; ``permuted``, the
        initialisation with its hidden units in another order; ``unrelated`` [3, points], other initialisations;
        ``other``, the other network's solution (None with batch norm). ``travelled``: the length of the own line over
        the norm of the initial weights. ``detour``: how far from that line an epoch's weights were at most, as a share
        of its length.
    """
    generator = run.generator
    samples = standardised(load(case.data), case.n_train, generator)
    samples = Samples(samples.inputs.to(run.device), samples.targets.to(run.device))
    starts = [_network(case, samples, generator) for _ in range(2 + UNRELATED)]
    model, partner, *unrelated = (each.to(run.device) for each in starts)
    path = _train(case, model, samples, derive_seed(run.seed, "network"))
    run.progress(0.5)
    start, solution = path.start, weights_of(model)

    def line(weights: Weights) -> Any:
        return losses_along(model, weights, solution, samples, case.points)

    found = {
        "own": line(start),
        "permuted": line(reordered(start, generator)),
        "unrelated": np.array([line(weights_of(each)) for each in unrelated]),
        "other": None,
        "travelled": path.length / path.norm,
        "detour": path.farthest() / path.length,
    }
    if not case.batch_norm:
        _train(case, partner, samples, derive_seed(run.seed, "partner"))
        found["other"] = line(weights_of(partner))
    return found


def standardised(data: Dataset, n_train: int, generator: torch.Generator) -> Samples:
    """Return some training images, shifted and scaled to mean 0 and variance 1 over all their pixels.

    Raises
    ------
    UsageError
        There are not as many.
    """
    if not 1 <= n_train <= len(data.train):
        raise UsageError(
            f"{n_train} training images are asked for", where=data.name, todo=f"Give 1 to {len(data.train)}."
        )
    chosen = torch.randperm(len(data.train), generator=generator)[:n_train]
    pixels = data.train.inputs[chosen]
    return Samples((pixels - pixels.mean()) / pixels.std(correction=0), data.train.targets[chosen], data.name)


def _network(case: Case, samples: Samples, generator: torch.Generator) -> nn.Sequential:
    return perceptron(
        samples.inputs[0].numel(),
        case.depth,
        case.width,
        int(samples.targets.max()) + 1,
        batch_norm=case.batch_norm,
        generator=generator,
    )


def _train(case: Case, model: nn.Module, samples: Samples, seed: int) -> _Path:
    path = _Path(weights_of(model))
    epochs = samples.epochs(case.batch_size, seed=seed)
    fit(
        model,
        epochs,
        functional.cross_entropy,
        optimizer=_optimizer(case, model),
        epochs=case.epochs,
        schedule=cosine(case.epochs * len(epochs(0))),
        callbacks=[path],
        seed=seed,
    )
    return path


def _optimizer(case: Case, model: nn.Module) -> torch.optim.Optimizer:
    if case.optimizer == "sgd":
        return torch.optim.SGD(model.parameters(), lr=case.learning_rate, momentum=MOMENTUM, fused=True)
    if case.optimizer == "adam":
        return torch.optim.Adam(model.parameters(), lr=case.learning_rate, fused=True)
    raise UsageError("unknown optimizer", where=case.optimizer, todo=nearest(case.optimizer, OPTIMIZERS))


@final
class _Path(Callback):
    """Remembers the weights before training and after each epoch."""

    def __init__(self, start: Weights) -> None:
        self.start = start
        self.visited = [_vector(start)]

    def on_epoch_end(self, state: TrainingState) -> None:
        """Remember the weights."""
        self.visited.append(_vector(dict(state.model.named_parameters())))

    @property
    def norm(self) -> float:
        """Norm of the weights before training."""
        return float(self.visited[0].norm())

    @property
    def length(self) -> float:
        """Distance of the last weights from the first."""
        return float((self.visited[-1] - self.visited[0]).norm())

    def farthest(self) -> float:
        """Return the largest distance of the weights from the line through the first and the last."""
        away = torch.stack(self.visited) - self.visited[0]
        direction = away[-1] / self.length
        return float((away - torch.outer(away @ direction, direction)).norm(dim=1).max())


def _vector(weights: Weights) -> Tensor:
    return torch.cat([value.detach().flatten() for value in weights.values()])
