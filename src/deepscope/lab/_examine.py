"""examine: several instruments, one subject."""

from __future__ import annotations

import datetime
import shlex
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any

import torch

from deepscope.core import (
    BUDGETS,
    Cost,
    DeepscopeError,
    DoesNotApplyError,
    Finding,
    Instrument,
    LeftOut,
    Needs,
    Reading,
    Stopwatch,
    UsageError,
    derive_seed,
    nearest,
)
from deepscope.lab._choose_executor import choose_executor
from deepscope.lab._examination import Examination
from deepscope.lab._inline import InlineExecutor
from deepscope.lab._machine import commit, hardware, peak_memory_bytes, versions
from deepscope.lab._target import instruments_of, subject_of
from deepscope.lab._task import Executor
from deepscope.lab._tensor_log import TensorLog, tensor_log_of
from deepscope.lab._tensor_pass import check_portable, measure_tensors, records_of
from deepscope.lab._tensor_task import reason_of
from deepscope.subject import Role, Subject, n_batches

#: Called with what is being done and which part of the whole is done (0 to 1).
Progress = Callable[[str, float], None]


def examine(
    target: Any,
    *,
    data: Any = None,
    loss: Any = None,
    instruments: Iterable[str | Instrument] | None = None,
    budget: str = "standard",
    seed: int = 0,
    executor: str | None = None,
    workers: int | None = None,
    address: str | None = None,
    resume: bool = False,
    progress: Progress | None = None,
    command: str = "",
    about: str = "",
) -> Examination:
    """Examine a network with several instruments; each weight is read once for all of them.

    Parameters
    ----------
    target
        A ``Subject``, an ``nn.Module``, a path to a checkpoint, or ``"package.module:factory"``.
    data
        Batches (inputs, targets), a dataset's name, or ``"module:callable"``. Without it, instruments that need data
        are not run.
    loss
        ``loss(outputs, targets)``, a name in ``torch.nn.functional``, or ``"module:callable"``.
    instruments
        Names or ``Instrument`` objects; all of deepscope's unless given.
    budget
        ``"quick"``, ``"standard"`` or ``"deep"``: how many samples and how much effort.
    seed
        Every instrument draws from its own generator, derived from this.
    executor
        Where a checkpoint's tensors are measured: ``"inline"``, in this process; ``"pool"``, in local worker
        processes; ``"ray"``, on a Ray cluster. They are sent handles, never tensors, and read for themselves. Inline
        unless given, or in a pool where ``workers`` are. A worker computes with one thread.
    workers
        Of the pool; no more than there are processors.
    address
        Of the Ray cluster; each of its machines finds the checkpoint at the same path, with the same time.
    resume
        Keep what each tensor of a checkpoint gave until the examination is stored (``deepscope.lab.keep``), and take
        what the same examination, stopped, has left: nothing is measured twice.
    progress
        Told what is being done, and which part of the whole is done.
    command, about
        Kept in the record: the command that does this again, and one sentence about the subject.

    Returns
    -------
    Examination
        Instruments whose needs are not met, or that fail on this subject, are in ``not_run`` with the reason; the
        others are finished all the same.

    Raises
    ------
    TargetError
        The target cannot be read.
    UsageError
        An unknown instrument, budget, dataset, loss or executor; workers for a live network.

    Examples
    --------
    >>> import torch
    >>> examination = examine(torch.nn.Linear(20, 10), instruments=["anatomy"])
    >>> examination.readings["anatomy"].parameters
    210
    """
    if budget not in BUDGETS:
        raise UsageError("unknown budget", where=budget, todo=nearest(budget, BUDGETS))
    chosen = instruments_of(instruments)
    tell = progress or silent
    with Stopwatch() as watch:
        subject = subject_of(target, data=data, loss=loss)
        machine = choose_executor(executor or ("inline" if workers is None else "pool"), workers, address)
        session = _Session(subject, budget, seed, tell, machine, asked=instruments is not None, resume=resume)
        session.run(chosen)
    return Examination(
        subject={**describe(subject, about), "layers": session.layers(chosen)},
        readings=session.in_order(chosen),
        findings=session.findings(),
        not_run=tuple(session.not_run),
        failed=tuple(session.failed),
        cost=watch.cost + _passes(session.readings.values()),
        peak_memory_bytes=peak_memory_bytes(),
        seed=seed,
        budget=budget,
        command=command or _command(subject, chosen if instruments is not None else (), budget, seed),
        commit=commit(),
        versions=versions(),
        hardware=hardware(),
        date=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        instruments={instrument.name: instrument for instrument in chosen},
        tensor_log=session.log,
    )


