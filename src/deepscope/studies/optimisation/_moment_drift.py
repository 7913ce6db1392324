"""How much the distribution of what enters the activations changes from step to step."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn import functional

from deepscope.data import Samples
from deepscope.studies.optimisation._decay_training import batches
from deepscope.studies.optimisation._normalised_networks import draw_noise, trained_names
from deepscope.training import SGD

Moments = list[tuple[Tensor, Tensor]]


def moment_drift(model: nn.Module, rate: float, samples: Samples, *, steps: int, batch_size: int, seed: int) -> float:
    """Return the mean over steps, layers and units of |Δm|/s + |Δ log s|, training the network as ``sweep`` does.

    m and s are mean and standard deviation over all training images of what enters a unit's activation, behind norm
    and noise, with the noise of the step; Δ is the change from one step to the next.
    """
    parameters = dict(model.named_parameters())
    optimizer = SGD([parameters[name] for name in trained_names(parameters)], lr=rate)
    noise = torch.Generator().manual_seed(seed)
    before: Moments | None = None
    drifts = []
    for inputs, targets in batches(samples, batch_size, steps, seed):
        draw_noise(parameters, noise)
        now = moments(model, samples.inputs)
        if before is not None:
            drifts.append(drift(before, now))
        before = now
        optimizer.zero_grad()
        functional.cross_entropy(model(inputs), targets).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    return sum(drifts) / len(drifts)


def drift(before: Moments, now: Moments) -> float:
    """Return the mean over layers and units of |Δm|/s + |Δ log s|, s that before.

    Examples
    --------
    >>> one = (torch.zeros(2), torch.ones(2))
    >>> drift([one], [(torch.tensor([1.0, 0.0]), torch.ones(2))])
    0.5
    """
    found = [
        ((mean - old).abs() / spread + (other / spread).log().abs()).mean()
        for (old, spread), (mean, other) in zip(before, now, strict=True)
    ]
    return torch.stack(found).mean().item()


@torch.no_grad()
def moments(model: nn.Module, inputs: Tensor) -> Moments:
    """Return mean and standard deviation of what enters each unit of each activation, layer by layer."""
    found: Moments = []
    with _watched(model, found):
        model(inputs)
    return found


@contextmanager
def _watched(model: nn.Module, found: Moments) -> Iterator[None]:
    def keep(_: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        # A unit that is the same for all images has no spread to count in.
        found.append((inputs[0].mean(0), inputs[0].std(0).clamp_min(1e-6)))

    handles = [
        layer.register_forward_pre_hook(keep) for name, layer in model.named_children() if name.startswith("activation")
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
