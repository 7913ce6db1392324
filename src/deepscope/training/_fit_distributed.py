"""Training one network in several processes, each on its part of every batch."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from typing import Any, final

import torch
from torch import distributed, nn
from torch.nn.modules.batchnorm import SyncBatchNorm, _BatchNorm
from torch.nn.parallel import DistributedDataParallel

from deepscope.core import UsageError, derive_seed
from deepscope.subject import GeneratorStates, capture_generators, device_of, restore_generators, seeded_generators
from deepscope.training._callback import Callback
from deepscope.training._checkpoint import Checkpoint
from deepscope.training._configuration import Configuration, describe_run
from deepscope.training._fit import Data, fit
from deepscope.training._loss import Count, Loss
from deepscope.training._mirror import Mirror
from deepscope.training._schedules import Schedule
from deepscope.training._shards import Shards
from deepscope.training._state import History, TrainingState


def fit_distributed(
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
    """Train a model in all processes that ``torchrun`` started, each on its part of every batch; otherwise ``fit``.

    ``torchrun --nproc-per-node 2 train.py``, whose script calls this as it would call ``fit``. Each process holds the
    model and the optimizer, and computes the gradient of its samples; their mean is the gradient of the whole batch, so
    that all make the update that ``fit`` would make, to rounding. It is torch's ``DistributedDataParallel``, over gloo
    on CPUs and NCCL on GPUs. Source: ``li2020pytorch``.

    Parameters
    ----------
    model
        Trained in place, in every process; begun from the weights of process 0.
    data
        As for ``fit``, the same in every process: a function of the epoch's number alone, like
        ``samples.epochs(batch_size, seed=…)``. Of each batch every process takes its part; parts may be uneven, and are
        weighted by their terms.
    loss, optimizer, epochs, schedule, count
        As for ``fit``.
    callbacks
        Called in every process, with ``model`` itself; a ``Mirror`` only shows what process 0 sees. What one of them
        stops ends in all.
    checkpoint
        Written by process 0 and read by all, with the states of all random generators. A run that was killed goes on
        bit for bit when it is started again with as many processes.
    seed
        The random generators of each process are seeded from it and from the process's number.
    device
        Where the model is moved first, in this process: ``f"cuda:{os.environ['LOCAL_RANK']}"``.

    Returns
    -------
    History
        In every process that of the whole batches.

    Raises
    ------
    UsageError
        The processes disagree in the arguments or in what the checkpoint holds, or the model normalises each process's
        part of a batch by itself.
    DataError
        The processes are given other batches, or a batch has fewer samples than there are processes.

    Notes
    -----
    Errors are those of ``fit`` besides. Each step costs, beside the gradient's exchange, two small messages: that the
    batches are the same, and the loss. Every process reads whole batches. All processes make the same calls in the same
    order; one that fails before its call must end, as the others wait for it. torchrun may start processes anew on one
    machine; on several, where restarts are counted by each, start the run again. Process 0 alone should print, as in
    ``if torch.distributed.get_rank() == 0``. Each parameter must take part in every loss.

    Examples
    --------
    >>> model = nn.Linear(1, 1)
    >>> optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
    >>> batch = torch.ones(4, 1), torch.ones(4, 1)
    >>> history = fit_distributed(
    ...     model, lambda epoch: [batch], nn.functional.mse_loss, optimizer=optimizer, epochs=3
    ... )  # one process, unless torchrun started it
    >>> len(history.loss)
    3
    """
    if not distributed.is_initialized() and "WORLD_SIZE" not in os.environ:
        return fit(
            model,
            data,
            loss,
            optimizer=optimizer,
            epochs=epochs,
            schedule=schedule,
            callbacks=callbacks,
            count=count,
            checkpoint=checkpoint,
            seed=seed,
            device=device,
        )
    if device is not None:
        model.to(device)
    home = device_of(model)
    with _group(home):
        _require_whole_batches(model)
        more = checkpoint.configuration if checkpoint else {}
        described = describe_run(model, optimizer, loss, schedule=schedule, callbacks=callbacks, seed=seed, more=more)
        _require_same({**described, "epochs": str(epochs), "checkpoint": str(checkpoint and checkpoint.path)})
        shards, in_all = Shards(data, loss, count, home), _InAllProcesses(model, callbacks, seed, home)
        return fit(
            DistributedDataParallel(model),
            shards.data,
            shards.loss,
            optimizer=optimizer,
            epochs=epochs,
            schedule=schedule,
            callbacks=[in_all],
            count=lambda targets: shards.terms,
            checkpoint=_OfAllProcesses.of(checkpoint, model, in_all) if checkpoint else None,
            seed=seed,
        )


@final
class _InAllProcesses(Callback):
    """Callbacks of one process: given the model itself, and stopped together with those of the others."""

    def __init__(self, model: nn.Module, callbacks: Sequence[Callback], seed: int, device: torch.device) -> None:
        self._model, self._callbacks, self._seed, self._device = model, callbacks, seed, device
        self._rank = distributed.get_rank()
        self._called = [each for each in callbacks if self._rank == 0 or not isinstance(each, Mirror)]
        self.generators: list[GeneratorStates] = []

    def on_start(self, state: TrainingState) -> None:
        if state.step == 0 and self._rank:
            # Or all would drop the same units.
            with seeded_generators(derive_seed(self._seed, "process", self._rank)):
                own = capture_generators()
            restore_generators(own)
        self._call("on_start", state)

    def on_gradients(self, state: TrainingState) -> None:
        self._call("on_gradients", state)

    def on_step(self, state: TrainingState) -> None:
        self._call("on_step", state)

    def on_epoch_end(self, state: TrainingState) -> None:
        self._call("on_epoch_end", state)

    def on_end(self, state: TrainingState) -> None:
        self._call("on_end", state)

    def configuration(self) -> Mapping[str, object]:
        return {
            f"{index}: {name}": value
            for index, each in enumerate(self._callbacks)
            for name, value in {"callback": type(each).__name__, **each.configuration()}.items()
        }

    def state_dict(self) -> dict[str, Any]:
        return {"callbacks": [each.state_dict() for each in self._callbacks], "generators": self.generators}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.generators = state["generators"]
        for each, own in zip(self._callbacks, state["callbacks"], strict=True):
            each.load_state_dict(own)

    def _call(self, hook: str, state: TrainingState) -> None:
        with _itself(self._model, state):
            for each in self._called:
                getattr(each, hook)(state)
        if self._callbacks:
            stopped = torch.tensor(int(state.stop), device=self._device)
            distributed.all_reduce(stopped)
            state.stop = bool(stopped)


@dataclass(frozen=True)
class _OfAllProcesses(Checkpoint):
    """A checkpoint that process 0 writes, with what is each process's own."""

    model: nn.Module = field(kw_only=True)
    in_all: _InAllProcesses = field(kw_only=True)

    @classmethod
    def of(cls, given: Checkpoint, model: nn.Module, in_all: _InAllProcesses) -> _OfAllProcesses:
        """Make one as given; it can be gone on from with as many processes alone."""
        settings = {**given.configuration, "processes": distributed.get_world_size()}
        return cls(given.path, given.every_steps, given.every_epochs, settings, model=model, in_all=in_all)

    def save(self, state: TrainingState, callbacks: Sequence[Callback], configuration: Configuration) -> None:
        self.in_all.generators = _from_all(capture_generators())
        if distributed.get_rank() == 0:
            with _itself(self.model, state):
                super().save(state, callbacks, configuration)

    def resume(
        self,
        state: TrainingState,
        callbacks: Sequence[Callback],
        configuration: Configuration,
        schedule: Callable[[int], float],
    ) -> bool:
        with _itself(self.model, state):
            found = super().resume(state, callbacks, configuration, schedule)
        _require_same({"what the checkpoint holds": f"step {state.step}" if found else "nothing"})
        if found:
            restore_generators(self.in_all.generators[distributed.get_rank()])
        return found


