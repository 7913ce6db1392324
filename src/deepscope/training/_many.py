"""How many networks are trained: as one or one after the other, and why."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from deepscope.core import DataError, UsageError, derive_seed, one_line
from deepscope.subject import (
    Subject,
    call,
    device_of,
    forward_work,
    generators_kept,
    move,
    n_samples,
    scalar_loss,
    undisturbed,
)
from deepscope.training._alike import difference
from deepscope.training._callback import Callback
from deepscope.training._checkpoint import Checkpoint
from deepscope.training._configuration import Configuration, describe_run
from deepscope.training._fit import Data
from deepscope.training._loss import Count, Loss
from deepscope.training._schedules import Schedule
from deepscope.training._stacked import Stacked, stacked
from deepscope.training._stacked_optimizer import why_not_stacked

#: Fewer networks than this take no less time as one: a step of a stack costs some three times a step of one network.
FEWEST = 4
#: Weights in a stack, at most: with gradients and moments more do not stay in a processor's cache.
WEIGHTS = 2**20
#: Operations of a network's forward pass on a batch beyond which what a step costs besides them no longer counts.
OPERATIONS = 2e7


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What trains the networks, whichever way: all arguments, made ready for each network."""

    networks: Sequence[nn.Module]
    data: Data | Sequence[Data]
    loss: Loss
    optimizer: Callable[..., torch.optim.Optimizer]
    settings: Sequence[Mapping[str, Any]]
    optimizers: Sequence[torch.optim.Optimizer]
    epochs: int
    schedule: Schedule | None
    callbacks: Sequence[Sequence[Callback]]
    count: Count | None
    checkpoint: Checkpoint | None
    seed: int

    def data_of(self, index: int) -> Data:
        """Return what gives the batches of one network."""
        return self.data if callable(self.data) else self.data[index]

    def saved(self, first: int, last: int) -> Checkpoint | None:
        """Return where the training of some networks is saved."""
        if self.checkpoint is None:
            return None
        return replace(self.checkpoint, path=Path(self.checkpoint.path) / f"{first}-{last}.pt")

    def seed_of(self, index: int) -> int:
        """Return the seed of a network's random generators."""
        return derive_seed(self.seed, f"network {index}")

    def description(self, first: int, end: int) -> dict[str, object]:
        """Return what shapes the training of some networks: all of the first, and in what others differ from it."""
        found: dict[str, object] = {"networks": end - first}
        common: Configuration = {}
        for index in range(first, end):
            own = describe_run(
                self.networks[index],
                self.optimizers[index],
                self.loss,
                schedule=self.schedule,
                callbacks=self.callbacks[index],
                seed=self.seed,
                more={},
            )
            found |= {f"network {index}: {name}": value for name, value in own.items() if common.get(name) != value}
            common = common or own
        return found


def choose(plan: Plan, together: bool | None) -> tuple[bool, str]:
    """Say whether networks are trained as one, and why.

    Raises
    ------
    UsageError
        They are to be, and cannot.
    MeasurementError
        The loss is not one number.
    """
    inputs, targets = move(_first_batch(plan.data_of(0)), device_of(plan.networks[0]))
    with undisturbed(plan.networks[0], training=True), torch.no_grad():
        # What is wrong with model, data or loss is said here, as for a single network.
        scalar_loss(plan.loss, call(plan.networks[0], inputs), targets)
    if together is False:
        return False, "asked for"
    obstacle = _obstacle(plan)
    if obstacle and together:
        raise UsageError(
            f"the networks cannot be trained as one: {obstacle}",
            where="together of fit_many",
            todo="Give together=None, which trains them one after the other.",
        )
    if obstacle:
        return False, obstacle
    return (True, "asked for") if together else _pays(plan, inputs, targets)


def at_once(network: nn.Module) -> int:
    """Return how many networks are trained as one at most."""
    return max(FEWEST, WEIGHTS // max(1, sum(parameter.numel() for parameter in network.parameters())))


def _first_batch(data: Data) -> tuple[Any, Any]:
    with generators_kept():
        batch = next(iter(data(0)), None)
    if not isinstance(batch, (tuple, list)) or len(batch) != 2:
        kind = "the data has no batches" if batch is None else f"a batch is a {type(batch).__name__}, not a pair"
        raise DataError(
            kind,
            where="epoch 0, batch 0",
            todo="Give data(epoch) that gives pairs (inputs, targets), anew on each call.",
        )
    return batch[0], batch[1]


def _obstacle(plan: Plan) -> str | None:
    """Say why the networks cannot be trained as one, or None where they can."""
    return (
        difference(plan.networks)
        or why_not_stacked(plan.optimizers)
        or _acts_at_every_step(plan.callbacks)
        or _shares_what_remembers(plan.callbacks)
        or _has_no_batched_form(plan)
    )


def _acts_at_every_step(callbacks: Sequence[Sequence[Callback]]) -> str | None:
    for each in (callback for own in callbacks for callback in own):
        for hook in ("on_gradients", "on_step"):
            if getattr(type(each), hook) is not getattr(Callback, hook):
                return f"{type(each).__name__} acts at every step"
    return None


def _shares_what_remembers(callbacks: Sequence[Sequence[Callback]]) -> str | None:
    owners: dict[int, int] = {}
    for index, own in enumerate(callbacks):
        for each in own:
            owner = owners.setdefault(id(each), index)
            if owner != index and type(each).state_dict is not Callback.state_dict:
                return f"networks {owner} and {index} share one {type(each).__name__}, which remembers what it saw"
    return None


def _has_no_batched_form(plan: Plan) -> str | None:
    """Run two of the networks as one, on the first batch."""
    pair = plan.networks[:2]
    batches = [_first_batch(plan.data_of(index)) for index in range(1 if callable(plan.data) else len(pair))]
    try:
        with generators_kept(), torch.no_grad():
            stack = Stacked(pair, shared=callable(plan.data)).train()
            if stack.shared:
                inputs, targets = batches[0]
            else:
                inputs, targets = (stacked(each, "batch 0") for each in zip(*batches, strict=True))
            device = device_of(stack)
            stack.losses(plan.loss, call(stack, move(inputs, device)), move(targets, device))
    # torch raises a different class for each thing that it cannot batch.
    except Exception as error:
        return one_line(error)
    return None


def _pays(plan: Plan, inputs: Any, targets: Any) -> tuple[bool, str]:
    """Say whether one step for all costs less than one for each: a rule drawn from measurements, see ``fit_many``."""
    network, n_networks = plan.networks[0], len(plan.networks)
    n_weights = sum(parameter.numel() for parameter in network.parameters())
    if n_networks < FEWEST:
        return False, f"{n_networks} are too few: {FEWEST} or more gain"
    if FEWEST * n_weights > WEIGHTS:
        return False, f"{FEWEST} networks of {n_weights:,} weights are more than the {WEIGHTS:,} that gain"
    try:
        work = forward_work(Subject(network, data=[(inputs, targets)])).operations * n_samples(inputs)
    # What counts operations can fail where nothing else does: by a gradient that is taken in the forward pass.
    except Exception as error:
        return False, f"the operations of a forward pass cannot be counted ({one_line(error)}): give together=True"
    words = f"a forward pass takes {work:.1e} operations"
    if work > OPERATIONS:
        return False, f"{words}, more than the {OPERATIONS:.0e} up to which many gain"
    return True, f"{words}, and there are {n_networks} networks: up to {OPERATIONS:.0e} and from {FEWEST} on many gain"
