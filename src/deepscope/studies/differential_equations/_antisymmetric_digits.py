"""Residual networks with antisymmetric, free and dissipative weights learn digits, and are asked about noisy ones."""

from __future__ import annotations

import math
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from deepscope.core import Case, TrialRun, UsageError, derive_seed, nearest
from deepscope.data import Samples, load
from deepscope.models import AntisymmetricLayer, AntisymmetricResNet
from deepscope.studies.differential_equations._antisymmetric_flows import GENERATORS
from deepscope.subject import seeded_generators
from deepscope.training import fit

#: Standard deviations of the noise, where pixels have one of 1.
NOISE = (0.0, 0.5, 1.0)
#: Factors at which A has the same Frobenius norm for all, on average at the start: entries of W have variance 2/n, so
#: that those of ½(W − Wᵀ) and of W/√2 have 1/n, and |WWᵀ|² is 8n, that of the others n.
FACTORS = {"antisymmetric": 1 / 2, "free": 1 / math.sqrt(2), "dissipative": 1 / math.sqrt(8)}


class OtherLayer(nn.Module):
    """An antisymmetric layer's twin with another A of the same weights: y ← y + h tanh(A y − ½ γ y + b)."""

    def __init__(self, layer: AntisymmetricLayer, kind: str) -> None:
        super().__init__()
        self.layer, self.kind = layer, kind

    def forward(self, y: Tensor) -> Tensor:
        """Return the layer's output, [batch, width]."""
        matrix = FACTORS[self.kind] * GENERATORS[self.kind](self.layer.weight)
        drift = functional.linear(y, matrix, self.layer.bias) - self.layer.diffusion / 2 * y
        return cast(Tensor, y + self.layer.step * self.layer.activation(drift))


def network(case: Case, seed: int) -> AntisymmetricResNet:
    """Return an untrained network; all of a seed have the same weights, and of ``"none"`` no layer but two linear ones.

    Raises
    ------
    UsageError
        An unknown generator, or sizes that ``AntisymmetricResNet`` refuses.
    """
    if case.generator not in (*FACTORS, "none"):
        raise UsageError(
            "unknown generator", where=str(case.generator), todo=nearest(str(case.generator), [*FACTORS, "none"])
        )
    with seeded_generators(derive_seed(seed, "weights")):
        model = AntisymmetricResNet(
            64, 10, width=case.units, depth=case.depth, step=case.step, diffusion=case.diffusion
        )
    if case.generator == "none":
        model.layers = nn.Sequential()
    elif case.generator != "antisymmetric":
        layers = [cast(AntisymmetricLayer, layer) for layer in model.layers]
        model.layers = nn.Sequential(*(OtherLayer(layer, case.generator) for layer in layers))
    return model


def learn_digits(case: Case, run: TrialRun) -> dict[str, Any]:
    """Train one network, and return the shares of the images that it names.

    Returns
    -------
    dict
        ``noise``, ``accuracy``: of test images with noise of each deviation, each image ``case.repeats`` times;
        ``train_accuracy``; ``clean``, ``noisy``, ``noisiest``: the three numbers of ``accuracy``.
    """
    train, test = images(case.n_train)
    model = network(case, run.seed)
    fit(
        model,
        train.epochs(case.batch_size, seed=derive_seed(run.seed, "batches")),
        functional.cross_entropy,
        optimizer=torch.optim.Adam(model.parameters(), lr=case.learning_rate),
        epochs=case.epochs,
        seed=run.seed,
    )
    generator = torch.Generator().manual_seed(derive_seed(run.seed, "noise"))
    found = [accuracy(model, noisy(test, deviation, case.repeats, generator)) for deviation in NOISE]
    return {
        "noise": list(NOISE),
        "accuracy": found,
        **dict(zip(("clean", "noisy", "noisiest"), found, strict=True)),
        "train_accuracy": accuracy(model, train),
    }


def images(n_train: int) -> tuple[Samples, Samples]:
    """Return the first training images and all test images, [n, 64]; the former's pixels have moments 0 and 1."""
    data = load("digits")
    inputs, targets = data.train.inputs[:n_train].flatten(1), data.train.targets[:n_train]
    mean, deviation = inputs.mean(), inputs.std(correction=0)
    return (
        Samples((inputs - mean) / deviation, targets, data.name),
        Samples((data.test.inputs.flatten(1) - mean) / deviation, data.test.targets, data.name),
    )


def noisy(samples: Samples, deviation: float, repeats: int, generator: torch.Generator) -> Samples:
    """Return samples so many times over, each time with other Gaussian noise."""
    inputs = samples.inputs.repeat(repeats, 1)
    noise = deviation * torch.randn(inputs.shape, generator=generator)
    return Samples(inputs + noise, samples.targets.repeat(repeats), samples.name)


@torch.no_grad()
def accuracy(model: nn.Module, samples: Samples) -> float:
    """Return the share of the samples that a network names."""
    return float((model(samples.inputs).argmax(1) == samples.targets).double().mean())
