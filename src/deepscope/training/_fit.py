"""The training loop."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from deepscope.core import DataError, MeasurementError, UsageError, derive_seed
from deepscope.subject import call, capture_generators, move, restore_generators, scalar_loss, seeded_generators
from deepscope.training._callback import Callback
from deepscope.training._checkpoint import Checkpoint
from deepscope.training._configuration import describe_run
from deepscope.training._loss import Count, Loss, n_terms
from deepscope.training._schedules import Schedule, constant
from deepscope.training._state import History, TrainingState

Data = Callable[[int], Iterable[Any]]


def fit(
    model: nn.Module,
    data: Data,
    loss: Loss,
    *,
    optimizer: torch.optim.Optimizer,
    epochs: int,
    schedule: Schedule | None = None,
    callbacks: Sequence[Callback] = (),
    count: Count | None = None,
    checkpoint: Checkpoint | None = None,
    seed: int = 0,
    device: torch.device | str | None = None,
) -> History:
    """Train a model; on return it holds the weights after the last step.

    Parameters
    ----------
    model
        Trained in place; its train/eval mode is left as it was.
    data
        Maps an epoch's number, from 0, to its batches ``(inputs, targets)``: ``samples.epochs(batch_size, seed=…)`` of
        ``deepscope.data``, any pure function, or ``lambda epoch: loader``. Inputs that are a tensor are passed as
        ``model(x)``, a tuple as ``model(*x)``, a mapping as ``model(**x)``; ``.logits`` is taken from output objects.
    loss
        ``loss(outputs, targets)``, a mean over ``count(targets)`` terms.
    optimizer
        Over the model's parameters. Afterwards its learning rates are again those it came with.
    epochs
        Number of passes over the data, those of a resumed checkpoint included; fewer are made where a callback sets
        ``state.stop``.
    schedule
        Step (number of updates made so far) to factor on the optimizer's learning rates; constant unless given.
    callbacks
        Called in this order at each moment.
    count
        Number of terms of a batch, for the mean loss of an epoch; the batch length unless given.
    checkpoint
        Where the run is saved; it goes on from there when the file exists.
    seed
        Of all random generators (dropout, and data that draws from them); the caller's are left as they were.
    device
        Where the model is moved first; where it is, unless given.

    Returns
    -------
    History
        Loss of every step, and one record per epoch.

    Raises
    ------
    MeasurementError
        The loss is not one number; it, or a weight at the end of an epoch, is NaN or infinite: says at which step and
        epoch.
    DataError
        An epoch has no batches, or what it gives is no pair.
    UsageError
        The arguments do not fit each other, or not the checkpoint.
    TargetError
        The checkpoint cannot be read or written.

    Notes
    -----
    Costs one forward and one backward pass per batch.

    Examples
    --------
    >>> _ = torch.manual_seed(0)
    >>> model, x = nn.Linear(1, 1), torch.linspace(-1, 1, 8).reshape(-1, 1)
    >>> optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
    >>> history = fit(model, lambda epoch: [(x, 3 * x)], nn.functional.mse_loss, optimizer=optimizer, epochs=50)
    >>> round(model.weight.item(), 3), len(history.loss)
    (3.0, 50)
    """
    _check(model, data, optimizer, epochs)
    if device is not None:
        model.to(device)
    home = next(model.parameters()).device
    schedule = schedule or constant()
    configuration = describe_run(
        model,
        optimizer,
        loss,
        schedule=schedule,
        callbacks=callbacks,
        seed=seed,
        more=checkpoint.configuration if checkpoint else {},
    )
    state = TrainingState(model, optimizer)

    with seeded_generators(derive_seed(seed, "training")), _modes_kept(model), _base_rates(optimizer) as set_rates:
        if checkpoint and checkpoint.resume(state, callbacks, configuration, schedule):
            _require_not_beyond(state, epochs)
        for callback in callbacks:
            callback.on_start(state)

        while state.epoch < epochs and not state.stop:
            model.train()
            for inputs, targets in _batches(data, state):
                factor = float(schedule(state.step))
                set_rates(factor)
                optimizer.zero_grad(set_to_none=True)
                inputs, targets = move(inputs, home), move(targets, home)
                value = scalar_loss(loss, call(model, inputs), targets)
                state.loss = _finite(value, state)
                value.backward()  # type: ignore[no-untyped-call]
                for callback in callbacks:
                    callback.on_gradients(state)
                optimizer.step()

                state.history.loss.append(state.loss)
                state.history.count.append(n_terms(inputs, targets, count))
                state.history.lr_factor.append(factor)
                state.step += 1
                state.batch += 1
                for callback in callbacks:
                    callback.on_step(state)
                if state.stop:
                    break
                if checkpoint and checkpoint.due_after_step(state.step):
                    checkpoint.save(state, callbacks, configuration)

            _record_epoch(state)
            for callback in callbacks:
                callback.on_epoch_end(state)
            state.epoch, state.batch = state.epoch + 1, 0
            if checkpoint and (checkpoint.due_after_epoch(state.epoch) or state.epoch == epochs or state.stop):
                checkpoint.save(state, callbacks, configuration)

        for callback in callbacks:
            callback.on_end(state)
    return state.history


def _check(model: nn.Module, data: Data, optimizer: torch.optim.Optimizer, epochs: int) -> None:
    if not callable(data):
        raise UsageError(
            f"data must be a function of the epoch's number that gives its batches, not a {type(data).__name__}",
            where="data",
            todo="Give lambda epoch: batches, or samples.epochs(batch_size, seed=…) of deepscope.data.",
        )
    own = {id(parameter) for parameter in model.parameters()}
    if not any(id(parameter) in own for group in optimizer.param_groups for parameter in group["params"]):
        raise UsageError(
            "the optimizer updates none of the model's parameters",
            where="optimizer",
            todo="Make it over model.parameters(), of the very model that is trained.",
        )
    if isinstance(optimizer, torch.optim.LBFGS):
        raise UsageError(
            "LBFGS evaluates the loss several times per step, which this loop does not",
            where="optimizer",
            todo="Use an optimizer that takes one gradient per step.",
        )
    if epochs < 0:
        raise UsageError(f"the number of epochs is {epochs}", where="epochs", todo="Give 0 or more.")


def _require_not_beyond(state: TrainingState, epochs: int) -> None:
    if (state.epoch, state.batch) > (epochs, 0):
        raise UsageError(
            f"the checkpoint is already in epoch {state.epoch} (from 0), beyond the {epochs} epochs asked for",
            where="epochs",
            todo="Give more epochs, or another checkpoint path to start anew.",
        )


def _batches(data: Data, state: TrainingState) -> Iterator[tuple[Any, Any]]:
    """Give the batches of the current epoch that are still to come."""
    used = state.batch
    if used == 0:
        state.epoch_generators = capture_generators()
        batches = iter(data(state.epoch))
    else:
        # Data that draws its order from the generators must draw the interrupted epoch's order again.
        now = capture_generators()
        restore_generators(state.epoch_generators)
        batches = iter(data(state.epoch))
        for index in range(used):
            if next(batches, _NOTHING) is _NOTHING:
                raise DataError(
                    f"the data has {index} batches, and the checkpoint has already used {used}",
                    where=f"epoch {state.epoch}",
                    todo="Give the data and batch size of the interrupted run, or another checkpoint path.",
                )
        restore_generators(now)
    for index, batch in enumerate(batches, start=used):
        if not isinstance(batch, (tuple, list)) or len(batch) != 2:
            raise DataError(
                f"a batch is a {type(batch).__name__}, not a pair (inputs, targets)",
                where=f"epoch {state.epoch}, batch {index}",
                todo="Give batches as (inputs, targets); inputs may be a tensor, a tuple or a mapping.",
            )
        yield batch[0], batch[1]
    if state.batch == 0:
        raise DataError(
            "the data has no batches",
            where=f"epoch {state.epoch}",
            todo="Give data(epoch) that starts anew on each call: an iterator that is used up gives nothing.",
        )


_NOTHING = object()


def _record_epoch(state: TrainingState) -> None:
    for name, parameter in state.model.named_parameters():
        if not torch.isfinite(parameter).all():
            raise _diverged(f"the weight {name} is no longer finite", state)
    mean = state.history.mean_loss(last=state.batch)
    state.history.epochs.append({"epoch": state.epoch, "steps": state.step, "loss": mean})


def _finite(value: Tensor, state: TrainingState) -> float:
    number = float(value.item())
    if not math.isfinite(number):
        raise _diverged(f"the training loss is {number}", state)
    return number


def _diverged(what: str, state: TrainingState) -> MeasurementError:
    return MeasurementError(
        what,
        where=f"step {state.step}, epoch {state.epoch} (both from 0)",
        todo="Lower the learning rate, warm it up or clip gradients (GradientClipping); look for non-finite inputs.",
    )


@contextmanager
def _modes_kept(model: nn.Module) -> Iterator[None]:
    modes = [(module, module.training) for module in model.modules()]
    try:
        yield
    finally:
        for module, mode in modes:
            module.training = mode


@contextmanager
def _base_rates(optimizer: torch.optim.Optimizer) -> Iterator[Callable[[float], None]]:
    """Give a function that sets the learning rates to a factor of those that the optimizer came with."""
    rates = [float(group["lr"]) for group in optimizer.param_groups]

    def set_rates(factor: float) -> None:
        for group, rate in zip(optimizer.param_groups, rates, strict=True):
            if isinstance(group["lr"], Tensor):
                group["lr"].fill_(rate * factor)
            else:
                group["lr"] = rate * factor

    try:
        yield set_rates
    finally:
        set_rates(1.0)