@contextmanager
def _itself(model: nn.Module, state: TrainingState) -> Iterator[None]:
    """Put the model itself in the place of what wraps it."""
    wrapped, state.model = state.model, model
    try:
        yield
    finally:
        state.model = wrapped


#: Of the groups made in this process: the same in all of them, as all make the same runs.
_NUMBERS = itertools.count()


#: Where the processes meet, which of them this is, and how many there are.
_VARIABLES = ("MASTER_ADDR", "MASTER_PORT", "RANK", "WORLD_SIZE")


@cache
def _meeting_place(*_: str | None) -> tuple[Any, int, int]:
    """Return the store that torchrun's variables name, this process's number, and how many there are."""
    from torch.distributed.rendezvous import rendezvous

    store, rank, size = next(rendezvous("env://"))
    return store, rank, size


@contextmanager
def _group(device: torch.device) -> Iterator[None]:
    """Make the group of processes that torchrun's variables describe, unless there is one."""
    if distributed.is_initialized():
        yield
        return
    # Where torch is built without distributed training it has none of these.
    from torch.distributed.distributed_c10d import PrefixStore

    store, rank, size = _meeting_place(*map(os.environ.get, _VARIABLES))
    # A group finds its members by what they left in the store; under one name it would find those of the run before, or
    # of processes that died and that torchrun started anew.
    own = PrefixStore(f"fit_distributed/{os.environ.get('TORCHELASTIC_RESTART_COUNT', 0)}/{next(_NUMBERS)}", store)
    distributed.init_process_group("gloo" if device.type == "cpu" else "nccl", store=own, rank=rank, world_size=size)
    try:
        yield
    finally:
        distributed.destroy_process_group()


def _from_all(mine: Any) -> list[Any]:
    found = [None] * distributed.get_world_size()
    distributed.all_gather_object(found, mine)
    return found


def _require_same(mine: Mapping[str, str]) -> None:
    first, *others = _from_all(dict(mine))
    for rank, theirs in enumerate(others, start=1):
        for name in dict.fromkeys([*first, *theirs]):
            here, there = first.get(name, "absent"), theirs.get(name, "absent")
            if here != there:
                raise UsageError(
                    f"{name} is {here} in process 0 and {there} in process {rank}",
                    where="fit_distributed",
                    todo="Give all processes the same arguments, and files that all can read.",
                )


def _require_whole_batches(model: nn.Module) -> None:
    for name, module in model.named_modules():
        if isinstance(module, _BatchNorm) and not isinstance(module, SyncBatchNorm):
            raise UsageError(
                f"{name or 'the model'} is a {type(module).__name__}: each process would normalise its part by itself",
                where="model of fit_distributed",
                todo="Use SynchronisedBatchNorm, whose batch is that of all processes.",
            )
