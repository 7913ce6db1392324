"""Networks trained on the same images from different initial weights, and what they answer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, final

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional

from deepscope.core import Case, TrialRun, UsageError, derive_seed
from deepscope.data import Samples, load
from deepscope.studies.generalisation._image_classifiers import image_classifier
from deepscope.studies.generalisation._randomised_images import randomise
from deepscope.subject import seeded_generators
from deepscope.training import Callback, TrainingState, fit

Weights = Mapping[str, Tensor]


@dataclass(frozen=True, eq=False)
class Images:
    """What networks are trained on, and what they are judged by.

    Attributes
    ----------
    train
        Training images.
    inputs, targets
        Validation images, and after them the test images.
    n_validation
        How many are the former.
    n_classes
        Number of classes.
    """

    train: Samples
    inputs: Tensor
    targets: Tensor
    n_validation: int
    n_classes: int


def draw_images(case: Case, run: TrialRun) -> Images:
    """Return images drawn by the seed, standardised by the training images.

    Raises
    ------
    UsageError
        There are not as many.
    """
    data, generator = load(case.data), run.generator
    drawn = randomise(data, n_train=case.n_train, n_held_out=case.n_validation, generator=generator)
    if case.n_test > len(drawn.test):
        raise UsageError(
            f"{case.n_test} test images are asked for", where=data.name, todo=f"Give at most {len(drawn.test)}."
        )
    test = torch.randperm(len(drawn.test), generator=generator)[: case.n_test]
    return Images(
        train=Samples(drawn.train.inputs.to(run.device), drawn.train.targets.to(run.device), data.name),
        inputs=torch.cat([drawn.held_out.inputs, drawn.test.inputs[test]]).to(run.device),
        targets=torch.cat([drawn.held_out.targets, drawn.test.targets[test]]).to(run.device),
        n_validation=case.n_validation,
        n_classes=drawn.n_classes,
    )


@dataclass(frozen=True, eq=False)
class Network:
    """A trained network.

    Attributes
    ----------
    model
        In evaluation mode.
    snapshots
        Its weights after each epoch.
    loss
        Mean loss of the last epoch, in training mode, in nats.
    """

    model: nn.Module
    snapshots: list[Weights]
    loss: float


def train_network(case: Case, images: Images, seed: int, number: int) -> Network:
    """Train the network of a number; the same seed and number give the same weights, bit for bit."""
    own = derive_seed(seed, "network", number)
    with seeded_generators(own):
        model = architecture(case, images, case.dropout)
    course = _Course()
    history = fit(
        model,
        images.train.epochs(case.batch_size, seed=own),
        functional.cross_entropy,
        optimizer=torch.optim.Adam(model.parameters(), lr=case.learning_rate, fused=True),
        epochs=case.epochs,
        callbacks=[course],
        seed=own,
    )
    return Network(model.eval(), course.snapshots, history.epochs[-1]["loss"])


def architecture(case: Case, images: Images, dropout: float) -> nn.Module:
    """Return a fresh network with so much dropout after each hidden layer, where the images are."""
    shape = images.inputs.shape[1:]
    model = image_classifier("mlp", shape, images.n_classes, hidden=case.hidden, dropout=dropout)
    return model.to(images.inputs.device)


def weights_of(model: nn.Module) -> dict[str, Tensor]:
    """Return a copy of a model's parameters by name."""
    return {name: parameter.detach().clone() for name, parameter in model.named_parameters()}


def predict(model: nn.Module, inputs: Tensor, weights: Weights | None = None) -> Tensor:
    """Return probabilities [n, classes] in float64, of the model or of its like with other weights."""
    with torch.no_grad():
        outputs: Any = model(inputs) if weights is None else functional_call(model, dict(weights), (inputs,))
    return torch.softmax(outputs.double(), dim=1)


@final
@dataclass
class _Course(Callback):
    """Keeps the weights after each epoch."""

    snapshots: list[Weights] = field(default_factory=list)

    def on_epoch_end(self, state: TrainingState) -> None:
        """Keep them."""
        self.snapshots.append(weights_of(state.model))
