"""Training of two networks against each other, in turn."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

import torch
from torch import Tensor

from deepscope.core import DataError, MeasurementError, UsageError
from deepscope.models._gan import GAN


@dataclass
class AdversarialHistory:
    """Losses of a training: of each of the critic's updates, and of each of the generator's."""

    critic: list[float] = field(default_factory=list)
    generator: list[float] = field(default_factory=list)


def train_adversarially(
    model: GAN,
    batches: Iterable[Tensor],
    *,
    critic_loss: Callable[[GAN, Tensor], Tensor],
    generator_loss: Callable[[GAN, Tensor], Tensor],
    critic_optimizer: torch.optim.Optimizer,
    generator_optimizer: torch.optim.Optimizer,
    steps: int,
    critic_steps: int = 1,
) -> AdversarialHistory:
    """Update the critic so many times, each on a batch of its own, then the generator once, on the last; and again.

    The rule of ``goodfellow2014generative`` (``critic_steps=1``) and of ``gulrajani2017improved``
    (``critic_steps=5``). Each optimiser holds the weights of its network alone. On return the model holds the weights
    after the last step.

    Parameters
    ----------
    model
        Trained in place.
    batches
        Real samples, [batch, …]: ``steps × critic_steps`` of them, or more.
    critic_loss, generator_loss
        ``loss(model, x)``: ``discriminator_loss`` and ``generator_loss``, or ``critic_loss`` and
        ``wasserstein_generator_loss``.
    critic_optimizer, generator_optimizer
        Over ``model.discriminator`` and ``model.generator``.
    steps
        Number of the generator's updates, at least 0.
    critic_steps
        The critic's updates for each of them, at least 1.

    Returns
    -------
    AdversarialHistory
        The losses before each update.

    Raises
    ------
    UsageError
        A number out of range, or an optimiser that holds weights of the other network, or none of its own.
    DataError
        The batches come to an end.
    MeasurementError
        A loss is NaN or infinite.

    Examples
    --------
    >>> from deepscope.models import discriminator_loss, generator_loss
    >>> model = GAN(2, 2, (8,), (8,))
    >>> history = train_adversarially(
    ...     model,
    ...     [torch.zeros(4, 2)] * 6,
    ...     critic_loss=discriminator_loss,
    ...     generator_loss=generator_loss,
    ...     critic_optimizer=torch.optim.Adam(model.discriminator.parameters()),
    ...     generator_optimizer=torch.optim.Adam(model.generator.parameters()),
    ...     steps=3,
    ...     critic_steps=2,
    ... )
    >>> len(history.critic), len(history.generator)
    (6, 3)
    """
    for name, value, least in (("steps", steps, 0), ("critic_steps", critic_steps, 1)):
        if not isinstance(value, int) or isinstance(value, bool) or value < least:
            raise UsageError(
                f"{name} is {value!r}", where="train_adversarially", todo=f"Give a whole number of at least {least}."
            )
    _check_owner(critic_optimizer, "critic_optimizer", model.discriminator)
    _check_owner(generator_optimizer, "generator_optimizer", model.generator)
    history, source = AdversarialHistory(), iter(batches)
    for step in range(steps):
        for _ in range(critic_steps):
            x = _next(source, step)
            history.critic.append(_update(critic_optimizer, critic_loss(model, x), f"the critic's, step {step}"))
        loss = generator_loss(model, x)
        history.generator.append(_update(generator_optimizer, loss, f"the generator's, step {step}"))
    return history


def _update(optimizer: torch.optim.Optimizer, loss: Tensor, whose: str) -> float:
    value = float(loss.detach())
    if not math.isfinite(value):
        raise MeasurementError(
            f"the loss is {value}", where=whose, todo="Lower the learning rate; look for non-finite samples."
        )
    optimizer.zero_grad()
    loss.backward()  # type: ignore[no-untyped-call]
    optimizer.step()
    return value


def _next(source: Iterator[Tensor], step: int) -> Tensor:
    for x in source:
        return x
    raise DataError(
        "the batches have come to an end", where=f"step {step}", todo="Give steps × critic_steps batches, or cycle."
    )


def _check_owner(optimizer: torch.optim.Optimizer, name: str, network: torch.nn.Module) -> None:
    own = {id(each) for each in network.parameters()}
    held = [id(each) in own for group in optimizer.param_groups for each in group["params"]]
    if not held or not all(held):
        raise UsageError(
            f"{name} holds {len(held) - sum(held)} tensors that are not of its network, and {sum(held)} that are",
            where="train_adversarially",
            todo="Make it over model.discriminator.parameters() or model.generator.parameters() alone.",
        )
