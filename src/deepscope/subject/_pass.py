"""One pass over the weights for many instruments."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from deepscope.core import Cost, LeftOut, Stopwatch
from deepscope.subject._heap import release_freed_memory
from deepscope.subject._subject import Subject
from deepscope.subject._weight import Weight

Step = Callable[..., Any]
#: Bytes of a tensor from which on what its measurement freed is worth giving back.
_LARGE = 2**20


def measure_weights(
    subject: Subject,
    steps: Mapping[str, Step],
    *,
    on_tensor: Callable[[Weight], None] | None = None,
    on_error: Callable[[str, BaseException], None] | None = None,
) -> dict[str, tuple[list[Any], Cost]]:
    """Read each tensor once and hand it to every instrument's step.

    Parameters
    ----------
    subject
        Whose weights are read, in order; one tensor is in memory at a time.
    steps
        Instrument name to ``step(weight, tensor)``; ``tensor`` is None where the weight cannot be measured.
    on_tensor
        Called before each tensor, for progress.
    on_error
        Called with an instrument's name and its error; that instrument gets no further tensors and no result.
        Without it errors are raised.

    Returns
    -------
    results
        Instrument name to its items, in the order of the weights, and what they cost. Names of tied tensors and what
        else the subject left out stand at the end as ``LeftOut``.
    """
    items: dict[str, list[Any]] = {name: [] for name in steps}
    watches = {name: Stopwatch() for name in steps}
    with subject.undisturbed():
        for weight in subject.weights():
            if on_tensor is not None:
                on_tensor(weight)
            tensor = None if weight.why_not_measured else weight.read()
            for name in list(items):
                try:
                    with watches[name]:
                        items[name].append(steps[name](weight, tensor))
                except (Exception, SystemExit) as error:
                    if on_error is None:
                        raise
                    del items[name]
                    on_error(name, error)
            del tensor
            if weight.nbytes >= _LARGE:
                release_freed_memory()
    return {name: ([*found, *subject.left_out], watches[name].cost) for name, found in items.items()}


def measure_alone(subject: Subject, step: Step, gather: Callable[..., Any], **effort: Any) -> Any:
    """Run one per-weight instrument by itself; what its ``measure`` function calls."""
    (items, cost) = measure_weights(subject, {"it": partial(step, **effort)})["it"]
    return gather(subject, items, cost)


def split_ledger(items: Sequence[Any]) -> tuple[list[Any], tuple[LeftOut, ...]]:
    """Separate the results of a pass from what was left out."""
    return [i for i in items if not isinstance(i, LeftOut)], tuple(i for i in items if isinstance(i, LeftOut))
