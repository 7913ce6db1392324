"""One trial: a network learns images at a rate that was chosen before, or long filters are made of short ones."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from deepscope.core import Case, TrialRun, UsageError, Value, derive_seed, nearest
from deepscope.data import Dataset, Samples, load
from deepscope.studies.convolution._equivariance import layer_errors
from deepscope.studies.convolution._image_networks import image_network, n_parameters
from deepscope.studies.convolution._shifted_images import ShiftedImages, draw_images, on_canvas
from deepscope.studies.convolution._short_filters import factorisation_error
from deepscope.subject import seeded_generators
from deepscope.training import evaluate, fit

#: Learning rates of Adam to choose from.
RATES = (0.002, 0.006, 0.02)
#: Longest filter that is made of short ones.
LONGEST = 15
#: Images whose maps are compared before and after a shift.
COMPARED = 5
#: Images that are measured at a time, which changes no result.
MEASURED_AT_ONCE = 1000
#: Fields of a case that say what is learned, and how.
SETTING = (
    "network",
    "pooling",
    "activation",
    "images",
    "data",
    "reach",
    "n_validation",
    "n_test",
    "steps",
    "batch_size",
)


def trial(case: Case, run: TrialRun) -> dict[str, Any]:
    """Return what a network gets wrong and how equivariant it is, or how well filters are factorised.

    Returns
    -------
    dict
        Part ``"learn"``: ``error``, ``untrained_error``: share of the test images, each in every shift, that is
        answered wrongly, after and before training; ``train_error``; ``rate``, the learning rate; ``parameters``. Of
        networks that learn few shifted images also what ``layer_errors`` returns.
        Part ``"filters"``: ``factor_error``, the largest over all filters.
    """
    if case.part == "filters":
        rng = np.random.default_rng(run.seed)
        lengths = np.repeat(np.arange(2, LONGEST + 1), case.filters)
        return {"factor_error": max(factorisation_error(rng.standard_normal(length)) for length in lengths)}
    if case.part != "learn":
        raise UsageError("unknown part", where=case.part, todo=nearest(case.part, ["learn", "filters"]))
    if case.sample not in ("few", "many"):
        raise UsageError("unknown sample", where=case.sample, todo=nearest(case.sample, ["few", "many"]))
    setting = {name: case[name] for name in SETTING} | {"n_train": case[case.sample]}
    rate = run.shared(chosen_rate, draws=case.draws, **setting)["rate"]
    images = _images(setting, run.generator)
    network = _network(setting, images, run.seed).to(run.device)
    untrained = _error(network, images.test)
    _train(network, images.train, rate, setting, run.seed)
    found = {
        "error": _error(network, images.test),
        "untrained_error": untrained,
        "train_error": _error(network, images.train),
        "rate": rate,
        "parameters": n_parameters(network),
    }
    if (case.sample, case.images) == ("few", "shifted"):
        seen = on_canvas(_dataset(case.data).test.inputs[:COMPARED], 0, 0)
        found |= layer_errors(network.cpu(), (seen - seen.mean()) / seen.std())
    return found


def chosen_rate(*, draws: int, **setting: Value) -> dict[str, Any]:
    """Return the learning rate of the least validation error, a mean over draws of images and weights of its own."""
    errors = np.zeros((draws, len(RATES)))
    for draw in range(draws):
        seed = derive_seed(draw, "rate")
        images = _images(setting, torch.Generator().manual_seed(seed))
        for place, rate in enumerate(RATES):
            network = _network(setting, images, seed)
            _train(network, images.train, rate, setting, seed)
            errors[draw, place] = _error(network, images.validation)
    return {"rate": RATES[int(errors.mean(0).argmin())], "errors": errors}


@cache
def _dataset(name: str) -> Dataset:
    """Return the data, read once for a trial and the choice of its rate, which draw from them without changing them."""
    return load(name)


def _images(setting: dict[str, Any], generator: torch.Generator) -> ShiftedImages:
    return draw_images(
        _dataset(setting["data"]),
        kind=setting["images"],
        reach=setting["reach"],
        n_train=setting["n_train"],
        n_validation=setting["n_validation"],
        n_test=setting["n_test"],
        generator=generator,
    )


def _network(setting: dict[str, Any], images: ShiftedImages, seed: int) -> nn.Sequential:
    with seeded_generators(derive_seed(seed, "weights")):
        network = image_network(
            setting["network"],
            images.side,
            images.n_classes,
            pooling=setting["pooling"],
            activation=setting["activation"],
        )
    for layer in network:
        if isinstance(layer, nn.Conv2d):
            # A quarter faster, of few channels. A copy: for a single channel ``contiguous`` would change nothing.
            weight = layer.weight.data
            layer.weight.data = torch.empty_like(weight, memory_format=torch.channels_last).copy_(weight)
    return network


def _train(network: nn.Module, train: Samples, rate: float, setting: dict[str, Any], seed: int) -> None:
    batches = -(-len(train) // setting["batch_size"])
    fit(
        network,
        train.epochs(setting["batch_size"], seed=seed),
        functional.cross_entropy,
        optimizer=torch.optim.Adam(network.parameters(), lr=rate, fused=True),
        epochs=-(-setting["steps"] // batches),
        seed=seed,
    )


def _error(network: nn.Module, samples: Samples) -> float:
    accuracy = evaluate(network, samples.batches(MEASURED_AT_ONCE)).accuracy
    assert accuracy is not None
    return 1 - accuracy
