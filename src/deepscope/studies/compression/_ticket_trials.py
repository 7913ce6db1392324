"""One trial: tickets are found in one network, and trained beside the networks that they are compared with."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, final

import torch
from torch import Tensor, nn
from torch.nn import functional

from deepscope.core import Case, TrialRun, derive_seed
from deepscope.data import Samples
from deepscope.models import MLP
from deepscope.studies.compression._drawn_images import draw_images, row_batches
from deepscope.studies.compression._stacked_mlp import StackedMLP
from deepscope.subject import seeded_generators
from deepscope.training import (
    Callback,
    KeepMasks,
    TrainingState,
    apply_masks,
    fit,
    lottery_tickets,
    magnitudes,
    pruning_masks,
    shuffled_masks,
)

Masks = Mapping[str, Tensor]
#: Share of a layer's weights that goes in a round, and the rounds after which tickets are compared.
RATIO = 0.2
ROUNDS = (3, 7, 8, 9, 12, 15)
#: In the order of their networks in a stack, as many of each as rounds; the dense network is the last.
ARMS = ("ticket", "reinitialised", "shuffled", "untrained")
N_CLASSES = 10


def trial(case: Case, run: TrialRun) -> dict[str, Any]:
    """Find tickets, and train all that is compared from its start in the same batches.

    Returns
    -------
    dict
        ``remaining``: shares of the weights, one for each of ``ROUNDS``. For each of ``ARMS`` one for each round, and
        for ``dense`` a number: ``{arm}_accuracy`` on the test images after all steps; ``{arm}_start``, before the
        first; ``{arm}_steps``: after how many of them the share ``reached`` of every second test image is answered
        rightly, or one more than there are where it never is.
    """
    generator = torch.Generator().manual_seed(derive_seed(run.seed, "images"))
    train, test = draw_images(case.data, case.n_train, case.n_test, generator)
    train, test = (Samples(each.inputs.to(run.device), each.targets.to(run.device)) for each in (train, test))
    model, other = (_network(train, case.width, derive_seed(run.seed, name)) for name in ("weights", "other weights"))
    start = {name: each.detach().clone() for name, each in model.state_dict().items()}

    def train_one(network: nn.Module, callbacks: list[Callback]) -> None:
        train_network(network, train, functional.cross_entropy, callbacks, case, run.seed)

    tickets = lottery_tickets(model, train_one, rounds=max(ROUNDS), ratio=RATIO)
    run.progress(0.5)
    model.load_state_dict(start)
    chosen = [tickets[number - 1] for number in ROUNDS]
    stack, masks = stacked(model, other, [each.masks for each in chosen], derive_seed(run.seed, "shuffled"))
    apply_masks(stack, masks)
    first = FirstSteps(Samples(test.inputs[::2], test.targets[::2]), case.reached)
    numbers = {"start": accuracies(stack, test)}
    train_network(stack, train, summed_cross_entropy, [KeepMasks(masks), first], case, run.seed)
    numbers |= {"accuracy": accuracies(stack, test), "steps": first.steps}
    found: dict[str, Any] = {"remaining": [each.remaining for each in chosen]}
    for column, values in numbers.items():
        found[f"dense_{column}"] = values[-1].item()
        for arm, part in zip(ARMS, values[:-1].view(len(ARMS), -1), strict=True):
            found[f"{arm}_{column}"] = part.tolist()
    return found


@final
@dataclass
class FirstSteps(Callback):
    """Note for each of several networks after which update it first answers a share of some images rightly.

    Attributes
    ----------
    images
        Inputs and targets.
    share
        Of right answers.
    steps
        [networks]; one more than there were updates where it was never reached.
    """

    images: Samples
    share: float
    steps: Tensor = field(default_factory=lambda: torch.zeros(0, dtype=torch.int64))
    _reached: Tensor = field(default_factory=lambda: torch.zeros(0, dtype=torch.bool), init=False)

    def on_step(self, state: TrainingState) -> None:
        """Look at the answers."""
        now = accuracies(state.model, self.images) >= self.share
        if not len(self.steps):
            self.steps, self._reached = torch.ones(len(now), dtype=torch.int64), torch.zeros_like(now)
        self._reached |= now
        self.steps[~self._reached] = state.step + 1


def stacked(model: MLP, other: MLP, tickets: Sequence[Masks], seed: int) -> tuple[StackedMLP, dict[str, Tensor]]:
    """Return the networks that are compared as one, in the order of ``ARMS``, and their masks.

    Parameters
    ----------
    model
        With the weights from which the tickets were trained.
    other
        The same network from other initial weights.
    tickets
        Masks, of ever fewer weights.
    seed
        Of the shuffled masks.

    Returns
    -------
    stack, masks
        *Tickets*; their masks on the other weights; masks with as many weights in each layer, on the ticket's initial
        weights: *shuffled*, and of the largest initial weights (*untrained*); and the dense network.
    """
    generator, scores = torch.Generator().manual_seed(seed), magnitudes(model)
    dense = {name: torch.ones_like(mask) for name, mask in tickets[0].items()}
    found: list[tuple[MLP, Masks]] = [
        *((model, each) for each in tickets),
        *((other, each) for each in tickets),
        *((model, shuffled_masks(each, generator=generator)) for each in tickets),
        *((model, pruning_masks(scores, _dropped(each), scope="layer")) for each in tickets),
        (model, dense),
    ]
    stack = StackedMLP([network for network, _ in found])
    masks = {
        f"weights.{depth}": torch.stack([each[name] for _, each in found]).to(scores[name].device)
        for depth, name in enumerate(dense)
    }
    return stack, masks


def _dropped(masks: Masks) -> dict[str, float]:
    return {name: 1 - int(mask.sum()) / mask.numel() for name, mask in masks.items()}


@torch.no_grad()
def accuracies(model: nn.Module, images: Samples) -> Tensor:
    """Return the share of right answers of each network of a stack, [networks]."""
    right: Tensor = model(images.inputs).argmax(-1) == images.targets
    return right.double().mean(-1).cpu()


def summed_cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    """Return the sum over networks of their mean losses; logits are [networks, samples, classes]."""
    return len(logits) * functional.cross_entropy(logits.flatten(0, 1), targets.repeat(len(logits)))


def train_network(
    model: nn.Module,
    train: Samples,
    loss: Callable[[Tensor, Tensor], Tensor],
    callbacks: Sequence[Callback],
    case: Case,
    seed: int,
) -> None:
    """Train by Adam at a constant rate, in batches that are the same for all networks of a seed."""

    def data(epoch: int) -> Iterator[tuple[Tensor, Tensor]]:
        for rows in row_batches(len(train), case.batch_size, case.steps, derive_seed(seed, "batches")):
            yield train.inputs[rows], train.targets[rows]

    optimizer = torch.optim.Adam(model.parameters(), lr=case.learning_rate, fused=True)
    fit(model, data, loss, optimizer=optimizer, epochs=1, callbacks=callbacks)


def _network(train: Samples, width: int, seed: int) -> MLP:
    with seeded_generators(seed):
        return MLP(train.inputs[0].numel(), [width, width // 3], N_CLASSES).to(train.inputs.device)