class _Session:
    """One call of ``examine``: what has been measured so far, and what has failed."""

    def __init__(
        self, subject: Subject, budget: str, seed: int, tell: Progress, machine: Executor, *, asked: bool, resume: bool
    ) -> None:
        self.subject, self.budget, self.seed, self.tell, self.asked = subject, budget, seed, tell, asked
        self.machine, self.resume = machine, resume
        self.log: TensorLog | None = None
        self.readings: dict[str, Reading] = {}
        self._found: dict[str, tuple[Finding, ...]] = {}
        self._efforts: dict[str, dict[str, Any]] = {}
        self.not_run: list[LeftOut] = []
        self.failed: list[str] = []

    def run(self, instruments: Sequence[Instrument]) -> None:
        for each in instruments:
            effort = self._effort(each) if self._needs_are_met(each) else None
            if effort is not None:
                self._efforts[each.name] = effort
        possible = [each for each in instruments if each.name in self._efforts]
        by_tensor = [instrument for instrument in possible if instrument.per_weight is not None]
        others = [instrument for instrument in possible if instrument.per_weight is None]
        efforts = {each.name: self._efforts[each.name] for each in by_tensor}
        if self.resume:
            self.log = tensor_log_of(self.subject, by_tensor, efforts, str(self.subject.device))
        self.tell(self._announcement(possible), 0.0)
        # Tensors take about as long as all other instruments together; the bar need not be exact.
        share = len(by_tensor) / max(1, len(possible))
        self._measure_tensors(by_tensor, efforts, share)
        for index, instrument in enumerate(others):
            self.tell(instrument.name, share + (1 - share) * index / len(others))
            self._attempt(instrument, partial(self._measure, instrument))
        self.tell("done", 1.0)

    def in_order(self, instruments: Sequence[Instrument]) -> dict[str, Reading]:
        return {i.name: self.readings[i.name] for i in instruments if i.name in self.readings}

    def layers(self, instruments: Sequence[Instrument]) -> list[str]:
        """Names of the layers in forward order: as data passed them, with those it did not pass where they belong."""
        passed = [i for i in instruments if i.name in self.readings and Needs.DATA in i.needs]
        order = [str(name) for i in passed[:1] for name in self.readings[i.name].table()["name"]]
        ran = set(order)
        merged: list[str] = []
        # A layer that data did not pass stands behind the one that the model names before it.
        behind: dict[str, list[str]] = {}
        last = ""
        for layer in self.subject.layers():
            if layer in ran:
                last = layer
            else:
                behind.setdefault(last, []).append(layer)
        for layer in ("", *order):
            merged += [layer] * (layer in ran) + behind.pop(layer, [])
        return merged

    def findings(self) -> tuple[Finding, ...]:
        """All findings, worst first, then in the order of the network."""
        names = [*self.subject.layers(), *(weight.name for weight in self.subject.weights())]
        place = {name: index for index, name in enumerate(dict.fromkeys(names))}
        found = [finding for each in self._found.values() for finding in each]
        return tuple(sorted(found, key=lambda f: (f.rank, place.get(f.where, -1 if not f.where else len(place)))))

    def _announcement(self, instruments: Sequence[Instrument]) -> str:
        """Say what will be measured, and what it will cost."""
        weights = self.subject.weights()
        values = sum(weight.count for weight in weights)
        costs = [
            f"{i.name} ({i.expected_cost(self.subject, **self._efforts[i.name])})" if i.expected_cost else i.name
            for i in instruments
        ]
        return (
            f"Examining {self.subject.name}: {values:,} values in {len(weights):,} tensors, {self.budget} budget: "
            f"{', '.join(costs) or 'nothing can be measured'}."
            + (f" {len(self.log.known):,} tensors were measured before." if self.log and self.log.known else "")
        )

    def _needs_are_met(self, instrument: Instrument) -> bool:
        try:
            self.subject.require(instrument.needs, instrument.name)
        except DeepscopeError as error:
            self._not_run(instrument.name, reason_of(error), failed=self.asked)
            return False
        return True

    def _measure_tensors(
        self, instruments: Sequence[Instrument], efforts: Mapping[str, Mapping[str, Any]], share: float
    ) -> None:
        if not instruments:
            return
        steps = {each.name: partial(_per_weight(each).step, **efforts[each.name]) for each in instruments}
        if not isinstance(self.machine, InlineExecutor):
            check_portable(self.subject, steps)
        try:
            results = measure_tensors(
                self.subject, steps, self.machine, self.log, lambda what, done: self.tell(what, share * done)
            )
        except KeyboardInterrupt as stop:
            kept = self.log.keep() if self.log is not None else 0
            if kept:
                stop.add_note(f"{kept:,} tensors that were measured are kept: the same command goes on from there.")
            raise
        finally:
            if self.log is not None:
                self.log.close()
        for result in results:
            if result.lost:
                self._not_run(result.name, result.lost)
        for instrument in instruments:
            name = instrument.name
            errors = [result.errors[name] for result in results if name in result.errors]
            if errors:
                self._not_run(name, errors[0])
                continue
            records = records_of(name, results, self.subject.left_out)
            cost = sum((result.costs[name] for result in results if not result.lost), Cost())
            self._attempt(instrument, partial(_per_weight(instrument).gather, self.subject, records, cost))

    def _effort(self, instrument: Instrument) -> dict[str, Any] | None:
        """Return what the budget allows of an instrument; None where that is nothing."""
        if instrument.per_weight is not None:
            seeded = instrument.per_weight.seeded
            seed = {"seed": derive_seed(self.seed, instrument.name)} if seeded else {}
            return {**instrument.effort(self.budget), **seed}
        try:
            return dict(instrument.effort(self.budget, self.subject))
        except DoesNotApplyError as error:
            self._not_run(instrument.name, reason_of(error), failed=self.asked)
            return None
        except (Exception, SystemExit):
            # The forward pass fails: the instrument will say so itself.
            return dict(instrument.effort(self.budget))

    def _measure(self, instrument: Instrument) -> Reading:
        generator = torch.Generator().manual_seed(derive_seed(self.seed, instrument.name))
        effort = self._efforts[instrument.name]
        reading: Reading = instrument.measure(self.subject, generator=generator, **effort)
        return reading

    def _attempt(self, instrument: Instrument, measure: Callable[[], Reading]) -> None:
        try:
            reading = measure()
            found = reading.findings()
            # What a reading cannot tell is as much a failure of the instrument as what it cannot measure.
            reading.table(), reading.glance()
            self.readings[instrument.name], self._found[instrument.name] = reading, found
        except DoesNotApplyError as error:
            self._not_run(instrument.name, reason_of(error), failed=self.asked)
        except (Exception, SystemExit) as error:
            # A model's forward pass may even try to end the process.
            self._not_run(instrument.name, reason_of(error))

    def _not_run(self, name: str, reason: str, *, failed: bool = True) -> None:
        self.not_run.append(LeftOut(name, reason))
        if failed:
            self.failed.append(name)


