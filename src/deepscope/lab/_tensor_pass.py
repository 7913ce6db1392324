"""One pass over all tensors for several instruments, wherever the executor runs it."""

from __future__ import annotations

import math
import pickle
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from typing import TYPE_CHECKING

from deepscope.core import LeftOut, UsageError, one_line
from deepscope.lab._target import current_folder_first
from deepscope.lab._task import Executor
from deepscope.lab._tensor_log import TensorLog
from deepscope.lab._tensor_task import TensorResult, TensorTask
from deepscope.subject import Step, Subject, Weight

if TYPE_CHECKING:
    from deepscope.lab._examine import Progress


def check_portable(subject: Subject, steps: Mapping[str, Step]) -> None:
    """Make sure that workers can measure tensors: they are sent handles, and read for themselves.

    Raises
    ------
    UsageError
        The subject is a live network, or a step cannot be sent.
    """
    if subject.model is not None:
        raise UsageError(
            "workers read tensors from a checkpoint, and those of a live network are only in this process",
            where=subject.name,
            todo="Save its weights and examine that file, or leave out workers and executor.",
        )
    for name, step in steps.items():
        why = _why_not_sent(step)
        if why:
            raise UsageError(
                f"the instrument cannot be sent to workers ({why})",
                where=name,
                todo="Define its step at the top of a module, or leave out workers and executor.",
            )


def _why_not_sent(step: Step) -> str:
    try:
        pickle.dumps(step)
    except Exception as error:
        return one_line(error)
    function = getattr(step, "func", step)
    if function.__module__ == "__main__" and not hasattr(sys.modules["__main__"], "__file__"):
        return "it was typed at a prompt or in a notebook, where workers do not find it"
    return ""


def measure_tensors(
    subject: Subject, steps: Mapping[str, Step], machine: Executor, log: TensorLog | None, tell: Progress
) -> list[TensorResult]:
    """Measure every tensor that the log does not know, and return the results in the order of the weights.

    Parameters
    ----------
    subject
        Whose weights are measured; each is read once for all instruments.
    steps
        Instrument name to its step, with its effort bound.
    machine
        Where the tensors are measured: the largest first, so that the last ones end together.
    log
        Keeps each result; None where none is kept.
    tell
        Told which part is done, by the operations that a Gram matrix takes.

    Raises
    ------
    TargetError
        A file is gone or has changed since the subject was made.
    """
    weights = subject.weights()
    results = dict(log.known) if log is not None else {}
    results = {weight.name: results[weight.name] for weight in weights if weight.name in results}
    work = {weight.name: _work(weight) for weight in weights}
    left = sorted((each for each in weights if each.name not in results), key=lambda each: -work[each.name])
    tasks = [TensorTask(weight=weight, steps=steps, device=subject.put_on) for weight in left]
    total = math.fsum(work[weight.name] for weight in left) or 1.0
    done = 0.0
    with subject.undisturbed(), current_folder_first(), closing(machine.run(tasks)) as arriving:
        for result in _readable(arriving):
            if log is not None:
                log.append(result)
            results[result.name] = result
            done += work[result.name]
            tell(f"{len(results)} of {len(weights)} tensors", min(1.0, done / total))
    return [results[weight.name] for weight in weights]


def records_of(name: str, results: Sequence[TensorResult], left_out: Sequence[LeftOut]) -> list[object]:
    """Return all records of one instrument, and the ledger behind them."""
    records: list[object] = []
    for result in results:
        records += [LeftOut(result.name, result.lost)] if result.lost else result.records[name]
    return [*records, *left_out]


def _readable(results: Iterable[TensorResult]) -> Iterator[TensorResult]:
    for result in results:
        if result.unreadable is not None:
            raise result.unreadable
        yield result


def _work(weight: Weight) -> float:
    """Return about how many operations the Gram matrices of a tensor take; 1 a value where there are none."""
    sides = sorted(weight.shape)
    return float(weight.count * (sides[-2] if len(sides) > 1 else 1) + 1)
