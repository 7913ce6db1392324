"""One network trained at many learning rates side by side: how soon it is trained at each, and where it ends."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from deepscope.data import Samples
from deepscope.studies.optimisation._decay_training import batches
from deepscope.studies.optimisation._network_batch import NetworkBatch
from deepscope.studies.optimisation._normalised_networks import draw_noise, still_noise, trained_names
from deepscope.training import SGD

#: Share of the training images that is called trained, and that a rate must end at to be called stable.
TRAINED, STABLE = 0.95, 0.90


@dataclass(frozen=True, eq=False)
class Sweep:
    """What training does at each rate.

    Attributes
    ----------
    steps
        First step after which a network was looked at and right on 95 % of the training images; None where it never
        was.
    accuracies
        At the end, NaN nowhere: a network of NaN answers like one that was never trained.
    """

    steps: list[int | None]
    accuracies: list[float]

    def best(self, limit: int) -> int:
        """Return the fewest steps over all rates, the limit where no rate got there: a lower bound."""
        return min(limit if each is None else each for each in self.steps)

    def stable(self, rates: Sequence[float]) -> float | None:
        """Return the largest rate that ends at 90 % or more; None where that is the largest of all, or none."""
        kept = [rate for rate, accuracy in zip(rates, self.accuracies, strict=True) if accuracy >= STABLE]
        return None if not kept or max(kept) == max(rates) else max(kept)


def sweep(
    model: nn.Module, rates: Sequence[float], samples: Samples, *, steps: int, batch_size: int, seed: int
) -> tuple[Sweep, NetworkBatch]:
    """Train copies of one network by plain gradient descent, each at its rate, on the same batches and noise.

    Networks are looked at without noise on all training images, which are then one batch to normalise by.
    """
    networks = NetworkBatch([model] * len(rates))
    chosen = set(trained_names(networks.parameters))
    optimizer = SGD(
        [
            {
                "params": [
                    view
                    for name, view in zip(networks.parameters, networks.network(index), strict=True)
                    if name in chosen
                ],
                "lr": rate,
            }
            for index, rate in enumerate(rates)
        ],
        fused=True,
    )
    reached: list[int | None] = [None] * len(rates)
    noise, looks = torch.Generator().manual_seed(seed), set(looked_at(steps))
    for step, (inputs, targets) in enumerate(batches(samples, batch_size, steps, seed), start=1):
        draw_noise(networks.parameters, noise)
        networks.differentiate(inputs, targets)
        optimizer.step()
        if step in looks:
            still_noise(networks.parameters)
            for index, accuracy in enumerate(accuracies(networks, samples)):
                if reached[index] is None and accuracy >= TRAINED:
                    reached[index] = step
    still_noise(networks.parameters)
    return Sweep(reached, accuracies(networks, samples).tolist()), networks


def looked_at(steps: int) -> Iterator[int]:
    """Yield the steps after which networks are looked at: each of the first 40, then after at most 5 % more.

    Examples
    --------
    >>> list(looked_at(50))[37:]
    [38, 39, 40, 42, 44, 46, 48, 50]
    >>> len(list(looked_at(1000)))
    110
    """
    step = 1
    while step <= steps:
        yield step
        step = max(step + 1, int(step * 1.05))


@torch.no_grad()
def accuracies(networks: NetworkBatch, samples: Samples, batch_size: int | None = None) -> Tensor:
    """Return each network's share of right answers, [networks], in batches of a size, or all as one."""
    right = torch.zeros(networks.count, device=samples.inputs.device)
    for inputs, targets in samples.batches(batch_size or len(samples)):
        right += (networks(inputs).argmax(-1) == targets).sum(1)
    return right / len(samples)
