"""Training many networks, as one where that is faster."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
from torch import nn

from deepscope.core import MeasurementError, UsageError, one_line
from deepscope.training._callback import Callback
from deepscope.training._checkpoint import Checkpoint
from deepscope.training._fit import Data, fit
from deepscope.training._loss import Count, Loss
from deepscope.training._many import Plan, at_once, choose
from deepscope.training._schedules import Schedule
from deepscope.training._stacked import Stacked
from deepscope.training._stacked_optimizer import PerNetwork, base_rate, own_settings
from deepscope.training._state import History, TrainingState
from deepscope.training._together import Together, failure_of


@dataclass(frozen=True)
class Trainings:
    """What became of several trainings.

    Attributes
    ----------
    histories
        Of each network, up to its last update.
    failures
        By a network's index why its training ended before its time: its loss or a weight was not finite. It holds the
        weights that it had then.
    together
        Whether the networks were trained as one.
    reason
        Why, or why not.
    """

    histories: tuple[History, ...]
    failures: Mapping[int, str]
    together: bool
    reason: str


def fit_many(
    networks: Sequence[nn.Module],
    data: Data | Sequence[Data],
    loss: Loss,
    *,
    optimizer: Callable[..., torch.optim.Optimizer],
    settings: Mapping[str, Any] | Sequence[Mapping[str, Any]],
    epochs: int,
    schedule: Schedule | None = None,
    callbacks: Callable[[int], Sequence[Callback]] | None = None,
    count: Count | None = None,
    checkpoint: Checkpoint | None = None,
    seed: int = 0,
    device: torch.device | str | None = None,
    together: bool | None = None,
) -> Trainings:
    """Train many networks: as one where that is possible and faster, otherwise one after the other.

    Networks of one architecture become one whose weights are theirs stacked, [N, …], and whose loss is the sum of
    theirs (``torch.func.vmap``): each has its own weights, batches, learning rate and weight decay, and gets the
    updates that it would get alone, to rounding. What a step costs besides its arithmetic is paid once for all.

    Parameters
    ----------
    networks
        Trained in place.
    data
        As for ``fit``: one function for all networks, or one for each, which gives it batches in an order of its own.
    loss
        ``loss(outputs, targets)`` of one network.
    optimizer
        What makes an optimizer over parameters: ``torch.optim.SGD``.
    settings
        Its arguments for all networks, or for each: ``[{"lr": lr, "momentum": 0.9} for lr in rates]``.
    epochs, schedule, count, device
        As for ``fit``. The schedule is that of all.
    callbacks
        From a network's index to its callbacks: ``lambda index: [Evaluate(test)]``. One that sets ``state.stop`` ends
        the training of its network alone. One that remembers is made anew for each.
    checkpoint
        Its path is a folder here, with a file for each network, or for those that are trained as one.
    seed
        From which the random generators of each training are seeded.
    together
        Whether they are trained as one; chosen unless given.

    Returns
    -------
    Trainings
        Histories; which trainings failed, without harm to the others; whether they were made as one, and why.

    Raises
    ------
    UsageError
        The arguments do not fit each other; or ``together`` is True for networks that cannot be trained as one, whose
        reason is said.
    MeasurementError
        The loss is not one number.
    DataError
        An epoch has no batches, or what it gives is no pair; networks that are trained as one get unequal batches.

    Notes
    -----
    They cannot be trained as one where networks differ in more than their weights, learning rates and weight decays;
    the optimizer does not treat each number by itself (Muon, LAMB, SAM), or is none of torch's that do; a callback acts
    at every step (gradient clipping by the norm); or an operation has no batched form (torch's recurrent layers).

    They are trained as one where there are at least 4 that together have at most 2²⁰ weights (more are trained in parts
    of that size), and the forward pass of one on a batch takes at most 2·10⁷ operations, as counted on the first batch.
    On one thread 256 perceptrons of widths up to 32 take 4 to 13 times less processor time as one than in a loop, and
    those of width 128 about 2 times less: ``benchmarks/many_networks.py`` measures it.

    Both ways give the same where nothing is drawn in training: dropout, and data that draws from the global generators,
    draw other numbers of the same distribution. Data must give the same batches each time that it is asked for an
    epoch. Memory is that of a stack of networks in place of one.

    Examples
    --------
    >>> _ = torch.manual_seed(0)
    >>> networks, x = [nn.Linear(1, 1) for _ in range(8)], torch.linspace(-1, 1, 8).reshape(-1, 1)
    >>> trainings = fit_many(
    ...     networks,
    ...     lambda epoch: [(x, 3 * x)],
    ...     nn.functional.mse_loss,
    ...     optimizer=torch.optim.SGD,
    ...     settings=[{"lr": 0.1 * (1 + index)} for index in range(8)],
    ...     epochs=100,
    ... )
    >>> trainings.together, {round(network.weight.item(), 2) for network in networks}
    (True, {3.0})
    """
    _check(networks, data)
    of_each = _per_network(settings, len(networks))
    for network in networks if device is not None else ():
        network.to(device)
    plan = Plan(
        networks=networks,
        data=data,
        loss=loss,
        optimizer=optimizer,
        settings=of_each,
        optimizers=_optimizers(networks, optimizer, of_each),
        epochs=epochs,
        schedule=schedule,
        callbacks=_callbacks(callbacks, len(networks)),
        count=count,
        checkpoint=checkpoint,
        seed=seed,
    )
    as_one, reason = choose(plan, together)
    histories, failures = _fit_together(plan) if as_one else _fit_each(plan)
    return Trainings(tuple(histories), failures, as_one, reason)


def _fit_each(plan: Plan) -> tuple[list[History], dict[int, str]]:
    histories, failures = [], {}
    for index, (network, optimizer) in enumerate(zip(plan.networks, plan.optimizers, strict=True)):
        keep = _KeepHistory()
        try:
            fit(
                network,
                plan.data_of(index),
                plan.loss,
                optimizer=optimizer,
                epochs=plan.epochs,
                schedule=plan.schedule,
                callbacks=[keep, *plan.callbacks[index]],
                count=plan.count,
                checkpoint=plan.saved(index, index),
                seed=plan.seed_of(index),
            )
        except MeasurementError as error:
            failures[index] = failure_of(error)
        histories.append(keep.history)
    return histories, failures


class _KeepHistory(Callback):
    """Keeps the history of a training that fails."""

    def on_start(self, state: TrainingState) -> None:
        self.history = state.history


def _fit_together(plan: Plan) -> tuple[list[History], dict[int, str]]:
    n = len(plan.networks)
    n_parts = -(-n // at_once(plan.networks[0]))
    bounds = [n * part // n_parts for part in range(n_parts + 1)]
    histories: list[History] = []
    failures: dict[int, str] = {}
    for first, end in pairwise(bounds):
        done = _fit_part(plan, first, end)
        histories += done.histories
        failures |= {first + index: failure for index, failure in done.failures.items()}
    return histories, failures


def _fit_part(plan: Plan, first: int, end: int) -> Together:
    part = slice(first, end)
    networks, optimizers = plan.networks[part], plan.optimizers[part]
    stack = Stacked(networks, shared=callable(plan.data))
    own = own_settings(optimizers)
    base = plan.optimizer(stack.parameters(), **plan.settings[first])
    # What differs is made up for by PerNetwork. What makes the optimizer need not take rates as they are.
    base.param_groups[0].update({name: base_rate(each) if name == "lr" else 0.0 for name, each in own.items()})
    together = Together(
        networks,
        stack,
        plan.data if callable(plan.data) else plan.data[part],
        plan.loss,
        count=plan.count,
        callbacks=plan.callbacks[part],
        settings=plan.description(first, end),
    )
    try:
        fit(
            stack,
            together.data,
            together.loss,
            optimizer=PerNetwork(base, **own) if own else base,
            epochs=plan.epochs,
            schedule=plan.schedule,
            callbacks=[together],
            checkpoint=plan.saved(first, end - 1),
            seed=plan.seed_of(first),
        )
    except BaseException:
        together.write_back()
        raise
    return together


def _check(networks: Sequence[nn.Module], data: Data | Sequence[Data]) -> None:
    listed = isinstance(networks, Sequence) and len(networks) > 0
    if not listed or not all(isinstance(each, nn.Module) for each in networks):
        raise UsageError(
            "networks must be a sequence of at least one module",
            where="networks of fit_many",
            todo="Give [make(seed) for seed in range(256)].",
        )
    owners: dict[int, int] = {}
    for index, network in enumerate(networks):
        if not any(parameter.requires_grad for parameter in network.parameters()):
            raise UsageError(
                f"no parameter of network {index} is trained",
                where="networks of fit_many",
                todo="Give networks with parameters whose requires_grad is True.",
            )
        for name, parameter in network.named_parameters():
            if owners.setdefault(id(parameter), index) != index:
                raise UsageError(
                    f"the networks {owners[id(parameter)]} and {index} share the parameter {name}",
                    where="networks of fit_many",
                    todo="Make each anew, or copy.deepcopy it.",
                )
    each = () if callable(data) else data
    if not callable(data) and not (
        isinstance(data, Sequence) and len(each) == len(networks) and all(map(callable, each))
    ):
        size = f" of {len(each)}" if isinstance(data, Sequence) else ""
        raise UsageError(
            f"data is a {type(data).__name__}{size}",
            where="data of fit_many",
            todo=f"Give a function of the epoch's number that gives its batches, or a list of {len(networks)} of them.",
        )


def _per_network(
    settings: Mapping[str, Any] | Sequence[Mapping[str, Any]], n_networks: int
) -> Sequence[Mapping[str, Any]]:
    if isinstance(settings, Mapping):
        return [settings] * n_networks
    if not isinstance(settings, Sequence) or len(settings) != n_networks:
        size = f" of {len(settings)}" if isinstance(settings, Sequence) else ""
        raise UsageError(
            f"settings is a {type(settings).__name__}{size}",
            where="settings of fit_many",
            todo=f"Give the optimizer's arguments as a mapping, or a list of {n_networks} of them.",
        )
    return settings


def _optimizers(
    networks: Sequence[nn.Module],
    optimizer: Callable[..., torch.optim.Optimizer],
    settings: Sequence[Mapping[str, Any]],
) -> list[torch.optim.Optimizer]:
    made = []
    for index, (network, own) in enumerate(zip(networks, settings, strict=True)):
        try:
            made.append(optimizer(network.parameters(), **own))
        except (TypeError, ValueError) as error:
            raise UsageError(
                f"the optimizer of network {index} cannot be made ({one_line(error)})",
                where="optimizer and settings of fit_many",
                todo='Give what makes an optimizer, torch.optim.SGD, and its arguments by name: {"lr": 0.1}.',
            ) from error
    return made


def _callbacks(callbacks: Callable[[int], Sequence[Callback]] | None, n_networks: int) -> list[list[Callback]]:
    if callbacks is None:
        return [[] for _ in range(n_networks)]
    of_each = [callbacks(index) for index in range(n_networks)] if callable(callbacks) else [callbacks]
    for own in of_each:
        if not callable(callbacks) or not isinstance(own, Sequence) or not all(isinstance(o, Callback) for o in own):
            raise UsageError(
                f"callbacks {'gives' if callable(callbacks) else 'is'} a {type(own).__name__}",
                where="callbacks of fit_many",
                todo="Give a function of a network's index that lists its callbacks: lambda index: [Evaluate(test)].",
            )
    return [list(own) for own in of_each]
