"""Wake and sleep: how a Helmholtz machine's two networks teach each other."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from deepscope.core import UsageError
from deepscope.models._binary import check_bits
from deepscope.models._helmholtz import HelmholtzMachine
from deepscope.models._sizes import positive


@torch.no_grad()
def wake_direction(machine: HelmholtzMachine, states: Sequence[Tensor]) -> dict[str, Tensor]:
    """Return by parameter's name the delta rule of the generative layers, for states that were recognised.

    (sˡ⁻¹ − p(sˡ⁻¹ | sˡ)) sˡᵀ, a mean over states: the gradient of log p(s), whose mean over q(s | v) is that of the
    bound. Source: ``hinton1995wake``.

    Examples
    --------
    >>> machine = HelmholtzMachine((3, 2))
    >>> direction = wake_direction(machine, machine.recognise(torch.ones(4, 3)))
    >>> sorted(direction), direction["generative.0.weight"].shape
    (['generative.0.bias', 'generative.0.weight', 'top_bias'], torch.Size([3, 2]))
    """
    found = _delta_rules(machine.generative, states[1:], states, "generative")
    return found | {"top_bias": states[-1].mean(0) - torch.sigmoid(machine.top_bias)}


@torch.no_grad()
def sleep_direction(machine: HelmholtzMachine, states: Sequence[Tensor]) -> dict[str, Tensor]:
    """Return by parameter's name the delta rule of the recognition layers, for states that were generated.

    (sˡ − q(sˡ | sˡ⁻¹)) sˡ⁻¹ᵀ, a mean over states: the gradient of log q(s | v), whose mean over p(s) is that of minus
    the divergence of q(s | v) from p(s | v) the other way round, KL(p‖q), over the machine's fantasies and not the
    data. It is not the bound's gradient. Source: ``hinton1995wake``.

    Examples
    --------
    >>> machine = HelmholtzMachine((3, 2))
    >>> sorted(sleep_direction(machine, machine.generate(4)))
    ['recognition.0.bias', 'recognition.0.weight']
    """
    return _delta_rules(machine.recognition, states, states[1:], "recognition")


@torch.no_grad()
def fit_helmholtz(
    machine: HelmholtzMachine,
    samples: Tensor,
    *,
    steps: int,
    batch_size: int,
    learning_rate: float,
    generator: torch.Generator | None = None,
) -> None:
    """Train a Helmholtz machine by wake and sleep, one after the other in each step.

    Awake, the generative layers learn from states recognised in samples drawn with replacement; asleep, the recognition
    layers learn from as many fantasies.

    Parameters
    ----------
    machine
        Its parameters change.
    samples
        [n, visible] of zeros and ones.
    steps, batch_size
        Number of steps, and of samples and fantasies of each.
    learning_rate
        Factor of both directions.
    generator
        Draws samples and states. torch's global one unless given.

    Raises
    ------
    UsageError
        Samples of another shape or precision, or not of zeros and ones; a number below 1; a rate that is not above 0.

    Notes
    -----
    Cost of a step: 3 products of the batch with every weight. Source: ``hinton1995wake``.

    Examples
    --------
    >>> machine = HelmholtzMachine((3, 2))
    >>> fit_helmholtz(machine, torch.ones(8, 3), steps=200, batch_size=8, learning_rate=0.5)
    >>> bool(machine.log_likelihood(torch.ones(1, 3)) > -0.5)
    True
    """
    check_bits(samples, machine.sizes[0], "samples", machine)
    positive(steps, "steps", machine), positive(batch_size, "batch_size", machine)
    if not 0 < learning_rate < math.inf:
        raise UsageError(
            f"learning_rate is {learning_rate}", where="fit_helmholtz", todo="Give a finite number above 0."
        )
    parameters = dict(machine.named_parameters())
    for _ in range(steps):
        device = generator.device if generator else None
        drawn = torch.randint(len(samples), (batch_size,), generator=generator, device=device).to(samples.device)
        awake = machine.recognise(samples[drawn], generator=generator)
        for name, change in wake_direction(machine, awake).items():
            parameters[name].add_(change, alpha=learning_rate)
        asleep = machine.generate(batch_size, generator=generator)
        for name, change in sleep_direction(machine, asleep).items():
            parameters[name].add_(change, alpha=learning_rate)


def _delta_rules(
    layers: nn.ModuleList, inputs: Sequence[Tensor], targets: Sequence[Tensor], name: str
) -> dict[str, Tensor]:
    found = {}
    for index, (layer, given, wanted) in enumerate(zip(layers, inputs, targets, strict=False)):
        error = wanted - torch.sigmoid(layer(given))
        found[f"{name}.{index}.weight"] = error.mT @ given / len(error)
        found[f"{name}.{index}.bias"] = error.mean(0)
    return found
