"""One trial: what filters are worth, by the loss without each of them, and by scores that cost less."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from scipy.stats import spearmanr
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional

from deepscope.core import Case, TrialRun, derive_seed
from deepscope.data import Samples
from deepscope.models import LeNet
from deepscope.studies.compression._pruning_trials import images_of, train_network
from deepscope.subject import seeded_generators
from deepscope.training import taylor_unit_scores, unit_masks

Scores = Mapping[str, Tensor]
#: Random scores that are drawn, of whose correlations the mean is taken.
DRAWS = 20
LAYERS = ("convolution1", "convolution2")


def score_filters(case: Case, run: TrialRun) -> dict[str, Any]:
    """Return Spearman's correlations of scores with the oracle, means over the convolutional layers.

    Returns
    -------
    dict
        ``{score}_correlation`` of ``taylor``, ``norm``, and ``random``, the mean over draws; ``{score}_together``, of
        the filters of both layers in one order. ``oracle``, ``taylor``, ``norm``: what each filter scores.
    """
    train = _framed(images_of(case, run)[0])
    with seeded_generators(derive_seed(run.seed, "weights")):
        model = LeNet(activation="relu").to(run.device)
    train_network(model, train, {}, case, case.filter_steps, derive_seed(run.seed, "batches"))
    run.progress(0.7)
    few = Samples(train.inputs[: case.n_scored], train.targets[: case.n_scored])
    oracle = {layer: loss_changes(model, layer, few).abs() for layer in LAYERS}
    scores: dict[str, Scores] = {
        "taylor": taylor_unit_scores(model, few.batches(250), functional.cross_entropy, layers=LAYERS),
        "norm": {layer: model.get_parameter(f"{layer}.weight").detach().flatten(1).norm(dim=1) for layer in LAYERS},
    }
    found: dict[str, Any] = {"oracle": _together(oracle).tolist()}
    for name, each in scores.items():
        found |= {f"{name}_{column}": value for column, value in _correlations(each, oracle).items()}
        found[name] = _together(each).tolist()
    generator = torch.Generator().manual_seed(derive_seed(run.seed, "random scores"))
    drawn = [
        _correlations({layer: torch.rand(len(each), generator=generator) for layer, each in oracle.items()}, oracle)
        for _ in range(DRAWS)
    ]
    return found | {f"random_{column}": sum(each[column] for each in drawn) / DRAWS for column in drawn[0]}


def _framed(images: Samples) -> Samples:
    """Return smaller images in a frame of 28 × 28, as LeNet takes them."""
    left = (28 - images.inputs.shape[-1]) // 2
    return Samples(functional.pad(images.inputs, (left,) * 4), images.targets, images.name)


@torch.no_grad()
def loss_changes(model: nn.Module, layer: str, images: Samples) -> Tensor:
    """Return by how much the mean loss rises without each filter of a layer, [filters].

    Costs a forward pass over the images for each filter.
    """
    weights = {name: each.detach() for name, each in model.named_parameters()}

    def loss(changed: Mapping[str, Tensor]) -> Tensor:
        outputs: Any = functional_call(model, dict(changed), (images.inputs,))
        return functional.cross_entropy(outputs, images.targets)

    base, filters = loss(weights), len(weights[f"{layer}.weight"])
    losses = []
    for each in range(filters):
        kept = torch.arange(filters, device=base.device) != each
        masks = unit_masks(model, {layer: kept})
        losses.append(loss(weights | {name: weights[name] * mask for name, mask in masks.items()}))
    return torch.stack(losses) - base


def _correlations(scores: Scores, oracle: Scores) -> dict[str, float]:
    by_layer = [_spearman(scores[layer], oracle[layer]) for layer in oracle]
    return {
        "correlation": sum(by_layer) / len(by_layer),
        "together": _spearman(_together(scores), _together(oracle)),
    }


def _spearman(first: Tensor, second: Tensor) -> float:
    return float(spearmanr(first.cpu(), second.cpu()).statistic)


def _together(scores: Scores) -> Tensor:
    return torch.cat([each.cpu() for each in scores.values()])