def describe(subject: Subject, about: str = "") -> dict[str, Any]:
    """Say what a subject is, as plain JSON."""
    weights = subject.weights()
    dtypes = Counter[str]()
    for weight in weights:
        dtypes[weight.dtype] += weight.count
    return {
        "name": subject.name,
        "kind": "checkpoint" if subject.model is None else "model",
        "path": str(subject.path or ""),
        "class": type(subject.model).__name__ if subject.model is not None else "",
        "parameters": sum(weight.count for weight in weights if weight.role is not Role.BUFFER),
        "tensors": len(weights),
        "bytes": sum(weight.nbytes for weight in weights),
        "dtypes": dict(dtypes),
        "device": str(subject.device),
        "data": _describe_data(subject.data) if subject.data is not None else None,
        "loss": getattr(subject.loss, "__name__", type(subject.loss).__name__) if subject.loss is not None else None,
        "about": about,
    }


def _describe_data(data: Any) -> dict[str, Any]:
    samples = getattr(data, "n_samples", None)
    return {
        "name": getattr(data, "name", "") or f"a {type(data).__name__} of batches",
        "batches": n_batches(data),
        "samples": samples if samples is not None else n_batches(getattr(data, "dataset", None)),
    }


def _per_weight(instrument: Instrument) -> Any:
    assert instrument.per_weight is not None
    return instrument.per_weight


def _passes(readings: Iterable[Reading]) -> Cost:
    total = Cost()
    for reading in readings:
        cost = reading.cost
        total += Cost(forward_passes=cost.forward_passes, backward_passes=cost.backward_passes)
    return total


def _command(subject: Subject, instruments: Sequence[Instrument], budget: str, seed: int) -> str:
    if subject.path is None:
        return ""
    words = ["deepscope", "examine", str(subject.path)]
    if instruments:
        words += ["--instruments", ",".join(instrument.name for instrument in instruments)]
    return shlex.join([*words, "--budget", budget, "--seed", str(seed)])


def silent(what: str, done: float) -> None:
    """Tell nobody."""
    del what, done
